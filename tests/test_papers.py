import dataclasses

import pytest

from srlib import models, papers
from srlib.errors import SRError
from srlib.experiments import PROFILES, Experiment, profile
from srlib.metrics import protocol
from srlib.papers import btsrn
from srlib.papers.base import Method, Paper

ALL = [papers.get(name) for name in papers.names()]


@pytest.mark.parametrize("paper", ALL, ids=lambda paper: paper.name)
@pytest.mark.parametrize("chosen", PROFILES)
def test_every_method_is_an_experiment_of_every_profile(paper, chosen):
    for name, method in {**paper.methods, **paper.ablations}.items():
        for scale in PROFILES[chosen].scales:
            if not method.trained:
                models.create(method.model, scale, **method.args)
                continue
            experiment = paper.experiment(name, scale, chosen, seed=3)
            assert (experiment.name, experiment.paper, experiment.scale, experiment.seed) == (name, paper.name, scale, 3)
            models.create(experiment.model, scale, **experiment.model_args)


@pytest.mark.parametrize("paper", ALL, ids=lambda paper: paper.name)
def test_names_and_protocols_exist(paper):
    assert papers.get(paper.name) is paper
    protocol(paper.protocol)
    assert not paper.methods.keys() & paper.ablations.keys()
    assert all(method.label for method in paper.methods.values())


def test_trained_methods_have_an_owner():
    owners = papers.experiments()
    assert owners["btsrn"].name == "btsrn" and "bicubic" not in owners
    assert all(papers.owner(name) is paper for name, paper in owners.items())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: papers.get("btsr"), "unknown paper 'btsr'.*'btsrn'"),
        (lambda: papers.owner("vdsrr"), "unknown experiment 'vdsrr'.*'vdsr'"),
        (lambda: papers.owner("bicubic"), "unknown experiment 'bicubic'"),
        (lambda: papers.get("btsrn").method("srcn"), "unknown method of btsrn: 'srcn'.*'srcnn'"),
        (lambda: papers.get("btsrn").experiment("bicubic", 2, "smoke"), "method 'bicubic' is not trained"),
        (lambda: papers.get("btsrn").experiment("vdsr", 2, "smok"), "unknown profile 'smok'.*'smoke'"),
        (lambda: papers.get("btsrn").experiment("vdsr", 6, "smoke"), r"scale \(=6\) is not one that model 'vdsr' has"),
        (lambda: papers.get("btsrn").experiment("vdsr", 2, "smoke", bacth=2), "unknown field of an experiment: 'bacth'.*'batch'"),
        (lambda: papers.get("btsrn").experiment("vdsr", 2, "smoke", model="srcnn"), "unknown field of an experiment: 'model'"),
    ],
)
def test_bad_names_are_told(call, message):
    with pytest.raises(SRError, match=message):
        call()


def test_changes_win_over_the_profile_and_the_profile_over_the_paper():
    paper = papers.get("btsrn")
    assert paper.experiment("btsrn", 2, "paper").hr_patch == 108
    assert paper.experiment("btsrn", 2, "smoke").hr_patch == profile("smoke").overrides["hr_patch"]
    assert paper.experiment("btsrn", 2, "smoke", hr_patch=12).hr_patch == 12


@pytest.mark.parametrize(
    ("chosen", "changes", "budget"),
    [
        ("paper", {}, (16 * 17_250, None)),
        ("paper", {"minutes": 5.0}, (None, 5.0)),
        ("paper", {"steps": 7}, (7, None)),
        ("smoke", {}, (4, None)),
        ("smoke", {"minutes": 5.0}, (None, 5.0)),
        ("released", {}, (None, 30.0)),
        ("released", {"steps": 7}, (7, None)),
        ("released", {"minutes": 2.0}, (None, 2.0)),
    ],
)
def test_one_budget_remains(chosen, changes, budget):
    experiment = papers.get("btsrn").experiment("vdsr", 2, chosen, **changes)
    assert (experiment.steps, experiment.minutes) == budget


def test_two_budgets_are_refused():
    with pytest.raises(SRError, match=r"give steps \(=7\) or minutes \(=2.0\), exactly one"):
        papers.get("btsrn").experiment("vdsr", 2, "released", steps=7, minutes=2.0)


def test_small_profiles_divide_channels_and_nothing_else():
    paper, smoke = papers.get("btsrn"), profile("smoke")
    assert paper.experiment("btsrn", 2, smoke).model_args == {"width": 128 // smoke.shrink, "bottleneck": 64 // smoke.shrink}
    assert paper.experiment("btsrn", 2, "released").model_args == {"width": 128, "bottleneck": 64}
    assert f"1/{smoke.shrink} the channels" in smoke.budget and "channels" not in profile("paper").budget
    args = paper.experiment("btsrn_7+3", 2, smoke).model_args
    assert args == {"low": 7, "high": 3, "width": 128 // smoke.shrink, "bottleneck": 64 // smoke.shrink}
    assert paper.experiment("btsrn_7+3", 2, "paper").model_args["width"] == 128
    assert paper.experiment("btsrn_7+3", 2, smoke).steps == smoke.ablation["steps"]


def test_all_seeds_and_methods_have_runs_of_their_own():
    paper = papers.get("btsrn")
    keys = [
        paper.experiment(name, 2, "quick", seed).key("f")
        for name, method in {**paper.methods, **paper.ablations}.items()
        if method.trained
        for seed in (0, 1)
    ]
    assert len(set(keys)) == len(keys)


class TestBTSRN:
    def test_the_papers_training(self):
        e = btsrn.PAPER.experiment("btsrn", 2, "paper")
        assert (e.batch, e.hr_patch, e.learning_rate, e.loss, e.data) == (32, 108, 1e-3, "mse", "DIV2K")
        per_pass = e.steps // 16
        rates = [e.rate(n * per_pass / e.steps) for n in range(16)]
        assert rates == pytest.approx([1e-3 * 0.6**n for n in range(16)])

    def test_experiments_of_its_tables_and_figures(self):
        known = btsrn.PAPER.ablations
        assert {*btsrn.HIGH_STAGE, *btsrn.LOW_STAGE, *btsrn.SPLITS, *btsrn.BLOCKS} == set(known)
        assert [known[name].args["high"] for name in btsrn.HIGH_STAGE] == [3, 4, 5]
        assert [known[name].args["low"] for name in btsrn.LOW_STAGE] == [5, 6, 7, 8, 9]
        assert {(known[n].args["low"], known[n].args["high"]) for n in btsrn.SPLITS} == {(n, 10 - n) for n in range(11)}
        assert {known[name].args["block"] for name in btsrn.BLOCKS} == {"pixelcnn", "pixelcnn_gated", "pixelcnnpp", "pconv"}
        assert {known[name].args["bottleneck"] for name in btsrn.BLOCKS} == {32}

    def test_compared_networks_differ_only_in_what_is_compared(self):
        def training(name):
            fields = dataclasses.asdict(btsrn.PAPER.experiment(name, 2, "paper"))
            return {key: value for key, value in fields.items() if key not in ("name", "model_args")}

        for group in (btsrn.SPLITS + btsrn.HIGH_STAGE + btsrn.LOW_STAGE, btsrn.BLOCKS):
            assert len({str(training(name)) for name in group}) == 1


def test_a_sixth_paper_is_one_value():
    paper = Paper("new", "Title", "y", {"net": Method("vdsr", "Net", {"depth": 2}, {"steps": 9})}, ("net",), (2, 3, 4))
    experiment = paper.experiment("net", 3, "paper", learning_rate=2e-4)
    assert isinstance(experiment, Experiment)
    assert (experiment.model_args, experiment.steps, experiment.learning_rate) == ({"depth": 2}, 9, 2e-4)
