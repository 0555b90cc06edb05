"""The papers' claims as tests: `load_claims`, `verdict`, `evaluate_claims`, `printed`.

A claim compares two methods, `left relation right`, by one metric on some sets and scales (`data/published/claims.csv`).

What is compared. For psnr (dB) and ssim (any of `SSIMS`): mean(left) - mean(right) over the same images. For costs (`COSTS`):
left / right - 1, since seconds mean nothing on another machine; their margins are relative, 0.5 is half again.

Interval. 95 %, of two parts that are added as squares; a counted cost has neither.
- Times: the ratio of the sums over alternating rounds (`costs`), with Student's interval of a ratio of paired means, and
  `REPEATED`, by which the same measurement differs from process to process. Inconclusive where the two sides were not measured
  in the same rounds, in fewer than `MIN_ROUNDS`, or while other processes used more than `BUSY` cores.
- Images: a paired bootstrap. Pictures are resampled, the same for both sides; patches of one picture stay together. Each draw
  takes one picture fewer than there are, which makes the spread of the resampled mean that of the mean itself also for few
  (Rao and Wu, JASA 1988), and the interval is stretched from the normal to Student's distribution.
- Training, for psnr and ssim: the spread over seeds by Student's t, of their differences where both sides have the same seeds
  (one seed is one order of patches, whatever is trained on them). Where a trained side has one seed, the noise that is known
  of such trainings (`NOISE`, or `Paper.noise`).

Relations, with the margin m and d as above:
- ">"       holds if the whole interval lies above m, contradicted if none of it does. A negative m means "not worse by |m|".
- "<"       the same for -d.
- "approx"  holds if the whole interval lies within -m..m, contradicted if none of it does.
- "best"    left beats every rival in `right` by m: ">" for psnr and ssim, "<" for costs.
Otherwise inconclusive, and always so on fewer than `MIN_IMAGES` pictures (psnr and ssim).

Over several sets, scales and rivals, in this order: not tested if none is tested; contradicted if any is contradicted; holds if
all hold; "holds where tested" if all that are tested hold and some are not tested; else inconclusive.
"""

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
from scipy import stats

from srlib import papers, paths
from srlib.costs import rounds
from srlib.errors import SRError, unknown

RELATIONS = (">", "<", "approx", "best")
VERDICTS = ("holds", "holds where tested", "contradicted", "inconclusive", "not tested")
COSTS = ("parameters", "mult_adds", "seconds", "step_seconds", "step_memory")  # the last two of a training step
SSIMS = ("ssim", "ssim_uniform7")  # by the window of `metrics.Protocol`
UNITS = {"psnr": "dB", **dict.fromkeys(SSIMS, ""), **dict.fromkeys(COSTS, "ratio")}
# How far two trainings may lie apart that differ in nothing but the seed: 0.01 to 0.02 dB in these papers with their own budgets,
# and more with small ones: two of BTSRN's 6+4 and of its 7+4 lie 0.04 and 0.07 dB apart on Set14 after 1,200 steps.
NOISE = {"psnr": 0.1, **dict.fromkeys(SSIMS, 0.001)}
TIMES = ("seconds", "step_seconds")
COUNTED = ("parameters", "mult_adds", "step_memory")  # exact, whatever the images
REPEATED = 0.05  # of a ratio of times, from process to process
MIN_ROUNDS = 5
BUSY = 0.25  # cores
MIN_IMAGES = 5
RESAMPLES = 10_000
LEVEL = 0.95
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
    if paper is not None:
        papers.get(paper)
    file = paths.home() / "data" / "published" / "claims.csv"
    claims = []
    for row in pd.read_csv(file, dtype=str, keep_default_na=False).to_dict("records"):
        if paper not in (None, row["paper"]):
            continue
        try:
            row["margin"], scales = float(row["margin"]), tuple(int(s) for s in _split(row["scales"]))
        except ValueError as error:
            raise SRError(f"claim {row['id']!r} in {file.name}: {error}; scales are 2;3;4 or *, margin is a number") from None
        claims.append(Claim(**{**row, "right": _split(row["right"]), "datasets": _split(row["datasets"]), "scales": scales}))
    ids = [claim.id for claim in claims]
    twice = sorted({i for i in ids if ids.count(i) > 1})
    if twice:
        raise SRError(f"{file.name} has the id {twice[0]!r} twice; give each claim its own")
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


def _weights(rng: np.random.Generator, n: int) -> np.ndarray:
    """Return (RESAMPLES, n): how much each of n elements counts in a resample of n - 1."""
    if n == 1:
        return np.ones((RESAMPLES, 1))
    return rng.multinomial(n - 1, np.full(n, 1 / n), size=RESAMPLES) / (n - 1)


def _quantile(freedom: float) -> float:
    """Return how many standard errors an interval reaches to each side, by the degrees of freedom of the error."""
    return float(stats.t.ppf((1 + LEVEL) / 2, freedom))


def over_images(left: np.ndarray, right: np.ndarray, pictures: np.ndarray | None = None) -> tuple[float, float, float]:
    """Return the difference of means and its interval as far as images go.

    left, right: (images, seeds), row i of both the same image; the numbers of seeds may differ. pictures: (images,) the picture
    that an image is a patch of, where it is one.
    """
    names = np.arange(len(left)) if pictures is None else pictures
    n, place = len(np.unique(names)), np.unique(names, return_inverse=True)[1]
    drawn = _weights(np.random.default_rng(0), n)
    counts = drawn @ np.bincount(place)
    means = [drawn @ np.bincount(place, side.mean(axis=1)) / counts for side in (left, right)]
    d = float(left.mean() - right.mean())
    stretch = _quantile(n - 1) / _quantile(math.inf) if n > 1 else 1.0
    low, high = d + stretch * (np.quantile(means[0] - means[1], [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) - d)
    return d, float(low), float(high)


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
    return "holds" if holds else "contradicted" if contradicted else "inconclusive", low, high


def printed(claim: Claim, published: pd.DataFrame) -> dict[Cell, float]:
    """Return what the paper's own table says: d per rival, set and scale, of the table that is the claim's source; empty where
    it prints no such numbers.

    published: rows of `tables.published`. A claim about one set of the table is of that set; else all sets of the table count,
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
        return Verdict("inconclusive", d, math.nan, math.nan, 0, 0, detail)
    paired, busy = left["session"] == right["session"], max(left["busy"], right["busy"])
    d, error = ratio(*times) if paired else (times[0].mean() / times[1].mean() - 1, math.nan)
    word, low, high = _decide(claim, d, d - error, d + error, REPEATED)
    detail = f"{_sides(claim, cell)} {show(claim.metric, d)} [{show(claim.metric, low)}, {show(claim.metric, high)}]"
    detail += f", {len(times[0])} rounds"
    if not paired:
        word, detail = "inconclusive", f"{_sides(claim, cell)} {show(claim.metric, d)}, not measured in the same rounds"
    elif busy > BUSY:
        word, detail = "inconclusive", f"{detail}, while other processes used {busy:.2f} cores"
    elif len(times[0]) < MIN_ROUNDS:
        word, detail = "inconclusive", f"{detail}, fewer than {MIN_ROUNDS}"
    return Verdict(word, d, low, high, 0, 0, detail)


def ratio(left: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """Return sum(left) / sum(right) - 1 of paired rounds, and half the width of its interval (the delta method, Student's t)."""
    n, quotient = len(left), float(left.sum() / right.sum())
    if n == 1:
        return quotient - 1, math.inf
    error = float((left - quotient * right).std(ddof=1) / right.mean()) / math.sqrt(n)
    return quotient - 1, _quantile(n - 1) * error


def _from_rows(claim: Claim, cell: Cell, rows: pd.DataFrame) -> Verdict:
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
    trained = [side.shape[1] for method, side in sides.items() if paper.trains(method)]
    n_seeds = min(trained, default=0)
    noise = paper.noise.get(claim.metric, NOISE[claim.metric])
    if n_seeds != 1:
        noise = over_seeds(*values, same_seeds=left.columns.equals(right.columns))
    without, *_ = _decide(claim, d, low, high, 0.0)
    word, low, high = _decide(claim, d, low, high, noise)
    seeds = {0: "nothing trained", 1: "one seed"}.get(n_seeds, f"{n_seeds} seeds")
    seeds = f"{trained[0]} seed{'s' * (trained[0] > 1)} against {trained[1]}" if len(set(trained)) == 2 else seeds
    detail = f"{_sides(claim, cell)} {show(claim.metric, d)}"
    patches = f"{len(left)} patches of " if n_images < len(left) else ""
    detail += f" [{show(claim.metric, low)}, {show(claim.metric, high)}], {patches}{n_images} images, {seeds}"
    if n_images < MIN_IMAGES:
        word, detail = "inconclusive", f"{detail}, too few images"
    elif word != without:
        detail += f", undecided for the noise of {show(claim.metric, noise).lstrip('+')}"
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


def verdicts(claim: Claim, rows: pd.DataFrame, costs: pd.DataFrame | None = None) -> dict[Cell, Verdict]:
    """Return a verdict per rival, set and scale.

    rows: a row per image with `method`, `dataset`, `scale`, `seed`, `image` and the metric; with a column `paper` only the rows
    of the claim's paper count. costs: a row per `method` and `scale`, of `costs`.
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
    one = _from_costs if from_costs else _from_rows
    return {cell: one(claim, cell, table) for cell in _cells(claim, table, from_costs)}


def combine(claim: Claim, cells: dict[Cell, Verdict]) -> Verdict:
    """Return the verdict of the whole claim, with the numbers of the comparison that speaks least for it."""
    tested = [v for v in cells.values() if v.verdict != "not tested"]
    if not tested:
        return _nothing(f"no {claim.metric} of both {claim.left} and {' or '.join(claim.right)} where the claim asks for it")
    words = [v.verdict for v in tested]
    complete = len(tested) == len(cells)
    if "contradicted" in words:
        word = "contradicted"
    elif "inconclusive" in words:
        word = "inconclusive"
    else:
        word = "holds" if complete else "holds where tested"
    least = min([v for v in tested if v.verdict == word] or tested, key=lambda v: distance(claim, v.estimate))
    detail = least.detail
    if len(cells) > 1:
        counts = ", ".join(f"{words.count(w)} {w}" for w in ("holds", "contradicted", "inconclusive") if w in words)
        part = f"{len(tested)} of {len(cells)} tested" if not complete else f"{len(cells)} tested"
        detail = f"{part}: {counts}; least: {detail}"
    n_seeds = min((v.n_seeds for v in tested if v.n_seeds), default=0)
    return Verdict(word, least.estimate, least.low, least.high, least.n_images, n_seeds, detail)


def verdict(claim: Claim, rows: pd.DataFrame, costs: pd.DataFrame | None = None) -> Verdict:
    """Return the verdict on a claim over all its sets, scales and rivals; arguments as in `verdicts`."""
    return combine(claim, verdicts(claim, rows, costs))


def evaluate_claims(paper: str, rows: pd.DataFrame, costs: pd.DataFrame | None = None, *, per_set: bool = False) -> pd.DataFrame:
    """Return the paper's claims with their verdicts, a row each; per_set: instead a row per claim, rival, set and scale.

    Columns: the claim's, `dataset` and `scale` ("all" for the whole claim), the Verdict's, and `unit`.
    """
    lines = []
    for claim in load_claims(paper):
        cells = verdicts(claim, rows, costs)
        shown = {(c.right, c.dataset, c.scale): v for c, v in cells.items()} if per_set else {}
        if not shown:
            shown = {(";".join(claim.right), "all", "all"): combine(claim, cells)}
        for (right, dataset, scale), v in shown.items():
            about = {name: getattr(claim, name) for name in ("id", "source", "section", "text", "left", "relation")}
            lines.append(
                {**about, "right": right, "metric": claim.metric, "margin": claim.margin, "dataset": dataset, "scale": scale}
                | vars(v)
                | {"unit": UNITS[claim.metric]}
            )
    return pd.DataFrame(lines)
