"""What `make reproduce` runs: Snakemake with the folder guarded and its output made short.

One call works in a runs folder at a time; a second one waits. Whatever ends a call (Ctrl-C, a full disk, kill -9, a power
cut), the same call resumes where it ended.
"""

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable
from pathlib import Path

from cluster import CLUSTERS, Cluster, Jobs, cancel, status_command, stop
from job import reason
from progress import Progress

from srlib.core import paths

ROOT = Path(__file__).resolve().parents[1]
ERROR = re.compile(r"^error: .*", re.MULTILINE)
NOTHING = "Nothing to do: everything is up to date."
IGNORED = {"__pycache__", ".ipynb_checkpoints"}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make reproduce", description=__doc__.split("\n")[0])
    parser.add_argument("--profile", default="quick", help="how much of everything: smoke, quick, released or paper")
    parser.add_argument("--paper", default="", help="which papers, separated by commas (default: all)")
    parser.add_argument("--scale", default="", help="which scales (default: the profile's)")
    parser.add_argument("--jobs", default="", help="notebooks at a time; they share the cores (default: 2)")
    parser.add_argument("--on", default="laptop", help="the workflow profile: laptop, slurm or kubernetes")
    args = parser.parse_args()
    if args.jobs and not (args.jobs.isdigit() and int(args.jobs) > 0):
        sys.exit(f"error: JOBS (={args.jobs}) must be a whole number from 1")
    known = sorted(folder.parent.name for folder in (ROOT / "workflow").glob("*/config.yaml"))
    if args.on not in known:
        sys.exit(f"error: ON (={args.on}) must be one of {', '.join(known)}")
    tool = CLUSTERS[args.on].submit if args.on in CLUSTERS else None
    if tool and not shutil.which(tool):
        sys.exit(f"error: ON={args.on} needs {tool}, which is not in PATH; run it where {tool} works, or with ON=laptop")
    return args


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def where(folder: Path) -> str:
    """Return a path as the user would type it."""
    return os.path.relpath(folder) if folder.is_relative_to(Path.cwd()) else str(folder)


def guard(runs: Path) -> int:
    """Lock the runs folder for this call and all it starts; waits, and says so, while another call holds it."""
    file = runs / ".reproduce.lock"
    try:
        runs.mkdir(parents=True, exist_ok=True)
        lock = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        sys.exit(f"error: cannot write {runs}: {error.strerror}; set SRLIB_RUNS to a folder that can be written")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        other = os.read(lock, 32).decode().strip() or "unknown"
        print(f"Another `make reproduce` (process {other}) works in {where(runs)}: waiting for it to end.", flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def command(args: argparse.Namespace, runs: Path) -> list[str]:
    """Return the call of Snakemake; the lock of this script stands in for Snakemake's, which a kill would leave behind."""
    config = [f"profile={args.profile}", f"paper={args.paper}", f"scale={args.scale}"]
    call = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--directory", runs, "--nolock"]
    call += ["--profile", ROOT / "workflow" / args.on, "--quiet", "host", "reason"]
    if args.on == "slurm":
        call += ["--slurm-status-command", status_command()]
    if args.on == "laptop":
        jobs = min(int(args.jobs or 2), cores())
        threads = cores() // jobs
        call += ["rules", "--cores", str(jobs * threads)]  # quiet, too: a cluster's log shows which notebook each job runs
        config.append(f"threads={threads}")
    elif args.jobs:
        call += ["--jobs", args.jobs]
    return [str(part) for part in [*call, "--config", *config]]


def follow(process: subprocess.Popen, log: Path, progress: Progress, cluster: Cluster | None) -> None:
    """Print Snakemake's progress until it ends. Where make is killed, so is its work."""
    n_errors, n_events, parent, ended = 0, 0, os.getppid(), False
    while not ended:
        if "MAKELEVEL" in os.environ and os.getppid() != parent:
            raise KeyboardInterrupt
        ended = process.poll() is not None
        text = log.read_text(errors="replace")
        text = text[: text.rfind("\n") + 1]  # whole lines
        errors, events = ERROR.findall(text), Jobs(text).events if cluster else []
        for line in [*errors[n_errors:], *events[n_events:], *progress.lines(text)]:
            print(line, flush=True)
        n_errors, n_events = len(errors), len(events)
        time.sleep(0 if ended else 0.2)


def inputs(args: argparse.Namespace) -> str:
    """Return a digest of all that decides what Snakemake would make: the request, and size and time of the files it may read."""
    home = Path(os.environ.get("SRLIB_HOME") or ROOT)
    folders, files = (
        [ROOT / "workflow", *(home / name for name in ("srlib", "notebooks", "data", "figures"))],
        [ROOT / "Snakefile"],
    )
    for folder in folders:
        files += (file for file in folder.rglob("*") if file.is_file() and not {*file.parts} & IGNORED)
    return digest([sys.executable, sorted(vars(args).items()), paths.data_dir(), paths.fetched()], files)


def outputs(args: argparse.Namespace, runs: Path, figures: Path) -> str:
    """Return a digest of what a profile's jobs leave: metrics, tables and figures, and the report's index."""
    left = (runs / "metrics" / args.profile, figures / args.profile)
    files = [file for folder in left for file in folder.rglob("*.*")]
    return digest([], [*files, *(runs / "report" / args.profile).glob("index.html")])


def digest(words: list, files: Iterable[Path]) -> str:
    stats = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(files)]
    return hashlib.sha256(repr((list(map(str, words)), stats)).encode()).hexdigest()


def interrupt(process: subprocess.Popen, log: Path, on: str) -> None:
    """End Snakemake and its jobs, also those that run elsewhere."""
    if on == "laptop":
        process.kill()
    else:
        print("\nStopping: the jobs that were sent to the cluster are cancelled.", flush=True)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C would leave some
        if on in CLUSTERS:
            stop(process)
            for line in cancel(CLUSTERS[on], log.read_text(errors="replace"), interrupted=True):
                print(line, flush=True)
        else:
            process.send_signal(signal.SIGINT)  # it cancels what it has sent
    process.wait()


def failures(runs: Path, profile: str, since: float, killed: dict[str, str]) -> list[str]:
    """Return one or two lines for each notebook that was run since a time (in seconds since the epoch) and left no metrics.

    killed: why a notebook did not end by itself.
    """
    lines = []
    folder = runs / "notebooks" / profile
    for text in sorted(folder.rglob("*.log")):
        name = text.relative_to(folder).with_suffix("")
        metrics = (runs / "metrics" / profile / name.parent).glob(f"{name.name}.*")
        if text.stat().st_mtime >= since and not any(metrics):
            notebook = text.with_suffix(".ipynb")
            file = notebook if notebook.exists() else text
            lines.append(f"  {name}: " + (killed.get(str(name)) or f"{reason(notebook, text)}\n    see {where(file)}"))
    return lines


def places(args: argparse.Namespace, runs: Path, figures: Path, said: str) -> None:
    """Print where the results are."""
    print(f"{said} Profile {args.profile}:")
    gone = (
        "" if (figures / args.profile).is_dir() else f", which is gone; delete {where(runs / 'metrics' / args.profile)} to redraw"
    )
    print(f"  tables and figures  {where(figures / args.profile)}{gone}")
    print(f"  executed notebooks  {where(runs / 'notebooks' / args.profile)}")
    print(f"  HTML report         {where(runs / 'report' / args.profile / 'index.html')}")


def report(args: argparse.Namespace, runs: Path, figures: Path, log: Path, status: int, begin: float) -> None:
    """Print what a call has made, or what failed."""
    text = log.read_text(errors="replace")
    failed = failures(runs, args.profile, begin, Jobs(text).killed) if status else []
    if status == 0:
        minutes = (time.time() - begin) / 60
        places(args, runs, figures, NOTHING if "Nothing to be done" in text else f"Done in {minutes:.1f} minutes.")
    elif status < 0:
        print(f"Snakemake was killed (signal {-status}). The same command continues where this one ended.")
    elif failed:
        print("Failed:\n" + "\n".join(failed) + "\nThe same command runs again only what is missing.")
    elif "\nerror: " not in f"\n{text}":
        print("\n".join(text.strip().split("\n")[-12:]) + f"\nSnakemake failed; its whole log: {where(log)}")


def main() -> int:
    args = arguments()
    cluster = CLUSTERS.get(args.on)
    paths.make_absolute()  # Snakemake works in another folder
    runs = Path(os.environ.get("SRLIB_RUNS") or ROOT / "runs")
    figures = Path(os.environ.get("SRLIB_FIGURES") or runs / "figures")
    log, run = runs / "snakemake.log", uuid.uuid4().hex
    os.environ |= {"SRLIB_RUNS": str(runs), "SRLIB_FIGURES": str(figures), "SRLIB_RUN": run}

    call = command(args, runs)
    lock = guard(runs)
    begin, given, made = time.time(), inputs(args), runs / ".made" / args.profile
    if made.exists() and made.read_text() == given + outputs(args, runs, figures):
        places(args, runs, figures, NOTHING)
        return 0
    environment = dict(os.environ)
    if args.on == "laptop":
        alive = (runs / ".alive").open("w")  # locked while this process lives; its notebooks look at it
        fcntl.flock(alive, fcntl.LOCK_EX)
        environment["SRLIB_ALIVE"] = alive.name
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if cluster and log.exists() and (cancelled := cancel(cluster, log.read_text(errors="replace"))):
        print("An earlier call was killed and left these jobs:\n" + "\n".join(cancelled), flush=True)
    with log.open("w") as stream:
        if args.on == "kubernetes":
            print(f"Kubernetes run ID: {run}", file=stream, flush=True)
        process = subprocess.Popen(call, stdin=subprocess.DEVNULL, stderr=stream, env=environment, pass_fds=[lock])
    try:
        follow(process, log, Progress(args.profile if args.on == "laptop" else "", min(int(args.jobs or 2), cores())), cluster)
    except KeyboardInterrupt:
        interrupt(process, log, args.on)
        if args.on == "laptop":
            alive.close()
            time.sleep(1)  # its jobs see that the lock is gone
        print("\nStopped. The same command continues where this one ended.")
        return 130
    if process.returncode == 0:
        made.parent.mkdir(exist_ok=True)
        made.write_text(given + outputs(args, runs, figures))
    report(args, runs, figures, log, process.returncode, begin)
    return int(process.returncode != 0)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # while it waited for another call
        sys.exit(130)
