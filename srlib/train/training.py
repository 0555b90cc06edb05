"""Training: `train` turns an Experiment into a complete Run, and continues where an earlier call stopped.

`accelerate launch -m srlib train ...` or `torchrun -m srlib train ...` split each batch over the processes.
"""

import contextlib
import os
import sys
import time
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn

from srlib.core.errors import SRError
from srlib.core.files import sha256
from srlib.core.output import tolerant
from srlib.data.pairs import open_pairs
from srlib.data.patches import PatchSampler
from srlib.data.sets import open_set
from srlib.nn import models
from srlib.scoring import vitals
from srlib.train import probe
from srlib.train.experiment import Experiment
from srlib.train.loop import Loop, accelerator_for, validate
from srlib.train.provenance import checkout, joined, provenance
from srlib.train.run import Run, reusable, start_budget
from srlib.train.trainer import Trainer, to_batch


def digest(start: dict[str, Path]) -> str:
    """Return `Experiment.start` of weights files: the first digits of their SHA-256."""
    return "+".join(sha256(file)[:10] for _, file in sorted(start.items()))


def _check_start(experiment: Experiment, start: dict[str, Path]) -> None:
    given = ", ".join(map(str, start.values()))
    if start and models.fitted(experiment.model):
        raise SRError(f"start (={given}) was given, but {experiment.name} is fitted in closed form; leave it out")
    if start and not experiment.start:
        raise SRError(f"start (={given}) was given, but {experiment.name} starts from fresh weights; leave it out")
    if experiment.start and not (start and all(file.is_file() for file in start.values())):
        raise SRError(f"{experiment.name} starts from trained weights, and start (={given}) is no file; train those first")
    if digest(start) != experiment.start:
        raise SRError(f"{given} is not what {experiment.name} starts from: SHA-256 {digest(start)}, expected {experiment.start}")


def check_validation(experiment: Experiment) -> None:
    """Raise SRError where the validation images are not there, or do not fit the scale."""
    if not experiment.validation:
        return
    images = open_set(experiment.validation)
    images.check_scale(experiment.scale)
    if experiment.scale == 1 and not images.paired:
        raise SRError(f"validation (={images.name}) has no LR images, which scale 1 needs; take a set of pairs")


@tolerant()
def train(
    experiment: Experiment, *, start: dict[str, Path] | None = None, root: Path | None = None, progress: str = "auto"
) -> Run:
    """Train an experiment and return its complete run; a complete run is returned as it is, a partial one continued.

    A run whose network, loss or gradient has changed since (`probe.training`) is set aside, with a message, and trained anew.
    start: the weights files that `experiment.start` stands for, by the part of the network that they initialise ("": the whole);
    of the file of a whole network, a part takes the weights of its part of that name.
    root: the folder of runs (default `paths.runs_dir()`). progress: "bar", "lines" (one per validation), "none", or "auto": a bar
    in a terminal and under a Jupyter server, else lines.
    Raises SRError if another process trains the same run, if data is missing, or at the step where the loss is not finite
    or exceeds 100 times its first values; the last good checkpoint is kept.
    """
    if progress not in ("auto", "bar", "lines", "none"):
        raise SRError(f"progress (={progress!r}) must be auto, bar, lines or none")
    if progress == "auto":
        progress = "bar" if sys.stderr.isatty() or "JPY_SESSION_NAME" in os.environ else "lines"
    start = start or {}
    _check_start(experiment, start)
    check_validation(experiment)  # fail before the first step
    pairs = open_pairs(experiment.data, experiment.scale, progress=progress == "bar")
    run = Run(experiment, pairs.fingerprint, root)
    run.probe = probe.training(experiment)
    sampler = PatchSampler(pairs, batch=experiment.batch, lr_patch=experiment.lr_patch, seed=experiment.seed)
    accelerator, fitted = accelerator_for(experiment), models.fitted(experiment.model)
    _check_processes(experiment, fitted, accelerator.num_processes)
    data = {"name": experiment.data, "fingerprint": pairs.fingerprint, "images": len(pairs) - len(sampler.skipped)}
    fields = {"seed": experiment.seed, "data": data, **checkout()}  # the commit now, whatever changes meanwhile
    with accelerator.main_process_first():  # others wait while it sets an outdated run aside, or fits a network
        if reusable(run):
            return run
        small = len(pairs.skipped) + len(sampler.skipped)
        if small and progress != "none" and accelerator.is_main_process:
            side = f"{experiment.lr_patch}x{experiment.lr_patch} LR pixels"
            print(f"{experiment.data}: left out {small} images that are smaller than a patch of {side}", flush=True)
        if fitted:
            with run.lock():
                fit_closed_form(run, sampler, fields)
            return run
    with run.lock() if accelerator.is_main_process else contextlib.nullcontext():
        if accelerator.num_processes > 1 or not run.complete:  # it may have been finished meanwhile
            train_sgd(run, sampler, fields, accelerator, start, progress)
    accelerator.wait_for_everyone()
    return run


def _check_processes(experiment: Experiment, fitted: bool, processes: int) -> None:
    if fitted and experiment.steps is None:
        raise SRError(f"{experiment.name} is fitted to steps * batch patches at once; give it steps, not minutes")
    if experiment.discriminator and processes > 1:
        raise SRError(f"{experiment.name} trains against a discriminator, which works in one process, got {processes}")
    if not fitted and experiment.batch % processes:
        raise SRError(f"batch (={experiment.batch}) must be a multiple of the {processes} processes")


def fit_closed_form(run: Run, sampler: PatchSampler, fields: dict) -> None:
    """Fit in closed form, on steps * batch patches; there are no checkpoints. fields: of the provenance."""
    run.write_config()
    experiment, began = run.experiment, time.monotonic()
    net = models.create(experiment.model, experiment.scale, **experiment.model_args)
    cpu = torch.device("cpu")
    steps = range(experiment.first_step, experiment.first_step + experiment.steps)
    net.fit((to_batch(*sampler.batch(step), net.channels, cpu) for step in steps), experiment.seed)
    minutes = round((time.monotonic() - began) / 60, 2)
    run.write_history([{"step": experiment.steps, "seconds": round(60 * minutes, 1), **validate(net, experiment)}])
    made = provenance(**fields, steps=experiment.steps, minutes=minutes, processes=1, device="cpu")
    run.finish(net.state_dict(), made, probe.network(net))


def train_sgd(
    run: Run, sampler: PatchSampler, fields: dict, accelerator: Accelerator, start: dict[str, Path], progress: str
) -> None:
    """Train by stochastic gradient descent, from the last checkpoint where there is one. fields: of the provenance."""
    experiment = run.experiment
    trainer = Trainer(experiment, accelerator, start)
    loop = Loop(trainer, sampler, run, progress)
    state = run.load_checkpoint()
    loop.checkouts = [{name: fields.pop(name) for name in ("commit", "dirty")}]
    if state is not None:
        loop.restore(state)
    elif accelerator.is_main_process:
        run.write_config()
    loop.run_to_end()
    if not accelerator.is_main_process:
        return
    parts = {file: "+".join(sorted(part for part, other in start.items() if other == file)) for file in start.values()}
    if parts:
        fields["start"] = {part: start_budget(experiment, part, file) for file, part in parts.items()}
    made = provenance(
        **fields,
        **joined(loop.checkouts),
        steps=loop.total,
        minutes=round(loop.seconds / 60, 2),
        processes=accelerator.num_processes,
        device=accelerator.device.type,
        vital_signs=_vital_signs(trainer.result, experiment),
    )
    run.finish(trainer.result.state_dict(), made, probe.network(trainer.result))


def _vital_signs(trained: nn.Module, experiment: Experiment) -> vitals.Signs:
    """Return the vital signs of a network on the validation images, without any on the training images."""
    net = models.create(experiment.model, experiment.scale, **experiment.model_args)  # a copy without autocast
    net.load_state_dict({name: tensor.cpu() for name, tensor in trained.state_dict().items()})
    return vitals.measure(net, *filter(None, (experiment.validation, experiment.data)))
