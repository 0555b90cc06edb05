"""PSNR and SSIM under an explicit protocol.

References: Z. Wang et al., "Image quality assessment: from error visibility to structural similarity", IEEE TIP 2004
(SSIM: 11x11 Gaussian of sigma 1.5, K1 = 0.01, K2 = 0.03, mean over the windows that lie inside the image).
"""

import dataclasses
import math
from collections.abc import Iterator
from functools import lru_cache, partial

import numpy as np
import torch

from srlib.core.color import OFFSET, to_rgb, to_y
from srlib.core.errors import SRError, unknown
from srlib.core.protocols import Protocol

STRIP = 48  # rows of SSIM per pass
HR_MARGIN, SR_MARGIN = 0.5, 10.0  # tolerated excess over the nominal range, in ranges
BLOCK = 16  # outputs per banded matrix product: trades multiplied zeros against calls


def check_range(name: str, image: np.ndarray | torch.Tensor, margin: float, reject_unit: bool = True) -> None:
    """Raise SRError unless an image is uint8 or floats in about 0..255, or a tensor is floats in about 0..1, all finite.

    margin: tolerated excess over the range, in ranges. reject_unit: reject a float image that is not flat and lies within
    0..1, as one in that range.
    """
    is_torch = isinstance(image, torch.Tensor)
    if 0 in image.shape or (not is_torch and image.dtype == np.uint8):
        return
    peak, range_ = (1, "0..1") if is_torch else (255, "0..255")
    if not (image.is_floating_point() if is_torch else np.issubdtype(image.dtype, np.floating)):
        expected = "floats in 0..1; divide 8 bits by 255" if is_torch else "uint8, or floats in 0..255; divide 16 bits by 257"
        raise SRError(f"{name}: got {image.dtype}, expected {expected}")
    low, high = float(image.min()), float(image.max())
    if not math.isfinite(low + high):
        raise SRError(f"{name}: has NaN or infinite values, expected finite ones in {range_}; mend what made it, e.g. weights")
    if not is_torch and reject_unit and 0 <= low < high <= 1:
        raise SRError(f"{name}: got floats in {low:.3g}..{high:.3g}, a picture in 0..1, expected 0..255; multiply it by 255")
    if low < -margin * peak or high > (1 + margin) * peak:
        raise SRError(f"{name}: got floats in {low:.4g}..{high:.4g}, expected about {range_}; scale it to that range")


def psnr(sr, hr, protocol: Protocol, scale: int):
    """Return the PSNR in dB (peak 255; inf for equal images) of an SR image against HR.

    numpy: images (H, W, 3) or (H, W), uint8 or floats in 0..255, which SR may exceed; returns a float. An SR of (H, W) is luma
    under a luma protocol, unless it is uint8, as read from a file, and HR is grey too: `protocol.grey` then applies to both.
    torch: batches (N, 3, H, W) or, for luma, (N, 1, H, W), floats in 0..1; returns float64 (N,) on the device of `sr`.
    scale: a whole number. Raises SRError for shapes that differ, other types or ranges (`check_range`), NaN and infinity, and
    images without pixels inside the border.
    """
    return score(sr, hr, protocol, scale, ("psnr",))[0]


def ssim(sr, hr, protocol: Protocol, scale: int):
    """Return the mean SSIM of an SR image against HR, over the windows inside the border. Arguments as in `psnr`.

    Raises SRError for shapes that differ and for images smaller than the window inside the border. For the metric
    "ssim_uniform7" of `score` a flat HR image has no range and gives nan.
    """
    return score(sr, hr, protocol, scale, ("ssim",))[0]


def score(sr, hr, protocol: Protocol, scale: int, metrics: tuple[str, ...] = ()) -> tuple:
    """Return several metrics (default: the protocol's) of an image or batch, sharing the conversion to luma.

    Arguments as in `psnr`.
    """
    metrics = metrics or protocol.metrics
    for metric in metrics:
        if metric not in _FUNCTIONS:
            raise unknown("metric", metric, _FUNCTIONS)
    if isinstance(sr, torch.Tensor):
        return _score_batch(sr, hr, protocol, scale, metrics)
    sr, hr = np.asarray(sr), np.asarray(hr)
    check_range("hr", hr, HR_MARGIN)
    check_range("sr", sr, SR_MARGIN, reject_unit=hr.max(initial=0) > 1)  # SR of a black image may lie in 0..1
    return _score_image(sr, hr, protocol, scale, metrics)


def _score_image(sr: np.ndarray, hr: np.ndarray, protocol: Protocol, scale: int, metrics: tuple[str, ...]) -> tuple:
    inside = _planes(sr, hr, protocol, scale)
    uncropped = _uncropped_planes(sr, hr, protocol) if "ssim_padded" in metrics else ()
    return tuple(_FUNCTIONS[metric](*(uncropped if metric == "ssim_padded" else inside)) for metric in metrics)


def _score_batch(sr: torch.Tensor, hr, protocol: Protocol, scale: int, metrics: tuple[str, ...]) -> tuple:
    if not isinstance(hr, torch.Tensor) or sr.ndim != 4 or sr.shape != hr.shape or sr.shape[1] not in (1, 3):
        got = f"{tuple(sr.shape)} and {tuple(hr.shape) if hasattr(hr, 'shape') else type(hr).__name__}"
        raise SRError(f"sr, hr: got {got}, expected two tensors of one shape, (N, 1, H, W) or (N, 3, H, W)")
    check_range("hr", hr, HR_MARGIN)
    check_range("sr", sr, SR_MARGIN)
    images = [batch.detach().cpu().double().permute(0, 2, 3, 1).numpy() * 255 for batch in (sr, hr)]
    if sr.shape[1] == 1:
        images = [batch[..., 0] for batch in images]
        protocol = dataclasses.replace(protocol, grey="as_y")
    rows = [_score_image(x, y, protocol, scale, metrics) for x, y in zip(*images, strict=True)]
    values = torch.tensor(rows, dtype=torch.float64, device=sr.device).reshape(-1, len(metrics))
    return tuple(values.unbind(1))


def _planes(sr: np.ndarray, hr: np.ndarray, protocol: Protocol, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the planes to compare, float64 (planes, h, w) of SR and HR in 0..255, without the border."""
    for name, image in (("sr", sr), ("hr", hr)):
        if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3) or image.size == 0:
            raise SRError(f"{name}: got shape {image.shape}, expected (H, W) or (H, W, 3)")
    if sr.shape[:2] != hr.shape[:2]:
        raise SRError(f"sr, hr: got {sr.shape} and {hr.shape}, expected equal height and width; crop by modcrop")
    if protocol.color == "rgb" and sr.ndim < hr.ndim:
        raise SRError(f"sr: got shape {sr.shape}, expected (H, W, 3): protocol {protocol.name!r} compares RGB")
    border = protocol.border(scale)
    height, width = sr.shape[0] - 2 * border, sr.shape[1] - 2 * border
    if min(height, width) < 1:
        raise SRError(f"sr: {sr.shape[0]}x{sr.shape[1]} pixels have nothing inside a border of {border}; give more")
    sr, hr = (image[border : border + height, border : border + width] for image in (sr, hr))
    is_integer = protocol.round_sr or sr.dtype == np.uint8
    if protocol.round_sr and sr.dtype != np.uint8:
        sr = _rounded(sr.astype(np.float64, copy=False))
        np.clip(sr, 0, 255, out=sr)
    elif protocol.clip_sr:
        sr = np.clip(sr, 0, 255)
    if protocol.color == "rgb":
        return tuple(np.moveaxis(to_rgb(image).astype(np.float64), 2, 0) for image in (sr, hr))
    hr_is_y = hr.ndim == 2 and protocol.grey == "as_y"
    if hr_is_y and sr.ndim == 3:
        raise SRError(f"sr: got {sr.shape}, expected (H, W): protocol {protocol.name!r} takes the grey hr as luma")
    sr_is_y = sr.ndim == 2 and (sr.dtype != np.uint8 or hr.ndim == 3 or hr_is_y)  # else a grey picture, converted like HR
    sr = _luma(sr, sr_is_y, is_integer, protocol)
    if protocol.clip_y:
        sr = np.clip(sr, 16, 235)
    return sr[None], _luma(hr, hr_is_y, hr.dtype == np.uint8, protocol)[None]


def _uncropped_planes(sr: np.ndarray, hr: np.ndarray, protocol: Protocol) -> tuple[np.ndarray, np.ndarray]:
    """Return the planes of "ssim_padded": as `_planes`, but uncropped, unrounded, unclipped and luma without its offset."""
    bare = dict.fromkeys(("round_sr", "round_y", "clip_sr", "clip_y"), False)
    planes = _planes(sr, hr, dataclasses.replace(protocol, shave=0, shave_per_scale=0, **bare), 1)
    return tuple(plane - OFFSET[0] for plane in planes) if protocol.color == "y" else planes


def _luma(image: np.ndarray, is_luma: bool, is_integer: bool, protocol: Protocol) -> np.ndarray:
    """Return float64 luma, rounded if the protocol says so; is_luma: the image is luma; is_integer: its values are rounded."""
    y = image.astype(np.float64, copy=False) if is_luma else to_y(image, rounded=False)
    return _rounded(y) if protocol.round_y and not (is_luma and is_integer) else y


def _rounded(values: np.ndarray) -> np.ndarray:
    values = values + 0.5
    return np.floor(values, out=values)


def _psnr(sr: np.ndarray, hr: np.ndarray) -> float:
    difference = sr - hr
    error = np.vdot(difference, difference) / difference.size
    return math.inf if error == 0 else float(10 * np.log10(255**2 / error))


def _ssim(window: str, sr: np.ndarray, hr: np.ndarray) -> float:
    taps, (height, width) = len(_window(window)), sr.shape[1:]
    if min(height, width) < taps:
        raise SRError(f"sr: {height}x{width} pixels inside the border, fewer than the SSIM window of {taps}x{taps}")
    span = float(np.ptp(hr)) if window == "uniform7" else 255.0
    if span == 0:
        return math.nan  # 0 / 0 in every window
    return float(np.mean([_mean_ssim(x, y, window, span) for x, y in zip(sr, hr, strict=True)]))


def _ssim_padded(sr: np.ndarray, hr: np.ndarray) -> float:
    pad = len(_window("gaussian11")) // 2
    return _ssim("gaussian11", *(np.pad(planes, [(0, 0), (pad, pad), (pad, pad)]) for planes in (sr, hr)))


_FUNCTIONS = {
    "psnr": _psnr,
    "ssim": partial(_ssim, "gaussian11"),
    "ssim_uniform7": partial(_ssim, "uniform7"),
    "ssim_padded": _ssim_padded,
}


@lru_cache
def _window(name: str) -> np.ndarray:
    """Return the separable SSIM window along one axis, normalized to sum 1."""
    if name == "uniform7":
        return np.full(7, 1 / 7)
    taps = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    return taps / taps.sum()


@lru_cache
def _band(name: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the banded matrix (count, count + taps - 1) that computes `count` outputs, and its transpose."""
    window = _window(name)
    band = np.zeros((count, count + len(window) - 1))
    for row in range(count):
        band[row, row : row + len(window)] = window
    return band, np.ascontiguousarray(band.T)


class _Workspace:
    """Preallocated buffers for the strips of one image; allocating per strip would cost more than the filtering."""

    def __init__(self, planes: int, height: int, width: int):
        self.buffers = {name: np.empty(planes * height * width) for name in ("planes", "down", "across")}

    def array(self, name: str, *shape: int) -> np.ndarray:
        return self.buffers[name][: math.prod(shape)].reshape(shape)


def _filtered(planes: np.ndarray, window: str, work: _Workspace) -> np.ndarray:
    """Filter planes (n, h, w) by the window, valid region only: (n, h - taps + 1, w - taps + 1)."""
    margin = len(_window(window)) - 1
    count, height, width = planes.shape[0], planes.shape[1] - margin, planes.shape[2] - margin
    down = work.array("down", count, height, width + margin)
    for top in range(0, height, BLOCK):
        rows = min(BLOCK, height - top)
        np.matmul(_band(window, rows)[0], planes[:, top : top + rows + margin], out=down[:, top : top + rows])
    down = down.reshape(count * height, -1)
    across = work.array("across", count * height, width)
    for left in range(0, width, BLOCK):
        columns = min(BLOCK, width - left)
        band = _band(window, columns)[1]
        np.matmul(down[:, left : left + columns + margin], band, out=across[:, left : left + columns])
    return across.reshape(count, height, width)


def moments(x: np.ndarray, y: np.ndarray, *windows: str) -> Iterator[tuple[str, slice, np.ndarray, np.ndarray]]:
    """Filter two float64 planes (h, w) by SSIM windows, in strips of rows that fit the CPU cache.

    windows: "gaussian11", "uniform7". The output is the valid region of the largest, (h - taps + 1, w - taps + 1). Yields for
    each strip and window its name, the rows of the output, the filtered x, y, x^2 + y^2 and xy (4, rows, w - taps + 1), and
    scratch space of one such plane; both are overwritten by the next.
    """
    taps = max(len(_window(window)) for window in windows)
    height = x.shape[0] - taps + 1
    work = _Workspace(4, min(STRIP, height) + taps - 1, x.shape[1])
    for top in range(0, height, STRIP):
        bottom = min(top + STRIP, height)
        rows = slice(top, bottom + taps - 1)
        planes = work.array("planes", 4, *x[rows].shape)
        planes[0], planes[1] = x[rows], y[rows]
        np.multiply(x[rows], x[rows], out=planes[2])
        np.multiply(y[rows], y[rows], out=planes[3])
        planes[2] += planes[3]
        np.multiply(x[rows], y[rows], out=planes[3])
        for window in windows:
            cut = (taps - len(_window(window))) // 2
            part = planes[:, cut : planes.shape[1] - cut, cut : planes.shape[2] - cut]
            filtered = _filtered(part, window, work)
            yield window, slice(top, bottom), filtered, work.array("down", *filtered.shape[1:])


def ssim_constants(window: str, span: float) -> tuple[float, float]:
    """Return C1 and C2 for planes of range `span`; of a uniform window C2 is for the sample covariance, n - 1 in place of n."""
    unbiased = 49 / 48 if window == "uniform7" else 1.0
    return (0.01 * span) ** 2, (0.03 * span) ** 2 / unbiased


def _mean_ssim(x: np.ndarray, y: np.ndarray, window: str, span: float) -> float:
    """Return the mean SSIM of two float64 planes (h, w).

    Four filtered planes suffice, x, y, x^2 + y^2 and xy, as the formula needs only the sum of the variances. Arithmetic
    is in place; the comments name the new content of an array.
    """
    c1, c2 = ssim_constants(window, span)
    total, count = 0.0, 0
    for _, _, (mean_x, mean_y, squares, product), means in moments(x, y, window):
        np.multiply(mean_x, mean_y, out=means)
        mean_x *= mean_x
        mean_y *= mean_y
        mean_x += mean_y  # the sum of the squared means
        squares -= mean_x  # the sum of the variances
        product -= means  # the covariance
        product *= 2
        means *= 2
        for plane, constant in ((means, c1), (product, c2), (mean_x, c1), (squares, c2)):
            plane += constant
        means *= product
        mean_x *= squares
        means /= mean_x
        total += float(means.sum())
        count += means.size
    return total / count
