"""Architectures drawn from the modules themselves: `draw(model)` and `draw_block(block)`.

`srlib.draw.anatomy` says what a module consists of, `srlib.draw.layout` where its boxes stand.
"""

from itertools import groupby

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, Patch
from torch import nn

from srlib.draw.anatomy import inside, whole
from srlib.draw.boxes import Anatomy, Box, Loop
from srlib.draw.layout import ARC, FONT, GAP, GROUP, SHEET, SIZE, STEP, SUM, Layout, place_boxes, size_text, text_width
from srlib.draw.tracing import Edge

COLORS = {"low": "#dbe9f6", "up": "#d9efe2", "high": "#fde3c8", "activation": "#f0f0f0"}
KINDS = {"low": "at low resolution", "up": "enlarges", "high": "at high resolution"}
GREY, LINE = "0.4", "0.25"


def draw(model: nn.Module, *, lr_size: int = 48, title: str | None = None) -> Figure:
    """Draw a model of `srlib.nn.models` from LR to SR: kernels, channels, parameters, repeated blocks, branches, sums, sizes.

    lr_size: side of the LR image whose sizes are written under the boxes. Raises SRError for a model without layers.
    """
    anatomy = whole(model, lr_size)
    return _figure(anatomy, title or f"{anatomy.name} ×{model.scale}, {anatomy.parameters:,} parameters")


def draw_block(block: nn.Module, *, size: int = 48, scale: int = 2, title: str | None = None) -> Figure:
    """Draw the inside of one block or discriminator, each layer and activation a box, with all its sums.

    size: side of the block's input in pixels; its channels are those of the first convolution. scale: how much smaller a
    discriminator's second input `lr` is. Raises SRError for a block without a convolution, and for other inputs or outputs.
    """
    anatomy = inside(block, size, scale)
    return _figure(anatomy, title or f"{anatomy.name}, {anatomy.parameters:,} parameters")


def _figure(anatomy: Anatomy, title: str) -> Figure:
    layout = place_boxes(anatomy)
    kinds = [kind for kind in KINDS if kind in {box.kind for box in anatomy.boxes}]
    legend = 0.3 if len(kinds) > 1 else 0.05
    wide, tall = max(layout.width, text_width(title, True) * 1.3 + 0.3), layout.height + legend
    fig = plt.figure(figsize=(wide, tall))
    ax = fig.add_axes([0, 0, 1, 1])
    ax.set(xlim=(0, wide), ylim=(-tall, 0))
    ax.set_axis_off()
    ax.text(0.1, -0.1, title, fontsize=FONT + 2, fontweight="bold", va="top")
    for edge, i in layout.edges():
        _edge(ax, layout, edge, i)
    for (source, label), level in layout.arcs.items():
        _arc(ax, layout, source, label, level)
    for i, box in enumerate(anatomy.boxes):
        _draw_box(ax, box, layout, i)
    _groups(ax, layout)
    for loop in anatomy.loops:
        _loop(ax, layout, loop)
    if len(kinds) > 1:
        patches = [Patch(facecolor=COLORS[kind], edgecolor=LINE, lw=0.6, label=KINDS[kind]) for kind in kinds]
        look = {"fontsize": FONT - 0.5, "frameon": False, "borderpad": 0.0, "handlelength": 1.2, "handleheight": 0.8}
        fig.legend(handles=patches, loc="lower left", bbox_to_anchor=(0.1 / wide, 0), ncols=3, **look)
    return fig


def _arrow(ax: Axes, points: list[tuple[float, float]]) -> None:
    """Draw a line through the points that ends in an arrowhead."""
    if len(points) > 2:
        ax.plot(*zip(*points[:-1], strict=True), color=LINE, lw=1.1, solid_capstyle="butt", solid_joinstyle="miter")
    arrow = {"arrowstyle": "-|>", "color": LINE, "lw": 1.1, "shrinkA": 0, "shrinkB": 1}
    ax.annotate("", points[-1], points[-2], arrowprops=arrow)


def _label(ax: Axes, x: float, y: float, label: str, **look) -> None:
    ax.text(x, y + 0.04, label, va="bottom", fontsize=FONT, color=LINE, **{"ha": "center", **look})


def _edge(ax: Axes, layout: Layout, edge: Edge, i: int) -> None:
    """Draw the connection between two boxes: straight, to another row, or to the next line; arcs are drawn elsewhere."""
    s, (y, end) = edge.source, (layout.y[edge.source], layout.y[i])
    start, stop = layout.right(s) + 0.03, layout.left(i)
    if layout.line[s] != layout.line[i]:
        turn = layout.top(i) + 0.12 + GROUP * bool(layout.boxes[i].group)
        _arrow(ax, [(start, y), (start + 0.15, y), (start + 0.15, turn), (stop - 0.2, turn), (stop - 0.2, end), (stop, end)])
        _label(ax, (start + stop) / 2, turn, edge.label or "")
    elif layout.is_arc(edge, i):
        return
    elif layout.row[s] == layout.row[i]:
        _arrow(ax, [(start, y), (stop, y)])
        if edge.label:
            _label(ax, (start + stop) / 2 - 0.03, y, edge.label)
    elif layout.boxes[i].kind == "sum" and layout.free(layout.row[s], layout.column[s], layout.column[i] + 1):
        edge_of_sum = end + (SUM if y > end else -SUM)
        _arrow(ax, [(start, y), (layout.x[i], y), (layout.x[i], edge_of_sum)])
        if edge.label:
            _label(ax, (start + stop) / 2 - 0.03, y, edge.label)
    else:
        turn = layout.right(s) + GAP / 2 if layout.free(layout.row[i], layout.column[s], layout.column[i]) else stop - GAP / 2
        ax.plot([start, turn], [y, y], color=LINE, lw=1.1)
        if not layout.free(layout.row[s], layout.column[s], layout.column[s] + 2):
            ax.plot([turn], [y], "o", color=LINE, ms=3)
        _arrow(ax, [(turn, y), (turn, end), (stop, end)])


def _arc(ax: Axes, layout: Layout, source: int, label: str, level: int) -> None:
    """Draw the line above the row from a source to all that takes it there, with its label."""
    users = [i for edge, i in layout.edges() if edge.source == source and (edge.label or "identity") == label]
    users = [i for i in users if layout.is_arc(Edge(source), i)]
    row = [i for i in range(len(layout.boxes)) if (layout.row[i], layout.line[i]) == (layout.row[source], layout.line[source])]
    over = max(layout.top(i) for i in row) + GROUP * any(layout.boxes[i].group for i in row) + 0.1 + ARC * level
    image = layout.boxes[source].kind == "image"
    x, y = (layout.x[source], layout.y[source] + 0.12) if image else (layout.right(source) + GAP / 3, layout.y[source])
    if not image:
        ax.plot([x], [y], "o", color=LINE, ms=3)
    for i in users:
        _arrow(ax, [(x, y), (x, over), (layout.x[i], over), (layout.x[i], layout.top(i))])
    _label(ax, (x + max(layout.x[i] for i in users)) / 2, over - 0.01, label)


def _draw_box(ax: Axes, box: Box, layout: Layout, i: int) -> None:
    x, y, (width, height) = layout.x[i], layout.y[i], layout.size[i]
    if box.kind == "sum":
        ax.add_patch(Circle((x, y), SUM, facecolor="white", edgecolor=LINE, lw=1.1))
        ax.text(x, y - 0.005, box.title, ha="center", va="center", fontsize=FONT + 3)
        return
    if box.kind == "image":
        ax.text(x, y, box.title, ha="center", va="center", fontsize=FONT + 1, fontweight="bold")
    else:
        style, look = "round,pad=0,rounding_size=0.06", {"facecolor": COLORS[box.kind], "edgecolor": LINE, "lw": 0.8}
        corner = (x - width / 2, y - height / 2)
        if box.count > 1:  # a second sheet behind says that there are several
            ax.add_patch(FancyBboxPatch((corner[0] + SHEET, corner[1] + SHEET), width, height, style, **look))
        ax.add_patch(FancyBboxPatch(corner, width, height, style, **look))
        above = y + (len(box.text) - 1) * STEP / 2
        for n, line in enumerate(box.text):
            weight = "bold" if n == len(box.before) else "normal"
            color = GREY if line.endswith((" param", " params", "same weights")) else "black"
            ax.text(x, above - n * STEP, line, ha="center", va="center", fontsize=FONT, fontweight=weight, color=color)
    row = [j for j in range(len(layout.boxes)) if (layout.row[j], layout.line[j]) == (layout.row[i], layout.line[i])]
    bottom = min(layout.y[j] - layout.size[j][1] / 2 for j in row)
    ax.text(x, bottom - 0.06, size_text(box.shape), ha="center", va="top", fontsize=FONT - 0.5, color=GREY)


def _groups(ax: Axes, layout: Layout) -> None:
    """Write the name of each of the model's attributes above its boxes, with a line where there are several."""
    order = sorted(range(len(layout.boxes)), key=lambda i: (layout.row[i], layout.column[i]))
    for (group, *_), same in groupby(order, key=lambda i: (layout.boxes[i].group, layout.row[i], layout.line[i])):
        if group:
            first, *_, last = [*same] * 2
            start, stop, y = layout.left(first), layout.right(last), layout.top(first)
            ax.plot([start, stop], [y + 0.08] * 2, color="0.7", lw=0.8)
            ax.text((start + stop) / 2, y + 0.11, group, ha="center", va="bottom", fontsize=FONT, color=GREY, style="italic")


def _loop(ax: Axes, layout: Layout, loop: Loop) -> None:
    """Bracket the boxes that run several times, on each line, and draw what a run hands to the next."""
    for line in sorted(set(layout.line[loop.first : loop.last + 1])):
        members = [i for i in range(loop.first, loop.last + 1) if layout.line[i] == line]
        start, stop = min(layout.left(i) for i in members) - 0.22, max(layout.right(i) for i in members) + 0.22
        bottom = min(layout.y[i] - layout.size[i][1] / 2 for i in members) - SIZE
        for source, target in loop.back:
            x, to = layout.right(source) + GAP / 3, layout.left(target) - GAP / 3
            _arrow(ax, [(x, layout.y[source]), (x, bottom), (to, bottom), (to, layout.y[target] - 0.01)])
        ax.plot([start, start, stop, stop], [bottom - tick for tick in (0.02, 0.08, 0.08, 0.02)], color=GREY, lw=0.8)
        text = f"{loop.title}{', ' if loop.title else ''}{loop.count} times, the same weights"
        ax.text((start + stop) / 2, bottom - 0.11, text, ha="center", va="top", fontsize=FONT, color=LINE)
