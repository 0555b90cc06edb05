"""Which code a notebook uses, and when its digest changes."""

import json
from pathlib import Path

import pytest

from srlib.core import paths
from srlib.reproduce import sources

FILES = {
    "srlib/__init__.py": "",
    "srlib/errors.py": "class SRError(ValueError): ...\n",
    "srlib/metrics.py": "def psnr():\n    from srlib.errors import SRError\n",
    "srlib/figures.py": "import srlib.metrics\n",
    "srlib/data/__init__.py": "",
    "srlib/data/sets.py": "from srlib import errors\n",
    "srlib/widgets.py": "from srlib import figures, data\n",
    "tool.py": "from srlib.data import sets\n",
}


@pytest.fixture
def home(tmp_path) -> Path:
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    cells = [
        {"cell_type": "markdown", "source": ["from srlib import widgets"]},
        {"cell_type": "code", "source": ["%matplotlib inline\n", "import numpy as np"]},
        {"cell_type": "code", "source": ["from srlib import figures"]},
    ]
    (tmp_path / "render.ipynb").write_text(json.dumps({"cells": cells}))
    return tmp_path


def names(home: Path, file: str) -> set[str]:
    return {str(one.relative_to(home / "srlib")) for one in sources.used(home / file, home)}


def test_modules_are_followed_through_others_and_into_functions(home):
    assert names(home, "render.ipynb") == {"__init__.py", "figures.py", "metrics.py", "errors.py"}
    assert names(home, "tool.py") == {"__init__.py", "data/__init__.py", "data/sets.py", "errors.py"}
    assert names(home, "srlib/widgets.py") == names(home, "render.ipynb") | {"data/__init__.py"}


def changes(home: Path, name: str, content: str, file: str = "render.ipynb") -> bool:
    """Whether other content of a module changes a digest."""
    before = sources.digest(home / file, home)
    (home / name).write_text(content)
    sources._read.cache_clear()
    return sources.digest(home / file, home) != before


def test_a_digest_changes_with_code_that_is_used(home):
    assert changes(home, "srlib/figures.py", "import srlib.metrics\nWIDTH = 5\n")
    assert changes(home, "srlib/errors.py", "class SRError(Exception): ...\n")
    assert changes(home, "srlib/figures.py", "import srlib.metrics, srlib.widgets\nWIDTH = 5\n")


def test_a_digest_stays_with_comments_layout_and_code_that_is_not_used(home):
    assert not changes(home, "srlib/widgets.py", "from srlib import figures\nX = 1\n")
    assert not changes(home, "srlib/figures.py", "# of metrics\n\nimport srlib.metrics  # all of them\n")
    assert not changes(home, "srlib/metrics.py", "def psnr():\n\n    # late\n    from srlib.errors import (SRError)\n")


def test_a_digest_is_the_same_wherever_the_repository_lies(home):
    before = sources.digest(home / "render.ipynb", home)
    moved = home.rename(home.with_name(f"{home.name}-moved"))
    sources._read.cache_clear()
    assert sources.digest(moved / "render.ipynb", moved) == before


def test_notebooks_use_what_they_show():
    home = paths.home().resolve()
    used = {name: names(home, f"notebooks/{name}.ipynb") for name in ("btsrn/train", "btsrn/render", "btsrn/explore", "summary")}
    always = {"core/metrics.py", "papers/btsrn/__init__.py", "baselines/vdsr.py", "reproduce/notebooks.py"}
    assert all(always <= files for files in used.values())
    assert {name for name, files in used.items() if "draw/widgets.py" in files} == {"btsrn/explore"}
    assert {name for name, files in used.items() if "draw/diagrams.py" in files} == {"btsrn/render"}
    assert {name for name, files in used.items() if "reproduce/gaps.py" in files} == {"summary"}
