"""Architectures drawn from the modules themselves: `draw(model)` and `draw_block(block)`; see `anatomy` for what is found."""

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, Patch
from matplotlib.textpath import TextPath
from torch import nn

from srlib.anatomy import Anatomy, Box, inside, whole

COLORS = {"low": "#dbe9f6", "up": "#d9efe2", "high": "#fde3c8", "activation": "#f0f0f0"}
KINDS = {"low": "at low resolution", "up": "enlarges", "high": "at high resolution"}
GREY, LINE = "0.4", "0.25"
FONT, STEP, GAP, PAD, SHEET = 8.0, 0.155, 0.34, 0.11, 0.04  # points; inches


def draw(model: nn.Module, *, lr_size: int = 48, title: str | None = None) -> Figure:
    """Draw a model of `srlib.models` from LR to SR: kernels, channels, parameters, repeated blocks, skips, sizes.

    lr_size: side of the LR image whose sizes are written under the boxes. Raises SRError for a model without layers.
    """
    found = whole(model, lr_size)
    return _figure(found, title or f"{found.name} ×{model.scale}, {found.parameters:,} parameters", "LR", "SR")


def draw_block(block: nn.Module, *, size: int = 48, title: str | None = None) -> Figure:
    """Draw the inside of one block, each layer and activation a box, with its skip connection.

    size: side of the block's input in pixels; its channels are those of the first convolution. Raises SRError for a block
    without a convolution.
    """
    found = inside(block, size)
    return _figure(found, title or f"{found.name}, {found.parameters:,} parameters", "input", "output")


def _width(text: str, bold: bool = False) -> float:
    """Return the width of a line in inches."""
    return TextPath((0, 0), text, size=FONT, prop={"weight": "bold" if bold else "normal"}).get_extents().width / 72


def _size(shape: tuple[int, int, int]) -> str:
    return "×".join(str(n) for n in shape)


def _figure(found: Anatomy, title: str, start: str, end: str) -> Figure:
    boxes, skip = found.boxes, found.skip
    widths = [max(_width(line, bold=True) for line in [*box.text, _size(box.shape)]) + 2 * PAD for box in boxes]
    height = max(len(box.text) for box in boxes) * STEP + 2 * PAD
    ends = [max(_width(n, True), _width(_size(shape))) + PAD for n, shape in ((start, found.input), (end, found.output))]
    kinds = [kind for kind in KINDS if kind in {box.kind for box in boxes}]
    grouped, several = any(box.group for box in boxes), len(kinds) > 1
    bottom, over = 0.55 if several else 0.3, 0.4 if grouped else 0.18  # below the boxes; of the skip above them
    tall = bottom + height + 0.4 + (0.38 if skip else 0.0) + (0.22 if grouped else 0.0)
    total = sum(widths) + sum(ends) + GAP * (len(boxes) + 1) + ((GAP + 0.2) if skip else 0.0) + 0.2
    total = max(total, _width(title, True) * 1.3 + 0.3)
    fig = plt.figure(figsize=(total, tall))
    ax = fig.add_axes([0, 0, 1, 1])
    ax.set(xlim=(0, total), ylim=(0, tall))
    ax.set_axis_off()
    ax.text(0.1, tall - 0.1, title, fontsize=FONT + 2, fontweight="bold", va="top")

    middle = bottom + height / 2
    x = _end(ax, 0.1, middle, bottom, ends[0], start, found.input)
    source, spans, behind = (x - ends[0] / 2, middle + 0.12), [], 0.0
    for box, width in zip(boxes, widths, strict=True):
        _arrow(ax, x + behind, x + GAP, middle)
        x += GAP
        _draw_box(ax, box, x, bottom, width, height)
        spans.append((box.group, x, x + width))
        x, behind = x + width, SHEET if box.count > 1 else 0.0
    if skip and boxes[0].title == skip:  # it starts behind the interpolation that it adds
        source, skip = (sum(spans[0][1:]) / 2, bottom + height), "identity"
    _groups(ax, spans, bottom + height + 0.05)
    if skip:
        _arrow(ax, x + behind, x + GAP, middle)
        plus = x + GAP + 0.1
        _skip(ax, source, (plus, middle), bottom + height + over, skip)
        x, behind = plus + 0.1, 0.0
    _arrow(ax, x + behind, x + GAP, middle)
    _end(ax, x + GAP, middle, bottom, ends[1], end, found.output)
    if several:
        patches = [Patch(facecolor=COLORS[kind], edgecolor=LINE, lw=0.6, label=KINDS[kind]) for kind in kinds]
        look = {"fontsize": FONT - 0.5, "frameon": False, "borderpad": 0.0, "handlelength": 1.2, "handleheight": 0.8}
        fig.legend(handles=patches, loc="lower left", bbox_to_anchor=(0.1 / total, 0), ncols=3, **look)
    return fig


def _skip(ax: Axes, source: tuple[float, float], plus: tuple[float, float], over: float, label: str) -> None:
    """Draw the sum at `plus` and the way to it from `source`, along the height `over`."""
    (x, y), (end, middle) = source, plus
    ax.plot([x, x, end, end], [y, over, over, middle + 0.2], color=LINE, lw=1.1)
    arrow = {"arrowstyle": "-|>", "color": LINE, "lw": 1.1, "shrinkA": 0, "shrinkB": 1}
    ax.annotate("", (end, middle + 0.1), (end, middle + 0.3), arrowprops=arrow)
    ax.text((x + end) / 2, over + 0.03, label, ha="center", va="bottom", fontsize=FONT, color=LINE)
    ax.add_patch(Circle(plus, 0.1, facecolor="white", edgecolor=LINE, lw=1.1))
    ax.text(end, middle - 0.005, "+", ha="center", va="center", fontsize=FONT + 3)


def _end(ax: Axes, x: float, middle: float, bottom: float, width: float, name: str, shape: tuple[int, int, int]) -> float:
    ax.text(x + width / 2, middle, name, ha="center", va="center", fontsize=FONT + 1, fontweight="bold")
    ax.text(x + width / 2, bottom - 0.06, _size(shape), ha="center", va="top", fontsize=FONT - 0.5, color=GREY)
    return x + width


def _arrow(ax: Axes, start: float, stop: float, y: float) -> None:
    ax.annotate("", (stop, y), (start, y), arrowprops={"arrowstyle": "-|>", "color": LINE, "lw": 1.1, "shrinkA": 2, "shrinkB": 1})


def _draw_box(ax: Axes, box: Box, x: float, bottom: float, width: float, height: float) -> None:
    style = "round,pad=0,rounding_size=0.06"
    if box.count > 1:  # a second sheet behind says that there are several
        ax.add_patch(FancyBboxPatch((x + SHEET, bottom + SHEET), width, height, style, fc=COLORS[box.kind], ec=LINE, lw=0.8))
    ax.add_patch(FancyBboxPatch((x, bottom), width, height, style, facecolor=COLORS[box.kind], edgecolor=LINE, lw=0.8))
    y = bottom + height / 2 + (len(box.text) - 1) * STEP / 2
    for i, line in enumerate(box.text):
        weight = "bold" if i == len(box.before) else "normal"
        color = GREY if line.endswith(" params") else "black"
        ax.text(x + width / 2, y - i * STEP, line, ha="center", va="center", fontsize=FONT, fontweight=weight, color=color)
    ax.text(x + width / 2, bottom - 0.06, _size(box.shape), ha="center", va="top", fontsize=FONT - 0.5, color=GREY)


def _groups(ax: Axes, spans: list[tuple[str, float, float]], y: float) -> None:
    """Write the name of each of the model's attributes above its boxes, with a line where there are several."""
    merged: list[tuple[str, float, float]] = []
    for group, start, stop in spans:
        if merged and group and merged[-1][0] == group:
            merged[-1] = (group, merged[-1][1], stop)
        else:
            merged.append((group, start, stop))
    for group, start, stop in merged:
        if group:
            ax.plot([start, stop], [y + 0.03] * 2, color="0.7", lw=0.8)
            ax.text((start + stop) / 2, y + 0.06, group, ha="center", va="bottom", fontsize=FONT, color=GREY, style="italic")
