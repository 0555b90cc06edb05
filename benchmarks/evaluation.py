"""What scoring all released weights costs, and what the order of the kernels in memory brings.

First the sum of the seconds that were measured image by image: every score that a notebook has asked for is remembered with the
time of its forward pass, on one thread; scores of weights that are no longer released do not count. Reading images, degradation
and metrics come on top (see `metrics.py` and `imresize.py`). Run `make reproduce PROFILE=released` before. Remembered times are
those of a machine that may have been busy: with --again the first images of each set are scored once more, and the sum is
corrected by the ratio. Target: 2 hours on 2 cores.

With --order, released networks with their kernels in channels-last order, as `srlib.evaluation` has them, against the same
networks as PyTorch makes them, in turn on one input, channels-last too; medians. Target: none slower by more than a tenth.

    python benchmarks/evaluation.py [--cores 2] [--again 1] [--order] [--repeats 7]
"""

import argparse
import copy
import re
import statistics
import sys
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import torch

from srlib import paths, results
from srlib.data.files import sha256
from srlib.evaluation import evaluate
from srlib.metrics import protocol

LIMIT = 120  # minutes
SLOWEST = 0.9
NETWORKS = ("vdsr_x2", "btsrn_x2", "srcnn_x2", "fsrcnn_x2", "idn_x2", "difficulty_sr_x4", "prosrn_x2", "ddet_x1", "kpn_x1")
NETWORKS += ("lp_kpn_x1", "srresnet_rgb_x1", "edrn_x1", "rcan_rgb_x1", "d2c_sr_x1")


SCORES = re.compile(r"(?P<dataset>.+)_x(?P<scale>\d+)_(?P<by>\w+?)_[0-9a-f]{8}(_first\d+)?(?P<ensemble>_ensemble)?\.csv")


def _now(name: str, scores: Path, images: int) -> float:
    """Return the seconds that the first images of remembered scores take now."""
    told = SCORES.fullmatch(scores.name)
    method, _, seed = name.partition("_seed")
    net = results.load_released(method.rpartition("_x")[0], int(told["scale"]), seed=int(seed or 0)).model
    dataset = re.sub(r"_(train|test)$", r"/\1", told["dataset"])
    return evaluate(net, dataset, protocol(told["by"]), limit=images, ensemble=bool(told["ensemble"]))["seconds"].sum()


def spent(cores: int, again: int) -> int:
    torch.set_num_threads(1)
    minutes: Counter[str] = Counter()
    images = 0
    for file in sorted((paths.home() / "data" / "weights").glob("*.safetensors")):
        for scores in sorted((paths.runs_dir() / "released" / f"{file.stem}-{sha256(file)[:10]}").glob("*.csv")):
            rows = pd.read_csv(scores)
            if "seconds" not in rows:
                continue
            ratio = _now(file.stem, scores, again) / rows["seconds"][:again].sum() if again else 1.0
            minutes[file.stem] += ratio * rows["seconds"].sum() / 60
            images += len(rows)
    if not minutes:
        print("no scores of released weights yet; run: make reproduce PROFILE=released", file=sys.stderr)
        return 1
    for name, total in minutes.most_common():
        print(f"{name:24} {total:7.1f} min")
    total = sum(minutes.values())
    when = f"the first {again} of each set timed now" if again else "as remembered"
    print(f"{len(minutes)} networks, {images:,} scores, {when}: {total:.0f} minutes on one core, {total / cores:.0f} on {cores}")
    return int(total / cores > LIMIT)


def _seconds(net: torch.nn.Module, x: torch.Tensor) -> float:
    began = time.perf_counter()
    net(x)
    return time.perf_counter() - began


@torch.no_grad()
def order(repeats: int) -> int:
    torch.set_num_threads(1)
    slow = 0
    for name in NETWORKS:
        method, scale = name.rsplit("_x", 1)
        net = results.load_released(method, int(scale)).model
        other = copy.deepcopy(net).to(memory_format=torch.channels_last)
        x = torch.rand(1, net.channels, 96, 96).contiguous(memory_format=torch.channels_last)
        times = [(_seconds(net, x), _seconds(other, x)) for _ in range(repeats + 1)][1:]
        before, after = (statistics.median(side) for side in zip(*times, strict=True))
        apart = 255 * float((net(x) - other(x)).abs().max())
        times = f"{before:7.3f} s, channels last {after:7.3f} s"
        print(f"{name:24} {times}: {before / after:.2f} times as fast; apart {apart:.4f} levels")
        slow += before / after < SLOWEST
    return int(slow > 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--again", type=int, default=0, metavar="N", help="time the first N images of each set again")
    parser.add_argument("--order", action="store_true", help="measure the order of the kernels in memory instead")
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    return order(args.repeats) if args.order else spent(args.cores, args.again)


if __name__ == "__main__":
    sys.exit(main())
