"""What a user makes under `released` changes no committed file; publishing it is a step of its own."""

import os
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from scripts import ROOT, execute, git, load

from srlib.core import paths
from srlib.reproduce import notebooks

publish = load("publish")


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A checkout with the published tables of BTSRN, and default folders."""
    home = tmp_path / "checkout"
    for name in ("data", "srlib", "workflow", "notebooks"):
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "figures" / "released" / "btsrn", home / "figures" / "released" / "btsrn")
    shutil.copy(ROOT / ".gitignore", home)
    git(home, "init", "-q")
    git(home, "add", "-A")
    git(home, "commit", "-qm", "all")
    monkeypatch.setenv("SRLIB_HOME", str(home))
    monkeypatch.delenv("SRLIB_RUNS")
    monkeypatch.delenv("SRLIB_FIGURES")
    return home


def test_a_released_run_leaves_the_checkout_clean_and_is_published_when_told(home, capsys):
    row = pd.DataFrame({"method": ["btsrn", "vdsr"], "psnr": [38, 37], "dataset": "Set5", "scale": 2, "seed": 0, "image": "a"})
    rows = pd.concat([row, row.assign(scale=3), row.assign(scale=4)])
    notebooks.save_metrics(rows, "released", "render", "btsrn")
    execute(home / "notebooks" / "summary.ipynb", "released")
    made = home / "runs" / "figures" / "released" / "btsrn"
    assert {"claims.csv", "gaps.md"} <= {file.name for file in made.iterdir()}
    assert git(home, "status", "--porcelain") == ""

    capsys.readouterr()
    assert publish.main() == 0
    changed = git(home, "status", "--porcelain").split()
    assert "figures/released/btsrn/claims.csv" in changed and all("released/btsrn" in name for name in changed if name != "M")
    published = home / "figures" / "released" / "btsrn"
    assert all((published / file.name).read_bytes() == file.read_bytes() for file in made.iterdir())
    printed = capsys.readouterr().out
    assert "published earlier and not made by this run:" in printed and "table_4.md" in printed
    assert (published / "table_4.md").exists()


def test_a_run_of_some_scales_is_not_published(home, capsys):
    rows = pd.DataFrame({"method": ["btsrn", "vdsr"], "psnr": [38, 37], "dataset": "Set5", "scale": 2, "seed": 0, "image": "a"})
    notebooks.save_metrics(rows, "released", "render", "btsrn")
    execute(home / "notebooks" / "summary.ipynb", "released")
    assert publish.main() == 2 and git(home, "status", "--porcelain") == ""
    assert "btsrn: this run lacks x3; run make reproduce PROFILE=released PAPER=btsrn without SCALE" in capsys.readouterr().err
    shutil.rmtree(notebooks.metrics_file("released", "render", "btsrn").parent)  # as by `make clean`, with figures elsewhere
    assert publish.main() == 2 and "btsrn: this run lacks x2" in capsys.readouterr().err


def test_nothing_to_publish_is_said(home, capsys):
    notebooks.figures_folder("released", "btsrn").mkdir(parents=True)
    (notebooks.figures_folder("released", "btsrn") / "table_4.csv").write_text("a run without claims")
    assert publish.main() == 2 and git(home, "status", "--porcelain") == ""
    message = f"no judged paper in {paths.figures_dir() / 'released'}; run make reproduce PROFILE=released first"
    assert message in capsys.readouterr().err


def test_figures_lie_in_the_runs_folder_unless_they_have_one_of_their_own(home, monkeypatch, tmp_path):
    assert paths.figures_dir() == home / "runs" / "figures"
    monkeypatch.setenv("SRLIB_RUNS", str(tmp_path / "out"))
    assert paths.figures_dir() == tmp_path / "out" / "figures"
    monkeypatch.setenv("SRLIB_FIGURES", str(tmp_path / "tables"))
    assert paths.figures_dir() == tmp_path / "tables"


@pytest.mark.parametrize("settings", [{}, {"SRLIB_FIGURES": "tables"}])
def test_clean_keeps_what_is_published_and_what_was_trained(home, tmp_path, settings):
    folders = ("figures/released", "runs/figures/released", "runs/experiments", "runs/report", "tables/quick")
    for name in folders:
        (home / name / "x").mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, **settings}
    subprocess.run(["make", "-f", ROOT / "Makefile", "clean"], cwd=home, env=environment, check=True, capture_output=True)
    left = {name for name in folders if (home / name).exists()}
    assert left == {"figures/released", "runs/experiments"} | (set() if settings else {"tables/quick"})
