"""What scoring all released weights costs, and what the order of the kernels in memory brings.

First the sum of the seconds that were measured image by image: scores behind the released tables are kept in `data/scores/`, each
with the time of its forward pass, on one thread. Reading images, degradation and metrics come on top (see `metrics.py` and
`imresize.py`). Kept times are those of another machine, which may have been busy: with --again the first images of each set are
scored once more, in as many processes at once as there are --cores and after a first pass, as later images of a set are, and the
sum is corrected by the ratio. With --whole all of them are scored once more, in as many processes, and
the time of all of it counts, with reading, degradation and metrics, and how far the scores are from those kept; what is done lies
in a table, with which the same command goes on after a stop. Target: 2 hours on 2 cores.

With --order, released networks with their kernels in channels-last order, as `scoring.evaluation` has them, against the same
networks as PyTorch makes them, in turn on one input, channels-last too; medians. Target: none slower by more than a tenth.

With --together 4, four inputs of 96x96 pixels as one batch against one after the other, in turn; medians. A batch faster by
more than a tenth for most would be a reason to evaluate several images or tiles at once; `srlib.scoring.evaluation` takes one.

With --memory, a forward pass to 1024x1024 pixels and a training step on 4 patches of 48 LR pixels, in a process that keeps the
memory that it frees (`srlib.core.memory`) against one that does not, interleaved; medians. Target: none slower by a tenth.

    python benchmarks/evaluation.py [--cores 2] [--again 1] [--whole scored.csv]
    python benchmarks/evaluation.py [--order] [--together 4] [--memory] [--repeats 7]
"""

import argparse
import copy
import multiprocessing
import re
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import pandas as pd
import torch

from srlib import papers
from srlib.core.files import atomic_write
from srlib.core.protocols import protocol
from srlib.nn import models
from srlib.reproduce import cards, store
from srlib.scoring.evaluation import evaluate

LIMIT = 120  # minutes
SLOWEST, FASTER = 0.9, 1.1
NETWORKS = ("btsrn/vdsr_x2", "btsrn/btsrn_x2", "btsrn/srcnn_x2", "btsrn/fsrcnn_x2", "difficulty_sr/idn_x2")
NETWORKS += ("difficulty_sr/difficulty_sr_x4", "prosrn/prosrn_x2", "ddet/ddet_x1", "ddet/kpn_x1", "d2c_sr/lp_kpn_x1")
NETWORKS += ("d2c_sr/srresnet_rgb_x1", "d2c_sr/rcan_rgb_x1", "d2c_sr/d2c_sr_x1")


SCORES = re.compile(r"(?P<dataset>.+)_x(?P<scale>\d+)_(?P<by>\w+?)_[0-9a-f]{8}(_first\d+)?(?P<ensemble>_ensemble)?\.csv")


def _now(name: str, scores: Path, images: int, warm: bool = True) -> pd.DataFrame:
    """Score the first images of remembered scores now. warm: after a first pass."""
    torch.set_num_threads(1)
    told = SCORES.fullmatch(scores.name)
    paper, _, name = name.partition("/")
    method, _, seed = name.partition("_seed")
    net = store.load_released(papers.get(paper), method.rpartition("_x")[0], int(told["scale"]), int(seed or 0)).model
    dataset = re.sub(r"_(train|test)$", r"/\1", told["dataset"])
    ensemble = bool(told["ensemble"])
    if warm:
        evaluate(net, dataset, protocol(told["by"]), limit=1)
    return evaluate(net, dataset, protocol(told["by"]), limit=images, ensemble=ensemble)


def _kept() -> list[tuple[str, Path]]:
    """Return each released network's name and each file of its kept scores that were timed."""
    kept = [
        (f"{file.parent.name}/{file.stem}", scores)
        for file in sorted(cards.weights_dir().glob("*/*.safetensors"))
        if not file.is_symlink()
        for scores in sorted(cards.kept_scores(file).glob("*.csv"))
        if "seconds" in pd.read_csv(scores, nrows=0, skiprows=1)
    ]
    if not kept:
        sys.exit("data/scores holds no scores of released weights; restore it from git")
    return kept


def spent(cores: int, again: int) -> int:
    minutes: Counter[str] = Counter()
    images, kept = 0, _kept()
    with multiprocessing.get_context("spawn").Pool(cores) as pool:
        now = pool.starmap(_now, [(*one, again) for one in kept], chunksize=1) if again else [None] * len(kept)
    for (name, scores), timed in zip(kept, now, strict=True):
        seconds = pd.read_csv(scores, skiprows=1)["seconds"]
        minutes[name] += seconds.sum() / 60 * (timed["seconds"].sum() / seconds[:again].sum() if again else 1)
        images += len(seconds)
    for name, total in minutes.most_common():
        print(f"{name:24} {total:7.1f} min")
    total = sum(minutes.values())
    when = f"the first {again} of each set timed now" if again else "as kept"
    print(f"{len(minutes)} networks, {images:,} scores, {when}: {total:.0f} minutes on one core, {total / cores:.0f} on {cores}")
    return int(total / cores > LIMIT)


def _scored(name: str, scores: Path) -> dict[str, object]:
    """Score all images of kept scores again, and compare. Raises ValueError where these are others than those kept."""
    began = time.perf_counter()
    kept = pd.read_csv(scores, skiprows=1, dtype={"image": str}).set_index("image")
    rows = _now(name, scores, len(kept), warm=False).set_index("image")
    apart = (rows - kept).drop(columns="seconds").abs()
    if len(apart) != len(rows) or apart.isna().any(axis=None):
        raise ValueError(f"{_key(scores)}: other images or metrics than those kept")
    seconds = {"passes": rows["seconds"].sum(), "seconds": time.perf_counter() - began}
    return {"scores": _key(scores), "images": len(rows), **seconds, **apart.max()}


def _key(scores: Path) -> str:
    """Return what tells scores of one set by one network from all others: the folder has the hash of the weights."""
    return f"{scores.parent.name}/{scores.stem}"


def whole(cores: int, log: Path) -> int:
    """Score everything again but what the log has, the longest first; print what it took and how far it is from what was kept."""
    kept = _kept()
    kept.sort(key=lambda one: -pd.read_csv(one[1], skiprows=1)["seconds"].sum())
    done = pd.read_csv(log).to_dict("records") if log.exists() else []
    known = {row["scores"] for row in done}
    pool = ProcessPoolExecutor(cores, multiprocessing.get_context("spawn"))
    try:
        jobs = [pool.submit(_scored, *one) for one in kept if _key(one[1]) not in known]
        for job in as_completed(jobs):
            done.append(row := job.result())
            atomic_write(log, pd.DataFrame(done).to_csv(index=False))
            print(f"{len(done)}/{len(kept)} {row['scores']}: {row['seconds']:.1f} s, PSNR {row['psnr']:.1g} dB apart", flush=True)
    finally:
        pool.shutdown(cancel_futures=True)
    rows = pd.DataFrame(done)
    apart = rows.drop(columns=["scores", "images", "passes", "seconds"]).max()
    print("At most apart from the scores kept: " + ", ".join(f"{metric} {most:.2g}" for metric, most in apart.items()))
    total, passes = (rows[column].sum() / 60 for column in ("seconds", "passes"))
    spent = f"{total:.0f} minutes on one core, {passes:.0f} of them forward passes, {total / cores:.0f} on {cores}"
    print(f"{rows['images'].sum():,} scores: {spent}")
    return int(total / cores > LIMIT)


def _seconds(net: torch.nn.Module, *inputs: torch.Tensor) -> float:
    began = time.perf_counter()
    for x in inputs:
        net(x)
    return time.perf_counter() - began


def _networks() -> Iterator[tuple[str, torch.nn.Module]]:
    for name in NETWORKS:
        paper, _, method = name.rsplit("_x", 1)[0].partition("/")
        yield name, store.load_released(papers.get(paper), method, int(name.rsplit("_x", 1)[1])).model


def _input(net: torch.nn.Module, images: int = 1) -> torch.Tensor:
    return torch.rand(images, net.channels, 96, 96).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def order(repeats: int) -> int:
    torch.set_num_threads(1)
    slow = 0
    for name, net in _networks():
        other = copy.deepcopy(net).to(memory_format=torch.channels_last)
        x = _input(net)
        times = [(_seconds(net, x), _seconds(other, x)) for _ in range(repeats + 1)][1:]
        before, after = (statistics.median(side) for side in zip(*times, strict=True))
        apart = 255 * float((net(x) - other(x)).abs().max())
        times = f"{before:7.3f} s, channels last {after:7.3f} s"
        print(f"{name:24} {times}: {before / after:.2f} times as fast; apart {apart:.4f} levels")
        slow += before / after < SLOWEST
    return int(slow > 0)


@torch.no_grad()
def together(images: int, repeats: int) -> int:
    torch.set_num_threads(1)
    fast = 0
    for name, net in _networks():
        net = net.to(memory_format=torch.channels_last)
        x = _input(net, images)
        times = [(_seconds(net, *x.split(1)), _seconds(net, x)) for _ in range(repeats + 1)][1:]
        single, batch = (statistics.median(side) for side in zip(*times, strict=True))
        print(f"{name:24} one by one {single:7.3f} s, {images} at once {batch:7.3f} s: {single / batch:.2f} times as fast")
        fast += single / batch > FASTER
    return int(fast > len(NETWORKS) / 2)


def _cost(name: str, training: bool) -> float:
    """Return the seconds of one pass of a released network in this process."""
    torch.set_num_threads(1)
    paper, _, method = name.rsplit("_x", 1)[0].partition("/")
    net = store.load_released(papers.get(paper), method, scale := int(name.rsplit("_x", 1)[1])).model
    net = net.train(training).to(memory_format=torch.channels_last)
    count, side = (4, 48) if training else (1, 1024 // scale)
    x = torch.rand(count, net.channels, side, side).contiguous(memory_format=torch.channels_last)
    with torch.set_grad_enabled(training):
        began = time.perf_counter()
        outputs = models.levels(net(x))
        if training and outputs[0].requires_grad:
            sum(image.square().mean() for image in outputs).backward()
        return time.perf_counter() - began


def _return_freed_memory() -> None:
    """Make this process one that returns the memory that it frees."""
    models.keep_freed_memory = lambda: None


def memory(repeats: int) -> int:
    pools = [ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), start) for start in (_return_freed_memory, None)]
    slow = 0
    for name in NETWORKS:
        for work, training in (("forward", False), ("step", True)):
            turns = [[pool.submit(_cost, name, training).result() for pool in pools] for _ in range(repeats + 1)][1:]
            returned, kept = (statistics.median(side) for side in zip(*turns, strict=True))
            times = f"{work:7} {returned:7.3f} s, freed memory kept {kept:7.3f} s"
            print(f"{name:24} {times}: {returned / kept:.2f} times as fast", flush=True)
            slow += returned / kept < SLOWEST
    return int(slow > 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--again", type=int, default=0, metavar="N", help="time the first N images of each set again")
    parser.add_argument("--whole", type=Path, metavar="TABLE", help="score all images of each set again")
    parser.add_argument("--order", action="store_true", help="measure the order of the kernels in memory instead")
    parser.add_argument("--together", type=int, default=0, metavar="N", help="measure batches of N inputs instead")
    parser.add_argument("--memory", action="store_true", help="measure what keeping freed memory brings instead")
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    if args.memory:
        return memory(args.repeats)
    if args.together:
        return together(args.together, args.repeats)
    if args.whole:
        return whole(args.cores, args.whole)
    return order(args.repeats) if args.order else spent(args.cores, args.again)


if __name__ == "__main__":
    sys.exit(main())
