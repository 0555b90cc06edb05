"""Probes notice what code does, and nothing else."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from srlib import papers
from srlib.baselines.aplus import APlus
from srlib.baselines.espcn import ESPCN
from srlib.baselines.rfl import RFL
from srlib.core.protocols import protocol
from srlib.nn import models
from srlib.scoring.evaluation import evaluate
from srlib.train import losses, probe
from srlib.train.experiment import Experiment

TRAINED = [name for name in models.names() if name not in ("bicubic", "aplus", "rfl", "drcn", "memnet")]  # two are slow


ARGUMENTS = {
    "rcan": {"groups": 2, "blocks": 2},
    "rdn": {"blocks": 2, "layers": 2},
    "rrdbnet": {"blocks": 1},
    "divergence": {"groups": 1, "blocks": 1, "width": 16},
    "d2c_sr": {"groups": 1, "blocks": 1, "width": 16},
    "cdc": {"width": 16},
}


def small(name: str) -> torch.nn.Module:
    scales = models.scales(name)
    torch.manual_seed(0)
    return models.create(name, 2 if 2 in scales else scales[0], **ARGUMENTS.get(name, {})).eval()


def experiment(**changes) -> Experiment:
    base = {"name": "tiny", "paper": "test", "model": "espcn", "scale": 2, "data": "embedded", "steps": 4}
    return Experiment(**{**base, **changes})


class TestNetwork:
    @pytest.mark.parametrize("name", TRAINED)
    def test_is_the_same_twice_and_notices_a_sample_of_the_trained_tensors(self, name, monkeypatch):
        net = small(name)
        before = probe.network(net)
        assert probe.agree(before, probe.network(net)) and np.isfinite(np.concatenate(before)).all()
        parameters = dict(net.named_parameters())

        def filled() -> probe.Groups:  # fresh networks may end in a layer of zeros, before which nothing shows
            return [group for gain in probe.GAINS for group in probe.network(probe.fill(net, gain))]

        before, fill = filled(), probe.fill
        for key in [*parameters][:: max(1, len(parameters) // 3)]:

            def changed(net, gain, key=key):
                with torch.no_grad():
                    dict(fill(net, gain).named_parameters())[key].mul_(1.5)
                return net

            monkeypatch.setattr(probe, "fill", changed)
            assert not probe.agree(before, filled()), key
        monkeypatch.setattr(probe, "fill", fill)
        assert probe.agree(before, filled())

    def test_leaves_the_network_as_it_is(self):
        net = small("srresnet").train()
        state = {key: value.clone() for key, value in net.state_dict().items()}
        probe.network(net)
        assert net.training and all(torch.equal(value, state[key]) for key, value in net.state_dict().items())
        assert next(net.parameters()).dtype == torch.float32

    def test_notices_a_changed_forward_pass(self, monkeypatch):
        net = small("espcn")
        before, forward = probe.network(net), ESPCN.forward
        monkeypatch.setattr(ESPCN, "forward", lambda self, lr: forward(self, lr) + 0.001)
        assert not probe.agree(before, probe.network(net))

    def test_does_not_notice_another_name_or_place(self):
        class Renamed(ESPCN):
            pass

        net, other = small("espcn"), Renamed(2)
        other.load_state_dict(net.state_dict())
        assert probe.agree(probe.network(net), probe.network(other))

    @pytest.mark.parametrize("part", ["complex", "identifier"])
    def test_both_branches_of_a_router_are_seen(self, part):
        net = small("difficulty_sr")
        before = probe.network(net)
        with torch.no_grad():
            for tensor in getattr(net, part).parameters():
                tensor += 0.01
        assert not probe.agree(before, probe.network(net))


class TestTraining:
    @pytest.mark.parametrize(
        ("paper", "name", "scale"),
        [
            ("btsrn", "btsrn", 2),
            ("prosrn", "prosrn_2_4", 4),
            ("prosrn", "prosrgan", 4),
            ("difficulty_sr", "difficulty_sr", 2),
            ("difficulty_sr", "identifier", 2),
            ("d2c_sr", "d2c_divergence", 1),
            ("d2c_sr", "tree_2_2", 1),
            ("ddet", "ddet", 1),
        ],
    )
    def test_is_the_same_twice_and_has_a_gradient(self, paper, name, scale):
        chosen = papers.get(paper).experiment(name, scale, "smoke", start="x")
        numbers = probe.training(chosen)
        assert np.isfinite(np.concatenate(numbers)).all() and probe.agree(numbers, probe.training(chosen))
        assert any(numbers[-1])

    @pytest.mark.parametrize(("name", "kind"), [("aplus", APlus), ("rfl", RFL)])
    def test_of_what_is_fitted_changes_with_the_fit_and_not_with_its_size(self, name, kind, monkeypatch, forget_fits):
        chosen = papers.get("prosrn").experiment(name, 2, "smoke")
        before = probe.training(chosen)
        assert before[0] and probe.agree(before, probe.training(papers.get("prosrn").experiment(name, 2, "paper")))
        learn = kind.learn
        monkeypatch.setattr(kind, "learn", lambda self, features, *rest: learn(self, 1.1 * features, *rest))
        forget_fits()
        assert not probe.agree(before, probe.training(chosen))

    def test_of_a_plugin_that_is_fitted_in_another_way_is_empty(self, monkeypatch):
        class Fitted(nn.Conv2d):
            def __init__(self, scale: int):
                super().__init__(1, 1, 1)

            def fit(self, batches, seed):
                pass

        monkeypatch.setitem(models._MODELS, "another", (Fitted, (2,)))
        assert probe.training(experiment(model="another")) == []

    def test_does_not_depend_on_seed_patch_or_budget(self):
        numbers = probe.training(experiment())
        assert probe.agree(numbers, probe.training(experiment(seed=3, hr_patch=96, batch=2, steps=9)))

    @pytest.mark.parametrize(
        "changed",
        [
            F.l1_loss,
            lambda sr, hr: 1.001 * F.mse_loss(sr, hr),
            lambda sr, hr: 2 * F.mse_loss(sr, hr) - F.mse_loss(sr, hr).detach(),  # the same value, another gradient
            lambda sr, hr: F.mse_loss(sr, hr).detach(),
        ],
    )
    def test_notices_the_loss(self, monkeypatch, changed):
        before = probe.training(experiment())
        monkeypatch.setitem(losses.LOSSES, "mse", changed)
        assert not probe.agree(before, probe.training(experiment()))

    def test_notices_the_weight_of_the_adversarial_term(self):
        changes = ({}, {"adversarial": 0.5})
        chosen = (papers.get("prosrn").experiment("prosrgan", 4, "smoke", start="x", **fields) for fields in changes)
        assert not probe.agree(*map(probe.training, chosen))


class TestScoring:
    def numbers(self, net: torch.nn.Module, by) -> list[float]:
        return probe.scoring(net, lambda images: evaluate(net, images, by))

    def test_is_finite_the_same_twice_and_differs_between_protocols(self):
        net, by_protocol = small("bicubic"), {}
        for name in ("y", "lapsrn", "edsr", "btsrn", "btsrn_div2k"):
            numbers = by_protocol[name] = self.numbers(net, protocol(name))
            assert len(numbers) == 2 * len(protocol(name).metrics) and np.isfinite(numbers).all()
            assert numbers == self.numbers(net, protocol(name))
        assert not any(probe.agree_scores(*pair) for pair in combinations(by_protocol.values(), 2))

    @pytest.mark.parametrize("name", ["realsr", "d2c"])
    def test_of_pairs(self, name):
        numbers = self.numbers(small("kpn"), protocol(name))
        assert len(numbers) == len(protocol(name).metrics) and np.isfinite(numbers).all()

    def test_times_do_not_count(self):
        frames = iter([pd.DataFrame({"image": ["a"], "psnr": [30.0], "seconds": [s]}) for s in (1.0, 2.0)])
        assert probe.scoring(small("bicubic"), lambda _: next(frames)) == [30.0]


class TestAgree:
    def test_up_to_rounding(self):
        assert probe.agree([[1.0, 2e-7]], [[1.0 + 5e-6, 0.0]]) and not probe.agree([[1.0, 0.0]], [[1.0 + 2e-5, 0.0]])
        assert not probe.agree([[1.0]], [[1.0, 2.0]]) and not probe.agree([[1.0]], [[1.0], [2.0]]) and probe.agree([], [])
        assert probe.agree([[float("inf"), 1.0]], [[float("inf"), 1.0]]) and not probe.agree([[float("inf")]], [[1.0]])
        assert not probe.agree([[float("nan"), 1.0]], [[0.0, 1.0]])

    def test_each_group_by_its_own_size(self):
        assert not probe.agree([[1e6], [1.0]], [[1e6], [1.001]])

    def test_of_scores_each_by_its_own_size(self):
        assert probe.agree_scores([30.0, 0.9], [30.002, 0.90005])
        assert not probe.agree_scores([30.0, 0.9], [30.01, 0.9]) and not probe.agree_scores([30.0, 0.9], [30.0, 0.9003])
        assert not probe.agree_scores([30.0], [30.0, 0.9])
