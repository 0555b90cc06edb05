"""Who may import whom: the contracts of pyproject.toml hold, and the training path needs few packages."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_contracts_hold():
    call = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "5 kept, 0 broken" in done.stdout, done.stdout + done.stderr


FOR_NOTEBOOKS = ["matplotlib", "seaborn", "papermill", "IPython", "ipywidgets", "jinja2"]
UNWANTED = ["pooch", "requests", "platformdirs", "skimage", *FOR_NOTEBOOKS]


@pytest.mark.parametrize(
    ("modules", "unwanted"),
    [
        ("srlib.train.training, srlib.papers, srlib.reproduce.store", UNWANTED),
        ("srlib.cli.main, srlib.core.errors, srlib.core.paths", [*UNWANTED, "torch", "numpy", "pandas"]),
        ("srlib.data.registry, srlib.data.sets", [*UNWANTED, "torch", "pandas", "scipy"]),
    ],
)
def test_nothing_is_loaded_that_is_not_needed(modules, unwanted):
    code = f"import json, sys, {modules}; print(json.dumps([name.partition('.')[0] for name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    loaded = set(json.loads(done.stdout))
    assert "srlib" in loaded and sorted(loaded & set(unwanted)) == []


def test_training_works_where_those_are_missing(tmp_path):
    """As on a machine that has the training path's packages only, apart from scikit-image's photographs."""
    blocked = [name for name in UNWANTED if name != "skimage"]
    code = f"""
import sys
for name in {blocked}:
    sys.modules[name] = None
import numpy as np
from PIL import Image
Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(r"{tmp_path}/0.png")
from srlib.__main__ import main
sys.exit(main(["train", "espcn", "--data", r"folder:{tmp_path}", "--validation", r"folder:{tmp_path}",
               "--steps", "1", "--batch", "1", "--hr-patch", "8"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
