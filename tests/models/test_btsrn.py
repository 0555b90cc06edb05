"""BTSRN beside the paper's and the code's numbers."""

import itertools

import pytest
import torch
from networks import count, parameters, shaken, tiles_are_exact, zeroed

from srlib.core.errors import SRError
from srlib.nn import models
from srlib.nn.bicubic import upsample_bicubic
from srlib.nn.borders import crop_centre, mirror
from srlib.nn.cost import saved_bytes, summary
from srlib.papers.btsrn.model import BLOCKS, BTSRN, LeakyReLU

SMALL = {"width": 8, "bottleneck": 4}


@pytest.mark.parametrize(("scale", "size", "narrow"), [(2, 887_683, 477_763), (3, 969_603, 559_683), (4, 1_035_459, 584_547)])
def test_networks_have_the_published_sizes(scale, size, narrow):
    """narrow: with a bottleneck of 32."""
    assert count(BTSRN, scale) == count(BTSRN, scale, padding="valid") == size
    assert count(BTSRN, scale, bottleneck=32) == narrow


def test_layers_have_the_published_sizes():
    sizes = {"pconv": 41_120, "pixelcnn": 17_600, "pixelcnnpp": 78_112, "pixelcnn_gated": 78_112}
    assert {name: count(block, 128, 32, padding=1) for name, block in BLOCKS.items()} == sizes
    net = models.create("btsrn", 4)
    assert parameters(net.entry) == 512 and parameters(net.exit) == 387
    assert [parameters(part) for part in net.up] == [65_664, 82_112, 65_664]
    assert parameters(models.create("btsrn", 3).up) == 147_584
    assert [parameters(block) for block in net.low] == [82_112] * 6
    assert [parameters(block) for block in net.high] == [82_112] * 4


@pytest.mark.parametrize(("scale", "lr", "sr"), [(2, 54, 76), (3, 36, 64), (4, 27, 48)])
def test_valid_training_shapes_are_the_codes(scale, lr, sr):
    net = models.create("btsrn", scale, padding="valid", width=8, bottleneck=4).train()
    assert net(torch.rand(1, 3, lr, lr)).shape == (1, 3, sr, sr)


@pytest.mark.parametrize(("scale", "margin"), [(2, 14), (3, 23), (4, 30)])
@pytest.mark.parametrize(("height", "width"), [(9, 12), (1, 2)])
def test_valid_testing_is_the_codes(scale, margin, height, width):
    """The code frames the LR image symmetrically by 15 pixels and crops the residual by 14, 23 or 30 pixels."""
    net = BTSRN(scale, padding="valid", **SMALL)
    lr = torch.rand(1, 3, height, width)
    with torch.no_grad():
        framed = net.train()(mirror(lr, (15, 15), (15, 15))) - crop_centre(
            upsample_bicubic(mirror(lr, (15, 15), (15, 15)), scale), height * scale + 2 * margin, width * scale + 2 * margin
        )
        expected = framed[..., margin:-margin, margin:-margin] + upsample_bicubic(lr, scale)
        sr = net.eval()(lr)
    assert sr.shape == (1, 3, height * scale, width * scale)
    assert torch.allclose(sr, expected, atol=1e-5)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_valid_and_same_agree_away_from_the_border(scale):
    torch.manual_seed(1)
    valid = BTSRN(scale, padding="valid", **SMALL).train()
    same = BTSRN(scale, padding="same", **SMALL).train()
    same.load_state_dict(valid.state_dict())
    lr = torch.rand(1, 3, 24, 24)
    with torch.no_grad():
        middle = valid(lr)
        assert torch.allclose(crop_centre(same(lr), *middle.shape[-2:]), middle, atol=1e-5)


@pytest.mark.parametrize(("low", "high"), [(0, 10), (10, 0), (6, 4), (1, 9)])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_context_of_a_network_without_padding_holds_for_any_split(low, high, scale):
    net = shaken(BTSRN(scale, low=low, high=high, padding="valid", **SMALL))
    assert tiles_are_exact(net, torch.rand(1, 3, 37, 33))


def test_gates_use_both_halves():
    """The authors' code multiplies the first half by its own sigmoid and never reads the second."""
    x = torch.randn(1, 8, 4, 4)
    for name, value in (("pixelcnn_gated", torch.tanh), ("pixelcnnpp", lambda a: a)):
        block = BLOCKS[name](8, 4, padding=1)
        a, b = block.body[:-1](x).chunk(2, dim=1)
        assert torch.allclose(block(x), x + value(a) * torch.sigmoid(b))


def test_a_block_of_zeros_is_the_identity():
    for name, padding in itertools.product(("pconv", "pixelcnn", "pixelcnnpp"), (0, 1)):
        block = zeroed(BLOCKS[name](8, 4, padding=padding))
        x = torch.randn(1, 8, 6, 6)
        expected = x if padding else x[..., 1:-1, 1:-1]
        assert torch.equal(block(x), expected)


def test_a_network_of_zeros_is_bicubic_and_upsampling_skips_by_nearest_neighbour():
    net, lr, x = zeroed(BTSRN(3, **SMALL)).eval(), torch.rand(1, 3, 7, 8), torch.randn(1, 8, 2, 2)
    assert torch.allclose(net(lr), upsample_bicubic(lr, 3))
    assert torch.equal(net.up(x), x.repeat_interleave(3, -1).repeat_interleave(3, -2))


def test_mirror_repeats_the_border_even_around_one_pixel():
    assert mirror(torch.tensor([[1.0, 2.0]]), (3, 3), (3, 3)).tolist()[0] == [2, 2, 1, 1, 2, 2, 1, 1]
    assert mirror(torch.tensor([[[[5.0]]]]), (2, 2), (2, 2)).tolist() == [[[[5.0] * 5] * 5]]
    assert mirror(torch.tensor([[1.0, 2.0]]), (0, 1), (0, 0)).tolist() == [[1, 2], [1, 2]]


def test_fewer_blocks_in_high_resolution_cost_less():
    costs = [summary(BTSRN(2, low=10 - high, high=high)).mult_adds for high in range(0, 11, 5)]
    assert costs == sorted(costs) and len(set(costs)) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"block": "pcomv"}, "unknown block 'pcomv'.*'pconv'"),
        ({"padding": "full"}, "unknown padding 'full'.*same, valid"),
        ({"low": -1}, "low: got -1, .* at least 0"),
        ({"high": -2}, "high: got -2, .* at least 0"),
        ({"scale": 8}, r"scale \(=8\) of BTSRN must be 2, 3 or 4"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(SRError, match=message):
        BTSRN(**{"scale": 2, **arguments})


def test_a_patch_of_which_valid_training_leaves_nothing_is_told():
    net = BTSRN(2, padding="valid", **SMALL).train()
    least = 2 * net.reach + 1
    assert net(torch.rand(1, 3, least, least)).shape[-1] > 0
    with pytest.raises(SRError, match=f"a patch of {least - 1} LR pixels is too small.*hr_patch to more than {2 * least - 2}"):
        net(torch.rand(1, 3, least - 1, least))


def test_leaky_relu_keeps_its_output_and_gives_the_same_gradients():
    x = torch.randn(2, 8, 5, 5, requires_grad=True)
    expected = torch.autograd.grad(torch.nn.functional.leaky_relu(x, 0.2).square().sum(), x)[0]
    y = LeakyReLU(0.2)(x)
    assert torch.equal(torch.autograd.grad(y.square().sum(), x)[0], expected)
    kept = {name: saved_bytes(models.create("btsrn", 2, block=name, **SMALL), torch.rand(1, 3, 12, 12)) for name in BLOCKS}
    assert kept["pconv"] < kept["pixelcnn"] < kept["pixelcnnpp"]  # one 3x3 fewer than PixelCNN, whatever the activation
