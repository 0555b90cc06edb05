"""Parts of DDet switched off, pixels that are chosen, inputs that lie some pixels off."""

import numpy as np
import pytest
import torch

from srlib.core.color import to_y
from srlib.core.errors import SRError
from srlib.core.metrics import psnr
from srlib.core.protocols import protocol
from srlib.data.sets import open_set
from srlib.nn import models
from srlib.papers.ddet import analysis
from srlib.reproduce import store
from srlib.reproduce.store import Trained
from srlib.scoring.evaluation import upscale

REALSR = protocol("realsr")
TEST = "embedded-camera-test"


@pytest.fixture
def net():
    """A small DDet that does something: weights far from the start at the identity."""
    made = models.create("ddet", 1, width=16, blocks=1).eval()
    with torch.no_grad():
        for head in made.heads:
            head[-1].weight.normal_(std=0.02)
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
    rows = analysis.evaluate_displaced(networks, TEST, REALSR, side=64, limit=1)
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
        analysis.evaluate_displaced({}, TEST, REALSR, shifts=shifts)
