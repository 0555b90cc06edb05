"""LapSRN: a Laplacian pyramid that doubles the image level by level; features are passed on from level to level.

W.-S. Lai, J.-B. Huang, N. Ahuja, M.-H. Yang, "Deep Laplacian Pyramid Networks for Fast and Accurate Super-Resolution", CVPR
2017; `shared=True`: "Fast and Accurate Image Super-Resolution with Deep Laplacian Pyramid Networks" (MS-LapSRN), TPAMI 2018.
Layers as in the authors' code (phoenix104104/LapSRN).

    features -> 10 convolutions -> double -> predict -> residual       each level has its own layers,
    image    -> bilinear x2 ---------------------------- + --> image   or all levels the same (shared)

Departures: trained with Adam and a mean instead of SGD and a sum; patches are flipped and rotated, not resized; the first layer
is initialised like the others, where the code starts it near zero, which costs hundreds of steps.
`shared=True` shares the level of LapSRN as it is; MS-LapSRN also shares convolutions inside a level and works with fewer.
"""

import torch
from torch import Tensor, nn

from srlib.core.errors import check_int
from srlib.nn.blocks import conv
from srlib.nn.borders import crop_corner
from srlib.nn.progressive import SLOPE, bilinear, context, double, doublings, initialise


class Level(nn.Module):
    """One doubling: `depth` convolutions and the transposed one for the features, a residual for the image."""

    def __init__(self, depth: int, width: int, padding: int = 1):
        super().__init__()
        self.extract = nn.Sequential(*(layer for _ in range(depth) for layer in (conv(width, width), nn.LeakyReLU(SLOPE))))
        self.up = nn.Sequential(double(width, padding), nn.LeakyReLU(SLOPE))
        self.predict = conv(width, 1)
        self.image_up = bilinear()
        initialise(self, last=self.predict)

    def forward(self, features: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        size = [2 * side for side in features.shape[-2:]]
        features = crop_corner(self.up(self.extract(features)), *size)  # (N, 64, H, W) -> (N, 64, 2H, 2W)
        with torch.autocast(image.device.type, enabled=False):  # keeps the precision of the image
            enlarged = self.image_up(image)  # (N, 1, 2H, 2W)
        return features, enlarged + self.predict(features)


class LapSRN(nn.Module):
    """Luma `(N, 1, H, W)` in 0..1 -> luma `(N, 1, scale*H, scale*W)`; in training the images of all levels, small to large.

    scale: a power of two. shared: one set of layers for all levels. depth, width: convolutions of a level, their channels.
    padding: of the layers that double features; 0 in the authors' code (`nn.progressive.double`).
    Parameters: x2 407,441, x4 814,242, x8 1,221,043; shared 407,441.
    """

    channels = 1

    def __init__(self, scale: int, shared: bool = False, depth: int = 10, width: int = 64, padding: int = 1):
        super().__init__()
        check_int("depth", depth, 1)
        self.scale, self.steps = scale, doublings(scale)
        self.entry = nn.Sequential(conv(1, width), nn.LeakyReLU(SLOPE))
        self.levels = nn.ModuleList(Level(depth, width, padding) for _ in range(1 if shared else self.steps))
        self.context = 1 + context(depth + 1, self.steps)
        nn.init.kaiming_normal_(self.entry[0].weight, a=SLOPE, nonlinearity="leaky_relu")
        nn.init.zeros_(self.entry[0].bias)

    def unroll(self, lr: Tensor) -> list[Tensor]:
        """Return the images of all levels, x2, x4, ... up to `scale`."""
        features, image, images = self.entry(lr), lr, []
        for step in range(self.steps):
            features, image = self.levels[step % len(self.levels)](features, image)
            images.append(image)
        return images

    def forward(self, lr: Tensor) -> Tensor | list[Tensor]:
        return self.unroll(lr) if self.training else self.unroll(lr)[-1]
