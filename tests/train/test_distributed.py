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

# Started once for all experiments: starting processes takes longer than these trainings. The first process routes all patches of
# Difficulty-SR through the plain branch, where they train nothing.
WORKER = """
import os, sys
import torch
torch.set_num_threads(1)
from srlib.core.errors import SRError
from srlib.papers.difficulty_sr.model import DualBranchSR
from srlib.train.experiment import Experiment
from srlib.train.training import train
DualBranchSR.mask = lambda self, probabilities: torch.full((len(probabilities),), os.environ["RANK"] == "0")
for fields in eval(sys.argv[1]):
    try:
        train(Experiment(**fields), progress="lines")
    except SRError as error:
        print(f"refused: {error}")
"""

NET = {"paper": "test", "model": "espcn", "scale": 2, "hr_patch": 16, "batch": 4, "steps": 6}
BTSRN = {"model": "btsrn", "model_args": {"width": 8, "bottleneck": 4, "low": 1, "high": 1, "padding": "valid"}}
CASES = {
    "luma": {},
    "clip and average": {"clip": 0.01, "ema": 0.5},
    "rgb": BTSRN,
    "fitted": {"model": "aplus", "model_args": {"atoms": 64, "neighbours": 128}, "hr_patch": 32, "validation": ""},
    "minutes": {"steps": None, "minutes": 0.02},
    "routed": {"model": "difficulty_sr", "model_args": {"complex": "espcn"}, "hr_patch": 96, "batch": 2},
    "odd batch": {"batch": 3},
}


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """Train all cases in two processes; return what they printed, the experiments, and the folder of runs."""
    folder = tmp_path_factory.mktemp("distributed")
    for name, sides in (("small", [(40, 36), (40, 36)]), ("large", [(100, 100)])):
        (folder / name).mkdir()
        for i, size in enumerate(sides):
            noise = np.random.default_rng(i).integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(imresize(noise, size=size)).save(folder / name / f"{i}.png")
    fields = {}
    for name, case in CASES.items():
        data = f"folder:{folder / ('large' if name == 'routed' else 'small')}"
        fields[name] = {**NET, "name": name.replace(" ", "_"), "data": data, "validation": data, **case}
    (folder / "worker.py").write_text(WORKER)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--nnodes=1", "--master_addr=127.0.0.1"]
    command += [f"--master_port={port}", str(folder / "worker.py"), repr([*fields.values()])]
    environment = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "true"}
    environment |= {"SRLIB_RUNS": str(folder / "runs"), "SRLIB_CACHE": str(folder / "cache")}
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    experiments = {name: Experiment(**chosen) for name, chosen in fields.items()}
    return done.stdout, experiments, folder / "runs" / "experiments"


@pytest.mark.parametrize("name", ["luma", "clip and average", "rgb", "fitted"])
def test_two_processes_equal_one(together, name):
    _, experiments, folder = together
    alone = train(experiments[name], progress="none")
    run = Run(experiments[name], alone.fingerprint, folder)
    first, second = load_file(alone.weights), load_file(run.weights)
    if name == "fitted":  # by the first process; the other takes its run
        assert first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)
        return
    assert run.provenance()["processes"] == 2
    assert max((first[key] - second[key]).abs().max().item() for key in first) <= 1e-5
    history, other = alone.history(), run.history()
    assert np.allclose(history["loss"], other["loss"], rtol=1e-4)  # of the whole batch, not of one part
    assert np.allclose(history["psnr"], other["psnr"], atol=0.01)


def test_both_processes_agree_on_the_steps_of_a_budget_in_minutes(together):
    (folder,) = together[2].glob("minutes_x2*")
    assert Run.open(folder).complete and Run.open(folder).provenance()["steps"] >= 4


def test_a_process_whose_patches_train_nothing_takes_part(together):
    assert "routed x2 step 6/6" in together[0]


def test_only_one_of_the_processes_prints(together):
    assert together[0].count("step 6/6") == 4


def test_a_batch_that_cannot_be_split_is_refused(together):
    output, _, folder = together
    assert output.count("refused: batch (=3) must be a multiple of the 2 processes") == 2  # perhaps on one line
    assert not list(folder.glob("odd_batch*"))
