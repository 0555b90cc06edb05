"""Figures of DDet: its architecture, kernels of single pixels, and PSNR on displaced inputs."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from torch import nn

from srlib.draw.diagrams import draw_arrow, draw_box, draw_sum, inch_axes, parameter_count
from srlib.draw.panels import SIGNED, clear_axes, show_image, signed_heatmap
from srlib.draw.style import PALETTE, note, subplots
from srlib.papers.ddet.model import DDet

KERNEL_PATH, PIXEL_PATH, PLAIN = "#dbe9f6", "#fde3c8", "white"  # boxes of the two paths
LINES = {KERNEL_PATH: PALETTE[0], PIXEL_PATH: PALETTE[3], PLAIN: "0.25"}  # arrows


def kernel_heatmap(kernel: np.ndarray, side: int, full: float) -> np.ndarray:
    """Return a kernel `(K, K)` as a uint8 image of `side` pixels: white is 0, red `full` and more, blue -`full` and less.

    Colours follow the signed square root, which keeps small weights visible beside a large one.
    """
    nearest = np.arange(side) * len(kernel) // side
    root = np.sign(kernel) * np.sqrt(np.abs(kernel) / full)
    return signed_heatmap(root, 1.0)[nearest][:, nearest]


def _convolutions(layers: nn.Sequential) -> list[str]:
    convs = [layer for layer in layers.modules() if isinstance(layer, nn.Conv2d)]
    size = convs[0].kernel_size[0]
    return [
        f"{len(convs)} × conv {size}×{size}",
        "→".join(str(n) for n in [convs[0].in_channels, *(c.out_channels for c in convs)]),
    ]


def _path(ax: Axes, points: Sequence[tuple[float, float]], color: str) -> None:
    draw_arrow(ax, points, LINES[color])


def architecture(net: DDet) -> Figure:
    """Draw the two paths of a DDet that has all its parts (Figure 1), with layers and counts read from its modules."""
    rows = [3.3 - 0.98 * k for k in range(len(net.heads))]
    middle, low = float(np.mean(rows)), rows[-1] - 1.2
    ax = inch_axes(0, 11.6, low - 0.7, rows[0] + 0.8)
    ax.text(0.15, rows[0] + 0.6, f"DDet, {parameter_count(net)}", fontsize=10, fontweight="bold")
    blocks = f"{len(net.trunk.body) - 1} residual blocks"
    trunk = [
        "trunk at 1/4 size",
        "space-to-depth 4",
        f"conv {_convolutions(nn.Sequential(net.trunk.entry))[1]}",
        blocks,
        parameter_count(net.trunk),
    ]
    features = ["features", "depth-to-space 4", *_convolutions(net.features), parameter_count(net.features)]
    ax.text(0.4, middle, "$I_{LR}$", ha="center", va="center", fontsize=12)
    left, right = draw_box(ax, 1.75, middle, trunk, KERNEL_PATH, 1.5)
    _path(ax, [(0.62, middle), (left, middle)], KERNEL_PATH)
    left, out = draw_box(ax, 3.65, middle, features, KERNEL_PATH, 1.4)
    _path(ax, [(right, middle), (left, middle)], KERNEL_PATH)
    plus, bus = 9.6, 6.68
    for row, head in zip(rows, net.heads, strict=True):
        size = round([*head.modules()][-1].out_channels ** 0.5)
        left, right = draw_box(ax, 5.75, row, ["head", *_convolutions(head), parameter_count(head)], KERNEL_PATH, 1.35)
        _path(ax, [(out, middle), (4.7, middle), (4.7, row), (left, row)], KERNEL_PATH)
        start, stop = draw_box(ax, 8.5, row, [f"{size}×{size} filter", "for each pixel"], PLAIN, 1.2)
        _path(ax, [(right, row + 0.1), (start, row + 0.1)], KERNEL_PATH)
        ax.text((bus + start) / 2, row + 0.13, f"{size**2} weights per pixel", ha="center", va="bottom", fontsize=7.5)
        _path(ax, [(bus, low), (bus, row - 0.12), (start, row - 0.12)], PIXEL_PATH)
        turn = [(plus, row), (plus, middle + np.sign(row - middle) * 0.11)] if abs(row - middle) > 0.2 else [(plus - 0.11, row)]
        _path(ax, [(stop, row), *turn], PLAIN)
    left, right = draw_box(ax, 1.75, low, ["CDM", *_convolutions(net.cdm), parameter_count(net.cdm)], PIXEL_PATH, 1.5)
    _path(ax, [(0.4, middle - 0.15), (0.4, low), (left, low)], PIXEL_PATH)
    _path(ax, [(right, low), (3.54, low)], PIXEL_PATH)
    _path(ax, [(0.4, low), (0.4, low - 0.58), (3.65, low - 0.58), (3.65, low - 0.11)], PIXEL_PATH)
    ax.plot([3.76, bus], [low, low], color=LINES[PIXEL_PATH], lw=1.3)
    ax.text(5.5, low + 0.06, "$I_{Rev}$, the corrected pixels", ha="center", va="bottom", fontsize=9)
    draw_sum(ax, 3.65, low)
    draw_sum(ax, plus, middle)
    lines = ["refinement", *_convolutions(net.refine), parameter_count(net.refine)]
    left, right = draw_box(ax, 10.4, middle, lines, PLAIN, 1.0)
    _path(ax, [(plus + 0.11, middle), (left, middle)], PLAIN)
    _path(ax, [(right, middle), (right + 0.25, middle)], PLAIN)
    ax.text(right + 0.3, middle, "$I_{Att}$", va="center", fontsize=11)
    return ax.figure


def pixel_kernels(
    image: np.ndarray,
    pixels: Mapping[str, tuple[int, int]],
    kernels: Sequence[np.ndarray],
    given: Mapping[str, Sequence[float]],
    *,
    around: int = 24,
    about: str = "",
) -> Figure:
    """Draw the kernels of chosen pixels: a row each, its surroundings, then the kernel of each size.

    image: uint8 LR. pixels: name -> (row, column). kernels: `(H, W, K, K)` per size. given: name -> grey levels that each kernel
    contributes there. Frames around a pixel show the extent of each kernel. All kernels share one colour scale, which ends at the
    largest weight off the centre; central weights, where training starts, are far larger and printed below.
    """
    columns = 1 + len(kernels)
    size = (2.1 * columns + 0.9, 2.45 * len(pixels) + 0.7)
    fig, axes = subplots(len(pixels), columns, *size, squeeze=False)
    off_centre = [np.delete(k[y, x].ravel(), k[y, x].size // 2) for k in kernels for y, x in pixels.values()]
    full = max(float(np.abs(np.concatenate(off_centre)).max()), 1e-6)
    height, width = image.shape[:2]
    for line, (name, (y, x)) in zip(axes, pixels.items(), strict=True):
        top = min(max(y - around, 0), max(height - 2 * around, 0))
        left = min(max(x - around, 0), max(width - 2 * around, 0))
        show_image(line[0], image[top : top + 2 * around, left : left + 2 * around])
        line[0].set_title(f"row {y}, column {x}", fontsize=9)
        line[0].set_ylabel(name, fontsize=10)
        for ax, per_pixel, color, value in zip(line[1:], kernels, PALETTE[1:], given[name], strict=False):
            kernel = per_pixel[y, x]
            side = len(kernel)
            frame = (x - left - side / 2, y - top - side / 2)
            line[0].add_patch(Rectangle(frame, side, side, fill=False, ec=color, lw=1.2))
            mappable = ax.imshow(kernel, cmap=SIGNED, vmin=-full, vmax=full, interpolation="nearest")
            clear_axes(ax)
            ax.spines[:].set(visible=True, color=color, lw=1.5)
            ax.set_title(f"{side}×{side}", fontsize=9)
            weights = f"centre {kernel[side // 2, side // 2]:+.2f}, sum {kernel.sum():+.2f}"
            ax.set_xlabel(f"{weights},\ngives {value:+.1f} levels".replace("-", "−"), fontsize=9, labelpad=3)
    fig.colorbar(mappable, ax=axes, shrink=0.5, aspect=25, label="weight off the centre", extend="both")
    note(fig, about)
    return fig


def displacement(rows: pd.DataFrame, labels: Mapping[str, str], where: str, about: str = "") -> Figure:
    """Draw the change of PSNR with displaced inputs against HR in place, and the PSNR against HR displaced with them, a line per
    network, DDet's thick and black.

    rows: of `analysis.evaluate_displaced`. where: the dataset, for the axis. about: a line below, on protocol and budgets.
    """
    fig, axes = subplots(1, 2, 9.6, 3.8)
    means = rows.groupby(["method", "shift"], sort=False)[["psnr", "followed"]].mean()
    for k, method in enumerate(means.index.get_level_values(0).unique()):
        line, own = means.loc[method], method == "ddet"
        style = {"marker": "os^Dv<>"[k % 7], "ls": ["-", "--"][k // 7 % 2], "ms": 5}
        style |= {"lw": 2.5, "zorder": 3} if own else {"lw": 1.5, "zorder": 2}
        style |= {"color": "black" if own else PALETTE[k % len(PALETTE)], "label": labels.get(method, method)}
        for ax, values in zip(axes, (line["psnr"] - line["psnr"].loc[0], line["followed"]), strict=True):
            ax.plot(line.index, values, **style)
    titles = ("against HR in place", "against HR displaced with the input")
    names = (f"change of PSNR (dB)\n{where}", f"PSNR (dB)\n{where}")  # too long for one line
    for ax, title, name in zip(axes, titles, names, strict=True):
        ax.set(xlabel="displacement of the input (pixels)", ylabel=name, title=title)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside right center")
    note(fig, about)
    return fig
