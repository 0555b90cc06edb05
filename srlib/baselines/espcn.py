"""ESPCN: all layers at low resolution, then a sub-pixel shuffle.

W. Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural
Network", CVPR 2016. Kernels 5-3-3, 64 and 32 channels, tanh; the periodic shuffle PS is `nn.PixelShuffle`.

Departures: "same" zero padding; trained with Adam.
"""

from torch import Tensor, nn


class ESPCN(nn.Module):
    channels = 1
    context = 2 + 1 + 1

    def __init__(self, scale: int):
        super().__init__()
        self.scale = scale
        self.features = nn.Sequential(nn.Conv2d(1, 64, 5, padding=2), nn.Tanh(), nn.Conv2d(64, 32, 3, padding=1), nn.Tanh())
        self.subpixel = nn.Sequential(nn.Conv2d(32, scale**2, 3, padding=1), nn.PixelShuffle(scale))

    def forward(self, lr: Tensor) -> Tensor:
        return self.subpixel(self.features(lr))
