"""What columns of tables and axes of figures are called, their units, and how their numbers are printed."""

import math
import re

import pandas as pd

from srlib.core.errors import SRError

# header, unit, format, whether more is better (False: less is; None: not marked)
METRICS: dict[str, tuple[str, str, str, bool | None]] = {
    "psnr": ("PSNR", "dB", ".2f", True),
    "ssim": ("SSIM", "", ".4f", True),
    "ssim_uniform7": ("SSIM (7×7 window)", "", ".4f", True),
    "ssim_padded": ("SSIM (of the code)", "", ".4f", True),
    "lpips": ("LPIPS", "", ".3f", False),
    "gmsd": ("GMSD", "", ".4f", False),
    "sharpness": ("Gradient energy of HR's", "", ".3f", None),
    "layers": ("Layers", "", ".0f", None),
    "parameters": ("Parameters", "", ",.0f", None),
    "mult_adds": ("Mult-adds", "G, 1280×720", ",.1f", None),
    "megabytes": ("Weights", "MB", ",.3f", None),
    "seconds": ("Time", "s", ".3f", None),
    "step_seconds": ("Time per training step", "s", ".3f", None),
    "step_memory": ("Memory of a training step", "MB", ",.1f", None),
    "printed": ("PSNR, published", "dB", ".2f", None),
    "reached": ("PSNR, ours", "dB", ".2f", None),
    "gap": ("Gap", "dB", "+.2f", None),
    "training_share": ("Training, of profile paper's", "%", ".2f", None),
}
KINDS = ("published", "ours", "difference", "spread")
MISSING = "—"


def metric_of(column: str) -> tuple[str, str]:
    """Return metric and kind of a column: ("psnr", "ours"), also of "psnr_ours@SET"; ("", "") for one that is no metric."""
    column = column.partition("@")[0]
    for kind in KINDS:
        if column.endswith(f"_{kind}") and column.removesuffix(f"_{kind}") in METRICS:
            return column.removesuffix(f"_{kind}"), kind
    return (column, "") if column in METRICS else ("", "")


def with_unit(metric: str) -> str:
    return f"{METRICS[metric][0]} ({METRICS[metric][1]})".replace(" ()", "")


def header(column: str | tuple[str, str]) -> str:
    """Return a column's header, with its unit: "PSNR (dB), published"; for a pair "BTSRN PSNR (dB), published"."""
    if isinstance(column, tuple):
        return " ".join(filter(None, (column[0], header(column[1]))))
    metric, kind = metric_of(column)
    if not metric:
        return (column[:1].upper() + column[1:]).replace("_", " ")
    where = column.partition("@")[2]
    return with_unit(metric) + {"": "", "spread": ", ± over seeds"}.get(kind, f", {kind}") + (f", {where}" if where else "")


def rounded(column: str, value: float) -> float:
    """Return a value of a metric's column with the digits that are printed, -0 as 0."""
    return float(format(float(value), METRICS[metric_of(column)[0]][2]).replace(",", "")) + 0.0


def text(column: str, value: object) -> str:
    """Return a value as it is printed in a column of that name; a missing one is an em dash."""
    if value is None or (isinstance(value, float) and math.isnan(value)) or value is pd.NA:
        return MISSING
    metric, kind = metric_of(column)
    if metric:
        form = METRICS[metric][2]
        number = rounded(column, value)
        return format(number, "+" + form if kind == "difference" and number else form).replace("-", "−")
    if column == "scale" and value != "all":
        return f"×{int(value)}"
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() else f"{value:.4g}"
    return str(value)


def check_name(name: str) -> None:
    """Raise SRError unless `name` can name the files of a table or figure."""
    if not re.fullmatch(r"[\w.+-]+", name):
        raise SRError(f"name (={name!r}) must be a file name without folder and suffix, as table_4")
