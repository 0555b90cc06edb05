"""LR and HR images of a set, decoded once and packed into memory maps.

A pack is a cache folder keyed by the set's fingerprint: `hr.bin` (all HR images as RGB bytes, one after the
other), one `lr_x<scale>...bin` per scale, and `index.json` (names and sizes of the images, sha256 of the other files). Files
are written atomically under a lock; a file whose hash differs from the index is repacked.
"""

import hashlib
import json
import os
import re
import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from srlib.core import paths
from srlib.core.color import to_rgb
from srlib.core.errors import SRError, check_int
from srlib.core.files import CACHE_REMEDY, atomic, file_hashes, locked
from srlib.core.imresize import downscale
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
    hr: np.memmap  # all bytes of all HR images
    lr: np.memmap
    views: tuple[tuple[np.ndarray, np.ndarray], ...]

    def __len__(self) -> int:
        return len(self.views)

    def __getitem__(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        return self.views[i]

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return iter(self.views)


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
    folder = paths.cache_dir() / "packs" / f"{_slug(name)}-{images.fingerprint[:16]}"
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
    return _open_packed(images, scale, np.array(index["sizes"], dtype=np.int64), folder / HR_FILE, lr_file, source)


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9+-]+", "_", name.removeprefix("folder:").removeprefix("pairs:"))[-40:]


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


def _offsets(sizes: np.ndarray) -> np.ndarray:
    """Return the byte offset of each image of the given (height, width) in a packed file, and the total size."""
    return np.concatenate([[0], np.cumsum(3 * sizes.prod(axis=1))])


def _read_index(folder: Path) -> dict | None:
    """Return the index of a pack, or None if missing, damaged or of another format."""
    try:
        index = json.loads((folder / INDEX_FILE).read_text())
    except (OSError, ValueError):  # missing, or truncated by a crash
        return None
    kinds = {"format": int, "names": list, "sizes": list, "sha256": dict}
    valid = isinstance(index, dict) and all(isinstance(index.get(key), kind) for key, kind in kinds.items())
    return index if valid and index["format"] == FORMAT else None


def _write_index(folder: Path, index: dict) -> None:
    with atomic(folder / INDEX_FILE, CACHE_REMEDY) as temp:
        temp.write_text(json.dumps(index))


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

    def decoded() -> Iterator[np.ndarray]:
        for image in _thread_map(images.__getitem__, range(len(images))):
            rgb = to_rgb(image)
            sizes.append(rgb.shape[:2])
            yield rgb

    sizes: list[tuple[int, int]] = []
    sha256 = _write(folder / HR_FILE, _progress(decoded(), len(images), f"packing {images.name}", progress))
    index = {"format": FORMAT, "names": images.names, "sizes": sizes, "sha256": {HR_FILE: sha256}}
    _write_index(folder, index)  # last, as it marks the file as complete
    for old in folder.glob("lr_*.bin"):
        old.unlink()
    return index


def _pack_lr(images, official, scale: int, index: dict, folder: Path, lr_file: Path, progress: bool) -> None:
    sizes = np.array(index["sizes"], dtype=np.int64)
    hr_views = _views(np.memmap(folder / HR_FILE, mode="r", dtype=np.uint8), sizes)

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

    lr_images = _thread_map(lr_image, range(len(images)))
    sha256 = _write(lr_file, _progress(lr_images, len(images), f"{images.name} x{scale}: LR images", progress))
    _write_index(folder, {**index, "sha256": {**index["sha256"], lr_file.name: sha256}})


def _write(file: Path, arrays: Iterator[np.ndarray]) -> str:
    """Write arrays consecutively and return the sha256 of the file."""
    digest = hashlib.sha256()
    with atomic(file, CACHE_REMEDY) as temp, open(temp, "wb") as stream:
        for array in arrays:  # not a memory map, which would crash on a full disk
            data = array.tobytes()
            stream.write(data)
            digest.update(data)
        stream.flush()
        os.fsync(stream.fileno())
    return digest.hexdigest()


def _thread_map(function, items) -> Iterator:
    """Map in order in a few threads, with bounded prefetch."""
    workers = min(4, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as pool:
        pending = deque()
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _progress(items: Iterator, total: int, label: str, progress: bool) -> Iterator:
    from tqdm.auto import tqdm

    return tqdm(items, total=total, desc=label, unit="image", disable=not progress)


def _views(packed: np.ndarray, sizes: np.ndarray) -> list[np.ndarray]:
    flat, offsets = packed.view(np.ndarray), _offsets(sizes)
    return [flat[offsets[i] : offsets[i + 1]].reshape(*size, 3) for i, size in enumerate(sizes.tolist())]


def _open_packed(images: ImageSet, scale: int, sizes: np.ndarray, hr_file: Path, lr_file: Path, source: str) -> Pairs:
    lr_sizes = sizes // scale
    kept = np.flatnonzero(lr_sizes.min(axis=1))
    skipped = tuple(images.names[i] for i in np.flatnonzero(lr_sizes.min(axis=1) == 0))
    if not len(kept):
        raise SRError(f"{images.name}: all {len(images)} images are smaller than scale {scale}; give larger images")
    hr, lr = (np.memmap(file, mode="r", dtype=np.uint8) for file in (hr_file, lr_file))
    hr_views, lr_views = _views(hr, sizes), _views(lr, lr_sizes)
    views = tuple((lr_views[i], hr_views[i][: lr_sizes[i, 0] * scale, : lr_sizes[i, 1] * scale]) for i in kept.tolist())
    names = tuple(images.names[i] for i in kept)
    fingerprint = hashlib.sha256(f"{images.fingerprint} {scale} {source}".encode()).hexdigest()
    return Pairs(images.name, scale, names, lr_sizes[kept], fingerprint, skipped, hr, lr, views)
