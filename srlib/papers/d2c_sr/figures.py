"""Figures about several predictions of one picture: where they lie, how they differ, what weighs them."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import MaxNLocator
from torch import nn

from srlib.core.color import to_rgb, to_uint8
from srlib.core.metrics import psnr
from srlib.core.protocols import Protocol
from srlib.draw.figures import GREY, PALETTE, note, use_style
from srlib.papers.d2c_sr.analysis import Look, differences
from srlib.papers.d2c_sr.model import Fused

Box = tuple[int, int, int, int]  # top, left, height, width
HEAT = plt.get_cmap("RdBu_r")  # white in the middle, red above it, which colour-blind readers tell from blue


def weight_picture(weights: np.ndarray, count: int) -> np.ndarray:
    """Return a weight map `(H, W)` as a uint8 picture: blue is 0, white the even share of `count` predictions, red twice that."""
    return to_uint8(255 * HEAT(np.clip(weights * count / 2, 0, 1))[..., :3])


def difference_picture(predictions: np.ndarray, full: float) -> np.ndarray:
    """Return `fusion.differences` as a uint8 picture: black is none, white is `full` grey levels or more."""
    return to_rgb(to_uint8(differences(predictions) / full * 255))


def whole_levels(*several: np.ndarray) -> float:
    """Return grey levels for the white of difference pictures: nearly all differences of the predictions lie below."""
    return max(float(np.ceil(round(max(np.quantile(differences(one), 0.99) for one in several), 6))), 1.0)


def cut(image: np.ndarray, box: Box) -> np.ndarray:
    """Return the part (top, left, height, width) of `(..., H, W, 3)` pictures, or of a map `(H, W)`."""
    top, left, height, width = box
    if image.ndim == 2:
        return image[top : top + height, left : left + width]
    return image[..., top : top + height, left : left + width, :]


def spread_box(predictions: np.ndarray, side: int) -> Box:
    """Return the square of `side` pixels where predictions differ most."""
    side = min(side, *predictions.shape[1:3])
    sums = np.pad(differences(predictions).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    window = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    top, left = np.unravel_index(window.argmax(), window.shape)
    return int(top), int(left), side, side


def sheet(rows: Mapping[str, Sequence[tuple[str, np.ndarray]]], note: str = "") -> Figure:
    """Draw rows of pictures of one size, the row's name at its left, a label under each picture; note: below all."""
    use_style()
    columns = max(len(row) for row in rows.values())
    first = next(iter(rows.values()))[0][1]
    width = min(1.75, 12 / columns)
    height = width * first.shape[0] / first.shape[1]
    lines = max(label.count("\n") + 1 for row in rows.values() for label, _ in row)
    size = (columns * (width + 0.05) + 0.4, len(rows) * (height + 0.14 + 0.16 * lines) + (0.3 if note else 0))
    fig, axes = plt.subplots(len(rows), columns, figsize=size, layout="constrained", squeeze=False)
    fig.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
    for line, (name, row) in zip(axes, rows.items(), strict=True):
        for ax in line:
            ax.set(xticks=[], yticks=[], anchor="N")
            ax.grid(False)
            for spine in ax.spines.values():
                spine.set_visible(False)
        line[0].set_ylabel(name)
        for ax, (label, picture) in zip(line, row, strict=False):
            ax.imshow(to_rgb(picture), interpolation="nearest")
            ax.set_xlabel(label, fontsize=9, labelpad=3)
    if note:
        fig.supxlabel(note, fontsize=9, color=GREY, x=0.01, ha="left")
    return fig


def plane(patches: Sequence[Mapping[str, np.ndarray]], predictions: Sequence[np.ndarray]) -> Figure:
    """Draw patches as points of the plane that holds most of their differences, HR at the origin, as in the paper's Figure 1.

    patches: for each panel the pictures by label, among them "HR". predictions: `(P, h, w, 3)` of each panel. A unit is one grey
    level of root mean square error. What lies off the plane is not seen: distances on paper are at most the true ones.
    """
    use_style()
    fig, axes = plt.subplots(1, len(patches), figsize=(4 * len(patches), 4.2), layout="constrained", squeeze=False)
    for k, (ax, named, several) in enumerate(zip(axes[0], patches, predictions, strict=True)):
        origin = named["HR"].astype(float)
        others = {label: image for label, image in named.items() if label != "HR"}
        points = np.stack([(image - origin).ravel() for image in (*several, *others.values())]) / np.sqrt(origin.size)
        _, values, axis = np.linalg.svd(points, full_matrices=False)
        flat = points @ axis[:2].T
        kept = float((values[:2] ** 2).sum() / (values**2).sum())
        ax.scatter(*flat[: len(several)].T, color=PALETTE[0], s=55, label="divergent predictions", zorder=3)
        for i, (label, at) in enumerate(zip(others, flat[len(several) :], strict=True)):
            ax.scatter(*at, color=PALETTE[i + 1], marker="sD^v"[i % 4], s=65, label=label, zorder=4)
        ax.scatter(0, 0, color=PALETTE[3], marker="*", s=190, label="HR", zorder=5)
        ax.set(xlabel="grey levels", title=f"patch {k + 1}, {100 * kept:.0f} % of the squared errors in the plane")
        ax.set_aspect("equal", "datalim")
        ax.margins(0.15)
        ax.xaxis.set_major_locator(MaxNLocator(5))
    axes[0, 0].set_ylabel("grey levels")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return fig


PARTS = {
    "ideal": "ideal fusion",
    "fused": "learned fusion",
    "mean": "mean of the predictions",
    "single": "single prediction, on average",
}


def alpha_curves(rows: pd.DataFrame, where: str, about: str = "") -> Figure:
    """Draw what alpha does: PSNR of each part of the networks, and that of two predictions against each other.

    rows: `analysis.score` of several networks with columns `alpha` and `seed`. Bars span the seeds. Equal steps on the axis,
    whatever lies between two alphas: the dotted lines only lead the eye. about: a line below, on protocol and budgets.
    """
    use_style()
    fig, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
    ticks = sorted(rows["alpha"].unique())
    seeds = rows.groupby(["part", "alpha", "seed"])["psnr"].mean()
    for k, part in enumerate((*PARTS, "between")):
        ax, label = (right, None) if part == "between" else (left, PARTS[part])
        line = seeds[part].groupby("alpha").agg(["mean", "min", "max"]).reindex(ticks)
        bars = [line["mean"] - line["min"], line["max"] - line["mean"]]
        look = {"color": PALETTE[k], "marker": "os^Dv"[k], "ms": 5, "capsize": 3}
        ax.errorbar(range(len(ticks)), line["mean"], yerr=bars, ls=":", **look, label=label)
    left.set(ylabel="PSNR against HR (dB)")
    right.set(ylabel="PSNR of two predictions (dB)")
    left.set_title(f"{where}; bars: lowest to highest seed", loc="left", color=GREY, fontsize=9)
    for ax in (left, right):
        ax.set_xticks(range(len(ticks)), [f"{alpha:g}" for alpha in ticks])
        ax.set_xlabel("α, weight of the divergence term")
        ax.yaxis.set_major_locator(MaxNLocator(6))
    right.set_title("lower: predictions differ more", loc="left", color=GREY, fontsize=9)
    fig.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=4)
    note(fig, about)
    return fig


def trees(table: pd.DataFrame, where: str, about: str = "") -> Figure:
    """Draw PSNR against the branches at a node and the levels of the tree.

    table: `depth`, `children`, `seed`, `psnr`. about: a line below, on protocol and budgets.
    """
    use_style()
    fig, axes = plt.subplots(1, 2, figsize=(8.4, 3.4), layout="constrained", sharey=True)
    panels = (("children", "depth", "branches at each node, C (L = 2)"), ("depth", "children", "levels, L (C = 2)"))
    for k, (ax, (x, fixed, label)) in enumerate(zip(axes, panels, strict=True)):
        seeds = table[table[fixed] == 2].groupby([x, "seed"])["psnr"].mean()
        line = seeds.groupby(x).agg(["mean", "std"])
        ax.errorbar(line.index, line["mean"], yerr=line["std"].fillna(0), color=PALETTE[k], marker="o", capsize=3)
        ax.set(xlabel=label)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0].set_ylabel(f"PSNR (dB), {where}")
    note(fig, about)
    return fig


def story(found: Look, lr: np.ndarray, hr: np.ndarray, box: Box, scale: int, by: Protocol) -> list[tuple[str, np.ndarray]]:
    """Return the panels of the paper's Figure 5 for a box in HR pixels, PSNR in the box below each: LR enlarged, the predictions,
    the result, HR."""
    enlarged = lr.repeat(scale, axis=0).repeat(scale, axis=1)
    predictions = [(f"prediction {i}", one) for i, one in enumerate(to_uint8(found.predictions), 1)]
    shown = [(label, cut(one, box)) for label, one in (("LR", enlarged), *predictions, ("result", to_uint8(found.fused)))]
    truth = cut(hr, box)
    return [*((f"{label}\n{psnr(one, truth, by, scale):.2f} dB", one) for label, one in shown), ("HR", truth)]


def architecture(net: Fused) -> Figure:
    """Draw both networks as the tree that they are, sizes counted from the modules, as in the paper's Figure 2."""
    use_style()
    tree, leaves = net.divergence, net.divergence.leaves
    fig, ax = plt.subplots(figsize=(13, max(0.8 * leaves, 2.2) + 0.6), layout="constrained")
    ax.set_axis_off()
    columns = [1.85 * (level + 1) for level in range(tree.depth + 1)]  # head, then the levels
    skip, tail, image, fusion, result = (columns[-1] + d for d in (1.85, 3.7, 5.55, 7.45, 9.2))

    def size(*modules: nn.Module) -> str:
        return f"{sum(p.numel() for module in modules for p in module.parameters()):,}"

    def box(x: float, y: float, text: str, color: str, height: float = 0.62) -> None:
        ax.add_patch(
            FancyBboxPatch((x - 0.68, y - height / 2), 1.36, height, "round,pad=0,rounding_size=0.08", fc=color, ec=GREY)
        )
        ax.text(x, y, text, ha="center", va="center", fontsize=7.5)

    def arrow(start: tuple[float, float], end: tuple[float, float], **look) -> None:
        ax.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": GREY, "lw": 1.1, **look})

    def center(level: int, index: int) -> float:
        span = tree.branching ** (tree.depth - level)
        return -(index * span + (span - 1) / 2)

    middle = center(0, 0)
    box(0, middle, "LR", "white")
    box(columns[0], middle, f"mean shift, head\n{size(tree.subtract_mean, tree.head)}", "#dbe9f6")
    arrow((0.68, middle), (columns[0] - 0.68, middle))
    for level, branches in enumerate(tree.levels, 1):
        for index, branch in enumerate(branches):
            y = center(level, index)
            arrow((columns[level - 1] + 0.68, center(level - 1, index // tree.branching)), (columns[level] - 0.68, y))
            box(columns[level], y, f"branch {index + 1}\n{size(branch)}", "#d9efe2")
    for leaf in range(leaves):
        y = -leaf
        texts = (f"skips, + parents\n{size(*tree.skips[leaf])}", f"tail\n{size(tree.tails[leaf])}", f"prediction {leaf + 1}")
        for x, text, color in zip((skip, tail, image), texts, ("#f3e6f5", "#fde3c8", "white"), strict=True):
            box(x, y, text, color)
        for a, b in ((columns[-1], skip), (skip, tail), (tail, image)):
            arrow((a + 0.68, y), (b - 0.68, y))
        arrow((image + 0.68, y), (fusion - 0.68, middle + 0.4 * (y - middle) / leaves))
    box(fusion, middle, f"convergence\nnetwork, sum\n{size(net.convergence)}", "#fbf3c4", 0.95)
    box(result, middle, "SR", "white")
    arrow((fusion + 0.68, middle), (result - 0.68, middle))
    ax.set(xlim=(-0.8, result + 0.8), ylim=(-leaves + 0.4, 0.75))
    title = (
        f"divergence network {size(tree)} + convergence network {size(net.convergence)} = {size(net)} parameters, ×{net.scale}"
    )
    ax.set_title(title, loc="left")
    return fig
