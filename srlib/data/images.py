"""Reading and writing pictures, and MATLAB's colour conversions (ITU-R BT.601, studio range)."""

import os
import re
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from srlib.data.files import atomic
from srlib.errors import SRError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
WRITERS = {".png": ("PNG", {}), ".jpg": ("JPEG", {"quality": 95}), ".jpeg": ("JPEG", {"quality": 95})}

# MATLAB's rgb2ycbcr: [Y Cb Cr] = OFFSET + MATRIX @ [R G B] / 255
MATRIX = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]])
OFFSET = np.array([16.0, 128.0, 128.0])
INVERSE = np.linalg.inv(MATRIX)

# what Pillow's decoders raise for a damaged file
DAMAGED = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)
DAMAGED += (Image.DecompressionBombError,)


def read_image(path: str | Path) -> np.ndarray:
    """Return a picture as uint8 (H, W, 3), or (H, W) for a grey file.

    Palettes and CMYK become RGB, 1-bit becomes 0 and 255, alpha is dropped, 16-bit grey is rounded to 8 bits
    (v / 257; of 16-bit RGB Pillow keeps the high byte), the EXIF orientation is applied, the first frame is taken.
    Raises SRError for a file that is missing, empty, truncated, not an image, or of floating-point pixels.
    """
    path = Path(path)
    if not path.exists():
        raise SRError(f"image {path}: no such file; looked in {path.parent.absolute()}")
    if path.is_dir():
        raise SRError(f"image {path}: is a folder, expected an image file; use list_images for its files")
    if path.stat().st_size == 0:
        raise SRError(f"image {path}: the file is empty (0 bytes); copy or download it again")
    try:
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file)
    except Image.UnidentifiedImageError:
        raise SRError(f"image {path}: not an image that can be read; expected {', '.join(SUFFIXES)}") from None
    except DAMAGED as error:
        raise SRError(f"image {path}: cannot be decoded ({error}); truncated or damaged, copy it again") from error
    return _to_array(image, path)


def _to_array(image: Image.Image, path: Path) -> np.ndarray:
    if image.mode.startswith("I"):  # 16-bit grey; older decoders say "I" and hold it in 32 bits
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise SRError(f"image {path}: 32-bit pixels up to {values.max()}, expected 8 or 16 bits; convert it first")
        return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if image.mode == "F":
        raise SRError(f"image {path}: floating-point pixels, expected 8 or 16 bits; convert it to PNG first")
    if image.mode in ("1", "L", "LA", "La"):
        return np.array(image.convert("L"))
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return np.array(image.convert("RGB"))


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Write a uint8 image (H, W, 3) or (H, W) as PNG or JPEG (quality 95), by suffix; whole or not at all.

    The folder is created. Raises SRError for another suffix, dtype or shape, and when the file cannot be written.
    """
    path, image = Path(path), np.asarray(image)
    if path.suffix.lower() not in WRITERS:
        raise SRError(f"path: cannot write {path.name!r}; expected a name that ends in {', '.join(WRITERS)}")
    good_shape = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)
    if image.dtype != np.uint8 or not good_shape or image.size == 0:
        raise SRError(f"image: got {image.dtype} of shape {image.shape}, expected uint8 of (H, W) or (H, W, 3)")
    kind, options = WRITERS[path.suffix.lower()]
    with atomic(path) as temp:
        Image.fromarray(image).save(temp, kind, **options)


def list_images(folder: str | Path) -> list[Path]:
    """Return the image files directly in `folder` in natural order (img_2 before img_10); hidden files are left out.

    Raises SRError when the folder is missing or holds no image.
    """
    folder = Path(folder)
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise SRError(f"folder: {folder} {what}; expected a folder of images")
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.is_file() and not entry.name.startswith(".")]
    found = [folder / name for name in names if Path(name).suffix.lower() in SUFFIXES]
    if not found:
        raise SRError(f"folder: {folder} holds no image among its {len(names)} files; expected {', '.join(SUFFIXES)}")
    return sorted(found, key=lambda path: natural(path.name))


def natural(name: str) -> tuple[list, str]:
    """Return the key that sorts names by their numbers: img_2 before img_10."""
    parts = re.split(r"([0-9]+)", name.lower())
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


def to_rgb(image: np.ndarray) -> np.ndarray:
    """Return (H, W, 3): an RGB image as it is, a grey image (H, W) or (H, W, 1) repeated three times."""
    if image.ndim == 3 and image.shape[2] == 3:
        return image
    if image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 1):
        return np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)
    raise SRError(f"image: got shape {image.shape}, expected (H, W) or (H, W, 3)")


def to_y(image: np.ndarray, rounded: bool) -> np.ndarray:
    """Return the studio-range luma (H, W), 16..235, of an image in 0..255 as MATLAB's rgb2ycbcr computes it.

    A grey image is taken as equal R, G and B. rounded: half up to whole numbers, as MATLAB returns for uint8 images.
    float64, or float32 for a float32 image.
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
