"""Perceptual metrics: GMSD and gradient energy, which need no weights, and LPIPS where its weights are fetched.

GMSD: W. Xue et al., "Gradient Magnitude Similarity Deviation: A Highly Efficient Perceptual Image Quality Index", IEEE TIP 2014.
LPIPS: see `scoring.lpips`.
"""

from collections.abc import Callable, Mapping
from itertools import islice

import numpy as np
import pandas as pd
import torch
from torch import nn

from srlib.core.color import to_rgb
from srlib.core.errors import SRError
from srlib.core.protocols import Protocol
from srlib.data.sets import ImageSet, open_set
from srlib.scoring.evaluation import SCORERS, super_resolve
from srlib.scoring.lpips import load_lpips

GMSD_C = 170.0  # stabilising constant for 0..255
NO_LPIPS = "LPIPS is omitted: its weights are not fetched (python -m srlib data lpips/alex, 10 MB)"


def _gradient(image: np.ndarray) -> np.ndarray:
    """Return the gradient magnitude of an image's luminance at half resolution: 2x2 averages, then 3x3 Prewitt filters."""
    grey = to_rgb(image).astype(float) @ [0.299, 0.587, 0.114]
    height, width = (side // 2 * 2 for side in grey.shape)
    if min(height, width) < 6:
        raise SRError(f"image has {grey.shape} pixels, expected at least 6 a side")
    small = grey[:height, :width].reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))
    across = (small[:, 2:] - small[:, :-2]) / 3
    down = (small[2:] - small[:-2]) / 3
    across = across[:-2] + across[1:-1] + across[2:]
    down = down[:, :-2] + down[:, 1:-1] + down[:, 2:]
    return np.hypot(across, down)


def gmsd(sr: np.ndarray, hr: np.ndarray) -> float:
    """Return the GMSD of images in 0..255: 0 for identical ones, lower is better."""
    a, b = _gradient(sr.clip(0, 255)), _gradient(hr)
    return float(((2 * a * b + GMSD_C) / (a**2 + b**2 + GMSD_C)).std())


def sharpness(sr: np.ndarray, hr: np.ndarray) -> float:
    """Return the gradient energy of SR relative to HR: below 1 where SR is blurrier, above 1 where it is sharper or noisier."""
    a, b = (np.square(_gradient(image)).mean() for image in (sr.clip(0, 255), hr))
    return float(a / b) if b else np.nan


def lpips() -> Callable[[np.ndarray, np.ndarray], float]:
    """Return the LPIPS (AlexNet) function of two images in 0..255, lower is better.

    Raises SRError for weights that are damaged or not fetched.
    """
    net = load_lpips()

    def distance(sr: np.ndarray, hr: np.ndarray) -> float:
        pair = (torch.from_numpy(to_rgb(image).clip(0, 255).transpose(2, 0, 1)[None] / 255).float() for image in (sr, hr))
        with torch.no_grad():
            return net(*pair).item()

    return distance


def score(model: nn.Module, dataset: str | ImageSet, protocol: Protocol, limit: int | None = None) -> pd.DataFrame:
    """Return a row per image of a set: `image`, `gmsd`, `sharpness`.

    limit: only the first images. Images are degraded and cropped as the protocol says, without shaving a border. Raises SRError
    for a luma network, whose output does not have the range of RGB images.
    """
    return _rows({"gmsd": gmsd, "sharpness": sharpness}, model, dataset, protocol, limit)


def score_lpips(model: nn.Module, dataset: str | ImageSet, protocol: Protocol, limit: int | None = None) -> pd.DataFrame:
    """Return a row per image of a set: `image`, `lpips`. Arguments and errors: as of `score` and `lpips`."""
    return _rows({"lpips": lpips()}, model, dataset, protocol, limit)


SCORERS |= {"perceptual": score, "lpips": score_lpips}


def _rows(
    metrics: Mapping[str, Callable[[np.ndarray, np.ndarray], float]],
    model: nn.Module,
    dataset: str | ImageSet,
    protocol: Protocol,
    limit: int | None,
) -> pd.DataFrame:
    images, rows = open_set(dataset), []
    for i, (image, hr) in enumerate(islice(images, limit)):
        lr = images.lr(i, hr, model.scale) if images.paired else None
        sr, target, _ = super_resolve(model, hr, protocol, lr=lr)
        if sr.ndim < target.ndim:
            raise SRError(f"model: makes luma alone under the protocol {protocol.name!r}, expected a network of RGB")
        rows.append({"image": image, **{name: metric(sr, target) for name, metric in metrics.items()}})
    return pd.DataFrame(rows)
