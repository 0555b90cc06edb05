"""RDN: dense blocks inside, their outputs fused at the end.

Y. Zhang et al., "Residual Dense Network for Image Super-Resolution", CVPR 2018. Layers as in EDSR-PyTorch's version, which
is the authors' in all but the tail of narrow variants.

    lr - mean -> F-1 -> F0 -> dense blocks F1..FD -> 1x1 of all, 3x3 -> + F-1 -> sub-pixel tail -> + mean

Paper's symbol -> here: D -> `blocks`; C -> `layers`; G -> `growth`; G0 -> `width`.

Defaults, D 16, C 8, G 64: x2 22,123,395, x3 22,308,035, x4 22,271,107. The small one, D 20, C 6, G 32: x4 5,578,787.
D2C-SR prints 6.02M for its RDN, which is no known configuration; D 7, C 6, G 64 has 6,024,387 at x4.
"""

import torch
from torch import Tensor, nn

from srlib.nn.blocks import conv, factors, mean_colour, tail_context


class DenseBlock(nn.Module):
    """`layers` convolutions that each see the input and all outputs before; 1x1 fusion, plus the input (section 3.3)."""

    def __init__(self, width: int, layers: int, growth: int):
        super().__init__()
        self.layers = nn.ModuleList(conv(width + i * growth, growth) for i in range(layers))
        self.fusion = conv(width + layers * growth, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        seen = x
        for layer in self.layers:
            seen = torch.cat([seen, torch.relu(layer(seen))], dim=1)
        return x + self.fusion(seen)


class DenseBlocks(nn.Module):
    """Dense blocks in a row and the fusion of all their outputs, 1x1 and 3x3 (section 3.4)."""

    def __init__(self, blocks: int, width: int, layers: int, growth: int):
        super().__init__()
        self.blocks = nn.ModuleList(DenseBlock(width, layers, growth) for _ in range(blocks))
        self.fusion = nn.Sequential(conv(blocks * width, width, 1), conv(width, width))

    def forward(self, x: Tensor) -> Tensor:
        outputs = []
        for block in self.blocks:
            x = block(x)
            outputs.append(x)
        return self.fusion(torch.cat(outputs, dim=1))


def _tail(scale: int, width: int, growth: int) -> nn.Sequential:
    layers, inside = [], width
    for factor in factors(scale):
        layers += [conv(inside, growth * factor**2), nn.PixelShuffle(factor)]
        inside = growth
    return nn.Sequential(*layers, conv(inside, 3))


class RDN(nn.Module):
    """RGB `(N, 3, H, W)` in 0..1 -> RGB `(N, 3, scale*H, scale*W)`. Arguments: see the table of symbols above."""

    channels = 3

    def __init__(self, scale: int, blocks: int = 16, layers: int = 8, growth: int = 64, width: int = 64):
        super().__init__()
        self.scale = scale
        self.context = 3 + blocks * layers + tail_context(scale)
        self.register_buffer("mean", mean_colour(), persistent=False)
        self.first, self.second = conv(3, width), conv(width, width)
        self.body = DenseBlocks(blocks, width, layers, growth)
        self.tail = _tail(scale, width, growth)

    def forward(self, lr: Tensor) -> Tensor:
        x = self.first(lr - self.mean)
        return self.tail(x + self.body(self.second(x))) + self.mean
