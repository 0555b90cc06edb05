"""BTSRN's explorer as a page without a kernel: two splits of ten blocks beside each other."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import nn

from srlib.core.color import to_rgb, to_uint8
from srlib.core.imresize import downscale, imresize, modcrop
from srlib.draw.page import Page, png
from srlib.nn import cost
from srlib.papers.btsrn import SPLITS
from srlib.scoring.evaluation import upscale

NETWORKS, SCALE = tuple(SPLITS), 2
PICTURES = ("chelsea", "coffee")


def build(networks: Mapping[str, nn.Module], pictures: Mapping[str, np.ndarray]) -> Page:
    """Return the page of the splits that there are. pictures: HR by name."""
    splits = {name.removeprefix("btsrn_"): net for name, net in networks.items()}
    work = {split: f"{cost.summary(net).mult_adds / 1e9:.0f} G mult-adds for 1280x720" for split, net in splits.items()}
    scenes = {}
    for name, picture in pictures.items():
        hr = modcrop(to_rgb(picture), SCALE)
        lr = downscale(hr, SCALE)
        scenes[name] = {
            "hr": png(hr),
            "bicubic": png(to_uint8(imresize(lr.astype(float), SCALE))),
            "outputs": {split: png(to_uint8(upscale(net, lr))) for split, net in splits.items()},
            "mult_adds": work,
        }
    middle = "6+4" if "6+4" in splits else next(iter(splits))
    steps = {"kind": "steps", "options": list(splits)}
    controls = [
        {"name": "left", "label": "low + high", **steps, "value": next(iter(splits))},
        {"name": "right", "label": "against", **steps, "value": middle},
    ]
    intro = (
        "Ten residual blocks, some at low resolution and the others after the enlargement. The first number counts the blocks at "
        "low resolution, which are cheaper. Choose two splits, then swipe, blink or subtract."
    )
    return Page("BTSRN: where to put ten blocks", intro, controls, scenes, Path(__file__).with_name("page.js"))
