"""What the trainings behind scores cost, as a table for claims and in words for captions, and their vital signs."""

import math
from collections.abc import Iterable
from dataclasses import asdict

import pandas as pd

from srlib.papers import Paper
from srlib.papers.profiles import Profile
from srlib.reproduce import cards, store
from srlib.reproduce.store import Trained
from srlib.scoring import vitals
from srlib.train.experiment import Experiment
from srlib.train.run import legs, training_budget

TRAINING_COLUMNS = ("method", "scale", "seed", "data", "steps", "batch", "hr_patch", "official", "dead", "validation", "history")


def training(paper: Paper, name: str, scale: int, profile: Profile, seed: int = 0) -> dict | None:
    """Return the training of a method's network; None where it is not there yet, or the method is not trained.

    Keys as on cards: `experiment`, `provenance`, `validation` (a row per validation, with `step`). Of a released network the
    card is enough.
    """
    method = paper.method(name)
    if not method.trained:
        return None
    if method.loaded(profile):
        card = cards.weights_path(paper, name, method.trained_at or scale, seed).with_suffix(".json")
        return cards.read_card(card) if card.exists() else None
    trained = store.load_existing(paper, name, scale, profile, seed)
    if trained is None:
        return None
    validation = cards.validations(trained.run)
    return {"experiment": asdict(trained.experiment), "provenance": trained.provenance, "validation": validation}


def trainings(paper: Paper, rows: pd.DataFrame, profile: Profile) -> pd.DataFrame:
    """Return the trainings behind scores, which claims of accuracy need: a row per method, scale and seed of `rows`.

    Columns: `TRAINING_COLUMNS`. steps: include those of the networks that it started from, except identifiers, which do no SR.
    official: the weights are the authors' own. dead: why its mechanism did not train (`vitals.dead`), "" for a live one.
    validation: name of the set; history: a row per validation. Untrained methods, missing networks, and those that started from
    weights of unknown training have no row.
    """
    table = []
    keys = rows[["method", "scale", "seed"]].fillna({"seed": 0}).drop_duplicates() if len(rows) else rows
    for method, scale, seed in keys.itertuples(index=False):
        name = paper.part_of.get(method, method)
        card = None if name in paper.parts else training(paper, name, int(scale), profile, int(seed))
        if card is None:
            continue
        experiment, provenance = Experiment(**card["experiment"]), card["provenance"]
        budget = training_budget(card["experiment"], provenance)
        steps = _total_steps(paper, name, int(scale), profile, int(seed), budget)
        if math.isnan(steps):
            continue
        official = bool(provenance.get("official"))
        dead = vitals.dead(card.get("vital_signs") or provenance.get("vital_signs", {}))
        row = (method, scale, seed, experiment.data, int(steps), experiment.batch, experiment.hr_patch, official, dead)
        table.append((*row, experiment.validation, card.get("validation", [])))
    return pd.DataFrame(table, columns=list(TRAINING_COLUMNS))


def _total_steps(paper: Paper, name: str, scale: int, profile: Profile, seed: int, budget: dict) -> float:
    """Return the steps of a training and of those that it started from, except identifiers; NaN where one is unknown.

    budget: its `run.training_budget`, which on older cards lacks the trainings that it started from.
    """
    total, method = budget["steps"], paper.method(name)
    if "start" in budget:
        for first in budget["start"].values():
            if first is None:
                return math.nan
            if first["name"] != "identifier":
                total += _total_steps(paper, name, scale, profile, seed, {"start": {}, **first})
        return total
    for first in method.start.values():
        if paper.method(first).model != "identifier":
            card = training(paper, first, method.trained_at or scale, profile, seed)
            first_budget = training_budget(card["experiment"], card["provenance"]) if card else {"steps": math.nan}
            total += _total_steps(paper, first, scale, profile, seed, first_budget)
    return total


def training_budget_caption(paper: Paper, names: Iterable[str], scales: Iterable[int], profile: Profile) -> str:
    """Return one sentence with the training budget of each existing network; "" for none."""
    networks = [(scale, trained) for scale in scales for trained in store.available(paper, names, scale, profile).values()]
    budgets = dict.fromkeys(_with_start(paper, trained, scale, profile) for scale, trained in networks if trained.budget_summary)
    return f"Training budget: {'; '.join(budgets)}." if budgets else ""


def _with_start(paper: Paper, trained: Trained, scale: int, profile: Profile) -> str:
    """Return the budget of a network and of those it started from, including networks whose weights are gone."""
    budget = trained.training_budget
    start = _start_budgets(paper, legs(budget)[0]) if budget else {}
    method = paper.method(trained.name)
    for part, name in method.start.items():
        if part not in start:  # not on older cards
            first_scale = method.trained_at or scale
            first = store.available(paper, [name], first_scale, profile).get(name)
            start[part] = _with_start(paper, first, first_scale, profile) if first else paper.method(name).label
    return f"{trained.budget_summary}{_after(start.values())}"


def _start_budgets(paper: Paper, budget: dict) -> dict[str, str]:
    """Return, by part, the known budgets of what a training started from, in words."""
    described = {}
    for part, first in budget.get("start", {}).items():
        if first:
            label = paper.labels.get(first["name"], first["name"])
            described[part] = f"{cards.describe_budget(label, first)}{_after(_start_budgets(paper, legs(first)[0]).values())}"
    return described


def _after(start_budgets: Iterable[str]) -> str:
    joined = " and ".join(start_budgets)
    return f" (after {joined})" if joined else ""


def vital_signs_caption(
    paper: Paper, names: Iterable[str], scales: Iterable[int], profile: Profile, seeds: Iterable[int] = (0,)
) -> str:
    """Return one sentence with the vital signs of each existing network, seed by seed; "" for none."""
    scales, seeds, phrases = list(scales), list(seeds), []
    for name in names:
        for scale in scales:
            networks = {seed: store.available(paper, [name], scale, profile, seed).get(name) for seed in seeds}
            signs = {seed: vitals.describe(trained.vital_signs) for seed, trained in networks.items() if trained}
            for seed, words in signs.items():
                which = f"{paper.labels[name]} x{scale}{f' seed {seed}' if len(signs) > 1 else ''}"
                phrases += [f"{which}, {words}"] if words else []
    return f"Vital signs: {'. '.join(phrases)}." if phrases else ""
