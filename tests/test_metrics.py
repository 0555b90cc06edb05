"""PSNR and SSIM, and the protocols under which they are measured."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from skimage.data import astronaut, camera
from skimage.metrics import structural_similarity

from srlib.core.color import luma, to_rgb, to_y
from srlib.core.errors import SRError
from srlib.core.imresize import downscale, imresize
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


def rounded(values):
    return np.clip(np.floor(values + 0.5), 0, 255)


def decibel(x, y):
    return 10 * math.log10(255**2 / ((x - y) ** 2).mean())


def wang(x, y):
    """The SSIM of Wang et al. over the windows inside the image, by scikit-image."""
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    _, whole = structural_similarity(x, y, full=True, **options)
    return whole[5:-5, 5:-5].mean()


def tensor(*images) -> torch.Tensor:
    return torch.stack([torch.tensor(np.ascontiguousarray(image) / 255).permute(2, 0, 1) for image in images])


class TestProtocols:
    @pytest.mark.parametrize("scale", [2, 3, 4])
    def test_luma_against_luma_of_hr(self, hr, sr, scale):
        inside, sr_y = (slice(scale, -scale),) * 2, to_y(sr, rounded=False)
        x, y = np.clip(rounded(sr_y), 16, 235)[inside], to_y(hr, rounded=True)[inside]
        scores = psnr(sr_y, hr, protocol("y"), scale), ssim(sr_y, hr, protocol("y"), scale)
        assert scores == pytest.approx((decibel(y, x), wang(y, x)), abs=1e-9)
        assert score(sr_y, hr, protocol("y"), scale) == scores

    @pytest.mark.parametrize(
        ("name", "whole", "border"),
        [("lapsrn", False, 4), ("edsr", False, 4), ("btsrn", True, 2), ("realsr", True, 0)],  # realsr: RealSR's Test.m
    )
    def test_luma_of_rgb(self, hr, sr, name, whole, border):
        inside = (slice(border, 120 - border), slice(border, 151 - border))
        x, y = to_y(rounded(sr), rounded=whole)[inside], to_y(hr, rounded=whole)[inside]
        assert score(sr, hr, protocol(name), 4) == pytest.approx((decibel(y, x), wang(y, x)), abs=1e-9)

    def test_prosrn_has_the_windows_of_scikit_image(self, hr, sr):
        x, y = to_y(rounded(sr), False)[3:-3, 3:-3], to_y(hr, False)[3:-3, 3:-3]
        expected = structural_similarity(y, x, data_range=y.max() - y.min())
        *others, uniform = score(sr, hr, protocol("prosrn"), 3)
        assert uniform == pytest.approx(expected, abs=1e-9)
        assert tuple(others) == score(sr, hr, protocol("lapsrn"), 3)
        alone = dataclasses.replace(protocol("prosrn"), metrics=("ssim_uniform7",))
        assert score(sr, hr, alone, 3) == (uniform,) and score(sr, hr, alone, 3, ("psnr",)) == (others[0],)

    def test_btsrn_on_div2k_compares_rgb(self, hr, sr):
        x, y = rounded(sr)[8:-8, 8:-8], hr.astype(float)[8:-8, 8:-8]
        expected = decibel(x, y), np.mean([wang(y[..., channel], x[..., channel]) for channel in range(3)])
        assert score(sr, hr, protocol("btsrn_div2k"), 2) == pytest.approx(expected, abs=1e-9)

    def test_d2c_is_that_of_its_code(self, hr, sr):
        """Luma of RGB in 0..1 by the code's own weights, no rounding; SSIM by zero-padded convolutions of the unclipped image."""
        wild = sr * 1.3 - 30
        weights = np.array([65.738, 129.057, 25.064]) / 256
        difference = (np.clip(wild / 255, 0, 1) - hr / 255)[4:-4, 4:-4] @ weights
        taps = torch.tensor(np.exp(-(np.arange(-5, 6) ** 2) / 4.5))
        window = torch.outer(taps, taps)[None, None] / taps.sum() ** 2
        x, y = (torch.tensor(image / 255 @ weights)[None, None] for image in (wild, hr))
        filtered = [torch.nn.functional.conv2d(plane, window, padding=5) for plane in (x, y, x * x, y * y, x * y)]
        mx, my = filtered[:2]
        vx, vy, vxy = filtered[2] - mx**2, filtered[3] - my**2, filtered[4] - mx * my
        ssim_map = (2 * mx * my + 1e-4) * (2 * vxy + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))
        psnr_y, _, padded = score(wild, hr, protocol("d2c"), 4)
        assert psnr_y == pytest.approx(-10 * math.log10((difference**2).mean()), abs=1e-4)
        assert padded == pytest.approx(float(ssim_map.mean()), abs=1e-5)
        bare = dataclasses.replace(protocol("d2c"), shave_per_scale=0, clip_sr=False)
        assert score(wild, hr, bare, 4, ("ssim_padded",)) == (padded,) and score(wild, hr, bare, 4)[0] < psnr_y

    def test_grey_images(self):
        grey = camera()[:64, :64]
        sr = imresize(grey.astype(float), size=(64, 64)) + 3
        as_y, convert = protocol("btsrn"), protocol("edsr")
        assert psnr(sr, grey, as_y, 2) == pytest.approx(20 * math.log10(255 / 3), abs=0.2)
        # converted, 3 grey levels are 3 * 219 / 255 of luma
        converted = psnr(to_rgb(sr), grey, convert, 2)
        assert converted - psnr(sr, grey, as_y, 2) == pytest.approx(20 * math.log10(255 / 219), abs=0.01)
        assert converted == psnr(to_y(sr, False), grey, dataclasses.replace(convert, round_sr=False), 2)
        plain = dataclasses.replace(FLOAT_Y, shave=8)
        assert psnr(sr, grey, protocol("btsrn_div2k"), 2) == pytest.approx(psnr(rounded(sr), grey, plain, 2), abs=1e-12)
        with pytest.raises(SRError, match="takes the grey hr as luma"):
            psnr(to_rgb(sr), grey, as_y, 2)

    @pytest.mark.parametrize("name", PROTOCOLS)
    def test_two_grey_pictures_of_8_bits_are_read_alike(self, name):
        """Luma of a network is in floats, and is still luma beside a grey HR."""
        grey, chosen = camera()[:64, :64], protocol(name)
        sr = rounded(grey + np.random.default_rng(0).normal(0, 9, grey.shape)).astype(np.uint8)
        assert psnr(grey, grey, chosen, 2) == math.inf
        if chosen.grey == "convert":
            assert score(sr, grey, chosen, 2) == score(to_rgb(sr), grey, chosen, 2)
            if chosen.color == "y":
                unrounded = dataclasses.replace(chosen, round_sr=False)
                assert psnr(to_y(sr, False), grey, unrounded, 2) == psnr(sr, grey, unrounded, 2)
        else:
            assert score(sr, grey, chosen, 2) == score(sr.astype(float), grey, chosen, 2)

    def test_lr_from_hr(self, hr):
        cropped = hr[:, :150]
        float_y = lr_from_hr(hr, protocol("y"), 2)
        assert float_y.dtype == np.float64 and float_y.shape == (60, 75)
        np.testing.assert_array_equal(float_y, imresize(to_y(cropped, rounded=True), 0.5))
        np.testing.assert_array_equal(lr_from_hr(hr, protocol("lapsrn"), 2), imresize(cropped.astype(np.float64), 0.5))
        for name in ("edsr", "d2c"):  # a set's own LR is made where it has none
            uint8 = lr_from_hr(hr, protocol(name), 2)
            assert uint8.dtype == np.uint8
            np.testing.assert_array_equal(uint8, downscale(hr, 2))

    def test_lr_from_a_grey_image(self):
        grey = camera()[:60, :60]
        converted = dataclasses.replace(protocol("y"), grey="convert")
        for chosen, expected in (
            (protocol("y"), imresize(grey.astype(np.float64), 1 / 3)),
            (protocol("btsrn"), imresize(grey, 1 / 3)),
            (protocol("edsr"), to_rgb(imresize(grey, 1 / 3))),
            (converted, imresize(to_y(grey, True), 1 / 3)),
        ):
            np.testing.assert_array_equal(lr_from_hr(grey, chosen, 3), expected)
        with pytest.raises(SRError, match="hr: got float64, expected a uint8 image"):
            lr_from_hr(grey / 255, protocol("y"), 3)

    def test_borders(self):
        for name, borders in (("y", [2, 3, 4]), ("btsrn", [2, 2, 2]), ("btsrn_div2k", [8, 9, 10])):
            assert [protocol(name).border(scale) for scale in (2, 3, 4)] == borders

    def test_protocols_can_be_looked_up_stored_and_described(self):
        for name, named in PROTOCOLS.items():
            assert protocol(name) is named and named.name == name
            assert Protocol(**json.loads(json.dumps(dataclasses.asdict(named)))) == named
            assert ("SR of luma models made RGB by bicubic chroma" in named.describe()) == (name in ("lapsrn", "prosrn"))
        assert len({named.describe() for named in PROTOCOLS.values()}) == len(PROTOCOLS)
        assert protocol("y").describe() == (
            "Protocol y: luma (BT.601, 16..235) rounded to integers; grey images taken as luma; LR made from 8-bit luma, kept "
            "in float; SR rounded to 8 bits and clipped to 16..235; border of scale pixels cropped; SSIM with Gaussian "
            "11x11 window, range 255."
        )

    @pytest.mark.parametrize(
        ("described", "parts"),
        [
            (protocol("btsrn_div2k"), ["border of 6 + scale pixels"]),
            (FLOAT_Y, ["no border", "SR in float"]),
            (protocol("prosrn"), ["range 255; SSIM with uniform 7x7 window, range max - min of HR."]),
            (protocol("realsr"), ["LR as the set has it", "no border cropped", "LR cropped to multiples of 4 pixels"]),
            (protocol("realsr"), ["larger LR images in windows of 1200 pixels, 800 apart, scored one by one"]),
            (protocol("d2c"), ["SR in float clipped to 0..255; border of scale pixels cropped"]),
        ],
    )
    def test_descriptions_name_what_is_special(self, described, parts):
        assert all(part in described.describe() for part in parts)

    @pytest.mark.parametrize(
        ("base", "fields", "message"),
        [
            (FLOAT_Y, {"metrics": ("psnr", "ssim_gauss")}, "unknown Protocol.metrics 'ssim_gauss'"),
            (FLOAT_Y, {"lr": "float"}, "unknown Protocol.lr 'float'"),
            (FLOAT_Y, {"shave": -1}, "Protocol.shave: got -1"),
            (FLOAT_Y, {"multiple": 0}, "Protocol.multiple: got 0, expected a whole number of pixels of at least 1"),
            (FLOAT_Y, {"color": "rgb"}, "Protocol.lr: got 'float_y' with color='rgb'"),
            (FLOAT_Y, {"sr_rgb": True}, "Protocol.sr_rgb: got True with color='y'"),
            (protocol("btsrn_div2k"), {"sr_rgb": True}, "Protocol.sr_rgb: got True with color='rgb'"),
            (protocol("btsrn_div2k"), {"clip_y": True}, "clip_y: got True with color='rgb'"),
            (FLOAT_Y, {"window": 30}, r"Protocol.stride: got 0, expected 1..window \(=30\), or 0 for both"),
            (FLOAT_Y, {"stride": 9}, r"Protocol.stride: got 9, expected 1..window \(=0\), or 0 for both"),
            (FLOAT_Y, {"window": 30, "stride": 31}, r"Protocol.stride: got 31, expected 1..window \(=30\)"),
        ],
    )
    def test_settings_that_make_no_sense(self, base, fields, message):
        with pytest.raises(SRError, match=message):
            dataclasses.replace(base, **fields)

    def test_misspelt_names(self):
        with pytest.raises(SRError, match="unknown protocol 'lapsm'.*Did you mean 'lapsrn'"):
            protocol("lapsm")
        with pytest.raises(SRError, match="unknown metric 'lpips'"):
            score(np.zeros((9, 9)), np.zeros((9, 9)), FLOAT_Y, 2, ("lpips",))


def test_psnr_by_hand():
    hr = np.full((4, 4), 100.0)
    whole = dataclasses.replace(FLOAT_Y, round_sr=True)  # 4.4 becomes 4
    for chosen, difference, counted in ((FLOAT_Y, 5, 5), (whole, 4.4, 4), (whole, 4.5, 5)):
        assert psnr(hr + difference, hr, chosen, 2) == pytest.approx(20 * math.log10(255 / counted), abs=1e-12)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_equal_images(hr, name):
    assert psnr(hr, hr, protocol(name), 2) == math.inf
    assert ssim(hr, hr, protocol(name), 2) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_does_not_pass_for_perfect(hr, bad):
    sr = hr.astype(float)
    sr[50, 50] = bad
    for metric in (psnr, ssim):
        for arguments, message in (
            ((sr, hr), "sr: has NaN or infinite values, expected finite ones in 0..255"),
            ((hr, sr), "hr: has NaN or infinite values"),
            ((tensor(sr), tensor(hr)), "sr: has NaN or infinite values, expected finite ones in 0..1;"),
        ):
            with pytest.raises(SRError, match=message):
                metric(*arguments, protocol("lapsrn"), 2)


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
        (lambda x: (tensor(x) * 255).byte(), "got torch.uint8, expected floats in 0..1; divide 8 bits by 255"),
        (lambda x: (tensor(x) * 255).int(), "got torch.int32, expected floats in 0..1"),
        (lambda x: tensor(x) * 255, r"got floats in .*, expected about 0..1; scale it to that range"),
    ],
)
def test_another_type_or_range(hr, metric, change, message):
    changed = change(hr)
    right = tensor(hr) if isinstance(changed, torch.Tensor) else hr.astype(float)
    for chosen in (protocol("edsr"), FLOAT_Y):
        for arguments, name in (((changed, right), "sr"), ((right, changed), "hr"), ((changed, changed), ".r")):
            with pytest.raises(SRError, match=f"{name}: {message}"):
                metric(*arguments, chosen, 2)


def test_pictures_that_are_flat_dark_or_overshoot_are_taken(hr):
    """A flat one may hold 0 or 1, SR of a black picture may lie in 0..1, and networks leave the range."""
    chosen, flat = protocol("edsr"), np.zeros((20, 20, 3))
    assert psnr(flat + 1, flat, chosen, 2) == pytest.approx(20 * math.log10(255 * 255 / 219), abs=1e-3)
    black = (np.random.default_rng(0).random((20, 20, 3)) > 0.5).astype(np.uint8)
    assert 45 < psnr(black * 0.3 + 0.1, black, chosen, 2) < 60
    assert psnr(hr * 3.0 - 200, hr, chosen, 2) < 20
    assert psnr(tensor(hr) * 1.5 - 0.2, tensor(hr), chosen, 2).item() < 25


@pytest.mark.parametrize("scale", [-2, 0, 1.5, math.nan, "2", None, True])
def test_scales_that_are_not_whole_numbers_from_1(hr, scale):
    message = f"scale: got {scale!r}, expected a whole number of at least 1"
    for chosen in (protocol("edsr"), protocol("realsr")):  # the second leaves no border out
        for call in (psnr, ssim):
            with pytest.raises(SRError, match=message):
                call(hr, hr, chosen, scale)
        with pytest.raises(SRError, match=message):
            psnr(tensor(hr), tensor(hr), chosen, scale)
    with pytest.raises(SRError, match=message):
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
    for chosen in (FLOAT_Y, protocol("y")):
        score(sr_y, hr, chosen, 2)
    np.testing.assert_array_equal(sr_y, copies[0])
    np.testing.assert_array_equal(hr, copies[1])


@pytest.mark.parametrize("name", PROTOCOLS)
def test_batches_equal_images(hr, sr, name):
    pairs = [(sr, hr), (sr[::-1], hr[::-1]), (hr * 0.9, hr)]
    expected = np.array([score(x, y, protocol(name), 2) for x, y in pairs])
    batches = [tensor(*images) for images in zip(*pairs, strict=True)]
    for values, column in zip(score(*batches, protocol(name), 2), expected.T, strict=True):
        assert values.dtype == torch.float64 and values.shape == (3,)
        np.testing.assert_allclose(values, column, atol=1e-6)
    assert torch.equal(psnr(*batches, protocol(name), 2), score(*batches, protocol(name), 2)[0])


def test_a_batch_of_luma_is_luma(hr, sr):
    batches = [luma(tensor(image)) for image in (sr, hr)]
    for name in ("y", "lapsrn"):
        expected = score(to_y(sr, False), hr, protocol(name), 2)
        np.testing.assert_allclose(torch.cat(score(*batches, protocol(name), 2)), expected, atol=1e-6)


def test_float32_batches_keep_float64_inside(hr, sr):
    values = score(tensor(sr).float(), tensor(hr).float(), protocol("lapsrn"), 2)
    np.testing.assert_allclose(torch.cat(values), score(sr, hr, protocol("lapsrn"), 2), atol=1e-4)


def test_what_lies_on_the_border_does_not_count(hr, sr):
    spoilt = sr.copy()
    spoilt[:4] = spoilt[-4:] = spoilt[:, :4] = spoilt[:, -4:] = 0
    assert score(spoilt, hr, protocol("lapsrn"), 4) == score(sr, hr, protocol("lapsrn"), 4)
    assert psnr(spoilt, hr, protocol("lapsrn"), 3) < psnr(sr, hr, protocol("lapsrn"), 3) - 1


@pytest.mark.parametrize("metric", [psnr, ssim])
@pytest.mark.parametrize(
    ("sr", "hr", "chosen", "message"),
    [
        ((20, 20), (20, 21), FLOAT_Y, r"got \(20, 20\) and \(20, 21\), expected equal height and width"),
        ((20, 20, 4), (20, 20, 3), FLOAT_Y, r"sr: got shape \(20, 20, 4\)"),
        ((20, 20), (20, 20, 1), FLOAT_Y, r"hr: got shape \(20, 20, 1\)"),
        ((0, 20), (0, 20), FLOAT_Y, r"sr: got shape \(0, 20\)"),
        ((20, 20), (20, 20, 3), protocol("btsrn_div2k"), r"expected \(H, W, 3\): protocol 'btsrn_div2k' compares RGB"),
        ((8, 20, 3), (8, 20, 3), protocol("edsr"), "8x20 pixels have nothing inside a border of 4"),
    ],
)
def test_images_that_cannot_be_compared(metric, sr, hr, chosen, message):
    with pytest.raises(SRError, match=message):
        metric(np.zeros(sr), np.zeros(hr), chosen, 4)


def test_images_smaller_than_the_window():
    image = np.zeros((20, 14, 3))
    assert psnr(image, image, protocol("edsr"), 2) == math.inf
    with pytest.raises(SRError, match="16x10 pixels inside the border, fewer than the SSIM window of 11x11"):
        ssim(image, image, protocol("edsr"), 2)
    with pytest.raises(SRError, match="10x4 pixels inside the border, fewer than the SSIM window of 7x7"):
        score(image[:16, :10], image[:16, :10], protocol("prosrn"), 3, ("ssim_uniform7",))


def test_batches_that_cannot_be_compared():
    batch = torch.zeros(2, 3, 20, 20)
    others = (torch.zeros(2, 1, 20, 20), torch.zeros(2, 3, 20, 22), np.zeros((20, 20, 3)), None)
    for pair in (*((batch, other) for other in others), (batch[0], batch[0])):
        with pytest.raises(SRError, match="expected two tensors of one shape"):
            psnr(*pair, protocol("edsr"), 2)
