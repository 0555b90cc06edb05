import itertools
from collections import Counter

import pytest
from matplotlib.patches import Circle, FancyBboxPatch
from matplotlib.path import Path
from matplotlib.text import Annotation

from srlib.draw import diagrams
from srlib.draw.diagrams import draw, draw_block
from srlib.draw.layout import place_boxes, size_text
from srlib.nn import models
from srlib.papers.btsrn.model import BLOCKS, Upsample
from srlib.papers.prosrn.model import STRUCTURES
from srlib.train import losses

pytestmark = pytest.mark.usefixtures("one_thread")


def texts(fig):
    return [text.get_text() for text in fig.axes[0].texts]


# Routed patches, trees of predictions and DDet's paths are drawn by their papers' own figures; MemNet's, CDC's and LP-KPN's
# flow by none.
OWN = {"difficulty_sr", "divergence", "d2c_sr", "d2c", "ddet", "memnet", "cdc", "lp_kpn"}
DRAWN = [name for name in models.names() if name != "bicubic" and not models.fitted(name) and name not in OWN]
NAMES = [(name, 2 if 2 in models.scales(name) else 1) for name in DRAWN]
NAMES += [("btsrn", 4), ("fsrcnn", 3), ("lapsrn", 4), ("lapsrn", 8), ("prosrn", 8), ("srresnet", 8)]
FIGURES = {
    **{f"{name} x{scale}": lambda name=name, scale=scale: draw(models.create(name, scale), lr_size=8) for name, scale in NAMES},
    "prosrn x32": lambda: draw(models.create("prosrn", 32, width=8), lr_size=8),
    "lapsrn x4 shared": lambda: draw(models.create("lapsrn", 4, shared=True), lr_size=8),
    **{name: lambda block=block: draw_block(block(128, 32, padding=1), size=8) for name, block in BLOCKS.items()},
    **{name: lambda block=block: draw_block(block(4, 64), size=8) for name, block in STRUCTURES.items()},
    "patch": lambda: draw_block(losses.adversarial("patch").build(1), size=96, scale=4),
    "image": lambda: draw_block(losses.adversarial("image").build(3), size=32),
    "upsample": lambda: draw_block(Upsample(16, 2), size=8),
}  # fmt: skip


@pytest.mark.parametrize("name", FIGURES)
def test_all_of_a_network_is_written_and_texts_and_lines_keep_clear_of_each_other(name, monkeypatch):
    placed = []
    monkeypatch.setattr(diagrams, "place_boxes", lambda *args: placed.append(args) or place_boxes(*args))
    fig = FIGURES[name]()
    ((boxes, loops),), written = placed, Counter(texts(fig))
    lines = [line for box in boxes for line in (["+"] if box.kind == "sum" else [size_text(box), *box.text])]
    assert Counter(lines) <= written and {box.group for box in boxes} - {""} <= set(written)
    assert {edge.label for box in boxes for edge in box.inputs} - {""} <= set(written)
    assert all(any(text.endswith(f"{loop.count} times, the same weights") for text in written) for loop in loops)
    fig.draw_without_rendering()
    (ax,) = fig.axes
    extents = [text.get_window_extent() for text in ax.texts if text.get_text()]
    extents += [text.get_window_extent() for legend in fig.legends for text in legend.get_texts()]
    assert not any(a.overlaps(b) for a, b in itertools.combinations([box.padded(-1) for box in extents], 2))
    assert all(fig.bbox.x0 <= b.x0 and b.x1 <= fig.bbox.x1 and fig.bbox.y0 <= b.y0 and b.y1 <= fig.bbox.y1 for b in extents)
    frames = [patch.get_window_extent() for patch in ax.patches if isinstance(patch, FancyBboxPatch)]
    for text in extents:  # text that begins inside a frame ends inside it
        for frame in frames:
            if frame.y0 < text.y0 < frame.y1 and frame.x0 < (text.x0 + text.x1) / 2 < frame.x1:
                assert frame.x0 < text.x0 and text.x1 < frame.x1 and text.y1 < frame.y1
    ways = [line.get_path() for line in ax.lines if line.get_marker() == "None"]
    ways += [Path([text.xyann, text.xy]) for text in ax.texts if isinstance(text, Annotation)]
    ways = [way.transformed(ax.transData) for way in ways]
    assert frames and ways and not any(way.intersects_bbox(frame.padded(-1.5), False) for way in ways for frame in frames)


def test_a_title_names_network_scale_and_size_and_can_be_another():
    pconv = BLOCKS["pconv"](128, 64, padding=1)
    assert {"BTSRN ×2, 887,683 parameters", "3×24×24", "3×48×48"} <= set(texts(draw(models.create("btsrn", 2), lr_size=24)))
    assert {"PConv, 82,112 parameters", "128×48×48", "identity"} <= set(texts(draw_block(pconv)))
    assert "Mine" in texts(draw_block(pconv, size=8, title="Mine"))


def test_what_runs_again_says_so():
    lines = texts(draw(models.create("prosrn", 8), lr_size=12))
    assert lines.count("×2 network") == 3 and lines.count("the same weights") == 2 and lines.count("sub-SR") == 2
    assert "×2 network, 3 times, the same weights" in lines


@pytest.mark.parametrize(("structure", "count"), [("memory", 4), ("residual", 2), ("general", 0)])
def test_only_what_adds_has_a_sum(structure, count):
    (ax,) = draw_block(STRUCTURES[structure](4, 8), size=8).axes
    assert sum(isinstance(patch, Circle) for patch in ax.patches) == [text.get_text() for text in ax.texts].count("+") == count
