"""BTSRN's explorer as a page without a kernel: two splits of ten blocks beside each other."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import nn

from srlib.core.color import to_rgb, to_uint8
from srlib.core.imresize import downscale, imresize, modcrop
from srlib.core.protocols import protocol
from srlib.draw.page import Page, lossless
from srlib.nn import cost
from srlib.papers.btsrn import SPLITS
from srlib.scoring.evaluation import upscale

NETWORKS, SCALE = tuple(SPLITS), 2
SET, CROP, PICTURES = "embedded-test", 256, ("chelsea", "coffee")


def build(networks: Mapping[str, nn.Module], pictures: Mapping[str, np.ndarray]) -> Page:
    """Return the page of the splits that there are. pictures: HR by name."""
    splits = {name.removeprefix("btsrn_"): net for name, net in networks.items()}
    work = {split: cost.summary(net).mult_adds / 1e9 for split, net in splits.items()}
    scenes = {}
    for name, picture in pictures.items():
        hr = modcrop(to_rgb(picture), SCALE)
        lr = downscale(hr, SCALE)
        scenes[name] = {
            "hr": lossless(hr),
            "bicubic": lossless(to_uint8(imresize(lr.astype(float), SCALE))),
            "outputs": {split: lossless(to_uint8(upscale(net, lr))) for split, net in splits.items()},
            "mult_adds": work,
            "border": protocol("btsrn").border(SCALE),
        }
    middle = "6+4" if "6+4" in splits else next(iter(splits))
    steps = {"kind": "steps", "options": list(splits)}
    controls = [
        {"name": "left", "label": "blocks at low + at high resolution", **steps, "value": next(iter(splits))},
        {"name": "right", "label": "compared with", **steps, "value": middle},
    ]
    intro = (
        "A network of ten residual blocks doubles the size of a picture. In the split 6+4 six blocks work at low resolution, "
        "where they are cheap, and four after upsampling. Choose two splits, then swipe, blink or subtract them."
    )
    return Page("BTSRN: where to put ten blocks", intro, controls, scenes, [Path(__file__).with_name("page.js")])
