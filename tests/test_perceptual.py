"""Perceptual measures: known answers, and the direction in which blur and noise move them."""

import numpy as np
import pytest

from srlib.core.errors import SRError
from srlib.core.imresize import imresize
from srlib.core.protocols import protocol
from srlib.data.sets import open_set
from srlib.nn import models
from srlib.scoring import perceptual
from srlib.scoring.lpips import is_fetched


@pytest.fixture
def picture() -> np.ndarray:
    return dict(open_set("embedded-test"))["chelsea"]


def test_equal_pictures(picture):
    assert perceptual.gmsd(picture.astype(float), picture) == 0
    assert perceptual.sharpness(picture.astype(float), picture) == 1


def test_blur_and_noise(picture):
    height, width = picture.shape[:2]
    blurry = [imresize(imresize(picture.astype(float), 1 / k), size=(height, width)) for k in (2, 4)]
    noisy = picture + np.random.default_rng(0).normal(0, 20, picture.shape)
    assert 0 < perceptual.gmsd(blurry[0], picture) < perceptual.gmsd(blurry[1], picture)
    assert perceptual.sharpness(blurry[1], picture) < perceptual.sharpness(blurry[0], picture) < 1
    assert perceptual.sharpness(noisy, picture) > 1 and perceptual.gmsd(noisy, picture) > 0.02


def test_gmsd_written_out():
    """Half size by means of 2x2, Prewitt's filters over 3, similarity, deviation; one value by hand."""
    hr, sr = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8, 3))
    hr[:, 4:] = 60
    assert perceptual.gmsd(sr, hr) == 0  # the same loss everywhere is no deviation
    sr[:, :] = hr
    sr[4:] = 0
    assert perceptual.gmsd(sr, hr) == pytest.approx(0.0848749, abs=1e-6)


def test_a_picture_that_is_too_small():
    with pytest.raises(SRError, match=r"\(4, 8\) pixels, expected at least 6 a side"):
        perceptual.gmsd(np.zeros((4, 8, 3)), np.zeros((4, 8, 3), np.uint8))


def test_scores_of_a_set():
    rows = perceptual.score(models.create("bicubic", 1), "embedded-camera-test", protocol("d2c"), 2)
    assert list(rows["image"]) == ["camera", "chelsea"] and rows["gmsd"].gt(0).all() and rows["sharpness"].lt(1).all()
    assert ("lpips" in rows) == is_fetched()


def test_luma_alone_is_refused():
    with pytest.raises(SRError, match="makes luma alone under the protocol 'y', expected a network of RGB"):
        perceptual.score(models.create("espcn", 2), "embedded-test", protocol("y"))
