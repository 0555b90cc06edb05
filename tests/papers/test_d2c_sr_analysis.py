"""Inside networks of several predictions: what is fused is what the network gives, and the bounds are bounds."""

import numpy as np
import pytest
import torch

from srlib.core.protocols import protocol
from srlib.data.sets import open_set
from srlib.nn import models
from srlib.papers.d2c_sr import analysis
from srlib.scoring.evaluation import evaluate

D2C = protocol("d2c")
SET = "embedded-camera-test"


@pytest.fixture
def net():
    return models.create("d2c_sr", 1, width=8, groups=1, blocks=1).eval()


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, shape)


def test_a_look_adds_up_to_what_the_network_gives(net):
    lr = random(20, 24, 3).astype(np.uint8)
    found = analysis.inspect(net, lr)
    assert found.predictions.shape == (4, 20, 24, 3) and np.allclose(found.weights.sum(axis=0), 1, atol=1e-5)
    x = torch.from_numpy(lr).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        sr = 255 * net(x)[0].permute(1, 2, 0).numpy()
    assert np.allclose(found.fused, sr, atol=1e-2)
    first = analysis.inspect(net.divergence, lr)
    assert np.allclose(first.fused, found.predictions.mean(axis=0), atol=1e-6)


def test_scores_of_the_result_are_those_of_any_evaluation(net):
    found = analysis.evaluate_parts(net, SET, D2C, 2).set_index(["part", "image"])["psnr"]
    expected = evaluate(net, SET, D2C, limit=2).set_index("image")["psnr"]
    assert np.allclose(found["fused"], expected, atol=1e-3)
    assert (found["ideal"] >= found["single"]).all()
    assert set(found.index.get_level_values("part")) == {"fused", "single", "mean", "ideal", "between"}


def test_ideal_takes_the_prediction_whose_luma_is_closest():
    hr = random(6, 5, 3)
    predictions = np.stack([hr + 9, hr - 4, hr + 20])
    predictions[2, 0, 0] = hr[0, 0]
    weights = analysis.ideal_weights(predictions, hr)
    assert weights[2, 0, 0] == 1 and weights[1].sum() == 29 and weights[0].sum() == 0
    assert np.allclose(analysis.weighted_sum(predictions, weights)[0, 0], hr[0, 0])


def test_weights_for_the_whole_picture():
    predictions = random(2, 4, 4, 3)
    assert np.allclose(analysis.weighted_sum(predictions, np.array([0.25, 0.75])), 0.25 * predictions[0] + 0.75 * predictions[1])


def test_differences_and_checkerboards():
    flat = np.full((1, 6, 6, 3), 100.0)
    assert analysis.pairwise_difference(flat).max() == 0
    assert np.allclose(analysis.pairwise_difference(np.concatenate([flat, flat + 3, flat - 3])), 4)  # 3, 3 and 6
    board = 8.0 * (np.indices((6, 6)).sum(axis=0) % 2)[..., None].repeat(3, axis=2)
    assert analysis.checkerboard_rms(board) == pytest.approx(4)
    assert (
        analysis.checkerboard_rms(flat[0]) == 0
        and analysis.checkerboard_rms(np.linspace(0, 9, 6)[None, :, None].repeat(6, 0)) < 1e-9
    )


def test_pictures_are_the_pairs_of_the_set():
    (name, lr, hr), *rest = analysis.image_pairs(SET, 2, 2)
    images = open_set(SET)
    assert name == images.names[0] and len(rest) == 1
    assert lr.shape[0] * 2 == hr.shape[0] and np.array_equal(hr, images[0])
