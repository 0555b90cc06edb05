"""The papers' claims as comparisons: `Claim`, `load_claims`, and what a paper's own tables print on them.

A claim compares two methods, `left relation right`, by one metric on some sets and scales (`claims.csv` in the paper's folder).
`verdicts` states how it is judged. The difference d of two methods is left - right for accuracy (psnr in dB, ssim), and
left / right - 1 for costs, since seconds mean nothing on another machine; a cost's margin is relative too, 0.5 is half again.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from srlib import papers
from srlib.core.errors import SRError, unknown
from srlib.scoring.costs import COSTS, TIMES

RELATIONS = (">", "<", "approx", "best")
SSIMS = ("ssim", "ssim_uniform7")  # by the window of `protocols.Protocol`
UNITS = {"psnr": "dB", **dict.fromkeys(SSIMS, ""), **dict.fromkeys(COSTS, "ratio")}
KINDS = {  # kind of claim -> what it is on
    "accuracy": "accuracy",
    "cost measured": "measured cost",
    "cost counted": "counted cost",
    "own question": "questions of our own",
}
OWN_SIZE = re.compile(r"(D?RealSR)(?:-V\d)?-x(\d)/")  # a set of pairs of one size, as papers print it: RealSR, x2
PRINTED = ("Table", "Figure", "Section")  # a claim with another source is not the paper's


@dataclass(frozen=True)
class Claim:
    """One row of claims.csv. source: where the paper makes the claim, or whose question it is. right: rivals, several only
    for "best". datasets, scales: empty for all that are evaluated; "!" before a set excludes it.

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
        name = f"of claim {self.id!r}:"
        if self.relation not in RELATIONS:
            raise unknown(f"relation {name}", self.relation, RELATIONS)
        if self.metric not in UNITS:
            raise unknown(f"metric {name}", self.metric, UNITS)
        labels = papers.get(self.paper).labels
        for method in (self.left, *self.right):
            if method not in labels:
                raise unknown(f"method {name}", method, labels)
        if self.left in self.right or not self.right:
            raise SRError(f"right {name} got {self.right!r}, expected methods other than left (={self.left!r})")
        if len(self.right) > 1 and self.relation != "best":
            raise SRError(f'right {name} got {len(self.right)} methods; only the relation "best" takes several')
        if not math.isfinite(self.margin) or (self.relation == "approx" and self.margin <= 0):
            raise SRError(f"margin {name} got {self.margin!r}, expected a number, for approx one above 0")

    @property
    def kind(self) -> str:
        """One of `KINDS`: "own question" for one that the paper does not answer, else by the metric."""
        if not self.source.startswith(PRINTED):
            return "own question"
        return "accuracy" if self.metric not in COSTS else "cost measured" if self.metric in TIMES else "cost counted"

    @property
    def sign(self) -> int:
        """+1 where a large difference supports the claim, -1 where a small one does, 0 where one near zero does ("approx")."""
        if self.relation == "approx":
            return 0
        return -1 if self.relation == "<" or (self.relation == "best" and self.metric in COSTS) else 1

    def slack(self, difference: float) -> float:
        """Return how far a difference clears the margin; 0 or less contradicts the claim (approx: less than 0)."""
        return self.sign * difference - self.margin if self.sign else self.margin - abs(difference)

    def contradicted_by(self, difference: float) -> bool:
        """Return whether a difference without uncertainty contradicts the claim."""
        slack = self.slack(difference)
        return slack < 0 or (slack == 0 and self.relation != "approx")


@dataclass(frozen=True)
class Comparison:
    """A claim's left side against one rival on one set and scale. dataset: "" for a cost that depends on the network alone."""

    right: str
    dataset: str
    scale: int

    @property
    def name(self) -> str:
        return f"{self.dataset} x{self.scale}".strip()


def _split(text: str) -> tuple[str, ...]:
    return () if text == "*" else tuple(part.strip() for part in text.split(";"))


def load_claims(paper: str | None = None) -> list[Claim]:
    """Return the claims of one paper or of all, in file order; raises SRError for an invalid row and for a repeated id."""
    claims = [claim for name in ([paper] if paper else papers.names()) for claim in _read(papers.folder(name) / "claims.csv")]
    ids = [claim.id for claim in claims]
    if repeated := sorted({i for i in ids if ids.count(i) > 1}):
        raise SRError(f"claims.csv has the id {repeated[0]!r} twice; give each claim its own")
    return claims


def _read(file: Path) -> list[Claim]:
    claims = []
    for row in pd.read_csv(file, dtype=str, keep_default_na=False).to_dict("records"):
        try:
            row["margin"], row["scales"] = float(row["margin"]), tuple(int(scale) for scale in _split(row["scales"]))
        except ValueError as error:
            raise SRError(f"claim {row['id']!r} in {file.name}: {error}; scales are 2;3;4 or *, margin is a number") from None
        claims.append(Claim(**{**row, "right": _split(row["right"]), "datasets": _split(row["datasets"])}))
    return claims


def published_differences(claim: Claim, published: pd.DataFrame) -> dict[Comparison, float]:
    """Return the difference per rival, set and scale in the table that is the claim's source; empty where it prints none.

    published: rows of `papers.published`. A claim on one set of the table uses that set, and that scale where the set's name has
    it (RealSR-V2-x2/test is RealSR x2); any other claim uses all sets of the table, since it may name stand-ins for them, or only
    those that are available.
    """
    rows = published[(published["table"] == claim.source) & (published["metric"] == claim.metric)]
    if claim.scales:
        rows = rows[rows["scale"].isin(claim.scales)]
    if len(claim.datasets) == 1:
        own = OWN_SIZE.match(claim.datasets[0])
        name, scales = (own[1], {int(own[2])}) if own else (claim.datasets[0], set(rows["scale"]))
        if name in set(rows["dataset"]):
            rows = rows[(rows["dataset"] == name) & rows["scale"].isin(scales)]
    differences = {}
    for right in claim.right:
        for (dataset, scale), block in rows.groupby(["dataset", "scale"], sort=False):
            values = block.set_index("method")["value"]
            if claim.left in values and right in values:
                ours, rival = float(values[claim.left]), float(values[right])
                difference = ours / rival - 1 if claim.metric in COSTS else ours - rival
                differences[Comparison(right, str(dataset), int(scale))] = round(difference, 6)  # 37.78 - 37.53 is 0.25
    return differences


def format_difference(metric: str, value: float) -> str:
    """Return a difference as text: "+0.123 dB", "+0.0012" or "-12.3 %"."""
    if UNITS[metric] == "ratio":
        return f"{100 * value:+.1f} %"
    return f"{value:+.3f} dB" if metric == "psnr" else f"{value:+.4f}"
