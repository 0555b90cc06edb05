"""Train the networks of `data/plan.toml` that `data/weights` lacks, in the order of the plan: `make weights`.

An interrupted call resumes when repeated. --release trains nothing and copies the networks of which a leg is complete into
`data/weights`.
"""

import argparse
import signal
import sys

import torch

from srlib.core import paths
from srlib.core.errors import SRError
from srlib.reproduce import plan, queue
from srlib.reproduce.ledger import Ledger, check_sets, overview


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make weights", description=__doc__.split("\n")[0])
    parser.add_argument("--jobs", default="", help="networks trained in parallel, one thread each (default: 1)")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="networks or comparisons (default: all)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--dry-run", action="store_true", help="list the networks to train, with estimated hours")
    what.add_argument("--release", action="store_true", help="copy the networks of which a leg is complete into data/weights")
    return parser.parse_args()


def run(args: argparse.Namespace) -> int:
    """Run the chosen action; return 1 if a network failed. Raises SRError."""
    if args.jobs and not (args.jobs.isdigit() and int(args.jobs) > 0):
        raise SRError(f"JOBS (={args.jobs}) must be a whole number from 1")
    jobs = int(args.jobs or 1)
    ledger = Ledger(plan.read())
    check_sets(ledger.wanted(args.only))
    if args.dry_run:
        print(overview(ledger, args.only, jobs))
        return 0
    if args.release:
        files, failed = queue.release(ledger, args.only)
        print("\n".join(map(str, files)) or "Nothing to release.")
    else:
        failed = queue.work(ledger, args.only, jobs)
        if not failed:
            print("Nothing left to train. To release the networks: make weights ARGS=--release")
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
