"""DDet: dual-path dynamic enhancement, one path that corrects the pixels and one that predicts a kernel for each of them.

Y. Shi, H. Zhong, Z. Yang, X. Yang, L. Lin, "DDet: Dual-path Dynamic Enhancement Network for Real-World Image
Super-Resolution", IEEE Signal Processing Letters 2020. Layers as in the authors' code (ykshi/DDet); `variant="paper"`: as the
text has them.

Paper's symbol -> here: I_LR -> `lr`; G_Dil, CDM -> `cdm`; I_Rev -> `corrected`; G_Sat -> `trunk`, `features`; Upsilon_Dyn of
each size -> the output of a head; K_Dyn -> `kernels(lr)`; g -> `dynamic_filter`; I'_Att -> the sum of `contributions`; F_PR ->
`refine`.

    lr -> trunk at a quarter of the size -> shuffle x4 -> two convolutions -> heads -> kernels of each pixel, three sizes
    lr -> cdm, + lr -> corrected -> filtered with each of the kernels -> summed -> refine

Where the two sources differ (variant "official" | "paper"):
- kernels of 9, 7, 5, the last two from two layers | of 3, 5, 7, from one layer each;
- refinement of two layers with a ReLU | of one;
- the second convolution after the shuffle has 64 channels in the code's x2 network and 128 (`wide`) in that of x3 and x4 |
  64. Table III's 5.7 MB are those of 64.

The ladder of Table II: `mda=False` has a single head of 7x7 kernels, one layer, which with `cdm=False, refine=False` is
KPN (K=7), the plain network.

Departure: `init="identity"`, the default, starts near the identity: kernels near zero but for an equal share in their centres,
a detail path whose last layer is near zero, a refinement near the identity; see `kpn` for the trunk. `init="caffe"` is the
code's: MSRA in every layer, biases zero.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from srlib.baselines.kpn import SMALL, KernelLayer, Trunk, head_features, initialise
from srlib.core.errors import SRError, unknown
from srlib.nn.blocks import conv
from srlib.nn.dynamic_filter import dynamic_filter
from srlib.nn.same_size import CELL, SameSize, context, crop_like, pad

# (size of the kernels, channels between the two layers of the head or None for one layer)
HEADS = {"official": ((9, None), (7, 49), (5, 32)), "paper": ((3, None), (5, None), (7, None))}
KPN_HEADS = ((7, None),)  # without MDA


class Intermediates(NamedTuple):
    """Images inside DDet, each `(N, 1, H, W)`: I_Rev, what the kernels of each head add to I'_Att, and the output."""

    corrected: Tensor
    contributions: list[Tensor]
    output: Tensor


def head(inputs: int, kernel: int, between: int | None, basis: str) -> nn.Sequential:
    """Return the layers from features to kernels, linear at the end."""
    if between is None:
        return nn.Sequential(KernelLayer(inputs, kernel, basis))
    return nn.Sequential(conv(inputs, between), nn.ReLU(), KernelLayer(between, kernel, basis))


def detail_path(width: int) -> nn.Sequential:
    """Return coupled detail manipulation: three convolutions whose output is added to the image. Eq. 10."""
    return nn.Sequential(conv(1, width), nn.ReLU(), conv(width, width), nn.ReLU(), conv(width, 1))


def refinement(variant: str, width: int) -> nn.Sequential:
    """Return post-refinement: two convolutions, or the paper's one. Eq. 11."""
    if variant == "paper":
        return nn.Sequential(conv(1, 1))
    return nn.Sequential(conv(1, width), nn.ReLU(), conv(width, 1))


@torch.no_grad()
def init_identity(layers: nn.Sequential) -> None:
    """Initialise a refinement near the identity for positive inputs: its first channel carries the image."""
    for layer in layers[::2]:
        layer.weight[0] = 0
        layer.weight[0, 0, 1, 1] = 1
    nn.init.normal_(layers[-1].weight[:, 1:], std=SMALL)


class DDet(SameSize):
    """Luma `(N, 1, H, W)` in 0..1 -> luma of the same size.

    variant: "official" or "paper". wide: 128 channels before the heads instead of 64.
    cdm, mda, refine: False leaves that component out (the ladder of Table II).
    width: channels, a multiple of 16. blocks: residual blocks. init: "identity" or "caffe". basis: "pixels" or "dct" (see `kpn`).
    columns_first: for the authors' weights (see `kpn`).
    Parameters: 1,428,919; wide 1,559,159; paper 1,353,246. Ladder: 1,295,473, 1,296,690, 1,334,835, 1,428,919.
    """

    def __init__(
        self,
        scale: int = 1,
        variant: str = "official",
        wide: bool = False,
        cdm: bool = True,
        mda: bool = True,
        refine: bool = True,
        width: int = 64,
        blocks: int = 16,
        init: str = "identity",
        basis: str = "pixels",
        columns_first: bool = False,
    ):
        super().__init__(scale)
        if variant not in HEADS:
            raise unknown("variant", variant, HEADS)
        if wide and variant == "paper":
            raise SRError("wide (=True) is of the official variant: the paper's network has one width; leave it out")
        sizes = HEADS[variant] if mda else KPN_HEADS
        out = 2 * width if wide else width
        self.trunk = Trunk(width, blocks)
        self.features = head_features(width, CELL, out, columns_first)
        self.heads = nn.ModuleList(head(out, kernel, between, basis) for kernel, between in sizes)
        self.cdm = detail_path(width) if cdm else None
        self.refine = refinement(variant, width) if refine else None
        # Convolutions, every other layer, after the trunk and on the way of the pixels: the larger receptive field counts.
        after = len(self.refine[::2]) if refine else 0
        predicted = 2 + max(len(layers[::2]) for layers in self.heads)
        filtered = max(kernel for kernel, _ in sizes) // 2 + (3 if cdm else 0)
        self.context = max(context(after + predicted, self.trunk.cells), context(after + filtered, 0))
        initialise(self, init, [self.features[-2]], [layers[-1] for layers in self.heads], share=1 / len(sizes))
        if init == "identity" and cdm:
            nn.init.normal_(self.cdm[-1].weight, std=SMALL)
        if init == "identity" and refine:
            init_identity(self.refine)

    def _corrected(self, lr: Tensor) -> Tensor:
        return lr if self.cdm is None else lr + self.cdm(lr)  # eq. 10

    def enhance(self, lr: Tensor) -> Tensor:
        corrected = self._corrected(lr)  # (N, 1, H, W)
        x = self.features(self.trunk(lr))  # (N, 16, H/4, W/4) -> (N, out, H, W)
        total = sum(dynamic_filter(corrected, head(x)) for head in self.heads)  # kernels (N, K*K, H, W); eqs. 8, 9
        return total if self.refine is None else self.refine(total)  # eq. 11

    def padded_kernels(self, lr: Tensor) -> list[Tensor]:
        """Return the kernels of each pixel of the padded image, `(N, K*K, H', W')` per head."""
        x = self.features(self.trunk(pad(lr)))
        return [head(x) for head in self.heads]

    def kernels(self, lr: Tensor) -> list[Tensor]:
        """Return the kernels of each pixel, `(N, K*K, H, W)` per head."""
        return [crop_like(kernels, lr) for kernels in self.padded_kernels(lr)]

    def intermediates(
        self, lr: Tensor, cdm: bool = True, refine: bool = True, kernels: list[Tensor] | None = None
    ) -> Intermediates:
        """Return I_Rev, the contribution of each head and the output.

        cdm, refine: False bypasses that component of a trained network. kernels: the result of `padded_kernels` for this image,
        to avoid recomputing it.
        """
        padded = pad(lr)
        corrected = self._corrected(padded) if cdm else padded
        kernels = self.padded_kernels(lr) if kernels is None else kernels
        contributions = [dynamic_filter(corrected, per_pixel) for per_pixel in kernels]
        total = sum(contributions)
        output = self.refine(total) if refine and self.refine is not None else total
        return Intermediates(crop_like(corrected, lr), [crop_like(image, lr) for image in contributions], crop_like(output, lr))
