"""Training: one function that turns an Experiment into a complete Run, and continues where an earlier call stopped.

Every patch and every rate is a pure function of the step, so that a checkpoint needs no sampler state and a resumed run
equals an uninterrupted one bit for bit on a CPU. Device, precision and several processes are Accelerate's business:
`accelerate launch -m srlib train ...` or `torchrun -m srlib train ...` split each batch over the processes.
"""

import contextlib
import copy
import math
import os
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from torch import Tensor, nn
from tqdm.auto import tqdm

from srlib.core.errors import SRError
from srlib.core.files import sha256
from srlib.core.output import tolerant
from srlib.core.protocols import protocol
from srlib.data.pairs import open_pairs
from srlib.data.patches import PatchSampler
from srlib.data.sets import open_set
from srlib.nn import models
from srlib.scoring import vitals
from srlib.scoring.evaluation import measure
from srlib.train import probe
from srlib.train.experiment import Experiment
from srlib.train.run import Run, checkout, provenance, start_budget
from srlib.train.trainer import Trainer, to_batch

CHECK_EVERY = 10  # steps between looks at the loss, each of which waits for the device
SAVE_SECONDS = 60.0
VALIDATIONS = 10
VALIDATION_IMAGES = 5
EXPLODED = 100.0  # times the largest loss of the first look ...
HARMLESS = 0.1  # ... but never less than this, which is a PSNR of 10 dB: first patches may be flat


def interactive() -> bool:
    """Whether somebody watches: a terminal, or a kernel that a Jupyter server started. Headless runs print lines."""
    return sys.stderr.isatty() or "JPY_SESSION_NAME" in os.environ


class _Batches:
    """The batches of a run in order, the next one cut by a thread while the current one is used."""

    def __init__(self, sampler: PatchSampler, trainer: Trainer):
        self.sampler, self.trainer = sampler, trainer
        self.pool = ThreadPoolExecutor(1)
        self.ahead = None

    def _cut(self, step: int) -> tuple[int, tuple[Tensor, Tensor]]:
        accelerator = self.trainer.accelerator
        return step, self.sampler.batch(step, accelerator.process_index, accelerator.num_processes)

    def get(self, step: int) -> tuple[Tensor, Tensor]:
        if self.ahead is None:
            self.ahead = self.pool.submit(self._cut, step)
        ready, batch = self.ahead.result()
        assert ready == step
        self.ahead = self.pool.submit(self._cut, step + 1)
        return to_batch(*batch, self.trainer.net.channels, self.trainer.accelerator.device)

    def rewind(self) -> None:
        """Begin again with whatever step is asked for next."""
        self.ahead = None

    def close(self) -> None:
        self.pool.shutdown(cancel_futures=True)


def _validate(net: nn.Module, experiment: Experiment) -> dict[str, float]:
    """Score a network on the experiment's validation images; nothing where it names none."""
    if not experiment.validation:
        return {}
    measured = measure(net, experiment.validation, protocol("y"), limit=VALIDATION_IMAGES)
    return {name: value for name, value in measured.items() if isinstance(value, float)}


def _vital_signs(trained: nn.Module, experiment: Experiment) -> vitals.Signs:
    """Return the vital signs of a network on the validation set, or where there is none on the training images."""
    net = models.create(experiment.model, experiment.scale, **experiment.model_args)  # a copy that no precision is set on
    net.load_state_dict({name: tensor.cpu() for name, tensor in trained.state_dict().items()})
    return vitals.measure(net, *filter(None, (experiment.validation, experiment.data)))


def describe(row: dict[str, float], dataset: str) -> str:
    """Return the score of a line of the history in words, to stand behind others; "" where nothing was validated."""
    if "psnr" in row:
        return f", {row['psnr']:.2f} dB on {dataset}"
    return f", accuracy {row['accuracy']:.3f} on {dataset}" if "accuracy" in row else ""


class _Loop:
    """The loop of one run: budget, looks at the loss, validations, checkpoints, what is printed."""

    def __init__(self, trainer: Trainer, batches: _Batches, run: Run, progress: str):
        self.trainer, self.batches, self.run = trainer, batches, run
        self.experiment = trainer.experiment
        self.main = trainer.accelerator.is_main_process
        self.total = self.experiment.steps  # None until a budget in minutes is fitted
        self.history: list[dict[str, float]] = []
        self.recent: list[Tensor] = []
        self.since_validation: list[list[float]] = []
        self.limit = math.inf
        self.before = 0.0
        self.start = self.saved = time.monotonic()
        self.progress, self.bar = progress, None

    @property
    def seconds(self) -> float:
        return self.before + time.monotonic() - self.start

    def restore(self, state: dict) -> None:
        self.trainer.load(state["trainer"])
        self.total, self.history, self.before = state["total"], state["history"], state["seconds"]
        self.since_validation, self.limit = state["since_validation"], state["limit"]

    def save(self) -> None:
        """Write a checkpoint, right after `look`; raise SRError where the last update has spoilt the weights."""
        self.saved = time.monotonic()
        nets = [self.trainer.net, *([self.trainer.adversary.net] if self.trainer.adversary else [])]
        if not all(torch.nn.utils.get_total_norm(net.parameters()).isfinite() for net in nets):
            raise self._diverged("weights that are not finite", self.trainer.done)
        if self.main:
            self.run.save_checkpoint(
                {
                    "trainer": self.trainer.state(),
                    "total": self.total,
                    "history": self.history,
                    "seconds": self.seconds,
                    "since_validation": self.since_validation,
                    "limit": self.limit,
                }
            )

    def take_step(self) -> None:
        step = self.trainer.done
        lr, hr = self.batches.get(step)
        rate = self.experiment.rate(step / self.total if self.total else 0.0)
        self.recent.append(self.trainer.step(lr, hr, rate))

    def look(self) -> None:
        """Read the losses since the last look; raise SRError at the first that is not a number or has exploded.

        The mean over processes is what one process with the whole batch would see, and all of them raise together.
        """
        values = self.trainer.accelerator.reduce(torch.stack(self.recent), "mean").tolist() if self.recent else []
        first = self.trainer.done - len(values) + 1
        for step, parts in enumerate(values, first):
            if not all(map(math.isfinite, parts)) or parts[0] > self.limit:
                raise self._diverged(f"loss {', discriminator '.join(f'{part:.3g}' for part in parts)}", step)
        if math.isinf(self.limit) and values:
            self.limit = max(EXPLODED * max(parts[0] for parts in values), HARMLESS)
        self.since_validation += values
        self.recent.clear()

    def _diverged(self, what: str, step: int) -> SRError:
        kept = f"the checkpoint of an earlier step is kept in {self.run.dir.name}"
        return SRError(
            f"training {self.experiment.name} diverged: {what} at step {step} of {self.total or '?'}; "
            f"{kept if self.run.checkpoint.exists() else 'no checkpoint was written yet'}. "
            f"Lower learning_rate (={self.experiment.learning_rate:g}) or set clip (={self.experiment.clip:g})."
        )

    def _agreed(self, value: float) -> float:
        """Return the largest value of all processes, which must take the same decisions."""
        mine = torch.tensor([value], device=self.trainer.accelerator.device)
        return self.trainer.accelerator.gather(mine).max().item()

    def fit_budget(self) -> None:
        """Turn minutes into steps: time some steps and one validation, then fill the rest of the budget from the beginning.

        The timed steps are undone, so that a run is the same as one that was given its steps.
        """
        budget = self.experiment.minutes * 60
        first, times = copy.deepcopy(self.trainer.state()), []
        while len(times) < 3 or (self._agreed(self.seconds) < 0.03 * budget and len(times) < 200):
            began = time.monotonic()
            self.take_step()
            self.look()
            times.append(time.monotonic() - began)
        began = time.monotonic()
        _validate(self.trainer.result, self.experiment)
        validations = VALIDATIONS * (time.monotonic() - began)
        left = max(budget - self._agreed(self.seconds + validations), 0.0)
        self.total = max(1, int(left / self._agreed(statistics.median(times))))
        self.trainer.load(first)
        self.batches.rewind()
        self.since_validation.clear()

    def validate(self) -> None:
        names = ["loss", *(["discriminator"] if self.trainer.adversary else [])]
        means = [statistics.fmean(part) for part in zip(*self.since_validation, strict=True)] or [math.nan] * len(names)
        row = {
            "step": self.trainer.done,
            **dict(zip(names, means, strict=True)),
            "learning_rate": self.experiment.rate(self.trainer.done / self.total),
            "seconds": round(self.seconds, 1),
            **(_validate(self.trainer.result, self.experiment) if self.main else {}),
        }
        self.since_validation = []
        self.history.append(row)
        if not self.main:
            return
        self.run.write_history(self.history)
        score = describe(row, self.experiment.validation)
        line = f"step {row['step']}/{self.total}: loss {row['loss']:.3g}{score}, {row['seconds']:.0f} s"
        if self.bar is not None:
            self.bar.set_postfix_str(line.split(": ", 1)[1])
        elif self.progress != "none":
            print(f"{self.experiment.name} x{self.experiment.scale} {line}", flush=True)

    def run_to_end(self) -> None:
        if self.total is None:
            self.fit_budget()
        every = max(1, -(-self.total // VALIDATIONS))
        if self.progress == "bar" and self.main:
            self.bar = tqdm(total=self.total, initial=self.trainer.done, desc=self.experiment.name, unit="step")
        while self.trainer.done < self.total:
            self.take_step()
            done = self.trainer.done
            if self.bar is not None:
                self.bar.update()
            due = done % every == 0 or done == self.total
            if due or done % CHECK_EVERY == 0:
                self.look()
                if due:
                    self.validate()
                if due or time.monotonic() - self.saved > SAVE_SECONDS:
                    self.save()
        if self.bar is not None:
            self.bar.close()


def digest(start: dict[str, Path]) -> str:
    """Return what `Experiment.start` says of weights files: the first digits of their SHA-256."""
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
        found = digest(start)
        raise SRError(f"{given} is not what {experiment.name} starts from: SHA-256 {found}, expected {experiment.start}")


def check_validation(experiment: Experiment) -> None:
    """Raise SRError where the validation images are not there, or do not fit the scale."""
    if not experiment.validation:
        return
    found = open_set(experiment.validation)
    found.check_scale(experiment.scale)
    if experiment.scale == 1 and not found.paired:
        raise SRError(f"validation (={found.name}) has no LR images, which scale 1 needs; take a set of pairs")


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
    check_validation(experiment)  # what is missing or does not fit is told before the first step
    pairs = open_pairs(experiment.data, experiment.scale, progress=progress == "bar")
    run = Run(experiment, pairs.fingerprint, root)
    run.probe = probe.training(experiment)
    sampler = PatchSampler(pairs, batch=experiment.batch, lr_patch=experiment.lr_patch, seed=experiment.seed)
    data = {"name": experiment.data, "fingerprint": pairs.fingerprint, "images": len(pairs)}
    if models.fitted(experiment.model):
        _fit(experiment, run, sampler, data)
    else:
        _descend(experiment, run, sampler, data, start, progress)
    return run


def _reusable(run: Run) -> bool:
    """Return whether a run is complete and right. What other code made than `run.probe` is of is set aside.

    Raises SRError for a run whose config is missing, damaged or edited, and for weights that were changed.
    """
    if not run.begun:
        return False
    found = Run.open(run.dir)
    if found.key != run.key:
        raise SRError(f"{run.dir} holds the run {found.key}; move it back to a folder of that name")
    if found.probe is None or not probe.agree(found.probe, run.probe):
        print(
            f"{run.key}: its network, loss or gradient were others than today's; it is kept in {run.set_aside()} "
            "and trained anew",
            flush=True,
        )
    if run.complete:
        run.check_weights()
    return run.complete


def _fit(experiment: Experiment, run: Run, sampler: PatchSampler, data: dict) -> None:
    """Let a model learn its steps * batch patches in one go, without gradients; a killed call leaves nothing to go on from."""
    if experiment.steps is None:
        raise SRError(f"{experiment.name} is fitted to steps * batch patches at once; give it steps, not minutes")
    with PartialState().main_process_first():
        if not _reusable(run):  # of several processes the first one has done it
            _fit_once(experiment, run, sampler, data)


def _fit_once(experiment: Experiment, run: Run, sampler: PatchSampler, data: dict) -> None:
    with run.lock():
        run.write_config()
        began = time.monotonic()
        net = models.create(experiment.model, experiment.scale, **experiment.model_args)
        cpu = torch.device("cpu")
        net.fit((to_batch(*sampler.batch(step), net.channels, cpu) for step in range(experiment.steps)), experiment.seed)
        minutes = round((time.monotonic() - began) / 60, 2)
        scores = _validate(net, experiment)
        run.write_history([{"step": experiment.steps, "seconds": round(60 * minutes, 1), **scores}])
        made = provenance(seed=experiment.seed, steps=experiment.steps, minutes=minutes, processes=1, device="cpu", data=data)
        run.finish(net.state_dict(), made, probe.network(net))


def accelerator_for(experiment: Experiment) -> Accelerator:
    """Return Accelerate's handle on the device, in the experiment's precision."""
    AcceleratorState._reset_state()  # else a process could train in one precision only
    return Accelerator(
        mixed_precision="bf16" if experiment.precision == "bf16" else "no",
        dynamo_backend="inductor" if torch.cuda.is_available() else None,
    )


def _descend(experiment: Experiment, run: Run, sampler: PatchSampler, data: dict, start: dict[str, Path], progress: str) -> None:
    """Train by gradient descent, from the last checkpoint where there is one."""
    accelerator, code = accelerator_for(experiment), checkout()  # the code is that of now, whatever is changed meanwhile
    processes = accelerator.num_processes
    if experiment.discriminator and processes > 1:
        raise SRError(f"{experiment.name} trains against a discriminator, which works in one process, got {processes}")
    if experiment.batch % processes:
        raise SRError(f"batch (={experiment.batch}) must be a multiple of the {processes} processes")
    with accelerator.main_process_first():  # which sets aside
        if _reusable(run):
            return
    with run.lock() if accelerator.is_main_process else contextlib.nullcontext():
        if processes == 1 and run.complete:  # another process has done it in between
            return
        trainer = Trainer(experiment, accelerator, start)
        batches = _Batches(sampler, trainer)
        loop = _Loop(trainer, batches, run, progress)
        state = run.load_checkpoint()
        if state is not None:
            loop.restore(state)
        elif accelerator.is_main_process:
            run.write_config()
        try:
            loop.run_to_end()
        finally:
            batches.close()
        if accelerator.is_main_process:
            minutes, device = round(loop.seconds / 60, 2), str(accelerator.device.type)
            parts = {file: "+".join(sorted(part for part, one in start.items() if one == file)) for file in start.values()}
            before = {"start": {part: start_budget(experiment, part, file) for file, part in parts.items()}} if start else {}
            extra = {**before, **code, "vital_signs": _vital_signs(trainer.result, experiment)}
            spent = {"steps": loop.total, "minutes": minutes}
            made = provenance(seed=experiment.seed, **spent, processes=processes, device=device, data=data, **extra)
            run.finish(trainer.result.state_dict(), made, probe.network(trainer.result))
    accelerator.wait_for_everyone()
