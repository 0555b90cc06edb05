"""Architectures drawn from the modules themselves: `draw(model)` and `draw_block(block)`.

`srlib.draw.anatomy` says what a module consists of, `srlib.draw.layout` where its boxes stand. Papers place the boxes of their
own diagrams by hand with `inch_axes`, `draw_box` and `draw_arrow`.
"""

from collections.abc import Sequence
from itertools import groupby

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, Patch
from torch import nn

from srlib.draw.anatomy import Loop, inside, whole
from srlib.draw.layout import ARC, FONT, GAP, PAD, SHEET, SIZE, STEP, SUM, Arc, is_free, place_boxes, size_text, text_width
from srlib.draw.style import GREY, use_style
from srlib.draw.tracing import Box, Edge, edges_of

COLORS = {"low": "#dbe9f6", "up": "#d9efe2", "high": "#fde3c8", "activation": "#f0f0f0"}
KINDS = {"low": "at low resolution", "up": "enlarges", "high": "at high resolution"}
LINE = "0.25"


def draw(model: nn.Module, *, lr_size: int = 48, title: str | None = None) -> Figure:
    """Draw a model of `srlib.nn.models` from LR to SR: kernels, channels, parameters, repeated blocks, branches, sums, sizes.

    lr_size: side of the LR image whose sizes are written under the boxes. Raises SRError for a model without layers.
    """
    anatomy = whole(model, lr_size)
    return _figure(anatomy.boxes, anatomy.loops, title or f"{anatomy.name} ×{model.scale}, {anatomy.parameters:,} parameters")


def draw_block(block: nn.Module, *, size: int = 48, scale: int = 2, title: str | None = None) -> Figure:
    """Draw the inside of one block or discriminator, each layer and activation a box, with all its sums.

    size: side of the block's input in pixels; its channels are those of the first convolution. scale: how much smaller a
    discriminator's second input `lr` is. Raises SRError for a block without a convolution, and for other inputs or outputs.
    """
    anatomy = inside(block, size, scale)
    return _figure(anatomy.boxes, anatomy.loops, title or f"{anatomy.name}, {anatomy.parameters:,} parameters")


def inch_axes(left: float, right: float, bottom: float, top: float) -> Axes:
    """Return bare axes that fill a new figure, one unit an inch."""
    use_style()
    ax = plt.figure(figsize=(right - left, top - bottom)).add_axes([0, 0, 1, 1])
    ax.set(xlim=(left, right), ylim=(bottom, top))
    ax.set_axis_off()
    return ax


def parameter_count(*modules: nn.Module) -> str:
    """Return the number of parameters of modules as the line of a box."""
    return f"{sum(p.numel() for module in modules for p in module.parameters()):,} params"


def draw_frame(ax: Axes, x: float, y: float, width: float, height: float, color: str) -> None:
    style = "round,pad=0,rounding_size=0.06"
    ax.add_patch(FancyBboxPatch((x - width / 2, y - height / 2), width, height, style, fc=color, ec=LINE, lw=0.8))


def draw_box(
    ax: Axes, x: float, y: float, lines: Sequence[str], color: str, width: float, height: float = 0.0, bold: int = 0
) -> tuple[float, float]:
    """Draw a box around (x, y), one line bold, counts of parameters grey; return the x of its left and right side."""
    draw_frame(ax, x, y, width, height or len(lines) * STEP + 1.5 * PAD, color)
    for k, line in enumerate(lines):
        look = {"color": GREY if line.endswith((" param", " params", "same weights")) else "black"}
        look["fontweight"] = "bold" if k == bold else "normal"
        ax.text(x, y + ((len(lines) - 1) / 2 - k) * STEP, line, ha="center", va="center", fontsize=FONT, **look)
    return x - width / 2, x + width / 2


def draw_sum(ax: Axes, x: float, y: float) -> None:
    ax.add_patch(Circle((x, y), SUM, facecolor="white", edgecolor=LINE, lw=1.1, zorder=3))
    ax.text(x, y - 0.005, "+", ha="center", va="center", fontsize=FONT + 3, zorder=4)


def draw_arrow(ax: Axes, points: Sequence[tuple[float, float]], color: str | tuple = LINE) -> None:
    """Draw a line through the points that ends in an arrowhead."""
    if len(points) > 2:
        ax.plot(*zip(*points[:-1], strict=True), color=color, lw=1.1, solid_capstyle="butt", solid_joinstyle="miter")
    arrow = {"arrowstyle": "-|>", "color": color, "lw": 1.1, "shrinkA": 0, "shrinkB": 1}
    ax.annotate("", points[-1], points[-2], arrowprops=arrow)


def _label(ax: Axes, x: float, y: float, label: str, **look) -> None:
    ax.text(x, y, label, **{"ha": "center", "va": "bottom", "fontsize": FONT, "color": LINE, **look})


def _figure(boxes: list[Box], loops: list[Loop], title: str) -> Figure:
    arcs, width, height = place_boxes(boxes, loops)
    kinds = [kind for kind in KINDS if kind in {box.kind for box in boxes}]
    wide, tall = max(width, text_width(title, True) * 1.3 + 0.3), height + (0.3 if len(kinds) > 1 else 0.05)
    ax = inch_axes(0, wide, -tall, 0)
    ax.text(0.1, -0.1, title, fontsize=FONT + 2, fontweight="bold", va="top")
    for edge, box in edges_of(boxes):
        if not any(box in arc.users and edge == arc.edge for arc in arcs):
            _draw_edge(ax, boxes, edge, box)
    for arc in arcs:
        _draw_arc(ax, arc)
    for box in boxes:
        _draw_layer(ax, box)
    _draw_groups(ax, boxes)
    for loop in loops:
        _draw_loop(ax, loop)
    if len(kinds) > 1:
        patches = [Patch(facecolor=COLORS[kind], edgecolor=LINE, lw=0.6, label=KINDS[kind]) for kind in kinds]
        look = {"fontsize": FONT - 0.5, "frameon": False, "borderpad": 0.0, "handlelength": 1.2, "handleheight": 0.8}
        ax.figure.legend(handles=patches, loc="lower left", bbox_to_anchor=(0.1 / wide, 0), ncols=3, **look)
    return ax.figure


def _draw_edge(ax: Axes, boxes: list[Box], edge: Edge, box: Box) -> None:
    """Draw the connection between two boxes: straight, to another row, or to the next line."""
    source, y, end = edge.source, edge.source.y, box.y
    start, stop = source.right + 0.03 + SHEET * (source.count > 1), box.left
    if source.line != box.line:
        turn = box.roof + 0.12
        draw_arrow(ax, [(start, y), (start + 0.15, y), (start + 0.15, turn), (stop - 0.2, turn), (stop - 0.2, end), (stop, end)])
        _label(ax, (start + stop) / 2, turn + 0.04, edge.label)
    elif source.row == box.row or (box.kind == "sum" and is_free(boxes, source.row, source.column, box.column + 1)):
        edge_of_sum = end + (SUM if y > end else -SUM)
        draw_arrow(ax, [(start, y), (stop, y)] if source.row == box.row else [(start, y), (box.x, y), (box.x, edge_of_sum)])
        _label(ax, (start + stop) / 2 - 0.03, y + 0.04, edge.label)
    else:
        turn = start - 0.03 + GAP / 2 if is_free(boxes, box.row, source.column, box.column) else stop - GAP / 2
        ax.plot([start, turn], [y, y], color=LINE, lw=1.1)
        if not is_free(boxes, source.row, source.column, source.column + 2):
            ax.plot([turn], [y], "o", color=LINE, ms=3)
        draw_arrow(ax, [(turn, y), (turn, end), (stop, end)])


def _draw_arc(ax: Axes, arc: Arc) -> None:
    """Draw the line above the row from a source to all that takes it there, with its label."""
    source = arc.edge.source
    over = source.roof + 0.1 + ARC * arc.level
    if source.kind == "image":
        x, y = source.x, source.y + 0.12
    else:
        x, y = source.right + GAP / 3 + SHEET * (source.count > 1), source.y
        ax.plot([x], [y], "o", color=LINE, ms=3)
    for user in arc.users:
        draw_arrow(ax, [(x, y), (x, over), (user.x, over), (user.x, user.top)])
    _label(ax, (x + arc.users[-1].x) / 2, over + 0.03, arc.edge.label or "identity")


def _draw_layer(ax: Axes, box: Box) -> None:
    """Draw a box with the size of its output below; a second sheet behind says that there are several."""
    if box.kind == "sum":
        draw_sum(ax, box.x, box.y)
        return
    if box.kind == "image":
        ax.text(box.x, box.y, box.title, ha="center", va="center", fontsize=FONT + 1, fontweight="bold")
    else:
        if box.count > 1:
            draw_frame(ax, box.x + SHEET, box.y + SHEET, box.width, box.height, COLORS[box.kind])
        draw_box(ax, box.x, box.y, box.text, COLORS[box.kind], box.width, box.height, len(box.before))
    _label(ax, box.x, box.floor - 0.06, size_text(box), va="top", fontsize=FONT - 0.5, color=GREY)


def _draw_groups(ax: Axes, boxes: list[Box]) -> None:
    """Write the name of each of the model's attributes above its boxes, with a line where there are several."""
    order = sorted(boxes, key=lambda box: (box.row, box.column))
    for (group, *_), same in groupby(order, key=lambda box: (box.group, box.row, box.line)):
        if group:
            first, *_, last = [*same] * 2
            ax.plot([first.left, last.right], [first.top + 0.08] * 2, color="0.7", lw=0.8)
            _label(ax, (first.left + last.right) / 2, first.top + 0.11, group, color=GREY, style="italic")


def _draw_loop(ax: Axes, loop: Loop) -> None:
    """Bracket the boxes that run several times, on each line, and draw what a run hands to the next."""
    for _, same in groupby(loop.boxes, key=lambda box: box.line):
        members = list(same)
        start, stop = min(box.left for box in members) - 0.22, max(box.right for box in members) + 0.22
        bottom = min(box.y - box.height / 2 for box in members) - SIZE
        for source, target in loop.back:
            x, to = source.right + GAP / 3, target.left - GAP / 3
            draw_arrow(ax, [(x, source.y), (x, bottom), (to, bottom), (to, target.y - 0.01)])
        ax.plot([start, start, stop, stop], [bottom - tick for tick in (0.02, 0.08, 0.08, 0.02)], color=GREY, lw=0.8)
        text = f"{loop.title}{', ' if loop.title else ''}{loop.count} times, the same weights"
        _label(ax, (start + stop) / 2, bottom - 0.11, text, va="top")
