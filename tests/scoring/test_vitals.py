"""Vital signs: of mechanisms that live, of dead ones, and of what is too small to tell."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from srlib.baselines.kpn import BASES
from srlib.data.sets import open_set
from srlib.nn import models
from srlib.papers.difficulty_sr import signs as identifier_signs
from srlib.papers.difficulty_sr.analysis import CLASSES
from srlib.scoring import vitals
from srlib.scoring.vitals import dead, describe, measure
from srlib.train.probe import Pictures, picture

SET = "embedded-camera-test"


@pytest.fixture(autouse=True)
def small(one_thread, monkeypatch):
    monkeypatch.setattr(vitals, "SIDE", 48)
    monkeypatch.setattr(vitals, "IMAGES", 2)


def d2c(**args) -> nn.Module:
    return models.create("d2c_sr", 1, width=8, groups=1, blocks=1, **args)


def flat(images: int, side: int) -> Pictures:
    """A set of photographs so flat that every patch is of the easiest class."""
    grey = np.full((side, side, 3), 90, np.uint8)
    return Pictures("flat", tuple(map(str, range(images))), (), "flat", images=(grey,) * images)


class TestFusion:
    def test_a_fresh_one_weighs_all(self):
        net = d2c()
        with torch.no_grad():
            for layer in net.convergence.layers:
                layer.weight.mul_(4)
        signs = measure(net, SET)
        assert signs["images"] == SET
        fusion = signs["fusion"]
        assert sum(fusion["weights"]) == pytest.approx(1, abs=1e-3) and len(fusion["weights"]) == 4
        assert fusion["decided"] < 0.5 and fusion["deviation"] > vitals.UNIFORM
        assert dead(signs) == "" and "did not train" not in describe(signs)

    def test_numbers_are_those_of_the_weights(self):
        net = d2c()
        with torch.no_grad():
            net.convergence.layers[-1].weight[2] += 20
            inputs = list(vitals._inputs(net, open_set(SET)))
            weights = torch.cat([net.fusion_weights(lr)[0].flatten(1) for lr in inputs], dim=1).double()
        fusion = measure(net, SET)["fusion"]
        assert fusion["weights"] == pytest.approx(weights.mean(dim=1).tolist(), rel=1e-3)
        decided = (weights.max(dim=0)[0] > 0.95).double().mean().item()
        assert fusion["decided"] == pytest.approx(decided, rel=1e-3) and decided > 0
        assert fusion["deviation"] == pytest.approx(weights.std(dim=1).square().mean().sqrt().item(), rel=1e-3)

    @pytest.mark.parametrize(
        ("last", "reason"),
        [
            (torch.tensor([-1.0, -1.0, 5.0, -1.0]), "the fusion has collapsed to branch 3 of 4"),
            (torch.zeros(4), "the fusion has the same weights at every pixel"),
        ],
        ids=["one branch", "uniform"],
    )
    def test_one_branch_alone_and_uniform_weights_are_dead(self, last, reason):
        net = d2c()
        with torch.no_grad():
            for layer in net.convergence.layers[:-1]:
                layer.weight.abs_()
            weight = net.convergence.layers[-1].weight
            weight.copy_(last[:, None, None, None].expand_as(weight))
        signs = measure(net, SET)
        assert dead(signs) == reason
        if last.any():
            assert signs["fusion"]["weights"][2] > 0.95
        else:
            assert signs["fusion"] == {"weights": [0.25] * 4, "decided": 0.0, "deviation": 0.0}

    def test_two_of_four_branches_are_a_fusion(self):
        fusion = {"weights": [0.0, 0.0, 0.45, 0.55], "decided": 0.99, "deviation": 0.27}
        assert dead({"fusion": fusion}) == ""

    @pytest.mark.parametrize("name", ["d2c_sr", "divergence"])
    def test_one_branch_has_nothing_to_fuse(self, name):
        net = models.create(name, 1, width=8, groups=1, blocks=1, depth=1, children=1)
        assert measure(net, SET).keys() <= {"images", "dead_units"}

    def test_masks_of_components(self):
        signs = measure(models.create("cdc", 1, width=8, hourglasses=1, levels=1, blocks=1), SET)
        assert len(signs["fusion"]["weights"]) == 3 and "branches" not in signs


class TestBranches:
    def test_identical_predictions_are_dead(self):
        net = models.create("divergence", 1, width=8, groups=1, blocks=1)
        alive = measure(net, SET)
        assert 0 < alive["branches"]["psnr"] < vitals.IDENTICAL and dead(alive) == "" and "fusion" not in alive
        for parameter in net.tails.parameters():
            nn.init.zeros_(parameter)
        signs = measure(net, SET)
        assert signs["branches"] == {"psnr": 100.0}
        assert dead(signs) == "the predictions are identical (100.0 dB)"


class TestKernels:
    @pytest.mark.parametrize(
        ("name", "args", "sizes"),
        [("kpn", {"kernel": 3}, [3]), ("lp_kpn", {}, [5, 5, 5]), ("ddet", {}, [9, 7, 5]), ("ddet", {"mda": False}, [7])],
    )
    def test_fresh_ones_are_one_filter(self, name, args, sizes):
        signs = measure(models.create(name, 1, width=16, blocks=1, **args), SET)
        assert [head["size"] for head in signs["kernels"]] == sizes
        assert dead(signs).startswith("the kernels have one shape at every pixel (deviation")

    def test_kernels_that_follow_the_content_live(self):
        net = models.create("ddet", 1, width=16, blocks=1)
        with torch.no_grad():
            net.heads[1][-1].weight.normal_(std=1)  # one head is enough
        signs = measure(net, SET)
        first, second, _ = (head["deviation"] for head in signs["kernels"])
        assert first < vitals.ONE_FILTER < second and dead(signs) == ""

    def test_numbers_are_those_of_the_kernels(self):
        net = models.create("kpn", 1, width=16, blocks=1, kernel=3)
        with torch.no_grad():
            net.head.weight.normal_(std=0.5)
            kernels = [net.kernels(lr)[0][0, :, 16:-16, 16:-16].double() for lr in vitals._inputs(net, open_set(SET))]
        (head,) = measure(net, SET)["kernels"]
        length = torch.cat([image.flatten(1) for image in kernels], dim=1).mean(dim=1).norm().item()

        def deviation(images: list[torch.Tensor]) -> float:
            """Root mean square, over the 16 places of a cell, of the distance from the place's mean, relative to the length."""
            places = [torch.cat([image[:, y::4, x::4].flatten(1) for image in images], dim=1) for y in range(4) for x in range(4)]
            variances = [(place - place.mean(dim=1, keepdim=True)).square().sum(dim=0).mean().item() for place in places]
            return np.mean(variances) ** 0.5 / length

        assert head["deviation"] == pytest.approx(deviation([image - image.mean(dim=0) for image in kernels]), rel=1e-3)
        assert head["sum"] == pytest.approx(deviation([image.sum(dim=0)[None] for image in kernels]), rel=1e-3)

    def test_a_gain_is_no_filter(self):
        """Kernels whose elements all move together, as today's trained ones do."""
        net = models.create("kpn", 1, width=16, blocks=1, kernel=7)
        with torch.no_grad():
            net.head.weight.copy_(torch.randn(1, 16, 3, 3).expand_as(net.head.weight))
        signs = measure(net, SET)
        (head,) = signs["kernels"]
        assert head["sum"] > 0.1 and head["deviation"] < 1e-3 and dead(signs)

    @pytest.mark.parametrize("trunk", [False, True])
    def test_a_head_that_sees_no_content_is_dead(self, trunk):
        """Also where the shuffle of constant features gives the 16 pixels of a cell different kernels."""
        net = models.create("kpn", 1, width=16, blocks=1, kernel=3)
        with torch.no_grad():
            net.head.weight.normal_(std=0.5)
            if trunk:
                for layer in (net.trunk.entry, net.trunk.body[-1]):
                    layer.weight.zero_()
                    layer.bias.normal_()
                net.trunk.body[0].body[0].weight.zero_()
                net.trunk.body[0].body[2].weight.zero_()
            else:
                net.features[-2].weight.zero_()
                net.features[-2].bias.fill_(-1)
        signs = measure(net, SET)
        inside = net.kernels(torch.zeros(1, 1, 32, 32))[0][..., 12:20, 12:20]
        assert (inside.flatten(2).std(dim=-1).max() > 1e-3) == trunk
        assert signs["kernels"][0]["deviation"] < 1e-5 and dead(signs)
        assert (signs["dead_units"] > 0.1) == (not trunk)


class TestIdentifier:
    def constant(self, predicted: int) -> nn.Module:
        net = models.create("identifier", 2)
        with torch.no_grad():
            net.classify[-1].weight.zero_()
            net.classify[-1].bias.copy_(torch.eye(5)[predicted])
        return net

    def test_a_class_that_is_never_predicted(self, monkeypatch):
        monkeypatch.setattr(identifier_signs, "ENOUGH", 4)
        signs = measure(self.constant(3), flat(4, 96))
        assert dead({"identifier": signs["identifier"] | {"patches": 3}}) == ""  # too few to decide
        assert signs["identifier"] == {
            "images": "flat",
            "patches": 4,
            "actual": [0.0, 0.0, 0.0, 0.0, 1.0],
            "predicted": [0.0, 0.0, 0.0, 1.0, 0.0],
        }
        assert dead(signs) == "the identifier never predicts >= 45 dB (100 % of the patches)"
        assert dead(measure(self.constant(4), flat(4, 96))) == ""

    @pytest.mark.parametrize(
        ("share", "reason"), [(0.009, ""), (0.01, f"the identifier never predicts {CLASSES[4]} (1 % of the patches)")]
    )
    def test_a_rare_class_may_be_missed(self, share, reason):
        shares = {"actual": [0.5, 0.2, 0.2, 0.1 - share, share], "predicted": [0.5, 0.3, 0.1, 0.1, 0.0]}
        assert dead({"identifier": {"images": "B100", "patches": 1000, **shares}}) == reason

    def test_the_first_set_that_is_large_enough(self, monkeypatch):
        monkeypatch.setattr(identifier_signs, "ENOUGH", 3)
        monkeypatch.setattr(identifier_signs, "MOST", 5)
        net = self.constant(4)
        few, many = flat(2, 96), flat(9, 96)
        for sets, patches in (((few, many, flat(4, 96)), 5), ((few,), 2), ((few, flat(1, 96)), 2)):
            assert measure(net, *sets)["identifier"]["patches"] == patches

    def test_images_that_are_too_small_have_no_sign(self):
        assert measure(self.constant(0), flat(2, 60)) == {}

    def test_a_router_has_its_identifiers(self, monkeypatch):
        monkeypatch.setattr(identifier_signs, "ENOUGH", 4)
        net = models.create("difficulty_sr", 2, complex_args={"width": 8})
        net.identifier.load_state_dict(self.constant(0).state_dict())
        assert "never predicts >= 45 dB" in dead(measure(net, flat(4, 96)))


class TestUnits:
    def test_a_share_of_all_units(self):
        net = models.create("vdsr", 2, depth=5, width=8)
        before = measure(net, "embedded-test")["dead_units"]
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
        with torch.no_grad():
            layers = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d)]
            layers[2].weight[:4], layers[2].bias[:4] = 0, -1.0
        after = measure(net, "embedded-test")["dead_units"]
        assert before < 4 / 32 <= after <= before + 4 / 32

    def test_an_activation_that_serves_several_layers(self):
        net = models.create("srcnn", 2)
        for layer in (layer for layer in net.modules() if isinstance(layer, nn.Conv2d)):
            nn.init.constant_(layer.bias, -100)
        signs = measure(net, "embedded-test")
        assert signs == {"images": "embedded-test", "dead_units": 1.0}
        assert dead(signs) == "100 % of the units are dead" and "100 % of units dead" in describe(signs)

    def test_an_attention_that_has_seen_two_pictures_does_not_count(self, monkeypatch):
        net = models.create("rcan", 1, width=16, groups=1, blocks=1)
        few = measure(net, SET)["dead_units"]
        monkeypatch.setattr(vitals, "SEEN", 1)
        with torch.no_grad():
            for layer in net.modules():
                if isinstance(layer, nn.Conv2d) and layer.out_channels == 1:
                    layer.weight.zero_()
                    layer.bias.fill_(-1)
        assert measure(net, SET)["dead_units"] > few


@pytest.mark.parametrize("model", ["bicubic", "espcn", "btsrn", "imdn"])
def test_a_network_without_mechanism_has_no_signs(model):
    args = {"btsrn": {"width": 8, "bottleneck": 4, "low": 1, "high": 1}, "imdn": {"width": 16, "blocks": 1}}.get(model, {})
    assert measure(models.create(model, 2, **args), "embedded-test") == {}
    assert dead({}) == "" and describe({}) == ""


def test_signs_are_json():
    signs = measure(d2c(), SET)
    assert json.loads(json.dumps(signs, allow_nan=False)) == signs


FUSION = {"weights": [0.31, 0.22, 0.25, 0.22], "decided": 0.03, "deviation": 0.1}
SHARES = {"actual": [0.873, 0.067, 0.014, 0.017, 0.029], "predicted": [0.846, 0.085, 0.069, 0.0, 0.0]}


@pytest.mark.parametrize(
    ("signs", "text"),
    [
        (
            {"images": SET, "fusion": FUSION, "branches": {"psnr": 38.04}, "dead_units": 0.1},
            "fusion: mean weights 0.31/0.22/0.25/0.22, 3 % of pixels above 0.95; 38.0 dB between predictions",
        ),
        (
            {"kernels": [{"size": 9, "deviation": 0.31, "sum": 0.1}, {"size": 7, "deviation": 0.004, "sum": 0.1}]},
            "kernels: deviation of shape 31 % (9×9), 0.4 % (7×7)",
        ),
        (
            {"identifier": {"images": "Urban100", "patches": 1000, **SHARES}},
            "identifier: classes, hardest first, predicted 85/8.5/6.9/0/0 % and actual 87/6.7/1.4/1.7/2.9 % of "
            "1,000 patches of Urban100; "
            "the mechanism did not train: "
            "the identifier never predicts 40-45 dB (1.7 % of the patches) and >= 45 dB (2.9 % of the patches)",
        ),
        (
            {"fusion": {"weights": [0.01, 0.3, *[0.0431] * 16], "decided": 0.0001, "deviation": 0.1}},
            "fusion: mean weights 0.01 to 0.30 of 18 branches, <0.1 % of pixels above 0.95",
        ),
        (
            {"fusion": {"weights": [0.9999, 1e-4], "decided": 0.9988, "deviation": 0.005}},
            "fusion: mean weights 1.00/0.00, >99.5 % of pixels above 0.95; "
            "the mechanism did not train: the fusion has collapsed to branch 1 of 2",
        ),
    ],
    ids=["fusion", "kernels", "identifier", "many branches", "collapse is not rounded away"],
)
def test_description(signs, text):
    assert describe(signs) == text


@pytest.mark.parametrize("side", [2, 7, 30])
@pytest.mark.parametrize("name", ["kpn", "d2c_sr"])
def test_small_pictures(name, side):
    image = picture(side, side)
    images = Pictures("small", ("small",), (), "small", scale=1, images=(image,), lrs=(image,))
    signs = measure(models.create(name, 1, width=16, blocks=1), images)
    assert ("kernels" in signs) == (name == "kpn" and side >= 4)
    assert ("fusion" in signs) == (name == "d2c_sr")


def test_grey_photographs_of_a_folder(tmp_path):
    Image.fromarray(picture(80, 72)[..., 0]).save(tmp_path / "grey.png")
    assert measure(models.create("edsr", 2, width=8, blocks=1), f"folder:{tmp_path}")["images"] == f"folder:{tmp_path}"


@pytest.mark.parametrize("basis", BASES)
def test_only_cosines_give_kernels_a_shape(basis):
    """Adam moves all pixels of a kernel together, and its cosines apart."""
    net = models.create("kpn", 1, width=16, blocks=1, kernel=5, basis=basis).train()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    images = open_set(SET)
    hr = images[0]
    pair = [torch.from_numpy(x[:64, :64, 1].copy())[None, None].float() / 255 for x in (images.lr(0, hr, 1), hr)]
    for _ in range(30):
        optimizer.zero_grad()
        (net(pair[0]) - pair[1]).square().mean().backward()
        optimizer.step()
    deviation = measure(net, SET)["kernels"][0]["deviation"]
    assert deviation > 0.02 if basis == "dct" else deviation < 0.01
