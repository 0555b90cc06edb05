"""What `srlib verify` costs beside one evaluation under the dearest named protocol, reading the files included.

One thread, both in this process, picture by picture in alternating order: bicubic SR of a set, written to a folder first. Prints
processor times and fails where all protocols together cost more than 3 times the dearest.

    python benchmarks/verify.py [--dataset Urban100] [--scale 4] [--images 100]
"""

import os

os.environ.update(OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1", OMP_NUM_THREADS="1")  # read when numpy is imported

import argparse
import resource
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from srlib.core.imresize import downscale, imresize, modcrop
from srlib.core.metrics import score
from srlib.core.paths import data_dir
from srlib.core.protocols import PROTOCOLS
from srlib.data.images import write_image
from srlib.data.sets import open_set
from srlib.verify import lattice, pairs

TIMES = 3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    name = "Urban100" if (data_dir() / "Urban100").is_dir() else "embedded-test"
    parser.add_argument("--dataset", default=name)
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--images", type=int, default=100, help="how many of the set")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    scale = arguments.scale
    chosen, parts = lattice.variants(False, False), lattice.regions(scale)
    seconds = {name: [] for name in ("all", *PROTOCOLS)}

    def timed(name: str, run) -> None:
        began = time.process_time()
        run(*pairs.read(pair, scale)[:2])
        seconds[name].append(time.process_time() - began)

    with tempfile.TemporaryDirectory() as folder:
        for i, (name, hr) in enumerate(islice(open_set(arguments.dataset), arguments.images)):
            files = [Path(folder) / side / f"{name}.png" for side in ("sr", "hr")]
            hr = modcrop(hr, scale)
            for file, image in zip(files, (imresize(downscale(hr, scale), scale), hr), strict=True):
                write_image(file, image)
            pair = pairs.Pair(*files, grey_hr=hr.ndim == 2, luma_sr=False)
            runs = {by: lambda sr, hr, by=by: score(sr, hr, by, scale) for by in PROTOCOLS.values()}
            order = [("all", lambda sr, hr: lattice.score_pair(sr, hr, scale, chosen, parts))]
            order += [(by.name, run) for by, run in runs.items()]
            for label, run in order if i % 2 else order[::-1]:
                timed(label, run)
    totals = {name: float(np.sum(values[1:])) for name, values in seconds.items()}  # the first one warms up
    dearest = max(PROTOCOLS, key=totals.get)
    ratio = totals["all"] / totals[dearest]
    print(f"{len(seconds['all']) - 1} images of {arguments.dataset} x{scale}, {len(chosen) * len(parts)} settings, one thread")
    print(f"all protocols at once {totals['all']:.1f} s; {dearest} alone {totals[dearest]:.1f} s; ratio {ratio:.2f}")
    print(f"each alone: {', '.join(f'{name} {totals[name]:.1f} s' for name in PROTOCOLS)}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
    return int(ratio > TIMES)


if __name__ == "__main__":
    sys.exit(main())
