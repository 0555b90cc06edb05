"""Columns of tables and axes of figures: headers, units and number formats, by the column's name.

A column is `METRIC` or `METRIC_KIND`, such as `psnr`, `psnr_published`, `psnr_ours`, `psnr_difference` (ours - published) and
`psnr_spread` (standard deviation over seeds); `@` and a set may follow, "psnr_ours@Set5 ×2". Any other name is its own header.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from srlib.core.errors import SRError
from srlib.core.files import atomic_write


class Metric(NamedTuple):
    """title and unit: of headers. format: of a number. higher_is_better: None where no value is best."""

    title: str
    unit: str
    format: str
    higher_is_better: bool | None = None


METRICS = {
    "psnr": Metric("PSNR", "dB", ".2f", True),
    "ssim": Metric("SSIM", "", ".4f", True),
    "ssim_uniform7": Metric("SSIM (7×7 window)", "", ".4f", True),
    "ssim_padded": Metric("SSIM (of the code)", "", ".4f", True),
    "lpips": Metric("LPIPS", "", ".3f", False),
    "gmsd": Metric("GMSD", "", ".4f", False),
    "sharpness": Metric("Gradient energy", "HR = 1", ".3f"),
    "layers": Metric("Layers", "", ".0f"),
    "parameters": Metric("Parameters", "", ",.0f"),
    "mult_adds": Metric("Mult-adds", "G, 1280×720", ",.1f"),
    "megabytes": Metric("Weights", "MB", ",.3f"),
    "seconds": Metric("Time", "s", ".3f"),
    "step_seconds": Metric("Time per training step", "s", ".3f"),
    "step_memory": Metric("Memory of a training step", "MB", ",.1f"),
    "printed": Metric("PSNR, published", "dB", ".2f"),
    "reached": Metric("PSNR, ours", "dB", ".2f"),
    "gap": Metric("Gap", "dB", "+.2f"),
    "training_share": Metric("Training, share of profile paper", "%", ".2f"),
}
KINDS = ("published", "ours", "difference", "spread")
MISSING = "—"


def parse_column(column: str) -> tuple[str, str]:
    """Return metric and kind: ("psnr", "ours") of "psnr_ours@SET", ("psnr", "") of "psnr"; ("", "") without a metric."""
    column = column.partition("@")[0]
    metric, _, kind = column.rpartition("_")
    if metric in METRICS and kind in KINDS:
        return metric, kind
    return (column, "") if column in METRICS else ("", "")


def column_name(column: str | tuple[str, str]) -> str:
    """Return the column itself of a pair `(method, column)`."""
    return column[1] if isinstance(column, tuple) else column


def with_unit(metric: str) -> str:
    """Return the title of a metric with its unit, as in "PSNR (dB)"."""
    title, unit, *_ = METRICS[metric]
    return f"{title} ({unit})" if unit else title


def header(column: str | tuple[str, str]) -> str:
    """Return a column's header, with its unit: "PSNR (dB), published"; for a pair "BTSRN PSNR (dB), published"."""
    if isinstance(column, tuple):
        return " ".join(filter(None, (column[0], header(column[1]))))
    metric, kind = parse_column(column)
    if not metric:
        return (column[:1].upper() + column[1:]).replace("_", " ")
    dataset = column.partition("@")[2]
    return ", ".join(filter(None, (with_unit(metric), "± over seeds" if kind == "spread" else kind, dataset)))


def round_as_printed(column: str, value: float) -> float:
    """Return a metric's value with the printed digits, -0 as 0."""
    return float(format(float(value), METRICS[parse_column(column)[0]].format).replace(",", "")) + 0.0


def format_value(column: str, value: object) -> str:
    """Return a value as text for a column of that name; an em dash for a missing one."""
    if value is None or (isinstance(value, float) and math.isnan(value)) or value is pd.NA:
        return MISSING
    metric, kind = parse_column(column)
    if metric:
        number, spec = round_as_printed(column, value), METRICS[metric].format
        return format(number, f"+{spec}" if kind == "difference" and number else spec).replace("-", "−")
    if column == "scale" and value != "all":
        return f"×{int(value)}"
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() else f"{value:.4g}"
    return str(value)


def published_only(table: pd.DataFrame) -> bool:
    """Return whether a table read from its CSV has published numbers and none of ours."""
    kinds = set()
    for column in table.columns[table.notna().any()]:
        metric, kind = parse_column(column.partition("@")[0].rpartition(" ")[2])  # "BTSRN psnr_ours" of methods side by side
        kinds |= {kind} if metric else set()
    return "published" in kinds and not kinds & {"ours", ""}


def write_files(folder: Path, name: str, contents: Mapping[str, bytes | str]) -> list[Path]:
    """Write the files of a table or figure, by their suffixes, each whole or not at all; return their paths.

    Raises SRError unless `name` is a file name.
    """
    if not re.fullmatch(r"[\w.+-]+", name):
        raise SRError(f"name (={name!r}) must be a file name without folder and suffix, as table_4")
    files = [Path(folder) / f"{name}.{suffix}" for suffix in contents]
    for file, content in zip(files, contents.values(), strict=True):
        atomic_write(file, content)
    return files
