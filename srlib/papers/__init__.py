"""The papers by name: `get("btsrn")`, `names()`, their published numbers, and the paper that an experiment belongs to."""

from collections import defaultdict
from pathlib import Path

import pandas as pd

from srlib import baselines  # noqa: F401  registers its networks
from srlib.core.errors import SRError, unknown
from srlib.papers import btsrn, d2c_sr, ddet, difficulty_sr, prosrn
from srlib.papers.base import Method, Paper

__all__ = ["Method", "Paper", "experiments", "find", "folder", "get", "names", "published"]

# A new paper is added here.
_PAPERS: dict[str, Paper] = {module.PAPER.name: module.PAPER for module in (btsrn, prosrn, difficulty_sr, d2c_sr, ddet)}


def names() -> list[str]:
    """Return the names of all papers."""
    return list(_PAPERS)


def get(name: str) -> Paper:
    """Return a paper by name; raises SRError for an unknown one."""
    if name not in _PAPERS:
        raise unknown("paper", name, _PAPERS)
    return _PAPERS[name]


def folder(name: str) -> Path:
    """Return the folder of a paper: its code, printed numbers and claims; raises SRError for an unknown one."""
    get(name)
    return Path(__file__).parent / name


def published(name: str, table: str | None = None) -> pd.DataFrame:
    """Return the numbers that a paper prints, or those of one table ("Table 4"); raises SRError for an unknown paper or table."""
    file = folder(name) / "published.csv"
    if not file.exists():
        raise SRError(f"no published numbers of {name}: {file} is missing")
    rows = pd.read_csv(file)
    if table is None:
        return rows
    if table not in set(rows["table"]):
        raise unknown(f"table of {name}:", table, rows["table"].unique())
    return rows[rows["table"] == table].reset_index(drop=True)


def experiments() -> dict[str, list[Paper]]:
    """Return the papers that train a method, by its name; each trains it in its own way."""
    trained_by = defaultdict(list)
    for paper in _PAPERS.values():
        for name, method in (paper.methods | paper.ablations).items():
            if method.trained:
                trained_by[name].append(paper)
    return dict(trained_by)


def find(name: str, scale: int | None = None) -> tuple[Paper, str]:
    """Return the paper and the method that an experiment's name stands for.

    name: "btsrn/vdsr", or "btsrn" where one paper alone trains it. scale: leaves out papers that do not have the method at it.
    Raises SRError for an unknown name and for one of several trainings.
    """
    known = experiments()
    qualified = {f"{paper.name}/{method}": (paper, method) for method, papers in known.items() for paper in papers}
    if name in qualified:
        return qualified[name]
    if name not in known:
        raise unknown("experiment", name, qualified if "/" in name else [*known, *qualified])
    having = [paper for paper in known[name] if scale is None or paper.has(name, scale)] or known[name]
    if len(having) > 1:
        choices = ", ".join(f"{paper.name}/{name}" for paper in having)
        raise SRError(f"experiment {name!r} names {len(having)} different trainings; say which: {choices}")
    return having[0], name
