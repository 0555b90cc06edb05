"""Named evaluation protocols: everything that a PSNR or SSIM depends on."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from srlib.core.color import to_rgb, to_y
from srlib.core.errors import SRError, unknown
from srlib.core.imresize import downscale, integer_scale

BOTH = ("psnr", "ssim")
METRICS = (*BOTH, "ssim_uniform7", "ssim_padded")  # implemented in `core.metrics`
COLORS = {"y": "luma (BT.601, 16..235)", "rgb": "RGB"}
LR_SOURCES = {
    "float_y": "LR made from 8-bit luma, kept in float",
    "float_rgb": "LR made from RGB, kept in float",
    "uint8_rgb": "LR made from RGB, rounded to 8 bits",
    "given": "LR as the set has it (made from RGB and rounded to 8 bits where it has none)",
}
GREY_MODES = {"as_y": "grey images taken as luma", "convert": "grey images converted as RGB"}
WINDOWS = {
    "ssim": "Gaussian 11x11 window, range 255",
    "ssim_uniform7": "uniform 7x7 window, range max - min of HR",
    "ssim_padded": "Gaussian 11x11 window, range 255, of whole images in zero padding, not clipped, luma without its 16",
}


@dataclass(frozen=True)
class Protocol:
    """Evaluation settings for PSNR and SSIM; stored with every result.

    color: "y" compares studio-range luma, "rgb" the three channels (their SSIMs averaged).
    lr: how LR is made from HR: "float_y", "float_rgb" or "uint8_rgb" (see `lr_from_hr`); "given" for paired sets, whose
    own LR images are used under every protocol.
    grey: how grey files are read: "as_y" as luma, "convert" as R = G = B.
    sr_rgb: convert the SR of a luma model to RGB with bicubic chroma (`evaluation.upscale`), as LapSRN's code has it.
    shave, shave_per_scale: shave + shave_per_scale * scale border pixels are excluded.
    round_sr: clip and round SR to 8 bits first, RGB before conversion to luma.
    clip_sr: clip SR to 0..255 first, if not rounded.
    round_y: round luma to integers, as MATLAB's rgb2ycbcr does for uint8 images.
    clip_y: clip the luma of SR to 16..235, the range of luma computed from RGB. The published bicubic rows of the luma
    papers need it: without it, Urban100 x4 has an SSIM of 0.6570 instead of 0.6577.
    multiple: crop LR at bottom and right to a multiple of this many pixels, and HR accordingly.
    window, stride: an LR image with both sides above `window` pixels is tiled into windows of that side, `stride` apart and
    flush with the far borders; each is upscaled and scored as a separate image. 0: no tiling.
    metrics: a subset of "psnr", "ssim" (Wang et al.), "ssim_uniform7" (7x7 uniform window, sample covariance,
    range max - min of HR: scikit-image's defaults) and "ssim_padded" (zero-padded whole images, ignoring the
    protocol's border, rounding and clipping; luma without its offset of 16: CDC's and D2C-SR's code).
    """

    name: str
    color: str
    lr: str
    grey: str
    sr_rgb: bool = False
    shave: int = 0
    shave_per_scale: int = 0
    round_sr: bool = True
    round_y: bool = False
    clip_sr: bool = False
    clip_y: bool = False
    multiple: int = 1
    window: int = 0
    stride: int = 0
    metrics: tuple[str, ...] = BOTH

    def __post_init__(self):
        for field, known in (("color", COLORS), ("lr", LR_SOURCES), ("grey", GREY_MODES)):
            if getattr(self, field) not in known:
                raise unknown(f"Protocol.{field}", getattr(self, field), known)
        object.__setattr__(self, "metrics", tuple(self.metrics))  # a list when read from JSON
        for metric in self.metrics:
            if metric not in METRICS:
                raise unknown("Protocol.metrics", metric, METRICS)
        if self.color == "rgb" and (self.round_y or self.clip_y):
            raise SRError("Protocol.round_y, clip_y: got True with color='rgb', expected False; RGB has no luma")
        if self.color == "rgb" and self.lr == "float_y":
            raise SRError("Protocol.lr: got 'float_y' with color='rgb', expected 'float_rgb' or 'uint8_rgb'")
        if self.sr_rgb and (self.color == "rgb" or self.lr == "float_y"):
            got = f"True with color={self.color!r} and lr={self.lr!r}"
            raise SRError(f"Protocol.sr_rgb: got {got}, expected color='y' and LR made from RGB")
        for field in ("shave", "shave_per_scale", "multiple", "window", "stride"):
            value, least = getattr(self, field), 1 if field == "multiple" else 0
            if value != int(value) or value < least:
                raise SRError(f"Protocol.{field}: got {value!r}, expected a whole number of pixels of at least {least}")
        if self.stride > self.window or (self.window and not self.stride):
            raise SRError(f"Protocol.stride: got {self.stride}, expected 1..window (={self.window}), or 0 for both")

    def border(self, scale: int) -> int:
        """Return the number of pixels excluded at each side; SRError unless the scale is a whole number of at least 1."""
        return self.shave + self.shave_per_scale * integer_scale(scale)

    def describe(self, metrics: Collection[str] | None = None) -> str:
        """Return one sentence for a table's caption; metrics: those in the table, to name their windows (default: all)."""
        parts = [COLORS[self.color] + (" rounded to integers" if self.round_y else "")]
        if self.color == "y":
            parts.append(GREY_MODES[self.grey])
        clipped = " clipped to 0..255" if self.clip_sr and not self.round_sr else ""
        clipped += " and clipped to 16..235" if self.clip_y else ""
        parts += [LR_SOURCES[self.lr], *(["SR of luma models made RGB by bicubic chroma"] if self.sr_rgb else [])]
        parts += [("SR rounded to 8 bits" if self.round_sr else "SR in float") + clipped]
        slope = {0: "", 1: "scale"}.get(self.shave_per_scale, f"{self.shave_per_scale} x scale")
        border = " + ".join(part for part in (str(self.shave or ""), slope) if part)
        parts.append(f"border of {border} pixels cropped" if border else "no border cropped")
        parts += [f"LR cropped to multiples of {self.multiple} pixels"] if self.multiple > 1 else []
        if self.window:
            parts.append(f"larger LR images in windows of {self.window} pixels, {self.stride} apart, scored one by one")
        named = [metric for metric in self.metrics if metric in WINDOWS and (metrics is None or metric in metrics)]
        parts += [f"SSIM with {WINDOWS[metric]}" for metric in named]
        return f"Protocol {self.name}: {'; '.join(parts)}."


def protocol(name: str) -> Protocol:
    """Return a named protocol; SRError for an unknown name.

    y: VDSR, IDN, Difficulty-SR. lapsrn: LapSRN. prosrn: lapsrn plus ProSRN's SSIM. ProSRN's paper says
    that it works on luma, but its bicubic rows, 33.69 dB on Set5 x2 and 29.57 dB on B100 x2, are LapSRN's and those of RGB:
    33.687 and 29.571 dB, where upscaled luma has 33.674 and 29.562 dB.
    edsr: EDSR, RCAN. btsrn: Table 4 of BTSRN. btsrn_div2k: its tables on DIV2K. realsr: the script of RealSR (Test.m), for
    DDet. d2c: the code of CDC and D2C-SR, with its SSIM beside the usual one; luma of RGB, though D2C-SR's feeds it BGR.
    """
    if name not in PROTOCOLS:
        raise unknown("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]


def lr_from_hr(hr: np.ndarray, protocol: Protocol, scale: int) -> np.ndarray:
    """Return the LR image (0..255) of a uint8 HR image (H, W, 3) or grey (H, W), cropped to a multiple of the scale.

    "float_y" returns float64 luma (h, w), made from luma rounded to 8 bits; "float_rgb" float64 RGB, not clipped;
    "uint8_rgb" and "given" uint8 RGB. A grey image returns (h, w), to be used as luma, if protocol.grey is "as_y", and
    (h, w, 3) or its luma otherwise.
    """
    if hr.dtype != np.uint8:
        raise SRError(f"hr: got {hr.dtype}, expected a uint8 image as read from a file")
    if hr.ndim == 2 and protocol.grey == "as_y":
        image = hr
    else:
        image = to_y(hr, rounded=True) if protocol.lr == "float_y" else to_rgb(hr)
    return downscale(image if protocol.lr in ("uint8_rgb", "given") else image.astype(np.float64), scale)


PROTOCOLS = {
    named.name: named
    for named in (
        Protocol("y", "y", "float_y", "as_y", shave_per_scale=1, round_y=True, clip_y=True),
        Protocol("lapsrn", "y", "float_rgb", "convert", sr_rgb=True, shave_per_scale=1),
        Protocol("prosrn", "y", "float_rgb", "convert", sr_rgb=True, shave_per_scale=1, metrics=(*BOTH, "ssim_uniform7")),
        Protocol("edsr", "y", "uint8_rgb", "convert", shave_per_scale=1),
        Protocol("btsrn", "y", "uint8_rgb", "as_y", shave=2, round_y=True),
        Protocol("btsrn_div2k", "rgb", "uint8_rgb", "convert", shave=6, shave_per_scale=1),
        Protocol("realsr", "y", "given", "convert", round_y=True, multiple=4, window=1200, stride=800),
        Protocol("d2c", "y", "given", "convert", shave_per_scale=1, round_sr=False, clip_sr=True, metrics=(*BOTH, "ssim_padded")),
    )
}
