import dataclasses
import json
import os
import re
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from scripts import ROOT, card, total_steps

from srlib.baselines.aplus import APlus
from srlib.baselines.espcn import ESPCN
from srlib.core import metrics, paths
from srlib.core.errors import SRError
from srlib.core.imresize import imresize
from srlib.core.protocols import protocol
from srlib.nn import models
from srlib.nn.bicubic import Bicubic
from srlib.papers import Method, Paper
from srlib.papers.btsrn import PAPER as BTSRN
from srlib.papers.difficulty_sr import PAPER as DIFFICULTY
from srlib.papers.difficulty_sr import analysis as difficulty_analysis
from srlib.papers.profiles import Profile
from srlib.papers.profiles import profile as find_profile
from srlib.papers.prosrn import PAPER as PROSRN
from srlib.reproduce import budgets, cards, scores, store
from srlib.reproduce.cards import NotReleased, release, weights_path
from srlib.reproduce.scores import collect, score
from srlib.reproduce.store import Trained, load_existing, load_or_train, load_released, load_run
from srlib.scoring import evaluation, vitals
from srlib.scoring.evaluation import SCORERS, evaluate
from srlib.train.experiment import Experiment
from srlib.train.run import Outdated, Run, load_budget
from srlib.train.training import digest, train

COLUMNS = ["paper", "method", "dataset", "scale", "seed", "image", "psnr", "ssim", "seconds"]


pytestmark = pytest.mark.usefixtures("one_thread", "home")


@pytest.fixture
def data(tmp_path) -> str:
    (tmp_path / "photos").mkdir()
    for i in range(3):
        noise = np.random.default_rng(i).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(imresize(noise, size=(40, 36))).save(tmp_path / "photos" / f"{i:03d}.png")
    return f"folder:{tmp_path / 'photos'}"


@pytest.fixture
def profile(data) -> Profile:
    small = {"hr_patch": 16, "batch": 2, "steps": 2, "schedule": "cosine"}
    return Profile("tiny", True, data, "", (data,), (2,), (0, 1), data, overrides=small)


PAPER = Paper(
    "test",
    "Test",
    "y",
    {
        "bicubic": Method("bicubic", "Bicubic"),
        "pillow": Method("bicubic", "Bicubic", {"kernel": "pillow"}),
        "espcn": Method("espcn", "ESPCN", fields={"steps": 5}),
        "aplus": Method("aplus", "A+", {"atoms": 4, "neighbours": 8}, {"steps": 2, "hr_patch": 16}),
    },
    ("espcn", "bicubic"),
    (2, 3, 4),
    borrows={"espcn": "btsrn"},
)


def trained_run(data, **changes) -> Run:
    base = {"name": "espcn", "paper": "btsrn", "model": "espcn", "scale": 2, "data": data, "hr_patch": 16, "batch": 2, "steps": 2}
    return train(Experiment(**{**base, **changes}), progress="none")


def give_weights(run: Run, other: Run) -> None:
    """Put the weights of one run in the place of another's, with all that is recorded of them."""
    made = other.provenance() | {key: run.provenance()[key] for key in ("weights", "probe")}
    other.weights.write_bytes(run.weights.read_bytes())
    (other.dir / "provenance.json").write_text(json.dumps(made))


def only_probes(compute):
    """Let a scoring fail on a set that is given by its name."""

    def checked(net, images, *arguments):
        return pytest.fail("computed again") if isinstance(images, str) else compute(net, images, *arguments)

    return checked


@pytest.fixture
def counted(monkeypatch) -> list:
    """What is really evaluated, probes left out: (dataset, arguments)."""
    calls = []

    def counting(model, dataset, by, **arguments):
        calls.extend([(dataset, arguments)] if isinstance(dataset, str) else [])
        return evaluate(model, dataset, by, **arguments)

    monkeypatch.setattr(scores, "evaluate", counting)
    return calls


def released(data, **changes) -> Path:
    """Release the weights of a small training; return their file."""
    return release(trained_run(data, **changes), [data], protocol("y"))


def card_of(weights: Path) -> dict:
    return json.loads(weights.with_suffix(".json").read_text())


class TestLoadRun:
    def test_gives_the_trained_network_also_when_moved(self, data, tmp_path):
        run = trained_run(data, model="vdsr", model_args={"depth": 3, "width": 4})
        state = load_file(run.weights)
        for folder in (run.dir, tmp_path / "moved"):
            trained = load_run(folder if folder == run.dir else run.dir.rename(folder))
            assert trained.name == "espcn" and trained.run.dir == folder and trained.scores == folder / "metrics"
            assert all(torch.equal(tensor, state[name]) for name, tensor in trained.model.state_dict().items())
            assert not trained.model.training
            budget = r"espcn x2 2 steps of 2 patches of 16 px in fp32, \d\.\d minutes on 3 images of folder:"
            assert re.match(budget, trained.budget)

    def test_a_partial_run_and_a_folder_that_is_none(self, data, tmp_path):
        run = trained_run(data)
        run.weights.unlink()
        with pytest.raises(SRError, match="is not a complete run; the same `python -m srlib train ...` continues it"):
            load_run(run.dir)
        with pytest.raises(SRError, match="is not complete; finish its training first"):
            release(run, [data], protocol("y"))
        with pytest.raises(SRError, match="is not a run; `python -m srlib list runs`"):
            load_run(tmp_path)


class TestReleased:
    def test_weights_and_card_come_back(self, data, home):
        run = trained_run(data)
        file = release(run, [data], protocol("y"))
        assert file == home / "data" / "weights" / "btsrn" / "espcn_x2.safetensors" == weights_path(BTSRN, "espcn", 2)
        state, exact = load_file(file), load_file(run.weights)
        assert {tensor.dtype for tensor in state.values()} == {torch.float16} and state.keys() == exact.keys()
        trained = load_released(BTSRN, "espcn", 2)
        for name, tensor in trained.model.state_dict().items():
            assert tensor.dtype == torch.float32 and torch.allclose(tensor, exact[name], atol=2e-3)
        card, rows = card_of(file), evaluate(trained.model, data, protocol("y"))
        assert card["experiment"]["steps"] == 2 and card["provenance"]["hardware"] and card["history"] == []
        assert card["metrics"][data] == {**card["metrics"][data], "images": 3, "protocol": "y"}
        assert card["metrics"][data]["psnr"] == round(rows["psnr"].mean(), 4)
        assert "2 steps" in trained.budget and card["validation"] == []
        assert card["vital_signs"] == run.provenance()["vital_signs"] == {}  # it has no mechanism
        before = file.read_bytes()
        file.write_bytes(b"")
        assert release(run, [data], protocol("y")).read_bytes() == before and card_of(file)["history"] == []

    def test_each_seed_has_a_name_of_its_own(self, data, home):
        with pytest.raises(NotReleased, match="no released weights of btsrn for espcn x2 .seed 1.; there are"):
            load_released(BTSRN, "espcn", 2, seed=1)
        file = released(data, seed=1)
        assert file == weights_path(BTSRN, "espcn", 2, 1) and file.name == "espcn_x2_seed1.safetensors"
        assert load_released(BTSRN, "espcn", 2, seed=1).weights == file and not weights_path(BTSRN, "espcn", 2).exists()

    def test_same_weights_under_another_name_are_a_file_of_their_own(self, data):
        run, other = trained_run(data), trained_run(data, seed=1)
        give_weights(run, other)
        first, second = (release(one, [data], protocol("y")) for one in (run, other))
        assert first.read_bytes() == second.read_bytes() and not first.is_symlink() and not second.is_symlink()
        assert load_released(BTSRN, "espcn", 2, seed=1).weights == second
        assert cards.kept_scores(second) != cards.kept_scores(first) and card_of(second)["experiment"]["seed"] == 1
        before = first.read_bytes()
        released(data, steps=60, learning_rate=3e-3)
        assert first.read_bytes() != before == second.read_bytes()

    def test_weights_that_float16_cannot_hold_are_refused(self, data, home):
        run = trained_run(data)
        state = load_file(run.weights)
        name = next(iter(state))
        run.finish(state | {name: state[name] * 1e6}, run.provenance(), [])
        with pytest.raises(SRError, match=f"tensor '{name}' has values up to .* float16"):
            release(run, [data], protocol("y"))
        assert not (home / "data" / "weights").exists()

    def test_card_has_the_validations_of_the_training(self, data):
        run = trained_run(data, validation=data, steps=20)
        rows, history = card_of(release(run, [data], protocol("y")))["validation"], run.history()
        assert [row["step"] for row in rows] == list(range(2, 21, 2)) == history["step"].tolist()
        assert [row["psnr"] for row in rows] == history["psnr"].tolist()
        assert all(set(row) == {"step", "psnr", "ssim"} for row in rows)

    def test_card_has_the_vital_signs_of_the_released_weights(self, data, home):
        run = trained_run(data, name="srcnn", model="srcnn")
        made = run.provenance()["vital_signs"]
        assert made["images"] == data and 0 <= made["dead_units"] < 1 and load_run(run.dir).vital_signs == made
        file = release(run, [data], protocol("y"))
        card, trained = card_of(file), load_released(BTSRN, "srcnn", 2)
        assert card["vital_signs"] == vitals.measure(trained.model, data) == trained.vital_signs
        assert "vital_signs" not in card["provenance"]
        del card["vital_signs"]  # as on older cards
        file.with_suffix(".json").write_text(json.dumps(card))
        assert load_released(BTSRN, "srcnn", 2).vital_signs == {}

    @pytest.mark.parametrize("better", [True, False])
    def test_another_training_replaces_and_remembers_whichever_is_better(self, data, better):
        long, short = trained_run(data, steps=60, learning_rate=3e-3), trained_run(data)
        first, second = (short, long) if better else (long, short)
        release(first, [data], protocol("y"))
        card = card_of(release(second, [data], protocol("y")))
        assert card["experiment"]["steps"] == second.experiment.steps
        (old,) = card["history"]
        assert old["steps"] == first.experiment.steps
        assert (old["metrics"][data]["psnr"] < card["metrics"][data]["psnr"]) is better

    @pytest.mark.parametrize("at", [".json", ".safetensors"])
    def test_interrupted_release_leaves_no_weights_without_a_card(self, data, home, monkeypatch, at):
        run, replace = trained_run(data), os.replace

        def interrupted(source, target):
            if Path(target).suffix == at and "weights" in Path(target).parts:
                raise KeyboardInterrupt
            replace(source, target)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(os, "replace", interrupted)
            release(run, [data], protocol("y"))
        file = weights_path(BTSRN, "espcn", 2)
        assert not file.exists() and file.with_suffix(".json").exists() == (at == ".safetensors")
        assert release(run, [data], protocol("y")) == file and card_of(file)["history"] == []

    def test_missing_ones_say_how_to_get_them(self, data):
        with pytest.raises(NotReleased, match=r"no released weights of btsrn for vdsr x3; there are: none\. Train it: python"):
            load_released(BTSRN, "vdsr", 3)
        released(data)
        with pytest.raises(NotReleased, match=r"there are: espcn_x2\. .*train btsrn/espcn --scale 4"):
            load_released(BTSRN, "espcn", 4)
        released(data, seed=1).unlink()
        with pytest.raises(NotReleased, match=r"espcn x2 .seed 1. of btsrn: only its card.*btsrn/espcn --scale 2 --seed 1$"):
            load_released(BTSRN, "espcn", 2, 1)
        assert load_existing(BTSRN, "espcn", 2, BTSRN.setting("released"), 1) is None  # lost, not `card_only`

    def test_scores_and_card_are_enough_for_tables_where_weights_stay_out_of_git(self, data, counted):
        file = release(trained_run(data), [data], protocol("y"), card_only=True)
        there, setting = load_released(BTSRN, "espcn", 2), BTSRN.setting("released")
        rows = score(there, data, protocol("y"))
        there.scores.rename(cards.kept_scores(file).parent.mkdir() or cards.kept_scores(file))
        file.unlink()
        table, notes = scores.collect(BTSRN, ["espcn"], [2], [data], setting, by="y")
        assert table["psnr"].tolist() == rows["psnr"].tolist() and notes == [] and len(counted) == 1
        known = load_existing(BTSRN, "espcn", 2, setting, 0)
        assert known.weights is None and known.budget == there.budget and known.vital_signs == there.vital_signs
        sizes = [[p.shape for p in one.model.parameters()] for one in (known, there)]
        assert sizes[0] == sizes[1]
        with pytest.raises(NotReleased, match="espcn x2 of btsrn: only its card is released, not its weights; train it: python"):
            known.model(torch.zeros(1, 1, 8, 8))
        with pytest.raises(NotReleased, match="only its card is released"):
            load_released(BTSRN, "espcn", 2)
        table, (note,) = scores.collect(BTSRN, ["espcn"], [2], [data], setting, by="edsr")  # a score that was not kept
        assert table.empty and note.startswith("Without weights, left out: espcn x2 (")

    def test_weights_of_an_earlier_release_are_not_those_of_a_card_without(self, data):
        file = release(trained_run(data), [data], protocol("y"))
        earlier = file.read_bytes()
        release(trained_run(data, steps=3), [data], protocol("y"), card_only=True)
        file.write_bytes(earlier)  # ignored by git, so that a pull leaves it
        with pytest.raises(NotReleased, match="only its card is released"):
            load_released(BTSRN, "espcn", 2)
        there = load_existing(BTSRN, "espcn", 2, BTSRN.setting("released"), 0)
        assert there.absent and there.kept == cards.kept_scores(file)
        assert there.kept.name == f"{file.stem}-{card_of(file)['weights'][:10]}"  # not the scores of the file that is there
        with pytest.raises(NotReleased, match="only its card is released"):
            store.at_scale(there, 2)

    def test_scores_without_weights_are_refused_where_the_code_has_changed(self, data, monkeypatch):
        file = release(trained_run(data), [data], protocol("y"), card_only=True)
        there = load_released(BTSRN, "espcn", 2)
        score(there, data, protocol("y"))
        there.scores.rename(cards.kept_scores(file).parent.mkdir() or cards.kept_scores(file))
        file.unlink()
        forward = type(there.model).forward
        monkeypatch.setattr(type(there.model), "forward", lambda self, lr: forward(self, lr) * 1.01)
        table, (note,) = scores.collect(BTSRN, ["espcn"], [2], [data], BTSRN.setting("released"), by="y")
        assert table.empty and "espcn x2" in note

    def test_vital_signs_fall_back_to_the_training_images(self, data, monkeypatch):
        monkeypatch.setattr(cards.vitals, "measure", lambda model, *sets: {"images": sets})
        run = trained_run(data)
        assert card_of(release(run, [], protocol("y")))["vital_signs"] == {"images": [run.experiment.data]}
        assert card_of(release(run, [data], protocol("y")))["vital_signs"]["images"] == [data, run.experiment.data]

    def test_changed_weights_and_damaged_cards_are_refused(self, data):
        file = released(data)
        card, weights = file.with_suffix(".json"), bytearray(file.read_bytes())
        weights[-3] ^= 4
        file.write_bytes(weights)
        with pytest.raises(SRError, match="espcn_x2.safetensors was changed: SHA-256 .* as on its card; restore it"):
            load_released(BTSRN, "espcn", 2)
        whole = json.loads(card.read_text())
        later = {**whole, "experiment": {**whole["experiment"], "of_a_later_version": 1}}
        without = [{key: value for key, value in whole.items() if key != left_out} for left_out in ("probe", "provenance")]
        for content in ("{", "[1]", "{}", *map(json.dumps, [*without, later]), None):
            card.unlink() if content is None else card.write_text(content)
            with pytest.raises(SRError, match="espcn_x2.json, the card of released weights, cannot be read .*; restore it"):
                load_released(BTSRN, "espcn", 2)

    def test_weights_of_another_training_are_not_taken_for_it(self, data):
        """Three papers train a VDSR, each in its own way."""
        file = released(data)
        file.parent.rename(file.parent.parent / "prosrn")
        with pytest.raises(NotReleased, match="no released weights of btsrn for espcn x2"):
            load_released(BTSRN, "espcn", 2)
        paper = dataclasses.replace(PAPER, borrows={"espcn": "prosrn"})
        with pytest.raises(SRError, match="its card is of btsrn/espcn; put weights and card back in their folder"):
            load_released(paper, "espcn", 2)

    def test_a_borrowed_training_is_named_where_its_budget_is_told(self, data):
        released(data)
        assert load_released(PAPER, "espcn", 2).budget_summary.startswith("ESPCN x2 (btsrn's training) 2 steps of 2 patches")
        assert load_released(BTSRN, "espcn", 2).budget_summary.startswith("ESPCN x2 2 steps of 2 patches")

    def test_misspelt_name_and_wrong_scale_are_told_as_such(self):
        with pytest.raises(SRError, match="unknown method of btsrn: 'vdrs'.*'vdsr'"):
            load_released(BTSRN, "vdrs", 2)
        with pytest.raises(SRError, match=r"scale \(=7\) is not one that model 'vdsr' has"):
            load_released(BTSRN, "vdsr", 7)


class TestTrainings:
    def rows(self, *keys):
        return pd.DataFrame(keys, columns=["method", "scale", "seed"])

    def test_of_runs(self, data, profile):
        profile = dataclasses.replace(profile, validation=data)
        for seed in (0, 1):
            load_or_train(PAPER, "espcn", 2, profile, seed, progress="none")
        got = budgets.trainings(PAPER, self.rows(("espcn", 2, 0), ("espcn", 2, 0), ("espcn", 2, 1), ("bicubic", 2, 0)), profile)
        assert list(got) == list(budgets.TRAINING_COLUMNS) and got["seed"].tolist() == [0, 1]
        one = got.iloc[0]
        expected = {"method": "espcn", "scale": 2, "data": data, "steps": 2, "batch": 2, "hr_patch": 16}
        assert {key: one[key] for key in expected} == expected
        assert one["dead"] == one["official"] == "" and one["validation"] == data
        assert [row["step"] for row in one["history"]] == [1, 2] and one["history"][1]["psnr"] > 0
        assert budgets.trainings(PAPER, self.rows(("espcn", 4, 0), ("espcn", 2, 7)), profile).empty  # no such run
        assert budgets.trainings(PAPER, pd.DataFrame(), profile).empty

    def test_of_cards_also_without_weights(self, data, profile):
        profile = dataclasses.replace(profile, train=False)
        file = released(data, validation=data)
        file.unlink()
        card = card_of(file)
        card["provenance"] |= {"vital_signs": {"any": "sign", "other": 1}}
        file.with_suffix(".json").write_text(json.dumps(card))
        paper = dataclasses.replace(PAPER, parts={"half": "Half"}, part_of={"half": "espcn"}, part_signs={"half": ("other",)})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(budgets.vitals, "dead", lambda signs: f"of {signs}" if signs else "")
            got = budgets.trainings(BTSRN, self.rows(("espcn", 2, 0)), profile)
            part = budgets.trainings(dataclasses.replace(paper, name="btsrn"), self.rows(("half", 2, None)), profile)
        assert got["dead"].tolist() == ["of {'any': 'sign', 'other': 1}"] and got["steps"].tolist() == [2]
        assert len(got["history"][0]) == 2
        assert part["method"].tolist() == ["half"] and part["dead"].tolist() == ["of {'other': 1}"]

    def test_steps_count_those_that_it_started_from(self, data, profile):
        first = PAPER.method("espcn")
        methods = PAPER.methods | {"longer": dataclasses.replace(first, start={"": "espcn"})}
        paper = dataclasses.replace(PAPER, methods=methods)
        load_or_train(paper, "longer", 2, profile, progress="none")
        assert budgets.trainings(paper, self.rows(("longer", 2, 0), ("espcn", 2, 0)), profile)["steps"].tolist() == [4, 2]

    def test_legs_count_together_and_so_do_their_validations(self, data, profile):
        first = trained_run(data, validation=data, steps=20)
        start = {"": first.weights}
        one = dataclasses.replace(first.experiment, steps=10, start=digest(start))
        file = release(train(one, start=start, progress="none"), [data], protocol("y"))
        card = card_of(file)
        assert [row["step"] for row in card["validation"]] == list(range(21, 31))
        got = budgets.trainings(BTSRN, self.rows(("espcn", 2, 0)), dataclasses.replace(profile, train=False))
        assert got["steps"].tolist() == [30]
        card["provenance"]["start"] = {"": None}  # whose card was not there
        file.with_suffix(".json").write_text(json.dumps(card))
        assert budgets.trainings(BTSRN, self.rows(("espcn", 2, 0)), dataclasses.replace(profile, train=False)).empty

    def test_an_identifier_enlarges_nothing_and_counts_for_no_steps(self):
        names = ("difficulty_sr", "idn", "idn_longer", "complex")
        rows = self.rows(*[(name, scale, 0) for name in names for scale in (2, 3)])
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SRLIB_HOME", str(ROOT))
            got = budgets.trainings(DIFFICULTY, rows, DIFFICULTY.setting("released"))
        x2, x3 = (got[got["scale"] == scale].set_index("method")["steps"] for scale in (2, 3))
        for scale, steps in ((2, x2), (3, x3)):  # from official weights
            own = {name: total_steps(card("difficulty_sr", name, scale)["provenance"]) for name in names[:3]}
            assert steps.to_dict() == own | {"complex": own["difficulty_sr"]}

    def test_steps_include_those_that_a_network_started_from(self):
        rows = self.rows(("prosrgan", 4, 0), ("prosrn_2_4", 4, 0))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SRLIB_HOME", str(ROOT))
            steps = budgets.trainings(PROSRN, rows, PROSRN.setting("released")).set_index("method")["steps"]
        made = {name: card("prosrn", name, 4)["provenance"] for name in steps.index}
        assert steps.to_dict() == {name: total_steps(one) for name, one in made.items()}
        assert steps["prosrgan"] > made["prosrgan"]["steps"] > 0


class TestScore:
    def test_is_cached(self, data, counted):
        trained = load_run(trained_run(data).dir)
        first = score(trained, data, protocol("y"))
        again = score(trained, data, protocol("y"))
        assert len(counted) == 1
        pd.testing.assert_frame_equal(first, again)
        assert first["image"].tolist() == ["000", "001", "002"]  # names stay text
        expected = evaluate(trained.model, data, protocol("y"))
        assert again["psnr"].tolist() == expected["psnr"].tolist()

    def test_those_that_came_with_released_weights_are_taken(self, data, counted, tmp_path):
        weights = released(data)
        first = load_released(BTSRN, "espcn", 2)
        rows = score(first, data, protocol("y"))
        assert len(counted) == 1
        first.scores.rename(cards.kept_scores(weights).parent.mkdir() or cards.kept_scores(weights))
        pd.testing.assert_frame_equal(score(load_released(BTSRN, "espcn", 2), data, protocol("y")), rows)
        assert len(counted) == 1
        released(data, steps=3)  # other weights have no scores yet
        score(load_released(BTSRN, "espcn", 2), data, protocol("y"))
        assert len(counted) == 2

    def test_everything_that_matters_is_scored_anew(self, data, counted, tmp_path):
        trained = load_run(trained_run(data).dir)
        score(trained, data, protocol("y"))
        score(trained, data, protocol("edsr"))
        score(trained, data, protocol("y"), ensemble=True)
        score(trained, data, protocol("y"), limit=1)
        other = load_run(trained_run(data, seed=1).dir)
        score(other, data, protocol("y"))
        assert len(counted) == 5
        score(trained, data, protocol("y"), limit=3)  # all of them
        assert len(counted) == 5
        Image.fromarray(np.zeros((36, 36, 3), np.uint8)).save(tmp_path / "photos" / "000.png")
        score(trained, data, protocol("y"))
        assert len(counted) == 6

    def test_a_changed_protocol_of_the_same_name_is_scored_anew(self, data, counted, capsys):
        trained, by = load_run(trained_run(data).dir), protocol("y")
        before = score(trained, data, by)
        after = score(trained, data, dataclasses.replace(by, shave_per_scale=3))
        assert len(counted) == 2 and not np.allclose(before["psnr"], after["psnr"])
        assert "protocol 'y' has changed; re-scored" in capsys.readouterr().out

    @pytest.mark.parametrize("what", ["degradation", "metric", "upscaling"])
    def test_changed_code_behind_a_score_is_scored_anew(self, data, counted, monkeypatch, capsys, what):
        trained = load_run(trained_run(data).dir)
        before = score(trained, data, protocol("y"))
        if what == "degradation":
            made = evaluation.lr_from_hr
            monkeypatch.setattr(evaluation, "lr_from_hr", lambda *given: made(*given) + 2)
        elif what == "metric":
            psnr = metrics._FUNCTIONS["psnr"]
            monkeypatch.setitem(metrics._FUNCTIONS, "psnr", lambda sr, hr: psnr(sr, hr) + 0.1)
        else:
            upscale = evaluation.upscale
            monkeypatch.setattr(evaluation, "upscale", lambda *given, **options: upscale(*given, **options) + 1)
        after = score(trained, data, protocol("y"))
        assert len(counted) == 2 and not np.allclose(before["psnr"], after["psnr"])
        assert "the scoring code has changed; re-scored" in capsys.readouterr().out

    def test_a_changed_network_is_neither_loaded_nor_scored(self, data, monkeypatch):
        run, file = trained_run(data), release(trained_run(data), [data], protocol("y"))
        forward = ESPCN.forward
        monkeypatch.setattr(ESPCN, "forward", lambda self, lr: 0.5 * forward(self, lr))
        with pytest.raises(Outdated, match=r"run .* output differs from that after its training, so its code has changed"):
            load_run(run.dir)
        with pytest.raises(Outdated, match=rf"released weights {file.stem}: the network's output differs"):
            load_released(BTSRN, "espcn", 2)

    def test_an_untrained_method_whose_code_has_changed_is_scored_anew(self, data, counted, profile, monkeypatch):
        before = score(load_or_train(PAPER, "bicubic", 2, profile), data, protocol("y"))
        forward = Bicubic.forward
        monkeypatch.setattr(Bicubic, "forward", lambda self, lr: 0.99 * forward(self, lr))
        assert not np.allclose(score(load_or_train(PAPER, "bicubic", 2, profile), data, protocol("y"))["psnr"], before["psnr"])

    @pytest.mark.parametrize("damage", ["rows", "head", "none"])
    def test_scores_that_were_edited_are_made_anew(self, data, counted, damage):
        trained = load_run(trained_run(data).dir)
        before = score(trained, data, protocol("y"))
        (file,) = trained.scores.glob("*.csv")
        head, _, body = file.read_text().partition("\n")
        text = {"rows": f"{head}\n{body.replace('000,', '000,9')}", "head": body, "none": ""}[damage]
        file.write_text(text)
        pd.testing.assert_frame_equal(score(trained, data, protocol("y"))[["image", "psnr"]], before[["image", "psnr"]])
        assert len(counted) == 2

    def test_outdated_scores_of_this_machine_go_where_published_ones_are_valid(self, data, counted, capsys):
        file = released(data)
        trained = load_released(BTSRN, "espcn", 2)
        rows = score(trained, data, protocol("y"))
        shutil.copytree(trained.scores, cards.kept_scores(file))
        (own,) = trained.scores.glob("*.csv")
        own.write_text(own.read_text().replace("000,", "000,9"))
        pd.testing.assert_frame_equal(score(trained, data, protocol("y")), rows)
        assert len(counted) == 1 and not own.exists() and "re-scored" not in capsys.readouterr().out

    def test_scorers_of_papers_are_cached_separately(self, tmp_path, monkeypatch):
        net = models.create("divergence", 1, groups=1, blocks=1, width=8)
        parts = Trained("d2c_divergence", "D2C", net, tmp_path / "parts"), "embedded-camera-test", protocol("d2c"), "parts"
        net = models.create("difficulty_sr", 2, complex="idn", complex_args={"width": 16})
        patches = Trained("difficulty_sr", "Difficulty-SR", net, tmp_path / "patches"), "embedded-test", protocol("y"), "patches"
        rows = {}
        for trained, dataset, by, scorer in (parts, patches):
            rows[scorer] = score(trained, dataset, by, limit=1, scorer=scorer)
            monkeypatch.setitem(SCORERS, scorer, only_probes(SCORERS[scorer]))
            pd.testing.assert_frame_equal(score(trained, dataset, by, limit=1, scorer=scorer), rows[scorer])
        by_part = rows["parts"].set_index("part")["psnr"]
        assert set(by_part.index) == {"fused", "single", "mean", "ideal", "between"} and rows["parts"]["image"].nunique() == 1
        assert score(*parts[:3], limit=1)["psnr"].tolist() == pytest.approx([by_part["fused"]], abs=1e-3)
        assert {"image", "y", "x", "bicubic", "actual", "predicted", "p4", "complex"} <= set(rows["patches"])
        assert len(rows["patches"]) > 1
        expected = difficulty_analysis.compare({"identifier": net.identifier, "complex": net.complex}, "embedded-test", 2, 1)
        pd.testing.assert_frame_equal(rows["patches"], expected, check_dtype=False)

    def test_failed_evaluation_leaves_nothing(self, data, monkeypatch):
        trained = load_run(trained_run(data).dir)
        monkeypatch.setattr(evaluation, "score", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            score(trained, data, protocol("y"))
        assert not trained.scores.exists() or not list(trained.scores.iterdir())


RELEASED = Profile("r", False, "", "", (), (2,), (0,), "")


class TestLoadOrTrain:
    def test_untrained_methods_are_ready_and_do_not_share_scores(self, profile):
        trained = [load_or_train(PAPER, *given, profile) for given in (("bicubic", 2), ("pillow", 2), ("bicubic", 3))]
        assert [one.model.kernel for one in trained] == ["matlab", "pillow", "matlab"] and len(
            {one.scores for one in trained}
        ) == 3
        assert {one.run for one in trained} == {None} and {one.budget for one in trained} == {"Bicubic: not trained."}

    def test_trains_under_the_profile_once(self, profile):
        first = load_or_train(PAPER, "espcn", 2, profile, progress="none")
        assert first.label == "ESPCN" and first.run.experiment.steps == 2
        before = first.run.weights.stat().st_mtime_ns
        assert load_or_train(PAPER, "espcn", 2, profile, progress="none").run.weights.stat().st_mtime_ns == before
        assert load_or_train(PAPER, "espcn", 2, profile, seed=1, progress="none").run.dir != first.run.dir

    def test_takes_released_weights_where_the_profile_trains_nothing(self, data):
        assert store.available(PAPER, ["espcn"], 2, RELEASED) == {}
        released(data)
        trained = load_or_train(PAPER, "espcn", 2, RELEASED)
        assert trained.label == "ESPCN" and trained.run is None and trained.card["experiment"]["steps"] == 2
        (ready,) = store.available(PAPER, ["espcn"], 2, RELEASED).values()
        assert ready.card == trained.card

    def test_networks_that_are_ready(self, profile):
        assert set(store.available(PAPER, ["bicubic", "espcn"], 2, profile)) == {"bicubic"}
        trained = load_or_train(PAPER, "espcn", 2, profile, progress="none")
        ready = store.available(PAPER, ["bicubic", "espcn"], 2, profile)
        assert {name: one.label for name, one in ready.items()} == {"bicubic": "Bicubic", "espcn": "ESPCN"}
        assert ready["espcn"].run.dir == trained.run.dir

    def test_what_is_fitted_is_fitted_where_others_are_loaded(self, data):
        setting = dataclasses.replace(RELEASED, data=data, validation=data)
        assert not store.available(PAPER, ["aplus"], 2, setting)
        fitted = load_or_train(PAPER, "aplus", 2, setting, progress="none")
        assert fitted.run.complete and fitted.label == "A+" and fitted.model.regressors.any()
        assert fitted.budget_summary == f"A+ x2 fitted to {data}"
        (ready,) = store.available(PAPER, ["aplus"], 2, setting).values()
        assert ready.run.dir == fitted.run.dir

    def test_what_has_published_scores_is_fitted_when_others_are_asked(self, data, counted, monkeypatch, forget_fits):
        setting = dataclasses.replace(RELEASED, data=data, validation=data)
        sets = {"few": (data, 2), "all": (data, None)}

        def rows(which: str) -> pd.DataFrame:
            dataset, limit = sets[which]
            return collect(PAPER, ["aplus"], [2], [dataset], setting, limit=limit, progress="none")[0]

        before = rows("few")
        (run,) = (paths.runs_dir() / "experiments").iterdir()
        fitted = load_run(run).model
        cards.published_scores("x").parent.mkdir(parents=True)
        (run / "metrics").rename(cards.published_scores(run.name))
        shutil.rmtree(run)
        counted.clear()
        pd.testing.assert_frame_equal(rows("few"), before)
        (ready,) = store.available(PAPER, ["aplus"], 2, setting).values()
        assert not counted and not run.exists() and ready.budget_summary == f"A+ x2 fitted to {data}"
        assert "A+ x2 fitted to" in budgets.training_budget_caption(PAPER, ["aplus"], [2], setting)
        assert (ready.model.channels, ready.model.context) == (fitted.channels, fitted.context)
        assert torch.equal(ready.model(lr := torch.rand(1, 1, 9, 8)), fitted(lr)) and Run.open(run).complete
        shutil.rmtree(run)
        assert len(rows("all")) == 3 and Run.open(run).complete and len(counted) == 1
        learn = APlus.learn
        monkeypatch.setattr(APlus, "learn", lambda self, features, *rest: learn(self, 1.1 * features, *rest))
        forget_fits()
        rows("few")
        assert len(counted) == 2

    def test_published_scores_of_a_fit_are_read_without_its_training_images(self, data, counted, tmp_path):
        shutil.copytree(tmp_path / "photos", tmp_path / "training")
        training = f"folder:{tmp_path / 'training'}"
        setting = dataclasses.replace(RELEASED, data=training, validation=data)
        before = collect(PAPER, ["aplus"], [2], [data], setting, progress="none")[0]
        (run,) = (paths.runs_dir() / "experiments").iterdir()
        cards.published_scores("x").parent.mkdir(parents=True)
        (run / "metrics").rename(cards.published_scores(run.name))
        shutil.rmtree(run)
        shutil.rmtree(tmp_path / "training")
        counted.clear()
        pd.testing.assert_frame_equal(collect(PAPER, ["aplus"], [2], [data], setting, progress="none")[0], before)
        assert not counted
        with pytest.raises(SRError, match="training does not exist"):
            collect(PAPER, ["aplus"], [2], [data], setting, by="edsr", progress="none")
        cards.published_scores(run.name).rename(cards.published_scores("other"))
        assert not store.available(PAPER, ["aplus"], 2, setting)

    def test_published_scores_of_an_untrained_method_are_read(self, data, counted, profile):
        before = score(load_or_train(PAPER, "bicubic", 2, profile), data, protocol("y"))
        (folder,) = (paths.runs_dir() / "untrained").iterdir()
        cards.published_scores("x").parent.mkdir(parents=True)
        folder.rename(cards.published_scores(folder.name))
        counted.clear()
        pd.testing.assert_frame_equal(score(load_or_train(PAPER, "bicubic", 2, profile), data, protocol("y")), before)
        assert not counted


class TestScores:
    def test_a_row_per_method_scale_set_seed_and_image(self, profile, data):
        small = dataclasses.replace(profile, overrides={**profile.overrides, "hr_patch": 18})
        table, notes = collect(PAPER, ["bicubic", "espcn"], [2, 3], [data], small, seeds=(0, 1), progress="none")
        assert list(table.columns) == COLUMNS and notes == []
        assert len(table) == 2 * 3 + 2 * 2 * 3  # bicubic has no seeds
        assert not table.duplicated(["method", "dataset", "scale", "seed", "image"]).any()
        assert set(table["paper"]) == {"test"}

    def test_limit_and_protocol(self, profile, data):
        few, _ = collect(PAPER, ["bicubic"], [2], [data], profile, limit=2)
        assert len(few) == 2
        rgb, _ = collect(PAPER, ["bicubic"], [2], [data], profile, limit=2, by="btsrn_div2k")
        assert not np.allclose(few["psnr"], rgb["psnr"])

    def test_without_sets_each_method_has_those_of_the_profile(self, profile, data):
        two = dataclasses.replace(profile, tests=(data, "embedded-test"), reference_tests=(data,), images=1)
        paper = dataclasses.replace(PAPER, reference_methods=("pillow",))
        table, _ = collect(paper, ["bicubic", "pillow"], [2], [], two, limit=1)
        assert table.groupby("method")["dataset"].unique().map(list).to_dict() == {
            "bicubic": [data, "embedded-test"],
            "pillow": [data],
        }

    def test_sets_that_differ_from_scale_to_scale(self, profile, data, tmp_path):
        for scale in (2, 3):
            shutil.copytree(tmp_path / "photos", tmp_path / f"photos_x{scale}")
        paper = dataclasses.replace(PAPER, profiles={"tiny": {"tests": (f"{data}_x{{scale}}",)}})
        rows, _ = collect(paper, ["bicubic"], [2, 3], [], paper.setting(profile, 2))
        assert rows.groupby("scale")["dataset"].unique().map(list).to_dict() == {s: [f"{data}_x{s}"] for s in (2, 3)}

    def test_what_is_not_released_is_noted(self, data):
        note = "Without weights, left out: {} (see python -m srlib list released; official ones: python -m srlib data official)."
        table, notes = collect(PAPER, ["bicubic", "espcn"], [2], [data], RELEASED)
        assert set(table["method"]) == {"bicubic"} and notes == [note.format("espcn x2")]
        table, notes = collect(PAPER, ["espcn"], [2], [data], RELEASED, seeds=(0, 1))
        assert list(table.columns) == COLUMNS and table.empty and notes == [note.format("espcn x2")]
        released(data)
        table, notes = collect(PAPER, ["espcn"], [2], [data], RELEASED, seeds=(0, 1))
        assert set(table["seed"]) == {0} and notes == [note.format("espcn x2 (seed 1)")]

    def test_unknown_names(self, profile, data):
        with pytest.raises(SRError, match="unknown method of test: 'espn'.*'espcn'"):
            collect(PAPER, ["espn"], [2], [data], profile)
        with pytest.raises(SRError, match="unknown protocol 'z'"):
            collect(PAPER, ["bicubic"], [2], [data], profile, by="z")

    def test_an_identifier_has_no_psnr(self, tmp_path, monkeypatch):
        one = Trained("identifier", "Identifier", models.create("identifier", 2), tmp_path / "scores")
        monkeypatch.setattr(scores, "load_or_train", lambda *_, **__: one)
        with pytest.raises(SRError, match="identifier classifies patches and has no psnr"):
            collect(DIFFICULTY, ["identifier"], [2], ["embedded-test"], find_profile("quick"), limit=1)


def test_captions_have_vital_signs_network_by_network_and_seed_by_seed(profile):
    kpn = Method("kpn", "KPN", {"width": 16, "blocks": 1, "kernel": 3}, {"steps": 2})
    paper = dataclasses.replace(PAPER, methods={**PAPER.methods, "kpn": kpn}, scales=(1, 2))
    pairs = dataclasses.replace(profile, data="embedded-camera", validation="embedded-camera-test", scales=(1,))
    for seed in (0, 1):
        trained = load_or_train(paper, "kpn", 1, pairs, seed, progress="none")
    signs = vitals.describe(trained.vital_signs)
    caption = budgets.vital_signs_caption(paper, ["bicubic", "kpn"], [1], pairs, [1])
    assert caption == f"Mechanism checks: KPN x1, {signs}."
    assert "(3×3); the mechanism did not train: the kernels have one shape" in caption
    both = budgets.vital_signs_caption(paper, ["bicubic", "kpn"], [1], pairs, pairs.seeds)
    assert "KPN x1 seed 0, kernels:" in both and both.endswith(f". KPN x1 seed 1, {signs}.")
    load_or_train(paper, "espcn", 2, profile, progress="none")  # it has no mechanism
    assert budgets.vital_signs_caption(paper, ["bicubic", "espcn"], [2], profile) == ""
    assert budgets.vital_signs_caption(paper, [], [2], profile) == ""


class TestSharedWeights:
    """ProSRN, whose one training serves every scale, and the GANs, which start from another training."""

    @pytest.fixture
    def large(self, tmp_path) -> str:
        (tmp_path / "large").mkdir()
        noise = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(imresize(noise, size=(64, 72))).save(tmp_path / "large" / "0.png")
        return f"folder:{tmp_path / 'large'}"

    @pytest.fixture
    def narrow(self, large) -> Profile:
        """Networks of four channels."""
        small = {"batch": 1, "steps": 1, "schedule": "cosine"}
        return Profile("tiny", True, large, "", (large,), (2, 4, 8), (0, 1), large, overrides=small, width_divisor=16)

    def test_every_scale_is_one_run(self, narrow):
        first = load_or_train(PROSRN, "prosrn", 8, narrow, progress="none")
        assert first.run.experiment.scale == 2 and first.model.scale == 8
        found = {scale: load_or_train(PROSRN, "prosrn", scale, narrow, progress="none") for scale in (2, 4, 8)}
        assert {one.run.dir for one in found.values()} == {first.run.dir}
        lr = torch.rand(1, 1, 6, 6)
        with torch.no_grad():
            unrolled = first.model.unroll(lr)
            assert all(torch.equal(found[s].model(lr), image) for s, image in zip((2, 4, 8), unrolled, strict=True))

    def test_scores_of_the_scales_are_kept_apart(self, narrow, large, counted):
        table, _ = collect(PROSRN, ["prosrn"], [2, 4], [large], narrow, progress="none")
        again, _ = collect(PROSRN, ["prosrn"], [4, 2], [large], narrow, progress="none")
        assert len(counted) == 2 and list(table["scale"]) == [2, 4] == list(again["scale"])[::-1]
        assert table["psnr"].tolist() == again["psnr"].tolist()[::-1] and table["psnr"].nunique() == 2
        assert {"ssim", "ssim_uniform7"} <= {*table.columns}

    @pytest.mark.parametrize(("name", "first"), [("prosrgan", "prosrn_2_4"), ("srgan", "srresnet")])
    def test_what_a_gan_starts_from_is_trained_first(self, narrow, name, first):
        trained = load_or_train(PROSRN, name, 4, narrow, seed=1, progress="none")
        start = load_or_train(PROSRN, first, 4, narrow, seed=1, progress="none")
        assert trained.run.experiment.start == digest({"": start.weights})
        assert {*(paths.runs_dir() / "experiments").iterdir()} == {trained.run.dir, start.run.dir}

    def test_available_trains_nothing(self, narrow, monkeypatch):
        names = ["bicubic", "prosrn_2_4", "prosrgan", "srgan", "lapsrn"]

        def ready(scale):
            with monkeypatch.context() as patch:
                patch.setattr(store, "train", None)
                return [*store.available(PROSRN, names, scale, narrow)]

        assert ready(4) == ["bicubic"]
        load_or_train(PROSRN, "prosrn_2_4", 4, narrow, progress="none")
        assert ready(4) == ready(8) == ["bicubic", "prosrn_2_4"]
        load_or_train(PROSRN, "prosrgan", 4, narrow, progress="none")
        assert ready(4) == ["bicubic", "prosrn_2_4", "prosrgan"] and ready(2) == ["bicubic", "prosrn_2_4"]

    def test_scales_that_a_method_lacks_are_left_out(self, narrow, large):
        table, notes = collect(PROSRN, ["bicubic", "srresnet"], [2, 4, 8], [large], narrow, limit=1, progress="none")
        assert table.groupby("method")["scale"].apply(list).to_dict() == {"bicubic": [2, 4, 8], "srresnet": [4]}
        assert notes == []

    def test_other_methods_have_their_scale_only(self, narrow):
        run = load_or_train(PROSRN, "lapsrn", 2, narrow, progress="none").run
        assert load_run(run.dir, 2).model.scale == 2
        with pytest.raises(SRError, match=rf"scale \(=4\) does not fit {run.dir}, which is x2; leave the scale out"):
            load_run(run.dir, 4)
        with pytest.raises(SRError, match=r"scale \(=2\) of prosrgan must be one that prosrn has: x4"):
            load_or_train(PROSRN, "prosrgan", 2, narrow, progress="none")

    def test_released_weights_serve_every_scale(self, narrow, large):
        run = load_or_train(PROSRN, "prosrn", 2, narrow, progress="none").run
        file = release(run, [large], protocol("prosrn"))
        assert file == weights_path(PROSRN, "prosrn", 2)
        released = dataclasses.replace(narrow, train=False)
        for scale in (2, 4, 8):
            trained = load_or_train(PROSRN, "prosrn", scale, released)
            assert trained.weights == file and trained.model.scale == scale and trained.label == "ProSRN (2x)"
            assert [*store.available(PROSRN, ["prosrn", "prosrgan"], scale, released)] == ["prosrn"]
        card = json.loads(file.with_suffix(".json").read_text())
        assert {"psnr", "ssim", "ssim_uniform7"} <= card["metrics"][large].keys()

    def test_training_budgets_include_those_of_the_start_released_or_not(self, narrow, large):
        def caption(profile):
            return budgets.training_budget_caption(PROSRN, ["prosrgan"], [4], profile)

        assert caption(narrow) == ""
        run = load_or_train(PROSRN, "prosrgan", 4, narrow, progress="none").run
        said = caption(narrow)
        assert said.startswith("Training budget: ProSRGAN x4 ")
        assert said.count(" steps of ") == 2 and " minutes (after ProSRN (2x" in said
        first = run.provenance()["start"][""]
        assert first["name"] == "prosrn_2_4" and first["scale"] == 4 and first["steps"] > 0
        file = release(run, [large], protocol("prosrn"))
        said = caption(dataclasses.replace(narrow, train=False))
        assert f"(after ProSRN (2x, 4x) x4 {first['steps']} steps of {first['batch']} patches of" in said
        assert load_budget(file)["name"] == "prosrgan" and load_budget(file)["steps"] == run.provenance()["steps"]

    def test_counts_stay_whole_numbers_in_released_weights(self, narrow, large):
        run = load_or_train(PROSRN, "srresnet", 4, narrow, progress="none").run
        state = load_file(release(run, [large], protocol("edsr")))
        assert state["body.0.body.1.num_batches_tracked"].dtype == torch.int64
        assert state["body.0.body.1.running_var"].dtype == state["body.0.body.1.weight"].dtype == torch.float16
        loaded = load_released(PROSRN, "srresnet", 4).model.state_dict()
        assert loaded["body.0.body.1.num_batches_tracked"].item() == 1 and loaded["body.0.body.1.running_mean"].abs().min() > 0


def test_gain_is_sorted_and_paired():
    rows = pd.DataFrame(
        {"method": ["a", "a", "b", "b"], "image": ["1", "2", "1", "2"], "psnr": [30.0, 31.0, 29.5, 29.0], "seed": 0}
    )
    got = scores.gain(rows, "a", "b")
    assert got.index.tolist() == ["2", "1"] and got.tolist() == [2.0, 0.5]


def test_released_weights_are_light_enough_for_a_repository():
    root = Path(__file__).parents[1]
    absent = [line for line in (root / ".gitignore").read_text().splitlines() if line.startswith("data/weights/")]
    files = sorted((root / "data" / "weights").glob("*/*.safetensors"))
    weights = [file for file in files if str(file.relative_to(root)) not in absent]
    assert len(weights) > 40 and sum(file.stat().st_size for file in weights) < 120e6
    assert not [file.name for file in weights if file.is_symlink()]
    planned = tomllib.loads((root / "data" / "plan.toml").read_text())["comparison"]
    tables = [(one, network) for one in planned for network in one["networks"] if isinstance(network, dict)]
    card_only = [(network["name"], network.get("scales", one["scales"])) for one, network in tables if network.get("card_only")]
    assert sorted(absent) == sorted(f"data/weights/{name}_x{scale}.safetensors" for name, scales in card_only for scale in scales)


def test_networks_of_other_budgets_are_left_out_of_a_comparison(monkeypatch):
    def card(name: str, steps: int, data: str = "T91") -> dict:
        budget = {"name": name, "steps": steps, "batch": 4, "hr_patch": 64, "scale": 2, "minutes": 1.0}
        return {"experiment": {"data": data, "batch": 4, "hr_patch": 64}, "budget": budget}

    steps = {"vdsr": (10,), "srcnn": (10,), "espcn": (9,), "fsrcnn": (10, "BSD400")}
    made = {name: card(name, *given) for name, given in steps.items()}
    monkeypatch.setattr(budgets, "training", lambda paper, name, *_: made.get(name))
    names, note = budgets.alike(BTSRN, ["bicubic", *made, "btsrn"], "vdsr", 2, RELEASED)
    assert names == ["bicubic", "vdsr", "srcnn", "btsrn"]
    assert note == "Trained for other steps or on other data than VDSR: ESPCN, FSRCNN."
    assert budgets.alike(BTSRN, ["bicubic", "srcnn"], "vdsr", 2, RELEASED) == (["bicubic", "srcnn"], "")
    said = budgets.labels_with_steps(BTSRN, ["bicubic", "vdsr", "espcn"], 2, RELEASED)
    assert said == {**BTSRN.labels, "vdsr": "VDSR, 10 steps", "espcn": "ESPCN, 9 steps"}
    assert budgets.labels_with_steps(BTSRN, ["bicubic", "vdsr", "srcnn"], 2, RELEASED) == BTSRN.labels
