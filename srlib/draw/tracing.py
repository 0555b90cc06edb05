"""Follow tensors through a network: which layers run on what, one forward pass, nothing declared by hand.

Hooks see the layers, a `TorchFunctionMode` sees what happens between them. What has no layer (an enlargement, a crop, a
factor) is named by comparing the tensors at both ends.
"""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from srlib.core.errors import SRError
from srlib.nn.bicubic import upsample_bicubic

CALLS = {F.relu: "ReLU", F.leaky_relu: "LeakyReLU", torch.relu: "ReLU", torch.tanh: "Tanh", torch.sigmoid: "Sigmoid"}
SIGNS = {"add": "+", "sub": "−", "mul": "×", "div": "÷", "truediv": "÷"}
ENLARGEMENTS = ("bicubic", "nearest")


@dataclass(frozen=True)
class Edge:
    """What a box takes: `source`, the index of another box, and what happens on the way, "bicubic ×2"; None for nothing."""

    source: int
    label: str | None = None


@dataclass(frozen=True)
class Step:
    """One use of a layer; layer: the module, or the name of what is none ("LR", "+", "ReLU", "bicubic ×2")."""

    layer: nn.Module | str
    kind: str
    y: Tensor
    inputs: tuple[Edge, ...] = ()
    path: str = ""


class _Recorder(TorchFunctionMode):
    """Follow tensors: `values` says of each from which step it comes, and by which operations that are no step."""

    def __init__(self, module: nn.Module, inputs: dict[str, Tensor]):
        super().__init__()
        self.steps: list[Step] = []
        self.values: dict[int, tuple[Tensor, int, tuple[str, ...]]] = {}  # the tensor too: an id is good while it lives
        self.inside, self.handles = 0, []
        for name, x in inputs.items():
            self._add(Step(name, "image", x))
        for unit, path in {unit: path for path, unit in units(module)}.items():
            self.handles.append(unit.register_forward_pre_hook(self._enter))
            self.handles.append(unit.register_forward_hook(lambda *seen, path=path: self._leave(path, *seen)))

    def _add(self, step: Step) -> None:
        self.values[id(step.y)] = (step.y, len(self.steps), ())
        self.steps.append(step)

    def edge(self, x: Tensor) -> Edge:
        """Return where `x` comes from; an enlargement on the way becomes a step."""
        _, source, operations = self.values[id(x)]
        if not operations:
            return Edge(source)
        label = _relation(self.steps[source].y, x) or ", ".join(dict.fromkeys(operations))
        if not label.startswith(ENLARGEMENTS):
            return Edge(source, None if label == "identity" else label)
        self._add(Step(label, "layer", x, (Edge(source),)))
        return Edge(len(self.steps) - 1)

    def _enter(self, layer: nn.Module, inputs: tuple) -> None:
        self.inside += 1

    def _leave(self, path: str, layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        self.inside -= 1
        if not self.inside:
            self._add(Step(layer, "layer", output, (self.edge(inputs[0]),), path))

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
        name = func.__name__.strip("_").removeprefix("i" if func.__name__.startswith("__i") else "")
        sign = SIGNS.get(name.removeprefix("r"), "")
        if func in CALLS:
            slope = args[1] if len(args) > 1 else kwargs.get("negative_slope", "")
            self._add(Step(f"{CALLS[func]} {slope}".strip(), "activation", y, (self.edge(known[0]),)))
        elif len(sources) > 1 and sign in ("+", "−"):
            edges = [self.edge(x) for x in known]
            if sign == "−":
                edges[1] = replace(edges[1], label=f"− {edges[1].label or ''}".strip())
            self._add(Step("+", "sum", y, tuple(edges)))
        elif len(sources) > 1:
            self._add(Step(name, "activation", y, tuple(self.edge(x) for x in known)))
        elif id(y) not in self.values:
            _, source, operations = self.values[id(known[0])]
            other = next((x for x in args if x is not known[0]), None)
            text = "weighted" if sign == "×" and isinstance(other, Tensor) else f"{sign} {other}" if sign else name
            self.values[id(y)] = (y, source, operations if text == "+ 0" else (*operations, text))


def units(module: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    for name, child in module.named_children():
        inner = f"{path}.{name}".strip(".")
        several = len(inspect.signature(child.forward).parameters) > 1 and next(child.children(), None)
        if several or isinstance(child, (nn.Sequential, nn.ModuleList)):
            yield from units(child, inner)
        else:
            yield inner, child


@torch.no_grad()
def trace(module: nn.Module, inputs: dict[str, Tensor], end: str) -> list[Step]:
    """Return the steps of one forward pass; the last one is the output, named `end`."""
    recorder, training = _Recorder(module, inputs), module.training
    try:
        with recorder:
            y = module.eval()(*inputs.values())
        if not isinstance(y, Tensor):
            raise SRError(f"{type(module).__name__} returns a {type(y).__name__}, expected one tensor; draw its model")
        last = recorder.edge(y)  # may add a step
        return [*recorder.steps, Step(end, "image", y, (last,))]
    finally:
        module.train(training)
        for handle in recorder.handles:
            handle.remove()


def _relation(x: Tensor, y: Tensor) -> str | None:
    """Say how `y` comes from `x`: "identity", "identity, cropped", "nearest ×2", "bicubic ×2", or None."""
    if x.ndim != 4 or y.ndim != 4 or x.shape[1] != y.shape[1]:
        return None
    (height, width), (h, w) = x.shape[-2:], y.shape[-2:]
    if h <= height and w <= width:
        top, left = (height - h) // 2, (width - w) // 2
        same = torch.allclose(x[..., top : top + h, left : left + w], y, atol=1e-5)
        return ("identity" if x.shape == y.shape else "identity, cropped") if same else None
    factor = h // height
    for name, larger in (("nearest", F.interpolate(x, scale_factor=factor)), ("bicubic", upsample_bicubic(x, factor))):
        if larger.shape == y.shape and torch.allclose(larger, y, atol=1e-5):
            return f"{name} ×{factor}"
    return None
