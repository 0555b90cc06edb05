"""The viewer of the explorers, in a page without a kernel: zoom, place, click, swipe, blink, difference, keys, phone width."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image
from skimage import data

from srlib.core.color import to_uint8
from srlib.core.imresize import downscale, imresize
from srlib.core.metrics import psnr
from srlib.core.protocols import Protocol
from srlib.draw.viewer import SCRIPT

BY = Protocol("shown", color="y", lr="float_y", grey="as_y", round_sr=True)
HR = data.astronaut()[:256, 100:420]
LR = downscale(HR, 2)
SR = to_uint8(imresize(LR.astype(float), 2))


def png(image: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(image).save(out, format="PNG")
    return out.getvalue()


@pytest.fixture
def opened(page, tmp_path):
    """A page with bicubic SR, LR and HR in the viewer; fails on an error in it."""
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    pictures = [
        {"label": label, "src": f"data:image/png;base64,{base64.b64encode(png(image)).decode()}"}
        for label, image in (("Bicubic", SR), ("LR", LR), ("HR", HR))
    ]
    options = json.dumps({"pictures": pictures, "reference": 2, "color": "y"})
    script = SCRIPT.read_text().replace("export default", "const widget =").replace("export function", "function")
    mount = f"window.v = mount(document.getElementById('v'), {{...{options}, onpoint: (x, y) => window.clicked = [x, y]}});"
    file = tmp_path / "page.html"
    file.write_text(f"<!doctype html><meta charset=utf-8><div id=v></div><script type=module>{script}\n{mount}</script>")
    page.goto(file.as_uri())
    page.wait_for_function("window.v && window.v.view")
    yield page
    assert not errors


def captions(page) -> list[str]:
    return page.locator("figcaption").all_inner_texts()


def picture(page, index: int = 0) -> dict:
    return page.locator("figure canvas").nth(index).bounding_box()


def test_psnr_is_that_of_the_visible_part(opened):
    assert captions(opened) == [f"Bicubic\n{psnr(SR, HR, BY, 2):.2f} dB in view", "LR", "HR"]
    box = picture(opened)
    opened.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.6 * box["height"])
    for _ in range(5):
        opened.mouse.wheel(0, -100)
    seen = opened.evaluate("v.visible()")
    top, left = (int(np.ceil(seen[side])) for side in ("top", "left"))
    bottom, right = (int(np.floor(seen[a] + seen[b])) for a, b in (("top", "height"), ("left", "width")))
    assert right - left < 150
    visible = psnr(SR[top:bottom, left:right], HR[top:bottom, left:right], BY, 2)
    assert captions(opened)[0] == f"Bicubic\n{visible:.2f} dB in view"


def test_a_click_chooses_the_pixel_under_it_in_all_pictures(opened):
    for index in range(3):
        box = picture(opened, index)
        opened.mouse.click(box["x"] + 0.25 * box["width"] + 0.3, box["y"] + 0.5 * box["height"] + 0.3)
        assert opened.evaluate("clicked") == [80, 128]
    opened.locator("#v").focus()
    opened.keyboard.press("Shift+ArrowRight")
    assert opened.evaluate("clicked") == [81, 128]


def test_dragging_moves_and_does_not_choose(opened):
    opened.keyboard.press("Tab")
    opened.locator("#v").focus()
    opened.keyboard.press("+")
    before, box = opened.evaluate("v.view.x"), picture(opened, 1)
    x, y = box["x"] + 100, box["y"] + 100
    opened.mouse.move(x, y)
    opened.mouse.down()
    opened.mouse.move(x - 30, y, steps=3)
    opened.mouse.up()
    assert opened.evaluate("v.view.x") == pytest.approx(before + 30 / opened.evaluate("v.view.zoom"))
    assert opened.evaluate("window.clicked") is None


COLOR = """([x, y]) => {
    const canvas = v.figures[0].canvas, seen = v.visible();
    const at = [(x - seen.left) / seen.width * canvas.width, (y - seen.top) / seen.height * canvas.height];
    return [...canvas.getContext('2d').getImageData(...at, 1, 1).data].slice(0, 3);
}"""


def color_at(page, row: int, column: int) -> list[int]:
    """Return the colour of the first canvas where it shows the middle of a pixel."""
    return page.evaluate(COLOR, [float(column) + 0.5, float(row) + 0.5])


def test_swipe_shows_one_left_and_the_other_right(opened):
    opened.get_by_role("button", name="difference").click()
    assert "Bicubic − HR" in captions(opened)[0]
    opened.get_by_role("button", name="swipe").click()
    opened.get_by_label("first picture").select_option("LR")
    assert captions(opened)[0].startswith("left: LR\nright: HR")
    box = picture(opened)
    opened.mouse.move(box["x"] + box["width"] / 2, box["y"] + 50)
    opened.mouse.down()
    opened.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 50, steps=4)
    opened.mouse.up()
    assert opened.evaluate("v.split") == pytest.approx(0.8, abs=0.01)
    assert color_at(opened, 100, 200) == pytest.approx(LR[50, 100].tolist(), abs=1)  # in squares, left of the seam
    assert color_at(opened, 100, 300) == pytest.approx(HR[100, 300].tolist(), abs=1)


def test_difference_is_amplified_around_grey(opened):
    opened.locator("#v").focus()
    opened.keyboard.press("4")
    row, column = np.unravel_index(np.abs(SR.astype(int) - HR).sum(axis=2).argmax(), SR.shape[:2])
    expected = np.clip(128 + 4 * (SR[row, column].astype(int) - HR[row, column]), 0, 255)
    assert color_at(opened, row, column) == pytest.approx(expected.tolist(), abs=1)


def test_blink_alternates_and_stops(opened):
    opened.locator("#v").focus()
    opened.keyboard.press("3")
    first = captions(opened)[0]
    opened.wait_for_function("first => document.querySelector('figcaption').innerText !== first", arg=first)
    opened.keyboard.press(" ")
    opened.wait_for_timeout(100)
    stopped = opened.evaluate("v.turn")
    opened.wait_for_timeout(1600)
    assert opened.evaluate("v.turn") == stopped and opened.evaluate("v.paused")


def test_it_fits_a_phone(opened):
    opened.set_viewport_size({"width": 380, "height": 800})
    opened.wait_for_function("v.panel.width < 370")
    assert opened.evaluate("document.documentElement.scrollWidth") <= 380
    assert len({round(picture(opened, index)["x"]) for index in range(3)}) == 1  # one below the other


def test_pictures_have_alternative_texts(opened):
    labels = opened.locator("figure canvas").evaluate_all("all => all.map(one => one.getAttribute('aria-label'))")
    assert labels[1:] == ["LR", "HR"] and labels[0].startswith("Bicubic")
