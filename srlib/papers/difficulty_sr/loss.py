"""What the identifier of Difficulty-SR learns by."""

import torch.nn.functional as F
from torch import Tensor

from srlib.papers.difficulty_sr.model import classes, difficulty


def difficulty_class(logits: Tensor, hr: Tensor, lr: Tensor, *, balanced: bool = False) -> Tensor:
    """Cross entropy of an identifier's logits `(N, 5)` against the classes of the patches' bicubic PSNR. Difficulty-SR eq. 1
    without its factor 1/5.

    balanced: a departure from paper and code, whose loss is the mean over patches: the mean over the classes that a batch has of
    the mean over their patches. At x4 three in a thousand training patches (T91+BSD400) are of the two easiest classes. Fresh
    weights never predict these after 1,500 steps, balanced or not; those of x2 do after 1,000 at a rate of 3e-4, balanced or not.
    What balancing adds there is recall of the middle classes, at the cost of accuracy (Urban100: 0.84 against 0.89).
    """
    actual = classes(difficulty(lr, hr))
    if not balanced:
        return F.cross_entropy(logits, actual)
    counts = F.one_hot(actual, logits.shape[1]).sum(dim=0)
    return F.cross_entropy(logits, actual, weight=1 / counts.clamp(min=1).to(logits.dtype))
