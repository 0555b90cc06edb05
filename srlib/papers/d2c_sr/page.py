"""D2C-SR's explorer as a page without a kernel: predictions of several alphas, fused by learned weights and by hand."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from srlib.core.color import to_uint8
from srlib.core.protocols import protocol
from srlib.draw.page import Page, lossless
from srlib.papers.d2c_sr import ALPHA, ALPHAS, tag
from srlib.papers.d2c_sr.analysis import crop, inspect
from srlib.papers.d2c_sr.model import Fused

ALPHA_OF = {f"d2c_{tag(alpha)}": alpha for alpha in ALPHAS}
NETWORKS, SCALE = tuple(ALPHA_OF), 1
LIKE = f"d2c_{tag(ALPHA)}"  # only networks that were trained like this one: what differs is then alpha's doing
SET, CROP, PICTURES = "embedded-camera-test", 256, ("chelsea", "coffee", "rocket")
SIDE = 128  # pixels of what is stored, from the middle; the networks see the whole picture


def stored(net: Fused, lr: np.ndarray, box: tuple[int, int, int, int]) -> dict:
    """Return the part in a box of a network's predictions, and of their weights, 255 for 1, in 8 bits."""
    inside = inspect(net, lr).crop(box)
    return {
        "predictions": [lossless(image) for image in to_uint8(inside.predictions)],
        "weights": [lossless(to_uint8(255 * weights)) for weights in inside.weights],
    }


def build(networks: Mapping[str, Fused], pictures: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Page:
    """Return the page of D2C-SR networks by their names in `NETWORKS`. pictures: (LR, HR) of one size by name."""
    alphas = {np.format_float_positional(ALPHA_OF[name], trim="-"): net for name, net in networks.items()}
    scenes = {}
    for name, (lr, hr) in pictures.items():
        height, width = (min(length, SIDE) for length in hr.shape[:2])
        box = ((hr.shape[0] - height) // 2, (hr.shape[1] - width) // 2, height, width)
        scenes[name] = {
            "lr": lossless(crop(lr, box)),
            "hr": lossless(crop(hr, box)),
            "alphas": list(alphas),
            "networks": [stored(net, lr, box) for net in alphas.values()],
            "border": protocol("d2c").border(SCALE),
        }
    leaves = next(iter(networks.values())).divergence.leaves
    first = str(ALPHA) if str(ALPHA) in alphas else next(iter(alphas))
    hand = {"kind": "range", "min": 0, "max": 1, "step": 0.05, "value": 1.0}
    controls = [
        {"name": "alpha", "label": "trained with α =", "kind": "steps", "options": list(alphas), "value": first},
        *({"name": f"w{i}", "label": f"weight {i}", **hand} for i in range(1, leaves + 1)),
    ]
    intro = (
        "A tree of networks restores a photograph in four ways at once. A loss with the factor α pushes the four predictions "
        "apart; then a small network weighs them pixel by pixel. Move α and watch the predictions part. The weights by hand "
        "are yours: can one weight per prediction do as well as the learned maps? The photographs are blurred and noisy as a "
        "camera would make them; the released networks were trained on another camera's."
    )
    return Page("D2C-SR: four predictions, one picture", intro, controls, scenes, [Path(__file__).with_name("page.js")])
