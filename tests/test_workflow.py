"""`make reproduce`: the right jobs, nothing twice, nothing lost, whatever ends a run, here and on a cluster."""

import fcntl
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
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pandas as pd
import psutil
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from scripts import ROOT, load

from srlib import papers
from srlib.core import paths
from srlib.papers.profiles import PROFILES

JOB = [sys.executable, str(ROOT / "workflow" / "job.py")]
CLUSTERS = sorted({file.parent.name for file in (ROOT / "workflow").glob("*/config.yaml")} - {"laptop"})
CORES = len(os.sched_getaffinity(0))
SMOKE = ("--profile", "smoke", "--jobs", str(CORES))  # a core for each notebook, as on a cluster


job, cluster = load("job"), load("cluster")


@pytest.fixture(autouse=True)
def outside_of_make(monkeypatch):
    monkeypatch.delenv("SRLIB_ALIVE", raising=False)
    monkeypatch.delenv("MAKELEVEL", raising=False)


def command(*args: str, home: Path = ROOT) -> list[str]:
    return [sys.executable, str(home / "workflow" / "reproduce.py"), *args]


def reproduce(*args: str) -> subprocess.CompletedProcess:
    """Call the script; stderr is in stdout."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "timeout": 900}
    return subprocess.run(command(*args), **options)


def metrics(profile: str) -> Path:
    return paths.runs_dir() / "metrics" / profile


def started(output: str) -> list[str]:
    return re.findall(r"^  start   (\S+)$", output, re.MULTILINE)


# --- The matrix -------------------------------------------------------------------------------------------------------


def dry_run(*config: str, workflow: str = "laptop") -> tuple[set[str], str]:
    """Return the metrics that a call would make, without runs/metrics/<profile>, and all that Snakemake said."""
    runs = paths.runs_dir()
    call = [sys.executable, "-m", "snakemake", "-n", "-p", "--snakefile", ROOT / "Snakefile", "--directory", runs]
    call += ["--profile", ROOT / "workflow" / workflow, "--config", *config]
    done = subprocess.run(call, capture_output=True, text=True, timeout=300)
    said = done.stdout + done.stderr
    outputs = re.findall(r"^    output: (.+)$", said, re.MULTILINE)
    made = {name for line in outputs for name in line.split(", ")}
    return {name.split("/", 2)[2] for name in made if name.startswith("metrics/")}, said


planned = cache(dry_run)  # where the runs folder is empty


def expected(profile: str, names: list[str] | None = None, scales: tuple[int, ...] = ()) -> set[str]:
    setting, made = PROFILES[profile], {"summary.csv"}
    for name in names or papers.names():
        paper = papers.get(name)
        wanted = [scale for scale in paper.scales_of(setting) if not scales or scale in scales]
        needed = {*paper.compared, *(first for name in paper.compared for first in paper.method(name).start.values())}
        if profile == "paper":
            pairs = [(method, s) for method in needed for s in wanted if paper.method(method).trained and paper.has(method, s)]
            made |= {f"{name}/train_{method}_x{paper.method(method).trained_at or s}.csv" for method, s in pairs}
        else:  # one notebook of its kind, whether all trainings share a process or weights are loaded
            made |= {f"{name}/train_{name}_x{paper.method(name).trained_at or wanted[0]}.csv"}
            made |= {f"{name}/trainings.csv"} if setting.train else set()
        made |= {f"{name}/{kind}.csv" for kind in ("ablate", "ablate_costs", "render", "render_costs")}
        made |= {f"{name}/explore.done"} if profile != "quick" else set()
    return made


@pytest.mark.parametrize("profile", PROFILES)
def test_each_profile_has_its_jobs(profile):
    made, said = planned(f"profile={profile}")
    assert made == expected(profile), said
    assert "report/" + profile + "/index.html" in said


def test_paper_and_scale_restrict_the_jobs():
    made, said = dry_run("profile=quick", "paper=btsrn,ddet", "scale=3,4")
    assert made == expected("quick", ["btsrn"], (3, 4)), said  # DDet lacks both
    assert "-y 'scales: [3, 4]'" in said and "srlib.reproduce.trainings quick btsrn 3 4" in said
    made, said = dry_run("profile=quick", "scale=3")
    assert made == expected("quick", ["btsrn", "difficulty_sr"], (3,)), said  # other papers lack it


def test_a_first_look_has_the_first_scale_or_all_that_one_network_serves():
    said = planned("profile=quick")[1]
    assert re.search(r"trainings quick btsrn 2\s*$", said, re.MULTILINE) and "-y 'scales: [2]'" in said
    assert re.search(r"trainings quick prosrn 2 4 8\s*$", said, re.MULTILINE) and "-y 'scales: [2, 4, 8]'" in said


def test_a_gan_waits_for_its_generator():
    said = planned("profile=paper")[1]
    for gan, start in (("prosrgan_x4", "prosrn_2_4_x4"), ("srgan_x4", "srresnet_x4")):
        rule = re.search(rf"input: ([^\n]+)\n    output: metrics/paper/prosrn/train_{gan}.csv", said)
        assert f"metrics/paper/prosrn/train_{start}.csv" in rule[1]


@pytest.mark.parametrize("workflow", ["laptop", *CLUSTERS])
def test_each_workflow_profile_is_understood(workflow):
    settings = yaml.safe_load((ROOT / "workflow" / workflow / "config.yaml").read_text())
    assert settings["keep-going"] and settings["rerun-incomplete"]
    if workflow != "laptop":
        plugin = f"snakemake_executor_plugin_{settings['executor'].replace('-', '_')}"
        if not importlib.util.find_spec(plugin):
            pytest.skip(f"needs {plugin}: pip install -e .[cluster]")
        made, said = dry_run("profile=smoke", workflow=workflow)
        assert made == expected("smoke"), said


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--profile", "quik"), "error: unknown profile 'quik'. Did you mean 'quick'?"),
        (("--paper", "btsrm"), "error: unknown paper 'btsrm'. Did you mean 'btsrn'?"),
        (("--scale", "7"), "error: unknown scale '7'. Known: 1, 2, 3, 4, 8"),
        (("--jobs", "many"), "error: JOBS (=many) must be a whole number from 1"),
        (("--jobs", "0"), "error: JOBS (=0) must be a whole number from 1"),
        (("--on", "pc"), "error: ON (=pc) must be one of kubernetes, laptop, slurm"),
    ],
)
def test_a_wrong_word_is_named_before_any_work(args, message):
    done = reproduce(*args)
    assert done.returncode != 0
    assert done.stdout.strip().split("\n")[-1].startswith(message)
    assert not (paths.runs_dir() / "notebooks").exists()


def test_runs_that_cannot_be_written_are_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SRLIB_RUNS", str(tmp_path / "file" / "runs"))
    done = reproduce()
    assert done.returncode == 1
    assert "error: cannot write" in done.stdout and "set SRLIB_RUNS to a folder that can be written" in done.stdout


# --- The real thing ---------------------------------------------------------------------------------------------------


def survivors() -> list[str]:
    """What still works in the runs folder of this test."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("SRLIB_RUNS") == str(paths.runs_dir()) and process.pid != os.getpid():
                found.append(" ".join(process.cmdline()))
        except psutil.Error:  # gone in between, or not ours
            continue
    return found


def test_explorers_lie_in_the_runs_folder_that_the_caller_means(monkeypatch, tmp_path):
    called, explore = [], load("explore")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SRLIB_RUNS", "out")
    monkeypatch.setattr(sys, "argv", ["explore.py", "--profile", "smoke"])
    monkeypatch.setattr(os, "execv", lambda program, call: called.append(call))
    explore.main()
    folder = tmp_path / "out" / "explorers" / "smoke"
    assert called[0][:4] == [sys.executable, "-m", "voila", str(folder)] and os.environ["SRLIB_RUNS"] == str(tmp_path / "out")
    assert {file.stem for file in folder.iterdir()} == set(papers.names())


def test_folders_that_are_relative_are_those_that_the_caller_means(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(ROOT / "workflow")
    workflow = load("reproduce")

    def stop(*_):
        raise SystemExit

    monkeypatch.chdir(tmp_path)
    for name in ("DATA", "CACHE", "RUNS", "FIGURES"):
        monkeypatch.setenv(f"SRLIB_{name}", f"../{tmp_path.name}/{name}")
    monkeypatch.setattr(sys, "argv", ["reproduce.py", "--profile", "smoke"])
    monkeypatch.setattr(workflow, "guard", stop)
    with pytest.raises(SystemExit):
        workflow.main()
    for name in ("DATA", "CACHE", "RUNS", "FIGURES"):  # Snakemake works in another folder
        assert os.environ[f"SRLIB_{name}"] == str(tmp_path / name)


SHARED = [(8, 5, (5, 1)), (7, 4, (4, 1)), (3, 2, (2, 1)), (8, 2, (8, 4)), (1, 4, (1, 1))]


@pytest.mark.parametrize(("count", "jobs", "expected"), SHARED)
def test_no_more_notebooks_at_a_time_than_asked_for(monkeypatch, tmp_path, count, jobs, expected):
    monkeypatch.syspath_prepend(ROOT / "workflow")
    reproduce = load("reproduce")
    monkeypatch.setattr(reproduce, "cores", lambda: count)
    monkeypatch.setattr(sys, "argv", ["reproduce.py", "--jobs", str(jobs)])
    call = reproduce.command(reproduce.arguments(), tmp_path)
    cores, threads = int(call[call.index("--cores") + 1]), int(call[-1].removeprefix("threads="))
    assert (cores, threads) == expected and cores // threads <= jobs


def folders_in(folder: Path, patch: pytest.MonkeyPatch) -> None:
    for name in ("runs", "figures", "cache"):
        patch.setenv(f"SRLIB_{name.upper()}", str(folder / name))


@pytest.fixture(scope="module")
def smoke(tmp_path_factory) -> SimpleNamespace:
    """A smoke run of all papers that was killed and continued.

    folder: of its runs. first: what was printed until the kill. made: what was complete then. second: the call that continued.
    """
    folder = tmp_path_factory.mktemp("smoke")
    with pytest.MonkeyPatch.context() as patch:
        folders_in(folder, patch)
        for name in ("SRLIB_DATA", "SRLIB_ALIVE", "MAKELEVEL"):
            patch.delenv(name, raising=False)
        process = subprocess.Popen(command(*SMOKE), stdout=subprocess.PIPE, text=True, start_new_session=True)
        first = ""
        for line in process.stdout:
            first += line
            if line.startswith("  done"):
                break
        time.sleep(2)  # into the next notebook
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        first += process.stdout.read()
        until(lambda: not survivors(), 30, lambda: first)
        complete = re.findall(r"^  done    (\S+),", first, re.MULTILINE)
        made = {name: (metrics("smoke") / f"{name}.csv").stat().st_mtime_ns for name in complete[:1]}
        return SimpleNamespace(folder=folder, first=first, made=made, second=reproduce(*SMOKE))


def test_smoke_is_killed_continues_and_is_then_complete(smoke, monkeypatch):
    folders_in(smoke.folder, monkeypatch)
    assert smoke.made, smoke.first
    second = smoke.second
    assert second.returncode == 0, second.stdout
    for name in expected("smoke"):
        assert (metrics("smoke") / name).exists(), name
    for name, when in smoke.made.items():
        assert (metrics("smoke") / f"{name}.csv").stat().st_mtime_ns == when, "what was made is not made again"
        assert name not in started(second.stdout)
    index = paths.runs_dir() / "report" / "smoke" / "index.html"
    for place in (paths.figures_dir() / "smoke", paths.runs_dir() / "notebooks" / "smoke", index):
        assert str(place) in second.stdout and place.exists()
    notebooks = [path.stem for path in (paths.runs_dir() / "notebooks" / "smoke" / "btsrn").glob("*.ipynb")]
    assert all(f"btsrn/{name}.html" in index.read_text() for name in notebooks)
    assert (paths.figures_dir() / "smoke" / "btsrn" / "table_4.csv").exists()

    third = reproduce(*SMOKE)
    assert third.returncode == 0 and not started(third.stdout)
    assert third.stdout.startswith("Nothing to do: everything is up to date.")


# --- The same with notebooks that only write a file -------------------------------------------------------------------

WRITE = """\
import os
from pathlib import Path
folder = Path(os.environ["SRLIB_RUNS"], "metrics", profile{paper})
folder.mkdir(parents=True, exist_ok=True)
{body}
"""


def stand_in(file: Path, parameters: str, body: str, paper: str = ', "btsrn"') -> None:
    first = new_code_cell(parameters, metadata={"tags": ["parameters"]})
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    made = new_notebook(cells=[first, new_code_cell(WRITE.format(paper=paper, body=body))], metadata={"kernelspec": kernel})
    file.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(made, file)


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A repository whose notebooks do nothing but leave their metrics; `ablate` needs a file `mended` to succeed."""
    home = tmp_path / "a home"  # with a space, which paths of users have
    home.mkdir()
    for name in ("srlib", "workflow", "data"):
        (home / name).symlink_to(ROOT / name)
    book = home / "notebooks" / "btsrn"
    threads = '(folder / f"train_{method}_x{scale}.csv").write_text(os.environ["OMP_NUM_THREADS"])'
    stand_in(book / "train.ipynb", 'profile = ""\nmethod = ""\nscale = 2', threads)
    both = 'for name in ("{0}", "{0}_costs"):\n    (folder / f"{{name}}.csv").write_text("method\\n")\n'
    mend = f'assert Path({str(home / "mended")!r}).exists(), "not mended"\n'
    stand_in(book / "ablate.ipynb", 'profile = ""\nscale = 2', mend + both.format("ablate"))
    stand_in(book / "render.ipynb", 'profile = ""\nscales = [2]', both.format("render"))
    stand_in(book / "explore.ipynb", 'profile = ""\nscale = 2', "")
    body = '(folder / "summary.csv").write_text("paper,kind,verdict\\n")'
    stand_in(home / "notebooks" / "summary.ipynb", 'profile = ""', body, paper="")
    monkeypatch.setenv("SRLIB_HOME", str(home))
    return home


METRICS, FIGURES, WIDGETS = "core/metrics", "papers/ddet/figures", "draw/widgets"


def rerun(home: Path, **changes: str) -> set[str]:
    """Return what runs again where this is appended to these modules of the repository."""
    files = {home / "srlib" / f"{module}.py": more for module, more in changes.items()}
    before = {file: file.read_text() for file in files}
    for file, more in files.items():
        file.write_text(before[file] + more)
    made, said = dry_run("profile=smoke", "paper=btsrn")
    assert made or "Nothing to be done" in said, said
    for file, text in before.items():
        file.write_text(text)
    return made


def test_a_failure_is_told_isolated_and_mended_and_changed_code_runs_again(home):
    (home / "srlib").unlink()
    shutil.copytree(ROOT / "srlib", home / "srlib", ignore=shutil.ignore_patterns("__pycache__"))
    for name, module in {"btsrn/train": METRICS, "btsrn/render": FIGURES, "btsrn/explore": WIDGETS}.items():
        file = home / "notebooks" / f"{name}.ipynb"
        notebook = nbformat.read(file, as_version=4)
        notebook.cells[1].source += f"\nif False:\n    import srlib.{module.replace('/', '.')}\n"
        nbformat.write(notebook, file)

    first = reproduce("--profile", "smoke", "--paper", "btsrn")
    assert first.returncode == 1
    assert "btsrn/ablate: AssertionError: not mended" in first.stdout
    notebook = paths.runs_dir() / "notebooks" / "smoke" / "btsrn" / "ablate.ipynb"
    assert f"see {notebook}" in first.stdout and notebook.exists()
    trained = {"trainings.csv", "train_btsrn_x2.csv"}
    assert {path.name for path in (metrics("smoke") / "btsrn").iterdir()} == trained
    assert "Traceback" not in first.stdout and len(first.stdout.split("\n")) < 20

    (home / "mended").write_text("")
    call = command("--profile", "smoke", "--paper", "btsrn")
    calls = [subprocess.Popen(call, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = sorted((call.communicate(timeout=300)[0] for call in calls), key=len)
    assert [call.returncode for call in calls] == [0, 0], outputs
    waited, worked = outputs
    assert "Another `make reproduce`" in waited and "Nothing to do" in waited and not started(waited)
    assert sorted(started(worked)) == ["btsrn/ablate", "btsrn/explore", "btsrn/render", "summary"]
    assert (metrics("smoke") / "btsrn" / "train_btsrn_x2.csv").read_text() == str(max(CORES // 2, 1))

    log = paths.runs_dir() / "snakemake.log"
    last = log.stat().st_mtime_ns
    assert reproduce("--profile", "smoke", "--paper", "btsrn").stdout.startswith("Nothing to do: everything is up to date.")
    assert log.stat().st_mtime_ns == last, "Snakemake was not asked"
    made = paths.runs_dir() / "report" / "smoke" / "index.html"
    made.unlink()
    assert reproduce("--profile", "smoke", "--paper", "btsrn").stdout.count("1 of 1 job") == 1 and made.exists()

    assert rerun(home, **{WIDGETS: "\n# a remark\n", METRICS: "\n\n", "cli/pictures": "\nX = 1\n"}) == set()
    assert rerun(home, **{WIDGETS: "\nX = 1\n"}) == {"btsrn/explore.done", "summary.csv"}
    assert rerun(home, **{FIGURES: "\nX = 1\n"}) == {"btsrn/render.csv", "btsrn/render_costs.csv", "summary.csv"}
    assert {"btsrn/trainings.csv", "btsrn/train_btsrn_x2.csv"} <= rerun(home, **{METRICS: "\nX = 1\n"})

    interrupted = subprocess.Popen(command("--profile", "quick", "--paper", "btsrn"), stdout=subprocess.PIPE, text=True)
    said = ""
    while "  start " not in said and (line := interrupted.stdout.readline()):
        said += line
    interrupted.terminate()
    said += interrupted.communicate(timeout=60)[0]
    assert interrupted.returncode == 130
    assert "Stopped. The same command continues where this one ended.\n" in said
    assert "stopped btsrn/" in said and "done" not in said


# --- Progress ---------------------------------------------------------------------------------------------------------

STATS = """\
Job stats:
job          count
---------  -------
render           1
trainings        1
all              1
total            3

"""


def test_progress_tells_jobs_and_the_time_that_is_left(monkeypatch):
    progress = load("progress")
    monkeypatch.setitem(progress.SECONDS, "smoke", {"render": 30, "trainings": 90})
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    shown = progress.Progress("smoke", 1)
    assert shown.lines("Building DAG of jobs...\n") == []
    assert shown.lines(STATS) == ["  2 jobs, about 2 min on idle cores"]
    log, now = STATS + "Finished jobid: 3 (Rule: trainings)\n1 of 3 steps (33%) done\n", 180.0  # on half a core
    assert shown.lines(log) == ["  ############------------  1 of 2 jobs, about 60 s left"]
    assert shown.lines(log) == []
    log += "Finished jobid: 2 (Rule: render)\n2 of 3 steps (67%) done\n"
    assert shown.lines(log + "Finished jobid: 0 (Rule: all)\n3 of 3 steps (100%) done\n") == [f"  {'#' * 24}  2 of 2 jobs"]
    unknown = progress.Progress("paper", 1)
    assert unknown.lines(STATS) == ["  2 jobs"], "days or weeks"


def test_a_job_tells_where_it_is(tmp_path):
    notebook, text = tmp_path / "x.ipynb", tmp_path / "x.log"
    text.write_text("")
    assert job.position(notebook, text) == "starting"
    text.write_text("3 of 5  vdsr x2\n\n")
    assert job.position(notebook, text) == "3 of 5  vdsr x2"
    running = new_code_cell("x", metadata={"papermill": {"status": "running"}})
    nbformat.write(new_notebook(cells=[new_markdown_cell("# A\n\ntext\n\n## Table 1\n\nmore"), running]), notebook)
    assert job.position(notebook, text) == "cell 2 of 2, Table 1, 3 of 5  vdsr x2"
    text.write_text("Executing Cell 2---------\n")
    assert job.position(notebook, text) == "cell 2 of 2, Table 1"


# --- One notebook -----------------------------------------------------------------------------------------------------


def run_job(folder: Path, code: str, **settings) -> subprocess.CompletedProcess:
    text = folder / "notebooks" / "smoke" / "x.log"
    call = [*JOB, text.relative_to(folder), sys.executable, "-c", code]
    return subprocess.run(call, cwd=folder, env={**os.environ, **settings}, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("code", "status", "said", "text"),
    [
        ("print('hello')", 0, r"  done    x, \d+ s\n", r"hello\n"),
        ("raise ValueError('bad')", 1, r"  FAILED  x, \d+ s\n          ValueError: bad\n", r"Traceback[^$]+"),
        (
            "import os; os.kill(os.getpid(), 9)",
            9,
            r"  FAILED  x, [^$]+killed by signal 9, likely out of memory\n",
            r"killed by signal 9, .+\n",
        ),
    ],
)
def test_a_job_tells_start_and_end_and_keeps_what_was_printed(tmp_path, code, status, said, text):
    done = run_job(tmp_path, code)
    assert done.returncode == status and re.fullmatch(r"  start   x\n" + said, done.stdout)
    assert re.fullmatch(text, (tmp_path / "notebooks" / "smoke" / "x.log").read_text())


def test_a_job_ends_when_its_workflow_is_gone(tmp_path):
    with (tmp_path / "alive").open("w") as alive:
        fcntl.flock(alive, fcntl.LOCK_EX)
        assert run_job(tmp_path, "import time; time.sleep(1.5)", SRLIB_ALIVE=alive.name).returncode == 0
    done = run_job(tmp_path, "import time; time.sleep(50)", SRLIB_ALIVE=alive.name)
    assert done.returncode == job.STOPPED
    assert done.stdout == "  start   x\n  stopped x\n"


def test_a_command_that_has_lost_its_job_is_waited_for(tmp_path):
    """Killing only the script in between leaves the command; no second one may write the same notebook beside it."""
    slow = f"import time; open({str(tmp_path / 'begun')!r}, 'w'); time.sleep(2); open({str(tmp_path / 'ended')!r}, 'w')"
    first = subprocess.Popen([*JOB, "x.log", sys.executable, "-c", slow], cwd=tmp_path, stdout=subprocess.DEVNULL)
    until((tmp_path / "begun").exists, 60)
    first.kill()
    first.wait()
    assert not (tmp_path / "ended").exists()
    check = f"import os, sys; sys.exit(not os.path.exists({str(tmp_path / 'ended')!r}))"
    second = subprocess.run([*JOB, "x.log", sys.executable, "-c", check], cwd=tmp_path, timeout=60)
    assert second.returncode == 0


def test_the_reason_of_a_failure(tmp_path):
    notebook, text = tmp_path / "x.ipynb", tmp_path / "x.log"
    assert job.reason(notebook, text) == "it printed nothing"
    text.write_text("first\nDeadKernelError: Kernel died\n\n")
    assert job.reason(notebook, text) == "DeadKernelError: Kernel died"
    error = new_output("error", ename="SRError", evalue="scale (=5)", traceback=[])
    nbformat.write(new_notebook(cells=[new_code_cell("x", outputs=[error])]), notebook)
    assert job.reason(notebook, text) == "SRError: scale (=5)"
    notebook.write_text(notebook.read_text()[:50])
    assert job.reason(notebook, text) == "DeadKernelError: Kernel died"


# --- Installation -----------------------------------------------------------------------------------------------------

PYTHON = """\
#!/bin/sh
echo "$@" >> calls
case "$*" in
    *version_info*|*ensurepip*) exit 0 ;;
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    *pip*) exit "$(cat pip_status)" ;;
esac
"""


def test_setup_installs_the_exact_versions_once_and_again_when_they_change(tmp_path):
    project = tmp_path / "project"
    (project / "workflow").mkdir(parents=True)
    shutil.copy(ROOT / "workflow" / "setup.sh", project / "workflow")
    files = {"pyproject.toml": "", "constraints.txt": "", "pip_status": "1", "calls": "", "python": PYTHON}
    for name, content in files.items():
        (project / name).write_text(content)
    (project / "python").chmod(0o755)
    for name in ("pyproject.toml", "constraints.txt", "workflow/setup.sh"):
        os.utime(project / name, (1e9, 1e9))

    def setup(folder: Path = project, python: str = "./python") -> tuple[subprocess.CompletedProcess, list[str]]:
        call = ["bash", "workflow/setup.sh", "venv", python]
        done = subprocess.run(call, cwd=folder, capture_output=True, text=True, timeout=60)
        return done, [line for line in (folder / "calls").read_text().split("\n") if "pip install" in line]

    done, _ = setup(python="/bin/false")
    assert done.returncode == 1 and "Python 3.11 or newer is needed; found /bin/false" in done.stderr
    done, calls = setup()
    assert done.returncode == 1 and len(calls) == 1
    (project / "pip_status").write_text("0")
    done, calls = setup()  # one that was stopped is taken up again
    assert done.returncode == 0 and len(calls) == 2
    assert calls[1].endswith("-c constraints.txt -e .[notebooks,workflow,explore,cluster,export,test]")
    assert len(setup()[1]) == 2, "once"
    os.utime(project / "constraints.txt", (4e9, 4e9))
    assert len(setup()[1]) == 3
    os.utime(project / "constraints.txt", (1e9, 1e9))
    moved = project.rename(tmp_path / "moved")
    assert len(setup(moved)[1]) == 4


def test_make_alone_lists_every_target():
    said = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, timeout=60).stdout
    (phony,) = re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for target in set(phony.split()) - {"help", "moved"}:
        assert f"make {target} " in said


class Call:
    """A call of `make reproduce` that goes on while the test looks at what it has printed."""

    def __init__(self, file: Path, *args: str, home: Path = ROOT):
        self.file = file
        with file.open("w") as out:
            options = {"stdout": out, "stderr": subprocess.STDOUT, "start_new_session": True}
            # A shell starts its background jobs, of which these tests may be one, with SIGINT ignored.
            heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
            self.process = subprocess.Popen(
                command("--profile", "smoke", "--paper", "btsrn", *args, home=home), preexec_fn=heard, **options
            )

    def said(self) -> str:
        return self.file.read_text()

    def wait_for(self, *texts: str) -> None:
        until(lambda: all(text in self.said() for text in texts) or self.process.poll() is not None, 300, self.said)
        assert all(text in self.said() for text in texts), self.said()

    def kill(self, number: int) -> None:
        """Send a signal to all processes of the call, as Ctrl-C in a terminal does."""
        os.killpg(self.process.pid, number)
        self.process.wait(timeout=120)


def until(true, seconds: float, said=str) -> None:
    """Wait until something is true; fail with what `said` returns where it is not within some seconds."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, said()
        time.sleep(0.1)


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


def test_accounting_is_used_where_it_answers(answers, monkeypatch, capsys):
    assert cluster.status_command() == "squeue"
    answers(sacct="exit 0")
    assert cluster.status_command() == "sacct"
    answers(sacct="exec sleep 60")
    monkeypatch.setattr(cluster, "ANSWER", 0.5)
    assert cluster.status_command() == "squeue"
    assert "SLURM has no accounting (sacct: sacct did not answer within 0.5 s); squeue lists" in capsys.readouterr().out


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
    done = reproduce("--on", "slurm")
    assert done.returncode == 1 and done.stdout.startswith(message), done.stdout
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("on", "tool"), [("slurm", "sbatch"), ("kubernetes", "kubectl")])
def test_a_cluster_that_is_not_there_ends_the_call_before_it_starts(monkeypatch, tmp_path, on, tool):
    monkeypatch.setenv("PATH", str(tmp_path))
    done = reproduce("--on", on)
    assert done.returncode == 1
    assert done.stdout == f"error: ON={on} needs {tool}, which is not in PATH; run it where {tool} works, or with ON=laptop\n"
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


GENERIC = """\
Submitted job 3 with external jobid 'srlib-1'.
Error in rule ablate:
    message: For further error details see the cluster/cloud log and the log files of the involved rule(s).
    jobid: 3
"""


def test_each_job_is_told_by_notebook_and_job_of_the_cluster():
    found = cluster.Jobs(LOG)
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
    assert cluster.Jobs(first).killed == {"x/ablate": refused, "x/train_x_x2": "SLURM job 71: TIMEOUT"}
    log = first[: first.index("Job 5")] + GENERIC
    assert cluster.Jobs(log).events == [
        "  queued  x/ablate, Kubernetes Job srlib-1",
        "  FAILED  x/ablate, Kubernetes Job srlib-1",
    ]
    assert not cluster.Jobs(log).killed, "its notebook shows why it failed"


def test_jobs_that_cannot_be_cancelled_are_told_with_the_remedy(answers, monkeypatch):
    cancel = partial(cluster.cancel, cluster.CLUSTERS["slurm"])
    assert cancel("Building DAG of cluster...\n") == []
    remedy = "cancel them with `scancel --name=1-2`"
    answers(squeue="echo 'Unable to contact slurm controller' >&2; exit 1")
    assert cancel(LOG) == [f"error: Unable to contact slurm controller; {remedy}"]
    answers(squeue="echo 72", scancel="exit 1")
    monkeypatch.setattr(cluster, "ENDING", 0.1)
    assert cancel(LOG) == ["  stopped x/train_x_x2, SLURM job 72", f"error: jobs 72 have not ended; {remedy}"]


# --- Kubernetes -------------------------------------------------------------------------------------------------------

KUBECTL = """\
#!{python}
# A cluster of one machine: a Job is a process of its own; its files are in `state`.
import json, os, pathlib, signal, subprocess, sys, uuid, yaml
state = pathlib.Path({state!r})
what, arguments = sys.argv[1], sys.argv[2:]
jobs = {{file.stem: json.loads(file.read_text()) for file in state.glob("*.json")}}
done = {{name: (state / f"{{name}}.status").read_text().strip() for name in jobs if (state / f"{{name}}.status").exists()}}
succeeded = {{name: "1" for name in done if done[name] == "0"}}
failed = {{name: "1" for name in done if done[name] != "0"}}
selector = [word.partition("srlib-run=")[2] for word in arguments if word.startswith("--selector=")]
selected = [name for name in jobs if selector and jobs[name]["run"] == selector[0]]
if what == "create":
    job = yaml.safe_load(sys.stdin)
    name = job["metadata"]["generateName"] + uuid.uuid4().hex[:5]
    container = job["spec"]["template"]["spec"]["containers"][0]
    environment = os.environ | {{item["name"]: item["value"] for item in container["env"]}}
    call = f"bash {{container['command'][1]!r}} > {{state / name}}.log 2>&1; echo $? > {{state / name}}.status"
    process = subprocess.Popen(["bash", "-c", call], env=environment, start_new_session=True, stdout=-3, stderr=-3)
    (state / f"{{name}}.json").write_text(json.dumps({{"run": job["metadata"]["labels"]["srlib-run"], "pid": process.pid}}))
    print(name, end="")
elif what == "get" and arguments[0] == "job" and arguments[1] in jobs:
    print(arguments[1], succeeded.get(arguments[1], ""), failed.get(arguments[1], "") + ".", end="")
elif what == "get" and arguments[0] == "jobs":
    for name in selected:
        print(name, succeeded.get(name, "<none>"), failed.get(name, "<none>"))
elif what == "delete":
    for name in selected:
        if name not in done:
            os.killpg(jobs[name]["pid"], signal.SIGKILL)
        (state / f"{{name}}.json").unlink()
"""


@pytest.fixture
def state(tmp_path, monkeypatch) -> Path:
    """Put a kubectl into PATH whose Jobs are processes of this machine; return the folder of its Jobs."""
    for name in ("bin", "state"):
        (tmp_path / name).mkdir()
    kubectl = tmp_path / "bin" / "kubectl"
    kubectl.write_text(KUBECTL.format(python=sys.executable, state=str(tmp_path / "state")))
    kubectl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{kubectl.parent}{os.pathsep}{os.environ['PATH']}")
    return tmp_path / "state"


def test_interrupted_on_kubernetes_its_jobs_are_cancelled(home, state, tmp_path):
    wait = f"import time\nfor _ in range(6000):\n    Path({str(home / 'slow')!r}).exists() and time.sleep(0.1)\n"
    write = 'for name in ("ablate", "ablate_costs"):\n    (folder / f"{name}.csv").write_text("method\\n")'
    stand_in(home / "notebooks" / "btsrn" / "ablate.ipynb", 'profile = ""\nscale = 2', wait + write)
    stand_in(home / "notebooks" / "btsrn" / "train.ipynb", 'profile = ""\nmethod = ""\nscale = 2', "assert False")
    (home / "slow").touch()
    first = ("btsrn/ablate", "btsrn/trainings")

    call = Call(tmp_path / "said", "--on", "kubernetes")
    call.wait_for(*(f"  queued  {name}, Kubernetes Job srlib-" for name in first))
    (job,) = re.findall(r"queued  btsrn/ablate, (Kubernetes Job .+)$", call.said(), re.MULTILINE)
    call.kill(signal.SIGINT)
    assert call.process.returncode == 130 and f"  stopped btsrn/ablate, {job}\n" in call.said()
    assert not list(state.glob("*.json")) and not survivors()

    call = Call(tmp_path / "said", "--on", "kubernetes")
    call.wait_for("  queued  btsrn/ablate")
    call.kill(signal.SIGKILL)  # it cannot cancel
    assert list(state.glob("*.json")) and "An earlier call" not in call.said()

    (home / "slow").unlink()
    call = Call(tmp_path / "said", "--on", "kubernetes")
    call.wait_for("  done    btsrn/ablate", "  FAILED  btsrn/train_btsrn_x2, Kubernetes Job srlib-train-")
    assert "further error details" not in call.said()
    assert "An earlier call was killed and left these jobs:\n" in call.said()
    assert re.search("  stopped btsrn/ablate, Kubernetes Job srlib-ablate-", call.said())
    call.kill(signal.SIGINT)
    assert not survivors() and all(file.with_suffix(".status").exists() for file in state.glob("*.json")), "none runs"


DAEMONS = ("munged", "slurmctld", "slurmd")
COMMANDS = ("sbatch", "scontrol", "squeue", "scancel", "sacct", "srun", "sinfo")
TIMES = ["seconds", "step_seconds", "seconds_rounds", "step_seconds_rounds", "session", "busy", "minutes"]

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
def slurm(monkeypatch):
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
            until(lambda: wait() or daemons[-1].poll() is not None, 30, (folder / f"{call[0]}.log").read_text)
            assert daemons[-1].poll() is None, (folder / f"{call[0]}.log").read_text()

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


def asked(*call: str) -> str:
    return subprocess.run(call, capture_output=True, text=True, timeout=60).stdout.strip()


@pytest.fixture
def slurm_home(tmp_path, monkeypatch) -> Path:
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


def untimed(table: pd.DataFrame) -> pd.DataFrame:
    """Leave out times, and the verdicts on them."""
    if "metric" in table:
        table = table[~table.metric.isin(TIMES)]
    return table.drop(columns=TIMES, errors="ignore")


def of_btsrn(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["paper"] == "btsrn"].reset_index(drop=True) if "paper" in table else table


FIRST = ("btsrn/ablate", "btsrn/trainings")


def test_slurm_makes_the_same_tables(slurm, slurm_home, smoke, tmp_path):
    """Ctrl-C cancels all jobs; the same call goes on, also when a job is killed, and makes what ON=laptop makes."""
    first = Call(tmp_path / "first", "--on", "slurm", home=slurm_home)
    first.wait_for(*(f"  queued  {name}" for name in FIRST))
    until(lambda: "RUNNING" in asked("squeue", "--noheader", "--format=%T"), 30)
    os.killpg(first.process.pid, signal.SIGINT)
    first.wait_for("Stopping")
    first.kill(signal.SIGINT)  # an impatient user
    said = first.said()
    assert first.process.returncode == 130
    assert said.startswith("SLURM has no accounting (sacct: Slurm accounting storage is disabled); squeue lists ended jobs")
    assert "\nStopping: the jobs that were sent to the cluster are cancelled.\n" in said
    for name, job in queued(said).items():
        assert f"  stopped {name}, SLURM job {job}\n" in said
    assert said.endswith("Stopped. The same command continues where this one ended.\n") and "Traceback" not in said
    assert not asked("squeue", "--noheader")

    killed = Call(tmp_path / "killed", "--on", "slurm", home=slurm_home)
    killed.wait_for("  queued  ")
    killed.kill(signal.SIGKILL)  # it cannot cancel
    assert "An earlier call" not in killed.said(), "Ctrl-C left none"
    left = queued(killed.said())
    assert left and set(left.values()) <= set(asked("squeue", "--noheader", "--format=%i").split())

    second = Call(tmp_path / "second", "--on", "slurm", home=slurm_home)
    second.wait_for("  queued  btsrn/trainings")
    assert "An earlier call was killed and left these jobs:\n" in second.said()
    for name, job in left.items():
        assert f"  stopped {name}, SLURM job {job}\n" in second.said()
    victim = queued(second.said())["btsrn/trainings"]
    text = tmp_path / "runs" / "notebooks" / "smoke" / "btsrn" / "trainings.log"
    assert not text.exists()
    until(text.exists, 300, second.said)
    asked("scancel", victim)
    second.process.wait(timeout=900)
    said = second.said()
    assert second.process.returncode == 0, said
    assert f"  FAILED  btsrn/trainings, SLURM job {victim}: CANCELLED\n" in said
    assert queued(said)["btsrn/trainings"] != victim, "it is sent again"
    assert queued(said).keys() == {*FIRST, "btsrn/train_btsrn_x2", "btsrn/render", "btsrn/explore", "summary"}
    assert "7 of 7 jobs" in said and "Done in" in said

    assert smoke.second.returncode == 0, smoke.second.stdout
    made, expected = metrics("smoke"), smoke.folder / "runs" / "metrics" / "smoke"
    names = {file.relative_to(made) for file in made.rglob("*.csv")}
    assert names == {Path("summary.csv"), *(file.relative_to(expected) for file in (expected / "btsrn").glob("*.csv"))}
    assert len(names) == 7
    for name in names:
        one, other = (untimed(of_btsrn(pd.read_csv(folder / name))) for folder in (made, expected))
        assert len(one)
        pd.testing.assert_frame_equal(one, other, check_exact=True, obj=str(name))


def test_a_controller_that_is_down_is_named(slurm, tmp_path):
    config = slurm / "slurm.conf"
    config.write_text(re.sub("(SlurmctldPort)=.+", rf"\1={free_port()}", config.read_text()))
    done = reproduce("--on", "slurm")
    assert done.returncode == 1 and not (tmp_path / "runs").exists()
    message = "error: ON=slurm, but SLURM does not answer: .*Unable to contact slurm controller"
    assert re.match(message, done.stdout), done.stdout
