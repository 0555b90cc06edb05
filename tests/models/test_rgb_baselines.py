"""The RGB networks that D2C-SR is compared with, beside published sizes."""

import pytest
import torch

from srlib.baselines.cdc import CDC
from srlib.baselines.edsr import EDSR
from srlib.baselines.imdn import IMDN, Distillation
from srlib.baselines.rcan import RCAN, ChannelAttention
from srlib.baselines.rdn import RDN, DenseBlock
from srlib.baselines.rrdbnet import RRDBNet
from srlib.baselines.srresnet import SRResNet
from srlib.baselines.vdsr import VDSR
from srlib.core.errors import SRError
from srlib.nn.models import levels
from srlib.scoring.evaluation import forward


def count(model, *args, **kwargs):
    with torch.device("meta"):
        return sum(p.numel() for p in model(*args, **kwargs).parameters())


FULL_EDSR = {"blocks": 32, "width": 256, "res_scale": 0.1}
SIZES = [
    (EDSR, 2, {}, 1_369_859),
    (EDSR, 3, {}, 1_554_499),
    (EDSR, 4, {}, 1_517_571),
    (EDSR, 2, FULL_EDSR, 40_729_603),
    (EDSR, 3, FULL_EDSR, 43_680_003),
    (EDSR, 4, FULL_EDSR, 43_089_923),
    (RCAN, 2, {}, 15_444_643),
    (RCAN, 3, {}, 15_629_283),
    (RCAN, 4, {}, 15_592_355),
    (RCAN, 8, {}, 15_740_067),
    (RDN, 2, {}, 22_123_395),
    (RDN, 3, {}, 22_308_035),
    (RDN, 4, {}, 22_271_107),
    (RDN, 4, {"blocks": 20, "layers": 6, "growth": 32}, 5_578_787),
    (RDN, 4, {"blocks": 7, "layers": 6}, 6_024_387),
    (RRDBNet, 4, {}, 16_697_987),
    (IMDN, 2, {}, 694_404),
    (IMDN, 3, {}, 703_059),
    (IMDN, 4, {}, 715_176),
    (SRResNet, 4, {}, 1_549_462),
    (SRResNet, 2, {"norm": False}, 1_369_859),
    (SRResNet, 3, {"norm": False}, 1_554_499),
    (SRResNet, 4, {"norm": False}, 1_517_571),
    (VDSR, 4, {"channels": 3}, 668_227),
]


@pytest.mark.parametrize(("model", "scale", "arguments", "size"), SIZES)
def test_sizes_are_the_published_ones(model, scale, arguments, size):
    assert count(model, scale, **arguments) == size


BLOCKS = {"blocks": 2, "width": 8}
SMALL = {
    "edsr": (EDSR, BLOCKS),
    "rcan": (RCAN, {**BLOCKS, "groups": 2}),
    "rdn": (RDN, {**BLOCKS, "layers": 2, "growth": 4}),
    "rrdbnet": (RRDBNet, {"blocks": 1, "width": 8, "growth": 4}),
    "imdn": (IMDN, BLOCKS),
    "srresnet": (SRResNet, BLOCKS),
    "srresnet without norm": (SRResNet, {**BLOCKS, "norm": False}),
    "vdsr": (VDSR, {"channels": 3, "depth": 4, "width": 8}),
    "cdc": (CDC, {"hourglasses": 1, "levels": 2, "blocks": 1, "width": 8}),
}
LOCAL = [name for name in SMALL if name not in ("rcan", "imdn", "cdc")]


def small(name, scale):
    model, arguments = SMALL[name]
    return model(scale, **arguments)


def awake(net):
    """Keep the one inner channel of a narrow attention above its ReLU's zero."""
    for name, parameter in net.named_parameters():
        if "weigh." in name:
            torch.nn.init.constant_(parameter, 0.1)
    return net


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
def test_every_scale_and_every_parameter(name, scale):
    net = awake(small(name, scale)).train()
    images = levels(net(torch.rand(2, 3, 5, 6)))
    sr = images[-1]
    assert sr.shape == (2, 3, 5 * scale, 6 * scale) and net.scale == scale and net.channels == 3
    sum(image.square().mean() for image in images).backward()
    assert [n for n, p in net.named_parameters() if p.grad is None or p.grad.abs().sum() == 0] == []


@pytest.mark.parametrize("name", LOCAL)
@pytest.mark.parametrize("scale", [1, 2, 3])
def test_context_makes_tiles_exact(name, scale):
    net = small(name, scale).eval()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    lr = torch.rand(1, 3, 41, 35)
    whole = forward(net, lr, tile=0)
    assert (forward(net, lr, tile=16) - whole).abs().max() <= 1e-5 * max(1.0, whole.abs().max().item())


@pytest.mark.parametrize("name", ["rcan", "imdn"])
def test_attention_depends_on_the_whole_image(name):
    net = awake(small(name, 2)).eval()
    lr = torch.rand(1, 3, 64, 8)
    other = lr.clone()
    other[..., -1, :] += 1
    with torch.no_grad():
        assert net.context is None and not torch.equal(net(lr)[..., 0, :], net(other)[..., 0, :])


@pytest.mark.parametrize("model", [EDSR, RCAN, RDN, RRDBNet, IMDN, SRResNet, CDC])
def test_a_scale_that_no_tail_has_is_refused(model):
    with pytest.raises(SRError, match=r"scale \(=6\) must be 1, 3 or a power of two"):
        model(6)


def test_edsr_scales_residuals():
    net = EDSR(1, blocks=1, width=8, res_scale=0.5)
    block, x = net.body[0], torch.rand(1, 8, 4, 4)
    assert torch.allclose(block(x), x + 0.5 * block.body(x))


def test_channel_attention_weighs_by_means():
    """Two images with the same means of channels get the same weights."""
    attention, x = ChannelAttention(8), torch.rand(1, 8, 4, 4)
    turned = x.flip(-1)
    assert torch.allclose(attention(turned), attention(x).flip(-1), atol=1e-6)
    assert 0 < (attention(x) / x).min() and (attention(x) / x).max() < 1


def test_dense_block_hands_on_everything():
    """With a fusion that picks channel 0 of the input and of each layer, the block adds all of them."""
    block, x = DenseBlock(2, layers=2, growth=1), torch.rand(1, 2, 4, 4)
    torch.nn.init.zeros_(block.fusion.weight)
    torch.nn.init.zeros_(block.fusion.bias)
    block.fusion.weight.data[0, [0, 2, 3]] = 1
    first = torch.relu(block.layers[0](x))
    second = torch.relu(block.layers[1](torch.cat([x, first], dim=1)))
    assert torch.allclose(block(x)[:, :1], x[:, :1] + x[:, :1] + first + second, atol=1e-6)
    assert torch.equal(block(x)[:, 1:], x[:, 1:])


def test_distillation_keeps_a_quarter_of_each():
    block = Distillation(8)
    assert [layer.in_channels for layer in block.layers] == [8, 6, 6] and block.last.out_channels == 2
    with pytest.raises(SRError, match=r"width \(=10\) of IMDN must be divisible by 4"):
        Distillation(10)


def test_srresnet_without_norm_adds_to_the_bilinear_image():
    net, lr = small("srresnet without norm", 2).eval(), torch.rand(1, 3, 6, 6)
    for parameter in net.exit.parameters():
        torch.nn.init.zeros_(parameter)
    with torch.no_grad():
        assert torch.equal(net(lr), torch.nn.functional.interpolate(lr, scale_factor=2, mode="bilinear"))


@pytest.mark.parametrize("name", ["vdsr", "srresnet without norm"])
def test_at_scale_one_the_base_is_the_image_itself(name):
    net, lr = small(name, 1).eval(), torch.rand(1, 3, 6, 7)
    for parameter in net.parameters():
        torch.nn.init.zeros_(parameter)
    with torch.no_grad():
        assert torch.allclose(net(lr), lr, atol=1e-6)


class TestCDC:
    @pytest.mark.parametrize(("scale", "size", "published"), [(2, 39_637_196, 39_698_962), (4, 40_080_332, 39_920_530)])
    def test_size_is_within_half_a_percent_of_the_codes(self, scale, size, published):
        assert count(CDC, scale) == size == pytest.approx(published, rel=0.005)

    def test_result_is_the_components_by_their_masks(self):
        net, lr = small("cdc", 2), torch.rand(1, 3, 9, 7)
        with torch.no_grad():
            images, masks = net.components(lr)
            *trained, result = net.train()(lr)
            assert torch.allclose(masks.sum(dim=1), torch.ones(1, 18, 14))
            assert torch.allclose(result, sum(image * masks[:, i, None] for i, image in enumerate(images)))
            assert len(trained) == 3 and torch.equal(net.eval()(lr), result)

    def test_sides_are_extended_by_border_pixels(self):
        net, lr = small("cdc", 1).eval(), torch.rand(1, 3, 6, 7)
        extended = torch.nn.functional.pad(lr, (0, 1, 0, 2), mode="replicate")
        with torch.no_grad():
            assert torch.allclose(net(lr), net(extended)[..., :6, :7], atol=1e-6)

    def test_counts_must_be_positive(self):
        with pytest.raises(SRError, match=r"levels \(=0\).*must be at least 1"):
            CDC(2, levels=0)
