"""D2C-SR: its loss as the paper and as the published code have it, its parts, explorers and figures."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.text import Text

from srlib.core.color import luma
from srlib.core.errors import SRError
from srlib.core.metrics import psnr
from srlib.core.protocols import protocol
from srlib.data.sets import open_set
from srlib.draw.panels import image_grid
from srlib.nn import models
from srlib.papers.d2c_sr import analysis
from srlib.papers.d2c_sr import explorer as explorers
from srlib.papers.d2c_sr import figures as d2c_figures
from srlib.papers.d2c_sr.loss import divergence_loss, normalise, residuals, shared_levels, triplet
from srlib.scoring.evaluation import evaluate
from srlib.train import losses, probe

# --- The loss -----------------------------------------------------------------------------------------------------------


def images(batch=2, count=4, size=6):
    """Predictions around an image: each its own error, some larger."""
    hr = torch.rand(batch, 3, size, size, dtype=torch.float64)
    errors = torch.randn(batch, count, 3, size, size, dtype=torch.float64) * torch.linspace(0.05, 0.2, count)[:, None, None, None]
    return (hr[:, None] + errors).requires_grad_(), hr


def gradient(predictions, hr, **options):
    return torch.autograd.grad(divergence_loss(predictions, hr, **options), predictions)[0]


def written_out(predictions, hr, theta, margin):
    """Equations 2 to 6 for L = C = 2, pair by pair and image by image."""
    total, count = 0.0, predictions.shape[1]
    for pictures, target in zip(predictions, hr, strict=True):
        planes = [luma(one[None])[0, 0] for one in (*pictures, target)]
        *planes, goal = [(y - y.mean()) / y.std(correction=0) for y in planes]
        r = [(y - goal).abs() for y in planes]
        for i, j in itertools.permutations(range(count), 2):
            siblings = i // 2 == j // 2  # their common parent is at l = 2, that of others is the root, l = 1
            hinge = r[i].square().mean() - (r[i] - r[j]).square().mean() + margin
            total += (theta if siblings else 1) * max(hinge.item(), 0)
    return total / (count * (count - 1)) / len(hr)


@pytest.mark.parametrize("margin", [0.0, 0.3])
def test_triplet_is_the_papers_pair_by_pair(margin):
    predictions, hr = images()
    expected = written_out(predictions, hr, theta=0.5, margin=margin)
    assert triplet(predictions, hr, theta=0.5, margin=margin).item() == pytest.approx(expected, rel=1e-4)


def test_normalisation_is_of_each_image_and_of_luma_but_released_of_the_batch_and_of_the_mean_of_channels():
    batch = torch.rand(2, 3, 8, 8) * torch.tensor([1.0, 0.1]).view(2, 1, 1, 1)
    flat = normalise(batch)
    assert flat.mean(dim=(1, 2, 3)).tolist() == pytest.approx([0, 0], abs=1e-6)
    assert flat.square().mean(dim=(1, 2, 3)).tolist() == pytest.approx([1, 1], abs=1e-3)
    assert torch.allclose(normalise(0.5 * batch + 0.2), flat, atol=1e-3)
    flat, grey = normalise(batch, released=True), batch.mean(1, keepdim=True)
    assert torch.allclose(flat, (grey - grey.mean()) / grey.std(correction=0), atol=1e-4)
    assert flat[1].mean().abs() > 0.5


def test_residuals_keep_their_sign_only_when_asked():
    predictions, hr = images()
    signed = residuals(predictions, hr, absolute=False)
    assert signed.min() < 0 and torch.equal(residuals(predictions, hr), signed.abs())
    assert not torch.allclose(triplet(predictions, hr), triplet(predictions, hr, absolute=False), rtol=1e-2)


def test_shared_levels_count_common_branches():
    assert shared_levels(4, 2).tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]
    assert shared_levels(8, 2)[0].tolist() == [2, 2, 1, 1, 0, 0, 0, 0]
    assert shared_levels(9, 3)[4].tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 0]
    assert shared_levels(4, 4).sum() == 0 and shared_levels(1, 1).tolist() == [[0]]


def test_theta_counts_siblings_less():
    predictions, hr = images()
    full, half, none = (triplet(predictions, hr, theta=theta).item() for theta in (1, 0.5, 1e-9))
    assert none < half < full and half == pytest.approx((full + none) / 2, rel=1e-5)
    assert torch.equal(triplet(predictions, hr, theta=0.5, children=4), triplet(predictions, hr, theta=1, children=4))


def test_fidelity_is_the_sum_over_predictions_and_each_term_moves_the_gradient():
    predictions, hr = images()
    expected = sum((image - hr).square().mean() for image in predictions.unbind(1))
    assert torch.allclose(divergence_loss(predictions, hr, alpha=0), expected)
    plain, both = gradient(predictions, hr, alpha=0), gradient(predictions, hr, alpha=0.1)
    assert torch.allclose(plain, 2 * (predictions - hr[:, None]) / hr.numel())
    assert (both - plain).abs().max() > 0.1 * plain.abs().max()
    assert ((both - plain).abs().sum(dim=(0, 2, 3, 4)) > 0).all()


def test_the_loss_of_both_stages_is_that_of_the_predictions_and_the_fused_images():
    predictions, hr = images()
    fused = torch.rand_like(hr, requires_grad=True)
    value = losses.get("divergence_and_fusion", alpha=0.1)([predictions, fused], hr)
    assert torch.allclose(value, divergence_loss(predictions, hr, alpha=0.1) + (fused - hr).square().mean())
    to_predictions, to_fused = torch.autograd.grad(value, (predictions, fused))
    assert torch.allclose(to_predictions, gradient(predictions, hr, alpha=0.1))
    assert torch.allclose(to_fused, 2 * (fused - hr) / hr.numel())


def test_a_step_along_the_term_makes_predictions_differ_more():
    predictions, hr = images()
    step = torch.autograd.grad(triplet(predictions, hr), predictions)[0]
    before, after = (residuals(moved, hr).var(dim=1).mean() for moved in (predictions, predictions - 0.5 * step))
    assert after > before


def test_released_term_is_a_number_without_gradient():
    """The finding: the published code's gradient is that of alpha = 0, whatever alpha is; its value is not."""
    predictions, hr = images()
    released = {"alpha": 1.0, "released": True}
    assert torch.equal(gradient(predictions, hr, **released), gradient(predictions, hr, alpha=0))
    assert divergence_loss(predictions, hr, **released) > divergence_loss(predictions, hr, alpha=0)


def test_released_margins_depend_on_the_common_parent():
    """Equal and perfect predictions leave the margins alone: 4 of 12 pairs are siblings."""
    hr = torch.rand(2, 3, 6, 6)
    same = hr[:, None].expand(-1, 4, -1, -1, -1)
    expected = (4 * 0.8 * 2e-5 + 8 * 5e-5) / 12
    assert triplet(same, hr, theta=0.8, released=True).item() == pytest.approx(expected, rel=1e-4)


def test_released_statistics_depend_on_the_batch_and_the_papers_do_not():
    predictions, hr = images()
    for released, tolerance in ((False, 1e-5), (True, 1e-3)):
        alone = [triplet(predictions[i : i + 1], hr[i : i + 1], released=released) for i in range(2)]
        together = triplet(predictions, hr, released=released)
        assert torch.allclose(together, sum(alone) / 2, rtol=tolerance) != released


def test_equal_predictions_have_the_distance_to_hr_as_term_and_a_gradient():
    predictions, hr = images(count=1)
    same = predictions.detach().repeat(1, 4, 1, 1, 1).requires_grad_()
    expected = residuals(same, hr)[:, 0].square().mean() + 0.5
    assert triplet(same, hr, theta=1, margin=0.5).item() == pytest.approx(expected.item(), rel=1e-5)
    assert torch.isfinite(gradient(same, hr, alpha=1.0)).all()


def test_one_prediction_and_flat_patches_are_no_trouble():
    predictions, hr = images(count=1)
    assert torch.equal(gradient(predictions, hr, alpha=1.0, children=1), gradient(predictions, hr, alpha=0, children=1))
    flat = torch.full((2, 4, 3, 6, 6), 0.5, requires_grad=True)
    assert torch.isfinite(gradient(flat, torch.full((2, 3, 6, 6), 0.5), alpha=1.0)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": -0.1}, r"alpha \(=-0\.1\) must be a number from 0 on"),
        ({"alpha": float("nan")}, r"alpha \(=nan\)"),
        ({"theta": 0}, r"theta \(=0\) must be above 0 and at most 1"),
        ({"theta": 1.1}, r"theta \(=1\.1\)"),
        ({"margin": -1}, r"margin \(=-1\)"),
        ({"children": 3}, r"children \(=3\): a tree with so many per node cannot have 4 leaves"),
    ],
)
def test_values_out_of_range_and_shapes_that_do_not_match_are_refused(options, message):
    with pytest.raises(SRError, match=message):
        divergence_loss(*images(), **{"alpha": 0.1, **options})
    predictions, hr = images()
    with pytest.raises(SRError, match=r"got shapes \(2, 4, 3, 6, 6\) and \(2, 3, 6, 5\), expected \(B, P, 3, H, W\)"):
        divergence_loss(predictions, hr[..., 1:], alpha=0.1)


# --- Parts of networks --------------------------------------------------------------------------------------------------


D2C = protocol("d2c")
SET = "embedded-camera-test"


@pytest.fixture
def net():
    return models.create("d2c_sr", 1, width=4, groups=1, blocks=1).eval()


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, shape)


def test_a_look_adds_up_to_what_the_network_gives(net):
    lr = random(20, 24, 3).astype(np.uint8)
    found = analysis.inspect(net, lr)
    assert found.predictions.shape == (4, 20, 24, 3) and np.allclose(found.weights.sum(axis=0), 1, atol=1e-5)
    x = torch.from_numpy(lr).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        sr = 255 * net(x)[0].permute(1, 2, 0).numpy()
    assert np.allclose(found.fused, sr, atol=1e-2)
    first = analysis.inspect(net.divergence, lr)
    assert np.allclose(first.fused, found.predictions.mean(axis=0), atol=1e-6)


def test_scores_of_the_result_are_those_of_any_evaluation(net):
    found = analysis.evaluate_parts(net, SET, D2C, 2).set_index(["part", "image"])["psnr"]
    expected = evaluate(net, SET, D2C, limit=2).set_index("image")["psnr"]
    assert np.allclose(found["fused"], expected, atol=1e-3)
    assert (found["ideal"] >= found["single"]).all()
    assert set(found.index.get_level_values("part")) == {"fused", "single", "mean", "ideal", "between"}


def test_ideal_takes_the_prediction_whose_luma_is_closest():
    hr = random(6, 5, 3)
    predictions = np.stack([hr + 9, hr - 4, hr + 20])
    predictions[2, 0, 0] = hr[0, 0]
    weights = analysis.ideal_weights(predictions, hr)
    assert weights[2, 0, 0] == 1 and weights[1].sum() == 29 and weights[0].sum() == 0
    assert np.allclose(analysis.weighted_sum(predictions, weights)[0, 0], hr[0, 0])


def test_weights_for_the_whole_picture():
    predictions = random(2, 4, 4, 3)
    assert np.allclose(analysis.weighted_sum(predictions, np.array([0.25, 0.75])), 0.25 * predictions[0] + 0.75 * predictions[1])


def test_differences_and_checkerboards():
    flat = np.full((1, 6, 6, 3), 100.0)
    assert analysis.pairwise_difference(flat).max() == 0
    assert np.allclose(analysis.pairwise_difference(np.concatenate([flat, flat + 3, flat - 3])), 4)  # 3, 3 and 6
    board = 8.0 * (np.indices((6, 6)).sum(axis=0) % 2)[..., None].repeat(3, axis=2)
    assert analysis.checkerboard_rms(board) == pytest.approx(4)
    assert (
        analysis.checkerboard_rms(flat[0]) == 0
        and analysis.checkerboard_rms(np.linspace(0, 9, 6)[None, :, None].repeat(6, 0)) < 1e-9
    )


def test_pictures_are_the_pairs_of_the_set():
    (name, lr, hr), *rest = analysis.image_pairs(SET, 2, 2)
    images = open_set(SET)
    assert name == images.names[0] and len(rest) == 1
    assert lr.shape[0] * 2 == hr.shape[0] and np.array_equal(hr, images[0])


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_parts_are_scored_and_probed_at_every_scale(scale):
    net = models.create("d2c_sr", scale, width=4, groups=1, blocks=1).eval()
    probed = probe.scoring(net, lambda images: analysis.evaluate_parts(net, images, D2C))
    assert probed and np.isfinite(probed).all()


# --- Explorers ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def pictures():
    return {name: (lr[:80, :90], hr[:80, :90]) for name, lr, hr in analysis.image_pairs("embedded-camera-test", 1, 2)}


def test_alpha_chooses_the_network(net, pictures):
    other = models.create("d2c_sr", 1, width=4, groups=1, blocks=1).eval()
    dial = explorers.alpha_explorer({0.0: net, 0.1: other}, pictures, D2C, side=32)
    assert len(dial.panels) == 12 and dial.values["alpha"] == 0.1
    for way in ("across", "down"):
        dial.controls[way].value = 50
    before = [panel.image for panel in dial.panels]
    dial.controls["alpha"].value = 0.0
    assert not np.array_equal(dial.panels[1].image, before[1])
    for fixed in (0, 6):  # LR and HR
        assert np.array_equal(dial.panels[fixed].image, before[fixed])
    lr, hr = pictures["camera"]
    top, left = (80 - 32) // 2, (90 - 32) // 2
    assert np.array_equal(dial.panels[6].image, hr[top : top + 32, left : left + 32])
    seen = analysis.inspect(net, lr[:, 5:85]).fused  # the networks see a square around the place
    expected = seen[top : top + 32, left - 5 : left + 27]
    assert np.abs(dial.panels[5].image - expected.clip(0, 255)).max() <= 0.51
    assert f"{psnr(dial.panels[5].image, dial.panels[6].image, D2C, 1):.2f} dB" in dial.panels[5].label


def test_place_and_picture(net, pictures):
    dial = explorers.alpha_explorer({0.1: net}, pictures, D2C, side=32)
    dial.controls["image"].value = "chelsea"
    dial.controls["across"].value, dial.controls["down"].value = 0, 100
    assert np.array_equal(dial.panels[6].image, pictures["chelsea"][1][48:, :32])
    assert dial.figure() is not None


@pytest.fixture
def by_hand(net, pictures):
    explorer = explorers.fusion_explorer(net, pictures, D2C, side=32)
    for way in ("across", "down"):
        explorer.controls[way].value = 50
    return explorer


def alone(explorer, kept):
    """Set all sliders but one to zero; return the result by hand."""
    for i in (1, 2, 3, 4):
        explorer.controls[f"w{i}"].value = float(i == kept)
    return explorer.panels[0].image


def test_a_prediction_alone_and_the_learned_fusion(net, pictures, by_hand):
    third = alone(by_hand, 3)
    lr, _ = pictures["camera"]
    prediction = analysis.inspect(net, lr[:, 5:85]).predictions[2][24:56, 24:56]
    assert np.abs(third - prediction.clip(0, 255)).max() <= 0.51
    by_hand.controls["rule"].value = "learned, times sliders"
    assert np.abs(by_hand.panels[0].image.astype(int) - third).max() <= 1  # one slider above zero leaves one prediction
    for i in (1, 2, 4):
        by_hand.controls[f"w{i}"].value = 1.0
    assert np.array_equal(by_hand.panels[0].image, by_hand.panels[2].image)


def test_a_prediction_that_the_fusion_dropped_is_shown_when_it_is_all_that_is_left(net, by_hand):
    with torch.no_grad():  # a logit of the first prediction is thousands, those of the others are 0
        for layer in net.convergence.layers:
            layer.weight.fill_(1.0)
        net.convergence.layers[-1].weight[1:] = 0.0
    by_hand.controls["across"].value = 0
    fourth = alone(by_hand, 4)
    by_hand.controls["rule"].value = "learned, times sliders"
    assert np.array_equal(by_hand.panels[0].image, fourth) and fourth.std() > 1, "not black"
    assert by_hand.panels[1].label.startswith("|learned, times sliders - HR|")


def test_sliders_at_zero_mean_an_even_share(by_hand):
    even = by_hand.panels[0].image
    assert np.array_equal(alone(by_hand, None), even)


# --- Figures ------------------------------------------------------------------------------------------------------------


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
