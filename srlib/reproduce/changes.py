"""What changed between two commits: every stored score and every verdict, as Markdown."""

import io
import re
import subprocess
from collections.abc import Callable

import pandas as pd

from srlib.core import paths
from srlib.core.errors import SRError

SCORE_FILE = re.compile(r"data/scores/([^/]+?)(?:-[0-9a-f]{10})*(/.+)?/([^/]+)_[0-9a-f]{8}(\w*)\.csv")


def _git(*arguments: str) -> str:
    process = subprocess.run(["git", *arguments], cwd=paths.home(), capture_output=True, text=True)
    if process.returncode:
        raise SRError(f"git {' '.join(arguments)}: {process.stderr.strip() or 'unknown'}; expected commits of {paths.home()}")
    return process.stdout


def _scores(file: str, text: str) -> dict[str, float]:
    """Return the mean of each metric of a score file, by network, set and metric; without the hashes of weights and pictures."""
    network, part, evaluation, rest = SCORE_FILE.fullmatch(file).groups("")
    rows = pd.read_csv(io.StringIO(text), comment="#").select_dtypes("number").drop(columns=["image", "seconds"], errors="ignore")
    return {f"{network}{part}: {evaluation}{rest}, {metric}": float(value) for metric, value in rows.mean().items()}


def _verdicts(file: str, text: str) -> dict[str, str]:
    """Return the verdicts of a paper's claims, with the difference that was measured, by paper and claim."""
    rows = pd.read_csv(io.StringIO(text), dtype=str).fillna("")
    return {f"{file.split('/')[2]}: {row.claim}": f"{row.verdict} ({row.difference or '-'})" for row in rows.itertuples()}


def _changed(old: str, new: str, pattern: str, read: Callable[[str, str], dict]) -> pd.DataFrame:
    """Return what differs, by name: `old` and `new`, nan where one side lacks it."""
    lines = _git("diff", "--name-status", "--no-renames", old, new, "--", f":(glob){pattern}").splitlines()
    sides = {"old": {}, "new": {}}
    for status, file in (line.split("\t") for line in lines):
        for side, revision, absent in (("old", old, "A"), ("new", new, "D")):
            if status != absent:
                sides[side] |= read(file, _git("show", f"{revision}:{file}"))
    table = pd.DataFrame({side: pd.Series(values, dtype=object) for side, values in sides.items()})
    return table[table["old"] != table["new"]].sort_index()


def _markdown(table: pd.DataFrame, title: str) -> list[str]:
    if table.empty:
        return [f"## {title}: none changed", ""]
    cells = [[f"{value:.4f}" if isinstance(value, float) else value for value in row] for row in table.fillna("-").to_numpy()]
    rows = [f"| {' | '.join([name.replace('|', '/'), *row])} |" for name, row in zip(table.index, cells, strict=True)]
    head = ["", *table.columns]
    return [f"## {title}: {len(table)} changed", "", f"| {' | '.join(head)} |", "|---" * len(head) + "|", *rows, ""]


def compare(old: str, new: str) -> str:
    """Return every score and verdict that changed between two commits, as Markdown; SRError for an unknown commit."""
    for revision in (old, new):
        try:
            _git("rev-parse", "--verify", f"{revision}^{{commit}}")
        except SRError:
            raise SRError(f"unknown commit {revision!r} of {paths.home()}") from None
    scores = _changed(old, new, "data/scores/**/*.csv", _scores)
    scores["difference"] = [f"{a - b:+.4f}" if a == a and b == b else "" for b, a in scores.itertuples(index=False)]
    verdicts = _changed(old, new, "figures/released/*/claims.csv", _verdicts)
    return "\n".join([f"# From {old} to {new}", "", *_markdown(scores, "Scores"), *_markdown(verdicts, "Verdicts")])
