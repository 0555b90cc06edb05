"""What the progressive networks share: LapSRN's slope, its interpolating layer, and how far unrolled levels look."""

import torch
from torch import nn

SLOPE = 0.2


def bilinear() -> nn.ConvTranspose2d:
    """Return a transposed convolution 4x4 of stride 2 for one channel, which interpolates linearly until it is trained."""
    layer = nn.ConvTranspose2d(1, 1, 4, stride=2, padding=1, bias=False)
    line = torch.tensor([0.25, 0.75, 0.75, 0.25])
    with torch.no_grad():
        layer.weight.copy_((line[:, None] * line)[None, None])
    return layer


def double(width: int, padding: int = 1) -> nn.ConvTranspose2d:
    """Return the transposed convolution 3x3 that enlarges features to exactly twice their size.

    padding: 1; with 0 it is aligned to the first pixel, and gives a row and a column more.
    """
    return nn.ConvTranspose2d(width, width, 3, stride=2, padding=padding, output_padding=padding)


def initialise(network: nn.Module, last: nn.Conv2d) -> None:
    """He initialisation for LeakyReLU, no bias, and nearly nothing from the layer that predicts a residual."""
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)) and layer.bias is not None:
            nn.init.kaiming_normal_(layer.weight, a=SLOPE, nonlinearity="leaky_relu")
            nn.init.zeros_(layer.bias)
    nn.init.normal_(last.weight, std=0.001)


def context(reach: int, levels: int) -> int:
    """Return how many LR pixels `levels` networks in a row look at, each of which looks at `reach` pixels of its input."""
    return sum(-(-reach // 2**level) for level in range(levels))
