"""Hours that the rest of the plan takes: the dry run of `make weights`."""

import json
import sys
import time
from collections.abc import Iterable

import pandas as pd
import torch

from srlib.core import paths
from srlib.core.files import write_json
from srlib.core.output import print_line
from srlib.reproduce.ledger import Ledger, Status
from srlib.train.experiment import Experiment
from srlib.train.loop import accelerator_for
from srlib.train.trainer import Trainer, to_batch

WARM_UP, MAX_STEPS, MAX_SECONDS = 2, 5, 20.0  # untimed steps; then at most so many timed ones, in at most so many seconds
WORKLOAD = ("model", "model_args", "scale", "loss", "batch", "hr_patch", "precision", "discriminator", "discriminator_args")


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
