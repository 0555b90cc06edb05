"""Shared by notebooks: checks of their parameters, and the files of their metrics and figures.

papermill checks neither names nor types of parameters; `check` does, before any computation, and reports all errors at once.
"""

import ast
from collections.abc import Collection, Iterable, Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any

import pandas as pd

from srlib import papers
from srlib.core import paths
from srlib.core.errors import SRError, unknown
from srlib.core.files import atomic_write
from srlib.data.layouts import LAYOUTS
from srlib.data.sets import ImageSet, open_set
from srlib.papers import Paper
from srlib.papers.profiles import PROFILES, Profile
from srlib.papers.profiles import profile as find_profile

PARAMETERS = {  # by kind of notebook
    "train": ("profile", "method", "scale", "seed"),
    "ablate": ("profile", "scale"),
    "render": ("profile", "scales", "tests"),
    "explore": ("profile", "scale"),
    "summary": ("profile",),
}
COSTS = ("ablate_costs", "render_costs")


def _literals(source: str) -> set[str]:
    """Return the names that a cell assigns if it only assigns literals, like a parameter cell; else nothing."""
    names = set()
    try:
        for node in ast.parse(source).body:
            (target,) = node.targets if isinstance(node, ast.Assign) else (node.target,)
            ast.literal_eval(node.value)
            names.add(target.id)
    except (SyntaxError, AttributeError, ValueError):  # a magic command, another statement, or a computed value
        return set()
    return names


def _assigned(cells: list[str], known: Collection[str]) -> set[str]:
    """Return the parameter names, also misspelt ones, set for the running call of `check`, which is the last cell.

    Counted since the previous call: parameter cells directly before this call, and any that sets a known parameter.
    """
    names, adjacent = set(), True
    for source in takewhile(lambda cell: "notebooks.check(" not in cell, reversed(cells[:-1])):
        assigned = _literals(source)
        adjacent = adjacent and bool(assigned)
        if adjacent or assigned & set(known):
            names |= assigned
    return names


def _choice(name: str, value: Any, known: Collection) -> Iterator[str]:
    """Yield an error unless a parameter is one of the known values."""
    known = list(known)
    if value in known and type(value) is type(known[0]):
        return
    maybe_misspelt = isinstance(known[0], str) and isinstance(value, str)
    choices = ", ".join(map(repr, known))
    yield str(unknown(name, value, known)) if maybe_misspelt else f"{name} (={value!r}) must be one of {choices}"


def _list(name: str, value: Any, example: Any) -> Iterator[str]:
    """Yield an error unless a parameter is a list without duplicates."""
    if not isinstance(value, (list, tuple)):
        yield f"{name} (={value!r}) must be a list, e.g. [{example!r}], or [] for the profile's"
    elif repeated := [item for i, item in enumerate(value) if item in value[:i]]:
        yield f"{name} (={value!r}) names {repeated[0]!r} twice; name each once"


def _as_list(value: Any) -> list:
    return list(value) if isinstance(value, (list, tuple)) else []


def _scales(values: dict[str, Any]) -> list:
    """Return the requested scales, unchecked."""
    return [values["scale"]] if "scale" in values else _as_list(values.get("scales"))


def _problems(paper: Paper | None, values: dict[str, Any]) -> Iterator[str]:
    """Yield an error for each invalid parameter."""
    profile, method, seed = values.get("profile"), values.get("method"), values.get("seed", 0)
    if "profile" in values:
        yield from _choice("profile", profile, PROFILES)
    if "method" in values:
        trained = [name for name, method in {**paper.methods, **paper.ablations}.items() if method.trained]
        yield from _choice("method", method, trained)
        method = method if method in trained else None
    if "scales" in values:
        yield from _list("scales", values["scales"], paper.scales[0])
    for scale in _scales(values):
        errors = list(_choice("scale" if "scale" in values else "scales", scale, paper.scales))
        yield from errors or (_missing_scale(paper, profile, method, scale) if profile in PROFILES else ())
    if "tests" in values:
        yield from _list("tests", values["tests"], "Set5")
        scales = [scale for scale in _scales(values) if scale in paper.scales]
        if not scales and profile in PROFILES:
            scales = paper.scales_of(find_profile(profile))
        for test in _as_list(values["tests"]):
            yield from _unusable(test, scales) if isinstance(test, str) else [f"tests (={test!r}) must be names of sets"]
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        yield f"seed (={seed!r}) must be a whole number from 0 to 2**32 - 1"


def _missing_scale(paper: Paper, profile: str, method: str | None, scale: int) -> Iterator[str]:
    """Yield an error where the profile does not have the scale of the paper or method."""
    known = paper.scales_of(find_profile(profile))
    if method:
        known = [known_scale for known_scale in known if paper.has(method, known_scale)]
        at = paper.method(method).trained_at
        known += [at] if known and at and at not in known else []
    if scale not in known:
        available = ", ".join(f"x{known_scale}" for known_scale in known) or "no scale"
        yield f"scale x{scale}: profile {profile} has {available} of {method or paper.name}"


def _unusable(name: str, scales: Iterable[int]) -> Iterator[str]:
    """Yield an error where a set cannot be opened, or not scored at one of the scales."""
    try:
        images = open_set(name)
        for scale in scales:
            images.check_scale(scale)
    except SRError as error:
        yield str(error)
        return
    if 1 in scales and not images.paired:
        yield f"{name} has no LR images of the size of HR, which scale 1 needs; take a set of pairs, e.g. City100-nikon/test"


def _profile_sets(kind: str, paper: Paper, values: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """Yield (set, scale) for the default test sets of a notebook."""
    for scale in _scales(values) or paper.scales_of(find_profile(values["profile"])):
        setting = paper.setting(values["profile"], scale)
        names = {"ablate": (setting.ablation_tests, *setting.tests), "explore": ()}.get(kind, setting.tests)  # see `first_set`
        yield from ((name, scale) for name in (paper.tests(values["method"], setting) if kind == "train" else names))


def first_set(profile: Profile) -> ImageSet:
    """Open the first test set of a profile or, where it cannot be opened, the embedded photographs, and say so."""
    first = profile.tests[0]
    try:
        return open_set(first)
    except SRError as error:
        pairs = profile.scales == (1,) or first in LAYOUTS
        embedded = open_set("embedded-camera-test" if pairs else "embedded-test")
        print(f"{error}. Until then: {embedded.name}.")
        return embedded


def check(namespace: dict, kind: str, paper: Paper | None = None, *more: str) -> Profile:
    """Check a notebook's parameters and open its test sets; return its profile, with the paper's settings at its scale.

    Call it as `notebooks.check(globals(), "render", paper)`. kind: of `PARAMETERS`. more: parameters that only this notebook has.
    Raises one SRError that lists all unknown names, wrong or repeated values and unusable sets.
    """
    names = (*PARAMETERS[kind], *more)
    values = {name: namespace[name] for name in names if name in namespace}
    problems = [str(unknown("parameter", name, names)) for name in sorted(_assigned(namespace.get("In", []), names) - set(names))]
    problems += [f"parameter {name!r} is missing" for name in names if name not in values]
    problems += _problems(paper, values)
    if not problems and paper and not values.get("tests"):
        for name, scale in dict.fromkeys(_profile_sets(kind, paper, values)):
            problems += _unusable(name, [scale])
    if problems:
        raise SRError("; ".join(dict.fromkeys(problems)))
    return paper.setting(values["profile"], values.get("scale")) if paper else find_profile(values["profile"])


def trainings(paper: Paper, profile: Profile, scales: Collection[int] = ()) -> list[tuple[str, int]]:
    """Return the (method, scale) pairs that the workflow trains for a paper's main tables, in an order that respects `start`.

    scales: those of the profile to take (default: all). Empty for a profile that loads released weights.
    """
    wanted = [scale for scale in paper.scales_of(profile) if not scales or scale in scales]
    names = [name for name in paper.compared if paper.method(name).trained] if profile.train else []
    pairs = [(name, paper.method(name).trained_at or s) for name in names for s in wanted if paper.has(name, s)]
    return list(dict.fromkeys(pairs))


def train_notebooks(paper: Paper, profile: Profile, scales: Collection[int] = ()) -> list[tuple[str, int]]:
    """Return the (method, scale) pairs whose `train` notebooks the workflow runs.

    Those of all `trainings`; the main method's at its first scale where the profile is brief or loads released weights.
    """
    if profile.train and not profile.brief:
        return trainings(paper, profile, scales)
    return [(paper.name, paper.method(paper.name).trained_at or min(scales or paper.scales_of(profile)))]


def metrics_names(paper: Paper, profile: Profile, scales: Collection[int] = ()) -> list[str]:
    """Return the names of the metrics files (`metrics_file`) of a paper's notebooks in the workflow, without `COSTS`."""
    return [*(f"train_{method}_x{scale}" for method, scale in train_notebooks(paper, profile, scales)), "ablate", "render"]


def metrics_file(profile: str, name: str, paper: str | None = None) -> Path:
    """Return the metrics file of a notebook: `runs/metrics/<profile>/[<paper>/]<name>.csv`."""
    folder = paths.runs_dir() / "metrics" / profile
    return (folder / paper if paper else folder) / f"{name}.csv"


def save_metrics(rows: pd.DataFrame, profile: str, name: str, paper: str | None = None) -> Path:
    """Write a notebook's metrics; the workflow takes the file as the sign that the notebook has finished."""
    file = metrics_file(profile, name, paper)
    atomic_write(file, rows.to_csv(index=False))
    return file


def _load(profile: str, names: Iterable[str], paper: str) -> list[pd.DataFrame]:
    files = [metrics_file(profile, name, paper) for name in names]
    return [pd.read_csv(file, dtype={"image": str}) for file in files if file.exists()]


def load_metrics(profile: str, paper: str) -> pd.DataFrame:
    """Return the metrics of all of a paper's notebooks in the workflow under a profile, concatenated."""
    frames = _load(profile, metrics_names(papers.get(paper), find_profile(profile)), paper)
    frames = [frame for frame in frames if {"method", "psnr"} <= set(frame.columns) and len(frame)]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def load_costs(profile: str, paper: str) -> pd.DataFrame | None:
    """Return the costs measured by a paper's notebooks, one row per method and scale; None before any has run."""
    frames = _load(profile, COSTS, paper)
    return pd.concat(frames, ignore_index=True) if frames else None


def figures_folder(profile: str, paper: str) -> Path:
    """Return the folder of a paper's tables and figures under a profile."""
    return paths.figures_dir() / profile / paper
