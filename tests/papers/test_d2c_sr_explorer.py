"""D2C-SR's explorers without a browser: controls move, pictures and numbers follow."""

import numpy as np
import pytest
import torch

from srlib.core.metrics import psnr
from srlib.core.protocols import protocol
from srlib.nn import models
from srlib.papers.d2c_sr import analysis
from srlib.papers.d2c_sr import explorer as explorers

D2C = protocol("d2c")


@pytest.fixture
def pictures():
    return {name: (lr[:80, :90], hr[:80, :90]) for name, lr, hr in analysis.image_pairs("embedded-camera-test", 1, 2)}


@pytest.fixture
def net():
    return models.create("d2c_sr", 1, width=4, groups=1, blocks=1).eval()


def test_alpha_chooses_the_network(net, pictures):
    other = models.create("d2c_sr", 1, width=4, groups=1, blocks=1).eval()
    dial = explorers.alpha_explorer({0.0: net, 0.1: other}, pictures, D2C, side=32)
    assert len(dial.panels) == 12 and dial.values["alpha"] == 0.1
    for way in ("across", "down"):
        dial.controls[way].value = 50
    before = [panel.image for panel in dial.panels]
    dial.controls["alpha"].value = 0.0
    assert not np.array_equal(dial.panels[1].image, before[1])
    for fixed in (0, 6):  # LR and HR
        assert np.array_equal(dial.panels[fixed].image, before[fixed])
    lr, hr = pictures["camera"]
    top, left = (80 - 32) // 2, (90 - 32) // 2
    assert np.array_equal(dial.panels[6].image, hr[top : top + 32, left : left + 32])
    seen = analysis.inspect(net, lr[:, 5:85]).fused  # the networks see a square around the place
    expected = seen[top : top + 32, left - 5 : left + 27]
    assert np.abs(dial.panels[5].image - expected.clip(0, 255)).max() <= 0.51
    assert f"{psnr(dial.panels[5].image, dial.panels[6].image, D2C, 1):.2f} dB" in dial.panels[5].label


def test_place_and_picture(net, pictures):
    dial = explorers.alpha_explorer({0.1: net}, pictures, D2C, side=32)
    dial.controls["image"].value = "chelsea"
    dial.controls["across"].value, dial.controls["down"].value = 0, 100
    assert np.array_equal(dial.panels[6].image, pictures["chelsea"][1][48:, :32])
    assert dial.figure() is not None


@pytest.fixture
def by_hand(net, pictures):
    explorer = explorers.fusion_explorer(net, pictures, D2C, side=32)
    for way in ("across", "down"):
        explorer.controls[way].value = 50
    return explorer


def alone(explorer, kept):
    """Set all sliders but one to zero; return the result by hand."""
    for i in (1, 2, 3, 4):
        explorer.controls[f"w{i}"].value = float(i == kept)
    return explorer.panels[0].image


def test_a_prediction_alone_and_the_learned_fusion(net, pictures, by_hand):
    third = alone(by_hand, 3)
    lr, _ = pictures["camera"]
    prediction = analysis.inspect(net, lr[:, 5:85]).predictions[2][24:56, 24:56]
    assert np.abs(third - prediction.clip(0, 255)).max() <= 0.51
    by_hand.controls["rule"].value = "learned, times sliders"
    assert np.abs(by_hand.panels[0].image.astype(int) - third).max() <= 1  # one slider above zero leaves one prediction
    for i in (1, 2, 4):
        by_hand.controls[f"w{i}"].value = 1.0
    assert np.array_equal(by_hand.panels[0].image, by_hand.panels[2].image)


def test_a_prediction_that_the_fusion_dropped_is_shown_when_it_is_all_that_is_left(net, by_hand):
    with torch.no_grad():  # a logit of the first prediction is thousands, those of the others are 0
        for layer in net.convergence.layers:
            layer.weight.fill_(1.0)
        net.convergence.layers[-1].weight[1:] = 0.0
    by_hand.controls["across"].value = 0
    fourth = alone(by_hand, 4)
    by_hand.controls["rule"].value = "learned, times sliders"
    assert np.array_equal(by_hand.panels[0].image, fourth) and fourth.std() > 1, "not black"
    assert by_hand.panels[1].label.startswith("|learned, times sliders - HR|")


def test_sliders_at_zero_mean_an_even_share(by_hand):
    even = by_hand.panels[0].image
    assert np.array_equal(alone(by_hand, None), even)
