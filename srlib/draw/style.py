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

from srlib.core.files import atomic_write
from srlib.draw.columns import check_file_name

DPI = 300
PALETTE = [tuple(color) for color in sns.color_palette("colorblind")]
GREY = "0.45"
TICKS = [("major", "width", 0.8), ("major", "size", 4.0), ("minor", "width", 0.6), ("minor", "size", 2.5)]


def use_style() -> None:
    """Set the project's look for every figure that follows."""
    sns.set_theme(context="notebook", style="ticks", palette="colorblind")
    plt.rcParams.update(
        {
            "axes.grid": True,
            "axes.spines.right": False,
            "axes.spines.top": False,
            "font.size": 10,
            "axes.labelsize": 10,
            "axes.titlesize": 10,
            "xtick.labelsize": 9,
            "ytick.labelsize": 9,
            "legend.fontsize": 9,
            "legend.frameon": False,
            "grid.color": "0.92",
            "grid.linewidth": 0.8,
            "axes.linewidth": 0.8,
            **{f"{axis}tick.{which}.{what}": value for axis in "xy" for which, what, value in TICKS},
            "axes.formatter.useoffset": False,
            "figure.dpi": 110,
            "svg.hashsalt": "srlib",
        }
    )


def note(fig: Figure, text: str) -> None:
    """Write a line about the whole figure, small and grey, below it."""
    if text:
        lines = textwrap.fill(text, int(15 * fig.get_figwidth()))
        fig.supxlabel(lines, x=0.01, ha="left", fontsize=8.5, color=GREY)


def save_figure(fig: Figure, folder: Path, name: str, points: pd.DataFrame | None = None) -> list[Path]:
    """Write `name`.png (300 dpi) and `name`.svg, and `name`.csv of the points that it draws where they are given, each whole or
    not at all; return their paths.

    Raises SRError for a name that is no file name.
    """
    check_file_name(name)
    files = []
    for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
        out = io.BytesIO()
        with plt.rc_context({"svg.hashsalt": "srlib"}):
            fig.savefig(out, format=suffix, dpi=DPI, metadata=metadata, facecolor="white")
        files.append(Path(folder) / f"{name}.{suffix}")
        atomic_write(files[-1], out.getvalue())
    if points is not None:
        files.append(Path(folder) / f"{name}.csv")
        atomic_write(files[-1], points.to_csv(index=False, float_format="%.8g"))
    return files
