"""How far our numbers stay behind the printed ones, how much smaller the training was, and how much longer it would take."""

import math

import pandas as pd

from srlib import papers
from srlib.nn import models
from srlib.papers import Paper
from srlib.papers.profiles import Profile
from srlib.reproduce import store, tables
from srlib.reproduce.curves import curve, steps_needed
from srlib.train.experiment import Experiment
from srlib.train.run import training_budget

COLUMNS = [*tables.KEYS, "printed", "reached", "gap", "training_share", "steps_needed", "data"]


def pixels(experiment: Experiment, steps: int) -> int:
    """Return how many HR pixels a training sees in as many steps, repeated ones counted again."""
    return steps * experiment.batch * experiment.hr_patch**2


def _seen(spent: dict) -> int:
    """Return the HR pixels of a training and of those that it started from, but for an identifier, which enlarges nothing."""
    before = [first for first in spent.get("start", {}).values() if first and first["name"] != "identifier"]
    return spent["steps"] * spent["batch"] * spent["hr_patch"] ** 2 + sum(map(_seen, before))


def _enlarging(paper: Paper, name: str) -> list[str]:
    return [first for first in paper.method(name).start.values() if paper.method(first).model != "identifier"]


def _ours(paper: Paper, name: str, scale: int, profile: Profile) -> tuple[float, str]:
    """Return the pixels of a training and of those that it started from, but for an identifier, which enlarges nothing, and the
    name of its data; NaN where it is not there."""
    at = paper.method(name).trained_at or scale
    found = store.training(paper, name, at, profile)
    if found is None:
        return math.nan, ""
    experiment = Experiment(**found["experiment"])
    if models.fitted(experiment.model):
        return math.nan, experiment.data
    spent = training_budget(found["experiment"], found["provenance"])
    # older cards do not say what they started from
    before = 0 if "start" in spent else sum(_ours(paper, first, at, profile)[0] for first in _enlarging(paper, name))
    return _seen(spent) + before, experiment.data


def _longer(paper: Paper, name: str, scale: int, profile: Profile, gap: float) -> str | None:
    """Return how many steps of the same training would close a gap, in words; None where its validations are not at hand.

    They are of another set than the gap: the curve has to rise by as many dB.
    """
    found = store.training(paper, name, scale, profile)
    psnr = curve((found or {}).get("validation", []))
    return str(steps_needed(psnr, psnr.iloc[-1] - gap)) if len(psnr) else None


def _papers(paper: Paper, name: str, scale: int) -> float:
    """Return the pixels of the same trainings under the profile paper."""
    method = paper.method(name)
    at = method.trained_at or scale
    one = paper.experiment(name, at, "paper", start="weights" if method.start else "")
    return pixels(one, one.steps) + sum(_papers(paper, first, at) for first in _enlarging(paper, name))


def largest(paper: Paper, rows: pd.DataFrame, profile: Profile) -> pd.DataFrame:
    """Return, of each trained network and scale, the set on which we stay furthest behind the paper; the furthest first.

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
    printed, rows = (one[one["method"].isin(both) & one["dataset"].isin(shared)] for one in (printed, rows))
    if rows.empty:
        return pd.DataFrame(columns=COLUMNS)
    columns = {"psnr_published": "printed", "psnr_ours": "reached", "psnr_difference": "gap"}
    table = tables.comparison(printed, rows).rename(columns=columns).dropna(subset=["gap"])
    table = table.loc[table.groupby(["method", "scale"])["gap"].idxmin()]
    trainings = list(zip(table["method"], table["scale"], strict=True))
    seen = [_ours(paper, name, scale, profile) for name, scale in trainings]
    full = [_papers(paper, name, scale) for name, scale in trainings]
    table["training_share"] = [100 * got / all_of_it for (got, _), all_of_it in zip(seen, full, strict=True)]
    behind = zip(table["method"], table["scale"], table["gap"], strict=True)
    table["steps_needed"] = [_longer(paper, name, scale, profile, gap) for name, scale, gap in behind]
    table["data"] = [data for _, data in seen]
    table["method"] = table["method"].map(paper.labels)
    return table.sort_values("gap", ignore_index=True)[COLUMNS]
