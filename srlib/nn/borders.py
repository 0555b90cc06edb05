"""Padding and cropping of images."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def mirror(x: Tensor, rows: tuple[int, int], columns: tuple[int, int]) -> Tensor:
    """Pad `(..., H, W)` symmetrically, border pixels repeated; works for any size of image, however small.

    rows: how many to add above and below; columns: left and right.
    """
    for dim, margins in ((-2, rows), (-1, columns)):
        if any(margins):
            index = np.pad(np.arange(x.shape[dim]), margins, mode="symmetric")
            x = x.index_select(dim, torch.as_tensor(index, device=x.device))
    return x


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Pad `(N, C, H, W)` on the right and below to multiples of `multiple`, by repeating the last column and row."""
    height, width = x.shape[-2:]
    return F.pad(x, (0, -width % multiple, 0, -height % multiple), mode="replicate")


def crop_corner(x: Tensor, height: int, width: int) -> Tensor:
    """Return the upper left `height` by `width` pixels of `(..., H, W)`: undoes `pad_to_multiple`."""
    return x[..., :height, :width]


def crop_centre(x: Tensor, height: int, width: int) -> Tensor:
    """Return the central `height` by `width` pixels of `(..., H, W)`: what layers without padding leave of an image."""
    top, left = (x.shape[-2] - height) // 2, (x.shape[-1] - width) // 2
    return x[..., top : top + height, left : left + width]
