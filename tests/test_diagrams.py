import itertools

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.patches import Circle, FancyBboxPatch

from srlib import models
from srlib.diagrams import draw, draw_block
from srlib.errors import SRError
from srlib.figures import save_figure
from srlib.models.btsrn import BLOCKS, Upsample


@pytest.fixture(autouse=True)
def quiet():
    """Small tensors do not gain from threads, and lose to them on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    plt.close("all")


def texts(fig):
    return [text.get_text() for text in fig.axes[0].texts]


FIGURES = {
    **{f"{name} x{scale}": lambda name=name, scale=scale: draw(models.create(name, scale), lr_size=16)
       for name, scale in (("btsrn", 2), ("btsrn", 4), ("vdsr", 2), ("fsrcnn", 3), ("espcn", 2), ("srcnn", 2))},
    **{name: lambda block=block: draw_block(block(128, 32, padding=1), size=8) for name, block in BLOCKS.items()},
    "upsample": lambda: draw_block(Upsample(16, 2), size=8),
}  # fmt: skip


@pytest.mark.parametrize("name", FIGURES)
def test_text_stays_in_the_picture_and_covers_no_other_text(name):
    fig = FIGURES[name]()
    fig.draw_without_rendering()
    (ax,) = fig.axes
    found = [text.get_window_extent() for text in ax.texts if text.get_text()]
    found += [text.get_window_extent() for legend in fig.legends for text in legend.get_texts()]
    assert not any(a.overlaps(b) for a, b in itertools.combinations([box.padded(-1) for box in found], 2))
    assert all(fig.bbox.x0 <= b.x0 and b.x1 <= fig.bbox.x1 and fig.bbox.y0 <= b.y0 and b.y1 <= fig.bbox.y1 for b in found)
    frames = [patch.get_window_extent() for patch in ax.patches if isinstance(patch, FancyBboxPatch)]
    for text in found:  # text that begins inside a frame ends inside it
        for frame in frames:
            if frame.y0 < text.y0 < frame.y1 and frame.x0 < (text.x0 + text.x1) / 2 < frame.x1:
                assert frame.x0 < text.x0 and text.x1 < frame.x1 and text.y1 < frame.y1


def test_draw_shows_what_the_model_is_made_of():
    shown = texts(draw(models.create("btsrn", 2), lr_size=24))
    for line in ("BTSRN ×2, 887,683 parameters", "LR", "SR", "3×24×24", "3×48×48", "6 × PConv", "4 × PConv", "128→64→128"):
        assert line in shown
    for line in ("entry", "low", "up", "high", "exit", "bicubic ×2", "+", "+ identity", "+ nearest ×2", "6 × 82,112 params"):
        assert line in shown
    changed = texts(draw(models.create("btsrn", 3, low=7, high=3, bottleneck=32), lr_size=16, title="Mine"))
    assert {"7 × PConv", "3 × PConv", "128→32→128", "bicubic ×3", "3×48×48", "Mine"} <= set(changed)


def test_only_what_adds_has_a_sum():
    def sums(fig):
        return [patch for patch in fig.axes[0].patches if isinstance(patch, Circle)]

    assert len(sums(draw(models.create("vdsr", 2), lr_size=16))) == 1
    assert len(sums(draw(models.create("srcnn", 2), lr_size=16))) == 0


def test_the_skip_of_a_network_on_the_enlarged_image_starts_behind_the_interpolation():
    shown = texts(draw(models.create("vdsr", 2), lr_size=16))
    assert shown.count("bicubic ×2") == 1 and "identity" in shown  # a box; what is added is its output
    shown = texts(draw(models.create("btsrn", 2), lr_size=16))
    assert shown.count("bicubic ×2") == 1 and "identity" not in shown  # no box; it stands on the skip


def test_draw_block_shows_every_layer():
    shown = texts(draw_block(BLOCKS["pconv"](128, 64, padding=1)))
    assert shown.count("LeakyReLU 0.2") == 2 and {"conv 1×1", "conv 3×3", "128→64", "64→128", "identity", "+"} <= set(shown)
    assert "PConv, 82,112 parameters" in shown and "128×48×48" in shown
    assert "nearest ×2" in texts(draw_block(Upsample(16, 2), title="Up-sampling"))


def test_diagrams_are_saved_the_same_every_time(tmp_path):
    files = [save_figure(draw(models.create("espcn", 2), lr_size=16), tmp_path / folder, "figure_1") for folder in "ab"]
    assert [f.read_bytes() for f in files[0]] == [f.read_bytes() for f in files[1]]


def test_nothing_to_draw_is_said():
    with pytest.raises(SRError, match="Bicubic has no layers to draw"):
        draw(models.create("bicubic", 2))
