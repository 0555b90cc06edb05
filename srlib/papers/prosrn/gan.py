"""Adversarial training of SRGAN and ProSRGAN: discriminators and losses.

C. Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network", CVPR 2017; P. Isola et
al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017 (PatchGAN).

Both see an image and the LR image that it belongs to, and return logits: above 0 for "real".

Choices where ProSRN's paper is silent ("adapted from SRGAN", PatchGAN, patch size not printed): SRGAN's eight convolutions, its
dense layers replaced by a convolution to one channel, 4,692,545 parameters, each logit judges 93x93 pixels. The residual that
it looks at is the image minus the *bicubic* enlargement of LR, the same for real and fake: with the generator's own, trained
enlargement, the generator could move what is called real.
"""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from srlib.core.errors import SRError
from srlib.nn.bicubic import upsample_bicubic
from srlib.train.losses import Adversarial

SMALLEST = 16  # pixels; four strides of two leave one


def _convolutions(channels: int, width: int) -> nn.Sequential:
    """Return SRGAN's eight convolutions: 64, 64/2, 128, 128/2, 256, 256/2, 512, 512/2, normalised but for the first."""
    layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1), nn.LeakyReLU(0.2)]
    before = width
    for i in range(1, 8):
        after = width * 2 ** (i // 2)
        convolution = nn.Conv2d(before, after, 3, stride=1 + i % 2, padding=1)
        layers += [convolution, nn.BatchNorm2d(after), nn.LeakyReLU(0.2)]
        before = after
    return nn.Sequential(*layers)


def _check(image: Tensor) -> None:
    height, width = image.shape[-2:]
    if min(height, width) < SMALLEST:
        raise SRError(
            f"a discriminator needs images of at least {SMALLEST}x{SMALLEST} pixels at every level, got {height}x{width}; "
            "give a larger hr_patch"
        )


class PatchDiscriminator(nn.Module):
    """ProSRGAN: luma `(N, 1, H, W)` and its LR -> logits `(N, 1, H/16, W/16)`, one for each patch of the residual."""

    def __init__(self, channels: int = 1, width: int = 64):
        super().__init__()
        self.features = _convolutions(channels, width)
        self.head = nn.Conv2d(8 * width, 1, 3, padding=1)

    def forward(self, image: Tensor, lr: Tensor) -> Tensor:
        _check(image)
        return self.head(self.features(image - upsample_bicubic(lr, image.shape[-1] // lr.shape[-1])))


class ImageDiscriminator(nn.Module):
    """SRGAN: RGB `(N, 3, H, W)` -> logits `(N, 1)`, whatever its LR is.

    The paper's patches of 96 px arrive at the dense layers as 6x6 maps; those of other sizes are pooled to that.
    """

    def __init__(self, channels: int = 3, width: int = 64):
        super().__init__()
        self.features = _convolutions(channels, width)
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(6), nn.Flatten(), nn.Linear(8 * width * 36, 1024), nn.LeakyReLU(0.2), nn.Linear(1024, 1)
        )

    def forward(self, image: Tensor, lr: Tensor) -> Tensor:
        _check(image)
        return self.head(self.features(image))


def adversarial_bce(logits: Tensor, real: bool) -> Tensor:
    """Return the mean cross entropy of a discriminator's logits against "real", or against "fake", for all of them."""
    return F.softplus(-logits if real else logits).mean()


def discriminator_loss(net: Callable, fakes: list[Tensor], reals: list[Tensor], lr: Tensor) -> Tensor:
    """Return what a discriminator minimises: over all levels, HR is real and the generator's image is fake."""
    pairs = zip(fakes, reals, strict=True)
    return sum(adversarial_bce(net(real, lr), True) + adversarial_bce(net(fake.detach(), lr), False) for fake, real in pairs)


def generator_loss(net: Callable, fakes: list[Tensor], lr: Tensor) -> Tensor:
    """Return the adversarial term of the generator, over all levels: its image is to be called real (Goodfellow et al. 2014, the
    form that does not saturate)."""
    return sum(adversarial_bce(net(fake, lr), True) for fake in fakes)


PATCH = Adversarial(PatchDiscriminator, discriminator_loss, generator_loss)
IMAGE = Adversarial(ImageDiscriminator, discriminator_loss, generator_loss)
