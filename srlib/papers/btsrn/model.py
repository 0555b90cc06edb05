"""BTSRN: balanced two-stage residual networks.

Y. Fan et al., "Balanced Two-Stage Residual Networks for Image Super-Resolution", CVPR Workshops (NTIRE) 2017.
Where the paper is silent the authors' code decides (ychfan/sr_ntire2017, `model_resnet_up`).

Paper's symbol -> here: X_LR -> `lr`; F(X_LR; Theta) -> `residual`; B(X_LR) -> `upsample_bicubic(lr)`; low- and
high-resolution stage -> `low`, `high`; 128 nodes in, 64 (or 32) after the 1x1 -> `width`, `bottleneck`.

    lr - 0.5 -> entry 1x1 -> low blocks -> up-sampling -> high blocks -> LeakyReLU, exit 1x1 -> + bicubic(lr)

Choices where the paper is silent, as in the code: LeakyReLU 0.2 before each convolution, 1x1 first and last layers, one more
block between the two x2 up-samplings of x4, Glorot initialisation.

Departures:
- `padding="same"` (zeros) is the default; "valid", with the same parameters, is the code's: unpadded convolutions, cropped skips,
  an output smaller than scale times the patch in training, and a mirrored frame around the input in testing.
- B is MATLAB's bicubic interpolation in float; the code adds Pillow's, rounded to 8 bits.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srlib.core.errors import SRError, check_int, unknown
from srlib.nn.bicubic import upsample_bicubic
from srlib.nn.borders import crop_centre, mirror

SLOPE = 0.2


class LeakyReLU(nn.LeakyReLU):
    """LeakyReLU that keeps its output for the backward pass, which the next convolution keeps anyway, instead of its input."""

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu_(x.clone(), self.negative_slope) if x.requires_grad else super().forward(x)


class Block(nn.Module):
    """A pre-activation residual block: `body(x)` plus `x`, cropped to its size where the body does not pad."""

    def __init__(self, *body: nn.Module):
        super().__init__()
        self.body = nn.Sequential(*body)

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        return y.add_(crop_centre(x, *y.shape[-2:]))  # in place, as HR-sized tensors dominate memory


def projected(width: int, bottleneck: int, out: int, padding: int) -> list[nn.Module]:
    """Return the projected convolution: 1x1 to the bottleneck, 3x3 to `out` channels, each after a LeakyReLU."""
    first, second = nn.Conv2d(width, bottleneck, 1), nn.Conv2d(bottleneck, out, 3, padding=padding)
    return [LeakyReLU(SLOPE), first, nn.LeakyReLU(SLOPE, inplace=True), second]


class PConv(Block):
    """Projected convolution (Fig. 2d, the paper's block): 1x1 to the bottleneck, 3x3 back to full width."""

    def __init__(self, width: int, bottleneck: int, padding: int):
        super().__init__(*projected(width, bottleneck, width, padding))


class PixelCNN(Block):
    """Bottleneck block of PixelCNN (Fig. 2a): 1x1, 3x3, 1x1, each after a ReLU."""

    def __init__(self, width: int, bottleneck: int, padding: int):
        super().__init__(
            *(nn.ReLU(), nn.Conv2d(width, bottleneck, 1)),
            *(nn.ReLU(inplace=True), nn.Conv2d(bottleneck, bottleneck, 3, padding=padding)),
            *(nn.ReLU(inplace=True), nn.Conv2d(bottleneck, width, 1)),
        )


class Gate(nn.Module):
    """Gate: `value(a) * sigmoid(b)` of the two halves a, b of the channels."""

    def __init__(self, value: nn.Module):
        super().__init__()
        self.value = value

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, dim=1)
        return self.value(a) * torch.sigmoid(b)


class PixelCNNGated(Block):
    """Gated convolution of PixelCNN (Fig. 2b): tanh times sigmoid of the halves of the 3x3 convolution's output."""

    value: type[nn.Module] = nn.Tanh

    def __init__(self, width: int, bottleneck: int, padding: int):
        super().__init__(*projected(width, bottleneck, 2 * width, padding), Gate(self.value()))


class PixelCNNPP(PixelCNNGated):
    """Gated convolution of PixelCNN++ (Fig. 2c): identity instead of tanh."""

    value = nn.Identity


BLOCKS = {"pconv": PConv, "pixelcnn": PixelCNN, "pixelcnn_gated": PixelCNNGated, "pixelcnnpp": PixelCNNPP}


class Upsample(nn.Module):
    """Nearest-neighbour interpolation of `x` plus a transposed convolution of LeakyReLU(x), its kernel equal to its stride."""

    def __init__(self, width: int, factor: int):
        super().__init__()
        self.factor = factor
        self.rectify = LeakyReLU(SLOPE)
        self.deconvolution = nn.ConvTranspose2d(width, width, factor, stride=factor)

    def forward(self, x: Tensor) -> Tensor:
        return self.deconvolution(self.rectify(x)).add_(F.interpolate(x, scale_factor=self.factor))


class BTSRN(nn.Module):
    """RGB `(N, 3, H, W)` in 0..1 -> RGB `(N, 3, scale*H, scale*W)`.

    low, high: blocks before and after the up-sampling, each >= 0 (the submission: 6 and 4).
    block: "pconv", "pixelcnn", "pixelcnn_gated" or "pixelcnnpp".
    width, bottleneck: channels between and inside the blocks (submission 128, 64; block comparison 128, 32).
    padding: "same" or "valid"; in training "valid" returns only the centre that has its full receptive field.
    Parameters: x2 887,683, x3 969,603, x4 1,035,459.
    Raises SRError for values that do not fit, and for training patches without such a centre.
    """

    channels = 3

    def __init__(
        self,
        scale: int,
        low: int = 6,
        high: int = 4,
        block: str = "pconv",
        width: int = 128,
        bottleneck: int = 64,
        padding: str = "same",
    ):
        super().__init__()
        if block not in BLOCKS:
            raise unknown("block", block, BLOCKS)
        if padding not in ("same", "valid"):
            raise unknown("padding", padding, ["same", "valid"])
        if scale not in (2, 3, 4):
            raise SRError(f"scale (={scale}) of BTSRN must be 2, 3 or 4")
        check_int("low", low, 0)
        check_int("high", high, 0)
        self.scale, self.valid_padding = scale, padding == "valid"

        def blocks(n: int) -> list[nn.Module]:
            return [BLOCKS[block](width, bottleneck, padding=int(padding == "same")) for _ in range(n)]

        self.entry = nn.Conv2d(3, width, 1)
        self.low = nn.Sequential(*blocks(low))
        steps = [Upsample(width, 2), *blocks(1), Upsample(width, 2)] if scale == 4 else [Upsample(width, scale)]
        self.up = nn.Sequential(*steps)
        self.high = nn.Sequential(*blocks(high))
        self.exit = nn.Sequential(LeakyReLU(SLOPE), nn.Conv2d(width, 3, 1))
        # One pixel per block, in LR pixels; the extra block of x4 runs at half the final resolution.
        self.reach = low + -(-high // scale) + (1 if scale == 4 else 0)
        self.context = max(self.reach, 4)
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, lr: Tensor) -> Tensor:
        x, frame = lr, 2 * (self.reach,)
        if self.valid_padding and not self.training:
            x = mirror(lr, frame, frame)
        elif self.valid_padding and min(lr.shape[-2:]) <= sum(frame):
            raise SRError(
                f"a patch of {min(lr.shape[-2:])} LR pixels is too small: padding='valid' leaves out {sum(frame)}; "
                f"set hr_patch to more than {sum(frame) * self.scale}"
            )
        x = self.low(self.entry(x - 0.5))  # (N, width, H, W), with "valid" smaller
        residual = self.exit(self.high(self.up(x)))  # (N, 3, scale*H, scale*W)
        base = upsample_bicubic(lr, self.scale)  # (N, 3, scale*H, scale*W)
        size = [min(sides) for sides in zip(base.shape[-2:], residual.shape[-2:], strict=True)]
        return crop_centre(base, *size) + crop_centre(residual, *size)
