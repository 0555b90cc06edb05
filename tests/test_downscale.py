"""Cropping, bicubic downscaling and Pillow's bicubic."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from srlib.core.errors import SRError
from srlib.core.imresize import downscale, imresize, modcrop, pil_bicubic


def test_modcrop():
    image = np.arange(7 * 11 * 3).reshape(7, 11, 3)
    np.testing.assert_array_equal(modcrop(image, 3), image[:6, :9])
    assert modcrop(torch.zeros(2, 3, 7, 11), 4).shape == (2, 3, 4, 8)
    assert modcrop(image, 1).shape == image.shape
    with pytest.raises(SRError, match="7x11 pixels is smaller than scale 8"):
        modcrop(image, 8)
    with pytest.raises(SRError, match="scale: got 0, expected a whole number"):
        modcrop(image, 0)
    with pytest.raises(SRError, match="scale: got 1.5, expected a whole number"):
        modcrop(image, 1.5)


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
