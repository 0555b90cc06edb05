"""The site: explorers, executed notebooks and an index, and what is said where there is nothing to show."""

import re

import nbformat
import pytest
from nbformat.v4 import new_markdown_cell, new_notebook

from srlib import papers
from srlib.core import paths
from srlib.core.errors import SRError
from srlib.papers.btsrn import page as btsrn
from srlib.reproduce import site


@pytest.fixture
def no_networks(monkeypatch):
    """No network is there, whatever is released."""
    monkeypatch.setattr(site.store, "available", lambda *arguments: {})


def execute(name: str) -> None:
    file = paths.runs_dir() / "notebooks" / "smoke" / f"{name}.ipynb"
    file.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=[new_markdown_cell(f"# About {name}\n\nNext: [ablate](ablate.ipynb)")]), file)


def test_a_released_explorer_and_notebooks_are_linked(tmp_path, monkeypatch):
    available = site.store.available

    def without_one(paper, names, *rest):
        return available(paper, [name for name in names if name != "btsrn_9+1"], *rest)

    monkeypatch.setattr(site.store, "available", without_one)
    monkeypatch.setattr(btsrn, "NETWORKS", ("btsrn_10+0", "btsrn_9+1"))
    monkeypatch.setattr(btsrn, "CROP", 64)
    monkeypatch.setattr(papers, "names", lambda: ["btsrn"])
    for name in ("btsrn/train_btsrn_x2", "summary"):
        file = paths.runs_dir() / "notebooks" / "released" / f"{name}.ipynb"
        file.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(new_notebook(cells=[new_markdown_cell("# A title\n\n[ablate](ablate.ipynb)")]), file)
    folder = tmp_path / "site"
    (folder / "btsrn").mkdir(parents=True)
    (folder / "btsrn" / "old.html").write_text("")
    explorers, count = site.build("released", folder)
    assert [explorer.link for explorer in explorers] == ["btsrn.html"] and count == 2
    assert explorers[0].bytes == (folder / "btsrn.html").stat().st_size and not (folder / "btsrn" / "old.html").exists()
    for file in folder.rglob("*.html"):
        for link in re.findall(r'href="(?!data:)([^"#]+)(?:#[^"]*)?"', file.read_text()):
            assert (file.parent / link).exists(), (file, link)
    (picture,) = re.findall(r'<img src="([^"]+)" alt="Figure 5', (folder / "index.html").read_text())
    assert (folder / picture).stat().st_size > 10_000, "the committed figure, as none was made"
    page = (folder / "btsrn.html").read_text()
    assert '"10+0"' in page and '"9+1"' not in page


def test_an_explorer_without_networks_is_named_in_the_index(tmp_path, no_networks):
    execute("btsrn/ablate")
    explorers, count = site.build("smoke", tmp_path / "site")
    assert (explorers, count) == ([], 1)
    index = (tmp_path / "site" / "index.html").read_text()
    assert "make reproduce PROFILE=smoke PAPER=ddet" in index and "btsrn/ablate.html" in index


def test_a_paper_without_a_page_has_no_explorer(tmp_path, monkeypatch, no_networks):
    execute("btsrn/ablate")
    monkeypatch.setattr(site, "_module", lambda paper: f"srlib.papers.{paper.name}.none")
    assert site.build("smoke", tmp_path / "site") == ([], 1)
    assert "No explorer" not in (tmp_path / "site" / "index.html").read_text()


def test_other_files_and_an_earlier_site_are_not_lost(tmp_path, no_networks):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "btsrn.txt").write_text("mine")
    with pytest.raises(SRError, match=r"mine would be replaced, but holds other files \(btsrn.txt\); choose a new folder"):
        site.build("smoke", tmp_path / "mine")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("earlier")
    with pytest.raises(SRError, match="make reproduce PROFILE=smoke"):
        site.build("smoke", tmp_path / "site")
    assert (tmp_path / "site" / "index.html").read_text() == "earlier"


def test_nothing_to_show_says_what_to_run(tmp_path, no_networks):
    with pytest.raises(SRError, match="make reproduce PROFILE=smoke"):
        site.build("smoke", tmp_path / "site")
    assert not (tmp_path / "site" / "index.html").exists()
    with pytest.raises(SRError, match="smok"):
        site.build("smok", tmp_path / "site")
