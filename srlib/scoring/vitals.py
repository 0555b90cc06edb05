"""Vital signs: whether the mechanism of a trained network works, measured on a few images.

A fusion that has collapsed to one branch fuses nothing, and a comparison of it with another fusion compares single branches.
`measure` gives the signs after a training, for its provenance and the card of released weights; `describe` gives them in words,
for captions; `dead` says why a mechanism did not train, which claims take into account. The papers may register more of them.

    fusion      networks that weigh several images pixel by pixel: D2C-SR, CDC
    branches    D2C-SR's predictions
    kernels     networks of per-pixel kernels, a sign for each head: KPN, LP-KPN, DDet
    dead_units  networks with ReLUs
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
from srlib.data.images import center_crop
from srlib.data.sets import ImageSet, open_set
from srlib.nn.models import makes_images
from srlib.nn.same_size import CELL

MAX_LISTED = 4  # branches whose weights are described one by one
MARGIN = 16  # pixels, whole cells, in which kernels differ as convolutions see zeros around the image
IMAGES, SIDE = 5, 128  # number of images, and side of their centre in LR pixels
SEEN = 1000  # outputs of a unit from which on it counts: five zeros may be chance

DECIDED = 0.95  # a weight above this leaves one branch alone
COLLAPSED = 0.95  # share of decided pixels, and mean weight of one branch
UNIFORM = 0.005  # deviation of the weights over the pixels
IDENTICAL = 60.0  # dB between predictions: a quarter of a grey level
ONE_FILTER = 0.03  # deviation of the kernels' shape
DEAD_UNITS, MANY = 0.8, 0.25  # share of the units that leaves nothing, and one that captions mention
RELUS = (F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_)
Signs = dict[str, Any]


@dataclass(frozen=True)
class Sign:
    """A paper's own sign. measure: `(net, datasets)` -> a dict for JSON, or None for networks without that mechanism.
    dead: why it is dead, in words, or "". describe: in words, for captions."""

    name: str
    measure: Callable[[nn.Module, Sequence[str | ImageSet]], dict | None]
    dead: Callable[[dict], str]
    describe: Callable[[dict], str]


_REGISTERED: dict[str, Sign] = {}


def register(sign: Sign) -> None:
    """Register a paper's own sign."""
    _REGISTERED[sign.name] = sign


def rounded(value: float) -> float:
    return float(f"{value:.4g}")


def dead(signs: Signs) -> str:
    """Return why the mechanism of a network did not train, in words; "" where it did, and without signs."""
    reasons = []
    if fusion := signs.get("fusion"):
        weights = fusion["weights"]
        if fusion["decided"] >= COLLAPSED and max(weights) >= COLLAPSED:
            reasons.append(f"the fusion has collapsed to branch {weights.index(max(weights)) + 1} of {len(weights)}")
        elif fusion["deviation"] < UNIFORM:
            reasons.append("the fusion has the same weights at every pixel")
    if (branches := signs.get("branches")) and branches["psnr"] >= IDENTICAL:
        reasons.append(f"the predictions are identical ({branches['psnr']:.1f} dB)")
    largest = max((head["deviation"] for head in signs.get("kernels", ())), default=ONE_FILTER)
    if largest < ONE_FILTER:
        reasons.append(f"the kernels have one shape at every pixel (deviation {percent(largest)})")
    reasons += filter(None, (sign.dead(signs[name]) for name, sign in _REGISTERED.items() if name in signs))
    if signs.get("dead_units", 0) >= DEAD_UNITS:
        reasons.append(f"{percent(signs['dead_units'])} of the units are dead")
    return "; ".join(reasons)


def describe(signs: Signs) -> str:
    """Return the signs in words, and why the mechanism did not train: "fusion: mean weights 0.31/0.22/0.25/0.22, 3 % of pixels
    above 0.95"; "" without signs. Dead units are mentioned from a quarter on."""
    parts = []
    if fusion := signs.get("fusion"):
        weights = [f"{weight:.2f}" for weight in fusion["weights"]]
        extremes = f"{min(weights)} to {max(weights)} of {len(weights)} branches"
        weights = "/".join(weights) if len(weights) <= MAX_LISTED else extremes
        parts.append(f"fusion: mean weights {weights}, {percent(fusion['decided'])} of pixels above {DECIDED}")
    if branches := signs.get("branches"):
        parts.append(f"{branches['psnr']:.1f} dB between predictions")
    if kernels := signs.get("kernels"):
        heads = (f"{percent(head['deviation'])} ({head['size']}×{head['size']})" for head in kernels)
        parts.append(f"kernels: deviation of shape {', '.join(heads)}")
    parts += [sign.describe(signs[name]) for name, sign in _REGISTERED.items() if name in signs]
    if signs.get("dead_units", 0) >= MANY:
        parts.append(f"{percent(signs['dead_units'])} of units dead")
    parts += [f"the mechanism did not train: {why}"] if (why := dead(signs)) else []
    return "; ".join(parts)


def percent(share: float) -> str:
    """Return "3.4 %" or "34 %"; only exact 0 and 1 give 0 % and 100 %."""
    value = 100 * share
    if 0 < value < 0.1:
        return "<0.1 %"
    if 99.5 < value < 100:
        return ">99.5 %"
    return f"{value:.2g} %" if value < 10 else f"{value:.0f} %"


@torch.no_grad()
def measure(model: nn.Module, *datasets: str | ImageSet) -> Signs:
    """Return the signs of a network, fit for JSON; {} for one without a mechanism that has signs.

    Takes the centre of the first `IMAGES` images of the first set. The network must be in float32 on the CPU; it is left in eval
    mode.

    images: the name of the set.
    fusion: mean `weights` of the branches; share of `decided` pixels, with a weight above `DECIDED`; `deviation` of the weights
    from their means over the pixels, RMS.
    branches: mean `psnr` (dB) between two predictions, at most 100.
    kernels: of each head the `size`; `deviation` of the kernels' shape: RMS distance over the pixels from the mean kernel,
    relative to its length, of kernels less their mean weight; and of their `sum`, a local gain, which is no filter. Means are
    taken for each place in a cell of 4x4, as heads that see no content may still distinguish these.
    dead_units: share of units (channels after a ReLU) that are 0 at every pixel of all images.
    """
    net, images = model.eval(), open_set(datasets[0])
    units, signs = _Units(net), {}
    for name, registered in _REGISTERED.items():
        with contextlib.nullcontext() if makes_images(net) else units:
            if sign := registered.measure(net, datasets):
                signs[name] = sign
    if makes_images(net):
        inputs = list(_inputs(net, images))
        with units:
            for lr in inputs:
                net(lr)
                if not units.alive:  # a network without ReLUs
                    break
        signs |= _branches(net, inputs) | _kernels(net, inputs)
    signs |= units.sign()
    return {"images": images.name, **signs} if signs else {}


def _inputs(net: nn.Module, images: ImageSet) -> Iterator[Tensor]:
    """Yield the centre of the first LR images as inputs `(1, C, h, w)` of the network, whole cells of 4x4."""
    for i, (_, hr) in enumerate(islice(images, IMAGES)):
        if images.paired:
            lr = center_crop(images.lr(i, hr, net.scale), SIDE)
        else:
            lr = downscale(center_crop(hr, SIDE * net.scale), net.scale)
        lr = to_y(to_rgb(lr), rounded=True)[..., None] if net.channels == 1 else to_rgb(lr)
        height, width = (length // CELL * CELL or length for length in lr.shape[:2])
        yield torch.from_numpy(lr[:height, :width].transpose(2, 0, 1)[None].copy()).float() / 255


def _branches(net: nn.Module, inputs: list[Tensor]) -> Signs:
    """Return the signs of the predictions of a network, unless it makes a single one, and of how it weighs them."""
    signs: Signs = {}
    if hasattr(net, "predictions"):
        predictions = [net.predictions(lr)[0] for lr in inputs]  # (P, 3, H, W) each
        if len(predictions[0]) == 1:
            return {}
        signs["branches"] = {"psnr": rounded(float(np.mean([_psnr_between(images) for images in predictions])))}
    if hasattr(net, "fusion_weights"):
        weights = torch.cat([net.fusion_weights(lr)[0].flatten(1) for lr in inputs], dim=1).double()  # (P, pixels)
        signs["fusion"] = {
            "weights": [rounded(value) for value in weights.mean(dim=1).tolist()],
            "decided": rounded((weights.amax(dim=0) > DECIDED).double().mean().item()),
            "deviation": rounded(weights.var(dim=1, correction=0).mean().sqrt().item()),
        }
    return signs


def _psnr_between(predictions: Tensor) -> float:
    """Return the mean PSNR between two of `(P, 3, H, W)`, at most 100 dB."""
    errors = [(a - b).square().mean().item() for a, b in combinations(predictions.clamp(0, 1).double(), 2)]
    return float(np.mean([-10 * math.log10(max(error, 1e-10)) for error in errors]))


def _kernels(net: nn.Module, inputs: list[Tensor]) -> Signs:
    if not hasattr(net, "kernels"):
        return {}
    heads_by_input = []
    for lr in (lr for lr in inputs if min(lr.shape[-2:]) >= CELL):
        width, shorter = lr.shape[-1], min(lr.shape[-2:])
        heads_by_input.append([_by_place(kernels, width // kernels.shape[-1], shorter) for kernels in net.kernels(lr)])
    signs = []
    for per_input in zip(*heads_by_input, strict=True):
        kernels = torch.cat(per_input, dim=-1).double()  # (K*K, places, cells)
        length = kernels.mean(dim=(1, 2)).norm()
        shape, gain = kernels - kernels.mean(dim=0), kernels.sum(dim=0)[None]
        deviation, gain_deviation = (part.var(dim=-1, correction=0).sum(dim=0).mean().sqrt() / length for part in (shape, gain))
        sign = {"deviation": rounded(deviation.item()), "sum": rounded(gain_deviation.item())}
        signs.append({"size": math.isqrt(len(kernels)), **sign})
    return {"kernels": signs} if signs else {}


def _by_place(kernels: Tensor, reduction: int, side: int) -> Tensor:
    """Return the kernels `(1, K*K, h, w)` of every `reduction`th pixel as `(K*K, places in a cell, cells)`, without a margin
    where `side`, the shorter one of the image, allows."""
    cell = CELL // reduction
    margin = MARGIN // reduction if side >= 3 * MARGIN else 0
    inner = kernels[..., margin : kernels.shape[-2] - margin, margin : kernels.shape[-1] - margin]
    return F.pixel_unshuffle(inner, cell)[0].unflatten(0, (-1, cell**2)).flatten(2)


class _Units(TorchFunctionMode):
    """Record which channels after a ReLU of a network were ever above 0, while entered.

    A layer is identified by the running module and the number of the ReLU in it: one activation may serve several layers, and a
    block that runs again, for more patches or recursively, has the same layers.
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
        alive = [channels for layer, channels in self.alive.items() if self.seen[layer] >= SEEN]
        return {"dead_units": rounded(1 - torch.cat(alive).double().mean().item())} if alive else {}
