"""RCAN: residual groups of residual blocks with channel attention.

Y. Zhang et al., "Image Super-Resolution Using Very Deep Residual Channel Attention Networks", ECCV 2018. Layers as in the
authors' code.

Parameters of the defaults, ten groups of twenty blocks, 64 channels, reduction 16: x2 15,444,643, x3 15,629,283,
x4 15,592,355, x8 15,740,067.

Departure: the mean colour is a constant, where the code has frozen 1x1 convolutions of 24 parameters. The attention pools over
the whole image, which tiles would change, so `context` is None.
"""

from torch import Tensor, nn

from srlib.nn.blocks import Residual, conv, mean_colour, tail


class ChannelAttention(nn.Module):
    """Scale each channel by a weight in 0..1, predicted from the means of all channels (section 3.3)."""

    def __init__(self, width: int):
        super().__init__()
        inner = max(1, width // 16)
        layers = conv(width, inner, 1), nn.ReLU(True), conv(inner, width, 1), nn.Sigmoid()
        self.weigh = nn.Sequential(nn.AdaptiveAvgPool2d(1), *layers)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weigh(x)  # weights (N, C, 1, 1)


class RCAB(Residual):
    """Residual channel attention block (section 3.4): convolution, ReLU, convolution, attention, plus the input."""

    def __init__(self, width: int):
        super().__init__(conv(width, width), nn.ReLU(True), conv(width, width), ChannelAttention(width))


class ResidualGroup(Residual):
    """`blocks` RCABs and a convolution, plus the input (section 3.2)."""

    def __init__(self, blocks: int, width: int):
        super().__init__(*(RCAB(width) for _ in range(blocks)), conv(width, width))


class RCAN(nn.Module):
    """RGB `(N, 3, H, W)` in 0..1 -> RGB `(N, 3, scale*H, scale*W)`.

    groups, blocks: residual groups and the blocks of each. width: channels.
    """

    channels = 3
    context = None

    def __init__(self, scale: int, groups: int = 10, blocks: int = 20, width: int = 64):
        super().__init__()
        self.scale = scale
        self.register_buffer("mean", mean_colour(), persistent=False)
        self.tail = tail(scale, width)
        self.head = conv(3, width)
        self.body = nn.Sequential(*(ResidualGroup(blocks, width) for _ in range(groups)), conv(width, width))

    def forward(self, lr: Tensor) -> Tensor:
        x = self.head(lr - self.mean)  # (N, 64, H, W)
        return self.tail(x + self.body(x)) + self.mean  # (N, 3, sH, sW)
