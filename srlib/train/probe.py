"""Probes: a few numbers that fingerprint what code computes, stored with every result and compared before it is reused.

A run and its weights store the output, loss and gradient of their network on fixed inputs; a file of scores stores the same
scoring of two small synthetic images. A small fit to synthetic images stands for a method in closed form, whose own fit takes
minutes. A probe changes with the forward pass, fit, loss, protocol or metric, but not when a file is moved or a class renamed.
Numbers are compared with a tolerance, as processors round differently.
"""

import copy
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from srlib.core.color import to_y
from srlib.core.imresize import downscale
from srlib.data.sets import ImageSet
from srlib.nn import models
from srlib.nn.patchwise import FittedWhenUsed, Patchwise
from srlib.train import losses
from srlib.train.experiment import Experiment

SIDE = 8  # LR pixels of the input, unless a network needs more
MIN_SCORED_SIDE = 48  # HR pixels: metrics crop borders and need an interior
TOLERANCE = 1e-5  # relative to the largest number of a probe; networks are probed in float64, but some layers in float32
SCORE_TOLERANCE = 1e-4  # scores are of float32 outputs rounded to 8 bits, where single pixels may round the other way
GAINS = (0.5, 1.0)  # at 1.0 deep residual networks grow until a softmax saturates; at 0.5 activations of plain ones vanish
Groups = Sequence[Sequence[float]]
_FREQUENCIES = (math.sqrt(2), math.sqrt(3), math.sqrt(5), math.sqrt(7), math.sqrt(11), math.sqrt(13))


def agree(first: Groups, second: Groups) -> bool:
    """Return whether two probes of networks or trainings agree, up to `TOLERANCE` of the largest number of each group."""
    return [len(group) for group in first] == [len(group) for group in second] and all(map(_close, first, second))


def _close(first: Sequence[float], second: Sequence[float]) -> bool:
    both = np.abs(np.array([first, second], float))
    return bool(np.allclose(first, second, rtol=0, atol=TOLERANCE * both[np.isfinite(both)].max(initial=0.0), equal_nan=True))


def agree_scores(first: Sequence[float], second: Sequence[float]) -> bool:
    """Return whether two probes of scorings agree, every number within the relative `SCORE_TOLERANCE`."""
    first, second = np.asarray(first, float), np.asarray(second, float)
    return first.shape == second.shape and bool(np.allclose(first, second, rtol=SCORE_TOLERANCE, atol=1e-6, equal_nan=True))


def summarise(tensors: Tensor | list[Tensor]) -> list[float]:
    """Return the RMS of all values and their projections on six cosines, so that any change is visible."""
    values = torch.cat([tensor.flatten() for tensor in models.levels(tensors)]).detach().double().cpu()
    index = torch.arange(len(values), dtype=torch.float64)
    waves = [values @ torch.cos(frequency * index + frequency) / math.sqrt(len(values)) for frequency in _FREQUENCIES]
    return [values.square().mean().sqrt().item(), *(wave.item() for wave in waves)]


def picture(height: int, width: int, shift: float = 0.0) -> np.ndarray:
    """Return a synthetic uint8 RGB image `(height, width, 3)` with waves of many frequencies, edges and a flat area."""
    y, x = np.mgrid[0:height, 0:width].astype(float) / 8 + shift
    planes = [np.sin(x * (1 + 0.3 * c) + y * y / 9) + np.sin(3.1 * y - c) * np.cos(2.3 * x) for c in range(3)]
    image = 128 + 55 * np.stack(planes, axis=-1)
    image[: height // 4, : width // 4] = (200, 180, 90)
    image[height // 2 :, width // 2 :] *= 0.6
    return np.floor(image.clip(0, 255) + 0.5).astype(np.uint8)


@dataclass(frozen=True)
class Pictures(ImageSet):
    """An image set in memory; with `lrs`, a set of LR-HR pairs of scale 1."""

    images: tuple[np.ndarray, ...] = ()
    lrs: tuple[np.ndarray, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> np.ndarray:
        return self.images[i]

    def area(self, i: int) -> int:
        return math.prod(self.images[i].shape[:2])

    @property
    def paired(self) -> bool:
        return bool(self.lrs)

    def lr(self, i: int, hr: np.ndarray, scale: int) -> np.ndarray:
        self.check_scale(scale)
        return self.lrs[i]


def pictures(model: nn.Module) -> Pictures:
    """Return the images that a model's scoring is probed with: a colour and a grey one, or one pair at scale 1."""
    side = max(MIN_SCORED_SIDE // model.scale, 12, getattr(model, "probe", 0)) * model.scale
    hr = picture(side, side + 4 * model.scale)
    if model.scale > 1:
        return Pictures("probe", ("colour", "grey"), (), "probe", images=(hr, picture(side, side, 0.5)[..., 1]))
    lr = np.floor(0.7 * hr + 0.3 * picture(side, side + 4, 0.1) + 0.5).astype(np.uint8)
    return Pictures("probe", ("colour",), (), "probe", scale=1, images=(hr,), lrs=(lr,))


def scoring(model: nn.Module, score: Callable[[ImageSet], pd.DataFrame]) -> list[float]:
    """Probe the scoring of a model: the metrics that `score` returns for `pictures`, without times."""
    rows = score(pictures(model)).drop(columns="seconds", errors="ignore")
    return rows.select_dtypes("number").to_numpy(float).ravel().tolist()


def stand_in(model: nn.Module) -> nn.Module:
    """Return the network whose scoring is probed for a model: itself, or of a method in closed form a small fit."""
    if isinstance(model, FittedWhenUsed):
        return small_fit(model.kind, model.scale)
    return small_fit(type(model), model.scale) if isinstance(model, Patchwise) else model


@lru_cache
def small_fit(kind: type[Patchwise], scale: int) -> Patchwise:
    """Return a network in closed form, with its `small` arguments, fitted to synthetic images."""
    net, batches = kind(scale, **kind.small).eval(), []
    for shift in range(8):
        hr = to_y(picture(24 * scale, 24 * scale, float(shift)), rounded=False)
        pair = (downscale(hr, scale), hr)
        batches.append(tuple(torch.from_numpy(image / 255).float()[None, None] for image in pair))
    net.fit(batches, seed=0)
    return net


@torch.no_grad()
def network(model: nn.Module) -> Groups:
    """Probe a network with its own weights, in eval mode, and its sub-networks: a group of numbers each."""
    net = copy.deepcopy(model).cpu().double().eval()
    return [summarise(part(_input(part))) for part in _networks(net)]


def _networks(net: nn.Module) -> list[nn.Module]:
    """Return a network and its children that take an LR image themselves, such as the branches of a router."""
    return [net, *(child for child in net.children() if hasattr(child, "scale"))]


def training(experiment: Experiment) -> Groups:
    """Probe a training: output, loss and gradient of its network, and its discriminator's loss, with weights of `fill`.

    Of a method in closed form it is the output of a small fit; of one that is not `Patchwise` it is empty.
    """
    if models.fitted(experiment.model):
        small = stand_in(net := models.create(experiment.model, experiment.scale, **experiment.model_args))
        return [] if small is net else network(small)
    return [group for gain in GAINS for group in _training_groups(experiment, gain)]


def _training_groups(experiment: Experiment, gain: float) -> list[list[float]]:
    net = fill(models.create(experiment.model, experiment.scale, **experiment.model_args), gain).double()
    groups, compare = network(net), losses.get(experiment.loss, **experiment.loss_args)
    lr = _input(net)
    hr = _input(net, lr.shape[-1] * experiment.scale)
    lr, hr = (torch.cat([image, image.flip(-1)]) for image in (lr, hr))  # batch normalisation needs two
    outputs = net.train()(lr)
    loss = compare(outputs, losses.crop_to_output(net, hr, outputs), lr)
    groups += [summarise(outputs), [loss.item()]]
    if getattr(net, "selective", False):  # these weights may route nothing through the trained branches
        branches = [part for part in _networks(net)[1:] if any(p.requires_grad for p in part.parameters())]
        loss = loss + sum(compare(branch(lr), hr, lr) for branch in branches)
    if experiment.discriminator:
        adversarial = losses.adversarial(experiment.discriminator, experiment.discriminator_args)
        discriminator = fill(adversarial.build(net.channels, **experiment.discriminator_args), gain).double().train()
        term = adversarial.generator_loss(discriminator, models.levels(outputs), lr)
        loss = experiment.content * loss + experiment.adversarial * term
        groups.append([term.item()])
    if loss.requires_grad:
        loss.backward()
    gradients = [p.grad for p in net.parameters() if p.grad is not None]
    return [*groups, summarise(gradients) if gradients else []]


def fill(net: nn.Module, gain: float = 1.0) -> nn.Module:
    """Set every parameter to fixed pseudo-random values seeded by its name: matrices and kernels with standard deviation
    gain / sqrt(fan-in), others near 0.1. Buffers are left unchanged."""
    with torch.no_grad():
        for name, tensor in net.named_parameters():
            rng = np.random.Generator(np.random.Philox(key=zlib.crc32(name.encode())))
            values = torch.from_numpy(rng.uniform(-1, 1, tuple(tensor.shape)))
            fan_in = tensor[0].numel() if tensor.ndim > 1 else 0
            tensor.copy_(values * gain * math.sqrt(3 / fan_in) if fan_in else 0.1 + 0.05 * values)
    return net


def _input(net: nn.Module, side: int = 0) -> Tensor:
    """Return the input of a probe, `(1, C, side, side)` in double precision; side: by default the LR side for this network."""
    valid = 2 * net.reach + 8 if getattr(net, "valid_padding", False) else 0
    side = side or max(16 // net.scale, getattr(net, "probe", SIDE), valid)
    planes = picture(side, side)[..., : net.channels or 3].transpose(2, 0, 1)
    return torch.from_numpy(planes[None].copy()).double() / 255
