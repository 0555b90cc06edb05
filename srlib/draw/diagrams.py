"""Architectures drawn from the modules themselves: `draw(model)` and `draw_block(block)`; see `anatomy` for what is found.

The longest way from an input to the output is the main row; what branches off it gets rows below, or between the two rows that
it connects. A summand that comes without a layer in between is an arc above its row. Long chains continue on a next line.
"""

from dataclasses import dataclass, field
from itertools import groupby

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, Patch
from matplotlib.textpath import TextPath
from torch import nn

from srlib.draw.anatomy import Anatomy, Box, Edge, Loop, inside, whole

COLORS = {"low": "#dbe9f6", "up": "#d9efe2", "high": "#fde3c8", "activation": "#f0f0f0"}
KINDS = {"low": "at low resolution", "up": "enlarges", "high": "at high resolution"}
GREY, LINE = "0.4", "0.25"
FONT, STEP, GAP, PAD, SHEET, SUM = 8.0, 0.155, 0.34, 0.11, 0.04, 0.1  # points; inches
GROUP, SIZE, ARC, BACK = 0.24, 0.24, 0.24, 0.34  # inches: room for names and arcs above a row, sizes and loops below it
WIDEST = 11.5  # inches; a longer chain continues on the next line


def draw(model: nn.Module, *, lr_size: int = 48, title: str | None = None) -> Figure:
    """Draw a model of `srlib.nn.models` from LR to SR: kernels, channels, parameters, repeated blocks, branches, sums, sizes.

    lr_size: side of the LR image whose sizes are written under the boxes. Raises SRError for a model without layers.
    """
    found = whole(model, lr_size)
    return _figure(found, title or f"{found.name} ×{model.scale}, {found.parameters:,} parameters")


def draw_block(block: nn.Module, *, size: int = 48, scale: int = 2, title: str | None = None) -> Figure:
    """Draw the inside of one block or discriminator, each layer and activation a box, with all its sums.

    size: side of the block's input in pixels; its channels are those of the first convolution. scale: how much smaller a
    discriminator's second input `lr` is. Raises SRError for a block without a convolution, and for other inputs or outputs.
    """
    found = inside(block, size, scale)
    return _figure(found, title or f"{found.name}, {found.parameters:,} parameters")


def _width(text: str, bold: bool = False) -> float:
    """Return the width of a line in inches."""
    return TextPath((0, 0), text, size=FONT, prop={"weight": "bold" if bold else "normal"}).get_extents().width / 72


def _size(shape: tuple[int, ...]) -> str:
    return "×".join(str(n) for n in shape)


def _box_size(box: Box) -> tuple[float, float]:
    if box.kind == "sum":
        return 2 * SUM, 2 * SUM
    if box.kind == "image":
        return max(_width(box.title, True) * 1.15, _width(_size(box.shape))) + PAD, 0.3
    widest = max(_width(line, bold=True) for line in [*box.text, _size(box.shape)])
    return widest + 2 * PAD, len(box.text) * STEP + 2 * PAD


@dataclass
class _Layout:
    """Where each box stands: its column, row and line, then x, y of its centre, width and height in inches."""

    boxes: tuple[Box, ...]
    loops: tuple[Loop, ...]
    column: list[int] = field(default_factory=list)
    row: list[int] = field(default_factory=list)
    line: list[int] = field(default_factory=list)
    x: list[float] = field(default_factory=list)
    y: list[float] = field(default_factory=list)
    size: list[tuple[float, float]] = field(default_factory=list)
    arcs: dict[tuple[int, str], int] = field(default_factory=dict)  # (source, label) -> its level above the row
    width: float = 0.0
    height: float = 0.0

    def left(self, i: int) -> float:
        return self.x[i] - self.size[i][0] / 2

    def right(self, i: int) -> float:
        return self.x[i] + self.size[i][0] / 2 + (SHEET if self.boxes[i].count > 1 else 0.0)

    def top(self, i: int) -> float:
        return self.y[i] + self.size[i][1] / 2

    def free(self, row: int, after: int, before: int) -> bool:
        return not any(r == row and after < c < before for r, c in zip(self.row, self.column, strict=True))

    def edges(self):
        return [(edge, i) for i, box in enumerate(self.boxes) for edge in box.inputs]

    def is_arc(self, edge: Edge, i: int) -> bool:
        """Whether an edge passes over boxes of its own row."""
        return self.row[edge.source] == self.row[i] and not self.free(self.row[i], self.column[edge.source], self.column[i])


def _columns(boxes: tuple[Box, ...]) -> list[int]:
    columns: list[int] = []
    for box in boxes:
        columns.append(max((columns[edge.source] + 1 for edge in box.inputs), default=0))
    return columns


def _longest(boxes: tuple[Box, ...], left: set[int], end: int | None, columns: list[int]) -> list[int]:
    """Return the longest chain among the boxes that are left, up to the box `end` or to any; of equals the first to begin."""
    best: dict[int, list[int]] = {}

    def rank(chain: list[int]) -> tuple[int, int]:
        return sum(boxes[i].count for i in chain), -columns[chain[0]]

    for i in sorted(left):
        chains = [best[edge.source] for edge in boxes[i].inputs if edge.source in best]
        best[i] = [*max(chains, key=rank, default=[]), i]
    return best[end] if end is not None else max(best.values(), key=rank)


def _rows(boxes: tuple[Box, ...], columns: list[int]) -> list[int]:
    """Give the longest chain the first row, and each further one a row below or between those that it connects."""
    left, rows = set(range(len(boxes))), []  # of each row: [(chain, first column, last column)]
    while left:
        chain = _longest(boxes, left, None if rows else len(boxes) - 1, columns)
        left -= set(chain)
        users = [i for i, box in enumerate(boxes) if any(edge.source == chain[-1] for edge in box.inputs)]
        ends = [edge.source for edge in boxes[chain[0]].inputs] + users
        near = [r for r, row in enumerate(rows) if any(set(ends) & set(other) for other, *_ in row)] or [-1]
        span = [columns[i] for i in [*chain, *ends]]
        low, high = min(span), max(span)
        between = range(min(near) + 1, max(near)) if max(near) > min(near) else range(max(near) + 1, len(rows))
        row = next((r for r in between if all(stop <= low or start >= high for _, start, stop in rows[r])), None)
        if row is None:
            row = min(near) + 1
            rows.insert(row, [])
        rows[row].append((chain, low, high))
    where = {i: r for r, row in enumerate(rows) for chain, *_ in row for i in chain}
    return [where[i] for i in range(len(boxes))]


def _levels(layout: _Layout) -> dict[tuple[int, str], int]:
    """Stack arcs that overlap, the shortest lowest; those of one source and label share one."""
    spans: dict[tuple[int, str], int] = {}
    for edge, i in layout.edges():
        if layout.is_arc(edge, i):
            key = (edge.source, edge.label or "identity")
            spans[key] = max(spans.get(key, 0), layout.column[i])
    levels: dict[tuple[int, str], int] = {}
    for key in sorted(spans, key=lambda key: spans[key] - layout.column[key[0]]):
        start, stop, row = layout.column[key[0]], spans[key], layout.row[key[0]]
        near = [other for other in levels if layout.row[other[0]] == row]
        taken = {levels[o] for o in near if layout.column[o[0]] < stop and start < spans[o]}
        levels[key] = next(level for level in range(len(spans)) if level not in taken)
    return levels


def _place(found: Anatomy) -> _Layout:
    layout = _Layout(found.boxes, found.loops, _columns(found.boxes), size=[_box_size(box) for box in found.boxes])
    layout.row = _rows(found.boxes, layout.column)
    layout.arcs = _levels(layout)
    last = max(layout.column)
    members = [[i for i, c in enumerate(layout.column) if c == column] for column in range(last + 1)]
    widths = [max(layout.size[i][0] for i in column) for column in members]
    gaps = [0.0] + [GAP] * last
    for edge, i in layout.edges():
        if edge.label and layout.column[edge.source] == layout.column[i] - 1:
            gaps[layout.column[i]] = max(gaps[layout.column[i]], _width(edge.label) + 0.25)
    line, x, centres, lines = 0, 0.1, [], []
    for column, (width, gap) in enumerate(zip(widths, gaps, strict=True)):
        crossing = [edge for edge, i in layout.edges() if layout.column[edge.source] < column <= layout.column[i]]
        rest = [i for later in members[column:] for i in later if found.boxes[i].kind not in ("image", "sum")]
        looping = any(layout.column[one.first] < column <= layout.column[one.last] for one in found.loops if one.back)
        if x + gap + width > WIDEST - GAP and len(crossing) == 1 and len(rest) > 1 and not looping:
            line, x = line + 1, 0.1
        centres.append(x + gap + width / 2)
        lines.append(line)
        x += gap + width
        layout.width = max(layout.width, x + 0.28)
    layout.x = [centres[c] for c in layout.column]
    layout.line = [lines[c] for c in layout.column]
    _stack(layout, line + 1)
    return layout


def _stack(layout: _Layout, lines: int) -> None:
    """Set the heights, from the top down: each row of each line with room for names and arcs above, sizes and loops below."""
    layout.y, y = [0.0] * len(layout.boxes), -0.45
    for line in range(lines):
        for row in range(max(layout.row) + 1):
            here = [i for i in range(len(layout.boxes)) if (layout.line[i], layout.row[i]) == (line, row)]
            if not here:
                continue
            tall = max(layout.size[i][1] for i in here)
            y -= 0.08 * (row > 0)
            arcs = [level for (source, _), level in layout.arcs.items() if source in here]
            y -= GROUP * any(layout.boxes[i].group for i in here) + ARC * (max(arcs, default=-1) + 1) + 0.1 * bool(arcs)
            for i in here:
                layout.y[i] = y - tall / 2
                if layout.boxes[i].kind not in ("sum", "image"):
                    layout.size[i] = (layout.size[i][0], tall)
            y -= tall + SIZE + BACK * any(loop.first <= i <= loop.last for loop in layout.loops for i in here)
        y -= 0.3 * (line < lines - 1)
    layout.height = -y


def _figure(found: Anatomy, title: str) -> Figure:
    layout = _place(found)
    kinds = [kind for kind in KINDS if kind in {box.kind for box in found.boxes}]
    legend = 0.3 if len(kinds) > 1 else 0.05
    wide, tall = max(layout.width, _width(title, True) * 1.3 + 0.3), layout.height + legend
    fig = plt.figure(figsize=(wide, tall))
    ax = fig.add_axes([0, 0, 1, 1])
    ax.set(xlim=(0, wide), ylim=(-tall, 0))
    ax.set_axis_off()
    ax.text(0.1, -0.1, title, fontsize=FONT + 2, fontweight="bold", va="top")
    for edge, i in layout.edges():
        _edge(ax, layout, edge, i)
    for (source, label), level in layout.arcs.items():
        _arc(ax, layout, source, label, level)
    for i, box in enumerate(found.boxes):
        _draw_box(ax, box, layout, i)
    _groups(ax, layout)
    for loop in found.loops:
        _loop(ax, layout, loop)
    if len(kinds) > 1:
        patches = [Patch(facecolor=COLORS[kind], edgecolor=LINE, lw=0.6, label=KINDS[kind]) for kind in kinds]
        look = {"fontsize": FONT - 0.5, "frameon": False, "borderpad": 0.0, "handlelength": 1.2, "handleheight": 0.8}
        fig.legend(handles=patches, loc="lower left", bbox_to_anchor=(0.1 / wide, 0), ncols=3, **look)
    return fig


def _way(ax: Axes, points: list[tuple[float, float]]) -> None:
    """Draw a line through the points, the last part an arrow."""
    if len(points) > 2:
        ax.plot(*zip(*points[:-1], strict=True), color=LINE, lw=1.1, solid_capstyle="butt", solid_joinstyle="miter")
    arrow = {"arrowstyle": "-|>", "color": LINE, "lw": 1.1, "shrinkA": 0, "shrinkB": 1}
    ax.annotate("", points[-1], points[-2], arrowprops=arrow)


def _label(ax: Axes, x: float, y: float, label: str, **look) -> None:
    ax.text(x, y + 0.04, label, va="bottom", fontsize=FONT, color=LINE, **{"ha": "center", **look})


def _edge(ax: Axes, layout: _Layout, edge: Edge, i: int) -> None:
    """Draw the way between two boxes: straight, to another row, or to the next line; arcs are drawn elsewhere."""
    s, (y, end) = edge.source, (layout.y[edge.source], layout.y[i])
    start, stop = layout.right(s) + 0.03, layout.left(i)
    if layout.line[s] != layout.line[i]:
        turn = layout.top(i) + 0.12 + GROUP * bool(layout.boxes[i].group)
        _way(ax, [(start, y), (start + 0.15, y), (start + 0.15, turn), (stop - 0.2, turn), (stop - 0.2, end), (stop, end)])
        _label(ax, (start + stop) / 2, turn, edge.label or "")
    elif layout.is_arc(edge, i):
        return
    elif layout.row[s] == layout.row[i]:
        _way(ax, [(start, y), (stop, y)])
        if edge.label:
            _label(ax, (start + stop) / 2 - 0.03, y, edge.label)
    elif layout.boxes[i].kind == "sum" and layout.free(layout.row[s], layout.column[s], layout.column[i] + 1):
        edge_of_sum = end + (SUM if y > end else -SUM)
        _way(ax, [(start, y), (layout.x[i], y), (layout.x[i], edge_of_sum)])
        if edge.label:
            _label(ax, (start + stop) / 2 - 0.03, y, edge.label)
    else:
        turn = layout.right(s) + GAP / 2 if layout.free(layout.row[i], layout.column[s], layout.column[i]) else stop - GAP / 2
        ax.plot([start, turn], [y, y], color=LINE, lw=1.1)
        if not layout.free(layout.row[s], layout.column[s], layout.column[s] + 2):
            ax.plot([turn], [y], "o", color=LINE, ms=3)
        _way(ax, [(turn, y), (turn, end), (stop, end)])


def _arc(ax: Axes, layout: _Layout, source: int, label: str, level: int) -> None:
    """Draw the way above the row from a source to all that takes it there, with its label."""
    users = [i for edge, i in layout.edges() if edge.source == source and (edge.label or "identity") == label]
    users = [i for i in users if layout.is_arc(Edge(source), i)]
    row = [i for i in range(len(layout.boxes)) if (layout.row[i], layout.line[i]) == (layout.row[source], layout.line[source])]
    over = max(layout.top(i) for i in row) + GROUP * any(layout.boxes[i].group for i in row) + 0.1 + ARC * level
    image = layout.boxes[source].kind == "image"
    x, y = (layout.x[source], layout.y[source] + 0.12) if image else (layout.right(source) + GAP / 3, layout.y[source])
    if not image:
        ax.plot([x], [y], "o", color=LINE, ms=3)
    for i in users:
        _way(ax, [(x, y), (x, over), (layout.x[i], over), (layout.x[i], layout.top(i))])
    _label(ax, (x + max(layout.x[i] for i in users)) / 2, over - 0.01, label)


def _draw_box(ax: Axes, box: Box, layout: _Layout, i: int) -> None:
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
    ax.text(x, bottom - 0.06, _size(box.shape), ha="center", va="top", fontsize=FONT - 0.5, color=GREY)


def _groups(ax: Axes, layout: _Layout) -> None:
    """Write the name of each of the model's attributes above its boxes, with a line where there are several."""
    order = sorted(range(len(layout.boxes)), key=lambda i: (layout.row[i], layout.column[i]))
    for (group, *_), same in groupby(order, key=lambda i: (layout.boxes[i].group, layout.row[i], layout.line[i])):
        if group:
            first, *_, last = [*same] * 2
            start, stop, y = layout.left(first), layout.right(last), layout.top(first)
            ax.plot([start, stop], [y + 0.08] * 2, color="0.7", lw=0.8)
            ax.text((start + stop) / 2, y + 0.11, group, ha="center", va="bottom", fontsize=FONT, color=GREY, style="italic")


def _loop(ax: Axes, layout: _Layout, loop: Loop) -> None:
    """Bracket the boxes that run several times, on each line, and draw what a run hands to the next."""
    for line in sorted(set(layout.line[loop.first : loop.last + 1])):
        here = [i for i in range(loop.first, loop.last + 1) if layout.line[i] == line]
        start, stop = min(layout.left(i) for i in here) - 0.22, max(layout.right(i) for i in here) + 0.22
        bottom = min(layout.y[i] - layout.size[i][1] / 2 for i in here) - SIZE
        for source, target in loop.back:
            x, to = layout.right(source) + GAP / 3, layout.left(target) - GAP / 3
            _way(ax, [(x, layout.y[source]), (x, bottom), (to, bottom), (to, layout.y[target] - 0.01)])
        ax.plot([start, start, stop, stop], [bottom - tick for tick in (0.02, 0.08, 0.08, 0.02)], color=GREY, lw=0.8)
        text = f"{loop.title}{', ' if loop.title else ''}{loop.count} times, the same weights"
        ax.text((start + stop) / 2, bottom - 0.11, text, ha="center", va="top", fontsize=FONT, color=LINE)
