"""RDN: residual dense blocks, whose outputs are fused at the end.

Y. Zhang et al., "Residual Dense Network for Image Super-Resolution", CVPR 2018. Layers as in EDSR-PyTorch's version, which
differs from the authors' only in the tail of narrow variants.

    lr - mean -> F-1 -> F0 -> dense blocks F1..FD -> 1x1 of all, 3x3 -> + F-1 -> sub-pixel tail -> + mean

Departure: the mean colour is subtracted first and added last.

Paper's symbol -> here: D -> `blocks`; C -> `layers`; G -> `growth`; G0 -> `width`.

Defaults, D 16, C 8, G 64: x2 22,123,395, x3 22,308,035, x4 22,271,107. The small one, D 20, C 6, G 32: x4 5,578,787.
D2C-SR prints 6.02M for its RDN, which is no known configuration; D 7, C 6, G 64 has 6,024,387 at x4.
"""

import torch
from torch import Tensor, nn

from srlib.nn.blocks import FusedBlocks, conv, factors, mean_colour, tail_context


class DenseBlock(nn.Module):
    """Residual dense block (section 3.3): `layers` densely connected convolutions, 1x1 fusion, plus the input."""

    def __init__(self, width: int, layers: int, growth: int):
        super().__init__()
        self.layers = nn.ModuleList(conv(width + i * growth, growth) for i in range(layers))
        self.fusion = conv(width + layers * growth, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        features = x  # (N, G0, H, W)
        for layer in self.layers:
            features = torch.cat([features, torch.relu(layer(features))], dim=1)  # G more channels each
        return x + self.fusion(features)  # (N, G0, H, W)


class DenseBlocks(FusedBlocks):
    """Dense blocks in sequence and the fusion of all their outputs, 1x1 and 3x3 (section 3.4)."""

    def __init__(self, blocks: int, width: int, layers: int, growth: int):
        dense = [DenseBlock(width, layers, growth) for _ in range(blocks)]
        super().__init__(dense, nn.Sequential(conv(blocks * width, width, 1), conv(width, width)))


def _tail(scale: int, width: int, growth: int) -> nn.Sequential:
    layers, channels = [], width
    for factor in factors(scale):
        layers += [conv(channels, growth * factor**2), nn.PixelShuffle(factor)]
        channels = growth
    return nn.Sequential(*layers, conv(channels, 3))


class RDN(nn.Module):
    """RGB `(N, 3, H, W)` in 0..1 -> RGB `(N, 3, scale*H, scale*W)`. Arguments: see the symbols above."""

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
        x = self.first(lr - self.mean)  # F-1, (N, G0, H, W)
        return self.tail(x + self.body(self.second(x))) + self.mean  # (N, 3, sH, sW)
