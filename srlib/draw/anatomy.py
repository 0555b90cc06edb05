"""What a network is made of, found by running it: `whole(model)` and `inside(block)`.

Nothing is declared by hand. One forward pass with hooks and a `TorchFunctionMode` follows every tensor from the inputs to the
output: each layer that runs is a box, each sum of two of them a circle, and each box names the boxes that it takes. What
happens between two boxes without a layer (an enlargement, a crop, a factor) is found by comparing both ends, and labels the
way. A picture made of this shows what a network does, not what its author meant.

`nn.Sequential`, `nn.ModuleList` and modules that take several tensors are opened; any other module with its own forward is
one box. Equal neighbours become one box with a count; layers that are used again become a `Loop`.
"""

import inspect
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from srlib.core.errors import SRError
from srlib.draw.tracing import ENLARGEMENTS, Edge, Step, trace

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.Tanh, nn.Sigmoid, nn.ELU, nn.GELU, nn.SiLU)
SMALL = (*ACTIVATIONS, nn.BatchNorm2d)  # written into the box of the layer before
CROWD = 6  # boxes; in a block of more, activations are written into their layers


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
    boxes = list(_graph(layer, {"input": x}, "output").values())
    said = "" if isinstance(layer, (nn.Linear, nn.Flatten)) else layer.extra_repr()
    said = f"{layer.kernel_size}×{layer.kernel_size}" if isinstance(layer, nn.MaxPool2d) else said
    lines = [said] if said else []
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


def _graph(module: nn.Module, inputs: dict[str, Tensor], end: str) -> Graph:
    """Return the boxes of one forward pass, one for each layer, activation, sum, input and output."""
    steps, graph = trace(module, inputs, end), {}
    for i, step in enumerate(steps):
        first = step.inputs[0].source if step.inputs else i
        level = max((graph[edge.source].level for edge in step.inputs), default=step.y.shape[-1] / steps[0].y.shape[-1])
        graph[i] = _box(step, steps[first].y, level)
    for key in list(graph):
        box = graph[key]
        if not box.inputs and not _users(graph, key):
            del graph[key]  # an input that the module does not look at
        elif box.title.startswith(ENLARGEMENTS) and all(graph[user].kind == "sum" for user in _users(graph, key)):
            _drop(graph, key, box.inputs[0].source, box.title)  # only added: it labels the way
        elif box.title == "+" and [graph[user].title for user in _users(graph, key)] == ["+"]:
            (user,) = _users(graph, key)
            if Edge(key) in graph[user].inputs:  # a sum of sums is one
                rest = (edge for edge in graph[user].inputs if edge.source != key)
                graph[user] = replace(graph[user], inputs=(*box.inputs, *rest))
                del graph[key]
    return graph


def _users(graph: Graph, key: int) -> list[int]:
    return [user for user, box in graph.items() if any(edge.source == key for edge in box.inputs)]


def _drop(graph: Graph, key: int, source: int, label: str | None = None) -> None:
    """Take a box out; what took it takes `source` instead."""
    del graph[key]
    for user in _users(graph, key):
        inputs = tuple(
            Edge(source, f"{e.label or ''} {label or ''}".strip() or None) if e.source == key else e for e in graph[user].inputs
        )
        graph[user] = replace(graph[user], inputs=inputs)


def _merge(graph: Graph) -> None:
    """Write each activation into the box before it, or into the next where its Sequential begins with it."""
    for key in list(graph):
        box = graph[key]
        if box.kind != "activation" or len(box.inputs) != 1 or box.inputs[0].label:
            continue
        source, users, solid = box.inputs[0].source, _users(graph, key), ("low", "high", "up")
        if graph[source].kind in solid and not box.path.endswith(".0") and _users(graph, source) == [key]:
            host, written = source, {"lines": (*graph[source].lines, box.title), "shape": box.shape}
        elif len(users) == 1 and graph[users[0]].kind in (*solid, "activation"):
            host, written = users[0], {"before": (*box.before, box.title, *graph[users[0]].before)}
        else:
            continue
        graph[host] = replace(graph[host], parameters=graph[host].parameters + box.parameters, **written)
        _drop(graph, key, source)


def _fold(graph: Graph) -> None:
    """Count neighbours of one group that are equal but for the pixels that they cut off; the last one's shape stays."""
    for key in list(graph):
        box = graph[key]
        if len(box.inputs) != 1 or box.inputs[0].label:
            continue
        source = box.inputs[0].source
        last = graph[source]
        texts = [(one.group, one.kind, one.shape[0], replace(one, count=1).text) for one in (last, box)]
        if texts[0] == texts[1] and last.path != box.path and _users(graph, source) == [key]:
            graph[key] = replace(box, count=last.count + 1, inputs=last.inputs)
            del graph[source]


def _loop(graph: Graph) -> list[Loop]:
    """Find the first boxes that run again with the same weights; keep one run, or a box for each where the size changes."""
    keys = list(graph)
    names = [graph[key].path or graph[key].title for key in keys]
    for length in range(1, len(keys) // 2 + 1):
        for start in range(len(keys) - 2 * length + 1):
            count = 1
            while names[start + count * length :][:length] == names[start : start + length]:
                count += 1
            runs = [keys[start + run * length :][:length] for run in range(count)]
            if count > 1 and any(graph[key].parameters for key in runs[0]):
                same = graph[runs[0][-1]].shape == graph[runs[1][-1]].shape
                return _roll(graph, runs) if same else _unroll(graph, runs)
    return []


def _roll(graph: Graph, runs: list[list[int]]) -> list[Loop]:
    """Keep the first of equal runs; none where each takes something else from the run before or from outside."""
    first, length, count = runs[0], len(runs[0]), len(runs)

    def wiring(run: list[int], before: list[int]) -> list:
        place = dict(zip([*before, *run], range(-length, length), strict=True))  # below 0: in the run before
        return [[(place.get(e.source, f"box {e.source}"), e.label) for e in graph[key].inputs] for key in run]

    wirings = [wiring(run, before) for before, run in pairwise(runs)]
    if any(other != wirings[0] for other in wirings):
        return []
    taken = [(place, i) for i, slots in enumerate(wirings[0]) for place, _ in slots if place in range(-length, 0)]
    position = {key: i for run in runs for i, key in enumerate(run)}
    for key in [key for run in runs[1:] for key in run]:
        del graph[key]
    for key, box in graph.items():
        every = [edge for edge in box.inputs if edge.source in position and key not in position]
        label = f"all {count}, {every[0].label or ''}".strip(", ") if len(every) == count else None  # as the mean of all runs
        inputs = (Edge(first[position[e.source]], label or e.label) if e in every else e for e in box.inputs)
        graph[key] = replace(box, inputs=tuple(dict.fromkeys(inputs)))
    return [Loop(first[0], first[-1], count, tuple((first[place], first[i]) for place, i in dict.fromkeys(taken)))]


def _unroll(graph: Graph, runs: list[list[int]]) -> list[Loop]:
    """Make each run of a network on its own output one box; none where a run takes more than that."""
    sources = [{edge.source for key in run for edge in graph[key].inputs} - set(run) for run in runs]
    if any(source != {before[-1]} for source, before in zip(sources[1:], runs, strict=False)) or len(sources[0]) > 1:
        return []
    lines = []
    for box in (graph[key] for key in runs[0]):
        summands = " + ".join(graph[edge.source].group for edge in box.inputs)
        lines.append(summands if box.kind == "sum" else f"{box.group}: {', '.join((box.title, *box.lines[:1]))}")
    parameters = sum(graph[key].parameters for key in runs[0])
    for run, (source,) in zip(runs, sources, strict=True):
        result, again = graph[run[-1]], run is not runs[0]
        title, inputs = f"×{result.level / graph[source].level:g} network", (Edge(source, "sub-SR" if again else None),)
        graph[run[-1]] = Box(title, "up", result.shape, inputs, parameters, lines=tuple(lines), level=result.level, reused=again)
        for key in run[:-1]:
            del graph[key]
    return [Loop(runs[0][-1], runs[-1][-1], len(runs), title=title)]


def _anatomy(module: nn.Module, graph: Graph, named: bool) -> Anatomy:
    """Number the boxes anew; named: with the paths of the layers."""
    loops = _loop(graph)
    place, seen, boxes = {key: i for i, key in enumerate(graph)}, set(), []
    for box in graph.values():
        reused = box.reused or (bool(box.parameters) and box.path in seen)
        box = replace(box, parameters=0 if reused else box.parameters, reused=reused)
        seen |= {box.path} - {""}
        inputs = tuple(replace(edge, source=place[edge.source]) for edge in box.inputs)
        boxes.append(replace(box, inputs=inputs, path=box.path if named else ""))
    loops = [
        replace(one, first=place[one.first], last=place[one.last], back=tuple((place[a], place[b]) for a, b in one.back))
        for one in loops
    ]
    return Anatomy(type(module).__name__, tuple(boxes), tuple(loops), sum(p.numel() for p in module.parameters()))


def _probe(module: nn.Module, channels: int, size: int) -> Tensor:
    probe = torch.rand(1, channels, size, size, generator=torch.Generator().manual_seed(0))
    return probe.to(next((p.device for p in module.parameters()), "cpu"))


def whole(model: nn.Module, lr_size: int = 48) -> Anatomy:
    """Return the stages of a model of `srlib.nn.models`: activations written into their layers, equal blocks counted.

    lr_size: side of the LR image that goes through. Raises SRError for a model without layers.
    """
    if next(model.children(), None) is None:
        raise SRError(f"{type(model).__name__} has no layers to draw")
    graph = _graph(model, {"LR": _probe(model, model.channels or 3, lr_size)}, "SR")
    _merge(graph)
    _fold(graph)
    return _anatomy(model, graph, named=True)


def inside(block: nn.Module, size: int = 48, scale: int = 2) -> Anatomy:
    """Return the layers and activations of one block, a box each; of a long one, activations are written into their layers.

    size: side of the block's input; its channels are those of the first convolution. scale: how much smaller a discriminator's
    second input `lr` is. Raises SRError where there is no convolution, and for other inputs or outputs than one.
    """
    first = next((module for module in block.modules() if isinstance(module, CONVOLUTIONS)), None)
    if first is None:
        raise SRError(f"block {type(block).__name__} has no convolution to draw")
    names = list(inspect.signature(block.forward).parameters)
    if names[1:] not in ([], ["lr"]):
        taken = ", ".join(names)
        raise SRError(f"block {type(block).__name__} takes {taken}, expected one input and perhaps `lr`; draw its model")
    sizes = {names[0]: size, "lr": size // scale} if names[1:] else {"input": size}
    graph = _graph(block, {name: _probe(block, first.in_channels, side) - 0.5 for name, side in sizes.items()}, "output")
    if sum(box.kind not in ("image", "sum") for box in graph.values()) > CROWD:
        _merge(graph)
    return _anatomy(block, graph, named=False)
