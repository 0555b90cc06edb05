"""The explorers as pages without a kernel, from disk: their numbers are srlib's, and mouse, keys and phones can move them."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from srlib import papers
from srlib.core.color import rgb_to_ycbcr, to_uint8, ycbcr_to_rgb
from srlib.core.imresize import downscale, imresize
from srlib.core.metrics import psnr
from srlib.core.protocols import protocol
from srlib.data.sets import open_set
from srlib.papers.btsrn import page as btsrn
from srlib.papers.d2c_sr import analysis as d2c_analysis
from srlib.papers.d2c_sr import page as d2c_sr
from srlib.papers.ddet import analysis as ddet_analysis
from srlib.papers.ddet import page as ddet
from srlib.papers.difficulty_sr import page as difficulty_sr
from srlib.papers.prosrn import page as prosrn
from srlib.reproduce import site, store
from srlib.scoring.evaluation import super_resolve, upscale

PICTURE = "chelsea"
SECONDS = 0.5  # for a change on a machine that is busy with other things; 0.01 to 0.05 s on an idle one
NAMES = papers.names()


@pytest.fixture(scope="session")
def pages(tmp_path_factory):
    """The explorers with released networks, of one small picture each."""
    folder = tmp_path_factory.mktemp("pages")
    with pytest.MonkeyPatch.context() as patch:
        for module in (btsrn, d2c_sr, ddet, difficulty_sr, prosrn):
            patch.setattr(module, "PICTURES", (PICTURE,))
        for module in (btsrn, prosrn):
            patch.setattr(module, "CROP", 128)
        patch.setattr(btsrn, "NETWORKS", ("btsrn_10+0", "btsrn_6+4"))
        patch.setattr(d2c_sr, "NETWORKS", ("d2c_a0", "d2c_a0.1"))
        for name in NAMES:
            assert site.write_explorer(papers.get(name), "released", folder), name
    return folder


@pytest.fixture
def opened(page, pages):
    """A function that opens an explorer; fails at the end on an error in the page and on a request that leaves it."""
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on(
        "request",
        lambda request: problems.append(request.url) if not request.url.startswith(("file:", "data:", "blob:")) else None,
    )

    def open_page(name: str):
        page.goto((pages / f"{name}.html").as_uri())
        page.locator("#viewer figcaption").first.wait_for()
        return page

    yield open_page
    assert not problems


def captions(page) -> list[str]:
    return page.locator("#viewer figcaption").all_inner_texts()


def decibels(page, start: str) -> float:
    """Return the number of dB after a name in the caption that begins with it."""
    (text,) = (caption for caption in captions(page) if caption.startswith(start))
    return float(text.partition(": ")[2].split(" dB")[0])


def change(page, **values) -> None:
    page.evaluate("values => explorer.change(values)", values)


def near(value: float):
    return pytest.approx(value, abs=0.0101)  # both are rounded to 0.01


def loaded(paper: str, method: str, scale: int):
    return store.load_released(papers.get(paper), method, scale).model


def test_numbers_of_btsrn(opened):
    page = opened("btsrn")
    hr, how = dict(open_set("embedded-test"))[PICTURE][64:192, 64:192], protocol("btsrn")
    for side, split in (("left", "10+0"), ("right", "6+4")):
        sr = to_uint8(upscale(loaded("btsrn", f"btsrn_{split}", 2), downscale(hr, 2)))
        assert decibels(page, split) == near(psnr(sr, hr, how, 2)), side
    assert "times the mult-adds" in page.locator("#about").inner_text()


def test_numbers_of_difficulty_sr(opened):
    page = opened("difficulty_sr")
    net, how = loaded("difficulty_sr", "difficulty_sr", 2), protocol("y")
    hr = dict(replace(open_set("embedded-test"), crop=None))[PICTURE][:288, :384]
    change(page, rule="threshold", threshold=0.02)
    routed = net.with_options(overlap=0, threshold=0.02)
    sr, target, _ = super_resolve(routed, hr, how)
    chroma = imresize(rgb_to_ycbcr(downscale(hr, 2).astype(float))[..., 1:], 2)
    rgb = to_uint8(ycbcr_to_rgb(np.concatenate([sr[..., None], chroma], axis=2)))
    assert decibels(page, "Difficulty-SR") == near(psnr(rgb, target, how, 2))
    assert decibels(page, "Difficulty-SR") == pytest.approx(psnr(sr, target, how, 2), abs=0.05)  # luma before RGB in 8 bits
    change(page, threshold=0)
    assert decibels(page, "Difficulty-SR") == decibels(page, "Bicubic everywhere")
    change(page, threshold=1.01)
    assert decibels(page, "Difficulty-SR") == decibels(page, "IDN everywhere")
    assert "0 of 12 patches" in captions(page)[0]


def test_numbers_of_d2c_sr(opened):
    page = opened("d2c_sr")
    how, images = protocol("d2c"), open_set("embedded-camera-test")
    i = images.names.index(PICTURE)
    lr, hr = images.lr(i, images[i], 1), images[i][64:192, 64:192]
    for name, alpha in (("d2c_a0", "0"), ("d2c_a0.1", "0.1")):
        inside = d2c_analysis.inspect(loaded("d2c_sr", name, 1), lr).crop((64, 64, 128, 128))
        hand = np.array([1, 0.5, 0, 0.5])
        change(page, alpha=alpha, w1=1, w2=0.5, w3=0, w4=0.5)
        assert decibels(page, "learned fusion") == near(psnr(inside.fused.clip(0, 255), hr, how, 1))
        assert decibels(page, "by hand") == near(psnr(d2c_analysis.weighted_sum(inside.predictions, hand / 2), hr, how, 1))
        for k, prediction in enumerate(inside.predictions, 1):
            assert decibels(page, f"prediction {k}") == near(psnr(prediction, hr, how, 1))
    change(page, w1=0, w2=1, w3=0, w4=0)
    assert decibels(page, "by hand") == decibels(page, "prediction 2")


def test_numbers_of_ddet(opened):
    page = opened("ddet")
    how, images, net = protocol("realsr"), open_set("embedded-camera-test"), loaded("ddet", "ddet", 1)
    i = images.names.index(PICTURE)
    lr, box = images.lr(i, images[i], 1), (slice(80, 176), slice(80, 176))
    for cdm, refine in ((True, True), (False, True), (True, False), (False, False)):
        change(page, cdm=cdm, refine=refine, point=[31, 40])
        result = ddet_analysis.colorize(ddet_analysis.inspect(net, lr, cdm, refine).output, lr)[box]
        assert decibels(page, "result:") == near(psnr(result, images[i][box], how, 1))
    assert "row 40, column 30" in page.locator("#about").inner_text()
    kernels = [kernel[80 + 40, 80 + 30] for kernel in ddet_analysis.predict_kernels(net, lr)]
    for kernel, text in zip(kernels, page.locator("#figures figcaption").all_inner_texts(), strict=True):
        size = len(kernel)
        assert text.startswith(f"{size}×{size} adds") and f"sum {kernel.sum():+.3f}".replace("-", "−") in text


def test_numbers_of_prosrn(opened):
    page = opened("prosrn")
    hr, how = dict(open_set("embedded-test"))[PICTURE][64:192, 64:192], protocol("prosrn")
    lr = downscale(hr.astype(float), 8)
    for level in (2, 4, 8):
        sr = to_uint8(upscale(loaded("prosrn", "prosrn_2_4_8", level), lr))
        target = hr if level == 8 else to_uint8(downscale(hr.astype(float), 8 // level))
        assert decibels(page, f"x{level}") == near(psnr(sr, target, how, level))
    change(page, show=prosrn.SHOW[1], share=0.3)
    lr = downscale(hr.astype(float), 4)
    ends = [upscale(loaded("prosrn", name, 4), lr) for name in prosrn.GAN]
    assert decibels(page, "30 % ProSRGAN") == near(psnr(to_uint8(0.7 * ends[0] + 0.3 * ends[1]), hr, how, 4))
    assert page.locator("#control-network").is_hidden() and page.locator("#control-share").is_visible()


def choose(page, file) -> str:
    """Choose a file as one's own picture, wait until the network has run, and return what is said of it."""
    page.set_input_files("#figures input", file)
    page.wait_for_function(
        "name => [name, 'took'].every((word) => document.querySelector('#about').innerText.includes(word))",
        arg=file.name,
        timeout=120_000,
    )
    return page.locator("#about").inner_text()


def test_prosrn_enlarges_a_picture_of_one_s_own(opened, tmp_path, shot):
    page, how, net = opened("prosrn"), protocol("prosrn"), loaded("prosrn", "prosrn", 2)
    hr = dict(open_set("embedded-test"))["coffee"][60:124, 50:98]
    Image.fromarray(hr).save(tmp_path / "mine.png")
    change(page, picture=prosrn.OWN)
    assert "A stored picture" in page.locator("#about").inner_text() and page.locator("#control-show").is_hidden()
    text = choose(page, tmp_path / "mine.png")
    shot(page)
    assert text.startswith("mine.png. The network took")
    lr = downscale(hr, 2)
    assert decibels(page, "Bicubic") == near(psnr(to_uint8(imresize(lr.astype(float), 2)), hr, how, 2))
    assert decibels(page, "ProSRN (2x)") == near(psnr(to_uint8(upscale(net, lr)), hr, how, 2))
    page.locator("#control-use").select_option(prosrn.USES[1])
    page.wait_for_function("document.querySelectorAll('#viewer figcaption').length === 3")
    assert captions(page)[2] == "ProSRN (2x)\n96x128 pixels"
    seen = page.evaluate("Array.from(explorer.viewer.loaded[2].data.data)")
    enlarged = np.array(seen, np.uint8).reshape(128, 96, 4)[..., :3]
    assert np.abs(enlarged.astype(int) - to_uint8(upscale(net, hr))).max() <= 1


def test_what_is_no_picture_is_said_and_a_stored_one_stays(opened, tmp_path):
    page = opened("prosrn")
    change(page, picture=prosrn.OWN)
    (tmp_path / "notes.png").write_text("no picture")
    assert "notes.png is not a picture that this browser can read" in choose(page, tmp_path / "notes.png")
    Image.fromarray(np.zeros((20, 400, 3), np.uint8)).save(tmp_path / "thin.png")
    assert "thin.png has 400x20 pixels; at least 32 a side are needed" in choose(page, tmp_path / "thin.png")
    assert len(captions(page)) == 4


@pytest.mark.parametrize("name", NAMES)
def test_controls_answer_the_keyboard_and_at_once(opened, name, shot):
    page = opened(name)
    shot(page)
    if name == "prosrn":
        change(page, show=prosrn.SHOW[1])
    control = page.locator("#controls input:visible").last
    before = captions(page), page.locator("#viewer figure canvas").evaluate_all("all => all.map((one) => one.toDataURL())")
    control.focus()
    page.keyboard.press(" " if control.get_attribute("type") == "checkbox" else "ArrowLeft")
    page.wait_for_function(
        "before => [...document.querySelectorAll('#viewer figcaption')].some((one, i) => one.innerText !== before[i])",
        arg=before[0],
    )
    after = page.locator("#viewer figure canvas").evaluate_all("all => all.map((one) => one.toDataURL())")
    assert after != before[1]
    took = page.evaluate("""async () => {
        const { name, value, options } = explorer.data.controls.at(-1), times = [];
        const values = options || (typeof value === "boolean" ? [false, true] : [0.4, 0.6, 0.5]);
        for (let i = 0; i < 6; i++) {
            const start = performance.now();
            await explorer.change({ [name]: values[i % values.length] });
            times.push(performance.now() - start);
        }
        return times.sort((a, b) => a - b)[3];
    }""")
    assert took / 1000 < SECONDS


@pytest.mark.parametrize("name", NAMES)
def test_click_drag_and_swipe(opened, name):
    page = opened(name)
    box = page.locator("#viewer figure canvas").first.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 3)
    page.wait_for_function("explorer.viewer.options.point")
    page.locator("#viewer").focus()
    page.keyboard.press("+")
    x = page.evaluate("explorer.viewer.view.x")
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 60, box["y"] + 100, steps=3)
    page.mouse.up()
    assert page.evaluate("explorer.viewer.view.x") > x
    page.get_by_role("button", name="swipe").click()
    box = page.locator("#viewer figure canvas").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + 60, steps=3)
    page.mouse.up()
    assert page.evaluate("explorer.viewer.split") == pytest.approx(0.75, abs=0.01)
    assert captions(page)[0].startswith("left: ")


@pytest.mark.parametrize("name", NAMES)
def test_it_fits_a_phone(opened, name, shot):
    page = opened(name)
    page.set_viewport_size({"width": 380, "height": 800})
    page.wait_for_function("explorer.viewer.panel.width < 360")
    shot(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 380


def test_a_tap_on_a_phone_chooses_the_pixel(browser, pages):
    context = browser.new_context(viewport={"width": 380, "height": 800}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto((pages / "ddet.html").as_uri())
    second = page.locator("#viewer figure canvas").nth(1)
    second.wait_for()
    before = page.locator("#about").inner_text()
    second.tap(position={"x": 20, "y": 30})
    page.wait_for_function("before => document.querySelector('#about').innerText !== before", arg=before)
    assert page.evaluate("explorer.values.point.length") == 2
    context.close()


def test_swipe_begins_with_the_two_splits(opened):
    page = opened("btsrn")
    page.get_by_role("button", name="swipe").click()
    (text,) = captions(page)
    assert text.startswith("left: 10+0: ") and "\nright: 6+4: " in text


def test_the_gain_of_a_patch_is_told_while_the_mouse_is_over_it(opened):
    page = opened("difficulty_sr")
    about, canvas = page.locator("#about"), page.locator("#viewer figure canvas").nth(1)
    question = about.inner_text()
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 0.5 * box["height"])  # row 2, column 2 of 3 x 4
    plain, complex = page.evaluate(f"explorer.data.scenes['{PICTURE}'].psnr[5]")
    assert f"bicubic {plain:.2f} dB, IDN {complex:.2f} dB; the network gains {complex - plain:.2f} dB" in about.inner_text()
    page.mouse.move(5, 5)
    assert about.inner_text() == question


def test_a_click_in_ddet_shows_the_filters_of_that_pixel(opened):
    page = opened("ddet")
    pictures = "all => all.map((one) => one.toDataURL())"
    before = page.locator("#figures canvas").evaluate_all(pictures)
    box = page.locator("#viewer figure canvas").first.bounding_box()
    page.mouse.click(box["x"] + 0.2 * box["width"], box["y"] + 0.3 * box["height"])
    page.wait_for_function("document.querySelector('#about').innerText.includes('row 28, column 18')")
    after = page.locator("#figures canvas").evaluate_all(pictures)
    assert len(after) == 3 and all(a != b for a, b in zip(after, before, strict=True))


def test_keys_move_ddet_s_pixel_by_single_steps(opened):
    page = opened("ddet")
    x, y = page.evaluate("explorer.viewer.options.point")
    for k in range(3):
        page.evaluate(
            "explorer.viewer.root.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight', shiftKey: true, bubbles: true}))"
        )
        page.wait_for_function("x => explorer.values.point && explorer.values.point[0] === x", arg=x + k + 1)
    page.wait_for_function("place => document.querySelector('#about').innerText.includes(place)", arg=f"row {y}, column {x + 2}")


def test_another_picture_forgets_one_s_own(opened):
    page = opened("prosrn")
    page.wait_for_function("explorer.viewer.pair")
    pair = page.evaluate("explorer.viewer.pair")
    page.evaluate(f"void explorer.change({{picture: {prosrn.OWN!r}}})")  # the network is at work
    page.wait_for_function("document.querySelector('#about').innerText.includes('at work')")
    change(page, picture=PICTURE)
    text = page.locator("#about").inner_text()
    page.wait_for_timeout(1500)
    assert "at work" not in text and page.locator("#about").inner_text() == text
    change(page, picture=prosrn.OWN)
    change(page, picture=PICTURE)
    assert page.evaluate("explorer.viewer.pair") == pair


def test_weight_maps_stand_under_their_predictions(opened):
    page = opened("d2c_sr")
    boxes = [page.locator("#viewer figure").nth(k).bounding_box() for k in range(8)]
    for prediction, weight in zip(boxes[:4], boxes[4:], strict=True):
        assert weight["x"] == pytest.approx(prediction["x"], abs=1) and weight["y"] > prediction["y"]
