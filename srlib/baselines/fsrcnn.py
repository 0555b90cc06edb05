"""FSRCNN: SRCNN moved to low resolution, with a transposed convolution at the end.

C. Dong, C. C. Loy, X. Tang, "Accelerating the Super-Resolution Convolutional Neural Network", ECCV 2016.
(d, s, m) of the paper = (56, 12, 4): 12,464 weights, 12,809 parameters with biases and PReLU slopes.

Departures: trained with Adam, one rate for all layers (the paper: SGD, a tenth of the rate in the last layer).
"""

from torch import Tensor, nn


class FSRCNN(nn.Module):
    """Luma `(N, 1, H, W)` in 0..1 -> luma `(N, 1, scale*H, scale*W)`.

    padding_mode: of the convolutions, "zeros", or "replicate" as in the authors' test code. padding: of the transposed
    convolution; it aligns the output.
    """

    channels = 1

    def __init__(self, scale: int, d: int = 56, s: int = 12, m: int = 4, padding_mode: str = "zeros", padding: int = 4):
        super().__init__()
        self.scale = scale
        self.context = 2 + m + 5  # of 5x5, the 3x3s, and 9x9 of the output
        mapping = [layer for _ in range(m) for layer in (nn.Conv2d(s, s, 3, padding=1, padding_mode=padding_mode), nn.PReLU(s))]
        self.extraction = nn.Sequential(nn.Conv2d(1, d, 5, padding=2, padding_mode=padding_mode), nn.PReLU(d))
        self.shrinking = nn.Sequential(nn.Conv2d(d, s, 1), nn.PReLU(s))
        self.mapping = nn.Sequential(*mapping)
        self.expanding = nn.Sequential(nn.Conv2d(s, d, 1), nn.PReLU(d))
        self.deconvolution = nn.ConvTranspose2d(d, 1, 9, stride=scale, padding=padding, output_padding=scale + 2 * padding - 9)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, a=0.25)
                nn.init.zeros_(layer.bias)
        nn.init.normal_(self.deconvolution.weight, std=0.001)
        nn.init.zeros_(self.deconvolution.bias)

    def forward(self, lr: Tensor) -> Tensor:
        x = self.extraction(lr)
        x = self.expanding(self.mapping(self.shrinking(x)))
        return self.deconvolution(x)
