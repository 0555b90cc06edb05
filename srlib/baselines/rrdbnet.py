"""RRDBNet, the generator of ESRGAN: residual-in-residual dense blocks.

X. Wang et al., "ESRGAN: Enhanced Super-Resolution Generative Adversarial Networks", ECCV Workshops 2018. Layers as in the
authors' code: LeakyReLU 0.2, residuals times 0.2, nearest neighbour and a convolution for each step of up-sampling.
23 blocks, 64 channels, growth 32: x4 16,697,987.

Departures: scales other than 4 have a step for each doubling, one for x3, none for scale 1 (the code is for x4 only). ESRGAN's
perceptual loss needs a VGG-19 that is not among this project's data; here the network is trained as its PSNR variant.
Initialisation as in the code: He, times 0.1 inside of the blocks.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srlib.nn.blocks import Residual, conv, factors, init_he

SLOPE = 0.2
RES_SCALE = 0.2


class DenseBlock(nn.Module):
    """Five densely connected convolutions; times 0.2, plus the input."""

    def __init__(self, width: int, growth: int):
        super().__init__()
        self.layers = nn.ModuleList(conv(width + i * growth, growth if i < 4 else width) for i in range(5))
        init_he(self, factor=0.1)

    def forward(self, x: Tensor) -> Tensor:
        features = x  # (N, width, H, W)
        for layer in self.layers[:-1]:
            features = torch.cat([features, F.leaky_relu(layer(features), SLOPE)], dim=1)  # `growth` more channels each
        return x + RES_SCALE * self.layers[-1](features)  # (N, width, H, W)


class RRDB(Residual):
    """Residual-in-residual dense block: three dense blocks; times 0.2, plus the input (Figure 4)."""

    REACH = 15  # depth in 3x3 convolutions

    def __init__(self, width: int, growth: int):
        super().__init__(*(DenseBlock(width, growth) for _ in range(3)), res_scale=RES_SCALE)


def nearest_tail(scale: int, width: int) -> nn.Sequential:
    """Return the layers from features to RGB: nearest neighbour and convolution per step, then two convolutions."""
    layers: list[nn.Module] = []
    for factor in factors(scale):
        layers += [nn.Upsample(scale_factor=factor), conv(width, width), nn.LeakyReLU(SLOPE, True)]
    return nn.Sequential(*layers, conv(width, width), nn.LeakyReLU(SLOPE, True), conv(width, 3))


class RRDBNet(nn.Module):
    """RGB `(N, 3, H, W)` in 0..1 -> RGB `(N, 3, scale*H, scale*W)`. blocks: RRDBs; width, growth: channels."""

    channels = 3

    def __init__(self, scale: int, blocks: int = 23, width: int = 64, growth: int = 32):
        super().__init__()
        self.scale = scale
        self.context = 2 + blocks * RRDB.REACH + len(factors(scale)) + 2
        self.head = conv(3, width)
        self.body = nn.Sequential(*(RRDB(width, growth) for _ in range(blocks)), conv(width, width))
        self.tail = nearest_tail(scale, width)

    def forward(self, lr: Tensor) -> Tensor:
        x = self.head(lr)  # (N, 64, H, W)
        return self.tail(x + self.body(x))  # (N, 3, sH, sW)
