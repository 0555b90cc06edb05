"""Speed of PSNR and SSIM under protocol "y" beside scikit-image's functions, at equal numbers.

One thread, both in this process, in alternating order, with the same inputs: an SR luma in float and the HR image.
Prints the total processor time, the median ratio, and the largest difference. Target: 3 times as fast.

    python benchmarks/metrics.py [--images 100]
"""

import os

os.environ.update(OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1", OMP_NUM_THREADS="1")  # read when numpy is imported

import argparse
import time
from itertools import islice
from statistics import median

import numpy as np
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from srlib.core.color import to_y
from srlib.core.imresize import imresize, modcrop
from srlib.core.metrics import psnr, score, ssim
from srlib.core.paths import data_dir
from srlib.core.protocols import lr_from_hr, protocol
from srlib.data.sets import open_set

SCALE = 2
PROTOCOL = protocol("y")


def two_calls(sr: np.ndarray, hr: np.ndarray) -> tuple[float, float]:
    return psnr(sr, hr, PROTOCOL, SCALE), ssim(sr, hr, PROTOCOL, SCALE)


def one_call(sr: np.ndarray, hr: np.ndarray) -> tuple[float, float]:
    return score(sr, hr, PROTOCOL, SCALE)


def scikit_image(sr: np.ndarray, hr: np.ndarray) -> tuple[float, float]:
    x = np.clip(np.floor(sr + 0.5), 16, 235)[SCALE:-SCALE, SCALE:-SCALE]
    y = (hr if hr.ndim == 2 else to_y(hr, rounded=True))[SCALE:-SCALE, SCALE:-SCALE].astype(np.float64)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    return peak_signal_noise_ratio(y, x, data_range=255), structural_similarity(y, x, **options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100, help="how many images of the set")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    name = "B100" if (data_dir() / "B100").is_dir() else "embedded-test"
    pairs = []
    for _, hr in islice(open_set(name), arguments.images):
        hr = modcrop(hr, SCALE)
        pairs.append((imresize(lr_from_hr(hr, PROTOCOL, SCALE), float(SCALE)), hr))
    functions = [two_calls, one_call, scikit_image]
    times = {function: np.zeros(len(pairs)) for function in functions}
    difference = 0.0
    for i, (sr, hr) in enumerate(pairs):
        values = [function(sr, hr) for function in functions]  # also warms them up
        difference = max(difference, float(np.abs(np.array(values[:2]) - values[2]).max()))
        timed = {function: [] for function in functions}
        for turn in range(3):
            for function in functions if (i + turn) % 2 else functions[::-1]:
                began = time.process_time()
                function(sr, hr)
                timed[function].append(time.process_time() - began)
        for function in functions:
            times[function][i] = median(timed[function])
    print(f"{len(pairs)} images of {name}, x{SCALE}, one thread; largest difference {difference:.1e}")
    print(f"{'':24} {'total':>10} {'ratio':>7}")
    for label, function in (("psnr and ssim", two_calls), ("score", one_call), ("scikit-image", scikit_image)):
        ratio = median(times[scikit_image] / times[function])
        print(f"{label:24} {times[function].sum() * 1e3:7.0f} ms {ratio:6.1f}x")


if __name__ == "__main__":
    main()
