"""What routing saves: Difficulty-SR beside its complex branch alone, time and PSNR on the images of a set.

Four ways through the same weights, one thread, in turns on each image: IDN on the whole image; IDN on 48x48 patches; eq. 4 as
written, both branches everywhere; and routed, each patch through one branch. Prints processor seconds per image, their ratio
to IDN on the whole image, PSNR on luma, for all images and for those with many easy patches, and the largest difference
between the images of the last two ways.

    python benchmarks/routing.py [--set Urban100] [--images 20] [--scale 4] [--threshold 0.05]
"""

import os

os.environ.update(OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1", OMP_NUM_THREADS="1")  # read when numpy is imported

import argparse
import time
from itertools import islice

import numpy as np
import torch

from srlib import papers
from srlib.core.color import to_y
from srlib.core.imresize import modcrop
from srlib.core.metrics import psnr
from srlib.core.protocols import lr_from_hr, protocol
from srlib.data.sets import open_set
from srlib.nn.bicubic import Bicubic
from srlib.papers.difficulty_sr.model import DualBranchSR
from srlib.reproduce.store import load_released
from srlib.scoring.evaluation import upscale

EASY = 0.2  # share of plain patches from which on an image has easy regions


def ways(scale: int, threshold: float | None) -> dict[str, torch.nn.Module]:
    """Return the four ways, from the released identifier and IDN."""
    identifier, idn = (load_released(papers.get("difficulty_sr"), name, scale).model for name in ("identifier", "idn"))

    def dual(**options) -> DualBranchSR:
        return DualBranchSR(identifier, idn, Bicubic(scale), **options).eval()

    masked, routed = (dual(threshold=threshold, route=route) for route in (False, True))
    return {"IDN, whole image": idn, "IDN, patches": dual(threshold=1.1), "both branches": masked, "routed": routed}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", default="embedded-test")
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--threshold", type=float, help="of the probability of the easiest class (default: the likeliest class)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    networks, by = ways(arguments.scale, arguments.threshold), protocol("y")
    seconds, scores = {name: [] for name in networks}, {name: [] for name in networks}
    difference, easy = 0.0, []
    for i, (_, image) in enumerate(islice(open_set(arguments.set), arguments.images)):
        hr = modcrop(image, arguments.scale)
        lr = lr_from_hr(image, by, arguments.scale)
        lr, found = lr if lr.ndim == 2 else to_y(lr, rounded=False), {}
        for name in [*networks][:: 1 if i % 2 else -1]:
            began = time.process_time()
            found[name] = upscale(networks[name], lr, tile=0)
            seconds[name].append(time.process_time() - began)
            scores[name].append(psnr(found[name], hr, by, arguments.scale))
        difference = max(difference, np.abs(found["routed"] - found["both branches"]).max() / 255)
        routed, planes = networks["routed"], torch.from_numpy(lr)[None, None].float() / 255
        with torch.no_grad():
            easy.append(float(routed.mask(routed.probabilities(routed.cut(planes)[0])).float().mean()))
    some = [i for i, share in enumerate(easy) if share >= EASY]
    for title, chosen in (("images", range(len(easy))), (f"with {100 * EASY:.0f} % and more plain", some)):
        if not len(chosen):
            continue
        share = 100 * np.mean([easy[i] for i in chosen])
        print(f"{len(chosen)} {title}, {arguments.set} x{arguments.scale}; {share:.1f} % of the patches plain, one thread")
        whole = sum(seconds["IDN, whole image"][i] for i in chosen)
        for name in networks:
            spent, score = sum(seconds[name][i] for i in chosen), np.mean([scores[name][i] for i in chosen])
            print(f"    {name:18} {spent / len(chosen):8.3f} s {spent / whole:6.2f}x {score:8.3f} dB")
    print(f"largest difference between the images of the last two: {difference:.1e}")


if __name__ == "__main__":
    main()
