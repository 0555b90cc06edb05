"""DRRN: one residual unit of two convolutions, applied twenty-five times, each time with the block's input added.

Y. Tai, J. Yang, X. Liu, "Image Super-Resolution via Deep Recursive Residual Network", CVPR 2017 (the network B1U25).

    bicubic -> entry -> H_0;  H_u = unit(H_{u-1}) + H_0,  u = 1..25;  exit(H_25) + bicubic

128 channels: 297,216 weights, depth 52.

Departures: no batch normalisation, so that the output for an image does not depend on the rest of a batch or tile; Adam
instead of SGD; one network per scale.
"""

from torch import Tensor, nn

from srlib.core.errors import check_int
from srlib.nn.bicubic import upsample_bicubic
from srlib.nn.blocks import conv, init_he


class DRRN(nn.Module):
    """Luma `(N, 1, H, W)` in 0..1 -> luma `(N, 1, scale*H, scale*W)`.

    units: passes through the unit. width: channels. rectified: in-place ReLUs, as in ports of the original, which rectify the
    bicubic image and H_0 as well.
    """

    channels = 1

    def __init__(self, scale: int, units: int = 25, width: int = 128, rectified: bool = False):
        super().__init__()
        self.scale, self.units, self.rectified = scale, check_int("units", units, 1), rectified
        self.context = 4 + -(-(2 * units + 2) // scale)
        self.entry = conv(1, width)
        self.unit = nn.Sequential(nn.ReLU(), conv(width, width), nn.ReLU(), conv(width, width))
        self.exit = nn.Sequential(nn.ReLU(), conv(width, 1))
        init_he(self)
        # Near zero: the unit is applied to its own output, and a gain above one would be raised to the 25th power.
        nn.init.normal_(self.unit[-1].weight, std=0.001)
        nn.init.normal_(self.exit[-1].weight, std=0.001)

    def forward(self, lr: Tensor) -> Tensor:
        base = upsample_bicubic(lr, self.scale)  # (N, 1, sH, sW)
        h0 = h = self.entry(base.relu()).relu() if self.rectified else self.entry(base)  # (N, 128, sH, sW)
        for _ in range(self.units):
            h = self.unit(h) + h0
        return base + self.exit(h)  # (N, 1, sH, sW)
