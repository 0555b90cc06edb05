"""Training losses by name: `get("l1")` maps (what the network gave, hr, lr) to a scalar.

Those of `LOSSES` compare `(sr, hr)` in 0..1 and are means over all pixels and channels; `total` adds them up where a network is
supervised at several levels. Those of `OTHERS` are of networks that do not give an image.
"""

import inspect
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srlib.degradation import imresize
from srlib.divergence import divergence_loss
from srlib.errors import SRError, unknown
from srlib.models.difficulty_sr import classes, difficulty

Loss = Callable[[Tensor, Tensor], Tensor]


def mse(sr: Tensor, hr: Tensor) -> Tensor:
    """Mean squared error. BTSRN eq. 1 (which normalises per patch: the same up to a constant)."""
    return F.mse_loss(sr, hr)


def l1(sr: Tensor, hr: Tensor) -> Tensor:
    """Mean absolute error."""
    return F.l1_loss(sr, hr)


def charbonnier(sr: Tensor, hr: Tensor) -> Tensor:
    """sqrt(d^2 + 1e-6), the smooth L1 of LapSRN's code. ProSRN prints epsilon = 1e-6, squared in its formula, which would make
    it plain L1: the code's epsilon of 1e-3 stands in."""
    return torch.sqrt((sr - hr) ** 2 + 1e-6).mean()


LOSSES: dict[str, Loss] = {"mse": mse, "l1": l1, "charbonnier": charbonnier}


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


def divergence(predictions: Tensor, hr: Tensor, lr: Tensor | None = None, **options) -> Tensor:
    """D2C-SR's first stage: `divergence.divergence_loss` of predictions `(N, P, 3, H, W)`, which has the options."""
    return divergence_loss(predictions, hr, **options)


def divergence_and_fusion(outputs: list[Tensor], hr: Tensor, lr: Tensor | None = None, **options) -> Tensor:
    """D2C-SR's two stages at once, as in the published code: the loss of the predictions plus the mean squared error of the
    fused image; outputs: [predictions, fused]."""
    predictions, fused = outputs
    return divergence_loss(predictions, hr, **options) + mse(fused, hr)


OTHERS: dict[str, Callable[..., Tensor]] = {
    "difficulty": difficulty_class,
    "divergence": divergence,
    "divergence_and_fusion": divergence_and_fusion,
}


def get(name: str, **args) -> Callable[..., Tensor]:
    """Return a loss `(outputs, hr, lr=None) -> scalar` by name; raises SRError for an unknown one, or an argument it lacks."""
    known = {**LOSSES, **OTHERS}
    if name not in known:
        raise unknown("loss", name, known)
    like = divergence_loss if name.startswith("divergence") else known[name]
    options = [p.name for p in inspect.signature(like).parameters.values() if p.kind is p.KEYWORD_ONLY]
    for arg in args:
        if arg not in options:
            raise unknown(f"argument of loss {name!r}:", arg, options)
    return partial(OTHERS[name], **args) if name in OTHERS else partial(total, LOSSES[name])


def inside(net: nn.Module, hr: Tensor, outputs: Tensor | list[Tensor]) -> Tensor:
    """Return what of `hr` a network has an output for: all of it, or the centre where it declares `valid_padding`."""
    if not getattr(net, "valid_padding", False):
        return hr
    height, width = levels(outputs)[-1].shape[-2:]
    top, left = (hr.shape[-2] - height) // 2, (hr.shape[-1] - width) // 2
    return hr[..., top : top + height, left : left + width]


def levels(outputs: Tensor | list[Tensor]) -> list[Tensor]:
    """Return what a network gave in training as a list, small to large."""
    return [outputs] if isinstance(outputs, Tensor) else outputs


def targets(outputs: list[Tensor], hr: Tensor) -> list[Tensor]:
    """Return what each level should be: `hr` reduced bicubically to its size. LapSRN section 3.2, ProSRN eq. 9.

    Raises SRError where the last level does not have the size of `hr`, or another one a size that is no whole part of it.
    """
    sizes = [tuple(image.shape[-2:]) for image in outputs]
    whole = tuple(hr.shape[-2:])
    for height, width in sizes:
        if whole[0] % height or whole[1] % width or whole[0] // height != whole[1] // width:
            raise _wrong_size(sizes, whole)
    if sizes[-1] != whole:
        raise _wrong_size(sizes, whole)
    resized = {whole: hr}
    for size in sizes:
        if size not in resized:
            resized[size] = imresize(hr, size=size)
    return [resized[size] for size in sizes]


def _wrong_size(sizes: list[tuple[int, int]], hr: tuple[int, int]) -> SRError:
    given = ", ".join(f"{height}x{width}" for height, width in sizes)
    return SRError(
        f"outputs: the network gave {given} pixels for HR patches of {hr[0]}x{hr[1]}; the last image must have the size of HR "
        "(a network without padding declares valid_padding)"
    )


def total(loss: Loss, outputs: Tensor | list[Tensor], hr: Tensor, lr: Tensor | None = None) -> Tensor:
    """Return the loss of one image batch, or the sum over the levels of a network that returns several, all equal in weight.

    lr: ignored, as these losses compare images only. Raises SRError for outputs of another size than `hr`.
    """
    if isinstance(outputs, Tensor):
        return loss(outputs, *targets([outputs], hr))
    return torch.stack([loss(image, target) for image, target in zip(outputs, targets(outputs, hr), strict=True)]).sum()


def judged(logits: Tensor, real: bool) -> Tensor:
    """Return the cross entropy of a discriminator's logits against "real" or "not real" for all of them, the mean.

    Goodfellow et al. 2014; a generator is trained to be judged real, the form that does not saturate.
    """
    return F.softplus(-logits if real else logits).mean()
