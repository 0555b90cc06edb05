"""Every explorer in a real JupyterLab and in Voila: its cells run, and each slider changes pictures and numbers."""

import re

import numpy as np
import pytest
from PIL import Image

from srlib import papers

NAMES = papers.names()
WAIT = 90_000  # milliseconds


def opened(page, lab: str, name: str):
    """Open an explorer, run all of its cells and wait for the last one."""
    page.goto(f"{lab}/lab/tree/{name}.ipynb?reset")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=WAIT)
    page.locator(".jp-NotebookPanel-toolbar").get_by_text("Python 3").first.wait_for(timeout=WAIT)  # it has a kernel
    numbers = "[...document.querySelectorAll('.jp-CodeCell .jp-InputArea-prompt')].map(e => e.textContent)"
    for _ in range(5):  # JupyterLab drops the command while it is still connecting to the kernel
        page.locator(".lm-MenuBar-item", has_text="Run").click(timeout=WAIT)
        page.locator(".lm-Menu-item", has_text=re.compile("^Run All Cells")).click(timeout=WAIT)
        page.wait_for_timeout(4000)
        if any(re.search(r"\[[\d*]+\]", text) for text in page.evaluate(numbers)):
            break
    error = page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.error']")
    for _ in range(WAIT // 200):
        done = page.evaluate(numbers)
        assert error.count() == 0, error.first.inner_text()
        if len(done) > 3 and all(re.search(r"\[\d+\]", text) for text in done):
            break
        page.wait_for_timeout(200)
    else:
        raise AssertionError(f"cells did not end within {WAIT // 1000} s: {done}")
    assert page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
    return page.locator(".jp-OutputArea .widget-vbox").first


def state(explorer) -> tuple[list[str], str]:
    """What an explorer shows: its pictures' contents and its texts."""
    pictures = explorer.locator("figure canvas").evaluate_all("all => all.map(canvas => canvas.toDataURL())")
    return pictures, " | ".join(explorer.locator(".widget-html, figcaption").all_inner_texts())


def push(page, handle, times: int) -> None:
    """Move a slider by the keyboard, to the left where it can."""
    left = float(handle.get_attribute("aria-valuenow")) > float(handle.get_attribute("aria-valuemin"))
    handle.focus()
    for _ in range(times):
        page.keyboard.press("ArrowLeft" if left else "ArrowRight")


def changed(page, explorer, before) -> tuple[list[str], str]:
    for _ in range(150):
        page.wait_for_timeout(100)
        after = state(explorer)
        if after[0] != before[0]:
            return after
    raise AssertionError(f"nothing changed: {before[1]}")


@pytest.mark.parametrize("name", NAMES)
def test_every_slider_changes_what_is_shown(page, lab, voila, shot, trained, name):
    trained(name)
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    explorer = opened(page, lab, name)
    handles = explorer.locator(".noUi-handle")
    assert handles.count() >= 1 and len(state(explorer)[0]) >= 3
    explorer.scroll_into_view_if_needed()
    shot(page, "_before")
    moved = 0
    for i in range(handles.count()):
        handle, before = handles.nth(i), state(explorer)
        if handle.locator("xpath=ancestor::*[@disabled]").count():
            continue  # one whose rule is not the chosen one
        push(page, handle, 4)
        try:
            after = changed(page, explorer, before)
        except AssertionError:
            continue  # one that changes nothing where it stands
        moved += 1
        assert after[0] != before[0]
    shot(page, "_after")
    assert moved >= max(1, handles.count() - 2), f"{moved} of {handles.count()} sliders moved something"
    page.goto(f"{voila}/voila/render/{name}.ipynb", timeout=WAIT)
    page.locator(".noUi-handle").first.wait_for(timeout=WAIT)
    explorer = page.locator(".widget-vbox").first
    before = state(explorer)
    push(page, explorer.locator(".noUi-handle").last, 1)
    changed(page, explorer, before)
    shot(page, "_voila")
    assert page.locator(".jp-CodeMirrorEditor, .jp-InputArea-editor").count() == 0  # its code is hidden
    assert errors == []


@pytest.mark.parametrize("name", ["difficulty_sr", "ddet"])
def test_a_photograph_of_the_user_s_is_shown(page, lab, shot, trained, tmp_path, name):
    trained(name)
    photograph = np.random.default_rng(0).integers(0, 256, (500, 450, 3), dtype=np.uint8)
    Image.fromarray(photograph).save(tmp_path / "mine.png")
    explorer = opened(page, lab, name)
    before = state(explorer)
    with page.expect_file_chooser() as chooser:
        explorer.locator("button.widget-upload").click()
    chooser.value.set_files(tmp_path / "mine.png")
    changed(page, explorer, before)
    explorer.get_by_text("mine.png: its centre, 384x384 pixels; LR is").wait_for()
    shot(page)
    assert explorer.locator("select option", has_text="mine.png").count() == 1
