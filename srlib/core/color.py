"""BT.601 studio-range colour as MATLAB's rgb2ycbcr computes it: Y in 16..235, Cb and Cr in 16..240."""

import numpy as np
from torch import Tensor

from srlib.core.errors import SRError

# MATLAB's rgb2ycbcr: [Y Cb Cr] = OFFSET + MATRIX @ [R G B] / 255
MATRIX = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]])
OFFSET = np.array([16.0, 128.0, 128.0])
INVERSE = np.linalg.inv(MATRIX)


def to_rgb(image: np.ndarray) -> np.ndarray:
    """Return an image as (H, W, 3): RGB unchanged, grey of (H, W) or (H, W, 1) repeated to three channels."""
    if image.ndim == 3 and image.shape[2] == 3:
        return image
    if image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 1):
        return np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)
    raise SRError(f"image: got shape {image.shape}, expected (H, W) or (H, W, 3)")


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Convert an image in 0..255 to uint8: clip and round half up; uint8 is returned unchanged."""
    return image if image.dtype == np.uint8 else np.floor(image.clip(0, 255) + 0.5).astype(np.uint8)


def to_y(image: np.ndarray, rounded: bool) -> np.ndarray:
    """Return the studio-range luma (H, W), 16..235, of an image in 0..255 as MATLAB's rgb2ycbcr computes it.

    A grey image counts as R = G = B. rounded: round half up to integers, as MATLAB does for uint8 images.
    Returns float32 for float32 input, float64 otherwise.
    """
    image = to_rgb(image)
    y = image.astype(_float(image)) @ (MATRIX[0] / 255).astype(_float(image)) + OFFSET[0].astype(_float(image))
    return np.floor(y + 0.5) if rounded else y


def rgb_to_ycbcr(image: np.ndarray) -> np.ndarray:
    """Return Y (16..235), Cb and Cr (16..240) of an RGB image (H, W, 3) in 0..255, as floats (see `to_y`)."""
    image = to_rgb(image)
    dtype = _float(image)
    return image.astype(dtype) @ (MATRIX.T / 255).astype(dtype) + OFFSET.astype(dtype)


def ycbcr_to_rgb(image: np.ndarray) -> np.ndarray:
    """Return RGB in 0..255 as floats, the inverse of `rgb_to_ycbcr`; values outside 0..255 are not clipped."""
    if image.ndim != 3 or image.shape[2] != 3:
        raise SRError(f"image: got shape {image.shape}, expected YCbCr of (H, W, 3)")
    dtype = _float(image)
    return (image.astype(dtype) - OFFSET.astype(dtype)) @ (INVERSE.T * 255).astype(dtype)


def _float(image: np.ndarray) -> type:
    return np.float32 if image.dtype == np.float32 else np.float64


def with_chroma(luma: np.ndarray, chroma: np.ndarray) -> np.ndarray:
    """Return RGB floats `(H, W, 3)` of luma `(H, W)` and CbCr `(H, W, 2)`, as `rgb_to_ycbcr` gives them, not clipped."""
    return ycbcr_to_rgb(np.concatenate([luma[..., None], chroma], axis=2))


def luma(rgb: Tensor) -> Tensor:
    """Return Y/255 `(N, 1, H, W)`, 16/255..235/255, of RGB `(N, 3, H, W)` in 0..1; differentiable, not rounded."""
    weights = rgb.new_tensor(MATRIX[0] / 255).view(1, 3, 1, 1)
    return (rgb * weights).sum(dim=1, keepdim=True) + OFFSET[0] / 255
