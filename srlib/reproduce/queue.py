"""What there is of the plan, in `data/weights` and in runs/, and the queue that trains what is left: `make weights`."""

import contextlib
import copy
import json
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import filelock
import torch

from srlib.core import paths
from srlib.core.errors import SRError, unknown
from srlib.core.files import write_json
from srlib.core.output import print_line, tolerant
from srlib.core.protocols import protocol
from srlib.data.pairs import open_pairs
from srlib.data.sets import open_set
from srlib.reproduce import store
from srlib.reproduce.plan import LATER, Key, Planned
from srlib.train import probe
from srlib.train.experiment import Experiment
from srlib.train.loop import accelerator_for
from srlib.train.provenance import checkout
from srlib.train.run import Run, legs, training_budget
from srlib.train.trainer import Trainer, to_batch
from srlib.train.training import check_validation, digest, train

WARM_UP, TIMED, LONGEST = 2, 5, 20.0  # steps before the clock runs, steps that it times at most, seconds that they take at most


@dataclass(frozen=True)
class Status:
    """How far a network is. step: of all its legs. speed: seconds a step, None where nothing of it was trained here."""

    planned: Planned
    state: str  # "released", "done", "partial" or "to do"
    step: int
    speed: float | None

    @property
    def left(self) -> int:
        """Steps that are left."""
        return self.planned.experiment.steps - self.step


class Ledger:
    """What there is of a plan: released weights, complete and partial runs."""

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
        kind = json.dumps(vars(replace(experiment, seed=0, steps=1, start=LATER, learning_rate=1, data="", validation="")))
        if kind not in self._probes:
            self._probes[kind] = probe.training(experiment)
        run.probe = self._probes[kind]
        return run

    def usable(self, run: Run) -> bool:
        """Whether a run is begun or complete, by code that does what today's does; `training.train` sets others aside."""
        return run.started and (made := Run.open(run.dir).probe) is not None and probe.agree(made, run.probe)

    def trainings(self, planned: Planned) -> Iterator[tuple[Experiment, dict[str, Path], Run]]:
        """Yield the complete legs of a network and then the next one; none where it waits for what it starts from."""
        found = {part: self.weights(first) for part, first in planned.start.items()}
        files = {part: file for part, file in found.items() if file is not None}
        if len(files) < len(found):
            return
        for number in range(planned.legs):
            experiment = planned.training(number, digest(files))
            run = self.run(experiment)
            yield experiment, files, run
            if not (run.complete and self.usable(run)):
                return
            files = {"": run.weights}

    def complete(self, planned: Planned) -> list[Run]:
        """Return the complete legs of a network."""
        return [run for _, _, run in self.trainings(planned) if run.complete and self.usable(run)]

    def next(self, planned: Planned) -> tuple[int, Experiment, dict[str, Path]] | None:
        """Return number, training and start of the next leg of a network; None where it is done, or has to wait."""
        found = list(self.trainings(planned))
        if not found or (found[-1][2].complete and self.usable(found[-1][2])):
            return None
        return len(found) - 1, found[-1][0], found[-1][1]

    def weights(self, planned: Planned) -> Path | None:
        """Return the trained weights of a network: of its last leg, or those that are released; None where there are none."""
        if planned.key not in self._weights:
            runs = self.complete(planned)
            file = runs[-1].weights if len(runs) == planned.legs else self.released(planned)
            if file is None:
                return None
            self._weights[planned.key] = file
        return self._weights[planned.key]

    def released(self, planned: Planned) -> Path | None:
        """Return the released weights of just this training, under all its names."""
        last = planned.training(planned.legs - 1, LATER if planned.start or planned.legs > 1 else "")
        files = [store.released_file(last.paper, name, last.scale, last.seed) for name in planned.names]
        for name, file in zip(planned.names, files, strict=True):
            if not file.exists():
                return None
            card = store.read_card(file.with_suffix(".json"))
            experiment = Experiment(**card["experiment"])
            steps = [leg["steps"] for leg in legs(training_budget(card["experiment"], card["provenance"]))]
            same = replace(experiment, start=LATER if experiment.start else "") == replace(last, name=name)
            if not same or steps != [planned.leg] * planned.legs:
                return None
        return files[0]

    def status(self, planned: Planned) -> Status:
        """Return how far a network is."""
        if self.released(planned):
            return Status(planned, "released", planned.experiment.steps, None)
        done, speed = 0, None
        for _, _, run in self.trainings(planned):
            if not self.usable(run):
                break
            if run.complete:
                made = run.provenance()
                done, speed = done + made["steps"], 60 * made["minutes"] / made["steps"]
            elif (state := run.load_checkpoint()) is not None:
                step = state["trainer"]["step"]
                done, speed = done + step, state["seconds"] / step
        state = "done" if done == planned.experiment.steps else "partial" if done else "to do"
        return Status(planned, state, done, speed)

    def wanted(self, only: Iterable[str] = ()) -> list[Planned]:
        """Return, in the order of the plan, what is not released yet, and what that starts from where it is not there.

        only: names of networks ("vdsr", "btsrn/vdsr", "btsrn/vdsr x2", "btsrn/vdsr x2 seed 1") or comparisons; for all, none.
        """
        for name in only:
            if not any(name in _called(planned) for planned in self.plan):
                raise unknown("network of the plan:", name, {called for planned in self.plan for called in _called(planned)})
        chosen: set[Key] = set()
        for planned in reversed(self.plan):
            asked = planned.release if not only else any(name in _called(planned) for name in only)
            if planned.key in chosen or (asked and not self.released(planned)):
                chosen.add(planned.key)
                chosen |= {first.key for first in planned.first if not self.released(first)}
        return [planned for planned in self.plan if planned.key in chosen]


def _called(planned: Planned) -> set[str]:
    one = planned.experiment
    whole = [f"{one.paper}/{name}" for name in planned.names]
    return {planned.comparison, str(planned), *planned.names, *whole, *(f"{name} x{one.scale}" for name in whole)}


def check_sets(wanted: list[Planned]) -> None:
    """Raise SRError where a set that some networks need is not there, with how to get it, or does not fit their scale."""
    for one in {(one.data, one.validation, one.scale): one for one in (planned.experiment for planned in wanted)}.values():
        open_set(one.data).check_scale(one.scale)
        check_validation(one)


def _kind(planned: Planned) -> str:
    """Return what decides how long a step takes."""
    one = planned.experiment
    fields = ("model", "model_args", "scale", "loss", "batch", "hr_patch", "precision", "discriminator", "discriminator_args")
    return json.dumps({name: getattr(one, name) for name in fields}, sort_keys=True)


def seconds_per_step(experiment: Experiment) -> float:
    """Time some steps of a training on random patches, after a warm-up: the quickest, as others may use the core meanwhile."""
    trainer = Trainer(experiment, accelerator_for(experiment))
    sides = experiment.lr_patch, experiment.hr_patch
    lr, hr = (torch.randint(0, 256, (experiment.batch, 3, side, side), dtype=torch.uint8) for side in sides)
    batch = to_batch(lr, hr, trainer.net.channels, trainer.accelerator.device)
    times: list[float] = []
    while len(times) < WARM_UP + 1 or (len(times) < WARM_UP + TIMED and sum(times) < LONGEST):
        began = time.monotonic()
        trainer.step(*batch, 0.0).tolist()
        times.append(time.monotonic() - began)
    return min(times[WARM_UP:])


def speeds(found: list[Status]) -> dict[str, float]:
    """Return, by kind of training, the seconds a step takes: as it was in runs, or else timed now and remembered in runs/."""
    known = {_kind(one.planned): one.speed for one in reversed(found) if one.speed is not None}
    file = paths.runs_dir() / "speeds.json"
    timed = json.loads(file.read_text()) if file.exists() else {}
    new = {_kind(one.planned): one.planned.experiment for one in found if one.left}
    new = {kind: experiment for kind, experiment in new.items() if kind not in known | timed}
    if new:
        print_line(f"timing a step of what was not trained here yet ({len(new)} networks); {file} keeps that", sys.stderr)
    for kind, experiment in new.items():
        timed[kind] = seconds_per_step(experiment)
        write_json(file, timed)
    return timed | known


def overview(ledger: Ledger, only: Iterable[str], jobs: int) -> str:
    """Return a table of what is left: network, scale, seed, comparison, steps, how far it is, estimated hours."""
    found = [ledger.status(planned) for planned in ledger.wanted(only)]
    took = speeds(found)
    rows, total = [("network", "scale", "seed", "comparison", "steps", "state", "hours")], 0.0
    for one in found:
        experiment = one.planned.experiment
        hours = one.left * took.get(_kind(one.planned), 0.0) / 3600
        total += hours
        state = f"partial, {one.step:,}" if one.state == "partial" else one.state
        name = f"{experiment.paper}/{experiment.name}"
        cells = (name, f"x{experiment.scale}", str(experiment.seed), one.planned.comparison, f"{experiment.steps:,}", state)
        rows.append((*cells, f"{hours:.1f}"))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    right = (4, 6)
    lines = [
        "  ".join(cell.rjust(w) if i in right else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]
    left = sum(one.state != "done" for one in found)
    ready = sum(one.state == "done" and one.planned.release for one in found)
    at_once = f", {total / jobs:.1f} with {jobs} at a time" if jobs > 1 else ""
    lines.append(f"{left} networks to train, {ready} to release; {total:.1f} hours of one core{at_once}.")
    return "\n".join(lines)


def clean_commit() -> str:
    """Return the commit of the repository; SRError where it has changes, or where there is no git, so that no card says so."""
    code = checkout()
    if code["commit"] is None:
        raise SRError(
            f"{paths.home()} is no git checkout with a commit, which weights carry on their cards; clone the repository"
        )
    if code["dirty"]:
        raise SRError(f"{paths.home()} has changes that are not committed; commit or stash them, or work in a clone of its own")
    return code["commit"]


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Hold the runs folder for this queue; the lock goes with the process."""
    folder = paths.runs_dir()
    lock = filelock.FileLock(folder / ".weights.lock", timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except filelock.Timeout:
        raise SRError(f"another `make weights` works in {folder}; wait for it, stop it, or set SRLIB_RUNS") from None
    except OSError as error:
        raise SRError(f"cannot write {folder}: {error.strerror}; set SRLIB_RUNS to a folder that can be") from error
    try:
        yield
    finally:
        lock.release()


def _train_leg(experiment: Experiment, start: dict[str, Path]) -> None:
    """Train one leg in a process of its own, which ends with the queue."""

    def follow() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
    torch.set_num_threads(1)
    with tolerant():
        try:
            train(experiment, start=start, progress="lines")
        except SRError as error:
            print_line(f"error: {error}", sys.stderr)
            sys.exit(2)
        except KeyboardInterrupt:
            sys.exit(130)


class _Queue:
    """Trains what is wanted, leg by leg, each in a process of its own."""

    def __init__(self, ledger: Ledger, wanted: list[Planned], commit: str):
        self.ledger, self.wanted, self.commit = ledger, wanted, commit
        self.running: dict[Any, Planned] = {}  # process -> network
        self.failed: dict[Key, str] = {}
        self.done: set[Key] = set()
        self.context = multiprocessing.get_context("spawn")

    def _ready(self) -> tuple[Planned, int, Experiment, dict[str, Path]] | None:
        """Return the leg that is to be trained next, if one can be."""
        busy = {planned.key for planned in self.running.values()}
        for planned in self.wanted:
            if planned.key in self.failed or planned.key in busy or planned.key in self.done:
                continue
            found = self.ledger.next(planned)
            if found:
                return planned, *found
            if self.ledger.weights(planned):
                self.done.add(planned.key)
        return None

    def start(self) -> bool:
        """Start the next leg; return whether there was one. Raises SRError where the checkout is no longer that of the start."""
        found = self._ready()
        if found is None:
            return False
        if clean_commit() != self.commit:
            raise SRError(
                f"the repository has moved on from commit {self.commit[:10]}; run the same again to work with the new code"
            )
        planned, number, experiment, files = found
        part = f", leg {number + 1} of {planned.legs}" if planned.legs > 1 else ""
        print_line(f"{planned}{part}: {experiment.steps:,} steps ({planned.comparison})")
        process = self.context.Process(target=_train_leg, args=(experiment, files), daemon=True)
        process.start()
        self.running[process] = planned
        return True

    def wait(self) -> None:
        """Wait until a leg ends."""
        ended = wait([process.sentinel for process in self.running])
        for process in [one for one in self.running if one.sentinel in ended]:
            planned = self.running.pop(process)
            process.join()
            if process.exitcode < 0:
                self.failed[planned.key] = f"{planned} was killed by signal {-process.exitcode}, likely out of memory"
            elif process.exitcode:
                self.failed[planned.key] = f"{planned} failed, see above"

    def stop(self) -> None:
        """End what is running; its last checkpoints are a minute old at most."""
        for process in self.running:
            process.terminate()
        for process in self.running:
            process.join()


def work(ledger: Ledger, only: Iterable[str], jobs: int) -> list[str]:
    """Train what is wanted, `jobs` networks at a time; return what failed, which stops only what starts from it.

    Raises SRError where another queue works in the runs folder, or where the repository is not clean.
    """
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that are started
    commit = clean_commit()
    with _alone():
        queue = _Queue(ledger, ledger.wanted(only), commit)
        try:
            while True:
                while len(queue.running) < jobs and queue.start():
                    pass
                if not queue.running:
                    return list(queue.failed.values())
                queue.wait()
        finally:
            queue.stop()


def release(ledger: Ledger, only: Iterable[str]) -> tuple[list[Path], list[str]]:
    """Release the networks that are done, under all their names; return the files, and what could not be released."""
    files, failed = [], []
    for planned in ledger.wanted(only):
        runs = ledger.complete(planned)
        if not planned.release or len(runs) < planned.legs:
            continue
        unclean = [run for run in runs if run.provenance()["dirty"] is not False]
        if unclean:
            failed.append(f"{planned}: {unclean[0].dir} was not trained from a clean commit; delete it and train again")
            continue
        run = store.load_run(runs[-1].dir).run
        for name in planned.names:
            named = copy.copy(run)
            named.experiment = replace(run.experiment, name=name)
            files.append(store.release(named, filter(None, [run.experiment.validation]), protocol("y")))
    return files, failed
