"""Which code a notebook uses, and when its digest changes."""

import json
from pathlib import Path

import pytest

from srlib.core import paths
from srlib.draw.source import source
from srlib.papers.difficulty_sr import model
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


def digest(home: Path) -> str:
    sources._read.cache_clear()
    return sources.digest(home / "render.ipynb", home)


@pytest.mark.parametrize(
    ("name", "content", "changes"),
    [
        ("figures", "import srlib.metrics\nWIDTH = 5\n", True),
        ("errors", "class SRError(Exception): ...\n", True),
        ("figures", "import srlib.metrics, srlib.widgets\n", True),
        ("widgets", "from srlib import figures\nX = 1\n", False),
        ("figures", "# of metrics\n\nimport srlib.metrics  # all of them\n", False),
        ("metrics", "def psnr():\n\n    # late\n    from srlib.errors import (SRError)\n", False),
    ],
)
def test_a_digest_changes_with_code_that_is_used_alone(home, name, content, changes):
    before = digest(home)
    (home / "srlib" / f"{name}.py").write_text(content)
    assert (digest(home) != before) is changes
    (home / "srlib" / f"{name}.py").write_text(FILES[f"srlib/{name}.py"])
    assert digest(home.rename(home.with_name(f"{home.name}-moved"))) == before, "wherever the repository lies"


def test_notebooks_use_what_they_show():
    home = paths.home().resolve()
    used = {name: names(home, f"notebooks/{name}.ipynb") for name in ("btsrn/train", "btsrn/render", "btsrn/explore", "summary")}
    always = {"core/metrics.py", "papers/btsrn/__init__.py", "baselines/vdsr.py", "reproduce/notebooks.py"}
    assert all(always <= files for files in used.values())
    assert {name for name, files in used.items() if "draw/widgets.py" in files} == {"btsrn/train", "btsrn/explore"}
    assert {name for name, files in used.items() if "draw/diagrams.py" in files} == {"btsrn/render"}
    assert {name for name, files in used.items() if "reproduce/gaps.py" in files} == {"summary"}


def test_source_shows_code_as_it_runs_without_its_docstring():
    text = source(model.classes, model.DualBranchSR.mask).data
    assert text.startswith("```python\ndef classes(psnr: Tensor) -> Tensor:\n    return torch.bucketize(")
    assert "\n\n\ndef mask(self" in text and '"""' not in text and text.endswith("```")
    assert "hardest, below 30 dB" in source(model.classes, docstring=True).data
