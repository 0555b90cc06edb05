"""IMDN: blocks that set a quarter of their channels aside after each convolution and refine the rest.

Z. Hui, X. Gao, Y. Yang, X. Wang, "Lightweight Image Super-Resolution with Information Multi-distillation Network", ACM
Multimedia 2019. Layers as in the authors' code: LeakyReLU 0.05, six blocks of 64 channels.
Parameters: x2 694,404, x3 703,059, x4 715,176. D2C-SR prints 0.874M for its IMDN, which is no known configuration.

The attention takes means and deviations over the whole image, so `context` is None.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srlib.core.errors import SRError
from srlib.nn.blocks import FusedBlocks, conv

SLOPE = 0.05


class ContrastAttention(nn.Module):
    """Scale each channel by a weight in 0..1, predicted from mean plus standard deviation of all channels (section 3.3)."""

    def __init__(self, width: int):
        super().__init__()
        inner = max(1, width // 16)
        self.weigh = nn.Sequential(conv(width, inner, 1), nn.ReLU(True), conv(inner, width, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        variance, mean = torch.var_mean(x, dim=(-2, -1), keepdim=True, correction=0)
        return x * self.weigh(mean + (variance + 1e-8).sqrt())  # weights (N, C, 1, 1)


class Distillation(nn.Module):
    """Information multi-distillation block (Figure 3): four convolutions, a quarter of the first three's output set aside."""

    def __init__(self, width: int):
        if width % 4:
            raise SRError(f"width (={width}) of IMDN must be divisible by 4: its blocks keep a quarter of their channels")
        super().__init__()
        kept, refined = width // 4, width - width // 4
        self.split = [kept, refined]
        self.layers = nn.ModuleList([conv(width, width), conv(refined, width), conv(refined, width)])
        self.last = conv(refined, kept)
        self.attention = ContrastAttention(width)
        self.fusion = conv(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        refined, distilled = x, []
        for layer in self.layers:
            part, refined = F.leaky_relu(layer(refined), SLOPE).split(self.split, dim=1)  # (N, C/4, H, W), (N, 3C/4, H, W)
            distilled.append(part)
        distilled.append(self.last(refined))
        return x + self.fusion(self.attention(torch.cat(distilled, dim=1)))  # (N, C, H, W)


class Distillations(FusedBlocks):
    """Blocks in sequence, and a 1x1 convolution with LeakyReLU over all their outputs."""

    def __init__(self, blocks: int, width: int):
        distillations = [Distillation(width) for _ in range(blocks)]
        super().__init__(distillations, nn.Sequential(conv(blocks * width, width, 1), nn.LeakyReLU(SLOPE, True)))


def shuffle_tail(scale: int, width: int) -> nn.Sequential:
    """Return one convolution to `3 * scale**2` channels and a pixel shuffle to RGB."""
    return nn.Sequential(conv(width, 3 * scale**2), nn.PixelShuffle(scale))


class IMDN(nn.Module):
    """RGB `(N, 3, H, W)` in 0..1 -> RGB `(N, 3, scale*H, scale*W)`. blocks, width: blocks and their channels."""

    channels = 3
    context = None

    def __init__(self, scale: int, blocks: int = 6, width: int = 64):
        super().__init__()
        self.scale = scale
        self.tail = shuffle_tail(scale, width)
        self.head = conv(3, width)
        self.body = nn.Sequential(Distillations(blocks, width), conv(width, width))

    def forward(self, lr: Tensor) -> Tensor:
        x = self.head(lr)  # (N, 64, H, W)
        return self.tail(x + self.body(x))  # (N, 3, sH, sW)
