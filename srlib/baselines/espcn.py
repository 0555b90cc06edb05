"""ESPCN: all layers at low resolution, then a sub-pixel shuffle.

W. Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural
Network", CVPR 2016. Kernels 5-3-3, 64 and 32 channels, tanh; the periodic shuffle PS is `nn.PixelShuffle`.

Departures: "same" zero padding; trained with Adam.
"""

from torch import Tensor, nn

from srlib.nn.blocks import conv


class ESPCN(nn.Module):
    """Luma `(N, 1, H, W)` in 0..1 -> luma `(N, 1, scale*H, scale*W)`."""

    channels = 1
    context = 2 + 1 + 1

    def __init__(self, scale: int):
        super().__init__()
        self.scale = scale
        self.features = nn.Sequential(conv(1, 64, 5), nn.Tanh(), conv(64, 32), nn.Tanh())
        self.subpixel = nn.Sequential(conv(32, scale**2), nn.PixelShuffle(scale))

    def forward(self, lr: Tensor) -> Tensor:
        x = self.features(lr)  # (N, 32, H, W)
        return self.subpixel(x)  # (N, 1, sH, sW)
