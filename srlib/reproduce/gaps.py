"""Gaps to the published PSNR, with the share of the paper's training that ours had and the steps that would close them."""

import math

import pandas as pd

from srlib import papers
from srlib.nn import models
from srlib.papers import Paper
from srlib.papers.profiles import Profile
from srlib.reproduce import budgets, tables
from srlib.reproduce.curves import curve, steps_needed
from srlib.train.experiment import Experiment
from srlib.train.run import training_budget

COLUMNS = [*tables.KEYS, "printed", "reached", "gap", "training_share", "steps_needed", "data"]


def pixels(experiment: Experiment, steps: int) -> int:
    """Return the HR pixels of the patches that a training draws in that many steps."""
    return steps * experiment.batch * experiment.hr_patch**2


def _pixels_seen(budget: dict) -> int:
    """Return the HR pixels of a training and of those that it started from, except identifiers, which do not upscale."""
    before = [first for first in budget.get("start", {}).values() if first and first["name"] != "identifier"]
    return budget["steps"] * budget["batch"] * budget["hr_patch"] ** 2 + sum(map(_pixels_seen, before))


def _upscalers(paper: Paper, name: str) -> list[str]:
    return [first for first in paper.method(name).start.values() if paper.method(first).model != "identifier"]


def _our_training(paper: Paper, name: str, scale: int, profile: Profile) -> tuple[float, str]:
    """Return the HR pixels of a training, including those it started from, and the name of its data; NaN where there is none."""
    at = paper.method(name).trained_at or scale
    card = budgets.training(paper, name, at, profile)
    if card is None:
        return math.nan, ""
    experiment = Experiment(**card["experiment"])
    if models.fitted(experiment.model):
        return math.nan, experiment.data
    budget = training_budget(card["experiment"], card["provenance"])
    # older cards lack what they started from
    before = 0 if "start" in budget else sum(_our_training(paper, first, at, profile)[0] for first in _upscalers(paper, name))
    return _pixels_seen(budget) + before, experiment.data


def _steps_to_close(paper: Paper, name: str, scale: int, profile: Profile, gap: float) -> str | None:
    """Return the steps of the same training that would close a gap, as text; None without validations.

    The validation set is not the gap's: the curve has to rise by as many dB.
    """
    card = budgets.training(paper, name, scale, profile) or {}
    psnr = curve(card.get("validation", []))
    return str(steps_needed(psnr, psnr.iloc[-1] - gap)) if len(psnr) else None


def _paper_pixels(paper: Paper, name: str, scale: int) -> float:
    """Return the HR pixels of the same trainings under the profile paper."""
    method = paper.method(name)
    at = method.trained_at or scale
    experiment = paper.experiment(name, at, "paper", start="weights" if method.start else "")
    return pixels(experiment, experiment.steps) + sum(_paper_pixels(paper, first, at) for first in _upscalers(paper, name))


def largest(paper: Paper, rows: pd.DataFrame, profile: Profile) -> pd.DataFrame:
    """Return the set with the largest gap for each trained network and scale; the largest first.

    rows: a row per image with `method`, `dataset`, `scale`, `seed`, `psnr`, as `notebooks.load_metrics` returns them. Columns:
    `dataset`, `scale`, `method` (its label), `printed`, `reached` (dB), `gap` (dB, reached - printed), `training_share` (the HR
    pixels that the training saw, in percent of those under the profile paper; NaN for what is fitted in closed form),
    `steps_needed` (of its last stage, by its validation curve: `curves.steps_needed`) and `data` (its images). Empty where
    paper and we share no set.
    """
    printed = papers.published(paper.name)
    printed = printed[printed["metric"] == "psnr"].drop_duplicates(tables.KEYS)
    names = [name for name, method in paper.methods.items() if method.trained]
    if rows.empty:
        return pd.DataFrame(columns=COLUMNS)
    rows = rows.dropna(subset=["psnr"])
    rows = rows[~rows["dataset"].isin([part for part, whole in paper.derived.items() if whole not in profile.tests])]
    both = [name for name in names if name in set(printed["method"]) & set(rows["method"])]
    shared = set(printed["dataset"]) & set(rows["dataset"])
    printed, rows = (side[side["method"].isin(both) & side["dataset"].isin(shared)] for side in (printed, rows))
    if rows.empty:
        return pd.DataFrame(columns=COLUMNS)
    columns = {"psnr_published": "printed", "psnr_ours": "reached", "psnr_difference": "gap"}
    table = tables.comparison(printed, rows).rename(columns=columns).dropna(subset=["gap"])
    table = table.loc[table.groupby(["method", "scale"])["gap"].idxmin()]
    trainings = list(zip(table["method"], table["scale"], strict=True))
    seen = [_our_training(paper, name, scale, profile) for name, scale in trainings]
    full = [_paper_pixels(paper, name, scale) for name, scale in trainings]
    table["training_share"] = [100 * ours / whole for (ours, _), whole in zip(seen, full, strict=True)]
    behind = zip(table["method"], table["scale"], table["gap"], strict=True)
    table["steps_needed"] = [_steps_to_close(paper, name, scale, profile, gap) for name, scale, gap in behind]
    table["data"] = [data for _, data in seen]
    table["method"] = table["method"].map(paper.labels)
    return table.sort_values("gap", ignore_index=True)[COLUMNS]
