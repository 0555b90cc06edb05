"""How long the explorers take to answer, and whether they end without a reader.

Each control of each explorer is moved, mostly to where nothing has been computed yet; printed is how long the kernel is busy
before the next control can be moved, and how long until all pictures are there. Then, where asked: headless executions by
papermill, with a time limit.

    python benchmarks/explorers.py [--papers ddet ...] [--profile released] [--headless 50] [--limit 120]
"""

import argparse
import contextlib
import io
import sys
import tempfile
import time
from pathlib import Path

import matplotlib
import nbformat
import numpy as np
import papermill

from srlib import papers
from srlib.core import paths
from srlib.draw.widgets import Explorer

STEPS = 6  # moves of each control


def opened(paper: str, profile: str) -> dict[str, Explorer]:
    """Run an explorer's notebook here; return its explorers by their names in it."""
    notebook = nbformat.read(paths.home() / "notebooks" / paper / "explore.ipynb", as_version=4)
    space: dict = {"display": lambda *_: None}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            with contextlib.redirect_stdout(io.StringIO()):  # what it displays
                exec(cell.source, space)
            if "parameters" in cell.metadata.get("tags", []):
                space["profile"] = profile
    return {name: one for name, one in space.items() if isinstance(one, Explorer)}


def others(control, rng: np.random.Generator) -> list:
    """Return values that a control can be moved to."""
    if hasattr(control, "options"):
        found = [value for _, value in control._options_full]
    elif hasattr(control, "step"):
        found = list(np.arange(control.min, control.max + control.step / 2, control.step).tolist())
        found = [type(control.value)(value) for value in found]
    else:
        found = [not control.value, control.value]
    some = [found[i] for i in rng.permutation(len(found))[:STEPS]]
    return [value for value in some if value != control.value]


def moved(explorer: Explorer, seed: int = 0) -> dict[str, tuple[list[float], list[float]]]:
    """Move each control; return the seconds until the kernel is free, and until the pictures are there."""
    rng, found = np.random.default_rng(seed), {}
    for name, control in explorer.controls.items():
        busy, shown = [], []
        for value in others(control, rng):
            began = time.perf_counter()
            control.value = value
            busy.append(time.perf_counter() - began)
            assert explorer.panels
            shown.append(time.perf_counter() - began)
        if busy:
            found[name] = busy, shown
    return found


def headless(paper: str, profile: str, times: int, limit: float) -> None:
    source, took = paths.home() / "notebooks" / paper / "explore.ipynb", []
    with tempfile.TemporaryDirectory() as folder:
        for i in range(times):
            began, out = time.perf_counter(), Path(folder) / "out.ipynb"
            parameters = {"profile": profile}
            papermill.execute_notebook(
                source, out, parameters, progress_bar=False, kernel_name="python3", execution_timeout=limit, log_output=False
            )
            took.append(time.perf_counter() - began)
            print(f"\r{paper}: {i + 1} of {times}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    print(f"{paper:16} {times} headless executions: median {np.median(took):.1f} s, longest {max(took):.1f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--papers", nargs="+", default=papers.names(), choices=papers.names())
    parser.add_argument("--profile", default="released")
    parser.add_argument("--headless", type=int, default=0, metavar="TIMES")
    parser.add_argument("--limit", type=float, default=120, metavar="SECONDS", help="for each cell of a headless execution")
    arguments = parser.parse_args()
    matplotlib.use("Agg")
    columns = f"{'kernel busy, longest':>21} {'shown, median':>14} {'longest':>9}"
    print(f"{'paper':14} {'explorer':10} {'control':12} {'moves':>5}   {columns}")
    for paper in arguments.papers:
        for name, explorer in opened(paper, arguments.profile).items():
            for control, (busy, shown) in moved(explorer).items():
                times = f"  {max(busy):19.2f} s {np.median(shown):12.2f} s {max(shown):7.2f} s"
                print(f"{paper:14} {name:10} {control:12} {len(busy):5} {times}", flush=True)
    for paper in arguments.papers if arguments.headless else ():
        headless(paper, arguments.profile, arguments.headless, arguments.limit)


if __name__ == "__main__":
    main()
