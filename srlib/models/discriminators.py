"""The discriminators of SRGAN and ProSRGAN: `discriminator(name)`.

C. Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network", CVPR 2017; P. Isola et
al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017 (PatchGAN).

Both see an image and the LR image that it belongs to, and return logits: above 0 for "real".

Choices where ProSRN's paper is silent ("adapted from SRGAN", PatchGAN, patch size not printed): SRGAN's eight convolutions, its
dense layers replaced by a convolution to one channel, 4,692,545 parameters, each logit judges 93x93 pixels. The residual that
it looks at is the image minus the *bicubic* enlargement of LR, the same for real and fake: with the generator's own, trained
enlargement, the generator could move what is called real.
"""

from torch import Tensor, nn

from srlib.errors import SRError, unknown
from srlib.models.bicubic import upsample_bicubic

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


DISCRIMINATORS: dict[str, type[nn.Module]] = {"patch": PatchDiscriminator, "image": ImageDiscriminator}


def check_discriminator(name: str, args: dict) -> None:
    """Raise SRError for an unknown name or an argument that a discriminator does not take."""
    if name not in DISCRIMINATORS:
        raise unknown("discriminator", name, DISCRIMINATORS)
    for arg in args:
        if arg != "width":
            raise unknown(f"argument of discriminator {name!r}:", arg, ["width"])


def discriminator(name: str, channels: int, **args) -> nn.Module:
    """Build a discriminator for images of `channels` channels; args: `width`. Raises what `check_discriminator` does."""
    check_discriminator(name, args)
    return DISCRIMINATORS[name](channels, **args)
