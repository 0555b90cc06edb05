"""What a network is made of, found by running it: `whole(model)` and `inside(block)`.

One forward pass follows every tensor from the inputs to the output (`tracing`), so that a diagram shows what a network does.
`nn.Sequential`, `nn.ModuleList` and modules that take several tensors are opened; any other module with its own forward is
one box. Equal neighbours become one box with a count; layers that are used again become a `Loop`.
"""

import inspect
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from srlib.core.errors import SRError
from srlib.draw.tracing import CONVOLUTIONS, Box, Edge, drop_box, trace, users_of
from srlib.nn.models import device_of

LONG_BLOCK = 6  # boxes; in a block of more, activations are written into their layers


class Loop(NamedTuple):
    """Boxes that run `count` times with the same weights, as often as drawn where they have a title.

    back: (source, target), what a run hands to the next.
    """

    boxes: list[Box]
    count: int
    back: list[tuple[Box, Box]]
    title: str = ""


class Anatomy(NamedTuple):
    """A model or block: its boxes from the inputs to the output, each behind those that it takes."""

    name: str
    parameters: int
    boxes: list[Box]
    loops: list[Loop]


def _merge(boxes: list[Box]) -> None:
    """Write each activation into the box before it, or into the next where its Sequential begins with it."""
    solid = ("low", "high", "up")
    for box in list(boxes):
        if box.kind != "activation" or len(box.inputs) != 1 or box.inputs[0].label:
            continue
        source, users = box.inputs[0].source, users_of(boxes, box)
        if source.kind in solid and not box.path.endswith(".0") and users_of(boxes, source) == [box]:
            host = source
            host.lines.append(box.title)
            host.shape = box.shape
        elif len(users) == 1 and users[0].kind in (*solid, "activation"):
            host = users[0]
            host.before = [*box.before, box.title, *host.before]
        else:
            continue
        host.parameters += box.parameters
        drop_box(boxes, box)


def _fold(boxes: list[Box]) -> None:
    """Count neighbours of one group that are equal but for the pixels that they cut off; the last one's shape stays."""
    for box in list(boxes):
        if len(box.inputs) == 1 and not box.inputs[0].label:
            last = box.inputs[0].source
            texts = [(b.group, b.kind, b.shape[0], b.title, b.before, b.lines, b.parameters) for b in (last, box)]
            if texts[0] == texts[1] and last.path != box.path and users_of(boxes, last) == [box]:
                box.count, box.inputs = last.count + 1, last.inputs
                boxes.remove(last)


def _find_loop(boxes: list[Box]) -> list[Loop]:
    """Find the first boxes that run again with the same weights; keep one run, or a box for each where the size changes."""
    names = [box.path or box.title for box in boxes]
    for length in range(1, len(boxes) // 2 + 1):
        for start in range(len(boxes) - 2 * length + 1):
            count = 1
            while names[start + count * length :][:length] == names[start : start + length]:
                count += 1
            runs = [boxes[start + run * length :][:length] for run in range(count)]
            if count > 1 and any(box.parameters for box in runs[0]):
                return (_roll if runs[0][-1].shape == runs[1][-1].shape else _unroll)(boxes, runs)
    return []


def _roll(boxes: list[Box], runs: list[list[Box]]) -> list[Loop]:
    """Keep the first of equal runs; none where each takes something else from the run before or from outside."""
    first, count = runs[0], len(runs)

    def wiring(before: list[Box], run: list[Box]) -> list:
        place = {box: i - len(run) for i, box in enumerate([*before, *run])}  # below 0: in the run before
        return [[(place.get(edge.source, edge.source), edge.label) for edge in box.inputs] for box in run]

    wirings = [wiring(*pair) for pair in pairwise(runs)]
    if any(other != wirings[0] for other in wirings):
        return []
    back = [(first[i], box) for box, taken in zip(first, wirings[0], strict=True) for i, _ in taken if i in range(-len(first), 0)]
    original = {box: first[i] for run in runs for i, box in enumerate(run)}
    boxes[:] = [box for box in boxes if original.get(box, box) is box]
    for box in boxes:
        taken = [edge for edge in box.inputs if edge.source in original and box not in first]
        label = f"all {count}, {taken[0].label}".strip(", ") if len(taken) == count else ""  # as the mean of all runs
        edges = (Edge(original.get(e.source, e.source), label if label and e in taken else e.label) for e in box.inputs)
        box.inputs = list(dict.fromkeys(edges))
    return [Loop(first, count, list(dict.fromkeys(back)))]


def _unroll(boxes: list[Box], runs: list[list[Box]]) -> list[Loop]:
    """Make each run of a network on its own output one box; none where a run takes more than that."""
    sources = [{edge.source for box in run for edge in box.inputs} - set(run) for run in runs]
    if any(taken != {before[-1]} for taken, before in zip(sources[1:], runs, strict=False)) or len(sources[0]) > 1:
        return []
    lines = []
    for box in runs[0]:
        summands = " + ".join(edge.source.group for edge in box.inputs)
        lines.append(summands if box.kind == "sum" else f"{box.group}: {', '.join((box.title, *box.lines[:1]))}")
    parameters = sum(box.parameters for box in runs[0])
    for run, (source,) in zip(runs, sources, strict=True):
        last, reused = run[-1], run is not runs[0]
        last.title, last.kind, last.lines, last.reused = f"×{last.level / source.level:g} network", "up", lines, reused
        last.parameters, last.inputs = parameters, [Edge(source, "sub-SR" if reused else "")]
        boxes[:] = [box for box in boxes if box not in run[:-1]]
    results = [run[-1] for run in runs]
    return [Loop(results, len(runs), [], results[0].title)]


def _anatomy(module: nn.Module, boxes: list[Box], named: bool) -> Anatomy:
    """named: with the paths of the layers."""
    loops, seen = _find_loop(boxes), set()
    for box in boxes:
        box.reused |= bool(box.parameters) and box.path in seen
        seen |= {box.path} - {""}
        box.parameters *= not box.reused
        box.path *= named
    return Anatomy(type(module).__name__, sum(p.numel() for p in module.parameters()), boxes, loops)


def _probe(module: nn.Module, channels: int, size: int) -> Tensor:
    probe = torch.rand(1, channels, size, size, generator=torch.Generator().manual_seed(0))
    return probe.to(device_of(module))


def whole(model: nn.Module, lr_size: int = 48) -> Anatomy:
    """Return the stages of a model of `srlib.nn.models`: activations written into their layers, equal blocks counted.

    lr_size: side of the LR image that goes through. Raises SRError for a model without layers.
    """
    if next(model.children(), None) is None:
        raise SRError(f"{type(model).__name__} has no layers to draw")
    boxes = trace(model, {"LR": _probe(model, model.channels or 3, lr_size)}, "SR")
    _merge(boxes)
    _fold(boxes)
    return _anatomy(model, boxes, named=True)


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
    boxes = trace(block, {name: _probe(block, first.in_channels, side) - 0.5 for name, side in sizes.items()}, "output")
    if sum(box.kind not in ("image", "sum") for box in boxes) > LONG_BLOCK:
        _merge(boxes)
    return _anatomy(block, boxes, named=False)
