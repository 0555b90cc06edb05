"""What a network of several predictions does inside: its predictions, their weights, and the best that any fusion could do.

Y. Li et al., "D2C-SR", ECCV 2022: section 3.3 (weights), section 4.6 (ideal fusion).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, islice

import numpy as np
import pandas as pd
import torch

from srlib.core.metrics import psnr
from srlib.core.protocols import Protocol
from srlib.data.sets import open_set
from srlib.papers.d2c_sr.model import Fused, Tree

LUMA = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class Look:
    """The inside of a network on one image. predictions: `(P, H, W, 3)` in 0..255, not clipped. weights: `(P, H, W)`, adding up
    to 1 at every pixel; those of the mean for a divergence network alone."""

    predictions: np.ndarray
    weights: np.ndarray

    @property
    def fused(self) -> np.ndarray:
        return fuse(self.predictions, self.weights)


def fuse(predictions: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the weighted sum `(H, W, 3)`; weights `(P, H, W)`, or `(P,)` for the whole picture."""
    weights = weights.reshape(*weights.shape, *(1,) * (4 - weights.ndim))
    return (predictions * weights).sum(axis=0)


@torch.no_grad()
def look(net: Fused | Tree, lr: np.ndarray) -> Look:
    """Run a network on one uint8 RGB image `(h, w, 3)`, whole."""
    x = torch.from_numpy(lr.transpose(2, 0, 1)[None].copy()).float() / 255
    found = net.eval().predictions(x)
    weights = net.convergence(found) if isinstance(net, Fused) else torch.full_like(found[:, :, 0], 1 / found.shape[1])
    return Look(255 * found[0].permute(0, 2, 3, 1).double().numpy(), weights[0].double().numpy())


def nearest(predictions: np.ndarray, hr: np.ndarray) -> np.ndarray:
    """Return the weights `(P, H, W)` of the ideal fusion: 1 for the prediction whose luma is closest to HR's at a pixel.

    "The pixel that best matches the HR", section 4.6. The best choice for a PSNR of luma, though a mean of several may be better.
    """
    distance = np.abs((predictions - hr) @ LUMA)
    return (distance.argmin(axis=0) == np.arange(len(predictions))[:, None, None]).astype(float)


def differences(predictions: np.ndarray) -> np.ndarray:
    """Return the mean absolute difference between two predictions, over all pairs and colours, `(H, W)`; 0 for one alone."""
    pairs = [np.abs(a - b).mean(axis=-1) for a, b in combinations(predictions, 2)]
    return np.mean(pairs, axis=0) if pairs else np.zeros(predictions.shape[1:3])


def checkerboard(image: np.ndarray) -> float:
    """Return how much of the finest checkerboard a picture `(H, W, 3)` has: the RMS, in grey levels, of the contrast between the
    two diagonals of 2x2 pixels."""
    corners = image[:-1, :-1] - image[1:, :-1] - image[:-1, 1:] + image[1:, 1:]
    return float(np.sqrt(np.square(corners / 4).mean()))


def pictures(dataset: str, scale: int, limit: int | None = None) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield (name, LR, HR) of a set of pairs, HR cropped to a multiple of the scale."""
    images = open_set(dataset)
    for i, (name, hr) in enumerate(islice(images, limit)):
        height, width = (side // scale * scale for side in hr.shape[:2])
        yield name, images.lr(i, hr, scale), hr[:height, :width]


def _score(found: Look, hr: np.ndarray, protocol: Protocol, scale: int) -> dict[str, float]:
    def one(image: np.ndarray, target: np.ndarray) -> float:
        return float(psnr(image, target, protocol, scale))

    clipped = found.predictions.clip(0, 255)
    scores = {
        "fused": one(found.fused, hr),
        "single": float(np.mean([one(image, hr) for image in clipped])),
        "mean": one(found.predictions.mean(axis=0), hr),
        "ideal": one(fuse(found.predictions, nearest(found.predictions, hr)), hr),
    }
    if len(clipped) > 1:
        scores["between"] = float(np.mean([one(a, b) for a, b in combinations(clipped, 2)]))
    return scores


def score(net: Fused | Tree, dataset: str, protocol: Protocol, limit: int | None = None) -> pd.DataFrame:
    """Return a row per image and part of a network: `image`, `part`, `psnr` (dB).

    part: "fused", the result (a divergence network's is the mean); "single", the mean PSNR of its predictions; "mean" of them,
    every weight the same; "ideal", the bound; "between", the mean PSNR of two predictions against each other.
    """
    rows = []
    for name, lr, hr in pictures(dataset, net.scale, limit):
        scores = _score(look(net, lr), hr, protocol, net.scale)
        rows += [{"image": name, "part": part, "psnr": value} for part, value in scores.items()]
    return pd.DataFrame(rows)
