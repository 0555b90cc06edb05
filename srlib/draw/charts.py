"""Charts of numbers: PSNR against cost, training curves, the growth of a cost."""

import textwrap
from collections.abc import Mapping, Sequence
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from adjustText import adjust_text
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from matplotlib.transforms import Bbox

from srlib.core.errors import SRError, unknown
from srlib.draw.columns import header
from srlib.draw.style import GREY, PALETTE, note, use_style
from srlib.scoring import costs

COSTS = (*costs.COSTS, "megabytes")
ITERATIONS = 500  # of the placement of labels; a limit in seconds would make figures differ between runs


def psnr_against_cost(
    table: pd.DataFrame,
    x: str = "seconds",
    *,
    where: str = "",
    highlight: Sequence[str] = (),
    connect: bool = False,
    about: str = "",
) -> Figure:
    """Draw accuracy against cost, a labelled point per method; bars are the standard deviation over seeds.

    table: columns `method` (its text), `psnr` and the cost; a row per method, or one per method and seed. x: a cost in
    `columns.METRICS`. where: set and scale, for the axis label. highlight: methods to set apart. connect: join the points in the
    table's order. about: a line below, on protocol and budgets. Raises SRError for an unknown cost, missing columns or values,
    and an empty table.
    """
    if x not in COSTS:
        raise unknown("x", x, COSTS)
    for column in ("method", "psnr", x):
        if column not in table.columns:
            raise SRError(f"table lacks the column {column!r}; it has {', '.join(table.columns)}")
    if table.empty or table[["psnr", x]].isna().any(axis=None):
        raise SRError(f"table has no rows or misses values of psnr or {x}; pass only methods that have both")
    for method in highlight:
        if method not in set(table["method"]):
            raise unknown("highlight", method, table["method"].unique())
    use_style()
    groups = table.groupby("method", sort=False)
    means = groups[[x, "psnr"]].mean()
    spread = groups["psnr"].std().fillna(0.0)
    fig, ax = plt.subplots(figsize=(6.4, 4.2) if len(means) <= 12 else (8.2, 5.4), layout="constrained")
    if connect:
        ax.plot(means[x], means["psnr"], color="0.75", lw=1, zorder=1)
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
    seeds = groups.size()
    if seeds.max() > 1:
        seeded = "" if seeds.nunique() == 1 else f" of {', '.join(seeds.index[seeds > 1])}"
        caption = f"points: mean, bars: ± standard deviation over {seeds.max()} seeds{seeded}"
        ax.set_title(textwrap.fill(caption, 80), loc="left", color=GREY, fontsize=9)
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
    for centre, method in zip(centres, points.index, strict=True):
        weight = "bold" if method in highlight else "normal"
        label = ax.text(*to_data.transform(centre + gap), method, fontsize=9, va="center", fontweight=weight)
        if label.get_window_extent().x1 > ax.bbox.x1:  # moved inside, it would cover its point
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
        missing = [name for name in ("step", "loss", "learning_rate") if name not in history.columns]
        if missing or history.empty:
            raise SRError(f"history of {label!r} has no {missing[0] if missing else 'row'}; pass the history.csv of a run")
    use_style()
    scored = any("psnr" in history and history["psnr"].notna().any() for history in histories.values())
    panels = [("loss", "training loss")]
    panels += [("psnr", ", ".join(filter(None, ("PSNR (dB)", validation))))] if scored else []
    against = any("discriminator" in history for history in histories.values())
    panels += [("discriminator", "loss of the discriminator")] if against else []
    panels += [("learning_rate", "learning rate")]
    fig, axes = plt.subplots(1, len(panels), figsize=(3.4 * len(panels), 3.0), layout="constrained", sharex=True)
    styles = ["-", "--", ":", "-."]
    for k, (label, history) in enumerate(histories.items()):
        for ax, (column, _) in zip(axes, panels, strict=True):
            line = history[["step", column]].dropna() if column in history else history.iloc[:0]
            dots = "o" if len(line) <= 25 else ""
            look = {"color": PALETTE[k % len(PALETTE)], "ls": styles[k % len(styles)], "lw": 1.5, "marker": dots, "ms": 3.5}
            ax.plot(line["step"], line[column] if len(line) else [], **look, label=label)
    for ax, (column, label) in zip(axes, panels, strict=True):
        ax.set(xlabel="step", ylabel=label)
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        if column == "loss":
            ax.set_yscale("log")
            ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            ax.yaxis.set_minor_formatter(NullFormatter())
            ax.yaxis.set_major_formatter("{x:g}")
    if len(histories) > 1:
        handles, labels = axes[0].get_legend_handles_labels()
        columns = len(panels) * (2 if max(map(len, labels)) < 12 else 1)  # as many as the width holds
        fig.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), columns))
    return fig


def growth(table: pd.DataFrame, x: str, y: str, group: str) -> Figure:
    """Draw `y` against `x`, a line per `group`, with the values of x as ticks, evenly spaced; both axes start where the data do.

    table: columns `x`, `y`, `group`. Lines that lie on each other stay visible: later ones are thinner.
    """
    use_style()
    fig, ax = plt.subplots(figsize=(5.2, 3.4), layout="constrained")
    names, ticks = list(table[group].unique()), sorted(table[x].unique())
    for k, name in enumerate(names):
        line = table[table[group] == name].sort_values(x)
        look = {"color": PALETTE[k], "marker": "os^D"[k % 4], "ms": 8 - 2 * k, "lw": 4 - 1.3 * k if k < 3 else 1}
        ax.plot([ticks.index(value) for value in line[x]], line[y], **look, label=name)
    ax.set_xticks(range(len(ticks)), [f"×{value}" if x in ("factor", "scale") else f"{value:g}" for value in ticks])
    ax.set(xlabel=x, ylabel=y, ylim=(0, None))
    ax.yaxis.set_major_formatter("{x:,.0f}")
    ax.legend()
    return fig
