"""One comparison of a claim, judged: `judge_accuracy` on scores, `judge_cost` on costs. `verdicts` states the rules."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from srlib import papers
from srlib.core.errors import SRError
from srlib.reproduce.claims import Claim, Comparison, format_difference
from srlib.reproduce.fairness import Side, equal_budgets, stable_order
from srlib.reproduce.intervals import CONFIDENCE, image_interval, ratio_half_width, required_samples, seed_half_width, t_quantile
from srlib.scoring.costs import TIMES, rounds
from srlib.scoring.evaluation import whole_images

HOLDS, CONTRADICTED, NOT_TESTED = "holds", "contradicted", "not tested"
UNDECIDED, UNJUDGED = "not decidable at this budget", "not judged"
TIMING_NOISE = 0.05  # by which a ratio of times differs from process to process, as a part of it
MIN_ROUNDS = 5
MAX_BACKGROUND_LOAD = 0.25  # cores
MIN_IMAGES = 5
ALONE = ", contradicted by itself, but not as one of {} comparisons"
MIN_SEEDS = 3  # of each trained side, where its noise could turn the verdict


@dataclass(frozen=True)
class Verdict:
    """verdict: one of `verdicts.VERDICTS`. estimate, low, high: the difference and its interval (nan where not tested). n_images:
    pictures. n_seeds: the fewest of a trained side. detail: one line for readers."""

    verdict: str
    estimate: float = math.nan
    low: float = math.nan
    high: float = math.nan
    n_images: int = 0
    n_seeds: int = 0
    detail: str = ""


def decide(sign: int, margin: float, estimate: float, low: float, high: float, noise: float) -> tuple[str, float, float]:
    """Return the verdict by the interval, and the interval with the noise added as squares. sign: as `Claim.sign`."""
    low, high = estimate - math.hypot(estimate - low, noise), estimate + math.hypot(high - estimate, noise)
    if sign:
        least, most = sorted((sign * low, sign * high))
        holds, contradicted = least > margin, most <= margin
    else:
        holds, contradicted = -margin <= low and high <= margin, low > margin or high < -margin
    return HOLDS if holds else CONTRADICTED if contradicted else UNDECIDED, low, high


def _shared(tests: int) -> float:
    """Return the confidence for each of several tests that together err as often as one (Bonferroni)."""
    return 1 - (1 - CONFIDENCE) / tests


def _widening(confidence: float) -> float:
    """Return how much wider an interval of known noise is than at `CONFIDENCE`."""
    return float(t_quantile(math.inf, confidence) / t_quantile(math.inf))


def _summary(claim: Claim, comparison: Comparison, *estimate_and_interval: float) -> str:
    """Return what was compared and the difference, with its interval where one is given."""
    labels = papers.get(claim.paper).labels
    difference, *interval = (format_difference(claim.metric, value) for value in estimate_and_interval)
    in_brackets = f" [{', '.join(interval)}]" if interval else ""
    return f"{comparison.name}: {labels[claim.left]} against {labels[comparison.right]} {difference}{in_brackets}"


def judge_cost(claim: Claim, comparison: Comparison, costs: pd.DataFrame, tests: int = 1) -> Verdict:
    """Return the verdict on one comparison of costs; raises SRError where a method has a cost twice.

    costs: a row per method and scale, of `srlib.scoring.costs`. tests: comparisons of the claim, any of which can contradict it.
    """
    sides = []
    for method in (claim.left, comparison.right):
        rows = costs[(costs["method"] == method) & (costs["scale"] == comparison.scale) & costs[claim.metric].notna()]
        if len(rows) > 1:
            raise SRError(f"costs have {claim.metric} of {method} x{comparison.scale} {len(rows)} times; pass each cost once")
        if rows.empty:
            return Verdict(NOT_TESTED, detail=f"{comparison.name}: no {claim.metric} of {method}")
        sides.append(rows.iloc[0])
    if claim.metric in TIMES:
        return _judge_times(claim, comparison, *sides, tests)
    estimate = float(sides[0][claim.metric] / sides[1][claim.metric]) - 1
    word, low, high = decide(claim.sign, claim.margin, estimate, estimate, estimate, 0.0)
    return Verdict(word, estimate, low, high, detail=f"{_summary(claim, comparison, estimate)}, counted")


def _judge_times(claim: Claim, comparison: Comparison, left: pd.Series, right: pd.Series, tests: int) -> Verdict:
    times = [np.array(rounds(side, claim.metric)) for side in (left, right)]
    problem = ""
    if not all(map(len, times)):
        problem, estimate = "measured once, not in rounds", float(left[claim.metric] / right[claim.metric]) - 1
    elif left["session"] != right["session"]:
        problem, estimate = "not measured in the same rounds", float(times[0].mean() / times[1].mean()) - 1
    if problem:
        return Verdict(UNDECIDED, estimate, detail=f"{_summary(claim, comparison, estimate)}, {problem}")
    estimate = float(times[0].sum() / times[1].sum()) - 1

    def decided(confidence: float) -> tuple[str, float, float]:
        half_width = ratio_half_width(*times, confidence)
        noise = TIMING_NOISE * (1 + estimate) * _widening(confidence)
        return decide(claim.sign, claim.margin, estimate, estimate - half_width, estimate + half_width, noise)

    word, low, high = decided(CONFIDENCE)
    detail, load = f"{_summary(claim, comparison, estimate, low, high)}, {len(times[0])} rounds", max(left["busy"], right["busy"])
    if word == CONTRADICTED and decided(_shared(tests))[0] != CONTRADICTED:
        word, detail = UNDECIDED, f"{detail}{ALONE.format(tests)}"
    if load > MAX_BACKGROUND_LOAD:
        word, detail = UNDECIDED, f"{detail}, while other processes used {load:.2f} cores"
    elif len(times[0]) < MIN_ROUNDS:
        word, detail = UNDECIDED, f"{detail}, fewer than {MIN_ROUNDS}"
    return Verdict(word, estimate, low, high, detail=detail)


def _score_table(rows: pd.DataFrame, metric: str, name: str) -> pd.DataFrame:
    """Return images x seeds, sorted, empty without scores; raises SRError for contradictory, missing or infinite scores.

    rows: the scores of one method on one set and scale, which `name` says.
    """
    if rows[metric].isna().all():
        return pd.DataFrame()
    keys = ["seed", "image"]
    rows = rows.assign(seed=rows["seed"].fillna(0), image=rows["image"].astype(str))
    rows = rows.drop_duplicates([*keys, metric])  # the same result from two notebooks is one result
    rows = rows[rows[metric].notna() | ~rows.duplicated(keys, keep=False)]  # one of them may lack the metric
    if rows.duplicated(keys).any():
        first = rows[rows.duplicated(keys)].iloc[0]
        raise SRError(
            f"rows have two values of {metric} for image {first['image']!r} of {name}, seed {first['seed']}; "
            "pass the results of one protocol and one budget"
        )
    table = rows.pivot(index="image", columns="seed", values=metric).sort_index().sort_index(axis=1).astype(float)
    incomplete, infinite = table.isna().any(axis=1), np.isinf(table).any(axis=1)
    if incomplete.any():
        raise SRError(
            f"image {incomplete.idxmax()!r} of {name} has no {metric} in some seed; evaluate every seed on the same images"
        )
    if infinite.any():
        raise SRError(f"image {infinite.idxmax()!r} of {name} has an infinite {metric}; leave that image out on both sides")
    return table


def _check_same_images(tables: dict[str, pd.DataFrame], comparison: Comparison) -> None:
    for complete, other in (tables, reversed(tables)):
        missing = tables[complete].index.difference(tables[other].index)
        if len(missing):
            raise SRError(
                f"{other} on {comparison.name} lacks {len(missing)} images that {complete} has, first {missing[0]!r}; "
                "evaluate both on the same images"
            )


def _more_samples(
    slack: float, image_half_width: float, seed_half_width: float, n_images: int, n_seeds: int, confidence: float, known: bool
) -> list[str]:
    """Return how many pictures and seeds would shrink the interval to the distance from the margin.

    The squared half-widths over pictures and seeds may sum to slack**2: each to what the other leaves, but at least its half.
    n_seeds: 0 where nothing is trained. known: the half-width over seeds is the known noise of one, not measured over these.
    """
    needs = []
    image_room, seed_room = (math.sqrt(max(slack**2 - w**2, slack**2 / 2)) for w in (seed_half_width, image_half_width))
    if math.isinf(image_half_width):
        needs.append(f"at least {MIN_IMAGES} images")
    elif image_half_width > image_room or n_images < MIN_IMAGES:
        deviation = image_half_width * math.sqrt(n_images) / t_quantile(n_images - 1, confidence)
        needs.append(f"{required_samples(deviation, image_room, MIN_IMAGES, confidence)} images")
    if n_seeds and seed_half_width > seed_room:
        n, freedom = (1, math.inf) if known else (n_seeds, n_seeds - 1)
        deviation = seed_half_width * math.sqrt(n) / t_quantile(freedom, confidence)
        needs.append(f"{required_samples(deviation, seed_room, MIN_SEEDS, confidence)} seeds on each side")
    return needs


def _seeds_text(counts: list[int]) -> str:
    """Return the numbers of seeds of the trained sides as text."""
    if len(set(counts)) == 2:
        return f"{counts[0]} seed{'s' * (counts[0] > 1)} against {counts[1]}"
    n = min(counts, default=0)
    return {0: "nothing trained", 1: "one seed"}.get(n, f"{n} seeds")


def judge_accuracy(
    claim: Claim,
    comparison: Comparison,
    rows: pd.DataFrame,
    trainings: pd.DataFrame,
    published: pd.DataFrame,
    *,
    judged: bool,
    tests: int = 1,
) -> Verdict:
    """Return the verdict on one comparison of scores; arguments as in `verdicts.evaluate_comparisons`, judged as its `accuracy`.

    published: the paper's, of `papers.published`. tests: as in `judge_cost`.
    """
    paper = papers.get(claim.paper)
    here = rows[(rows["dataset"] == comparison.dataset) & (rows["scale"] == comparison.scale)]
    scores = {method: here[here["method"] == method] for method in (claim.left, comparison.right)}
    tables = {name: _score_table(own, claim.metric, f"{name} on {comparison.name}") for name, own in scores.items()}
    for method, table in tables.items():
        if table.empty:
            return Verdict(NOT_TESTED, detail=f"{comparison.name}: no {claim.metric} of {method}")
    _check_same_images(tables, comparison)
    if all(map(paper.trains, tables)):
        shared = set.intersection(*(set(table.columns) for table in tables.values()))
        tables = {method: table[sorted(shared)] if shared else table for method, table in tables.items()}
    left, right = tables.values()
    pictures = whole_images(left.index).to_numpy()
    values, n_images = (left.to_numpy(), right.to_numpy()), len(set(pictures))
    seeds = [table.shape[1] for method, table in tables.items() if paper.trains(method)]
    n_seeds, known_noise = min(seeds, default=0), 0.0
    if 0 < n_seeds < MIN_SEEDS:
        trained_on = trainings.loc[trainings["method"].isin(tables) & (trainings["scale"] == comparison.scale), "data"]
        known_noise = paper.seed_noise(claim.metric, set(trained_on), comparison.dataset, tables)

    def intervals(confidence: float) -> tuple[float, float, float, float]:
        noise = seed_half_width(*values, same_seeds=left.columns.equals(right.columns), confidence=confidence)
        return *image_interval(*values, pictures, confidence), max(noise, known_noise * _widening(confidence))

    confidence = CONFIDENCE
    estimate, *over_images, noise = intervals(confidence)
    word, low, high = decide(claim.sign, claim.margin, estimate, *over_images, noise)
    alone = word == CONTRADICTED and tests > 1
    if alone:
        confidence = _shared(tests)
        estimate, *over_images, noise = intervals(confidence)
        word, *_ = decide(claim.sign, claim.margin, estimate, *over_images, noise)
        alone = word != CONTRADICTED
    without_noise, *_ = decide(claim.sign, claim.margin, estimate, *over_images, 0.0)
    patches = f"{len(left)} patches of " if n_images < len(left) else ""
    detail = f"{_summary(claim, comparison, estimate, low, high)}, {patches}{n_images} images, {_seeds_text(seeds)}"

    def verdict(word: str, detail: str) -> Verdict:
        return Verdict(word, estimate, low, high, n_images, n_seeds, detail)

    if not judged:
        return verdict(UNJUDGED, f"{detail}; this profile shows that the machinery works")
    sides = [
        Side.of(paper, method, comparison, table.columns, claim.metric, scores[method], trainings, published)
        for method, table in tables.items()
    ]
    trained = [side for side in sides if side.trainings is not None]
    if untrained := "; ".join(filter(None, (side.untrained_mechanism for side in trained))):
        return verdict(UNJUDGED, f"{detail}; the mechanism did not train: {untrained}")
    needs = [equal_budgets(claim, estimate, sides), stable_order(claim, estimate, trained, comparison.dataset)]
    if n_images < MIN_IMAGES:
        detail += ", too few images"
    elif alone:
        detail += ALONE.format(tests)
    elif word != without_noise:
        detail += f", undecided for the noise of {format_difference(claim.metric, noise).lstrip('+')}"
    if n_images < MIN_IMAGES or word == UNDECIDED:
        known = 0 < noise <= known_noise * _widening(confidence)
        slack, over = abs(claim.slack(estimate)), over_images[1] - estimate
        needs = _more_samples(slack, over, noise, n_images, n_seeds, confidence, known) + needs
    if needs := [need for need in needs if need]:
        return verdict(UNDECIDED, f"{detail}; it would take {' and '.join(needs)}")
    return verdict(word, detail)
