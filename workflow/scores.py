"""Keep the scores of released and official weights: `data/scores/<weights>/<set>_x<scale>_<protocol>_<data>.csv`, an image a row.

    python workflow/scores.py            copy the scores of profile `released`, delete those of other weights
    python workflow/scores.py --check    list weights without scores and scores without weights; copies nothing

Only scores on public sets are kept. To re-score everything, which takes hours, delete `data/scores/` first.
"""

import argparse
import shutil
import sys
from pathlib import Path

from srlib import official
from srlib.core import paths
from srlib.core.files import atomic_write
from srlib.data import registry
from srlib.reproduce import cards


def released() -> dict[str, Path]:
    """Return the file of released weights by the name of the folder of their scores."""
    files = sorted(cards.weights_dir().glob("*/*.safetensors"))
    return {cards.kept_scores(file).name: file for file in files}


def official_names() -> set[str]:
    """Return how the folders of official weights begin: with network, scale and hash of the authors' file."""
    hashes = {row.split: row.sha256[:10] for row in registry.files(registry.OFFICIAL).itertuples()}
    files = {key: Path(official.source(*key)["file"]).stem for key in official.available()}
    return {f"official_{name}_x{scale}-{hashes[file]}" for (name, scale), file in files.items()}


def is_official(folder: str) -> bool:
    """Whether the folder of scores is one of official weights of the registry, `NAME-HASH` with the hash of the conversion."""
    return folder.rpartition("-")[0] in official_names()


def public(scores: Path) -> bool:
    """Whether scores are of a set of the registry."""
    return scores.name.partition("_")[0] in registry.datasets()


def keep(known: dict[str, Path], folder: Path) -> None:
    """Copy scores and delete those of other weights."""
    copies = 0
    scored = sorted((paths.runs_dir() / "released").glob("*"))
    for scores in (scores for scores in scored if scores.name in known or is_official(scores.name)):
        for file in filter(public, sorted(scores.rglob("*.csv"))):
            atomic_write(folder / scores.name / file.relative_to(scores), file.read_text())
            copies += 1
    others = [old for old in folder.glob("*") if old.name not in known and not is_official(old.name)]
    for old in others:
        shutil.rmtree(old)
    print(f"{copies} score files copied to {folder}; scores of {len(others)} other weights deleted")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="copy nothing; 1 where weights have no scores, or scores no weights")
    known, folder = released(), paths.home() / "data" / "scores"
    if not parser.parse_args().check:
        keep(known, folder)
    existing = {scores.name for scores in folder.glob("*")}
    for name in sorted(known.keys() - existing):
        print(f"{known[name].stem}: no scores yet; run make reproduce PROFILE=released", file=sys.stderr)
    others = {name for name in existing - known.keys() if not is_official(name)}
    for name in sorted(others):
        print(f"{name}: scores of weights that are not released", file=sys.stderr)
    return int(bool(others or known.keys() - existing))


if __name__ == "__main__":
    sys.exit(main())
