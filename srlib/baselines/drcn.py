"""DRCN: one convolution applied sixteen times; the output is a weighted mean of the predictions from every recursion.

J. Kim, J. K. Lee, K. M. Lee, "Deeply-Recursive Convolutional Network for Image Super-Resolution", CVPR 2016.

    bicubic -> embed (2) -> recurse (1, sixteen times) -> after each: reconstruct (2) + bicubic = prediction d
    output = sum of weights_d * prediction_d

256 channels, ReLU: 1,774,080 weights, depth 20.

Departures: the losses of the sixteen predictions and of their mean count equally, instead of a decaying share; Adam instead
of SGD; one network per scale.
"""

import torch
from torch import Tensor, nn

from srlib.core.errors import check_int
from srlib.nn.bicubic import upsample_bicubic
from srlib.nn.blocks import conv, init_he


class DRCN(nn.Module):
    """Luma `(N, 1, H, W)` in 0..1 -> luma `(N, 1, scale*H, scale*W)`; in training all predictions, then their mean.

    recursions: of the shared convolution. width: channels.
    """

    channels = 1

    def __init__(self, scale: int, recursions: int = 16, width: int = 256):
        super().__init__()
        self.scale, self.recursions = scale, check_int("recursions", recursions, 1)
        self.context = 4 + -(-(recursions + 4) // scale)
        self.embed = nn.Sequential(conv(1, width), nn.ReLU(True), conv(width, width), nn.ReLU(True))
        self.recurse = nn.Sequential(conv(width, width), nn.ReLU(True))
        self.reconstruct = nn.Sequential(conv(width, width), nn.ReLU(True), conv(width, 1))
        self.weights = nn.Parameter(torch.full((recursions,), 1 / recursions))
        init_he(self)
        nn.init.normal_(self.reconstruct[-1].weight, std=0.001)
        nn.init.dirac_(self.recurse[0].weight)  # identity, as in the paper

    def forward(self, lr: Tensor) -> Tensor | list[Tensor]:
        base = upsample_bicubic(lr, self.scale)  # (N, 1, sH, sW)
        h, predictions = self.embed(base), []  # (N, 256, sH, sW)
        for _ in range(self.recursions):
            h = self.recurse(h)
            predictions.append(base + self.reconstruct(h))  # (N, 1, sH, sW)
        mean = sum(weight * prediction for weight, prediction in zip(self.weights, predictions, strict=True))
        return [*predictions, mean] if self.training else mean
