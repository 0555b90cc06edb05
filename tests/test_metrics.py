import dataclasses
import math

import numpy as np
import pytest
import torch
from skimage.data import astronaut
from skimage.metrics import structural_similarity

from srlib.core.color import luma, to_y
from srlib.core.errors import SRError
from srlib.core.metrics import psnr, score, ssim
from srlib.core.protocols import PROTOCOLS, Protocol, lr_from_hr, protocol

FLOAT_Y = Protocol("plain", "y", "float_y", "as_y", round_sr=False)


@pytest.fixture(scope="module")
def hr() -> np.ndarray:
    return astronaut()[100:220, 150:301]  # 120x151


@pytest.fixture(scope="module")
def sr(hr) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 12, hr.shape)
    return hr + noise  # floats that leave 0..255


def wang(x, y):
    """The SSIM of Wang et al. over the windows inside the image, by scikit-image."""
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    _, whole = structural_similarity(x, y, full=True, **options)
    return whole[5:-5, 5:-5].mean()


def test_psnr_by_hand():
    hr = np.full((4, 4), 100.0)
    assert psnr(hr + 5, hr, FLOAT_Y, 2) == pytest.approx(20 * math.log10(255 / 5), abs=1e-12)
    # rounding: 4.4 becomes 4
    whole = dataclasses.replace(FLOAT_Y, round_sr=True)
    assert psnr(hr + 4.4, hr, whole, 2) == pytest.approx(20 * math.log10(255 / 4), abs=1e-12)
    assert psnr(hr + 4.5, hr, whole, 2) == pytest.approx(20 * math.log10(255 / 5), abs=1e-12)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_equal_images(hr, name):
    assert psnr(hr, hr, protocol(name), 2) == math.inf
    assert ssim(hr, hr, protocol(name), 2) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_does_not_pass_for_perfect(hr, bad):
    sr = hr.astype(float)
    sr[50, 50] = bad
    batch = [torch.tensor(image / 255).permute(2, 0, 1)[None] for image in (sr, hr)]
    for metric in (psnr, ssim):
        with pytest.raises(SRError, match="sr: has NaN or infinite values, expected finite ones in 0..255"):
            metric(sr, hr, protocol("lapsrn"), 2)
        with pytest.raises(SRError, match="hr: has NaN or infinite values"):
            metric(hr, sr, protocol("lapsrn"), 2)
        with pytest.raises(SRError, match="sr: has NaN or infinite values, expected finite ones in 0..1;"):
            metric(*batch, protocol("lapsrn"), 2)


@pytest.mark.parametrize("metric", [psnr, ssim])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x / 255, r"got floats in 0.*\.\.\d.*, a picture in 0..1, expected 0..255; multiply it by 255"),
        (lambda x: (x / 255).astype(np.float32), "got floats in .*, a picture in 0..1, expected 0..255; multiply it by 255"),
        (lambda x: x.astype(np.uint16) * 257, "got uint16, expected uint8, or floats in 0..255; divide 16 bits by 257"),
        (lambda x: x.astype(np.int64), "got int64, expected uint8"),
        (lambda x: x > 100, "got bool, expected uint8"),
        (lambda x: x * 257.0, r"got floats in .*, expected about 0..255; scale it to that range"),
    ],
)
def test_pictures_of_another_type_or_range(hr, metric, change, message):
    for chosen in (protocol("edsr"), FLOAT_Y):
        with pytest.raises(SRError, match=f"sr: {message}"):
            metric(change(hr), hr, chosen, 2)
        with pytest.raises(SRError, match=f"hr: {message}"):
            metric(hr.astype(float), change(hr), chosen, 2)
        with pytest.raises(SRError, match=message):
            metric(change(hr), change(hr), chosen, 2)


@pytest.mark.parametrize("metric", [psnr, ssim])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: (x * 255).byte(), "got torch.uint8, expected floats in 0..1; divide 8 bits by 255"),
        (lambda x: (x * 255).int(), "got torch.int32, expected floats in 0..1"),
        (lambda x: x * 255, r"got floats in .*, expected about 0..1; scale it to that range"),
    ],
)
def test_batches_of_another_type_or_range(hr, metric, change, message):
    batch = torch.tensor(hr / 255).permute(2, 0, 1)[None]
    with pytest.raises(SRError, match=f"sr: {message}"):
        metric(change(batch), batch, protocol("edsr"), 2)
    with pytest.raises(SRError, match=f"hr: {message}"):
        metric(batch, change(batch), protocol("edsr"), 2)


def test_pictures_that_are_flat_dark_or_overshoot_are_taken(hr):
    """A flat one may hold 0 or 1, SR of a black picture may lie in 0..1, and networks leave the range."""
    chosen, flat = protocol("edsr"), np.zeros((20, 20, 3))
    assert psnr(flat + 1, flat, chosen, 2) == pytest.approx(20 * math.log10(255 * 255 / 219), abs=1e-3)
    black = (np.random.default_rng(0).random((20, 20, 3)) > 0.5).astype(np.uint8)
    assert 45 < psnr(black * 0.3 + 0.1, black, chosen, 2) < 60
    assert psnr(hr * 3.0 - 200, hr, chosen, 2) < 20
    batch = torch.tensor(hr / 255).permute(2, 0, 1)[None]
    assert psnr(batch * 1.5 - 0.2, batch, chosen, 2).item() < 25


@pytest.mark.parametrize("scale", [-2, 0, 1.5, math.nan, "2", None, True])
def test_scales_that_are_not_whole_numbers_from_1(hr, scale):
    batch = torch.tensor(hr / 255).permute(2, 0, 1)[None]
    for chosen in (protocol("edsr"), protocol("realsr")):  # the second leaves no border out
        for metric in (psnr, ssim):
            with pytest.raises(SRError, match=f"scale: got {scale!r}, expected a whole number of at least 1"):
                metric(hr, hr, chosen, scale)
        with pytest.raises(SRError, match="scale: got"):
            psnr(batch, batch, chosen, scale)
    with pytest.raises(SRError, match="scale: got"):
        lr_from_hr(hr, protocol("edsr"), scale)


@pytest.mark.parametrize("scale", [2.0, np.float64(2), np.int64(2)])
def test_whole_numbers_of_other_types_are_scales(hr, sr, scale):
    assert score(sr, hr, protocol("edsr"), scale) == score(sr, hr, protocol("edsr"), 2)
    np.testing.assert_array_equal(lr_from_hr(hr, protocol("edsr"), scale), lr_from_hr(hr, protocol("edsr"), 2))


def test_ssim_of_opposite_images_is_negative():
    board = np.indices((32, 32)).sum(0) % 2 * 255.0
    assert ssim(255 - board, board, FLOAT_Y, 1) < -0.9


def test_a_flat_image_has_no_range_for_the_uniform_window():
    flat = np.full((20, 20), 90.0)
    assert math.isnan(score(flat + 1, flat, FLOAT_Y, 1, ("ssim_uniform7",))[0])
    assert 0.99 < ssim(flat + 1, flat, FLOAT_Y, 1) < 1


@pytest.mark.parametrize("shape", [(11, 11), (12, 30), (75, 11), (64 + 10, 16 + 10), (65 + 10, 17 + 10), (200, 130)])
@pytest.mark.parametrize("metric", ["ssim", "ssim_uniform7"])
def test_ssim_where_strips_and_blocks_end(shape, metric):
    rng = np.random.default_rng(1)
    y = rng.random(shape) * 255
    x = y + rng.normal(0, 20, shape)
    expected = wang(y, x) if metric == "ssim" else structural_similarity(y, x, data_range=np.ptp(y))
    assert score(x, y, FLOAT_Y, 1, (metric,)) == pytest.approx((expected,), abs=1e-10)


def test_the_arguments_are_left_alone(hr, sr):
    sr_y = to_y(sr, rounded=False)
    copies = sr_y.copy(), hr.copy()
    score(sr_y, hr, FLOAT_Y, 2)
    score(sr_y, hr, protocol("y"), 2)
    np.testing.assert_array_equal(sr_y, copies[0])
    np.testing.assert_array_equal(hr, copies[1])


@pytest.mark.parametrize("name", PROTOCOLS)
def test_batches_equal_images(hr, sr, name):
    chosen = protocol(name)
    pairs = [(sr, hr), (sr[::-1], hr[::-1]), (hr * 0.9, hr)]
    expected = np.array([score(x, y, chosen, 2) for x, y in pairs])
    batches = [
        torch.stack([torch.tensor(np.ascontiguousarray(image).astype(np.float64)) for image in images])
        for images in zip(*pairs, strict=True)
    ]
    batches = [batch.permute(0, 3, 1, 2) / 255 for batch in batches]
    for values, column in zip(score(*batches, chosen, 2), expected.T, strict=True):
        assert values.dtype == torch.float64 and values.shape == (3,)
        np.testing.assert_allclose(values, column, atol=1e-6)
    assert torch.equal(psnr(*batches, chosen, 2), score(*batches, chosen, 2)[0])


def test_a_batch_of_luma_is_luma(hr, sr):
    batches = [luma(torch.tensor(image[None] / 255).permute(0, 3, 1, 2)) for image in (sr, hr)]
    for name in ("y", "lapsrn"):
        expected = score(to_y(sr, False), hr, protocol(name), 2)
        np.testing.assert_allclose(torch.cat(score(*batches, protocol(name), 2)), expected, atol=1e-6)


def test_float32_batches_keep_float64_inside(hr, sr):
    batches = [torch.tensor(image[None].astype(np.float32)).permute(0, 3, 1, 2) / 255 for image in (sr, hr)]
    values = score(*batches, protocol("lapsrn"), 2)
    np.testing.assert_allclose(torch.cat(values), score(sr, hr, protocol("lapsrn"), 2), atol=1e-4)


def test_what_lies_on_the_border_does_not_count(hr, sr):
    spoilt = sr.copy()
    spoilt[:4] = spoilt[-4:] = spoilt[:, :4] = spoilt[:, -4:] = 0
    assert score(spoilt, hr, protocol("lapsrn"), 4) == score(sr, hr, protocol("lapsrn"), 4)
    assert psnr(spoilt, hr, protocol("lapsrn"), 3) < psnr(sr, hr, protocol("lapsrn"), 3) - 1


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_images_that_cannot_be_compared(metric):
    y, rgb = np.zeros((20, 20)), np.zeros((20, 20, 3))
    cases = [
        (y, np.zeros((20, 21)), FLOAT_Y, r"got \(20, 20\) and \(20, 21\), expected equal height and width"),
        (np.zeros((20, 20, 4)), rgb, FLOAT_Y, r"sr: got shape \(20, 20, 4\)"),
        (y, np.zeros((20, 20, 1)), FLOAT_Y, r"hr: got shape \(20, 20, 1\)"),
        (np.zeros((0, 20)), np.zeros((0, 20)), FLOAT_Y, r"sr: got shape \(0, 20\)"),
        (y, rgb, protocol("btsrn_div2k"), r"expected \(H, W, 3\): protocol 'btsrn_div2k' compares RGB"),
        (rgb[:8], rgb[:8], protocol("edsr"), "8x20 pixels have nothing inside a border of 4"),
    ]
    for sr, hr, chosen, message in cases:
        with pytest.raises(SRError, match=message):
            metric(sr, hr, chosen, 4)


def test_images_smaller_than_the_window():
    image = np.zeros((20, 14, 3))
    assert psnr(image, image, protocol("edsr"), 2) == math.inf
    with pytest.raises(SRError, match="16x10 pixels inside the border, fewer than the SSIM window of 11x11"):
        ssim(image, image, protocol("edsr"), 2)
    with pytest.raises(SRError, match="10x4 pixels inside the border, fewer than the SSIM window of 7x7"):
        score(image[:16, :10], image[:16, :10], protocol("prosrn"), 3, ("ssim_uniform7",))


def test_batches_that_cannot_be_compared():
    batch = torch.zeros(2, 3, 20, 20)
    for other in (torch.zeros(2, 1, 20, 20), torch.zeros(2, 3, 20, 22), np.zeros((20, 20, 3)), None):
        with pytest.raises(SRError, match="expected two tensors of one shape"):
            psnr(batch, other, protocol("edsr"), 2)
    with pytest.raises(SRError, match="expected two tensors of one shape"):
        ssim(batch[0], batch[0], protocol("edsr"), 2)
