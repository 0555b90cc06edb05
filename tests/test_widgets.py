"""Explorers without a browser: controls move, pictures and numbers follow."""

import datetime
import io
import threading

import ipywidgets as ipy
import numpy as np
import pytest
import torch
from PIL import Image

from srlib.core.color import to_uint8
from srlib.core.errors import SRError
from srlib.core.imresize import downscale
from srlib.core.metrics import psnr
from srlib.core.protocols import protocol
from srlib.data.camera import photograph
from srlib.data.sets import open_set
from srlib.draw import widgets
from srlib.nn import models
from srlib.papers.btsrn.explorer import comparison_explorer
from srlib.papers.d2c_sr.explorer import alpha_explorer, fusion_explorer
from srlib.papers.ddet.explorer import kernel_explorer
from srlib.papers.difficulty_sr.explorer import difficulty_explorer
from srlib.papers.prosrn.explorer import blend_explorer, unroll_explorer
from srlib.scoring.evaluation import upscale


@pytest.fixture
def images() -> dict[str, np.ndarray]:
    pictures = dict(open_set("embedded-test"))
    return {name: pictures[name] for name in ("chelsea", "coins")}


@pytest.fixture
def networks() -> dict:
    def tiny(low: int, high: int, block: str = "pconv"):
        return models.create("btsrn", 2, low=low, high=high, width=8, bottleneck=4, block=block).eval()

    return {"split": {"1+1": tiny(1, 1), "2+0": tiny(2, 0)}, "block": {"pixelcnn": tiny(1, 1, "pixelcnn"), "pconv": tiny(1, 1)}}


@pytest.fixture(params=["viewer", "images"])
def explorer(networks, images, request, monkeypatch) -> widgets.Explorer:
    """An explorer with the viewer, and one as it is without anywidget."""
    monkeypatch.setattr(widgets, "VIEWER", request.param == "viewer")
    return comparison_explorer(networks, images, protocol("btsrn"), side=48)


def files(explorer: widgets.Explorer) -> list[bytes]:
    """The PNG files that an explorer displays."""
    if explorer.viewer:
        return [picture["png"] for picture in explorer.viewer.pictures]
    return [image.value for image in explorer._images]


def pixels(file: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(file)))


def test_what_is_shown_is_the_crop_of_the_whole_upscaled_image(explorer, networks, images):
    panel, hr = explorer.panels[2], images["chelsea"]
    sr = to_uint8(upscale(networks["split"]["1+1"], downscale(hr, 2)))
    top, left = ((n // 2 * 2 - 48) * explorer.values[way] // 100 for n, way in zip(hr.shape[:2], ("down", "across"), strict=True))
    expected = sr[top : top + 48, left : left + 48].astype(int)
    assert np.abs(panel.image.astype(int) - expected).max() <= 1
    crop = hr[top : top + 48, left : left + 48]
    assert f"{psnr(panel.image, crop, protocol('btsrn'), 2):.2f} dB" in panel.label
    assert np.array_equal(explorer.panels[4].image, crop)


def test_the_viewer_scores_results_against_hr_and_no_maps(networks, images):
    viewer = comparison_explorer(networks, images, protocol("btsrn"), side=48).viewer
    assert viewer.reference == 4 and [picture["unscored"] for picture in viewer.pictures] == [False, True, False, True, False]
    assert (viewer.color, viewer.rounded) == ("y", protocol("btsrn").round_y)


def test_a_click_chooses_the_pixel_whose_kernels_are_shown(images):
    net = models.create("ddet", 1, width=16, blocks=1).eval()
    hr = images["chelsea"][:64, :64]
    explorer = kernel_explorer(net, {"a": (hr, hr)}, protocol("realsr"), side=32)
    explorer.viewer.point = [7, 11]
    assert (explorer.values["row"], explorer.values["column"]) == (11, 7)
    assert "pixel 11, 7" in explorer.panels[0].label


@pytest.mark.parametrize("across", [0, 33, 100])
def test_a_window_lies_around_the_square_and_inside_the_picture(across):
    hr = np.random.default_rng(0).integers(0, 256, (61, 80, 3), dtype=np.uint8)
    pictures = widgets.Pictures({"a": hr}, scale=2, side=21)
    lr, part, (y, x, height, width) = pictures.window("a", across, 50, width=40)
    assert lr.shape == (20, 20, 3) and part.shape == (40, 40, 3) and (height, width) == (20, 20)
    assert np.array_equal(part[y : y + 20, x : x + 20], pictures.crop(hr[:60], across, 50))
    top, left = np.argwhere((downscale(hr, 2) == lr[0, 0]).all(axis=-1))[0]
    assert np.array_equal(part, hr[2 * top : 2 * top + 40, 2 * left : 2 * left + 40])


MOVES = [("split", "2+0"), ("across", 10), ("down", 90), ("image", "coins"), ("block", "pconv")]


@pytest.mark.parametrize("control, value", MOVES)
def test_moving_a_control_changes_picture_and_number(explorer, control, value):
    before = [(p.label, p.image.copy()) for p in explorer.panels]
    pngs = files(explorer)
    explorer.controls[control].value = value
    assert explorer.panels[2].label != before[2][0]
    assert not np.array_equal(explorer.panels[2].image, before[2][1])
    assert files(explorer)[2] != pngs[2]


def test_pictures_are_enlarged_without_smoothing_and_sliders_wait_until_they_are_let_go(explorer):
    enlarged, zoom = pixels(files(explorer)[0]), 1 if explorer.viewer else widgets.ZOOM  # the viewer enlarges by itself
    assert np.array_equal(enlarged[::zoom, ::zoom], explorer.panels[0].image)
    assert not any(control.continuous_update for control in explorer.controls.values() if hasattr(control, "continuous_update"))
    figure = explorer.figure()
    assert [ax.get_title().split("\n")[0] for ax in figure.axes] == [p.label.split("<br>")[0] for p in explorer.panels]


def test_a_picture_smaller_than_the_crop_is_shown_whole(networks):
    explorer = comparison_explorer(networks, {"tiny": np.zeros((21, 30, 3), np.uint8)}, protocol("btsrn"))
    assert explorer.panels[0].image.shape == (20, 20, 3)


@pytest.mark.parametrize(
    ("build", "networks", "notebook"),
    [
        (comparison_explorer, {"split": {}}, "ablate"),
        (unroll_explorer, {}, "train"),
        (difficulty_explorer, {}, "train"),
        (alpha_explorer, {}, "ablate"),
    ],
)
def test_without_a_trained_network_the_notebook_that_trains_is_named(build, networks, notebook, images):
    with pytest.raises(SRError, match=f"no trained network .* run the {notebook} notebook"):
        build(networks, images, protocol("y"))


@pytest.mark.parametrize("build", [kernel_explorer, fusion_explorer])
def test_without_pictures_there_is_nothing_to_explore(build):
    with pytest.raises(SRError, match="no pictures to explore"):
        build(models.create("d2c_sr", 1, width=4, groups=1, blocks=1), {}, protocol("d2c"))


def test_error_picture_is_black_where_equal_and_white_where_far():
    hr = np.full((4, 4, 3), 100, np.uint8)
    assert (widgets.error_picture(hr, hr) == 0).all()
    assert (widgets.error_picture(hr + 32, hr) == 255).all()


def progressive(**args) -> dict:
    """ProSRN of one set of weights at every factor, as the explorer takes it."""
    nets = {factor: models.create("prosrn", factor, width=8, depth=2, **args).eval() for factor in (2, 4, 8)}
    for net in nets.values():
        net.load_state_dict(nets[2].state_dict())
    return nets


class TestUnroll:
    @pytest.fixture
    def unroll(self, images) -> widgets.Explorer:
        return unroll_explorer({"small": progressive()}, images, protocol("prosrn"), side=64)

    @pytest.mark.parametrize(
        ("factor", "labels"),
        [(8, ["LR", "sub-SR x2", "sub-SR x4", "SR x8", "HR"]), (2, ["LR", "SR x2", "x4", "x8", "HR"])],
    )
    def test_shows_a_picture_per_level(self, unroll, factor, labels):
        unroll.controls["factor"].value = factor
        assert [panel.label.split("<br>")[0] for panel in unroll.panels] == labels
        assert {panel.image.shape for panel in unroll.panels} == {(64, 64, 3)}
        beyond = [panel for panel in unroll.panels if panel.label.endswith("<br>beyond the factor")]
        assert len(beyond) == labels.count("x4") + labels.count("x8") and all((panel.image == 128).all() for panel in beyond)

    def test_levels_are_the_networks_outputs(self, images):
        nets, hr = progressive(), images["chelsea"][:64, :64]
        unroll = unroll_explorer({"small": nets}, {"chelsea": hr}, protocol("prosrn"), side=64)
        unroll.controls["factor"].value = 4
        lr = downscale(hr, 4)
        for panel, factor in zip(unroll.panels[1:3], (2, 4), strict=True):
            sr = to_uint8(upscale(nets[factor], lr))
            assert np.array_equal(panel.image[:: 4 // factor, :: 4 // factor], sr)

    def test_pictures_that_are_too_small(self, images):
        with pytest.raises(SRError, match="5x5 pixels is smaller than scale 8"):
            unroll_explorer({"small": progressive()}, {"dot": images["coins"][:5, :5]}, protocol("prosrn"))


def test_a_blend_is_the_mean_of_the_networks_in_its_share(images):
    ends = (("A", models.create("bicubic", 2)), ("B", models.create("bicubic", 2, kernel="pillow")))
    blend = blend_explorer(*ends, images, protocol("prosrn"), side=40)
    for share, label in ((0.0, "0 % B"), (0.5, "50 % B"), (1.0, "100 % B")):
        blend.controls["share"].value = share
        first, middle, second, hr = (panel.image.astype(float) for panel in blend.panels)
        assert np.abs(middle - (1 - share) * first - share * second).max() <= share % 1 * 2  # exact at the ends
        assert blend.panels[1].label == f"{label}<br>{psnr(middle, hr, protocol('prosrn'), 2):.2f} dB"


class TestDifficulty:
    @pytest.fixture
    def explorer(self):
        """The left half of the picture is flat, and the identifier calls every patch easy with probability a half."""
        rng = np.random.default_rng(0)
        image = rng.integers(0, 256, (192, 192, 3), dtype=np.uint8)
        image[:, :96] = 120
        torch.manual_seed(0)
        nets = {s: models.create("difficulty_sr", s, complex_args={"width": 16}).eval() for s in (2, 4)}
        for net in nets.values():
            for p in net.identifier.parameters():
                torch.nn.init.zeros_(p)
            net.identifier.classify[-1].bias.data = torch.tensor([4.0, 0, 0, 0, 4.0])
        return difficulty_explorer(nets, {"a": image}, protocol("y"))

    def test_a_threshold_moves_all_patches(self, explorer):
        labels = {}
        assert explorer.controls["probability"].disabled
        explorer.controls["rule"].value = "probability"
        assert not explorer.controls["probability"].disabled
        for probability, alone in ((0.05, 4), (1.05, 3)):
            explorer.controls["probability"].value = probability
            assert np.array_equal(explorer.panels[1].image, explorer.panels[alone].image)
            labels[probability] = explorer.panels[0].label
        assert labels[0.05].startswith("4 of 4 patches plain (100 %)") and labels[1.05].startswith("0 of 4 patches plain (0 %)")

    def test_the_class_that_counts_as_easy_can_be_moved(self, explorer):
        assert explorer.panels[0].label.startswith("0 of 4")  # 0 and 4 are equally likely, the first one wins
        explorer.controls["easiest"].value = 0
        assert explorer.panels[0].label.startswith("4 of 4")

    def test_psnr_is_that_of_the_picture_shown(self, explorer):
        _, routed, error, _, _, hr = explorer.panels
        assert f"{psnr(routed.image, hr.image, protocol('y'), 2):.2f} dB" in routed.label and "ms" in routed.label
        assert error.image.shape == routed.image.shape == hr.image.shape == (192, 192, 3)

    def test_scale_and_overlap_keep_the_size(self, explorer):
        explorer.controls["overlap"].value = 36
        assert explorer.panels[0].label.split(" of ")[1].startswith("25 patches")
        explorer.controls["scale"].value = 4
        assert all(panel.image.shape == (192, 192, 3) for panel in explorer.panels)


class TestBeside:
    """Drawing runs beside the kernel's main thread."""

    @pytest.fixture
    def drawn(self) -> list[int]:
        return []

    @pytest.fixture
    def go(self):
        event = threading.Event()
        yield event
        event.set()

    @pytest.fixture
    def explorer(self, drawn, go) -> widgets.Explorer:
        """One that waits for `go` before it draws any place but the first."""

        def draw(place: int) -> list[widgets.Panel]:
            assert place == 0 or go.wait(60)
            drawn.append(place)
            if place == 7:
                raise ValueError("no <place> 7")
            return [widgets.Panel(f"place {place}", np.full((4, 4, 3), place, np.uint8))]

        return widgets.Explorer({"place": ipy.IntSlider(0, 0, 9)}, draw)

    def test_the_kernel_stays_free_and_says_that_it_computes(self, explorer, drawn, go):
        explorer.controls["place"].value = 3
        assert drawn == [0] and explorer.busy.value == "computing …"
        go.set()
        assert explorer.panels[0].label == "place 3"
        assert explorer.busy.value == "" and pixels(files(explorer)[0])[0, 0, 0] == 3

    def test_a_later_move_supersedes_those_that_wait(self, explorer, drawn, go):
        for place in (1, 2, 3, 4, 5):
            explorer.controls["place"].value = place
        go.set()
        assert explorer.panels[0].label == "place 5"
        assert drawn[-1] == 5 and set(drawn) <= {0, 1, 5}  # the first may have begun

    def test_a_failure_is_told_and_the_next_move_goes_on(self, explorer, go):
        go.set()
        explorer.controls["place"].value = 7
        with pytest.raises(ValueError, match="no <place> 7"):
            explorer.figure()
        assert explorer.message.value == "ValueError: no &lt;place&gt; 7" and explorer.busy.value == ""
        explorer.controls["place"].value = 2
        assert explorer.panels[0].label == "place 2" and explorer.message.value == ""


class TestUpload:
    @staticmethod
    def upload(explorer, name: str, content: bytes) -> None:
        now = datetime.datetime.now(datetime.UTC)
        file = {"name": name, "type": "image/png", "size": len(content), "content": memoryview(content), "last_modified": now}
        explorer.upload.value = (file,)

    @staticmethod
    def png(height: int, width: int) -> bytes:
        out = io.BytesIO()
        Image.fromarray(np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)).save(out, "PNG")
        return out.getvalue()

    @pytest.fixture
    def explorer(self, networks, images):
        return comparison_explorer(networks, images, protocol("y"), side=48)

    def test_a_picture_is_shown_at_once(self, explorer, images):
        before = explorer.panels[-1].image
        self.upload(explorer, "mine.png", self.png(500, 300))
        assert explorer.values["image"] == "mine.png" and list(images) == ["chelsea", "coins"]
        assert not np.array_equal(explorer.panels[-1].image, before) and explorer.panels[-1].image.shape == (48, 48, 3)
        assert explorer.message.value == "mine.png: its centre, 300x384 pixels; LR is reduced from it"

    @pytest.mark.parametrize("kind", ["ddet", "d2c_sr"])
    def test_beside_pairs_lr_is_a_simulated_photograph(self, kind):
        pairs = {"a": (np.zeros((100, 90, 3), np.uint8), np.zeros((100, 90, 3), np.uint8))}
        net = models.create(kind, 1, width=16 if kind == "ddet" else 4, blocks=1).eval()
        explorer = {"ddet": kernel_explorer, "d2c_sr": fusion_explorer}[kind](net, pairs, protocol("d2c"), side=40)
        for way in ("across", "down"):
            explorer.controls[way].value = 50
        self.upload(explorer, "mine.png", self.png(120, 130))
        assert explorer.values["image"] == "mine.png" and list(pairs) == ["a"]
        hr = np.asarray(Image.open(io.BytesIO(self.png(120, 130))))
        assert np.array_equal(explorer.panels[-1].image, hr[40:80, 45:85])
        assert explorer.message.value == "mine.png: 130x120 pixels; LR is a simulated photograph of it"
        if kind == "ddet":  # whose first picture is LR, with a frame around the pixel
            expected = photograph(hr, 1, 0)[40:80, 45:85]
            assert np.array_equal(explorer.panels[0].image[:8], expected[:8])
        self.upload(explorer, "tiny.png", self.png(39, 130))
        assert "a picture needs at least 40 a side here" in explorer.message.value

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("broken.png", b"not a picture", "broken.png"),
            ("empty.png", b"", "is empty"),
            ("small.png", None, "small.png has 20x30 pixels; a picture needs at least 48 a side here"),
            ("<b>.png", b"x", "&lt;b&gt;"),
            ("chelsea", None, "there is a picture chelsea already"),
        ],
    )
    def test_what_cannot_be_shown_is_told_and_changes_nothing(self, explorer, name, content, message):
        before = explorer.values["image"]
        self.upload(explorer, name, self.png(*((60, 60) if name == "chelsea" else (30, 20))) if content is None else content)
        assert message in explorer.message.value and explorer.values["image"] == before


def test_explorers_begin_where_there_is_most_to_see():
    picture = np.zeros((100, 80, 3), np.uint8)
    picture[70:90:2, 50:70] = 255
    pictures = widgets.Pictures({"a": picture, "b": picture.swapaxes(0, 1)}, side=20)
    controls = pictures.controls(step=5)
    across, down = controls["across"].value, controls["down"].value
    assert across % 5 == down % 5 == 0
    rows, columns = np.indices(picture.shape[:2])
    top, left = (pictures.crop(places, across, down)[0, 0] for places in (rows, columns))
    assert abs(top - 70) <= 4 and abs(left - 50) <= 4
    whole = widgets.Pictures({"a": picture[:20, :20]}, side=20).controls()
    assert whole["across"].value == whole["down"].value == 0
