"""RRDBNet, the generator of ESRGAN: dense blocks in residuals in residuals.

X. Wang et al., "ESRGAN: Enhanced Super-Resolution Generative Adversarial Networks", ECCV Workshops 2018. Layers as in the
authors' code: LeakyReLU 0.2, residuals times 0.2, nearest neighbour and a convolution for each step of the up-sampling.
23 blocks, 64 channels, growth 32: x4 16,697,987.

Departures: scales other than 4 have a step for each doubling, one for x3, none for scale 1 (the code is for x4 only). ESRGAN's
perceptual loss needs a VGG-19 that is not among this project's data; here the network is trained as its PSNR variant.
Initialisation as in the code: He, times 0.1 inside of the blocks.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srlib.nn.blocks import conv, factors

SLOPE = 0.2
DAMPING = 0.2


class DenseBlock(nn.Module):
    """Five convolutions, each of the input and all outputs before; times 0.2, plus the input."""

    def __init__(self, width: int, growth: int):
        super().__init__()
        self.layers = nn.ModuleList(conv(width + i * growth, growth if i < 4 else width) for i in range(5))
        for layer in self.layers:
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
            with torch.no_grad():
                layer.weight *= 0.1

    def forward(self, x: Tensor) -> Tensor:
        seen = x
        for layer in self.layers[:-1]:
            seen = torch.cat([seen, F.leaky_relu(layer(seen), SLOPE)], dim=1)
        return x + DAMPING * self.layers[-1](seen)


class RRDB(nn.Module):
    """Residual-in-residual dense block: three dense blocks; times 0.2, plus the input (Figure 4)."""

    REACH = 15  # convolutions in a row

    def __init__(self, width: int, growth: int):
        super().__init__()
        self.body = nn.Sequential(*(DenseBlock(width, growth) for _ in range(3)))

    def forward(self, x: Tensor) -> Tensor:
        return x + DAMPING * self.body(x)


def nearest_tail(scale: int, width: int) -> nn.Sequential:
    """Return the layers from features to the image: nearest neighbour and convolution per step, then two convolutions."""
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
        x = self.head(lr)
        return self.tail(x + self.body(x))
