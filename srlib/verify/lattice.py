"""All protocols in one pass: the scores of a pair of 8-bit pictures for every colour, rounding, border and SSIM window.

Protocols share their work. Squared errors and SSIM maps of a plane are computed once, and each border is a sum over a part of
them: the SSIM map of a cropped picture is a crop of the map, as only whole windows count. Full-range luma is studio-range luma up
to a gain and an offset, and so are its filtered moments.
"""

from collections.abc import Iterator
from functools import cache
from itertools import chain, groupby, product
from typing import NamedTuple

import numpy as np
import pandas as pd

from srlib.core.color import MATRIX, OFFSET, rgb_to_ycbcr, to_rgb, to_uint8, to_y, with_chroma
from srlib.core.errors import SRError
from srlib.core.imresize import downscale, imresize
from srlib.core.metrics import moments, ssim_constants
from srlib.core.protocols import PROTOCOLS, Protocol
from srlib.scoring.evaluation import windows

GAIN = MATRIX[0].sum() / 255  # of studio-range luma over full-range: 219 / 255
RADIUS = {"gaussian11": 5, "uniform7": 3}
PAD = RADIUS["gaussian11"]
INSET = np.array([1, -1, 1, -1])  # of (top, bottom, left, right)
MAX_BORDER = 6  # pixels beyond the scale
WINDOWS = {"ssim": "gaussian11", "ssim_uniform7": "uniform7", "ssim_uniform7_255": "uniform7", "ssim_padded": "gaussian11"}
SSIMS = tuple(WINDOWS)
AXES = ["color", "rounded", "grey", "luma_sr", "clipped", "border", "multiple", "window", "stride"]


class Variant(NamedTuple):
    """How a file becomes what is compared.

    color: "y" (BT.601 luma, 16..235), "full" (the same in 0..255: YIQ's Y, the grey of OpenCV and Pillow), "bgr" ("y" of swapped
    channels) or "rgb". rounded: luma as integers. grey: as in `Protocol`. luma_sr: how grey SR of colour HR is read: "luma",
    "rebuilt" (RGB with bicubic chroma, in 8 bits), "rebuilt_float", "grey" (R = G = B), "" where there is none. clipped: SR luma
    from a grey file clipped to 16..235.
    """

    color: str
    rounded: bool
    grey: str
    luma_sr: str
    clipped: bool

    @property
    def ssims(self) -> tuple[str, ...]:
        """The SSIMs that are tried: each costs a filtering, so that unusual ones are left out."""
        if self.color == "y":
            return ("ssim", "ssim_padded") if self.rounded else SSIMS
        return () if self.color == "bgr" else ("ssim", "ssim_uniform7_255", "ssim_padded")


class Region(NamedTuple):
    """The part that counts; fields as in `Protocol`, border in pixels."""

    border: int
    multiple: int = 1
    window: int = 0
    stride: int = 0


def variants(grey_hr: bool, luma_sr: bool) -> list[Variant]:
    """Return the variants that differ for a set; grey_hr, luma_sr: whether it has grey HR, and grey SR of colour HR."""
    greys = ("convert", "as_y") if grey_hr else ("convert",)
    sources = ("luma", "rebuilt", "rebuilt_float", "grey") if luma_sr else ("",)

    def differs(v: Variant) -> bool:
        return not (
            (v.rounded and v.color in ("bgr", "rgb"))
            or (v.grey == "as_y" and v.color != "y")
            or (v.luma_sr == "luma" and v.color in ("bgr", "rgb"))
            or (v.luma_sr == "rebuilt_float" and v.color != "rgb")
            or (v.clipped and (v.color != "y" or (v.grey != "as_y" and v.luma_sr != "luma")))
        )

    colors = ("y", "full", "bgr", "rgb")
    return [v for v in map(Variant._make, product(colors, (False, True), greys, sources, (False, True))) if differs(v)]


def regions(scale: int) -> list[Region]:
    """Return borders of 0..scale + 6 pixels, and what named protocols crop or cut besides."""
    named = {region_of(protocol, scale) for protocol in PROTOCOLS.values()}
    return sorted({Region(border) for border in range(scale + MAX_BORDER + 1)} | named)


def region_of(protocol: Protocol, scale: int) -> Region:
    """Return the part of an image that a protocol scores."""
    return Region(protocol.border(scale), protocol.multiple, protocol.window, protocol.stride)


def variant_of(protocol: Protocol, grey_hr: bool, luma_sr: bool) -> Variant:
    """Return the variant of a named protocol, for files of 8 bits."""
    source = ("rebuilt" if protocol.sr_rgb or protocol.color == "rgb" else "luma") if luma_sr else ""
    grey = protocol.grey if grey_hr and protocol.color == "y" else "convert"
    clipped = protocol.clip_y and (grey == "as_y" or source == "luma")
    return Variant(protocol.color, protocol.round_y, grey, source, clipped)


def _rects(region: Region, height: int, width: int, scale: int) -> list[tuple[int, int, int, int]]:
    """Return (top, bottom, left, right) of what is scored separately."""
    if region.multiple > 1:
        unit = scale * region.multiple
        height, width = height - height % unit, width - width % unit
    tiles = [(0, 0, height, width)]
    if region.window:
        tiles = [tuple(scale * side for side in tile) for tile in windows(height // scale, width // scale, region)]
    b = region.border
    return [(top + b, top + h - b, left + b, left + w - b) for top, left, h, w in tiles]


def _over(ufunc: np.ufunc, plane: np.ndarray, rects: np.ndarray) -> np.ndarray:
    """Reduce a plane (h, w) over each of (top, bottom, left, right); reads it once."""
    rows, columns = np.unique(rects[:, :2]), np.unique(rects[:, 2:])
    blocks = ufunc.reduceat(plane[:, : columns[-1]], columns[:-1], axis=1)
    blocks = ufunc.reduceat(blocks[: rows[-1]], rows[:-1], axis=0)
    corners = zip(*np.searchsorted(rows, rects[:, :2]).T, *np.searchsorted(columns, rects[:, 2:]).T, strict=True)
    return np.array([ufunc.reduce(blocks[top:bottom, left:right], axis=None) for top, bottom, left, right in corners])


def _means(plane: np.ndarray, rects: np.ndarray) -> np.ndarray:
    return _over(np.add, plane, rects) / ((rects[:, 1] - rects[:, 0]) * (rects[:, 3] - rects[:, 2]))


class Form(NamedTuple):
    """An SSIM map of gain * planes + offset, by a window, with constants for a range."""

    window: str
    gain: float
    offset: float
    span: float


@np.errstate(divide="ignore", invalid="ignore")  # a flat HR has no range: 0 / 0, nan
def _ssim_maps(sr: np.ndarray, hr: np.ndarray, forms: list[Form]) -> np.ndarray:
    """Return the SSIM map of each form, summed over planes (n, h + 2 PAD, w + 2 PAD): (forms, h, w), at the windows' centres."""
    maps = np.zeros((len(forms), sr.shape[1] - 2 * PAD, sr.shape[2] - 2 * PAD))
    windows_used = tuple(dict.fromkeys(form.window for form in forms))
    strips = chain.from_iterable(moments(x, y, *windows_used) for x, y in zip(sr, hr, strict=True))
    for window, rows, (mean_x, mean_y, squares, products), scratch in strips:
        sums = mean_x + mean_y
        np.multiply(mean_x, mean_y, out=scratch)
        products -= scratch  # the covariance
        products *= 2
        scratch *= 2
        np.multiply(sums, sums, out=mean_x)
        mean_x -= scratch  # the sum of the squared means
        squares -= mean_x  # the sum of the variances
        factor = np.empty_like(sums)
        for form, out in zip(forms, maps[:, rows], strict=True):
            if form.window != window:
                continue
            c1, c2 = (constant / form.gain**2 for constant in ssim_constants(window, form.span))
            if form.offset:
                shift = form.offset / form.gain
                np.multiply(sums, 2 * shift, out=mean_y)  # what the offset adds to both terms of means
                mean_y += 2 * shift**2 + c1
            else:
                mean_y.fill(c1)
            numerator = scratch + mean_y
            mean_y += mean_x
            numerator *= np.add(products, c2, out=factor)
            mean_y *= np.add(squares, c2, out=factor)
            numerator /= mean_y
            out += numerator
    return maps


def _plane_scores(sr: np.ndarray, hr: np.ndarray, outputs: list[tuple], rects: np.ndarray) -> Iterator[np.ndarray]:
    """Yield (rects, 1 + SSIMs) for each (gain, offset, metrics): mean squared error and SSIMs of gain * planes + offset.

    sr, hr: (planes, h + 2 PAD, w + 2 PAD), in zeros. metrics: of `SSIMS`, nan for others. Padded SSIM is without the offset.
    """
    inner = [planes[:, PAD:-PAD, PAD:-PAD] for planes in (sr, hr)]
    difference = inner[0] - inner[1]
    errors = _means(np.einsum("nij,nij->ij", difference, difference), rects) / len(sr)
    ranges = np.full(len(rects), np.nan)
    if any("ssim_uniform7" in metrics for _, _, metrics in outputs):
        ranges = _over(np.maximum, inner[1].max(axis=0), rects) - _over(np.minimum, inner[1].min(axis=0), rects)
    columns = {}  # (output, metric) -> a form for each rectangle
    for gain, offset, metric in ((*output[:2], metric) for output in outputs for metric in output[2]):
        spans = gain * ranges if metric == "ssim_uniform7" else np.full(len(rects), 255.0)
        shift = 0.0 if metric == "ssim_padded" else offset
        columns[gain, offset, metric] = [Form(WINDOWS[metric], gain, shift, float(span)) for span in spans]
    forms = list(dict.fromkeys(chain.from_iterable(columns.values())))
    maps = dict(zip(forms, _ssim_maps(sr, hr, forms), strict=True)) if forms else {}
    inside = {form: _means(maps[form], rects + INSET * RADIUS[form.window]) / len(sr) for form in forms}
    for gain, offset, metrics in outputs:
        scores = np.full((len(rects), 1 + len(SSIMS)), np.nan)
        scores[:, 0] = gain**2 * errors
        for metric in metrics:
            own = columns[gain, offset, metric]
            padded = metric == "ssim_padded"
            scores[:, 1 + SSIMS.index(metric)] = (
                maps[own[0]].mean() / len(sr) if padded else [inside[f][k] for k, f in enumerate(own)]
            )
        yield scores


def _rebuilt(luma: np.ndarray, hr: np.ndarray, scale: int) -> np.ndarray:
    """Return RGB floats of SR luma (H, W) with the chroma of HR, made LR and upscaled bicubically."""
    lr = rgb_to_ycbcr(downscale(hr.astype(np.float64), scale))
    return with_chroma(luma, imresize(lr[..., 1:], size=hr.shape[:2]))


def _planes(image: np.ndarray, family: str, rounded: bool, y: np.ndarray) -> np.ndarray:
    """Return float64 planes (n, H + 2 PAD, W + 2 PAD), in zeros, of an image in 0..255.

    family: "rgb", "full" (luma in 0..255), "bgr" (the same of swapped channels), or "y" (luma without its offset of 16).
    y: the image's luma, 16..235, not rounded.
    """
    padded = np.zeros((3 if family == "rgb" else 1, *(side + 2 * PAD for side in image.shape[:2])))
    planes = padded[:, PAD:-PAD, PAD:-PAD]
    if family == "rgb":
        planes[...] = np.moveaxis(to_rgb(image), 2, 0)
        return padded
    if family == "bgr":
        y = to_y(to_rgb(image)[..., ::-1], rounded=False)
    np.subtract(np.floor(y + 0.5) if family == "y" else y, OFFSET[0], out=planes[0])
    if family != "y":
        planes /= GAIN
        if rounded:
            np.floor(planes + 0.5, out=planes)
    return padded


def score_pair(
    sr: np.ndarray, hr: np.ndarray, scale: int, chosen: list[Variant], parts: list[Region]
) -> tuple[np.ndarray, np.ndarray]:
    """Score one pair of uint8 images of one size, (H, W) or (H, W, 3), under every variant and region.

    Returns (variants, n, 1 + SSIMs), mean squared errors and SSIMs of the n rectangles that are scored separately, and (n,), the
    index of each one's region. Raises SRError for a picture too small for a window inside the largest border.
    """
    rects = [_rects(region, *hr.shape[:2], scale) for region in parts]
    owners = np.repeat(np.arange(len(parts)), [len(tiles) for tiles in rects])
    flat = np.array([rect for tiles in rects for rect in tiles])
    smallest, taps = min((flat[:, 1] - flat[:, 0]).min(), (flat[:, 3] - flat[:, 2]).min()), 2 * RADIUS["gaussian11"] + 1
    if smallest < taps:
        border = max(parts).border
        raise SRError(f"{hr.shape[0]}x{hr.shape[1]} pixels are too few: no window of {taps} fits inside a border of {border}")

    grey_hr, luma_sr = hr.ndim == 2, sr.ndim == 2 < hr.ndim
    sources = {"luma": sr, "grey": sr, "": sr}
    if luma_sr:
        sources["rebuilt_float"] = _rebuilt(sr, hr, scale)
        sources["rebuilt"] = to_uint8(sources["rebuilt_float"])

    def group_of(v: Variant) -> tuple:
        """Return what determines the planes, so that variants of one group share them."""
        family = "full" if v.color == "y" and not v.rounded else v.color
        as_y, source = grey_hr and v.grey == "as_y", v.luma_sr if luma_sr else ""
        return family, v.rounded, as_y, source, v.clipped and (as_y or source == "luma")

    @cache
    def luma(source: str | None, as_y: bool, clipped: bool) -> np.ndarray:
        """Return float luma of a source of SR, or of HR (None)."""
        image = hr if source is None else sources[source]
        image = image.astype(np.float64) if as_y else to_y(image, rounded=False)
        return np.clip(image, 16, 235) if clipped else image

    values = np.empty((len(chosen), len(flat), 1 + len(SSIMS)))
    order = sorted(range(len(chosen)), key=lambda i: group_of(chosen[i]))
    for (family, rounded, as_y, source, clipped), indices in groupby(order, key=lambda i: group_of(chosen[i])):
        sr_y, hr_y = luma(source, as_y or source == "luma", clipped), luma(None, as_y, False)
        planes = _planes(sources[source], family, rounded, sr_y), _planes(hr, family, rounded, hr_y)
        outputs = {}
        for i in indices:
            offset = float(OFFSET[0]) if chosen[i].color in ("y", "bgr") else 0.0
            gain = GAIN if offset and family != "y" else 1.0
            outputs.setdefault((gain, offset, chosen[i].ssims), []).append(i)
        for scores, positions in zip(_plane_scores(*planes, list(outputs), flat), outputs.values(), strict=True):
            values[positions] = scores
    return values, owners


def table(scored: list[tuple[np.ndarray, np.ndarray]], chosen: list[Variant], parts: list[Region]) -> pd.DataFrame:
    """Return the means over pictures, from `score_pair` of each: a row per variant and region.

    Columns: `AXES`, `psnr` (mean of the PSNRs), `psnr_pooled` (PSNR of the mean squared error), and `SSIMS`.
    """
    values, owners = np.concatenate([v for v, _ in scored], axis=1), np.concatenate([o for _, o in scored])
    rows = []
    with np.errstate(divide="ignore"):
        psnr = 10 * np.log10(255**2 / values[..., 0])
        for k, region in enumerate(parts):
            own = owners == k
            pooled = 10 * np.log10(255**2 / values[:, own, 0].mean(axis=1))
            numbers = np.column_stack([psnr[:, own].mean(axis=1), pooled, values[:, own, 1:].mean(axis=1)])
            rows += [(*variant, *region, *line) for variant, line in zip(chosen, numbers.tolist(), strict=True)]
    return pd.DataFrame(rows, columns=[*AXES, "psnr", "psnr_pooled", *SSIMS])
