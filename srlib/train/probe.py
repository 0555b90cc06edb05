"""Probes: a few numbers that say what code does, kept with every result and compared before the result is used again.

A run and its weights keep what their network, loss and gradient give for fixed inputs, a file of scores what the same scoring
gives on two small pictures. A probe notices a changed forward pass, loss, protocol or metric; it does not notice that a file was
moved or a class renamed. Numbers are compared with a tolerance, as processors round differently.
"""

import copy
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from srlib.data.sets import ImageSet
from srlib.nn import models
from srlib.train import losses
from srlib.train.experiment import Experiment

SIDE = 8  # LR pixels of the input, where a network does not want more
SCORED = 48  # HR pixels of a picture that is scored, at least: metrics leave borders out and need some inside
TOLERANCE = 1e-5  # relative to the largest number of a probe; networks are probed in float64, but some layers in float32
SCORE_TOLERANCE = 1e-4  # scores are of outputs in float32, rounded to 8 bits: single pixels fall to the other side
GAINS = (0.5, 1.0)  # with the second, deep residual networks grow until a softmax chooses one; with the first, plain ones fade
Groups = Sequence[Sequence[float]]
_STEPS = (math.sqrt(2), math.sqrt(3), math.sqrt(5), math.sqrt(7), math.sqrt(11), math.sqrt(13))


def agree(one: Groups, other: Groups) -> bool:
    """Whether two probes of networks or trainings are of the same code, up to `TOLERANCE` of the largest number of each group."""
    return len(one) == len(other) and all(map(_close, one, other))


def _close(one: Sequence[float], other: Sequence[float]) -> bool:
    if len(one) != len(other):
        return False
    both = np.abs(np.array([one, other], float))
    return bool(np.allclose(one, other, rtol=0, atol=TOLERANCE * both[np.isfinite(both)].max(initial=0.0), equal_nan=True))


def agree_scores(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether two probes of scorings are of the same code: every number within `SCORE_TOLERANCE` of its own size."""
    one, other = np.asarray(one, float), np.asarray(other, float)
    return one.shape == other.shape and bool(np.allclose(one, other, rtol=SCORE_TOLERANCE, atol=1e-6, equal_nan=True))


def summarise(tensors: Tensor | Sequence[Tensor]) -> list[float]:
    """Return the root mean square of all values together and their projections on six waves, so that any change shows."""
    values = torch.cat([tensors.flatten()] if isinstance(tensors, Tensor) else [t.flatten() for t in tensors])
    values = values.detach().double().cpu()
    index = torch.arange(len(values), dtype=torch.float64)
    waves = [values @ torch.cos(step * index + step) / math.sqrt(len(values)) for step in _STEPS]
    return [float(value) for value in (values.square().mean().sqrt(), *waves)]


def picture(height: int, width: int, shift: float = 0.0) -> np.ndarray:
    """Return a uint8 RGB picture `(height, width, 3)` of waves of all lengths, an edge and a flat part."""
    y, x = np.mgrid[0:height, 0:width].astype(float) / 8 + shift
    planes = [np.sin(x * (1 + 0.3 * c) + y * y / 9) + np.sin(3.1 * y - c) * np.cos(2.3 * x) for c in range(3)]
    image = 128 + 55 * np.stack(planes, axis=-1)
    image[: height // 4, : width // 4] = (200, 180, 90)
    image[height // 2 :, width // 2 :] *= 0.6
    return np.floor(image.clip(0, 255) + 0.5).astype(np.uint8)


@dataclass(frozen=True)
class Pictures(ImageSet):
    """A set of pictures in memory; `lrs` makes it a set of pairs of one size."""

    images: tuple[np.ndarray, ...] = ()
    lrs: tuple[np.ndarray, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> np.ndarray:
        return self.images[i]

    def area(self, i: int) -> int:
        return self.images[i].shape[0] * self.images[i].shape[1]

    @property
    def paired(self) -> bool:
        return bool(self.lrs)

    def lr(self, i: int, hr: np.ndarray, scale: int) -> np.ndarray:
        self.check_scale(scale)
        return self.lrs[i]


def pictures(model: nn.Module) -> Pictures:
    """Return the pictures that a model's scoring is probed with: a coloured and a grey one, or a pair where its scale is 1."""
    side = max(SCORED // model.scale, 12, getattr(model, "probe", 0))
    if model.scale > 1:
        hr = picture(side * model.scale, (side + 4) * model.scale)
        images = (hr, picture(side * model.scale, side * model.scale, 0.5)[..., 1])
        return Pictures("probe", ("colour", "grey"), (), "probe", images=images)
    hr, other = picture(side, side + 4), picture(side, side + 4, 0.1)
    lr = np.floor(0.7 * hr + 0.3 * other + 0.5).astype(np.uint8)
    return Pictures("probe", ("colour",), (), "probe", scale=1, images=(hr,), lrs=(lr,))


def scoring(model: nn.Module, score: Callable[[ImageSet], pd.DataFrame]) -> list[float]:
    """Probe a scoring of a model: the metrics that `score` returns for `pictures`, times left out."""
    rows = score(pictures(model)).drop(columns="seconds", errors="ignore")
    return [float(value) for value in rows.select_dtypes("number").to_numpy().ravel()]


@torch.no_grad()
def network(model: nn.Module) -> Groups:
    """Probe a network with its own weights, in eval mode, and the networks that it is made of: a group each."""
    net = copy.deepcopy(model).cpu().double().eval()
    return [summarise(part(_input(part))) for part in _networks(net)]


def _networks(net: nn.Module) -> list[nn.Module]:
    """Return a network and those among its children that map an LR image themselves, such as the branches of a router."""
    return [net, *(child for child in net.children() if hasattr(child, "scale"))]


def training(experiment: Experiment) -> Groups:
    """Probe what an experiment trains: output, loss and gradient of its network, and of its discriminator, with weights that
    depend on the names of tensors alone. Empty for a network that is fitted in closed form.
    """
    if models.fitted(experiment.model):
        return []
    return [group for gain in GAINS for group in _trained(experiment, gain)]


def _trained(experiment: Experiment, gain: float) -> list[list[float]]:
    net = fill(models.create(experiment.model, experiment.scale, **experiment.model_args), gain).double()
    groups, compare = network(net), losses.get(experiment.loss, **experiment.loss_args)
    lr = _input(net)
    hr = _input(net, lr.shape[-1] * experiment.scale)
    lr, hr = (torch.cat([image, image.flip(-1)]) for image in (lr, hr))  # two, as normalisation over a batch needs them
    outputs = net.train()(lr)
    loss = compare(outputs, losses.inside(net, hr, outputs), lr)
    groups += [summarise(models.levels(outputs)), [float(loss.detach())]]
    if getattr(net, "selective", False):  # these weights may send nothing through the trained branches
        branches = [part for part in _networks(net)[1:] if any(p.requires_grad for p in part.parameters())]
        loss = loss + sum(compare(branch(lr), hr, lr) for branch in branches)
    if experiment.discriminator:
        adversarial = losses.adversarial(experiment.discriminator, experiment.discriminator_args)
        discriminator = fill(adversarial.build(net.channels, **experiment.discriminator_args), gain).double().train()
        term = adversarial.generator_loss(discriminator, models.levels(outputs), lr)
        loss = experiment.content * loss + experiment.adversarial * term
        groups.append([float(term.detach())])
    if loss.requires_grad:
        loss.backward()
    gradients = [p.grad for p in net.parameters() if p.grad is not None]
    return [*groups, summarise(gradients) if gradients else []]


def fill(net: nn.Module, gain: float = 1.0) -> nn.Module:
    """Give every trained tensor fixed values that depend on its name and shape: matrices and kernels of deviation
    gain / sqrt(fan-in), others about 0.1. Buffers stay as they are."""
    with torch.no_grad():
        for name, tensor in net.named_parameters():
            rng = np.random.Generator(np.random.Philox(key=zlib.crc32(name.encode())))
            values = torch.from_numpy(rng.uniform(-1, 1, tuple(tensor.shape)))
            fan_in = tensor[0].numel() if tensor.ndim > 1 else 0
            tensor.copy_(values * gain * math.sqrt(3 / fan_in) if fan_in else 0.1 + 0.05 * values)
    return net


def _side(net: nn.Module) -> int:
    """Return the LR side of a probe's input."""
    valid = 2 * net.reach + 8 if getattr(net, "valid_padding", False) else 0
    return max(16 // net.scale, getattr(net, "probe", SIDE), valid)


def _input(net: nn.Module, side: int = 0) -> Tensor:
    side = side or _side(net)
    image = picture(side, side)[..., : net.channels or 3].transpose(2, 0, 1)[None]
    return torch.from_numpy(image.copy()).double() / 255
