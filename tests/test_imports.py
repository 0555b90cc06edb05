"""Who may import whom: data flows one way, and the training path needs few packages."""

import ast
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "srlib"

# A module imports only from those above it. A name stands for a module, or for all modules of a package.
ORDER = [
    "errors",
    "output",
    "paths",
    "sources",
    "color",
    "degradation",
    "camera",
    "data.files",
    "data.images",
    "data.registry",
    "data.layouts",
    "data.sets",
    "data.pairs",
    "data.patches",
    "data",
    "metrics",
    "models.summary",
    "models.bicubic",
    "models.borders",
    "models.blocks",
    "models.same_size",
    "models.dynamic_filter",
    "models.kpn",
    "models.rcan",
    "models.edsr",
    "models.imdn",
    "models.rdn",
    "models.rrdbnet",
    "models.srresnet",
    "models.d2c_sr",
    "models.d2c_bodies",
    "models.progressive",
    "models.patchwise",
    "models",
    "divergence",
    "losses",
    "experiments",
    "probe",
    "runs",
    "difficulty",
    "vitals",
    "evaluation",
    "perceptual",
    "fusion",
    "trainer",
    "training",
    "papers.base",
    "papers",
    "results",
    "costs",
    "dynamic",
    "claims",
    "tables",
    "gaps",
    "figures",
    "patch_figures",
    "d2c_figures",
    "ddet_figures",
    "tracing",
    "anatomy",
    "diagrams",
    "notebooks",
    "report",
    "widgets",
    "explorers.pairs",
    "explorers.btsrn",
    "explorers.prosrn",
    "explorers.difficulty_sr",
    "explorers.d2c_sr",
    "explorers.ddet",
    "explorers",
    "upscaling",
    "__main__",
]
# What training needs, besides the standard library.
TRAINING = {"torch", "accelerate", "numpy", "pandas", "PIL", "safetensors", "tqdm", "filelock", "psutil"}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}


@cache
def parsed(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text())


def imports(module: str, lazy: bool = True) -> set[str]:
    """Return what a module imports, as dotted names; lazy: also inside of functions."""
    found = set()
    for node in ast.walk(parsed(module)) if lazy else parsed(module).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}".removeprefix("srlib.")
                found.add(f"srlib.{inner}" if inner in MODULES else node.module)
    return found


def own(module: str, lazy: bool = True) -> set[str]:
    """Return the modules of srlib that a module imports, without the package itself."""
    return {name.removeprefix("srlib.") for name in imports(module, lazy) if name.startswith("srlib.")}


def rank(module: str) -> int:
    while module not in ORDER:
        assert "." in module, f"{module!r} is new: give it a place in ORDER"
        module = module.rpartition(".")[0]
    return ORDER.index(module)


def against_the_flow(module: str, imported: str) -> bool:
    if rank(imported) == rank(module):  # a package may gather its own modules, these may not import each other
        return not imported.startswith(f"{module}.")
    return rank(imported) > rank(module)


@pytest.mark.parametrize("module", [module for module in MODULES if module])
def test_imports_follow_the_flow(module):
    wrong = sorted(imported for imported in own(module) if against_the_flow(module, imported))
    assert not wrong, f"srlib.{module} imports {wrong}, which stand below it in ORDER"


def test_the_rule_would_notice():
    assert against_the_flow("models.btsrn", "training") and against_the_flow("models.btsrn", "models.vdsr")
    assert against_the_flow("models.btsrn", "models") and against_the_flow("data.files", "data.pairs")
    assert not against_the_flow("models", "models.btsrn") and not against_the_flow("models.btsrn", "models.bicubic")
    assert not against_the_flow("training", "models") and against_the_flow("metrics", "papers.btsrn")


def test_order_names_what_exists():
    packages = {name.rpartition(".")[0] for name in MODULES}
    assert [name for name in ORDER if name not in MODULES and name not in packages] == []
    assert len(set(ORDER)) == len(ORDER)


def test_the_package_itself_imports_nothing():
    assert imports("") == set()


@pytest.mark.parametrize("module", MODULES)
def test_no_star_imports(module):
    stars = [n.module for n in ast.walk(parsed(module)) if isinstance(n, ast.ImportFrom) and n.names[0].name == "*"]
    assert stars == []


def needed(module: str) -> set[str]:
    """Return the modules of srlib that importing one loads."""
    found, ahead = set(), {module}
    while ahead:
        one = ahead.pop()
        if one in MODULES and one not in found:
            found.add(one)
            ahead |= own(one, lazy=False) | {one.rpartition(".")[0]}
    return found


@pytest.mark.parametrize("module", ["training", "papers", "results", "__main__"])
def test_the_training_path_needs_few_packages(module):
    tops = {name.partition(".")[0] for one in needed(module) for name in imports(one, lazy=False)}
    assert tops - set(sys.stdlib_module_names) - {"srlib"} <= TRAINING


UNWANTED = ["pooch", "requests", "platformdirs", "skimage", "matplotlib", "seaborn"]
UNWANTED += ["papermill", "IPython", "ipywidgets", "jinja2"]


def loaded(statement: str) -> set[str]:
    code = f"import json, sys; {statement}; print(json.dumps([name.partition('.')[0] for name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return set(json.loads(done.stdout))


def test_training_loads_nothing_that_it_does_not_need():
    modules = loaded("import srlib.training, srlib.papers, srlib.results")
    assert "torch" in modules
    assert sorted(modules & set(UNWANTED)) == []


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


def test_the_package_and_the_command_line_load_nothing_heavy():
    modules = loaded("import srlib, srlib.__main__, srlib.errors, srlib.paths")
    assert sorted(modules & {"torch", "numpy", "pandas", *UNWANTED}) == []
