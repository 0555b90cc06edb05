"""ProSRGAN's equations 4 to 8, and the discriminators of SRGAN and ProSRGAN.

C. Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network", CVPR 2017; P. Isola et
al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017 (PatchGAN).

Paper's symbol -> here: x -> `lr`; y, G(x) -> `reals`, `fakes`, each at every level; x' -> `upsample_bicubic(lr)`; the residuals
r = y - x' and G(x) - x' -> formed in `PatchDiscriminator.forward`; D -> its logits, above 0 for "real"; L_GAN, eq. 4 ->
`discriminator_loss`, `generator_loss`; L_c with rho, eqs. 5 and 6, their sum with lambda, eq. 7, and G*, eq. 8 -> `objective`.

Choices where the paper is silent ("adapted from SRGAN", PatchGAN, patch size not printed): SRGAN's eight convolutions, its dense
layers replaced by a convolution to one channel; 4,692,545 parameters, a receptive field of 93x93 pixels. x' is fixed bicubic
interpolation: with the generator's trained up-sampling the generator could change the real residuals.
"""

from collections.abc import Callable
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from srlib.core.errors import SRError
from srlib.nn.bicubic import upsample_bicubic
from srlib.nn.blocks import conv
from srlib.train.losses import Adversarial

SMALLEST = 16  # pixels; four strides of two leave one


def _convolutions(channels: int, width: int) -> nn.Sequential:
    """Return SRGAN's eight convolutions, batch-normalised but for the first; `(N, C, H, W)` -> `(N, 8*width, H/16, W/16)`.

    Channels at width 64, s2 for stride 2: 64, 64 s2, 128, 128 s2, 256, 256 s2, 512, 512 s2.
    """
    widths = [width * 2 ** (i // 2) for i in range(8)]
    layers: list[nn.Module] = [conv(channels, width), nn.LeakyReLU(0.2)]
    for i, (before, after) in enumerate(pairwise(widths), start=1):
        layers += [nn.Conv2d(before, after, 3, stride=1 + i % 2, padding=1), nn.BatchNorm2d(after), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers)


def _check(image: Tensor) -> None:
    height, width = image.shape[-2:]
    if min(height, width) < SMALLEST:
        needed = f"a discriminator needs images of at least {SMALLEST}x{SMALLEST} pixels at every level"
        raise SRError(f"{needed}, got {height}x{width}; give a larger hr_patch")


class PatchDiscriminator(nn.Module):
    """ProSRGAN: luma `(N, 1, H, W)` in 0..1 and its LR -> logits `(N, 1, H/16, W/16)`, one per patch of the residual."""

    def __init__(self, channels: int = 1, width: int = 64):
        super().__init__()
        self.features = _convolutions(channels, width)
        self.head = conv(8 * width, 1)

    def forward(self, image: Tensor, lr: Tensor) -> Tensor:
        _check(image)
        residual = image - upsample_bicubic(lr, image.shape[-1] // lr.shape[-1])  # r, or G(x) - x'
        return self.head(self.features(residual))


class ImageDiscriminator(nn.Module):
    """SRGAN: RGB `(N, 3, H, W)` in 0..1 -> logits `(N, 1)`; LR is ignored.

    The paper's patches of 96 px reach the dense layers as 6x6 maps; other sizes are pooled to 6x6.
    """

    def __init__(self, channels: int = 3, width: int = 64):
        super().__init__()
        self.features = _convolutions(channels, width)
        dense = nn.Linear(8 * width * 36, 1024), nn.LeakyReLU(0.2), nn.Linear(1024, 1)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(6), nn.Flatten(), *dense)

    def forward(self, image: Tensor, lr: Tensor) -> Tensor:
        _check(image)
        return self.head(self.features(image))


def adversarial_bce(logits: Tensor, real: bool) -> Tensor:
    """Return the binary cross entropy of logits, mean over patches: -log D where the target is "real", -log(1 - D) otherwise."""
    return F.softplus(-logits if real else logits).mean()


def discriminator_loss(net: Callable, fakes: list[Tensor], reals: list[Tensor], lr: Tensor) -> Tensor:
    """Return -L_GAN of eq. 4, which D minimises: -log D(r) - log(1 - D(G(x) - x')), summed over levels; G gets no gradient."""
    pairs = zip(fakes, reals, strict=True)
    return sum(adversarial_bce(net(real, lr), True) + adversarial_bce(net(fake.detach(), lr), False) for fake, real in pairs)


def generator_loss(net: Callable, fakes: list[Tensor], lr: Tensor) -> Tensor:
    """Return G's term of eq. 4 in its non-saturating form (Goodfellow et al. 2014): -log D(G(x) - x'), summed over the levels."""
    return sum(adversarial_bce(net(fake, lr), True) for fake in fakes)


def objective(content: float, adversarial: float, width: int = 64) -> dict:
    """Return the fields of an `Experiment` that make its training ProSRGAN's: L = content * L_c + adversarial * L_GAN, eq. 7.

    The paper has content = lambda, adversarial = 1. L_c, eq. 5, compares r with G(x) - x': x' cancels, which leaves
    rho(y - G(x)); rho(z) = sqrt(z^2 + eps^2), eq. 6, is the loss "charbonnier". G* = arg min_G max_D L, eq. 8: steps of
    `discriminator_loss` and of L alternate. width: channels of the discriminator's first layer.
    """
    weights = {"content": content, "adversarial": adversarial}
    return {"loss": "charbonnier", "discriminator": "patch", "discriminator_args": {"width": width}, **weights}


PATCH = Adversarial(PatchDiscriminator, discriminator_loss, generator_loss)
IMAGE = Adversarial(ImageDiscriminator, discriminator_loss, generator_loss)
