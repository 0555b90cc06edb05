"""How long it takes to score all released weights on all benchmarks: the sum of the seconds that were measured image by image.

Every score that a notebook has asked for is remembered with the time of its forward pass, on one thread; scores of weights that
are no longer released do not count. Reading images, degradation and metrics come on top (see `metrics.py` and `imresize.py`).
Run it after `make reproduce PROFILE=released`. Target: 2 hours on 2 cores.

    python benchmarks/evaluation.py [--cores 2]
"""

import argparse
import sys
from collections import Counter

import pandas as pd

from srlib import paths
from srlib.data.files import sha256

LIMIT = 120  # minutes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cores", type=int, default=2)
    args = parser.parse_args()
    spent: Counter[str] = Counter()
    images = 0
    for file in sorted((paths.home() / "data" / "weights").glob("*.safetensors")):
        for scores in (paths.runs_dir() / "released" / f"{file.stem}-{sha256(file)[:10]}").glob("*.csv"):
            rows = pd.read_csv(scores)
            if "seconds" in rows:
                spent[file.stem] += rows["seconds"].sum() / 60
                images += len(rows)
    if not spent:
        print("no scores of released weights yet; run: make reproduce PROFILE=released", file=sys.stderr)
        return 1
    for name, minutes in spent.most_common():
        print(f"{name:24} {minutes:7.1f} min")
    total = sum(spent.values())
    print(f"{len(spent)} networks, {images:,} images: {total:.0f} minutes on one core, {total / args.cores:.0f} on {args.cores}")
    return int(total / args.cores > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
