"""Verdicts on the papers' claims: `evaluate_claims`; `evaluate_comparisons` and `combine` for one claim.

Estimate. For accuracy, d = mean(left) - mean(right) over the same images; for costs, left / right - 1 (`claims`). Each claim is
of one kind (`claims.KINDS`), by its metric or because no paper makes it; kinds are counted apart.

Interval. 95 % CI: a t-interval over images plus seed variance, the half-widths added as squares; a counted cost has none.
- Images: t-interval of the paired differences over pictures; patches of one picture are one cluster, weighted by their number.
- Seeds: of trained sides, only those that both have count, if they share any: a seed fixes the order of patches, whatever is
  trained on them. t-interval of their paired differences, else Welch's. Where a trained side has fewer than `MIN_SEEDS`, at
  least the known noise of such trainings (`Paper.seed_noise`).
- Times: the ratio of the sums over alternating rounds (`costs`), with the t-interval of a ratio of paired means (delta method)
  and `TIMING_NOISE`, the part by which the same ratio differs from process to process. Not decidable where the two sides were
  not measured in the same rounds, in fewer than `MIN_ROUNDS`, or while other processes used more than `MAX_BACKGROUND_LOAD`
  cores.

Relations, with the margin m and d as above:
- ">"       holds if the whole interval lies above m, contradicted if none of it does. A negative m means "not worse by |m|".
- "<"       the same for -d.
- "approx"  holds if the whole interval lies within -m..m, contradicted if none of it does.
- "best"    left beats every rival in `right` by m: ">" for psnr and ssim, "<" for costs.

Conditions (`fairness`). A claim of accuracy holds or is contradicted only if
- the mechanisms of both sides trained (`srlib.scoring.vitals`); else it is not judged,
- there are at least `MIN_IMAGES` pictures,
- both sides had the same budget: data, steps (with those of the trainings that they started from), HR pixels of a step. A side
  with official weights had its paper's: the other one must then be at the level of its paper, `LEVEL_TOLERANCE` at most behind
  its published number, and the difference on the same side of the margin if that distance were closed. So a rival with official
  weights is compared by these where left is at that level or started from them, else, where the rival was trained here too, by
  our training of it;
- a trained side is at the level of its paper, or the order of the two sides was the same at all validations in the last third
  of training, and that of the scores where these are of the validation set. Where only whole networks are validated and a side
  is a component of one, or is not trained, or where the two have no steps in common, the validations of each training must have
  varied by less than the difference exceeds the margin; a trained side that is ahead of an untrained one needs neither.
Otherwise it is not decidable at this budget, and `detail` says what it would take. Profiles that only show that the machinery
works (`Profile.judges_accuracy`) have no verdict on accuracy.

Over several sets, scales and rivals, in this order: not tested if none is tested; contradicted if any is contradicted, of n that
are tested by an interval of 1 - 0.05 / n, as one of many would soon be contradicted by chance; not decidable if any is not; not
judged if any is not; holds; "holds where tested" if some are not tested.
"""

from dataclasses import replace
from functools import partial
from itertools import product

import pandas as pd

from srlib import papers
from srlib.core.errors import SRError
from srlib.papers.base import OFFICIAL
from srlib.reproduce.budgets import TRAINING_COLUMNS
from srlib.reproduce.claims import UNITS, Claim, Comparison, load_claims
from srlib.reproduce.fairness import LEVEL_TOLERANCE
from srlib.reproduce.judging import CONTRADICTED, HOLDS, NOT_TESTED, UNDECIDED, UNJUDGED, Verdict, judge_accuracy, judge_cost
from srlib.scoring.costs import COSTS

HOLDS_WHERE_TESTED = "holds where tested"  # only of a whole claim
VERDICTS = (HOLDS, HOLDS_WHERE_TESTED, CONTRADICTED, UNDECIDED, UNJUDGED, NOT_TESTED)
SCORE_COLUMNS = ("method", "dataset", "scale", "seed", "image")


def _comparisons(claim: Claim, rows: pd.DataFrame, from_costs: bool) -> list[Comparison]:
    """Return the comparisons on the sets and scales that the claim names, or on those where left and a rival are evaluated."""
    evaluated: dict[str, set] = {}
    for method, where in rows.assign(dataset="" if from_costs else rows["dataset"]).groupby("method"):
        evaluated[method] = {(dataset, int(scale)) for dataset, scale in zip(where["dataset"], where["scale"], strict=True)}
    rivals = [name + end for name in claim.right for end in ("", OFFICIAL)]
    shared = evaluated.get(claim.left, set()) & set().union(*(evaluated.get(name, set()) for name in rivals))
    excluded = {name.removeprefix("!") for name in claim.datasets if name.startswith("!")}
    named = ("",) if from_costs else tuple(name for name in claim.datasets if not name.startswith("!"))
    shared = {
        (dataset, scale)
        for dataset, scale in shared
        if (dataset in named if named else dataset not in excluded) and (not claim.scales or scale in claim.scales)
    }
    datasets = named or sorted({dataset for dataset, _ in shared})
    scales = claim.scales or sorted({scale for _, scale in shared})
    cases = product(datasets, scales) if named or claim.scales else sorted(shared)
    return [Comparison(right, dataset, scale) for dataset, scale in cases for right in claim.right]


def _choose_rival(
    claim: Claim, comparison: Comparison, rows: pd.DataFrame, trainings: pd.DataFrame, published: pd.DataFrame
) -> Comparison:
    """Return the comparison with the rival's official weights where left started from them or is at its paper's level, or the
    rival has no others."""
    here = rows[(rows["dataset"] == comparison.dataset) & (rows["scale"] == comparison.scale)]
    official = comparison.right + OFFICIAL
    if official not in set(here["method"]):
        return comparison
    printed = published[(published["method"] == claim.left) & (published["metric"] == "psnr")]
    printed = printed[(printed["dataset"] == comparison.dataset) & (printed["scale"] == comparison.scale)]
    behind = printed["value"].mean() - here.loc[here["method"] == claim.left, "psnr"].mean()
    own = trainings[(trainings["method"] == claim.left) & (trainings["scale"] == comparison.scale)]
    started = any(official in names.split(";") for names in own["official"])
    alone = comparison.right not in set(here["method"])
    return replace(comparison, right=official) if started or behind <= LEVEL_TOLERANCE or alone else comparison


def _require(name: str, table: pd.DataFrame, columns: tuple[str, ...], hint: str) -> None:
    if missing := [column for column in columns if column not in table.columns]:
        raise SRError(f"{name} lack the column {missing[0]!r}; {hint}")


def evaluate_comparisons(
    claim: Claim,
    rows: pd.DataFrame,
    costs: pd.DataFrame | None = None,
    trainings: pd.DataFrame | None = None,
    *,
    accuracy: bool = True,
) -> dict[Comparison, Verdict]:
    """Return a verdict per rival, set and scale.

    rows: a row per image with `method`, `dataset`, `scale`, `seed`, `image` and the metric; with a column `paper` only the rows
    of the claim's paper count. costs: a row per `method` and `scale`, of `costs`. trainings: of the networks in `rows`, from
    `budgets.trainings`. accuracy: whether accuracy is judged (`Profile.judges_accuracy`).
    Raises SRError for missing columns, images that the two sides do not share, and results that occur twice.
    """
    from_costs = claim.metric in COSTS
    table = costs if from_costs else rows
    if table is None or table.empty:
        return {}
    name, required = ("costs", ("method", "scale")) if from_costs else ("rows", SCORE_COLUMNS)
    _require(name, table, required, f"they have {', '.join(table.columns)}")
    if claim.metric not in table.columns:
        return {}
    if "paper" in table.columns:
        table = table[table["paper"] == claim.paper]
    comparisons = _comparisons(claim, table, from_costs)
    if from_costs:
        judge = partial(judge_cost, claim, costs=table)
    else:
        trainings = pd.DataFrame(columns=list(TRAINING_COLUMNS)) if trainings is None else trainings
        _require("trainings", trainings, TRAINING_COLUMNS, "make them by budgets.trainings")
        published = papers.published(claim.paper)
        comparisons = [_choose_rival(claim, comparison, table, trainings, published) for comparison in comparisons]
        judge = partial(judge_accuracy, claim, rows=table, trainings=trainings, published=published, judged=accuracy)
    found = {comparison: judge(comparison=comparison) for comparison in comparisons}
    tests = sum(verdict.verdict != NOT_TESTED for verdict in found.values())
    contradicted = [comparison for comparison, verdict in found.items() if verdict.verdict == CONTRADICTED]
    return found | {comparison: judge(comparison=comparison, tests=tests) for comparison in contradicted}


def combine(claim: Claim, comparisons: dict[Comparison, Verdict]) -> Verdict:
    """Return the verdict of the whole claim, with the numbers of the comparison that supports it least."""
    tested = [v for v in comparisons.values() if v.verdict != NOT_TESTED]
    if not tested:
        rivals = " or ".join(claim.right)
        return Verdict(NOT_TESTED, detail=f"no {claim.metric} of both {claim.left} and {rivals} where the claim asks for it")
    words = [v.verdict for v in tested]
    complete = len(tested) == len(comparisons)
    decisive = next((word for word in (CONTRADICTED, UNDECIDED, UNJUDGED) if word in words), HOLDS)
    weakest = min((v for v in tested if v.verdict == decisive), key=lambda v: claim.slack(v.estimate))
    detail = weakest.detail
    if len(comparisons) > 1:
        counts = ", ".join(f"{words.count(word)} {word}" for word in VERDICTS if word in words)
        part = f"{len(tested)} tested" if complete else f"{len(tested)} of {len(comparisons)} tested"
        detail = f"{part}: {counts}; least: {detail}"
    word = HOLDS_WHERE_TESTED if decisive == HOLDS and not complete else decisive
    n_seeds = min((v.n_seeds for v in tested if v.n_seeds), default=0)
    return replace(weakest, verdict=word, n_seeds=n_seeds, detail=detail)


def evaluate_claims(
    paper: str,
    rows: pd.DataFrame,
    costs: pd.DataFrame | None = None,
    trainings: pd.DataFrame | None = None,
    *,
    accuracy: bool = True,
) -> pd.DataFrame:
    """Return a row per claim of the paper with its verdict: the claim's columns, its `kind`, the Verdict's and `unit`.

    Arguments as in `evaluate_comparisons`.
    """
    lines = []
    for claim in load_claims(paper):
        verdict = combine(claim, evaluate_comparisons(claim, rows, costs, trainings, accuracy=accuracy))
        about = {name: getattr(claim, name) for name in ("id", "kind", "source", "section", "text", "left", "relation")}
        about |= {"right": ";".join(claim.right), "metric": claim.metric, "margin": claim.margin}
        lines.append(about | vars(verdict) | {"unit": UNITS[claim.metric]})
    return pd.DataFrame(lines)
