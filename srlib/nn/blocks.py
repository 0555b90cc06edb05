"""What the RGB networks share: EDSR's convolution, sub-pixel tail, mean colour and precision.

B. Lim et al., "Enhanced Deep Residual Networks for Single Image Super-Resolution", CVPR Workshops (NTIRE) 2017; W. Shi et
al., CVPR 2016, for the sub-pixel layer. Scale 1 is for pairs of equal size: every tail is then without up-sampling.
"""

import torch
from torch import Tensor, nn

from srlib.core.errors import SRError

MEAN = (0.4488, 0.4371, 0.4040)  # of DIV2K, in the order RGB


def mean_colour() -> Tensor:
    """Return the mean colour as `(1, 3, 1, 1)`."""
    return torch.tensor(MEAN).view(1, 3, 1, 1)


def conv(inside: int, outside: int, kernel: int = 3, bias: bool = True) -> nn.Conv2d:
    """Return a convolution that keeps height and width."""
    return nn.Conv2d(inside, outside, kernel, padding=kernel // 2, bias=bias)


def single(x: Tensor) -> Tensor:
    """Return `x` in float32, or as it is where that is no less exact."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def factors(scale: int) -> list[int]:
    """Return the steps of an up-sampling: 1 none, 3 one, a power of two as many as doublings; SRError for any other scale."""
    if scale == 3:
        return [3]
    if scale < 1 or scale & (scale - 1):
        raise SRError(f"scale (={scale}) must be 1, 3 or a power of two")
    return [2] * (scale.bit_length() - 1)


def upsampler(scale: int, width: int) -> list[nn.Module]:
    """Return the layers that enlarge features: a convolution and a pixel shuffle per step, without activations."""
    return [layer for factor in factors(scale) for layer in (conv(width, width * factor**2), nn.PixelShuffle(factor))]


def tail(scale: int, width: int) -> nn.Sequential:
    """Return the up-sampler and the convolution that makes the RGB image."""
    return nn.Sequential(*upsampler(scale, width), conv(width, 3))


def tail_context(scale: int) -> int:
    """Return how many LR pixels around a pixel a tail looks at: at most one per convolution."""
    return len(factors(scale)) + 1
