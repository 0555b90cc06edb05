"""Two processes end with the weights of one process at the same global batch."""

import os
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from srlib.core.imresize import imresize
from srlib.train.experiment import Experiment
from srlib.train.run import Run
from srlib.train.training import train

# Started once for all experiments: starting processes takes longer than these trainings.
WORKER = """
import sys
import torch
torch.set_num_threads(1)
from srlib.core.errors import SRError
from srlib.train.experiment import Experiment
from srlib.train.training import train
try:
    for fields in eval(sys.argv[1]):
        train(Experiment(**fields), progress="lines")
except SRError as error:
    sys.exit(f"error: {error}")
"""

NET = {"name": "tiny", "paper": "test", "scale": 2, "hr_patch": 16, "batch": 4, "steps": 6}
CASES = {
    "luma": {"model": "espcn"},
    "clip and average": {"model": "espcn", "clip": 0.01, "ema": 0.5},
    "rgb": {"model": "btsrn", "model_args": {"width": 8, "bottleneck": 4, "low": 1, "high": 1, "padding": "valid"}},
}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def data(tmp_path) -> str:
    (tmp_path / "photos").mkdir()
    for i in range(2):
        noise = np.random.default_rng(i).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(imresize(noise, size=(40, 36))).save(tmp_path / "photos" / f"{i}.png")
    return f"folder:{tmp_path / 'photos'}"


def torchrun(tmp_path, fields: list[dict], first: str = "") -> subprocess.CompletedProcess:
    (tmp_path / "worker.py").write_text(first + WORKER)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--nnodes=1"]
    command += ["--master_addr=127.0.0.1", f"--master_port={port}", str(tmp_path / "worker.py"), repr(fields)]
    hidden = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "true"}
    return subprocess.run(command, env={**os.environ, **hidden}, capture_output=True, text=True, timeout=150)


def test_two_processes_equal_one(data, tmp_path):
    fields = [{**NET, **case, "data": data, "validation": data} for case in CASES.values()]
    minutes = {**NET, "model": "espcn", "data": data, "steps": None, "minutes": 0.02, "validation": data}
    alone = [train(Experiment(**one), root=tmp_path / "alone", progress="none") for one in fields]
    fitted = {**NET, "model": "aplus", "hr_patch": 32, "steps": 8, "data": data}
    done = torchrun(tmp_path, [*fields, minutes, fitted])
    assert done.returncode == 0, done.stderr[-3000:]
    for name, one, run in zip(CASES, fields, alone, strict=True):
        together = Run(Experiment(**one), run.fingerprint)
        assert together.complete and together.provenance()["processes"] == 2, name
        first, second = load_file(run.weights), load_file(together.weights)
        assert max((first[key] - second[key]).abs().max().item() for key in first) <= 1e-5, name
        history, other = run.history(), together.history()
        assert np.allclose(history["loss"], other["loss"], rtol=1e-4), name  # of the whole batch, not of one part
        assert np.allclose(history["psnr"], other["psnr"], atol=0.01), name
    # a budget in minutes: both processes agree on its steps
    timed = Run(Experiment(**minutes), alone[0].fingerprint)
    assert timed.complete and timed.provenance()["steps"] >= 4
    # what is fitted at once is fitted by the first process; the other takes its run
    expected = load_file(train(Experiment(**fitted), root=tmp_path / "alone", progress="none").weights)
    found = load_file(Run(Experiment(**fitted), alone[0].fingerprint).weights)
    assert expected.keys() == found.keys() and all(torch.equal(expected[key], found[key]) for key in expected)
    # only one of the processes prints
    steps = [line for line in done.stdout.splitlines() if line.startswith("tiny x2 step 6/6")]
    assert len(steps) == len(CASES)


def test_a_process_whose_patches_train_nothing_takes_part(tmp_path):
    (tmp_path / "photos").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(imresize(noise, size=(100, 100))).save(tmp_path / "photos" / "large.png")
    routed = """
import os
import torch
from srlib.papers.difficulty_sr.model import DualBranchSR
DualBranchSR.easy = lambda self, probabilities: torch.full((len(probabilities),), os.environ["RANK"] == "0")
"""
    fields = {**NET, "hr_patch": 96, "batch": 2, "data": f"folder:{tmp_path / 'photos'}"}
    fields |= {"model": "difficulty_sr", "model_args": {"complex": "espcn"}}
    done = torchrun(tmp_path, [fields], routed)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "tiny x2 step 6/6" in done.stdout


def test_a_batch_that_cannot_be_split_is_told(data, tmp_path):
    done = torchrun(tmp_path, [{**NET, "model": "espcn", "data": data, "batch": 3}])
    assert done.returncode != 0
    assert "batch (=3) must be a multiple of the 2 processes" in done.stderr
    assert not list((tmp_path / "runs").glob("**/*.ckpt"))
