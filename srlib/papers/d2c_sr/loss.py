"""The divergence loss of D2C-SR: predictions that are each accurate and differ from one another in texture.

Y. Li et al., "D2C-SR: A Divergence to Convergence Approach for Real-World Image Super-Resolution", ECCV 2022, eq. 1-7.
Paper's symbol -> here: I_D -> `predictions`; G -> `normalise`; res -> `residuals`; T_D -> `triplet`; beta -> `theta**shared` in
it; P, C -> number of predictions, `children`. L2 and the distance d, which the paper leaves open, are mean squares.

The published code has the same terms and trains without the second: it turns T_D into a number before it adds it, so no
gradient flows. It also differs in details, which `released=True` follows: the mean of R, G and B instead of Y, mean and
deviation of the whole batch, margins of 2e-5 for siblings and 5e-5 for others. Not implemented is its schedule: alpha
2e-5, halved every 2000 epochs, in use only after epoch 200 and in the first 200 of every 1000 epochs.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from srlib.core.color import luma
from srlib.core.errors import SRError

EPS = 1e-8  # variance of a flat patch
RELEASED_MARGINS = (5e-5, 2e-5)  # of pairs whose common parent is the root, and of deeper ones


def normalise(images: Tensor, *, released: bool = False) -> Tensor:
    """Return G(images), eq. 2: `(N, 3, H, W)` in 0..1 to luma `(N, 1, H, W)` of mean 0 and deviation 1, image by image.

    released: the mean of R, G and B, with mean and deviation of the whole batch.
    """
    y = images.mean(dim=1, keepdim=True) if released else luma(images)
    variance, mean = torch.var_mean(y, dim=None if released else (1, 2, 3), keepdim=True, correction=0)
    return (y - mean) / (variance + EPS).sqrt()


def residuals(predictions: Tensor, hr: Tensor, *, absolute: bool = True, released: bool = False) -> Tensor:
    """Return |G(prediction) - G(hr)| `(B, P, 1, H, W)`, eq. 3, of predictions `(B, P, 3, H, W)`.

    absolute=False keeps the sign, which causes checkerboards (the paper's Figure 6).
    """
    target = normalise(hr, released=released)
    signed = torch.stack([normalise(image, released=released) - target for image in predictions.unbind(1)], dim=1)
    return signed.abs() if absolute else signed


def shared_levels(count: int, children: int) -> Tensor:
    """Return how many branches each two leaves of a tree share on their way from the root: `(count, count)`, whole numbers.

    Leaves are numbered depth first. The l of eq. 6 is one more, 1 where only the root is shared.
    Raises SRError where no tree with `children` branches at every node has that many leaves.
    """
    depth, leaves = 0, 1
    while leaves < count and children > 1:
        depth, leaves = depth + 1, leaves * children
    if leaves != count:
        raise SRError(f"children (={children}): a tree with so many per node cannot have {count} leaves, only a power of it")
    index = torch.arange(count)
    parents = [index // children**level for level in range(1, depth)]
    return sum(((parent[:, None] == parent).long() for parent in parents), torch.zeros(count, count, dtype=torch.long))


def triplet(
    predictions: Tensor,
    hr: Tensor,
    *,
    theta: float = 0.8,
    margin: float = 5e-5,
    children: int = 2,
    absolute: bool = True,
    released: bool = False,
) -> Tensor:
    """Return T_D, eq. 4-6: over ordered pairs i != j the mean of theta^shared * max(d(r_i, 0) - d(r_i, r_j) + margin, 0).

    With one prediction there is no pair, and T_D is 0. `released` takes distances over the whole batch.
    """
    count = predictions.shape[1]
    shared = shared_levels(count, children).to(predictions.device)
    if count == 1:
        return predictions.new_zeros(())
    r = residuals(predictions, hr, absolute=absolute, released=released).flatten(2).float()
    if released:
        r = r.transpose(0, 1).flatten(1)[None]
    with torch.autocast(r.device.type, enabled=False):
        products = r @ r.transpose(1, 2) / r.shape[2]  # d(r_i, 0) - d(r_i, r_j) = 2 <r_i, r_j> - <r_j, r_j>
    squares = products.diagonal(dim1=1, dim2=2)[:, None]
    margins = torch.where(shared > 0, RELEASED_MARGINS[1], RELEASED_MARGINS[0]) if released else margin
    hinges = torch.relu(2 * products - squares + margins) * theta**shared
    return (hinges.triu(1) + hinges.tril(-1)).sum(dim=(1, 2)).mean() / (count * (count - 1))


def divergence_loss(
    predictions: Tensor,
    hr: Tensor,
    lr: Tensor | None = None,
    *,
    alpha: float,
    theta: float = 0.8,
    margin: float = 5e-5,
    children: int = 2,
    absolute: bool = True,
    released: bool = False,
) -> Tensor:
    """Return L_D = sum of the predictions' mean squared errors + alpha * T_D (eq. 7), a scalar.

    predictions: `(B, P, 3, H, W)`; hr: `(B, 3, H, W)`; both in 0..1. lr: not used. alpha >= 0; 0 < theta <= 1; margin >= 0.
    children: branches at every node of the tree. absolute: see `residuals`. released: the published code, see above; its term
    counts in the value and not in the gradient, and `margin` is not used.
    Raises SRError for values out of range and shapes that do not match.
    """
    if not 0 <= alpha < math.inf:
        raise SRError(f"alpha (={alpha}) must be a number from 0 on: below, predictions would be driven together; 0 is no term")
    if not 0 < theta <= 1:
        raise SRError(f"theta (={theta}) must be above 0 and at most 1")
    if not 0 <= margin < math.inf:
        raise SRError(f"margin (={margin}) must be a number from 0 on")
    if predictions.ndim != 5 or predictions[:, 0].shape != hr.shape or hr.shape[1] != 3:
        got = f"{tuple(predictions.shape)} and {tuple(hr.shape)}"
        raise SRError(f"predictions and hr: got shapes {got}, expected (B, P, 3, H, W) and (B, 3, H, W)")
    fidelity = (predictions - hr[:, None]).square().mean(dim=(0, 2, 3, 4)).sum()
    options = {"theta": theta, "margin": margin, "children": children, "absolute": absolute, "released": released}
    with torch.set_grad_enabled(torch.is_grad_enabled() and not released):
        term = triplet(predictions, hr, **options)
    return fidelity + alpha * term


def divergence_and_fusion(outputs: list[Tensor], hr: Tensor, lr: Tensor | None = None, **options) -> Tensor:
    """Return the loss of both stages at once, as in the published code: L_D plus the mean squared error of the fused image.

    outputs: [predictions, fused]. options: those of `divergence_loss`.
    """
    predictions, fused = outputs
    return divergence_loss(predictions, hr, **options) + F.mse_loss(fused, hr)
