"""Serve the explorers of all papers as web pages, without their code: python workflow/explore.py [--profile released] [...]

Voila runs a notebook for each reader who opens its page, and ends it when the page is closed. Further arguments are Voila's own,
such as --port and --no-browser.
"""

import argparse
import os
import sys
from pathlib import Path

import nbformat
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

from srlib import papers
from srlib.core import paths
from srlib.papers import profiles


def write(folder: Path, profile: str) -> None:
    """Write a copy of each paper's explorer for a profile: btsrn.ipynb, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in papers.names():
        notebook = load_notebook_node(str(paths.home() / "notebooks" / name / "explore.ipynb"))
        nbformat.write(parameterize_notebook(notebook, {"profile": profile}), folder / f"{name}.ipynb")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", choices=profiles.PROFILES, default="released", help="whose networks (default: released)")
    arguments, more = parser.parse_known_args()
    paths.make_absolute()  # a kernel works in the folder of its notebook
    folder = paths.runs_dir() / "explorers" / arguments.profile
    write(folder, arguments.profile)
    print(f"Voila serves the explorers with the networks of profile {arguments.profile}; end it with Ctrl-C.", flush=True)
    os.execv(
        sys.executable, [sys.executable, "-m", "voila", str(folder), "--strip_sources=True", "--show_tracebacks=True", *more]
    )


if __name__ == "__main__":
    main()
