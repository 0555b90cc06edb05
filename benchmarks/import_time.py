"""How long `import srlib` takes on top of `import torch`: the seconds that every notebook and command waits.

Each import runs in a fresh interpreter, alternating, and the medians are compared. Target: under 0.3 s.

    python benchmarks/import_time.py [--repeats 9]
"""

import argparse
import statistics
import subprocess
import sys

STATEMENTS = {
    "torch": "import torch",
    "torch, srlib": "import torch, srlib",
    "torch, srlib and its models": "import torch, srlib, srlib.nn.models",
    "torch, srlib.train.training (with accelerate and pandas)": "import torch, srlib, srlib.train.training",
}
LIMIT = 0.3


def seconds(statement: str) -> float:
    code = f"import time; began = time.perf_counter(); {statement}; print(time.perf_counter() - began)"
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args().repeats
    times = {name: [] for name in STATEMENTS}
    for turn in range(repeats + 1):  # the first turn fills the disk's cache
        for name, statement in STATEMENTS.items():
            taken = seconds(statement)
            if turn:
                times[name].append(taken)
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, median in medians.items():
        print(f"{name:52s} {median:6.3f} s   {median - medians['torch']:+.3f} s")
    extra = medians["torch, srlib"] - medians["torch"]
    print(f"import srlib: {extra:.3f} s on top of torch, {'within' if extra < LIMIT else 'ABOVE'} the limit of {LIMIT} s")
    return int(extra >= LIMIT)


if __name__ == "__main__":
    sys.exit(main())
