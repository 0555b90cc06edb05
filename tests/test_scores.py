"""The scores that come with released weights are theirs, are what the tables hold, and come out again."""

import json
import sys
from pathlib import Path

import pandas as pd
import pytest
from scripts import ROOT, load

from srlib import papers
from srlib.core import paths
from srlib.core.files import sha256
from srlib.core.protocols import protocol
from srlib.reproduce import cards, store
from srlib.scoring.evaluation import evaluate
from srlib.train.run import Run

scores = load("scores")
OFFICIAL = "official_vdsr_x2-f613166660-0123456789"  # the hash of the authors' file, and that of its conversion


@pytest.fixture
def run(monkeypatch, capsys):
    """Call the script; returns its exit status and what it printed as errors."""

    def call(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["scores.py", *arguments])
        return scores.main(), capsys.readouterr().err

    return call


def kept(paper: str, method: str, dataset: str, scale: int, seed: int = 0) -> pd.DataFrame | None:
    found = papers.get(paper)
    weights = cards.weights_path(found, method, found.method(method).trained_at or scale, seed)
    if not weights.with_suffix(".json").exists():
        return None
    name = f"{dataset.replace('/', '_')}_x{scale}_{found.protocol}_????????.csv"
    files = list(cards.kept_scores(weights).glob(name))
    return pd.read_csv(files[0], dtype={"image": str}, skiprows=1) if files else None


def test_every_released_network_has_scores_and_no_other(run):
    assert run("--check") == (0, "")


@pytest.fixture
def home(home) -> Path:
    """A repository with weights of two networks, and scores of the first."""
    (home / "data" / "weights" / "btsrn").mkdir(parents=True)
    for name in ("a", "b"):
        weights = home / "data" / "weights" / "btsrn" / f"{name}_x2.safetensors"
        weights.write_text(name)
        weights.with_suffix(".json").write_text(json.dumps({"weights": sha256(weights)}))
    made = paths.runs_dir() / "released" / cards.kept_scores(cards.weights_path(papers.get("btsrn"), "a", 2)).name
    (paths.runs_dir() / "released" / OFFICIAL).mkdir(parents=True)
    (paths.runs_dir() / "released" / OFFICIAL / "Set5_x2_y_01234567.csv").write_text("image,psnr\nbaby,31\n")
    for name in ("Set5_x2_y_01234567.csv", "folder_mine_x2_y_01234567.csv", "part/Set5_x2_y_01234567.csv"):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text("image,psnr\nbaby,30\n")
    return home


def test_scores_of_untrained_methods_and_of_fits_of_the_released_profile_are_kept(home, run):
    prosrn = papers.get("prosrn")
    fits = [Run(prosrn.experiment("aplus", 2, profile), "0" * 64) for profile in ("released", "smoke")]
    folders = [paths.runs_dir() / "untrained" / "bicubic_default_x2", *(fit.dir / "metrics" for fit in fits)]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "Set5_x2_y_01234567.csv").write_text("image,psnr\nbaby,30\n")
    for fit in fits:
        fit.write_config()
    edited = paths.runs_dir() / "experiments" / "edited"
    (edited / "metrics").mkdir(parents=True)
    (edited / "config.json").write_text("{}")
    status, errors = run()
    assert status == 1 and run("--check")[0] == 1  # as b has no scores
    assert f"left out: {edited}" in errors
    kept = home / "data" / "scores"
    assert {folder.name for folder in kept.iterdir() if "_x2-" not in folder.name} == {"bicubic_default_x2", fits[0].key}
    assert (kept / fits[0].key / "Set5_x2_y_01234567.csv").exists()
    (kept / "bicubic_default_x9").mkdir()
    assert "bicubic_default_x9: scores of weights that are not released" in run("--check")[1]


def test_scores_of_a_network_stay_where_only_its_card_is_released(home, run):
    run()
    weights = cards.weights_path(papers.get("btsrn"), "a", 2)
    folder = cards.kept_scores(weights)
    weights.unlink()
    assert cards.kept_scores(weights) == folder
    run()
    assert (folder / "Set5_x2_y_01234567.csv").exists() and "a_x2" not in run("--check")[1]


def test_scores_of_public_sets_are_kept_and_those_of_other_weights_dropped(home, run):
    old = home / "data" / "scores" / "a_x2-0123456789"
    unknown = home / "data" / "scores" / "official_vdsr_x2-0123456789-0123456789"
    for folder in (old, unknown):
        folder.mkdir(parents=True)
    status, errors = run("--check")
    assert status == 1 and old.exists() and "scores of weights that are not released" in errors
    status, errors = run()
    assert status == 1 and "b_x2: no scores yet; run make reproduce PROFILE=released" in errors and not old.exists()
    assert (home / "data" / "scores" / OFFICIAL / "Set5_x2_y_01234567.csv").exists() and not unknown.exists()
    assert "official" not in errors
    folder = cards.kept_scores(cards.weights_path(papers.get("btsrn"), "a", 2))
    copies = [str(file.relative_to(folder)) for file in sorted(folder.rglob("*.csv"))]
    assert copies == ["Set5_x2_y_01234567.csv", "part/Set5_x2_y_01234567.csv"]
    assert scores.public(Path("City100-nikon_test_x1_d2c_01234567.csv"))
    assert scores.public(Path("embedded-camera-test_x8_d2c_01234567.csv"))
    assert not scores.public(Path("holiday_x2_y_01234567.csv"))


def drawn_under_todays_protocol(paper: str, table: str) -> bool:
    """Whether a published table was scored as the paper's protocol says by now."""
    caption = (ROOT / "figures" / "released" / paper / f"{table}.md").read_text()
    return protocol(papers.get(paper).protocol).describe(()).rstrip(".") in caption


def test_tables_of_older_protocols_are_named_on_the_page():
    """They are drawn anew with the next release; until then no reader takes them for today's."""
    older = {"prosrn"} if not drawn_under_todays_protocol("prosrn", "table_6_x2") else set()
    assert drawn_under_todays_protocol("difficulty_sr", "table_1_x2") and drawn_under_todays_protocol("btsrn", "table_4")
    page = " ".join((ROOT / "notebooks" / "prosrn" / "README.md").read_text().split())
    assert ("were scored before protocol `prosrn`" in page) == bool(older)


def test_the_tables_are_the_means_of_the_scores():
    compared = 0
    shown = {"difficulty_sr": ("table_1_x2", "table_1_x3", "table_1_x4"), "prosrn": ("table_6_x2", "table_6_x4", "table_6_x8")}
    for paper, tables in shown.items():
        found = papers.get(paper)
        names = {label: name for name, label in found.labels.items()}
        for table in (one for one in tables if drawn_under_todays_protocol(paper, one)):
            rows = pd.read_csv(ROOT / "figures" / "released" / paper / f"{table}.csv").dropna(subset="psnr_ours")
            for row in rows[rows["method"].isin(names)].itertuples():
                if names[row.method] in found.parts:  # of a network's other options
                    continue
                if found.method(names[row.method]).loaded(found.setting("released")):
                    scores = kept(paper, names[row.method], row.dataset, row.scale)
                    assert scores is not None, (table, row.method, row.dataset)
                    assert scores["psnr"].mean() == pytest.approx(row.psnr_ours, abs=1e-3), (table, row.method, row.dataset)
                    compared += 1
    assert compared > 50


@pytest.mark.parametrize(
    ("paper", "method", "dataset", "scale"),
    [
        ("btsrn", "btsrn", "Set5", 4),
        ("btsrn", "btsrn_pconv", "Set14", 2),
        ("difficulty_sr", "difficulty_sr", "Set5", 3),
        ("difficulty_sr", "fsrcnn", "B100", 2),
        ("prosrn", "prosrn_2_4_8", "Set5", 8),
        ("prosrn", "prosrgan", "Set5", 4),
    ],
)
def test_a_score_comes_out_again(datasets, paper, method, dataset, scale):
    known = kept(paper, method, dataset, scale).iloc[0]
    trained = store.load_released(papers.get(paper), method, scale)
    again = evaluate(trained.model, dataset, protocol(papers.get(paper).protocol), limit=1).iloc[0]
    assert again["image"] == known["image"]
    assert again["psnr"] == pytest.approx(known["psnr"], abs=1e-3) and again["ssim"] == pytest.approx(known["ssim"], abs=1e-4)
