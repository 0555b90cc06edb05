"""What a network is made of, found by running it: `whole(model)` and `inside(block)`.

Nothing is declared by hand. A forward pass with hooks finds the order of the layers, their shapes and activations; a second
one, with the last layer silenced, finds what a skip connection adds: the identity, or the input enlarged by nearest
neighbour or bicubic. A picture made of this shows what a network does, not what its author meant.

`nn.Sequential` is opened; any other module with its own forward is one box with the kernels and channels of the convolutions
in it, and its `extra_repr` where it has one. Equal neighbours become one box with a count. Boxes stand in the order of
execution, one after the other; parallel branches appear in a row.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from srlib.errors import SRError
from srlib.models.bicubic import upsample_bicubic

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.Tanh, nn.Sigmoid, nn.ELU, nn.GELU, nn.SiLU)
CORNER = 16  # pixels
CALLS = {F.relu: "ReLU", F.leaky_relu: "LeakyReLU", torch.relu: "ReLU", torch.tanh: "Tanh", torch.sigmoid: "Sigmoid"}
@dataclass(frozen=True)
class Box:
    """One box. before, title, lines: its text, the title bold. shape: (C, H, W) of its output. kind: "low" or "high" resolution,
    "up" for what enlarges, or "activation". path: of the layer in its module. skip: what is added to its output. count: equal
    boxes in a row."""

    title: str
    kind: str
    shape: tuple[int, int, int]
    parameters: int = 0
    before: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    path: str = ""
    skip: str | None = None
    count: int = 1

    @property
    def group(self) -> str:
        return self.path.split(".")[0]

    @property
    def text(self) -> list[str]:
        times = f"{self.count} × " if self.count > 1 else ""
        parameters = [f"{times}{self.parameters:,} params"] if self.parameters else []
        return [*self.before, times + self.title, *self.lines, *([f"+ {self.skip}"] if self.skip else []), *parameters]


@dataclass(frozen=True)
class _Call:
    """One use of a layer, or of an activation as a function (layer: its name)."""

    path: str
    layer: nn.Module | str
    x: Tensor
    y: Tensor


class _Recorder(TorchFunctionMode):
    """Record the layers of a module that run, and activations that are called as functions between them."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.calls: list[_Call] = []
        self.inside, self.handles = 0, []
        for path, unit in _units(module):
            self.handles.append(unit.register_forward_pre_hook(self._enter))
            self.handles.append(unit.register_forward_hook(lambda *seen, path=path: self._leave(path, *seen)))

    def _enter(self, layer: nn.Module, inputs: tuple) -> None:
        self.inside += 1

    def _leave(self, path: str, layer: nn.Module, inputs: tuple, output: Tensor) -> None:
        self.inside -= 1
        self.calls.append(_Call(path, layer, inputs[0], output))

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        y = func(*args, **kwargs)
        if func in CALLS and not self.inside:
            slope = args[1] if len(args) > 1 else kwargs.get("negative_slope", "")
            self.calls.append(_Call("", f"{CALLS[func]} {slope}".strip(), args[0], y))
        return y


def _units(module: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    for name, child in module.named_children():
        inner = f"{path}.{name}".strip(".")
        if isinstance(child, (nn.Sequential, nn.ModuleList)):
            yield from _units(child, inner)
        else:
            yield inner, child


@torch.no_grad()
def _run(module: nn.Module, x: Tensor) -> tuple[list[_Call], Tensor]:
    recorder, training = _Recorder(module), module.training
    try:
        with recorder:
            y = module.eval()(x)
    finally:
        module.train(training)
        for handle in recorder.handles:
            handle.remove()
    return recorder.calls, y


def _relation(x: Tensor, y: Tensor) -> str | None:
    """Say how `y` comes from `x`: "identity", "identity, cropped", "nearest ×2", "bicubic ×2", or None."""
    (height, width), (h, w) = x.shape[-2:], y.shape[-2:]
    if x.shape[1] != y.shape[1]:
        return None
    if h <= height and w <= width:
        top, left = (height - h) // 2, (width - w) // 2
        same = torch.allclose(x[..., top : top + h, left : left + w], y, atol=1e-5)
        return ("identity" if x.shape == y.shape else "identity, cropped") if same else None
    factor = h // height
    for name, larger in (("nearest", F.interpolate(x, scale_factor=factor)), ("bicubic", upsample_bicubic(x, factor))):
        if larger.shape == y.shape and torch.allclose(larger, y, atol=1e-5):
            return f"{name} ×{factor}"
    return None


def _skip(module: nn.Module, x: Tensor) -> str | None:
    """Return what `module` adds to the output of its last layer; None for nothing. A corner of `x` is enough to see it."""
    x = x[..., :CORNER, :CORNER]
    layers = [call.layer for call in _run(module, x)[0] if call.path]
    if not layers:
        return None
    handle = layers[-1].register_forward_hook(lambda layer, inputs, output: torch.zeros_like(output))
    try:
        y = _run(module, x)[1]
    finally:
        handle.remove()
    return (_relation(x, y) or "skip") if y.any() else None


def _activation(layer: nn.Module) -> str:
    return f"{type(layer).__name__} {getattr(layer, 'negative_slope', '')}".strip()


def _kernel(layer: nn.Module) -> str:
    name = "×".join(str(k) for k in layer.kernel_size)
    return f"{name} transposed" if isinstance(layer, nn.ConvTranspose2d) else name


def _chain(layers: list[nn.Module]) -> str:
    return "→".join(str(n) for n in [layers[0].in_channels, *(layer.out_channels for layer in layers)])


def _factor(call: _Call) -> float:
    """Return how much a layer enlarges; what an unpadded convolution cuts off does not count."""
    factor = call.y.shape[-2] / call.x.shape[-2]
    return factor if factor > 1.5 or factor < 0.67 else 1.0


def _box(call: _Call, level: float) -> Box:
    """Return the box of one call; level: resolution of its input relative to the model's."""
    layer, channels = call.layer, call.y.shape[1]
    common = {"shape": tuple(call.y.shape[1:]), "path": call.path}
    if isinstance(layer, str):
        return Box(layer, "activation", **common)
    common["parameters"] = sum(p.numel() for p in layer.parameters())
    if isinstance(layer, ACTIVATIONS):
        return Box(_activation(layer), "activation", **common)
    common["kind"] = "up" if _factor(call) > 1 else "high" if level > 1 else "low"
    if isinstance(layer, CONVOLUTIONS):
        stride = (f"stride {layer.stride[0]}",) if layer.stride[0] > 1 else ()
        return Box(f"conv {_kernel(layer)}", lines=(_chain([layer]), *stride), **common)
    inner = [module for module in layer.modules() if isinstance(module, CONVOLUTIONS)]
    lines = [layer.extra_repr()] if layer.extra_repr() else []
    if 0 < len(inner) <= 4:
        lines += [", ".join(_kernel(module) for module in inner), _chain(inner)]
    else:
        called = [c.layer for c in _run(layer, call.x)[0] if isinstance(c.layer, (str, *ACTIVATIONS))]
        names = ", ".join(name if isinstance(name, str) else _activation(name) for name in called)
        lines += [f"{len(inner)} convolutions"] if inner else [names] if names else []
        lines += [f"{call.x.shape[1]}→{channels}"] if call.x.shape[1] != channels else []
    return Box(type(layer).__name__, lines=tuple(lines), skip=_skip(layer, call.x), **common)


def _boxes(calls: list[_Call], level: float = 1.0) -> list[Box]:
    found = []
    for call in calls:
        found.append(_box(call, level))
        level *= _factor(call)
    return found


def _merge(boxes: list[Box]) -> list[Box]:
    """Write each activation into the box before it, or into the next where its Sequential begins with it."""
    merged: list[Box] = []
    waiting: list[Box] = []
    for box in boxes:
        if box.kind != "activation":
            parameters = box.parameters + sum(b.parameters for b in waiting)
            merged.append(replace(box, before=tuple(b.title for b in waiting), parameters=parameters))
            waiting = []
        elif merged and not waiting and not box.path.endswith(".0"):
            last = merged[-1]
            merged[-1] = replace(last, lines=(*last.lines, box.title), parameters=last.parameters + box.parameters)
        else:
            waiting.append(box)
    return merged + waiting


def _fold(boxes: list[Box]) -> list[Box]:
    """Count neighbours of one group that are equal but for the pixels that they cut off; the last one's shape stays."""

    def key(box: Box) -> tuple:
        return box.group, box.kind, box.text, box.shape[0]

    return [replace(same[-1], count=len(same)) for same in (list(run) for _, run in groupby(boxes, key))]


@dataclass(frozen=True)
class Anatomy:
    """A model or block from input to output. skip: what is added at the end. input, output: shapes (C, H, W)."""

    name: str
    boxes: tuple[Box, ...]
    skip: str | None
    input: tuple[int, int, int]
    output: tuple[int, int, int]
    parameters: int


def _anatomy(module: nn.Module, boxes: list[Box], x: Tensor, y: Tensor) -> Anatomy:
    parameters = sum(p.numel() for p in module.parameters())
    return Anatomy(type(module).__name__, tuple(boxes), _skip(module, x), tuple(x.shape[1:]), tuple(y.shape[1:]), parameters)


def _probe(module: nn.Module, channels: int, size: int) -> Tensor:
    probe = torch.rand(1, channels, size, size, generator=torch.Generator().manual_seed(0))
    return probe.to(next((p.device for p in module.parameters()), "cpu"))


def whole(model: nn.Module, lr_size: int = 48) -> Anatomy:
    """Return the stages of a model of `srlib.models`: activations written into their layers, equal blocks counted.

    lr_size: side of the LR image that goes through. Raises SRError for a model without layers.
    """
    lr = _probe(model, model.channels or 3, lr_size)
    calls, sr = _run(model, lr)
    if not calls:
        raise SRError(f"{type(model).__name__} has no layers to draw")
    before = _relation(lr, calls[0].x)
    if before in (None, "identity"):
        return _anatomy(model, _fold(_merge(_boxes(calls))), lr, sr)
    enlarged = Box(before, "up", tuple(calls[0].x.shape[1:]))
    return _anatomy(model, [enlarged, *_fold(_merge(_boxes(calls, model.scale)))], lr, sr)


def inside(block: nn.Module, size: int = 48) -> Anatomy:
    """Return the layers and activations of one block, a box each.

    size: side of the block's input; its channels are those of the first convolution. Raises SRError where there is none.
    """
    first = next((module for module in block.modules() if isinstance(module, CONVOLUTIONS)), None)
    if first is None:
        raise SRError(f"block {type(block).__name__} has no convolution to draw")
    x = _probe(block, first.in_channels, size) - 0.5
    calls, y = _run(block, x)
    return _anatomy(block, [replace(box, path="") for box in _boxes(calls)], x, y)
