import dataclasses
import json
import math

import numpy as np
import pytest

from srlib.core.errors import SRError
from srlib.nn import models
from srlib.papers.profiles import PROFILES, profile
from srlib.train.experiment import Experiment

BASE = {"name": "e", "paper": "p", "model": "vdsr", "scale": 2, "data": "embedded", "steps": 10}

GAN = {"discriminator": "patch", "adversarial": 0.1, "start": "0123456789"}


def experiment(**changes) -> Experiment:
    return Experiment(**{**BASE, **changes})


def test_is_frozen_and_fits_json():
    with pytest.raises(dataclasses.FrozenInstanceError):
        experiment().steps = 5
    again = Experiment(**json.loads(json.dumps(dataclasses.asdict(experiment(model_args={"depth": 3})))))
    assert again == experiment(model_args={"depth": 3})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "vdsrr"}, "unknown model 'vdsrr'.*'vdsr'"),
        ({"scale": 7}, r"scale \(=7\) is not one that model 'vdsr' has: 1, 2, 3, 4, 8"),
        ({"scale": "2"}, r"scale \(='2'\) must be a whole number"),
        ({"scale": 2.0}, r"scale \(=2.0\) must be a whole number"),
        ({"model_args": {"dept": 3}}, "unknown argument of model 'vdsr': 'dept'.*'depth'"),
        ({"loss": "mes"}, "unknown loss 'mes'.*'mse'"),
        ({"schedule": "cosin"}, "unknown schedule 'cosin'.*'cosine'"),
        ({"precision": "fp16"}, "unknown precision 'fp16'.*bf16, fp32"),
        ({"steps": None}, r"give steps \(=None\) or minutes \(=None\), exactly one"),
        ({"minutes": 3.0}, r"give steps \(=10\) or minutes \(=3.0\), exactly one"),
        ({"steps": 0}, r"steps \(=0\) must be greater than 0"),
        ({"steps": 2.5}, r"steps \(=2.5\) must be a whole number"),
        ({"steps": "10"}, r"steps \(='10'\) must be a whole number"),
        ({"steps": True}, r"steps \(=True\) must be a whole number"),
        ({"steps": None, "minutes": -1}, r"minutes \(=-1.0\) must be greater than 0"),
        ({"steps": None, "minutes": math.inf}, r"minutes \(=inf\) must be a finite number"),
        ({"steps": None, "minutes": "9"}, r"minutes \(='9'\) must be a finite number"),
        ({"batch": 0}, r"batch \(=0\) must be greater than 0"),
        ({"batch": None}, r"batch \(=None\) must be a whole number"),
        ({"learning_rate": math.nan}, r"learning_rate \(=nan\) must be a finite number"),
        ({"learning_rate": "1e-3"}, r"learning_rate \(='1e-3'\) must be a finite number"),
        ({"learning_rate": 0}, r"learning_rate \(=0.0\) must be greater than 0"),
        ({"hr_patch": 49}, r"hr_patch \(=49\) must be a positive multiple of scale \(=2\)"),
        ({"hr_patch": 0}, r"hr_patch \(=0\) must be a positive multiple"),
        ({"clip": -0.1}, r"clip \(=-0.1\) must not be negative"),
        ({"drops": -1}, r"drops \(=-1\) must not be negative"),
        ({"seed": -1}, r"seed \(=-1\) must not be negative"),
        ({"seed": 2**32}, r"seed \(=4294967296\) must be less than 2\*\*32"),
        ({"ema": 1.0}, r"ema \(=1.0\) must be less than 1"),
        ({"factor": 0}, r"factor \(=0.0\) must be greater than 0"),
        ({"content": -1}, r"content \(=-1.0\) must not be negative"),
        ({"adversarial": "1"}, r"adversarial \(='1'\) must be a finite number"),
        ({**GAN, "discriminator": "pacth"}, "unknown discriminator 'pacth'.*'patch'"),
        ({**GAN, "discriminator_args": {"widht": 8}}, "unknown argument of discriminator 'patch': 'widht'.*'width'"),
        ({**GAN, "start": ""}, "e trains against a discriminator and needs trained weights to start from, got start=''"),
        ({**GAN, "adversarial": 0}, r"adversarial \(=0\) must be above 0 with a discriminator, and 0 without one"),
        ({"adversarial": 1e-3}, r"adversarial \(=0.001\) must be above 0 with a discriminator, and 0 without one"),
    ],
)
def test_bad_fields_are_named(changes, message):
    with pytest.raises(SRError, match=message):
        experiment(**changes)


CHANGES = {
    "name": "f",
    "paper": "q",
    "model": "srcnn",
    "scale": 3,
    "data": "Set5",
    "model_args": {"depth": 3},
    "validation": "Set5",
}
CHANGES |= {"loss": "l1", "loss_args": {"alpha": 0.1}, "hr_patch": 36, "batch": 8, "steps": 11, "minutes": 1.0}
CHANGES |= {"learning_rate": 2e-3, "schedule": "steps", "drops": 1, "factor": 0.5, "clip": 1.0, "ema": 0.9, "precision": "bf16"}
CHANGES |= {
    "seed": 1,
    "first_step": 1,
    "discriminator": "image",
    "discriminator_args": {"width": 8},
    "content": 0.5,
    "adversarial": 0.2,
}
CHANGES |= {"start": "9876543210", "validation": "Set5"}


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Experiment)])
def test_the_key_changes_with_every_field(field):
    base = GAN if field in {*GAN, "discriminator_args", "content"} else {}
    if field == "loss_args":
        base = {"loss": "divergence", "loss_args": {"alpha": 0.2}}
    changes = {**base, field: CHANGES[field]}
    if field == "minutes":
        changes["steps"] = None
    assert experiment(**changes).key("f").rsplit("-", 1)[1] != experiment(**base).key("f").rsplit("-", 1)[1]


def test_the_key_names_the_run_and_changes_with_the_data():
    key = experiment(seed=4).key("abc")
    assert key.startswith("e_x2_seed4-") and "/" not in key
    assert key == experiment(seed=4).key("abc") != experiment(seed=4).key("abd")


def test_numbers_of_any_type_name_one_run():
    plain = experiment(steps=None, minutes=30.0, learning_rate=1.0)
    other = experiment(steps=None, minutes=np.int64(30), learning_rate=1, scale=np.int64(2), seed=np.int32(0))
    assert plain == other and plain.key("f") == other.key("f")
    assert type(other.scale) is int and type(other.minutes) is float


def test_schedules():
    parts = np.linspace(0, 1, 101)
    cosine = [experiment(learning_rate=2e-3).rate(part) for part in parts]
    assert cosine[0] == 2e-3 and cosine[50] == pytest.approx(1e-3) and cosine[100] == pytest.approx(0, abs=1e-12)
    assert cosine == sorted(cosine, reverse=True)
    warm = [experiment(schedule="warm_cosine", learning_rate=2e-3).rate(part) for part in parts]
    assert warm[:11] == pytest.approx([2e-4 * i for i in range(11)])  # it rises for a tenth
    assert warm[10:] == sorted(warm[10:], reverse=True)
    assert warm[55] == pytest.approx(1e-3) and warm[100] == pytest.approx(0, abs=1e-12)
    steps = experiment(schedule="steps", drops=4, factor=0.5, learning_rate=1.0)
    assert [steps.rate(i / 8) for i in range(8)] == [1, 1, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125]


def test_lr_patch():
    assert experiment(scale=3, hr_patch=36).lr_patch == 12


def test_profiles():
    assert set(PROFILES) == {"smoke", "quick", "released", "paper"}
    fields = {field.name for field in dataclasses.fields(Experiment)}
    for name, setting in PROFILES.items():
        assert profile(name) is setting and setting.name == name and setting.budget
        assert {*setting.overrides, *setting.ablation} <= fields and set(setting.scales) <= set(models.scales("bicubic"))
        assert setting.train is (name != "released")
        if name in ("smoke", "quick"):  # which need no network
            assert setting.data == "embedded" and setting.tests == ("embedded-test",) == (setting.ablation_tests,)
    assert profile("quick").budget == "120 steps (30 in ablations), most networks of 1/2 the channels"
    assert "released weights" in profile("released").budget and profile("paper").budget == "the paper's own budget"
    with pytest.raises(SRError, match=r"unknown profile 'quik'\. Did you mean 'quick'\? Known: paper, quick"):
        profile("quik")
