"""What the project says about its installation: one list of packages, exact versions, nothing of one machine."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
CONDA_NAMES = {"pytorch": "torch", "snakemake-minimal": "snakemake", "playwright-python": "playwright"}
# Brought by torch on machines with a GPU, where torch itself asks for exact versions.
GPU = re.compile(r"nvidia-|cuda-|triton")


UNPINNED = "lpips"  # an extra that no command of ours installs: it brings torchvision and fetches weights


def requirements() -> dict[str, Requirement]:
    """All that pyproject.toml asks for, with its extras but one."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [lines for name, lines in project["optional-dependencies"].items() if name != UNPINNED]
    lines = [*project["dependencies"], *sum(extras, [])]
    found = [Requirement(line) for line in lines]
    return {canonicalize_name(one.name): one for one in found}


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


def test_what_the_packages_need_is_pinned_too():
    known, seen, waiting = pinned(), set(), [(name, "") for name in requirements()]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        assert name in known, f"{name} is installed in whatever version is newest"
        try:
            needed = metadata.requires(name) or []
        except metadata.PackageNotFoundError:  # the cluster's plugins may be absent
            continue
        for one in map(Requirement, needed):
            if GPU.match(one.name) or (one.marker and not one.marker.evaluate({"extra": extra})):
                continue
            waiting += [(canonicalize_name(one.name), each) for each in ("", *one.extras)]
    assert len({name for name, _ in seen}) > len(requirements())


def asked_for(*extras: str) -> set[str]:
    """The packages that pyproject.toml names, with some of its extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *sum((project["optional-dependencies"][name] for name in extras), [])]
    return {canonicalize_name(Requirement(line).name) for line in lines}


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
    tops -= {other.stem for other in file.parent.iterdir() if other.is_dir() or other.suffix == ".py"}  # a script beside it
    providers = metadata.packages_distributions()
    return {canonicalize_name(one) for top in tops for one in providers.get(top, [top])}


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        ("srlib", ("notebooks", "lpips")),
        ("notebooks", ("notebooks",)),
        ("workflow", ("notebooks",)),
        ("tests", ("notebooks", "test")),
        ("benchmarks", ("notebooks", "test")),
    ],
)
def test_every_package_that_is_imported_is_asked_for(folder, extras):
    files = [file for file in sorted((ROOT / folder).rglob("*")) if file.suffix in (".py", ".ipynb")]
    found = {str(file.relative_to(ROOT)): imported(file) - asked_for(*extras) for file in files}
    assert len(files) > 3 and {name: packages for name, packages in found.items() if packages} == {}


def test_what_training_and_judging_import_needs_no_extra():
    for name in ("train/loop", "reproduce/verdicts", "scoring/evaluation", "cli/pictures", "cli/main"):
        assert imported(ROOT / "srlib" / f"{name}.py") <= asked_for()


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
    assert (citation["title"], citation["version"]) == (project["name"], project["version"])
    assert (citation["license"], citation["abstract"].rstrip(".")) == (project["license"]["text"], project["description"])
