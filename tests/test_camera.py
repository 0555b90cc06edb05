import numpy as np
import pytest

from srlib.core.errors import SRError
from srlib.core.imresize import downscale, imresize
from srlib.data.camera import photograph


def scene(*shape) -> np.ndarray:
    """A smooth picture: what a lens and a mosaic lose of it is little, so that noise, shift and gain can be seen."""
    return imresize(np.random.default_rng(0).integers(40, 216, (6, 6, 3)[: len(shape)], dtype=np.uint8), size=shape[:2])


@pytest.mark.parametrize(("scale", "size"), [(1, (61, 48)), (2, (30, 24)), (4, (15, 12))])
def test_is_a_pure_function_of_picture_scale_and_seed(scale, size):
    hr = scene(61, 48, 3)
    lr = photograph(hr, scale, 3)
    assert lr.shape == (*size, 3) and lr.dtype == np.uint8
    np.testing.assert_array_equal(photograph(hr, scale, 3), lr)
    assert (photograph(hr, scale, 4) != lr).mean() > 0.3


@pytest.mark.parametrize("scale", [1, 2])
def test_is_near_the_scene_but_noisier_and_off(scale):
    hr = scene(120, 120, 3)
    ideal = (hr if scale == 1 else downscale(hr, scale)).astype(float)
    errors = np.stack([photograph(hr, scale, seed) - ideal for seed in range(6)])
    assert 1.5 < np.sqrt((errors**2).mean()) < 12
    assert errors.mean(axis=(1, 2, 3)).std() > 0.3  # each photograph has its own exposure
    rough = errors[:, :, 2:] - 2 * errors[:, :, 1:-1] + errors[:, :, :-2]
    assert rough.std() > 1  # noise, which a smooth scene has not


def test_grey_pictures_are_photographed_in_colour():
    assert photograph(scene(40, 40), 1, 0).shape == (40, 40, 3)


def test_wrong_pictures_are_refused():
    with pytest.raises(SRError, match="hr: got float64, expected a uint8 image"):
        photograph(np.zeros((9, 9, 3)), 1, 0)
    with pytest.raises(SRError, match="hr: 3x9 pixels, expected at least 4 a side for scale 1"):
        photograph(np.zeros((3, 9, 3), np.uint8), 1, 0)
