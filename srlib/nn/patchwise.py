"""What A+ and RFL share: features of the patch around every LR pixel, a residual patch predicted from them, averaging.

R. Zeyde, M. Elad, M. Protter, "On Single Image Scale-Up Using Sparse-Representations", Curves and Surfaces 2010, whose
features and patches A+ (Timofte et al. 2014) and RFL (Schulter et al. 2015) take over.

Around each LR pixel lies a patch of 3x3 LR pixels, which is 3*scale HR pixels a side. Its features are the gradients of
first and second order, along both axes, of the bicubic image at all HR pixels of the patch, reduced by an uncentred PCA.
All of this is linear in the 9x9 LR pixels around the centre, so a single matrix (`projection`) replaces it: the same
features at the cost of the LR grid, which makes x8 cheap. Each patch predicts HR minus bicubic at its HR pixels, and the
nine predictions of a pixel are averaged.

Departures: the gradients of first order are centred at odd scales too (the code's are off by half a pixel); the image is
padded symmetrically, where the code has fewer patches at the border.
"""

from collections.abc import Callable, Iterable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srlib.core.errors import SRError, check_int
from srlib.nn.bicubic import upsample_bicubic
from srlib.nn.borders import mirror

PATCH = 3  # LR pixels a side
WINDOW = 9  # LR pixels a side, receptive field of the features: the patch, 1 on each side for the gradients, 2 for bicubic
INSIDE = 2  # LR pixels, at least, from a sample's centre to the border of its training patch: patch and gradients fit
CHUNK = 8192  # patches predicted at a time, to bound memory


def _pad(x: Tensor, margin: int) -> Tensor:
    return mirror(x, (margin, margin), (margin, margin))


def rows(x: Tensor) -> Tensor:
    """Reshape `(N, D, L)`, as returned by F.unfold, to a row per patch, `(N * L, D)`."""
    return x.transpose(1, 2).reshape(-1, x.shape[1])


def gradients(scale: int) -> np.ndarray:
    """Return the matrix (81, 4 * (3*scale)**2) from 9x9 LR pixels to the gradients of the central patch."""
    impulses = torch.eye(WINDOW**2, dtype=torch.float64).view(-1, 1, WINDOW, WINDOW)
    image = upsample_bicubic(impulses, scale)[:, 0].numpy()
    side, half = PATCH * scale, (scale + 1) // 2

    def at(dy: int, dx: int) -> np.ndarray:
        """Return the patch, shifted by whole HR pixels."""
        return image[:, side + dy : 2 * side + dy, side + dx : 2 * side + dx]

    parts = [
        at(0, half) - at(0, -half),
        at(half, 0) - at(-half, 0),
        (at(0, scale) + at(0, -scale)) / 2 - at(0, 0),
        (at(scale, 0) + at(-scale, 0)) / 2 - at(0, 0),
    ]
    return np.concatenate([part.reshape(len(image), -1) for part in parts], axis=1)


def principal_components(windows: np.ndarray, scale: int, components: int) -> np.ndarray:
    """Return the matrix (81, components) from windows (n, 81) to the leading principal components of their gradients.

    The covariance of the gradients is computed from that of the windows, so no array grows with n times scale**2. It is summed in
    float64, and the largest entry of every component is made positive: CPUs differ in the last bits and in signs.
    """
    parts = (windows[first : first + CHUNK].astype(np.float64) for first in range(0, len(windows), CHUNK))
    variances, axes = np.linalg.eigh(sum(part.T @ part for part in parts) / len(windows))
    matrix = gradients(scale)
    root = np.sqrt(variances.clip(0))[:, None] * axes.T
    directions = np.linalg.svd(root @ matrix, full_matrices=False)[2][:components]
    largest = np.take_along_axis(directions, np.abs(directions).argmax(axis=1, keepdims=True), axis=1)
    return matrix @ (directions * np.sign(largest)).T


def apply_selected(maps: Tensor, chosen: Tensor, x: Tensor) -> Tensor:
    """Multiply each row of `x` (n, C) by its selected matrices and sum: `maps` (M, C, D), `chosen` (n, T) -> (n, D).

    A weighted embedding bag, so that no matrix is copied.
    """
    count, inner, _ = maps.shape
    index = chosen[:, :, None] * inner + torch.arange(inner, device=x.device)
    weights = x.repeat(1, chosen.shape[1])
    return F.embedding_bag(index.flatten(1), maps.reshape(count * inner, -1), mode="sum", per_sample_weights=weights)


class Patchwise(nn.Module):
    """Luma `(N, 1, H, W)` in 0..1 -> luma `(N, 1, scale*H, scale*W)`; bicubic until `fit` has been called.

    A subclass predicts residual patches from features (`predict`) and is fitted to samples of both (`learn`).
    components: of the PCA. samples: maximum kept for fitting, drawn uniformly from all patches given to `fit`.
    """

    channels = 1
    context = WINDOW // 2 + PATCH // 2
    small: dict[str, int] = {}  # arguments of a fit that takes a moment, for probes

    def __init__(self, scale: int, components: int, samples: int):
        super().__init__()
        if not 1 <= components <= WINDOW**2 - 1:
            raise SRError(f"components (={components}) must be from 1 to {WINDOW**2 - 1}")
        self.scale, self.samples = scale, check_int("samples", samples, 1)
        self.register_buffer("projection", torch.zeros(WINDOW**2, components))

    def predict(self, features: Tensor) -> Tensor:
        """Return residual patches `(n, (3*scale)**2)` for features `(n, components)`."""
        raise NotImplementedError

    def learn(self, features: np.ndarray, residuals: np.ndarray, rng: np.random.Generator) -> None:
        """Fit the buffers of the subclass to float32 samples `(n, components)` and `(n, (3*scale)**2)`; may overwrite them."""
        raise NotImplementedError

    @property
    def min_samples(self) -> tuple[int, str]:
        """The minimum number of samples for `learn`, and the arguments that determine it."""
        raise NotImplementedError

    @torch.no_grad()
    def forward(self, lr: Tensor) -> Tensor:
        base = upsample_bicubic(lr, self.scale)
        with torch.autocast(lr.device.type, enabled=False):
            windows = rows(F.unfold(_pad(lr.to(base), self.context), WINDOW))  # (N * (H+2) * (W+2), 81)
            patches = torch.cat([self.predict(self._features(chunk)) for chunk in windows.split(CHUNK)])
            return base + self._averaged(patches.to(base), *lr.shape[-2:])

    def _features(self, windows: Tensor) -> Tensor:
        """Return the features in float64, so that the anchor or leaf of a patch does not depend on the tile."""
        return windows.double() @ self.projection.double()

    def _averaged(self, patches: Tensor, height: int, width: int) -> Tensor:
        """Average overlapping patches `(N * (height + 2) * (width + 2), (3*scale)**2)` to an image; padding is cropped."""
        scale = self.scale
        patches = patches.view(-1, (height + 2) * (width + 2), patches.shape[1]).transpose(1, 2)
        padded = F.fold(patches, ((height + 4) * scale, (width + 4) * scale), PATCH * scale, stride=scale)
        return padded[..., 2 * scale : -2 * scale, 2 * scale : -2 * scale] / PATCH**2

    @torch.no_grad()
    def fit(self, batches: Iterable[tuple[Tensor, Tensor]], seed: int) -> None:
        """Fit in closed form to batches of `(lr, hr)` patches, `hr` scale times the size of `lr`, float luma in 0..1.

        Samples lie at least 2 LR pixels inside a patch, which is padded symmetrically for bicubic. The same batches and seed give
        the same weights on one thread. Raises SRError for too few samples.
        """
        rng = np.random.default_rng(seed)
        windows, residuals, seen = self._collect(batches, rng)
        needed, arguments = self.min_samples
        if len(windows) < needed:
            raise SRError(
                f"{type(self).__name__} has {len(windows)} samples (seen {seen}, samples={self.samples}) and needs at least "
                f"{needed} for {arguments}; give more or larger patches (n - {2 * INSIDE} squared each for n LR pixels a "
                "side), raise samples, or lower these arguments"
            )
        projection = principal_components(windows, self.scale, self.projection.shape[1])
        self.projection.copy_(torch.from_numpy(projection))
        self.learn(windows @ projection.astype(np.float32), residuals, rng)

    def _collect(self, batches, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, int]:
        """Draw at most `samples` windows and residual patches uniformly from a stream: Vitter's algorithm R."""
        scale, seen = self.scale, 0
        windows = np.empty((self.samples, WINDOW**2), np.float32)
        residuals = np.empty((self.samples, (PATCH * scale) ** 2), np.float32)
        for lr, hr in batches:
            if min(lr.shape[-2:]) <= 2 * INSIDE:
                continue  # too small to hold a sample
            cut = scale * (INSIDE - PATCH // 2)
            residual = (hr - upsample_bicubic(lr, scale))[..., cut:-cut, cut:-cut]
            x = rows(F.unfold(_pad(lr, WINDOW // 2 - INSIDE), WINDOW)).cpu().numpy()
            y = rows(F.unfold(residual, PATCH * scale, stride=scale)).cpu().numpy()
            slots = np.arange(seen, seen + len(x))
            late = slots >= self.samples
            slots[late] = rng.integers(0, slots[late] + 1)
            kept = slots < self.samples
            windows[slots[kept]], residuals[slots[kept]] = x[kept], y[kept]
            seen += len(x)
        return windows[:seen], residuals[:seen], seen


class FittedWhenUsed(nn.Module):
    """A network in closed form that is fitted when it is called first. unfitted: of its kind. fit: returns it, fitted."""

    def __init__(self, unfitted: Patchwise, fit: Callable[[], nn.Module]):
        super().__init__()
        self.kind, self.scale, self.fit = type(unfitted), unfitted.scale, fit
        self.channels, self.context = unfitted.channels, unfitted.context
        self.net: nn.Module | None = None

    def forward(self, lr: Tensor) -> Tensor:
        if self.net is None:
            self.net = self.fit().eval()
        return self.net(lr)
