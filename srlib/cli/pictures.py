"""Upscaling a user's pictures: in blocks, within the free memory, with their alpha channels and ICC profiles."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import product
from pathlib import Path

import numpy as np
import psutil  # comes with accelerate
import torch
from scipy.ndimage import distance_transform_edt  # comes with scikit-image
from torch import nn
from tqdm.auto import tqdm

from srlib.cli.inputs import plan
from srlib.core.color import to_rgb, to_uint8
from srlib.core.errors import SRError, batch_error
from srlib.core.files import check_writable
from srlib.core.imresize import imresize
from srlib.core.memory import release_freed_memory
from srlib.core.metrics import SR_MARGIN, check_range
from srlib.core.output import tolerant
from srlib.data.images import WRITERS, Photo, image_head, read_photo, write_image
from srlib.nn.bicubic import Bicubic
from srlib.nn.cost import peak_bytes
from srlib.nn.models import device_of, makes_images
from srlib.reproduce.store import Trained
from srlib.scoring.evaluation import CELL, TILE, check_tile, out_of_memory, tile_side, upscale

CGROUP = Path("/sys/fs/cgroup")  # version 2; containers and batch systems limit memory there
LARGE = 1 << 30  # bytes; a picture that needs more says so before it starts
FLOATS = 120  # bytes per pixel of what is upscaled at once, as measured
WORKSPACE = 2.0  # times what a network's tensors take, as measured: gaps in memory that is kept, the library's own buffers
TRIAL = 32  # LR pixels a side, unless a network needs more


def _spans(length: int, side: int, halo: int) -> Iterator[tuple[slice, slice]]:
    """Yield the blocks of an axis, of about `side` pixels: what each is to fill, and what it is made of, `halo` more."""
    step = tile_side(length, side)
    for start in range(0, length, step):
        stop = min(start + step, length)
        yield slice(start, stop), slice(max(start - halo, 0), stop + halo)


def _block_size(model: nn.Module, height: int, width: int, tile: int | None, ensemble: bool) -> tuple[int, int]:
    """Return the side and the halo of the blocks that a picture is upscaled in; they give the result of the whole picture.

    It is one block where the model sees all of it, and where an ensemble turns what is no multiple of CELL.
    """
    if model.context is None or tile == 0 or (ensemble and (height % CELL or width % CELL)):
        return max(height, width), 0
    side = (tile or max(TILE // model.scale, 4 * model.context)) // CELL * CELL
    return side, -(-max(model.context, CELL) // CELL) * CELL


def _upscale_blocks(
    model: nn.Module, photo: Photo, *, tile: int | None, ensemble: bool, progress: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return colours and alpha, uint8, block by block, so that only their bytes are held for the whole picture.

    Grey becomes three equal channels, so that luma means the same as in training. Colours of transparent pixels are ignored.
    """
    pixels, alpha, scale = photo.pixels, photo.alpha, model.scale
    height, width = pixels.shape[:2]
    if alpha is not None:
        pixels = _fill_hidden(pixels, alpha)
    sr = np.empty((height * scale, width * scale, *pixels.shape[2:]), np.uint8)
    sr_alpha = None if alpha is None else np.empty(sr.shape[:2], np.uint8)
    side, halo = _block_size(model, height, width, tile, ensemble)
    largest = side + 2 * halo if halo else tile  # `upscale` cuts a block only where memory runs out

    def enlarged(span: slice, origin: int = 0) -> slice:
        return slice((span.start - origin) * scale, (span.stop - origin) * scale)

    blocks = [*product(_spans(height, side, halo), _spans(width, side, halo))]
    for (rows, outer_rows), (columns, outer_columns) in tqdm(blocks, unit="tile", disable=not progress, leave=False):
        outer, out = (outer_rows, outer_columns), (enlarged(rows), enlarged(columns))
        part = enlarged(rows, outer_rows.start), enlarged(columns, outer_columns.start)
        result = upscale(model, to_rgb(pixels[outer]), tile=largest, ensemble=ensemble)[part]
        check_range("sr", result, SR_MARGIN, reject_unit=False)  # dark pictures may lie in 0..1
        sr[out] = to_uint8(result[..., 1] if pixels.ndim == 2 else result)
        if alpha is not None:
            sr_alpha[out] = imresize(alpha[outer], scale)[part]
    return sr, sr_alpha


def _fill_hidden(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return the colours with those of the nearest visible pixels where alpha is 0, lest hidden ones bleed into soft edges."""
    hidden = alpha == 0
    if not hidden.any() or hidden.all():
        return pixels
    rows, columns = distance_transform_edt(hidden, return_distances=False, return_indices=True)
    return pixels[rows, columns]


def free_memory() -> int:
    """Return the bytes that this process can still get: of the machine, and of the control groups that it runs in."""
    free, own = psutil.virtual_memory().available, Path("/proc/self/cgroup")
    names = [line[3:] for line in own.read_text().splitlines() if line.startswith("0::")] if own.exists() else []
    if not names:  # not Linux, or its older control groups
        return free
    group = CGROUP / names[0].lstrip("/")
    for folder in [group, *group.parents]:
        try:
            limit, used = ((folder / f"memory.{what}").read_text().strip() for what in ("max", "current"))
            kept = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        except OSError:  # the root has no limit
            continue
        if limit != "max":
            free = min(free, int(limit) - int(used) + int(kept.get("inactive_file", 0)))
    return max(free, 0)


@lru_cache(maxsize=4)
def _network_bytes(model: nn.Module) -> float:
    """Return the bytes per pixel of the result that a network's tensors take at once, by a trial."""
    side = max(TRIAL, getattr(model, "probe", TRIAL))
    return peak_bytes(model, torch.zeros(1, model.channels or 3, side, side, device=device_of(model))) / (side * model.scale) ** 2


def memory_needed(
    model: nn.Module, height: int, width: int, alpha: bool, *, tile: int | None = None, ensemble: bool = False
) -> int:
    """Return about how many bytes the upscaling of a picture takes, from reading to writing; height and width in LR pixels.

    Weights count once more, as the first picture has them put into another order.
    """
    side, halo = _block_size(model, height, width, tile, ensemble)
    block = min(side + 2 * halo, height) * min(side + 2 * halo, width) * model.scale**2
    lr = 8 + 24 * alpha  # the decoder's four bytes a pixel and ours; the way to the nearest visible pixel
    sr = 8 + 8 * alpha
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    network = weights + int(block * (FLOATS + WORKSPACE * _network_bytes(model)))
    return height * width * (lr + sr * model.scale**2) + network


def _remedy(model: nn.Module, tile: int | None) -> str:
    """Return what to do where memory does not suffice."""
    if tile == 0 and model.context is not None:
        return "leave out --tile 0"
    return "cut it into smaller pictures, or give a smaller --scale or another --model"


def upscale_file(
    model: nn.Module,
    source: Path,
    target: Path,
    *,
    tile: int | None = None,
    ensemble: bool = False,
    overwrite: bool = False,
    progress: bool = False,
) -> str:
    """Upscale one picture into a file, alpha bicubically, with its ICC profile; return a line that says so.

    tile, ensemble: as of `evaluation.upscale`. progress: a bar over its blocks. Raises SRError, before any work, where the
    picture cannot be read, the output exists and is not to be overwritten, or cannot be written, or memory will not suffice;
    later where the output cannot hold a transparent picture, or memory runs out after all.
    """
    if os.path.exists(target) and not overwrite:
        raise SRError(f"{target} exists; give --output another name, or --overwrite")
    height, width, transparent = image_head(source)
    check_writable(target)
    sizes = f"{width}x{height} pixels to {width * model.scale}x{height * model.scale}"
    needed = memory_needed(model, height, width, transparent, tile=tile, ensemble=ensemble)
    release_freed_memory()  # of the picture before, which would count as taken
    free = free_memory()
    if needed > free:
        amounts = f"about {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free"
        raise SRError(f"image {source}: {sizes} takes {amounts}; {_remedy(model, tile)}")
    if needed > LARGE:
        tqdm.write(f"{source}: {sizes} takes about {needed / 1e9:.1f} GB of memory")
    photo = read_photo(source)
    if WRITERS[target.suffix.lower()][0] == "JPEG" and photo.alpha is not None:
        if photo.alpha.min() < 255:
            raise SRError(f"image {source}: is transparent in places, which {target.name} cannot hold; give --output a .png")
        photo = replace(photo, alpha=None)
    try:
        sr, alpha = _upscale_blocks(model, photo, tile=tile, ensemble=ensemble, progress=progress)
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, MemoryError) and not out_of_memory(error):
            raise
        raise SRError(f"image {source}: memory ran out at {width}x{height} pixels; {_remedy(model, tile)}") from error
    write_image(target, sr, alpha=alpha, profile=photo.profile)
    *others, last = photo.lost or ("",)
    note = f", without {' and '.join(filter(None, (', '.join(others), last)))}" if last else ""
    return f"{target}: {sr.shape[1]}x{sr.shape[0]}{note}"


@tolerant()
def upscale_files(
    trained: Trained,
    inputs: Sequence[str],
    output: Path | None = None,
    *,
    tile: int | None = None,
    ensemble: bool = False,
    overwrite: bool = False,
    progress: bool = False,
) -> None:
    """Upscale files, folders and patterns, and print a line for each picture; arguments as in `plan` and `upscale_file`.

    progress: bars over the pictures and the tiles of each. A picture that fails does not stop the others; SRError at the end
    says which ones failed.
    """
    if not makes_images(trained.model):
        raise SRError(f"model (={trained.name}) predicts how difficult a patch is and makes no picture; use btsrn, for example")
    if isinstance(trained.model, Bicubic) and trained.model.scale == 1:
        raise SRError("scale (=1) of bicubic leaves a picture as it is; take 2 or more")
    check_tile(tile)
    jobs, failures, notes = plan(inputs, output, f"_{trained.name}_x{trained.model.scale}.png")
    for note in notes:
        print(note)
    total = len(jobs) + len(failures)
    for source, target in tqdm(jobs, unit="image", disable=not progress or len(jobs) == 1, leave=False):
        try:
            options = {"tile": tile, "ensemble": ensemble, "overwrite": overwrite, "progress": progress}
            tqdm.write(upscale_file(trained.model, source, target, **options))
        except SRError as error:
            failures.append(str(error))
    if failures:
        raise batch_error(failures, total, "images were not upscaled")
