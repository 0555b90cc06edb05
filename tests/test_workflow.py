"""`make reproduce`: the right jobs, nothing twice, nothing lost, whatever ends a run."""

import fcntl
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_notebook, new_output

from srlib import papers
from srlib.core import paths
from srlib.nn import models
from srlib.papers.profiles import PROFILES
from srlib.reproduce import cards

ROOT = Path(__file__).resolve().parents[1]
REPRODUCE = [sys.executable, str(ROOT / "workflow" / "reproduce.py")]
JOB = [sys.executable, str(ROOT / "workflow" / "job.py")]
WORKFLOWS = sorted(file.parent.name for file in (ROOT / "workflow").glob("*/config.yaml"))


def load(name: str):
    """Import one of the scripts."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "workflow" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


job = load("job")


@pytest.fixture(autouse=True)
def outside_of_make(monkeypatch):
    monkeypatch.delenv("SRLIB_ALIVE", raising=False)
    monkeypatch.delenv("MAKELEVEL", raising=False)


def reproduce(*args: str, timeout: float = 900) -> subprocess.CompletedProcess:
    done = subprocess.run([*REPRODUCE, *args], capture_output=True, text=True, timeout=timeout)
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout + done.stderr, "")


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


def expected(profile: str, names: list[str] | None = None, scales: tuple[int, ...] = ()) -> set[str]:
    setting, made = PROFILES[profile], {"summary.csv"}
    for name in names or papers.names():
        paper = papers.get(name)
        wanted = [scale for scale in paper.scales_of(setting) if not scales or scale in scales]
        needed = {*paper.compared, *(first for name in paper.compared for first in paper.method(name).start.values())}
        for method, one in paper.methods.items():
            for scale in (s for s in wanted if one.trained and paper.has(method, s)):
                at = one.trained_at or scale
                loaded = cards.weights_path(paper, method, at).exists() or models.fitted(one.model)
                there = method in needed if setting.train else loaded
                made |= {f"{name}/train_{method}_x{at}.csv"} if there else set()
        made |= {f"{name}/{kind}.csv" for kind in ("ablate", "ablate_costs", "render", "render_costs")}
        made.add(f"{name}/explore.done")
    return made


@pytest.mark.parametrize("profile", PROFILES)
def test_each_profile_has_its_jobs(profile):
    made, said = dry_run(f"profile={profile}")
    assert made == expected(profile), said
    assert "report/" + profile + "/index.html" in said


def test_paper_and_scale_restrict_the_jobs():
    made, said = dry_run("profile=quick", "paper=btsrn", "scale=3,4")
    assert made == expected("quick", ["btsrn"], (3, 4)), said
    assert "-y 'scales: [3, 4]'" in said


def test_a_scale_leaves_out_papers_that_lack_it():
    made, said = dry_run("profile=quick", "scale=3")
    assert made == expected("quick", ["btsrn", "difficulty_sr"], (3,)), said


def test_a_gan_waits_for_its_generator():
    made, said = dry_run("profile=quick", "paper=prosrn")
    assert made == expected("quick", ["prosrn"]), said
    for gan, start in (("prosrgan_x4", "prosrn_2_4_x4"), ("srgan_x4", "srresnet_x4")):
        rule = re.search(rf"input: ([^\n]+)\n    output: metrics/quick/prosrn/train_{gan}.csv", said)
        assert f"metrics/quick/prosrn/train_{start}.csv" in rule[1]


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_each_workflow_profile_is_understood(workflow):
    settings = yaml.safe_load((ROOT / "workflow" / workflow / "config.yaml").read_text())
    plugin = f"snakemake_executor_plugin_{settings['executor'].replace('-', '_')}"
    if settings["executor"] != "local" and not importlib.util.find_spec(plugin):
        pytest.skip(f"needs {plugin}: pip install -e .[cluster]")
    made, said = dry_run("profile=smoke", workflow=workflow)
    assert made == expected("smoke"), said
    assert settings["keep-going"] and settings["rerun-incomplete"]


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
    assert called == [explore.call(folder)] and os.environ["SRLIB_RUNS"] == str(tmp_path / "out")
    assert {file.stem for file in folder.iterdir()} == set(papers.names())


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


def test_smoke_is_killed_continues_and_is_then_complete():
    process = subprocess.Popen([*REPRODUCE, "--profile", "smoke"], stdout=subprocess.PIPE, text=True, start_new_session=True)
    before = ""
    for line in process.stdout:
        before += line
        if line.startswith("  done"):
            break
    time.sleep(2)  # into the next notebook
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before += process.stdout.read()
    complete = re.findall(r"^  done    (\S+),", before, re.MULTILINE)
    deadline = time.monotonic() + 30
    while survivors() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not survivors()
    kept = {name: (metrics("smoke") / f"{name}.csv").stat().st_mtime_ns for name in complete[:1]}
    assert kept, before

    second = reproduce("--profile", "smoke")
    assert second.returncode == 0, second.stdout
    for name in expected("smoke"):
        assert (metrics("smoke") / name).exists(), name
    for name, when in kept.items():
        assert (metrics("smoke") / f"{name}.csv").stat().st_mtime_ns == when, "what was made is not made again"
        assert name not in started(second.stdout)
    index = paths.runs_dir() / "report" / "smoke" / "index.html"
    for place in (paths.figures_dir() / "smoke", paths.runs_dir() / "notebooks" / "smoke", index):
        assert str(place) in second.stdout and place.exists()
    notebooks = [path.stem for path in (paths.runs_dir() / "notebooks" / "smoke" / "btsrn").glob("*.ipynb")]
    assert all(f"btsrn/{name}.html" in index.read_text() for name in notebooks)
    assert (paths.figures_dir() / "smoke" / "btsrn" / "table_4.csv").exists()

    third = reproduce("--profile", "smoke")
    assert third.returncode == 0 and not started(third.stdout)
    assert third.stdout.startswith("Nothing to do: all is made.")


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


def test_a_failure_is_told_isolated_and_mended(home):
    first = reproduce("--profile", "smoke", "--paper", "btsrn")
    assert first.returncode == 1
    assert "btsrn/ablate: AssertionError: not mended" in first.stdout
    notebook = paths.runs_dir() / "notebooks" / "smoke" / "btsrn" / "ablate.ipynb"
    assert f"see {notebook}" in first.stdout and notebook.exists()
    trained = {"train_btsrn_x2.csv", "train_vdsr_x2.csv"}
    assert {path.name for path in (metrics("smoke") / "btsrn").iterdir()} == trained
    assert "Traceback" not in first.stdout and len(first.stdout.split("\n")) < 20

    (home / "mended").write_text("")
    call = [*REPRODUCE, "--profile", "smoke", "--paper", "btsrn"]
    calls = [subprocess.Popen(call, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = sorted((call.communicate(timeout=300)[0] for call in calls), key=len)
    assert [call.returncode for call in calls] == [0, 0], outputs
    waited, worked = outputs
    assert "Another `make reproduce`" in waited and "Nothing to do" in waited and not started(waited)
    assert sorted(started(worked)) == ["btsrn/ablate", "btsrn/explore", "btsrn/render", "summary"]
    cores = len(os.sched_getaffinity(0))
    assert (metrics("smoke") / "btsrn" / "train_btsrn_x2.csv").read_text() == str(max(cores // 2, 1))

    interrupted = subprocess.Popen([*REPRODUCE, "--profile", "quick", "--paper", "btsrn"], stdout=subprocess.PIPE, text=True)
    said = interrupted.stdout.readline()
    interrupted.terminate()
    said += interrupted.communicate(timeout=60)[0]
    assert interrupted.returncode == 130
    assert "Stopped. The same command continues where this one ended.\n" in said
    assert "stopped btsrn/" in said and "done" not in said


METRICS, FIGURES, WIDGETS = "core/metrics", "papers/ddet/figures", "draw/widgets"


def test_a_notebook_runs_again_when_code_that_it_uses_changes(home):
    (home / "mended").write_text("")
    (home / "srlib").unlink()
    shutil.copytree(ROOT / "srlib", home / "srlib", ignore=shutil.ignore_patterns("__pycache__"))
    for name, module in {"btsrn/train": METRICS, "btsrn/render": FIGURES, "btsrn/explore": WIDGETS}.items():
        file = home / "notebooks" / f"{name}.ipynb"
        notebook = nbformat.read(file, as_version=4)
        notebook.cells[1].source += f"\nif False:\n    import srlib.{module.replace('/', '.')}\n"
        nbformat.write(notebook, file)

    def rerun(module: str, more: str) -> set[str]:
        file = home / "srlib" / f"{module}.py"
        before = file.read_text()
        file.write_text(before + more)
        made, said = dry_run("profile=smoke", "paper=btsrn")
        assert made or "Nothing to be done" in said, said
        file.write_text(before)
        return made

    done = reproduce("--profile", "smoke", "--paper", "btsrn")
    assert done.returncode == 0, done.stdout
    assert rerun(WIDGETS, "\n# a remark\n") == rerun(METRICS, "\n\n") == rerun("cli/pictures", "\nX = 1\n") == set()
    assert rerun(WIDGETS, "\nX = 1\n") == {"btsrn/explore.done", "summary.csv"}
    assert rerun(FIGURES, "\nX = 1\n") == {"btsrn/render.csv", "btsrn/render_costs.csv", "summary.csv"}
    assert {"btsrn/train_btsrn_x2.csv", "btsrn/train_vdsr_x2.csv"} <= rerun(METRICS, "\nX = 1\n")


# --- One notebook -----------------------------------------------------------------------------------------------------


def run_job(folder: Path, code: str, **settings) -> subprocess.CompletedProcess:
    text, notebook = folder / "notebooks" / "smoke" / "x.log", folder / "notebooks" / "smoke" / "x.ipynb"
    call = [*JOB, text.relative_to(folder), notebook.relative_to(folder), sys.executable, "-c", code]
    return subprocess.run(call, cwd=folder, env={**os.environ, **settings}, capture_output=True, text=True, timeout=60)


def test_a_job_tells_start_and_end_and_keeps_what_was_printed(tmp_path):
    done = run_job(tmp_path, "print('hello')")
    assert done.returncode == 0
    assert re.fullmatch(r"  start   x\n  done    x, \d+ s\n", done.stdout)
    assert (tmp_path / "notebooks" / "smoke" / "x.log").read_text() == "hello\n"


def test_a_job_that_fails_tells_its_last_line(tmp_path):
    done = run_job(tmp_path, "raise ValueError('bad')")
    assert done.returncode == 1
    assert re.fullmatch(r"  start   x\n  FAILED  x, \d+ s\n          ValueError: bad\n", done.stdout)


def test_a_job_that_is_killed_says_so(tmp_path):
    done = run_job(tmp_path, "import os; os.kill(os.getpid(), 9)")
    assert done.returncode == 9
    assert "killed by signal 9, perhaps for want of memory" in done.stdout


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
    first = subprocess.Popen([*JOB, "x.log", "x.ipynb", sys.executable, "-c", slow], cwd=tmp_path, stdout=subprocess.DEVNULL)
    while not (tmp_path / "begun").exists():
        time.sleep(0.05)
    first.kill()
    first.wait()
    assert not (tmp_path / "ended").exists()
    check = f"import os, sys; sys.exit(not os.path.exists({str(tmp_path / 'ended')!r}))"
    second = subprocess.run([*JOB, "x.log", "x.ipynb", sys.executable, "-c", check], cwd=tmp_path, timeout=60)
    assert second.returncode == 0


def test_the_reason_of_a_failure(tmp_path):
    notebook, text = tmp_path / "x.ipynb", tmp_path / "x.log"
    assert job.reason(notebook, text) == "it ended without a word"
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


@pytest.fixture
def project(tmp_path) -> Path:
    """A folder to install, and a Python that only writes down what it is asked for."""
    (tmp_path / "workflow").mkdir()
    shutil.copy(ROOT / "workflow" / "setup.sh", tmp_path / "workflow")
    for name, content in (("pyproject.toml", ""), ("constraints.txt", ""), ("pip_status", "0"), ("calls", "")):
        (tmp_path / name).write_text(content)
    (tmp_path / "python").write_text(PYTHON)
    (tmp_path / "python").chmod(0o755)
    for name in ("pyproject.toml", "constraints.txt", "workflow/setup.sh"):
        os.utime(tmp_path / name, (1e9, 1e9))
    return tmp_path


def setup(project: Path, python: str = "./python") -> subprocess.CompletedProcess:
    call = ["bash", "workflow/setup.sh", "venv", python]
    return subprocess.run(call, cwd=project, capture_output=True, text=True, timeout=60)


def pip_calls(project: Path) -> list[str]:
    return [line for line in (project / "calls").read_text().split("\n") if "pip install" in line]


def test_setup_installs_the_exact_versions_once(project):
    assert setup(project).returncode == 0
    assert setup(project).returncode == 0
    (call,) = pip_calls(project)
    assert call.endswith("-c constraints.txt -e .[notebooks,workflow,explore,cluster,test]")


def test_setup_installs_again_when_versions_change_or_the_folder_moves(project, tmp_path):
    setup(project)
    os.utime(project / "constraints.txt", (4e9, 4e9))
    setup(project)
    assert len(pip_calls(project)) == 2
    os.utime(project / "constraints.txt", (1e9, 1e9))
    moved = project.with_name("moved")
    project.rename(moved)
    setup(moved)
    assert len(pip_calls(moved)) == 3


def test_a_setup_that_was_stopped_is_taken_up_again(project):
    (project / "pip_status").write_text("1")
    assert setup(project).returncode == 1
    (project / "pip_status").write_text("0")
    assert setup(project).returncode == 0
    assert len(pip_calls(project)) == 2


def test_setup_names_the_python_it_needs(project):
    done = setup(project, "/bin/false")
    assert done.returncode == 1
    assert "Python 3.11 or newer is needed; found /bin/false" in done.stderr


def test_make_alone_lists_every_target():
    said = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, timeout=60).stdout
    (phony,) = re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for target in set(phony.split()) - {"help", "moved"}:
        assert f"make {target} " in said
