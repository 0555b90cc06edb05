"""Upscaling whole images and scoring them: tiles with exact overlap, self-ensemble, one row per image."""

import contextlib
import math
import time
from collections.abc import Callable, Collection, Iterator
from itertools import chain

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from srlib.core.color import rgb_to_ycbcr, to_rgb, to_y, ycbcr_to_rgb
from srlib.core.errors import SRError
from srlib.core.imresize import imresize, modcrop
from srlib.core.metrics import HR_MARGIN, check_range, score
from srlib.core.protocols import Protocol, lr_from_hr
from srlib.data.sets import ImageSet, open_set
from srlib.nn.models import makes_images

TILE = 1024  # pixels of the output; larger images are cut: larger tiles overlap less, and smaller ones need less memory
SMALLEST_TILE = 16
CELL = 4  # LR pixels; tiles begin and end at multiples, as networks that shuffle pixels into channels need it


def out_of_memory(error: RuntimeError) -> bool:
    """Whether memory ran out: on a GPU, or on a CPU, where the allocator's name tells it from other errors."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def _side(length: int, most: int) -> int:
    """Return the side of the fewest tiles of at most `most` pixels that cover a length, about equal; a multiple of CELL."""
    return -(-length // -(-length // most) // CELL) * CELL


def _tiled(model: nn.Module, lr: Tensor, tile: int, progress: bool) -> Tensor:
    """Upscale tile by tile, each with as many pixels around it as the model looks at, so that no seam exists."""
    halo, scale = model.context, model.scale
    height, width = lr.shape[-2:]
    down, across = _side(height, tile), _side(width, tile)
    corners = [(top, left) for top in range(0, height, down) for left in range(0, width, across)]
    out = lr.new_empty(*lr.shape[:-2], height * scale, width * scale)
    for top, left in tqdm(corners, unit="tile", disable=not progress, leave=False):
        bottom, right = min(top + down, height), min(left + across, width)
        y0, x0 = max(top - halo, 0), max(left - halo, 0)
        sr = model(lr[..., y0 : min(bottom + halo, height), x0 : min(right + halo, width)])
        out[..., top * scale : bottom * scale, left * scale : right * scale] = sr[
            ..., (top - y0) * scale : (bottom - y0) * scale, (left - x0) * scale : (right - x0) * scale
        ]
    return out


def check_tile(tile: int | None) -> None:
    """Raise SRError for a number of LR pixels that `forward` does not take."""
    if tile is not None and (tile < 0 or 0 < tile < SMALLEST_TILE):
        raise SRError(f"tile (={tile}) must be 0 (never) or at least {SMALLEST_TILE} LR pixels")


@torch.no_grad()
def forward(model: nn.Module, lr: Tensor, tile: int | None = None, progress: bool = False) -> Tensor:
    """Run a model in eval mode on `(N, C, H, W)`, in tiles of `tile` LR pixels where the image is larger.

    tile: None for some 1024 pixels of the output, or four times the model's context where that is more; 0 for never; rounded down
    to a multiple of 4. Where memory runs out the tile is halved until it fits. Tiles give the result of the whole image up to
    rounding; a model without `context` depends on the whole image and is never cut.
    """
    check_tile(tile)
    if model.context is None or tile == 0:
        return model(lr)
    tile = tile or max(-(-TILE // model.scale // CELL) * CELL, 4 * model.context)
    while True:
        tile = tile // CELL * CELL
        try:
            return model(lr) if max(lr.shape[-2:]) <= tile else _tiled(model, lr, tile, progress)
        except RuntimeError as error:
            if not out_of_memory(error) or tile <= SMALLEST_TILE:
                raise
        # Outside the handler, so that the failed pass is freed before the next try.
        tile = max(min(tile, max(lr.shape[-2:])) // 2, SMALLEST_TILE)


def self_ensemble(model: nn.Module, lr: Tensor, tile: int | None = None, progress: bool = False) -> Tensor:
    """Average the outputs for the eight flips and rotations of the input, in float."""
    total = None
    for flip in (False, True):
        for turns in range(4):
            x = torch.rot90(lr.flip(-1) if flip else lr, turns, (-2, -1))
            y = torch.rot90(forward(model, x, tile, progress), -turns, (-2, -1))
            y = y.flip(-1) if flip else y
            total = y if total is None else total + y
    return total / 8


def _device(model: nn.Module) -> torch.device:
    return next((p.device for p in (*model.parameters(), *model.buffers())), torch.device("cpu"))


def _run(model: nn.Module, planes: np.ndarray, tile: int | None, ensemble: bool, progress: bool) -> np.ndarray:
    """Upscale `(H, W, C)` floats in 0..255 and return the same kind."""
    lr = torch.from_numpy(np.ascontiguousarray(planes.transpose(2, 0, 1)[None])).to(_device(model), torch.float32) / 255
    run = self_ensemble if ensemble else forward
    model = model.to(memory_format=torch.channels_last)  # oneDNN's convolutions are faster so
    sr = run(model, lr.contiguous(memory_format=torch.channels_last), tile, progress)
    return sr[0].permute(1, 2, 0).double().cpu().numpy() * 255


@contextlib.contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Have a model in eval mode, and a trained one on the GPU where there is one; at the end it is as it was before."""
    training, home = model.training, _device(model)
    moves = torch.cuda.is_available() and home.type == "cpu" and any(True for _ in model.parameters())
    model.eval()
    try:
        if moves:
            model.to("cuda")
        yield
    finally:
        if moves:
            model.to(home)
        model.train(training)


def upscale(
    model: nn.Module, lr: np.ndarray, *, tile: int | None = None, ensemble: bool = False, progress: bool = False
) -> np.ndarray:
    """Upscale one image `(H, W)` or `(H, W, 3)`, uint8 or floats in 0..255, and return floats in 0..255, not clipped.

    A luma model takes the Y of an RGB image, and the chroma is upscaled bicubically, as the papers do. An `(H, W)` image
    is luma as it is for a luma model, and three equal channels for an RGB model. tile: see `forward`. progress: a bar over
    the tiles.
    """
    if lr.ndim not in (2, 3) or (lr.ndim == 3 and lr.shape[2] != 3) or 0 in lr.shape:
        raise SRError(f"lr has shape {lr.shape}; expected (H, W) or (H, W, 3)")
    check_range("lr", lr, HR_MARGIN)
    with _evaluating(model):
        if lr.ndim == 2:
            planes = to_rgb(lr) if model.channels == 3 else lr[..., None]
            sr = _run(model, planes.astype(np.float64), tile, ensemble, progress)
            return sr.mean(axis=2) if model.channels == 3 else sr[..., 0]
        if model.channels == 1:
            ycbcr = rgb_to_ycbcr(lr.astype(np.float64))
            y = _run(model, ycbcr[..., :1], tile, ensemble, progress)
            return ycbcr_to_rgb(np.concatenate([y, imresize(ycbcr[..., 1:], model.scale)], axis=2))
        return _run(model, lr.astype(np.float64), tile, ensemble, progress)


def _fitted(hr: np.ndarray, lr: np.ndarray | None, protocol: Protocol, scale: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Crop a pair as the protocol says; SRError where the sizes do not match, or where there is no LR and can be none."""
    cropped = modcrop(hr, scale * protocol.multiple)
    if lr is None:
        if scale == 1:
            raise SRError("lr: got None at scale 1, expected LR of the size of HR; take a set of pairs, e.g. City100-nikon/test")
        return cropped, None
    expected = (hr.shape[0] // scale, hr.shape[1] // scale)
    if lr.shape[:2] != expected:
        raise SRError(f"lr: got {lr.shape[:2]} pixels for hr of {hr.shape[:2]} at scale {scale}, expected {expected}")
    return to_rgb(cropped), to_rgb(modcrop(lr, protocol.multiple))


def model_input(model: nn.Module, lr: np.ndarray, protocol: Protocol, rounded: bool) -> np.ndarray:
    """Return what a model gets of an LR image: its luma `(H, W)` where the model makes luma and the protocol scores that of SR
    itself (not that of RGB, `Protocol.sr_rgb`), and the image as it is otherwise. rounded: see `to_y`."""
    luma = model.channels == 1 and protocol.color == "y" and not protocol.sr_rgb
    return to_y(lr, rounded=rounded) if luma and lr.ndim == 3 else lr


def super_resolve(
    model: nn.Module,
    hr: np.ndarray,
    protocol: Protocol,
    *,
    lr: np.ndarray | None = None,
    tile: int | None = None,
    ensemble: bool = False,
) -> tuple[np.ndarray, np.ndarray, float]:
    """Degrade `hr` as the protocol says and upscale it: return sr, the hr that it is scored against, and seconds.

    lr: the uint8 LR image of a pair, which is then upscaled instead; a model of scale 1 needs one.
    A luma model gets luma and returns luma `(H, W)` where the protocol scores luma, unless it has `sr_rgb`. An RGB model needs an
    RGB image: under a protocol that degrades luma it gets the 8-bit RGB image instead.
    """
    hr, lr = _fitted(hr, lr, protocol, model.scale)
    rounded = lr is not None and protocol.round_y
    if lr is None:
        way = "uint8_rgb" if model.channels == 3 and protocol.lr == "float_y" else protocol.lr
        lr = lr_from_hr(hr, protocol.with_lr(way), model.scale)
    began = time.perf_counter()
    sr = upscale(model, model_input(model, lr, protocol, rounded), tile=tile, ensemble=ensemble)
    return sr, hr, time.perf_counter() - began


def windows(height: int, width: int, protocol: Protocol) -> list[tuple[int, int, int, int]]:
    """Return (top, left, height, width) in LR pixels of what is scored separately of an LR image of that size.

    The image itself, unless both its sides exceed `protocol.window`.
    """
    side = protocol.window
    if not side or min(height, width) <= side:
        return [(0, 0, height, width)]
    tops, lefts = ([*range(0, length - side, protocol.stride), length - side] for length in (height, width))
    return [(top, left, side, side) for top in tops for left in lefts]


def _pieces(
    name: str, hr: np.ndarray, lr: np.ndarray | None, protocol: Protocol, scale: int
) -> Iterator[tuple[str, np.ndarray, np.ndarray | None]]:
    """Yield (name, hr, lr) of each window, cropped as the protocol says; several are told apart as name@top,left."""
    hr, lr = _fitted(hr, lr, protocol, scale)
    found = windows(hr.shape[0] // scale, hr.shape[1] // scale, protocol)
    for top, left, height, width in found:
        label = f"{name}@{top},{left}" if len(found) > 1 else name
        part = None if lr is None else lr[top : top + height, left : left + width]
        yield label, hr[top * scale : (top + height) * scale, left * scale : (left + width) * scale], part


Rows = Callable[[nn.Module, str | ImageSet, int | None], pd.DataFrame]
Mean = Callable[[pd.DataFrame], dict[str, float]]
_SCORERS: dict[type[nn.Module], tuple[Rows, Mean]] = {}


def register(kind: type[nn.Module], rows: Rows, mean: Mean) -> None:
    """Say how networks that make no images are scored: `rows(model, dataset, limit)`, a row per image, and their mean."""
    _SCORERS[kind] = rows, mean


Scorer = Callable[[nn.Module, str | ImageSet, Protocol, int | None], pd.DataFrame]
SCORERS: dict[
    str, Scorer
] = {}  # the papers register theirs: `(model, dataset, protocol, limit)` -> what they look at, with `image`


def _own(model: nn.Module) -> tuple[Rows, Mean]:
    if type(model) not in _SCORERS:
        raise SRError(f"{type(model).__name__} makes no images, and no paper has registered how it is scored")
    return _SCORERS[type(model)]


def evaluate(
    model: nn.Module,
    dataset: str | ImageSet,
    protocol: Protocol,
    *,
    limit: int | None = None,
    tile: int | None = None,
    ensemble: bool = False,
    progress: bool = False,
) -> pd.DataFrame:
    """Score a model on a set of HR images: one row per image with `image`, the protocol's metrics (`psnr` in dB, `ssim`)
    and `seconds`; a row per window where the protocol cuts them.

    Sets of pairs are scored with their own LR images. A model of scale 1 needs such a set.
    A network that makes no images is scored as its paper has registered (`register`).
    limit: only the first images of the set. tile, ensemble: as in `upscale`.
    progress: a bar over the images.
    """
    if not makes_images(model):
        return _own(model)[0](model, dataset, limit)
    images, scale = open_set(dataset), model.scale
    images.check_scale(scale)
    rows = [[] for _ in images.names[:limit]]
    order = sorted(range(len(rows)), key=images.area)  # an image that is too small is known at once
    with _evaluating(model):
        for i in tqdm(order, desc=images.name, disable=not progress, leave=False):
            name, hr = images.names[i], images[i]
            try:
                lr = images.lr(i, hr, scale) if images.paired else None
                for piece, hr_piece, lr_piece in _pieces(name, hr, lr, protocol, scale):
                    sr, target, seconds = super_resolve(model, hr_piece, protocol, lr=lr_piece, tile=tile, ensemble=ensemble)
                    values = score(sr, target, protocol, scale)
                    rows[i].append({"image": piece, **dict(zip(protocol.metrics, values, strict=True)), "seconds": seconds})
            except SRError as error:
                raise SRError(f"{images.name}, {name}: {error}") from error
    return pd.DataFrame(chain.from_iterable(rows))


def means(rows: pd.DataFrame, metrics: Collection[str]) -> dict[str, float | int]:
    """Return the mean of each metric over rows of `evaluate`. Images that a model makes exactly have an infinite PSNR: they are
    left out of its mean, unless it makes all so, and `exact` is their number, where there are any."""
    exact = np.isinf(rows["psnr"]) if "psnr" in metrics else np.zeros(len(rows), bool)
    found = {metric: float(rows[metric].mean()) for metric in metrics}
    if exact.any():
        found |= {"psnr": float(rows["psnr"][~exact].mean()) if not exact.all() else math.inf, "exact": int(exact.sum())}
    return found


def measure(model: nn.Module, dataset: str, protocol: Protocol, *, limit: int | None = None) -> dict[str, float | int]:
    """Score a model on a set of images: the mean of each of the protocol's metrics, or what is registered for a network that
    makes none, and the number of `images`; where some are `exact`, their number (see `means`). Arguments as in `evaluate`."""
    rows = evaluate(model, dataset, protocol, limit=limit)
    found = means(rows, protocol.metrics) if makes_images(model) else _own(model)[1](rows)
    return {**found, "images": len(rows)}
