"""What a network is made of, found by running it: `whole(model)` and `inside(block)`.

Nothing is declared by hand. One forward pass with hooks and a `TorchFunctionMode` follows every tensor from the inputs to the
output: each layer that runs is a box, each sum of two of them a circle, and each box names the boxes that it takes. What
happens between two boxes without a layer (an enlargement, a crop, a factor) is found by comparing both ends, and labels the
way. A picture made of this shows what a network does, not what its author meant.

`nn.Sequential`, `nn.ModuleList` and modules that take several tensors are opened; any other module with its own forward is
one box. Equal neighbours become one box with a count; layers that are used again become a `Loop`.
"""

import inspect
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from srlib.core.errors import SRError
from srlib.draw.boxes import CONVOLUTIONS, Anatomy, Box, Graph, Loop, build_graph, drop_box, users_of
from srlib.draw.tracing import Edge

CROWD = 6  # boxes; in a block of more, activations are written into their layers


def _merge(graph: Graph) -> None:
    """Write each activation into the box before it, or into the next where its Sequential begins with it."""
    for key in list(graph):
        box = graph[key]
        if box.kind != "activation" or len(box.inputs) != 1 or box.inputs[0].label:
            continue
        source, users, solid = box.inputs[0].source, users_of(graph, key), ("low", "high", "up")
        if graph[source].kind in solid and not box.path.endswith(".0") and users_of(graph, source) == [key]:
            host, written = source, {"lines": (*graph[source].lines, box.title), "shape": box.shape}
        elif len(users) == 1 and graph[users[0]].kind in (*solid, "activation"):
            host, written = users[0], {"before": (*box.before, box.title, *graph[users[0]].before)}
        else:
            continue
        graph[host] = replace(graph[host], parameters=graph[host].parameters + box.parameters, **written)
        drop_box(graph, key, source)


def _fold(graph: Graph) -> None:
    """Count neighbours of one group that are equal but for the pixels that they cut off; the last one's shape stays."""
    for key in list(graph):
        box = graph[key]
        if len(box.inputs) != 1 or box.inputs[0].label:
            continue
        source = box.inputs[0].source
        last = graph[source]
        texts = [(b.group, b.kind, b.shape[0], replace(b, count=1).text) for b in (last, box)]
        if texts[0] == texts[1] and last.path != box.path and users_of(graph, source) == [key]:
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
        replace(loop, first=place[loop.first], last=place[loop.last], back=tuple((place[a], place[b]) for a, b in loop.back))
        for loop in loops
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
    graph = build_graph(model, {"LR": _probe(model, model.channels or 3, lr_size)}, "SR")
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
    graph = build_graph(block, {name: _probe(block, first.in_channels, side) - 0.5 for name, side in sizes.items()}, "output")
    if sum(box.kind not in ("image", "sum") for box in graph.values()) > CROWD:
        _merge(graph)
    return _anatomy(block, graph, named=False)
