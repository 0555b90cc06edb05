"""Figures about patches: how hard they are, which way they go, what that costs."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from srlib.color import to_rgb
from srlib.difficulty import CLASSES
from srlib.figures import GREY, PALETTE, use_style
from srlib.models.difficulty_sr import PATCH

SHADES = plt.get_cmap("viridis")(np.linspace(0.05, 0.95, len(CLASSES)))  # hardest dark, easiest bright; safe for all eyes


def _grid(ax, corners: Sequence[tuple[int, int]], classes: Sequence[int], scale: int, alpha: float) -> None:
    side = PATCH * scale
    for (y, x), k in zip(corners, classes, strict=True):
        ax.add_patch(Rectangle((x * scale - 0.5, y * scale - 0.5), side, side, fc=SHADES[k], ec="white", lw=0.6, alpha=alpha))


def _legend(fig: Figure) -> None:
    handles = [Patch(color=shade, label=label) for shade, label in zip(SHADES, CLASSES, strict=True)]
    fig.legend(handles=handles, loc="outside lower center", ncols=len(CLASSES), title="PSNR of bicubic, hardest to easiest")


def difficulty_maps(
    image: np.ndarray, corners: Sequence[tuple[int, int]], actual: Sequence[int], predicted: Sequence[int], scale: int
) -> Figure:
    """Draw an HR picture, its patches by their actual class, and by the one that the identifier sees in the LR patch."""
    use_style()
    height, width = image.shape[:2]
    fig, axes = plt.subplots(1, 3, figsize=(10, 10 / 3 * height / width + 0.8), layout="constrained")
    titles = ("HR", "actual difficulty", "as told from LR alone")
    for ax, classes, title in zip(axes, (None, actual, predicted), titles, strict=True):
        ax.imshow(to_rgb(image), interpolation="nearest")
        if classes is not None:
            _grid(ax, corners, classes, scale, alpha=0.6)
        ax.set_title(title)
        ax.set_axis_off()
    _legend(fig)
    return fig


def framework(image: np.ndarray, pictures: dict[str, np.ndarray], corners, predicted: Sequence[int], scale: int) -> Figure:
    """Draw the way through the network on one picture: LR in patches, their classes, what each branch makes, the result.

    image: LR. pictures: label -> picture of HR size, in the order in which they come about.
    """
    use_style()
    panels = len(pictures) + 1
    height, width = image.shape[:2]
    fig, axes = plt.subplots(1, panels, figsize=(3 * panels, 3 * height / width + 1.3), layout="constrained")
    axes[0].imshow(to_rgb(image), interpolation="nearest")
    _grid(axes[0], corners, predicted, 1, alpha=0.45)
    axes[0].set_title("LR, 48×48 patches\nby the identifier's class")
    for ax, (label, picture) in zip(axes[1:], pictures.items(), strict=True):
        ax.imshow(to_rgb(picture), interpolation="nearest")
        ax.set_title(label)
        ax.annotate("", (-0.01, 0.5), (-0.09, 0.5), "axes fraction", arrowprops={"arrowstyle": "->", "color": GREY, "lw": 1.5})
    for ax in axes:
        ax.set_axis_off()
    _legend(fig)
    return fig


def gallery(pictures: Sequence[np.ndarray], titles: Sequence[str], rows: int) -> Figure:
    """Draw pictures of one size in `rows` rows, each with a line above it."""
    use_style()
    columns = -(-len(pictures) // rows)
    fig, axes = plt.subplots(rows, columns, figsize=(1.5 * columns, 1.75 * rows), layout="constrained", squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, picture, title in zip(axes.flat, pictures, titles, strict=False):
        ax.imshow(to_rgb(picture), interpolation="nearest")
        ax.set_title(title, fontsize=9)
    return fig


def confusion(table: pd.DataFrame, title: str) -> Figure:
    """Draw a confusion matrix: counts, shaded by their share of the actual class."""
    use_style()
    fig, ax = plt.subplots(figsize=(5, 4.2), layout="constrained")
    shares = table.div(table.sum(axis=1).clip(lower=1), axis=0).to_numpy()
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ax.grid(False)
    for (i, j), share in np.ndenumerate(shares):
        ax.text(j, i, f"{table.iat[i, j]:,}", ha="center", va="center", color="white" if share > 0.55 else "black", fontsize=9)
    ticks = range(len(table))
    ax.set_xticks(ticks, table.columns, rotation=30, ha="right")
    ax.set_yticks(ticks, table.index)
    ax.set(xlabel="predicted from LR", ylabel="actual", title=title)
    return fig


def balance(shares: pd.DataFrame) -> Figure:
    """Draw how the patches of each set fall into the classes: a bar per row of `shares`, a column per class, adding up to 1."""
    use_style()
    fig, ax = plt.subplots(figsize=(7, 0.42 * len(shares) + 1.3), layout="constrained")
    left = np.zeros(len(shares))
    for k, label in enumerate(shares.columns):
        ax.barh(shares.index, shares[label], left=left, color=SHADES[k], label=label)
        left += shares[label].to_numpy()
    for i, easy in enumerate(shares.iloc[:, -1]):
        ax.text(1.01, i, f"{100 * easy:.1f} % easy", va="center", fontsize=9, color=GREY)
    ax.set(xlim=(0, 1.13), xlabel="share of the patches")
    ax.invert_yaxis()
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=len(CLASSES))
    return fig


def sweep(tables: dict[str, pd.DataFrame], seconds: tuple[float, float, float]) -> Figure:
    """Draw PSNR and time per patch against the threshold, a line per table of `difficulty.sweep`.

    seconds: of one patch through the identifier, the plain and the complex branch. Dashed: choosing by the truth.
    """
    use_style()
    fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for k, (label, table) in enumerate(tables.items()):
        line, truth = table[table["threshold"].notna()], table[table["threshold"].isna()].iloc[0]
        left.plot(line["threshold"], line["psnr"], color=PALETTE[k], marker="o", ms=3, label=label)
        left.axhline(truth["psnr"], color=PALETTE[k], ls="--", lw=1)
        told, plain, complex_ = seconds
        spent = told + line["share"] * plain + (1 - line["share"]) * complex_
        right.plot(line["threshold"], 1000 * spent, color=PALETTE[k], marker="o", ms=3)
    right.axhline(1000 * seconds[2], color=GREY, ls="--", lw=1)
    right.set_title("dashed: the complex branch alone", fontsize=9, color=GREY)
    for ax in (left, right):  # most happens near 0, where few patches are
        ax.set_xscale("symlog", linthresh=0.01)
        ax.set_xticks([0, 0.01, 0.1, 1], ["0", "0.01", "0.1", "1"])
        ax.set_xlim(-0.0005, 1.2)
    left.set(xlabel="plain where P(easiest) is at least", ylabel="PSNR (dB), mean over images")
    right.set(xlabel="plain where P(easiest) is at least", ylabel="milliseconds per patch", ylim=(0, None))
    fig.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=len(tables))
    left.set_title("dashed: chosen by the truth", fontsize=9, color=GREY)
    return fig
