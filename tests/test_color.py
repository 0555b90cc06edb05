import numpy as np
import pytest
import torch

from srlib.core.color import luma, rgb_to_ycbcr, to_rgb, to_uint8, to_y, ycbcr_to_rgb
from srlib.core.errors import SRError


@pytest.fixture
def rgb() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (9, 13, 3), dtype=np.uint8)


def test_y_has_matlabs_values():
    # corners of the RGB cube through MATLAB's rgb2ycbcr
    corners = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]], dtype=np.uint8)
    assert to_y(corners, rounded=True).tolist() == [[16, 235, 81, 145, 41]]
    assert rgb_to_ycbcr(corners).round().astype(int)[0].tolist() == [
        [16, 128, 128], [235, 128, 128], [81, 90, 240], [145, 54, 34], [41, 240, 110],
    ]  # fmt: skip
    np.testing.assert_allclose(to_y(corners, rounded=False)[0], [16, 235, 81.481, 144.553, 40.966], atol=1e-9)


def test_pictures_are_clipped_and_rounded_half_up(rgb):
    values = np.array([[-3.0, 0.49, 0.5, 1.5, 254.5, 255.4, 300.0]])
    assert to_uint8(values).tolist() == [[0, 0, 1, 2, 255, 255, 255]] and to_uint8(values).dtype == np.uint8
    assert to_uint8(rgb) is rgb


def test_grey_is_converted_as_equal_channels(rgb):
    grey = rgb[..., 0]
    np.testing.assert_allclose(to_y(grey, rounded=False), 16 + grey * (219 / 255))
    np.testing.assert_array_equal(to_rgb(grey), np.dstack([grey] * 3))
    np.testing.assert_array_equal(to_rgb(grey[..., None]), np.dstack([grey] * 3))
    assert to_rgb(rgb) is rgb
    with pytest.raises(SRError, match=r"got shape \(2, 2, 4\)"):
        to_rgb(np.zeros((2, 2, 4)))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_ycbcr_and_back(rgb, dtype):
    image = rgb.astype(dtype)
    ycc = rgb_to_ycbcr(image)
    assert ycc.dtype == (np.float32 if dtype == np.float32 else np.float64)
    np.testing.assert_allclose(ycc[..., 0], to_y(image, rounded=False), atol=1e-4)
    np.testing.assert_allclose(ycbcr_to_rgb(ycc), rgb, atol=1e-3)
    with pytest.raises(SRError, match="expected YCbCr"):
        ycbcr_to_rgb(ycc[..., 0])


def test_luma_of_tensors_is_that_of_images(rgb):
    batch = (torch.from_numpy(rgb).permute(2, 0, 1)[None].double() / 255).requires_grad_()
    y = luma(batch)
    assert y.shape == (1, 1, 9, 13)
    np.testing.assert_allclose(255 * y.detach()[0, 0].numpy(), to_y(rgb, rounded=False), atol=1e-9)
    y.sum().backward()
    np.testing.assert_allclose(batch.grad[0, :, 0, 0].numpy(), np.array([65.481, 128.553, 24.966]) / 255)
    assert luma(torch.rand(2, 3, 4, 4)).dtype == torch.float32
