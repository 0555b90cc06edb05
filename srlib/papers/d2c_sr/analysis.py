"""The predictions and fusion weights inside D2C-SR, and the upper bound of any fusion.

Y. Li et al., "D2C-SR", ECCV 2022: section 3.3 (weights), section 4.6 (ideal fusion).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, islice

import numpy as np
import pandas as pd
import torch

from srlib.core.color import to_rgb
from srlib.core.imresize import downscale, modcrop
from srlib.core.metrics import psnr
from srlib.core.protocols import Protocol
from srlib.data.sets import open_set
from srlib.papers.d2c_sr.model import Fused, Tree

LUMA = np.array([0.299, 0.587, 0.114])


Box = tuple[int, int, int, int]  # top, left, height, width


def crop(image: np.ndarray, box: Box) -> np.ndarray:
    """Return the part in a box of images `(..., H, W, 3)` or of a map `(H, W)`."""
    top, left, height, width = box
    if image.ndim == 2:
        return image[top : top + height, left : left + width]
    return image[..., top : top + height, left : left + width, :]


@dataclass(frozen=True)
class Intermediates:
    """Predictions `(P, H, W, 3)` in 0..255, not clipped, and fusion weights `(P, H, W)`, which sum to 1 at every pixel.

    The weights of a divergence network alone are uniform: its output is the mean of its predictions.
    """

    predictions: np.ndarray
    weights: np.ndarray

    @property
    def fused(self) -> np.ndarray:
        return weighted_sum(self.predictions, self.weights)

    def crop(self, box: Box) -> "Intermediates":
        return Intermediates(crop(self.predictions, box), np.stack([crop(weights, box) for weights in self.weights]))


def weighted_sum(predictions: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the weighted sum `(H, W, 3)` of predictions `(P, H, W, 3)`; weights `(P, H, W)`, or `(P,)` for all pixels."""
    weights = weights.reshape(*weights.shape, *(1,) * (4 - weights.ndim))
    return (predictions * weights).sum(axis=0)


@torch.no_grad()
def inspect(net: Fused | Tree, lr: np.ndarray) -> Intermediates:
    """Return predictions and fusion weights of a network for a uint8 RGB image `(h, w, 3)`, without tiling."""
    x = torch.from_numpy(lr.transpose(2, 0, 1)[None].copy()).float() / 255
    predictions = net.eval().predictions(x)  # (1, P, 3, H, W)
    uniform = torch.full_like(predictions[:, :, 0], 1 / predictions.shape[1])
    weights = net.convergence(predictions) if isinstance(net, Fused) else uniform
    return Intermediates(255 * predictions[0].permute(0, 2, 3, 1).double().numpy(), weights[0].double().numpy())


def ideal_weights(predictions: np.ndarray, hr: np.ndarray) -> np.ndarray:
    """Return the weights `(P, H, W)` of the ideal fusion: 1 for the prediction whose luma is closest to HR's at a pixel.

    "The pixel that best matches the HR", section 4.6. The best selection for PSNR on luma; a mean of several may be better still.
    """
    distance = np.abs((predictions - hr) @ LUMA)
    return (distance.argmin(axis=0) == np.arange(len(predictions))[:, None, None]).astype(float)


def pairwise_difference(predictions: np.ndarray) -> np.ndarray:
    """Return the mean absolute difference of two predictions, over all pairs and channels, `(H, W)`; 0 where there is one."""
    pairs = [np.abs(a - b).mean(axis=-1) for a, b in combinations(predictions, 2)]
    return np.mean(pairs, axis=0) if pairs else np.zeros(predictions.shape[1:3])


def checkerboard_rms(image: np.ndarray) -> float:
    """Return the RMS of the finest checkerboard pattern in an image `(H, W, 3)`, in grey levels: half the difference between the
    means of the two diagonals of every 2x2 pixels."""
    corners = image[:-1, :-1] - image[1:, :-1] - image[:-1, 1:] + image[1:, 1:]
    return float(np.sqrt(np.square(corners / 4).mean()))


def image_pairs(dataset: str, scale: int, limit: int | None = None) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield (name, LR, HR) of a dataset, HR cropped to a multiple of the scale; LR of a set without pairs is made from HR."""
    images = open_set(dataset)
    for i, (name, whole) in enumerate(islice(images, limit)):
        hr = modcrop(to_rgb(whole), scale)
        yield name, images.lr(i, whole, scale) if images.paired else downscale(hr, scale), hr


def evaluate_parts(net: Fused | Tree, dataset: str, protocol: Protocol, limit: int | None = None) -> pd.DataFrame:
    """Return a row per image and part of a network: `image`, `part`, `psnr` (dB).

    part: "fused", the output (of a divergence network: the mean); "single", the mean PSNR of its predictions; "mean", of their
    unweighted mean; "ideal", of the ideal fusion; "between", the mean PSNR of two predictions against each other.
    """

    def decibels(image: np.ndarray, target: np.ndarray) -> float:
        return float(psnr(image, target, protocol, net.scale))

    rows = []
    for name, lr, hr in image_pairs(dataset, net.scale, limit):
        inside = inspect(net, lr)
        clipped = inside.predictions.clip(0, 255)
        scores = {
            "fused": decibels(inside.fused, hr),
            "single": float(np.mean([decibels(image, hr) for image in clipped])),
            "mean": decibels(inside.predictions.mean(axis=0), hr),
            "ideal": decibels(weighted_sum(inside.predictions, ideal_weights(inside.predictions, hr)), hr),
        }
        if len(clipped) > 1:
            scores["between"] = float(np.mean([decibels(a, b) for a, b in combinations(clipped, 2)]))
        rows += [{"image": name, "part": part, "psnr": value} for part, value in scores.items()]
    return pd.DataFrame(rows)
