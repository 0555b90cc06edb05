"""README and the papers' pages say what the committed tables say."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from srlib import papers
from srlib.reproduce.claims import KINDS
from srlib.reproduce.verdicts import VERDICTS

ROOT = Path(__file__).resolve().parents[1]
PAGES = [f"notebooks/{name}/README.md" for name in papers.names()]


def check(folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, folder / "workflow" / "readme.py", "--check"], capture_output=True, text=True)


@pytest.fixture
def copy(tmp_path) -> Path:
    for name in ("README.md", "workflow/readme.py", *PAGES):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text())
    (tmp_path / "figures").symlink_to(ROOT / "figures")
    return tmp_path


def test_the_pages_have_the_tables_of_figures_released():
    done = check(ROOT)
    assert done.returncode == 0, done.stderr


def test_a_number_that_was_typed_is_noticed_and_put_right(copy):
    page = copy / "notebooks" / "difficulty_sr" / "README.md"
    right = page.read_text()
    assert "33.66, 33.66" in right
    page.write_text(right.replace("33.66, 33.66", "33.66, 34.66", 1))
    done = check(copy)
    assert done.returncode == 1 and "run: python workflow/readme.py" in done.stderr
    subprocess.run([sys.executable, copy / "workflow" / "readme.py"], check=True)
    assert page.read_text() == right


@pytest.fixture
def readme():
    spec = importlib.util.spec_from_file_location("readme", ROOT / "workflow" / "readme.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["readme"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["readme"]


def test_every_verdict_is_counted(readme):
    assert readme.WORDS == VERDICTS and readme.KINDS == KINDS


def test_kinds_of_claim_are_counted_apart(readme, tmp_path):
    file = tmp_path / "claims.csv"
    rows = ["holds,cost counted", "holds,accuracy", "holds,accuracy", "not decidable at this budget,accuracy"]
    file.write_text("\n".join(["verdict,kind", *rows]))
    told = "accuracy: 2 *holds*, 1 *not decidable at this budget*; cost counted: 1 *holds*"
    assert readme._verdicts(file) == told
    file.write_text("verdict\nholds\ninconclusive\nnot tested\n")  # a table that was made before
    assert readme._verdicts(file) == "1 *holds*, 1 *inconclusive*, 1 *not tested*"


def test_readme_fits_two_screens():
    assert len((ROOT / "README.md").read_text().split()) < 1500


@pytest.mark.parametrize("page", ["README.md", *PAGES, *(f"docs/{file.name}" for file in (ROOT / "docs").glob("*.md"))])
def test_every_picture_and_file_that_a_page_names_is_there(page):
    named = re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text())
    folder = (ROOT / page).parent
    assert [path for path in named if "://" not in path and not (folder / path).exists()] == []
