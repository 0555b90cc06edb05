"""The papers by name: `get("btsrn")`, `names()`, and the paper that an experiment belongs to."""

from srlib.errors import unknown
from srlib.papers.base import Method, Paper
from srlib.papers.btsrn import PAPER as BTSRN
from srlib.papers.d2c_sr import PAPER as D2C_SR
from srlib.papers.ddet import PAPER as DDET
from srlib.papers.difficulty_sr import PAPER as DIFFICULTY_SR
from srlib.papers.prosrn import PAPER as PROSRN

__all__ = ["Method", "Paper", "experiments", "get", "names", "owner"]

_PAPERS: dict[str, Paper] = {paper.name: paper for paper in (BTSRN, PROSRN, DIFFICULTY_SR, D2C_SR, DDET)}


def names() -> list[str]:
    """Return the names of all papers."""
    return list(_PAPERS)


def get(name: str) -> Paper:
    """Return a paper by name; raises SRError for an unknown one."""
    if name not in _PAPERS:
        raise unknown("paper", name, _PAPERS)
    return _PAPERS[name]


def experiments() -> dict[str, Paper]:
    """Return every trained method and the first paper that has it."""
    found: dict[str, Paper] = {}
    for paper in _PAPERS.values():
        for name, method in {**paper.methods, **paper.ablations}.items():
            if method.trained:
                found.setdefault(name, paper)
    return found


def owner(name: str, scale: int | None = None) -> Paper:
    """Return the first paper that trains an experiment, at a scale where one is given; raises SRError for an unknown name."""
    known = experiments()
    if name not in known:
        raise unknown("experiment", name, known)
    having = [paper for paper in _PAPERS.values() if name in {**paper.methods, **paper.ablations}]
    return next((paper for paper in having if scale and paper.has(name, scale)), having[0])
