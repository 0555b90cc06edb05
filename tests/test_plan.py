"""The plan of the released networks: what is refused before any work, and what a queue leaves, whatever happens to it."""

import json
import shutil
import signal
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from scripts import ROOT, git, load

from srlib import official, papers
from srlib.core import paths
from srlib.core.errors import SRError, unknown
from srlib.core.protocols import protocol
from srlib.data.patches import PatchSampler
from srlib.reproduce import budgets, cards, plan, queue, store
from srlib.reproduce import ledger as ledger_module
from srlib.reproduce.ledger import Ledger, check_sets
from srlib.train import loop, probe
from srlib.train.run import Run, legs, training_budget
from srlib.train.training import digest, train

TOP = {"leg": 4, "restart": 0.5}
TRAINING = {"data": "embedded", "validation": "", "steps": 4, "batch": 2, "hr_patch": 16, "precision": "fp32"}
TINY = {**TRAINING, "learning_rate": 1e-3, "scales": [2]}
ESPCN = {**TINY, "name": "ESPCN", "networks": ["btsrn/espcn"]}
CARD_ONLY = {"name": "btsrn/espcn", "card_only": True}
SMALL = {**TINY, "scales": [4], "hr_patch": 32, "model_args": {"width": 8, "blocks": 1}}
GAN = {**SMALL, "name": "GAN", "networks": ["prosrn/srgan"]}
OTHER_START = {"network": "prosrn/srresnet", "scale": 4, "parts": [""]}
SRRESNET = {**SMALL, "name": "SRResNet", "networks": ["prosrn/srresnet"]}

pytestmark = pytest.mark.usefixtures("one_thread")


def toml(value) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {toml(one)}" for key, one in value.items()) + " }"
    return f"[{', '.join(map(toml, value))}]" if isinstance(value, list) else json.dumps(value)


def write(home: Path, *comparisons: dict, **top) -> None:
    lines = [f"{key} = {toml(value)}" for key, value in {**TOP, **top}.items()]
    text = "\n".join([*lines, f"comparison = {toml(list(comparisons))}"])
    tomllib.loads(text)
    (home / "data" / "plan.toml").write_text(text)


@pytest.fixture(autouse=True)
def home(home) -> Path:
    """A repository of its own, with a commit."""
    (home / "notebooks" / "train.ipynb").touch()
    (home / "data").mkdir()
    git(home, "init", "-q")
    git(home, "add", ".")
    git(home, "commit", "-qm", "first")
    return home


def committed(home: Path, *comparisons: dict, **top) -> Ledger:
    write(home, *comparisons, **top)
    git(home, "add", ".")
    git(home, "commit", "-qm", "plan")
    return Ledger(plan.read())


def trained(ledger: Ledger, planned: plan.Planned) -> Path:
    """Train all legs of a network in this process; return its weights."""
    while found := ledger.next(planned):
        train(found[1], start=found[2], progress="none")
    return ledger.weights(planned)


class TestReading:
    def test_networks_share_what_the_comparison_says(self, home):
        lent = {"name": "btsrn/vdsr", "learning_rate": 5e-4, "pilot": "half the rate was better", "seeds": [1]}
        write(home, {**TINY, "name": "one", "networks": ["btsrn/btsrn", lent], "seeds": [0, 2]})
        found = plan.read()
        assert [str(one) for one in found] == ["btsrn/btsrn x2", "btsrn/btsrn x2 seed 2", "btsrn/vdsr x2 seed 1"]
        expected = papers.get("btsrn").experiment("vdsr", 2, "released", 1, **TRAINING, learning_rate=5e-4)
        assert found[2].experiment == expected
        assert found[0].experiment.learning_rate == 1e-3 and found[0].experiment.minutes is None

    def test_legs_are_annealed_trainings_of_their_own(self, home):
        write(home, {**ESPCN, "steps": 12})
        (one,) = plan.read()
        assert (one.legs, one.leg) == (3, 4)
        first, later = one.training(0, ""), one.training(2, "abc")
        assert (first.steps, first.learning_rate, first.start) == (4, 1e-3, "")
        assert (later.steps, later.learning_rate, later.start) == (4, 5e-4, "abc")
        assert later.first_step == 8 and replace(later, learning_rate=1e-3, start="", first_step=0) == first

    def test_size_of_networks_can_be_another(self, home):
        write(home, {**TINY, "name": "half", "networks": ["btsrn/btsrn_5+5"], "model_args": {"width": 8, "bottleneck": 4}})
        assert plan.read()[0].experiment.model_args == {"low": 5, "high": 5, "width": 8, "bottleneck": 4}

    def test_budget_counts_what_a_network_starts_from(self, home):
        write(home, SRRESNET, GAN)
        assert [sum(one.budget().values()) for one in plan.read()] == [4, 8]

    def test_start_of_a_paper_is_found_by_another_name_of_it(self, home):
        first = {"name": "d2c_sr/divergence_a0.1", "also": ["d2c_divergence"]}
        second = {"name": "d2c_sr/d2c_a0.1", "also": ["d2c_sr"]}
        city = {**TINY, "scales": [1]}
        write(home, {**city, "name": "one", "networks": [first]}, {**city, "name": "two", "networks": [second]})
        assert plan.read()[1].start["divergence"].experiment.name == "divergence_a0.1"

    @pytest.mark.parametrize(
        "comparisons, message",
        [
            ([{**ESPCN, "stepz": 4}], r"unknown field of comparison 'ESPCN': 'stepz'. Did you mean 'steps'"),
            ([{**ESPCN, "networks": [{"name": "btsrn/espcn", "rate": 1e-3}]}], "unknown field of btsrn/espcn in comparison"),
            ([{**ESPCN, "networks": ["btsrn/espn"]}], "unknown experiment 'btsrn/espn'. Did you mean 'btsrn/espcn'"),
            ([{**ESPCN, "networks": [{}]}], r"\? in comparison 'ESPCN' lacks name"),
            ([{**ESPCN, "scales": [8]}], r"btsrn/espcn in comparison 'ESPCN': scale \(=8\) .* x2, x3, x4"),
            ([{**ESPCN, "scales": 2}], r"scales \(=2\) of comparison 'ESPCN' must be a list"),
            ([{**ESPCN, "seeds": ["0"]}], r"seeds \(=\['0'\]\) of comparison 'ESPCN' must be a list of whole numbers"),
            ([{**ESPCN, "steps": 4.0}], r"steps \(=4.0\) of comparison 'ESPCN' must be a whole number"),
            ([{**ESPCN, "hr_patch": 17}], r"btsrn/espcn in comparison 'ESPCN': hr_patch \(=17\) must be a positive multiple"),
            ([{**ESPCN, "precision": "fp8"}], "btsrn/espcn in comparison 'ESPCN': unknown precision 'fp8'"),
            ([{key: ESPCN[key] for key in ESPCN if key != "batch"}], "comparison 'ESPCN' lacks batch"),
            ([ESPCN, ESPCN], "comparison 'ESPCN' is in the plan twice"),
            ([{**ESPCN, "networks": ["btsrn/espcn"] * 2}], "espcn x2 seed 0 is planned already, in 'ESPCN'; name it in `beside`"),
            ([ESPCN, {**ESPCN, "name": "two"}], "comparison 'two': espcn x2 seed 0 is planned already, in 'ESPCN'"),
            ([{**ESPCN, "steps": 30}], r"leg \(=4\) does not divide 30 steps; set leg = 3 in its comparison"),
            ([{**ESPCN, "leg": 0}], r"leg \(=0\) must be a number of steps from 1"),
            ([{**ESPCN, "networks": ["difficulty_sr/aplus"]}], "fitted in closed form, not trained"),
            ([{**ESPCN, "steps": 8, "networks": [CARD_ONLY]}], "card_only leaves no weights for a second leg; set leg = 8"),
            (
                [{**SRRESNET, "networks": [{"name": "prosrn/srresnet", "card_only": True}]}, GAN],
                "it starts from prosrn/srresnet x4, whose weights are not released; leave out its card_only",
            ),
            ([{**ESPCN, "beside": ["btsrn/vdsr"]}], r"beside \(=btsrn/vdsr\) of comparison 'ESPCN' is not in the plan at x2"),
            (
                [GAN, SRRESNET],
                "srgan in comparison 'GAN': it starts from prosrn/srresnet x4, which the plan does not have before it",
            ),
            (
                [SRRESNET, {**GAN, "networks": [{"name": "prosrn/srgan", "start": OTHER_START}]}],
                "srgan in comparison 'GAN': its start is the paper's: srresnet; leave it out",
            ),
            ([GAN], "it starts from prosrn/srresnet x4, which the plan does not have before it; plan that first"),
            ([SRRESNET, {**GAN, "steps": 8}], r"leg \(=4\) splits its 8 steps, but its discriminator is not kept .* set leg = 8"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, home, comparisons, message):
        write(home, *comparisons)
        with pytest.raises(SRError, match=message):
            plan.read()

    @pytest.mark.parametrize(
        "network, message",
        [
            ({"steps": 8}, r"steps \(=8\) of btsrn/vdsr belongs to comparison 'one', whose networks all get the same"),
            (
                {"learning_rate": 5e-4},
                r'learning_rate \(=0.0005\) of btsrn/vdsr is not that of .*\(0.001\); say .* pilot = "..."',
            ),
            ({"precision": "bf16", "pilot": " "}, r"precision \(='bf16'\) of btsrn/vdsr is not that of comparison 'one'"),
            ({"pilot": "none"}, "pilot of btsrn/vdsr chose nothing"),
            ({"also": ["espcn"]}, r"also \(=espcn\) is another training: model.*plan it by itself"),
            ({"start": {"network": "btsrn/espcn", "scale": 2}}, "its start lacks parts"),
        ],
    )
    def test_what_a_network_may_not_have_of_its_own(self, home, network, message):
        write(home, {**TINY, "name": "one", "networks": ["btsrn/btsrn", {"name": "btsrn/vdsr", **network}]})
        with pytest.raises(SRError, match=message):
            plan.read()

    def test_names_of_one_training_start_from_one_training(self, home):
        city = {**TINY, "scales": [1]}
        first = {**city, "name": "one", "networks": ["d2c_sr/divergence_a0", "d2c_sr/divergence_a0.1"]}
        write(home, first, {**city, "name": "two", "networks": [{"name": "d2c_sr/d2c_a0", "also": ["d2c_a0.1"]}]})
        with pytest.raises(SRError, match=r"also \(=d2c_a0.1\) is another training: start"):
            plan.read()

    @pytest.mark.parametrize("change", [{"steps": 8}, {"batch": 4}, {"hr_patch": 32}, {"data": "embedded-test"}])
    def test_unequal_budgets_in_one_comparison_are_refused(self, home, change):
        write(home, {**ESPCN, **change}, {**TINY, "name": "two", "networks": ["btsrn/vdsr"], "beside": ["btsrn/espcn"]})
        with pytest.raises(
            SRError, match=r"comparison 'two' is of unequal budgets: btsrn/vdsr x2 has 4 steps .*, btsrn/espcn x2"
        ):
            plan.read()

    def test_budgets_are_equal_by_the_pixels_of_a_step(self, home):
        few = {"name": "two", "networks": ["btsrn/vdsr"], "beside": ["btsrn/espcn"], "batch": 8, "hr_patch": 16}
        write(home, {**ESPCN, "batch": 2, "hr_patch": 32}, {**TINY, **few})
        assert len(plan.read()) == 2

    def test_what_a_network_starts_from_counts_for_equality(self, home):
        write(home, SRRESNET, {**GAN, "beside": ["prosrn/srresnet"]})
        with pytest.raises(SRError, match="unequal budgets: prosrn/srgan x4 has 8 steps .* prosrn/srresnet x4 4 steps"):
            plan.read()

    @pytest.mark.parametrize(
        "text, message", [("leg = ", "is not TOML"), ("leg = 4", "the plan lacks restart"), (None, "cannot be read")]
    )
    def test_unreadable_plan(self, home, text, message):
        if text is not None:
            (home / "data" / "plan.toml").write_text(text)
        with pytest.raises(SRError, match=message):
            plan.read()

    def test_restart_raises_no_rate(self, home):
        write(home, ESPCN, restart=2.0)
        with pytest.raises(SRError, match=r"restart \(=2.0\) of the plan must be above 0 and at most 1"):
            plan.read()

    @pytest.mark.parametrize("field", ["data", "validation"])
    def test_missing_set_says_how_to_get_it(self, home, field):
        write(home, {**ESPCN, field: "Set5"})
        with pytest.raises(SRError, match="Set5: 5 of 5 files are missing .* `python -m srlib data Set5`"):
            check_sets(plan.read())


class TestOurs:
    """The plan of this repository."""

    @pytest.fixture
    def ours(self, monkeypatch) -> list[plan.Planned]:
        monkeypatch.setenv("SRLIB_HOME", str(ROOT))
        return plan.read()

    def test_divergence_and_fusion_come_first_with_three_seeds(self, ours):
        first = [one.experiment for one in ours[:18]]
        assert [one.name for one in first[::3]] == [
            *("divergence_a0", "divergence_a0.1", "divergence_flat"),
            *("d2c_a0", "d2c_a0.1", "d2c_flat"),
        ]
        assert [one.steps for one in first] == [20_000] * 9 + [6_000] * 9
        assert {(one.precision, one.data) for one in first} == {("fp32", "City100-nikon/train80")}
        assert [one.seed for one in first] == [0, 1, 2] * 6

    def test_what_is_published_by_its_authors_is_not_in_it(self, ours):
        planned = {(one.experiment.name, one.experiment.scale) for one in ours}
        assert planned & set(official.available()) == {("vdsr", 2)}  # BTSRN's rival of equal budget

    def test_difficulty_sr_and_its_control_start_from_official_weights(self, ours):
        pair = {str(one): one for one in ours}
        routed, control = pair["difficulty_sr/difficulty_sr x2"], pair["difficulty_sr/idn_longer x2"]
        assert routed.official == {"complex": ("idn", 2)} and control.official == {"": ("idn", 2)}
        assert [str(first) for first in routed.first] == ["difficulty_sr/identifier x2"]
        assert routed.budget() == control.budget()  # the identifier's training does not count
        assert routed.experiment.start == control.experiment.start == plan.LATER
        assert routed.experiment.model_args["complex_args"] == control.experiment.model_args

    def test_btsrn_starts_from_x2(self, ours):
        found = {str(one): one for one in ours}
        for scale in (3, 4):
            one = found[f"btsrn/btsrn x{scale}"]
            assert {str(first) for first in one.start.values()} == {"btsrn/btsrn x2"}
            assert sum(one.budget().values()) == 65_000


class TestLedger:
    def test_what_is_left(self, home):
        ledger = committed(home, SRRESNET, GAN, {**ESPCN, "steps": 8})
        srresnet, gan, espcn = ledger.plan
        assert ledger.next(gan) is None and ledger.weights(gan) is None  # waits for what it starts from
        assert [ledger.status(one).state for one in ledger.plan] == ["to do"] * 3
        number, experiment, start = ledger.next(espcn)
        train(experiment, start=start, progress="none")
        assert (number, ledger.status(espcn).state, ledger.status(espcn).step) == (0, "partial", 4)
        file = trained(ledger, srresnet)
        assert ledger.status(srresnet).state == "done" and ledger.next(gan)[2] == {"": file}
        assert ledger.next(gan)[1].start == digest({"": file})

    def test_only_takes_networks_and_what_they_start_from(self, home):
        ledger = committed(home, SRRESNET, GAN, {**ESPCN, "seeds": [0, 1]})
        names = {
            "srgan": ["prosrn/srresnet x4", "prosrn/srgan x4"],
            "btsrn/espcn": ["btsrn/espcn x2", "btsrn/espcn x2 seed 1"],
            "btsrn/espcn x2 seed 0": ["btsrn/espcn x2"],
            "btsrn/espcn x2 seed 1": ["btsrn/espcn x2 seed 1"],
            "SRResNet": ["prosrn/srresnet x4"],
        }
        for name, expected in names.items():
            assert [str(one) for one in ledger.wanted([name])] == expected
        with pytest.raises(SRError, match="unknown network of the plan: 'espn'. Did you mean 'espcn'"):
            ledger.wanted(["espn"])

    def test_overview_has_steps_state_and_hours(self, home, monkeypatch):
        ledger = committed(home, {**ESPCN, "steps": 8}, {**TINY, "name": "VDSR", "networks": ["btsrn/vdsr"]}, SRRESNET)
        number, experiment, start = ledger.next(ledger.plan[0])
        run = train(experiment, start=start, progress="none")
        made = {**run.provenance(), "minutes": 60.0}  # 15 minutes a step
        (run.dir / "provenance.json").write_text(json.dumps(made))
        trained(ledger, ledger.plan[2])
        times = []
        monkeypatch.setattr(ledger_module, "seconds_per_step", lambda one: times.append(one.name) or 900.0)
        lines = ledger_module.overview(ledger, (), 2).splitlines()
        assert [line.split() for line in lines[1:4]] == [
            ["btsrn/espcn", "x2", "0", "ESPCN", "8", "partial,", "4", "1.0"],
            ["btsrn/vdsr", "x2", "0", "VDSR", "4", "to", "do", "1.0"],
            ["prosrn/srresnet", "x4", "0", "SRResNet", "4", "done", "0.0"],
        ]
        assert lines[4] == "2 networks to train, 1 to release; 2.0 hours of one core, 1.0 with 2 jobs."
        ledger_module.overview(ledger, (), 1)
        assert times == ["vdsr"]  # once

    def test_time_of_a_step(self, home):
        write(home, ESPCN)
        assert 0 < ledger_module.seconds_per_step(plan.read()[0].experiment) < 10

    def test_changed_code_is_trained_anew(self, home, monkeypatch):
        ledger = committed(home, ESPCN)
        (espcn,) = ledger.plan
        trained(ledger, espcn)
        monkeypatch.setattr(probe, "training", lambda _: [[1.0]])
        assert Ledger(ledger.plan).status(espcn).state == "to do"


class TestRelease:
    def test_card_keeps_every_leg_and_captions_have_the_total(self, home):
        ledger = committed(home, {**ESPCN, "steps": 12, "validation": "embedded-test"})
        trained(ledger, ledger.plan[0])
        (file,), failed = queue.release(ledger, ())
        assert not failed and ledger.released(ledger.plan[0]) == file and ledger.wanted() == []
        assert ledger.status(ledger.plan[0]).state == "released"
        got = store.load_released(papers.get("btsrn"), "espcn", 2)
        assert [leg["steps"] for leg in legs(got.training_budget)] == [4, 4, 4]
        assert got.provenance["start"][""]["start"][""]["steps"] == 4 and got.provenance["dirty"] is False
        assert got.budget_summary.startswith("ESPCN x2 12 steps of 2 patches of 16 px in fp32, ")
        assert "in 3 annealed legs" in got.budget_summary
        said = budgets.training_budget_caption(papers.get("btsrn"), ["espcn"], [2], papers.get("btsrn").setting("released"))
        assert said == f"Training budget: {got.budget_summary} on embedded."  # not the profile's data

    def test_a_later_leg_goes_on_in_the_sequence_of_patches(self, home, monkeypatch):
        ledger = committed(home, {**ESPCN, "steps": 12})
        drawn, batch = [], PatchSampler.batch
        monkeypatch.setattr(PatchSampler, "batch", lambda self, step, *rest: (drawn.append(step), batch(self, step, *rest))[1])
        trained(ledger, ledger.plan[0])
        assert set(drawn) == set(range(13))  # one more is prefetched

    def test_a_released_leg_that_saw_its_patches_again_counts(self, home):
        ledger = committed(home, {**ESPCN, "steps": 12})
        trained(ledger, ledger.plan[0])
        (file,), _ = queue.release(ledger, ())
        card = json.loads(file.with_suffix(".json").read_text())
        del card["experiment"]["first_step"]
        file.with_suffix(".json").write_text(json.dumps(card))
        assert Ledger(ledger.plan).released(ledger.plan[0]) == file

    def test_a_released_leg_is_continued_where_its_run_is_gone(self, home):
        ledger = committed(home, {**ESPCN, "steps": 12})
        (espcn,) = ledger.plan
        train(ledger.next(espcn)[1], progress="none")
        (file,), failed = queue.release(ledger, ())
        assert not failed and ledger.released(espcn) is None and ledger.wanted() == [espcn]
        assert queue.release(ledger, ()) == ([], [])  # nothing new since
        number, experiment, start = ledger.next(espcn)
        assert number == 1 and start != {"": file}  # the run is at hand, in full precision

        shutil.rmtree(paths.runs_dir())
        ledger = Ledger(ledger.plan)
        status = ledger.status(espcn)
        assert (status.state, status.step, status.remaining_steps) == ("partial", 4, 8)
        number, experiment, start = ledger.next(espcn)
        assert number == 1 and start == {"": file} and experiment.start == digest(start)
        trained(ledger, espcn)
        ((again,), failed), got = queue.release(ledger, ()), store.load_released(papers.get("btsrn"), "espcn", 2)
        assert again == file and not failed and ledger.wanted() == []
        assert [leg["steps"] for leg in legs(got.training_budget)] == [4, 4, 4]

    def test_a_card_without_weights_is_a_release_where_the_plan_says_so(self, home):
        ledger = committed(home, {**ESPCN, "networks": [CARD_ONLY]})
        trained(ledger, ledger.plan[0])
        (file,), _ = queue.release(ledger, ())
        assert cards.read_card(file.with_suffix(".json"))["card_only"] is True
        file.unlink()
        shutil.rmtree(paths.runs_dir())
        assert Ledger(ledger.plan).wanted() == [] and Ledger(ledger.plan).status(ledger.plan[0]).state == "released"
        write(home, ESPCN)
        ledger = Ledger(plan.read())
        assert ledger.wanted() == ledger.plan

    def test_a_release_that_was_interrupted_is_made_again(self, home, monkeypatch):
        ledger = committed(home, ESPCN)
        trained(ledger, ledger.plan[0])
        (file,), _ = queue.release(ledger, ())
        whole = file.read_bytes()
        file.write_bytes(b"weights of an earlier release")  # the card is written first
        assert Ledger(ledger.plan).wanted() == ledger.plan
        assert queue.release(Ledger(ledger.plan), ()) == ([file], []) and file.read_bytes() == whole

    def test_a_network_that_cannot_be_released_stops_no_other(self, home, monkeypatch):
        ledger = committed(home, {**ESPCN, "scales": [2, 4]})
        for planned in ledger.plan:
            trained(ledger, planned)
        monkeypatch.setattr(
            store, "load_run", lambda folder, load=store.load_run: _fail() if "_x2_" in folder.name else load(folder)
        )
        (file,), (failed,) = queue.release(ledger, ())
        assert file.stem == "espcn_x4" and failed.endswith("too large for float16")

    def test_every_name_is_released_and_tells_what_it_started_from(self, home):
        city = {**TINY, "data": "embedded-camera", "scales": [1], "steps": 8}
        first = {"name": "d2c_sr/divergence_a0.1", "release": False}
        second = {"name": "d2c_sr/d2c_a0.1", "also": ["d2c_sr"]}
        unfounded = {**city, "name": "two", "networks": [second]}
        write(home, {**city, "name": "one", "networks": [first]}, unfounded)
        with pytest.raises(SRError, match=r"also \(=d2c_sr\) is another training: start"):
            plan.read()
        ledger = committed(home, {**city, "name": "one", "networks": [{**first, "also": ["d2c_divergence"]}]}, unfounded)
        for planned in ledger.plan:
            trained(ledger, planned)
        files, failed = queue.release(ledger, ())
        assert [file.stem for file in files] == ["d2c_a0.1_x1", "d2c_sr_x1"] and not failed
        said = budgets.training_budget_caption(papers.get("d2c_sr"), ["d2c_sr"], [1], papers.get("d2c_sr").setting("released"))
        assert said.count("8 steps of 2 patches") == 2 and "on embedded-camera (after α = 0.1, first stage x1 8 steps" in said
        assert Ledger(ledger.plan).wanted() == []  # the first stage is not missed any more

    def test_another_training_than_the_plans_is_not_taken_for_it(self, home):
        ledger = committed(home, ESPCN)
        (espcn,) = ledger.plan
        other = train(replace(espcn.experiment, learning_rate=2e-3), progress="none")
        cards.release(other, [], protocol("y"))
        assert ledger.released(espcn) is None and ledger.wanted() == [espcn]

    def test_card_has_the_commit_that_the_training_began_with(self, home, monkeypatch):
        ledger = committed(home, ESPCN)
        step = loop.Trainer.step

        def changing(self, *args):
            (home / "data" / "plan.toml").write_text("")
            return step(self, *args)

        monkeypatch.setattr(loop.Trainer, "step", changing)
        trained(ledger, ledger.plan[0])
        (file,), _ = queue.release(ledger, ())
        assert json.loads(file.with_suffix(".json").read_text())["provenance"]["dirty"] is False

    def test_nothing_from_changed_code_is_released(self, home):
        ledger = committed(home, ESPCN)
        (home / "data" / "plan.toml").write_text("")
        trained(ledger, ledger.plan[0])
        files, (failed,) = queue.release(ledger, ())
        assert not files and "was not trained from a clean commit; delete it and train again" in failed


def _fail():
    raise SRError("too large for float16")


class TestStart:
    def test_parts_of_a_network_are_given_to_one_of_another_scale(self, home):
        size = {"width": 8, "bottleneck": 4, "low": 1, "high": 1}
        start = {"network": "btsrn/btsrn", "scale": 2, "parts": ["entry", "exit", "high", "low"]}
        two = {**TINY, "name": "x2", "networks": ["btsrn/btsrn"], "model_args": size}
        three = {**two, "name": "x3", "scales": [3], "hr_patch": 24, "networks": [{"name": "btsrn/btsrn", "start": start}]}
        ledger = committed(home, two, three)
        first = load_file(trained(ledger, ledger.plan[0]))
        _, experiment, files = ledger.next(ledger.plan[1])
        run = train(replace(experiment, learning_rate=1e-12), start=files, progress="none")
        assert [leg["steps"] for leg in legs(training_budget(vars(experiment), run.provenance()))] == [4]  # no leg of x2's
        got = load_file(run.weights)
        assert {name for name in got if not name.startswith("up.")} and all(
            torch.allclose(got[name], first[name], atol=1e-6) for name in got if not name.startswith("up.")
        )
        assert {part: one["steps"] for part, one in run.provenance()["start"].items()} == {"entry+exit+high+low": 4}


def main(monkeypatch, *args: str) -> int:
    """Run `make weights` in this process."""
    monkeypatch.setattr(sys, "argv", ["weights.py", *args])
    before = signal.getsignal(signal.SIGTERM)
    try:
        return load("weights").main()
    finally:
        signal.signal(signal.SIGTERM, before)


def call(*args: str, **options) -> subprocess.Popen:
    command = [sys.executable, str(ROOT / "workflow" / "weights.py"), *args]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)


class TestQueue:
    def test_killed_and_continued_it_equals_one_that_was_not(self, home, monkeypatch, tmp_path):
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        ledger = committed(home, {**ESPCN, "steps": 1600}, leg=800)
        (espcn,) = ledger.plan
        process = call()
        said = ""
        while not said.endswith("espcn x2 step 80/800") or "leg 2 of 2" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line.partition(":")[0]
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.read()  # until its leg has ended, too
        status = ledger.status(espcn)
        assert status.state == "partial" and 800 < status.step < 1600
        continued = call()
        said = continued.communicate(timeout=300)[0]
        assert continued.returncode == 0 and "leg 2 of 2" in said and "leg 1 of 2" not in said
        got = load_file(ledger.weights(espcn))
        monkeypatch.setenv("SRLIB_RUNS", str(tmp_path / "other"))
        expected = load_file(trained(Ledger(ledger.plan), espcn))
        assert all(torch.equal(got[name], expected[name]) for name in expected)
        assert {Run.open(folder).provenance()["dirty"] for folder in (tmp_path / "runs" / "experiments").iterdir()} == {False}

    def test_a_failure_stops_only_what_starts_from_it(self, home):
        diverges = {**SRRESNET, "networks": [{"name": "prosrn/srresnet", "learning_rate": 1e9, "pilot": "none"}]}
        committed(home, diverges, GAN, ESPCN)
        process = call("--jobs", "2")
        said = process.communicate(timeout=300)[0]
        assert process.returncode == 1 and "error: training srresnet diverged" in said
        assert said.endswith("Failed:\n  prosrn/srresnet x4 failed, see above\n") and "srgan" not in said
        assert [Ledger(plan.read()).status(one).state for one in plan.read()] == ["partial", "to do", "done"]

    def test_two_queues_do_not_work_in_one_folder(self, home):
        ledger = committed(home, ESPCN)
        with (
            queue._lock_runs(),
            pytest.raises(SRError, match="another `make weights` is running in .*runs; wait for it, stop it, or set"),
        ):
            queue.work(ledger, (), 1)
        assert ledger.status(ledger.plan[0]).state == "to do"

    def test_a_commit_between_two_legs_stops(self, home, monkeypatch):
        ledger, wait = committed(home, {**ESPCN, "steps": 8}), queue._Queue.wait

        def wait_and_commit(self):
            wait(self)
            git(home, "commit", "-qm", "new code", "--allow-empty")

        monkeypatch.setattr(queue._Queue, "wait", wait_and_commit)
        commit = git(home, "rev-parse", "HEAD")[:10]
        with pytest.raises(SRError, match=f"the repository is no longer at commit {commit}; run the same command again"):
            queue.work(ledger, (), 1)
        status = ledger.status(ledger.plan[0])
        assert (status.state, status.step) == ("partial", 4)

    def test_changes_that_are_not_committed_are_refused(self, home):
        ledger = committed(home, ESPCN)
        (home / "data" / "plan.toml").write_text((home / "data" / "plan.toml").read_text() + "\n")
        with pytest.raises(SRError, match=r"home has uncommitted changes; commit or stash them, or work in a separate clone"):
            queue.work(ledger, (), 1)
        shutil.rmtree(home / ".git")
        with pytest.raises(SRError, match="home is no git checkout with a commit, which the cards of weights record; clone"):
            queue.work(ledger, (), 1)
        assert not (paths.runs_dir() / "experiments").exists()

    @pytest.mark.parametrize(
        "args, message",
        [
            (["--jobs", "0"], "error: JOBS (=0) must be a whole number from 1\n"),
            (["--only", "espn"], "error: unknown network of the plan: 'espn'. Did you mean 'espcn'?"),
        ],
    )
    def test_mistakes_are_told_in_a_line(self, home, capsys, monkeypatch, args, message):
        committed(home, ESPCN)
        assert main(monkeypatch, *args) == 2 and capsys.readouterr().err.startswith(message)

    def test_nothing_left(self, home, capsys, monkeypatch):
        ledger = committed(home, ESPCN)
        trained(ledger, ledger.plan[0])
        for args, expected in (((), "Nothing left to train."), (("--release",), "espcn_x2"), (("--dry-run",), "0 networks")):
            assert main(monkeypatch, *args) == 0 and expected in capsys.readouterr().out
        assert json.loads((home / "data/weights/btsrn/espcn_x2.json").read_text())["experiment"]["steps"] == 4


def test_an_unknown_name_among_very_many_is_told_only_the_closest():
    names = [f"btsrn/btsrn_{low}+{high} x2" for low in range(20) for high in range(20)]
    text = str(unknown("network of the plan:", "btsrn/btsrn_7+31", names))
    assert "Did you mean 'btsrn/btsrn_7+3 x2'? Closest of 400: " in text and len(text) < 300
    assert str(unknown("scale", 7, map(str, (1, 2)))) == "unknown scale 7. Known: 1, 2"
