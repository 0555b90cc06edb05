"""Speed of `imresize` beside the straightforward numpy version: one dense weight matrix per axis, built and multiplied.

One thread, both in this process, in alternating order. Prints the median time per image of both, the median ratio over
the images, and the largest difference of the results. Target: 5 times as fast.

    python benchmarks/imresize.py [--images 20]
"""

import os

os.environ.update(OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1", OMP_NUM_THREADS="1")  # read when numpy is imported

import argparse
import math
import time
from itertools import islice
from statistics import median

import numpy as np

from srlib.color import to_rgb
from srlib.data.sets import open_set
from srlib.degradation import imresize, modcrop
from srlib.paths import data_dir


def cubic(x: np.ndarray) -> np.ndarray:
    x = abs(x)
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return near * (x <= 1) + far * ((x > 1) & (x <= 2))


def weight_matrix(length: int, scale: float) -> np.ndarray:
    out_length, shrink = math.ceil(scale * length), min(scale, 1)
    width = 4 / shrink
    centre = np.arange(1, out_length + 1) / scale + 0.5 * (1 - 1 / scale)
    positions = np.floor(centre - width / 2)[:, None] + np.arange(math.ceil(width) + 2)
    weights = shrink * cubic(shrink * (centre[:, None] - positions))
    weights /= weights.sum(axis=1, keepdims=True)
    mirrored = np.concatenate([np.arange(length), np.arange(length)[::-1]])
    matrix = np.zeros((out_length, length))
    indices = mirrored[(positions.astype(int) - 1) % (2 * length)]
    np.add.at(matrix, (np.arange(out_length)[:, None], indices), weights)
    return matrix


def straightforward(image: np.ndarray, scale: float) -> np.ndarray:
    rows, columns = (weight_matrix(length, scale) for length in image.shape[:2])
    result = np.einsum("oh,hw...->ow...", rows, image.astype(np.float64), optimize=True)
    result = np.einsum("ow,hw...->ho...", columns, result, optimize=True)
    return np.clip(np.floor(result + 0.5), 0, 255).astype(np.uint8) if image.dtype == np.uint8 else result


def seconds(function, *arguments) -> float:
    began = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - began


def compare(images: list[np.ndarray], scale: float) -> tuple[float, float, float, float]:
    """Return median seconds of both, the median ratio, and the largest difference."""
    ours, theirs, difference = [], [], 0.0
    for i, image in enumerate(images):
        results = imresize(image, scale), straightforward(image, scale)  # also warms both up
        difference = max(difference, float(abs(results[0].astype(np.float64) - results[1]).max()))
        timed = {imresize: [], straightforward: []}
        for turn in range(6):
            for function in (imresize, straightforward) if (i + turn) % 2 else (straightforward, imresize):
                timed[function].append(seconds(function, image, scale))
        ours.append(median(timed[imresize]))
        theirs.append(median(timed[straightforward]))
    return median(ours), median(theirs), median(b / a for a, b in zip(ours, theirs, strict=True)), difference


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=20, help="how many images of the set")
    arguments = parser.parse_args()
    name = "B100" if (data_dir() / "B100").is_dir() else "embedded-test"
    images = [modcrop(image, 12) for _, image in islice(open_set(name), arguments.images)]
    shapes = sorted({image.shape for image in images})
    print(f"{len(images)} images of {name}, from {shapes[0]} to {shapes[-1]}, one thread")
    print(f"{'':28} {'imresize':>10} {'dense':>10} {'ratio':>7} {'difference':>11}")
    for label, prepare in (("uint8 RGB", to_rgb), ("float64 grey", lambda image: to_rgb(image).mean(axis=-1))):
        for action, scales in (("down", (1 / 2, 1 / 3, 1 / 4)), ("up", (2.0, 3.0, 4.0))):
            for scale in scales:
                factor = round(max(scale, 1 / scale))
                inputs = [prepare(image) for image in images]
                if action == "up":
                    inputs = [imresize(image, 1 / factor) for image in inputs]
                ours, theirs, ratio, difference = compare(inputs, scale)
                row = f"{label}, {action} x{factor}"
                print(f"{row:28} {ours * 1e3:7.2f} ms {theirs * 1e3:7.2f} ms {ratio:6.1f}x {difference:11.1e}")


if __name__ == "__main__":
    main()
