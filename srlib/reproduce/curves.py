"""Validation curves: scores of a training by step, and the steps that a target would need.

The fit is a power law, psnr(step) = a - b * step**-c with b, c > 0, the shape of learning curves in Hestness et al.
(arXiv:1712.00409). It does not model the learning rate: under a decaying one it extrapolates more of the same training.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from srlib.reproduce.intervals import CONFIDENCE

MIN_POINTS = 5  # of which the fit takes three
EXPONENTS = np.linspace(0.05, 3, 119)
MAX_EXTRAPOLATION = 1e4  # times the last step
RESOLUTION = 1e-3  # dB, of a validation
N_CANDIDATES = 800  # for the number of steps, evenly spaced in its logarithm


@dataclass(frozen=True)
class Steps:
    """Steps that reach a target, with a 95 % CI. steps: inf where the fitted curve never reaches it; nan without a fit. low: inf
    where no number of steps is compatible with the data. high: inf where it is unbounded. reached: by the last validation."""

    steps: float
    low: float
    high: float
    reached: bool = False

    def __str__(self) -> str:
        if self.reached:
            return "reached"
        if math.isnan(self.steps):
            return "too few validations"
        if math.isinf(self.low):
            return "not reachable by this fit"
        low = f"more than {_digits(self.low)}"
        if math.isinf(self.steps):
            return f"not reachable by this fit ({low} steps)"
        span = low if math.isinf(self.high) else f"{_digits(self.low)} to {_digits(self.high)}"
        return f"about {_digits(self.steps)} steps ({span})"


def _digits(number: float) -> str:
    """Return a number of steps with two significant digits."""
    return f"{float(f'{number:.2g}'):,.0f}"


def curve(history: Sequence[dict] | pd.DataFrame, metric: str = "psnr") -> pd.Series:
    """Return a metric's validations by step, in order; empty where the history has none.

    history: rows with `step` and the metric, as in history.csv and on cards.
    """
    rows = pd.DataFrame(history)
    if not {"step", metric} <= set(rows.columns):
        return pd.Series(dtype=float)
    return rows.dropna(subset=[metric]).set_index("step")[metric].astype(float).sort_index()


def _fit_slope(values: np.ndarray, powers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the least-squares b >= 0 of `values = -b * powers`, points along the last axis, and the residual sums of squares."""
    b = np.maximum(-(powers * values).sum(-1) / (powers**2).sum(-1), 0)
    return b, ((values + b[..., None] * powers) ** 2).sum(-1)


def steps_needed(psnr: pd.Series, target: float) -> Steps:
    """Return how many steps the validation PSNR needs to reach `target` (dB), by a power law fitted to all validations.

    psnr: by step, of `curve`. The interval has every number of steps that the curve through (steps, target) fits nearly as well
    as the best one, by an F test.
    """
    psnr = psnr[psnr.index > 0]
    if len(psnr) and psnr.iloc[-1] >= target:
        return Steps(*[float(psnr.index[-1])] * 3, reached=True)
    if len(psnr) < MIN_POINTS:
        return Steps(math.nan, math.nan, math.nan)
    last, values = float(psnr.index[-1]), psnr.to_numpy()
    powers = (psnr.index.to_numpy(float) / last) ** -EXPONENTS[:, None]  # (exponents, points)
    b, squares = _fit_slope(values - values.mean(), powers - powers.mean(axis=1, keepdims=True))  # with a free asymptote
    best = squares.argmin()
    asymptote, least = values.mean() + b[best] * powers[best].mean(), squares[best]
    factors = np.append(np.geomspace(1, MAX_EXTRAPOLATION, N_CANDIDATES), math.inf)  # times the last step
    reach = np.append(factors[:-1] ** -EXPONENTS[:, None], np.zeros((len(EXPONENTS), 1)), axis=1)  # (exponents, factors)
    squares = _fit_slope(values - target, powers[:, None] - reach[..., None])[1].min(axis=0)  # through the target
    freedom = len(psnr) - 3
    worst = min(least, squares.min()) * (1 + stats.f.ppf(CONFIDENCE, 1, freedom) / freedom)
    compatible = last * factors[squares <= worst + len(psnr) * RESOLUTION**2]
    low, high = (compatible.min(), compatible.max()) if len(compatible) else (math.inf, math.inf)
    steps = last * factors[squares.argmin()] if asymptote > target else math.inf
    return Steps(float(steps), float(low), float(high))
