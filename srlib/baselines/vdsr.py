"""VDSR: twenty convolutions on the bicubic image, which predict the residual.

J. Kim, J. K. Lee, K. M. Lee, "Accurate Image Super-Resolution Using Very Deep Convolutional Networks", CVPR 2016.
d = 20 layers of 64 channels, 3x3, ReLU: 664,704 weights, 665,921 parameters (RGB: 668,227).

Departures: Adam with a norm clip instead of SGD with rate 0.1 and the paper's adjustable clip; one network per scale
instead of one for all scales. Scale 1, for pairs of equal size, takes the image as it is.
"""

from torch import Tensor, nn

from srlib.nn.bicubic import upsample_bicubic
from srlib.nn.blocks import conv, init_he


class VDSR(nn.Module):
    """`(N, channels, H, W)` in 0..1 -> `(N, channels, scale*H, scale*W)`.

    channels: 1 for luma, 3 for RGB. depth: convolutions. width: their channels.
    """

    def __init__(self, scale: int, channels: int = 1, depth: int = 20, width: int = 64):
        super().__init__()
        self.scale, self.channels = scale, channels
        self.context = 4 + -(-depth // scale)
        body = [layer for _ in range(depth - 2) for layer in (conv(width, width), nn.ReLU(True))]
        self.layers = nn.Sequential(conv(channels, width), nn.ReLU(True), *body, conv(width, channels))
        init_he(self)
        # Otherwise the first residual is as large as the image, and Adam needs hundreds of steps to shrink it.
        nn.init.normal_(self.layers[-1].weight, std=0.001)

    def forward(self, lr: Tensor) -> Tensor:
        x = upsample_bicubic(lr, self.scale)  # (N, C, sH, sW)
        return x + self.layers(x)
