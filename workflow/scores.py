"""Keep the scores of released weights: `data/scores/<weights>/<set>_x<scale>_<protocol>_<data>.csv`, a row per image.

    python workflow/scores.py            copy the scores of profile `released`, delete those of other weights
    python workflow/scores.py --check    list weights without scores and scores without weights; copies nothing

Only scores on public sets are kept. To re-score everything, which takes hours, delete `data/scores/` first.
"""

import argparse
import shutil
import sys
from pathlib import Path

from srlib.core import paths
from srlib.core.files import atomic_write
from srlib.data import registry
from srlib.reproduce import cards


def released() -> dict[str, Path]:
    """Return the file of released weights by the name of the folder of their scores."""
    files = sorted(cards.weights_dir().glob("*/*.safetensors"))
    return {cards.kept_scores(file).name: file for file in files}


def public(scores: Path) -> bool:
    """Whether scores are of a set of the registry."""
    return scores.name.partition("_")[0] in registry.datasets()


def keep(known: dict[str, Path], folder: Path) -> None:
    """Copy scores and delete those of other weights."""
    copies = 0
    for name in known:
        scores = paths.runs_dir() / "released" / name
        for file in filter(public, sorted(scores.rglob("*.csv"))):
            atomic_write(folder / name / file.relative_to(scores), file.read_text())
            copies += 1
    others = [old for old in folder.glob("*") if old.name not in known]
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
    for name in sorted(existing - known.keys()):
        print(f"{name}: scores of weights that are not released", file=sys.stderr)
    return int(existing != set(known))


if __name__ == "__main__":
    sys.exit(main())
