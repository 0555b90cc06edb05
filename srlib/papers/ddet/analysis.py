"""Analysis of per-pixel kernels: components removed, kernels of single pixels, and displaced inputs.

Y. Shi et al., "DDet", IEEE SPL 2020: section II-B (kernels), section II-C (displaced pixels).
"""

import copy
from collections.abc import Iterator
from itertools import islice

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from srlib.core.color import rgb_to_ycbcr, to_rgb, to_uint8, to_y, with_chroma
from srlib.core.errors import SRError
from srlib.core.metrics import psnr
from srlib.core.protocols import Protocol
from srlib.data.images import center_crop
from srlib.data.sets import ImageSet, open_set
from srlib.papers.ddet.model import DDet, Intermediates
from srlib.scoring.evaluation import model_input, upscale

CROP = 256  # pixels a side of the images that are displaced
KINDS = ("edge", "texture", "flat")
NEIGHBOURHOOD = 17  # pixels a side of the window that classifies a pixel


def ablate_components(net: DDet) -> dict[str, DDet]:
    """Return copies of a trained DDet, each without one component, by the names of the paper's `parts`."""
    ablated = {name: copy.deepcopy(net).eval() for name in ("ddet_no_cdm", "ddet_no_refine")}
    ablated["ddet_no_cdm"].cdm = ablated["ddet_no_refine"].refine = None
    return ablated


def luma_input(lr: np.ndarray) -> Tensor:
    """Return the luma `(1, 1, H, W)` in 0..1 of a uint8 image `(H, W, 3)`, as networks take it."""
    return torch.from_numpy(to_y(lr, rounded=True))[None, None].float() / 255


@torch.no_grad()
def inspect(
    net: DDet, lr: np.ndarray, cdm: bool = True, refine: bool = True, kernels: list[Tensor] | None = None
) -> Intermediates:
    """Return the intermediate images of a DDet for a uint8 LR image `(H, W, 3)`, in 0..1; see `DDet.intermediates`."""
    return net.eval().intermediates(luma_input(lr), cdm, refine, kernels)


def reshape_kernels(kernels: list[Tensor], height: int, width: int) -> list[np.ndarray]:
    """Return the kernels of an image, `(1, K*K, >= height, >= width)` per head, as `(height, width, K, K)`."""
    inside = [per_pixel[0, :, :height, :width] for per_pixel in kernels]
    sizes = [round(len(elements) ** 0.5) for elements in inside]
    return [x.unflatten(0, (size, size)).permute(2, 3, 0, 1).numpy() for x, size in zip(inside, sizes, strict=True)]


@torch.no_grad()
def predict_kernels(net: nn.Module, lr: np.ndarray) -> list[np.ndarray]:
    """Return the kernels of every pixel of a uint8 LR image `(H, W, 3)`: `(H, W, K, K)` for each head."""
    return reshape_kernels(net.eval().kernels(luma_input(lr)), *lr.shape[:2])


def kernel_variation(kernels: np.ndarray) -> tuple[float, float]:
    """Return how much kernels `(H, W, K, K)` vary over pixels, and how far their mean is from a single central weight.

    The first is the RMS deviation of weights from their mean over the image, 0 for a fixed filter; the second the RMS of the
    mean kernel's weights off the centre, 0 for the identity up to a factor.
    """
    mean = kernels.mean(axis=(0, 1))
    off_centre = np.delete(mean.ravel(), mean.size // 2)
    return float(np.sqrt(np.square(kernels - mean).mean())), float(np.sqrt(np.square(off_centre).mean()))


def colorize(luma: Tensor, lr: np.ndarray) -> np.ndarray:
    """Return luma `(1, 1, H, W)` in 0..1 as a uint8 RGB image with the chroma of the LR image `(H, W, 3)`."""
    chroma = rgb_to_ycbcr(to_rgb(lr).astype(float))[..., 1:]
    return to_uint8(with_chroma(luma[0, 0].double().numpy() * 255, chroma))


def representative_pixels(image: np.ndarray, margin: int = 16) -> dict[str, tuple[int, int]]:
    """Return (row, column) of the pixel of a uint8 image whose neighbourhood is most typical of each of `KINDS`.

    By the structure tensor over 17x17 pixels, with eigenvalues a >= b: an edge maximises a - 4 b, texture b, and a flat region
    -(a + b). margin: pixels at the border that are left out.
    """
    from srlib.draw.panels import window_sums  # matplotlib, which scoring and training do without

    least = 2 * margin + NEIGHBOURHOOD
    if min(image.shape[:2]) <= least:
        raise SRError(f"image is {image.shape[0]}x{image.shape[1]}, expected more than {least} pixels a side")
    down, right = np.gradient(to_y(to_rgb(image), rounded=False))
    xx, yy, xy = (window_sums(product, NEIGHBOURHOOD) for product in (right**2, down**2, right * down))
    middle, half = (xx + yy) / 2, np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    large, small = middle + half, middle - half
    inner = slice(margin - NEIGHBOURHOOD // 2, NEIGHBOURHOOD // 2 - margin)
    pixels = {}
    for kind, response in zip(KINDS, (large - 4 * small, small, -large - small), strict=True):
        y, x = np.unravel_index(response[inner, inner].argmax(), response[inner, inner].shape)
        pixels[kind] = (int(y) + margin, int(x) + margin)
    return pixels


def center_crops(
    dataset: str | ImageSet, side: int | None = CROP, limit: int | None = None
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield (name, LR, HR) of a dataset of same-size pairs, center-cropped to at most `side` pixels a side (None: uncropped)."""
    images = open_set(dataset)
    for i, (name, hr) in enumerate(islice(images, limit)):
        lr = images.lr(i, hr, 1)
        size = side or max(hr.shape)
        yield name, center_crop(lr, size), center_crop(hr, size)


def evaluate_displaced(
    net: nn.Module,
    dataset: str | ImageSet,
    protocol: Protocol,
    limit: int | None = None,
    *,
    shifts: tuple[int, ...] = (0, 1, 2),
    side: int = CROP,
) -> pd.DataFrame:
    """Evaluate a network of scale 1 on inputs displaced by some pixels to the right or downwards.

    Returns a row per image and shift: `image`, `shift`, and in dB, means of both directions, `psnr` against HR in place,
    `followed` against HR displaced with the input. The first falls for any network, as input and HR are misaligned; the second
    falls where a network is not shift-equivariant. No padding: input and HR are cropped from the same `side` pixels, and every
    shift is evaluated on equally many.
    """
    if not shifts or min(shifts) < 0:
        raise SRError(f"shifts (={shifts}) must be whole numbers of pixels of at least 0, and at least one")
    farthest, rows = max(shifts), []
    for name, lr, hr in center_crops(dataset, side, limit):
        height, width = (length - farthest for length in hr.shape[:2])

        def crop(image: np.ndarray, down: int, right: int, height: int = height, width: int = width) -> np.ndarray:
            return image[farthest - down :, farthest - right :][:height, :width]

        for shift in shifts:
            for down, right in {(0, shift), (shift, 0)}:
                sr = upscale(net, model_input(net, crop(lr, down, right), protocol, rounded=protocol.round_y))
                in_place, followed = (psnr(sr, crop(hr, *place), protocol, 1) for place in ((0, 0), (down, right)))
                rows.append({"image": name, "shift": shift, "psnr": in_place, "followed": followed})
    return pd.DataFrame(rows).groupby(["image", "shift"], sort=False, as_index=False).mean()


def psnr_change(rows: pd.DataFrame, shift: int) -> pd.DataFrame:
    """Return the change of PSNR by a shift for each `method` and image, a loss negative. rows: see `evaluate_displaced`."""
    keys = ["method", "image"]
    aligned = rows[rows["shift"] == 0].set_index(keys)["psnr"]
    moved = rows[rows["shift"] == shift].set_index(keys)["psnr"]
    return (moved - aligned).reset_index()
