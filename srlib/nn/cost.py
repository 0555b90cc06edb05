"""What a network costs: parameters, mult-adds, and the memory of a pass and of a training step.

Mult-adds follow the convention of the CARN tables: weights times output pixels of each layer, for a 1280x720 output,
biases and activations ignored, a recursive layer counted at every use. Transposed convolutions are counted at their
output resolution there; the operations really needed are those per input pixel, which BTSRN's and IDN's counts
use. What a network pads an image by is left out. At x3 the LR image is taken as exactly a third (426.67 pixels wide);
counts made with 426 are 0.16 % lower.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from srlib.nn.models import device_of

OUTPUT_PIXELS = 1280 * 720
PROBE = 24  # LR pixels a side of the counting pass, unless a model needs others; costs are linear in the pixels


@dataclass(frozen=True)
class Summary:
    """Counted cost of a network."""

    parameters: int  # with biases
    weights: int  # of convolutions, without biases
    mult_adds: float  # for a 1280x720 output, transposed convolutions per input pixel
    mult_adds_carn: float  # the same at output resolution


def convolutions(model: nn.Module) -> list[nn.Module]:
    """Return the (transposed) convolutions of a model."""
    return [layer for layer in model.modules() if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))]


@contextmanager
def in_mode(model: nn.Module, training: bool) -> Iterator[None]:
    """Put a model in training or eval mode, and back at the end."""
    before = model.training
    try:
        model.train(training)
        yield
    finally:
        model.train(before)


def run_hooked(model: nn.Module, layers: Iterable[nn.Module], hook: Callable, lr: Tensor, training: bool = False):
    """Return the output of one pass with a forward hook on each of these layers; the model is afterwards as before."""
    handles = [layer.register_forward_hook(hook) for layer in layers]
    try:
        with in_mode(model, training):
            return model(lr)
    finally:
        for handle in handles:
            handle.remove()


def probe_side(model: nn.Module) -> int:
    """Return the LR side of a counting pass: `PROBE` or the model's own, rounded up to what it pads images to (`multiple`)."""
    multiple = getattr(model, "multiple", 1)
    return -(-getattr(model, "probe", PROBE) // multiple) * multiple


@torch.no_grad()
def _products(model: nn.Module, layers: list[nn.Module], side: int) -> Tensor:
    """Return the mult-adds of one pass over an image of `side` LR pixels, transposed convolutions per input and output pixel."""
    counts = torch.zeros(2, dtype=torch.float64)

    def count(layer: nn.Module, inputs: tuple, output: Tensor) -> None:
        at_input, at_output = (layer.weight.numel() * x.shape[-2] * x.shape[-1] for x in (inputs[0], output))
        counts.add_(torch.tensor([at_input if isinstance(layer, nn.ConvTranspose2d) else at_output, at_output]))

    run_hooked(model, layers, count, torch.zeros(1, model.channels or 3, side, side, device=device_of(model)))
    return counts


def summary(model: nn.Module) -> Summary:
    """Count parameters and mult-adds of a model by hooks during passes over small images."""
    side, layers = probe_side(model), convolutions(model)
    counts = _products(model, layers, side)
    if getattr(model, "valid_padding", False):  # the frame around an image is no part of the work per pixel
        counts = (counts - 2 * _products(model, layers, 2 * side) + _products(model, layers, 3 * side)) / 2
    at_input, at_output = (counts * OUTPUT_PIXELS / (side * model.scale) ** 2).tolist()
    return Summary(
        parameters=sum(p.numel() for p in model.parameters()),
        weights=sum(layer.weight.numel() for layer in layers),
        mult_adds=at_input,
        mult_adds_carn=at_output,
    )


@dataclass(frozen=True)
class Structure:
    """Structure of a network, as ProSRN's Table 1 describes it."""

    input: str  # "LR", or "bicubic LR" where the first layer sees an enlarged image
    layers: int  # (transposed) convolutions, each once
    in_a_row: int  # depth: convolutions on the longest path from input to output, a recursive one at every use
    mode: str  # "progressive" where the network makes images of several sizes, else "direct"


def structure(model: nn.Module) -> Structure:
    """Describe a model by one pass in training mode over a small image."""
    layers, widths, side = convolutions(model), [], probe_side(model)
    lr = torch.rand(2, model.channels or 3, side, side)
    outputs = run_hooked(model, layers, lambda _, inputs, __: widths.append(inputs[0].shape[-1]), lr, training=True)
    images = outputs if isinstance(outputs, list) else [outputs]
    return Structure(
        input="LR" if widths[0] == side else "bicubic LR",
        layers=len(layers),
        in_a_row=_depth(images[-1].grad_fn),
        mode="progressive" if len({image.shape[-1] for image in images}) > 1 else "direct",
    )


def _depth(output) -> int:
    """Return the number of convolutions on the longest path through autograd's graph."""
    depth, stack = {None: 0}, [output]
    while stack:
        node = stack[-1]
        inputs = [source for source, _ in node.next_functions]
        pending = [source for source in inputs if source not in depth]
        if pending:
            stack += pending
            continue
        depth[stack.pop()] = max((depth[source] for source in inputs), default=0) + (node.name() == "ConvolutionBackward0")
    return depth[output]


def saved_bytes(model: nn.Module, lr: Tensor) -> int:
    """Return the bytes that one forward pass over `lr` saves for the backward pass, each storage once.

    A training step needs them in addition to weights and optimiser state; they are the same on every device.
    """
    storages = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = model(lr)
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
    total = sum(size for pointer, size in storages.items() if pointer not in parameters)
    del output
    return total


class _LiveTensors(TorchDispatchMode):
    """Tracks the storages that operations make; `peak`: the most bytes of those alive at once."""

    def __init__(self):
        super().__init__()
        self.storages, self.peak = {}, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in filter(torch.is_tensor, tree_leaves(result)):
            storage = tensor.untyped_storage()
            self.storages[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        self.storages = {key: entry for key, entry in self.storages.items() if not entry[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self.storages.values()))
        return result


@torch.no_grad()
def peak_bytes(model: nn.Module, lr: Tensor) -> int:
    """Return the most bytes that the tensors of one pass over `lr` in eval mode take at once, without weights and `lr` itself.

    What libraries take for themselves and what an allocator wastes comes on top.
    """
    with in_mode(model, False), _LiveTensors() as live:
        model(lr)
    return live.peak
