"""What notebooks share: checking parameters, saving metrics, and saying honestly what a run is worth.

papermill checks neither the names nor the types of parameters; `check` does, all at once, before any work starts.
"""

import ast
from collections.abc import Collection
from pathlib import Path

import pandas as pd

from srlib import paths
from srlib.errors import SRError, unknown
from srlib.runs import atomic_write


def _given(sources: list[str]) -> set[str]:
    """Return the names that the cells before the first call of `check` assign: the parameters, also misspelt ones."""
    names = set()
    for source in sources:
        if "notebooks.check(" in source:
            break
        try:
            tree = ast.parse(source)
        except SyntaxError:  # a cell with a magic command assigns no parameter
            continue
        for node in tree.body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def _problem(name: str, value: object, expected: type | Collection) -> str | None:
    if isinstance(expected, type):
        right = isinstance(value, expected) and not (expected is int and isinstance(value, bool))
        return None if right else f"{name} (={value!r}) must be of type {expected.__name__}, not {type(value).__name__}"
    several, known = isinstance(expected, list), list(expected)
    listed = ", ".join(repr(k) for k in known)
    if several and not (isinstance(value, (list, tuple)) and value):
        return f"{name} (={value!r}) must be a list of some of {listed}, e.g. [{known[0]!r}]"
    wrong = [one for one in (value if several else [value]) if one not in known or type(one) is not type(known[0])]
    if wrong and isinstance(known[0], str):
        return str(unknown(name, wrong[0], known))
    return f"{name} (={value!r}) must be one of {listed}" if wrong else None


def check(namespace: dict, **expected: type | Collection) -> None:
    """Check a notebook's parameters: call it as `notebooks.check(globals(), profile=PROFILES, scale=(2, 3, 4), seed=int)`.

    expected: for each parameter a type, or a tuple or mapping of the values that it may take, or, where the parameter is a list,
    a list of those that its items may take. Raises SRError that lists every unknown name, wrong type and wrong value together.
    """
    given = _given(namespace.get("In", []))
    problems = [str(unknown("parameter", name, expected)) for name in sorted(given - set(expected))]
    for name, kind in expected.items():
        if name not in namespace:
            problems.append(f"parameter {name!r} is missing")
        else:
            problems.append(_problem(name, namespace[name], kind))
    found = [problem for problem in problems if problem]
    if found:
        raise SRError("; ".join(found))


def metrics_file(profile: str, name: str, paper: str | None = None) -> Path:
    """Return where a notebook leaves its rows: `runs/metrics/<profile>/[<paper>/]<name>.csv`."""
    folder = paths.runs_dir() / "metrics" / profile
    return (folder / paper if paper else folder) / f"{name}.csv"


def save_metrics(rows: pd.DataFrame, profile: str, name: str, paper: str | None = None) -> Path:
    """Write a notebook's rows; the workflow takes the file as the sign that the notebook has run to its end."""
    file = metrics_file(profile, name, paper)
    atomic_write(file, rows.to_csv(index=False))
    return file


def load_metrics(profile: str, paper: str) -> pd.DataFrame:
    """Return the rows that the notebooks of a paper have left under a profile, all together."""
    files = sorted(metrics_file(profile, "x", paper).parent.glob("*.csv"))
    frames = [pd.read_csv(file, dtype={"image": str}) for file in files]
    frames = [frame for frame in frames if {"method", "psnr"} <= set(frame.columns) and len(frame)]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def load_costs(profile: str, paper: str) -> pd.DataFrame | None:
    """Return the costs that the notebooks of a paper have measured, one row per method and scale; None where there are none."""
    files = sorted(metrics_file(profile, "x", paper).parent.glob("*_costs.csv"))
    frames = [pd.read_csv(file) for file in files]
    return pd.concat(frames, ignore_index=True) if frames else None


def figures_folder(profile: str, paper: str) -> Path:
    """Return the folder of a paper's tables and figures under a profile."""
    return paths.figures_dir() / profile / paper
