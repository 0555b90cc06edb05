"""The classification loss of Difficulty-SR's identifier."""

import torch.nn.functional as F
from torch import Tensor

from srlib.papers.difficulty_sr.model import classes, difficulty


def difficulty_class(logits: Tensor, hr: Tensor, lr: Tensor, *, balanced: bool = False) -> Tensor:
    """Return the cross entropy of logits `(N, 5)` against the difficulty classes of the patches: eq. 1 without its factor 1/5.

    hr, lr: luma `(N, 1, scale*48, scale*48)` and `(N, 1, 48, 48)` in 0..1. balanced: average over the classes present in the
    batch, each the mean over its patches, instead of over patches (a departure from paper and code).

    Measured at x4, where 0.3 % of the training patches (T91+BSD400) are of the two easiest classes: from random weights neither
    loss predicts these within 1,500 steps; from the x2 weights both do after 1,000 steps at a rate of 3e-4. Balancing then adds
    recall in the middle classes and costs accuracy (Urban100: 0.84 instead of 0.89).
    """
    actual = classes(difficulty(lr, hr))
    if not balanced:
        return F.cross_entropy(logits, actual)
    counts = F.one_hot(actual, logits.shape[1]).sum(dim=0)
    return F.cross_entropy(logits, actual, weight=1 / counts.clamp(min=1).to(logits.dtype))
