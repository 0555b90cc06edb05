"""Gaps to the published PSNR, with the share of the paper's training that ours had and the steps that would close them."""

import math

import pandas as pd

from srlib import papers
from srlib.nn import models
from srlib.papers import Paper
from srlib.papers.base import OFFICIAL
from srlib.papers.profiles import Profile
from srlib.reproduce import budgets, tables
from srlib.reproduce.curves import curve, steps_needed

COLUMNS = [*tables.KEYS, "printed", "reached", "gap", "training_share", "steps_needed", "data"]


def _pixels(training: dict) -> int:
    """Return the HR pixels of the patches that a training draws."""
    return training["steps"] * training["batch"] * training["hr_patch"] ** 2


def _paper_pixels(paper: Paper, name: str, scale: int, official: list[str]) -> float:
    """Return the HR pixels of a training and of those that it starts from, under the profile paper.

    Left out are identifiers, and what the training here took from official weights.
    """
    method = paper.method(name)
    at = method.trained_at or scale
    experiment = paper.experiment(name, at, "paper", start="weights" if method.start else "")
    first = [start for start in method.start.values() if paper.method(start).model != "identifier"]
    first = [start for start in first if start + OFFICIAL not in official]
    return _pixels(vars(experiment)) + sum(_paper_pixels(paper, start, at, official) for start in first)


def _training(paper: Paper, name: str, scale: int, profile: Profile, gap: float) -> tuple[float, str | None, str]:
    """Return, of a network: training share (%), the steps of the same training that would close a gap (dB), and its data.

    The validation set is not the gap's: the curve has to rise by as many dB. Shares of what is fitted in closed form are NaN.
    """
    if models.fitted(paper.method(name).model):
        return math.nan, None, paper.experiment(name, scale, profile).data
    card = budgets.training(paper, name, scale, profile)
    if card is None:
        return math.nan, None, ""
    official = budgets.official_starts(card["budget"])
    share = 100 * budgets.total(card["budget"], _pixels) / _paper_pixels(paper, name, scale, official)
    psnr = curve(card.get("validation", []))
    return share, str(steps_needed(psnr, psnr.iloc[-1] - gap)) if len(psnr) else None, card["experiment"]["data"]


def largest(paper: Paper, rows: pd.DataFrame, profile: Profile) -> pd.DataFrame:
    """Return the set with the largest gap for each trained network and scale; the largest first.

    rows: a row per image with `method`, `dataset`, `scale`, `seed`, `psnr`, as `notebooks.load_metrics` returns them. Columns:
    `dataset`, `scale`, `method` (its label), `printed`, `reached` (dB), `gap` (dB, reached - printed), `training_share` (the HR
    pixels that the training saw, in percent of those under the profile paper, on top of official weights if it started from
    them; NaN for what is fitted in closed form),
    `steps_needed` (of its last stage, by its validation curve: `curves.steps_needed`) and `data` (its images). Empty where
    paper and we share no set.
    """
    printed = papers.published(paper.name)
    printed = printed[printed["metric"] == "psnr"].drop_duplicates(tables.KEYS)
    if rows.empty:
        return pd.DataFrame(columns=COLUMNS)
    rows = rows.dropna(subset=["psnr"])
    rows = rows[~rows["dataset"].isin([part for part, whole in paper.derived.items() if whole not in profile.tests])]
    trained = [name for name, method in paper.methods.items() if method.trained]
    for key, shared in (("method", set(trained) & set(printed["method"])), ("dataset", set(printed["dataset"]))):
        shared &= set(rows[key])
        printed, rows = printed[printed[key].isin(shared)], rows[rows[key].isin(shared)]
    if rows.empty:
        return pd.DataFrame(columns=COLUMNS)
    columns = {"psnr_published": "printed", "psnr_ours": "reached", "psnr_difference": "gap"}
    table = tables.comparison(printed, rows).rename(columns=columns).dropna(subset=["gap"])
    table = table.loc[table.groupby(["method", "scale"])["gap"].idxmin()]
    worst = zip(table["method"], table["scale"], table["gap"], strict=True)
    known = [_training(paper, name, scale, profile, gap) for name, scale, gap in worst]
    table[["training_share", "steps_needed", "data"]] = pd.DataFrame(known, index=table.index, columns=COLUMNS[-3:])
    table["method"] = table["method"].map(paper.labels)
    return table.sort_values("gap", ignore_index=True)[COLUMNS]
