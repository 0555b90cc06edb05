"""What networks for pairs of the same size have in common: scale 1, luma, and sides that they need as multiples of four.

They work on features a quarter as large. An image of any size is continued to the right and below by its last column and row
and cropped back, so pixels keep their place in the cells of 4x4. Tiles agree with the whole image where their corners are
multiples of four; `context` is one.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from srlib.core.errors import SRError
from srlib.nn.blocks import conv

CELL = 4


def pad(image: Tensor) -> Tensor:
    """Continue `(N, C, H, W)` to the right and below, by its last column and row, to the next multiples of four."""
    height, width = image.shape[-2:]
    return F.pad(image, (0, -width % CELL, 0, -height % CELL), mode="replicate")


def crop_like(image: Tensor, lr: Tensor) -> Tensor:
    """Undo `pad`: the upper left of `image` in the size of `lr`."""
    return image[..., : lr.shape[-2], : lr.shape[-1]]


def context(pixels: int, cells: int) -> int:
    """Return a context for layers that reach `pixels` in full resolution, then `cells` of 4x4 pixels."""
    reach = pixels + cells * CELL + CELL - 1
    return -(-reach // CELL) * CELL


class Block(nn.Module):
    """conv, ReLU, conv, and the input added; no activation after it."""

    def __init__(self, width: int):
        super().__init__()
        self.body = nn.Sequential(conv(width, width), nn.ReLU(), conv(width, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class SameSize(nn.Module):
    """Luma `(N, 1, H, W)` in 0..1 -> luma of the same size: `enhance`, on sides that are multiples of four.

    Raises SRError for a scale other than 1.
    """

    channels = 1
    scale = 1

    def __init__(self, scale: int):
        super().__init__()
        if scale != 1:
            raise SRError(f"scale (={scale}) of {type(self).__name__} must be 1: its input has the size of its output")

    def enhance(self, lr: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, lr: Tensor) -> Tensor:
        return crop_like(self.enhance(pad(lr)), lr)
