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
from srlib.draw.layout import SUM
from srlib.draw.panels import SIGNED, clear_axes, show_image, signed_heatmap
from srlib.draw.style import PALETTE, note, subplots
from srlib.papers.ddet.model import DDet

KERNEL_PATH, PIXEL_PATH, PLAIN = "#dbe9f6", "#fde3c8", "white"  # boxes of the two paths
AROUND = 24  # pixels to each side of one whose kernels are drawn
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
    channels = "→".join(str(n) for n in [convs[0].in_channels, *(conv.out_channels for conv in convs)])
    return [f"{len(convs)} × conv {convs[0].kernel_size[0]}×{convs[0].kernel_size[0]}", channels]


def architecture(net: DDet) -> Figure:
    """Draw the two paths of a DDet that has all its parts (Figure 1), with layers and counts read from its modules."""
    rows = [3.3 - 0.98 * k for k in range(len(net.heads))]
    middle, low = float(np.mean(rows)), rows[-1] - 1.2
    ax = inch_axes(0, 11.6, low - 0.7, rows[0] + 0.8)

    def box(x: float, y: float, width: float, color: str, module: nn.Module, *lines: str) -> tuple[float, float]:
        return draw_box(ax, x, y, [*lines, parameter_count(module)], color, width)

    def path(color: str, *points: tuple[float, float]) -> None:
        draw_arrow(ax, points, LINES[color])

    ax.text(0.15, rows[0] + 0.6, f"DDet, {parameter_count(net)}", fontsize=10, fontweight="bold")
    ax.text(0.4, middle, "$I_{LR}$", ha="center", va="center", fontsize=12)
    entry, blocks = _convolutions(nn.Sequential(net.trunk.entry))[1], len(net.trunk.body) - 1
    trunk = ("trunk at 1/4 size", "space-to-depth 4", f"conv {entry}", f"{blocks} residual blocks")
    left, right = box(1.75, middle, 1.5, KERNEL_PATH, net.trunk, *trunk)
    path(KERNEL_PATH, (0.62, middle), (left, middle))
    left, out = box(3.65, middle, 1.4, KERNEL_PATH, net.features, "features", "depth-to-space 4", *_convolutions(net.features))
    path(KERNEL_PATH, (right, middle), (left, middle))
    plus, bus = 9.6, 6.68
    for row, head in zip(rows, net.heads, strict=True):
        size = round([*head.modules()][-1].out_channels ** 0.5)
        left, right = box(5.75, row, 1.35, KERNEL_PATH, head, "head", *_convolutions(head))
        path(KERNEL_PATH, (out, middle), (4.7, middle), (4.7, row), (left, row))
        start, stop = draw_box(ax, 8.5, row, [f"{size}×{size} filter", "for each pixel"], PLAIN, 1.2)
        path(KERNEL_PATH, (right, row + 0.1), (start, row + 0.1))
        ax.text((bus + start) / 2, row + 0.13, f"{size**2} weights per pixel", ha="center", va="bottom", fontsize=7.5)
        path(PIXEL_PATH, (bus, low), (bus, row - 0.12), (start, row - 0.12))
        turn = [(plus, row), (plus, middle + np.sign(row - middle) * SUM)] if abs(row - middle) > 0.2 else [(plus - SUM, row)]
        path(PLAIN, (stop, row), *turn)
    left, right = box(1.75, low, 1.5, PIXEL_PATH, net.cdm, "CDM", *_convolutions(net.cdm))
    path(PIXEL_PATH, (0.4, middle - 0.15), (0.4, low), (left, low))
    path(PIXEL_PATH, (right, low), (3.65 - SUM, low))
    path(PIXEL_PATH, (0.4, low), (0.4, low - 0.58), (3.65, low - 0.58), (3.65, low - SUM))
    ax.plot([3.65 + SUM, bus], [low, low], color=LINES[PIXEL_PATH], lw=1.1)
    ax.text(5.5, low + 0.06, "$I_{Rev}$, the corrected pixels", ha="center", va="bottom", fontsize=9)
    draw_sum(ax, 3.65, low)
    draw_sum(ax, plus, middle)
    left, right = box(10.4, middle, 1.0, PLAIN, net.refine, "refinement", *_convolutions(net.refine))
    path(PLAIN, (plus + SUM, middle), (left, middle))
    path(PLAIN, (right, middle), (right + 0.25, middle))
    ax.text(right + 0.3, middle, "$I_{Att}$", va="center", fontsize=11)
    return ax.figure


MAP, MAP_PIXELS = 0.8, 20  # side of a map in Figure 2, in inches and pixels


def _map(ax: Axes, x: float, y: float, color: str, window: int, factor: int = 1, detail: int = 1) -> tuple[float, float]:
    """Draw a map around (x, y), reduced by `factor`, with a window of so many of its pixels; return its left and right side.

    detail: side of its smallest detail in its pixels, the mesh of the grid that is drawn.
    """
    pixel, half = MAP / MAP_PIXELS, MAP / factor / 2
    ax.add_patch(Rectangle((x - half, y - half), 2 * half, 2 * half, fc=color, ec="0.25", lw=0.8))
    for line in np.arange(-half, half + 1e-9, detail * pixel):
        ax.plot([x + line] * 2, [y - half, y + half], color="0.72", lw=0.35, zorder=1.5)
        ax.plot([x - half, x + half], [y + line] * 2, color="0.72", lw=0.35, zorder=1.5)
    side = window * pixel
    ax.add_patch(Rectangle((x - side / 2, y - side / 2), side, side, fill=False, ec=PALETTE[3], lw=1.8, zorder=3))
    return x - half, x + half


def scale_paths(sizes: Sequence[int]) -> Figure:
    """Draw Figure 2: (a) features of several scales as usual, reduced, filtered and enlarged; (b) kernels of several sizes here.

    sizes: of the kernels. Meshes show the smallest detail of each map, red frames what one filter sees.
    """
    rows = [2.75 - 1.0 * k for k in range(3)]
    ax = inch_axes(0, 12.2, -0.25, 3.75)
    look = {"ha": "center", "va": "center", "fontsize": 8.5}
    for x, title in ((0.1, "(a) several scales as usual"), (7.0, "(b) several kernels for each pixel, here")):
        ax.text(x, 3.55, title, fontsize=10, fontweight="bold", va="center")
    _map(ax, 0.6, rows[1], KERNEL_PATH, 0)
    ax.text(0.6, rows[1] - 0.6, "features", **look)
    for factor, y in zip((1, 2, 4), rows, strict=True):
        left, right = _map(ax, 2.3, y, KERNEL_PATH, 3, factor)
        draw_arrow(ax, [(1.0, rows[1]), (1.25, rows[1]), (1.25, y), (left, y)])
        ax.text((1.25 + left) / 2, y + 0.13, f"1/{factor}" if factor > 1 else "as it is", **look)
        start, stop = draw_box(ax, 3.6, y, ["convolution", "3×3"], PLAIN, 0.95)
        draw_arrow(ax, [(right, y), (start, y)])
        left, right = _map(ax, 5.15, y, KERNEL_PATH, 0, 1, factor)
        draw_arrow(ax, [(stop, y), (left, y)])
        ax.text((stop + left) / 2, y + 0.13, f"×{factor}" if factor > 1 else "", **look)
        turn = [(6.2, y), (6.2, rows[1] + np.sign(y - rows[1]) * SUM)] if y != rows[1] else [(6.2 - SUM, y)]
        draw_arrow(ax, [(right, y), *turn])
    draw_sum(ax, 6.2, rows[1])
    ax.text(3.1, -0.05, "what is smaller than a pixel of the reduced map is lost", **look)
    _map(ax, 7.5, rows[1], PIXEL_PATH, 0)
    ax.text(7.5, rows[1] - 0.6, "$I_{Rev}$", **look)
    for size, y in zip(sizes, rows, strict=True):
        left, right = _map(ax, 9.1, y, PIXEL_PATH, size)
        draw_arrow(ax, [(7.9, rows[1]), (8.3, rows[1]), (8.3, y), (left, y)])
        start, stop = draw_box(ax, 10.45, y, [f"{size}×{size}", "for each pixel"], PLAIN, 1.05)
        draw_arrow(ax, [(right, y), (start, y)])
        turn = [(11.6, y), (11.6, rows[1] + np.sign(y - rows[1]) * SUM)] if y != rows[1] else [(11.6 - SUM, y)]
        draw_arrow(ax, [(stop, y), *turn])
    draw_sum(ax, 11.6, rows[1])
    ax.text(9.6, -0.05, "the larger kernel sees farther, at full size; nothing is reduced", **look)
    return ax.figure


def pixel_kernels(
    image: np.ndarray,
    pixels: Mapping[str, tuple[int, int]],
    kernels: Sequence[np.ndarray],
    given: Mapping[str, Sequence[float]],
    about: str = "",
) -> Figure:
    """Draw the kernels of chosen pixels: a row each, its surroundings, then the kernel of each size.

    image: uint8 LR. pixels: name -> (row, column). kernels: `(H, W, K, K)` per size. given: name -> grey levels that each kernel
    contributes there. Frames around a pixel show the extent of each kernel. All kernels share one colour scale, which ends at the
    largest weight off the centre; the central weight, where training starts, is printed below.
    """
    columns = 1 + len(kernels)
    size = (2.1 * columns + 0.9, 2.45 * len(pixels) + 0.7)
    fig, axes = subplots(len(pixels), columns, *size, squeeze=False)
    off_centre = [np.delete(k[y, x].ravel(), k[y, x].size // 2) for k in kernels for y, x in pixels.values()]
    full = max(float(np.abs(np.concatenate(off_centre)).max()), 1e-6)
    height, width = image.shape[:2]
    for line, (name, (y, x)) in zip(axes, pixels.items(), strict=True):
        top = min(max(y - AROUND, 0), max(height - 2 * AROUND, 0))
        left = min(max(x - AROUND, 0), max(width - 2 * AROUND, 0))
        show_image(line[0], image[top : top + 2 * AROUND, left : left + 2 * AROUND])
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

    rows: of `analysis.evaluate_displaced`, with the `method`. where: the dataset, for the axis. about: a line below, on protocol
    and budgets.
    """
    fig, (in_place, followed) = subplots(1, 2, 9.6, 3.8)
    means = rows.groupby(["method", "shift"], sort=False)[["psnr", "followed"]].mean()
    for k, method in enumerate(means.index.get_level_values(0).unique()):
        line, own = means.loc[method], method == "ddet"
        style = {"marker": "os^Dv<>"[k % 7], "ls": ["-", "--"][k // 7 % 2], "ms": 5, "label": labels.get(method, method)}
        style |= {"color": "black" if own else PALETTE[k % len(PALETTE)], "lw": 2.5 if own else 1.5, "zorder": 2 + own}
        in_place.plot(line.index, line["psnr"] - line["psnr"].loc[0], **style)
        followed.plot(line.index, line["followed"], **style)
    in_place.set(ylabel=f"change of PSNR (dB)\n{where}", title="against HR in place")  # too long for one line
    followed.set(ylabel=f"PSNR (dB)\n{where}", title="against HR displaced with the input")
    for ax in (in_place, followed):
        ax.set_xlabel("displacement of the input (pixels)")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    fig.legend(*in_place.get_legend_handles_labels(), loc="outside right center")
    note(fig, about)
    return fig
