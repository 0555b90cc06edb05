"""The tables and figures of a folder, as the report shows them."""

import re
import shutil
from collections.abc import Sequence
from html import unescape
from pathlib import Path

import bleach  # comes with nbconvert
import pandas as pd
from bleach.css_sanitizer import CSSSanitizer
from nbconvert.filters import markdown2html
from PIL import Image

from srlib.data.images import natural
from srlib.draw.columns import published_only
from srlib.draw.styling import split_caption

PREVIEW = 800  # pixels
TAGS = "table caption colgroup col thead tbody tfoot tr th td style div span p br ul ol li a b strong i em u sub sup code pre"
TAGS += " details summary"
ATTRIBUTES = {"*": ["class", "id", "style", "align", "colspan", "rowspan", "scope", "title"], "a": ["href"]}


def sanitize(html: str) -> str:
    """Return HTML in which all markup but tables and text is escaped: a script in a table's cell is shown as text."""
    return bleach.clean(html, tags=set(TAGS.split()), attributes=ATTRIBUTES, css_sanitizer=CSSSanitizer())


def headings(notebooks_folder: Path) -> list[str]:
    """Return the headings of a folder's notebooks that name a figure, as "Figure 5: what the numbers look like"."""
    texts = [file.read_text(encoding="utf-8", errors="replace") for file in sorted(notebooks_folder.glob("*.ipynb"))]
    return [
        re.sub(r"[*`_$]", "", found) for text in texts for found in re.findall(r'"#+ (Figures? [^"]+?: [^"]+?)(?:\\n)?"', text)
    ]


def _describe(stem: str, titles: Sequence[str]) -> str:
    """Return what a picture shows: the heading that names its figure, else its name in words."""
    name = stem.replace("_", " ").capitalize()
    number = re.match(r"figure_(\d+)", stem)
    for title in titles if number else ():
        numbers, _, what = title.partition(": ")
        if number[1] in re.findall(r"\d+", numbers):
            return f"{name}: {what}"
    return name


def _table(file: Path, link: str) -> dict:
    """Return a table of the figures folder for the index: caption and details, HTML, links to its files; link: without suffix."""
    caption, _, table = file.read_text(encoding="utf-8").partition("\n\n")
    first, details = split_caption(unescape(caption))
    csv = file.with_suffix(".csv")
    return {
        "stem": file.stem,
        "name": file.stem.replace("_", " ").capitalize(),
        "caption": first,
        "details": details,
        "links": {kind: f"{link}.{kind}" for kind in ("csv", "md", "tex") if file.with_suffix(f".{kind}").exists()},
        "body": sanitize(markdown2html(table)),
        "published_only": csv.exists() and published_only(pd.read_csv(csv)),
    }


def _preview(file: Path, out: Path) -> str:
    """Write a small version of a picture; return the words that the file has on what it shows ("" for none)."""
    with Image.open(file) as image:
        description = image.info.get("Description", "")
        image.thumbnail((PREVIEW, 4 * PREVIEW), Image.Resampling.LANCZOS)
        image.convert("RGB").save(out, optimize=True)
    return description


def copy(figures: Path, out: Path, stems: tuple[str, ...] = (), titles: Sequence[str] = ()) -> tuple[list[dict], list[dict]]:
    """Copy tables and figures, those of `stems` or all, into `out`; return both for the index, in the paper's order."""
    files = [file for file in figures.glob("*") if file.suffix in (".csv", ".md", ".tex", ".png", ".svg")]
    files = sorted(
        (file for file in files if not stems or file.stem in stems), key=lambda file: (natural(file.stem), file.suffix)
    )
    tables, pictures = [], []
    for file in files:
        out.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, out / file.name)
        link = f"{out.parent.name}/{out.name}/{file.stem}"
        if file.suffix == ".md" and file.stem != "claims":  # the claims have their own place
            tables.append(_table(file, link))
        if file.suffix == ".png":
            description = _preview(file, out / f"{file.stem}.preview.png")
            others = {kind.upper(): f"{link}.{kind}" for kind in ("svg", "csv") if file.with_suffix(f".{kind}").exists()}
            name = _describe(file.stem, titles)
            alt = f"{name.partition(':')[0]}: {description}" if description else name
            files_of = {"preview": f"{link}.preview.png", "png": f"{link}.png", "others": others}
            pictures.append({"stem": file.stem, "name": name, "alt": alt, **files_of})
    return tables, pictures
