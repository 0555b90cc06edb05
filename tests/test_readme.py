"""README and the papers' pages say what the committed tables say."""

import re
from pathlib import Path

import pytest
from scripts import ROOT, load

from srlib import papers
from srlib.reproduce.claims import KINDS
from srlib.reproduce.verdicts import VERDICTS

PAGES = [f"notebooks/{name}/README.md" for name in papers.names()]


readme = load("readme")


@pytest.fixture
def copy(tmp_path) -> Path:
    for name in ("README.md", "workflow/readme.py", *PAGES):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text())
    (tmp_path / "figures").symlink_to(ROOT / "figures")
    return tmp_path


def test_the_pages_have_the_tables_of_figures_released(capsys):
    assert readme.main(["--check"]) == 0, capsys.readouterr().err


def test_a_number_that_was_typed_is_noticed_and_put_right(copy, capsys):
    page = copy / "notebooks" / "difficulty_sr" / "README.md"
    right = page.read_text()
    assert "33.66, 33.66" in right
    page.write_text(right.replace("33.66, 33.66", "33.66, 34.66", 1))
    copied = load("readme", copy)
    assert copied.main(["--check"]) == 1 and "run: python workflow/readme.py" in capsys.readouterr().err
    assert copied.main([]) == 0 and page.read_text() == right


def test_every_verdict_is_counted():
    assert readme.WORDS == VERDICTS and readme.KINDS == tuple(KINDS)


def test_kinds_of_claim_are_counted_apart(tmp_path):
    file = tmp_path / "claims.csv"
    rows = [
        "holds,own question",
        "holds,cost counted",
        "holds,accuracy",
        "holds,accuracy",
        "not decidable at this budget,accuracy",
    ]
    file.write_text("\n".join(["verdict,kind", *rows]))
    told = "accuracy: 2 *holds*, 1 *not decidable at this budget*; cost counted: 1 *holds*; own question: 1 *holds*"
    assert readme._verdicts(file) == told
    assert readme._brief_verdicts(file) == "accuracy: 2 hold, 1 not decidable; cost counted: 1 holds"


def test_readme_has_fewer_than_1500_words():
    assert len((ROOT / "README.md").read_text().split()) < 1500


@pytest.mark.parametrize("page", ["README.md", *PAGES, *(f"docs/{file.name}" for file in (ROOT / "docs").glob("*.md"))])
def test_every_picture_and_file_that_a_page_names_is_there(page):
    named = re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text())
    folder = (ROOT / page).parent
    assert [path for path in named if "://" not in path and not (folder / path).exists()] == []
