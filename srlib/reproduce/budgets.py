"""What the trainings behind scores cost, as a table for claims and in words for captions, and their vital signs."""

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict

import pandas as pd

from srlib.nn import models
from srlib.papers import Paper
from srlib.papers.base import OFFICIAL
from srlib.papers.profiles import Profile
from srlib.reproduce import cards, store
from srlib.scoring import vitals
from srlib.train.experiment import Experiment
from srlib.train.run import legs, training_budget

TRAINING_COLUMNS = ("method", "scale", "seed", "data", "steps", "batch", "hr_patch", "official", "dead", "validation", "history")


def training(paper: Paper, name: str, scale: int, profile: Profile, seed: int = 0) -> dict | None:
    """Return the training of a method's network; None where it is not there yet, or the method has none.

    Keys as on cards: `experiment`, `provenance`, `validation` (a row per validation, with `step`); and `budget`, of
    `run.training_budget`, with all that it started from (None for what is unknown). Of a released network the card is enough.
    """
    method = paper.method(name)
    if not method.trained or models.fitted(method.model):
        return None
    if method.loaded(profile):
        file = cards.weights_path(paper, name, method.trained_at or scale, seed).with_suffix(".json")
        card = cards.read_card(file) if file.exists() else None
    elif trained := store.load_existing(paper, name, scale, profile, seed):
        validation = cards.validations(trained.run)
        card = {"experiment": asdict(trained.experiment), "provenance": trained.provenance, "validation": validation}
    else:
        card = None
    if card:
        card["budget"] = training_budget(card["experiment"], card["provenance"])
    return card


def total(budget: dict, cost: Callable[[dict], float] = lambda leg: leg["steps"]) -> float:
    """Return the cost of a training and all that it started from, but identifiers, which do no SR; NaN where one is unknown."""
    first = [start for start in budget.get("start", {}).values() if start is None or start["name"] != "identifier"]
    return cost(budget) + sum(math.nan if start is None else total(start, cost) for start in first)


def official_starts(budget: dict) -> list[str]:
    """Return the official weights that a training started from, e.g. ["idn_official"]; their own training counts nowhere."""
    first = [start for start in budget.get("start", {}).values() if start]
    own = [start["name"] for start in first if start["name"].endswith(OFFICIAL)]
    return sorted({*own, *(name for start in first for name in official_starts(start))})


def alike(paper: Paper, names: Iterable[str], like: str, scale: int, profile: Profile) -> tuple[list[str], str]:
    """Return the networks that were trained like another one, and a note on the others; "" for none.

    Alike are data, steps with those of all that a network started from, and the HR pixels of a step. Untrained methods, and
    networks that are not there, are alike.
    """

    def cost(name: str) -> tuple | None:
        card = training(paper, name, scale, profile)
        if card is None:
            return None
        fields = card["experiment"]
        return fields["data"], total(card["budget"]), fields["batch"] * fields["hr_patch"] ** 2

    names, expected = list(names), cost(like)
    others = [name for name in names if expected and name != like and cost(name) not in (None, expected)]
    labels = ", ".join(paper.labels[name] for name in others)
    note = f"Trained for other steps or on other data than {paper.labels[like]}: {labels}."
    return [name for name in names if name not in others], note if others else ""


def labels_with_steps(paper: Paper, names: Iterable[str], scale: int, profile: Profile) -> dict[str, str]:
    """Return the labels of a paper's methods; where the named networks differ in steps, theirs say how many."""
    found = {name: training(paper, name, scale, profile) for name in names}
    steps = {name: total(card["budget"]) for name, card in found.items() if card}
    differ = len({*steps.values()}) > 1
    return {**paper.labels, **{name: f"{paper.labels[name]}, {n:,.0f} steps" for name, n in steps.items() if differ}}


def trainings(paper: Paper, rows: pd.DataFrame, profile: Profile) -> pd.DataFrame:
    """Return the trainings behind scores, which claims of accuracy need: a row per method, scale and seed of `rows`.

    Columns: `TRAINING_COLUMNS`. steps: the `total`. official: the `official_starts`. dead: why its mechanism did not train
    (`vitals.dead`), "" for a live one. validation: name of the set; history: a row per validation. Untrained methods, missing
    networks, and those that started from other weights of unknown training have no row.
    """
    table = []
    keys = rows[["method", "scale", "seed"]].fillna({"seed": 0}).drop_duplicates() if len(rows) else rows
    for method, scale, seed in keys.itertuples(index=False):
        name = paper.part_of.get(method, method)
        card = None if name in paper.parts else training(paper, name, int(scale), profile, int(seed))
        if card is None or math.isnan(steps := total(card["budget"])):
            continue
        experiment, provenance = Experiment(**card["experiment"]), card["provenance"]
        signs = card.get("vital_signs") or provenance.get("vital_signs", {})
        dead = vitals.dead({sign: signs[sign] for sign in paper.part_signs.get(method, signs) if sign in signs})
        row = (method, scale, seed, experiment.data, int(steps), experiment.batch, experiment.hr_patch)
        table.append((*row, ";".join(official_starts(card["budget"])), dead, experiment.validation, card.get("validation", [])))
    return pd.DataFrame(table, columns=list(TRAINING_COLUMNS))


def training_budget_caption(paper: Paper, names: Iterable[str], scales: Iterable[int], profile: Profile) -> str:
    """Return one sentence with the training budget of each existing network, and its data if not the profile's; "" for none."""
    names, budgets = list(names), {}
    for scale in scales:
        usual = paper.setting(profile, scale).data
        for trained in store.available(paper, names, scale, profile).values():
            if summary := trained.budget_summary:
                budget = trained.training_budget
                data = trained.experiment.data
                other = f" on {data}" if data != usual and not models.fitted(trained.experiment.model) else ""
                budgets[f"{summary}{other}{_after(paper, budget) if budget else ''}"] = None
    return f"Training budget: {'; '.join(budgets)}." if budgets else ""


def _after(paper: Paper, budget: dict) -> str:
    """Return " (after ...)" with the budgets of what a training started from, "" where it started afresh."""
    phrases = []
    for part, first in legs(budget)[0].get("start", {}).items():
        if first:
            label = paper.labels.get(first["name"], first["name"])
            phrases.append(f"{cards.describe_budget(label, first)}{_after(paper, first)}")
        elif budget["name"] in paper.labels and (start := paper.method(budget["name"]).start.get(part)):
            phrases.append(paper.labels[start])
    return f" (after {' and '.join(phrases)})" if phrases else ""


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
    return f"Mechanism checks: {'. '.join(phrases)}." if phrases else ""
