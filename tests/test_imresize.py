"""Bicubic resizing as MATLAB and Pillow do it, cropping and downscaling."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from srlib.core.errors import SRError
from srlib.core.imresize import contributions, downscale, imresize, modcrop, pil_bicubic
from srlib.data.images import read_image


def cubic(x: float) -> float:
    """Keys' kernel, a = -0.5, written in the piecewise form of the paper."""
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def naive_axis(line: np.ndarray, out_length: int, scale: float) -> np.ndarray:
    """One axis pixel by pixel: sample a mirrored, endless line with the kernel and divide by its sum."""
    shrink = min(scale, 1.0)
    out = []
    for i in range(out_length):
        centre = (i + 0.5) / scale - 0.5
        total = weight_sum = 0.0
        for j in range(math.floor(centre - 2 / shrink) - 1, math.ceil(centre + 2 / shrink) + 2):
            weight = cubic((centre - j) * shrink)
            period = j % (2 * len(line))
            total += weight * line[period if period < len(line) else 2 * len(line) - 1 - period]
            weight_sum += weight
        out.append(total / weight_sum)
    return np.array(out)


def rounded(values: np.ndarray) -> np.ndarray:
    return np.clip(np.floor(values + 0.5), 0, 255)


def naive(image: np.ndarray, scales, size) -> np.ndarray:
    """The axis with the smaller scale first; uint8 is rounded and clipped after each axis."""
    result = image.astype(np.float64)
    for axis in sorted((0, 1), key=lambda one: scales[one]):
        result = np.apply_along_axis(naive_axis, axis, result, size[axis], scales[axis])
        result = rounded(result) if image.dtype == np.uint8 else result
    return result.astype(image.dtype)


def to_planes(image: np.ndarray) -> torch.Tensor:
    return torch.tensor(image if image.ndim == 2 else np.ascontiguousarray(image.transpose(2, 0, 1)))


@pytest.mark.parametrize("scale", [1 / 2, 1 / 3, 1 / 4, 2, 3, 4, 8, 0.37, 1.6, (2, 0.5), (0.3, 0.7)])
@pytest.mark.parametrize("shape", [(13, 18), (24, 12, 3)])
def test_imresize_equals_a_pixel_by_pixel_version(scale, shape):
    image = np.random.default_rng(0).random(shape)
    pair = scale if isinstance(scale, tuple) else (scale, scale)
    expected = naive(image, pair, [math.ceil(s * n) for s, n in zip(pair, shape, strict=False)])
    resized = imresize(image, scale)
    assert resized.shape == expected.shape and resized.dtype == np.float64
    np.testing.assert_allclose(resized, expected, atol=1e-12)
    np.testing.assert_allclose(imresize(to_planes(image), scale), to_planes(expected), atol=1e-12)


@pytest.mark.parametrize("scale", [1 / 2, 1 / 3, 2, 0.37, (0.5, 0.3), (0.5, 3), (2, 1)])
@pytest.mark.parametrize("shape", [(21, 34), (20, 13, 3)])
def test_uint8_is_rounded_half_up_and_clipped_after_each_axis(scale, shape):
    rng = np.random.default_rng(1)
    image = rng.choice(np.array([0, 253], np.uint8), shape) + rng.integers(0, 3, shape, dtype=np.uint8)
    pair = scale if isinstance(scale, tuple) else (scale, scale)
    size = [math.ceil(s * n) for s, n in zip(pair, shape, strict=False)]
    exact = naive(image.astype(np.float64), pair, size)
    if max(pair) == 2:
        assert exact.min() < 0 and exact.max() > 255
    expected = naive(image, pair, size)
    assert (expected != rounded(exact)).any() or 1 in pair  # rounding once at the end is something else
    resized = imresize(image, scale)
    assert resized.dtype == np.uint8
    np.testing.assert_array_equal(resized, expected)
    np.testing.assert_array_equal(imresize(to_planes(image), scale), to_planes(expected))


@pytest.mark.parametrize(("second", "exact"), [([0, 0], 0.25), ([1, 0], 0.5)])
def test_rounding_after_each_axis_by_hand(second, exact):
    # Columns become their means, 0.5 (rounded up to 1) and 0 or 0.5; then so do rows.
    image = np.array([[1, 0], second], np.uint8).T
    assert imresize(image.astype(float), size=(1, 1))[0, 0] == exact
    assert imresize(image, size=(1, 1))[0, 0] == imresize(torch.tensor(image), size=(1, 1))[0, 0] == 1


def test_imresize_equals_matlab(matlab):
    """Lena by MATLAB R2015b: imresize of uint8, and of double in 0..1, stored in 8 bits."""
    image, uint8, double = (read_image(matlab / f"lena_{name}.png") for name in ("512x512", "123x234_uint8", "123x234_double"))
    assert (uint8 != double).sum() == 12_492 and uint8.size == 86_346
    np.testing.assert_array_equal(imresize(image, size=(123, 234)), uint8)
    np.testing.assert_array_equal(imresize(to_planes(image), size=(123, 234)), to_planes(uint8))
    np.testing.assert_array_equal(rounded(imresize(image / 255, size=(123, 234)) * 255), double)
    np.testing.assert_array_equal(rounded(imresize(to_planes(image / 255), size=(123, 234)).numpy() * 255), to_planes(double))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("scale", [2, 3, 0.5, 1 / 3, (2, 1), 1])
def test_a_pixel_that_is_not_finite_stays_within_its_kernel(scale, bad):
    image = np.random.default_rng(9).random((64, 60))
    impulse = np.zeros_like(image)
    impulse[30, 31] = 1
    reached = abs(imresize(impulse, scale)) > 1e-9
    assert scale != 2 or reached.sum() == 64
    expected = imresize(image, scale)
    image[30, 31] = bad
    for resized in (imresize(image, scale), imresize(torch.tensor(image), scale).numpy()):
        assert not np.isfinite(resized[reached]).any() and resized.dtype == np.float64
        np.testing.assert_allclose(resized[~reached], expected[~reached], atol=1e-12)
    colours = imresize(np.stack([image, np.ones_like(image)], axis=2), scale)
    np.testing.assert_array_equal(np.isfinite(colours), np.stack([~reached, np.ones_like(reached)], axis=2))
    half = imresize(torch.tensor(image).to(torch.bfloat16), scale)
    assert half.dtype == torch.bfloat16 and torch.equal(half.isfinite(), torch.tensor(~reached))


def test_weights_of_halving_by_hand():
    # The kernel of width 8 at distances 0.25, 0.75, 1.25, 1.75 (in output pixels), halved: exact in binary.
    weights, indices = contributions(16, 8, 0.5)
    half = [0.43359375, 0.11328125, -0.03515625, -0.01171875]
    np.testing.assert_array_equal(weights[4], half[::-1] + half)
    np.testing.assert_array_equal(indices[4], np.arange(5, 13))
    np.testing.assert_array_equal(indices[0], [2, 1, 0, 0, 1, 2, 3, 4])  # mirrored, border pixel repeated


def test_a_line_becomes_the_known_values():
    # 1..10 halved: straight inside, bent by the mirror at the ends
    expected = [1.44921875, 3.48828125, 5.5, 7.51171875, 9.55078125]
    np.testing.assert_array_equal(imresize(np.arange(1.0, 11)[None], size=(1, 5))[0], expected)


@pytest.mark.parametrize("scale", [0.25, 1 / 3, 0.77, 2, 3.3])
def test_a_flat_image_stays_flat(scale):
    np.testing.assert_allclose(imresize(np.full((9, 14), 0.3), scale), 0.3, rtol=1e-14)
    assert (imresize(np.full((9, 14, 3), 255, np.uint8), scale) == 255).all()


@pytest.mark.parametrize(
    ("shape", "scale", "size"),
    [
        ((1, 3), 1 / 3, (1, 1)),  # smaller than the kernel
        ((1, 3), 4, (4, 12)),
        ((2, 700), 1 / 3, (1, 234)),  # cut into blocks
        ((2, 700), 1.9, (4, 1330)),
        ((10, 12), (7 / 10, 30 / 12), (7, 30)),
    ],
)
def test_short_and_long_axes(shape, scale, size):
    image = np.random.default_rng(2).random(shape)
    expected = naive(image, scale if isinstance(scale, tuple) else (scale, scale), size)
    resized = [imresize(image, scale), imresize(torch.tensor(image), scale).numpy()]
    resized += [imresize(image, size=size)] if isinstance(scale, tuple) else []
    for values in resized:
        np.testing.assert_allclose(values, expected, atol=1e-12)


def test_output_size_is_rounded_up():
    assert imresize(np.zeros((7, 10)), 1 / 3).shape == (3, 4)
    assert imresize(torch.zeros(2, 3, 7, 10), 0.5).shape == (2, 3, 4, 5)


@pytest.mark.parametrize("scale", [2, 3, 4, 8, 1 / 2, 1 / 3, 1 / 4])
def test_torch_equals_numpy_in_float32(scale):
    image = np.random.default_rng(6).random((48, 40, 3)).astype(np.float32)
    batch = torch.stack([to_planes(image), to_planes(image[::-1].copy())])
    expected = np.stack([imresize(image, scale), imresize(image[::-1], scale)]).transpose(0, 3, 1, 2)
    resized = imresize(batch, scale)
    assert resized.dtype == torch.float32 and expected.dtype == np.float32
    np.testing.assert_allclose(resized, expected, atol=1e-5)
    np.testing.assert_allclose(imresize(batch.to(memory_format=torch.channels_last), scale), expected, atol=1e-5)


@pytest.mark.parametrize("precision", ["medium", "high"])
def test_reduced_precision_does_not_reach_images(precision):
    x = torch.rand(1, 1, 32, 32)
    expected, before = imresize(x.double(), 2), torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision(precision)
        torch.testing.assert_close(imresize(x, 2).double(), expected, atol=1e-6, rtol=0)
    finally:
        torch.set_float32_matmul_precision(before)


def test_autocast_does_not_reach_images():
    x = torch.rand(1, 1, 32, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        resized = imresize(x, 2)
    assert torch.equal(resized, imresize(x, 2))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_are_computed_in_float32(dtype):
    x = torch.rand(1, 1, 16, 16).to(dtype)
    assert torch.equal(imresize(x, 2), imresize(x.float(), 2).to(dtype))


@pytest.mark.parametrize("scale", [2, 0.5, (3, 1), (1, 1 / 3)])
def test_gradient(scale):
    x = torch.rand(1, 1, 6, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: imresize(x, scale), x)


def test_training_after_inference_mode():
    with torch.inference_mode():
        imresize(torch.rand(1, 1, 11, 7), 2)
    x = torch.rand(1, 1, 11, 7, requires_grad=True)
    imresize(x, 2).sum().backward()
    assert x.grad.abs().min() > 0


def test_the_input_is_left_alone():
    image = np.full((6, 6), 200, np.uint8)
    resized = imresize(image, 1)
    resized[:] = 0
    assert (image == 200).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": 0}, "scale: got 0, expected values above 0"),
        ({"scale": -2.0}, "scale: got -2.0, expected values above 0"),
        ({"scale": math.nan}, "scale: got nan"),
        ({"scale": (2, 0)}, r"scale: got \(2, 0\), expected values above 0"),
        ({"scale": (1, 2, 3)}, "expected a number or a pair of numbers"),
        ({"scale": "x2"}, "scale: got 'x2', expected a number or a pair of numbers"),
        ({"size": (0, 4)}, r"size: got \(0, 4\), expected values above 0"),
        ({"size": (4.5, 4)}, "whole numbers of pixels"),
        ({"size": 4}, r"size: got 4, expected \(height, width\)"),
        ({}, "expected exactly one of the two"),
        ({"scale": 2, "size": (4, 4)}, "scale=2 and size=.*expected exactly one of the two"),
    ],
)
def test_bad_scales_and_sizes(arguments, message):
    for image in (np.zeros((4, 4)), torch.zeros(1, 1, 4, 4)):
        with pytest.raises(SRError, match=message):
            imresize(image, **arguments)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros(4), r"image: got numpy shape \(4,\), expected \(H, W\) or \(H, W, C\)"),
        (np.zeros((2, 3, 4, 5)), r"shape \(2, 3, 4, 5\)"),
        (np.zeros((0, 4)), r"empty image of shape \(0, 4\)"),
        (torch.zeros(2, 3, 4, 0), r"empty image of shape \(2, 3, 4, 0\)"),
        (torch.zeros(5), r"torch shape \(5,\), expected \(..., H, W\)"),
        (np.zeros((4, 4), np.int32), "dtype int32, expected uint8 or floating point"),
        (np.zeros((4, 4), bool), "dtype bool"),
        (torch.zeros(4, 4, dtype=torch.int16), "dtype torch.int16"),
    ],
)
def test_bad_images(image, message):
    with pytest.raises(SRError, match=message):
        imresize(image, 2)


def test_modcrop():
    image = np.arange(7 * 11 * 3).reshape(7, 11, 3)
    np.testing.assert_array_equal(modcrop(image, 3), image[:6, :9])
    assert modcrop(torch.zeros(2, 3, 7, 11), 4).shape == (2, 3, 4, 8)
    assert modcrop(image, 1).shape == image.shape
    for scale, message in ((8, "7x11 pixels is smaller than scale 8"), (0, "scale: got 0, expected a whole number")):
        with pytest.raises(SRError, match=message):
            modcrop(image, scale)


def test_downscale_gives_whole_numbers_of_pixels():
    hr = np.random.default_rng(7).integers(0, 256, (50, 77, 3), dtype=np.uint8)
    for scale in (2, 3, 4):
        lr = downscale(hr, scale)
        assert lr.shape == (50 // scale, 77 // scale, 3)
        np.testing.assert_array_equal(lr, imresize(hr[: 50 // scale * scale, : 77 // scale * scale], 1 / scale))
    for scale in range(1, 17):  # no multiple of the scale falls on the wrong side of ceil
        assert all(math.ceil(1 / scale * n) == n // scale for n in range(scale, 4000, scale))


def test_pil_bicubic_is_pillows():
    image = np.random.default_rng(8).integers(90, 166, (12, 9, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(image).resize((27, 36), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(pil_bicubic(image, (36, 27)), expected)
    np.testing.assert_array_equal(pil_bicubic(image[..., 0], (36, 27)), expected[..., 0])
    # The same kernel as MATLAB's: inside, where nothing is clipped, only Pillow's rounding between the axes differs.
    ours = imresize(image, 3).astype(int)
    assert abs(ours - expected)[6:-6, 6:-6].max() == 1
    with pytest.raises(SRError, match="image: got float64"):
        pil_bicubic(image.astype(float), (36, 27))
    with pytest.raises(SRError, match="size: got"):
        pil_bicubic(image, (36, 0))
