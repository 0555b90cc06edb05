"""Boxes of a diagram, found by running a module: `trace` makes one per layer, activation, sum, input and output.

Hooks see the layers, a `TorchFunctionMode` what happens between them. What has no layer (an enlargement, a crop, a factor) is
named by comparing the tensors at both ends, and labels the way.
"""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from srlib.core.errors import SRError
from srlib.nn.bicubic import upsample_bicubic

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.Tanh, nn.Sigmoid, nn.ELU, nn.GELU, nn.SiLU)
CALLS = {F.relu: "ReLU", F.leaky_relu: "LeakyReLU", torch.relu: "ReLU", torch.tanh: "Tanh", torch.sigmoid: "Sigmoid"}
SIGNS = {"add": "+", "sub": "−", "mul": "×", "div": "÷", "truediv": "÷"}
ENLARGEMENTS = ("bicubic", "nearest")


@dataclass(eq=False)
class Box:
    """One box: what it is, and where a layout has put it.

    title: bold; `before` and `lines` stand around it. kind: "low" or "high" resolution, "up" for what enlarges, "activation",
    "sum", or "image": an input or output. shape: (C, H, W) of its output. path: of the layer in its module. level: resolution of
    the output relative to the first input's. count: equal boxes in a row. reused: its weights are those of an earlier box.
    x, y: centre in inches, y upwards. roof, floor: of its row, names above included.
    """

    title: str
    kind: str
    shape: tuple[int, ...]
    inputs: "list[Edge]" = field(default_factory=list)
    parameters: int = 0
    before: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    path: str = ""
    level: float = 1.0
    count: int = 1
    reused: bool = False
    column: int = 0
    row: int = 0
    line: int = 0
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0
    height: float = 0.0
    roof: float = 0.0
    floor: float = 0.0

    @property
    def group(self) -> str:
        """The attribute that the layer belongs to: "low" for "low.3"."""
        return self.path.rstrip("0123456789.")

    @property
    def text(self) -> list[str]:
        times = f"{self.count} × " if self.count > 1 else ""
        parameters = [f"{times}{self.parameters:,} param{'s' * (self.parameters > 1)}"] if self.parameters else []
        return [*self.before, times + self.title, *self.lines, *(["the same weights"] if self.reused else parameters)]

    @property
    def left(self) -> float:
        return self.x - self.width / 2

    @property
    def right(self) -> float:
        return self.x + self.width / 2

    @property
    def top(self) -> float:
        return self.y + self.height / 2


class Edge(NamedTuple):
    """What a box takes: another box, and what happens on the way, such as "bicubic ×2"."""

    source: Box
    label: str = ""


def edges_of(boxes: list[Box]) -> list[tuple[Edge, Box]]:
    """Return each edge between boxes with the box that it leads to."""
    return [(edge, box) for box in boxes for edge in box.inputs]


def users_of(boxes: list[Box], box: Box) -> list[Box]:
    """Return the boxes that a box has an edge to."""
    return [user for user in boxes if any(edge.source is box for edge in user.inputs)]


def drop_box(boxes: list[Box], box: Box, label: str = "") -> None:
    """Take a box out; what took it takes its input instead, with one more label on the way."""
    boxes.remove(box)
    for user in users_of(boxes, box):
        for i, edge in enumerate(user.inputs):
            if edge.source is box:
                user.inputs[i] = Edge(box.inputs[0].source, f"{edge.label} {label}".strip())


class _Recorder(TorchFunctionMode):
    """Follow tensors: `values` says of each from which box it comes, and by which operations that are no box."""

    def __init__(self, module: nn.Module, inputs: dict[str, Tensor]):
        super().__init__()
        self.boxes: list[Box] = []
        self.layers: list[tuple[Box, nn.Module, Tensor]] = []  # with their inputs
        self.values: dict[int, tuple[Tensor, Box, tuple[str, ...]]] = {}  # the tensor too: an id is good while it lives
        self.outputs: dict[Box, Tensor] = {}
        self.names = {id(value): name for name, value in [*module.named_buffers(), *module.named_parameters()]}
        self.inside = 0
        for name, x in inputs.items():
            self.add(name, "image", x, [])
        self.paths = {layer: path for path, layer in _layers(module)}
        self.handles = [layer.register_forward_pre_hook(self._enter) for layer in self.paths]
        self.handles += [layer.register_forward_hook(self._leave) for layer in self.paths]

    def add(self, title: str, kind: str, y: Tensor, inputs: list[Edge], path: str = "") -> Box:
        """Add a box; kind "layer": by where it stands and what it does to the size."""
        factor = 1.0
        if inputs and y.ndim == len(inputs[0].source.shape) + 1 == 4:
            factor = y.shape[-2] / inputs[0].source.shape[-2]
            factor = factor if factor > 1.5 or factor < 0.67 else 1.0  # what an unpadded convolution cuts off does not count
        first = self.boxes[0].shape[-1] if self.boxes else y.shape[-1]
        level = max((edge.source.level for edge in inputs), default=y.shape[-1] / first)
        if kind == "layer":
            kind = "up" if factor > 1 else "high" if level > 1 else "low"
        box = Box(title, kind, tuple(y.shape[1:]), inputs, path=path, level=level * factor)
        self.boxes.append(box)
        self.values[id(y)], self.outputs[box] = (y, box, ()), y
        return box

    def edge(self, x: Tensor) -> Edge:
        """Return where `x` comes from; an enlargement on the way becomes a box."""
        _, source, operations = self.values[id(x)]
        if not operations:
            return Edge(source)
        label = _relation(self.outputs[source], x) or ", ".join(dict.fromkeys(operations))
        if label.startswith(ENLARGEMENTS):
            return Edge(self.add(label, "layer", x, [Edge(source)]))
        return Edge(source, "" if label == "identity" else label)

    def _enter(self, layer: nn.Module, inputs: tuple) -> None:
        self.inside += 1

    def _leave(self, layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        self.inside -= 1
        if not self.inside:
            box = self.add(type(layer).__name__, "layer", output, [self.edge(inputs[0])], self.paths[layer])
            self.layers.append((box, layer, inputs[0]))

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if self.inside:
            return result
        flat = [x for arg in (*args, *kwargs.values()) for x in (arg if isinstance(arg, (tuple, list)) else [arg])]
        known = [x for x in flat if isinstance(x, Tensor) and id(x) in self.values]
        for y in result if isinstance(result, (tuple, list)) else [result]:
            if known and isinstance(y, Tensor):
                self._call(func, args, kwargs, known, y)
        return result

    def _call(self, func, args: tuple, kwargs: dict, known: list[Tensor], y: Tensor) -> None:
        sources = {self.values[id(x)][1] for x in known}
        name = func.__name__.strip("_").removeprefix("i" if func.__name__.startswith("__i") else "")  # add of __iadd__
        sign = SIGNS.get(name.removeprefix("r"), "")
        if func in CALLS:
            slope = args[1] if len(args) > 1 else kwargs.get("negative_slope", "")
            self.add(f"{CALLS[func]} {slope}".strip(), "activation", y, [self.edge(known[0])])
        elif len(sources) > 1:
            edges = [self.edge(x) for x in known]
            if sign == "−":
                edges[1] = Edge(edges[1].source, f"− {edges[1].label}".strip())
            self.add("+" if sign in ("+", "−") else name, "sum" if sign in ("+", "−") else "activation", y, edges)
        elif id(y) not in self.values:
            _, source, operations = self.values[id(known[0])]
            other = next((x for x in args if x is not known[0]), None)
            operand = self.names.get(id(other), "constant") if isinstance(other, Tensor) else other
            text = "weighted" if sign == "×" and isinstance(other, Tensor) else f"{sign} {operand}" if sign else name
            self.values[id(y)] = (y, source, operations if text == "+ 0" else (*operations, text))


def _layers(module: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield what becomes a box: containers and modules that take several tensors are opened."""
    for name, child in module.named_children():
        inner = f"{path}.{name}".strip(".")
        several = len(inspect.signature(child.forward).parameters) > 1 and next(child.children(), None)
        if several or isinstance(child, (nn.Sequential, nn.ModuleList)):
            yield from _layers(child, inner)
        else:
            yield inner, child


def _relation(x: Tensor, y: Tensor) -> str:
    """Say how `y` comes from `x`: "identity", "identity, cropped", "nearest ×2", "bicubic ×2", or nothing."""
    if x.ndim != 4 or y.ndim != 4 or x.shape[1] != y.shape[1]:
        return ""
    (height, width), (h, w) = x.shape[-2:], y.shape[-2:]
    if h <= height and w <= width:
        top, left = (height - h) // 2, (width - w) // 2
        same = torch.allclose(x[..., top : top + h, left : left + w], y, atol=1e-5)
        return ("identity" if x.shape == y.shape else "identity, cropped") if same else ""
    factor = h // height
    for name, larger in (("nearest", F.interpolate(x, scale_factor=factor)), ("bicubic", upsample_bicubic(x, factor))):
        if larger.shape == y.shape and torch.allclose(larger, y, atol=1e-5):
            return f"{name} ×{factor}"
    return ""


def _kernel(layer: nn.Module) -> str:
    return "×".join(str(k) for k in layer.kernel_size) + " transposed" * isinstance(layer, nn.ConvTranspose2d)


def _chain(layers: list[nn.Module]) -> str:
    return "→".join(str(n) for n in [layers[0].in_channels, *(layer.out_channels for layer in layers)])


def _describe(box: Box, layer: nn.Module, x: Tensor) -> None:
    """Write into a box what its layer is, by its type, or for a module with its own forward by what is inside."""
    box.parameters = sum(p.numel() for p in layer.parameters())
    if isinstance(layer, (*ACTIVATIONS, nn.BatchNorm2d)):
        box.kind = "activation"
        box.title = f"{box.title.replace('BatchNorm2d', 'BatchNorm')} {getattr(layer, 'negative_slope', '')}".strip()
        return
    if isinstance(layer, CONVOLUTIONS):
        kernel, *transposed = _kernel(layer).split()
        box.title = f"conv {kernel}"
        box.lines = [*transposed, _chain([layer]), *([f"stride {layer.stride[0]}"] if layer.stride[0] > 1 else [])]
        return
    inner = [module for module in layer.modules() if isinstance(module, CONVOLUTIONS)]
    boxes = trace(layer, {"input": x}, "output")
    if isinstance(layer, nn.MaxPool2d):
        box.lines.append(f"{layer.kernel_size}×{layer.kernel_size}")
    elif layer.extra_repr() and not isinstance(layer, (nn.Linear, nn.Flatten)):
        box.lines.append(layer.extra_repr())
    if 0 < len(inner) <= 4:
        box.lines += [", ".join(_kernel(module) for module in inner), _chain(inner)]
    else:
        names = ", ".join(b.title for b in boxes if b.kind == "activation" and b.title != "mul")
        box.lines += [f"{len(inner)} convolutions"] if inner else [names] if names else []
        box.lines += [f"{x.shape[1]}→{box.shape[0]}"] if x.shape[1] != box.shape[0] else []
    sums = [b for b in boxes if b.kind == "sum"]
    skips = [edge.label or "identity" for b in sums for edge in b.inputs if edge.source is boxes[0]]
    if len(sums) == 1:
        box.lines.append(f"+ {skips[0]}" if skips else "1 skip")
    elif sums:
        box.lines.append(f"+ input, {len(sums)} times" if len(skips) == len(sums) else f"{len(sums)} skips")


@torch.no_grad()
def trace(module: nn.Module, inputs: dict[str, Tensor], end: str) -> list[Box]:
    """Return the boxes of one forward pass in the order of execution; the last one is the output, named `end`."""
    recorder, training = _Recorder(module, inputs), module.training
    try:
        with recorder:
            y = module.eval()(*inputs.values())
        if not isinstance(y, Tensor):
            raise SRError(f"{type(module).__name__} returns a {type(y).__name__}, expected one tensor; draw its model")
        recorder.add(end, "image", y, [recorder.edge(y)])
    finally:
        module.train(training)
        for handle in recorder.handles:
            handle.remove()
    for box, layer, x in recorder.layers:
        _describe(box, layer, x)
    boxes = recorder.boxes
    for box in list(boxes):
        users = users_of(boxes, box)
        if not box.inputs and not users:
            boxes.remove(box)  # an input that the module does not look at
        elif box.title.startswith(ENLARGEMENTS) and all(user.kind == "sum" for user in users):
            drop_box(boxes, box, box.title)  # only added: it labels the way
        elif box.title == "+" and [user.title for user in users] == ["+"] and Edge(box) in users[0].inputs:
            users[0].inputs = [*box.inputs, *(edge for edge in users[0].inputs if edge.source is not box)]  # a sum of sums is one
            boxes.remove(box)
    return boxes
