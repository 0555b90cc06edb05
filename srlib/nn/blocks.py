"""Building blocks that networks share: convolution, residual block, sub-pixel tail, initialisation, mean colour.

B. Lim et al., "Enhanced Deep Residual Networks for Single Image Super-Resolution", CVPR Workshops (NTIRE) 2017; W. Shi et
al., CVPR 2016, for the sub-pixel layer; K. He et al., ICCV 2015, for the initialisation.

Scale 1 is for pairs of equal size: every tail is then without up-sampling.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from srlib.core.errors import SRError

MEAN = (0.4488, 0.4371, 0.4040)  # of DIV2K, RGB


def mean_colour() -> Tensor:
    """Return the mean colour as `(1, 3, 1, 1)`."""
    return torch.tensor(MEAN).view(1, 3, 1, 1)


def conv(inputs: int, outputs: int, kernel: int = 3, bias: bool = True, padding_mode: str = "zeros") -> nn.Conv2d:
    """Return a convolution that keeps height and width."""
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias, padding_mode=padding_mode)


def single(x: Tensor) -> Tensor:
    """Cast to float32; float64 stays as it is."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


@torch.no_grad()
def init_he(network: nn.Module, slope: float = 0.0, factor: float = 1.0) -> None:
    """Initialise every convolution as He et al. for (Leaky)ReLU of this slope, times `factor`; biases zero."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, a=slope)
            layer.weight *= factor
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class Residual(nn.Module):
    """`x + res_scale * body(x)`, where the body is a sequence of layers."""

    def __init__(self, *body: nn.Module, res_scale: float = 1.0):
        super().__init__()
        self.res_scale = res_scale
        self.body = nn.Sequential(*body)

    def forward(self, x: Tensor) -> Tensor:
        return x + (self.body(x) if self.res_scale == 1 else self.res_scale * self.body(x))


class ResidualBlock(Residual):
    """Convolution, ReLU, convolution, plus the input; no batch normalisation, no activation after the sum."""

    def __init__(self, width: int, res_scale: float = 1.0):
        super().__init__(conv(width, width), nn.ReLU(True), conv(width, width), res_scale=res_scale)


class FusedBlocks(nn.Module):
    """Blocks in sequence whose outputs are all concatenated and fused. fusion: `len(blocks) * width` -> `width` channels."""

    def __init__(self, blocks: Iterable[nn.Module], fusion: nn.Module):
        super().__init__()
        self.blocks, self.fusion = nn.ModuleList(blocks), fusion

    def forward(self, x: Tensor) -> Tensor:
        outputs = []
        for block in self.blocks:
            x = block(x)
            outputs.append(x)
        return self.fusion(torch.cat(outputs, dim=1))


def factors(scale: int) -> list[int]:
    """Return the factors of the up-sampling steps: none for scale 1, [3] for 3, a 2 per doubling; SRError for other scales."""
    if scale == 3:
        return [3]
    if scale < 1 or scale & (scale - 1):
        raise SRError(f"scale (={scale}) must be 1, 3 or a power of two")
    return [2] * (scale.bit_length() - 1)


def upsampler(scale: int, width: int, *activations: Callable[[], nn.Module]) -> list[nn.Module]:
    """Return the layers that enlarge features: a convolution and a pixel shuffle per step, then `activations`."""
    steps = [(conv(width, width * factor**2), nn.PixelShuffle(factor), *(a() for a in activations)) for factor in factors(scale)]
    return [layer for step in steps for layer in step]


def tail(scale: int, width: int) -> nn.Sequential:
    """Return the sub-pixel tail of EDSR: the up-sampler and the convolution to RGB."""
    return nn.Sequential(*upsampler(scale, width), conv(width, 3))


def tail_context(scale: int) -> int:
    """Return the receptive field of a tail in LR pixels to each side: at most one per convolution."""
    return len(factors(scale)) + 1
