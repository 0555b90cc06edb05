"""Training losses: each maps `(sr, hr)` in 0..1 to a scalar, the mean over all pixels and channels."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from srlib.errors import unknown

Loss = Callable[[Tensor, Tensor], Tensor]


def mse(sr: Tensor, hr: Tensor) -> Tensor:
    """Mean squared error. BTSRN eq. 1 (which normalises per patch: the same up to a constant)."""
    return F.mse_loss(sr, hr)


def l1(sr: Tensor, hr: Tensor) -> Tensor:
    """Mean absolute error."""
    return F.l1_loss(sr, hr)


def charbonnier(sr: Tensor, hr: Tensor) -> Tensor:
    """sqrt(d^2 + 1e-6), the smooth L1 of LapSRN's code."""
    return torch.sqrt((sr - hr) ** 2 + 1e-6).mean()


LOSSES: dict[str, Loss] = {"mse": mse, "l1": l1, "charbonnier": charbonnier}


def get(name: str) -> Loss:
    """Return a loss by name; raises SRError for an unknown one."""
    if name not in LOSSES:
        raise unknown("loss", name, LOSSES)
    return LOSSES[name]
