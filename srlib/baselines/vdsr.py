"""VDSR: twenty convolutions on the bicubic image, which predict the residual.

J. Kim, J. K. Lee, K. M. Lee, "Accurate Image Super-Resolution Using Very Deep Convolutional Networks", CVPR 2016.
d = 20 layers of 64 channels, 3x3, ReLU: 664,704 weights, 665,921 parameters (RGB: 668,227).

Departures: Adam with a norm clip instead of SGD with rate 0.1 and the paper's adjustable clip; one network per scale
instead of one for all scales. Scale 1, for pairs of one size, takes the image as it is.
"""

from torch import Tensor, nn

from srlib.nn.bicubic import upsample_bicubic


class VDSR(nn.Module):
    def __init__(self, scale: int, channels: int = 1, depth: int = 20, width: int = 64):
        super().__init__()
        self.scale, self.channels = scale, channels
        self.context = 4 + -(-depth // scale)
        body = [layer for _ in range(depth - 2) for layer in (nn.Conv2d(width, width, 3, padding=1), nn.ReLU(True))]
        self.layers = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(True), *body, nn.Conv2d(width, channels, 3, padding=1)
        )
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)
        # Without this the first step's residual has the size of the image, and Adam needs hundreds of steps to shed it.
        nn.init.normal_(self.layers[-1].weight, std=0.001)

    def forward(self, lr: Tensor) -> Tensor:
        x = upsample_bicubic(lr, self.scale)
        return x + self.layers(x)
