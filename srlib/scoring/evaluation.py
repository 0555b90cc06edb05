"""Upscaling whole images and scoring them: tiles with exact overlap, self-ensemble, one row per image."""

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Collection, Iterator
from itertools import chain

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from srlib.core.color import rgb_to_ycbcr, to_rgb, to_y, with_chroma
from srlib.core.errors import SRError
from srlib.core.imresize import imresize, modcrop
from srlib.core.memory import keep_freed_memory, release_freed_memory
from srlib.core.metrics import HR_MARGIN, check_range, score
from srlib.core.protocols import Protocol, lr_from_hr
from srlib.data.sets import ImageSet, open_set
from srlib.nn.models import device_of, makes_images

TILE = 1024  # pixels of the output; larger images are cut: larger tiles overlap less, and smaller ones need less memory
SMALLEST_TILE = 16
CELL = 4  # LR pixels; tiles begin and end at multiples, as networks that shuffle pixels into channels need it


def out_of_memory(error: RuntimeError) -> bool:
    """Whether memory ran out, on a GPU or on a CPU, whose allocator is named in the message."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def tile_side(length: int, most: int) -> int:
    """Return the side of the fewest equal tiles of at most `most` pixels that cover a length, a multiple of CELL."""
    return -(-length // -(-length // most) // CELL) * CELL


def _tiled(model: nn.Module, lr: Tensor, tile: int) -> Tensor:
    """Upscale in tiles that overlap by the model's context, so that there are no seams."""
    halo, scale = model.context, model.scale
    height, width = lr.shape[-2:]
    down, across = tile_side(height, tile), tile_side(width, tile)
    corners = [(top, left) for top in range(0, height, down) for left in range(0, width, across)]
    out = lr.new_empty(*lr.shape[:-2], height * scale, width * scale)
    for top, left in corners:
        bottom, right = min(top + down, height), min(left + across, width)
        y0, x0 = max(top - halo, 0), max(left - halo, 0)
        sr = model(lr[..., y0 : min(bottom + halo, height), x0 : min(right + halo, width)])
        out[..., top * scale : bottom * scale, left * scale : right * scale] = sr[
            ..., (top - y0) * scale : (bottom - y0) * scale, (left - x0) * scale : (right - x0) * scale
        ]
    return out


def check_tile(tile: int | None) -> None:
    """Raise SRError for a `tile` that `forward` does not take."""
    if tile is not None and (tile < 0 or 0 < tile < SMALLEST_TILE):
        raise SRError(f"tile (={tile}) must be 0 (never) or at least {SMALLEST_TILE} LR pixels")


@torch.no_grad()
def forward(model: nn.Module, lr: Tensor, tile: int | None = None) -> Tensor:
    """Run a model in eval mode on `(N, C, H, W)`, in tiles of `tile` LR pixels where the image is larger.

    tile: rounded down to a multiple of 4; None: about 1024 pixels of the output, or four times the model's context where that is
    more; 0: no tiles. It is halved where memory runs out. Tiles give the result of the whole image up to rounding; a model
    without `context` depends on the whole image and is never cut.
    """
    check_tile(tile)
    if model.context is None or tile == 0:
        return model(lr)
    tile = tile or max(-(-TILE // model.scale // CELL) * CELL, 4 * model.context)
    while True:
        tile = tile // CELL * CELL
        try:
            return model(lr) if max(lr.shape[-2:]) <= tile else _tiled(model, lr, tile)
        except RuntimeError as error:
            if not out_of_memory(error) or tile <= SMALLEST_TILE:
                raise
        # Outside the handler, so that the failed pass is freed before the next try.
        tile = max(min(tile, max(lr.shape[-2:])) // 2, SMALLEST_TILE)


def self_ensemble(model: nn.Module, lr: Tensor, tile: int | None = None) -> Tensor:
    """Average the outputs for the eight flips and rotations of the input, in float."""

    def transformed(flip: bool, turns: int) -> Tensor:
        x = torch.rot90(lr.flip(-1) if flip else lr, turns, (-2, -1))
        y = torch.rot90(forward(model, x, tile), -turns, (-2, -1))
        return y.flip(-1) if flip else y

    return sum(transformed(flip, turns) for flip in (False, True) for turns in range(4)) / 8


def _run(model: nn.Module, planes: np.ndarray, tile: int | None, ensemble: bool) -> np.ndarray:
    """Upscale `(H, W, C)` floats in 0..255 and return the same kind."""
    lr = torch.from_numpy(np.ascontiguousarray(planes.transpose(2, 0, 1)[None])).to(device_of(model), torch.float32) / 255
    run = self_ensemble if ensemble else forward
    if getattr(model, "channels_last", True):  # oneDNN's convolutions are faster so
        model, lr = model.to(memory_format=torch.channels_last), lr.contiguous(memory_format=torch.channels_last)
    sr = run(model, lr, tile)
    return sr[0].permute(1, 2, 0).double().cpu().numpy() * 255


@contextlib.contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model in eval mode, and one with parameters on the GPU where there is one; restore both at the end."""
    keep_freed_memory()
    training, home = model.training, device_of(model)
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


def upscale(model: nn.Module, lr: np.ndarray, *, tile: int | None = None, ensemble: bool = False) -> np.ndarray:
    """Upscale one image `(H, W)` or `(H, W, 3)`, uint8 or floats in 0..255, and return floats in 0..255, not clipped.

    A luma model takes the Y of an RGB image, and the chroma is upscaled bicubically, as the papers do. An `(H, W)` image
    is luma for a luma model, and three equal channels for an RGB model. tile: see `forward`.
    The model's weights stay in the order of channels_last, their values unchanged, unless its `channels_last` is False.
    """
    if lr.ndim not in (2, 3) or (lr.ndim == 3 and lr.shape[2] != 3) or 0 in lr.shape:
        raise SRError(f"lr has shape {lr.shape}; expected (H, W) or (H, W, 3)")
    check_range("lr", lr, HR_MARGIN)
    with _evaluating(model):
        if lr.ndim == 2:
            planes = to_rgb(lr) if model.channels == 3 else lr[..., None]
            sr = _run(model, planes.astype(np.float64), tile, ensemble)
            return sr.mean(axis=2) if model.channels == 3 else sr[..., 0]
        if model.channels == 1:
            ycbcr = rgb_to_ycbcr(lr.astype(np.float64))
            y = _run(model, ycbcr[..., :1], tile, ensemble)
            return with_chroma(y[..., 0], imresize(ycbcr[..., 1:], model.scale))
        return _run(model, lr.astype(np.float64), tile, ensemble)


def _crop_pair(hr: np.ndarray, lr: np.ndarray | None, protocol: Protocol, scale: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Crop a pair to the protocol's multiple; raise SRError where the sizes do not match, or for scale 1 without LR."""
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
    """Return the input of a model: the luma `(H, W)` of an LR image for a luma model whose own output the protocol scores (no
    `sr_rgb`), else the image. rounded: see `to_y`."""
    luma = model.channels == 1 and protocol.color == "y" and not protocol.sr_rgb
    return to_y(lr, rounded=rounded) if luma and lr.ndim == 3 else lr


def super_resolve(
    model: nn.Module, hr: np.ndarray, protocol: Protocol, *, lr: np.ndarray | None = None, ensemble: bool = False
) -> tuple[np.ndarray, np.ndarray, float]:
    """Degrade `hr` as the protocol says and upscale it: return sr, the hr that it is scored against, and seconds.

    lr: the uint8 LR image of a pair, upscaled instead; a model of scale 1 needs one.
    A luma model gets and returns luma `(H, W)` where the protocol scores luma without `sr_rgb`. Under a protocol that degrades
    luma, an RGB model gets the 8-bit RGB image.
    """
    hr, lr = _crop_pair(hr, lr, protocol, model.scale)
    rounded = lr is not None and protocol.round_y
    if lr is None:
        degradation = "uint8_rgb" if model.channels == 3 and protocol.lr == "float_y" else protocol.lr
        lr = lr_from_hr(hr, dataclasses.replace(protocol, lr=degradation), model.scale)
    began = time.perf_counter()
    sr = upscale(model, model_input(model, lr, protocol, rounded), ensemble=ensemble)
    return sr, hr, time.perf_counter() - began


def windows(height: int, width: int, protocol: Protocol) -> list[tuple[int, int, int, int]]:
    """Return (top, left, height, width), in LR pixels, of the windows of an LR image that are scored separately; the whole image
    unless both sides exceed `protocol.window`."""
    side = protocol.window
    if not side or min(height, width) <= side:
        return [(0, 0, height, width)]
    tops, lefts = ([*range(0, length - side, protocol.stride), length - side] for length in (height, width))
    return [(top, left, side, side) for top in tops for left in lefts]


def _pieces(
    name: str, hr: np.ndarray, lr: np.ndarray | None, protocol: Protocol, scale: int
) -> Iterator[tuple[str, np.ndarray, np.ndarray | None]]:
    """Yield (name, hr, lr) of each window, cropped as the protocol says; of several, the name is name@top,left."""
    hr, lr = _crop_pair(hr, lr, protocol, scale)
    pieces = windows(hr.shape[0] // scale, hr.shape[1] // scale, protocol)
    for top, left, height, width in pieces:
        label = f"{name}@{top},{left}" if len(pieces) > 1 else name
        lr_piece = None if lr is None else lr[top : top + height, left : left + width]
        yield label, hr[top * scale : (top + height) * scale, left * scale : (left + width) * scale], lr_piece


# Registered by the papers: `(model, dataset, protocol, limit)` -> a row per image (`image`) of their own evaluation.
SCORERS: dict[str, Callable[[nn.Module, str | ImageSet, Protocol, int | None], pd.DataFrame]] = {}
_NO_IMAGES: dict[type[nn.Module], tuple[Callable, Callable]] = {}


def register(kind: type[nn.Module], rows: Callable[..., pd.DataFrame], mean: Callable[[pd.DataFrame], dict[str, float]]) -> None:
    """Register how networks that make no images are scored: `rows(model, dataset, limit)`, a row per image, and their mean."""
    _NO_IMAGES[kind] = rows, mean


def evaluate(
    model: nn.Module,
    dataset: str | ImageSet,
    protocol: Protocol,
    *,
    limit: int | None = None,
    ensemble: bool = False,
    progress: bool = False,
    failures: list[str] | None = None,
) -> pd.DataFrame:
    """Score a model on a set: a row per image, or per window where the protocol cuts them, with `image`, the protocol's metrics
    (`psnr` in dB, `ssim`) and `seconds`; of a network that makes no images, what its paper has registered (`register`).

    Sets of pairs are scored with their own LR images, which a model of scale 1 needs. limit: only the first images of the set.
    ensemble: see `upscale`. progress: a bar over the images. failures: gets a line for each image that cannot be scored, and the
    others are scored all the same; by default the first one raises SRError.
    """
    if not makes_images(model):
        return _NO_IMAGES[type(model)][0](model, dataset, limit)
    images, scale = open_set(dataset), model.scale
    images.check_scale(scale)
    rows = [[] for _ in images.names[:limit]]
    order = sorted(range(len(rows)), key=lambda i: _area(images, i))  # an image that is damaged or too small fails at once
    with _evaluating(model):
        for i in tqdm(order, desc=images.name, disable=not progress, leave=False):
            name = images.names[i]
            try:
                hr = images[i]
                lr = images.lr(i, hr, scale) if images.paired else None
                for piece, hr_piece, lr_piece in _pieces(name, hr, lr, protocol, scale):
                    sr, target, seconds = super_resolve(model, hr_piece, protocol, lr=lr_piece, ensemble=ensemble)
                    values = score(sr, target, protocol, scale)
                    rows[i].append({"image": piece, **dict(zip(protocol.metrics, values, strict=True)), "seconds": seconds})
            except SRError as error:
                if failures is None:
                    raise SRError(f"{images.name}, {name}: {error}") from error
                failures.append(f"{images.name}, {name}: {error}")
                rows[i] = []
    release_freed_memory()
    return pd.DataFrame(chain.from_iterable(rows))


def means(rows: pd.DataFrame, metrics: Collection[str]) -> dict[str, float | int]:
    """Return the mean of each metric over rows of `evaluate`; where images are exact (infinite PSNR), `exact` is their number,
    and the mean PSNR is that of the others, if any."""
    averages = {metric: float(rows[metric].mean()) for metric in metrics}
    exact = np.isinf(rows["psnr"]) if "psnr" in metrics else np.zeros(len(rows), bool)
    if exact.any():
        averages |= {"psnr": float(rows["psnr"][~exact].mean()) if not exact.all() else math.inf, "exact": int(exact.sum())}
    return averages


def _area(images: ImageSet, i: int) -> int:
    """Return the number of pixels of an image, 0 where its file cannot be read, which raises when it is scored."""
    try:
        return images.area(i)
    except SRError:
        return 0


def whole_images(names: pd.Series | pd.Index) -> pd.Series | pd.Index:
    """Return the names of the images that rows of windows or patches, `name@top,left`, are of; other names stay."""
    return names.str.replace(r"@\d+,\d+$", "", regex=True)


def count_images(rows: pd.DataFrame, protocol: Protocol) -> int:
    """Return how many images the rows of `evaluate` are of; the windows of one count once."""
    return whole_images(rows["image"]).nunique() if protocol.window else len(rows)


def measure(model: nn.Module, dataset: str | ImageSet, protocol: Protocol, *, limit: int | None = None) -> dict[str, float | int]:
    """Return the `means` of `evaluate`, or the registered mean of a network that makes no images, and the number of `images`."""
    rows = evaluate(model, dataset, protocol, limit=limit)
    averages = means(rows, protocol.metrics) if makes_images(model) else _NO_IMAGES[type(model)][1](rows)
    return {**averages, "images": count_images(rows, protocol)}
