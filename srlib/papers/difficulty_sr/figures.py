"""Figures of patches: difficulty, routing, and what routing costs in PSNR and time."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from srlib.core.color import to_rgb, to_y
from srlib.draw.style import GREY, PALETTE, note, subplots
from srlib.papers.difficulty_sr.analysis import CLASSES
from srlib.papers.difficulty_sr.model import PATCH

SHADES = plt.get_cmap("viridis")(np.linspace(0.05, 0.95, len(CLASSES)))  # hardest dark, easiest bright; safe for all eyes
LABELS = [label.replace(">=", "≥") for label in CLASSES]
ALPHA = 0.6  # of a class drawn over a picture
BLANK = np.uint8(222)  # grey level of what a branch leaves to the other
OVER_GREY = [(*(ALPHA * shade[:3] + (1 - ALPHA) * 0.5), 1.0) for shade in SHADES]  # the same over mid-grey, for legends


def _visible(starts: Sequence[int]) -> dict[int, int]:
    """Return the pixels of each patch along one axis that the next patch leaves visible, by where the patch starts."""
    order = sorted(set(starts))
    return {a: min(PATCH, b - a) for a, b in zip(order, [*order[1:], order[-1] + PATCH], strict=True)}


def _grid(ax, image: np.ndarray, corners: Sequence[tuple[int, int]], classes: Sequence[int], scale: int) -> None:
    """Draw the patches' classes over a picture; where patches overlap, the last one is drawn.

    The picture is grey and of low contrast, so that a class has the legend's colour everywhere.
    """
    luma = to_y(to_rgb(image), rounded=False)
    ax.imshow(0.5 + 0.4 * (luma / 255 - 0.5), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    high, wide = (_visible(starts) for starts in zip(*corners, strict=True))
    for (y, x), k in zip(corners, classes, strict=True):
        place, size = (x * scale - 0.5, y * scale - 0.5), (wide[x] * scale, high[y] * scale)
        ax.add_patch(Rectangle(place, *size, fc=SHADES[k], ec="white", lw=0.6, alpha=ALPHA))


def _legend(fig: Figure, shades: Sequence) -> None:
    handles = [Patch(color=shade, label=label) for shade, label in zip(shades, LABELS, strict=True)]
    title = "PSNR of bicubic, hardest to easiest"
    fig.legend(handles=handles, loc="outside lower center", ncols=len(LABELS), title=title, title_fontsize=10)


def _pictures(
    panels: Sequence[tuple[str, np.ndarray, Sequence[int] | None]],
    corners: Sequence[tuple[int, int]],
    scale: int,
    about: str,
) -> Figure:
    """Draw pictures, three in a row: a title, an image and perhaps the classes of its patches; below, a legend of the classes."""
    rows = -(-len(panels) // 3)
    height, width = panels[0][1].shape[:2]
    fig, axes = subplots(rows, 3, 9.6, rows * (3.2 * height / width + 0.5) + 1.0, squeeze=False)
    for ax, (title, image, classes) in zip(axes.flat, panels, strict=True):
        if classes is None:
            ax.imshow(to_rgb(image), interpolation="nearest" if image.shape[1] < 500 else "auto")
        else:
            _grid(ax, image, corners, classes, scale)
        ax.set_title(title)
        ax.set_axis_off()
    fig.get_layout_engine().set(h_pad=0.09)
    fig.suptitle(about, fontsize=10, fontweight="bold")
    _legend(fig, OVER_GREY)
    return fig


def difficulty_maps(
    image: np.ndarray, corners: Sequence[tuple[int, int]], actual: Sequence[int], predicted: Sequence[int], scale: int, about: str
) -> Figure:
    """Draw an HR picture, its patches by actual class, and by the class that the identifier predicts from LR.

    about: the figure's title, such as set and picture.
    """
    panels = [("HR", image, None), ("actual difficulty", image, actual), ("predicted from LR", image, predicted)]
    return _pictures(panels, corners, scale, f"{about}, ×{scale}; only whole {PATCH}×{PATCH} LR patches")


def plain_mask(corners: Sequence[tuple[int, int]], classes: Sequence[int], height: int, width: int) -> np.ndarray:
    """Return the binary mask of eq. 3 over an LR picture, bool `(height, width)`: True in patches of the easiest class.

    Where patches overlap, the last one counts.
    """
    mask = np.zeros((height, width), bool)
    for (y, x), k in zip(corners, classes, strict=True):
        mask[y : y + PATCH, x : x + PATCH] = k == len(CLASSES) - 1
    return mask


def framework(
    image: np.ndarray,
    complex_sr: np.ndarray,
    plain_sr: np.ndarray,
    result: np.ndarray,
    corners: Sequence[tuple[int, int]],
    predicted: Sequence[int],
    about: str,
) -> Figure:
    """Draw the network at work on one picture (Figure 2): LR, predicted classes, binary mask, what each branch adds, the result.

    image: LR. complex_sr, plain_sr, result: of HR size. about: the figure's title, such as set, picture and scale.
    """
    mask, scale = plain_mask(corners, predicted, *image.shape[:2]), len(result) // len(image)
    enlarged = mask.repeat(scale, axis=0).repeat(scale, axis=1)[..., None]
    panels = [
        ("LR", image, None),
        ("class of each 48×48 patch,\nas the identifier predicts it", image, predicted),
        ("mask: white for the plain,\nblack for the complex branch", 255 * mask.astype(np.uint8), None),
        ("complex branch (IDN)\nwhere the mask is black", np.where(enlarged, BLANK, complex_sr), None),
        ("plain branch (bicubic)\nwhere the mask is white", np.where(enlarged, plain_sr, BLANK), None),
        ("result: their sum", result, None),
    ]
    return _pictures(panels, corners, 1, about)


def confusion(table: pd.DataFrame, title: str) -> Figure:
    """Draw the table of `analysis.confusion`, shaded by the share of the actual class."""
    fig, ax = subplots(1, 1, 5, 4.2)
    shares = table.div(table.sum(axis=1).clip(lower=1), axis=0)
    look = {"cmap": "Blues", "vmin": 0, "vmax": 1, "cbar": False, "square": True, "annot_kws": {"fontsize": 9}}
    sns.heatmap(shares, annot=table, fmt=",d", xticklabels=LABELS, yticklabels=LABELS, ax=ax, **look)
    ax.tick_params("x", rotation=30)
    ax.tick_params("y", rotation=0)
    ax.set(xlabel="predicted from LR", ylabel="actual", title=f"{title}\ncolour: share of the row")
    return fig


def balance(shares: pd.DataFrame, scale: int) -> Figure:
    """Draw the share of each class in the patches of each set: a bar per row of `shares`, a column per class, summing to 1."""
    fig, ax = subplots(1, 1, 7, 0.42 * len(shares) + 1.7)
    left = np.zeros(len(shares))
    for shade, label in zip(SHADES, shares.columns, strict=True):
        ax.barh(shares.index, shares[label], left=left, color=shade)
        left += shares[label].to_numpy()
    for i, easy in enumerate(shares.iloc[:, -1]):
        ax.text(1.01, i, f"{100 * easy:.1f} % easy", va="center", fontsize=9, color=GREY)
    ax.set(xlim=(0, 1), xlabel="share of the patches", title=f"×{scale}, whole {PATCH}×{PATCH} LR patches")
    ax.grid(False)
    ax.invert_yaxis()
    _legend(fig, SHADES)
    return fig


def sweep(tables: dict[str, pd.DataFrame], seconds: tuple[float, float, float], scale: int, about: str = "") -> Figure:
    """Draw PSNR and time per patch against the threshold, a line per table of `analysis.sweep`.

    tables: by the name of the set; thresholds rise from 0 (every patch plain: far below, so given in the legend) to one above 1
    (every patch complex: the zero of the PSNR axis). seconds: per patch, of the identifier, the plain and the complex branch.
    about: a note below, on budgets and hardware. Lines that lie on each other stay visible: later ones are thinner.
    """
    fig, (left, right) = subplots(1, 2, 9, 3.9)
    identifier, plain, complex_ = seconds
    for k, (label, table) in enumerate(tables.items()):
        look = {"color": PALETTE[k % len(PALETTE)], "marker": "o", "ms": max(6 - 1.5 * k, 3), "lw": max(3.4 - 1.2 * k, 1)}
        gain = table["psnr"] - table.loc[table["threshold"].idxmax(), "psnr"]
        truth, zero = table["threshold"].isna(), table["threshold"] == 0
        line = table[~truth & ~zero]
        lost = f"{gain[zero].item():.2f}".replace("-", "−")
        name = f"{label} (threshold 0: {lost} dB)"
        left.plot(line["threshold"], gain[line.index], **look, label=name)
        left.axhline(gain[truth].item(), color=look["color"], ls="--", lw=1)
        per_patch = identifier + line["share"] * plain + (1 - line["share"]) * complex_
        right.plot(line["threshold"], 1000 * per_patch, **look)
    right.axhline(1000 * complex_, color=GREY, ls="--", lw=1)
    for ax in (left, right):  # most changes near 0
        ax.set_xscale("log")
        ax.set_xticks([0.001, 0.01, 0.1, 1], ["0.001", "0.01", "0.1", "1"])
        ax.set(xlim=(0.001, 1.3), xlabel="threshold on P(easiest)")
    left.set_ylabel("PSNR minus the complex branch's (dB),\nmean over images")
    right.set(ylabel="milliseconds per patch", ylim=(0, 1100 * (identifier + complex_)))
    left.set_title(f"×{scale}; dashed: by the actual class", fontsize=9, color=GREY)
    right.set_title("dashed: the complex branch alone", fontsize=9, color=GREY)
    fig.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    note(fig, about)
    return fig
