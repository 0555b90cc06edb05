"""What networks of per-pixel kernels do: parts left out, kernels of chosen pixels, and inputs that lie some pixels off.

Y. Shi et al., "DDet", IEEE SPL 2020: section II-B (kernels), section II-C (displaced pixels).
"""

from collections.abc import Iterator, Mapping
from itertools import islice

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from srlib.core.color import rgb_to_ycbcr, to_rgb, to_uint8, to_y, ycbcr_to_rgb
from srlib.core.errors import SRError
from srlib.core.metrics import psnr
from srlib.core.protocols import Protocol
from srlib.data.sets import open_set
from srlib.papers.ddet.model import DDet, Parts
from srlib.scoring.evaluation import model_input, upscale

SIDE = 256  # pixels a side of the crops that are displaced
KINDS = ("edge", "texture", "flat")
AROUND = 17  # pixels a side of the neighbourhood that says what a pixel is


class Without(nn.Module):
    """A trained DDet without its detail path or its refinement: luma `(N, 1, H, W)` -> luma of the same size."""

    scale, channels = 1, 1

    def __init__(self, net: DDet, cdm: bool = True, refine: bool = True):
        super().__init__()
        self.net, self.cdm, self.refine, self.context = net, cdm, refine, net.context

    def forward(self, lr: Tensor) -> Tensor:
        return self.net.parts(lr, self.cdm, self.refine).result


def ablate_components(net: DDet) -> dict[str, Without]:
    """Return a trained DDet with one component switched off at a time, by the names of the paper's `parts`."""
    parts = {"ddet_no_cdm": {"cdm": False}, "ddet_no_refine": {"refine": False}}
    return {name: Without(net, **off).eval() for name, off in parts.items()}


def luma(lr: np.ndarray) -> Tensor:
    """Return what networks take of a uint8 LR image `(H, W, 3)`: luma `(1, 1, H, W)` in 0..1."""
    return torch.from_numpy(to_y(lr, rounded=True))[None, None].float() / 255


@torch.no_grad()
def predicted(net: DDet, lr: np.ndarray) -> list[Tensor]:
    """Return the kernels that a DDet makes for a uint8 LR image `(H, W, 3)`, as `look` takes them: the costly part."""
    return net.eval().predicted(luma(lr))


@torch.no_grad()
def look(net: DDet, lr: np.ndarray, cdm: bool = True, refine: bool = True, heads: list[Tensor] | None = None) -> Parts:
    """Return what a DDet makes of a uint8 LR image `(H, W, 3)` on its way, in 0..1. heads: from `predicted`, where known."""
    return net.eval().parts(luma(lr), cdm, refine, heads)


def squares(heads: list[Tensor], lr: np.ndarray) -> list[np.ndarray]:
    """Return kernels of every pixel of an image `(H, W, 3)`, `(1, K*K, >= H, >= W)` for each head, as `(H, W, K, K)`."""
    found = []
    for one in heads:
        size = round(one.shape[1] ** 0.5)
        inside = one[0, :, : lr.shape[0], : lr.shape[1]]
        found.append(inside.unflatten(0, (size, size)).permute(2, 3, 0, 1).numpy())
    return found


@torch.no_grad()
def kernels(net: nn.Module, lr: np.ndarray) -> list[np.ndarray]:
    """Return the kernels of every pixel of a uint8 LR image `(H, W, 3)`: `(H, W, K, K)` for each head."""
    return squares(net.eval().kernels(luma(lr)), lr)


def adapted(kernels: np.ndarray) -> tuple[float, float]:
    """Return how kernels `(H, W, K, K)` differ between pixels, and how their mean differs from one weight in its centre.

    The first is the RMS, over pixels and weights, of what a weight is off its mean over the picture, 0 for kernels that do not
    look at the content; the second the RMS of the mean kernel's weights but its centre.
    """
    mean = kernels.mean(axis=(0, 1))
    around = np.delete(mean.ravel(), mean.size // 2)
    return float(np.sqrt(np.square(kernels - mean).mean())), float(np.sqrt(np.square(around).mean()))


def picture(luma: Tensor, lr: np.ndarray) -> np.ndarray:
    """Return luma `(1, 1, H, W)` in 0..1 as a uint8 picture, with the colours of the LR image `(H, W, 3)`."""
    colours = rgb_to_ycbcr(to_rgb(lr).astype(float))[..., 1:]
    y = luma[0, 0].double().numpy() * 255
    rgb = ycbcr_to_rgb(np.concatenate([y[..., None], colours], axis=2))
    return to_uint8(rgb)


def _sums(image: np.ndarray, side: int) -> np.ndarray:
    """Return the sum of each `side` by `side` neighbourhood, `(H - side + 1, W - side + 1)`."""
    total = np.pad(image.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    return total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]


def chosen_pixels(image: np.ndarray, margin: int = 16) -> dict[str, tuple[int, int]]:
    """Return (row, column) of the pixel of a uint8 image whose surroundings are most of each of `KINDS`.

    By the structure tensor of 17x17 pixels, with eigenvalues a >= b: an edge has the largest a - 4 b, texture the largest b, and
    a flat place the smallest a + b. margin: pixels at the border that are left out.
    """
    if min(image.shape[:2]) <= 2 * margin + AROUND:
        raise SRError(f"image is {image.shape[0]}x{image.shape[1]}, expected more than {2 * margin + AROUND} pixels a side")
    down, right = np.gradient(to_y(to_rgb(image), rounded=False))
    xx, yy, xy = (_sums(product, AROUND) for product in (right**2, down**2, right * down))
    middle, half = (xx + yy) / 2, np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    large, small = middle + half, middle - half
    inner = slice(margin - AROUND // 2, AROUND // 2 - margin)
    found = {}
    for kind, worth in zip(KINDS, (large - 4 * small, small, -large - small), strict=True):
        y, x = np.unravel_index(worth[inner, inner].argmax(), worth[inner, inner].shape)
        found[kind] = (int(y) + margin, int(x) + margin)
    return found


def crops(dataset: str, side: int | None = SIDE, limit: int | None = None) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield (name, LR, HR) of a set of pairs of one size: the middle of each, at most `side` pixels a side (None: all of it)."""
    images = open_set(dataset)
    for i, (name, hr) in enumerate(islice(images, limit)):
        lr = images.lr(i, hr, 1)
        most = side or max(hr.shape)
        top, left = (max((length - most) // 2, 0) for length in hr.shape[:2])
        yield name, lr[top : top + most, left : left + most], hr[top : top + most, left : left + most]


def _displacements(shifts: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """Return (shift, down, right): each shift in both directions, none once."""
    return [one for shift in shifts for one in dict.fromkeys([(shift, 0, shift), (shift, shift, 0)])]


def displaced(
    networks: Mapping[str, nn.Module],
    dataset: str,
    protocol: Protocol,
    *,
    shifts: tuple[int, ...] = (0, 1, 2),
    side: int = SIDE,
    limit: int | None = None,
) -> pd.DataFrame:
    """Score networks of scale 1 on inputs that lie some pixels right of, or below, where they belong.

    Returns a row per network, image and shift: `method`, `image`, `shift`, and in dB, means of both directions, `psnr` against
    HR where it is, `followed` against HR displaced alike. The first falls for any network, as a sharp picture in the wrong place
    is wrong; the second falls where a network depends on how pixels lie in its cells. Nothing is invented at borders: input and
    HR are cut out of the same crop of `side` pixels, so that every shift is scored on as many pixels.
    """
    if not shifts or min(shifts) < 0:
        raise SRError(f"shifts (={shifts}) must be whole numbers of pixels of at least 0, and at least one")
    far, rows = max(shifts), []
    for name, lr, hr in crops(dataset, side, limit):
        height, width = (length - far for length in hr.shape[:2])

        def cut(image: np.ndarray, down: int, right: int, height: int = height, width: int = width) -> np.ndarray:
            return image[far - down : far - down + height, far - right : far - right + width]

        for method, net in networks.items():
            found: dict[int, list[tuple[float, float]]] = {shift: [] for shift in shifts}
            for shift, down, right in _displacements(shifts):
                sr = upscale(net, model_input(net, cut(lr, down, right), protocol, rounded=protocol.round_y))
                scores = (psnr(sr, cut(hr, *place), protocol, 1) for place in ((0, 0), (down, right)))
                found[shift].append(tuple(scores))
            for shift, scores in found.items():
                where, followed = np.mean(scores, axis=0)
                rows.append({"method": method, "image": name, "shift": shift, "psnr": where, "followed": followed})
    return pd.DataFrame(rows)


def cost_of_shift(rows: pd.DataFrame, shift: int) -> pd.DataFrame:
    """Return, of rows of `displaced`, what a shift costs each network on each image: `psnr` in dB, below 0 for a loss."""
    keys = ["method", "image"]
    aligned = rows[rows["shift"] == 0].set_index(keys)["psnr"]
    moved = rows[rows["shift"] == shift].set_index(keys)["psnr"]
    return (moved - aligned).reset_index()
