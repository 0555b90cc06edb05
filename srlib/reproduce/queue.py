"""The queue that trains what the plan has and `data/weights` lacks, and releases it: `make weights`."""

import multiprocessing
import os
import sys
import threading
from collections.abc import Iterable
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import filelock
import torch

from srlib.core import paths
from srlib.core.errors import SRError
from srlib.core.output import print_line, tolerant
from srlib.core.protocols import protocol
from srlib.reproduce import cards, store
from srlib.reproduce.ledger import Ledger
from srlib.reproduce.plan import Key, Planned
from srlib.train.experiment import Experiment
from srlib.train.provenance import checkout
from srlib.train.training import train


def clean_commit() -> str:
    """Return the commit of the repository, which cards record; raises SRError without git or with uncommitted changes."""
    code = checkout()
    if code["commit"] is None:
        raise SRError(f"{paths.home()} is no git checkout with a commit, which the cards of weights record; clone the repository")
    if code["dirty"]:
        raise SRError(f"{paths.home()} has uncommitted changes; commit or stash them, or work in a separate clone")
    return code["commit"]


def _lock_runs() -> filelock.AcquireReturnProxy:
    """Lock the runs folder for this queue; the lock is released when the process ends, however it ends."""
    folder = paths.runs_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return filelock.FileLock(folder / ".weights.lock", timeout=0).acquire()
    except filelock.Timeout:
        raise SRError(f"another `make weights` is running in {folder}; wait for it, stop it, or set SRLIB_RUNS") from None
    except OSError as error:
        raise SRError(f"cannot write {folder}: {error.strerror}; set SRLIB_RUNS to a writable folder") from error


def _train_leg(experiment: Experiment, start: dict[str, Path]) -> None:
    """Train one leg; runs in a process of its own, which exits with the queue."""

    def exit_with_parent() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=exit_with_parent, daemon=True).start()
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
    """Trains networks leg by leg, each leg in a process of its own."""

    def __init__(self, ledger: Ledger, wanted: list[Planned], commit: str):
        self.ledger, self.wanted, self.commit = ledger, wanted, commit
        self.running: dict[Any, Planned] = {}  # process -> network
        self.failed: dict[Key, str] = {}
        self.done: set[Key] = set()
        self.context = multiprocessing.get_context("spawn")

    def _next_leg(self) -> tuple[Planned, int, Experiment, dict[str, Path]] | None:
        """Return the next leg that can be trained; None where each is done, failed, running or waiting."""
        busy = {planned.key for planned in self.running.values()}
        for planned in self.wanted:
            if planned.key in self.failed or planned.key in busy or planned.key in self.done:
                continue
            if leg := self.ledger.next(planned):
                return planned, *leg
            if self.ledger.weights(planned):
                self.done.add(planned.key)
        return None

    def start(self) -> bool:
        """Start the next leg; return whether there was one. Raises SRError where the checkout has changed meanwhile."""
        leg = self._next_leg()
        if leg is None:
            return False
        if clean_commit() != self.commit:
            raise SRError(
                f"the repository is no longer at commit {self.commit[:10]}; run the same command again to train with the new code"
            )
        planned, number, experiment, files = leg
        part = f", leg {number + 1} of {planned.legs}" if planned.legs > 1 else ""
        print_line(f"{planned}{part}: {experiment.steps:,} steps ({planned.comparison})")
        process = self.context.Process(target=_train_leg, args=(experiment, files), daemon=True)
        process.start()
        self.running[process] = planned
        return True

    def wait(self) -> None:
        """Wait until a leg ends, and record a failure."""
        ended = wait([process.sentinel for process in self.running])
        for process in [process for process in self.running if process.sentinel in ended]:
            planned = self.running.pop(process)
            process.join()
            if process.exitcode < 0:
                self.failed[planned.key] = f"{planned} was killed by signal {-process.exitcode}, likely out of memory"
            elif process.exitcode:
                self.failed[planned.key] = f"{planned} failed, see above"

    def stop(self) -> None:
        """Terminate the running legs; their last checkpoints are at most a minute old."""
        for process in self.running:
            process.terminate()
        for process in self.running:
            process.join()


def work(ledger: Ledger, only: Iterable[str], jobs: int) -> list[str]:
    """Train the wanted networks, `jobs` at a time; return the failures, each of which stops only what starts from it.

    Raises SRError where another queue holds the runs folder, and for a repository that is not clean.
    """
    os.environ["OMP_NUM_THREADS"] = "1"  # for the spawned processes
    commit = clean_commit()
    with _lock_runs():
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
    """Release the networks of which a leg is complete under all their names; return the files and the failures.

    Each leg is annealed to its end, and the next one goes on from released weights where its run is not there any more.
    """
    files, failed = [], []
    for planned in ledger.wanted(only):
        runs = ledger.complete(planned)
        if not planned.release or max(runs, default=-1) < ledger.released_legs(planned):
            continue
        unclean = [run for run in runs.values() if run.provenance()["dirty"] is not False]
        if unclean:
            failed.append(f"{planned}: {unclean[0].dir} was not trained from a clean commit; delete it and train again")
            continue
        try:
            run = store.load_run(runs[max(runs)].dir).run
            e = run.experiment
            cards.release(run, filter(None, [e.validation]), protocol("y"), planned.also, planned.card_only)
        except SRError as error:
            failed.append(f"{planned}: {error}")
            continue
        files += [cards.released_file(e.paper, name, e.scale, e.seed) for name in planned.names]
    return files, failed
