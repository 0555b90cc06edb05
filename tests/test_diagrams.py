import itertools

import pytest
from matplotlib.patches import Circle, FancyBboxPatch
from matplotlib.path import Path
from matplotlib.text import Annotation

from srlib.core.errors import SRError
from srlib.draw.diagrams import draw, draw_block
from srlib.draw.figures import save_figure
from srlib.nn import models
from srlib.papers.btsrn.model import BLOCKS, Upsample
from srlib.papers.prosrn.model import STRUCTURES
from srlib.train import losses

pytestmark = pytest.mark.usefixtures("one_thread")


def texts(fig):
    return [text.get_text() for text in fig.axes[0].texts]


# Routed patches, trees of predictions and DDet's paths are drawn by their papers' own figures; MemNet's, CDC's and LP-KPN's
# flow by none.
OWN = {"difficulty_sr", "divergence", "d2c_sr", "d2c_tree", "d2c", "ddet", "memnet", "cdc", "lp_kpn"}
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
def test_texts_and_lines_keep_clear_of_each_other(name):
    fig = FIGURES[name]()
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
    lines = [line.get_path() for line in ax.lines if line.get_marker() == "None"]
    lines += [Path([text.xyann, text.xy]) for text in ax.texts if isinstance(text, Annotation)]
    lines = [line.transformed(ax.transData) for line in lines]
    assert frames and lines
    assert not any(line.intersects_bbox(frame.padded(-1.5), filled=False) for line in lines for frame in frames)


def test_draw_shows_what_the_model_is_made_of():
    lines = texts(draw(models.create("btsrn", 2), lr_size=24))
    assert {"BTSRN ×2, 887,683 parameters", "LR", "SR", "3×24×24", "3×48×48", "6 × PConv", "4 × PConv", "128→64→128"} <= set(
        lines
    )
    assert {"entry", "low", "up", "high", "exit", "bicubic ×2", "+ identity", "+ nearest ×2", "6 × 82,112 params"} <= set(lines)
    assert lines.count("bicubic ×2") == 1 and "identity" not in lines  # no box; it stands on the skip
    changed = texts(draw(models.create("btsrn", 3, low=7, high=3, bottleneck=32), lr_size=16, title="Mine"))
    assert {"7 × PConv", "3 × PConv", "128→32→128", "bicubic ×3", "3×48×48", "Mine"} <= set(changed)


def test_the_skip_of_a_network_on_the_enlarged_image_starts_behind_the_interpolation():
    lines = texts(draw(models.create("vdsr", 2), lr_size=16))
    assert lines.count("bicubic ×2") == 1 and "identity" in lines  # a box; what is added is its output


def test_what_runs_again_says_so():
    lines = texts(draw(models.create("prosrn", 8), lr_size=12))
    assert lines.count("×2 network") == 3 and lines.count("the same weights") == 2 and lines.count("sub-SR") == 2
    assert {"ProSRN ×8, 407,441 parameters", "407,441 params", "×2 network, 3 times, the same weights", "1×96×96"} <= set(lines)
    assert "25 times, the same weights" in texts(draw(models.create("drrn", 2), lr_size=8))
    assert {"16 times, the same weights", "all 16, weighted"} <= set(texts(draw(models.create("drcn", 2, width=8), lr_size=8)))


@pytest.mark.parametrize(("structure", "count"), [("memory", 4), ("residual", 2), ("general", 0)])
def test_only_what_adds_has_a_sum(structure, count):
    (ax,) = draw_block(STRUCTURES[structure](4, 8), size=8).axes
    assert sum(isinstance(patch, Circle) for patch in ax.patches) == [text.get_text() for text in ax.texts].count("+") == count


def test_draw_block_shows_every_layer():
    lines = texts(draw_block(BLOCKS["pconv"](128, 64, padding=1)))
    assert lines.count("LeakyReLU 0.2") == 2 and {"conv 1×1", "conv 3×3", "128→64", "64→128", "identity", "+"} <= set(lines)
    assert "PConv, 82,112 parameters" in lines and "128×48×48" in lines
    assert {"nearest ×2", "Up-sampling"} <= set(texts(draw_block(Upsample(16, 2), title="Up-sampling")))
    assert {"image", "lr", "+", "− bicubic ×4"} <= set(texts(draw_block(losses.adversarial("patch").build(1), scale=4)))


def test_diagrams_are_saved_the_same_every_time(tmp_path):
    files = [save_figure(draw(models.create("espcn", 2), lr_size=16), tmp_path / folder, "figure_1") for folder in "ab"]
    assert [f.read_bytes() for f in files[0]] == [f.read_bytes() for f in files[1]]


def test_nothing_to_draw_is_said():
    with pytest.raises(SRError, match="Bicubic has no layers"):
        draw(models.create("bicubic", 2))
