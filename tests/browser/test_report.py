"""The report in a real browser: pictures and links whole, nothing fetched from elsewhere, readable on a phone and on paper."""

from urllib.parse import unquote, urlparse

import pandas as pd
import papermill
import pytest

from srlib import papers
from srlib.core import paths
from srlib.draw import figures, styling
from srlib.draw.diagrams import draw
from srlib.nn.models import create
from srlib.reproduce import notebooks, report, tables, verdicts

PROFILE = "smoke"
UNFOLD = "document.querySelectorAll('details').forEach(details => details.open = true)"
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The report of one executed notebook, one table, one figure and the claims of all papers, one of them tested."""
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("SRLIB_RUNS", "SRLIB_FIGURES"):
            patch.setenv(variable, str(tmp_path_factory.mktemp(variable.lower())))
        executed = paths.runs_dir() / "notebooks" / PROFILE / "difficulty_sr"
        executed.mkdir(parents=True)
        source = paths.home() / "notebooks" / "difficulty_sr" / "explore.ipynb"  # runs to its end without a trained network
        parameters, out = {"profile": PROFILE}, executed / "explore.ipynb"
        papermill.execute_notebook(source, out, parameters, progress_bar=False, kernel_name="python3")
        folder = notebooks.figures_folder(PROFILE, "btsrn")
        figures.save_figure(draw(create("btsrn", 2)), folder, "figure_1")
        printed = papers.published("btsrn", "Table 4")
        styling.save_table(tables.comparison(printed, pd.DataFrame()), folder, "table_4", "Table 4, as printed.")
        nothing = pd.DataFrame(columns=["method", "dataset", "scale", "seed", "image", "psnr"])
        found = [verdicts.evaluate_claims(name, nothing).assign(paper=name) for name in papers.names()]
        found[0].loc[0, ["verdict", "estimate", "low", "high", "detail"]] = ["holds", 0.2, 0.1, 0.3, "5 images, one seed. " * 30]
        notebooks.save_metrics(pd.concat(found), PROFILE, "summary")
        yield report.build(PROFILE).parent


def pages(site) -> list:
    return sorted(site.rglob("*.html"))


def test_every_page_is_whole(site, page, shot):
    errors, asked = [], []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    assert len(pages(site)) >= 2
    for file in pages(site):
        page.goto(file.as_uri())
        page.evaluate("document.querySelectorAll('img').forEach(image => image.loading = 'eager')")
        page.wait_for_load_state("networkidle")
        broken = page.evaluate("[...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.src.slice(0, 200))")
        assert broken == [], file.name
        links = page.evaluate("[...document.querySelectorAll('a[href]')].map(a => a.href)")
        for link in links:
            address = urlparse(link)
            if address.scheme == "file":
                assert (site / unquote(address.path)).exists(), f"{file.name}: {link}"
                if address.fragment:
                    target = unquote(address.fragment)
                    here = address.path == urlparse(file.as_uri()).path
                    assert not here or page.locator(f"[id='{target}']").count() == 1, f"{file.name}: {link}"
            else:
                assert address.scheme in ("https", "http"), link
    assert errors == [] and {urlparse(url).scheme for url in asked} <= {"file", "data", "blob"}
    page.goto((site / "index.html").as_uri())
    shot(page)


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_the_index_fits_the_screen(site, page, shot, size):
    page.set_viewport_size(size)
    page.goto((site / "index.html").as_uri())
    page.evaluate(UNFOLD)
    shot(page)
    wide = """width => [...document.querySelectorAll('body *')].filter(e => !e.closest('.wide') || e.matches('.wide'))
        .filter(e => e.getBoundingClientRect().right > width + 1).map(e => e.outerHTML.slice(0, 200))"""
    assert page.evaluate(wide, size["width"]) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"] + 1
    sizes = "[...document.querySelectorAll('p, td, li')].map(e => parseFloat(getComputedStyle(e).fontSize))"
    assert min(page.evaluate(sizes)) >= 11  # pixels


def test_a_paper_takes_at_most_fifteen_screens(site, page):
    page.set_viewport_size(DESK)
    page.goto((site / "index.html").as_uri())
    tops = page.evaluate("[...document.querySelectorAll('h2')].map(e => e.getBoundingClientRect().top)")
    assert len(tops) >= 2 and max(b - a for a, b in zip(tops, tops[1:], strict=False)) <= 15 * DESK["height"]


def test_why_a_verdict_was_given_is_not_cut(site, page, shot):
    page.set_viewport_size(DESK)
    page.goto((site / "index.html").as_uri())
    page.evaluate(UNFOLD)
    shot(page)
    cut = "[...document.querySelectorAll('.claims details')].filter(e => e.getBoundingClientRect().right > innerWidth).length"
    assert page.locator(".claims details").count() and page.evaluate(cut) == 0


def test_a_phone_shows_verdict_and_claim_without_scrolling(site, page, shot):
    page.set_viewport_size(PHONE)
    page.goto((site / "index.html").as_uri())
    page.evaluate(UNFOLD)
    table = page.locator(".claims").first
    table.scroll_into_view_if_needed()
    shot(page)
    for column, shown in ((1, "Verdict"), (2, "Claim")):
        assert table.locator(f"th:nth-child({column})").inner_text() == shown
        box = table.locator(f"tbody tr:first-child td:nth-child({column})").bounding_box()
        assert box["x"] + box["width"] <= PHONE["width"]


def test_captions_of_a_notebook_begin_on_the_screen(site, page, shot):
    page.set_viewport_size(PHONE)
    page.goto((site / "difficulty_sr" / "explore.html").as_uri())
    details = f"<details open><summary>What it shows.</summary>{'A long caption. ' * 30}</details>"
    table = f"{details}<table><tr><td style='min-width: 100rem'>1</td></tr></table>"
    page.evaluate(
        """html => {
        const box = document.createElement('div'); box.className = 'jp-RenderedHTMLCommon'; box.innerHTML = html;
        document.querySelector('main').prepend(box); }""",
        table,
    )
    shot(page)
    text = """() => { const range = document.createRange(); range.selectNodeContents(document.querySelector('main details'));
        const box = range.getBoundingClientRect(); return [box.left, box.right]; }"""
    left, right = page.evaluate(text)
    assert 0 <= left and right <= PHONE["width"]


def test_the_index_can_be_printed(site, page, tmp_path):
    page.goto((site / "index.html").as_uri())
    page.pdf(path=tmp_path / "report.pdf", format="A4")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") in ("rgba(0, 0, 0, 0)", "rgb(255, 255, 255)")
