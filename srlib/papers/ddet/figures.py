"""Figures about per-pixel kernels: how DDet is built, what each kernel looks like and gives, what a displaced input costs."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, Rectangle
from matplotlib.ticker import MaxNLocator
from torch import nn

from srlib.core.color import to_rgb, to_uint8
from srlib.draw.figures import GREY, PALETTE, note, use_style
from srlib.papers.ddet.model import DDet

SIGNED = plt.get_cmap("RdBu_r")  # red is positive, white 0, blue negative
KERNEL_PATH, PIXEL_PATH, PLAIN = "#dbe9f6", "#fde3c8", "white"
LINES = {KERNEL_PATH: PALETTE[0], PIXEL_PATH: PALETTE[3], PLAIN: "0.25"}


def _root(values: np.ndarray) -> np.ndarray:
    """Return the signed square root: small weights beside a large one stay visible."""
    return np.sign(values) * np.sqrt(np.abs(values))


def kernel_picture(kernel: np.ndarray, side: int, full: float) -> np.ndarray:
    """Return a kernel `(K, K)` as a uint8 picture of `side` pixels: white is 0, red `full` and more, blue -`full` and less.

    Colours go with the root of a weight.
    """
    which = np.arange(side) * len(kernel) // side
    return signed_picture(_root(kernel / full), 1.0)[which][:, which]


def signed_picture(values: np.ndarray, full: float) -> np.ndarray:
    """Return values `(H, W)` as a uint8 picture in the colours of `kernel_picture`."""
    return to_uint8(255 * SIGNED(np.clip(values / full, -1, 1) / 2 + 0.5)[..., :3])


def _count(module: nn.Module) -> str:
    return f"{sum(p.numel() for p in module.parameters()):,} params"


def _convolutions(layers: nn.Sequential) -> list[str]:
    convs = [layer for layer in layers.modules() if isinstance(layer, nn.Conv2d)]
    size = convs[0].kernel_size[0]
    return [
        f"{len(convs)} × conv {size}×{size}",
        "→".join(str(n) for n in [convs[0].in_channels, *(c.out_channels for c in convs)]),
    ]


def _box(ax: Axes, x: float, y: float, lines: Sequence[str], color: str, width: float) -> tuple[float, float]:
    """Draw a box with its middle at x, y; the first line is bold, the last, if a count, grey; return its left and right."""
    height = 0.17 * len(lines) + 0.14
    corner, look = (x - width / 2, y - height / 2), {"facecolor": color, "edgecolor": "0.25", "lw": 0.8}
    ax.add_patch(FancyBboxPatch(corner, width, height, "round,pad=0,rounding_size=0.06", **look))
    for k, line in enumerate(lines):
        at = y + (len(lines) - 1) * 0.085 - 0.17 * k
        shade = GREY if line.endswith(" params") else "black"
        ax.text(x, at, line, ha="center", va="center", fontsize=8, color=shade, fontweight="normal" if k else "bold")
    return x - width / 2, x + width / 2


def _way(ax: Axes, points: Sequence[tuple[float, float]], color: str) -> None:
    if len(points) > 2:
        ax.plot(*zip(*points[:-1], strict=True), color=LINES[color], lw=1.3, solid_joinstyle="miter")
    arrow = {"arrowstyle": "-|>", "color": LINES[color], "lw": 1.3, "shrinkA": 0, "shrinkB": 0}
    ax.annotate("", points[-1], points[-2], arrowprops=arrow)


def _plus(ax: Axes, x: float, y: float) -> None:
    ax.add_patch(Circle((x, y), 0.11, facecolor="white", edgecolor="0.25", lw=1.1, zorder=3))
    ax.text(x, y - 0.01, "+", ha="center", va="center", fontsize=12, zorder=4)


def architecture(net: DDet) -> Figure:
    """Draw the two paths of a DDet that has all its parts (Figure 1), with layers and counts read from its modules."""
    use_style()
    rows = [3.3 - 0.98 * k for k in range(len(net.heads))]
    middle, low = float(np.mean(rows)), rows[-1] - 1.2
    wide, tall = 11.6, rows[0] - low + 1.5
    fig = plt.figure(figsize=(wide, tall))
    ax = fig.add_axes([0, 0, 1, 1])
    ax.set(xlim=(0, wide), ylim=(low - 0.7, low - 0.7 + tall))
    ax.set_axis_off()
    ax.text(0.15, rows[0] + 0.6, f"DDet, {_count(net)}", fontsize=10, fontweight="bold")
    blocks = f"{len(net.trunk.body) - 1} residual blocks"
    trunk = [
        "trunk at 1/4 size",
        "space-to-depth 4",
        f"conv {_convolutions(nn.Sequential(net.trunk.entry))[1]}",
        blocks,
        _count(net.trunk),
    ]
    features = ["features", "depth-to-space 4", *_convolutions(net.features), _count(net.features)]
    ax.text(0.4, middle, "$I_{LR}$", ha="center", va="center", fontsize=12)
    left, right = _box(ax, 1.75, middle, trunk, KERNEL_PATH, 1.5)
    _way(ax, [(0.62, middle), (left, middle)], KERNEL_PATH)
    left, out = _box(ax, 3.65, middle, features, KERNEL_PATH, 1.4)
    _way(ax, [(right, middle), (left, middle)], KERNEL_PATH)
    plus, bus = 9.6, 6.68
    for row, head in zip(rows, net.heads, strict=True):
        size = round([*head.modules()][-1].out_channels ** 0.5)
        left, right = _box(ax, 5.75, row, ["head", *_convolutions(head), _count(head)], KERNEL_PATH, 1.35)
        _way(ax, [(out, middle), (4.7, middle), (4.7, row), (left, row)], KERNEL_PATH)
        start, stop = _box(ax, 8.5, row, [f"{size}×{size} filter", "for each pixel"], PLAIN, 1.2)
        _way(ax, [(right, row + 0.1), (start, row + 0.1)], KERNEL_PATH)
        ax.text((bus + start) / 2, row + 0.13, f"{size**2} weights per pixel", ha="center", va="bottom", fontsize=7.5)
        _way(ax, [(bus, low), (bus, row - 0.12), (start, row - 0.12)], PIXEL_PATH)
        turn = [(plus, row), (plus, middle + np.sign(row - middle) * 0.11)] if abs(row - middle) > 0.2 else [(plus - 0.11, row)]
        _way(ax, [(stop, row), *turn], PLAIN)
    left, right = _box(ax, 1.75, low, ["CDM", *_convolutions(net.cdm), _count(net.cdm)], PIXEL_PATH, 1.5)
    _way(ax, [(0.4, middle - 0.15), (0.4, low), (left, low)], PIXEL_PATH)
    _way(ax, [(right, low), (3.54, low)], PIXEL_PATH)
    _way(ax, [(0.4, low), (0.4, low - 0.58), (3.65, low - 0.58), (3.65, low - 0.11)], PIXEL_PATH)
    ax.plot([3.76, bus], [low, low], color=LINES[PIXEL_PATH], lw=1.3)
    ax.text(5.5, low + 0.06, "$I_{Rev}$, the corrected pixels", ha="center", va="bottom", fontsize=9)
    _plus(ax, 3.65, low)
    _plus(ax, plus, middle)
    lines = ["refinement", *_convolutions(net.refine), _count(net.refine)]
    left, right = _box(ax, 10.4, middle, lines, PLAIN, 1.0)
    _way(ax, [(plus + 0.11, middle), (left, middle)], PLAIN)
    _way(ax, [(right, middle), (right + 0.25, middle)], PLAIN)
    ax.text(right + 0.3, middle, "$I_{Att}$", va="center", fontsize=11)
    return fig


def _picture(ax: Axes, image: np.ndarray, title: str = "", below: str = "") -> None:
    ax.imshow(to_rgb(image), interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.set_title(title, fontsize=9)
    ax.set_xlabel(below, fontsize=9, labelpad=3)


def strip(pictures: Mapping[str, np.ndarray], notes: Mapping[str, str], signs: Sequence[str]) -> Figure:
    """Draw pictures of one size in a row, a line above and perhaps one below each, and a sign between neighbours ("→", "+", "=").

    signs: one fewer than pictures.
    """
    use_style()
    height, width = next(iter(pictures.values())).shape[:2]
    panel = 11 / len(pictures)
    size = (11, panel * 0.86 * height / width + 0.75)
    fig, axes = plt.subplots(1, len(pictures), figsize=size, layout="constrained", gridspec_kw={"wspace": 0.12})
    for ax, (title, image) in zip(axes, pictures.items(), strict=True):
        _picture(ax, image, title, notes.get(title, ""))
    for ax, sign in zip(axes[1:], signs, strict=True):
        ax.text(-0.08, 0.5, sign, transform=ax.transAxes, ha="center", va="center", fontsize=14, color="0.25", in_layout=False)
    return fig


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
    contributes there. The frames around a pixel are what the kernels see. Colours of all kernels share one scale, which ends with
    the largest weight off a centre: centres, where training began, are far beyond it and stand below as numbers.
    """
    use_style()
    columns = 1 + len(kernels)
    size = (2.1 * columns + 0.9, 2.45 * len(pixels) + 0.7)
    fig, axes = plt.subplots(len(pixels), columns, figsize=size, layout="constrained", squeeze=False)
    off = [np.delete(one[y, x].ravel(), one[y, x].size // 2) for one in kernels for y, x in pixels.values()]
    full = max(float(np.abs(np.concatenate(off)).max()), 1e-6)
    height, width = image.shape[:2]
    for line, (name, (y, x)) in zip(axes, pixels.items(), strict=True):
        top = min(max(y - around, 0), max(height - 2 * around, 0))
        left = min(max(x - around, 0), max(width - 2 * around, 0))
        _picture(line[0], image[top : top + 2 * around, left : left + 2 * around], f"row {y}, column {x}")
        line[0].set_ylabel(name, fontsize=10)
        for ax, one, color, value in zip(line[1:], kernels, PALETTE[1:], given[name], strict=False):
            side = one.shape[-1]
            frame = (x - left - side / 2, y - top - side / 2)
            line[0].add_patch(Rectangle(frame, side, side, fill=False, ec=color, lw=1.2))
            shown = ax.imshow(one[y, x], cmap=SIGNED, vmin=-full, vmax=full, interpolation="nearest")
            ax.set(xticks=[], yticks=[])
            ax.grid(False)
            for spine in ax.spines.values():
                spine.set(visible=True, color=color, lw=1.5)
            ax.set_title(f"{side}×{side}", fontsize=9)
            weights = f"centre {one[y, x, side // 2, side // 2]:+.2f}, sum {one[y, x].sum():+.2f}"
            ax.set_xlabel(f"{weights},\ngives {value:+.1f} levels".replace("-", "−"), fontsize=9, labelpad=3)
    fig.colorbar(shown, ax=axes, shrink=0.5, aspect=25, label="weight off the centre", extend="both")
    note(fig, about)
    return fig


def displacement(rows: pd.DataFrame, labels: Mapping[str, str], where: str, about: str = "") -> Figure:
    """Draw what displaced inputs cost: the change of PSNR against HR where it is, and PSNR against HR displaced alike, a line per
    network, DDet's thick and black.

    rows: of `dynamic.displaced`. where: the set, for the axis. about: a line below, on protocol and budgets.
    """
    use_style()
    fig, axes = plt.subplots(1, 2, figsize=(9.6, 3.8), layout="constrained")
    means = rows.groupby(["method", "shift"], sort=False)[["psnr", "followed"]].mean()
    for k, method in enumerate(means.index.get_level_values(0).unique()):
        line, own = means.loc[method], method == "ddet"
        look = {"marker": "os^Dv<>"[k % 7], "ls": ["-", "--"][k // 7 % 2], "ms": 5}
        look |= {"lw": 2.5, "zorder": 3} if own else {"lw": 1.5, "zorder": 2}
        look |= {"color": "black" if own else PALETTE[k % len(PALETTE)], "label": labels.get(method, method)}
        for ax, values in zip(axes, (line["psnr"] - line["psnr"].loc[0], line["followed"]), strict=True):
            ax.plot(line.index, values, **look)
    titles = ("against HR where it is", "against HR displaced alike")
    names = (f"change of PSNR (dB), {where}", f"PSNR (dB), {where}")
    for ax, title, name in zip(axes, titles, names, strict=True):
        ax.set(xlabel="displacement of the input (pixels)", ylabel=name, title=title)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside right center")
    note(fig, about)
    return fig
