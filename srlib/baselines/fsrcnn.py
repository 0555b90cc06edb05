"""FSRCNN: SRCNN moved to low resolution, with a transposed convolution at the end.

C. Dong, C. C. Loy, X. Tang, "Accelerating the Super-Resolution Convolutional Neural Network", ECCV 2016.
(d, s, m) of the paper = (56, 12, 4): 12,464 weights, 12,809 parameters with biases and PReLU slopes.

Departures: trained with Adam, one rate for all layers (the paper: SGD, a tenth of the rate in the last layer).
"""

from torch import Tensor, nn

from srlib.nn.blocks import conv, init_he


class FSRCNN(nn.Module):
    """Luma `(N, 1, H, W)` in 0..1 -> luma `(N, 1, scale*H, scale*W)`.

    d, s, m: as in the paper. padding_mode: of the convolutions, "zeros", or "replicate" as in the authors' test code. padding: of
    the transposed convolution, which aligns the output.
    """

    channels = 1

    def __init__(self, scale: int, d: int = 56, s: int = 12, m: int = 4, padding_mode: str = "zeros", padding: int = 4):
        super().__init__()
        self.scale = scale
        self.context = 2 + m + 5  # 5x5, m times 3x3, 9x9 at the output
        mapping = [layer for _ in range(m) for layer in (conv(s, s, padding_mode=padding_mode), nn.PReLU(s))]
        self.extraction = nn.Sequential(conv(1, d, 5, padding_mode=padding_mode), nn.PReLU(d))
        self.shrinking = nn.Sequential(conv(d, s, 1), nn.PReLU(s))
        self.mapping = nn.Sequential(*mapping)
        self.expanding = nn.Sequential(conv(s, d, 1), nn.PReLU(d))
        self.deconvolution = nn.ConvTranspose2d(d, 1, 9, stride=scale, padding=padding, output_padding=scale + 2 * padding - 9)
        init_he(self, slope=0.25)
        nn.init.normal_(self.deconvolution.weight, std=0.001)
        nn.init.zeros_(self.deconvolution.bias)

    def forward(self, lr: Tensor) -> Tensor:
        x = self.extraction(lr)  # (N, d, H, W)
        x = self.mapping(self.shrinking(x))  # (N, s, H, W)
        return self.deconvolution(self.expanding(x))  # (N, 1, sH, sW)
