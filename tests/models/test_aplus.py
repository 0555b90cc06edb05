"""A+ beside its definition: bicubic before it learns, better after, the same in tiles."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from srlib.baselines.aplus import APlus
from srlib.core.errors import SRError
from srlib.core.protocols import protocol
from srlib.data.pairs import open_pairs
from srlib.data.patches import PatchSampler
from srlib.nn.bicubic import Bicubic, upsample_bicubic
from srlib.nn.patchwise import PATCH, WINDOW, apply_selected, gradients, principal_components
from srlib.scoring.evaluation import evaluate, forward
from srlib.train.trainer import to_batch
from srlib.train.weights import load_weights

SMALL = {"atoms": 32, "neighbours": 200, "components": 12, "samples": 5_000}


def patches(scale, count=6, lr_patch=24):
    """Patches of the embedded photographs."""
    sampler = PatchSampler(open_pairs("embedded", scale), batch=8, lr_patch=lr_patch, seed=0)
    return [to_batch(*sampler.batch(step), 1, torch.device("cpu")) for step in range(count)]


def noise(scale, count=3, side=14):
    """Patches of noise, which cost nothing to make."""
    generator = torch.Generator().manual_seed(1)
    return [tuple(torch.rand(8, 1, side * k, side * k, generator=generator) for k in (1, scale)) for _ in range(count)]


def fitted(scale=2, seed=0, batches=None, **arguments):
    model = APlus(scale, **{**SMALL, **arguments}).eval()
    model.fit(batches or noise(scale), seed)
    return model


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_is_bicubic_before_it_learns(scale):
    lr = torch.rand(2, 1, 7, 6)
    assert torch.equal(APlus(scale, **SMALL)(lr), upsample_bicubic(lr, scale))


def test_improves_on_bicubic_on_other_photographs():
    model = fitted(2, batches=patches(2, count=12), atoms=64, neighbours=1000, components=24, samples=30_000)
    scores = [evaluate(m, "embedded-test", protocol("lapsrn"))["psnr"] for m in (model, Bicubic(2))]
    assert (scores[0] > scores[1]).all() and (scores[0] - scores[1]).mean() > 0.8


def test_has_the_published_size():
    model = APlus(3)
    assert model.anchors.shape == (1024, 32) and model.regressors.shape == (1024, 32, 81)
    assert model.neighbours == 2048 and model.penalty == 0.1
    assert list(model.parameters()) == []


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_features_are_the_gradients_of_the_bicubic_image(scale):
    lr = torch.rand(1, 1, WINDOW, WINDOW, dtype=torch.float64)
    image = upsample_bicubic(lr, scale)[0, 0].numpy()
    middle = slice(PATCH * scale, 2 * PATCH * scale)
    half = (scale + 1) // 2
    across = (np.roll(image, -half, 1) - np.roll(image, half, 1))[middle, middle]
    second = ((np.roll(image, -scale, 0) + np.roll(image, scale, 0)) / 2 - image)[middle, middle]
    parts = np.split(lr.flatten().numpy() @ gradients(scale), 4)
    assert np.allclose(parts[0], across.flatten()) and np.allclose(parts[3], second.flatten())


def test_principal_components_are_those_of_the_gradients():
    windows = np.random.default_rng(0).random((500, WINDOW**2)).astype(np.float32)
    features = windows @ gradients(2)
    expected = np.linalg.svd(features, full_matrices=False)[1][:5]
    got = windows @ principal_components(windows, 2, 5)
    assert np.allclose(np.linalg.norm(got, axis=0), expected, rtol=1e-4)
    assert np.allclose(got.T @ got, np.diag(expected**2), atol=1e-3 * expected[0] ** 2)


def test_apply_adds_the_chosen_products():
    maps, x = torch.rand(5, 3, 4), torch.rand(6, 3)
    chosen = torch.randint(5, (6, 2))
    expected = torch.einsum("nc,ntcd->nd", x, maps[chosen])
    assert torch.allclose(apply_selected(maps, chosen, x), expected, atol=1e-6)


def test_regressors_are_the_ridge_of_the_neighbours():
    """P_j as the paper writes it, for one anchor whose neighbours are all samples."""
    rng = np.random.default_rng(0)
    features, residuals = rng.random((60, 4), np.float32), rng.random((60, 36), np.float32)
    model = APlus(2, atoms=1, neighbours=60, components=4)
    model.learn(features.copy(), residuals.copy(), rng)
    length = np.linalg.norm(features, axis=1, keepdims=True)
    low, high = (features / length).T, (residuals / length).T
    expected = high @ np.linalg.inv(low.T @ low + 0.1 * np.eye(60)) @ low.T
    assert np.allclose(model.regressors[0].T, expected, atol=1e-4)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_tiles_are_exact(scale):
    model = fitted(scale)
    lr = torch.rand(2, 1, 37, 21)
    assert not torch.allclose(model(lr), upsample_bicubic(lr, scale), atol=1e-2)
    assert torch.allclose(forward(model, lr, tile=16), forward(model, lr, tile=0), atol=1e-5)


def test_pixels_outside_of_the_context_do_not_matter():
    model = fitted()
    middle = model.context + 1
    lr = torch.rand(1, 1, 2 * middle + 1, 2 * middle + 1)
    changed = lr.clone()
    changed[..., [0, -1]] += 1
    pixel = slice(2 * middle, 2 * middle + 2)
    before, after = model(lr), model(changed)
    assert torch.equal(before[..., pixel, pixel], after[..., pixel, pixel]) and not torch.equal(before, after)


def test_a_flat_image_stays_flat():
    lr = torch.full((1, 1, 9, 8), 0.4)
    assert torch.allclose(fitted()(lr), torch.full((1, 1, 18, 16), 0.4), atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 7), (2, 3)])
def test_tiny_images(height, width):
    sr = fitted(3)(torch.rand(2, 1, height, width))
    assert sr.shape == (2, 1, 3 * height, 3 * width) and sr.isfinite().all()


def test_weights_survive_a_file(tmp_path):
    model, other = fitted(), APlus(2, **SMALL)
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    lr = torch.rand(1, 1, 9, 8)
    assert torch.equal(load_weights(other, tmp_path / "w.safetensors")(lr), model(lr))


def test_same_seed_same_weights():
    one, same, other = (fitted(seed=seed, samples=2_000).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["regressors"], other["regressors"])


def test_samples_are_bounded_and_uniform():
    """Every sample of the stream is kept with the same probability, the first like the last."""
    model = APlus(2, **{**SMALL, "samples": 2_000})
    batches = [(torch.full((1, 1, 24, 24), float(i)), torch.zeros(1, 1, 48, 48)) for i in range(20)]
    windows, residuals, seen = model._collect(batches, np.random.default_rng(0))
    assert seen == 20 * 20 * 20 and windows.shape == (2_000, 81) and residuals.shape == (2_000, 36)
    counts = np.bincount(windows[:, 0].astype(int), minlength=20)
    assert counts.min() > 60 and counts.max() < 140  # 100 each, in the mean


def test_works_in_double_precision_and_under_autocast():
    model = fitted()
    lr = torch.rand(1, 1, 8, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(model(lr), model(lr.float()))
    sr = model(lr)
    double = model.double()(lr.double())
    assert double.dtype == torch.float64 and torch.allclose(double.float(), sr, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"samples": 100}, r"APlus has 100 samples .*samples=100.* needs at least 200 for atoms=32 and neighbours=200"),
        ({"neighbours": 9_000}, r"has 2400 samples \(seen 2400, .* at least 9000 .*give more or larger patches"),
    ],
)
def test_too_few_samples(arguments, message):
    with pytest.raises(SRError, match=message):
        fitted(**arguments)


def test_patches_that_hold_no_sample():
    with pytest.raises(SRError, match="has 0 samples"):
        fitted(batches=noise(2, side=4))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": 5}, r"scale \(=5\) of APlus must be one of 2, 3, 4, 8"),
        ({"components": 81}, r"components \(=81\) must be from 1 to 80"),
        ({"atoms": 0}, r"atoms \(=0\) and neighbours"),
        ({"penalty": 0.0}, r"penalty \(=0.0\) must be above 0"),
        ({"samples": 0}, r"samples \(=0\) must be at least 1"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(SRError, match=message):
        APlus(**{"scale": 2, **arguments})
