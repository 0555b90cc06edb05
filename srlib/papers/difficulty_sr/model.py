"""Difficulty-SR: an identifier sends easy patches through a plain branch and hard ones through a complex branch.

J. Qin et al., "Difficulty-aware Image Super Resolution via Deep Adaptive Dual-Network", ICME 2019. Where the paper is silent
the authors' code decides (xzwlx/Difficulty-SR).

    image -> 48x48 patches -> identifier -> 5 classes -> easiest?  plain branch : complex branch -> averaged where they overlap

Paper's symbol -> here: F_W -> `identifier`; CB, PB -> `complex`, `plain`; c1 (easiest) ... c5 (hardest) -> classes 4 ... 0, as
in the code; mask, eq. 3 -> `mask`; eq. 4 -> `combine`.

Choices where the paper is silent, as in the code: the class of a patch is that of its bicubic PSNR, with thresholds at 30, 35,
40 and 45 dB (the paper names 45 only). A flat patch, whose PSNR is infinite, is easiest: our choice. The identifier is frozen
while the branches train, and a branch learns from the patches routed to it (section 3.2). The plain branch is bicubic
interpolation, as in the paper's text and table of sizes; `PlainCNN` is the small network of the code.

Overlap: the paper's text cuts an image into patches that do not overlap; the code averages patches that overlap by 36 LR pixels.
IDN looks 26 pixels around each pixel and sees nothing beyond the border of a patch, so PSNR depends on the overlap.

Departures: classes come from MATLAB's bicubic interpolation (a = -0.5), the code's from OpenCV's (a = -0.75). Eq. 4 computes
both branches for every patch. Here a patch goes through one branch only, which gives the same image; `route=False` is eq. 4 as
printed. The loss is the mean over all patches of a batch, as in the code; the mean over those of the complex branch differs by
a factor near 1. Images smaller than a patch are mirrored at their border.
"""

from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srlib.core.color import luma
from srlib.core.errors import SRError
from srlib.nn import models
from srlib.nn.bicubic import upsample_bicubic
from srlib.nn.borders import crop_corner, mirror

PATCH = 48  # LR pixels
THRESHOLDS = (30.0, 35.0, 40.0, 45.0)  # dB
EASIEST = len(THRESHOLDS)
BATCH = 16  # patches that go through a network at once


def difficulty(lr: Tensor, hr: Tensor) -> Tensor:
    """Return the bicubic PSNR of each patch in dB, `(N,)`: that of `upsample_bicubic(lr)` against `hr`, infinite for equal ones.

    lr, hr: luma `(N, 1, H, W)` and `(N, 1, scale*H, scale*W)` in 0..1. No border is left out.
    """
    error = (upsample_bicubic(lr, hr.shape[-1] // lr.shape[-1]) - hr).square().mean(dim=(1, 2, 3))
    return -10 * torch.log10(error)


def classes(psnr: Tensor) -> Tensor:
    """Return the difficulty class of each bicubic PSNR: 0 (hardest, below 30 dB) to 4 (easiest, 45 dB and more)."""
    return torch.bucketize(psnr, torch.tensor(THRESHOLDS, device=psnr.device, dtype=psnr.dtype), right=True)


class Identifier(nn.Module):
    """Luma patches `(N, 1, 48, 48)` in 0..1 -> logits of the five classes `(N, 5)`. 164,353 parameters.

    The paper calls it LeNet-5; the code has three convolutions instead of two. It is trained for one scale, whose bicubic PSNR
    decides the classes, but no layer depends on the scale. Raises SRError for patches of another size.
    """

    channels, context, probe, makes_images = 1, None, PATCH, False

    def __init__(self, scale: int):
        super().__init__()
        self.scale = scale
        self.features = nn.Sequential(
            *(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),  # 6x24x24
            *(nn.Conv2d(6, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),  # 16x12x12
            *(nn.Conv2d(16, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),  # 32x6x6
        )
        self.classify = nn.Sequential(
            nn.Flatten(),  # 1152
            *(nn.Linear(32 * (PATCH // 8) ** 2, 120), nn.ReLU()),
            *(nn.Linear(120, 84), nn.ReLU()),
            nn.Linear(84, EASIEST + 1),
        )

    def forward(self, lr: Tensor) -> Tensor:
        if lr.shape[1:] != (1, PATCH, PATCH):
            raise SRError(f"the identifier got {tuple(lr.shape)}, expected luma patches (N, 1, {PATCH}, {PATCH}) in LR pixels")
        return self.classify(self.features(lr))


def difficulty_class(logits: Tensor, hr: Tensor, lr: Tensor, *, balanced: bool = False) -> Tensor:
    """Return the cross entropy of logits `(N, 5)` against the difficulty classes of the patches: eq. 1 without its factor 1/5.

    hr, lr: luma `(N, 1, scale*48, scale*48)` and `(N, 1, 48, 48)` in 0..1. balanced: average over the classes present in the
    batch, each the mean over its patches, instead of over patches (a departure from paper and code).

    Measured at x4, where 0.3 % of the training patches (T91+BSD400) are of the two easiest classes: from random weights neither
    loss predicts these within 1,500 steps; from the x2 weights both do after 1,000 steps at a rate of 3e-4. Balancing then adds
    recall in the middle classes and costs accuracy (Urban100: 0.84 instead of 0.89).
    """
    actual = classes(difficulty(lr, hr))
    if not balanced:
        return F.cross_entropy(logits, actual)
    counts = F.one_hot(actual, logits.shape[1]).sum(dim=0)
    return F.cross_entropy(logits, actual, weight=1 / counts.clamp(min=1).to(logits.dtype))


class PlainCNN(nn.Module):
    """The plain branch of the authors' code: three convolutions and a transposed one, 18,281 parameters.

    Luma `(N, 1, H, W)` in 0..1 -> luma `(N, 1, scale*H, scale*W)`.
    """

    channels = 1

    def __init__(self, scale: int):
        super().__init__()
        self.scale = scale
        width, narrow, padding = 56, 12, (10 - scale) // 2
        self.layers = nn.Sequential(
            *(nn.Conv2d(1, width, 5, padding=2), nn.PReLU(width)),  # 56xHxW
            *(nn.Conv2d(width, narrow, 3, padding=1), nn.PReLU(narrow)),  # 12xHxW
            *(nn.Conv2d(narrow, width, 3, padding=1), nn.PReLU(width)),  # 56xHxW
            nn.ConvTranspose2d(width, 1, 9, stride=scale, padding=padding, output_padding=2 * padding + scale - 9),
        )
        self.context = 4 + -(-4 // scale)

    def forward(self, lr: Tensor) -> Tensor:
        return self.layers(lr)


class DualBranchSR(nn.Module):
    """`(N, C, H, W)` in 0..1 -> `(N, C, scale*H, scale*W)` by patches of 48x48 LR pixels, each through one of two branches.

    identifier: a network like `Identifier`; it is frozen. complex, plain: networks of the same scale, and of the same channels
    where both insist on some. level: a patch is easy when its likeliest class is this one or an easier one (the paper: 4, the
    easiest). threshold: instead, a patch is easy when the probability of these classes is at least this (0: all are, above 1:
    none). overlap: LR pixels that neighbouring patches share, 0..47; their mean is taken there, and the last patch ends with the
    image (the paper's text 0, the authors' test script 36). route: False computes both branches everywhere, as eq. 4 is printed.
    In training the input is a batch of patches. Raises SRError for branches and values that do not fit.
    """

    context = None
    probe = PATCH  # LR pixels per side of an image on which its costs are those of a photograph, where patches do not overlap
    selective = True  # a batch may have no patch for a trained branch, and then trains nothing

    def __init__(
        self,
        identifier: nn.Module,
        complex: nn.Module,
        plain: nn.Module,
        level: int = EASIEST,
        threshold: float | None = None,
        overlap: int = 0,
        route: bool = True,
    ):
        super().__init__()
        if complex.scale != plain.scale:
            raise SRError(f"the branches differ in scale: complex is x{complex.scale}, plain is x{plain.scale}")
        if None not in (complex.channels, plain.channels) and complex.channels != plain.channels:
            raise SRError(f"the branches differ in channels: complex takes {complex.channels}, plain takes {plain.channels}")
        if level not in range(EASIEST + 1):
            raise SRError(f"level (={level!r}) must be a class, 0 (hardest) to {EASIEST} (easiest)")
        if threshold is not None and not threshold >= 0:
            raise SRError(f"threshold (={threshold!r}) must be a probability of at least 0, or None for the likeliest class")
        if overlap not in range(PATCH):
            raise SRError(f"overlap (={overlap!r}) must be 0 to {PATCH - 1} LR pixels")
        self.scale, self.channels = complex.scale, complex.channels or plain.channels
        self.identifier, self.complex, self.plain = identifier.requires_grad_(False), complex, plain
        self.level, self.threshold, self.overlap, self.route = level, threshold, overlap, route

    def with_options(self, **options) -> "DualBranchSR":
        """Return a network of the same weights with other values of `level`, `threshold`, `overlap` or `route`, in eval mode."""
        own = {name: getattr(self, name) for name in ("level", "threshold", "overlap", "route")}
        return DualBranchSR(self.identifier, self.complex, self.plain, **(own | options)).eval()

    @torch.no_grad()
    def probabilities(self, patches: Tensor) -> Tensor:
        """Return the class probabilities of patches `(N, C, 48, 48)`, `(N, 5)`."""
        y = luma(patches) if patches.shape[1] == 3 else patches
        return torch.cat([self.identifier(batch).float().softmax(dim=1) for batch in y.split(BATCH)])

    def mask(self, probabilities: Tensor) -> Tensor:
        """Return which patches take the plain branch, `(N,)` bool: eq. 3, or the threshold in its place."""
        if self.threshold is None:
            return probabilities.argmax(dim=1) >= self.level
        return probabilities[:, self.level :].sum(dim=1) >= self.threshold

    def cut(self, lr: Tensor) -> tuple[Tensor, list[tuple[int, int]]]:
        """Cut images `(N, C, H, W)` into patches: `(M*N, C, 48, 48)`, the images of a corner together; the M corners."""
        lr = mirror(lr, *((0, max(PATCH - side, 0)) for side in lr.shape[-2:]))
        ends = [side - PATCH for side in lr.shape[-2:]]  # where the last patches begin
        corners = list(product(*([*range(0, end, PATCH - self.overlap), end] for end in ends)))
        return torch.cat([lr[..., y : y + PATCH, x : x + PATCH] for y, x in corners]), corners

    def combine(self, patches: Tensor, mask: Tensor) -> Tensor:
        """Upscale patches `(N, C, 48, 48)` by the plain branch where `mask` is true and by the complex one elsewhere: eq. 4."""
        if not self.route:
            plain = mask.to(patches.dtype)[:, None, None, None]
            return (1 - plain) * _batched(self.complex, patches) + plain * _batched(self.plain, patches)
        order = torch.cat([mask.nonzero()[:, 0], (~mask).nonzero()[:, 0]])
        routed = ((self.plain, patches[mask]), (self.complex, patches[~mask]))
        upscaled = torch.cat([_batched(branch, own) for branch, own in routed if len(own)])
        return upscaled[order.argsort()]

    def join(self, patches: Tensor, corners: list[tuple[int, int]], height: int, width: int) -> Tensor:
        """Put upscaled patches back into images of `height` by `width` LR pixels, averaged where they overlap."""
        side, s = PATCH * self.scale, self.scale
        images = len(patches) // len(corners)
        size = [max(height, PATCH) * s, max(width, PATCH) * s]
        total, count = patches.new_zeros(images, patches.shape[1], *size), patches.new_zeros(*size)
        for (y, x), patch in zip(corners, patches.split(images), strict=True):
            total[..., y * s : y * s + side, x * s : x * s + side] += patch
            count[y * s : y * s + side, x * s : x * s + side] += 1
        return crop_corner(total / count, height * s, width * s)

    def forward(self, lr: Tensor) -> Tensor:
        if self.training:
            if lr.shape[-2:] != (PATCH, PATCH):
                raise SRError(f"training patches are {lr.shape[-2]}x{lr.shape[-1]} LR pixels; make them {PATCH}x{PATCH}")
            return self.combine(lr, self.mask(self.probabilities(lr)))
        patches, corners = self.cut(lr)  # (M*N, C, 48, 48)
        upscaled = self.combine(patches, self.mask(self.probabilities(patches)))  # (M*N, C, scale*48, scale*48)
        return self.join(upscaled, corners, *lr.shape[-2:])  # (N, C, scale*H, scale*W)


def difficulty_sr(
    scale: int,
    complex: str = "idn",
    plain: str = "bicubic",
    complex_args: dict | None = None,
    level: int = EASIEST,
    threshold: float | None = None,
    overlap: int = 0,
    route: bool = True,
) -> DualBranchSR:
    """Build Difficulty-SR with any two networks, by name, as its branches; further arguments: those of `DualBranchSR`.

    overlap is 0 by default, as weights released before it was an argument have been trained and scored so.
    """
    networks = Identifier(scale), models.create(complex, scale, **(complex_args or {})), models.create(plain, scale)
    return DualBranchSR(*networks, level, threshold, overlap, route)


def _batched(branch: nn.Module, patches: Tensor) -> Tensor:
    return torch.cat([branch(batch) for batch in patches.split(BATCH)])
