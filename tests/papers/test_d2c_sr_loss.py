"""The divergence loss: what the paper writes, what the published code does, and that the one trains and the other does not."""

import itertools

import pytest
import torch

from srlib.core.color import luma
from srlib.core.errors import SRError
from srlib.papers.d2c_sr.loss import divergence_loss, normalise, residuals, shared_levels, triplet


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
