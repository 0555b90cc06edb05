"""Figures about per-pixel kernels say what the network is and does."""

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import FancyBboxPatch, Rectangle

from srlib.draw.panels import image_grid
from srlib.nn import models
from srlib.papers.ddet import figures as ddet_figures


def test_a_kernel_heatmap_is_white_at_zero_and_red_where_it_adds():
    kernel = np.array([[0.0, 0.5, 0.0], [-0.5, 1.0, 0.0], [0.0, 0.0, -2.0]])
    shown = ddet_figures.kernel_heatmap(kernel, 30, full=1.0).astype(int)
    assert shown.shape == (30, 30, 3)
    cells = shown.reshape(3, 10, 3, 10, 3)
    assert (cells == cells[:, :1, :, :1]).all(), "each weight is one even square"
    red, blue = cells[:, 0, :, 0, 0] - cells[:, 0, :, 0, 2], cells[:, 0, :, 0]
    assert abs(red[0, 0]) <= 2 and blue[0, 0].min() > 240
    assert red[0, 1] > 30 and red[1, 0] < -30 and (red[1, 1] > 30) and (red[2, 2] < -30)
    assert np.array_equal(ddet_figures.kernel_heatmap(kernel[:1, :1] + 9, 7, 1.0), np.tile(shown[15, 15], (7, 7, 1)))


def texts(fig) -> list[str]:
    return [text.get_text() for ax in fig.axes for text in ax.texts if text.get_text()]


@pytest.mark.parametrize("args", [{}, {"variant": "paper"}, {"wide": True}])
def test_the_architecture_is_that_of_the_modules(args):
    net = models.create("ddet", 1, **args)
    fig = ddet_figures.architecture(net)
    shown = texts(fig)
    counts = [int(text.split()[0].replace(",", "")) for text in shown if text.endswith(" params") and text[0] != "D"]
    assert sum(counts) == sum(p.numel() for p in net.parameters())
    filters = [text for text in shown if text.endswith(" filter")]
    sizes = [round(head[-1].out_channels ** 0.5) for head in net.heads]
    assert filters == [f"{size}×{size} filter" for size in sizes]
    fig.draw_without_rendering()
    found = [text.get_window_extent() for text in fig.axes[0].texts if text.get_text()]
    assert not any(a.overlaps(b) for a, b in itertools.combinations([box.padded(-1) for box in found], 2))
    frames = [patch.get_window_extent() for patch in fig.axes[0].patches if isinstance(patch, FancyBboxPatch)]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(frames, 2))
    assert all(fig.bbox.x0 <= box.x0 and box.x1 <= fig.bbox.x1 for box in found)


def test_figure_2_reduces_features_on_the_left_and_widens_kernels_on_the_right():
    (ax,) = ddet_figures.scale_paths([5, 7, 9]).axes
    squares = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
    maps, frames = [p.get_width() for p in squares if p.get_fill()], [p.get_width() for p in squares if not p.get_fill()]
    assert np.allclose(maps, [0.8, 0.8, 0.8, 0.4, 0.8, 0.2, 0.8, 0.8, 0.8, 0.8, 0.8])
    assert np.allclose(np.array(frames) / 0.04, [0, 3, 0, 3, 0, 3, 0, 0, 5, 7, 9])
    assert {"5×5", "7×7", "9×9"} <= {text.get_text() for text in ax.texts}


def test_each_chosen_pixel_has_a_row_with_its_kernels():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (64, 80, 3), dtype=np.uint8)
    kernels = [rng.normal(size=(64, 80, size, size)) for size in (9, 5)]
    pixels = {"edge": (10, 10), "flat": (60, 75)}
    fig = ddet_figures.pixel_kernels(image, pixels, kernels, {"edge": [1.0, 2.0], "flat": [-3.0, 4.0]})
    shown = [ax for ax in fig.axes if ax.images and ax.get_title()]
    assert len(shown) == 6
    for row, (y, x) in zip((0, 3), pixels.values(), strict=True):
        for ax, one in zip(shown[row + 1 : row + 3], kernels, strict=True):
            assert np.array_equal(ax.images[0].get_array(), one[y, x])
    around = [np.delete(one[y, x].ravel(), one[y, x].size // 2) for one in kernels for y, x in pixels.values()]
    assert shown[1].images[0].get_clim()[1] == np.abs(np.concatenate(around)).max(), "the centres stand below, as numbers"
    assert f"centre {kernels[0][10, 10, 4, 4]:+.2f}".replace("-", "−") in shown[1].get_xlabel()
    assert "gives −3.0" in shown[4].get_xlabel() and shown[3].get_ylabel() == "flat"
    limits = {ax.images[0].get_clim() for ax in shown if ax.images[0].get_array().ndim == 2}
    assert len(limits) == 1, "one scale for all kernels"


def test_an_image_grid_has_operators_between_its_images():
    row = [(label, np.full((20, 30, 3), 40 * k, np.uint8)) for k, label in enumerate(("a", "b\nbelow", "c"))]
    fig = image_grid({"row": row}, operators=["+", "="])
    assert [ax.get_xlabel() for ax in fig.axes] == ["a", "b\nbelow", "c"]
    assert [int(ax.images[0].get_array().max()) for ax in fig.axes] == [0, 40, 80]
    assert texts(fig) == ["+", "="] and texts(image_grid({"row": row})) == []
    with pytest.raises(ValueError):
        image_grid({"row": row}, operators=["+"])


def test_displacement_has_a_line_per_network_in_both_panels():
    rows = pd.DataFrame(
        [
            {"method": m, "image": i, "shift": s, "psnr": 30 - s + k + i, "followed": 30.0 + k}
            for k, m in enumerate(("bicubic", "ddet"))
            for i in (0, 2)
            for s in (0, 1, 2)
        ]
    )
    fig = ddet_figures.displacement(rows, {"bicubic": "LR", "ddet": "DDet"}, "a set of pairs with a long name ×1")
    left, right = fig.axes
    assert [line.get_label() for line in left.lines] == ["LR", "DDet"]
    assert list(left.lines[1].get_ydata()) == [0, -1, -2] and list(right.lines[1].get_ydata()) == [31, 31, 31]
    assert "a set" in left.get_ylabel()
    fig.draw_without_rendering()
    height = fig.get_size_inches()[1] * fig.dpi
    for label in (left.yaxis.label.get_window_extent(), right.yaxis.label.get_window_extent()):
        assert 0 <= label.y0 < label.y1 <= height
