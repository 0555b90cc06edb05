"""Upscaling a user's pictures: which ones, where to, what becomes of alpha, profiles and bad files."""

import os
import re
import sys
from collections.abc import Sequence
from glob import glob
from pathlib import Path

import numpy as np
from torch import nn
from tqdm.auto import tqdm

from srlib.color import to_uint8
from srlib.data.images import SUFFIXES, WRITERS, Photo, list_images, natural, read_photo, write_image
from srlib.degradation import imresize
from srlib.errors import SRError
from srlib.evaluation import check_tile, out_of_memory, upscale
from srlib.models.bicubic import Bicubic
from srlib.models.difficulty_sr import Identifier
from srlib.results import Trained

WILD = re.compile(r"[*?[]")


def check_model(trained: Trained) -> None:
    """Raise SRError for what makes no other picture out of one."""
    if isinstance(trained.model, Identifier):
        raise SRError(f"model (={trained.name}) says how difficult a patch is and makes no picture; take btsrn, for one")
    if isinstance(trained.model, Bicubic) and trained.model.scale == 1:
        raise SRError("scale (=1) of bicubic leaves a picture as it is; take 2 or more")


def is_glob(given: str) -> bool:
    """Whether an input is a pattern, and not a file or folder of that very name."""
    return WILD.search(given) is not None and not Path(given).exists()


def find(given: str, ending: str) -> list[Path]:
    """Return the pictures that an input names: the file itself, or those in a folder or of a pattern, in natural order.

    Of folders and patterns, files with that ending are left out: an earlier call made them. Raises SRError where none is left.
    """
    if is_glob(given):
        files = [path for path in map(Path, glob(given, recursive=True)) if path.is_file()]
        found = sorted((path for path in files if path.suffix.lower() in SUFFIXES), key=lambda path: natural(str(path)))
    elif os.path.isdir(given):  # unlike Path, also where a name is too long
        found = list_images(given)
    else:
        return [Path(given)]
    found = [path for path in found if not path.name.endswith(ending)]
    if not found:
        raise SRError(f"image {given}: names no image to upscale; expected files that end in {', '.join(SUFFIXES)}")
    return found


def _folder(inputs: Sequence[str], output: Path) -> bool:
    """Whether the output is a folder, and not a file; raises SRError where it can be neither."""
    if len(inputs) > 1 or is_glob(inputs[0]) or os.path.isdir(inputs[0]):
        if output.is_file() or output.suffix.lower() in WRITERS:
            raise SRError(f"output (={output}) must be a folder, as there may be several images; give another name")
        return True
    if output.is_dir():
        return True
    if output.suffix.lower() not in WRITERS:
        raise SRError(f"output (={output}) must end in one of {', '.join(WRITERS)}, or be a folder that exists")
    return False


def plan(inputs: Sequence[str], output: Path | None, ending: str) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Return the (picture, output) to work on, each picture once, and what is wrong with the other inputs.

    output: a folder for several pictures, a file for one, None for beside each picture; names in a folder are those of the
    pictures with `ending` in place of their suffix. Raises SRError for an output that does not fit the inputs.
    """
    folder = output is not None and _folder(inputs, output)
    jobs, failures, seen, taken = [], [], set(), {}
    for given in inputs:
        try:
            found = find(given, ending)
        except SRError as error:
            failures.append(str(error))
            continue
        for source in (path for path in found if path.resolve() not in seen):
            target = output if output and not folder else (output or source.parent) / f"{source.stem}{ending}"
            seen.add(source.resolve())
            first = taken.setdefault(target.resolve(), source)
            if first is source:
                jobs.append((source, target))
            else:
                failures.append(f"image {source}: {target} is the output of {first}; upscale it by itself with --output")
    return jobs, failures


def _pixels(model: nn.Module, photo: Photo, **options) -> np.ndarray:
    """Upscale the colours to uint8; grey as three equal channels, so that luma means the same as in training."""
    grey = photo.pixels.ndim == 2
    rgb = np.repeat(photo.pixels[..., None], 3, axis=2) if grey else photo.pixels
    sr = upscale(model, rgb, **options)
    return to_uint8(sr[..., 1] if grey else sr)


def upscale_file(model: nn.Module, source: Path, target: Path, *, overwrite: bool = False, **options) -> str:
    """Upscale one picture into a file, alpha bicubically, with its ICC profile; return a line that says so.

    options: `tile`, `ensemble` and `progress` of `evaluation.upscale`. Raises SRError where the picture cannot be read, the
    output exists and is not to be overwritten, or cannot be written or hold a transparent picture, or memory runs out.
    """
    if os.path.exists(target) and not overwrite:
        raise SRError(f"{target} exists; give --output another name, or --overwrite")
    photo = read_photo(source)
    alpha = photo.alpha
    if WRITERS[target.suffix.lower()][0] == "JPEG" and alpha is not None:
        if alpha.min() < 255:
            raise SRError(f"image {source}: is transparent in places, which {target.name} cannot hold; give --output a .png")
        alpha = None
    try:
        sr = _pixels(model, photo, **options)
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, MemoryError) and not out_of_memory(error):
            raise
        height, width = photo.pixels.shape[:2]
        whole = options.get("tile") == 0 and model.context is not None
        remedy = "leave out --tile 0" if whole else "give a smaller picture or --scale, or another --model"
        raise SRError(f"image {source}: memory ran out at {width}x{height} pixels; {remedy}") from error
    alpha = None if alpha is None else imresize(alpha, model.scale)
    write_image(target, sr, alpha=alpha, profile=photo.profile if photo.profile_fits else None)
    note = ", without its ICC profile, which is for other colours" if photo.profile and not photo.profile_fits else ""
    return f"{target}: {sr.shape[1]}x{sr.shape[0]}{note}"


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
    check_model(trained)
    check_tile(tile)
    jobs, failures = plan(inputs, output, f"_{trained.name}_x{trained.model.scale}.png")
    total = len(jobs) + len(failures)
    options = {"tile": tile, "ensemble": ensemble, "overwrite": overwrite, "progress": progress}
    for source, target in tqdm(jobs, unit="image", disable=not progress or len(jobs) == 1, leave=False):
        try:
            tqdm.write(upscale_file(trained.model, source, target, **options), file=sys.stdout)
        except SRError as error:
            failures.append(str(error))
    if failures and total == 1:
        raise SRError(failures[0])
    if failures:
        raise SRError("\n  ".join([f"{len(failures)} of {total} images were not upscaled:", *failures]))
