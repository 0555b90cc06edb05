"""IDN: information distillation network, the complex branch of Difficulty-SR.

Z. Hui, X. Wang, X. Gao, "Fast and Accurate Single Image Super-Resolution via Information Distillation Network", CVPR 2018
(Zheng222/IDN-Caffe), and the simplified form in the code of Difficulty-SR (xzwlx/Difficulty-SR), which is the default here.

    lr -> 3x3, 3x3 -> 4 distillation blocks -> transposed 17x17, stride scale -> + bicubic(lr)

    block:  3 convolutions (64-48-32-64) -> split: 48 enhanced further, 16 kept
            3 convolutions (48-64-48-80) -> + [kept, block input] -> 1x1 back to 64

`grouped=True` is the original: the second and fifth convolution of a block in 4 groups, LeakyReLU also after the first two
layers and each 1x1, the first 16 channels kept, the concatenation in the other order. 552,769 parameters instead of 677,185.

Departures: the bicubic image is MATLAB's (a = -0.5), where Difficulty-SR's code has OpenCV's (a = -0.75); luma in 0..1, not
0..255; the output is scale times the input, where IDN's is scale - 1 pixels short of it.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from srlib.nn.bicubic import upsample_bicubic
from srlib.nn.blocks import conv
from srlib.nn.borders import crop_corner

SLOPE = 0.05


def _layers(widths: list[int], groups: int) -> nn.Sequential:
    """Return three 3x3 convolutions, each with LeakyReLU; the second in groups."""
    layers = []
    for i, (inputs, outputs) in enumerate(pairwise(widths)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1, groups=groups if i == 1 else 1), nn.LeakyReLU(SLOPE, inplace=True)]
    return nn.Sequential(*layers)


class Distillation(nn.Module):
    """Distillation block: `first` and `second` enhance short- and long-path features, `compress` reduces them to `width`."""

    def __init__(self, width: int, grouped: bool):
        super().__init__()
        self.kept, self.grouped = width // 4, grouped
        wide, middle, groups = width * 3 // 4, width // 2, 4 if grouped else 1
        # The original groups the inner convolution of each half, 48 -> 32 and 64 -> 48.
        self.first = _layers([width, wide, middle, width], groups)
        self.second = _layers([wide, width, wide, width + self.kept], groups)
        self.compress = conv(width + self.kept, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)  # (N, 64, H, W)
        if self.grouped:
            kept, y = y[:, : self.kept], y[:, self.kept :]
            return nn.functional.leaky_relu(self.compress(self.second(y) + torch.cat([x, kept], dim=1)), SLOPE)
        y, kept = y[:, : -self.kept], y[:, -self.kept :]  # (N, 48, H, W), (N, 16, H, W)
        return self.compress(self.second(y) + torch.cat([kept, x], dim=1))  # (N, 80, H, W) -> (N, 64, H, W)


class IDN(nn.Module):
    """Luma `(N, 1, H, W)` in 0..1 -> luma `(N, 1, scale*H, scale*W)`.

    grouped: the original network, whose output is aligned to the last pixel (padding 9 - scale of the transposed convolution, the
    excess cropped); else Difficulty-SR's (padding 8). blocks, width: distillation blocks and their channels (a multiple of 16).
    Parameters at every scale: 677,185; grouped 552,769.
    """

    channels = 1

    def __init__(self, scale: int, grouped: bool = False, blocks: int = 4, width: int = 64):
        super().__init__()
        self.scale = scale
        entry = [conv(1, width), conv(width, width)]
        if grouped:
            entry = [entry[0], nn.LeakyReLU(SLOPE, inplace=True), entry[1], nn.LeakyReLU(SLOPE, inplace=True)]
        self.entry = nn.Sequential(*entry)
        self.blocks = nn.Sequential(*(Distillation(width, grouped) for _ in range(blocks)))
        padding = 9 - scale if grouped else 8
        output_padding = max(scale + 2 * padding - 17, 0)
        self.exit = nn.ConvTranspose2d(width, 1, 17, stride=scale, padding=padding, output_padding=output_padding)
        self.context = 2 + 6 * blocks + -(-8 // scale)

    def forward(self, lr: Tensor) -> Tensor:
        x = self.blocks(self.entry(lr))  # (N, 64, H, W)
        base = upsample_bicubic(lr, self.scale)  # (N, 1, sH, sW)
        return base + crop_corner(self.exit(x), *base.shape[-2:])
