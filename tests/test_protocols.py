import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from skimage.data import astronaut, camera
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from srlib.core.color import to_rgb, to_y
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


def shaved(image, border):
    return image[border:-border, border:-border] if border else image


def wang(x, y):
    """The SSIM of Wang et al. over the windows inside the image, by scikit-image."""
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    _, whole = structural_similarity(x, y, full=True, **options)
    return whole[5:-5, 5:-5].mean()


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_protocol_y_on_luma(hr, sr, scale):
    sr_y = to_y(sr, rounded=False)
    x = shaved(np.clip(rounded(sr_y), 16, 235), scale)
    y = shaved(to_y(hr, rounded=True), scale)
    expected = peak_signal_noise_ratio(y, x, data_range=255), wang(y, x)
    found = psnr(sr_y, hr, protocol("y"), scale), ssim(sr_y, hr, protocol("y"), scale)
    assert found == pytest.approx(expected, abs=1e-9)
    assert score(sr_y, hr, protocol("y"), scale) == found


@pytest.mark.parametrize(("name", "whole"), [("lapsrn", False), ("edsr", False), ("btsrn", True)])
@pytest.mark.parametrize("scale", [2, 4])
def test_luma_protocols_on_rgb(hr, sr, name, whole, scale):
    border = 2 if name == "btsrn" else scale
    x = shaved(to_y(rounded(sr), rounded=whole), border)
    y = shaved(to_y(hr, rounded=whole), border)
    expected = peak_signal_noise_ratio(y, x, data_range=255), wang(y, x)
    assert score(sr, hr, protocol(name), scale) == pytest.approx(expected, abs=1e-9)


def test_prosrn_has_the_windows_of_scikit_image(hr, sr):
    x, y = shaved(to_y(rounded(sr), False), 3), shaved(to_y(hr, False), 3)
    expected = structural_similarity(y, x, data_range=y.max() - y.min())
    *others, uniform = score(sr, hr, protocol("prosrn"), 3)
    assert uniform == pytest.approx(expected, abs=1e-9)
    assert tuple(others) == score(sr, hr, protocol("lapsrn"), 3)


def test_btsrn_on_div2k_compares_rgb(hr, sr):
    x, y = shaved(rounded(sr), 6 + 2), shaved(hr.astype(float), 6 + 2)
    expected = (
        peak_signal_noise_ratio(y, x, data_range=255),
        np.mean([wang(y[..., channel], x[..., channel]) for channel in range(3)]),
    )
    assert score(sr, hr, protocol("btsrn_div2k"), 2) == pytest.approx(expected, abs=1e-9)


def test_grey_images():
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


def test_lr_from_hr(hr):
    cropped = hr[:, :150]
    float_y = lr_from_hr(hr, protocol("y"), 2)
    assert float_y.dtype == np.float64 and float_y.shape == (60, 75)
    np.testing.assert_array_equal(float_y, imresize(to_y(cropped, rounded=True), 0.5))
    np.testing.assert_array_equal(lr_from_hr(hr, protocol("lapsrn"), 2), imresize(cropped.astype(np.float64), 0.5))
    uint8 = lr_from_hr(hr, protocol("edsr"), 2)
    assert uint8.dtype == np.uint8
    np.testing.assert_array_equal(uint8, downscale(hr, 2))


def test_lr_from_a_grey_image():
    grey = camera()[:60, :60]
    np.testing.assert_array_equal(lr_from_hr(grey, protocol("y"), 3), imresize(grey.astype(np.float64), 1 / 3))
    np.testing.assert_array_equal(lr_from_hr(grey, protocol("btsrn"), 3), imresize(grey, 1 / 3))
    np.testing.assert_array_equal(lr_from_hr(grey, protocol("edsr"), 3), to_rgb(imresize(grey, 1 / 3)))
    np.testing.assert_array_equal(
        lr_from_hr(grey, dataclasses.replace(protocol("y"), grey="convert"), 3), imresize(to_y(grey, True), 1 / 3)
    )
    with pytest.raises(SRError, match="hr: got float64, expected a uint8 image"):
        lr_from_hr(grey / 255, protocol("y"), 3)


def test_borders():
    assert [protocol("y").border(scale) for scale in (2, 3, 4)] == [2, 3, 4]
    assert [protocol("btsrn").border(scale) for scale in (2, 3, 4)] == [2, 2, 2]
    assert [protocol("btsrn_div2k").border(scale) for scale in (2, 3, 4)] == [8, 9, 10]


def test_protocols_can_be_looked_up_stored_and_described():
    for name, one in PROTOCOLS.items():
        assert protocol(name) is one and one.name == name
        assert Protocol(**json.loads(json.dumps(dataclasses.asdict(one)))) == one
    assert len({one.describe() for one in PROTOCOLS.values()}) == len(PROTOCOLS)
    assert protocol("y").describe() == (
        "Protocol y: luma (BT.601, 16..235) in whole numbers; grey images taken as luma; LR made from 8-bit luma, kept "
        "in float; SR rounded to 8 bits and clipped to 16..235; border of scale pixels left out; SSIM with Gaussian "
        "11x11 window, range 255."
    )
    assert "border of 6 + scale pixels" in protocol("btsrn_div2k").describe()
    for name, one in PROTOCOLS.items():
        assert ("SR of luma models made RGB by bicubic chroma" in one.describe()) == (name in ("lapsrn", "prosrn"))
    assert "no border" in FLOAT_Y.describe() and "SR in float" in FLOAT_Y.describe()
    assert (
        protocol("prosrn")
        .describe()
        .endswith("SSIM with Gaussian 11x11 window, range 255; SSIM with uniform 7x7 window, range max - min of HR.")
    )


def test_a_protocol_says_what_is_measured(hr, sr):
    both = score(sr, hr, protocol("prosrn"), 2)
    assert len(both) == 3 and len(set(both)) == 3
    uniform = dataclasses.replace(protocol("prosrn"), metrics=("ssim_uniform7",))
    assert score(sr, hr, uniform, 2) == both[2:]
    assert score(sr, hr, uniform, 2, ("psnr",)) == both[:1]


def test_misspelt_protocols():
    with pytest.raises(SRError, match="unknown protocol 'lapsm'.*Did you mean 'lapsrn'"):
        protocol("lapsm")
    with pytest.raises(SRError, match="unknown Protocol.metrics 'ssim_gauss'"):
        dataclasses.replace(FLOAT_Y, metrics=("psnr", "ssim_gauss"))
    with pytest.raises(SRError, match="unknown Protocol.lr 'float'"):
        dataclasses.replace(FLOAT_Y, lr="float")
    with pytest.raises(SRError, match="Protocol.shave: got -1"):
        dataclasses.replace(FLOAT_Y, shave=-1)
    with pytest.raises(SRError, match="Protocol.lr: got 'float_y' with color='rgb'"):
        dataclasses.replace(FLOAT_Y, color="rgb")
    for name in ("y", "btsrn_div2k"):
        with pytest.raises(SRError, match="Protocol.sr_rgb: got True with color=.*expected color='y' and LR made from RGB"):
            dataclasses.replace(protocol(name), sr_rgb=True)
    with pytest.raises(SRError, match="clip_y: got True with color='rgb'"):
        dataclasses.replace(protocol("btsrn_div2k"), clip_y=True)
    with pytest.raises(SRError, match="unknown metric 'lpips'"):
        score(np.zeros((9, 9)), np.zeros((9, 9)), FLOAT_Y, 2, ("lpips",))


def test_realsr_protocol_is_matlabs_on_whole_numbers(hr, sr):
    """RealSR's Test.m: rgb2ycbcr of uint8 images, im2uint8 of the result, no border, Wang's SSIM of the valid region."""
    x, y = to_y(np.clip(np.floor(sr + 0.5), 0, 255), rounded=True), to_y(hr, rounded=True)
    expected = 10 * math.log10(255**2 / ((x - y) ** 2).mean()), wang(y, x)
    assert score(sr, hr, protocol("realsr"), 1) == pytest.approx(expected, abs=1e-9)


def test_d2c_protocol_is_that_of_its_code(hr, sr):
    """Luma of RGB in 0..1 by the code's own weights, no rounding; SSIM by zero-padded convolutions of the unclipped image."""
    wild = sr * 1.3 - 30
    weights = np.array([65.738, 129.057, 25.064]) / 256
    inside = (slice(4, -4), slice(4, -4))
    difference = (np.clip(wild / 255, 0, 1) - hr / 255)[inside] @ weights
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


def test_windows_and_multiples_are_checked_and_described():
    said = protocol("realsr").describe()
    assert "LR as the set has it" in said and "no border left out" in said and "LR cropped to multiples of 4 pixels" in said
    assert "larger LR images in windows of 1200 pixels, 800 apart, scored one by one" in said
    assert "SR in float clipped to 0..255; border of scale pixels left out" in protocol("d2c").describe()
    for fields in ({"window": 30}, {"stride": 9}, {"window": 30, "stride": 31}):
        with pytest.raises(SRError, match=r"Protocol.stride: got \d+, expected 1..window \(=\d+\), or 0 for both"):
            dataclasses.replace(FLOAT_Y, **fields)
    with pytest.raises(SRError, match="Protocol.multiple: got 0, expected a whole number of pixels of at least 1"):
        dataclasses.replace(FLOAT_Y, multiple=0)


def test_lr_that_a_set_has_is_made_where_it_has_none(hr):
    np.testing.assert_array_equal(lr_from_hr(hr, protocol("d2c"), 2), lr_from_hr(hr, protocol("edsr"), 2))
