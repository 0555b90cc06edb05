"""Charts of numbers: PSNR against cost, training curves, the growth of a cost."""

import textwrap
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from adjustText import adjust_text
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from matplotlib.transforms import Bbox

from srlib.core.errors import SRError, unknown
from srlib.draw.columns import header
from srlib.draw.style import GREY, PALETTE, note, subplots
from srlib.scoring import costs

COSTS = (*costs.COSTS, "megabytes")
ITERATIONS = 500  # of the placement of labels; a limit in seconds would make figures differ between runs


def noise_bars(ax: Axes, x: Sequence[float], psnr: Sequence[float], noise: float) -> str:
    """Draw a grey bar behind each point of one seed; bars overlap where another seed may change the order. Return their meaning.

    noise: difference (dB) that another seed may make. "" is returned, and nothing drawn, for no noise or no points.
    """
    if not noise or not len(x):
        return ""
    ax.errorbar(x, psnr, yerr=noise / 2, fmt="none", ecolor="0.87", elinewidth=4.5, zorder=0)
    return f"grey bars: seed noise of {noise:g} dB in all; where two overlap, another seed could reverse their order"


def _join_equals(table: pd.DataFrame, x: str, noise: float) -> dict[str, str]:
    """Return the name of each method's point: methods of one seed, of equal cost and closer than `noise` dB share one."""
    names = {method: method for method in table["method"]}
    single = table[~table["method"].duplicated(keep=False)].sort_values([x, "psnr"])
    shared: list[str] = []
    start = None
    for row in single.to_dict("records"):
        alike = start is not None and row[x] == start[x] and row["psnr"] - start["psnr"] < noise
        start, shared = (start, [*shared, row["method"]]) if alike else (row, [row["method"]])
        names |= dict.fromkeys(shared, " ≈ ".join(method for method in names if method in shared))
    return names


def psnr_against_cost(
    table: pd.DataFrame,
    x: str = "seconds",
    *,
    where: str = "",
    highlight: Sequence[str] = (),
    connect: bool = False,
    noise: float = 0.0,
    about: str = "",
) -> Figure:
    """Draw accuracy against cost, a labelled point per method; bars are the standard deviation over seeds.

    table: columns `method` (its text), `psnr` and the cost; a row per method, or one per method and seed. x: a cost in
    `columns.METRICS`. where: set and scale, for the axis label. highlight: methods to set apart. connect: join the points in the
    table's order. noise: difference (dB) that another seed may make, a grey bar behind each point of one seed; points of equal
    cost that are closer than that are drawn as one, at their mean; 0: none. about: a line below, on protocol and budgets. Raises
    SRError for an unknown cost, missing columns or values, and an empty table.
    """
    if x not in COSTS:
        raise unknown("x", x, COSTS)
    if missing := [column for column in ("method", "psnr", x) if column not in table.columns]:
        raise SRError(f"table lacks the column {missing[0]!r}; it has {', '.join(table.columns)}")
    if table.empty or table[["psnr", x]].isna().any(axis=None):
        raise SRError(f"table has no rows or misses values of psnr or {x}; pass only methods that have both")
    if strangers := [method for method in highlight if method not in set(table["method"])]:
        raise unknown("highlight", strangers[0], table["method"].unique())
    names = _join_equals(table, x, noise)
    count = table["method"].map(table["method"].value_counts())  # joined methods are no seeds of one
    table, highlight = table.assign(method=table["method"].map(names), seeds=count), [names[method] for method in highlight]
    groups = table.groupby("method", sort=False)
    means, spread = groups[[x, "psnr"]].mean(), groups["psnr"].std().fillna(0.0)
    seeds = groups["seeds"].first()
    spread = spread.where(seeds > 1, 0.0)
    fig, ax = subplots(1, 1, *((6.4, 4.2) if len(means) <= 12 else (8.2, 6.4)))
    if connect:
        ax.plot(means[x], means["psnr"], color="0.75", lw=1, zorder=1)
    single = means[seeds == 1]
    highlighted = means.index.isin(highlight)
    for marker, color, members in (("o", PALETTE[0], ~highlighted), ("D", PALETTE[1], highlighted)):
        part = means[members]
        ax.errorbar(part[x], part["psnr"], yerr=spread[members], fmt=marker, color=color, ms=7, capsize=3, lw=1.2, mec="white")
    if means[x].max() > 10 * means[x].min() > 0:
        ax.set_xscale("log")
    else:
        ax.locator_params(axis="x", nbins=6)
    ax.xaxis.set_major_formatter("{x:,.0f}" if x == "parameters" else "{x:g}")
    ax.margins(x=0.16, y=0.14)
    ax.set_xlabel(header(x))
    ax.set_ylabel(", ".join(filter(None, ("PSNR (dB)", where))))
    caption = []
    if seeds.max() > 1:
        seeded = "" if seeds.nunique() == 1 else f" of {', '.join(seeds.index[seeds > 1])}"
        caption.append(f"points: mean, bars: ± standard deviation over {seeds.max()} seeds{seeded}")
    caption += filter(None, [noise_bars(ax, single[x], single["psnr"], noise)])
    if len(means) < len(names):
        caption.append("joined by ≈: of one size and closer than that, drawn at their mean")
    if caption:
        ax.set_title("\n".join(textwrap.fill(line, 80) for line in caption), loc="left", color=GREY, fontsize=9)
    note(fig, about)
    _label_points(ax, means.assign(spread=spread), x, highlight, connect)
    return fig


def _label_points(ax: Axes, points: pd.DataFrame, x: str, highlight: Sequence[str], connect: bool) -> None:
    """Write each point's name beside it, clear of points, bars, the joining line and other names; a thin line where it is apart.

    points: a row per method, with the columns x, `psnr` and `spread`.
    """
    fig = ax.figure
    fig.draw_without_rendering()  # lays the axes out, so that pixels are final
    pixels = fig.dpi / 72
    to_data = ax.transData.inverted()
    centres = ax.transData.transform(points[[x, "psnr"]])
    tops = ax.transData.transform(np.column_stack([points[x], points["psnr"] + points["spread"]]))
    marker = 4 * pixels
    halves = np.column_stack([np.full(len(points), marker), tops[:, 1] - centres[:, 1] + marker])
    obstacles = [np.array([centre - half, centre + half]) for centre, half in zip(centres, halves, strict=True)]
    for start, end in pairwise(centres) if connect else ():
        way = np.linspace(start, end, max(int(np.hypot(*(end - start)) / (4 * pixels)), 2))
        obstacles += [np.array([spot - 2, spot + 2]) for spot in way]
    gap, texts = np.array([6 * pixels, 0]), []
    boxes = [Bbox(corners) for corners in obstacles[: len(points)]]
    for k, (centre, method) in enumerate(zip(centres, points.index, strict=True)):
        weight = "bold" if method in highlight else "normal"
        label = ax.text(*to_data.transform(centre + gap), method, fontsize=9, va="center", fontweight=weight)
        place, others = label.get_window_extent().padded(3 * pixels), [*boxes[:k], *boxes[k + 1 :]]
        if place.x1 > ax.bbox.x1 or any(place.overlaps(other) for other in others):  # pushed off, it might cover its own point
            label.set(position=to_data.transform(centre - gap), ha="right")
        texts.append(label)
    adjust_text(
        texts,
        objects=[Bbox(to_data.transform(corners)) for corners in obstacles],
        target_x=points[x].to_numpy(),
        target_y=points["psnr"].to_numpy(),
        avoid_self=False,
        ax=ax,
        iter_lim=ITERATIONS,
        min_arrow_len=10 * pixels,
        arrowprops={"arrowstyle": "-", "color": GREY, "lw": 0.7, "shrinkA": 1, "shrinkB": 4},
    )


def training_curves(histories: Mapping[str, pd.DataFrame], validation: str = "") -> Figure:
    """Draw loss, validation PSNR, the discriminator's loss (if any) and learning rate over the steps, a line per run.

    histories: label -> a run's history (`step`, `loss`, `learning_rate`, and `psnr` where it was validated).
    validation: name of the images that were scored. Raises SRError for an empty mapping or a history without steps.
    """
    if not histories:
        raise SRError("histories is empty; pass at least one run's history")
    for label, history in histories.items():
        if history.empty or not {"step", "loss", "learning_rate"} <= set(history.columns):
            raise SRError(f"history of {label!r} has no steps with loss and learning rate; pass the history.csv of a run")
    labels = {"loss": "training loss", "psnr": ", ".join(filter(None, ("PSNR (dB)", validation)))}
    labels |= {"discriminator": "loss of the discriminator", "learning_rate": "learning rate"}
    columns = [name for name in labels if any(name in h and h[name].notna().any() for h in histories.values())]
    fig, axes = subplots(1, len(columns), 3.4 * len(columns), 3.0, sharex=True)
    for k, (label, history) in enumerate(histories.items()):
        for ax, column in zip(axes, columns, strict=True):
            line = history.reindex(columns=["step", column]).dropna()
            dots = "o" if len(line) <= 25 else ""
            look = {"color": PALETTE[k % len(PALETTE)], "ls": ("-", "--", ":", "-.")[k % 4], "lw": 1.5, "marker": dots, "ms": 3.5}
            ax.plot(line["step"], line[column], label=label, **look)
    for ax, column in zip(axes, columns, strict=True):
        ax.set(xlabel="step", ylabel=labels[column])
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    loss = axes[0]
    loss.set_yscale("log")
    loss.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    loss.yaxis.set_minor_formatter(NullFormatter())
    loss.yaxis.set_major_formatter("{x:g}")
    if len(histories) > 1:
        handles, names = loss.get_legend_handles_labels()
        fitting = len(columns) * (2 if max(map(len, names)) < 12 else 1)  # as many as the width holds
        fig.legend(handles, names, loc="outside upper center", ncols=min(len(names), fitting))
    return fig


def psnr_curves(curves: Mapping[str, pd.Series], where: str, about: str = "") -> Figure:
    """Draw PSNR over the training steps, a line per network, its last value beside its name.

    curves: label -> PSNR in dB by step. where: the validation set. about: a line below. Raises SRError for no curves.
    """
    if not curves:
        raise SRError("curves is empty; pass at least one network's validations")
    fig, ax = subplots(1, 1, 6.4, 4.2)
    for k, (label, curve) in enumerate(curves.items()):
        look = {"color": PALETTE[k % len(PALETTE)], "ls": ("-", "--", ":", "-.")[k % 4], "marker": "os^D"[k % 4], "ms": 4}
        ax.plot(curve.index, curve, **look, label=f"{label}: {curve.iloc[-1]:.2f} dB")
    ax.set(xlabel="training step", ylabel=f"PSNR (dB), {where}")
    ax.xaxis.set_major_formatter("{x:,.0f}")
    fig.legend(loc="outside upper center", ncols=2, title="PSNR at the end")
    note(fig, about)
    return fig


def growth(table: pd.DataFrame, x: str, y: str, group: str) -> Figure:
    """Draw `y` against `x`, a line per `group`, with the values of x as ticks, evenly spaced; y starts at 0.

    table: columns `x`, `y`, `group`. Lines that lie on each other stay visible: later ones are thinner.
    """
    fig, ax = subplots(1, 1, 5.2, 3.4)
    ticks = sorted(table[x].unique())
    for k, (name, line) in enumerate(table.groupby(group, sort=False)):
        line = line.sort_values(x)
        look = {"color": PALETTE[k], "marker": "os^D"[k % 4], "ms": 8 - 2 * k, "lw": 4 - 1.3 * k if k < 3 else 1}
        ax.plot([ticks.index(value) for value in line[x]], line[y], **look, label=name)
    ax.set_xticks(range(len(ticks)), [f"×{value}" if x in ("factor", "scale") else f"{value:g}" for value in ticks])
    ax.set(xlabel=x, ylabel=y, ylim=(0, None))
    ax.yaxis.set_major_formatter("{x:,.0f}")
    ax.legend()
    return fig
