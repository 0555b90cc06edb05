"""EDRN: an encoder-decoder of residual groups, from the NTIRE 2019 challenge on real super-resolution.

G. Cheng, A. Matsune, Q. Li, L. Zhu, H. Zang, S. Zhan, "Encoder-Decoder Residual Network for Real Super-Resolution", CVPR
Workshops 2019. Input and output have the same size. Written from general knowledge of it, not checked against the paper or its
code: features are reduced twice by strided convolutions and enlarged twice by transposed ones, residual groups refine them from
coarse to fine, skips join equal sizes, and batch normalisation stands only in the layers that change the size.

    lr -> entry -> down -> down -> four groups -> up, + skip -> group -> up, + skip -> group -> exit, + lr

Departures: luma instead of RGB; the numbers of groups and blocks and the skip around the network are this project's, so that
the size, 33,823,041 parameters, is near to the 131.9 MB (33.0 million) that DDet's Table III prints, which no published
description reproduces. Take its results as those of an encoder-decoder of that size.
"""

from torch import Tensor, nn

from srlib.core.errors import SRError
from srlib.nn.blocks import conv
from srlib.nn.same_size import CELL, Block, SameSize

GROUPS = 4  # at a quarter of the size; one at half and one at full size


class Group(nn.Module):
    """Residual blocks and a convolution, and the input added."""

    def __init__(self, width: int, blocks: int):
        super().__init__()
        self.body = nn.Sequential(*(Block(width) for _ in range(blocks)), conv(width, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def down(width: int) -> nn.Sequential:
    """Return the layers that halve the size and double the channels."""
    return nn.Sequential(nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), nn.BatchNorm2d(2 * width), nn.ReLU())


def up(width: int) -> nn.Sequential:
    """Return the layers that double the size and halve the channels to `width`."""
    double = nn.ConvTranspose2d(2 * width, width, 3, stride=2, padding=1, output_padding=1)
    return nn.Sequential(double, nn.BatchNorm2d(width), nn.ReLU())


class EDRN(SameSize):
    """Luma `(N, 1, H, W)` in 0..1 -> luma of the same size. width: channels at full size. blocks: residual blocks of a group."""

    def __init__(self, scale: int = 1, width: int = 64, blocks: int = 6):
        super().__init__(scale)
        if blocks < 0:
            raise SRError(f"blocks (={blocks}) must not be negative")
        self.entry = conv(1, width)
        self.down = nn.ModuleList([down(width), down(2 * width)])
        self.coarse = nn.Sequential(*(Group(4 * width, blocks) for _ in range(GROUPS)))
        self.up = nn.ModuleList([up(2 * width), up(width)])
        self.middle, self.fine = Group(2 * width, blocks), Group(width, blocks)
        self.exit = conv(width, 1)
        group = 2 * blocks + 1  # how far one reaches, in its own pixels
        reach = 2 + group + 2 * (group + 2) + CELL * (GROUPS * group + 2)
        self.context = -(-reach // CELL) * CELL
        for layer in self.modules():
            if isinstance(layer, Block):
                nn.init.kaiming_normal_(layer.body[-1].weight, nonlinearity="relu").data.mul_(0.1)
        nn.init.normal_(self.exit.weight, std=1e-4)

    def enhance(self, lr: Tensor) -> Tensor:
        full = self.entry(lr)
        half = self.down[0](full)
        quarter = self.coarse(self.down[1](half))
        half = self.middle(half + self.up[0](quarter))
        full = self.fine(full + self.up[1](half))
        return lr + self.exit(full)
