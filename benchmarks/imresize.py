"""Speed of `imresize` beside the two straightforward numpy versions that other projects use.

`gather` collects the pixels under each output pixel's kernel by index and sums them with their weights; `dense` builds
one weight matrix per axis and multiplies. One thread, all in this process, in alternating order. Prints the median
processor time per image, the median ratios over the images, and the largest difference. Target: 5 times as fast.

    python benchmarks/imresize.py [--set Urban100] [--images 20]
"""

import os

os.environ.update(OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1", OMP_NUM_THREADS="1")  # read when numpy is imported

import argparse
import math
import time
from itertools import islice
from statistics import median

import numpy as np

from srlib.core.color import to_rgb
from srlib.core.imresize import imresize, modcrop
from srlib.core.paths import data_dir
from srlib.data.sets import open_set


def cubic(x: np.ndarray) -> np.ndarray:
    x = abs(x)
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return near * (x <= 1) + far * ((x > 1) & (x <= 2))


def taps(length: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    out_length, shrink = math.ceil(scale * length), min(scale, 1)
    width = 4 / shrink
    centre = np.arange(1, out_length + 1) / scale + 0.5 * (1 - 1 / scale)
    positions = np.floor(centre - width / 2)[:, None] + np.arange(math.ceil(width) + 2)
    weights = shrink * cubic(shrink * (centre[:, None] - positions))
    weights /= weights.sum(axis=1, keepdims=True)
    mirrored = np.concatenate([np.arange(length), np.arange(length)[::-1]])
    indices = mirrored[(positions.astype(int) - 1) % (2 * length)]
    used = weights.any(axis=0)
    return weights[:, used], indices[:, used]


def weight_matrix(length: int, scale: float) -> np.ndarray:
    weights, indices = taps(length, scale)
    matrix = np.zeros((len(weights), length))
    np.add.at(matrix, (np.arange(len(weights))[:, None], indices), weights)
    return matrix


def finished(result: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return np.clip(np.floor(result + 0.5), 0, 255).astype(np.uint8) if dtype == np.uint8 else result


def dense(image: np.ndarray, scale: float) -> np.ndarray:
    rows, columns = (weight_matrix(length, scale) for length in image.shape[:2])
    result = finished(np.einsum("oh,hw...->ow...", rows, image.astype(np.float64), optimize=True), image.dtype)
    result = result.astype(np.float64)
    return finished(np.einsum("ow,hw...->ho...", columns, result, optimize=True), image.dtype)


def gather(image: np.ndarray, scale: float) -> np.ndarray:
    result = image.astype(np.float64).reshape(*image.shape[:2], -1)
    weights, indices = taps(image.shape[0], scale)
    result = finished((result[indices] * weights[:, :, None, None]).sum(axis=1), image.dtype).astype(np.float64)
    weights, indices = taps(image.shape[1], scale)
    result = (result[:, indices] * weights[:, :, None]).sum(axis=2)
    return finished(result.reshape(*result.shape[:2], *image.shape[2:]), image.dtype)


VERSIONS = [imresize, dense, gather]


def seconds(function, *arguments) -> float:
    began = time.process_time()
    function(*arguments)
    return time.process_time() - began


def compare(images: list[np.ndarray], scale: float) -> tuple[list[float], float]:
    """Return the seconds of each version, images first, and the largest difference between their results."""
    times, difference = [], 0.0
    for i, image in enumerate(images):
        first, *others = (version(image, scale).astype(np.float64) for version in VERSIONS)  # also warms them up
        difference = max(difference, *(float(abs(first - other).max()) for other in others))
        timed = {version: [] for version in VERSIONS}
        for turn in range(4):
            for version in VERSIONS if (i + turn) % 2 else VERSIONS[::-1]:
                timed[version].append(seconds(version, image, scale))
        times.append([median(timed[version]) for version in VERSIONS])
    return times, difference


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    here = [name for name in ("B100", "embedded-test") if name == "embedded-test" or (data_dir() / name).is_dir()]
    parser.add_argument("--set", default=here[0], help="default: %(default)s; weight matrices grow with the images")
    parser.add_argument("--images", type=int, default=20, help="how many images of the set")
    arguments = parser.parse_args()
    name = arguments.set
    images = [modcrop(image, 12) for _, image in islice(open_set(name), arguments.images)]
    shapes = sorted({image.shape for image in images})
    print(f"{len(images)} images of {name}, from {shapes[0]} to {shapes[-1]}, one thread")
    print(f"{'':24} {'imresize':>10} {'dense':>16} {'gather':>16} {'difference':>11}")
    for label, prepare in (("uint8 RGB", to_rgb), ("float64 grey", lambda image: to_rgb(image).mean(axis=-1))):
        for action, scales in (("down", (1 / 2, 1 / 3, 1 / 4)), ("up", (2.0, 3.0, 4.0))):
            for scale in scales:
                factor = round(max(scale, 1 / scale))
                inputs = [prepare(image) for image in images]
                if action == "up":
                    inputs = [imresize(image, 1 / factor) for image in inputs]
                times, difference = compare(inputs, scale)
                cells = [f"{median(row[0] for row in times) * 1e3:7.2f} ms"]
                for other in (1, 2):
                    ratio = median(row[other] / row[0] for row in times)
                    cells.append(f"{median(row[other] for row in times) * 1e3:7.2f} ms {ratio:4.1f}x")
                print(f"{label + f', {action} x{factor}':24}", *cells, f"{difference:11.1e}")


if __name__ == "__main__":
    main()
