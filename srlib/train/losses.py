"""Training losses by name: `get("l1")` maps (what the network gave, hr, lr) to a scalar.

Those of `LOSSES` compare `(sr, hr)` in 0..1 and are means over all pixels and channels; `total` adds them up where a network is
supervised at several levels. Those of `OTHERS` compare what else a network gives; `ADVERSARIAL` has the discriminators of GANs.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srlib.core import plugins
from srlib.core.errors import SRError, unknown
from srlib.core.imresize import imresize
from srlib.nn.models import levels

Loss = Callable[[Tensor, Tensor], Tensor]


def mse(sr: Tensor, hr: Tensor) -> Tensor:
    """Mean squared error. BTSRN eq. 1 (which normalises per patch: the same up to a constant)."""
    return F.mse_loss(sr, hr)


def l1(sr: Tensor, hr: Tensor) -> Tensor:
    """Mean absolute error."""
    return F.l1_loss(sr, hr)


def charbonnier(sr: Tensor, hr: Tensor, *, epsilon: float = 1e-3) -> Tensor:
    """Mean of sqrt(d^2 + epsilon^2), a smooth L1. LapSRN section 3.2, ProSRN eq. 9.

    epsilon: LapSRN's code has 1e-3. ProSRN prints 1e-6, which would make it plain L1.
    """
    return torch.sqrt((sr - hr) ** 2 + epsilon**2).mean()


LOSSES: dict[str, Loss] = {"mse": mse, "l1": l1, "charbonnier": charbonnier}
OTHERS: dict[str, tuple[Callable[..., Tensor], Callable]] = {}  # the papers register theirs: loss, the one that has its options


def register(name: str, loss: Callable[..., Tensor], options_of: Callable | None = None) -> None:
    """Add a loss `(outputs, hr, lr, *, options) -> scalar` of a network that does not give images.

    options_of: the function whose keyword arguments are the options, where `loss` hands them on.
    """
    OTHERS[name] = loss, options_of or loss


def get(name: str, **args) -> Callable[..., Tensor]:
    """Return a loss `(outputs, hr, lr=None) -> scalar` by name; raises SRError for an unknown one, or an argument it lacks."""
    plugins.load()
    known = {**LOSSES, **OTHERS}
    if name not in known:
        raise unknown("loss", name, known)
    loss, options_of = OTHERS[name] if name in OTHERS else (LOSSES[name], LOSSES[name])
    options = [p.name for p in inspect.signature(options_of).parameters.values() if p.kind is p.KEYWORD_ONLY]
    for arg in args:
        if arg not in options:
            raise unknown(f"argument of loss {name!r}:", arg, options)
    loss = partial(loss, **args)
    return loss if name in OTHERS else partial(total, loss)


@dataclass(frozen=True)
class Adversarial:
    """A discriminator and what it and the generator learn by.

    build: `(channels, width=64)` -> a network of an image and its LR image. discriminator_loss: `(net, fakes, reals, lr)`;
    generator_loss: `(net, fakes, lr)`; fakes, reals: images of all levels, small to large.
    """

    build: Callable[..., nn.Module]
    discriminator_loss: Callable[[Callable, list[Tensor], list[Tensor], Tensor], Tensor]
    generator_loss: Callable[[Callable, list[Tensor], Tensor], Tensor]


ADVERSARIAL: dict[str, Adversarial] = {}  # the papers register theirs


def adversarial(name: str, args: dict | None = None) -> Adversarial:
    """Return a discriminator by name; raises SRError for an unknown one, and for an argument that it does not take."""
    plugins.load()
    if name not in ADVERSARIAL:
        raise unknown("discriminator", name, ADVERSARIAL)
    for arg in args or {}:
        if arg != "width":
            raise unknown(f"argument of discriminator {name!r}:", arg, ["width"])
    return ADVERSARIAL[name]


def inside(net: nn.Module, hr: Tensor, outputs: Tensor | list[Tensor]) -> Tensor:
    """Return what of `hr` a network has an output for: all of it, or the centre where it declares `valid_padding`."""
    if not getattr(net, "valid_padding", False):
        return hr
    height, width = levels(outputs)[-1].shape[-2:]
    top, left = (hr.shape[-2] - height) // 2, (hr.shape[-1] - width) // 2
    return hr[..., top : top + height, left : left + width]


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
