"""Where the boxes of a diagram stand: columns, rows and lines, then inches.

The longest way from an input to the output is the main row; what branches off it gets rows below, or between the two rows that
it connects. A summand that comes without a layer in between is an arc above its row. Long chains continue on a next line.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from matplotlib.textpath import TextPath

from srlib.draw.anatomy import Loop
from srlib.draw.tracing import Box, Edge, edges_of, users_of

FONT, STEP, GAP, PAD, SHEET, SUM = 8.0, 0.155, 0.34, 0.11, 0.04, 0.1  # points; inches
GROUP, SIZE, ARC, BACK = 0.24, 0.24, 0.24, 0.34  # inches: room for names and arcs above a row, sizes and loops below it
WIDEST = 11.5  # inches; a longer chain continues on the next line


def text_width(text: str, bold: bool = False) -> float:
    """Return the width of a line in inches."""
    return TextPath((0, 0), text, size=FONT, prop={"weight": "bold" if bold else "normal"}).get_extents().width / 72


def size_text(box: Box) -> str:
    return "×".join(str(n) for n in box.shape)


def _box_size(box: Box) -> tuple[float, float]:
    if box.kind == "sum":
        return 2 * SUM, 2 * SUM
    if box.kind == "image":
        return max(text_width(box.title, True) * 1.15, text_width(size_text(box))) + PAD, 0.3
    widest = max(text_width(line, bold=True) for line in [*box.text, size_text(box)])
    return widest + 2 * PAD, len(box.text) * STEP + 2 * PAD


@dataclass
class Arc:
    """A line above a row from a box to those that it passes over others to; level: how far above."""

    source: Box
    label: str
    users: list[Box]
    level: int = 0

    @property
    def end(self) -> int:
        return max(user.column for user in self.users)


def is_free(boxes: list[Box], row: int, after: int, before: int) -> bool:
    """Whether a row has no box between two columns."""
    return not any(box.row == row and after < box.column < before for box in boxes)


def _longest(boxes: list[Box], end: Box | None) -> list[Box]:
    """Return the longest chain among boxes, up to the box `end` or to any; of equals the first to begin."""
    best: dict[Box, list[Box]] = {}

    def rank(chain: list[Box]) -> tuple[int, int]:
        return sum(box.count for box in chain), -chain[0].column

    for box in boxes:
        chains = [best[edge.source] for edge in box.inputs if edge.source in best]
        best[box] = [*max(chains, key=rank, default=[]), box]
    return best[end] if end else max(best.values(), key=rank)


def _set_rows(boxes: list[Box]) -> None:
    """Give the longest chain the first row, and each further one a row below or between those that it connects."""
    remaining, rows = list(boxes), []  # of each row: [(chain, first column, last column)]
    while remaining:
        chain = _longest(remaining, None if rows else boxes[-1])
        remaining = [box for box in remaining if box not in chain]
        ends = [edge.source for edge in chain[0].inputs] + users_of(boxes, chain[-1])
        near = [r for r, row in enumerate(rows) if any(set(ends) & set(other) for other, *_ in row)] or [-1]
        columns = [box.column for box in [*chain, *ends]]
        low, high = min(columns), max(columns)
        between = range(min(near) + 1, max(near)) if max(near) > min(near) else range(max(near) + 1, len(rows))
        row = next((r for r in between if all(stop <= low or start >= high for _, start, stop in rows[r])), None)
        if row is None:
            row = min(near) + 1
            rows.insert(row, [])
        rows[row].append((chain, low, high))
    for r, row in enumerate(rows):
        for box in (box for chain, *_ in row for box in chain):
            box.row = r


def _stack_arcs(boxes: list[Box]) -> list[Arc]:
    """Return an arc for each source and label whose edges pass over boxes of their row; of those that overlap, the shortest
    lies lowest."""
    users: dict[Edge, list[Box]] = {}
    for edge, box in edges_of(boxes):
        if edge.source.row == box.row and not is_free(boxes, box.row, edge.source.column, box.column):
            users.setdefault(edge, []).append(box)
    arcs: list[Arc] = []
    waiting = [Arc(edge.source, edge.label or "identity", takers) for edge, takers in users.items()]
    for arc in sorted(waiting, key=lambda arc: arc.end - arc.source.column):
        near = (other for other in arcs if other.source.row == arc.source.row)
        taken = {other.level for other in near if other.source.column < arc.end and arc.source.column < other.end}
        arc.level = next(level for level in count() if level not in taken)
        arcs.append(arc)
    return arcs


def place_boxes(boxes: list[Box], loops: Sequence[Loop]) -> tuple[list[Arc], float, float]:
    """Set the places of boxes; return the arcs above them, and the width and height of all in inches."""
    for box in boxes:
        box.column = max((edge.source.column + 1 for edge in box.inputs), default=0)
        box.width, box.height = _box_size(box)
    _set_rows(boxes)
    line, x, wide = 0, 0.1, 0.0
    for column in range(max(box.column for box in boxes) + 1):
        members = [box for box in boxes if box.column == column]
        labels = [e.label for box in members for e in box.inputs if e.label and e.source.column == column - 1]
        gap = max([GAP * (column > 0), *(text_width(label) + 0.25 for label in labels)])
        width = max(box.width for box in members)
        crossing = [edge for edge, box in edges_of(boxes) if edge.source.column < column <= box.column]
        rest = [box for box in boxes if box.column >= column and box.kind not in ("image", "sum")]
        looping = any(loop.boxes[0].column < column <= loop.boxes[-1].column for loop in loops if loop.back)
        if x + gap + width > WIDEST - GAP and len(crossing) == 1 and len(rest) > 1 and not looping:
            line, x = line + 1, 0.1
        for box in members:
            box.x, box.line = x + gap + width / 2, line
        x += gap + width
        wide = max(wide, x + 0.28)
    arcs, looped = _stack_arcs(boxes), [box for loop in loops for box in loop.boxes]
    y, above = -0.45, 0
    for line, row in sorted({(box.line, box.row) for box in boxes}):
        members = [box for box in boxes if (box.line, box.row) == (line, row)]
        names = GROUP * any(box.group for box in members)
        tall = max(box.height for box in members)
        levels = [arc.level for arc in arcs if arc.source in members]
        y -= 0.08 * (row > 0) + 0.3 * (line > above) + names + (ARC * (max(levels) + 1) + 0.1 if levels else 0)
        for box in members:
            box.y, box.roof, box.floor = y - tall / 2, y + names, y - tall
            box.height = box.height if box.kind in ("sum", "image") else tall
        y, above = y - tall - SIZE - BACK * any(box in looped for box in members), line
    return arcs, wide, -y
