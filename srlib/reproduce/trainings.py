"""All trainings of a paper's main tables, one after the other in one process.

    python -m srlib.reproduce.trainings PROFILE PAPER [SCALE...]

Complete runs are loaded, partial ones continued. A training that fails is reported and does not stop the others.
"""

import sys
import time
import traceback

import pandas as pd

from srlib import papers
from srlib.core import paths
from srlib.core.errors import SRError
from srlib.core.output import tolerant
from srlib.reproduce import notebooks, store
from srlib.reproduce.notebooks import trainings


def train_all(profile: str, paper_name: str, scales: list[int]) -> list[str]:
    """Train what is missing of a paper under a profile; return the names of the trainings that failed.

    Where none failed, writes the metrics file `trainings`: a row per training with its steps and minutes.
    """
    paper, rows, failed = papers.get(paper_name), [], []
    pairs = trainings(paper, paper.setting(profile), scales)
    for number, (method, scale) in enumerate(pairs, 1):
        name = f"{method} x{scale}"
        print(f"{number} of {len(pairs)}  {name}", flush=True)
        begin = time.monotonic()
        try:
            made = store.load_or_train(paper, method, scale, paper.setting(profile, scale), progress="lines").provenance
        except Exception as error:  # whatever it is, the others are trained
            if not isinstance(error, SRError):
                traceback.print_exc()
            print(f"{name} failed: {type(error).__name__}: {error}", flush=True)
            failed.append(name)
            continue
        print(f"{number} of {len(pairs)}  {name}: {made['steps']} steps, {time.monotonic() - begin:.0f} s", flush=True)
        rows.append({"method": method, "scale": scale, "steps": made["steps"], "minutes": made["minutes"]})
    if not failed:
        notebooks.save_metrics(pd.DataFrame(rows), profile, "trainings", paper_name)
    return failed


@tolerant()
def main(argv: list[str]) -> int:
    """Train for the given profile, paper and scales; return 0, 1 where trainings failed, or 2 after an error message."""
    if len(argv) < 2 or not all(scale.isdigit() for scale in argv[2:]):
        print("error: usage: python -m srlib.reproduce.trainings PROFILE PAPER [SCALE...]", file=sys.stderr)
        return 2
    paths.make_absolute()
    try:
        failed = train_all(argv[0], argv[1], [int(scale) for scale in argv[2:]])
    except SRError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if failed:
        print(f"failed: {', '.join(failed)}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
