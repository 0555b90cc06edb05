"""Vital signs: whether the mechanism of a trained network works at all, measured on a few pictures.

A fusion that has collapsed to one branch fuses nothing, and a table that compares it with another one compares single branches.
`measure` gives the signs after a training, as its provenance and the card of released weights keep them; `describe` says them
below tables; `dead` names what proves nothing about its mechanism, which claims take into account. A sign is of

    fusion      networks that weigh several images pixel by pixel: D2C-SR, CDC
    branches    D2C-SR's predictions
    kernels     networks of per-pixel kernels, a sign for each head: KPN, LP-KPN, DDet
    dead_units  networks with ReLUs

and those that papers register.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from srlib.core.color import to_rgb, to_y
from srlib.core.imresize import downscale
from srlib.data.sets import ImageSet, open_set
from srlib.nn.models import makes_images
from srlib.nn.same_size import CELL

SHOWN = 4  # branches whose weights are said one by one
MARGIN = 16  # pixels, whole cells, in which kernels differ as convolutions see zeros around the picture
IMAGES, SIDE = 5, 128  # pictures that are looked at, and LR pixels a side of their middle
SEEN = 1000  # numbers that a unit must have given to count: five zeros may be chance

DECIDED = 0.95  # a weight above this leaves one branch alone
COLLAPSED = 0.95  # share of decided pixels, and mean weight of one branch
UNIFORM = 0.005  # deviation of the weights over the pixels
IDENTICAL = 60.0  # dB between predictions: a quarter of a grey level
ONE_FILTER = 0.03  # deviation of the kernels' shape
DEAD_UNITS, MANY = 0.8, 0.25  # share of the units that leaves nothing, and one that is worth saying


@dataclass(frozen=True)
class Sign:
    """A sign of a paper's own. measure: `(net, datasets)` -> what JSON can hold, or None for networks without that mechanism.
    dead: why it is dead, in words, or "". describe: for captions."""

    name: str
    measure: Callable[[nn.Module, Sequence[str | ImageSet]], dict | None]
    dead: Callable[[dict], str]
    describe: Callable[[dict], str]


_OWN: list[Sign] = []


def register(sign: Sign) -> None:
    """Add a sign of a paper's own."""
    _OWN[:] = [other for other in _OWN if other.name != sign.name] + [sign]


RELUS = (F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_)
Signs = dict[str, Any]


def rounded(value: float) -> float:
    return float(f"{value:.4g}")


def dead(signs: Signs) -> str:
    """Return why the mechanism of a network is dead, in words to follow "the mechanism did not train: "; "" where it is alive.

    Alive is also what has no signs.
    """
    reasons = []
    if fusion := signs.get("fusion"):
        weights = fusion["weights"]
        if fusion["decided"] >= COLLAPSED and max(weights) >= COLLAPSED:
            reasons.append(f"the fusion has collapsed to branch {weights.index(max(weights)) + 1} of {len(weights)}")
        elif fusion["deviation"] < UNIFORM:
            reasons.append("the fusion has the same weights at every pixel")
    if (branches := signs.get("branches")) and branches["psnr"] >= IDENTICAL:
        reasons.append(f"the predictions are identical ({branches['psnr']:.1f} dB)")
    kernels = signs.get("kernels", ())
    if kernels and all(head["deviation"] < ONE_FILTER for head in kernels):
        most = max(head["deviation"] for head in kernels)
        reasons.append(f"the kernels have one shape at every pixel (deviation {percent(most)})")
    reasons += filter(None, (own.dead(signs[own.name]) for own in _OWN if own.name in signs))
    if signs.get("dead_units", 0) >= DEAD_UNITS:
        reasons.append(f"{percent(signs['dead_units'])} of the units are dead")
    return "; ".join(reasons)


def describe(signs: Signs) -> str:
    """Return the signs in words, for captions: "fusion: mean weights 0.31/0.22/0.25/0.22, 3 % of pixels above 0.95"; "" for none.

    Dead units are said from a quarter on, and at the end what is dead.
    """
    parts = []
    if fusion := signs.get("fusion"):
        weights = [f"{weight:.2f}" for weight in fusion["weights"]]
        weights = "/".join(weights) if len(weights) <= SHOWN else f"{min(weights)} to {max(weights)} of {len(weights)} branches"
        parts.append(f"fusion: mean weights {weights}, {percent(fusion['decided'])} of pixels above {DECIDED}")
    if branches := signs.get("branches"):
        parts.append(f"{branches['psnr']:.1f} dB between predictions")
    if kernels := signs.get("kernels"):
        heads = (f"{percent(head['deviation'])} ({head['size']}×{head['size']})" for head in kernels)
        parts.append(f"kernels: deviation of shape {', '.join(heads)}")
    parts += [own.describe(signs[own.name]) for own in _OWN if own.name in signs]
    if signs.get("dead_units", 0) >= MANY:
        parts.append(f"{percent(signs['dead_units'])} of units dead")
    parts += [f"the mechanism did not train: {why}"] if (why := dead(signs)) else []
    return "; ".join(parts)


def percent(share: float) -> str:
    """Return "3.4 %" or "34 %"; what is not nothing and not all is not rounded to it."""
    value = 100 * share
    if 0 < value < 0.1:
        return "<0.1 %"
    if 99.5 < value < 100:
        return ">99.5 %"
    return f"{value:.2g} %" if value < 10 else f"{value:.0f} %"


@torch.no_grad()
def measure(model: nn.Module, *datasets: str | ImageSet) -> Signs:
    """Return the signs of a network, as JSON has them; {} for one that has no mechanism to look at.

    The middle of the first `IMAGES` pictures of the first set is looked at. The network must be in float32 on the CPU; it is
    left in eval mode.

    images: the name of the set.
    fusion: mean `weights` of the branches; share of `decided` pixels, with a weight above `DECIDED`; `deviation` of the weights
    from their means over the pixels, RMS.
    branches: mean `psnr` (dB) between two predictions, at most 100.
    kernels: of each head the `size`; the `deviation` of the kernels' shape, which is the RMS distance over the pixels from the
    mean kernel relative to its length, each kernel less the mean of its weights; and that of their `sum`, a local gain and no
    filter. There is a mean for each place in a cell of 4x4, as heads that see no content may still tell these apart.
    dead_units: the share of units, which are channels after a ReLU, that are 0 at every pixel of all pictures.
    """
    net, first = model.eval(), open_set(datasets[0])
    signs, units = {}, _Units(net)
    for own in _OWN:
        with contextlib.nullcontext() if makes_images(net) else units:
            found = own.measure(net, datasets)
        if found:
            signs[own.name] = found
    if makes_images(net):
        inputs = list(_pictures(net, first))
        with units:
            for lr in inputs:
                net(lr)
                if not units.alive:  # a network without ReLUs
                    break
        signs |= _several(net, inputs) | _kernels(net, inputs)
    signs |= units.sign()
    return {"images": first.name, **signs} if signs else {}


def _middle(image: np.ndarray, side: int) -> np.ndarray:
    top, left = (max(0, (length - side) // 2) for length in image.shape[:2])
    return image[top : top + side, left : left + side]


def _pictures(net: nn.Module, images: ImageSet) -> Iterator[Tensor]:
    """Yield the middle of the LR image of the first pictures as the network takes it, `(1, C, h, w)`, whole cells of 4x4."""
    for i, (_, hr) in enumerate(islice(images, IMAGES)):
        if images.paired:
            lr = _middle(images.lr(i, hr, net.scale), SIDE)
        else:
            lr = downscale(_middle(hr, SIDE * net.scale), net.scale)
        lr = to_y(to_rgb(lr), rounded=True)[..., None] if net.channels == 1 else to_rgb(lr)
        height, width = (length // CELL * CELL or length for length in lr.shape[:2])
        yield torch.from_numpy(lr[:height, :width].transpose(2, 0, 1)[None].copy()).float() / 255


def _several(net: nn.Module, inputs: list[Tensor]) -> Signs:
    """Return the signs of a network that makes several images: of these, and of how it weighs them. A single one has none."""
    signs: Signs = {}
    if hasattr(net, "predictions"):
        predictions = [net.predictions(lr) for lr in inputs]
        if predictions[0].shape[1] == 1:
            return {}
        signs["branches"] = {"psnr": rounded(float(np.mean([_psnr_between(one[0]) for one in predictions])))}
    if hasattr(net, "fusion_weights"):
        weights = [net.fusion_weights(lr) for lr in inputs]
        pixels = torch.cat([one[0].flatten(1) for one in weights], dim=1).double()
        signs["fusion"] = {
            "weights": [rounded(value) for value in pixels.mean(dim=1).tolist()],
            "decided": rounded((pixels.amax(dim=0) > DECIDED).double().mean().item()),
            "deviation": rounded(pixels.var(dim=1, correction=0).mean().sqrt().item()),
        }
    return signs


def _psnr_between(predictions: Tensor) -> float:
    """Return the mean PSNR between two of `(P, 3, H, W)`, at most 100 dB."""
    errors = [(a - b).square().mean().item() for a, b in combinations(predictions.clamp(0, 1).double(), 2)]
    return float(np.mean([-10 * math.log10(max(error, 1e-10)) for error in errors]))


def _kernels(net: nn.Module, inputs: list[Tensor]) -> Signs:
    if not hasattr(net, "kernels"):
        return {}
    found = []
    for lr in (lr for lr in inputs if min(lr.shape[-2:]) >= CELL):
        heads = net.kernels(lr)
        found.append([_by_place(one, lr.shape[-1] // one.shape[-1], min(lr.shape[-2:])) for one in heads])
    signs = []
    for one in (torch.cat(parts, dim=-1).double() for parts in zip(*found, strict=True)):
        length = one.mean(dim=(1, 2)).norm()
        shape = one - one.mean(dim=0)
        deviations = (part.var(dim=-1, correction=0).sum(dim=0).mean().sqrt() / length for part in (shape, one.sum(dim=0)[None]))
        names = ("deviation", "sum")
        signs.append({"size": math.isqrt(len(one)), **{n: rounded(d.item()) for n, d in zip(names, deviations, strict=True)}})
    return {"kernels": signs} if signs else {}


def _by_place(kernels: Tensor, reduction: int, side: int) -> Tensor:
    """Return `(1, K*K, h, w)`, made for every `reduction`th pixel, as `(K*K, places in a cell, cells)`.

    A margin is left out where `side`, the shorter one of the picture, allows.
    """
    cell = CELL // reduction
    margin = MARGIN // reduction if side >= 3 * MARGIN else 0
    inner = kernels[..., margin : kernels.shape[-2] - margin, margin : kernels.shape[-1] - margin]
    return F.pixel_unshuffle(inner, cell)[0].unflatten(0, (-1, cell**2)).flatten(2)


class _Units(TorchFunctionMode):
    """While it is entered, remember of every channel after a ReLU of a network whether it was ever above 0.

    Layers are told apart by the module that runs and the number of the ReLU in it: one activation may serve several layers, and
    a block that runs again, for more patches or recursively, is the same layers.
    """

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net, self.handles = net, []
        self.alive: dict[tuple[str, int], Tensor] = {}
        self.seen: dict[tuple[str, int], int] = {}
        self.running: list[tuple[str, list[int]]] = []  # path, how many ReLUs so far

    def __enter__(self):
        for path, module in ((path, module) for path, module in self.net.named_modules() if not isinstance(module, nn.ReLU)):
            self.handles.append(module.register_forward_pre_hook(lambda *_, path=path: self.running.append((path, [0]))))
            self.handles.append(module.register_forward_hook(lambda *_: self.running.pop() and None))
        return super().__enter__()

    def __exit__(self, *error):
        while self.handles:
            self.handles.pop().remove()
        return super().__exit__(*error)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func in RELUS:
            path, count = self.running[-1]
            layer, above = (path, count[0]), (out > 0).transpose(0, 1).flatten(1)
            count[0] += 1
            self.alive[layer] = self.alive.get(layer, False) | above.any(dim=1)
            self.seen[layer] = self.seen.get(layer, 0) + above.shape[1]
        return out

    def sign(self) -> Signs:
        counted = [alive for layer, alive in self.alive.items() if self.seen[layer] >= SEEN]
        return {"dead_units": rounded(1 - torch.cat(counted).double().mean().item())} if counted else {}
