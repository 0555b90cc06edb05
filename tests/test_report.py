"""The HTML report: complete, self-contained, and never half."""

import base64
import dataclasses
import io
import re
from html.parser import HTMLParser

import matplotlib.pyplot as plt
import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from srlib import papers
from srlib.core import paths
from srlib.core.errors import SRError
from srlib.draw import styling
from srlib.draw.style import note, save_figure
from srlib.papers.profiles import profile as find_profile
from srlib.reproduce import claims, gallery, notebooks, report, verdicts

WIDGET = "application/vnd.jupyter.widget-view+json"
PROFILE = "smoke"


def png(color: str, size: tuple[int, int] = (8, 6)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, color).save(out, format="PNG")
    return out.getvalue()


def shown(**data) -> nbformat.NotebookNode:
    return new_output("display_data", data=data)


def notebook(*outputs, title: str = "BTSRN: train *one* network") -> nbformat.NotebookNode:
    intro = f"# {title}\n\nNext: [ablate](ablate.ipynb), [train](train.ipynb), [paper](https://example.org/a.ipynb)."
    cells = [new_markdown_cell(intro), new_code_cell("x = 1 < 2", outputs=list(outputs), execution_count=1)]
    made = new_notebook(cells=cells)
    made.metadata.papermill = {"duration": 12.4}
    return made


def save(made: nbformat.NotebookNode, name: str) -> None:
    file = paths.runs_dir() / "notebooks" / PROFILE / f"{name}.ipynb"
    file.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(made, file)


def execute() -> None:
    """Write three notebooks, a summary, a table and a figure, as a run leaves them."""
    picture = shown(**{"image/png": base64.b64encode(png("red")).decode()})
    table = shown(**{"text/html": "<table><tr><td>28.42</td></tr></table>", "text/plain": "28.42"})
    widget = shown(**{WIDGET: {"model_id": "1"}, "text/plain": "VBox()"})
    lines = [new_output("stream", name="stdout", text=f"step {i}\n") for i in range(2)]
    save(notebook(picture, table, *lines), "btsrn/train_btsrn_x2")
    save(notebook(title="BTSRN: ablate"), "btsrn/ablate")
    save(notebook(widget, title="BTSRN: explore"), "btsrn/explore")
    save(notebook(title="All claims"), "summary")
    nothing = pd.DataFrame(columns=["method", "dataset", "scale", "seed", "image", "psnr"])
    found = verdicts.evaluate_claims("btsrn", nothing).assign(paper="btsrn")
    found.loc[0, ["verdict", "estimate", "low", "high", "n_images"]] = ["holds", 0.1234, 0.1, 0.15, 5]
    notebooks.save_metrics(found, PROFILE, "summary")
    figures = notebooks.figures_folder(PROFILE, "btsrn")
    figures.mkdir(parents=True)
    (figures / "table_4.md").write_text("PSNR <of> luma.\n\n| Method | PSNR |\n|:---|---:|\n| BTSRN | **33.64** |\n")
    (figures / "table_4.csv").write_text("method,psnr\nbtsrn,33.64\n")
    (figures / "figure_5.png").write_bytes(png("blue", (3000, 500)))
    (figures / "figure_5.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (figures / "figure_5.csv").write_text("method,psnr\nbtsrn,33.64\n")


@pytest.fixture
def executed():
    execute()


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """The index of a report on what `execute` writes."""
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("SRLIB_RUNS", "SRLIB_FIGURES"):
            patch.setenv(variable, str(tmp_path_factory.mktemp(variable.lower())))
        execute()
        return report.build(PROFILE)


@pytest.fixture
def judged(monkeypatch):
    """Let the profile judge claims of accuracy."""
    monkeypatch.setattr(report, "find_profile", lambda name: dataclasses.replace(find_profile(name), judges_accuracy=True))


class Links(HTMLParser):
    """All that a page loads or points to, and its text."""

    def __init__(self, page):
        super().__init__()
        self.loaded, self.linked, self.words = [], [], []
        self.feed(page.read_text())

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.loaded += [given[name] for name in ("src", "srcset", "poster", "data") if given.get(name)]
        if given.get("href"):
            (self.loaded if tag == "link" else self.linked).append(given["href"])

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def test_the_index_shows_all_there_is(index):
    links, html, folder = Links(index), index.read_text(), index.parent
    budget = find_profile(PROFILE).budget
    for part in [budget, "embedded-test", "Balanced Two-Stage", "+0.123 dB", "PSNR <of> luma.", "33.64", "(12 s)"]:
        assert part in links.text, part
    assert "torch " in links.text and "hardware" in links.text and "Python" in links.text
    assert {"btsrn/train_btsrn_x2.html", "btsrn/ablate.html", "summary/summary.html"} <= set(links.linked)
    assert {f"btsrn/files/{name}" for name in ("table_4.csv", "figure_5.png", "figure_5.svg", "figure_5.csv")} <= set(
        links.linked
    )
    assert "btsrn/files/figure_5.preview.png" in links.loaded
    assert Image.open(folder / "btsrn" / "files" / "figure_5.png").size == (3000, 500)
    assert Image.open(folder / "btsrn" / "files" / "figure_5.preview.png").size[0] == gallery.PREVIEW
    known = claims.load_claims("btsrn")
    assert all(claim.source in html for claim in known)
    assert html.count('<b class="not-tested">not tested</b>') == len(known) - 1


def test_a_notebook_keeps_code_pictures_tables_and_printed_lines(index):
    folder = index.parent / "btsrn"
    page = folder / "train_btsrn_x2.html"
    links = Links(page)
    assert "28.42" in links.text and "step 0 step 1" in links.text and "<em>one</em>" in page.read_text()
    assert sum(target.startswith("data:image/png") for target in links.loaded) == 1
    assert "<title>BTSRN: train one network</title>" in page.read_text()
    assert {"ablate.html", "../index.html#notebooks-btsrn", "https://example.org/a.ipynb"} <= set(links.linked)
    text = Links(folder / "explore.html").text
    assert report.WIDGET_NOTE in text and "VBox" not in text


def test_the_index_leads_to_every_paper_and_says_what_it_was_trained_on(executed):
    save(notebook(title="DDet: explore"), "ddet/explore")
    index = report.build(PROFILE)
    links, html = Links(index), index.read_text()
    assert {"#btsrn", "#ddet"} <= set(links.linked) and "#prosrn" not in links.linked
    assert "BTSRN: Balanced Two-Stage" in links.text and "DDet: DDet" not in links.text
    settings = [papers.get(name).setting(PROFILE) for name in ("btsrn", "ddet")]
    assert settings[0].data != settings[1].data  # so the line is each paper's
    for name, setting in zip(("btsrn", "ddet"), settings, strict=True):
        part = html.split(f'<h2 id="{name}">')[1].split("<h2")[0]
        assert setting.data in part and all(test in part for test in setting.tests)
    said = report._about(papers.get("d2c_sr"), "paper")["setting"]  # sets of any scale have a star
    assert "Training data: RealSR-V3-x*/train. Scored on RealSR-V3-x*/test" in said
    released = report._about(papers.get("btsrn"), "released")["setting"]  # weights of several trainings
    assert "Training data" not in released and "on its card. Scored on Set5" in released


def test_a_profile_that_judges_no_accuracy_says_so_and_counts_no_verdicts(index):
    html = index.read_text()
    assert "too small to judge accuracy" in html and "Claims. Accuracy" not in html and '<div class="verdicts">' not in html
    assert "those of accuracy not judged under this profile" in html


def test_a_section_opens_with_its_picture_and_table_beside_the_released_ones(index):
    html, lead = index.read_text(), Links(index).loaded
    assert "btsrn/files/figure_5.preview.png" in lead and "btsrn/released/figure_5.preview.png" in lead
    assert (
        0 < html.index("<h4>Figure 5, this run</h4>") < html.index("<h4>Table 4, this run</h4>") < html.index("<h3>Claims</h3>")
    )
    assert html.count("<h4>Released networks</h4>") == 2 and 'alt="Figure 5"' in html


def test_pictures_are_described_by_their_headings_and_in_the_papers_order(executed):
    save(notebook(title="BTSRN\n\n## Figures 9 and 10: what `alpha` does\n"), "btsrn/render")
    for number in (9, 10):
        (notebooks.figures_folder(PROFILE, "btsrn") / f"figure_{number}.png").write_bytes(png("red"))
    html = report.build(PROFILE).read_text()
    assert html.index('alt="Figure 9: what alpha does"') < html.index('alt="Figure 10: what alpha does"')


def test_a_long_caption_unfolds(executed):
    file = notebooks.figures_folder(PROFILE, "btsrn") / "table_4.md"
    file.write_text(file.read_text().replace("PSNR <of> luma.", "Table 4: PSNR. Protocol btsrn: luma. Spent: little."))
    html = report.build(PROFILE).read_text()
    assert "<p>Table 4: PSNR. (" in html
    assert "<summary>protocol, budget and data</summary>Protocol btsrn: luma. Spent: little.</details>" in html


def test_claims_begin_with_the_verdict_and_end_with_what_is_not_tested(executed, judged):
    file = notebooks.metrics_file(PROFILE, "summary")
    found = pd.read_csv(file)
    found.loc[len(found) - 1, ["verdict", "estimate", "low", "high"]] = ["holds where tested", 0.2, 0.1, 0.3]
    notebooks.save_metrics(found, PROFILE, "summary")
    html = report.build(PROFILE).read_text()
    table = html.split('<table class="claims">')[1].split("</table>")[0]
    words = re.findall(r'<td><b class="([a-z-]+)">([a-z ]+)</b></td>', table)
    assert words[:2] == [("holds", "holds"), ("holds-where-tested", "holds where tested")]
    assert {word for _, word in words[2:]} == {"not tested"} and len(words) == len(found)
    assert re.findall(r"<th>(.+?)</th>", table)[:3] == ["Verdict", "Claim", "Source"]
    assert html.count("1 holds where tested") == 1


def test_kinds_of_claim_are_counted_apart(executed, judged):
    file = notebooks.metrics_file(PROFILE, "summary")
    found = pd.read_csv(file)
    undecided = found.index[found["kind"] == "accuracy"][1:3]
    found.loc[undecided, "verdict"] = "not decidable at this budget"
    notebooks.save_metrics(found, PROFILE, "summary")
    line = re.sub(r"<[^>]+>", "", re.search(r"<p>(Claims\. .+?)A verdict", report.build(PROFILE).read_text(), re.DOTALL)[1])
    counts = found.groupby("kind").size()
    assert re.sub(r"\s+", " ", line).strip() == (
        f"Claims. Accuracy: 1 holds, 2 not decidable at this budget, {counts['accuracy'] - 3} not tested. "
        f"Cost measured: {counts['cost measured']} not tested. Cost counted: {counts['cost counted']} not tested."
    )
    notebooks.save_metrics(found.drop(columns="kind"), PROFILE, "summary")
    with pytest.raises(SRError, match="has no column 'kind'; run notebooks/summary.ipynb again"):
        report.build(PROFILE)


def test_a_table_without_a_number_of_ours_is_folded(executed):
    folder = notebooks.figures_folder(PROFILE, "btsrn")
    (folder / "table_1.csv").write_text("method,psnr_published,psnr_ours\nbtsrn,33.64,\n")
    (folder / "table_1.md").write_text("PSNR.\n\n| Method | PSNR |\n|:---|---:|\n| BTSRN | 33.64 |\n")
    html = report.build(PROFILE).read_text()
    folded = html.split("<summary><b>Table 1</b>, published numbers only</summary>")[1].split("</details>")[0]
    assert "btsrn/files/table_1.csv" in folded and "<h4>Table 4, this run</h4>" in html


def test_no_page_needs_anything_from_outside(index):
    pages = list(index.parent.rglob("*.html"))
    assert len(pages) == 5
    for page in pages:
        links = Links(page)
        assert not re.search(r"@import|url\(|<script", page.read_text()), page
        assert '<meta name="viewport" content="width=device-width' in page.read_text()
        for target in links.loaded:
            assert target.startswith("data:") or (page.parent / target).is_file(), (page, target)
        for target in links.linked:
            file, _, anchor = target.partition("#")
            if not target.startswith("https:"):
                goal = page.parent / file if file else page
                assert goal.is_file(), (page, target)
                assert not anchor or f'id="{anchor}"' in goal.read_text(), (page, target)


def test_pictures_have_an_alternative_text(executed):
    """In the index the words of the figure itself, in a notebook's page the heading above it."""
    figure, axes = plt.subplots()
    axes.set(title="Set14 \u00d72", xlabel="mult-adds (G)", ylabel="PSNR (dB)")
    note(figure, "protocol btsrn; 3 seeds <each>")
    save_figure(figure, notebooks.figures_folder(PROFILE, "btsrn"), "figure_3")
    save(notebook(shown(**{"image/png": base64.b64encode(png("red")).decode()}), title="Figure 1: the *network*"), "btsrn/render")
    index = report.build(PROFILE)
    assert (
        'alt="Figure 3: Set14 \u00d72; PSNR (dB) against mult-adds (G); protocol btsrn; 3 seeds &lt;each&gt;"'
        in index.read_text()
    )
    assert 'alt="Figure 1: the network"' in (index.parent / "btsrn" / "render.html").read_text()


def test_scripts_in_tables_claims_and_outputs_are_texts(executed):
    script = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    figures = notebooks.figures_folder(PROFILE, "btsrn")
    table = pd.DataFrame({"method": [script, "other"], script: ["x", "y"], "psnr": [33.64, 33.0]})
    styling.save_table(table, figures, "table_5", f"A caption {script}.")
    (figures / "table_6.md").write_text(f"A caption {script}.\n\n| {script} |\n|:---|\n| {script} |\n")  # by something older
    (figures / "table_6.csv").write_text("method\nbtsrn\n")
    old = table.style.set_caption(f"A caption {script}.").to_html()
    new = styling.styled(table, f"What it is. The rest: {script}").data
    save(notebook(shown(**{"text/html": new}), shown(**{"text/html": old})), "btsrn/ablate")
    file = notebooks.metrics_file(PROFILE, "summary")
    found = pd.read_csv(file).assign(detail=script)
    found.loc[1, "verdict"] = script
    notebooks.save_metrics(found, PROFILE, "summary")
    index = report.build(PROFILE)
    for page in (index, index.parent / "btsrn" / "ablate.html"):
        html = page.read_text(encoding="utf-8")
        assert "<script" not in html and "<img src=x" not in html, page
        assert "<script>alert(1)</script>" in Links(page).text.replace("< ", "<"), page
    links = Links(index)
    assert links.text.count("A caption <script>alert(1)</script><img src=x onerror=alert(1)>.") == 4, (
        "and in the line that unfolds it"
    )
    assert "<strong>33.64</strong>" in index.read_text()
    ablate = (index.parent / "btsrn" / "ablate.html").read_text()
    assert "font-weight: bold" in ablate and "<th" in ablate and "<details><summary>What it is.</summary>" in ablate


def test_errors_are_marked_and_truncated_notebooks_left_out(executed, capsys):
    error = new_output("error", ename="SRError", evalue="scale (=5)", traceback=["SRError: scale (=5)"])
    save(notebook(error), "btsrn/train_btsrn_x2")
    file = paths.runs_dir() / "notebooks" / PROFILE / "btsrn" / "ablate.ipynb"
    file.write_text(file.read_text()[:100])
    index = report.build(PROFILE)
    assert "ended with an error" in index.read_text()
    assert "scale (=5)" in (index.parent / "btsrn" / "train_btsrn_x2.html").read_text()
    assert "btsrn/ablate.html" not in Links(index).linked and "btsrn/explore.html" in Links(index).linked
    assert "ablate.ipynb is a truncated notebook" in capsys.readouterr().err


def test_a_paper_without_a_lead_opens_with_its_first_picture(executed, monkeypatch):
    monkeypatch.setattr(report, "LEAD", {})
    assert "<img" in report.build(PROFILE).read_text()


def test_a_new_report_replaces_the_old_one_whole_and_a_failed_one_does_not(executed, capsys):
    assert report.main([PROFILE]) == 0
    index = paths.runs_dir() / "report" / PROFILE / "index.html"
    assert capsys.readouterr().out.strip() == str(index)
    folder = index.parent
    (folder / "old.html").write_text("")
    (folder.parent / f".{PROFILE}.part-abc" / "new").mkdir(parents=True)  # a killed report left it
    (folder.parent / ".another-abc").mkdir()
    report.build(PROFILE)
    assert not (folder / "old.html").exists()
    assert sorted(path.name for path in folder.parent.iterdir()) == [".another-abc", PROFILE]
    before = index.read_text()
    notebooks.save_metrics(pd.DataFrame({"a": [1]}), PROFILE, "summary")
    with pytest.raises(SRError, match="has no column 'verdict'"):
        report.build(PROFILE)
    assert index.read_text() == before
    assert sorted(path.name for path in folder.parent.iterdir()) == [".another-abc", PROFILE]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([PROFILE], "error: no executed notebooks under .* run `make reproduce PROFILE=smoke` first"),
        (["smok"], "unknown profile 'smok'. Did you mean 'smoke'?"),
        ([], "name one profile"),
    ],
)
def test_mistakes_are_told_in_a_line(capsys, arguments, message):
    assert report.main(arguments) == 2
    assert re.search(message, capsys.readouterr().err)


def test_formulas_are_shown_without_a_script(tmp_path):
    cell = new_markdown_cell("With $F_W$ and `$HOME`:\n\n$$L = -\\sum_c y_c \\log \\hat y_c$$")
    notebook = new_notebook(cells=[new_markdown_cell("# Title"), cell])
    (tmp_path / "in").mkdir()
    nbformat.write(notebook, tmp_path / "in" / "a.ipynb")
    report.notebook_pages(tmp_path / "in", tmp_path / "out", report.templates())
    page = (tmp_path / "out" / "a.html").read_text()
    assert page.count("<math") == 2 and page.count("<munder") + page.count("<msub") >= 2 and 'display="block"' in page
    assert "$$" not in page and "<code>$HOME</code>" in page and "FORMULA" not in page


@pytest.mark.parametrize("name", papers.names())
def test_every_formula_of_the_notebooks_is_known(name):
    for file in (paths.home() / "notebooks" / name).glob("*.ipynb"):
        formulas = report._replace_math(nbformat.read(file, as_version=4))
        unknown = {word for formula in formulas.values() for word in re.findall(r"\\[A-Za-z]+", formula)}
        assert not unknown, f"{file.name}: {unknown}"


def test_pages_fold_what_only_sets_up(tmp_path):
    first, second = new_code_cell('profile = "quick"', metadata={"tags": ["parameters"]}), new_code_cell("import torch\n\nx = 1")
    shows = new_code_cell("from math import pi\n\npi", outputs=[new_output("execute_result", {"text/plain": "3.14"})])
    notebook = new_notebook(cells=[new_markdown_cell("# Title"), first, second, new_code_cell("y = x + 1"), shows])
    (tmp_path / "in").mkdir()
    nbformat.write(notebook, tmp_path / "in" / "a.ipynb")
    report.notebook_pages(tmp_path / "in", tmp_path / "out", report.templates())
    (folded,) = re.findall(r"<details.*?</details>", (tmp_path / "out" / "a.html").read_text(), re.DOTALL)
    text = re.sub(r"<[^>]+>", "", folded)
    assert "profile" in text and "torch" in text and "y =" not in text and "pi" not in text
