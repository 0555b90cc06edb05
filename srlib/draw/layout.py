"""Where the boxes of a diagram stand: columns, rows and lines, then inches.

The longest way from an input to the output is the main row; what branches off it gets rows below, or between the two rows that
it connects. A summand that comes without a layer in between is an arc above its row. Long chains continue on a next line.
"""

from collections.abc import Sequence
from itertools import count
from typing import NamedTuple

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


class Arc(NamedTuple):
    """A line above a row from a box to others that it does not stand beside; level: how far above."""

    edge: Edge
    users: list[Box]
    level: int


def is_free(boxes: list[Box], row: int, after: int, before: int) -> bool:
    """Whether a row has no box between two columns."""
    return not any(box.row == row and after < box.column < before for box in boxes)


def _set_rows(boxes: list[Box]) -> None:
    """Give each box the row of the box whose longest way to the output it begins, or a row of its own below that box."""
    depth: dict[Box, int] = {}  # boxes to the output
    following: dict[Box, Box] = {}
    rows: list[list[Box]] = []
    for box in reversed(boxes):
        users = users_of(boxes, box)
        following[box] = max(users, key=depth.get, default=box)
        depth[box] = box.count + depth.get(following[box], 0)
    for box in boxes:
        sources = [edge.source for edge in box.inputs]
        begun = [row for row in rows if any(source in row and following[source] is box for source in sources)]
        above = next((i for i, row in enumerate(rows) if sources and sources[0] in row), len(rows) - 1)
        below = rows[above + 1] if sources and above + 1 < len(rows) else []
        if begun:
            row = rows[0] if rows[0] in begun else begun[-1]  # where several ways meet, the main one's or the lowest
        elif below and following[below[-1]].column <= sources[0].column:
            row = below
        else:
            row = []
            rows.insert(above + 1, row)
        row.append(box)
    for i, row in enumerate(rows):
        for box in row:
            box.row = i


def _stack_arcs(boxes: list[Box]) -> list[Arc]:
    """Return an arc for each source and label whose edges pass over boxes of their row; of those that overlap, the shortest
    lies lowest."""
    users: dict[Edge, list[Box]] = {}
    for edge, box in edges_of(boxes):
        if edge.source.row == box.row and not is_free(boxes, box.row, edge.source.column, box.column):
            users.setdefault(edge, []).append(box)
    arcs: list[Arc] = []
    for edge, takers in sorted(users.items(), key=lambda item: item[1][-1].column - item[0].source.column):
        start, end = edge.source.column, takers[-1].column
        near = (other for other in arcs if other.edge.source.row == edge.source.row)
        taken = {other.level for other in near if other.edge.source.column < end and start < other.users[-1].column}
        arcs.append(Arc(edge, takers, next(level for level in count() if level not in taken)))
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
        levels = [arc.level for arc in arcs if arc.edge.source in members]
        y -= 0.08 * (row > 0) + 0.3 * (line > above) + names + (ARC * (max(levels) + 1) + 0.1 if levels else 0)
        for box in members:
            box.y, box.roof, box.floor = y - tall / 2, y + names, y - tall
            box.height = box.height if box.kind in ("sum", "image") else tall
        y, above = y - tall - SIZE - BACK * any(box in looped for box in members), line
    return arcs, wide, -y
