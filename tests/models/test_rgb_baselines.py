"""The RGB networks that D2C-SR is compared with, beside published sizes."""

import pytest
import torch

from srlib.errors import SRError
from srlib.evaluation import forward
from srlib.models.edsr import EDSR


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
]


@pytest.mark.parametrize(("model", "scale", "arguments", "size"), SIZES)
def test_sizes_are_the_published_ones(model, scale, arguments, size):
    assert count(model, scale, **arguments) == size


SMALL = {EDSR: {"blocks": 2, "width": 8}}


@pytest.mark.parametrize("model", SMALL)
@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
def test_every_scale_and_every_parameter(model, scale):
    net = model(scale, **SMALL[model]).train()
    sr = net(torch.rand(2, 3, 5, 6))
    assert sr.shape == (2, 3, 5 * scale, 6 * scale) and net.scale == scale and net.channels == 3
    sr.square().mean().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or p.grad.abs().sum() == 0] == []


LOCAL = [EDSR]


@pytest.mark.parametrize("model", LOCAL)
@pytest.mark.parametrize("scale", [1, 2, 3])
def test_context_makes_tiles_exact(model, scale):
    net = model(scale, **SMALL[model]).eval()
    lr = torch.rand(1, 3, 41, 35)
    assert torch.allclose(forward(net, lr, tile=16), forward(net, lr, tile=0), atol=1e-5)


@pytest.mark.parametrize("model", SMALL)
def test_a_scale_that_no_tail_has_is_refused(model):
    with pytest.raises(SRError, match=r"scale \(=6\) must be 1, 3 or a power of two"):
        model(6)


def test_edsr_scales_residuals():
    net = EDSR(1, blocks=1, width=8, res_scale=0.5)
    block, x = net.body[0], torch.rand(1, 8, 4, 4)
    assert torch.allclose(block(x), x + 0.5 * block.body(x))
