"""What the project says about its installation: one list of packages, exact versions, nothing of one machine."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from datetime import date
from functools import cache
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image
from scripts import ROOT, load

CARRIED = [f"{name}.{suffix}" for name in ("btsrn/btsrn_x2", "prosrn/prosrn_x2") for suffix in ("json", "safetensors")]
CONDA_NAMES = {
    "pytorch": "torch",
    "snakemake-minimal": "snakemake",
    "playwright-python": "playwright",
    "huggingface_hub": "huggingface-hub",
}


pins = load("pins")


def requirements() -> dict[str, Requirement]:
    """All that pyproject.toml asks for, with its extras but spandrel, which no command installs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [lines for name, lines in project["optional-dependencies"].items() if name != "spandrel"]
    lines = [*project["dependencies"], *sum(extras, [])]
    return {canonicalize_name(Requirement(line).name): Requirement(line) for line in lines}


def pinned() -> dict[str, str]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    for line in lines:
        assert re.fullmatch(r"[\w.-]+==\d[\w.]*", line), f"{line!r} is no exact public version"
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


def test_conda_and_pip_install_the_same():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    lines = [line for line in environment["dependencies"] if isinstance(line, str)]
    conda = {}
    for line in lines:
        name, bound = re.fullmatch(r"([\w-]+)(.*)", line).groups()
        conda[CONDA_NAMES.get(name, name)] = bound
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert conda.pop("python") == project["requires-python"]
    assert conda.pop("pip") == ""
    assert conda == {name: str(one.specifier) for name, one in requirements().items()}


def test_torch_is_pinned():
    assert pinned()["torch"] == "2.13.0"


@pytest.mark.parametrize("name", requirements())
def test_every_package_is_pinned_within_its_bounds(name):
    assert pinned()[name] in requirements()[name].specifier


def test_constraints_are_what_make_pins_writes(tmp_path, monkeypatch):
    """The same packages in the same order; the versions are those that are installed."""
    monkeypatch.setattr(pins, "ROOT", tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    assert pins.main() == 0
    written = (tmp_path / "constraints.txt").read_text().splitlines()
    committed = (ROOT / "constraints.txt").read_text().splitlines()
    assert len(written) > len(requirements()) and written[0] == committed[0]
    assert [line.partition("==")[0] for line in written] == [line.partition("==")[0] for line in committed]
    assert f"torch=={metadata.version('torch').partition('+')[0]}" in written


def test_pins_follow_extras_and_leave_out_what_is_for_other_machines(monkeypatch):
    needs = {
        "a": ["b[fast]", "nvidia-c; python_version > '3'", "d; sys_platform == 'none'"],
        "b": ["e; extra == 'fast'", "f; extra == 'slow'"],
        "e": [],
    }

    def distribution(name):
        return SimpleNamespace(metadata={"Name": name}, version="1.0+cpu", requires=needs[name])

    monkeypatch.setattr(pins.metadata, "distribution", distribution)
    assert pins.resolve([Requirement("a>=1")]) == {"a": "1.0", "b": "1.0", "e": "1.0"}


def test_pins_say_what_is_not_installed(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(pins, "ROOT", tmp_path)
    (tmp_path / "pyproject.toml").write_text('[project]\ndependencies = ["no-such-package"]\noptional-dependencies = {}\n')
    assert pins.main() == 2 and "no-such-package is not installed" in capsys.readouterr().err
    assert not (tmp_path / "constraints.txt").exists()


def test_one_package_has_one_bound():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    bounds = {}
    for line in (*project["dependencies"], *sum(project["optional-dependencies"].values(), [])):
        bounds.setdefault(canonicalize_name(Requirement(line).name), set()).add(str(Requirement(line).specifier))
    assert {name: each for name, each in bounds.items() if len(each) > 1} == {}


def asked_for(*extras: str) -> set[str]:
    """The packages that pyproject.toml names, with some of its extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *sum((project["optional-dependencies"][name] for name in extras), [])]
    return {canonicalize_name(Requirement(line).name) for line in lines}


distributions = cache(metadata.packages_distributions)  # reads the files of every installed package


def imported(file: Path) -> set[str]:
    """The packages that a module or notebook imports, anywhere in it, besides Python's and this project's own."""
    if file.suffix == ".ipynb":
        cells = [cell["source"] for cell in json.loads(file.read_text())["cells"] if cell["cell_type"] == "code"]
        tree = ast.parse("\n".join("".join(source) for source in cells))
    else:
        tree = ast.parse(file.read_text())
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module)
    tops = {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names) - {"srlib"}
    scripts = [*file.parent.iterdir(), *(ROOT / "tests").glob("*.py")]  # beside it, or shared by tests
    tops -= {other.stem for other in scripts if other.is_dir() or other.suffix == ".py"}
    providers = distributions()
    return {canonicalize_name(one) for top in tops for one in providers.get(top, [top])}


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        ("srlib", ("notebooks", "workflow", "export", "spandrel")),
        ("notebooks", ("notebooks",)),
        ("workflow", ("workflow", "explore", "test")),
        ("tests", ("notebooks", "workflow", "export", "spandrel", "test")),
        ("benchmarks", ("notebooks", "workflow", "test")),
    ],
)
def test_every_package_that_is_imported_is_asked_for(folder, extras):
    files = [file for file in sorted((ROOT / folder).rglob("*")) if file.suffix in (".py", ".ipynb")]
    found = {str(file.relative_to(ROOT)): imported(file) - asked_for(*extras) for file in files}
    assert len(files) > 3 and {name: packages for name, packages in found.items() if packages} == {}


def test_the_core_needs_no_extra():
    """Papers draw and explore too: those modules are for notebooks."""
    folders = ("core", "data", "nn", "baselines", "scoring", "train", "papers", "cli")
    files = [file for folder in folders for file in (ROOT / "srlib" / folder).rglob("*.py")]
    files = [file for file in files if file.stem not in ("figures", "explorer")] + [ROOT / "srlib" / "reproduce" / "verdicts.py"]
    needed = {str(file.relative_to(ROOT)): imported(file) - asked_for() for file in files}
    assert len(needed) > 70
    assert {name: packages for name, packages in needed.items() if packages} == {}


def test_the_core_is_used():
    used = set().union(*(imported(file) for file in (ROOT / "srlib").rglob("*.py")))
    assert asked_for() - used == set()


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """What `pip install .` puts into site-packages, in a folder of its own, without its dependencies."""
    folder = tmp_path_factory.mktemp("wheel")
    files = subprocess.run(["git", "ls-files", "-z", "srlib"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    weights = [f"data/weights/{name}" for name in CARRIED]
    for name in ["pyproject.toml", "setup.py", "README.md", "LICENSE", *weights, *filter(None, files.split("\0"))]:
        if (ROOT / name).exists():
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / "source" / name)
    call = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder), "./source"]
    done = subprocess.run([sys.executable, "-m", "pip", *call], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    call = ["install", "--quiet", "--no-deps", "--no-index", "--no-compile", "--target", str(folder / "installed"), str(wheel)]
    done = subprocess.run([sys.executable, "-m", "pip", *call], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return folder / "installed"


def test_the_wheel_holds_all_files_of_the_package(installed):
    files = subprocess.run(["git", "ls-files", "srlib"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    files = {name for name in files if (ROOT / name).exists()}
    held = {str(file.relative_to(installed)) for file in installed.rglob("*") if file.is_file()}
    carried = {f"srlib/released/weights/{name}" for name in CARRIED}
    assert {name for name in held if not name.startswith("srlib-")} == files | carried | {"bin/srlib"}
    for name in CARRIED:
        assert (installed / "srlib/released/weights" / name).read_bytes() == (ROOT / "data/weights" / name).read_bytes()
    assert sum((installed / name).stat().st_size for name in carried) < 4e6
    (scripts,) = installed.glob("srlib-*.dist-info/entry_points.txt")
    assert "srlib = srlib.cli.main:main" in scripts.read_text()
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    call = [str(installed / "bin" / "srlib"), "count", "btsrn"]
    done = subprocess.run(call, cwd=installed.parent, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "btsrn x2: " in done.stdout, done.stderr


def test_an_installed_package_works_without_the_checkout(installed, tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SRLIB_")}
    environment |= {"PYTHONPATH": str(installed), "SRLIB_CACHE": str(tmp_path / "cache")}

    photo = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    Image.fromarray(photo).save(tmp_path / "photo.jpg")
    for folder, pixels in (("hr", photo), ("sr", photo // 2)):
        (tmp_path / folder).mkdir()
        Image.fromarray(pixels).save(tmp_path / folder / "photo.png")
    code = """
import srlib
from srlib import papers
from srlib.cli.main import main
from srlib.core import paths
from srlib.core.errors import SRError
from srlib.reproduce import claims, report
print(srlib.__file__)
for name in papers.names():
    assert len(papers.published(name)) > 10 and len(claims.load_claims(name)) > 3, name
assert {file.name for file in report.TEMPLATES.iterdir()} >= {"index.html.j2"}
print(paths.runs_dir())
try:
    paths.home()
except SRError as error:
    print("set SRLIB_HOME to the checkout" in str(error))
for command in ("list", "upscale photo.jpg", "upscale photo.jpg --model prosrn --scale 4", "upscale photo.jpg --model btsrn/vdsr",
                "export btsrn --to safetensors", "verify sr --hr hr --scale 2", "count btsrn",
                "train btsrn/btsrn --profile smoke --scale 2 --steps 1 --batch 1 --hr-patch 16"):
    print(command, "->", main(command.split()), flush=True)
"""
    call = [sys.executable, "-c", code]
    done = subprocess.run(call, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    lines = done.stdout.splitlines()
    assert lines[:3] == [str(installed / "srlib" / "__init__.py"), str(tmp_path / "runs"), "True"], done.stderr
    assert [line.split()[0] for line in lines[3:5]] == ["btsrn/btsrn", "prosrn/prosrn"]
    assert [line[-1] for line in lines if " -> " in line] == ["0", "0", "0", "2", "0", "0", "0", "0"], done.stderr
    for name, size in (("btsrn_x2", (60, 80)), ("prosrn_x4", (120, 160))):
        assert Image.open(tmp_path / f"photo_{name}.png").size == size
    assert "no released weights of btsrn for vdsr x2; there are: btsrn_x2" in done.stderr
    assert (tmp_path / "btsrn_x2.safetensors").is_file()
    assert (tmp_path / "runs" / "experiments").is_dir()


def test_a_checkout_called_srlib_does_not_hide_the_package(tmp_path):
    """In the folder above a clone, "srlib" there is a namespace package, which must lose against the installed one."""
    (tmp_path / "srlib").symlink_to(ROOT)
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    for call, said in ((("-m", "srlib", "list", "datasets"), "Set5"), (("-c", "import srlib; print(srlib.__file__)"), "srlib")):
        done = subprocess.run([sys.executable, *call], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0 and said in done.stdout, done.stderr


def committed() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    files = [ROOT / name for name in done.stdout.split("\0") if name]
    return [file for file in files if file.is_file() and file.suffix not in (".png", ".safetensors")]


HOSTS = [".".join(("pypi", "org")), "python" + "hosted", ".".join(("download", "pytorch")), ".".join(("anaconda", "org"))]
OPTIONS = ["-".join(("index", "url")), "-".join(("find", "links"))]
PLACES = r"(?<![\w.)}])/(?:" + "|".join(("work", "tmp", "root", "home", "Users")) + r")/\w"
LOCAL = re.compile("|".join([PLACES, *map(re.escape, HOSTS + OPTIONS)]))


def test_no_committed_file_names_a_place_of_one_machine_or_a_package_registry():
    found = []
    for file in committed():
        matches = LOCAL.finditer(file.read_text(errors="replace"))
        found += [f"{file.relative_to(ROOT)}: {match[0]!r}" for match in matches]
    assert not found


@pytest.mark.parametrize("text", ["in " + "/ho" + "me/me", '"' + "/tm" + "p/x", "https://" + HOSTS[0], "--" + OPTIONS[0]])
def test_such_names_are_recognised(text):
    assert LOCAL.search(text)
    assert not LOCAL.search("runs/tm" + "p/x, ./ho" + "me/x, {folder}/wo" + "rk/x")


def test_the_licence_is_mit():
    text = (ROOT / "LICENSE").read_text()
    assert text.startswith("MIT License") and "the srlib authors" in text


def test_ci_runs_make_test():
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert script.read_text().rstrip().endswith("exec make test </dev/null")


def test_the_citation_is_of_this_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0" and {"message", "title", "authors"} <= set(citation)
    assert date.fromisoformat(str(citation["date-released"]))
    assert (citation["title"], citation["version"]) == (project["name"], project["version"])
    assert (citation["license"], citation["abstract"].rstrip(".")) == (project["license"]["text"], project["description"])


# --- Imports ------------------------------------------------------------------------------------------------------------


def test_contracts_hold():
    call = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "5 kept, 0 broken" in done.stdout, done.stdout + done.stderr


FOR_NOTEBOOKS = ["matplotlib", "seaborn", "papermill", "IPython", "ipywidgets", "jinja2"]
UNWANTED = ["pooch", "requests", "platformdirs", "skimage", *FOR_NOTEBOOKS]


@pytest.mark.parametrize(
    ("modules", "unwanted"),
    [
        ("srlib.train.training, srlib.papers, srlib.reproduce.store", UNWANTED),
        ("srlib.cli.main, srlib.core.errors, srlib.core.paths", [*UNWANTED, "torch", "numpy", "pandas"]),
        ("srlib.data.registry, srlib.data.sets", [*UNWANTED, "torch", "pandas", "scipy"]),
    ],
)
def test_nothing_is_loaded_that_is_not_needed(modules, unwanted):
    code = f"import json, sys, {modules}; print(json.dumps([name.partition('.')[0] for name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    loaded = set(json.loads(done.stdout))
    assert "srlib" in loaded and sorted(loaded & set(unwanted)) == []


def test_training_works_where_those_are_missing(tmp_path):
    """As on a machine that has the training path's packages only, apart from scikit-image's photographs."""
    blocked = [name for name in UNWANTED if name != "skimage"]
    code = f"""
import sys
for name in {blocked}:
    sys.modules[name] = None
import numpy as np
from PIL import Image
Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(r"{tmp_path}/0.png")
from srlib.__main__ import main
sys.exit(main(["train", "espcn", "--data", r"folder:{tmp_path}", "--validation", r"folder:{tmp_path}",
               "--steps", "1", "--batch", "1", "--hr-patch", "8"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
