"""Bicubic interpolation: the first row of every table, and the base image of networks that predict a residual.

Reference: R. G. Keys, "Cubic convolution interpolation for digital image processing", IEEE TASSP 1981 (a = -0.5).

Published rows come from two implementations: MATLAB's `imresize` (most papers) and Pillow's `BICUBIC` on 8-bit
images (BTSRN's code, through an old `scipy.misc.imresize`). They differ at the border and in rounding.
"""

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srlib.core.errors import unknown
from srlib.core.imresize import imresize, pil_bicubic


def upsample_bicubic(lr: Tensor, scale: int) -> Tensor:
    """Upscale `(N, C, H, W)` by MATLAB-compatible bicubic, at least in float32, also under autocast."""
    if torch.onnx.is_in_onnx_export():
        return _as_convolution(lr, scale)
    with torch.autocast(lr.device.type, enabled=False):
        return imresize(lr if lr.dtype == torch.float64 else lr.float(), scale)


@lru_cache
def _phase_filters(scale: int) -> Tensor:
    """Return the filters `(scale**2, 1, 5, 5)` from the LR pixels around an LR pixel to its HR pixels, row by row."""
    impulse = np.zeros((9, 9))
    impulse[4, 4] = 1
    response = imresize(impulse, scale).reshape(9, scale, 9, scale)[6:1:-1, :, 6:1:-1]
    return torch.tensor(response.transpose(1, 3, 0, 2).reshape(scale**2, 1, 5, 5).tolist())


def _as_convolution(lr: Tensor, scale: int) -> Tensor:
    """Return the same to rounding, by layers that do not depend on the size of the image, which has at least 2x2 pixels."""
    lr = torch.cat([lr[..., :2, :].flip(-2), lr, lr[..., -2:, :].flip(-2)], dim=-2)
    lr = torch.cat([lr[..., :2].flip(-1), lr, lr[..., -2:].flip(-1)], dim=-1)
    channels = int(lr.shape[1])
    return F.pixel_shuffle(F.conv2d(lr, _phase_filters(scale).repeat(channels, 1, 1, 1), groups=channels), scale)


class Bicubic(nn.Module):
    """Bicubic upscaling of any number of channels.

    kernel: "matlab" (float in, float out) or "pillow" (rounded to 8 bits before and after, as Pillow does). Raises SRError for
    another.
    """

    channels = None  # luma or RGB
    context = 4

    def __init__(self, scale: int, kernel: str = "matlab"):
        super().__init__()
        if kernel not in ("matlab", "pillow"):
            raise unknown("kernel", kernel, ["matlab", "pillow"])
        self.scale, self.kernel = scale, kernel

    def forward(self, lr: Tensor) -> Tensor:
        if self.kernel == "matlab":
            return upsample_bicubic(lr, self.scale)
        size = (lr.shape[-2] * self.scale, lr.shape[-1] * self.scale)
        planes = (lr.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
        planes = np.stack([[pil_bicubic(plane, size) for plane in image] for image in planes])
        return torch.from_numpy(planes).to(lr) / 255
