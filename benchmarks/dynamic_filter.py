"""The per-pixel filter beside the unfold formulation: time and peak memory, forward and backward.

`unfold` copies the K*K neighbours of each pixel, multiplies them with the kernels and sums, as most code does. One thread, both
in this process, in alternating order. Times are median processor times. Memory is the peak of what torch allocates on the way,
less what any implementation must return: the result and the gradients. The column "returned too" counts those as well; it cannot
pass 3 in the backward pass, since the kernels' gradient is by itself a third of what `unfold` holds. Prints ratios unfold / ours
and fails below the targets for K = 9: 3 times as fast and a quarter of the memory, forward and backward together.

    python benchmarks/dynamic_filter.py [--kernels 5 7 9 19] [--height 512] [--width 512] [--turns 9]
"""

import os

os.environ.update(OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1", OMP_NUM_THREADS="1")  # read when numpy is imported

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from srlib.nn.dynamic_filter import dynamic_filter

FASTER, SMALLER = 3, 4


def unfold(image: Tensor, kernels: Tensor) -> Tensor:
    neighbours = F.unfold(image, round(kernels.shape[1] ** 0.5), padding=round(kernels.shape[1] ** 0.5) // 2)
    return (neighbours.view_as(kernels) * kernels).sum(dim=1, keepdim=True)


VERSIONS = [dynamic_filter, unfold]


def forward(version: Callable, image: Tensor, kernels: Tensor) -> list[Tensor]:
    with torch.no_grad():
        return [version(image, kernels)]


def both(version: Callable, image: Tensor, kernels: Tensor) -> list[Tensor]:
    out = version(image, kernels)
    return [out.detach(), *torch.autograd.grad(out, (image, kernels), torch.ones_like(out))]


def seconds(call: Callable, *arguments) -> float:
    began = time.process_time()
    call(*arguments)
    return time.process_time() - began


def memory(call: Callable, *arguments) -> tuple[float, float]:
    """Return the extra peak in MB without and with what is returned."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        returned = call(*arguments)
    with tempfile.TemporaryDirectory() as folder:
        profiler.export_chrome_trace(f"{folder}/trace.json")
        events = json.loads(Path(folder, "trace.json").read_text())["traceEvents"]
    events = sorted((event for event in events if event["name"] == "[memory]"), key=lambda event: event["ts"])
    peak = max(accumulate(event["args"]["Bytes"] for event in events))
    return (peak - sum(one.nbytes for one in returned)) / 2**20, peak / 2**20


def compare(call: Callable, image: Tensor, kernels: Tensor, turns: int) -> tuple[list[float], list[tuple[float, float]], float]:
    """Return seconds and memory of each version, and the largest difference between their results."""
    results = [call(version, image, kernels) for version in VERSIONS]  # also warms them up
    difference = max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(*results, strict=True))
    del results
    extra = [memory(call, version, image, kernels) for version in VERSIONS]
    timed = {version: [] for version in VERSIONS}
    for turn in range(turns):
        for version in VERSIONS if turn % 2 else VERSIONS[::-1]:
            timed[version].append(seconds(call, version, image, kernels))
    return [median(timed[version]) for version in VERSIONS], extra, difference


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kernels", type=int, nargs="+", default=[5, 7, 9, 19], help="sizes K")
    parser.add_argument("--height", type=int, default=512)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--turns", type=int, default=9)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"{arguments.height}x{arguments.width}, float32, one thread; ours, unfold, ratio")
    print(f"{'':26} {'time':^31} {'extra memory':^31} {'returned too':>12} {'difference':>10}")
    missed = False
    for kernel in arguments.kernels:
        image = torch.rand(1, 1, arguments.height, arguments.width, requires_grad=True)
        kernels = torch.randn(1, kernel**2, arguments.height, arguments.width, requires_grad=True)
        for label, call in (("forward", forward), ("forward + backward", both)):
            times, extra, difference = compare(call, image, kernels, arguments.turns)
            faster = times[1] / times[0]
            smaller, whole = (theirs / ours for ours, theirs in zip(*extra, strict=True))
            cells = f"{times[0] * 1e3:8.1f} ms {times[1] * 1e3:8.1f} ms {faster:6.2f}x"
            cells += f" {extra[0][0]:8.1f} MB {extra[1][0]:8.1f} MB {smaller:6.1f}x {whole:11.1f}x"
            print(f"K={kernel:<3} {label:20} {cells} {difference:10.1e}", flush=True)
            missed |= kernel == 9 and (faster < FASTER or smaller < SMALLER)
    print("target missed" if missed else f"target for K=9: {FASTER}x as fast, {SMALLER}x less memory")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
