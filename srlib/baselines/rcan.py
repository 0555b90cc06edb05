"""RCAN: residual groups of residual blocks that weigh their channels.

Y. Zhang et al., "Image Super-Resolution Using Very Deep Residual Channel Attention Networks", ECCV 2018. Layers as in the
authors' code.

Ten groups of twenty blocks, 64 channels, reduction 16: x2 15,444,643, x3 15,629,283, x4 15,592,355, x8 15,740,067.

Departure: the mean colour is a constant, where the code has frozen 1x1 convolutions of 24 parameters. The attention takes
means over the whole image: tiles would change it, so there is no `context`.
"""

from torch import Tensor, nn

from srlib.nn.blocks import conv, mean_colour, tail


class ChannelAttention(nn.Module):
    """Multiply each channel by a number in 0..1, found from the means of all channels (section 3.3)."""

    def __init__(self, width: int, reduction: int = 16):
        super().__init__()
        inner = max(1, width // reduction)
        self.weigh = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), conv(width, inner, 1), nn.ReLU(True), conv(inner, width, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weigh(x)


class RCAB(nn.Module):
    """Residual channel attention block (section 3.4): `x` plus convolution, ReLU, convolution, attention."""

    def __init__(self, width: int, reduction: int = 16):
        super().__init__()
        self.body = nn.Sequential(conv(width, width), nn.ReLU(True), conv(width, width), ChannelAttention(width, reduction))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class ResidualGroup(nn.Module):
    """`blocks` RCABs and a convolution, plus the input (section 3.2)."""

    def __init__(self, blocks: int, width: int, reduction: int = 16):
        super().__init__()
        self.body = nn.Sequential(*(RCAB(width, reduction) for _ in range(blocks)), conv(width, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class RCAN(nn.Module):
    """RGB `(N, 3, H, W)` in 0..1 -> RGB `(N, 3, scale*H, scale*W)`.

    groups, blocks: residual groups and the blocks of each. width: channels; reduction: how many times fewer inside the
    attention (at least one).
    """

    channels = 3
    context = None

    def __init__(self, scale: int, groups: int = 10, blocks: int = 20, width: int = 64, reduction: int = 16):
        super().__init__()
        self.scale = scale
        self.register_buffer("mean", mean_colour(), persistent=False)
        self.tail = tail(scale, width)
        self.head = conv(3, width)
        body = [ResidualGroup(blocks, width, reduction) for _ in range(groups)]
        self.body = nn.Sequential(*body, conv(width, width))

    def forward(self, lr: Tensor) -> Tensor:
        x = self.head(lr - self.mean)
        return self.tail(x + self.body(x)) + self.mean
