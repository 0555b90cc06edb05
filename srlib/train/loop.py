"""The training loop: batches, steps, budget, loss checks, validations and checkpoints of one run.

Every patch and every learning rate is a pure function of the step, so that a checkpoint needs no sampler state and a resumed run
equals an uninterrupted one bit for bit on a CPU. Device, precision and processes are handled by Accelerate.
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
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn
from tqdm.auto import tqdm

from srlib.core.errors import SRError
from srlib.core.protocols import protocol
from srlib.data.patches import PatchSampler
from srlib.nn import models
from srlib.scoring import vitals
from srlib.scoring.evaluation import measure
from srlib.train import probe
from srlib.train.experiment import Experiment
from srlib.train.provenance import checkout, provenance
from srlib.train.run import Run, reusable, start_budget
from srlib.train.trainer import Trainer, to_batch

CHECK_EVERY = 10  # steps between checks of the loss, each of which synchronises with the device
SAVE_SECONDS = 60.0
VALIDATIONS = 10
VALIDATION_IMAGES = 5
DIVERGENCE_FACTOR = 100.0  # a loss above this multiple of the largest one of the first check has diverged ...
LOSS_FLOOR = 0.1  # ... unless it is below this, a PSNR of 10 dB: the first patches may be flat


def interactive() -> bool:
    """Return whether a user watches: a terminal, or a kernel of a Jupyter server. Headless runs print lines."""
    return sys.stderr.isatty() or "JPY_SESSION_NAME" in os.environ


class Batches:
    """The batches of a run in order, the next one prefetched by a thread."""

    def __init__(self, sampler: PatchSampler, trainer: Trainer):
        self.sampler, self.trainer = sampler, trainer
        self.pool = ThreadPoolExecutor(1)
        self.prefetched = None

    def _sample(self, step: int) -> tuple[int, tuple[Tensor, Tensor]]:
        accelerator = self.trainer.accelerator
        return step, self.sampler.batch(step, accelerator.process_index, accelerator.num_processes)

    def get(self, step: int) -> tuple[Tensor, Tensor]:
        if self.prefetched is None:
            self.prefetched = self.pool.submit(self._sample, step)
        ready, batch = self.prefetched.result()
        assert ready == step
        self.prefetched = self.pool.submit(self._sample, step + 1)
        return to_batch(*batch, self.trainer.net.channels, self.trainer.accelerator.device)

    def reset(self) -> None:
        """Discard the prefetched batch."""
        self.prefetched = None

    def close(self) -> None:
        self.pool.shutdown(cancel_futures=True)


def validate(net: nn.Module, experiment: Experiment) -> dict[str, float]:
    """Score a network on the experiment's validation images; nothing where it names none."""
    if not experiment.validation:
        return {}
    measured = measure(net, experiment.validation, protocol("y"), limit=VALIDATION_IMAGES)
    return {name: value for name, value in measured.items() if isinstance(value, float)}


def _vital_signs(trained: nn.Module, experiment: Experiment) -> vitals.Signs:
    """Return the vital signs of a network on the validation set, or where there is none on the training images."""
    net = models.create(experiment.model, experiment.scale, **experiment.model_args)  # a copy without autocast
    net.load_state_dict({name: tensor.cpu() for name, tensor in trained.state_dict().items()})
    return vitals.measure(net, *filter(None, (experiment.validation, experiment.data)))


def describe(row: dict[str, float], dataset: str) -> str:
    """Return the validation score of a row of the history as ", 31.42 dB on Set5"; "" without one."""
    if "psnr" in row:
        return f", {row['psnr']:.2f} dB on {dataset}"
    return f", accuracy {row['accuracy']:.3f} on {dataset}" if "accuracy" in row else ""


class Loop:
    """The training loop of one run: budget, loss checks, validations, checkpoints, progress."""

    def __init__(self, trainer: Trainer, batches: Batches, run: Run, progress: str):
        self.trainer, self.batches, self.run = trainer, batches, run
        self.experiment = trainer.experiment
        self.main = trainer.accelerator.is_main_process
        self.total = self.experiment.steps  # None until a budget in minutes is fitted
        self.history: list[dict[str, float]] = []
        self.recent: list[Tensor] = []
        self.since_validation: list[list[float]] = []
        self.limit = math.inf
        self.previous_seconds = 0.0  # of earlier calls
        self.start = self.saved = time.monotonic()
        self.progress, self.bar = progress, None

    @property
    def seconds(self) -> float:
        return self.previous_seconds + time.monotonic() - self.start

    def restore(self, state: dict) -> None:
        self.trainer.load(state["trainer"])
        self.total, self.history, self.previous_seconds = state["total"], state["history"], state["seconds"]
        self.since_validation, self.limit = state["since_validation"], state["limit"]

    def save(self) -> None:
        """Write a checkpoint, right after `check_loss`; raise SRError where the weights are no longer finite."""
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

    def check_loss(self) -> None:
        """Read the losses since the last check; raise SRError at the first that is not finite or has diverged.

        Losses are averaged over processes, so that all of them raise together.
        """
        values = self.trainer.accelerator.reduce(torch.stack(self.recent), "mean").tolist() if self.recent else []
        first = self.trainer.done - len(values) + 1
        for step, parts in enumerate(values, first):
            if not all(map(math.isfinite, parts)) or parts[0] > self.limit:
                raise self._diverged(f"loss {', discriminator '.join(f'{part:.3g}' for part in parts)}", step)
        if math.isinf(self.limit) and values:
            self.limit = max(DIVERGENCE_FACTOR * max(parts[0] for parts in values), LOSS_FLOOR)
        self.since_validation += values
        self.recent.clear()

    def _diverged(self, what: str, step: int) -> SRError:
        checkpoint = f"the checkpoint of an earlier step is kept in {self.run.dir.name}"
        return SRError(
            f"training {self.experiment.name} diverged: {what} at step {step} of {self.total or '?'}; "
            f"{checkpoint if self.run.checkpoint.exists() else 'no checkpoint was written yet'}. "
            f"Lower learning_rate (={self.experiment.learning_rate:g}) or set clip (={self.experiment.clip:g})."
        )

    def _max_over_processes(self, value: float) -> float:
        """Return the largest value of all processes, so that all take the same decisions."""
        local = torch.tensor([value], device=self.trainer.accelerator.device)
        return self.trainer.accelerator.gather(local).max().item()

    def fit_budget(self) -> None:
        """Convert the budget from minutes to steps: time some steps and one validation, and divide the remaining time.

        The timed steps are undone, so that the run equals one that was given its steps.
        """
        budget = self.experiment.minutes * 60
        initial, times = copy.deepcopy(self.trainer.state()), []
        while len(times) < 3 or (self._max_over_processes(self.seconds) < 0.03 * budget and len(times) < 200):
            began = time.monotonic()
            self.take_step()
            self.check_loss()
            times.append(time.monotonic() - began)
        began = time.monotonic()
        validate(self.trainer.result, self.experiment)
        validations = VALIDATIONS * (time.monotonic() - began)
        remaining = max(budget - self._max_over_processes(self.seconds + validations), 0.0)
        self.total = max(1, int(remaining / self._max_over_processes(statistics.median(times))))
        self.trainer.load(initial)
        self.batches.reset()
        self.since_validation.clear()

    def validate(self) -> None:
        names = ["loss", *(["discriminator"] if self.trainer.adversary else [])]
        means = [statistics.fmean(part) for part in zip(*self.since_validation, strict=True)] or [math.nan] * len(names)
        row = {
            "step": self.trainer.done,
            **dict(zip(names, means, strict=True)),
            "learning_rate": self.experiment.rate(self.trainer.done / self.total),
            "seconds": round(self.seconds, 1),
            **(validate(self.trainer.result, self.experiment) if self.main else {}),
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
                self.check_loss()
                if due:
                    self.validate()
                if due or time.monotonic() - self.saved > SAVE_SECONDS:
                    self.save()
        if self.bar is not None:
            self.bar.close()


def accelerator_for(experiment: Experiment) -> Accelerator:
    """Return Accelerate's handle on the device, in the experiment's precision."""
    AcceleratorState._reset_state()  # else a process could train in one precision only
    return Accelerator(
        mixed_precision="bf16" if experiment.precision == "bf16" else "no",
        dynamo_backend="inductor" if torch.cuda.is_available() else None,
    )


def train_sgd(experiment: Experiment, run: Run, sampler: PatchSampler, data: dict, start: dict[str, Path], progress: str) -> None:
    """Train by stochastic gradient descent, from the last checkpoint where there is one."""
    accelerator, code = accelerator_for(experiment), checkout()  # the commit at the start, whatever changes meanwhile
    processes = accelerator.num_processes
    if experiment.discriminator and processes > 1:
        raise SRError(f"{experiment.name} trains against a discriminator, which works in one process, got {processes}")
    if experiment.batch % processes:
        raise SRError(f"batch (={experiment.batch}) must be a multiple of the {processes} processes")
    with accelerator.main_process_first():  # others wait while it renames an outdated run
        if reusable(run):
            return
    with run.lock() if accelerator.is_main_process else contextlib.nullcontext():
        if processes == 1 and run.complete:  # another process has finished it meanwhile
            return
        trainer = Trainer(experiment, accelerator, start)
        batches = Batches(sampler, trainer)
        loop = Loop(trainer, batches, run, progress)
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
            parts = {file: "+".join(sorted(part for part, source in start.items() if source == file)) for file in start.values()}
            before = {"start": {part: start_budget(experiment, part, file) for file, part in parts.items()}} if start else {}
            extra = {**before, **code, "vital_signs": _vital_signs(trainer.result, experiment)}
            budget = {"steps": loop.total, "minutes": minutes}
            made = provenance(seed=experiment.seed, **budget, processes=processes, device=device, data=data, **extra)
            run.finish(trainer.result.state_dict(), made, probe.network(trainer.result))
    accelerator.wait_for_everyone()
