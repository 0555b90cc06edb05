"""What networks for pairs of equal size (scale 1, luma) share.

They work on features at a quarter of the resolution. An image of any size is padded to multiples of four on the right and
below, and the output cropped, so that pixels keep their place in the 4x4 cells. Tiles agree with the whole image where their
corners are multiples of four, and so is `context`.
"""

from torch import Tensor, nn

from srlib.core.errors import SRError
from srlib.nn.borders import crop_corner, pad_to_multiple

CELL = 4


def pad(image: Tensor) -> Tensor:
    """Pad `(N, C, H, W)` on the right and below to multiples of four."""
    return pad_to_multiple(image, CELL)


def crop_like(image: Tensor, lr: Tensor) -> Tensor:
    """Undo `pad`: crop `image` to the size of `lr`."""
    return crop_corner(image, *lr.shape[-2:])


def context(pixels: int, cells: int) -> int:
    """Return the context of layers that reach `pixels` at full resolution after `cells` at a quarter of it."""
    reach = pixels + cells * CELL + CELL - 1
    return -(-reach // CELL) * CELL


class SameSize(nn.Module):
    """Luma `(N, 1, H, W)` in 0..1 -> luma of the same size. A subclass has `enhance(lr)`, for sides that are multiples of four.

    Raises SRError for a scale other than 1.
    """

    channels = 1
    scale = 1

    def __init__(self, scale: int):
        super().__init__()
        if scale != 1:
            raise SRError(f"scale (={scale}) of {type(self).__name__} must be 1: its input has the size of its output")

    def forward(self, lr: Tensor) -> Tensor:
        return crop_like(self.enhance(pad(lr)), lr)
