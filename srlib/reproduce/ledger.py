"""How far the networks of the plan are, from `data/weights` and runs/, and the hours that the rest takes."""

import json
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import torch

from srlib import official
from srlib.core import paths
from srlib.core.errors import unknown
from srlib.core.files import sha256, write_json
from srlib.core.output import print_line
from srlib.data.pairs import open_pairs
from srlib.data.sets import open_set
from srlib.reproduce import cards
from srlib.reproduce.plan import LATER, Key, Planned
from srlib.train import probe
from srlib.train.experiment import Experiment
from srlib.train.loop import accelerator_for
from srlib.train.run import Run, legs, training_budget
from srlib.train.trainer import Trainer, to_batch
from srlib.train.training import check_validation, digest

WARM_UP, MAX_STEPS, MAX_SECONDS = 2, 5, 20.0  # untimed steps; then at most so many timed ones, in at most so many seconds
WORKLOAD = ("model", "model_args", "scale", "loss", "batch", "hr_patch", "precision", "discriminator", "discriminator_args")


@dataclass(frozen=True)
class Status:
    """Progress of a network. step: summed over its legs. seconds_per_step: None where nothing of it was trained here."""

    planned: Planned
    state: str  # "released", "done", "partial" or "to do"
    step: int
    seconds_per_step: float | None

    @property
    def remaining_steps(self) -> int:
        return self.planned.experiment.steps - self.step


class Ledger:
    """Progress of the whole plan: released weights, complete and partial runs."""

    def __init__(self, plan: list[Planned]):
        self.plan = plan
        self._probes: dict[str, probe.Groups] = {}
        self._fingerprints: dict[tuple[str, int], str] = {}
        self._weights: dict[Key, Path] = {}

    def run(self, experiment: Experiment) -> Run:
        """Return the run of a leg, with the probe of today's code."""
        data = experiment.data, experiment.scale
        if data not in self._fingerprints:
            self._fingerprints[data] = open_pairs(*data, progress=sys.stderr.isatty()).fingerprint
        run = Run(experiment, self._fingerprints[data])
        kind = json.dumps(
            vars(replace(experiment, seed=0, first_step=0, steps=1, start=LATER, learning_rate=1, data="", validation=""))
        )
        if kind not in self._probes:
            self._probes[kind] = probe.training(experiment)
        run.probe = self._probes[kind]
        return run

    def usable(self, run: Run) -> bool:
        """Whether a run was started by code whose training probe agrees with today's; `training.train` sets others aside."""
        return run.started and (made := Run.open(run.dir).probe) is not None and probe.agree(made, run.probe)

    def trainings(self, planned: Planned) -> Iterator[tuple[int, Experiment, dict[str, Path], Run]]:
        """Yield number, training, initial weights and run of the complete legs, then of the next one.

        Legs that are released and have no run here are left out. Nothing is yielded while a network that it starts from is not
        trained.
        """
        files = {part: file for part, first in planned.start.items() if (file := self.weights(first)) is not None}
        if len(files) < len(planned.start):
            return
        files |= {part: official.weights_file(*network) for part, network in planned.official.items()}
        released = self.released_legs(planned)
        for number in range(planned.legs):
            experiment = planned.training(number, digest(files))
            run = self.run(experiment)
            if run.complete and self.usable(run):
                yield number, experiment, files, run
                files = {"": run.weights}
            elif number < released:
                files = {"": cards.released_file(*planned.key)}
            else:
                yield number, experiment, files, run
                return

    def complete(self, planned: Planned) -> dict[int, Run]:
        """Return the complete runs of a network by the number of their leg."""
        return {number: run for number, _, _, run in self.trainings(planned) if run.complete and self.usable(run)}

    def next(self, planned: Planned) -> tuple[int, Experiment, dict[str, Path]] | None:
        """Return number, training and initial weights of the next leg; None for a network that is done or has to wait."""
        for number, experiment, start, run in self.trainings(planned):
            if not (run.complete and self.usable(run)):
                return number, experiment, start
        return None

    def weights(self, planned: Planned) -> Path | None:
        """Return the weights of a network's last leg, else its released ones; None without either."""
        if planned.key not in self._weights:
            last = self.complete(planned).get(planned.legs - 1)
            file = last.weights if last else self.released(planned)
            if file is None:
                return None
            self._weights[planned.key] = file
        return self._weights[planned.key]

    def released_legs(self, planned: Planned) -> int:
        """Return how many legs of exactly this training the released weights have under all its names; 0 without any."""
        return min(_released_legs(planned, name) for name in planned.names)

    def released(self, planned: Planned) -> Path | None:
        """Return the released weights of exactly this training, all its legs; None unless all its names have them."""
        return cards.released_file(*planned.key) if self.released_legs(planned) == planned.legs else None

    def status(self, planned: Planned) -> Status:
        """Return the progress of a network."""
        if self.released(planned):
            return Status(planned, "released", planned.experiment.steps, None)
        done, seconds = self.released_legs(planned) * planned.leg, None
        for number, _, _, run in self.trainings(planned):
            if not self.usable(run):
                break
            if run.complete:
                made = run.provenance()
                done, seconds = (number + 1) * planned.leg, 60 * made["minutes"] / made["steps"]
            elif (state := run.load_checkpoint()) is not None:
                step = state["trainer"]["step"]
                done, seconds = number * planned.leg + step, state["seconds"] / step
        state = "done" if done == planned.experiment.steps else "partial" if done else "to do"
        return Status(planned, state, done, seconds)

    def wanted(self, only: Iterable[str] = ()) -> list[Planned]:
        """Return the unreleased networks in the order of the plan, with the unreleased ones that they start from.

        only: names of networks ("vdsr", "btsrn/vdsr", "btsrn/vdsr x2", "btsrn/vdsr x2 seed 1") or comparisons; empty for all.
        """
        for name in only:
            if not any(name in _aliases(planned) for planned in self.plan):
                raise unknown("network of the plan:", name, {alias for planned in self.plan for alias in _aliases(planned)})
        chosen: set[Key] = set()
        for planned in reversed(self.plan):
            asked = planned.release if not only else any(name in _aliases(planned) for name in only)
            if planned.key in chosen or (asked and not self.released(planned)):
                chosen.add(planned.key)
                chosen |= {first.key for first in planned.first if not self.released(first)}
        return [planned for planned in self.plan if planned.key in chosen]


def _released_legs(planned: Planned, name: str) -> int:
    e = planned.experiment
    file = cards.released_file(e.paper, name, e.scale, e.seed)
    if not (file.with_suffix(".json") if planned.card_only else file).exists():
        return 0
    card = cards.read_card(file.with_suffix(".json"))
    if not planned.card_only and sha256(file) != card["weights"]:  # a release was interrupted
        return 0
    made = Experiment(**card["experiment"])
    steps = [leg["steps"] for leg in legs(training_budget(card["experiment"], card["provenance"]))]
    last = planned.training(len(steps) - 1, LATER if planned.start or planned.official or len(steps) > 1 else "")
    # A leg of before there was `first_step` saw the patches of the first leg again; it is not trained anew for that.
    same = replace(made, start=LATER if made.start else "", first_step=last.first_step) == replace(last, name=name)
    return len(steps) if same and steps == [planned.leg] * len(steps) and len(steps) <= planned.legs else 0


def _aliases(planned: Planned) -> set[str]:
    """Return what `only` may call a network."""
    experiment = planned.experiment
    qualified = [f"{experiment.paper}/{name}" for name in planned.names]
    scaled = [f"{name} x{experiment.scale}" for name in qualified]
    seeded = [f"{name} seed {experiment.seed}" for name in scaled]
    return {planned.comparison, *planned.names, *qualified, *scaled, *seeded}


def check_sets(wanted: list[Planned]) -> None:
    """Raise SRError for a data set that is missing (with how to get it) or does not fit the scale of its networks."""
    experiments = [planned.experiment for planned in wanted]
    for experiment in {(e.data, e.validation, e.scale): e for e in experiments}.values():
        open_set(experiment.data).check_scale(experiment.scale)
        check_validation(experiment)


def _workload(experiment: Experiment) -> str:
    """Return the settings that decide how long a step takes, as JSON."""
    return json.dumps({name: getattr(experiment, name) for name in WORKLOAD}, sort_keys=True)


def seconds_per_step(experiment: Experiment) -> float:
    """Return the fastest of a few timed training steps on random patches, after a warm-up: other processes may share the core."""
    trainer = Trainer(experiment, accelerator_for(experiment))
    sides = experiment.lr_patch, experiment.hr_patch
    lr, hr = (torch.randint(0, 256, (experiment.batch, 3, side, side), dtype=torch.uint8) for side in sides)
    batch = to_batch(lr, hr, trainer.net.channels, trainer.accelerator.device)
    times: list[float] = []
    while len(times) < WARM_UP + 1 or (len(times) < WARM_UP + MAX_STEPS and sum(times) < MAX_SECONDS):
        start = time.monotonic()
        trainer.step(*batch, 0.0).tolist()
        times.append(time.monotonic() - start)
    return min(times[WARM_UP:])


def _step_seconds(statuses: list[Status]) -> dict[str, float]:
    """Return the seconds per step of each workload: from its runs, else timed now and cached in runs/speeds.json."""
    workloads = [(_workload(status.planned.experiment), status) for status in reversed(statuses)]
    measured = {workload: status.seconds_per_step for workload, status in workloads if status.seconds_per_step is not None}
    file = paths.runs_dir() / "speeds.json"
    timed = json.loads(file.read_text()) if file.exists() else {}
    untimed = {w: status.planned.experiment for w, status in workloads if status.remaining_steps and w not in measured | timed}
    if untimed:
        print_line(f"timing one step of {len(untimed)} networks that were not trained here yet; cached in {file}", sys.stderr)
    for workload, experiment in untimed.items():
        timed[workload] = seconds_per_step(experiment)
        write_json(file, timed)
    return timed | measured


def overview(ledger: Ledger, only: Iterable[str], jobs: int) -> str:
    """Return a table of the networks to train or release: network, scale, seed, comparison, steps, state, estimated hours."""
    statuses = [ledger.status(planned) for planned in ledger.wanted(only)]
    seconds, rows = _step_seconds(statuses), []
    for status in statuses:
        experiment, state = status.planned.experiment, status.state
        rows.append(
            {"network": f"{experiment.paper}/{experiment.name}", "scale": f"x{experiment.scale}", "seed": experiment.seed}
            | {"comparison": status.planned.comparison, "steps": f"{experiment.steps:,}"}
            | {"state": f"{state}, {status.step:,}" if state == "partial" else state}
            | {"hours": status.remaining_steps * seconds.get(_workload(experiment), 0.0) / 3600}
        )
    hours = sum(row["hours"] for row in rows)
    to_train = sum(status.state != "done" for status in statuses)
    to_release = sum(status.state == "done" and status.planned.release for status in statuses)
    in_parallel = f", {hours / jobs:.1f} with {jobs} jobs" if jobs > 1 else ""
    total = f"{to_train} networks to train, {to_release} to release; {hours:.1f} hours of one core{in_parallel}."
    return f"{pd.DataFrame(rows).to_string(index=False, float_format='%.1f')}\n{total}" if rows else total
