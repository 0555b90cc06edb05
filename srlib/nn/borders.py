"""What a network does at the border of an image."""

import numpy as np
import torch
from torch import Tensor


def mirror(x: Tensor, rows: tuple[int, int], columns: tuple[int, int]) -> Tensor:
    """Frame `(..., H, W)` by mirroring it at its border pixels, which are repeated; works for any size of image.

    rows: how many to add above and below; columns: left and right.
    """
    for dim, margins in ((-2, rows), (-1, columns)):
        if any(margins):
            index = np.pad(np.arange(x.shape[dim]), margins, mode="symmetric")
            x = x.index_select(dim, torch.as_tensor(index, device=x.device))
    return x
