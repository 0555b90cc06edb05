"""`srlib verify`: sets scored under all protocols, what matches published numbers, and the traps that explain the rest."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from tqdm.auto import tqdm

from srlib.core.errors import SRError
from srlib.core.protocols import PROTOCOLS
from srlib.verify import lattice, pairs
from srlib.verify.published import named_rows

WORKERS = 2  # threads: numpy lets them run at once


@dataclass(frozen=True)
class Scored:
    """A set of pictures, scored at a scale. pairs: those behind `table` (`lattice.table`). notes, failures: lines for readers."""

    dataset: str
    scale: int
    pairs: list[pairs.Pair]
    table: pd.DataFrame
    notes: list[str]
    failures: list[str]

    @property
    def label(self) -> str:
        return self.dataset or self.pairs[0].sr.parent.name

    @property
    def grey(self) -> list[str]:
        """The names of grey HR files, where SR is grey, too."""
        return [pair.hr.stem for pair in self.pairs if pair.grey_hr]

    def named(self) -> dict[str, dict[str, float]]:
        """Return the metrics of each named protocol."""
        rows = named_rows(self.table, self.scale)
        names = {name: row for row, own in rows.items() for name in own}
        return {name: {m: float(self.table.at[names[name], m]) for m in by.metrics} for name, by in PROTOCOLS.items()}


def folder_of(root: Path, dataset: str, scale: int, only: bool = False) -> Path:
    """Return the folder of a set: `root` itself for "", else SET, SET/x4 or SET/X4 in it; SRError where there is none.

    only: whether it is the only set, whose pictures may lie in `root` itself.
    """
    if not dataset:
        inside = sorted(root.iterdir()) if root.is_dir() else []
        if inside and all(path.is_dir() for path in inside):
            names = ", ".join(path.name for path in inside[: pairs.LISTED])
            raise SRError(
                f"{root} has folders instead of pictures ({names}); give one of them, or --published SET=PSNR for each set"
            )
        return root
    choices = [root / dataset / f"x{scale}", root / dataset / f"X{scale}", root / dataset]
    for folder in choices:
        if folder.is_dir():
            return folder
    if only:
        return root
    raise SRError(f"{root} has no folder {dataset}; give one set without its name, and several as folders of their names")


def score_sets(sr: Path, hr: Path, datasets: list[str], scale: int, progress: bool = False) -> list[Scored]:
    """Score each set under all protocols. datasets: names of subfolders, or [""] for the folders themselves.

    Pictures that fail are left out, with a line in `failures`. Raises SRError where nothing is left of a set.
    """
    matched_sets = []
    for dataset in datasets:
        files, notes = pairs.match(*(folder_of(root, dataset, scale, len(datasets) == 1) for root in (sr, hr)), scale)
        matched, more, failures = pairs.inspect(files)
        matched_sets.append((dataset, matched, notes + more, failures))
    everything = [pair for _, matched, _, _ in matched_sets for pair in matched]
    chosen = lattice.variants(any(p.grey_hr for p in everything), any(p.luma_sr for p in everything))
    parts = lattice.regions(scale)

    def score(pair: pairs.Pair):
        try:
            sr_image, hr_image, differences = pairs.read(pair, scale)
            pair = replace(pair, grey_hr=hr_image.ndim == 2)
            return pair, lattice.score_pair(sr_image, hr_image, scale, chosen, parts), differences
        except SRError as error:
            return pair, None, str(error)

    scored = []
    with (
        ThreadPoolExecutor(WORKERS) as pool,
        tqdm(total=len(everything), unit="picture", disable=not progress, leave=False) as bar,
    ):
        for dataset, matched, notes, failures in matched_sets:
            bar.set_description(dataset or None)
            results, counts = [], Counter()
            for pair, scores, remarks in pool.map(score, matched):
                bar.update()
                if scores is None:
                    failures.append(remarks)
                else:
                    results.append((pair, scores))
                    counts.update(remarks)
            if not results:
                raise SRError(f"{dataset or sr}: no picture can be scored: {'; '.join(failures[:3])}")
            notes += [f"{difference}: {count} of {len(matched)}" for difference, count in counts.items()]
            notes += ["one picture: protocols often agree on one; take a whole set"] if len(results) == 1 else []
            table = lattice.table([scores for _, scores in results], chosen, parts)
            scored.append(Scored(dataset, scale, [pair for pair, _ in results], table, notes, failures))
    if not any(scored_set.grey for scored_set in scored):  # then both ways to read grey HR are the same
        scored = [replace(own, table=own.table[own.table["grey"] == "convert"].reset_index(drop=True)) for own in scored]
    return scored
