"""`make reproduce ON=slurm`: asks SLURM before it starts, names its jobs, cancels them, and makes the same tables."""

import getpass
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import pandas as pd
import psutil
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
DAEMONS = ("munged", "slurmctld", "slurmd")
COMMANDS = ("sbatch", "scontrol", "squeue", "scancel", "sacct", "srun", "sinfo")
TIMES = ["seconds", "step_seconds", "seconds_rounds", "step_seconds_rounds", "session", "busy"]

# One node without accounting, cgroups and GPUs; it is said to have what the jobs ask for.
CONFIG = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={daemon}
AuthInfo=socket={folder}/munge.socket
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
KillWait=2
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=128000 Gres=gpu:2
PartitionName=all Nodes=ALL Default=YES
"""


@pytest.fixture(autouse=True)
def outside_of_make(monkeypatch):
    monkeypatch.delenv("SRLIB_ALIVE", raising=False)
    monkeypatch.delenv("MAKELEVEL", raising=False)


def load():
    spec = importlib.util.spec_from_file_location("jobs", ROOT / "workflow" / "slurm" / "jobs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


jobs = load()


def reproduce(*args: str, home: Path = ROOT) -> list[str]:
    return [sys.executable, str(home / "workflow" / "reproduce.py"), "--profile", "smoke", *args]


def run(*args: str, home: Path = ROOT) -> tuple[int, str]:
    done = subprocess.run(reproduce(*args, home=home), capture_output=True, text=True, timeout=900)
    return done.returncode, done.stdout + done.stderr


# --- What SLURM answers -----------------------------------------------------------------------------------------------

ANSWERS = {
    "sbatch": "exit 1",
    "scontrol": "echo 'MinJobAge               = 300 sec'",
    "sacct": "echo 'Slurm accounting storage is disabled' >&2; exit 1",
}


@pytest.fixture
def answers(tmp_path, monkeypatch):
    """Put commands of SLURM in front of PATH that do what is given, by default those of a cluster without accounting."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def answer(**scripts: str):
        for name, script in {**ANSWERS, **scripts}.items():
            (folder / name).write_text(f"#!/bin/sh\n{script}\n")
            (folder / name).chmod(0o755)

    answer()
    return answer


def test_accounting_is_used_where_it_answers(answers):
    assert jobs.status_command() == "squeue"
    answers(sacct="exit 0")
    assert jobs.status_command() == "sacct"


def test_accounting_that_never_answers_is_not_waited_for(answers, monkeypatch, capsys):
    answers(sacct="exec sleep 60")
    monkeypatch.setattr(jobs, "ANSWER", 0.5)
    assert jobs.status_command() == "squeue"
    assert "SLURM has no accounting (sacct: sacct did not answer within 0.5 s); squeue tells" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("scripts", "message"),
    [
        ({"scontrol": "echo 'Unable to contact slurm controller' >&2; exit 1"},
         "error: ON=slurm, but SLURM does not answer: Unable to contact slurm controller\n"),
        ({"scontrol": "echo 'MinJobAge = 60 sec'"},
         "error: ON=slurm: sacct does not answer (Slurm accounting storage is disabled), and squeue forgets ended jobs after 60"),
    ],
)  # fmt: skip
def test_slurm_that_cannot_be_used_ends_the_call_before_it_starts(answers, tmp_path, scripts, message):
    answers(**scripts)
    status, said = run("--on", "slurm")
    assert status == 1 and said.startswith(message), said
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("on", "tool"), [("slurm", "sbatch"), ("kubernetes", "kubectl")])
def test_a_cluster_that_is_not_there_ends_the_call_before_it_starts(monkeypatch, tmp_path, on, tool):
    monkeypatch.setenv("PATH", str(tmp_path))
    status, said = run("--on", on)
    assert status == 1
    assert said == f"error: ON={on} needs {tool}, which is not in PATH; run it where {tool} works, or with ON=laptop\n"
    assert not (tmp_path / "runs").exists()


LOG = """\
SLURM run ID: 1-2
rule train:
    input: notebooks/x/train.ipynb
    log: notebooks/smoke/x/train_x_x2.ipynb, notebooks/smoke/x/train_x_x2.log
    jobid: 5
rule ablate:
    log: notebooks/smoke/x/ablate.ipynb, notebooks/smoke/x/ablate.log
    jobid: 3
Job 5 has been submitted with SLURM jobid 71 (log: /runs/71.log).
Error in rule ablate:
    message: SLURM sbatch failed. The error message was 'sbatch: error: Unknown account
sbatch: error: Batch job submission failed: Invalid account'.
    sbatch call:
        sbatch --parsable
For further error details see the cluster/cloud log and the log files of the involved rule(s).
    jobid: 3
    log: notebooks/smoke/x/ablate.ipynb, notebooks/smoke/x/ablate.log (check log file(s) for error details)
Error in rule train:
    message: SLURM-job '71' failed, SLURM status is: 'TIMEOUT'. Detailed failure reason unavailable.
    jobid: 5
    log: notebooks/smoke/x/train_x_x2.ipynb, notebooks/smoke/x/train_x_x2.log (check log file(s) for error details)
Job 5 has been submitted with SLURM jobid 72 (log: /runs/72.log).
Finished jobid: 5 (Rule: train)
Finished jobid: 1 (Rule: report)
"""


def test_each_job_is_told_by_notebook_and_slurm_id():
    found = jobs.Jobs(LOG)
    refused = "sbatch: error: Batch job submission failed: Invalid account"
    assert found.events == [
        "  queued  x/train_x_x2, SLURM job 71",
        f"  FAILED  x/ablate: {refused}",
        "  FAILED  x/train_x_x2, SLURM job 71: TIMEOUT\n          see /runs/71.log",
        "  queued  x/train_x_x2, SLURM job 72",
        "  done    x/train_x_x2",
    ]
    assert found.run == "1-2" and found.killed == {"x/ablate": refused}, "the training was tried again"
    first = LOG[: LOG.index("Job 5 has been submitted with SLURM jobid 72")]
    assert jobs.Jobs(first).killed == {"x/ablate": refused, "x/train_x_x2": "SLURM job 71: TIMEOUT"}


def test_jobs_that_cannot_be_cancelled_are_told_with_the_remedy(answers, monkeypatch):
    assert jobs.cancel("Building DAG of jobs...\n") == []
    remedy = "see `squeue --me`, and cancel them with `scancel --name=1-2`"
    answers(squeue="echo 'Unable to contact slurm controller' >&2; exit 1")
    assert jobs.cancel(LOG) == [f"error: Unable to contact slurm controller; {remedy}"]
    answers(squeue="echo 72", scancel="exit 1")
    monkeypatch.setattr(jobs, "ENDING", 0.1)
    assert jobs.cancel(LOG) == ["  stopped x/train_x_x2, SLURM job 72", f"error: jobs 72 have not ended; {remedy}"]


# --- A real SLURM -----------------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return made.getsockname()[1]


def members(folder: Path) -> list[str]:
    """Return what runs in a cluster: its daemons, its jobs and who submits them."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("TEST_CLUSTER") == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()) or process.name())
        except psutil.Error:  # gone in between, or not ours
            continue
    return found


@pytest.fixture
def cluster(monkeypatch):
    """A SLURM of one node; all of it ends with the test."""
    monkeypatch.setenv("PATH", os.environ["PATH"] + os.pathsep + "/usr/sbin")
    if not all(shutil.which(name) for name in DAEMONS + COMMANDS):
        pytest.skip("needs slurm-wlm and munge")
    with tempfile.TemporaryDirectory(prefix="slurm-") as made:  # a short path: sockets lie in it
        folder, host = Path(made), socket.gethostname().split(".")[0]
        for name in ("state", "spool", "bin"):
            (folder / name).mkdir()
        ports = {"controller": free_port(), "daemon": free_port()}
        (folder / "slurm.conf").write_text(CONFIG.format(host=host, user=getpass.getuser(), folder=folder, **ports))
        (folder / "gres.conf").write_text(f"Name=gpu File={folder}/gpu[0-1]\n")
        for name in ("gpu0", "gpu1"):
            (folder / name).touch()
        (folder / "munge.key").write_bytes(os.urandom(128))
        (folder / "munge.key").chmod(0o600)
        # Jobs are rid of all SLURM_ variables, also of where this configuration lies.
        (folder / "bin" / "srun").write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {shutil.which("srun")} "$@"\n')
        (folder / "bin" / "srun").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}/bin{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setenv("SLURM_CONF", f"{folder}/slurm.conf")
        monkeypatch.setenv("TEST_CLUSTER", made)

        munge = {"socket": "munge.socket", "key-file": "munge.key", "pid-file": "munged.pid", "seed-file": "munged.seed"}
        daemons = []

        def start(*call: str, wait) -> None:
            with (folder / f"{call[0]}.log").open("w") as log:
                daemons.append(subprocess.Popen(call, stdout=log, stderr=subprocess.STDOUT))
            until(lambda: wait() or daemons[-1].poll() is not None, 30)
            assert daemons[-1].poll() is None and wait(), (folder / f"{call[0]}.log").read_text()

        try:
            options = [f"--{key}={folder}/{name}" for key, name in munge.items()]
            start("munged", "--foreground", "--force", *options, wait=(folder / "munge.socket").exists)
            start("slurmctld", "-D", wait=lambda: " is UP" in asked("scontrol", "ping"))
            start("slurmd", "-D", wait=lambda: asked("sinfo", "--noheader", "--format=%T") == "idle")
            yield folder
        finally:
            for daemon in reversed(daemons):
                daemon.terminate()
                daemon.wait(timeout=30)
            until(lambda: not members(folder), 10)
            assert not members(folder)


def asked(*call: str) -> str:
    return subprocess.run(call, capture_output=True, text=True, timeout=60).stdout.strip()


def until(true, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.1)


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """The repository with SLURM's profile as its user may edit it: a core for each notebook, and jobs looked at often."""
    home = tmp_path / "home"
    shutil.copytree(ROOT / "workflow", home / "workflow")
    for name in ("Snakefile", "srlib", "notebooks", "data"):
        (home / name).symlink_to(ROOT / name)
    file = home / "workflow" / "slurm" / "config.yaml"
    settings = yaml.safe_load(file.read_text())
    settings |= {"set-threads": dict.fromkeys(settings["set-threads"], 1), "slurm-init-seconds-before-status-checks": 2}
    file.write_text(yaml.safe_dump(settings))
    monkeypatch.setenv("SRLIB_HOME", str(home))
    return home


def queued(said: str) -> dict[str, str]:
    return dict(re.findall(r"^  queued  (\S+), SLURM job (\d+)$", said, re.MULTILINE))


class Call:
    """A call of `make reproduce` that goes on while the test looks at what it has printed."""

    def __init__(self, file: Path, home: Path):
        self.file = file
        call = reproduce("--paper", "btsrn", "--on", "slurm", home=home)
        with file.open("w") as out:
            options = {"stdout": out, "stderr": subprocess.STDOUT, "start_new_session": True}
            # A shell starts its background jobs, of which these tests may be one, with SIGINT ignored.
            heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
            self.process = subprocess.Popen(call, preexec_fn=heard, **options)

    def said(self) -> str:
        return self.file.read_text()

    def wait_for(self, *texts: str) -> None:
        until(lambda: all(text in self.said() for text in texts) or self.process.poll() is not None, 300)
        assert all(text in self.said() for text in texts), self.said()

    def kill(self, number: int) -> None:
        """Send a signal to all processes of the call, as Ctrl-C in a terminal does."""
        os.killpg(self.process.pid, number)
        self.process.wait(timeout=120)


def untimed(table: pd.DataFrame) -> pd.DataFrame:
    """Leave out times, and the verdicts on them."""
    if "metric" in table:
        table = table[~table.metric.isin(TIMES)]
    return table.drop(columns=TIMES, errors="ignore")


FIRST = ("btsrn/ablate", "btsrn/train_btsrn_x2", "btsrn/train_vdsr_x2")


def test_slurm_makes_the_same_tables(cluster, home, tmp_path, monkeypatch):
    """Ctrl-C cancels all jobs; the same call goes on, also when a job is killed, and makes what ON=laptop makes."""
    first = Call(tmp_path / "first", home)
    first.wait_for(*(f"  queued  {name}" for name in FIRST))
    until(lambda: "RUNNING" in asked("squeue", "--noheader", "--format=%T"), 30)
    os.killpg(first.process.pid, signal.SIGINT)
    first.wait_for("Stopping")
    first.kill(signal.SIGINT)  # an impatient user
    said = first.said()
    assert first.process.returncode == 130
    assert said.startswith("SLURM has no accounting (sacct: Slurm accounting storage is disabled); squeue tells which jobs")
    assert "\nStopping: the jobs that were sent to the cluster are cancelled.\n" in said
    for name, job in queued(said).items():
        assert f"  stopped {name}, SLURM job {job}\n" in said
    assert said.endswith("Stopped. The same command continues where this one ended.\n") and "Traceback" not in said
    assert not asked("squeue", "--noheader")

    killed = Call(tmp_path / "killed", home)
    killed.wait_for("  queued  ")
    killed.kill(signal.SIGKILL)  # it cannot cancel
    assert "An earlier call" not in killed.said(), "Ctrl-C left none"
    left = queued(killed.said())
    assert left and set(left.values()) <= set(asked("squeue", "--noheader", "--format=%i").split())

    second = Call(tmp_path / "second", home)
    second.wait_for("  queued  btsrn/train_vdsr_x2")
    assert "An earlier call was killed and left these jobs:\n" in second.said()
    for name, job in left.items():
        assert f"  stopped {name}, SLURM job {job}\n" in second.said()
    victim = queued(second.said())["btsrn/train_vdsr_x2"]
    text = tmp_path / "runs" / "notebooks" / "smoke" / "btsrn" / "train_vdsr_x2.log"
    assert not text.exists()
    until(text.exists, 300)
    assert text.exists()
    asked("scancel", victim)
    second.process.wait(timeout=900)
    said = second.said()
    assert second.process.returncode == 0, said
    assert f"  FAILED  btsrn/train_vdsr_x2, SLURM job {victim}: CANCELLED\n" in said
    assert queued(said)["btsrn/train_vdsr_x2"] != victim, "it is sent again"
    assert queued(said).keys() == {*FIRST, "btsrn/render", "btsrn/explore", "summary"}
    assert "8 of 8 steps" in said and "Done in" in said

    with monkeypatch.context() as alone:
        alone.setenv("SRLIB_RUNS", str(tmp_path / "laptop"))
        alone.setenv("SRLIB_FIGURES", str(tmp_path / "laptop_figures"))
        cores = len(os.sched_getaffinity(0))
        status, said = run("--paper", "btsrn", "--jobs", str(cores), home=home)  # a core for each notebook, too
    assert status == 0, said
    metrics, expected = tmp_path / "runs" / "metrics", tmp_path / "laptop" / "metrics"
    names = {file.relative_to(expected) for file in expected.rglob("*.csv")}
    assert len(names) == 7 and names == {file.relative_to(metrics) for file in metrics.rglob("*.csv")}
    for name in names:
        one, other = (untimed(pd.read_csv(folder / name)) for folder in (metrics, expected))
        assert len(one)
        pd.testing.assert_frame_equal(one, other, check_exact=True, obj=str(name))


def test_a_controller_that_is_down_is_named(cluster, tmp_path):
    config = cluster / "slurm.conf"
    config.write_text(re.sub("(SlurmctldPort)=.+", rf"\1={free_port()}", config.read_text()))
    status, said = run("--on", "slurm")
    assert status == 1 and not (tmp_path / "runs").exists()
    assert re.match("error: ON=slurm, but SLURM does not answer: .*Unable to contact slurm controller", said), said
