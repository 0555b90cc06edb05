"""The papers' claims as tests: `load_claims`, `verdict`, `evaluate_claims`, `printed`.

A claim compares two methods, `left relation right`, by one metric on some sets and scales (`claims.csv` in the paper's folder).
By its metric it is of one of three kinds (`KINDS`), which are counted apart.

What is compared. For accuracy, psnr (dB) and ssim (any of `SSIMS`): mean(left) - mean(right) over the same images. For costs:
left / right - 1, since seconds mean nothing on another machine; their margins are relative, 0.5 is half again.

Interval. 95 %, of two parts that are added as squares; a counted cost has neither.
- Images: Student's t over pictures, of the paired differences; patches of one picture are one observation, weighted by their
  number.
- Seeds: Student's t, of paired differences where both sides have the same seeds (one seed is one order of patches, whatever is
  trained on them). Where a trained side has fewer than `MIN_SEEDS`, at least the noise known of such trainings (`NOISE`, or
  `Paper.noise`).
- Times: the ratio of the sums over alternating rounds (`costs`), with Student's interval of a ratio of paired means, and
  `REPEATED`, by which the same measurement differs from process to process. Not decidable where the two sides were not measured
  in the same rounds, in fewer than `MIN_ROUNDS`, or while other processes used more than `BUSY` cores.

Relations, with the margin m and d as above:
- ">"       holds if the whole interval lies above m, contradicted if none of it does. A negative m means "not worse by |m|".
- "<"       the same for -d.
- "approx"  holds if the whole interval lies within -m..m, contradicted if none of it does.
- "best"    left beats every rival in `right` by m: ">" for psnr and ssim, "<" for costs.

Conditions. A claim of accuracy holds or is contradicted only if
- the mechanisms of both sides trained (`srlib.scoring.vitals`); else it is not judged,
- there are at least `MIN_IMAGES` pictures,
- both sides had the same budget: data, steps (with those of the trainings that they started from), batch and patch. A side with
  official weights had its paper's: the other one must then be at the level of its paper, `LEVEL_GAP` at most behind its number;
- a trained side is at the level of its paper, or the order of the two sides was the same at all validations in the last third of
  training. Where only whole networks are validated and a side is a part of one, or is not trained, the validations of each
  training must have moved by less than the difference exceeds the margin; a trained side that is ahead of an untrained one
  needs neither.
Otherwise it is not decidable at this budget, and `detail` says what it would take. Profiles that only show that the machinery
works (`Profile.judges_accuracy`) have no verdict on accuracy.

Over several sets, scales and rivals, in this order: not tested if none is tested; contradicted if any is contradicted; not
decidable if any is not; not judged if any is not; holds; "holds where tested" if some are not tested.
"""

import math
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from srlib import papers
from srlib.core.errors import SRError, unknown
from srlib.nn import models
from srlib.papers import Paper
from srlib.reproduce.curves import curve, steps_needed
from srlib.reproduce.store import TRAININGS
from srlib.scoring.costs import COSTS, TIMES, rounds

RELATIONS = (">", "<", "approx", "best")
UNDECIDED, UNJUDGED = "not decidable at this budget", "not judged"
VERDICTS = ("holds", "holds where tested", "contradicted", UNDECIDED, UNJUDGED, "not tested")
SSIMS = ("ssim", "ssim_uniform7")  # by the window of `protocols.Protocol`
UNITS = {"psnr": "dB", **dict.fromkeys(SSIMS, ""), **dict.fromkeys(COSTS, "ratio")}
# How far two trainings may lie apart that differ in nothing but the seed: 0.01 to 0.02 dB in these papers with their own budgets,
# and more with small ones: two of BTSRN's 6+4 and of its 7+4 lie 0.04 and 0.07 dB apart on Set14 after 1,200 steps.
NOISE = {"psnr": 0.1, **dict.fromkeys(SSIMS, 0.001)}
KINDS = ("accuracy", "cost measured", "cost counted")
REPEATED = 0.05  # of a ratio of times, from process to process
MIN_ROUNDS = 5
BUSY = 0.25  # cores
MIN_IMAGES = 5
MIN_SEEDS = 3  # of each trained side, where its noise could turn the verdict
LEVEL_GAP = 0.3  # dB below the printed number, and still at the level of the paper
MOST = 10_000  # pictures or seeds that are worth naming
CONFIDENCE = 0.95
COLUMNS = ("method", "dataset", "scale", "seed", "image")


@dataclass(frozen=True)
class Claim:
    """One row of claims.csv. right: rivals, several only for "best". datasets, scales: empty for all that are evaluated; a set
    that begins with "!" is left out of those.

    Raises SRError for an unknown paper, relation, metric or method, and for a margin that the relation cannot have.
    """

    id: str
    paper: str
    section: str
    source: str
    text: str
    left: str
    relation: str
    right: tuple[str, ...]
    metric: str
    datasets: tuple[str, ...] = ()
    scales: tuple[int, ...] = ()
    margin: float = 0.0

    def __post_init__(self) -> None:
        what = f"of claim {self.id!r}:"
        if self.relation not in RELATIONS:
            raise unknown(f"relation {what}", self.relation, RELATIONS)
        if self.metric not in UNITS:
            raise unknown(f"metric {what}", self.metric, UNITS)
        paper = papers.get(self.paper)
        for name in (self.left, *self.right):
            if name not in paper.labels:
                raise unknown(f"method {what}", name, paper.labels)
        if self.left in self.right or not self.right:
            raise SRError(f"right {what} got {self.right!r}, expected methods other than left (={self.left!r})")
        if len(self.right) > 1 and self.relation != "best":
            raise SRError(f'right {what} got {len(self.right)} methods; only the relation "best" takes several')
        if not math.isfinite(self.margin) or (self.relation == "approx" and self.margin <= 0):
            raise SRError(f"margin {what} got {self.margin!r}, expected a number, for approx one above 0")

    @property
    def kind(self) -> str:
        """One of `KINDS`."""
        return KINDS[0] if self.metric not in COSTS else KINDS[1] if self.metric in TIMES else KINDS[2]

    @property
    def sign(self) -> int:
        """+1 where a large difference speaks for the claim, -1 where a small one does."""
        return -1 if self.relation == "<" or (self.relation == "best" and self.metric in COSTS) else 1


@dataclass(frozen=True)
class Verdict:
    """verdict: one of `VERDICTS`; "holds where tested" only of a whole claim. estimate, low, high: d and its interval (nan
    where not tested). n_images: pictures. n_seeds: the fewest that a trained side has. detail: one line for readers."""

    verdict: str
    estimate: float
    low: float
    high: float
    n_images: int
    n_seeds: int
    detail: str


@dataclass(frozen=True)
class _About:
    """What a verdict on accuracy needs besides scores: `store.trainings`, `published`, whether the profile is judged."""

    trainings: pd.DataFrame
    published: pd.DataFrame
    judged: bool


@dataclass(frozen=True)
class Cell:
    """One comparison of a claim. dataset: "" for a cost that belongs to the network, not to images."""

    right: str
    dataset: str
    scale: int

    @property
    def name(self) -> str:
        return f"{self.dataset} x{self.scale}".strip()


def _split(text: str) -> tuple[str, ...]:
    return () if text == "*" else tuple(part.strip() for part in text.split(";"))


def load_claims(paper: str | None = None) -> list[Claim]:
    """Return the claims of one paper or of all, in the order of the file; raises SRError for a row that makes no sense."""
    claims = [claim for name in ([paper] if paper else papers.names()) for claim in _read(papers.folder(name) / "claims.csv")]
    ids = [claim.id for claim in claims]
    if twice := sorted({i for i in ids if ids.count(i) > 1}):
        raise SRError(f"claims.csv has the id {twice[0]!r} twice; give each claim its own")
    return claims


def _read(file: Path) -> list[Claim]:
    claims = []
    for row in pd.read_csv(file, dtype=str, keep_default_na=False).to_dict("records"):
        try:
            row["margin"], scales = float(row["margin"]), tuple(int(s) for s in _split(row["scales"]))
        except ValueError as error:
            raise SRError(f"claim {row['id']!r} in {file.name}: {error}; scales are 2;3;4 or *, margin is a number") from None
        claims.append(Claim(**{**row, "right": _split(row["right"]), "datasets": _split(row["datasets"]), "scales": scales}))
    return claims


def _scores(rows: pd.DataFrame, method: str, cell: Cell, metric: str) -> pd.DataFrame | None:
    """Return images x seeds of a method, sorted, or None where it has none; raises SRError where images do not match."""
    mask = (rows["method"] == method) & (rows["dataset"] == cell.dataset) & (rows["scale"] == cell.scale)
    mine = rows[mask]
    if mine.empty or mine[metric].isna().all():
        return None
    where = f"{method} on {cell.name}"
    mine = mine.assign(seed=mine["seed"].fillna(0), image=mine["image"].astype(str))
    mine = mine.drop_duplicates(["seed", "image", metric])  # the same result from two notebooks is one result
    mine = mine[mine[metric].notna() | ~mine.duplicated(["seed", "image"], keep=False)]  # one of them may lack the metric
    if mine.duplicated(["seed", "image"]).any():
        first = mine[mine.duplicated(["seed", "image"])].iloc[0]
        raise SRError(
            f"rows have two values of {metric} for image {first['image']!r} of {where}, seed {first['seed']}; "
            "pass the results of one protocol and one budget"
        )
    table = mine.pivot(index="image", columns="seed", values=metric).sort_index().sort_index(axis=1).astype(float)
    if table.isna().any(axis=None):
        image = table.index[table.isna().any(axis=1)][0]
        raise SRError(f"image {image!r} of {where} has no {metric} in some seed; evaluate every seed on the same images")
    if not np.isfinite(table).all(axis=None):
        image = table.index[~np.isfinite(table).all(axis=1)][0]
        raise SRError(f"image {image!r} of {where} has an infinite {metric}; leave that image out on both sides")
    return table


def _same_images(left: pd.DataFrame, right: pd.DataFrame, claim: Claim, cell: Cell) -> None:
    only_left, only_right = left.index.difference(right.index), right.index.difference(left.index)
    for names, there, missing in ((only_left, claim.left, cell.right), (only_right, cell.right, claim.left)):
        if len(names):
            raise SRError(
                f"{missing} on {cell.name} lacks {len(names)} images that {there} has, first {names[0]!r}; "
                "evaluate both on the same images"
            )


def _quantile(freedom: float) -> float:
    """Return how many standard errors an interval reaches to each side, by the degrees of freedom of the error."""
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom))


def over_images(left: np.ndarray, right: np.ndarray, pictures: np.ndarray | None = None) -> tuple[float, float, float]:
    """Return the difference of means and its t-interval over pictures, infinite for one picture.

    left, right: (images, seeds), row i of both the same image; the numbers of seeds may differ. pictures: (images,) the picture
    that an image is a patch of, where it is one.
    """
    names = np.arange(len(left)) if pictures is None else pictures
    place = np.unique(names, return_inverse=True)[1]
    patches = np.bincount(place)
    d = float(left.mean() - right.mean())
    if len(patches) == 1:
        return d, -math.inf, math.inf
    deviations = np.bincount(place, left.mean(axis=1) - right.mean(axis=1) - d) / patches.mean()
    half = _quantile(len(patches) - 1) * float(deviations.std(ddof=1)) / math.sqrt(len(patches))
    return d, d - half, d + half


def over_seeds(left: np.ndarray, right: np.ndarray, same_seeds: bool = False) -> float:
    """Return half the width of the interval of the difference of means as far as seeds go, 0 for one seed on each side.

    left, right: (images, seeds). same_seeds: column j of both is the same seed.
    """
    sides = [side.mean(axis=0) for side in (left, right)]
    sides = [sides[0] - sides[1]] if same_seeds else sides
    parts = [(side.var(ddof=1) / len(side), len(side) - 1) for side in sides if len(side) > 1]
    error = sum(square for square, _ in parts)
    if error == 0:
        return 0.0
    freedom = error**2 / sum(square**2 / n for square, n in parts)  # Welch and Satterthwaite
    return _quantile(freedom) * math.sqrt(error)


def _decide(claim: Claim, estimate: float, low: float, high: float, noise: float) -> tuple[str, float, float]:
    """Return the word, and the interval with the noise in it."""
    low, high = estimate - math.hypot(estimate - low, noise), estimate + math.hypot(high - estimate, noise)
    if claim.relation == "approx":
        holds = -claim.margin <= low and high <= claim.margin
        contradicted = low > claim.margin or high < -claim.margin
    else:
        least, most = sorted((claim.sign * low, claim.sign * high))
        holds, contradicted = least > claim.margin, most <= claim.margin
    return "holds" if holds else "contradicted" if contradicted else UNDECIDED, low, high


def published(paper: str, table: str | None = None) -> pd.DataFrame:
    """Return a paper's printed numbers, or those of one of its tables ("Table 4"); raises SRError for an unknown name."""
    file = papers.folder(paper) / "published.csv"
    if not file.exists():
        raise SRError(f"no published numbers of {paper}: {file} is missing")
    rows = pd.read_csv(file)
    if table is None:
        return rows
    if table not in set(rows["table"]):
        raise unknown(f"table of {paper}:", table, rows["table"].unique())
    return rows[rows["table"] == table].reset_index(drop=True)


def printed(claim: Claim, published: pd.DataFrame) -> dict[Cell, float]:
    """Return what the paper's own table says: d per rival, set and scale, of the table that is the claim's source; empty where
    it prints no such numbers.

    published: rows of `published`. A claim about one set of the table is of that set; else all sets of the table count,
    as the claim may name stand-ins for them, or only those that can be had.
    """
    rows = published[(published["table"] == claim.source) & (published["metric"] == claim.metric)]
    if claim.scales:
        rows = rows[rows["scale"].isin(claim.scales)]
    if len(claim.datasets) == 1 and claim.datasets[0] in {*rows["dataset"]}:
        rows = rows[rows["dataset"] == claim.datasets[0]]
    found = {}
    for right in claim.right:
        for (dataset, scale), some in rows.groupby(["dataset", "scale"], sort=False):
            values = some.set_index("method")["value"]
            if claim.left in values and right in values:
                left, rival = float(values[claim.left]), float(values[right])
                d = left / rival - 1 if claim.metric in COSTS else left - rival
                found[Cell(right, str(dataset), int(scale))] = round(d, 6)  # 37.78 - 37.53 is 0.25
    return found


def distance(claim: Claim, d: float) -> float:
    """Return how far a difference lies on the claim's side of its margin; 0 or less denies the claim (approx: less than 0)."""
    return claim.margin - abs(d) if claim.relation == "approx" else claim.sign * d - claim.margin


def denies(claim: Claim, d: float) -> bool:
    """Return whether a difference, taken for exact, contradicts the claim."""
    far = distance(claim, d)
    return far < 0 or (far == 0 and claim.relation != "approx")


def show(metric: str, value: float) -> str:
    """Return a difference as text: "+0.123 dB", "+0.0012" or "-12.3 %"."""
    if UNITS[metric] == "ratio":
        return f"{100 * value:+.1f} %"
    return f"{value:+.3f} dB" if metric == "psnr" else f"{value:+.4f}"


def _nothing(detail: str) -> Verdict:
    return Verdict("not tested", math.nan, math.nan, math.nan, 0, 0, detail)


def _sides(claim: Claim, cell: Cell) -> str:
    labels = papers.get(claim.paper).labels
    return f"{cell.name}: {labels[claim.left]} against {labels[cell.right]}"


def _from_costs(claim: Claim, cell: Cell, costs: pd.DataFrame) -> Verdict:
    sides = []
    for method in (claim.left, cell.right):
        found = costs[(costs["method"] == method) & (costs["scale"] == cell.scale) & costs[claim.metric].notna()]
        if len(found) > 1:
            raise SRError(f"costs have {claim.metric} of {method} x{cell.scale} {len(found)} times; pass each cost once")
        if found.empty:
            return _nothing(f"{cell.name}: no {claim.metric} of {method}")
        sides.append(found.iloc[0])
    if claim.metric in TIMES:
        return _timed(claim, cell, *sides)
    d = float(sides[0][claim.metric] / sides[1][claim.metric]) - 1
    word, low, high = _decide(claim, d, d, d, 0.0)
    return Verdict(word, d, low, high, 0, 0, f"{_sides(claim, cell)} {show(claim.metric, d)}, counted")


def _timed(claim: Claim, cell: Cell, left: pd.Series, right: pd.Series) -> Verdict:
    times = [np.array(rounds(side, claim.metric)) for side in (left, right)]
    if 0 in map(len, times):
        d = float(left[claim.metric] / right[claim.metric]) - 1
        detail = f"{_sides(claim, cell)} {show(claim.metric, d)}, measured once, not in rounds"
        return Verdict(UNDECIDED, d, math.nan, math.nan, 0, 0, detail)
    paired, busy = left["session"] == right["session"], max(left["busy"], right["busy"])
    d, error = ratio(*times) if paired else (times[0].mean() / times[1].mean() - 1, math.nan)
    word, low, high = _decide(claim, d, d - error, d + error, REPEATED)
    detail = f"{_sides(claim, cell)} {show(claim.metric, d)} [{show(claim.metric, low)}, {show(claim.metric, high)}]"
    detail += f", {len(times[0])} rounds"
    if not paired:
        word, detail = UNDECIDED, f"{_sides(claim, cell)} {show(claim.metric, d)}, not measured in the same rounds"
    elif busy > BUSY:
        word, detail = UNDECIDED, f"{detail}, while other processes used {busy:.2f} cores"
    elif len(times[0]) < MIN_ROUNDS:
        word, detail = UNDECIDED, f"{detail}, fewer than {MIN_ROUNDS}"
    return Verdict(word, d, low, high, 0, 0, detail)


def ratio(left: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """Return sum(left) / sum(right) - 1 of paired rounds, and half the width of its interval (the delta method, Student's t)."""
    n, quotient = len(left), float(left.sum() / right.sum())
    if n == 1:
        return quotient - 1, math.inf
    error = float((left - quotient * right).std(ddof=1) / right.mean()) / math.sqrt(n)
    return quotient - 1, _quantile(n - 1) * error


@dataclass(frozen=True)
class _Side:
    """One side of a comparison of accuracy. part: whether it is a part of what its training made, as the complex branch alone.
    trainings: of its seeds; None for what no gradient descent made. gap: dB behind the printed number, nan where none is."""

    method: str
    label: str
    part: bool
    trainings: pd.DataFrame | None
    n_seeds: int
    gap: float

    @property
    def official(self) -> bool:
        return self.trainings is not None and bool(self.trainings["official"].any())

    @property
    def at_level(self) -> bool:
        return self.gap <= LEVEL_GAP

    @property
    def budget(self) -> str:
        """In words; the same for sides of equal budgets."""
        each = [f"{row.steps:,} steps of {row.batch} x {row.hr_patch} px of {row.data}" for row in self.trainings.itertuples()]
        return " or ".join(dict.fromkeys(each)) or "unknown"

    @property
    def validation(self) -> str:
        return "; ".join(self.trainings["validation"].unique())

    def curve(self, metric: str) -> pd.Series:
        """Return the mean validations of the seeds by step; empty where a seed has none."""
        found = [curve(history, metric) for history in self.trainings["history"]]
        joined = pd.concat(found, axis=1, join="inner").mean(axis=1) if found else pd.Series(dtype=float)
        return joined if len(found) == self.n_seeds else joined[:0]


def _side(paper: Paper, method: str, cell: Cell, scores: pd.DataFrame, rows: pd.DataFrame, about: _About) -> _Side:
    training, known = paper.part_of.get(method, method), None
    mine = rows[(rows["method"] == method) & (rows["dataset"] == cell.dataset) & (rows["scale"] == cell.scale)]
    fitted = training not in paper.parts and models.fitted(paper.method(training).model)
    if paper.trains(method) and not fitted:
        known = about.trainings
        known = known[(known["method"] == method) & (known["scale"] == cell.scale) & known["seed"].isin(scores.columns)]
    there = about.published
    there = there[(there["method"] == method) & (there["dataset"] == cell.dataset) & (there["scale"] == cell.scale)]
    gap = there.loc[there["metric"] == "psnr", "value"].mean() - (mine["psnr"].mean() if "psnr" in mine else math.nan)
    return _Side(method, paper.labels[method], training != method, known, scores.shape[1], float(gap))


def _needed(deviation: float, room: float, least: int) -> str:
    """Return how many observations of that standard deviation have a mean whose interval reaches no further than `room`."""
    n = np.arange(least, MOST + 1)
    enough = stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * deviation / np.sqrt(n) <= room
    return f"about {n[enough][0]:,}" if enough.any() else f"more than {MOST:,}"


def _more_data(distance: float, over_pictures: float, noise: float, n_images: int, n_seeds: int) -> list[str]:
    """Return how many pictures and seeds would bring the interval within the distance from the margin.

    over_pictures, noise: half the width of the interval over pictures, and that over seeds. Either may grow to what the other
    one leaves, or to its fair share. n_seeds: 0 where nothing is trained.
    """
    found = []
    share = distance**2 / 2
    room = math.sqrt(max(distance**2 - noise**2, share))
    if math.isinf(over_pictures):
        found.append(f"at least {MIN_IMAGES} pictures")
    elif over_pictures > room or n_images < MIN_IMAGES:
        deviation = over_pictures * math.sqrt(n_images) / _quantile(n_images - 1)
        found.append(f"{_needed(deviation, room, MIN_IMAGES)} pictures")
    room = math.sqrt(max(distance**2 - over_pictures**2, share))
    if n_seeds and noise > room:
        deviation = noise / _quantile(math.inf) if n_seeds == 1 else noise * math.sqrt(n_seeds) / _quantile(n_seeds - 1)
        found.append(f"{_needed(deviation, room, MIN_SEEDS)} seeds on each side")
    return found


def _equal_budgets(sides: list[_Side]) -> str:
    """Return what it would take to compare trained sides; "" where they can be."""
    if any(side.official for side in sides):
        behind = [side.label for side in sides if not side.official and not side.at_level]
        return f"{behind[0]} within {LEVEL_GAP} dB of the paper's number, like the official weights" if behind else ""
    if len(sides) < 2 or (sides[0].budget == sides[1].budget and " or " not in sides[0].budget + sides[1].budget):
        return "" if all(len(side.trainings) for side in sides) else f"a known budget of {sides[0].label}"
    return "equal budgets ({})".format(", ".join(f"{side.label}: {side.budget}" for side in sides))


def _stable_order(claim: Claim, d: float, sides: list[_Side]) -> str:
    """Return what it would take for longer training not to turn the order; "" where a side is at the paper's level, or that is
    shown by the validations in the last third.

    sides: the trained ones.
    """
    ahead = len(sides) == 1 and (d > 0) == (sides[0].method == claim.left)  # of what is not trained
    if not sides or ahead or any(side.at_level for side in sides):
        return ""
    metric = "psnr" if claim.metric == "psnr" else "ssim"
    curves = [side.curve(metric) for side in sides]
    without = [side.label for side, found in zip(sides, curves, strict=True) if found.empty]
    if without:
        return f"validations during training ({without[0]} has none)"
    late = [found[found.index >= found.index.max() * 2 / 3] for found in curves]
    if len(sides) == 2 and not any(side.part for side in sides):
        if sides[0].validation != sides[1].validation:
            return f"validations on one set ({', '.join(f'{side.label}: {side.validation}' for side in sides)})"
        gaps = (late[0] - late[1]).dropna()
        stable = len(gaps) > 1 and len({distance(claim, gap) > 0 for gap in gaps}) == 1
    else:
        stable = all(found.max() - found.min() < abs(distance(claim, d)) for found in late)
    longer = "; ".join(_longer(side, found, metric) for side, found in zip(sides, curves, strict=True))
    return "" if stable else f"longer training ({longer})"


def _longer(side: _Side, found: pd.Series, metric: str) -> str:
    """Return how many steps a side had, and how many would bring it to the level of its paper, where that can be told."""
    text = f"{side.label}: more than {int(found.index.max()):,} steps"
    if metric != "psnr" or math.isnan(side.gap):
        return text
    return f"{text}, to the paper's level {steps_needed(found, found.iloc[-1] + side.gap - LEVEL_GAP)}"


def _from_rows(claim: Claim, cell: Cell, rows: pd.DataFrame, about: _About) -> Verdict:
    sides = {method: _scores(rows, method, cell, claim.metric) for method in (claim.left, cell.right)}
    for method, side in sides.items():
        if side is None:
            return _nothing(f"{cell.name}: no {claim.metric} of {method}")
    left, right = sides.values()
    _same_images(left, right, claim, cell)
    pictures = left.index.str.partition("@").get_level_values(0).to_numpy()  # of a patch, "img_001@0,48"
    values = left.to_numpy(), right.to_numpy()
    d, low, high = over_images(*values, pictures)
    n_images = len(set(pictures))
    paper = papers.get(claim.paper)
    seeds = [side.shape[1] for method, side in sides.items() if paper.trains(method)]
    n_seeds = min(seeds, default=0)
    noise = over_seeds(*values, same_seeds=left.columns.equals(right.columns))
    if 0 < n_seeds < MIN_SEEDS:
        noise = max(noise, paper.noise.get(claim.metric, NOISE[claim.metric]))
    over_pictures = high - d
    without, *_ = _decide(claim, d, low, high, 0.0)
    word, low, high = _decide(claim, d, low, high, noise)
    told = {0: "nothing trained", 1: "one seed"}.get(n_seeds, f"{n_seeds} seeds")
    told = f"{seeds[0]} seed{'s' * (seeds[0] > 1)} against {seeds[1]}" if len(set(seeds)) == 2 else told
    detail = f"{_sides(claim, cell)} {show(claim.metric, d)}"
    patches = f"{len(left)} patches of " if n_images < len(left) else ""
    detail += f" [{show(claim.metric, low)}, {show(claim.metric, high)}], {patches}{n_images} images, {told}"
    if not about.judged:
        return Verdict(UNJUDGED, d, low, high, n_images, n_seeds, f"{detail}; this profile shows that the machinery works")
    both = [_side(paper, method, cell, side, rows, about) for method, side in sides.items()]
    trained = [side for side in both if side.trainings is not None]
    dead = {side.label: " / ".join(filter(None, side.trainings["dead"].unique())) for side in trained}
    dead = "; ".join(f"{label}: {reason}" for label, reason in dead.items() if reason)
    if dead:
        return Verdict(UNJUDGED, d, low, high, n_images, n_seeds, f"{detail}; the mechanism did not train: {dead}")
    needs = [_equal_budgets(trained), _stable_order(claim, d, trained)]
    if n_images < MIN_IMAGES:
        detail += ", too few images"
    elif word != without:
        detail += f", undecided for the noise of {show(claim.metric, noise).lstrip('+')}"
    if n_images < MIN_IMAGES or word == UNDECIDED:
        needs = _more_data(abs(distance(claim, d)), over_pictures, noise, n_images, n_seeds) + needs
    needs = [need for need in needs if need]
    if needs:
        word, detail = UNDECIDED, f"{detail}; it would take {' and '.join(needs)}"
    return Verdict(word, d, low, high, n_images, n_seeds, detail)


def _cells(claim: Claim, rows: pd.DataFrame, from_costs: bool) -> list[Cell]:
    """Return the comparisons: sets and scales that the claim names, or those where left and a rival are evaluated."""
    keys = [("", int(scale)) for scale in rows["scale"]] if from_costs else zip(rows["dataset"], rows["scale"], strict=True)
    where: dict[str, set] = {}
    for method, (dataset, scale) in zip(rows["method"], keys, strict=True):
        where.setdefault(method, set()).add((dataset, int(scale)))
    both = where.get(claim.left, set()) & set().union(*(where.get(name, set()) for name in claim.right))
    without = {d.removeprefix("!") for d in claim.datasets if d.startswith("!")}
    named = ("",) if from_costs else tuple(d for d in claim.datasets if not d.startswith("!"))
    both = {(d, s) for d, s in both if (d in named if named else d not in without) and (not claim.scales or s in claim.scales)}
    datasets, scales = named or sorted({d for d, _ in both}), claim.scales or sorted({s for _, s in both})
    pairs = sorted(both) if not (named or claim.scales) else product(datasets, scales)
    return [Cell(right, dataset, scale) for dataset, scale in pairs for right in claim.right]


def verdicts(
    claim: Claim,
    rows: pd.DataFrame,
    costs: pd.DataFrame | None = None,
    trainings: pd.DataFrame | None = None,
    *,
    accuracy: bool = True,
) -> dict[Cell, Verdict]:
    """Return a verdict per rival, set and scale.

    rows: a row per image with `method`, `dataset`, `scale`, `seed`, `image` and the metric; with a column `paper` only the rows
    of the claim's paper count. costs: a row per `method` and `scale`, of `costs`. trainings: of the networks in `rows`, from
    `store.trainings`. accuracy: whether it is judged (`Profile.judges_accuracy`).
    Raises SRError for missing columns, images that the two sides do not share, and results that occur twice.
    """
    from_costs = claim.metric in COSTS
    if from_costs and costs is None:
        return {}
    table, needed = (costs, ("method", "scale")) if from_costs else (rows, COLUMNS)
    if table.empty:
        return {}
    missing = [name for name in needed if name not in table.columns]
    if missing:
        raise SRError(f"{'costs' if from_costs else 'rows'} lack the column {missing[0]!r}; they have {', '.join(table.columns)}")
    if claim.metric not in table.columns:
        return {}
    if "paper" in table.columns:
        table = table[table["paper"] == claim.paper]
    cells = _cells(claim, table, from_costs)
    if from_costs:
        return {cell: _from_costs(claim, cell, table) for cell in cells}
    trainings = pd.DataFrame(columns=list(TRAININGS)) if trainings is None else trainings
    missing = [name for name in TRAININGS if name not in trainings.columns]
    if missing:
        raise SRError(f"trainings lack the column {missing[0]!r}; make them by store.trainings")
    about = _About(trainings, published(claim.paper), accuracy)
    return {cell: _from_rows(claim, cell, table, about) for cell in cells}


def combine(claim: Claim, cells: dict[Cell, Verdict]) -> Verdict:
    """Return the verdict of the whole claim, with the numbers of the comparison that speaks least for it."""
    tested = [v for v in cells.values() if v.verdict != "not tested"]
    if not tested:
        return _nothing(f"no {claim.metric} of both {claim.left} and {' or '.join(claim.right)} where the claim asks for it")
    words = [v.verdict for v in tested]
    complete = len(tested) == len(cells)
    if "contradicted" in words:
        word = "contradicted"
    elif UNDECIDED in words:
        word = UNDECIDED
    elif UNJUDGED in words:
        word = UNJUDGED
    else:
        word = "holds" if complete else "holds where tested"
    least = min([v for v in tested if v.verdict == word] or tested, key=lambda v: distance(claim, v.estimate))
    detail = least.detail
    if len(cells) > 1:
        counts = ", ".join(f"{words.count(w)} {w}" for w in VERDICTS if w in words)
        part = f"{len(tested)} of {len(cells)} tested" if not complete else f"{len(cells)} tested"
        detail = f"{part}: {counts}; least: {detail}"
    n_seeds = min((v.n_seeds for v in tested if v.n_seeds), default=0)
    return Verdict(word, least.estimate, least.low, least.high, least.n_images, n_seeds, detail)


def verdict(
    claim: Claim,
    rows: pd.DataFrame,
    costs: pd.DataFrame | None = None,
    trainings: pd.DataFrame | None = None,
    *,
    accuracy: bool = True,
) -> Verdict:
    """Return the verdict on a claim over all its sets, scales and rivals; arguments as in `verdicts`."""
    return combine(claim, verdicts(claim, rows, costs, trainings, accuracy=accuracy))


def evaluate_claims(
    paper: str,
    rows: pd.DataFrame,
    costs: pd.DataFrame | None = None,
    trainings: pd.DataFrame | None = None,
    *,
    accuracy: bool = True,
    per_set: bool = False,
) -> pd.DataFrame:
    """Return the paper's claims with their verdicts, a row each; per_set: instead a row per claim, rival, set and scale.

    Other arguments as in `verdicts`. Columns: the claim's, its `kind`, `dataset` and `scale` ("all" for the whole claim), the
    Verdict's, and `unit`.
    """
    lines = []
    for claim in load_claims(paper):
        cells = verdicts(claim, rows, costs, trainings, accuracy=accuracy)
        shown = {(c.right, c.dataset, c.scale): v for c, v in cells.items()} if per_set else {}
        if not shown:
            shown = {(";".join(claim.right), "all", "all"): combine(claim, cells)}
        for (right, dataset, scale), v in shown.items():
            about = {name: getattr(claim, name) for name in ("id", "kind", "source", "section", "text", "left", "relation")}
            lines.append(
                {**about, "right": right, "metric": claim.metric, "margin": claim.margin, "dataset": dataset, "scale": scale}
                | vars(v)
                | {"unit": UNITS[claim.metric]}
            )
    return pd.DataFrame(lines)
