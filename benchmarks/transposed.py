"""Transposed convolutions of the networks as `srlib/convolution.py` does them, against PyTorch's own.

Each layer makes 1024x768 pixels, on one thread, in turn; medians, each with the copy into the order of its input where the output
has another. Target: none slower by more than a tenth.

    python benchmarks/transposed.py [--repeats 7]
"""

import argparse
import statistics
import sys
import time

import torch
from torch import nn

from srlib import convolution, models
from srlib.memory import kept_between_layers

NETWORKS = (("btsrn", 2), ("btsrn", 3), ("idn", 2), ("idn", 3), ("idn", 4), ("fsrcnn", 2), ("fsrcnn", 3), ("fsrcnn", 4))
NETWORKS += (("lapsrn", 2), ("prosrn", 2))
SLOWEST = 0.9


def seconds(layer: nn.Module, x: torch.Tensor, order: torch.memory_format) -> float:
    began = time.perf_counter()
    layer(x).contiguous(memory_format=order)
    return time.perf_counter() - began


@torch.no_grad()
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    torch.set_num_threads(1)
    order = torch.contiguous_format if convolution.available() else torch.channels_last
    slow = 0
    for name, scale in NETWORKS:
        for layer in models.create(name, scale).to(memory_format=order).modules():
            if not isinstance(layer, nn.ConvTranspose2d):
                continue
            step = layer.stride[0]
            x, times = torch.randn(1, layer.in_channels, 768 // step, 1024 // step).contiguous(memory_format=order), []
            with kept_between_layers():
                for _ in range(args.repeats + 1):  # the first turn warms up
                    plain = seconds(layer, x, order)
                    with convolution._Faster(order):
                        times.append((plain, seconds(layer, x, order)))
            before, after = (statistics.median(side) for side in zip(*times[1:], strict=True))
            size, channels = "x".join(map(str, layer.kernel_size)), f"{layer.in_channels} to {layer.out_channels} channels"
            about = f"{name} x{scale}, {size} by {step}, {channels}"
            print(f"{about:50} {before:6.3f} s, here {after:6.3f} s: {before / after:5.2f} times as fast", flush=True)
            slow += before / after < SLOWEST
    return int(slow > 0)


if __name__ == "__main__":
    sys.exit(main())
