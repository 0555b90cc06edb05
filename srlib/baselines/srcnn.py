"""SRCNN: the first convolutional network for super-resolution.

C. Dong, C. C. Loy, K. He, X. Tang, "Image Super-Resolution Using Deep Convolutional Networks", TPAMI 2016.
f1-f2-f3 of the paper = kernels 9-5-5, n1, n2 = 64, 32: 57,184 weights, the version that later tables quote.

Departures: "same" zero padding instead of valid convolutions, so that the output has the full size; trained with Adam
like every baseline here, not SGD with a tenth of the rate in the last layer.
"""

from torch import Tensor, nn

from srlib.nn.bicubic import upsample_bicubic
from srlib.nn.blocks import conv


class SRCNN(nn.Module):
    """Luma `(N, 1, H, W)` in 0..1 -> luma `(N, 1, scale*H, scale*W)`.

    padding_mode: of the convolutions, "zeros", or "replicate" as in the authors' test code.
    """

    channels = 1

    def __init__(self, scale: int, padding_mode: str = "zeros"):
        super().__init__()
        self.scale = scale
        self.context = 4 + -(-8 // scale)
        self.extraction = conv(1, 64, 9, padding_mode=padding_mode)
        self.mapping = conv(64, 32, 5, padding_mode=padding_mode)
        self.reconstruction = conv(32, 1, 5, padding_mode=padding_mode)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, lr: Tensor) -> Tensor:
        x = upsample_bicubic(lr, self.scale)  # (N, 1, sH, sW)
        x = self.activation(self.extraction(x))  # (N, 64, sH, sW)
        x = self.activation(self.mapping(x))  # (N, 32, sH, sW)
        return self.reconstruction(x)  # (N, 1, sH, sW)
