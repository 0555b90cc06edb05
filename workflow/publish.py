"""Copy the tables and figures that `make reproduce PROFILE=released` has made into figures/released, which is committed.

A maintainer's step: a run of its own never changes a committed file. Only papers whose claims were judged are taken, and only
whole: a run of some scales would replace tables of all.
"""

import shutil
import sys

from srlib import papers
from srlib.core import paths
from srlib.core.errors import SRError
from srlib.reproduce import notebooks

PROFILE = "released"


def publish(paper: str) -> tuple[int, list[str]]:
    """Copy what was made for a paper; return how many files, and the names of those that are published and were not made."""
    made = {file.name: file for file in notebooks.figures_folder(PROFILE, paper).glob("*.*")}
    if "claims.csv" not in made:
        return 0, []
    chosen = papers.get(paper)
    missing = {*chosen.scales_of(chosen.setting(PROFILE))} - {*notebooks.load_metrics(PROFILE, paper).get("scale", ())}
    if missing:
        raise SRError(
            f"{paper}: this run lacks x{min(missing)}; run make reproduce PROFILE={PROFILE} PAPER={paper} without SCALE"
        )
    target = paths.home() / "figures" / PROFILE / paper
    target.mkdir(parents=True, exist_ok=True)
    for name, file in made.items():
        shutil.copyfile(file, target / name)
    return len(made), sorted(file.name for file in target.iterdir() if file.name not in made)


def main() -> int:
    copied = 0
    for paper in papers.names():
        try:
            count, old = publish(paper)
        except SRError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        copied += count
        if count:
            print(f"{paper}: {count} files")
        if old:
            print(f"{paper}: published earlier and not made by this run: {', '.join(old)}")
    if not copied:
        folder = paths.figures_dir() / PROFILE
        print(f"error: no judged paper in {folder}; run make reproduce PROFILE={PROFILE} first", file=sys.stderr)
    return 0 if copied else 2


if __name__ == "__main__":
    sys.exit(main())
