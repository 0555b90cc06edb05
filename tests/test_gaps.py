"""Gaps to the paper: the worst set of each network, its share of training, and the steps that its curve would need."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
from scripts import card, total_steps

from srlib import papers
from srlib.draw import styling
from srlib.papers import Method
from srlib.reproduce import budgets, gaps, store
from srlib.reproduce.curves import MIN_POINTS, Steps, curve, steps_needed


def rows_of(paper, *cells):
    rows = [{"method": m, "dataset": d, "scale": s, "psnr": psnr} for m, d, s, psnr in cells]
    return pd.DataFrame(rows).assign(paper=paper, seed=0, image="one")


def largest(name, *cells):
    paper = papers.get(name)
    return gaps.largest(paper, rows_of(name, *cells), paper.setting("released"))


def test_the_worst_set_of_each_network_and_scale_the_worst_first():
    got = largest(
        "btsrn",
        ("btsrn", "Set5", 4, 30.85),
        ("btsrn", "Urban100", 4, 25.0),
        ("btsrn", "Set5", 2, 36.0),
        ("vdsr", "Set5", 2, 38.0),
        ("bicubic", "Set5", 2, 30.0),
    )
    assert got[["method", "scale", "dataset"]].to_numpy().tolist() == [
        ["BTSRN", 2, "Set5"],
        ["BTSRN", 4, "Set5"],
        ["VDSR", 2, "Set5"],
    ]
    assert got["gap"].tolist() == pytest.approx([-1.75, -1.0, 0.47])
    assert list(got) == gaps.COLUMNS
    cards = (card("btsrn", *network) for network in (("btsrn", 2), ("btsrn", 4), ("vdsr", 2)))
    assert got["data"].tolist() == [one["experiment"]["data"] for one in cards]


def test_seeds_are_averaged():
    paper = papers.get("btsrn")
    rows = rows_of("btsrn", ("btsrn", "Set5", 2, 37.0), ("btsrn", "Set5", 2, 36.0)).assign(seed=[0, 1])
    assert gaps.largest(paper, rows, paper.setting("released"))["reached"].tolist() == [36.5]


def test_a_start_from_official_weights_is_known():
    paper = papers.get("difficulty_sr")
    rows = rows_of("difficulty_sr", ("difficulty_sr", "Set5", 2, 37.7), ("idn_longer", "Set5", 2, 37.7), ("idn", "Set5", 2, 37.1))
    got = budgets.trainings(paper, rows, paper.setting("released")).set_index("method")
    assert got["official"].to_dict() == {"difficulty_sr": "idn_official", "idn_longer": "idn_official", "idn": ""}
    assert got["steps"].to_dict() == {name: total_steps(card("difficulty_sr", name, 2)["provenance"]) for name in got.index}


def pixels(budget):
    """The HR pixels that a training saw, with those of all that it started from, identifiers left out."""
    first = [start for start in budget.get("start", {}).values() if start["name"] != "identifier"]
    return budget["steps"] * budget["batch"] * budget["hr_patch"] ** 2 + sum(map(pixels, first))


def test_share_counts_the_trainings_that_a_network_started_from():
    paper, setting = papers.get("difficulty_sr"), papers.get("difficulty_sr").setting("released")
    networks = store.available(paper, ["idn", "difficulty_sr"], 4, setting)
    seen = {name: pixels(network.training_budget) for name, network in networks.items()}
    side = (48 * 4) ** 2
    full = {"idn": 20_000 * 64 * side, "difficulty_sr": 100_000 * 64 * side}
    got = largest("difficulty_sr", ("difficulty_sr", "Set5", 4, 31.0), ("idn", "Set5", 4, 31.5)).set_index("method")
    assert got["training_share"]["IDN"] == pytest.approx(100 * seen["idn"] / full["idn"])
    # An identifier enlarges nothing, and what official weights replaced counts on neither side.
    assert got["training_share"]["Difficulty-SR"] == pytest.approx(100 * seen["difficulty_sr"] / full["difficulty_sr"])
    prosrgan = store.available(papers.get("prosrn"), ["prosrgan"], 4, papers.get("prosrn").setting("released"))["prosrgan"]
    got = largest("prosrn", ("prosrgan", "Set5", 4, 26.0)).set_index("method")
    of_both = (19_531 + 292_968) * 64 * 128**2
    assert prosrgan.training_budget["start"][""]["name"] == "prosrn_2_4"
    assert got["training_share"]["ProSRGAN"] == pytest.approx(100 * pixels(prosrgan.training_budget) / of_both)


def test_patches_of_other_images_than_the_papers_are_no_gap():
    paper = papers.get("difficulty_sr")
    rows = rows_of("difficulty_sr", ("difficulty_sr", "patches", 4, 20.0), ("difficulty_sr", "Set5", 4, 31.0))
    assert set(gaps.largest(paper, rows, paper.setting("released"))["dataset"]) == {"patches"}
    assert set(gaps.largest(paper, rows, paper.setting("quick"))["dataset"]) == {"Set5"}


def test_one_training_for_all_scales_counts_once():
    got = largest("prosrn", ("prosrn", "Set5", 2, 37.0), ("prosrn", "Set5", 8, 26.0), ("prosrgan", "Set5", 4, 26.0))
    by = got.set_index(["method", "scale"])["training_share"]
    assert by["ProSRN (2x)", 2] == by["ProSRN (2x)", 8] > 0 and by["ProSRGAN", 4] > 0


def test_steps_that_would_close_the_gap(monkeypatch):
    """The validations are of another set and protocol: the curve has to rise by the gap."""
    paper, setting = papers.get("btsrn"), papers.get("btsrn").setting("released")
    card, step = budgets.training(paper, "btsrn", 2, setting), range(1000, 11000, 1000)
    curve = [{"step": s, "psnr": 31 - 20 * s**-0.5} for s in step]  # ends at 30.8
    monkeypatch.setattr(budgets, "training", lambda *given: {**card, "validation": curve})
    got = largest("btsrn", ("btsrn", "Set5", 2, 37.65))  # 0.1 dB behind
    assert got["gap"].tolist() == pytest.approx([-0.1])
    assert got["steps_needed"].tolist() == ["about 40,000 steps (39,000 to 41,000)"]
    assert largest("btsrn", ("btsrn", "Set5", 2, 36.0))["steps_needed"].tolist() == ["not reachable by this fit"]
    assert largest("btsrn", ("btsrn", "Set5", 2, 37.9))["steps_needed"].tolist() == ["reached"]
    monkeypatch.setattr(budgets, "training", lambda *given: {**card, "validation": []})  # as on older cards
    assert largest("btsrn", ("btsrn", "Set5", 2, 36.0))["steps_needed"].isna().all()
    assert gaps.steps_needed(gaps.curve(curve), 30.9).steps == pytest.approx(40_000, rel=0.02)


def test_what_is_fitted_has_no_share():
    fields = {"steps": 2, "batch": 2, "hr_patch": 16, "validation": ""}
    aplus = Method("aplus", "A+", {"atoms": 4, "neighbours": 8}, fields, fields)
    paper = dataclasses.replace(papers.get("prosrn"), methods={"aplus": aplus})
    setting = dataclasses.replace(paper.setting("released"), fitted_data="embedded")
    store.load_or_train(paper, "aplus", 2, setting, progress="none")
    got = gaps.largest(paper, rows_of("prosrn", ("aplus", "Set5", 2, 36.0)), setting)
    assert got["training_share"].isna().all() and got["gap"].tolist() == pytest.approx([-0.6])
    assert got["data"].tolist() == ["embedded"]
    assert "| embedded |" in styling.markdown(got, "Gaps.") and "nan" not in styling.markdown(got, "Gaps.")


@pytest.mark.parametrize(
    "name, cells",
    [
        ("d2c_sr", [("d2c_sr", "City100-nikon/test", 1, 29.0)]),
        ("btsrn", [("btsrn", "embedded-test", 2, 29.0)]),
        ("btsrn", [("bicubic", "Set5", 2, 33.0)]),
        ("btsrn", []),
    ],
)
def test_without_a_set_in_common_there_is_no_gap(name, cells):
    got = largest(name, *cells)
    assert got.empty and list(got) == gaps.COLUMNS


def test_table_reads_well():
    got = largest("btsrn", ("btsrn", "Set5", 3, 32.35))
    heads, _, row = styling.markdown(got, "Gaps.").splitlines()[2:]
    assert heads.startswith("| Dataset | Scale | Method | PSNR, published (dB) |")
    assert "Training, share of profile paper (%)" in heads
    assert row.startswith("| Set5 | ×3 | BTSRN | 34.03 | 32.35 | −1.68 | ")


# --- Curves -------------------------------------------------------------------------------------------------------------


STEPS = np.arange(1, 11) * 1000
END, FACTOR, EXPONENT = 38.0, 20.0, 0.5  # 37.9 dB after (20 / 0.1) ** 2 = 40,000 steps


def history(noise=0.0, seed=0, points=10):
    psnr = END - FACTOR * STEPS**-EXPONENT + np.random.default_rng(seed).normal(0, noise, 10)
    return pd.Series(psnr, STEPS)[:points]


def test_an_exact_power_law_is_recovered():
    found = steps_needed(history(), 37.9)
    assert found.steps == pytest.approx(40_000, rel=0.02) and found.low <= 40_000 <= found.high
    assert found.high < 1.1 * found.low


def test_the_interval_covers_the_truth_about_as_often_as_it_says_and_grows_with_the_noise():
    widths = []
    for noise in (0.002, 0.01, 0.03):
        needed = [steps_needed(history(noise, seed), 37.9) for seed in range(60)]
        assert sum(steps.low <= 40_000 <= steps.high for steps in needed) >= 54
        assert np.median([steps.steps for steps in needed]) == pytest.approx(40_000, rel=0.3)
        widths.append(np.median([steps.high / steps.low for steps in needed]))
    assert widths == sorted(widths)


def test_what_the_curve_never_reaches_is_said():
    found = steps_needed(history(0.002), 38.3)
    assert math.isinf(found.steps) and math.isinf(found.high) and str(found) == "not reachable by this fit"
    flat = pd.Series([30, 30.01] * 5, range(100, 1100, 100))
    assert math.isinf(steps_needed(flat, 31).steps)
    noisy = [steps_needed(history(0.03, seed), 38.3) for seed in range(10)]  # the larger end of some intervals is beyond
    assert all(math.isinf(one.high) for one in noisy) and sum(math.isinf(one.steps) for one in noisy) > 5
    falling = pd.Series(np.linspace(29.9, 29, 10), range(100, 1100, 100))
    assert math.isinf(steps_needed(falling, 31).steps)


def test_what_is_reached_needs_no_fit():
    assert str(steps_needed(history(points=1), 37)) == "reached" and steps_needed(history(), 37.5).reached


@pytest.mark.parametrize("points", [0, 1, MIN_POINTS - 1])
def test_few_validations_are_not_fitted(points):
    found = steps_needed(history(points=points), 39)
    assert math.isnan(found.steps) and str(found) == "too few validations"
    assert not math.isnan(steps_needed(history(points=MIN_POINTS), 37.9).steps)


def test_in_words():
    assert str(Steps(39_880.0, 38_800.0, 41_200.0)) == "about 40,000 steps (39,000 to 41,000)"
    assert str(Steps(39_880.0, 25_300.0, math.inf)) == "about 40,000 steps (more than 25,000)"
    assert str(Steps(math.inf, 25_300.0, math.inf)) == "not reachable by this fit (more than 25,000 steps)"


def test_a_curve_has_the_validations_in_order():
    rows = [{"step": 20, "psnr": 31.0}, {"step": 10, "psnr": 30.0}, {"step": 30, "psnr": math.nan}]
    assert curve(rows).to_dict() == {10: 30.0, 20: 31.0}
    assert curve(rows, "ssim").empty and curve([]).empty and curve(pd.DataFrame()).empty
