"""Training losses by name: `get("l1")` returns a function of (network outputs, hr, lr) to a scalar.

`LOSSES` are pixel losses of `(sr, hr)` in 0..1, means over all pixels and channels; `multi_level` sums them over the levels of a
network with deep supervision. `CUSTOM` are losses of other outputs, and `ADVERSARIAL` the GAN losses with their discriminators.
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
from srlib.nn.borders import crop_centre
from srlib.nn.models import levels

Loss = Callable[[Tensor, Tensor], Tensor]


def charbonnier(sr: Tensor, hr: Tensor, *, epsilon: float = 1e-3) -> Tensor:
    """Mean of sqrt(d^2 + epsilon^2), a smooth L1. LapSRN section 3.2, ProSRN eq. 9.

    epsilon: LapSRN's code has 1e-3. ProSRN prints 1e-6, which would make it plain L1.
    """
    return torch.sqrt((sr - hr) ** 2 + epsilon**2).mean()


# BTSRN eq. 1 is "mse"; it normalises per patch, which is the same up to a constant.
LOSSES: dict[str, Loss] = {"mse": F.mse_loss, "l1": F.l1_loss, "charbonnier": charbonnier}
CUSTOM: dict[str, tuple[Callable[..., Tensor], Callable]] = {}  # registered by the papers: loss, function with its options


def register(name: str, loss: Callable[..., Tensor], options_of: Callable | None = None) -> None:
    """Register a loss `(outputs, hr, lr, *, options) -> scalar` for networks whose outputs are not plain SR images.

    options_of: the function whose keyword-only arguments are the options, where `loss` passes them on.
    """
    CUSTOM[name] = loss, options_of or loss


def get(name: str, **args) -> Callable[..., Tensor]:
    """Return a loss `(outputs, hr, lr=None) -> scalar` by name; raises SRError for an unknown name or option."""
    plugins.load()
    known = {**LOSSES, **CUSTOM}
    if name not in known:
        raise unknown("loss", name, known)
    loss, options_of = CUSTOM[name] if name in CUSTOM else (LOSSES[name], LOSSES[name])
    options = [p.name for p in inspect.signature(options_of).parameters.values() if p.kind is p.KEYWORD_ONLY]
    for arg in args:
        if arg not in options:
            raise unknown(f"argument of loss {name!r}:", arg, options)
    loss = partial(loss, **args)
    return loss if name in CUSTOM else partial(multi_level, loss)


@dataclass(frozen=True)
class Adversarial:
    """A discriminator with its loss and the generator's adversarial loss.

    build: `(channels, width=64)` -> a network of (image, LR image). discriminator_loss: `(net, fakes, reals, lr)`;
    generator_loss: `(net, fakes, lr)`; fakes, reals: images of all levels, small to large.
    """

    build: Callable[..., nn.Module]
    discriminator_loss: Callable[[Callable, list[Tensor], list[Tensor], Tensor], Tensor]
    generator_loss: Callable[[Callable, list[Tensor], Tensor], Tensor]


ADVERSARIAL: dict[str, Adversarial] = {}  # registered by the papers


def adversarial(name: str, args: dict | None = None) -> Adversarial:
    """Return a discriminator with its losses by name; raises SRError for an unknown name or argument."""
    plugins.load()
    if name not in ADVERSARIAL:
        raise unknown("discriminator", name, ADVERSARIAL)
    for arg in args or {}:
        if arg != "width":
            raise unknown(f"argument of discriminator {name!r}:", arg, ["width"])
    return ADVERSARIAL[name]


def crop_to_output(net: nn.Module, hr: Tensor, outputs: Tensor | list[Tensor]) -> Tensor:
    """Return `hr`, cropped to the centre that the outputs cover where a network declares `valid_padding`."""
    if not getattr(net, "valid_padding", False):
        return hr
    return crop_centre(hr, *levels(outputs)[-1].shape[-2:])


def level_targets(outputs: list[Tensor], hr: Tensor) -> list[Tensor]:
    """Return the target of each level: `hr`, bicubically downscaled to its size. LapSRN section 3.2, ProSRN eq. 9.

    Raises SRError unless the last level has the size of `hr` and the others divide it by one integer in height and width.
    """
    sizes, full = [image.shape[-2:] for image in outputs], hr.shape[-2:]
    integer = (full[0] % height == full[1] % width == 0 and full[0] // height == full[1] // width for height, width in sizes)
    if sizes[-1] != full or not all(integer):
        given = ", ".join(f"{height}x{width}" for height, width in sizes)
        raise SRError(
            f"outputs: the network gave {given} pixels for HR patches of {full[0]}x{full[1]}; the last image must have the size "
            "of HR (a network without padding declares valid_padding)"
        )
    targets = {size: hr if size == full else imresize(hr, size=size) for size in set(sizes)}
    return [targets[size] for size in sizes]


def multi_level(loss: Loss, outputs: Tensor | list[Tensor], hr: Tensor, lr: Tensor | None = None) -> Tensor:
    """Return the loss of an image batch, or its unweighted sum over the levels of a network that returns several.

    lr: ignored; same signature as custom losses. Raises SRError for outputs that do not fit the size of `hr`.
    """
    images = levels(outputs)
    return torch.stack([loss(image, target) for image, target in zip(images, level_targets(images, hr), strict=True)]).sum()
