"""A simulated camera: LR photographs of HR images, where no real pairs are at hand.

Real pairs are two photographs of one scene at two focal lengths. Differences between the shorter one and bicubic
downscaling are simulated along the optical path: defocus blur, sub-pixel shift of the sensor, exposure difference, a Bayer
mosaic with shot and read noise, and demosaicing. The steps follow T. Brooks et al.,
"Unprocessing images for learned raw denoising", CVPR 2019, with a plain power law for the tone curve and without white balance.
"""

import numpy as np

from srlib.core.color import to_rgb, to_uint8
from srlib.core.errors import SRError
from srlib.core.imresize import imresize, modcrop

ZOOM = 2  # for pairs of equal size: LR is taken at this downscaling and upscaled, as in real sets
GAMMA = 2.2
BLUR = (0.3, 0.6)  # sigma of the lens, in pixels of the sensor
SHIFT = 0.4  # largest displacement of the sensor along an axis, in its pixels
GAIN = (0.97, 1.03)  # exposure of LR over that of HR
SHOT, READ = 2e-4, 4e-6  # noise variance per unit of light, and in the dark; light is 0..1
BAYER = np.array([[0, 1], [1, 2]])  # colour of each sensor pixel in a 2x2 cell
BILINEAR = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]])  # bilinear demosaicing weights


def photograph(hr: np.ndarray, scale: int, seed: int) -> np.ndarray:
    """Return the simulated LR photograph of a uint8 HR image (H, W[, 3]), deterministic in its arguments.

    uint8 RGB: (H // scale, W // scale, 3), or for scale 1 the size of `hr`, taken at half the size and upscaled.
    seed: a whole number of at least 0; blur, shift, gain and noise are drawn from it.
    Raises SRError for an image that is not uint8 or gives fewer than 2x2 sensor pixels.
    """
    hr = np.asarray(hr)
    if hr.dtype != np.uint8:
        raise SRError(f"hr: got {hr.dtype}, expected a uint8 image as read from a file")
    zoom = ZOOM if scale == 1 else scale
    if min(hr.shape[:2]) < 2 * zoom:
        raise SRError(f"hr: {hr.shape[0]}x{hr.shape[1]} pixels, expected at least {2 * zoom} a side for scale {scale}")
    rng = np.random.default_rng(seed)
    sigma, gain = rng.uniform(*BLUR) * zoom, rng.uniform(*GAIN)
    shift = rng.uniform(-SHIFT, SHIFT, 2) * zoom
    light = (to_rgb(hr if scale == 1 else modcrop(hr, scale)) / 255) ** GAMMA
    for axis in (0, 1):
        light = _defocus(light, axis, sigma, shift[axis])
    height, width = light.shape[:2]
    light = np.clip(gain * imresize(light, size=(height // zoom, width // zoom)), 0, 1)
    mosaic = np.take_along_axis(light, _bayer_channels(*light.shape[:2])[..., None], 2)[..., 0]
    colours = _demosaic(mosaic + np.sqrt(SHOT * mosaic + READ) * rng.standard_normal(mosaic.shape))
    lr = 255 * np.clip(colours, 0, 1) ** (1 / GAMMA)
    lr = imresize(lr, size=(height, width)) if scale == 1 else lr
    return to_uint8(lr)


def _defocus(light: np.ndarray, axis: int, sigma: float, shift: float) -> np.ndarray:
    """Blur one axis by a Gaussian centred `shift` pixels off; borders are replicated."""
    radius = int(np.ceil(3 * sigma + abs(shift)))
    taps = np.exp(-((np.arange(-radius, radius + 1) - shift) ** 2) / (2 * sigma**2))
    taps /= taps.sum()
    padded = np.pad(np.moveaxis(light, axis, 0), [(radius, radius), (0, 0), (0, 0)], mode="edge")
    length = light.shape[axis]
    return np.moveaxis(sum(tap * padded[i : i + length] for i, tap in enumerate(taps)), 0, axis)


def _bayer_channels(height: int, width: int) -> np.ndarray:
    """Return the channel (0..2) of each sensor pixel, (height, width)."""
    return np.tile(BAYER, (-(-height // 2), -(-width // 2)))[:height, :width]


def _demosaic(mosaic: np.ndarray) -> np.ndarray:
    """Interpolate a Bayer mosaic (h, w) bilinearly to RGB (h, w, 3); measured values are kept."""
    colour = _bayer_channels(*mosaic.shape)
    planes = []
    for channel in range(3):
        measured = colour == channel
        mean = _filter3x3(np.where(measured, mosaic, 0)) / _filter3x3(measured.astype(float))
        planes.append(np.where(measured, mosaic, mean))
    return np.stack(planes, axis=2)


def _filter3x3(plane: np.ndarray) -> np.ndarray:
    """Filter a plane by BILINEAR, zero-padded."""
    height, width = plane.shape
    padded = np.pad(plane, 1)
    return sum(BILINEAR[y, x] * padded[y : y + height, x : x + width] for y in range(3) for x in range(3))
