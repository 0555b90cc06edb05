"""Which resize made LR: that of MATLAB, of Pillow, of OpenCV, or another one."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from srlib.core.color import to_rgb, to_uint8
from srlib.core.errors import SRError
from srlib.core.imresize import imresize
from srlib.data.images import read_image
from srlib.verify.pairs import match

MOST = 20  # pictures; a resize shows in the first
SAME = 0.02  # mean absolute difference in grey levels: fixed-point arithmetic rounds some pixels differently


def _pillow(method: Image.Resampling) -> Callable[[np.ndarray, int], np.ndarray]:
    return lambda hr, scale: np.asarray(Image.fromarray(hr).resize((hr.shape[1] // scale, hr.shape[0] // scale), method))


def _opencv(mode: str, **options) -> Callable[[np.ndarray, int], np.ndarray]:
    """Return OpenCV's resize: "bicubic" (a = -0.75) without antialiasing, "area" the mean of scale x scale pixels."""

    def resize(hr: np.ndarray, scale: int) -> np.ndarray:
        planes = torch.from_numpy(hr.astype(np.float64).transpose(2, 0, 1))[None]
        small = F.interpolate(planes, (hr.shape[0] // scale, hr.shape[1] // scale), mode=mode, **options)[0].numpy()
        return to_uint8(small.transpose(1, 2, 0))

    return resize


RESIZES = {
    "MATLAB's imresize": lambda hr, scale: imresize(hr, 1 / scale),
    "Pillow's bicubic": _pillow(Image.Resampling.BICUBIC),
    "Pillow's Lanczos": _pillow(Image.Resampling.LANCZOS),
    "OpenCV's INTER_CUBIC": _opencv("bicubic", align_corners=False),
    "OpenCV's INTER_AREA": _opencv("area"),
    "every n-th pixel": lambda hr, scale: hr[::scale, ::scale],
}


def compare_lr(lr: Path, hr: Path, scale: int) -> dict[str, float]:
    """Return the mean absolute difference (grey levels) of LR files to what each of `RESIZES` makes of HR, the least first.

    Raises SRError where no LR file belongs to an HR file, and for one that is not `scale` times smaller.
    """
    files, _ = match(lr, hr, scale, kind="LR")
    totals = dict.fromkeys(RESIZES, 0.0)
    for lr_file, hr_file in files[:MOST]:
        small, full = to_rgb(read_image(lr_file)), to_rgb(read_image(hr_file))
        (height, width, _), (full_height, full_width, _) = small.shape, full.shape
        if not all(0 <= big - scale * side < max(4 * scale, 12) for side, big in ((height, full_height), (width, full_width))):
            sizes = f"LR {lr_file.name} has {height}x{width} pixels, HR {hr_file.name} {full_height}x{full_width}"
            raise SRError(f"{sizes}; expected {full_height // scale}x{full_width // scale}, {scale} times less")
        full = full[: height * scale, : width * scale]
        for name, resize in RESIZES.items():
            totals[name] += float(np.abs(resize(full, scale).astype(float) - small).mean()) / len(files[:MOST])
    return dict(sorted(totals.items(), key=lambda item: item[1]))
