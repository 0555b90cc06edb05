"""Where the boxes of a diagram stand: rows, columns and lines, then inches.

The longest way from an input to the output is the main row; what branches off it gets rows below, or between the two rows that
it connects. A summand that comes without a layer in between is an arc above its row. Long chains continue on a next line.
"""

from dataclasses import dataclass, field

from matplotlib.textpath import TextPath

from srlib.draw.boxes import Anatomy, Box, Loop
from srlib.draw.tracing import Edge

FONT, STEP, GAP, PAD, SHEET, SUM = 8.0, 0.155, 0.34, 0.11, 0.04, 0.1  # points; inches
GROUP, SIZE, ARC, BACK = 0.24, 0.24, 0.24, 0.34  # inches: room for names and arcs above a row, sizes and loops below it
WIDEST = 11.5  # inches; a longer chain continues on the next line


def text_width(text: str, bold: bool = False) -> float:
    """Return the width of a line in inches."""
    return TextPath((0, 0), text, size=FONT, prop={"weight": "bold" if bold else "normal"}).get_extents().width / 72


def size_text(shape: tuple[int, ...]) -> str:
    return "×".join(str(n) for n in shape)


def _box_size(box: Box) -> tuple[float, float]:
    if box.kind == "sum":
        return 2 * SUM, 2 * SUM
    if box.kind == "image":
        return max(text_width(box.title, True) * 1.15, text_width(size_text(box.shape))) + PAD, 0.3
    widest = max(text_width(line, bold=True) for line in [*box.text, size_text(box.shape)])
    return widest + 2 * PAD, len(box.text) * STEP + 2 * PAD


@dataclass
class Layout:
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


def _longest(boxes: tuple[Box, ...], remaining: set[int], end: int | None, columns: list[int]) -> list[int]:
    """Return the longest chain among the remaining boxes, up to the box `end` or to any; of equals the first to begin."""
    best: dict[int, list[int]] = {}

    def rank(chain: list[int]) -> tuple[int, int]:
        return sum(boxes[i].count for i in chain), -columns[chain[0]]

    for i in sorted(remaining):
        chains = [best[edge.source] for edge in boxes[i].inputs if edge.source in best]
        best[i] = [*max(chains, key=rank, default=[]), i]
    return best[end] if end is not None else max(best.values(), key=rank)


def _rows(boxes: tuple[Box, ...], columns: list[int]) -> list[int]:
    """Give the longest chain the first row, and each further one a row below or between those that it connects."""
    remaining, rows = set(range(len(boxes))), []  # of each row: [(chain, first column, last column)]
    while remaining:
        chain = _longest(boxes, remaining, None if rows else len(boxes) - 1, columns)
        remaining -= set(chain)
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


def _levels(layout: Layout) -> dict[tuple[int, str], int]:
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


def place_boxes(anatomy: Anatomy) -> Layout:
    layout = Layout(anatomy.boxes, anatomy.loops, _columns(anatomy.boxes), size=[_box_size(box) for box in anatomy.boxes])
    layout.row = _rows(anatomy.boxes, layout.column)
    layout.arcs = _levels(layout)
    last = max(layout.column)
    members = [[i for i, c in enumerate(layout.column) if c == column] for column in range(last + 1)]
    widths = [max(layout.size[i][0] for i in column) for column in members]
    gaps = [0.0] + [GAP] * last
    for edge, i in layout.edges():
        if edge.label and layout.column[edge.source] == layout.column[i] - 1:
            gaps[layout.column[i]] = max(gaps[layout.column[i]], text_width(edge.label) + 0.25)
    line, x, centres, lines = 0, 0.1, [], []
    for column, (width, gap) in enumerate(zip(widths, gaps, strict=True)):
        crossing = [edge for edge, i in layout.edges() if layout.column[edge.source] < column <= layout.column[i]]
        rest = [i for later in members[column:] for i in later if anatomy.boxes[i].kind not in ("image", "sum")]
        looping = any(layout.column[loop.first] < column <= layout.column[loop.last] for loop in anatomy.loops if loop.back)
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


def _stack(layout: Layout, lines: int) -> None:
    """Set the heights, from the top down: each row of each line with room for names and arcs above, sizes and loops below."""
    layout.y, y = [0.0] * len(layout.boxes), -0.45
    for line in range(lines):
        for row in range(max(layout.row) + 1):
            members = [i for i in range(len(layout.boxes)) if (layout.line[i], layout.row[i]) == (line, row)]
            if not members:
                continue
            tall = max(layout.size[i][1] for i in members)
            y -= 0.08 * (row > 0)
            arcs = [level for (source, _), level in layout.arcs.items() if source in members]
            y -= GROUP * any(layout.boxes[i].group for i in members) + ARC * (max(arcs, default=-1) + 1) + 0.1 * bool(arcs)
            for i in members:
                layout.y[i] = y - tall / 2
                if layout.boxes[i].kind not in ("sum", "image"):
                    layout.size[i] = (layout.size[i][0], tall)
            y -= tall + SIZE + BACK * any(loop.first <= i <= loop.last for loop in layout.loops for i in members)
        y -= 0.3 * (line < lines - 1)
    layout.height = -y
