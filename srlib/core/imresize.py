"""Bicubic resizing: MATLAB's `imresize`, Pillow's bicubic, cropping to a multiple of the scale.

`imresize` follows MATLAB's function of that name for its default, cubic method: the kernel of Keys (1981) with
a = -0.5, widened by 1/scale when an axis shrinks (antialiasing), pixel centres at half integers, the image
mirrored at its border with the border pixel repeated, the axis with the smaller scale first. Integer images are
computed in float64, and rounded half up and clipped after each axis.
"""

import math
import numbers
from functools import lru_cache

import numpy as np
import torch
from PIL import Image

from srlib.core.errors import SRError

# Output pixels per matrix product, tuned; run times are flat around these values.
BLOCK_DOWN, BLOCK_UP, BLOCK_TORCH = 8, 32, 128


def imresize(image, scale=None, *, size=None):
    """Resize an image as MATLAB's `imresize(image, scale)` or `imresize(image, size)` does.

    image: numpy array (H, W) or (H, W, C), or torch tensor (..., H, W); uint8 or floating point, any range.
    scale: positive number, or a pair (of height, of width); the output is ceil(scale * input) pixels.
    size: (height, width) of the output; give either this or `scale`.

    Returns the same kind of array with the same dtype: uint8 rounded half up and clipped after each axis, floats as
    computed (not clipped). The torch version is differentiable and runs on the tensor's device, in float32 at least.
    NaN and infinity spread only to output pixels whose kernel covers them.
    Raises SRError for any other dtype or number of dimensions, an empty image, or a scale or size that is not positive.
    """
    is_torch = isinstance(image, torch.Tensor)
    if not is_torch:
        image = np.asarray(image)
    _check_image(image, is_torch)
    axes = (image.ndim - 2, image.ndim - 1) if is_torch else (0, 1)
    lengths = tuple(int(image.shape[axis]) for axis in axes)
    scales, out_lengths = _scales_and_size(lengths, scale, size)
    passes = [(axis, lengths[axis], out_lengths[axis], scales[axis]) for axis in (0, 1) if scales[axis] != 1]
    passes.sort(key=lambda axis_pass: axis_pass[3])  # stable: rows first if the scales are equal
    if not _all_finite(image):
        return _resize_by_taps(image, passes)
    return _resize_torch(image, passes) if is_torch else _resize_numpy(image, passes)


def integer_scale(scale: float) -> int:
    """Return a scale such as 2 or 2.0 as an int; SRError unless it is a whole number of at least 1."""
    if isinstance(scale, bool) or not isinstance(scale, numbers.Real) or not scale >= 1 or scale % 1:
        raise SRError(f"scale: got {scale!r}, expected a whole number of at least 1")
    return int(scale)


def modcrop(image, scale: int):
    """Crop an image, numpy (H, W[, C]) or torch (..., H, W), at bottom and right to multiples of `scale` pixels."""
    scale = integer_scale(scale)
    is_torch = isinstance(image, torch.Tensor)
    height, width = image.shape[-2:] if is_torch else image.shape[:2]
    if min(height, width) < scale:
        raise SRError(f"image: {height}x{width} pixels is smaller than scale {scale}; give a larger image")
    height, width = height - height % scale, width - width % scale
    return image[..., :height, :width] if is_torch else image[:height, :width]


def downscale(hr, scale: int):
    """Return the bicubic low-resolution image of `hr`, first cropped to a multiple of `scale` (see `imresize`)."""
    return imresize(modcrop(hr, scale), 1 / scale)


def pil_bicubic(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a uint8 image (H, W) or (H, W, 3) to size = (height, width) by Pillow's bicubic, as the BTSRN code does.

    It works in fixed point, rounds after each axis and renormalises the kernel at the border instead of mirroring the image.
    """
    image = np.asarray(image)
    if image.dtype != np.uint8 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)) or not image.size:
        raise SRError(f"image: got {image.dtype} of shape {image.shape}, expected uint8 of shape (H, W) or (H, W, 3)")
    _, (height, width) = _scales_and_size(image.shape[:2], None, size)
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


def _check_image(image, is_torch: bool) -> None:
    shape, kind = tuple(image.shape), ("torch" if is_torch else "numpy")
    floating = image.is_floating_point() if is_torch else np.issubdtype(image.dtype, np.floating)
    if not floating and image.dtype not in (np.uint8, torch.uint8):
        raise SRError(f"image: got {kind} dtype {image.dtype}, expected uint8 or floating point; convert it first")
    expected = "(..., H, W)" if is_torch else "(H, W) or (H, W, C)"
    if image.ndim < 2 or (not is_torch and image.ndim > 3):
        raise SRError(f"image: got {kind} shape {shape}, expected {expected}")
    if 0 in shape:
        raise SRError(f"image: got an empty image of shape {shape}, expected {expected} with at least one pixel")


def _scales_and_size(lengths, scale, size) -> tuple[tuple[float, float], tuple[int, int]]:
    if (scale is None) == (size is None):
        raise SRError(f"scale, size: got scale={scale!r} and size={size!r}, expected exactly one of the two")
    name, given, wanted = ("scale", scale, "a number or a pair of numbers") if size is None else ("size", size, "(height, width)")
    try:
        first, second = map(float, (given, given) if name == "scale" and np.ndim(given) == 0 else given)
    except (TypeError, ValueError):
        raise SRError(f"{name}: got {given!r}, expected {wanted}") from None
    if not (0 < first < math.inf and 0 < second < math.inf):
        raise SRError(f"{name}: got {given!r}, expected values above 0")
    if name == "scale":
        return (first, second), (math.ceil(first * lengths[0]), math.ceil(second * lengths[1]))
    if first != int(first) or second != int(second):
        raise SRError(f"size: got {given!r}, expected whole numbers of pixels")
    return (first / lengths[0], second / lengths[1]), (int(first), int(second))


def _cubic(x: np.ndarray) -> np.ndarray:
    """Keys' cubic convolution kernel, a = -0.5, support [-2, 2]."""
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


@lru_cache(maxsize=256)
def contributions(length: int, out_length: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the filter taps of each output pixel of one axis: (weights, indices), both (out_length, taps).

    weights: float64, each row sums to 1. indices: positions in 0..length-1, mirrored at the border.
    """
    shrink = min(scale, 1.0)
    width = 4 / shrink
    centre = np.arange(1, out_length + 1) / scale + 0.5 * (1 - 1 / scale)  # in input pixels, the first one is 1
    left = np.floor(centre - width / 2)
    positions = left[:, None] + np.arange(math.ceil(width) + 2)
    weights = shrink * _cubic(shrink * (centre[:, None] - positions))
    weights /= weights.sum(axis=1, keepdims=True)
    mirrored = np.concatenate([np.arange(length), np.arange(length)[::-1]])
    indices = mirrored[np.mod(positions.astype(np.int64) - 1, 2 * length)]
    used = weights.any(axis=0)
    weights, indices = weights[:, used], indices[:, used]
    weights.flags.writeable = indices.flags.writeable = False
    return weights, indices


def _blocks(length: int, out_length: int, scale: float, block: int):
    """Yield the resizing of one axis in blocks of output pixels: (output slice, input slice, dense matrix).

    One matrix for the whole axis would be mostly zeros, and a sum over taps reads the image once per tap; BLAS products
    of short blocks avoid both.
    """
    weights, indices = contributions(length, out_length, scale)
    for start in range(0, out_length, block):
        rows = slice(start, min(start + block, out_length))
        first, last = indices[rows].min(), indices[rows].max()
        matrix = np.zeros((rows.stop - start, last - first + 1))
        np.add.at(matrix, (np.arange(len(matrix))[:, None], indices[rows] - first), weights[rows])
        yield rows, slice(int(first), int(last) + 1), matrix


@lru_cache(maxsize=128)
def _numpy_blocks(length: int, out_length: int, scale: float) -> list:
    blocks = _blocks(length, out_length, scale, BLOCK_DOWN if scale < 1 else BLOCK_UP)
    return [(out, used, matrix, np.ascontiguousarray(matrix.T)) for out, used, matrix in blocks]


@lru_cache(maxsize=128)
def _torch_blocks(*axis, dtype: torch.dtype, device: torch.device) -> list:
    with torch.inference_mode(False):  # an inference tensor would fail in a later backward pass
        blocks = _blocks(*axis, BLOCK_TORCH)
        return [(used, torch.tensor(matrix, dtype=dtype, device=device)) for _, used, matrix in blocks]


def _all_finite(image) -> bool:
    """Whether all pixels are finite; True for integers and meta tensors."""
    if isinstance(image, torch.Tensor):
        return not image.is_floating_point() or image.is_meta or bool(image.isfinite().all())
    return image.dtype == np.uint8 or bool(np.isfinite(image).all())


def _resize_by_taps(image, passes):
    """Resize a non-finite image tap by tap: in a block's dense matrix, 0 * nan would spread nan."""
    if not isinstance(image, torch.Tensor):
        planes = torch.from_numpy(image.astype(np.float64).T)  # (C, W, H): the axes change places
        return _resize_by_taps(planes, [(1 - axis, *line) for axis, *line in passes]).numpy().T.astype(image.dtype)
    result = image if image.dtype == torch.float64 else image.float()
    for axis, *line in passes:
        result, resized = result.swapaxes(axis - 2, -1), 0.0
        for weights, indices in zip(*(taps.T for taps in contributions(*line)), strict=True):
            weights, indices = result.new_tensor(weights), torch.tensor(indices, device=image.device)
            resized = resized + torch.where(weights != 0, weights * result[..., indices], 0.0)
        result = resized.swapaxes(axis - 2, -1)
    return result.to(image.dtype)


def _resize_axis(plane: np.ndarray, axis: int, *line) -> np.ndarray:
    """Resize one axis of (h, w) in float64, and round and clip uint8; line: length, out_length, scale."""
    is_uint8 = plane.dtype == np.uint8
    resized = np.empty((line[1], plane.shape[1]) if axis == 0 else (plane.shape[0], line[1]))
    if axis == 1:
        plane = plane.astype(np.float64, copy=False)
    for out, used, matrix, transposed in _numpy_blocks(*line):
        if axis == 0:
            np.matmul(matrix, plane[used].astype(np.float64, copy=False), out=resized[out])
        else:
            np.matmul(plane[:, used], transposed, out=resized[:, out])
    if is_uint8:
        resized += 0.5
        resized = np.clip(resized, 0, 255, out=resized).astype(np.uint8)  # truncates
    return resized


def _resize_numpy(image: np.ndarray, passes) -> np.ndarray:
    dtype, channels = image.dtype, image.shape[2:]
    if passes and passes[0][0] == 0 and passes[0][3] < 1:  # shrink rows before splitting channels
        image = _resize_axis(image.reshape(len(image), -1), *passes[0]).reshape(-1, *image.shape[1:])
        passes = passes[1:]
    if not channels:
        return _resize_plane(image, passes, dtype)
    # Channel by channel is friendlier to the cache than all at once.
    planes = [_resize_plane(np.ascontiguousarray(image[..., channel]), passes, dtype) for channel in range(channels[0])]
    return np.stack(planes, axis=-1)


def _resize_plane(plane: np.ndarray, passes, dtype: np.dtype) -> np.ndarray:
    """Apply the passes to a plane; return a new array of the given dtype."""
    for axis_pass in passes:
        plane = _resize_axis(plane, *axis_pass)
    return plane.astype(dtype, copy=not passes)


def _resize_torch(image: torch.Tensor, passes) -> torch.Tensor:
    # Reduced-precision matmul (TF32, bf16) is too coarse for images.
    exact = image.dtype in (torch.uint8, torch.float64) or torch.get_float32_matmul_precision() != "highest"
    result = image.to(torch.float64 if exact else torch.float32)
    with torch.autocast(image.device.type, enabled=False):
        for axis, *line in passes:
            blocks = _torch_blocks(*line, dtype=result.dtype, device=result.device)
            if axis == 0:
                parts = [matrix @ result[..., used, :] for used, matrix in blocks]
            else:
                parts = [result[..., used] @ matrix.T for used, matrix in blocks]
            result = parts[0] if len(parts) == 1 else torch.cat(parts, dim=axis - 2)
            if image.dtype == torch.uint8:
                result = (result + 0.5).floor().clamp(0, 255)
    return result.to(image.dtype)
