"""Training batches: random aligned LR and HR patches, deterministic in (seed, step)."""

import numpy as np
import torch

from srlib.core.errors import SRError, check_int
from srlib.data.pairs import Pairs


class PatchSampler:
    """Sample batches of aligned patches from packed pairs.

    pairs: see `pairs.open_pairs`. batch: patches per step over all processes. lr_patch: side in LR pixels; the HR
    patch has lr_patch * scale. seed: a whole number, 0 to 2**64 - 1.

    Every patch position of every image is equally likely, and so is each of the 8 symmetries of the square. Images
    smaller than the patch are excluded and listed in `.skipped`. Raises SRError if none is large enough.
    """

    def __init__(self, pairs: Pairs, *, batch: int, lr_patch: int, seed: int):
        for name, value, least in (("batch", batch, 1), ("lr_patch", lr_patch, 1), ("seed", seed, 0)):
            check_int(name, value, least)
        self.pairs, self.batch_size, self.lr_patch, self.seed = pairs, batch, lr_patch, seed
        positions = pairs.sizes - lr_patch + 1  # positions along each axis
        fits = (positions > 0).all(axis=1)
        self.skipped = tuple(name for name, fit in zip(pairs.names, fits, strict=True) if not fit)
        if not fits.any():
            height, width = pairs.sizes[pairs.sizes.min(axis=1).argmax()]
            raise SRError(
                f"lr_patch: got {lr_patch}, larger than every LR image of {pairs.name} at scale {pairs.scale}; "
                f"the largest has {height}x{width} pixels: give at most {min(height, width)}"
            )
        self._views = [pairs[i] for i in np.flatnonzero(fits)]
        self._columns = positions[fits, 1]
        self._ends = np.cumsum(positions[fits].prod(axis=1))

    def batch(self, step: int, rank: int = 0, world: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (lr, hr) of a step, contiguous uint8 RGB tensors (n, 3, h, w) and (n, 3, h*scale, w*scale).

        Process `rank` of `world` gets rows rank*n//world to (rank+1)*n//world of the global batch.
        """
        check_int("step", step, 0)
        check_int("world", world, 1)
        check_int("rank", rank, 0)
        if rank >= world:
            raise SRError(f"rank: got {rank}, expected less than world = {world}")
        rng = np.random.Generator(np.random.Philox(key=np.array([self.seed, step], dtype=np.uint64)))
        position = rng.integers(0, self._ends[-1], self.batch_size)
        symmetry = rng.integers(0, 8, self.batch_size)
        rows = slice(rank * self.batch_size // world, (rank + 1) * self.batch_size // world)
        position, symmetry = position[rows], symmetry[rows]
        image = np.searchsorted(self._ends, position, side="right")
        within = position - np.where(image > 0, self._ends[image - 1], 0)
        top, left = np.divmod(within, self._columns[image])

        side, scale = self.lr_patch, self.pairs.scale
        lr = np.empty((len(position), 3, side, side), np.uint8)
        hr = np.empty((len(position), 3, side * scale, side * scale), np.uint8)
        drawn = zip(image.tolist(), top.tolist(), left.tolist(), symmetry.tolist(), strict=True)
        for row, (i, y, x, k) in enumerate(drawn):
            lr_image, hr_image = self._views[i]
            lr[row] = _augment(lr_image[y : y + side, x : x + side], k)
            y, x, length = y * scale, x * scale, side * scale
            hr[row] = _augment(hr_image[y : y + length, x : x + length], k)
        return torch.from_numpy(lr), torch.from_numpy(hr)


def _augment(patch: np.ndarray, symmetry: int) -> np.ndarray:
    """Return a square patch (h, w, 3) as a view (3, h, w), flipped by bits 0 and 1 of `symmetry`, transposed by bit 2."""
    planes = patch.transpose(2, 0, 1)
    if symmetry & 1:
        planes = planes[:, ::-1]
    if symmetry & 2:
        planes = planes[:, :, ::-1]
    return planes.transpose(0, 2, 1) if symmetry & 4 else planes
