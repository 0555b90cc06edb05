"""Bicubic interpolation: the first row of every table, and the base image of networks that predict a residual.

Reference: R. G. Keys, "Cubic convolution interpolation for digital image processing", IEEE TASSP 1981 (a = -0.5).

Published rows come from two implementations: MATLAB's `imresize` (most papers) and Pillow's `BICUBIC` on 8-bit
images (BTSRN's code, through an old `scipy.misc.imresize`). They differ at the border and in rounding.
"""

import numpy as np
import torch
from torch import Tensor, nn

from srlib.core.errors import unknown
from srlib.core.imresize import imresize, pil_bicubic


def upsample_bicubic(lr: Tensor, scale: int) -> Tensor:
    """Upscale `(N, C, H, W)` by MATLAB-compatible bicubic, at least in float32, also under autocast."""
    with torch.autocast(lr.device.type, enabled=False):
        return imresize(lr if lr.dtype == torch.float64 else lr.float(), scale)


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
