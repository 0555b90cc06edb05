"""What the pages without a kernel store of each paper: enough to redo in a browser what the networks did."""

import base64
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from srlib.core.color import to_rgb, to_uint8, to_y
from srlib.core.errors import SRError
from srlib.core.imresize import downscale, modcrop
from srlib.core.protocols import lr_from_hr, protocol
from srlib.data.sets import open_set
from srlib.draw import page
from srlib.nn import cost, models
from srlib.papers.btsrn import page as btsrn
from srlib.papers.d2c_sr import analysis as d2c_analysis
from srlib.papers.d2c_sr import page as d2c_sr
from srlib.papers.ddet import analysis as ddet_analysis
from srlib.papers.ddet import page as ddet
from srlib.papers.difficulty_sr import page as difficulty_sr
from srlib.papers.prosrn import page as prosrn
from srlib.scoring.evaluation import upscale


def image(url: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))))


def levels(text: str, shape: tuple[int, ...]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<i2").reshape(shape).astype(float)


@pytest.fixture(scope="module")
def hr() -> np.ndarray:
    return dict(open_set("embedded-test"))["chelsea"]


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    images = open_set("embedded-camera-test")
    i = images.names.index("chelsea")
    return images.lr(i, images[i], 1)[:140, :132], images[i][:140, :132]


def test_btsrn_stores_every_split(hr):
    torch.manual_seed(0)
    nets = {
        f"btsrn_{low}+{high}": models.create("btsrn", 2, low=low, high=high, width=8, bottleneck=4)
        for low, high in ((2, 0), (1, 1))
    }
    made = btsrn.build(nets, {"cat": hr[:64, :80]})
    scene = made.scenes["cat"]
    for split in ("2+0", "1+1"):
        net = nets[f"btsrn_{split}"]
        assert np.array_equal(image(scene["outputs"][split]), to_uint8(upscale(net, downscale(hr[:64, :80], 2))))
        assert scene["mult_adds"][split] == cost.summary(net).mult_adds / 1e9
    assert [control["options"] for control in made.controls] == [["2+0", "1+1"]] * 2


def test_difficulty_sr_stores_what_any_rule_needs():
    torch.manual_seed(0)
    net = models.create("difficulty_sr", 2, complex="plain_cnn").eval()
    with torch.no_grad():
        net.identifier.classify[-1].weight.mul_(60)  # untrained, it takes all patches for the same
    picture = replace(open_set("embedded-test"), crop=None)[1]
    made = difficulty_sr.build({"difficulty_sr": net}, {"cat": picture})
    scene = made.scenes["cat"]
    plain, mixed, truth = (image(scene[name]) for name in ("plain", "complex", "hr"))
    assert truth.shape == (288, 384, 3) and len(scene["corners"]) == 12
    easy = np.array(scene["probabilities"])[:, 3:].sum(axis=1)
    threshold = float(np.median(easy))
    assert 0 < (easy >= threshold).sum() < len(easy)
    for (y, x), is_easy in zip(scene["corners"], easy >= threshold, strict=True):
        if is_easy:
            mixed = mixed.copy()
            mixed[y : y + 96, x : x + 96] = plain[y : y + 96, x : x + 96]
    routed = net.with_options(level=3, threshold=threshold)
    with torch.no_grad():
        y = routed(torch.from_numpy(lr_from_hr(truth, protocol("y"), 2))[None, None].float() / 255)[0, 0].double().numpy() * 255
    assert np.abs(to_y(mixed, rounded=False) - y)[np.abs(mixed.astype(int) - 128).max(axis=2) < 120].max() < 1.5
    y, x = scene["corners"][5]
    part, hr_part = (to_y(whole[y : y + 96, x : x + 96], rounded=True) for whole in (plain, truth))
    assert scene["psnr"][5][0] == pytest.approx(10 * np.log10(255**2 / np.square(part - hr_part).mean()), abs=0.1)


def test_d2c_sr_stores_predictions_and_weights(pair):
    torch.manual_seed(0)
    nets = {name: models.create("d2c_sr", 1, width=4, groups=1, blocks=1).eval() for name in ("d2c_a2e-05", "d2c_a1")}
    made = d2c_sr.build(nets, {"cat": pair})
    scene = made.scenes["cat"]
    assert scene["alphas"] == ["0.00002", "1"] and image(scene["hr"]).shape == (128, 128, 3)
    box = (6, 2, 128, 128)
    for stored, net in zip(scene["networks"], nets.values(), strict=True):
        inside = d2c_analysis.inspect(net, pair[0]).crop(box)
        weights = np.stack([image(url)[..., 0] for url in stored["weights"]]) / 255
        fused = d2c_analysis.weighted_sum(np.stack([image(url).astype(float) for url in stored["predictions"]]), weights)
        assert np.abs(weights.sum(axis=0) - 1).max() < 3 / 255
        clipped = d2c_analysis.weighted_sum(inside.predictions.clip(0, 255), inside.weights)
        assert np.abs(fused / weights.sum(axis=0)[..., None] - clipped).max() < 3


def test_ddet_stores_kernels_and_what_they_add(pair):
    torch.manual_seed(0)
    net = models.create("ddet", 1, width=16, blocks=1).eval()
    with torch.no_grad():
        for head in net.heads:
            head[-1].weight.normal_(std=0.001)
        net.cdm[-1].weight.normal_(std=0.1)
    scene = ddet.build({"ddet": net}, {"cat": pair}).scenes["cat"]
    lr, (top, left) = pair[0], (22, 18)
    box = (slice(top, top + 96), slice(left, left + 96))
    for name, cdm in (("on", True), ("off", False)):
        inside = ddet_analysis.inspect(net, lr, cdm, True)
        for text, expected in zip(scene[name]["contributions"], inside.contributions, strict=True):
            assert (
                np.abs(levels(text, (96, 96)) / scene["fine"] - 255 * expected[0, 0].numpy()[box]).max()
                <= 0.5 / scene["fine"] + 1e-3
            )
        refined = levels(scene[name]["refined"], (96, 96)) / scene["fine"]
        assert np.abs(refined - 255 * inside.output[0, 0].numpy()[box]).max() <= 0.5 / scene["fine"] + 1e-3
    kernels = ddet_analysis.predict_kernels(net, lr)
    for text, size, kernel in zip(scene["kernels"], scene["sizes"], kernels, strict=True):
        stored = levels(text, (48, 48, size, size)) / 32767 * scene["full"]
        assert np.abs(stored - kernel[box][::2, ::2]).max() <= scene["full"] / 60000
    correction = levels(scene["correction"], (96, 96)) / scene["fine"]
    corrected = np.pad(to_y(image(scene["lr"]), rounded=True) + correction, 4)
    by_hand = (
        (corrected[40 : 40 + 9, 60 : 60 + 9] * levels(scene["kernels"][0], (48, 48, 9, 9))[20, 30]).sum() / 32767 * scene["full"]
    )
    added = levels(scene["on"]["contributions"][0], (96, 96))[40, 60] / scene["fine"]
    assert by_hand == pytest.approx(added, abs=0.05)  # a kernel times the corrected pixels is what it adds


@pytest.mark.parametrize("gan", [True, False])
def test_prosrn_stores_every_step_and_the_ends_of_the_blend(hr, gan):
    torch.manual_seed(0)
    names = ("prosrn_2_4", "prosrgan") if gan else ("prosrn_2_4",)
    nets = {name: models.create("prosrn", 4, width=8, depth=2) for name in names}
    made = prosrn.build(nets, {"cat": hr[:150, :130]})
    scene, truth = made.scenes["cat"], modcrop(hr[:150, :130], 8)
    lr = downscale(truth.astype(float), 8)
    (steps,) = scene["networks"].values()
    for level, url, target in zip((2, 4, 8), steps, scene["truths"], strict=True):
        net = models.create("prosrn", level, width=8, depth=2)
        net.load_state_dict(nets["prosrn_2_4"].state_dict())
        assert np.abs(image(url).astype(int) - to_uint8(upscale(net, lr))).max() <= 1
        assert image(target).shape == image(url).shape
    assert image(scene["hr"]).shape == (144, 128, 3) and scene["borders"] == [2, 4, 8]
    assert ("blend" in scene) == gan and [control["name"] for control in made.controls] == (
        ["show", "network", "share"] if gan else ["network"]
    )
    if gan:
        sr = to_uint8(upscale(nets["prosrgan"], downscale(truth.astype(float), 4)))
        assert np.array_equal(image(scene["blend"][1]), sr)


def test_prosrn_stores_its_x2_network(hr):
    torch.manual_seed(0)
    net = models.create("prosrn", 2, width=8, depth=2)
    made = prosrn.build({"prosrn": net}, {"cat": hr[:48, :48]})
    own = made.scenes[prosrn.OWN]
    values = np.frombuffer(base64.b64decode(own["weights"]), "<f2")
    assert (own["width"], own["depth"], own["border"]) == (8, 2, 2) and own["sample"] == made.scenes["cat"]["hr"]
    assert len(values) == sum(p.numel() for p in net.parameters())
    assert np.array_equal(values[-16:], net.image_up.weight.detach().numpy().ravel().astype("<f2"))
    use = next(control for control in made.controls if control["name"] == "use")
    assert use["when"] == {"picture": prosrn.OWN} and use["options"] == prosrn.USES


def a_page(tmp_path, scenes: dict, script: str = "") -> page.Page:
    file = tmp_path / "page.js"
    file.write_text(script)
    return page.Page("A & B", "What it is", [], scenes, [file])


def test_a_page_needs_no_server_and_keeps_its_data_apart_from_markup(tmp_path):
    file = tmp_path / "a.html"
    page.write(file, a_page(tmp_path, {"x": {"text": "</script><b>"}}, "// compose"), protocol("btsrn"))
    text = file.read_text()
    assert "A &amp; B" in text and "// compose" in text and not re.search("^export", text, re.MULTILINE)
    assert text.count("</script>") == 1 and not re.findall(r"https?://", text)
    data = json.loads(re.search(r"^explore\((.*), compose\);$", text, re.MULTILINE)[1])
    assert data["scenes"]["x"]["text"] == "</script><b>" and data["viewer"]["color"] == "y" and data["viewer"]["rounded"]


def test_a_page_above_the_limit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "LARGEST", 60_000)
    with pytest.raises(SRError, match="a.html would have"):
        page.write(tmp_path / "a.html", a_page(tmp_path, {"x": {"text": "x" * 50_000}}), protocol("btsrn"))
    assert not (tmp_path / "a.html").exists()


def test_pictures_survive_the_browser_s_format():
    noise = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    assert np.array_equal(image(page.lossless(noise)), noise)
    assert np.array_equal(image(page.lossless(noise[..., 0])), to_rgb(noise[..., 0]))
    assert np.array_equal(levels(page.numbers(np.arange(-3, 3), np.int16), (6,)), np.arange(-3, 3))
