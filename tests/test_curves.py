"""How many steps a number needs, on curves whose answer is known."""

import math

import numpy as np
import pandas as pd
import pytest

from srlib.reproduce.curves import MIN_POINTS, Steps, curve, steps_needed

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
