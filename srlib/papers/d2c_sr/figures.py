"""Figures of several predictions of one image: how far they are from HR, how they differ, how they are weighted."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from srlib.core.color import to_rgb, to_uint8
from srlib.core.metrics import psnr
from srlib.core.protocols import Protocol
from srlib.draw.charts import noise_bars
from srlib.draw.diagrams import draw_arrow, draw_box, inch_axes, parameter_count
from srlib.draw.panels import largest_window, signed_heatmap
from srlib.draw.style import GREY, PALETTE, note, subplots
from srlib.papers.d2c_sr.analysis import Intermediates, crop, pairwise_difference
from srlib.papers.d2c_sr.model import Fused


def weight_heatmap(weights: np.ndarray, count: int) -> np.ndarray:
    """Return a weight map `(H, W)` as a uint8 image: blue is 0, white the mean weight of `count` predictions, red twice that."""
    return signed_heatmap(weights * count - 1, 1.0)


def difference_heatmap(predictions: np.ndarray, full: float) -> np.ndarray:
    """Return the mean pairwise difference `(H, W)` as a uint8 image: black is 0, white `full` grey levels and more."""
    return to_rgb(to_uint8(pairwise_difference(predictions) / full * 255))


def difference_range(*several: np.ndarray) -> float:
    """Return the grey levels that difference heat maps show as white: the 99th percentile, in whole levels, at least 1."""
    return max(float(np.ceil(round(max(np.quantile(pairwise_difference(predictions), 0.99) for predictions in several), 6))), 1.0)


def most_divergent_box(predictions: np.ndarray, side: int) -> tuple[int, int, int, int]:
    """Return the square of `side` pixels where predictions differ most."""
    return largest_window(pairwise_difference(predictions), side)


def error_plane(patches: Sequence[Mapping[str, np.ndarray]], predictions: Sequence[np.ndarray], about: str = "") -> Figure:
    """Project the errors of patches onto their first two principal axes, HR at the origin, as in the paper's Figure 1.

    patches: for each panel the images by label, among them "HR". predictions: `(P, h, w, 3)` of each panel. A unit is one grey
    level of RMSE. A projection shortens distances: those drawn are at most the true ones. about: a line below.
    """
    fig, axes = subplots(1, len(patches), 4 * len(patches), 4.2, squeeze=False)
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
        ax.set(xlabel="first principal axis of the errors (grey levels)")
        ax.set_title(f"patch {k + 1}, {100 * kept:.0f} % of the squared errors in the plane")
        ax.set_aspect("equal", "datalim")
        ax.margins(0.15)
        ax.xaxis.set_major_locator(MaxNLocator(5))
    axes[0, 0].set_ylabel("second principal axis (grey levels)")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    note(fig, about)
    return fig


PARTS = {
    "ideal": "ideal fusion",
    "fused": "learned fusion",
    "mean": "mean of the predictions",
    "single": "single prediction, on average",
}


def alpha_curves(rows: pd.DataFrame, where: str, about: str = "") -> Figure:
    """Draw PSNR against alpha: of single predictions and their fusions, and of two predictions against each other.

    rows: `analysis.evaluate_parts` of several networks with columns `alpha` and `seed`. Bars span the seeds. Alphas are
    spaced evenly, and dotted lines only guide the eye. about: a line below, on protocol and budgets.
    """
    fig, (left, right) = subplots(1, 2, 9.5, 3.8)
    ticks = sorted(rows["alpha"].unique())
    seeds = rows.groupby(["part", "alpha", "seed"])["psnr"].mean()
    for k, part in enumerate((*PARTS, "between")):
        ax, label = (right, None) if part == "between" else (left, PARTS[part])
        line = seeds[part].groupby("alpha").agg(["mean", "min", "max"]).reindex(ticks)
        bars = [line["mean"] - line["min"], line["max"] - line["mean"]]
        style = {"color": PALETTE[k], "marker": "os^Dv"[k], "ms": 5, "capsize": 3}
        ax.errorbar(range(len(ticks)), line["mean"], yerr=bars, ls=":", **style, label=label)
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


def tree_curves(table: pd.DataFrame, where: str, about: str = "", noise: float = 0.0) -> Figure:
    """Draw PSNR against the number of branches at each node (C) and of levels (L) of the tree, Table 4.

    table: `depth`, `children`, `seed`, `psnr`. about: a line below, on protocol and budgets. noise: difference (dB) that another
    seed may make, a grey bar behind each point of one seed.
    """
    fig, axes = subplots(1, 2, 8.4, 3.6, sharey=True)
    meaning = ""
    panels = (("children", "depth", "branches at each node, C (L = 2)"), ("depth", "children", "levels, L (C = 2)"))
    for k, (ax, (x, fixed, label)) in enumerate(zip(axes, panels, strict=True)):
        seeds = table[table[fixed] == 2].groupby([x, "seed"])["psnr"].mean()
        line = seeds.groupby(x).agg(["mean", "std"])
        single = line[line["std"].isna()]
        meaning = noise_bars(ax, single.index, single["mean"], noise) or meaning
        ax.errorbar(line.index, line["mean"], yerr=line["std"].fillna(0), color=PALETTE[k], marker="o", capsize=3)
        ax.set(xlabel=label)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0].set_ylabel(f"PSNR (dB), {where}")
    fig.suptitle(meaning, fontsize=9, color=GREY)
    note(fig, about)
    return fig


def stages(
    inside: Intermediates, lr: np.ndarray, hr: np.ndarray, box: tuple[int, int, int, int], scale: int, protocol: Protocol
) -> list[tuple[str, np.ndarray]]:
    """Return the panels of the paper's Figure 5 for `panels.image_grid`: LR enlarged, the predictions, the result, HR.

    box: what is shown, in HR pixels. Below each image: the PSNR of that part.
    """
    enlarged = lr.repeat(scale, axis=0).repeat(scale, axis=1)
    predictions = [(f"prediction {i}", image) for i, image in enumerate(to_uint8(inside.predictions), 1)]
    images = [(label, crop(image, box)) for label, image in (("LR", enlarged), *predictions, ("result", to_uint8(inside.fused)))]
    target = crop(hr, box)
    return [*((f"{label}\n{psnr(image, target, protocol, scale):.2f} dB", image) for label, image in images), ("HR", target)]


COLUMN, ROW, WIDTH = 1.55, 0.74, 1.25  # inches from box to box, and the width of a box


def architecture(net: Fused) -> Figure:
    """Draw both networks as a tree (Figure 2), with the parameters of each module."""
    tree, leaves = net.divergence, net.divergence.leaves
    skip, tail, image, fusion, result = (tree.depth + k for k in range(2, 7))  # columns; 0 is LR, 1 the head, then the levels
    ax = inch_axes(-0.75, (result + 0.3) * COLUMN, -(max(leaves, 2) - 0.4) * ROW, 0.75)

    def box(column: int, y: float, color: str, *lines: str, taken: float | None = None) -> None:
        """Draw a box, and an arrow to it from the one at height `taken` in the column before, by default its own height."""
        halves = [0.3 if k in (0, result) else WIDTH / 2 for k in (column - 1, column)]
        draw_box(ax, column * COLUMN, y, lines, color, 2 * halves[1])
        if column:
            start = ((column - 1) * COLUMN + halves[0], y if taken is None else taken)
            draw_arrow(ax, [start, (column * COLUMN - halves[1], y)], GREY)

    def name(level: int, index: int) -> str:
        """Return "a", "b" for the branches of the first level, "aa", "ab" for those of a: the head is "head"."""
        letters = [chr(ord("a") + index // tree.branching**k % tree.branching) for k in reversed(range(level))]
        return "".join(letters) or "head"

    def height(level: int, index: int) -> float:
        span = tree.branching ** (tree.depth - level)  # leaves below the node
        return -(index * span + (span - 1) / 2) * ROW

    root = height(0, 0)
    box(0, root, "white", "LR")
    box(1, root, "#dbe9f6", "mean shift, head", parameter_count(tree.subtract_mean, tree.head))
    for level, branches in enumerate(tree.levels, 1):
        for index, branch in enumerate(branches):
            parent = height(level - 1, index // tree.branching)
            box(level + 1, height(level, index), "#d9efe2", f"branch {name(level, index)}", parameter_count(branch), taken=parent)
    for leaf in range(leaves):
        y = height(tree.depth, leaf)
        parents = [name(level, leaf // tree.branching ** (tree.depth - level)) for level in reversed(range(tree.depth))]
        added = ", ".join(parents if tree.deep_residual else parents[-1:])
        box(skip, y, "#f3e6f5", "skips", f"+ {added}", parameter_count(*tree.skips[leaf]))
        box(tail, y, "#fde3c8", "tail", parameter_count(tree.tails[leaf]))
        box(image, y, "white", f"prediction {leaf + 1}")
        end = (fusion * COLUMN - WIDTH / 2, root + 0.5 * (y - root) / leaves)
        draw_arrow(ax, [(image * COLUMN + WIDTH / 2, y), end], GREY)
    draw_box(ax, fusion * COLUMN, root, ["convergence", "network, sum", parameter_count(net.convergence)], "#fbf3c4", WIDTH)
    box(result, root, "white", "SR")
    sizes = [sum(p.numel() for p in module.parameters()) for module in (tree, net.convergence, net)]
    title = "divergence network {:,} + convergence network {:,} = {:,} parameters".format(*sizes)
    ax.set_title(f"{title}, ×{net.scale}", loc="left", x=0.01, y=1, pad=-18)
    return ax.figure
