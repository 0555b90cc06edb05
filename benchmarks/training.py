"""The training loop with its data path against the bare optimiser step on one fixed batch.

Reference: `Trainer.step` on the same float batch again and again, which is what a network costs at best. Compared: the
loop of `srlib.train.loop` as a run has it, with patches cut from the packed images, their conversion, learning rates, checks of
the loss; validations and checkpoints left out. Blocks of both alternate in one process, and the median of the ratios of
neighbours counts, which what else the machine does disturbs least. Target: at least 0.95 of the bare speed.

    python benchmarks/training.py [--model btsrn] [--blocks 25] [--steps 4] [--threads 2]
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from accelerate import Accelerator

from srlib import papers
from srlib.data.pairs import open_pairs
from srlib.data.patches import PatchSampler
from srlib.train.loop import Loop, batches
from srlib.train.run import Run
from srlib.train.trainer import Trainer

LIMIT = 0.95


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="btsrn", help="an experiment (default btsrn)")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--profile", default="quick", help="patch, batch and images (default quick)")
    parser.add_argument("--blocks", type=int, default=25, help="blocks of either kind (default 25)")
    parser.add_argument("--steps", type=int, default=4, help="steps of a block (default 4)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    total = (args.blocks + 1) * args.steps
    paper, name = papers.find(args.model, args.scale)
    experiment = paper.experiment(name, args.scale, args.profile, steps=total)
    pairs = open_pairs(experiment.data, experiment.scale)
    sampler = PatchSampler(pairs, batch=experiment.batch, lr_patch=experiment.lr_patch, seed=0)
    accelerator = Accelerator()
    bare, trainer = Trainer(experiment, accelerator), Trainer(experiment, accelerator)
    with tempfile.TemporaryDirectory() as folder:
        loop = Loop(trainer, sampler, Run(experiment, pairs.fingerprint, Path(folder)), "none")
        fresh = batches(sampler, trainer)
        fixed = next(fresh)

        def step_on_fixed_batch() -> None:
            for _ in range(args.steps):
                loss = bare.step(*fixed, experiment.learning_rate)
            loss.item()

        def step_on_fresh_batches() -> None:
            for _ in range(args.steps):
                loop.take_step(*next(fresh))
            loop.check_loss()

        kinds = {"bare step": step_on_fixed_batch, "training loop": step_on_fresh_batches}
        times = {name: [] for name in kinds}
        for turn in range(args.blocks + 1):  # the first turn warms up
            for name in sorted(kinds, reverse=turn % 2 == 1):  # neither kind always goes first
                synchronize()
                began = time.perf_counter()
                kinds[name]()
                synchronize()
                if turn:
                    times[name].append((time.perf_counter() - began) / args.steps)
        fresh.close()

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    print(f"{experiment.name} x{experiment.scale}, {experiment.batch} patches of {experiment.hr_patch} px, {device}")
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, median in medians.items():
        print(f"{name:14s} {1000 * median:8.2f} ms per step")
    ratio = statistics.median(a / b for a, b in zip(times["bare step"], times["training loop"], strict=True))
    print(f"the loop has {ratio:.3f} of the bare speed, {'at least' if ratio >= LIMIT else 'BELOW'} {LIMIT}")
    return int(ratio < LIMIT)


if __name__ == "__main__":
    sys.exit(main())
