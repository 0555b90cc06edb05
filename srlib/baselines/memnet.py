"""MemNet: persistent memory network.

Y. Tai, J. Yang, X. Liu, C. Xu, "MemNet: A Persistent Memory Network for Image Restoration", ICCV 2017 (tyshiwo/MemNet).

    bicubic(lr) -> entry -> 6 memory blocks -> exit -> + bicubic(lr)

    memory block:  a residual unit, 6 times with the same weights; a 1x1 gate over all 6 outputs and the outputs of all
                   memory blocks before it ("short-term" and "long-term" memory)

Every convolution but the first follows batch normalisation and ReLU (in the code the first one too, which cuts off the darker
half of the image). Recursions share convolutions, not normalisations. 64 channels; 676,992 weights of convolutions.

Departure: the basic network; MemNet_M6's multi-supervision of all six memories is left out, and so are its ensemble weights.
"""

import torch
from torch import Tensor, nn

from srlib.nn.bicubic import upsample_bicubic
from srlib.nn.blocks import conv, init_he


class Activation(nn.Sequential):
    """Batch normalisation and ReLU, in front of a convolution."""

    def __init__(self, width: int):
        super().__init__(nn.BatchNorm2d(width), nn.ReLU())


class Memory(nn.Module):
    """`recursions` passes through one residual unit, then the gate over their outputs and `before` earlier memories."""

    def __init__(self, width: int, recursions: int, before: int):
        super().__init__()
        self.first = conv(width, width, bias=False)
        self.second = conv(width, width, bias=False)
        self.norms = nn.ModuleList(Activation(width) for _ in range(2 * recursions))
        gated = (recursions + before) * width
        self.gate = nn.Sequential(Activation(gated), conv(gated, width, 1, bias=False))

    def forward(self, x: Tensor, memories: list[Tensor]) -> Tensor:
        short_term = []
        for norm1, norm2 in zip(self.norms[::2], self.norms[1::2], strict=True):
            x = x + self.second(norm2(self.first(norm1(x))))  # (N, 64, sH, sW)
            short_term.append(x)
        return self.gate(torch.cat([*short_term, *memories], dim=1))  # (N, 64, sH, sW)


class MemNet(nn.Module):
    """Luma `(N, 1, H, W)` in 0..1 -> luma `(N, 1, scale*H, scale*W)`. blocks: memory blocks. recursions:
    of each. width: channels."""

    channels = 1

    def __init__(self, scale: int, blocks: int = 6, recursions: int = 6, width: int = 64):
        super().__init__()
        self.scale = scale
        self.entry = conv(1, width, bias=False)
        self.memories = nn.ModuleList(Memory(width, recursions, before=i + 1) for i in range(blocks))
        self.exit = nn.Sequential(Activation(width), conv(width, 1, bias=False))
        reach = 2 + 2 * blocks * recursions  # in HR pixels, where all layers work
        self.context = -(-reach // scale) + 4
        init_he(self)
        nn.init.normal_(self.exit[-1].weight, std=1e-3)  # a fresh network is nearly bicubic

    def forward(self, lr: Tensor) -> Tensor:
        base = upsample_bicubic(lr, self.scale)  # (N, 1, sH, sW)
        memories = [self.entry(base)]
        for memory in self.memories:
            memories.append(memory(memories[-1], memories))
        return base + self.exit(memories[-1])
