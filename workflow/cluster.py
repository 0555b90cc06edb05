"""Jobs that `make reproduce` has on SLURM or Kubernetes: what Snakemake's log says of them, and how they are cancelled.

All jobs of a call share one name on SLURM, Snakemake's run ID, and one label on Kubernetes, `srlib-run`.
"""

import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

ANSWER = 60  # seconds that a command of the cluster may take
ENDING = 90  # seconds for cancelled jobs to end: both clusters kill them after 30 s by default
REMEMBERED = 200  # seconds: Snakemake asks SLURM for ended jobs every 180 s at the latest

RUN = re.compile(r"^(?:SLURM|Kubernetes) run ID: (\S+)$", re.MULTILINE)
NOTEBOOK = re.compile(r"^    log: notebooks/[^/]+/(\S+)\.(?:ipynb, .+|log)\n    jobid: (\d+)$", re.MULTILINE)
EVENT = re.compile(
    r"^Job (?P<submitted>\d+) has been submitted with SLURM jobid (?P<job>\d+) \(log: (?P<log>.+)\)\.$"
    r"|^Submitted job (?P<created>\d+) with external jobid '(?P<name>.+)'\.$"
    r"|^Finished jobid: (?P<finished>\d+) "
    r"|^Error in rule .+\n(?:    message: (?P<message>(?:.*\n)*?))?    jobid: (?P<failed>\d+)$",
    re.MULTILINE,
)
STATUS = re.compile(r"SLURM-job '(\d+)' failed.* SLURM status is: '(\w+)'")
GENERIC = re.compile(r"For further error details see .+\s*")  # what Snakemake adds to each message
REFUSED = re.compile(r"The error message was '(.+?)'\.$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Cluster:
    """How a cluster's jobs of one run are submitted, listed, one a line, and cancelled. ended: lists those cancelled before."""

    label: str
    submit: str
    list: str
    cancel: str
    ended: str = ""


SELECTED = "jobs --selector=srlib-run={run}"
CLUSTERS = {
    "slurm": Cluster(
        "SLURM job",
        "sbatch",
        "squeue --noheader --format=%i --name={run}",
        "scancel --name={run}",
        "squeue --noheader --format=%i --name={run} --states=CANCELLED",
    ),
    "kubernetes": Cluster(
        "Kubernetes Job",
        "kubectl",
        # its pods that succeeded and failed, <none> while it runs; a deleted Job stays until its pod has ended
        f"kubectl get {SELECTED} --no-headers --output=custom-columns=N:.metadata.name,S:.status.succeeded,F:.status.failed",
        f"kubectl delete {SELECTED} --ignore-not-found --cascade=foreground --wait=false",
    ),
}


def ask(*command: str) -> subprocess.CompletedProcess:
    """Run a command of the cluster; one that is missing or does not answer in time has failed."""
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=ANSWER)
    except FileNotFoundError:
        return subprocess.CompletedProcess(command, 1, "", f"{command[0]} is not installed")
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"{command[0]} did not answer within {ANSWER} s")


def error_of(failed: subprocess.CompletedProcess) -> str:
    """Return the last line that a failed command printed."""
    return (failed.stderr.strip() or f"{failed.args[0]} exited with {failed.returncode}").split("\n")[-1]


def status_command() -> str:
    """Return the command that lists ended jobs of SLURM: sacct where it answers, else squeue. Exits where neither can."""
    config = ask("scontrol", "show", "config")
    if config.returncode:
        sys.exit(f"error: ON=slurm, but SLURM does not answer: {error_of(config)}\nTry again when `sinfo` lists its nodes.")
    accounting = ask("sacct", "--allocations", "--clusters=all", "--noheader", "--name=none")  # as Snakemake will ask it
    if accounting.returncode == 0:
        return "sacct"
    remembered = int(re.search(r"^MinJobAge\s*=\s*(\d+)", config.stdout, re.MULTILINE)[1])
    if remembered < REMEMBERED:
        sys.exit(
            f"error: ON=slurm: sacct does not answer ({error_of(accounting)}), and squeue forgets ended jobs after "
            f"{remembered} s (MinJobAge).\nIt needs {REMEMBERED} s or more, or accounting: ask the cluster's administrator."
        )
    print(f"SLURM has no accounting (sacct: {error_of(accounting)}); squeue lists ended jobs.", flush=True)
    return "squeue"


class Jobs:
    """The jobs of a call, from Snakemake's log: run (its ID, "" for none), notebook (by job), killed (notebook: why it could not
    end by itself), failed (jobs) and events (a line for the user each)."""

    def __init__(self, log: str):
        self.run = match[1] if (match := RUN.search(log)) else ""
        self.notebook, self.killed, self.failed, self.events = {}, {}, set(), []
        notebooks = {number: name for name, number in NOTEBOOK.findall(log)}
        sent = {}  # job and log, by notebook
        for event in EVENT.finditer(log):
            submitted, job = event["submitted"] or event["created"], event["job"] or event["name"]
            notebook = notebooks.get(submitted or event["finished"] or event["failed"])
            if submitted:
                label = f"{'SLURM job' if event['job'] else 'Kubernetes Job'} {job}"
                sent[notebook] = label, event["log"]
                self.killed.pop(notebook, None)  # it is tried again
                self.notebook[job] = notebook
                self.events.append(f"  queued  {notebook}, {label}")
            elif event["finished"] and notebook in sent:
                self.events.append(f"  done    {notebook}")
            elif event["failed"] and notebook:
                self._fail(notebook, GENERIC.sub("", event["message"] or "").strip(), *sent.get(notebook, ("", None)))

    def _fail(self, notebook: str, message: str, label: str, log: str | None) -> None:
        if status := STATUS.search(message):
            self.failed.add(status[1])
            self.events.append(f"  FAILED  {notebook}, SLURM job {status[1]}: {status[2]}\n          see {log}")
            if status[2] != "FAILED":
                self.killed[notebook] = f"SLURM job {status[1]}: {status[2]}"
        elif message:
            refused = REFUSED.search(message)
            self.killed[notebook] = (refused[1] if refused else message).strip().split("\n")[-1]
            self.events.append(f"  FAILED  {notebook}: {self.killed[notebook]}")
        else:
            self.events.append(f"  FAILED  {notebook}, {label}")


def stop(snakemake: subprocess.Popen) -> None:
    """Kill Snakemake, after the submissions that it is at have ended.

    Interrupted, it would go on submitting what is in its own queue, and end only after its next look at the jobs.
    """
    import psutil  # comes with accelerate

    if snakemake.poll() is None:
        snakemake.send_signal(signal.SIGSTOP)
        submissions = psutil.Process(snakemake.pid).children(recursive=True)
        snakemake.kill()
        psutil.wait_procs(submissions, timeout=ANSWER)


def cancel(cluster: Cluster, log: str, interrupted: bool = False) -> list[str]:
    """Cancel the jobs of the call that wrote this log and wait until they have ended; return a line for each.

    interrupted: Snakemake got Ctrl-C too, and may have cancelled some already.
    """
    jobs = Jobs(log)
    if not jobs.run:
        return []

    def query(command: str) -> tuple[subprocess.CompletedProcess, set[str]]:
        answer = ask(*(word.format(run=jobs.run) for word in command.split()))
        return answer, {job for job, *ended in map(str.split, answer.stdout.splitlines()) if not set(ended) - {"<none>"}}

    cancelled, deadline = set(), time.monotonic() + ENDING
    answer, running = query(cluster.list)
    while running and time.monotonic() < deadline:
        cancelled |= running
        query(cluster.cancel)
        time.sleep(1)
        answer, running = query(cluster.list)
    if interrupted and cluster.ended:
        cancelled |= query(cluster.ended)[1]
    lines = [
        f"  stopped {jobs.notebook.get(job, 'a notebook')}, {cluster.label} {job}" for job in sorted(cancelled - jobs.failed)
    ]
    if answer.returncode or running:
        trouble = error_of(answer) if answer.returncode else f"jobs {', '.join(sorted(running))} have not ended"
        lines.append(f"error: {trouble}; cancel them with `{cluster.cancel.format(run=jobs.run)}`")
    return lines
