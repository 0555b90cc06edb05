"""RFL beside its definition: bicubic before it learns, better after, the same in tiles."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.tree import ExtraTreeRegressor

from srlib.baselines.rfl import RFL, equalised
from srlib.core.errors import SRError
from srlib.core.protocols import protocol
from srlib.data.pairs import open_pairs
from srlib.data.patches import PatchSampler
from srlib.nn.bicubic import Bicubic, upsample_bicubic
from srlib.scoring.evaluation import evaluate, forward
from srlib.train.trainer import to_batch
from srlib.train.weights import load_weights

SMALL = {"trees": 3, "leaves": 8, "smallest": 20, "grown": 1_000, "components": 12, "rank": 20, "samples": 5_000}


def patches(scale, count, lr_patch=24):
    """Patches of the embedded photographs."""
    sampler = PatchSampler(open_pairs("embedded", scale), batch=8, lr_patch=lr_patch, seed=0)
    return [to_batch(*sampler.batch(step), 1, torch.device("cpu")) for step in range(count)]


def noise(scale, count=3, side=14):
    """Patches of noise, which cost nothing to make."""
    generator = torch.Generator().manual_seed(1)
    return [tuple(torch.rand(8, 1, side * k, side * k, generator=generator) for k in (1, scale)) for _ in range(count)]


def fitted(scale=2, seed=0, batches=None, **arguments):
    model = RFL(scale, **{**SMALL, **arguments}).eval()
    model.fit(batches or noise(scale), seed)
    return model


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_is_bicubic_before_it_learns(scale):
    lr = torch.rand(2, 1, 7, 6)
    assert torch.equal(RFL(scale, **SMALL)(lr), upsample_bicubic(lr, scale))


def test_improves_on_bicubic_on_other_photographs():
    arguments = {"leaves": 64, "grown": 10_000, "components": 24, "rank": 36, "samples": 30_000}
    model = fitted(2, batches=patches(2, count=12), **arguments)
    scores = [evaluate(m, "embedded-test", protocol("lapsrn"))["psnr"] for m in (model, Bicubic(2))]
    assert (scores[0] > scores[1]).all() and (scores[0] - scores[1]).mean() > 0.8


def test_has_a_size_that_the_scale_does_not_change():
    two, eight = RFL(2), RFL(8)
    assert two.regressors.shape == eight.regressors.shape == (len(two.feature), two.leaves, 32, 36)
    assert two.basis.shape == (36, 36) and eight.basis.shape == (36, 576)
    assert list(two.parameters()) == []


def test_trees_are_those_of_scikit_learn():
    """Every node of the buffers sends a sample where scikit-learn's tree sends it."""
    rng = np.random.default_rng(0)
    features, targets = rng.random((500, 12), np.float32), rng.random((500, 3), np.float32)
    model = RFL(2, **SMALL)
    model._grow(1, features, targets, seed=5)
    tree = ExtraTreeRegressor(max_leaf_nodes=8, min_samples_leaf=20, max_features=None, random_state=5)
    nodes = tree.fit(features, targets).apply(features)
    got = model._descend(1, torch.from_numpy(features).double()).numpy()
    assert len(set(nodes)) == len(set(got)) == len(set(zip(nodes, got, strict=True))) == 8
    assert set(got) == set(range(8))


def test_leaves_are_ridge_regressions_and_trees_are_averaged():
    model = fitted(rank=36)
    rng = np.random.default_rng(0)
    features, residuals = rng.standard_normal((3_000, 12), np.float32), rng.standard_normal((3_000, 36), np.float32)
    model.learn(features.copy(), residuals.copy(), rng)
    x, expected = torch.from_numpy(features[:1]), 0
    for tree in range(3):
        own = model._descend(tree, torch.from_numpy(features)) == model._descend(tree, x)
        low, high = features[own.numpy()], residuals[own.numpy()]
        expected = expected + features[0] @ np.linalg.solve(low.T @ low + 0.01 * np.eye(12), low.T @ high) / 3
    assert np.allclose(model.predict(x.double())[0], expected, atol=1e-4)


def test_features_take_part_in_the_splits():
    """Without kappa the same samples and seed grow other trees."""
    plain, without = fitted(), fitted(kappa=0.0)
    assert not torch.equal(plain.feature, without.feature) or not torch.equal(plain.threshold, without.threshold)
    assert equalised(torch.rand(50, 3)).square().sum(1).mean() == pytest.approx(1)


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


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 7), (2, 3)])
def test_tiny_images(height, width):
    sr = fitted(3)(torch.rand(2, 1, height, width))
    assert sr.shape == (2, 1, 3 * height, 3 * width) and sr.isfinite().all()


def test_weights_survive_a_file(tmp_path):
    model, other = fitted(), RFL(2, **SMALL)
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    lr = torch.rand(1, 1, 9, 8)
    assert torch.equal(load_weights(other, tmp_path / "w.safetensors")(lr), model(lr))


def test_a_second_fit_leaves_nothing_of_the_first():
    model = fitted()
    model.fit(noise(2, side=20), 7)
    fresh = fitted(seed=7, batches=noise(2, side=20))
    assert all(torch.equal(value, fresh.state_dict()[name]) for name, value in model.state_dict().items())


def test_same_seed_same_weights():
    one, same, other = (fitted(seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["regressors"], other["regressors"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"samples": 900}, r"RFL has 900 samples .*samples=900.* at least 1000 for grown=1000, leaves=8 and smallest=20"),
        ({"leaves": 200}, r"has 2400 samples \(seen 2400, .* at least 4000 .*give more or larger patches"),
    ],
)
def test_too_few_samples(arguments, message):
    with pytest.raises(SRError, match=message):
        fitted(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": 5}, r"scale \(=5\) of RFL must be one of 2, 3, 4, 8"),
        ({"trees": 0}, r"trees \(=0\) must be at least 1"),
        ({"leaves": 1}, r"leaves \(=1\) must be at least 2"),
        ({"rank": 37}, r"rank \(=37\) must be from 1 to 36"),
        ({"kappa": -1.0}, r"penalty \(=0.01\) must be above 0 and kappa \(=-1.0\) must not be negative"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(SRError, match=message):
        RFL(**{"scale": 2, **arguments})
