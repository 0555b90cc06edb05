"""Who may import whom: the contracts of pyproject.toml hold, and the training path needs few packages."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def lint(*extra: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", *extra], cwd=ROOT, capture_output=True, text=True
    )


def test_contracts_hold():
    done = lint()
    assert done.returncode == 0 and "5 kept, 0 broken" in done.stdout, done.stdout + done.stderr


UNWANTED = ["pooch", "requests", "platformdirs", "skimage", "matplotlib", "seaborn"]
UNWANTED += ["papermill", "IPython", "ipywidgets", "jinja2"]


def loaded(statement: str) -> set[str]:
    code = f"import json, sys; {statement}; print(json.dumps([name.partition('.')[0] for name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return set(json.loads(done.stdout))


def test_training_loads_nothing_that_it_does_not_need():
    modules = loaded("import srlib.train.training, srlib.papers, srlib.reproduce.store")
    assert "torch" in modules
    assert sorted(modules & set(UNWANTED)) == []


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


def test_the_package_and_the_command_line_load_nothing_heavy():
    modules = loaded("import srlib, srlib.cli.main, srlib.core.errors, srlib.core.paths")
    assert sorted(modules & {"torch", "numpy", "pandas", *UNWANTED}) == []
