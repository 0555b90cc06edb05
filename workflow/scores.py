"""Keep the scores of released and official weights, and of untrained methods and those in closed form, an image a row:
`data/scores/<weights or method>/<set>_x<scale>_<protocol>_<data>.csv`.

    python workflow/scores.py            copy the scores of profile `released`, delete those of other weights
    python workflow/scores.py --check    list weights without scores and scores without weights; copies nothing

Only scores on public sets and on the embedded photographs are kept. To re-score everything, which takes hours, delete
`data/scores/` first.
"""

import argparse
import shutil
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from srlib import official, papers
from srlib.core import paths
from srlib.core.errors import SRError
from srlib.core.files import atomic_write
from srlib.data import registry
from srlib.nn import models
from srlib.reproduce import cards, store
from srlib.train.experiment import Experiment
from srlib.train.run import Run


def released() -> dict[str, Path]:
    """Return the file of released weights, which may be `card_only`, by the name of the folder of their scores."""
    files = [card.with_suffix(".safetensors") for card in sorted(cards.weights_dir().glob("*/*.json"))]
    return {cards.kept_scores(file).name: file for file in files}


def official_names() -> set[str]:
    """Return how the folders of official weights begin: with network, scale and hash of the authors' file."""
    hashes = {row.split: row.sha256[:10] for row in registry.files(registry.OFFICIAL).itertuples()}
    files = {key: Path(official.source(*key)["file"]).stem for key in official.available()}
    return {f"official_{name}_x{scale}-{hashes[file]}" for (name, scale), file in files.items()}


def is_official(folder: str) -> bool:
    """Whether the folder of scores is one of official weights of the registry, `NAME-HASH` with the hash of the conversion."""
    return folder.rpartition("-")[0] in official_names()


def methods() -> Iterator[tuple[papers.Paper, str, int]]:
    """Yield each method of the tables at each of its scales: paper, name, scale."""
    for paper in map(papers.get, papers.names()):
        for name, method in paper.methods.items():
            yield from ((paper, name, scale) for scale in models.scales(method.model) if paper.has(name, scale))


@lru_cache
def untrained_names() -> set[str]:
    """Return the names of the folders of untrained methods."""
    bare = ((paper.method(name), scale) for paper, name, scale in methods())
    return {store.untrained_scores(m, scale).name for m, scale in bare if not (m.trained or m.official)}


@lru_cache
def closed_form() -> list[Experiment]:
    """Return the fits of profile `released`."""
    fits = (one for one in methods() if one[0].method(one[1]).trained and models.fitted(one[0].method(one[1]).model))
    return [paper.experiment(name, scale, paper.setting("released")) for paper, name, scale in fits]


def public(scores: Path) -> bool:
    """Whether scores are of a set of the registry or of the embedded photographs."""
    name = scores.name.partition("_")[0]
    return name in registry.datasets() or name.startswith("embedded-")


def belongs(folder: str, known: dict[str, Path]) -> bool:
    """Whether a folder of `data/scores` is of known weights, official ones, or a method that has none."""
    fits = {fit.key("").rpartition("-")[0] for fit in closed_form()}
    return folder in known or is_official(folder) or folder in untrained_names() or folder.rpartition("-")[0] in fits


def scored(known: dict[str, Path]) -> dict[str, Path]:
    """Return the folders with scores of this machine's runs that are to be kept, by their names in `data/scores`."""
    runs, fits = paths.runs_dir(), closed_form()
    found = {made.name: made for part in ("released", "untrained") for made in sorted((runs / part).glob("*"))}
    kept = {name: made for name, made in found.items() if belongs(name, known)}
    for made in sorted((runs / "experiments").glob("*/metrics")):
        try:
            run = Run.open(made.parent)
        except SRError as error:  # an old or edited run has no scores to keep, and is not the only one
            print(f"left out: {error}", file=sys.stderr)
            continue
        if run.experiment in fits and run.key == made.parent.name:
            kept[run.key] = made
    return kept


def keep(known: dict[str, Path], folder: Path) -> None:
    """Copy scores and delete those of other weights."""
    copies = 0
    for name, made in scored(known).items():
        for file in filter(public, sorted(made.rglob("*.csv"))):
            atomic_write(folder / name / file.relative_to(made), file.read_text())
            copies += 1
    others = [old for old in folder.glob("*") if not belongs(old.name, known)]
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
    others = {name for name in existing if not belongs(name, known)}
    for name in sorted(others):
        print(f"{name}: scores of weights that are not released", file=sys.stderr)
    return int(bool(others or known.keys() - existing))


if __name__ == "__main__":
    sys.exit(main())
