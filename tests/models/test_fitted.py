"""A+ and RFL beside their definitions: bicubic before they are fitted, better after, the same in tiles."""

import numpy as np
import pytest
import torch
from networks import tiles_are_exact
from safetensors.torch import save_file
from sklearn.tree import ExtraTreeRegressor

from srlib.baselines import rfl
from srlib.baselines.aplus import APlus
from srlib.baselines.rfl import RFL, equalised
from srlib.core.errors import SRError
from srlib.core.protocols import protocol
from srlib.data.pairs import open_pairs
from srlib.data.patches import PatchSampler
from srlib.nn.bicubic import Bicubic, upsample_bicubic
from srlib.nn.patchwise import PATCH, WINDOW, apply_selected, gradients, principal_components
from srlib.scoring.evaluation import evaluate
from srlib.train.trainer import to_batch
from srlib.train.weights import load_weights

SMALL = {
    APlus: {"atoms": 32, "neighbours": 200, "components": 12, "samples": 5_000},
    RFL: {"trees": 3, "leaves": 8, "smallest": 20, "grown": 1_000, "components": 12, "rank": 20, "samples": 5_000},
}
both = pytest.mark.parametrize("model", SMALL)


def noise(scale, count=3, side=14):
    """Patches of noise, which cost nothing to make."""
    generator = torch.Generator().manual_seed(1)
    return [tuple(torch.rand(8, 1, side * k, side * k, generator=generator) for k in (1, scale)) for _ in range(count)]


def fitted(model, scale=2, seed=0, batches=None, **arguments):
    net = model(scale, **{**SMALL[model], **arguments}).eval()
    net.fit(batches or noise(scale), seed)
    return net


@both
@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_is_bicubic_before_it_is_fitted_and_exact_in_tiles_after(model, scale):
    lr, net = torch.rand(2, 1, 37, 21), fitted(model, scale)
    assert torch.equal(model(scale, **SMALL[model])(lr), upsample_bicubic(lr, scale))
    assert not torch.allclose(net(lr), upsample_bicubic(lr, scale), atol=1e-2)
    assert tiles_are_exact(net, lr)


@pytest.mark.parametrize(
    ("model", "arguments"),
    [
        (APlus, {"atoms": 64, "neighbours": 1000}),
        (RFL, {"leaves": 64, "grown": 10_000, "rank": 36}),
    ],
)
def test_improves_on_bicubic_on_other_photographs(model, arguments):
    sampler = PatchSampler(open_pairs("embedded", 2), batch=8, lr_patch=24, seed=0)
    patches = [to_batch(*sampler.batch(step), 1, torch.device("cpu")) for step in range(12)]
    net = fitted(model, batches=patches, components=24, samples=30_000, **arguments)
    scores = [evaluate(m, "embedded-test", protocol("lapsrn"))["psnr"] for m in (net, Bicubic(2))]
    assert (scores[0] > scores[1]).all() and (scores[0] - scores[1]).mean() > 0.8


@both
def test_pixels_outside_of_the_context_do_not_matter(model):
    net = fitted(model)
    middle = net.context + 1
    lr = torch.rand(1, 1, 2 * middle + 1, 2 * middle + 1)
    changed = lr.clone()
    changed[..., [0, -1]] += 1
    pixel = slice(2 * middle, 2 * middle + 2)
    before, after = net(lr), net(changed)
    assert torch.equal(before[..., pixel, pixel], after[..., pixel, pixel]) and not torch.equal(before, after)


@both
def test_tiny_and_flat_images(model):
    net = fitted(model, 3)
    for height, width in ((1, 1), (1, 7), (2, 3)):
        sr = net(torch.rand(2, 1, height, width))
        assert sr.shape == (2, 1, 3 * height, 3 * width) and sr.isfinite().all()
    if model is APlus:
        assert torch.allclose(net(torch.full((1, 1, 9, 8), 0.4)), torch.full((1, 1, 27, 24), 0.4), atol=1e-5)


@both
def test_weights_come_from_the_seed_and_survive_a_file(model, tmp_path):
    net, same, other = (fitted(model, seed=seed, samples=2_000) for seed in (3, 3, 4))
    assert all(torch.equal(value, same.state_dict()[name]) for name, value in net.state_dict().items())
    assert not torch.equal(net.regressors, other.regressors)
    save_file(net.state_dict(), tmp_path / "w.safetensors")
    lr = torch.rand(1, 1, 9, 8)
    assert torch.equal(load_weights(model(2, **SMALL[model]), tmp_path / "w.safetensors")(lr), net(lr))
    other.fit(noise(2), 3)  # nothing is left of the first fit
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in net.state_dict().items())


def test_works_in_double_precision_and_under_autocast():
    net, lr = fitted(APlus), torch.rand(1, 1, 8, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(net(lr), net(lr.float()))
    sr = net(lr)
    double = net.double()(lr.double())
    assert double.dtype == torch.float64 and torch.allclose(double.float(), sr, atol=1e-4)


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        (APlus, {"samples": 100}, r"APlus has 100 samples .*samples=100.* at least 200 for atoms=32 and neighbours=200"),
        (APlus, {"neighbours": 9_000}, r"has 2400 samples \(seen 2400, .* at least 9000 .*give more or larger patches"),
        (APlus, {"batches": noise(2, side=4)}, "has 0 samples"),
        (APlus, {"components": 81}, r"components \(=81\) must be from 1 to 80"),
        (APlus, {"atoms": 0}, "atoms: got 0, .* at least 1"),
        (APlus, {"samples": 0}, "samples: got 0, .* at least 1"),
        (RFL, {"samples": 900}, r"RFL has 900 samples .*samples=900.* at least 1000 for grown=1000, leaves=8 and smallest=20"),
        (RFL, {"leaves": 200}, r"has 2400 samples \(seen 2400, .* at least 4000 .*give more or larger patches"),
        (RFL, {"trees": 0}, "trees: got 0, .* at least 1"),
        (RFL, {"leaves": 1}, "leaves: got 1, .* at least 2"),
        (RFL, {"rank": 37}, r"rank \(=37\) must be from 1 to 36"),
    ],
)
def test_bad_arguments_and_too_few_samples_are_named(model, arguments, message):
    with pytest.raises(SRError, match=message):
        fitted(model, **arguments)


class TestPatchwise:
    @pytest.mark.parametrize("scale", [2, 3, 4, 8])
    def test_features_are_the_gradients_of_the_bicubic_image(self, scale):
        lr = torch.rand(1, 1, WINDOW, WINDOW, dtype=torch.float64)
        image = upsample_bicubic(lr, scale)[0, 0].numpy()
        middle, half = slice(PATCH * scale, 2 * PATCH * scale), (scale + 1) // 2
        across = (np.roll(image, -half, 1) - np.roll(image, half, 1))[middle, middle]
        second = ((np.roll(image, -scale, 0) + np.roll(image, scale, 0)) / 2 - image)[middle, middle]
        parts = np.split(lr.flatten().numpy() @ gradients(scale), 4)
        assert np.allclose(parts[0], across.flatten()) and np.allclose(parts[3], second.flatten())

    def test_principal_components_are_those_of_the_gradients(self):
        windows = np.random.default_rng(0).random((500, WINDOW**2)).astype(np.float32)
        expected = np.linalg.svd(windows @ gradients(2), full_matrices=False)[1][:5]
        projected = windows @ principal_components(windows, 2, 5)
        assert np.allclose(np.linalg.norm(projected, axis=0), expected, rtol=1e-4)
        assert np.allclose(projected.T @ projected, np.diag(expected**2), atol=1e-3 * expected[0] ** 2)

    def test_apply_adds_the_chosen_products(self):
        maps, x, chosen = torch.rand(5, 3, 4), torch.rand(6, 3), torch.randint(5, (6, 2))
        expected = torch.einsum("nc,ntcd->nd", x, maps[chosen])
        assert torch.allclose(apply_selected(maps, chosen, x), expected, atol=1e-6)

    def test_samples_are_bounded_and_uniform(self):
        """Every sample of the stream is kept with the same probability, the first like the last."""
        net = APlus(2, **{**SMALL[APlus], "samples": 2_000})
        batches = [(torch.full((1, 1, 24, 24), float(i)), torch.zeros(1, 1, 48, 48)) for i in range(20)]
        windows, residuals, seen = net._collect(batches, np.random.default_rng(0))
        assert seen == 20 * 20 * 20 and windows.shape == (2_000, 81) and residuals.shape == (2_000, 36)
        counts = np.bincount(windows[:, 0].astype(int), minlength=20)
        assert counts.min() > 60 and counts.max() < 140  # 100 each, in the mean


class TestAPlus:
    def test_has_the_published_size(self):
        net = APlus(3)
        assert net.anchors.shape == (1024, 32) and net.regressors.shape == (1024, 32, 81)
        assert net.neighbours == 2048 and list(net.parameters()) == []

    def test_regressors_are_the_ridge_of_the_neighbours(self):
        """P_j as the paper writes it, for one anchor whose neighbours are all samples."""
        rng = np.random.default_rng(0)
        features, residuals = rng.random((60, 4), np.float32), rng.random((60, 36), np.float32)
        net = APlus(2, atoms=1, neighbours=60, components=4)
        net.learn(features.copy(), residuals.copy(), rng)
        length = np.linalg.norm(features, axis=1, keepdims=True)
        low, high = (features / length).T, (residuals / length).T
        expected = high @ np.linalg.inv(low.T @ low + 0.1 * np.eye(60)) @ low.T
        assert np.allclose(net.regressors[0].T, expected, atol=1e-4)


class TestRFL:
    def test_has_a_size_that_the_scale_does_not_change(self):
        two, eight = RFL(2), RFL(8)
        assert two.regressors.shape == eight.regressors.shape == (len(two.feature), two.leaves, 32, 36)
        assert two.basis.shape == (36, 36) and eight.basis.shape == (36, 576) and list(two.parameters()) == []

    def test_trees_are_those_of_scikit_learn(self):
        """Every node of the buffers sends a sample where scikit-learn's tree sends it."""
        rng = np.random.default_rng(0)
        features, targets = rng.random((500, 12), np.float32), rng.random((500, 3), np.float32)
        net = RFL(2, **SMALL[RFL])
        net._grow(1, features, targets, seed=5)
        tree = ExtraTreeRegressor(max_leaf_nodes=8, min_samples_leaf=20, max_features=None, random_state=5)
        nodes = tree.fit(features, targets).apply(features)
        leaves = net._descend(1, torch.from_numpy(features).double()).numpy()
        assert len(set(nodes)) == len(set(leaves)) == len(set(zip(nodes, leaves, strict=True))) == 8
        assert set(leaves) == set(range(8))

    def test_leaves_are_ridge_regressions_and_trees_are_averaged(self):
        net, rng = fitted(RFL, rank=36), np.random.default_rng(0)
        features, residuals = rng.standard_normal((3_000, 12), np.float32), rng.standard_normal((3_000, 36), np.float32)
        net.learn(features.copy(), residuals.copy(), rng)
        x, expected = torch.from_numpy(features[:1]), 0
        for tree in range(3):
            own = net._descend(tree, torch.from_numpy(features)) == net._descend(tree, x)
            low, high = features[own.numpy()], residuals[own.numpy()]
            expected = expected + features[0] @ np.linalg.solve(low.T @ low + 0.01 * np.eye(12), low.T @ high) / 3
        assert np.allclose(net.predict(x.double())[0], expected, atol=1e-4)

    def test_features_take_part_in_the_splits(self, monkeypatch):
        """Without kappa the same samples and seed grow other trees."""
        plain = fitted(RFL)
        monkeypatch.setattr(rfl, "KAPPA", 0.0)
        without = fitted(RFL)
        assert not torch.equal(plain.feature, without.feature) or not torch.equal(plain.threshold, without.threshold)
        assert equalised(torch.rand(50, 3)).square().sum(1).mean() == pytest.approx(1)
