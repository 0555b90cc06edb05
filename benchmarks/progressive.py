"""8x upscaling of a 320x240 image: ProSRN beside LapSRN x8 and VDSR, time and peak memory.

One thread; each network in a process of its own, so that its peak is its own, and as `srlib upscale` runs it (in tiles) and
in one piece. Fresh weights cost what trained ones do. Times are processor times, ratios are to ProSRN in tiles.

    python benchmarks/progressive.py [--networks prosrn lapsrn vdsr] [--width 320] [--height 240]
"""

import os

os.environ.update(OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1", OMP_NUM_THREADS="1")  # read when numpy is imported

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np
import torch

from srlib.nn import models
from srlib.nn.cost import summary
from srlib.scoring.evaluation import upscale

SCALE = 8


def measure(name: str, height: int, width: int, tile: int | None) -> dict[str, float]:
    """Upscale once; return processor seconds and how far the peak memory (MB) rose above that of the loaded network."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = models.create(name, SCALE)
    luma = np.random.default_rng(0).uniform(0, 255, (height, width))
    upscale(net, luma[:16, :16])  # loads the libraries
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.process_time()
    upscale(net, luma, tile=tile)
    seconds = time.process_time() - began
    return {"seconds": seconds, "memory": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=["prosrn", "lapsrn", "vdsr"])
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--height", type=int, default=240)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)  # a network and its tile: the child processes
    arguments = parser.parse_args()
    if arguments.one:
        name, tile = arguments.one
        print(json.dumps(measure(name, arguments.height, arguments.width, None if tile == "tiles" else 0)))
        return
    print(f"{arguments.width}x{arguments.height} to {SCALE * arguments.width}x{SCALE * arguments.height}, one thread")
    print(f"{'':10} {'':10} {'parameters':>12} {'time':>9} {'ratio':>7} {'memory':>10}")
    first = None
    for name in arguments.networks:
        parameters = summary(models.create(name, SCALE)).parameters
        for tile in ("tiles", "whole"):
            size = ["--width", str(arguments.width), "--height", str(arguments.height)]
            call = [sys.executable, __file__, "--one", name, tile, *size]
            found = json.loads(subprocess.run(call, capture_output=True, text=True, check=True).stdout)
            first = first or found["seconds"]
            ratio = found["seconds"] / first
            costs = f"{found['seconds']:7.1f} s {ratio:6.2f}x {found['memory']:7.0f} MB"
            print(f"{name:10} {tile:10} {parameters:12,d} {costs}", flush=True)


if __name__ == "__main__":
    main()
