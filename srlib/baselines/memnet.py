"""MemNet: persistent memory network.

Y. Tai, J. Yang, X. Liu, C. Xu, "MemNet: A Persistent Memory Network for Image Restoration", ICCV 2017 (tyshiwo/MemNet).

    bicubic(lr) -> entry -> 6 memory blocks -> exit -> + bicubic(lr)

    memory block:  a residual unit, 6 times with the same weights; a gate, 1x1, over all 6 results and the outputs of all
                   memory blocks before it ("short-term" and "long-term" memory)

Every convolution but the first stands after batch normalisation and ReLU (in the code the first one too, which cuts off the
darker half of the image). A recursion shares its convolutions, not its normalisations.
Memories after the entry are 64 channels; 676,992 weights of convolutions.

Departure: the basic network; MemNet_M6's multi-supervision of all six memories is left out, and so are its ensemble weights.
"""

import torch
from torch import Tensor, nn

from srlib.nn.bicubic import upsample_bicubic


class Activation(nn.Sequential):
    """Batch normalisation and ReLU, in front of a convolution."""

    def __init__(self, width: int):
        super().__init__(nn.BatchNorm2d(width), nn.ReLU())


class Memory(nn.Module):
    """`recursions` passes through one residual unit, then the gate over them and over `before` earlier memories."""

    def __init__(self, width: int, recursions: int, before: int):
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(Activation(width) for _ in range(2 * recursions))
        remembered = (recursions + before) * width
        self.gate = nn.Sequential(Activation(remembered), nn.Conv2d(remembered, width, 1, bias=False))

    def forward(self, x: Tensor, memories: list[Tensor]) -> Tensor:
        passed = []
        for one, two in zip(self.norms[::2], self.norms[1::2], strict=True):
            x = x + self.second(two(self.first(one(x))))
            passed.append(x)
        return self.gate(torch.cat([*passed, *memories], dim=1))


class MemNet(nn.Module):
    """Luma `(N, 1, H, W)` in 0..1 -> luma `(N, 1, scale*H, scale*W)`. blocks, recursions: memories, passes of each."""

    channels = 1

    def __init__(self, scale: int, blocks: int = 6, recursions: int = 6, width: int = 64):
        super().__init__()
        self.scale = scale
        self.entry = nn.Conv2d(1, width, 3, padding=1, bias=False)
        self.memories = nn.ModuleList(Memory(width, recursions, before=i + 1) for i in range(blocks))
        self.exit = nn.Sequential(Activation(width), nn.Conv2d(width, 1, 3, padding=1, bias=False))
        reach = 2 + 2 * blocks * recursions  # HR pixels, all layers work there
        self.context = -(-reach // scale) + 4
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)
        nn.init.normal_(self.exit[-1].weight, std=1e-3)  # an untrained network is nearly bicubic

    def forward(self, lr: Tensor) -> Tensor:
        base = upsample_bicubic(lr, self.scale)
        memories = [self.entry(base)]
        for memory in self.memories:
            memories.append(memory(memories[-1], memories))
        return base + self.exit(memories[-1])
