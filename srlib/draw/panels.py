"""Rows of images, and heat maps."""

import math
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from srlib.core.color import to_rgb, to_uint8
from srlib.draw.style import note, subplots

SIGNED = plt.get_cmap("RdBu_r")  # blue below zero, white at zero, red above; safe for colour-blind readers


def signed_heatmap(values: np.ndarray, full: float) -> np.ndarray:
    """Return values `(H, W)` as a uint8 RGB image: white is 0, red `full` and more, blue -`full` and less."""
    return to_uint8(255 * SIGNED(np.clip(values / full, -1, 1) / 2 + 0.5)[..., :3])


def window_sums(values: np.ndarray, side: int) -> np.ndarray:
    """Return the sum of each `side` by `side` window of `(H, W)`, `(H - side + 1, W - side + 1)`."""
    integral = np.pad(values.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    return integral[side:, side:] - integral[:-side, side:] - integral[side:, :-side] + integral[:-side, :-side]


def largest_window(values: np.ndarray, side: int) -> tuple[int, int, int, int]:
    """Return the square of `(H, W)` with the largest sum: top, left, height and width, at most `side` pixels each."""
    side = min(side, *values.shape)
    sums = window_sums(values, side)
    top, left = np.unravel_index(sums.argmax(), sums.shape)
    return int(top), int(left), side, side


def clear_axes(ax: Axes) -> None:
    """Remove ticks, grid and frame; labels stay."""
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    ax.spines[:].set_visible(False)


def show_image(ax: Axes, image: np.ndarray, label: str = "") -> None:
    """Show an image without ticks, grid and frame, a label below it."""
    clear_axes(ax)
    ax.imshow(to_rgb(image), interpolation="nearest")
    ax.set_xlabel(label, fontsize=9, labelpad=3)


def image_grid(rows: Mapping[str, Sequence[tuple[str, np.ndarray]]], about: str = "", operators: Sequence[str] = ()) -> Figure:
    """Draw rows of (label, image), all of one size, the row's name at its left and each label below its image.

    about: a line below the figure. operators: signs between neighbours of every row ("→", "+", "="), one fewer than images.
    """
    columns = max(len(row) for row in rows.values())
    height, width = next(iter(rows.values()))[0][1].shape[:2]
    panel = min(1.75, 12 / columns)
    lines = max(label.count("\n") + 1 for row in rows.values() for label, _ in row)
    total = columns * (panel + 0.05) + 0.4
    below = 0.14 + 0.16 * math.ceil(len(about) / (15 * total)) if about else 0
    tall = len(rows) * (panel * height / width + 0.14 + 0.16 * lines) + below
    fig, axes = subplots(len(rows), columns, total, tall, squeeze=False)
    fig.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.12 if operators else 0, hspace=0)
    for line, (name, row) in zip(axes, rows.items(), strict=True):
        for ax in line:
            clear_axes(ax)
            ax.set_anchor("N")
        line[0].set_ylabel(name)
        for ax, (label, image) in zip(line, row, strict=False):
            show_image(ax, image, label)
        for ax, sign in zip(line[1:], operators, strict=bool(operators)):
            look = {"ha": "center", "va": "center", "fontsize": 14, "color": "0.25", "in_layout": False}
            ax.text(-0.08, 0.5, sign, transform=ax.transAxes, **look)
    note(fig, about)
    return fig
