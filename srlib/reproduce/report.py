"""The HTML report of a profile: a self-contained folder of pages, `python -m srlib.reproduce.report PROFILE`.

runs/report/<profile>/
    index.html          per paper its main picture and table beside the released ones, verdicts, figures, tables, notebooks
    <paper>/*.html      one page per executed notebook, pictures inside
    <paper>/files/      the tables as CSV, Markdown and LaTeX, the figures as PNG and SVG, and small previews
"""

import itertools
import re
import sys
from pathlib import Path

import jinja2
import latex2mathml.converter
import nbformat
import pandas as pd
from nbconvert import HTMLExporter
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from pygments.formatters import HtmlFormatter

from srlib import papers
from srlib.core import paths
from srlib.core.errors import SRError
from srlib.core.files import replacing
from srlib.core.output import tolerant
from srlib.draw.columns import format_value, header
from srlib.papers import Paper
from srlib.papers.profiles import profile as find_profile
from srlib.reproduce import notebooks
from srlib.reproduce.claims import KINDS
from srlib.reproduce.gallery import copy, headings, sanitize
from srlib.reproduce.tables import claims_table
from srlib.reproduce.verdicts import VERDICTS
from srlib.train.provenance import provenance

LEAD = {  # the picture and the table that a paper's section opens with
    "btsrn": ("figure_5", "table_4"),
    "prosrn": ("figure_1", "table_2"),
    "difficulty_sr": ("figure_4", "table_1_x2"),
    "d2c_sr": ("figure_5", "table_1"),
    "ddet": ("figure_4", "table_1"),
}
TEMPLATES = Path(__file__).parent / "templates"
WIDGET = "application/vnd.jupyter.widget-view+json"
WIDGET_NOTE = "Sliders need a kernel: make explore, or make lab for the notebook. The figure shows what they start with."


def templates() -> jinja2.Environment:
    """Return the templates of the report's pages."""
    loader = jinja2.FileSystemLoader(TEMPLATES)
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["header"] = header
    return environment


def _title(notebook: nbformat.NotebookNode, name: str) -> str:
    """Return the first heading of a notebook, else its name."""
    headings = [heading for cell in notebook.cells for level, heading in _headings(cell) if level == 1]
    return headings[0] if headings else name


def _headings(cell: nbformat.NotebookNode) -> list[tuple[int, str]]:
    """Return level and plain text of the headings in a Markdown cell."""
    lines = re.findall(r"^(#+)\s+(.+)$", cell.source, re.MULTILINE) if cell.cell_type == "markdown" else []
    return [(len(marks), re.sub(r"[*`_$]", "", text).strip()) for marks, text in lines]


def _sets_up(cell: nbformat.NotebookNode) -> bool:
    """Tell whether a cell only holds parameters, or opens with imports and shows nothing."""
    tags = cell.metadata.get("tags", ())
    opens = "parameters" in tags or "injected-parameters" in tags or cell.source.startswith(("import ", "from "))
    return cell.cell_type == "code" and opens and not cell.outputs


def _join_setup(cells: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Return the cells with each run of set-up joined into one cell, which the page folds."""
    joined = []
    for does, run in itertools.groupby(cells, _sets_up):
        run = list(run)
        if does:
            source = "\n\n".join(cell.source for cell in run)
            run = [nbformat.v4.new_code_cell(source, metadata={"tags": ["set-up"]})]
        joined += run
    return joined


def _prepare(notebook: nbformat.NotebookNode) -> bool:
    """Join streams and set-up, replace widgets (they need a kernel) by a note, sanitize HTML, name pictures by their heading.

    Returns whether a cell shows an error.
    """
    CoalesceStreamsPreprocessor(enabled=True).preprocess(notebook, {})
    notebook.cells = _join_setup(notebook.cells)
    notebook.metadata.pop("widgets", None)
    failed, heading = False, ""
    for cell in notebook.cells:
        heading = (_headings(cell) or [(0, heading)])[-1][1]
        for output in cell.get("outputs", ()):
            if heading and "image/png" in output.get("data", {}):
                output.metadata.setdefault("image/png", {})["alt"] = heading
            failed |= output.output_type == "error"
            if WIDGET in output.get("data", {}):
                output.data = nbformat.from_dict({"text/html": f"<p><em>{WIDGET_NOTE}</em></p>"})
            if "text/html" in output.get("data", {}):
                output.data["text/html"] = sanitize(output.data["text/html"])
    return failed


def _relink(html: str, known: set[str], index: str) -> str:
    """Point links between notebooks to their pages, or to `index` for a notebook without a page."""

    def page(match: re.Match) -> str:
        name = match[1].removeprefix("./")
        return f'href="{name}.html"' if name in known else f'href="{index}"'

    return re.sub(r'href="((?![a-z]+:)[^"#]+)\.ipynb(?:#[^"]*)?"', page, html)


MATH = re.compile(r"`[^`]*`|\$\$(.+?)\$\$|\$([^$\n]+)\$", re.DOTALL)  # code, which stays; an equation; math in a line


def _replace_math(notebook: nbformat.NotebookNode) -> dict[str, str]:
    """Put a word in the place of each formula of a notebook's text; return the formulas as MathML, by that word.

    Browsers show MathML by themselves, without a script from elsewhere.
    """
    formulas = {}

    def replace(match: re.Match) -> str:
        latex = match[1] or match[2]
        if latex is None:
            return match[0]
        word = f"FORMULA{len(formulas)}END"
        formulas[word] = latex2mathml.converter.convert(latex.strip(), display="block" if match[1] else "inline")
        return word

    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = MATH.sub(replace, cell.source)
    return formulas


def notebook_pages(executed: Path, out: Path, environment: jinja2.Environment) -> list[dict]:
    """Write one page per executed notebook of a folder into `out`; return the pages for the index, sorted by title.

    A notebook left truncated by a killed run is skipped; its next run rewrites it.
    """
    exporter = HTMLExporter(
        template_name="page",
        extra_template_basedirs=[str(TEMPLATES)],
        embed_images=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
    )
    template, css = environment.get_template("notebook.html.j2"), HtmlFormatter().get_style_defs(".highlight")
    index = f"../index.html#notebooks-{out.name}"
    files = sorted(executed.glob("*.ipynb"))
    pages = []
    for file in files:
        try:
            notebook = nbformat.read(file, as_version=4)
        except (ValueError, nbformat.reader.NotJSONError):
            print(f"{file} is a truncated notebook, skipped", file=sys.stderr)
            continue
        failed, title = _prepare(notebook), _title(notebook, file.stem)
        formulas = _replace_math(notebook)
        body = _relink(exporter.from_notebook_node(notebook)[0], {other.stem for other in files}, index)
        for word, formula in formulas.items():
            body = body.replace(word, formula)
        out.mkdir(parents=True, exist_ok=True)
        page = template.render(title=title, name=file.stem, index=index, body=body, css=css)
        (out / f"{file.stem}.html").write_text(page, encoding="utf-8")
        seconds = notebook.metadata.get("papermill", {}).get("duration")
        link = f"{out.name}/{file.stem}.html"
        pages.append({"name": file.stem, "title": title, "link": link, "seconds": seconds, "failed": failed})
    return sorted(pages, key=lambda page: (page["title"], page["name"]))


def _first(items: list[dict], stem: str) -> dict | None:
    """Return the table or picture of that stem, else the first one."""
    return next((item for item in items if item["stem"] == stem), items[0] if items else None)


def _section(paper: Paper, profile: str, out: Path, executed: Path, environment: jinja2.Environment) -> dict | None:
    """Write a paper's pages and files; return its section of the index, None where the profile has nothing of it."""
    pages = notebook_pages(executed, out, environment)
    tables, pictures = copy(notebooks.figures_folder(profile, paper.name), out / "files", titles=headings(executed))
    if not (pages or tables or pictures):
        return None
    picture, table = LEAD.get(paper.name, ("", ""))
    lead = {"picture": _first(pictures, picture), "table": _first(tables, table)}
    released = {"picture": None, "table": None}
    if profile != "released":
        beside, drawn = copy(paths.home() / "figures" / "released" / paper.name, out / "released", (picture, table))
        released = {"picture": _first(drawn, picture), "table": _first(beside, table)}
    others = {
        "tables": [t for t in tables if t is not lead["table"]],
        "pictures": [p for p in pictures if p is not lead["picture"]],
    }
    return {**_about(paper, profile), "pages": pages, "lead": lead, "released": released, **others}


def _claims(profile: str) -> tuple[dict[str, pd.DataFrame], dict[str, dict[str, int]]]:
    """Return the claims of each paper as printed, by column, and the count of each verdict by kind; empty without a summary."""
    file = notebooks.metrics_file(profile, "summary")
    if not file.exists():
        return {}, {}
    summary = pd.read_csv(file)
    for needed in ("verdict", "kind"):
        if needed not in summary.columns:
            raise SRError(f"{file} has no column {needed!r}; run notebooks/summary.ipynb again")
    tables = {}
    for paper, part in summary.groupby("paper", sort=False):
        table = claims_table(part).dropna(axis=1, how="all")
        tables[str(paper)] = pd.DataFrame({c: [format_value(c, value) for value in table[c]] for c in table.columns})
    counts = summary.groupby("kind")["verdict"].value_counts()
    by_kind = {kind: {word: int(counts[kind, word]) for word in VERDICTS if (kind, word) in counts} for kind in KINDS}
    return tables, {kind: words for kind, words in by_kind.items() if words}


def _judged(claims: pd.DataFrame | None) -> dict:
    """Return a paper's claims and how many there are of each verdict."""
    counts = claims["verdict"].value_counts() if claims is not None else {}
    return {"claims": claims, "verdicts": {word: int(counts[word]) for word in VERDICTS if word in counts}}


def _about(paper: Paper, profile: str) -> dict[str, str]:
    """Return a paper's name and title, and its budget, data and test sets under a profile; "*" stands for any scale."""
    setting, short = paper.setting(profile), paper.labels[paper.name].partition(" (")[0]  # "ProSRN (2x)"
    title = paper.title if paper.title.startswith(f"{short}:") else f"{short}: {paper.title}"
    tests = ", ".join(setting.tests).replace("{scale}", "*")
    data = setting.data.replace("{scale}", "*")
    own = f"Budget: {setting.budget}. Training data: {data}."
    training = own if setting.train else "Released weights, each with its budget and data on its card."
    settings = f"{training} Scored on {tests}."
    return {"name": paper.name, "short": short, "title": title, "setting": settings}


def _write(profile: str, out: Path) -> None:
    environment = templates()
    executed = paths.runs_dir() / "notebooks" / profile
    claims, counts = _claims(profile)
    made_of = {name: _section(papers.get(name), profile, out / name, executed / name, environment) for name in papers.names()}
    sections = [section | _judged(claims.get(name)) for name, section in made_of.items() if section]
    summary = notebook_pages(executed, out / "summary", environment)
    if not sections and not summary:
        raise SRError(f"no executed notebooks under {executed}; run `make reproduce PROFILE={profile}` first")
    made = provenance()
    made["packages"] = ", ".join(f"{name} {number}" for name, number in made["packages"].items())
    template = environment.get_template("index.html.j2")
    judged = find_profile(profile).judges_accuracy
    page = template.render(profile=profile, sections=sections, summary=summary, counts=counts, judged=judged, made=made)
    (out / "index.html").write_text(page, encoding="utf-8")


def build(profile: str) -> Path:
    """Build the report of a profile from its executed notebooks and their files; return its index.html.

    An existing report is replaced only once the new one is complete. Raises SRError for an unknown profile, without executed
    notebooks, and for an invalid summary.
    """
    find_profile(profile)
    folder = paths.runs_dir() / "report" / profile
    with replacing(folder) as fresh:
        _write(profile, fresh)
    return folder / "index.html"


@tolerant()
def main(argv: list[str]) -> int:
    """Build the report of the given profile; return 0, or 2 after an error message."""
    if len(argv) != 1:
        print("error: name one profile: python -m srlib.reproduce.report PROFILE", file=sys.stderr)
        return 2
    try:
        print(build(argv[0]))
    except SRError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
