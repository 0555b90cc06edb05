"""What networks cost on photographs and patches, measured side by side."""

import subprocess
import sys
import time
from collections import namedtuple
from itertools import count
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch
from PIL import Image
from torch import nn

from srlib.nn import models
from srlib.scoring import costs


@pytest.fixture
def data(tmp_path) -> str:
    for name in ("a", "b"):
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    return f"folder:{tmp_path}"


# megabytes: 2**20 bytes (the paper's 2.597 of IDN has names and keys in it), and 10**6 bytes
@pytest.mark.parametrize(("name", "parameters", "megabytes"), [("idn", 677_185, 2.583), ("kpn", 1_295_473, 5.181892)])
def test_frames_are_timed_and_weights_counted(data, monkeypatch, name, parameters, megabytes):
    """The n-th passage takes n seconds; each network is the first one in every second round, and the first round warms up."""
    clock = count(1)
    monkeypatch.setattr(costs, "_seconds", lambda *given: next(clock))
    scale = 2 if name == "idn" else 1
    networks = {method: models.create(method, scale) for method in (name, "bicubic")}
    table = costs.frames(networks, data, 2) if scale == 2 else costs.same_size_frame(networks, side=32, repeats=2)
    table = table.set_index("method")
    rounds = {method: costs.rounds(row, "seconds") for method, row in table.iterrows()}  # an image each, or a repeat
    assert rounds == {name: [3, 6], "bicubic": [4, 5]}
    assert table.loc[name, "parameters"] == parameters and table.loc["bicubic", "megabytes"] == 0
    assert table.loc[name, "megabytes"] == pytest.approx(megabytes, abs=1e-3)
    assert table["seconds"].tolist() == ([4.5, 4.5] if name == "idn" else [3, 4])  # the mean over images, the least of repeats
    assert networks[name].training  # as before


def test_a_patch_costs_its_part_of_the_quickest_batch(monkeypatch):
    passages = iter([1.0, 9.0, 2.0, 8.0])  # the first one warms up
    monkeypatch.setattr(costs, "_seconds", lambda metric, net, lr: next(passages) * (lr.shape == (4, 1, 48, 48)))
    assert costs.per_patch(models.create("espcn", 2), side=48, batch=4, repeats=3) == 0.5


@pytest.mark.parametrize("training", [True, False])
def test_an_upscaling_is_timed_in_eval_mode_and_a_step_in_training_mode(training):
    class Twofold(nn.Module):
        scale, channels = 1, 1
        passes = set()

        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm2d(1)

        def forward(self, lr):
            self.passes.add((self.training, torch.is_grad_enabled()))
            sr = self.norm(lr)
            return [sr, sr * sr] if self.training else sr

    net = Twofold().train(training)
    row = costs.measure({"one": net}, side=10, repeats=1).iloc[0]
    assert net.passes == {(False, False), (True, True)} and row["step_memory"] > 400e-6
    assert net.training == training and net.norm.running_mean == 0 and net.norm.weight.grad is None


def test_a_measurement_keeps_its_rounds_and_its_session():
    networks = {name: models.create(name, 2) for name in ("espcn", "fsrcnn")}
    first, second = (costs.measure(networks, side=8, repeats=3) for _ in range(2))
    for _, row in first.iterrows():
        for metric in ("seconds", "step_seconds"):
            assert len(costs.rounds(row, metric)) == 3 and min(costs.rounds(row, metric)) == pytest.approx(row[metric], rel=1e-3)
    assert first["session"].nunique() == 1 and first["session"][0] != second["session"][0]
    assert costs.rounds(first.iloc[0].drop("seconds_rounds"), "seconds") == []
    assert costs.rounds(first.iloc[0].replace(first.iloc[0]["seconds_rounds"], float("nan")), "seconds") == []


@pytest.mark.parametrize(("after", "busy"), [((121.5, 17.0), 2.83), ((104.0, 17.0), 0.0)])
def test_the_share_of_other_processes(monkeypatch, after, busy):
    """In 6 s all processes use 21.5 s, this one 4.5 s of it; and where the counters are coarser, less than nothing is nothing."""
    clock, counters = iter([50.0, 56.0]), iter([(100.0, 12.5), after])
    monkeypatch.setattr(costs, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    monkeypatch.setattr(costs, "_cpu_seconds", lambda: next(counters))
    with costs._session() as columns:
        assert set(columns) == {"session"}
    assert columns["busy"] == busy


def test_idle_waiting_and_guests_are_no_use_of_the_processor(monkeypatch):
    fields = {"user": 1, "nice": 2, "system": 4, "idle": 8, "iowait": 16, "irq": 32, "softirq": 64, "steal": 128, "guest": 256}
    own = SimpleNamespace(cpu_times=lambda: SimpleNamespace(user=3.0, system=0.5, children_user=10.0))
    times = namedtuple("times", fields)(**fields)
    monkeypatch.setattr(costs, "psutil", SimpleNamespace(cpu_times=lambda: times, Process=lambda: own))
    assert costs._cpu_seconds() == (1 + 2 + 4 + 32 + 64 + 128, 3.5)


def test_what_other_processes_use_is_seen_and_own_work_is_not():
    def used() -> float:
        return sum(psutil.Process(other.pid).cpu_times()[:2])

    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(0.2)
        before, own, began = used(), time.process_time(), time.perf_counter()
        with costs._session() as beside:
            while time.perf_counter() < began + 1.0:
                pass
        elapsed, own, theirs = time.perf_counter() - began, time.process_time() - own, used() - before
    finally:
        other.kill()
        other.wait()
    assert theirs / elapsed > 0.2 and beside["busy"] > theirs / elapsed - 0.1, "whatever else runs"
    assert beside["busy"] + own / elapsed < psutil.cpu_count() + 0.2, "own work counted as others', too, were more than there is"
