"""DDet without a browser: parts switched off, chosen pixels, displaced inputs, its explorer and its figures."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.patches import FancyBboxPatch, Rectangle

from srlib.core.color import to_y
from srlib.core.errors import SRError
from srlib.core.metrics import psnr
from srlib.core.protocols import protocol
from srlib.data.sets import open_set
from srlib.draw.panels import image_grid
from srlib.nn import models
from srlib.papers.ddet import analysis
from srlib.papers.ddet import figures as ddet_figures
from srlib.papers.ddet.explorer import kernel_explorer
from srlib.reproduce import store
from srlib.reproduce.store import Trained
from srlib.scoring.evaluation import upscale

REALSR = protocol("realsr")
TEST = "embedded-camera-test"


@pytest.fixture(scope="module")
def net():
    """A small DDet that does something: weights far from the start at the identity."""
    torch.manual_seed(0)
    made = models.create("ddet", 1, width=16, blocks=1).eval()
    with torch.no_grad():
        for head in made.heads:
            head[-1].weight.normal_(std=0.02)
        made.refine[-1].weight.add_(0.01)
        made.cdm[-1].weight.normal_(std=0.1)
    return made


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    _, lr, hr = next(analysis.center_crops(TEST, side=64))
    return lr, hr


def test_crops_are_the_middle_of_both_images():
    images = open_set(TEST)
    name, lr, hr = next(analysis.center_crops(TEST, side=64))
    whole = images[0]
    top, left = (whole.shape[0] - 64) // 2, (whole.shape[1] - 64) // 2
    assert name == images.names[0] and lr.shape == hr.shape == (64, 64, 3)
    assert np.array_equal(hr, whole[top : top + 64, left : left + 64])
    assert [lr.shape for _, lr, _ in analysis.center_crops(TEST, side=None)] == [images[i].shape for i in range(len(images))]
    assert len([*analysis.center_crops(TEST, limit=2)]) == 2


def test_switched_off_parts_are_left_out_and_have_scores_of_their_own(net, pair, tmp_path):
    lr = torch.from_numpy(to_y(pair[0], rounded=True))[None, None].float() / 255
    trained = Trained("ddet", "DDet", net, tmp_path)
    found = {name: store.with_model(trained, name, part) for name, part in analysis.ablate_components(net).items()}
    assert {one.scores.name for one in found.values()} == {"ddet_no_cdm", "ddet_no_refine"}
    with torch.no_grad():
        whole = net(lr)
        outputs = {name: one.model(lr) for name, one in found.items()}
        assert torch.equal(outputs["ddet_no_refine"], sum(net.intermediates(lr).contributions))
        assert torch.equal(outputs["ddet_no_cdm"], net.intermediates(lr, cdm=False).output)
    for output in outputs.values():
        assert output.shape == whole.shape and not torch.allclose(output, whole, atol=1e-3)


def test_kernels_and_pixels_give_what_the_network_says_they_contribute(net, pair):
    parts, (y, x) = analysis.inspect(net, pair[0]), (30, 41)
    corrected = parts.corrected[0, 0].numpy()
    for kernels, contribution in zip(analysis.predict_kernels(net, pair[0]), parts.contributions, strict=True):
        reach = kernels.shape[-1] // 2
        seen = corrected[y - reach : y + reach + 1, x - reach : x + reach + 1]
        assert (kernels[y, x] * seen).sum() == pytest.approx(float(contribution[0, 0, y, x]), abs=1e-5)


def test_kernels_that_are_the_same_everywhere_have_not_adapted():
    same = np.zeros((4, 6, 3, 3))
    same[..., 1, 1], same[..., 0, 0] = 0.4, 0.2
    assert analysis.kernel_variation(same) == pytest.approx((0.0, 0.2 / 8**0.5))
    same[::2, :, 2, 2] = 0.6
    between, around = analysis.kernel_variation(same)
    assert between == pytest.approx(0.3 / 3) and around == pytest.approx(((0.2**2 + 0.3**2) / 8) ** 0.5)


def test_a_picture_has_the_luma_of_the_result_and_the_colours_of_lr(pair):
    lr, hr = pair
    luma = torch.from_numpy(to_y(hr, rounded=False))[None, None].float() / 255
    made = analysis.colorize(luma, lr)
    assert np.abs(to_y(made, rounded=False) - to_y(hr, rounded=False)).mean() < 1.5
    assert np.array_equal(analysis.colorize(torch.from_numpy(to_y(lr, rounded=False))[None, None] / 255, lr), lr)


def test_chosen_pixels_lie_on_an_edge_in_texture_and_in_a_flat_place():
    image = np.full((120, 120, 3), 90, np.uint8)
    image[:60, 60:] = 200  # a straight edge, above
    rng = np.random.default_rng(0)
    image[80:110, 20:50] = rng.integers(0, 256, (30, 30, 1))
    found = analysis.representative_pixels(image)
    assert list(found) == list(analysis.KINDS)
    (y, x) = found["texture"]
    assert 80 <= y < 110 and 20 <= x < 50
    (y, x) = found["flat"]
    assert np.ptp(image[y - 8 : y + 9, x - 8 : x + 9]) == 0
    (y, x) = found["edge"]
    assert np.ptp(image[y - 8 : y + 9, x - 8 : x + 9]) == 110 and not (80 <= y < 110)
    with pytest.raises(SRError, match="image is 40x40, expected more than 49 pixels a side"):
        analysis.representative_pixels(image[:40, :40])


def test_displacing_is_cropping_and_costs_what_it_must(net):
    name, lr, hr = next(analysis.center_crops(TEST, side=64))
    networks = {"bicubic": models.create("bicubic", 1), "ddet": net, "edsr": models.create("edsr", 1, width=8, blocks=1)}
    by_network = {key: analysis.evaluate_displaced(one, TEST, REALSR, limit=1, side=64) for key, one in networks.items()}
    rows = pd.concat(one.assign(method=key) for key, one in by_network.items())
    table = rows.set_index(["method", "shift"])
    assert len(rows) == 9 and set(rows["image"]) == {name}
    expected = np.mean([psnr(lr[2:, :62], hr[2:, 2:], REALSR, 1), psnr(lr[:62, 2:], hr[2:, 2:], REALSR, 1)])
    assert table.loc[("bicubic", 2), "psnr"] == pytest.approx(expected)
    sr = upscale(net, to_y(lr[2:, 1:63], rounded=True))
    assert psnr(sr, hr[2:, 2:], REALSR, 1) == pytest.approx(2 * table.loc[("ddet", 1), "psnr"] - other(net, lr, hr))
    aligned = rows[rows["shift"] == 0]
    assert np.array_equal(aligned["psnr"], aligned["followed"])
    lost = analysis.psnr_change(rows, 2).set_index("method")["psnr"]
    assert lost["bicubic"] == pytest.approx(table.loc[("bicubic", 2), "psnr"] - table.loc[("bicubic", 0), "psnr"])
    assert lost["bicubic"] < -0.5


def other(net, lr, hr) -> float:
    """The score of the input displaced by one pixel downwards."""
    return psnr(upscale(net, to_y(lr[1:63, 2:], rounded=True)), hr[2:, 2:], REALSR, 1)


@pytest.mark.parametrize("shifts", [(), (-1, 0)])
def test_shifts_that_make_no_sense_are_refused(shifts):
    with pytest.raises(SRError, match="shifts .* must be whole numbers of pixels of at least 0"):
        analysis.evaluate_displaced(models.create("bicubic", 1), TEST, REALSR, shifts=shifts)


# --- The explorer -------------------------------------------------------------------------------------------------------


@pytest.fixture
def pictures():
    return {name: (lr, hr) for name, lr, hr in analysis.center_crops("embedded-camera-test", side=120, limit=2)}


@pytest.fixture
def explorer(net, pictures):
    return kernel_explorer(net, pictures, REALSR, side=64)


def shown(explorer) -> list[tuple[str, bytes]]:
    return [(panel.label, panel.image.tobytes()) for panel in explorer.panels]


def test_it_shows_what_the_network_does_at_the_pixel(explorer, net, pictures):
    for way in ("across", "down"):
        explorer.controls[way].value = 50
    lr, hr = next(iter(pictures.values()))
    parts, box = analysis.inspect(net, lr), (slice(28, 92), slice(28, 92))
    result = analysis.colorize(parts.output, lr)[box]
    assert np.array_equal(explorer.panels[5].image, result)
    assert f"{psnr(result, hr[box], REALSR, 1):.2f} dB" in explorer.panels[5].label
    assert np.array_equal(explorer.panels[-1].image, hr[box])
    for k, (size, given) in enumerate(zip((9, 7, 5), parts.contributions, strict=True), 1):
        assert explorer.panels[k].label.startswith(f"{size}×{size}, sum ")
        assert f"gives {255 * float(given[0, 0, 60, 60]):+.1f} levels" in explorer.panels[k].label


@pytest.mark.parametrize("control", ["row", "column"])
def test_another_pixel_has_other_kernels_and_the_same_result(explorer, control):
    before = shown(explorer)
    explorer.controls[control].value = 5
    for (label, image), (old_label, old_image) in zip(shown(explorer)[:4], before, strict=False):
        assert label != old_label and image != old_image
    assert shown(explorer)[5:] == before[5:]


@pytest.mark.parametrize("switch", ["cdm", "refine"])
def test_a_switch_changes_picture_and_psnr_and_back(explorer, switch):
    before = shown(explorer)
    explorer.controls[switch].value = False
    (label, result), change = shown(explorer)[5:7]
    assert label != before[5][0] and result != before[5][1] and change[1] != before[6][1]
    assert before[5][0].split(", ")[1].split("<br>")[0] in label.split("all parts: ")[1]
    assert ("adds +0.0 here" in explorer.panels[4].label) == (switch == "cdm")
    explorer.controls[switch].value = True
    assert shown(explorer) == before


@pytest.mark.parametrize(("control", "value"), [("across", 0), ("down", 100), ("image", "chelsea")])
def test_another_place_shows_another_part(explorer, control, value):
    before = shown(explorer)
    explorer.controls[control].value = value
    for k in (5, -1):
        assert shown(explorer)[k][1] != before[k][1]


def test_all_panels_have_one_size_and_a_static_figure(explorer):
    assert {panel.image.shape for panel in explorer.panels} == {(64, 64, 3)}
    assert len([ax for ax in explorer.figure().axes if ax.images]) == len(explorer.panels) == 8


def test_pairs_of_two_sizes_are_refused(net, pictures):
    name, (lr, hr) = next(iter(pictures.items()))
    with pytest.raises(SRError, match=f"{name}: LR is .*pairs of one size"):
        kernel_explorer(net, {name: (lr[::2, ::2], hr)}, REALSR)


# --- Figures ------------------------------------------------------------------------------------------------------------


def test_a_kernel_heatmap_is_white_at_zero_and_red_where_it_adds():
    kernel = np.array([[0.0, 0.5, 0.0], [-0.5, 1.0, 0.0], [0.0, 0.0, -2.0]])
    shown = ddet_figures.kernel_heatmap(kernel, 30, full=1.0).astype(int)
    assert shown.shape == (30, 30, 3)
    cells = shown.reshape(3, 10, 3, 10, 3)
    assert (cells == cells[:, :1, :, :1]).all(), "each weight is one even square"
    red, blue = cells[:, 0, :, 0, 0] - cells[:, 0, :, 0, 2], cells[:, 0, :, 0]
    assert abs(red[0, 0]) <= 2 and blue[0, 0].min() > 240
    assert red[0, 1] > 30 and red[1, 0] < -30 and (red[1, 1] > 30) and (red[2, 2] < -30)
    assert np.array_equal(ddet_figures.kernel_heatmap(kernel[:1, :1] + 9, 7, 1.0), np.tile(shown[15, 15], (7, 7, 1)))


def texts(fig) -> list[str]:
    return [text.get_text() for ax in fig.axes for text in ax.texts if text.get_text()]


@pytest.mark.parametrize("args", [{}, {"variant": "paper"}, {"wide": True}])
def test_the_architecture_is_that_of_the_modules(args):
    net = models.create("ddet", 1, **args)
    fig = ddet_figures.architecture(net)
    shown = texts(fig)
    counts = [int(text.split()[0].replace(",", "")) for text in shown if text.endswith(" params") and text[0] != "D"]
    assert sum(counts) == sum(p.numel() for p in net.parameters())
    filters = [text for text in shown if text.endswith(" filter")]
    sizes = [round(head[-1].out_channels ** 0.5) for head in net.heads]
    assert filters == [f"{size}×{size} filter" for size in sizes]
    fig.draw_without_rendering()
    found = [text.get_window_extent() for text in fig.axes[0].texts if text.get_text()]
    assert not any(a.overlaps(b) for a, b in itertools.combinations([box.padded(-1) for box in found], 2))
    frames = [patch.get_window_extent() for patch in fig.axes[0].patches if isinstance(patch, FancyBboxPatch)]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(frames, 2))
    assert all(fig.bbox.x0 <= box.x0 and box.x1 <= fig.bbox.x1 for box in found)


def test_figure_2_reduces_features_on_the_left_and_widens_kernels_on_the_right():
    (ax,) = ddet_figures.scale_paths([5, 7, 9]).axes
    squares = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
    maps, frames = [p.get_width() for p in squares if p.get_fill()], [p.get_width() for p in squares if not p.get_fill()]
    assert np.allclose(maps, [0.8, 0.8, 0.8, 0.4, 0.8, 0.2, 0.8, 0.8, 0.8, 0.8, 0.8])
    assert np.allclose(np.array(frames) / 0.04, [0, 3, 0, 3, 0, 3, 0, 0, 5, 7, 9])
    assert {"5×5", "7×7", "9×9"} <= {text.get_text() for text in ax.texts}


def test_each_chosen_pixel_has_a_row_with_its_kernels():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (64, 80, 3), dtype=np.uint8)
    kernels = [rng.normal(size=(64, 80, size, size)) for size in (9, 5)]
    pixels = {"edge": (10, 10), "flat": (60, 75)}
    fig = ddet_figures.pixel_kernels(image, pixels, kernels, {"edge": [1.0, 2.0], "flat": [-3.0, 4.0]})
    shown = [ax for ax in fig.axes if ax.images and ax.get_title()]
    assert len(shown) == 6
    for row, (y, x) in zip((0, 3), pixels.values(), strict=True):
        for ax, one in zip(shown[row + 1 : row + 3], kernels, strict=True):
            assert np.array_equal(ax.images[0].get_array(), one[y, x])
    around = [np.delete(one[y, x].ravel(), one[y, x].size // 2) for one in kernels for y, x in pixels.values()]
    assert shown[1].images[0].get_clim()[1] == np.abs(np.concatenate(around)).max(), "the centres stand below, as numbers"
    assert f"centre {kernels[0][10, 10, 4, 4]:+.2f}".replace("-", "−") in shown[1].get_xlabel()
    assert "gives −3.0" in shown[4].get_xlabel() and shown[3].get_ylabel() == "flat"
    limits = {ax.images[0].get_clim() for ax in shown if ax.images[0].get_array().ndim == 2}
    assert len(limits) == 1, "one scale for all kernels"


def test_an_image_grid_has_operators_between_its_images():
    row = [(label, np.full((20, 30, 3), 40 * k, np.uint8)) for k, label in enumerate(("a", "b\nbelow", "c"))]
    fig = image_grid({"row": row}, operators=["+", "="])
    assert [ax.get_xlabel() for ax in fig.axes] == ["a", "b\nbelow", "c"]
    assert [int(ax.images[0].get_array().max()) for ax in fig.axes] == [0, 40, 80]
    assert texts(fig) == ["+", "="] and texts(image_grid({"row": row})) == []
    with pytest.raises(ValueError):
        image_grid({"row": row}, operators=["+"])


def test_displacement_has_a_line_per_network_in_both_panels():
    rows = pd.DataFrame(
        [
            {"method": m, "image": i, "shift": s, "psnr": 30 - s + k + i, "followed": 30.0 + k}
            for k, m in enumerate(("bicubic", "ddet"))
            for i in (0, 2)
            for s in (0, 1, 2)
        ]
    )
    fig = ddet_figures.displacement(rows, {"bicubic": "LR", "ddet": "DDet"}, "a set of pairs with a long name ×1")
    left, right = fig.axes
    assert [line.get_label() for line in left.lines] == ["LR", "DDet"]
    assert list(left.lines[1].get_ydata()) == [0, -1, -2] and list(right.lines[1].get_ydata()) == [31, 31, 31]
    assert "a set" in left.get_ylabel()
    fig.draw_without_rendering()
    height = fig.get_size_inches()[1] * fig.dpi
    for label in (left.yaxis.label.get_window_extent(), right.yaxis.label.get_window_extent()):
        assert 0 <= label.y0 < label.y1 <= height
