"""What `make reproduce` runs: Snakemake with the folder guarded and its output made short.

One call works in a runs folder at a time; a second one waits. Whatever ends a call (Ctrl-C, a full disk, kill -9, a power
cut), the same call goes on where it ended.
"""

import argparse
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from job import reason
from slurm import jobs as slurm

ROOT = Path(__file__).resolve().parents[1]
TOOL = {"slurm": "sbatch", "kubernetes": "kubectl"}  # what submits the jobs
SHOWN = re.compile(r"(\d+ of \d+) steps \((\d+%)\) done|^(error: .*)")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make reproduce", description=__doc__.split("\n")[0])
    parser.add_argument("--profile", default="quick", help="how much of everything: smoke, quick, released or paper")
    parser.add_argument("--paper", default="", help="which papers, separated by commas (default: all)")
    parser.add_argument("--scale", default="", help="which scales (default: the profile's)")
    parser.add_argument("--jobs", default="", help="notebooks at a time; they share the cores (default: 2)")
    parser.add_argument("--on", default="laptop", help="the workflow profile: laptop, slurm or kubernetes")
    return parser.parse_args()


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def where(folder: Path) -> str:
    """Return a path as the user would type it."""
    return os.path.relpath(folder) if folder.is_relative_to(Path.cwd()) else str(folder)


def guard(runs: Path) -> int:
    """Hold the runs folder for this call and all it starts; waits, and says so, while another call holds it."""
    file = runs / ".reproduce.lock"
    try:
        runs.mkdir(parents=True, exist_ok=True)
        held = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        sys.exit(f"error: cannot write {runs}: {error.strerror}; set SRLIB_RUNS to a folder that can be written")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        other = os.read(held, 32).decode().strip() or "unknown"
        print(f"Another `make reproduce` (process {other}) works in {where(runs)}: waiting for it to end.", flush=True)
        fcntl.flock(held, fcntl.LOCK_EX)
    os.ftruncate(held, 0)
    os.pwrite(held, f"{os.getpid()}\n".encode(), 0)
    return held


def command(args: argparse.Namespace, runs: Path) -> list[str]:
    """Return the call of Snakemake; the lock of this script stands in for Snakemake's, which a kill would leave behind."""
    config = [f"profile={args.profile}", f"paper={args.paper}", f"scale={args.scale}"]
    call = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--directory", runs, "--nolock"]
    call += ["--profile", ROOT / "workflow" / args.on, "--quiet", "host", "reason"]
    if args.on == "slurm":  # its log shows which notebook each job runs
        call += ["--slurm-status-command", slurm.status_command()]
    else:
        call.append("rules")
    if args.on == "laptop":
        jobs = min(int(args.jobs or 2), cores())
        threads = cores() // jobs
        call += ["--cores", str(jobs * threads)]
        config.append(f"threads={threads}")
    elif args.jobs:
        call += ["--jobs", args.jobs]
    return [str(part) for part in [*call, "--config", *config]]


def follow(process: subprocess.Popen, log: Path, on: str) -> str:
    """Print Snakemake's progress until it ends; return all that it said. Where make is killed, so is its work."""
    printed, told, parent = 0, 0, os.getppid()
    while True:
        if "MAKELEVEL" in os.environ and os.getppid() != parent:
            raise KeyboardInterrupt
        ended = process.poll() is not None
        said = log.read_text(errors="replace")
        lines = said.split("\n")
        for line in lines[printed:-1]:
            found = SHOWN.search(line)
            if found:
                print(found[3] or f"  {found[1]} steps, {found[2]}", flush=True)
        if on == "slurm" and len(lines) - 1 > printed:
            events = slurm.Jobs(said).events
            for event in events[told:]:
                print(event, flush=True)
            told = len(events)
        printed = len(lines) - 1
        if ended:
            return said
        time.sleep(0.2)


def failures(runs: Path, profile: str, since: float, killed: dict[str, str]) -> list[str]:
    """Return one or two lines for each notebook that was run since a time (in seconds since the epoch) and left no metrics.

    `killed` holds why a notebook did not end by itself.
    """
    told = []
    folder = runs / "notebooks" / profile
    for text in sorted(folder.rglob("*.log")):
        name = text.relative_to(folder).with_suffix("")
        made = (runs / "metrics" / profile / name.parent).glob(f"{name.name}.*")
        if text.stat().st_mtime >= since and not any(made):
            notebook = text.with_suffix(".ipynb")
            shown = notebook if notebook.exists() else text
            why = killed.get(str(name)) or f"{reason(notebook, text)}\n    see {where(shown)}"
            told.append(f"  {name}: {why}")
    return told


def results(runs: Path, figures: Path, profile: str) -> str:
    rows = (
        ("tables and figures", figures / profile),
        ("executed notebooks", runs / "notebooks" / profile),
        ("HTML report", runs / "report" / profile / "index.html"),
    )
    return "\n".join(f"  {what:20s}{where(path)}" for what, path in rows)


def main() -> int:
    args = arguments()
    if args.jobs and not (args.jobs.isdigit() and int(args.jobs) > 0):
        sys.exit(f"error: JOBS (={args.jobs}) must be a whole number from 1")
    known = sorted(folder.parent.name for folder in (ROOT / "workflow").glob("*/config.yaml"))
    if args.on not in known:
        sys.exit(f"error: ON (={args.on}) must be one of {', '.join(known)}")
    tool = TOOL.get(args.on)
    if tool and not shutil.which(tool):
        sys.exit(f"error: ON={args.on} needs {tool}, which is not in PATH; run it where {tool} works, or with ON=laptop")
    runs = Path(os.path.abspath(os.environ.get("SRLIB_RUNS") or ROOT / "runs"))
    figures = Path(os.path.abspath(os.environ.get("SRLIB_FIGURES") or runs / "figures"))
    os.environ |= {"SRLIB_RUNS": str(runs), "SRLIB_FIGURES": str(figures)}

    call = command(args, runs)
    held = guard(runs)
    begin = time.time()
    environment = dict(os.environ)
    if args.on == "laptop":
        alive = (runs / ".alive").open("w")  # locked while this process lives; its notebooks look at it
        fcntl.flock(alive, fcntl.LOCK_EX)
        environment["SRLIB_ALIVE"] = alive.name
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    log = runs / "snakemake.log"
    if args.on == "slurm" and log.exists() and (left := slurm.cancel(log.read_text(errors="replace"))):
        print("An earlier call was killed and left these jobs:\n" + "\n".join(left), flush=True)
    with log.open("w") as stream:
        process = subprocess.Popen(call, stdin=subprocess.DEVNULL, stderr=stream, env=environment, pass_fds=[held])
    try:
        said = follow(process, log, args.on)
    except KeyboardInterrupt:
        if args.on == "laptop":
            process.kill()
            alive.close()
            time.sleep(1)  # its jobs see that the lock is gone
        else:
            print("\nStopping: the jobs that were sent to the cluster are cancelled.", flush=True)
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C would leave some
            if args.on == "slurm":
                slurm.stop(process)
                for line in slurm.cancel(log.read_text(errors="replace"), interrupted=True):
                    print(line, flush=True)
            else:
                process.send_signal(signal.SIGINT)  # it cancels what it has sent
        process.wait()
        print("\nStopped. The same command continues where this one ended.")
        return 130
    if process.returncode == 0:
        took = (time.time() - begin) / 60
        done = "Nothing to do: all is made." if "Nothing to be done" in said else f"Done in {took:.1f} minutes."
        print(f"{done} Profile {args.profile}:\n{results(runs, figures, args.profile)}")
        return 0
    told = failures(runs, args.profile, begin, slurm.Jobs(said).killed)
    if process.returncode < 0:
        print(f"Snakemake was killed (signal {-process.returncode}). The same command continues where this one ended.")
    elif told:
        print("Failed:\n" + "\n".join(told) + "\nThe same command runs again only what is missing.")
    elif "\nerror: " not in f"\n{said}":
        print("\n".join(said.strip().split("\n")[-12:]) + f"\nSnakemake failed; all it said: {where(log)}")
    return 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # while it waited for another call
        sys.exit(130)
