"""The look of all figures, and how they are saved: PNG and SVG, byte for byte the same whenever the data are.

The palette is seaborn's "colorblind".
"""

import io
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from srlib.draw.columns import write_files

DPI = 300
PALETTE = [tuple(color) for color in sns.color_palette("colorblind")]
GREY = "0.45"
DESCRIPTION = 600  # characters at most
LOOK = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.formatter.useoffset": False,
    "legend.frameon": False,
    "grid.color": "0.92",
    "lines.linewidth": 1.5,
    "figure.dpi": 110,
    "svg.hashsalt": "srlib",
}


def use_style() -> None:
    """Set the project's look for every figure that follows: text of 10 points, ticks and legends of 9."""
    sns.set_theme(context="paper", style="ticks", palette="colorblind", font_scale=1.04, rc=LOOK)


def subplots(rows: int, columns: int, width: float, height: float, **options) -> tuple:
    """Return a figure in the project's look and its axes, as `plt.subplots`; width, height: in inches."""
    use_style()
    return plt.subplots(rows, columns, figsize=(width, height), layout="constrained", **options)


def note(fig: Figure, text: str) -> None:
    """Write a line about the whole figure, small and grey, below it."""
    if text:
        lines = textwrap.fill(text, int(15 * fig.get_figwidth()))
        fig.supxlabel(lines, x=0.01, ha="left", fontsize=8.5, color=GREY)


def describe(fig: Figure) -> str:
    """Return the words of a figure for readers who do not see it: its titles, what is drawn against what, the note below it."""
    words = [fig.get_suptitle()]
    for axes in fig.axes:
        words += [
            axes.get_title("left"),
            axes.get_title(),
            " against ".join(filter(None, (axes.get_ylabel(), axes.get_xlabel()))),
        ]
    words = [" ".join(text.split()) for text in (*words, fig.get_supxlabel())]
    return textwrap.shorten("; ".join(dict.fromkeys(filter(None, words))), DESCRIPTION, placeholder=" ...")


def save_figure(fig: Figure, folder: Path, name: str, points: pd.DataFrame | None = None) -> list[Path]:
    """Write `name`.png (300 dpi), `name`.svg, and where they are given `name`.csv of the points that it draws, each whole or not
    at all; return their paths. Both pictures carry `describe` as their description.

    Raises SRError for a name that is no file name.
    """
    contents: dict[str, bytes | str] = {}
    text = describe(fig) or None
    for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
        out = io.BytesIO()
        with plt.rc_context({"svg.hashsalt": "srlib"}):
            fig.savefig(out, format=suffix, dpi=DPI, metadata={**metadata, "Description": text}, facecolor="white")
        contents[suffix] = out.getvalue()
    if points is not None:
        contents["csv"] = points.to_csv(index=False, float_format="%.8g")
    return write_files(folder, name, contents)
