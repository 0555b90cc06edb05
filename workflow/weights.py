"""Train what the plan, `data/plan.toml`, has and `data/weights` lacks: `make weights`, most wanted first.

Whatever ends a call, the same call goes on where it ended. With --release the networks that are done are copied into
`data/weights`, and nothing is trained.
"""

import argparse
import signal
import sys

import torch

from srlib.core import paths
from srlib.core.errors import SRError
from srlib.reproduce import plan, queue


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make weights", description=__doc__.split("\n")[0])
    parser.add_argument("--jobs", default="", help="networks at a time, a thread each (default: 1)")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="networks or comparisons (default: all)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--dry-run", action="store_true", help="list what is left, with its estimated hours")
    what.add_argument("--release", action="store_true", help="copy the networks that are done into data/weights")
    return parser.parse_args()


def run(args: argparse.Namespace) -> int:
    """Do what was asked for; return 1 where something failed. Raises SRError."""
    if args.jobs and not (args.jobs.isdigit() and int(args.jobs) > 0):
        raise SRError(f"JOBS (={args.jobs}) must be a whole number from 1")
    jobs = int(args.jobs or 1)
    ledger = queue.Ledger(plan.read())
    queue.check_sets(ledger.wanted(args.only))
    if args.dry_run:
        print(queue.overview(ledger, args.only, jobs))
        return 0
    if args.release:
        files, failed = queue.release(ledger, args.only)
        print("\n".join(map(str, files)) or "Nothing is there to release.")
    else:
        failed = queue.work(ledger, args.only, jobs)
        if not failed:
            print("Nothing is left to train. Release what is done: make weights ARGS=--release")
    if failed:
        print("Failed:\n  " + "\n  ".join(failed))
    return int(bool(failed))


def main() -> int:
    paths.make_absolute()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    torch.set_num_threads(1)
    try:
        return run(arguments())
    except SRError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command continues where this one ended", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
