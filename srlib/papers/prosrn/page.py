"""ProSRN's explorer as a page without a kernel: a x2 network unrolled to x8, its x4 blended with the GAN's, and the network
itself, which doubles a picture of the reader's own in the browser (own.js)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

from srlib.core.color import rgb_to_ycbcr, to_rgb, to_uint8, with_chroma
from srlib.core.imresize import downscale, imresize, modcrop
from srlib.core.protocols import protocol
from srlib.draw.page import Page, lossless, numbers
from srlib.papers.prosrn import MIXED, PAPER
from srlib.papers.prosrn.model import ProSRN
from srlib.scoring.evaluation import upscale

GAN = ("prosrn_2_4", "prosrgan")
NETWORKS, SCALE = (*MIXED, GAN[1]), 4
SET, CROP, PICTURES = "embedded-test", 256, ("chelsea", "coffee", "rocket")
LEVELS = (2, 4, 8)
SHOW = ("step by step to x8", "blend with the GAN at x4")
OWN = "your own picture"
USES = ("a small copy: reduced by 2, then enlarged", "its middle, as it is")


@torch.no_grad()
def unrolled(net: ProSRN, lr: np.ndarray) -> list[np.ndarray]:
    """Return the uint8 RGB images at each of `LEVELS`, chroma by bicubic interpolation; see `evaluation.upscale`."""
    ycbcr = rgb_to_ycbcr(lr)
    y, images = torch.from_numpy(ycbcr[None, None, ..., 0]).float() / 255, []
    for level in LEVELS:
        y = net.eval().step(y)  # (1, 1, level * h, level * w)
        images.append(to_uint8(with_chroma(y[0, 0].double().numpy() * 255, imresize(ycbcr[..., 1:], level))))
    return images


def packed(net: ProSRN) -> str:
    """Return the weights and biases of each layer in float16, transposed convolutions as the equal convolutions, as base64."""
    layers = [net.entry[0], *net.extract.layers, net.up[0], net.fusion]
    flat = [net.image_up.weight]
    for layer in reversed(layers):
        transposed = isinstance(layer, nn.ConvTranspose2d)
        flat[:0] = [layer.weight.transpose(0, 1).flip(2, 3) if transposed else layer.weight, layer.bias]
    return numbers(torch.cat([values.detach().flatten() for values in flat]).numpy(), np.float16)


def build(networks: Mapping[str, ProSRN], pictures: Mapping[str, np.ndarray]) -> Page:
    """Return the page of ProSRN networks by their names in `NETWORKS`; no GAN, no blend. pictures: HR by name."""
    named = {PAPER.labels[name]: networks[name] for name in MIXED if name in networks}
    blends = all(name in networks for name in GAN)
    last = LEVELS[-1]
    scenes = {}
    for name, picture in pictures.items():
        hr = modcrop(to_rgb(picture), last).astype(float)
        lr, border = downscale(hr, last), protocol("prosrn").border
        scenes[name] = {
            "hr": lossless(to_uint8(hr)),
            "lr": lossless(to_uint8(lr)),
            "levels": LEVELS,
            "borders": [border(level) for level in LEVELS],
            "truths": [lossless(to_uint8(hr if level == last else downscale(hr, last // level))) for level in LEVELS],
            "networks": {label: [lossless(image) for image in unrolled(net, lr)] for label, net in named.items()},
        }
        if blends:
            lr = downscale(hr, SCALE)
            scenes[name] |= {
                "blend": [lossless(to_uint8(upscale(networks[end], lr))) for end in GAN],
                "ends": [PAPER.labels[end] for end in GAN],
                "border": border(SCALE),
            }
    stored = list(scenes)
    first = {"name": "network", "label": "trained at", "kind": "choice", "options": list(named), "value": list(named)[-1]}
    show = {"name": "show", "label": "show", "kind": "choice", "options": SHOW, "value": SHOW[0], "when": {"picture": stored}}
    controls = [show] if blends else []
    controls += [first | {"when": {"picture": stored} | ({"show": SHOW[0]} if blends else {})}]
    if (name := MIXED[0]) in networks:
        net = networks[name]
        sizes = {"width": net.fusion.in_channels, "depth": len(net.extract.layers)}
        sample = {"sample": scenes[stored[0]]["hr"], "border": protocol("prosrn").border(2)}
        scenes[OWN] = {"network": PAPER.labels[name], "weights": packed(net), **sizes, **sample}
        use = {"name": "use", "label": "show", "kind": "choice", "options": USES, "value": USES[0]}
        controls.append(use | {"when": {"picture": OWN}})
    if blends:
        share = {"name": "share", "label": "share of the GAN", "kind": "range", "min": 0, "max": 1, "step": 0.02, "value": 0.5}
        controls.append(share | {"when": {"picture": stored, "show": SHOW[1]}})
    intro = (
        "One small network doubles the size of a picture; used on its own output it reaches x4 and x8. Each step starts from "
        "the picture of the one before. ProSRGAN was trained further, against a network that tells its pictures from "
        "photographs: blend the two and watch sharpness and PSNR part. The network is in this page, too: choose your own picture."
    )
    scripts = [Path(__file__).with_name(name) for name in ("own.js", "page.js")]
    return Page("ProSRN: one network, step by step", intro, controls, scenes, scripts)
