"""Figures in one style: PSNR against cost, visual comparison with error maps, training curves; saved as PNG and SVG.

The palette is seaborn's "colorblind"; files are the same byte for byte whenever the data are.
"""

import dataclasses
import io
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from matplotlib.transforms import Bbox

from srlib.core.color import to_rgb, to_uint8
from srlib.core.errors import SRError, unknown
from srlib.core.files import atomic_write
from srlib.core.metrics import psnr
from srlib.core.protocols import COLORS, Protocol
from srlib.draw.columns import check_file_name, header
from srlib.scoring import costs

DPI = 300
PALETTE = [tuple(color) for color in sns.color_palette("colorblind")]
GREY = "0.45"
TICKS = [("major", "width", 0.8), ("major", "size", 4.0), ("minor", "width", 0.6), ("minor", "size", 2.5)]
COSTS = (*costs.COSTS, "megabytes")


def use_style() -> None:
    """Set the project's look for every figure that follows."""
    sns.set_theme(context="notebook", style="ticks", palette="colorblind")
    plt.rcParams.update(
        {
            "axes.grid": True,
            "axes.spines.right": False,
            "axes.spines.top": False,
            "font.size": 10,
            "axes.labelsize": 10,
            "axes.titlesize": 10,
            "xtick.labelsize": 9,
            "ytick.labelsize": 9,
            "legend.fontsize": 9,
            "legend.frameon": False,
            "grid.color": "0.92",
            "grid.linewidth": 0.8,
            "axes.linewidth": 0.8,
            **{f"{axis}tick.{which}.{what}": value for axis in "xy" for which, what, value in TICKS},
            "axes.formatter.useoffset": False,
            "figure.dpi": 110,
            "svg.hashsalt": "srlib",
        }
    )


def note(fig: Figure, text: str) -> None:
    """Write a line about the whole figure, small and grey, below it."""
    if text:
        lines = textwrap.fill(text, int(15 * fig.get_figwidth()))
        fig.supxlabel(lines, x=0.01, ha="left", fontsize=8.5, color=GREY)


def save_figure(fig: Figure, folder: Path, name: str, points: pd.DataFrame | None = None) -> list[Path]:
    """Write `name`.png (300 dpi) and `name`.svg, and `name`.csv of the points that it draws where they are given, each whole or
    not at all; return their paths.

    Raises SRError for a name that is no file name.
    """
    check_file_name(name)
    files = []
    for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
        out = io.BytesIO()
        with plt.rc_context({"svg.hashsalt": "srlib"}):
            fig.savefig(out, format=suffix, dpi=DPI, metadata=metadata, facecolor="white")
        files.append(Path(folder) / f"{name}.{suffix}")
        atomic_write(files[-1], out.getvalue())
    if points is not None:
        files.append(Path(folder) / f"{name}.csv")
        atomic_write(files[-1], points.to_csv(index=False, float_format="%.8g"))
    return files


def _overlap(a: Bbox, b: Bbox) -> float:
    width, height = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
    return width * height if width > 0 and height > 0 else 0.0


RADII = (8, 15, 24, 36, 50)  # points between a point and its label
DIRECTIONS = [(0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)]


def _along(start: np.ndarray, end: np.ndarray) -> list[Bbox]:
    """Return small boxes along a line."""
    ways = np.linspace(start, end, max(int(np.hypot(*(end - start)) / 4), 2))
    return [Bbox.from_extents(x - 2, y - 2, x + 2, y + 2) for x, y in ways]


def _obstacles(ax: Axes, points: Sequence[tuple[float, float, float]], connect: bool) -> list[Bbox]:
    """Return the boxes that labels must keep off: points with their bars and, where they are joined, the line."""
    size = 4 * ax.figure.dpi / 72
    boxes = []
    for x, y, bar in points:
        (left, low), (_, high) = ax.transData.transform([(x, y - bar), (x, y + bar)])
        boxes.append(Bbox.from_extents(left - size, low - size, left + size, high + size))
    spots = ax.transData.transform([(x, y) for x, y, _ in points])
    for start, end in zip(spots[:-1], spots[1:], strict=True) if connect else ():
        boxes += _along(start, end)
    return boxes


def _place_labels(
    ax: Axes, points: Sequence[tuple[float, float, float]], labels: Sequence[str], bold: set, connect: bool
) -> None:
    """Write a label beside each point (x, y, half height of its bar) where it covers no other label, point, bar or line, and join
    the two by a thin line where they are apart."""
    fig = ax.figure
    fig.draw_without_rendering()
    renderer, taken, written = fig.canvas.get_renderer(), _obstacles(ax, points, connect), []

    def joined(text: Annotation) -> list[Bbox]:
        start = ax.transData.transform(text.xy)
        return _along(start, start + np.array(text.get_position()) * fig.dpi / 72)

    directions = DIRECTIONS if connect else [*DIRECTIONS[2:4], *DIRECTIONS[:2], *DIRECTIONS[4:]]
    for (x, y, bar), label in zip(points, labels, strict=True):
        text = ax.annotate(label, (x, y), xytext=(0, 0), textcoords="offset points", fontsize=9)
        text.set_fontweight("bold" if label in bold else "normal")
        tried = []
        for radius in RADII:
            for dx, dy in directions:
                text.xy = (x, y + (bar * dy if dx == 0 else 0))
                text.set(position=(dx * radius, dy * radius * 0.75), ha="center" if dx == 0 else "left" if dx > 0 else "right")
                text.set_va("center" if dy == 0 else "bottom" if dy > 0 else "top")
                box = text.get_window_extent(renderer)
                outside = box.width * box.height - _overlap(box, ax.bbox)
                cost = sum(_overlap(box, other) for other in taken) + 2 * outside + radius
                if radius > RADII[0] and any(part.overlaps(other) for part in joined(text) for other in written):
                    cost += box.width * box.height  # as bad as to cover a label whole
                tried.append((cost, len(tried), box, text.xy, text.get_position(), text.get_ha(), text.get_va()))
            if min(tried)[0] <= radius:
                break
        _, _, box, text.xy, position, ha, va = min(tried)
        text.set(position=position, ha=ha, va=va)
        if max(map(abs, position)) > RADII[0]:
            leader = {"arrowstyle": "-", "color": GREY, "lw": 0.7, "shrinkA": 1, "shrinkB": 5}
            ax.annotate("", text.xy, position, textcoords="offset points", arrowprops=leader)
            taken += joined(text)
        taken.append(box)
        written.append(box)


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
    `columns.METRICS`. where: set and scale, for the axis. highlight: methods set apart. connect: join the points in the table's
    order. about: a line below, on protocol and budgets. Raises SRError for an unknown cost, missing columns or values, and an
    empty table.
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
    second = means.index.isin(highlight)
    for marker, color, chosen in (("o", PALETTE[0], ~second), ("D", PALETTE[1], second)):
        part = means[chosen]
        ax.errorbar(part[x], part["psnr"], yerr=spread[chosen], fmt=marker, color=color, ms=7, capsize=3, lw=1.2, mec="white")
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
        some = "" if seeds.nunique() == 1 else f" of {', '.join(seeds.index[seeds > 1])}"
        text = f"points: mean, bars: ± standard deviation over {seeds.max()} seeds{some}"
        ax.set_title(textwrap.fill(text, 80), loc="left", color=GREY, fontsize=9)
    note(fig, about)
    points = [(row[x], row["psnr"], spread[method]) for method, row in means.iterrows()]
    _place_labels(ax, points, list(means.index), set(highlight), connect)
    return fig


@dataclass(frozen=True)
class Example:
    """One row of a visual comparison.

    name: of the image. hr: uint8 `(H, W, 3)` or `(H, W)`. srs: method -> its output, same height and width, 0..255.
    box: top, left, height and width of the part that is shown, in HR pixels.
    """

    name: str
    hr: np.ndarray
    srs: Mapping[str, np.ndarray]
    box: tuple[int, int, int, int]


def error_map(sr: np.ndarray, hr: np.ndarray) -> np.ndarray:
    """Return |sr - hr| summed over R, G and B, `(H, W)` in grey levels; a grey image counts as three equal channels."""
    return np.abs(to_rgb(sr).astype(float) - to_rgb(hr).astype(float)).sum(axis=2)


def _cut(example: Example, image: np.ndarray, label: str) -> np.ndarray:
    top, left, height, width = example.box
    if image.shape[:2] != example.hr.shape[:2]:
        raise SRError(f"{label} of {example.name} is {image.shape[:2]}, HR is {example.hr.shape[:2]}; crop HR to the scale first")
    if min(top, left) < 0 or min(height, width) < 8 or top + height > image.shape[0] or left + width > image.shape[1]:
        raise SRError(f"box (={example.box}) of {example.name} must lie inside {image.shape[:2]} and be at least 8 pixels a side")
    part = image[top : top + height, left : left + width]
    return to_uint8(part)


WIDEST = 13  # inches


def visual_comparison(examples: Sequence[Example], protocol: Protocol, scale: int, *, panel: float = 1.9) -> Figure:
    """Draw each example as a row of pictures, one per method and last the ground truth, over a row of their absolute errors.

    As many examples lie side by side as fit, the others below. All examples have the same methods and boxes of one size. Under
    each picture: the PSNR of the part that is shown, in the protocol's colours. All error maps share one scale. panel: width of
    a picture in inches; a pixel becomes a whole number of dots at 300 dpi. Raises SRError for sizes or methods that differ and
    boxes that leave the image.
    """
    if not examples:
        raise SRError("examples is empty; pass at least one")
    methods, (_, _, height, width) = list(examples[0].srs), examples[0].box
    for example in examples:
        if list(example.srs) != methods or example.box[2:] != (height, width):
            raise SRError(f"{example.name} has other methods or another size of box than {examples[0].name}; make them alike")
    hrs = [_cut(e, e.hr, "HR") for e in examples]
    srs = [[_cut(e, e.srs[m], m) for m in methods] for e in examples]
    errors = [[error_map(sr, hr) for sr in row] for row, hr in zip(srs, hrs, strict=True)]
    full = max(float(np.quantile([maps for row in errors for maps in row], 0.995)), 1.0)
    whole = dataclasses.replace(protocol, shave=0, shave_per_scale=0)

    use_style()
    dots = max(round(panel * DPI / width), 1)
    w, h = width * dots / DPI, height * dots / DPI
    gap, under, between, head, side, foot = 0.08, 0.28, 0.16, 0.32, 0.32, 0.46
    wide, tall = side + (len(methods) + 1) * (w + gap), 2 * h + under + between
    abreast = min(max(int(WIDEST // wide), 1), len(examples))
    size = (abreast * wide, head + -(-len(examples) // abreast) * tall - between + foot)
    fig = plt.figure(figsize=[round(s * DPI) / DPI for s in size])

    def panel_at(left: float, bottom: float) -> Axes:
        ax = fig.add_axes([_dot(left, size[0]), _dot(bottom, size[1]), _dot(w, size[0]), _dot(h, size[1])])
        ax.set(xticks=[], yticks=[])
        ax.grid(False)
        ax.spines[:].set_visible(False)
        return ax

    for i, (example, hr) in enumerate(zip(examples, hrs, strict=True)):
        left, bottom = i % abreast * wide + side, size[1] - head - h - i // abreast * tall
        for j, (label, picture) in enumerate(zip([*methods, "HR (ground truth)"], [*srs[i], hr], strict=True)):
            ax = panel_at(left + j * (w + gap), bottom)
            ax.imshow(to_rgb(picture), interpolation="nearest", aspect="auto")
            if j < len(methods):
                ax.set_xlabel(f"{psnr(picture, hr, whole, scale):.2f} dB", labelpad=3)
            if i < abreast:
                ax.set_title(label, pad=5)
            if j == 0:
                ax.set_ylabel(example.name, labelpad=4)
        bottom -= under + h
        for j, error in enumerate(errors[i]):
            ax = panel_at(left + j * (w + gap), bottom)
            shown = ax.imshow(error, cmap="magma", vmin=0, vmax=full, interpolation="nearest", aspect="auto")
            if j == 0:
                ax.set_ylabel("|SR − HR|", labelpad=4)
        place = [(left + len(methods) * (w + gap) + 0.06) / size[0], bottom / size[1], 0.12 / size[0], h / size[1]]
        bar = fig.colorbar(shown, cax=fig.add_axes(place), extend="max", extendfrac=0.03)
        bar.set_label("grey levels", fontsize=9)
        bar.outline.set_visible(False)
    said = f"×{scale}; PSNR on {COLORS[protocol.color]}, of the part shown ({width}×{height} pixels)\n"
    said += "|SR − HR|: absolute difference, R + G + B"
    fig.text(side / size[0], 0.07 / size[1], said, fontsize=9, color=GREY, va="bottom")
    return fig


def _dot(inches: float, total: float) -> float:
    """Return a length as part of the figure, rounded to whole dots, so that pixels stay sharp."""
    return round(inches * DPI) / round(total * DPI)


def training_curves(histories: Mapping[str, pd.DataFrame], validation: str = "") -> Figure:
    """Draw loss, validation PSNR, the discriminator's loss where there is one, and learning rate over the steps, a line per run.

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


def busiest_box(hr: np.ndarray, side: int) -> tuple[int, int, int, int]:
    """Return the square of `side` pixels with the largest sum of absolute gradients: where methods can differ most."""
    return _box(hr, side, np.argmax)


def calmest_box(hr: np.ndarray, side: int) -> tuple[int, int, int, int]:
    """Return the square of `side` pixels with the smallest sum of absolute gradients: where there is least to get wrong."""
    return _box(hr, side, np.argmin)


def _box(hr: np.ndarray, side: int, pick: Callable) -> tuple[int, int, int, int]:
    side = min(side, *hr.shape[:2])
    grey = to_rgb(hr).astype(float).mean(axis=2)
    gradient = np.abs(np.diff(grey, axis=0, append=grey[-1:])) + np.abs(np.diff(grey, axis=1, append=grey[:, -1:]))
    sums = np.pad(gradient.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    window = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    top, left = np.unravel_index(pick(window), window.shape)
    return int(top), int(left), side, side


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
