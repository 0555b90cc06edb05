"""What `make reproduce ON=slurm` asks of SLURM: whether it answers, which jobs it has, and to cancel them.

All jobs of one call have the same SLURM name, Snakemake's run ID; which notebook a job runs stands in Snakemake's log.
"""

import re
import signal
import subprocess
import sys
import time

ANSWER = 60  # seconds that a command of SLURM may take
ENDING = 90  # seconds for cancelled jobs to end: SLURM kills them after KillWait, 30 s by default
REMEMBERED = 200  # seconds: Snakemake asks for ended jobs every 180 s at the latest

RUN = re.compile(r"^SLURM run ID: (\S+)$", re.MULTILINE)
NOTEBOOK = re.compile(r"^    log: notebooks/[^/]+/(\S+)\.ipynb, .+\n    jobid: (\d+)$", re.MULTILINE)
EVENT = re.compile(
    r"^Job (?P<submitted>\d+) has been submitted with SLURM jobid (?P<job>\d+) \(log: (?P<log>.+)\)\.$"
    r"|^Finished jobid: (?P<finished>\d+) "
    r"|^Error in rule .+\n    message: (?P<message>(?:.*\n)*?)    jobid: (?P<failed>\d+)$",
    re.MULTILINE,
)
STATUS = re.compile(r"SLURM-job '(\d+)' failed.* SLURM status is: '(\w+)'")
REFUSED = re.compile(r"The error message was '(.+?)'\.$", re.MULTILINE | re.DOTALL)


def ask(*command: str) -> subprocess.CompletedProcess:
    """Run a command of SLURM; one that is missing or does not answer in time has failed."""
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=ANSWER)
    except FileNotFoundError:
        return subprocess.CompletedProcess(command, 1, "", f"{command[0]} is not installed")
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"{command[0]} did not answer within {ANSWER} s")


def why(failed: subprocess.CompletedProcess) -> str:
    """Return the last line that a failed command printed."""
    return (failed.stderr.strip() or f"{failed.args[0]} exited with {failed.returncode}").split("\n")[-1]


def status_command() -> str:
    """Return the command that tells which jobs have ended: sacct where it answers, else squeue. Ends where neither can."""
    config = ask("scontrol", "show", "config")
    if config.returncode:
        sys.exit(f"error: ON=slurm, but SLURM does not answer: {why(config)}\nTry again when `sinfo` lists its nodes.")
    accounting = ask("sacct", "--allocations", "--clusters=all", "--noheader", "--name=none")  # as Snakemake will ask it
    if accounting.returncode == 0:
        return "sacct"
    remembered = int(re.search(r"^MinJobAge\s*=\s*(\d+)", config.stdout, re.MULTILINE)[1])
    if remembered < REMEMBERED:
        sys.exit(
            f"error: ON=slurm: sacct does not answer ({why(accounting)}), and squeue forgets ended jobs after "
            f"{remembered} s (MinJobAge).\nIt needs {REMEMBERED} s or more, or accounting: ask the cluster's administrator."
        )
    print(f"SLURM has no accounting (sacct: {why(accounting)}); squeue tells which jobs have ended.", flush=True)
    return "squeue"


class Jobs:
    """What Snakemake's log tells of the jobs of a call."""

    def __init__(self, log: str):
        self.run = found[1] if (found := RUN.search(log)) else ""  # all jobs have this SLURM name
        self.notebook = {}  # of each SLURM job
        self.killed = {}  # notebook: why it could not end by itself
        self.failed = set()  # SLURM jobs
        self.events = []  # a line for the user each
        notebooks = {number: name for name, number in NOTEBOOK.findall(log)}
        sent = {}
        for found in EVENT.finditer(log):
            name = notebooks.get(found["submitted"] or found["finished"] or found["failed"])
            if found["submitted"]:
                sent[name] = found["log"]
                self.killed.pop(name, None)  # it is tried again
                self.notebook[found["job"]] = name
                self.events.append(f"  queued  {name}, SLURM job {found['job']}")
            elif found["finished"] and name in sent:
                self.events.append(f"  done    {name}")
            elif found["failed"] and (status := STATUS.search(found["message"])):
                self.failed.add(status[1])
                self.events.append(f"  FAILED  {name}, SLURM job {status[1]}: {status[2]}\n          see {sent[name]}")
                if status[2] != "FAILED":
                    self.killed[name] = f"SLURM job {status[1]}: {status[2]}"
            elif found["failed"] and name:
                refused = REFUSED.search(found["message"])
                self.killed[name] = (refused[1] if refused else found["message"]).strip().split("\n")[-1]
                self.events.append(f"  FAILED  {name}: {self.killed[name]}")


def stop(snakemake: subprocess.Popen) -> None:
    """Kill Snakemake, after the submissions that it is at have ended.

    Interrupted, it would go on submitting what is in its own queue, and end only after its next look at the jobs.
    """
    import psutil  # comes with accelerate

    if snakemake.poll() is None:
        snakemake.send_signal(signal.SIGSTOP)
        submissions = psutil.Process(snakemake.pid).children()
        snakemake.kill()
        psutil.wait_procs(submissions, timeout=ANSWER)


def cancel(log: str, interrupted: bool = False) -> list[str]:
    """Cancel the jobs of the call that wrote this log and wait until they have ended; return a line for each.

    `interrupted`: Snakemake heard of Ctrl-C too, and may have cancelled some already.
    """
    jobs = Jobs(log)
    if not jobs.run:
        return []
    cancelled, deadline = set(), time.monotonic() + ENDING
    squeue = ("squeue", "--noheader", "--format=%i", f"--name={jobs.run}")
    while (left := ask(*squeue)).stdout.strip() and time.monotonic() < deadline:
        cancelled |= set(left.stdout.split())
        ask("scancel", f"--name={jobs.run}")
        time.sleep(1)
    if interrupted:
        cancelled |= set(ask(*squeue, "--states=CANCELLED").stdout.split())
    told = [
        f"  stopped {jobs.notebook.get(job, 'a notebook')}, SLURM job {job}" for job in sorted(cancelled - jobs.failed, key=int)
    ]
    if left.returncode or left.stdout.strip():
        trouble = why(left) if left.returncode else f"jobs {', '.join(left.stdout.split())} have not ended"
        told.append(f"error: {trouble}; see `squeue --me`, and cancel them with `scancel --name={jobs.run}`")
    return told
