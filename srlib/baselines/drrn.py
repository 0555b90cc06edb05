"""DRRN: one residual unit of two convolutions used twenty-five times, each time with the block's input added.

Y. Tai, J. Yang, X. Liu, "Image Super-Resolution via Deep Recursive Residual Network", CVPR 2017 (the network B1U25).

    bicubic -> entry -> H_0;  H_u = unit(H_{u-1}) + H_0,  u = 1..25;  exit(H_25) + bicubic

128 channels: 297,216 weights, 52 convolutions passed in a row.

Departures: no batch normalisation, so that an image does not depend on what is beside it in a batch or tile; Adam instead
of SGD; one network per scale.
"""

import torch
from torch import Tensor, nn

from srlib.core.errors import SRError
from srlib.nn.bicubic import upsample_bicubic


class DRRN(nn.Module):
    """Luma `(N, 1, H, W)` in 0..1 -> luma `(N, 1, scale*H, scale*W)`. units: uses of the one unit. width: channels.
    rectified: ReLUs in place, as in ports of the original: they rectify what is added behind each unit, too."""

    channels = 1

    def __init__(self, scale: int, units: int = 25, width: int = 128, rectified: bool = False):
        super().__init__()
        if units < 1:
            raise SRError(f"units (={units}) must be at least 1")
        self.scale, self.units, self.rectified = scale, units, rectified
        self.context = 4 + -(-(2 * units + 2) // scale)
        self.entry = nn.Conv2d(1, width, 3, padding=1)
        self.unit = nn.Sequential(
            nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)
        )
        self.exit = nn.Sequential(nn.ReLU(), nn.Conv2d(width, 1, 3, padding=1))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)
        # Small at first: the unit is applied to its own output, and a gain above one would be taken to the 25th power.
        nn.init.normal_(self.unit[-1].weight, std=0.001)
        nn.init.normal_(self.exit[-1].weight, std=0.001)

    def forward(self, lr: Tensor) -> Tensor:
        base = upsample_bicubic(lr, self.scale)
        source = h = self.entry(torch.relu(base)).relu() if self.rectified else self.entry(base)
        for _ in range(self.units):
            h = self.unit(h) + source
        return base + self.exit(h)
