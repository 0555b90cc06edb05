"""Captions of tables and notes below figures: protocol, profile, budget, seeds, and what means leave out."""

import math
from collections.abc import Iterable

import pandas as pd

from srlib import papers
from srlib.core.protocols import Protocol
from srlib.draw.columns import column_name, parse_column
from srlib.nn import models
from srlib.papers import Paper
from srlib.papers.profiles import Profile
from srlib.reproduce import store
from srlib.reproduce.budgets import total


def _span(values: Iterable[int]) -> str:
    """Return "2" or "1 to 3"."""
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _seed_counts(rows: pd.DataFrame) -> pd.Series:
    """Return the number of seeds of each method that is trained; all are where rows do not say of which paper they are."""
    if rows.empty:
        return pd.Series(dtype=int)
    if "paper" in rows:
        own = rows[["paper", "method"]].drop_duplicates().itertuples(index=False)
        trained = [method for paper, method in own if papers.get(paper).trains(method)]
        rows = rows[rows["method"].isin(trained)]
    counts = rows.groupby("method", sort=False)["seed"].nunique()
    return counts[counts > 0]


def for_table(title: str, protocol: Protocol | None, profile: Profile, *notes: str, table: pd.DataFrame | None = None) -> str:
    """Return a caption: title, protocol (None: nothing was scored), profile, budget, data and notes.

    Data that differ between scales have a star for the scale; empty notes are skipped. table: what is captioned, so that the
    protocol describes only its metrics (default: all that it measures) and the caption says what its means leave out.
    """
    metrics = None if table is None else {parse_column(column_name(column))[0] for column in table.columns}
    data = profile.data.replace("{scale}", "*")
    others = "" if profile.train else " where no other is named"
    setting = f"Profile {profile.name}: {profile.budget}; training data {data}{others}."
    left_out = "" if table is None else table.attrs.get("left_out", "")
    return " ".join(filter(None, (title, protocol.describe(metrics) if protocol else "", setting, *notes, left_out)))


def seeds(rows: pd.DataFrame) -> str:
    """Return how many seeds were scored, "Seeds: 2." or, where methods differ, "Seeds: 1 to 3."; "" if nothing was.

    rows: a row per image and seed, with `paper`; what is not trained does not count.
    """
    counts = _seed_counts(rows)
    return "" if counts.empty else f"Seeds: {_span(counts)}."


def seed_noise(paper: Paper, networks: Iterable[store.Trained]) -> float:
    """Return by how many dB another seed may move one of these networks."""
    return paper.seed_noise("psnr", {network.experiment.data for network in networks if network.experiment})


def for_figure(paper: Paper, methods: Iterable[str], scales: Iterable[int], profile: Profile, rows: pd.DataFrame) -> str:
    """Return a note for a figure of scores: protocol, seeds, seed noise, training steps, and data where they differ.

    rows: the scores that are drawn, a row per image and seed. Steps include those of the trainings that a network started from.
    """
    methods = list(methods)
    networks = [network for scale in scales for network in store.available(paper, methods, scale, profile).values()]
    counts = _seed_counts(rows[rows["method"].isin(methods)])
    parts = [f"protocol {paper.protocol}"]
    if len(counts) and counts.min() == 1:
        several = ", ".join(f"{paper.labels[name]}: {count}" for name, count in counts.items() if count > 1)
        noise = f"another may move a point by {seed_noise(paper, networks):g} dB"
        parts.append(f"one seed each{f' ({several})' if several else ''}, {noise}")
    elif len(counts):
        parts.append(f"{_span(counts)} seeds")
    steps = [total(n.training_budget) for n in networks if n.budget_summary and not models.fitted(n.experiment.model)]
    steps = [count for count in steps if not math.isnan(count)]
    if steps:
        parts.append(f"{_span(steps)} steps{' each' if len(set(steps)) == 1 else ''}")
    if len(data := {n.experiment.data for n in networks if n.budget_summary and not models.fitted(n.experiment.model)}) > 1:
        parts.append(f"trained on {' or '.join(sorted(data))}")
    return "; ".join(parts)
