"""The scripts of `workflow/` as modules, the code of notebooks, cards of weights, and git for a user without a configuration."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]


def load(name: str, root: Path = ROOT) -> ModuleType:
    """Import one of the scripts of a checkout anew."""
    spec = importlib.util.spec_from_file_location(name, root / "workflow" / f"{name}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def execute(notebook: Path, profile: str) -> None:
    """Run the cells of a notebook in this process under another profile than its default."""
    cells = json.loads(notebook.read_text())["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    exec(code.replace('profile = "quick"', f'profile = "{profile}"'), {})


def git(folder: Path, *args: str) -> str:
    """Run git in a folder; return what it printed."""
    call = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", *args]
    return subprocess.run(call, cwd=folder, check=True, capture_output=True, text=True).stdout


def card(paper: str, name: str, scale: int) -> dict:
    """Return the card of released weights."""
    return json.loads((ROOT / "data" / "weights" / paper / f"{name}_x{scale}.json").read_text())


def total_steps(made: dict) -> int:
    """Return the steps of a training by its provenance, with those of all that it started from, identifiers left out."""
    first = [start for start in made.get("start", {}).values() if start["name"] != "identifier"]
    return made["steps"] + sum(map(total_steps, first))
