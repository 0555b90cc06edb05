"""Published numbers, as typed by a user, and the search for the protocols that give them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np
import pandas as pd

from srlib.core.errors import SRError
from srlib.core.protocols import PROTOCOLS
from srlib.verify.lattice import AXES, SSIMS, Region, region_of, variant_of

PSNRS = ("psnr", "psnr_pooled")
TOLERANCE = {"psnr": 0.005, "ssim": 0.00005}  # half of the last digit that papers print


@dataclass(frozen=True)
class Published:
    """What a paper prints for a set: PSNR in dB, SSIM, or both. dataset: "" where there is one folder only.

    printed: the numbers as typed. tolerances: half of the last printed digit, but no less than `TOLERANCE`.
    """

    dataset: str
    psnr: float | None = None
    ssim: float | None = None
    printed: dict[str, str] = field(default_factory=dict)

    @property
    def tolerances(self) -> dict[str, float]:
        return {m: max(0.5 * 10.0 ** -len(text.partition(".")[2]), TOLERANCE[m]) for m, text in self.printed.items()}

    def only(self, metric: str) -> "Published":
        return Published(self.dataset, printed={metric: self.printed[metric]}, **{metric: getattr(self, metric)})

    def __str__(self) -> str:
        return f"{self.dataset} {'/'.join(self.printed.values())}".strip()


def parse_published(psnrs: Iterable[str], ssims: Iterable[str] = ()) -> list[Published]:
    """Read "32.62", "32.62/0.9012", "Set5=32.62/0.9012" and, in `ssims`, "0.9012" or "Set5=0.9012"; one entry per set.

    Raises SRError for anything else, a comma as decimal point, numbers out of range, and one that is given twice.
    """
    entries: dict[str, Published] = {}
    for option, metrics, given in [*(("", ("psnr", "ssim"), t) for t in psnrs), *(("-ssim", ("ssim",), t) for t in ssims)]:
        dataset, _, numbers = (part.strip() for part in given.rpartition("="))
        example = "0.9012 or Set5=0.9012" if option else "32.62, 32.62/0.9012 or Set5=32.62/0.9012"
        texts = [text.strip() for text in numbers.split("/")]
        if "," in numbers:
            raise SRError(f"--published{option} {given}: has a comma; write 32.62 with a point, and the option once for each set")
        if len(texts) > len(metrics) or not all(re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) for text in texts):
            raise SRError(f"--published{option} {given}: expected {example}")
        for metric, text in zip(metrics, texts, strict=False):
            entry, value = entries.get(dataset, Published(dataset)), float(text)
            if getattr(entry, metric) is not None:
                raise SRError(f"--published{option} {given}: {metric.upper()}{f' of {dataset}' * bool(dataset)} is given twice")
            if not (value <= 1 if metric == "ssim" else 1 < value < 100):
                raise SRError(f"--published{option} {given}: {text} is no {metric.upper()}; expected {example}")
            entries[dataset] = replace(entry, **{metric: value}, printed=entry.printed | {metric: text})
    if "" in entries and len(entries) > 1:
        raise SRError("--published: got a number with a set and one without; name the set of each, as in Set5=32.62")
    return list(entries.values())


def _deviation(tables: dict[str, pd.DataFrame], published: list[Published], metric: str, column: str) -> pd.Series:
    """Return how far a column is from the printed numbers, in tolerances: the largest over sets."""
    printed = [entry for entry in published if getattr(entry, metric) is not None]
    off = [(tables[entry.dataset][column] - getattr(entry, metric)).abs() / entry.tolerances[metric] for entry in printed]
    return pd.concat(off, axis=1).max(axis=1, skipna=False)


def search(tables: dict[str, pd.DataFrame], published: list[Published], scale: int) -> pd.DataFrame:
    """Return a row per combination that was tried, the nearest first, named protocols first among equals.

    tables: of `lattice.table`, by set, over the same variants and regions. Columns: `lattice.AXES`; `psnr_by` and `ssim_by`, the
    tables' columns that stand for the two metrics, "" where none is printed; `deviation`, in tolerances, the largest over sets
    and metrics; `match`; `protocols`, names with ";" between them; and, for each printed number, `SET psnr` or `SET ssim`.
    """
    has = {metric: any(getattr(entry, metric) is not None for entry in published) for metric in TOLERANCE}
    axes = next(iter(tables.values()))[AXES]
    names = named_rows(axes, scale)
    frames = []
    for psnr_by, ssim_by in product(PSNRS if has["psnr"] else ("",), SSIMS if has["ssim"] else ("",)):
        used = (("psnr", psnr_by), ("ssim", ssim_by))
        off = [_deviation(tables, published, metric, column) for metric, column in used if column]
        frame = axes.assign(psnr_by=psnr_by, ssim_by=ssim_by, deviation=np.maximum.reduce([o.to_numpy() for o in off]))
        own = {
            row: [p for p in of if psnr_by != "psnr_pooled" and ssim_by in ("", *PROTOCOLS[p].metrics)]
            for row, of in names.items()
        }
        frame["protocols"] = [";".join(own.get(row, [])) for row in frame.index]
        for entry in published:
            for metric, column in used:
                if getattr(entry, metric) is not None:
                    frame[f"{entry.dataset} {metric}"] = tables[entry.dataset][column]
        if ssim_by == "ssim_padded" and not psnr_by:  # of whole pictures, whatever the border
            frame = frame[[Region(*row) == Region(0) for row in frame[list(Region._fields)].itertuples(index=False)]]
        frames.append(frame.dropna(subset="deviation"))
    table = pd.concat(frames, ignore_index=True)
    table["match"] = table["deviation"] <= 1 + 1e-6
    order = pd.DataFrame({"deviation": table["deviation"].round(6), "unnamed": table["protocols"] == ""})
    return table.loc[order.sort_values(["deviation", "unnamed"], kind="stable").index].reset_index(drop=True)


def named_rows(axes: pd.DataFrame, scale: int) -> dict[int, list[str]]:
    """Return the index of the row of each named protocol in a table with `lattice.AXES`, and the names that share it."""
    grey_hr, luma_sr = "as_y" in set(axes["grey"]), set(axes["luma_sr"]) != {""}
    index = {tuple(row): i for i, row in zip(axes.index, axes[AXES].itertuples(index=False), strict=True)}
    rows: dict[int, list[str]] = {}
    for name, protocol in PROTOCOLS.items():
        row = index[(*variant_of(protocol, grey_hr, luma_sr), *region_of(protocol, scale))]
        rows.setdefault(row, []).append(name)
    return rows
