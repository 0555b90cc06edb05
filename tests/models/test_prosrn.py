"""ProSRN beside the paper's numbers, and unrolled."""

import pytest
import torch
from networks import count, parameters, shaken, tiles_are_exact, zeroed

from srlib.core.errors import SRError
from srlib.nn import models
from srlib.nn.cost import summary
from srlib.nn.progressive import bilinear
from srlib.papers.prosrn.model import STRUCTURES, General, Memory, ProSRN, Residual
from srlib.train import losses

SMALL = {"width": 8, "depth": 4}


def test_every_scale_and_structure_has_the_published_size():
    assert {count(ProSRN, scale, structure=structure) for scale in (2, 8, 32) for structure in STRUCTURES} == {407_441}


@pytest.mark.parametrize(("scale", "billions"), [(2, 94.1), (4, 117.6), (8, 123.5)])
def test_mult_adds_count_every_use(scale, billions):
    assert summary(models.create("prosrn", scale)).mult_adds / 1e9 == pytest.approx(billions, abs=0.05)


def test_has_the_fourteen_layers_that_the_paper_counts():
    net = ProSRN(8)
    assert sum(isinstance(m, (torch.nn.Conv2d, torch.nn.ConvTranspose2d)) for m in net.modules()) == 14
    parts = (net.entry, net.extract, net.up, net.fusion, net.image_up)
    assert [parameters(part) for part in parts] == [640, 10 * 36_928, 36_928, 577, 16]


def test_weights_of_one_scale_serve_every_other():
    largest, lr = shaken(ProSRN(16, **SMALL)), torch.rand(1, 1, 5, 4)
    with torch.no_grad():
        for image, scale in zip(largest.unroll(lr), (2, 4, 8, 16), strict=True):
            net = ProSRN(scale, **SMALL).eval()
            net.load_state_dict(largest.state_dict())
            assert torch.equal(net(lr), image) and image.shape == (1, 1, 5 * scale, 4 * scale)


def test_unrolls_on_its_own_output_not_clipped():
    net = shaken(ProSRN(8, **SMALL)).eval()
    lr = 3 * torch.randn(1, 1, 4, 4)
    with torch.no_grad():
        once, twice, thrice = net.unroll(lr)
        assert once.min() < 0 and once.max() > 1
        assert torch.equal(net.step(once), twice) and torch.equal(net.step(net.step(once)), thrice)


def test_gradient_reaches_through_every_level():
    net = shaken(ProSRN(4, **SMALL)).train()
    lr, hr = torch.rand(1, 1, 6, 6), torch.rand(1, 1, 24, 24)

    def gradient(last):
        net.zero_grad()
        losses.charbonnier(last, hr).backward()
        return torch.cat([p.grad.flatten() for p in net.parameters()])

    through = gradient(net(lr)[-1])
    detached = gradient(net.step(net(lr)[0].detach()))
    assert torch.isfinite(through).all() and (through - detached).norm() > 0.1 * detached.norm()


class TestStructures:
    @pytest.mark.parametrize(
        ("structure", "zero", "half"), [(General, 0, 0.0625), (Residual, 1, 1.25**2), (Memory, 1, 1.9375)], ids=str
    )
    def test_of_four_convolutions_of_zeros_and_of_those_that_halve(self, structure, zero, half):
        """On positive features LeakyReLU is the identity: what is left is the sum that the structure makes."""
        block, x = zeroed(structure(4, 8)), torch.rand(1, 8, 5, 5)
        assert torch.equal(block(x), zero * x)
        for layer in block.layers:
            torch.nn.init.dirac_(layer.weight)
            layer.weight.data /= 2
        assert torch.allclose(block(x), half * x)

    def test_activation_is_leaky(self):
        block = zeroed(General(1, 8))
        torch.nn.init.dirac_(block.layers[0].weight)
        assert torch.allclose(block(-torch.ones(1, 8, 2, 2)), torch.full((1, 8, 2, 2), -0.2))


class TestPieces:
    def test_image_branch_starts_as_linear_interpolation_and_is_trained(self):
        layer = bilinear()
        ramp = torch.arange(6.0).expand(1, 1, 6, 6)
        line = layer(ramp)[0, 0, 4]
        assert torch.allclose(line[2:-2], torch.arange(0.75, 4.5, 0.5))
        assert layer.weight.requires_grad and layer.bias is None

    def test_fresh_network_is_nearly_its_image_branch(self):
        net, lr = ProSRN(2).eval(), torch.rand(1, 1, 8, 8)
        with torch.no_grad():
            assert (net(lr) - net.image_up(lr)).abs().max() < 0.1
        zeroed(net.fusion)
        assert torch.equal(net(lr), net.image_up(lr))


class TestContext:
    @pytest.mark.parametrize("depth", [1, 4])
    @pytest.mark.parametrize("scale", [2, 8])
    def test_makes_tiles_exact(self, scale, depth):
        assert tiles_are_exact(shaken(ProSRN(scale, width=8, depth=depth)), torch.rand(1, 1, 45, 37))

    @pytest.mark.parametrize("depth", [1, 4, 10])
    def test_is_as_small_as_it_can_be(self, depth):
        """One pixel less, and the pixels at the ends of the context are missed."""
        net = shaken(ProSRN(2, width=8, depth=depth)).double().eval()
        side = 2 * net.context + 1
        lr = torch.rand(1, 1, side, side, dtype=torch.float64, requires_grad=True)
        middle = slice(2 * net.context, 2 * net.context + 2)
        net(lr)[..., middle, middle].sum().backward()
        assert lr.grad[0, 0, 0].abs().max() > 0 and lr.grad[0, 0, :, 0].abs().max() > 0
        with torch.no_grad():
            cut = net(lr[..., 1:-1, 1:-1])[..., 2 * net.context - 2 : 2 * net.context, 2 * net.context - 2 : 2 * net.context]
            assert not torch.allclose(cut, net(lr)[..., middle, middle], rtol=1e-9, atol=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"structure": "memry"}, "unknown structure 'memry'.*Did you mean 'memory'"),
        ({"structure": "residual", "depth": 5}, r"depth \(=5\) of the residual structure must be even"),
        ({"depth": 0}, "depth: got 0, .* at least 1"),
        *(({"scale": scale}, rf"scale \(={scale}\) must be a power of two: 2, 4, 8") for scale in (3, 0, 1, -2)),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(SRError, match=message):
        ProSRN(**{"scale": 2, **arguments})


@pytest.mark.parametrize("name", ["prosrn", "lapsrn"])
def test_images_stay_in_float32_under_autocast(name):
    """Only residuals are rounded to bfloat16: with none the sub-SR images are bilinear, exactly."""
    net, lr = models.create(name, 4, width=8, depth=2).train(), torch.rand(1, 1, 8, 8)
    for last in (part for key, part in net.named_modules() if key.split(".")[-1] in ("fusion", "predict")):
        torch.nn.init.zeros_(last.weight)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = net(lr)
    for one, exact in zip(rounded, net(lr), strict=True):
        assert one.dtype == torch.float32 and torch.equal(one, exact)
