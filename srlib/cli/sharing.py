"""The commands `export` and `count`: networks for other tools, and the cost of anybody's."""

import argparse
from collections.abc import Callable, Iterable

import torch
from torch.utils.flop_counter import FlopCounterMode

from srlib.core.errors import SRError, batch_error
from srlib.nn import models
from srlib.nn.cost import OUTPUT_PIXELS, probe_side, summary
from srlib.reproduce.store import Trained
from srlib.share import export, foreign

SUFFIXES = {"safetensors": ".safetensors", "spandrel": "_spandrel.safetensors", "onnx": ".onnx", "hub": ""}


def _each(names: Iterable[str], work: Callable[[str], str]) -> None:
    """Print what `work` returns for each name; SRError at the end says which failed and why."""
    names, failures = list(dict.fromkeys(names)), []
    for name in names:
        try:
            print(work(name), flush=True)
        except SRError as error:
            failures.append(str(error))
    if failures:
        raise batch_error(failures, len(names), "failed")


def export_networks(args: argparse.Namespace, load: Callable[[str, int | None], Trained]) -> None:
    """Export networks, each by itself; load: returns a network by name and scale."""
    targets = {}
    if args.to == "onnx" and args.precision != "fp32":
        raise SRError(f"precision (={args.precision}): ONNX is written in fp32 only; leave it out, or export --to safetensors")

    def work(name: str) -> str:
        if foreign.is_foreign(name):
            raise SRError(f"{name}: export takes the names of released experiments and the folders of runs")
        trained, note = load(name, args.scale), ""
        target = args.output / f"{trained.name}_x{trained.model.scale}{SUFFIXES[args.to]}"
        if targets.setdefault(target, name) != name:
            raise SRError(f"{name}: {target} is the export of {targets[target]}; export it by itself with --output")
        if args.to == "onnx":
            note = f", differs from torch by {export.to_onnx(trained, target):.1e} at most"
        elif args.to == "hub":
            target = export.to_hub(trained, target, args.precision)
        else:
            export.to_safetensors(trained, target, args.precision, named=args.to == "spandrel")
        return f"{target}: {target.stat().st_size / 1e6:.2f} MB{note}"

    _each(args.names, work)


def count_costs(args: argparse.Namespace) -> None:
    """Print parameters and mult-adds of networks: names of ours, weights files, or functions as module:function."""

    def work(name: str) -> str:
        if foreign.is_foreign(name):
            model = foreign.load(name, args.scale)
        else:
            model = models.create(name, models.default_scale(name) if args.scale is None else args.scale).eval()
            if models.fitted(name):
                return f"{name} x{model.scale}: not counted, as it is fitted in closed form and has no layers"
        cost, side = summary(model), probe_side(model)
        line = f"{name} x{model.scale}: {cost.parameters:,} parameters, {cost.mult_adds / 1e9:.2f} G mult-adds for 1280x720"
        if round(cost.mult_adds_carn / 1e9, 2) != round(cost.mult_adds / 1e9, 2):
            line += f" ({cost.mult_adds_carn / 1e9:.2f} G with transposed convolutions at output resolution)"
        with FlopCounterMode(display=False) as counter, torch.no_grad():  # two per mult-add
            model(torch.zeros(1, model.channels or 3, side, side))
        products = counter.get_total_flops() / 2 * OUTPUT_PIXELS / (side * model.scale) ** 2
        if products > 1.005 * cost.mult_adds:
            line += f"; {products / 1e9:.2f} G with all matrix products (linear layers, attention), from {side}x{side} LR pixels"
        return line

    _each(args.names, work)
