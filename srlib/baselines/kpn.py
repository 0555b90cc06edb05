"""KPN and LP-KPN: a network predicts a kernel for every pixel, at full size or on the levels of a Laplacian pyramid.

J. Cai, H. Zeng, H. Yong, Z. Cao, L. Zhang, "Toward Real-World Single Image Super-Resolution: A New Benchmark and a New Model",
ICCV 2019; layers as in the authors' code (csjcai/RealSR). Kernels are neither normalised nor restricted to sum to one.

    lr -> cells of 4x4 as channels -> entry -> 16 blocks -> exit, + entry -> features at a quarter of the size    (Trunk)
    features -> shuffle x4 -> two convolutions -> K*K channels: the kernels of lr                                 (KPN)
    features -> shuffle x4, x2, x1 -> three such heads: the kernels of the pyramid's three levels                  (LP-KPN)

Departures:
- `init="identity"`, the default, starts with nearly identity kernels. The last layer of every residual block is scaled by 0.1,
  so that activations do not grow over sixteen of them, and so are the features before the heads: Adam's first steps move all
  elements of all kernels together. `init="caffe"` is the code's: MSRA in every layer, biases zero; its fresh outputs are far
  from the image.
- `basis="dct"` parametrises a head's last layer by the K*K DCT-II coefficients of a kernel (orthonormal) instead of its pixels:
  the same functions, optimised differently. Neighbouring pixels are nearly equal, and so are the gradients of all elements of a
  kernel; Adam moves all by equal steps, which changes only their sum, and kernels keep one shape. On KPN (K=7) after 240 steps
  of 1e-4 (four patches of 48 px) shapes deviate over pixels by 0.0009 of the mean kernel with "pixels", the default, and by 0.14
  with "dct", with 0.23 dB more. A larger start of the heads (1e-3) gives 0.004, no warm-up 0.00004.
- LP-KPN's pyramid is Burt and Adelson's with the binomial filter (1 4 6 4 1) / 16 and a border that repeats its last pixel. The
  code supervises the three levels of the pyramid, which `levels` and `laplacian` give; `forward` gives the image.

Two arguments are for the authors' weights (`srlib.official`): `columns_first`, as MATLAB orders the pixels of a shuffle's cell,
and `border="zeros"`, the code's border of the pyramid.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srlib.core.errors import SRError, check_int, unknown
from srlib.nn.blocks import ResidualBlock, conv, init_he
from srlib.nn.dynamic_filter import dynamic_filter
from srlib.nn.same_size import CELL, SameSize, context, crop_like, pad

INITS = ("identity", "caffe")
BASES = ("pixels", "dct")
SMALL = 3e-5  # standard deviation of a kernel layer's initial weights
FADE = 0.1  # factor on initial weights: last layer of residual blocks, features before a head


class Trunk(nn.Module):
    """`(N, 1, H, W)` -> `(N, width, H/4, W/4)`: channel 4*row + column of the input is that pixel of each 4x4 cell."""

    def __init__(self, width: int, blocks: int):
        super().__init__()
        if width < CELL**2 or width % CELL**2:
            raise SRError(f"width (={width}) must be a multiple of 16, for the pixel shuffle by four")
        check_int("blocks", blocks, 0)
        self.entry = conv(CELL**2, width)
        self.body = nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)), conv(width, width))
        self.cells = 2 * blocks + 2  # receptive field to each side

    def forward(self, lr: Tensor) -> Tensor:
        x = self.entry(F.pixel_unshuffle(lr, CELL))  # (N, 16, H/4, W/4) -> (N, width, H/4, W/4)
        return x + self.body(x)


class ColumnShuffle(nn.Module):
    """Pixel shuffle that fills cells column by column: `(N, C, H, W)` -> `(N, C/factor^2, factor*H, factor*W)`."""

    def __init__(self, factor: int):
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        cells = x.unflatten(1, (-1, self.factor, self.factor))  # (N, C/f^2, column, row, H, W)
        return F.pixel_shuffle(cells.transpose(2, 3).flatten(1, 3), self.factor)


def head_features(width: int, factor: int, out: int | None = None, columns_first: bool = False) -> nn.Sequential:
    """Return the layers from trunk to kernel head: pixel shuffle by `factor`, two convolutions with ReLU, `out` channels."""
    shuffle = nn.Identity() if factor == 1 else (ColumnShuffle if columns_first else nn.PixelShuffle)(factor)
    return nn.Sequential(shuffle, conv(width // factor**2, width), nn.ReLU(), conv(width, out or width), nn.ReLU())


class KernelLayer(nn.Conv2d):
    """The 3x3 convolution that predicts the kernels: features `(N, C, H, W)` -> `(N, K*K, H, W)`.

    kernel: K. basis: in which its weights are kept, the "pixels" of a kernel or its cosines ("dct"). Raises SRError for an even K
    and an unknown basis.
    """

    def __init__(self, inputs: int, kernel: int, basis: str):
        if kernel < 1 or kernel % 2 == 0:
            raise SRError(f"kernel (={kernel}) must be odd, so that it has a centre")
        if basis not in BASES:
            raise unknown("basis", basis, BASES)
        super().__init__(inputs, kernel**2, 3, padding=1)
        # (K*K, K*K) from coefficients to kernels; None for pixels
        self.register_buffer("basis", cosines(kernel) if basis == "dct" else None, persistent=False)

    @torch.no_grad()
    def start_at(self, share: float) -> None:
        """Initialise so that kernels are nearly zero, and `share` in the centre."""
        nn.init.normal_(self.weight, std=SMALL)
        centre = self.out_channels // 2
        if self.basis is None:
            self.bias[centre] = share
        else:
            self.bias.copy_(share * self.basis[centre])

    def forward(self, x: Tensor) -> Tensor:
        if self.basis is None:
            return super().forward(x)
        basis = self.basis.to(self.weight.dtype)
        with torch.autocast(x.device.type, enabled=False):
            weight = torch.einsum("kc,c...->k...", basis, self.weight)  # (K*K, C, 3, 3)
            bias = basis @ self.bias
        return self._conv_forward(x, weight, bias)


def cosines(kernel: int) -> Tensor:
    """Return the 2-D DCT-II basis of a kernel as orthonormal columns `(K*K, K*K)`, lowest frequencies first."""
    index = torch.arange(kernel, dtype=torch.float64)
    waves = torch.cos(math.pi / kernel * (index[:, None] + 0.5) * index)
    waves = waves / waves.norm(dim=0)
    return torch.kron(waves, waves).float()


@torch.no_grad()
def initialise(net: nn.Module, init: str, last: list[nn.Conv2d], heads: list[KernelLayer], share: float) -> None:
    """Initialise a network.

    init: "caffe" for MSRA and zero biases throughout; "identity" also scales down the residual blocks and `last`, the layers
    before the heads, and lets each of `heads` predict nearly zero, and `share` in the centre. Raises SRError for another.
    """
    if init not in INITS:
        raise unknown("init", init, INITS)
    init_he(net)
    if init == "caffe":
        return
    for layer in [*last, *(block.body[-1] for block in net.modules() if isinstance(block, ResidualBlock))]:
        layer.weight.mul_(FADE)
    for head in heads:
        head.start_at(share)


class KPN(SameSize):
    """Luma `(N, 1, H, W)` in 0..1 -> luma of the same size.

    kernel: K. width: channels, a multiple of 16. blocks: residual blocks. init: "identity" or "caffe". basis: "pixels" or "dct".
    columns_first: see above. Parameters: K=5 1,281,625, K=7 1,295,473, K=13 1,364,713, K=19 1,475,497.
    """

    def __init__(
        self,
        scale: int = 1,
        kernel: int = 7,
        width: int = 64,
        blocks: int = 16,
        init: str = "identity",
        basis: str = "pixels",
        columns_first: bool = False,
    ):
        super().__init__(scale)
        self.trunk = Trunk(width, blocks)
        self.features = head_features(width, CELL, columns_first=columns_first)
        self.head = KernelLayer(width, kernel, basis)
        self.context = max(context(3, self.trunk.cells), kernel // 2)
        initialise(self, init, [self.features[-2]], [self.head], share=1.0)

    def predict(self, lr: Tensor) -> Tensor:
        return self.head(self.features(self.trunk(lr)))  # (N, K*K, H, W)

    def kernels(self, lr: Tensor) -> list[Tensor]:
        """Return the kernels of each pixel, `[(N, K*K, H, W)]`."""
        return [crop_like(self.predict(pad(lr)), lr)]

    def enhance(self, lr: Tensor) -> Tensor:
        return dynamic_filter(lr, self.predict(lr))


LEVELS = 3
BORDERS = {"replicate": "replicate", "zeros": "constant"}  # of the pyramid -> mode of F.pad


def _binomial(image: Tensor) -> Tensor:
    taps = torch.tensor([1, 4, 6, 4, 1], dtype=image.dtype, device=image.device) / 16
    return torch.outer(taps, taps)[None, None]


def reduce(image: Tensor, border: str = "replicate") -> Tensor:
    """Blur `(N, 1, H, W)` and subsample by two: REDUCE of Burt and Adelson 1983."""
    return F.conv2d(F.pad(image, (2, 2, 2, 2), mode=BORDERS[border]), _binomial(image), stride=2)


def expand(image: Tensor, border: str = "replicate") -> Tensor:
    """Interpolate `(N, 1, H, W)` to twice its size by the same filter: EXPAND of Burt and Adelson 1983."""
    enlarged = F.conv_transpose2d(F.pad(image, (1, 1, 1, 1), mode=BORDERS[border]), 4 * _binomial(image), stride=2)
    height, width = image.shape[-2:]
    return enlarged[..., 4 : 4 + 2 * height, 4 : 4 + 2 * width]


def laplacian(image: Tensor, border: str = "replicate") -> list[Tensor]:
    """Return the Laplacian pyramid of `(N, 1, H, W)`, sides multiples of four: full, half, quarter size."""
    bands = []
    for _ in range(LEVELS - 1):
        smaller = reduce(image, border)
        bands.append(image - expand(smaller, border))
        image = smaller
    return [*bands, image]


def collapse(bands: list[Tensor], border: str = "replicate") -> Tensor:
    """Undo `laplacian`."""
    *bands, image = bands
    for band in reversed(bands):
        image = band + expand(image, border)
    return image


class LPKPN(SameSize):
    """Luma `(N, 1, H, W)` in 0..1 -> luma of the same size; arguments as those of KPN. Parameters: K=5 1,430,539.

    border: of the pyramid, "replicate" or "zeros".
    """

    def __init__(
        self,
        scale: int = 1,
        kernel: int = 5,
        width: int = 64,
        blocks: int = 16,
        init: str = "identity",
        basis: str = "pixels",
        columns_first: bool = False,
        border: str = "replicate",
    ):
        super().__init__(scale)
        if border not in BORDERS:
            raise unknown("border", border, BORDERS)
        self.border = border
        self.trunk = Trunk(width, blocks)
        self.features = nn.ModuleList(
            head_features(width, CELL // 2**level, columns_first=columns_first) for level in range(LEVELS)
        )
        self.heads = nn.ModuleList(KernelLayer(width, kernel, basis) for _ in range(LEVELS))
        # The quarter level has the largest receptive field: three layers, REDUCE or the kernels, and two EXPANDs.
        self.context = context(3, max(self.trunk.cells + 3, kernel // 2 + 2) + 2)
        initialise(self, init, [layers[-2] for layers in self.features], list(self.heads), share=1.0)

    def kernels(self, lr: Tensor) -> list[Tensor]:
        """Return the kernels of the levels of an image whose sides are multiples of four: full, half, quarter size."""
        x = self.trunk(lr)  # (N, width, H/4, W/4)
        return [head(layers(x)) for layers, head in zip(self.features, self.heads, strict=True)]

    def levels(self, lr: Tensor) -> list[Tensor]:
        """Return the filtered Laplacian levels of an image whose sides are multiples of four: full, half, quarter size."""
        return [dynamic_filter(*pair) for pair in zip(laplacian(lr, self.border), self.kernels(lr), strict=True)]

    def enhance(self, lr: Tensor) -> Tensor:
        return collapse(self.levels(lr), self.border)
