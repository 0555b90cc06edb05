"""What the progressive networks share: LapSRN's layers, its initialisation, and the context of unrolled levels.

W.-S. Lai, J.-B. Huang, N. Ahuja, M.-H. Yang, "Deep Laplacian Pyramid Networks for Fast and Accurate Super-Resolution", CVPR
2017.
"""

import torch
from torch import nn

from srlib.core.errors import SRError

SLOPE = 0.2  # of LeakyReLU


def bilinear() -> nn.ConvTranspose2d:
    """Return a 4x4 transposed convolution of stride 2 for one channel, initialised to bilinear interpolation."""
    layer = nn.ConvTranspose2d(1, 1, 4, stride=2, padding=1, bias=False)
    line = torch.tensor([0.25, 0.75, 0.75, 0.25])
    with torch.no_grad():
        layer.weight.copy_((line[:, None] * line)[None, None])
    return layer


def doublings(scale: int) -> int:
    """Return how many doublings make a scale; raises SRError where it is no power of two."""
    if scale < 2 or scale & (scale - 1):
        raise SRError(f"scale (={scale}) must be a power of two: 2, 4, 8, ...")
    return scale.bit_length() - 1


def double(width: int, padding: int = 1) -> nn.ConvTranspose2d:
    """Return a 3x3 transposed convolution of stride 2, which doubles the size of features exactly.

    padding: 1, or 0 for an output aligned to the first pixel, with an extra row and column.
    """
    return nn.ConvTranspose2d(width, width, 3, stride=2, padding=padding, output_padding=padding)


def initialise(network: nn.Module, last: nn.Conv2d) -> None:
    """Initialise for LeakyReLU (He), biases zero; `last`, which predicts the residual, near zero. `bilinear` is kept."""
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)) and layer.bias is not None:
            nn.init.kaiming_normal_(layer.weight, a=SLOPE, nonlinearity="leaky_relu")
            nn.init.zeros_(layer.bias)
    nn.init.normal_(last.weight, std=0.001)


def context(reach: int, levels: int) -> int:
    """Return the receptive field, in LR pixels to each side, of `levels` doublings that each reach `reach` input pixels."""
    return sum(-(-reach // 2**level) for level in range(levels))
