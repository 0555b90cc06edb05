"""LR and HR images of a set, decoded once and packed into memory maps.

A pack is a cache folder keyed by the set's fingerprint: `hr.bin` (all HR images as RGB bytes, one after the
other), one `lr_x<scale>...bin` per scale, and `index.json` (sizes of the images, sha256 of the other files). Files
are written atomically under a lock; a file whose hash differs from the index is repacked.
"""

import hashlib
import json
import os
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from srlib.core import paths
from srlib.core.color import to_rgb
from srlib.core.errors import SRError, check_int
from srlib.core.files import CACHE_REMEDY, atomic, file_hashes, locked, sha256, write_json
from srlib.core.imresize import downscale, modcrop
from srlib.core.output import print_line
from srlib.data.images import read_image
from srlib.data.sets import ImageSet, open_set

FORMAT = 2  # version of the files and of LR generation; 2: imresize rounds after each axis
HR_FILE, INDEX_FILE = "hr.bin", "index.json"


@dataclass(frozen=True)
class Pairs:
    """LR and HR images of one scale.

    `pairs[i]` gives (lr (h, w, 3), hr (h*scale, w*scale, 3)), read-only uint8 RGB views of the memory maps.
    """

    name: str
    scale: int
    names: tuple[str, ...]
    sizes: np.ndarray  # (n, 2): LR height and width
    fingerprint: str  # of the images and of the LR generation
    skipped: tuple[str, ...]  # images smaller than the scale
    views: tuple[tuple[np.ndarray, np.ndarray], ...]

    def __len__(self) -> int:
        return len(self.views)

    def __getitem__(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        return self.views[i]


def open_pairs(name: str, scale: int, *, progress: bool = False) -> Pairs:
    """Open the LR and HR images of a set (see `open_set`) at one scale; the first call packs them into the cache.

    HR images are cropped to a multiple of the scale (top left kept), grey ones become RGB. LR images are
    `imresize.downscale` of them, or the official files if the set has them; paired sets have their own, at scale 1 of the
    size of HR. Images smaller than the scale are excluded and listed in `.skipped`. progress: show a progress bar.
    Raises SRError for a bad scale, a set that cannot be opened, pairs whose sizes do not match, and a cache that cannot be
    written.
    """
    scale = check_int("scale", scale, 1)
    images = open_set(name)
    images.check_scale(scale)
    slug = re.sub(r"[^A-Za-z0-9+-]+", "_", re.sub("^(folder|pairs):", "", name))[-40:]
    folder = paths.cache_dir() / "packs" / f"{slug}-{images.fingerprint[:16]}"
    source, official = _lr_source(images, scale)
    lr_file = folder / f"lr_x{scale}-{source[:12]}.bin"
    index = _read_index(folder)
    if not (_is_intact(index, folder / HR_FILE) and _is_intact(index, lr_file)):
        with locked(folder, CACHE_REMEDY):
            index = _read_index(folder)  # another process may have packed it meanwhile
            if not _is_intact(index, folder / HR_FILE):
                _report_damage(index, folder / HR_FILE)
                index = _pack_hr(images, folder, progress)
            if not _is_intact(index, lr_file):
                _report_damage(index, lr_file)
                _pack_lr(images, official, scale, index, folder, lr_file, progress)
    sizes = np.array(index["sizes"])
    lr_sizes = sizes // scale
    kept = np.flatnonzero(lr_sizes.min(axis=1)).tolist()
    if not kept:
        raise SRError(f"{images.name}: all {len(images)} images are smaller than scale {scale}; give larger images")
    hr, lr = _views(folder / HR_FILE, sizes), _views(lr_file, lr_sizes)
    return Pairs(
        name=images.name,
        scale=scale,
        names=tuple(images.names[i] for i in kept),
        sizes=lr_sizes[kept],
        fingerprint=hashlib.sha256(f"{images.fingerprint} {scale} {source}".encode()).hexdigest(),
        skipped=tuple(name for i, name in enumerate(images.names) if i not in kept),
        views=tuple((lr[i], modcrop(hr[i], scale)) for i in kept),
    )


def _lr_source(images: ImageSet, scale: int) -> tuple[str, list[Path | None]]:
    """Return a hash of the LR generation, and each image's official LR file or None."""
    if images.paired:
        return hashlib.sha256(b"pairs").hexdigest(), [None] * len(images)  # the LR files are part of the set's fingerprint
    official = [images.lr_path(i, scale) for i in range(len(images))]
    missing = [path for path in official if path is not None and not path.is_file()]
    if missing:
        raise SRError(
            f"{images.name}: {len(missing)} official LR images are missing, the first is {missing[0]}; unpack the "
            f"archive again, or remove the folder {missing[0].parent} to have the LR images computed"
        )
    # Hash the downscaling of a fixed pattern, so that a change of the arithmetic invalidates cached LR images.
    pattern = np.random.default_rng(0).integers(0, 256, (4 * scale, 5 * scale, 3), dtype=np.uint8)
    digest = hashlib.sha256(bytes([FORMAT]) + downscale(pattern, scale).tobytes())
    digest.update("".join(file_hashes([path for path in official if path is not None])).encode())
    return digest.hexdigest(), official


def _read_index(folder: Path) -> dict | None:
    """Return the index of a pack, or None if missing, damaged or of another format."""
    try:
        index = json.loads((folder / INDEX_FILE).read_text())
        return index if index["format"] == FORMAT and len(index["sizes"]) and dict(index["sha256"]) else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _is_intact(index: dict | None, file: Path) -> bool:
    """Whether a packed file exists with the hash in the index."""
    expected = index["sha256"].get(file.name) if index else None
    return expected is not None and file.is_file() and file_hashes([file]) == [expected]


def _report_damage(index: dict | None, file: Path) -> None:
    """Print a line if a packed file has changed since."""
    if index is not None and file.name in index["sha256"]:
        print_line(f"{file} has changed since it was packed; it is packed anew", sys.stderr)


def _pack_hr(images: ImageSet, folder: Path, progress: bool) -> dict:
    """Pack the HR images, drop the LR images of an earlier pack and return the new index."""
    hr_images = _computed(lambda i: to_rgb(images[i]), len(images), f"packing {images.name}", progress)
    digest, sizes = _write(folder / HR_FILE, hr_images)
    index = {"format": FORMAT, "sha256": {HR_FILE: digest}, "sizes": sizes}
    write_json(folder / INDEX_FILE, index, CACHE_REMEDY)  # last, as it marks the file as complete
    for old in folder.glob("lr_*.bin"):
        old.unlink()
    return index


def _pack_lr(images, official, scale: int, index: dict, folder: Path, lr_file: Path, progress: bool) -> None:
    sizes = np.array(index["sizes"])
    hr_views = _views(folder / HR_FILE, sizes)

    def lr_image(i: int) -> np.ndarray:
        expected = tuple((sizes[i] // scale).tolist())
        if min(expected) == 0:
            return np.empty((0, 0, 3), np.uint8)
        if images.paired:
            return images.lr(i, hr_views[i], scale)
        lr = downscale(hr_views[i], scale) if official[i] is None else to_rgb(read_image(official[i]))
        if lr.shape[:2] != expected:
            raise SRError(f"image {official[i]}: {lr.shape[:2]} pixels, expected {expected} for scale {scale}")
        return lr

    lr_images = _computed(lr_image, len(images), f"{images.name} x{scale}: LR images", progress)
    index["sha256"][lr_file.name], _ = _write(lr_file, lr_images)
    write_json(folder / INDEX_FILE, index, CACHE_REMEDY)


def _write(file: Path, arrays: Iterable[np.ndarray]) -> tuple[str, list[tuple[int, int]]]:
    """Write arrays consecutively; return the sha256 of the file, and height and width of each array."""
    sizes = []
    with atomic(file, CACHE_REMEDY) as temp, open(temp, "wb") as stream:
        for array in arrays:  # not a memory map, which would crash on a full disk
            stream.write(array.tobytes())
            sizes.append(array.shape[:2])
        stream.flush()
        os.fsync(stream.fileno())
    return sha256(file), sizes


def _computed(function: Callable, count: int, label: str, progress: bool) -> Iterator:
    """Yield function(0), function(1), ..., computed in a few threads with bounded prefetch."""
    from tqdm.auto import tqdm

    workers = min(4, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as pool, tqdm(total=count, desc=label, unit="image", disable=not progress) as bar:
        pending = deque()
        for i in range(count + 2 * workers):
            if i < count:
                pending.append(pool.submit(function, i))
            if i >= 2 * workers:
                yield pending.popleft().result()
                bar.update()


def _views(file: Path, sizes: np.ndarray) -> list[np.ndarray]:
    """Return read-only views of the images of a packed file, given (height, width) of each."""
    flat = np.memmap(file, mode="r", dtype=np.uint8).view(np.ndarray)
    ends = np.cumsum(3 * sizes.prod(axis=1))
    return [flat[end - 3 * h * w : end].reshape(h, w, 3) for end, (h, w) in zip(ends, sizes.tolist(), strict=True)]
