"""DDet's explorer as a page without a kernel: the kernels of a pixel, what each adds, and its two other parts switched off."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from srlib.draw.page import Page, lossless, numbers
from srlib.papers.ddet.analysis import inspect, luma_input, reshape_kernels
from srlib.papers.ddet.model import DDet

NETWORKS, SCALE = ("ddet",), 1
SET, CROP, PICTURES = "embedded-camera-test", 256, ("chelsea", "coffee")
SIDE, EVERY = 96, 2  # pixels of what is stored, from the middle; kernels are of every second pixel
FINE = 100  # stored steps per grey level of luma


@torch.no_grad()
def scene(net: DDet, lr: np.ndarray, hr: np.ndarray) -> dict:
    """Return what is stored of a pair: kernels in 16 bits, and in grey levels CDM's correction, the contribution of each head,
    and the refined output, with CDM ("on") and without ("off")."""
    corner, size = [(length - min(length, SIDE)) // 2 for length in hr.shape[:2]], [min(length, SIDE) for length in hr.shape[:2]]
    box = tuple(slice(first, first + length) for first, length in zip(corner, size, strict=True))
    padded = net.eval().padded_kernels(luma_input(lr))
    kernels = [per_pixel[box][::EVERY, ::EVERY] for per_pixel in reshape_kernels(padded, *lr.shape[:2])]  # (h, w, K, K)
    full = max(float(np.abs(kernel).max()) for kernel in kernels)

    def levels(image: torch.Tensor) -> str:
        return numbers(np.rint(FINE * 255 * image[0, 0].numpy()[box]).clip(-32767, 32767), np.int16)

    stored: dict = {}
    for name, cdm in (("on", True), ("off", False)):
        inside = inspect(net, lr, cdm, True, padded)
        stored[name] = {"contributions": [levels(image) for image in inside.contributions], "refined": levels(inside.output)}
        if cdm:
            stored["correction"] = levels(inside.corrected - luma_input(lr))
    return stored | {
        "lr": lossless(lr[box]),
        "hr": lossless(hr[box]),
        "kernels": [numbers(np.rint(kernel / full * 32767), np.int16) for kernel in kernels],
        "sizes": [kernel.shape[-1] for kernel in kernels],
        "full": full,
        "every": EVERY,
        "fine": FINE,
    }


def build(networks: Mapping[str, DDet], pictures: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Page:
    """Return the page of a DDet with all its parts. pictures: (LR, HR) of one size by name."""
    controls = [
        {"name": "cdm", "label": "detail path (CDM)", "kind": "switch", "value": True},
        {"name": "refine", "label": "refinement", "kind": "switch", "value": True},
    ]
    intro = (
        "DDet predicts a filter of its own for every pixel, in three sizes, and adds up what the three make of the picture. A "
        "second path (CDM) corrects the pixels before they are filtered, and two layers refine the sum. Click a pixel to see "
        "its filters; switch the two other parts off to see what they do."
    )
    scenes = {name: scene(networks["ddet"], *pair) for name, pair in pictures.items()}
    return Page("DDet: a filter for every pixel", intro, controls, scenes, [Path(__file__).with_name("page.js")])
