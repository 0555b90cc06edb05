"""Figures about several predictions: what is drawn is what was given."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from srlib.core.metrics import psnr
from srlib.core.protocols import protocol
from srlib.draw.panels import image_grid
from srlib.nn import models
from srlib.papers.d2c_sr import analysis
from srlib.papers.d2c_sr import figures as d2c_figures


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, shape)


def test_weight_heatmaps_are_blue_below_the_mean_weight_and_red_above():
    blue, white, red = d2c_figures.weight_heatmap(np.array([[0.0, 0.25, 0.5]]), 4)[0].astype(int)
    assert blue[2] > blue[0] and white.min() > 240 and red[0] > red[2]


def test_difference_heatmaps():
    same = random(1, 5, 5, 3).repeat(3, axis=0)
    assert d2c_figures.difference_heatmap(same, 10).max() == 0 and d2c_figures.difference_range(same) == 1
    apart = np.stack([same[0], same[0] + 10])
    assert d2c_figures.difference_heatmap(apart, 10).min() == 255 and d2c_figures.difference_range(apart, same) == 10


def test_the_box_is_where_predictions_differ():
    predictions = np.zeros((2, 20, 30, 3))
    predictions[1, 8:12, 21:25] = 5
    box = d2c_figures.most_divergent_box(predictions, 4)
    assert box == (8, 21, 4, 4)
    assert analysis.crop(predictions, box)[1].min() == 5 and analysis.crop(predictions[1, :, :, 0], box).shape == (4, 4)


def test_the_plane_keeps_distances_that_lie_in_it():
    hr = random(6, 6, 3)
    across, down = np.linalg.qr(random(108, 2))[0].T.reshape(2, 6, 6, 3) * np.sqrt(108)  # one grey level each
    several = np.stack([hr + 3 * across, hr - 2 * down, hr + across + down])
    fig = d2c_figures.error_plane([{"HR": hr, "one": hr + across}], [several])
    (points, one, star) = (artist.get_offsets() for artist in fig.axes[0].collections)
    assert np.allclose(np.linalg.norm(points, axis=1), [3, 2, np.sqrt(2)], atol=1e-6)
    assert np.allclose(np.linalg.norm(one), 1) and np.allclose(star, 0)
    assert "100 %" in fig.axes[0].get_title()


def test_curves_have_a_point_per_alpha_and_a_line_per_part():
    rows = [
        {"part": part, "alpha": alpha, "seed": seed, "psnr": 20 + seed + alpha}
        for part in (*d2c_figures.PARTS, "between")
        for alpha in (0, 0.1, 1)
        for seed in (0, 1)
    ]
    fig = d2c_figures.alpha_curves(pd.DataFrame(rows), "a set")
    left, right = fig.axes
    assert len(left.containers) == 4 and len(right.containers) == 1
    assert np.allclose(right.lines[0].get_ydata(), [20.5, 20.6, 21.5])


def test_trees_take_the_spread_over_seeds_not_over_images():
    rows = [
        {"depth": d, "children": c, "seed": seed, "psnr": 30 + image}
        for d, c in ((2, 1), (2, 2), (1, 2))
        for seed in (0, 1)
        for image in (0, 10)
    ]
    fig = d2c_figures.tree_curves(pd.DataFrame(rows), "a set")
    for ax in fig.axes:
        assert np.allclose(ax.lines[0].get_ydata(), 35)
        assert np.ptp([segment[:, 1] for segment in ax.collections[0].get_segments()]) == 0
    assert not fig.get_suptitle()
    single = pd.DataFrame(rows).query("seed == 0")
    bars = d2c_figures.tree_curves(single, "a set", noise=0.4).axes[0].collections[0]
    assert all(np.ptp(segment[:, 1]) == pytest.approx(0.4) for segment in bars.get_segments())


def test_image_grid_of_stages():
    inside = analysis.Intermediates(random(4, 12, 12, 3), np.full((4, 12, 12), 0.25))
    lr, hr = random(6, 6, 3).astype(np.uint8), random(12, 12, 3).astype(np.uint8)
    panels = d2c_figures.stages(inside, lr, hr, (2, 4, 8, 8), 2, protocol("d2c"))
    assert [label.split("\n")[0] for label, _ in panels] == ["LR", *(f"prediction {i}" for i in range(1, 5)), "result", "HR"]
    assert panels[5][0].endswith(f"\n{psnr(panels[5][1], panels[6][1], protocol('d2c'), 2):.2f} dB")
    assert np.array_equal(panels[-1][1], hr[2:10, 4:12]) and panels[0][1].shape == (8, 8, 3)
    fig = image_grid({"a": panels, "b": panels[:3]}, "note")
    assert len(fig.axes) == 14 and fig.axes[0].get_ylabel() == "a"


@pytest.mark.parametrize("lines", [1, 2, 3])
def test_note_of_a_grid_lies_below_all_labels(lines):
    panels = [("\n".join(["label"] * lines), random(8, 8, 3))] * 7
    fig = image_grid({"a": panels}, "A note that is as long as several panels are wide; PSNR of the crop")
    fig.canvas.draw()
    lowest = min(ax.xaxis.label.get_window_extent().y0 for ax in fig.axes)
    (note,) = (text for text in fig.findobj(Text) if text.get_text().startswith("A note"))
    assert note.get_window_extent().y1 < lowest


@pytest.mark.parametrize(("depth", "children"), [(2, 2), (1, 3), (3, 1)])
def test_architecture_counts_every_parameter_once(depth, children):
    net = models.create("d2c_sr", 2, depth=depth, children=children, width=8, groups=1, blocks=1)
    texts = [text.get_text() for text in d2c_figures.architecture(net).axes[0].texts]
    counts = [int(text.removesuffix(" params").replace(",", "")) for text in texts if text.endswith(" params")]
    end = sum(p.numel() for p in net.divergence.add_mean.parameters())
    assert sum(counts) + end == sum(p.numel() for p in net.parameters())
