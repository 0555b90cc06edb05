"""Boxes of a drawing, found by running a module: `build_graph` makes one per layer, activation, sum, input and output."""

from dataclasses import dataclass, replace

from torch import Tensor, nn

from srlib.draw.tracing import ENLARGEMENTS, Edge, Step, trace

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.Tanh, nn.Sigmoid, nn.ELU, nn.GELU, nn.SiLU)
SMALL = (*ACTIVATIONS, nn.BatchNorm2d)  # written into the box of the layer before


@dataclass(frozen=True)
class Box:
    """One box. before, title, lines: its text, the title bold. shape: (C, H, W) of its output. inputs: what it takes.

    kind: "low" or "high" resolution, "up" for what enlarges, "activation", "sum", or "image": an input, an output, or an image
    between. path: of the layer in its module. level: resolution of the output relative to the first input's. count: equal
    boxes in a row. reused: its weights are those of an earlier box.
    """

    title: str
    kind: str
    shape: tuple[int, ...]
    inputs: tuple[Edge, ...] = ()
    parameters: int = 0
    before: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    path: str = ""
    level: float = 1.0
    count: int = 1
    reused: bool = False

    @property
    def group(self) -> str:
        """The attribute that the layer belongs to: "low" for "low.3"."""
        return self.path.rstrip("0123456789.")

    @property
    def text(self) -> list[str]:
        times = f"{self.count} × " if self.count > 1 else ""
        parameters = [f"{times}{self.parameters:,} param{'s' * (self.parameters > 1)}"] if self.parameters else []
        return [*self.before, times + self.title, *self.lines, *(["the same weights"] if self.reused else parameters)]


@dataclass(frozen=True)
class Loop:
    """Boxes `first` to `last` run `count` times with the same weights, as often as drawn where they have a title.

    back: (source, target), what a run hands to the next.
    """

    first: int
    last: int
    count: int
    back: tuple[tuple[int, int], ...] = ()
    title: str = ""


@dataclass(frozen=True)
class Anatomy:
    """A model or block: its boxes from the inputs to the output, each behind those that it takes."""

    name: str
    boxes: tuple[Box, ...]
    loops: tuple[Loop, ...]
    parameters: int


def _kernel(layer: nn.Module) -> str:
    name = "×".join(str(k) for k in layer.kernel_size)
    return f"{name} transposed" if isinstance(layer, nn.ConvTranspose2d) else name


def _chain(layers: list[nn.Module]) -> str:
    return "→".join(str(n) for n in [layers[0].in_channels, *(layer.out_channels for layer in layers)])


def _small(layer: nn.Module | str) -> str:
    name = layer if isinstance(layer, str) else f"{type(layer).__name__} {getattr(layer, 'negative_slope', '')}"
    return name.replace("BatchNorm2d", "BatchNorm").strip()


def _factor(x: Tensor, y: Tensor) -> float:
    """Return how much a layer enlarges; what an unpadded convolution cuts off does not count."""
    factor = y.shape[-2] / x.shape[-2] if x.ndim == y.ndim == 4 else 1.0
    return factor if factor > 1.5 or factor < 0.67 else 1.0


def _skips(boxes: list[Box]) -> list[str]:
    """Return what the sums in a box add: "+ identity" where one adds its input."""
    sums = [box for box in boxes if box.kind == "sum"]
    given = [edge.label or "identity" for box in sums for edge in box.inputs if edge.source == 0]
    if len(sums) == 1 and given:
        return [f"+ {given[0]}"]
    if len(given) == len(sums):
        return [f"+ input, {len(sums)} times"] if sums else []
    return ["1 skip" if len(sums) == 1 else f"{len(sums)} skips"]


def _composite(layer: nn.Module, x: Tensor, y: Tensor) -> tuple[str, ...]:
    """Return the lines of a module with its own forward: its repr, convolutions or activations, channels and skips."""
    inner = [module for module in layer.modules() if isinstance(module, CONVOLUTIONS)]
    boxes = list(build_graph(layer, {"input": x}, "output").values())
    arguments = "" if isinstance(layer, (nn.Linear, nn.Flatten)) else layer.extra_repr()
    arguments = f"{layer.kernel_size}×{layer.kernel_size}" if isinstance(layer, nn.MaxPool2d) else arguments
    lines = [arguments] if arguments else []
    if 0 < len(inner) <= 4:
        lines += [", ".join(_kernel(module) for module in inner), _chain(inner)]
    else:
        names = ", ".join(box.title for box in boxes if box.kind == "activation" and box.title != "mul")
        lines += [f"{len(inner)} convolutions"] if inner else [names] if names else []
        lines += [f"{x.shape[1]}→{y.shape[1]}"] if x.shape[1] != y.shape[1] else []
    return (*lines, *_skips(boxes))


def _box(step: Step, x: Tensor, level: float) -> Box:
    """Return the box of one step; x, level: its input, and how large that is relative to the model's."""
    layer, factor = step.layer, _factor(x, step.y)
    common = {"shape": tuple(step.y.shape[1:]), "inputs": step.inputs, "path": step.path, "level": level * factor}
    if step.kind != "layer":
        return Box(str(layer), step.kind, **common)
    common["kind"] = "up" if factor > 1 else "high" if level > 1 else "low"
    if isinstance(layer, str):
        return Box(layer, **common)
    common["parameters"] = sum(p.numel() for p in layer.parameters())
    if isinstance(layer, SMALL):
        return Box(_small(layer), **{**common, "kind": "activation"})
    if isinstance(layer, CONVOLUTIONS):
        stride = (f"stride {layer.stride[0]}",) if layer.stride[0] > 1 else ()
        kernel, *transposed = _kernel(layer).split()
        return Box(f"conv {kernel}", lines=(*transposed, _chain([layer]), *stride), **common)
    return Box(type(layer).__name__, lines=_composite(layer, x, step.y), **common)


Graph = dict[int, Box]  # in the order of execution; the edges name the keys


def build_graph(module: nn.Module, inputs: dict[str, Tensor], end: str) -> Graph:
    """Return the boxes of one forward pass, one for each layer, activation, sum, input and output."""
    steps, graph = trace(module, inputs, end), {}
    for i, step in enumerate(steps):
        first = step.inputs[0].source if step.inputs else i
        level = max((graph[edge.source].level for edge in step.inputs), default=step.y.shape[-1] / steps[0].y.shape[-1])
        graph[i] = _box(step, steps[first].y, level)
    for key in list(graph):
        box = graph[key]
        if not box.inputs and not users_of(graph, key):
            del graph[key]  # an input that the module does not look at
        elif box.title.startswith(ENLARGEMENTS) and all(graph[user].kind == "sum" for user in users_of(graph, key)):
            drop_box(graph, key, box.inputs[0].source, box.title)  # only added: it labels the way
        elif box.title == "+" and [graph[user].title for user in users_of(graph, key)] == ["+"]:
            (user,) = users_of(graph, key)
            if Edge(key) in graph[user].inputs:  # a sum of sums is one
                rest = (edge for edge in graph[user].inputs if edge.source != key)
                graph[user] = replace(graph[user], inputs=(*box.inputs, *rest))
                del graph[key]
    return graph


def users_of(graph: Graph, key: int) -> list[int]:
    return [user for user, box in graph.items() if any(edge.source == key for edge in box.inputs)]


def drop_box(graph: Graph, key: int, source: int, label: str | None = None) -> None:
    """Take a box out; what took it takes `source` instead."""
    del graph[key]
    for user in users_of(graph, key):
        inputs = tuple(
            Edge(source, f"{e.label or ''} {label or ''}".strip() or None) if e.source == key else e for e in graph[user].inputs
        )
        graph[user] = replace(graph[user], inputs=inputs)
