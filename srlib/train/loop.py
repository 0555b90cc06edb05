"""The training loop: batches, steps, budget, loss checks, validations and checkpoints of one run.

Every patch and every learning rate is a pure function of the step, so that a checkpoint needs no sampler state and a resumed run
equals an uninterrupted one bit for bit on a CPU. Device, precision and processes are handled by Accelerate.
"""

import copy
import math
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn
from tqdm.auto import tqdm

from srlib.core.errors import SRError
from srlib.core.protocols import protocol
from srlib.data.patches import PatchSampler
from srlib.data.sets import open_set
from srlib.scoring.evaluation import measure
from srlib.train.experiment import Experiment
from srlib.train.run import VALIDATION_IMAGES, Run
from srlib.train.trainer import Trainer, to_batch

CHECK_EVERY = 10  # steps between checks of the loss, each of which synchronises with the device
SAVE_SECONDS = 60.0
VALIDATIONS = 10
VALIDATION_SIDE = 512  # of larger images, the centre: whole photographs took as long as the training
DIVERGENCE_FACTOR = 100.0  # a loss above this multiple of the largest one of the first check has diverged ...
LOSS_FLOOR = 0.1  # ... unless it is below this, a PSNR of 10 dB: the first patches may be flat
STATE = ("total", "history", "since_validation", "limit")  # attributes of `Loop` in a checkpoint


def accelerator_for(experiment: Experiment) -> Accelerator:
    """Return Accelerate's handle on the device, in the experiment's precision."""
    AcceleratorState._reset_state()  # else a process could train in one precision only
    return Accelerator(
        mixed_precision="bf16" if experiment.precision == "bf16" else "no",
        dynamo_backend="inductor" if torch.cuda.is_available() else None,
    )


def batches(sampler: PatchSampler, trainer: Trainer) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield this process's batches from the trainer's step on, the next one prefetched by a thread."""
    accelerator, next_step = trainer.accelerator, trainer.experiment.first_step + trainer.done
    process = accelerator.process_index, accelerator.num_processes
    with ThreadPoolExecutor(1) as pool:
        prefetched = pool.submit(sampler.batch, next_step, *process)
        for step in count(next_step + 1):
            lr, hr = prefetched.result()
            prefetched = pool.submit(sampler.batch, step, *process)
            yield to_batch(lr, hr, trainer.net.channels, accelerator.device)


def validate(net: nn.Module, experiment: Experiment) -> dict[str, float]:
    """Score a network on the experiment's validation images; {} where it names none."""
    if not experiment.validation:
        return {}
    scores = measure(net, open_set(experiment.validation).cropped(VALIDATION_SIDE), protocol("y"), limit=VALIDATION_IMAGES)
    return {name: value for name, value in scores.items() if isinstance(value, float)}


def describe(row: dict[str, float], images: str) -> str:
    """Return the validation score of a row of the history as ", 31.42 dB on Set5"; "" without one. images: `Run.validated_on`."""
    if "psnr" in row:
        return f", {row['psnr']:.2f} dB on {images}"
    return f", accuracy {row['accuracy']:.3f} on {images}" if "accuracy" in row else ""


class Loop:
    """The training loop of one run: budget, loss checks, validations, checkpoints, progress ("bar", "lines" or "none")."""

    def __init__(self, trainer: Trainer, sampler: PatchSampler, run: Run, progress: str):
        self.trainer, self.sampler, self.run, self.progress = trainer, sampler, run, progress
        self.experiment = trainer.experiment
        self.main = trainer.accelerator.is_main_process
        self.total = self.experiment.steps  # None until a budget in minutes is fitted
        self.history: list[dict[str, float]] = []
        self.recent: list[Tensor] = []
        self.since_validation: list[list[float]] = []
        self.limit = math.inf
        self.previous_seconds = 0.0  # of earlier calls
        self.checkouts: list[dict] = []  # of all calls, of `provenance.checkout`
        self.start = self.saved = time.monotonic()

    @property
    def seconds(self) -> float:
        return self.previous_seconds + time.monotonic() - self.start

    def restore(self, state: dict) -> None:
        """Go on from the state of a checkpoint."""
        self.trainer.load(state["trainer"])
        self.previous_seconds = state["seconds"]
        self.checkouts = [*state.get("checkouts", []), *self.checkouts]
        for name in STATE:
            setattr(self, name, state[name])

    def save(self) -> None:
        """Write a checkpoint, right after `check_loss`; raise SRError where the weights are no longer finite."""
        self.saved = time.monotonic()
        nets = [self.trainer.net, *([self.trainer.adversary.net] if self.trainer.adversary else [])]
        if not all(torch.nn.utils.get_total_norm(net.parameters()).isfinite() for net in nets):
            raise self._diverged("weights that are not finite", self.trainer.done)
        if self.main:
            state = {name: getattr(self, name) for name in STATE}
            now = {"trainer": self.trainer.state(), "seconds": self.seconds, "checkouts": self.checkouts}
            self.run.save_checkpoint({**now, **state})

    def take_step(self, lr: Tensor, hr: Tensor) -> None:
        """Train on one batch `(N, C, H, W)` at the rate of the schedule."""
        rate = self.experiment.rate(self.trainer.done / self.total if self.total else 0.0)
        self.recent.append(self.trainer.step(lr, hr, rate))

    def check_loss(self) -> None:
        """Read the losses since the last check; raise SRError at the first that is not finite or has diverged.

        Losses are averaged over processes, so that all of them raise together.
        """
        values = self.trainer.accelerator.reduce(torch.stack(self.recent), "mean").tolist()
        for step, parts in enumerate(values, self.trainer.done - len(values) + 1):
            if not all(map(math.isfinite, parts)) or parts[0] > self.limit:
                raise self._diverged(f"loss {', discriminator '.join(f'{part:.3g}' for part in parts)}", step)
        if math.isinf(self.limit):
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
        """Convert the budget from minutes to steps by timing some steps, which are undone, and one validation."""
        budget = self.experiment.minutes * 60
        initial, times = copy.deepcopy(self.trainer.state()), []
        with closing(batches(self.sampler, self.trainer)) as timed:
            while len(times) < 3 or (self._max_over_processes(self.seconds) < 0.03 * budget and len(times) < 200):
                began = time.monotonic()
                self.take_step(*next(timed))
                self.check_loss()
                times.append(time.monotonic() - began)
        began = time.monotonic()
        validate(self.trainer.result, self.experiment)
        validations = VALIDATIONS * (time.monotonic() - began)
        remaining = max(budget - self._max_over_processes(self.seconds + validations), 0.0)
        self.total = max(1, int(remaining / self._max_over_processes(statistics.median(times))))
        self.trainer.load(initial)
        self.since_validation.clear()

    def validate(self, bar: tqdm) -> None:
        """Add a row to the history: mean losses since the last validation, and validation scores."""
        means = [statistics.fmean(part) for part in zip(*self.since_validation, strict=True)]
        row = {
            "step": self.trainer.done,
            **dict(zip(("loss", "discriminator"), means, strict=False)),
            "learning_rate": self.experiment.rate(self.trainer.done / self.total),
            "seconds": round(self.seconds, 1),
            **(validate(self.trainer.result, self.experiment) if self.main else {}),
        }
        self.since_validation = []
        self.history.append(row)
        if not self.main:
            return
        self.run.write_history(self.history)
        report = f"loss {row['loss']:.3g}{describe(row, self.run.validated_on)}, {row['seconds']:.0f} s"
        bar.set_postfix_str(report)
        if self.progress == "lines":
            print(f"{self.experiment.name} x{self.experiment.scale} step {row['step']}/{self.total}: {report}", flush=True)

    def run_to_end(self) -> None:
        """Train until the last step, with validations, checkpoints and checks of the loss on the way."""
        if self.total is None:
            self.fit_budget()
        every = max(1, -(-self.total // VALIDATIONS))
        done, disable = self.trainer.done, self.progress != "bar" or not self.main
        bar = tqdm(total=self.total, initial=done, desc=self.experiment.name, unit="step", disable=disable)
        with bar, closing(batches(self.sampler, self.trainer)) as fresh:
            while done < self.total:
                self.take_step(*next(fresh))
                bar.update()
                done = self.trainer.done
                due = done % every == 0 or done == self.total
                if due or done % CHECK_EVERY == 0:
                    self.check_loss()
                    if due:
                        self.validate(bar)
                    if due or time.monotonic() - self.saved > SAVE_SECONDS:
                        self.save()
