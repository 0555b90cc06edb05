"""Reading and writing pictures."""

import os
import re
import stat
import struct
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import ExifTags, Image, ImageOps, PngImagePlugin

from srlib.core.errors import SRError
from srlib.core.files import atomic

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
LONGEST_JPEG = 65500  # pixels a side, libjpeg's limit
WRITERS = {".png": ("PNG", {}), ".jpg": ("JPEG", {"quality": 95}), ".jpeg": ("JPEG", {"quality": 95})}

PHOTOMETRIC, WHITE_IS_ZERO = 262, 0  # a tag of TIFF and one of its values
SRGB_GAMMA = 1 / 2.2  # what PNG writers say of ordinary colours
TRNS_BITS = {"L;2": 2, "L;4": 4, "RGB;16B": 16}  # pixels that Pillow brings to 8 bits, but not their transparent colour
EXIF = ("Make", "Model", "DateTime", "Artist", "Copyright", "ExifOffset", "GPSInfo")  # tags that describe a photograph
MOST_TEXT = 64 << 20  # bytes of text or of a profile in a PNG; Pillow takes 1 MiB for an attack

PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = MOST_TEXT
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # twice as many pixels are an error

# what Pillow's decoders raise for a damaged file
DAMAGED = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)

Found = TypeVar("Found")


@dataclass(frozen=True)
class Photo:
    """A picture with what belongs to it besides colour.

    pixels: uint8 (H, W, 3) or (H, W), as `read_image` gives them. alpha: uint8 (H, W), 255 is opaque, or None.
    profile: the ICC profile of the file, or None. lost: what else the file has, in words: EXIF data, further frames, a gamma.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    profile: bytes | None
    lost: tuple[str, ...] = ()

    @property
    def profile_fits(self) -> bool:
        """Whether the profile describes these pixels: that of a CMYK file does not describe the RGB made of it."""
        wanted = b"GRAY" if self.pixels.ndim == 2 else b"RGB "
        return self.profile is not None and self.profile[16:20] == wanted  # the field "colour space" of its header


def read_image(path: str | Path) -> np.ndarray:
    """Return a picture as uint8 (H, W, 3), or (H, W) for a grey file.

    Palettes and CMYK become RGB, 1-bit becomes 0 and 255, alpha is dropped, 16-bit grey is rounded to 8 bits
    (v / 257; of 16-bit RGB Pillow keeps the high byte), the EXIF orientation is applied, the first frame is taken.
    Raises SRError for a file that is missing, empty, truncated, not an image, or of floating-point pixels.
    """
    return _to_array(_read(Path(path), _decoded), Path(path))


def image_area(path: str | Path) -> int:
    """Return how many pixels a picture has, from the head of its file. Raises SRError as `read_image` does, unless the damage
    is further on."""
    return _read(Path(path), lambda file: file.width * file.height)


def image_head(path: str | Path) -> tuple[int, int, bool]:
    """Return height, width and whether there is transparency, as `image_area` does."""
    height, width, transparent = _read(Path(path), lambda file: (file.height, file.width, file.has_transparency_data))
    return height, width, transparent


def read_photo(path: str | Path) -> Photo:
    """Return a picture as `read_image` does, with its alpha channel and its ICC profile.

    A transparent colour of a palette, of grey or of RGB becomes an alpha channel; of 16-bit RGB, all colours of the same high
    bytes. Raises SRError as `read_image` does.
    """
    image, lost = _read(Path(path), lambda file: (_decoded(file), _lost(file)))
    alpha = None
    if image.mode.startswith("I") and "transparency" in image.info:
        alpha = np.where(np.asarray(image) == image.info["transparency"], 0, 255).astype(np.uint8)
    elif image.has_transparency_data and not image.mode.startswith("I"):
        alpha = np.array(image.convert("RGBA").getchannel("A"))
    return Photo(_to_array(image, Path(path)), alpha, image.info.get("icc_profile"), lost)


def _decoded(file: Image.Image) -> Image.Image:
    """Return the upright picture; `info` has its transparent colour in the bits of its pixels, and whether white is zero."""
    raw = file.tile[0].args if file.format == "PNG" and file.tile else None
    inverted = file.mode.startswith("I") and file.format == "TIFF" and file.tag_v2.get(PHOTOMETRIC) == WHITE_IS_ZERO
    image = ImageOps.exif_transpose(file)
    image.info["white_is_zero"] = inverted
    colour = image.info.get("transparency")
    if colour is not None and isinstance(raw, str) and raw in TRNS_BITS:
        values = [value * 255 // (2 ** TRNS_BITS[raw] - 1) for value in np.atleast_1d(colour).tolist()]
        if TRNS_BITS[raw] == 16:
            values = [value >> 8 for value in np.atleast_1d(colour).tolist()]
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


def _read(path: Path, what: Callable[[Image.Image], Found]) -> Found:
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise SRError(f"image {path}: no such file; looked in {path.parent.absolute()}") from None
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise SRError(f"image {path}: {error.strerror}") from None
    if stat.S_ISDIR(found.st_mode):
        raise SRError(f"image {path}: is a folder, expected an image file; use list_images for its files")
    if found.st_size == 0:
        raise SRError(f"image {path}: the file is empty (0 bytes); copy or download it again")
    try:
        with Image.open(path) as file:
            return what(file)
    except Image.UnidentifiedImageError:
        raise SRError(f"image {path}: not an image that can be read; expected {', '.join(SUFFIXES)}") from None
    except PermissionError as error:
        raise SRError(f"image {path}: {error.strerror}") from None
    except Image.DecompressionBombError as error:
        raise SRError(f"image {path}: cannot be decoded ({error}); cut it into smaller pictures") from error
    except DAMAGED as error:
        if "MAX_TEXT" in str(error):
            what = f"has more than {MOST_TEXT >> 20} MB of text or of an ICC profile; save it again without these"
            raise SRError(f"image {path}: {what}") from error
        raise SRError(f"image {path}: cannot be decoded ({error}); truncated or damaged, copy it again") from error


def _to_array(image: Image.Image, path: Path) -> np.ndarray:
    if image.mode.startswith("I"):  # 16-bit grey; older decoders say "I" and hold it in 32 bits
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise SRError(f"image {path}: 32-bit pixels up to {values.max()}, expected 8 or 16 bits; convert it first")
        values = values.astype(np.uint32)
        return (((65535 - values if image.info.get("white_is_zero") else values) + 128) // 257).astype(np.uint8)
    if image.mode == "F":
        raise SRError(f"image {path}: floating-point pixels, expected 8 or 16 bits; convert it to PNG first")
    if image.mode == "LAB":
        raise SRError(f"image {path}: Lab pixels, expected grey, RGB or CMYK; convert it to RGB first")
    if image.mode in ("1", "L", "LA", "La"):
        return np.array(image.convert("L"))
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return np.array(image.convert("RGB"))


def write_image(path: str | Path, image: np.ndarray, *, alpha: np.ndarray | None = None, profile: bytes | None = None) -> None:
    """Write a uint8 image (H, W, 3) or (H, W) as PNG or JPEG (quality 95), by suffix; whole or not at all.

    alpha: uint8 (H, W), for PNG only. profile: an ICC profile to put into the file. The folder is created. Raises SRError for
    another suffix, dtype or shape, for what JPEG cannot hold, and when the file cannot be written.
    """
    path, image = Path(path), np.asarray(image)
    if path.suffix.lower() not in WRITERS:
        raise SRError(f"path: cannot write {path.name!r}; expected a name that ends in {', '.join(WRITERS)}")
    good_shape = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)
    if image.dtype != np.uint8 or not good_shape or image.size == 0:
        raise SRError(f"image: got {image.dtype} of shape {image.shape}, expected uint8 of (H, W) or (H, W, 3)")
    if alpha is not None and (alpha.dtype != np.uint8 or alpha.shape != image.shape[:2]):
        raise SRError(f"alpha: got {alpha.dtype} of shape {alpha.shape}, expected uint8 of {image.shape[:2]}")
    kind, options = WRITERS[path.suffix.lower()]
    if kind == "JPEG" and (alpha is not None or max(image.shape) > LONGEST_JPEG):
        what = "an alpha channel" if alpha is not None else f"{max(image.shape)} pixels a side"
        raise SRError(f"path: {path.name!r} cannot hold {what}, JPEG has no room for it; expected a name that ends in .png")
    planes = image if alpha is None else np.dstack([image, alpha])
    with atomic(path) as temp:
        Image.fromarray(planes).save(temp, kind, icc_profile=profile, **options)


def list_images(folder: str | Path) -> list[Path]:
    """Return the image files directly in `folder` in natural order (img_2 before img_10); hidden files are left out.

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
    found = [folder / name for name in names if Path(name).suffix.lower() in SUFFIXES]
    if not found:
        raise SRError(f"folder: {folder} holds no image among its {len(names)} files; expected {', '.join(SUFFIXES)}")
    return sorted(found, key=lambda path: natural(path.name))


def natural(name: str) -> tuple[list, str]:
    """Return the key that sorts names by their numbers: img_2 before img_10."""
    parts = re.split(r"([0-9]+)", name.lower())
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name
