"""Folders: the repository, the datasets, the cache, the runs.

`SRLIB_HOME` names the repository when srlib is not imported from its own checkout; only notebooks, the plan and all released
weights but the two of the wheel need it. `SRLIB_DATA` names the folder of datasets. `SRLIB_CACHE` names the folder of derived
files (packed training images), by default the user's cache. `SRLIB_RUNS` names the folder of all outputs, `SRLIB_FIGURES` that
of tables and figures only.
"""

import os
from pathlib import Path

from srlib.core.errors import SRError

SOURCE = Path(__file__).resolve().parents[2]  # the checkout, or site-packages
FOLDERS = ("SRLIB_HOME", "SRLIB_DATA", "SRLIB_CACHE", "SRLIB_RUNS", "SRLIB_FIGURES")


def make_absolute() -> None:
    """Make the folders in the environment absolute, so that child processes in other folders see the same ones."""
    for variable in FOLDERS:
        if os.environ.get(variable):
            os.environ[variable] = os.path.abspath(os.environ[variable])


def home() -> Path:
    """Return the repository: the checkout with notebooks, released weights and the plan; raises SRError where it is not there."""
    root = Path(os.environ.get("SRLIB_HOME") or SOURCE)
    if not (root / "notebooks").is_dir():
        raise SRError(f"{root} is not an srlib repository (no notebooks); set SRLIB_HOME to the checkout")
    return root


def given(text: str) -> Path:
    """Return a path that a user typed; "~" is the home folder where the shell left it, as in --output=~/x.png."""
    return Path(os.path.expanduser(text))


def released_dir() -> Path:
    """Return the folder of released weights and scores: `data` of the repository, or the part of it that a wheel carries."""
    carried = SOURCE / "srlib" / "released"
    return carried if carried.is_dir() and not os.environ.get("SRLIB_HOME") else home() / "data"


def cache_dir() -> Path:
    """Return the folder of derived files; created on first write."""
    if os.environ.get("SRLIB_CACHE"):
        return Path(os.environ["SRLIB_CACHE"])
    import platformdirs  # not needed for training

    return Path(platformdirs.user_cache_dir("srlib"))


def data_dir() -> Path:
    """Return the folder that holds one folder per dataset (Set5, B100, ...)."""
    return Path(os.environ.get("SRLIB_DATA") or cache_dir() / "datasets")


def fetched() -> list[str]:
    """Return what lies in `data_dir()`: data sets, and each file of official and perceptual weights."""
    folder = data_dir()
    found = (path for pattern in ("*", "official/*", "lpips/*") for path in folder.glob(pattern))
    return sorted(path.relative_to(folder).as_posix() for path in found)


def runs_dir() -> Path:
    """Return the folder of training runs and executed notebooks: of the checkout, without one of the working directory."""
    if os.environ.get("SRLIB_RUNS"):
        return Path(os.environ["SRLIB_RUNS"])
    installed = not os.environ.get("SRLIB_HOME") and not (SOURCE / "notebooks").is_dir()
    return (Path.cwd() if installed else home()) / "runs"


def variable_of(path: Path) -> str:
    """Return the variable that sets the folder in which a path lies; "" where none does."""
    folders = {"SRLIB_FIGURES": figures_dir, "SRLIB_RUNS": runs_dir, "SRLIB_DATA": data_dir, "SRLIB_CACHE": cache_dir}
    inside = (variable for variable, folder in folders.items() if path.absolute().is_relative_to(folder().absolute()))
    return next(inside, "")


def figures_dir() -> Path:
    """Return the folder of tables and figures, one folder per profile and paper; those of `home()`/figures are published."""
    return Path(os.environ.get("SRLIB_FIGURES") or runs_dir() / "figures")
