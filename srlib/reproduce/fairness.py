"""When a comparison of accuracy is a fair one: equal budgets, and an order that longer training would not turn.

Each condition returns what it would take to meet it, "" where it is met. `verdicts` states the rules.
"""

import math
from dataclasses import dataclass

import pandas as pd

from srlib.nn import models
from srlib.papers import Paper
from srlib.papers.base import OFFICIAL
from srlib.reproduce.claims import Claim, Comparison, format_difference
from srlib.reproduce.curves import curve, steps_needed

LEVEL_TOLERANCE = 0.3  # dB below the published PSNR that still count as the paper's level


@dataclass(frozen=True)
class Side:
    """One side of a comparison of accuracy. component: whether it is a part of a trained network, as one branch alone. trainings:
    of its seeds; None where no gradient descent took place here. gap: dB behind the published PSNR, nan where none is published;
    behind: the same in the claim's metric. official: whether its weights are its authors' own."""

    method: str
    label: str
    component: bool
    trainings: pd.DataFrame | None
    n_seeds: int
    gap: float
    behind: float
    official: bool

    @classmethod
    def of(
        cls,
        paper: Paper,
        method: str,
        comparison: Comparison,
        seeds: pd.Index,
        metric: str,
        scores: pd.DataFrame,
        trainings: pd.DataFrame,
        published: pd.DataFrame,
    ) -> "Side":
        """Return a side. seeds: those that are compared. metric: the claim's. scores: a row per image."""
        network = paper.part_of.get(method, method)
        fitted = network not in paper.parts and models.fitted(paper.method(network).model)
        own = None
        if paper.trains(method) and not fitted:
            own = trainings[(trainings["method"] == method) & (trainings["scale"] == comparison.scale)]
            own = own[own["seed"].isin(seeds)]
        named = published["method"] == method.removesuffix(OFFICIAL)
        printed = published[named & (published["dataset"] == comparison.dataset) & (published["scale"] == comparison.scale)]
        gaps = [
            float(printed.loc[printed["metric"] == name, "value"].mean() - scores[name].mean()) if name in scores else math.nan
            for name in ("psnr", metric)
        ]
        return cls(method, paper.labels[method], network != method, own, len(seeds), *gaps, method.endswith(OFFICIAL))

    @property
    def at_paper_level(self) -> bool:
        return self.gap <= LEVEL_TOLERANCE

    @property
    def budgets(self) -> set[tuple]:
        """The budgets of its seeds: data, steps, HR pixels of a step, and what it started from."""
        return {(row.data, row.steps, row.batch * row.hr_patch**2, row.official) for row in self.trainings.itertuples()}

    @property
    def budget(self) -> str:
        """The budget as text."""
        budgets = []
        for row in self.trainings.itertuples():
            start = " after official weights" if row.official else ""
            budgets.append(f"{row.steps:,} steps of {row.batch} x {row.hr_patch} px of {row.data}{start}")
        return " or ".join(dict.fromkeys(budgets)) or "unknown"

    @property
    def validation(self) -> str:
        return "; ".join(self.trainings["validation"].unique())

    @property
    def untrained_mechanism(self) -> str:
        """Why its mechanism did not train, with the label; "" where it did."""
        reasons = " / ".join(filter(None, self.trainings["dead"].unique()))
        return reasons and f"{self.label}: {reasons}"

    def curve(self, metric: str) -> pd.Series:
        """Return the validation curve averaged over seeds; empty where a seed has no validations."""
        curves = [curve(history, metric) for history in self.trainings["history"]]
        complete = curves and len(curves) == self.n_seeds
        return pd.concat(curves, axis=1, join="inner").mean(axis=1) if complete else pd.Series(dtype=float)


def equal_budgets(claim: Claim, difference: float, sides: list[Side]) -> str:
    """Require trained sides of equal budgets; beside official weights, which had their paper's, the paper's level, and a
    difference that would not change sides at the paper's number."""
    trained = [side for side in sides if side.trainings is not None]
    if any(side.official for side in sides):
        for side in trained:
            if not side.at_paper_level:
                return f"{side.label} within {LEVEL_TOLERANCE} dB of the paper's number, like the official weights"
            closed = difference + (side.behind if side.method == claim.left else -side.behind)
            if side.behind > 0 and (claim.slack(difference) > 0) != (claim.slack(closed) > 0):
                return f"{side.label} at the paper's number, {format_difference(claim.metric, side.behind).lstrip('+')} above it"
        return ""
    if len(trained) < 2 or (trained[0].budgets == trained[1].budgets and len(trained[0].budgets) <= 1):
        return "" if all(len(side.trainings) for side in trained) else f"a known budget of {trained[0].label}"
    return "equal budgets ({})".format(", ".join(f"{side.label}: {side.budget}" for side in trained))


def stable_order(claim: Claim, difference: float, sides: list[Side], dataset: str) -> str:
    """Require a trained side at the paper's level, or validations in the last third of training that keep the order.

    On the set that is scored it must be the order of the scores.
    """
    ahead_of_untrained = len(sides) == 1 and (difference > 0) == (sides[0].method == claim.left)
    if not sides or ahead_of_untrained or any(side.at_paper_level for side in sides):
        return ""
    metric = "psnr" if claim.metric == "psnr" else "ssim"
    curves = [side.curve(metric) for side in sides]
    for side, values in zip(sides, curves, strict=True):
        if values.empty:
            return f"validations during training ({side.label} has none)"
    last_thirds = [values[values.index >= values.index.max() * 2 / 3] for values in curves]
    alike = len(sides) == 2 and not any(side.component for side in sides)
    if alike and sides[0].validation != sides[1].validation:
        return f"validations on one set ({', '.join(f'{side.label}: {side.validation}' for side in sides)})"
    gaps = (last_thirds[0] - last_thirds[1]).dropna() if alike else []
    if len(gaps) > 1:
        orders = {claim.slack(gap) > 0 for gap in gaps}
        if sides[0].validation == dataset and orders == {claim.slack(difference) <= 0}:
            return "validations that agree with the scores (during training they have the reverse order)"
        stable = len(orders) == 1
    else:  # no common steps, as of trainings in one stage and in two
        stable = all(len(values) > 1 and values.max() - values.min() < abs(claim.slack(difference)) for values in last_thirds)
    if stable:
        return ""
    longer = []
    for side, values in zip(sides, curves, strict=True):
        longer.append(f"{side.label}: more than {int(values.index.max()):,} steps")
        if metric == "psnr" and not math.isnan(side.gap):
            longer[-1] += f", to the paper's level {steps_needed(values, values.iloc[-1] + side.gap - LEVEL_TOLERANCE)}"
    return f"longer training ({'; '.join(longer)})"
