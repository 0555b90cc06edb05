"""Image files: reading and writing."""

import os
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, PngImagePlugin

from srlib.core.errors import SRError
from srlib.core.files import atomic

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
MAX_JPEG_SIDE = 65500  # pixels per side, libjpeg's limit
WRITERS = {".png": ("PNG", {}), ".jpg": ("JPEG", {"quality": 95}), ".jpeg": ("JPEG", {"quality": 95})}

PHOTOMETRIC, WHITE_IS_ZERO = 262, 0  # a tag of TIFF and one of its values
SRGB_GAMMA = 1 / 2.2  # gAMA chunk of ordinary sRGB files
TO_8_BITS = {"L;2": 85, "L;4": 17, "RGB;16B": 1 / 256}  # Pillow converts the pixels so, but not the transparent colour
GREY_MODES = ("1", "L", "LA", "La")  # and those that begin with "I", of 16 or 32 bits
QUARTER_TURNS = (5, 6, 7, 8)  # EXIF orientations that swap height and width
EXIF = ("Make", "Model", "DateTime", "Artist", "Copyright", "ExifOffset", "GPSInfo")  # tags of photographs
MAX_TEXT_BYTES = 64 << 20  # bytes of text or ICC profile in a PNG; Pillow allows 1 MiB

PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = MAX_TEXT_BYTES
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # twice that limit is an error

# raised by Pillow's decoders for damaged files
DECODE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)


@dataclass(frozen=True)
class Photo:
    """An image with alpha channel and metadata.

    pixels: uint8 (H, W, 3) or (H, W), as `read_image` gives them. alpha: uint8 (H, W), 255 is opaque, or None.
    profile: the ICC profile of the pixels, or None. lost: what was dropped, in words: EXIF data, further frames, a gamma, the
    profile of a CMYK file.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    profile: bytes | None
    lost: tuple[str, ...] = ()


def read_image(path: str | Path) -> np.ndarray:
    """Read an image as uint8 (H, W, 3), or (H, W) for a grey file.

    Palettes and CMYK become RGB, 1-bit becomes 0 and 255, alpha is dropped, 16-bit grey is rounded to 8 bits
    (v / 257; for 16-bit RGB Pillow keeps the high byte), the EXIF orientation is applied, only the first frame is read.
    Raises SRError for a file that is missing, empty, truncated, not an image, or of floating-point pixels.
    """
    with _opened(Path(path)) as file:
        image = _orient(file)
    return _to_array(image, path)


def center_crop(image: np.ndarray, side: int) -> np.ndarray:
    """Return the central pixels of an image (H, W[, C]), at most `side` in each direction."""
    top, left = (max(0, (length - side) // 2) for length in image.shape[:2])
    return image[top : top + side, left : left + side]


def image_head(path: str | Path) -> tuple[int, int, bool]:
    """Return height and width, as `read_image` turns it, and whether there is transparency, from the header; errors as there."""
    with _opened(Path(path)) as file:
        exif = {} if file.format == "PNG" and "exif" not in file.info else file.getexif()  # for a PNG's it would decode the file
        turned = exif.get(ExifTags.Base.Orientation) in QUARTER_TURNS
        height, width = (file.width, file.height) if turned else (file.height, file.width)
        return height, width, file.has_transparency_data


def image_kind(path: str | Path) -> tuple[bool, int]:
    """Return whether `read_image` gives a grey image, and the file's bits per channel, 8 or 16; errors as in `read_image`."""
    with _opened(Path(path)) as file:
        arguments = (file.tile[0].args if file.tile else None) or [""]
        raw = arguments if isinstance(arguments, str) else str(arguments[0])  # the pixels' layout in the file, e.g. "RGB;16B"
        integers = file.mode.startswith("I")
        return integers or file.mode in GREY_MODES, 16 if integers or ";16" in raw else 8


def read_photo(path: str | Path) -> Photo:
    """Read an image with its alpha channel and ICC profile.

    A transparent colour of a palette, grey or RGB image becomes an alpha channel; for 16-bit RGB, all colours with the same
    high bytes. Pixels and errors as in `read_image`.
    """
    with _opened(Path(path)) as file:
        image, lost = _orient(file), _lost(file)
    alpha = None
    if image.mode.startswith("I") and "transparency" in image.info:
        alpha = np.where(np.asarray(image) == image.info["transparency"], 0, 255).astype(np.uint8)
    elif image.has_transparency_data and not image.mode.startswith("I"):
        alpha = np.array(image.convert("RGBA").getchannel("A"))
    pixels, profile = _to_array(image, path), image.info.get("icc_profile") or None
    if profile and profile[16:20] != (b"GRAY" if pixels.ndim == 2 else b"RGB "):  # the field "colour space" of its header
        profile, lost = None, (*lost, "its ICC profile, which is for other colours")
    return Photo(pixels, alpha, profile, lost)


def _orient(file: Image.Image) -> Image.Image:
    """Apply the EXIF orientation; store the transparent colour at the pixels' bit depth and "white_is_zero" in `info`."""
    raw = file.tile[0].args if file.format == "PNG" and file.tile else None
    inverted = file.mode.startswith("I") and file.format == "TIFF" and file.tag_v2.get(PHOTOMETRIC) == WHITE_IS_ZERO
    image = ImageOps.exif_transpose(file)
    image.info["white_is_zero"] = inverted
    colour = image.info.get("transparency")
    if colour is not None and isinstance(raw, str) and raw in TO_8_BITS:
        values = [int(value * TO_8_BITS[raw]) for value in np.atleast_1d(colour).tolist()]
        image.info["transparency"] = values[0] if len(values) == 1 else tuple(values)
    return image


def _lost(file: Image.Image) -> tuple[str, ...]:
    lost = []
    gamma = file.info.get("gamma", SRGB_GAMMA)
    if abs(gamma - SRGB_GAMMA) > 0.001 and not {"srgb", "icc_profile"} & file.info.keys():
        lost.append(f"its gamma of {gamma:.4g}")
    exif = file.getexif()
    if any(ExifTags.Base[name] in exif for name in EXIF):
        lost.append("its EXIF data")
    more = getattr(file, "n_frames", 1) - 1
    if more:
        kind = "page" if file.format == "TIFF" else "frame"
        lost.append(f"{more} further {kind}{'s' if more > 1 else ''}")
    return tuple(lost)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image file; errors within the block are explained."""
    try:
        with Image.open(path) as file:
            yield file
    except (FileNotFoundError, NotADirectoryError):
        raise SRError(f"image {path}: no such file; looked in {path.parent.absolute()}") from None
    except Image.UnidentifiedImageError:
        if path.stat().st_size == 0:
            raise SRError(f"image {path}: the file is empty (0 bytes); copy or download it again") from None
        raise SRError(f"image {path}: not an image that can be read; expected {', '.join(SUFFIXES)}") from None
    except Image.DecompressionBombError as error:
        raise SRError(f"image {path}: cannot be decoded ({error}); cut it into smaller images") from error
    except DECODE_ERRORS as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the file system, not of the decoder
            raise SRError(f"image {path}: {error.strerror}; expected an image file") from None
        if "MAX_TEXT" in str(error):
            limit = f"more than {MAX_TEXT_BYTES >> 20} MB of text or of an ICC profile"
            raise SRError(f"image {path}: has {limit}; save it again without these") from error
        raise SRError(f"image {path}: cannot be decoded ({error}); truncated or damaged, copy it again") from error


def _to_array(image: Image.Image, path: str | Path) -> np.ndarray:
    if image.mode.startswith("I"):  # 16-bit grey; some decoders return it as 32-bit "I"
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise SRError(f"image {path}: 32-bit pixels up to {values.max()}, expected 8 or 16 bits; convert it first")
        values = values.astype(np.uint32)
        return (((65535 - values if image.info.get("white_is_zero") else values) + 128) // 257).astype(np.uint8)
    if image.mode == "F":
        raise SRError(f"image {path}: floating-point pixels, expected 8 or 16 bits; convert it to PNG first")
    if image.mode == "LAB":
        raise SRError(f"image {path}: Lab pixels, expected grey, RGB or CMYK; convert it to RGB first")
    if image.mode in GREY_MODES:
        return np.array(image.convert("L"))
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return np.array(image.convert("RGB"))


def write_image(path: str | Path, image: np.ndarray, *, alpha: np.ndarray | None = None, profile: bytes | None = None) -> None:
    """Write a uint8 image (H, W, 3) or (H, W) as PNG or JPEG (quality 95) by suffix, atomically.

    alpha: uint8 (H, W), for PNG only. profile: an ICC profile to embed. Creates the folder. Raises SRError for
    another suffix, dtype or shape, beyond JPEG's limits, and if the file cannot be written.
    """
    path, image = Path(path), np.asarray(image)
    if path.suffix.lower() not in WRITERS:
        raise SRError(f"path: cannot write {path.name!r}; expected a name that ends in {', '.join(WRITERS)}")
    if image.dtype != np.uint8 or (image.ndim != 2 and image.shape[2:] != (3,)) or image.size == 0:
        raise SRError(f"image: got {image.dtype} of shape {image.shape}, expected uint8 of (H, W) or (H, W, 3)")
    if alpha is not None and (alpha.dtype != np.uint8 or alpha.shape != image.shape[:2]):
        raise SRError(f"alpha: got {alpha.dtype} of shape {alpha.shape}, expected uint8 of {image.shape[:2]}")
    kind, options = WRITERS[path.suffix.lower()]
    if kind == "JPEG" and (alpha is not None or max(image.shape) > MAX_JPEG_SIDE):
        what = "an alpha channel" if alpha is not None else f"{max(image.shape)} pixels a side"
        raise SRError(f"path: {path.name!r} cannot hold {what}, JPEG has no room for it; expected a name that ends in .png")
    planes = image if alpha is None else np.dstack([image, alpha])
    with atomic(path) as temp:
        Image.fromarray(planes).save(temp, kind, icc_profile=profile, **options)


def list_images(folder: str | Path) -> list[Path]:
    """Return the image files directly in `folder` in natural order (img_2 before img_10), without hidden files.

    Raises SRError when the folder is missing, cannot be read or holds no image.
    """
    folder = Path(folder)
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise SRError(f"folder: {folder} {what}; expected a folder of images")
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.is_file() and not entry.name.startswith(".")]
    except OSError as error:
        raise SRError(f"folder: {folder} cannot be read: {error.strerror}") from error
    images = [folder / name for name in names if Path(name).suffix.lower() in SUFFIXES]
    if not images:
        raise SRError(
            f"folder: {folder} holds no image, of {len(names)} file{'s'[: len(names) != 1]}; expected {', '.join(SUFFIXES)}"
        )
    return sorted(images, key=lambda path: natural(path.name))


def natural(name: str) -> tuple[list, str]:
    """Return the sort key of natural order: img_2 before img_10."""
    parts = re.split(r"([0-9]+)", name.lower())
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name
