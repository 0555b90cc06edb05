"""Training: `train` turns an Experiment into a complete Run, and continues where an earlier call stopped.

`accelerate launch -m srlib train ...` or `torchrun -m srlib train ...` split each batch over the processes.
"""

import time
from pathlib import Path

import torch
from accelerate import PartialState

from srlib.core.errors import SRError
from srlib.core.files import sha256
from srlib.core.output import tolerant
from srlib.data.pairs import open_pairs
from srlib.data.patches import PatchSampler
from srlib.data.sets import open_set
from srlib.nn import models
from srlib.train import probe
from srlib.train.experiment import Experiment
from srlib.train.loop import interactive, train_sgd, validate
from srlib.train.provenance import provenance
from srlib.train.run import Run, reusable
from srlib.train.trainer import to_batch


def digest(start: dict[str, Path]) -> str:
    """Return `Experiment.start` of weights files: the first digits of their SHA-256."""
    return "+".join(sha256(file)[:10] for _, file in sorted(start.items()))


def _check_start(experiment: Experiment, start: dict[str, Path]) -> None:
    given = ", ".join(str(file) for file in start.values())
    if start and models.fitted(experiment.model):
        raise SRError(f"start (={given}) was given, but {experiment.name} is fitted in closed form; leave it out")
    if not experiment.start:
        if start:
            raise SRError(f"start (={given}) was given, but {experiment.name} starts from fresh weights; leave it out")
    elif not start or not all(file.is_file() for file in start.values()):
        raise SRError(f"{experiment.name} starts from trained weights, and start (={given}) is no file; train those first")
    elif digest(start) != experiment.start:
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

    A run whose network, loss or gradient have changed since (`probe.training`) is set aside, which is printed, and trained anew.
    start: the weights files that `experiment.start` stands for, by the part of the network that they are of ("": the whole); a
    file of a whole network gives a part the weights of its part of that name.
    root: the folder of runs (default `paths.runs_dir()`). progress: "auto", "bar", "lines" (one per validation) or "none".
    Raises SRError if another process trains the same run, if data is missing, or at the step where the loss is not finite
    or exceeds 100 times its first values; the last good checkpoint is kept.
    """
    if progress not in ("auto", "bar", "lines", "none"):
        raise SRError(f"progress (={progress!r}) must be auto, bar, lines or none")
    if progress == "auto":
        progress = "bar" if interactive() else "lines"
    start = start or {}
    _check_start(experiment, start)
    check_validation(experiment)  # fail before the first step
    pairs = open_pairs(experiment.data, experiment.scale, progress=progress == "bar")
    run = Run(experiment, pairs.fingerprint, root)
    run.probe = probe.training(experiment)
    sampler = PatchSampler(pairs, batch=experiment.batch, lr_patch=experiment.lr_patch, seed=experiment.seed)
    data = {"name": experiment.data, "fingerprint": pairs.fingerprint, "images": len(pairs)}
    if models.fitted(experiment.model):
        fit_closed_form(experiment, run, sampler, data)
    else:
        train_sgd(experiment, run, sampler, data, start, progress)
    return run


def fit_closed_form(experiment: Experiment, run: Run, sampler: PatchSampler, data: dict) -> None:
    """Fit in closed form, on steps * batch patches; there are no checkpoints."""
    if experiment.steps is None:
        raise SRError(f"{experiment.name} is fitted to steps * batch patches at once; give it steps, not minutes")
    with PartialState().main_process_first():
        if not reusable(run):  # in all but the first process it is
            _fit_and_save(experiment, run, sampler, data)


def _fit_and_save(experiment: Experiment, run: Run, sampler: PatchSampler, data: dict) -> None:
    with run.lock():
        run.write_config()
        began = time.monotonic()
        net = models.create(experiment.model, experiment.scale, **experiment.model_args)
        cpu = torch.device("cpu")
        net.fit((to_batch(*sampler.batch(step), net.channels, cpu) for step in range(experiment.steps)), experiment.seed)
        minutes = round((time.monotonic() - began) / 60, 2)
        scores = validate(net, experiment)
        run.write_history([{"step": experiment.steps, "seconds": round(60 * minutes, 1), **scores}])
        made = provenance(seed=experiment.seed, steps=experiment.steps, minutes=minutes, processes=1, device="cpu", data=data)
        run.finish(net.state_dict(), made, probe.network(net))
