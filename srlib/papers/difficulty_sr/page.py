"""Difficulty-SR's explorer as a page without a kernel: which patches are easy, and what sending them to bicubic costs."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from srlib.core.color import rgb_to_ycbcr, to_rgb, to_uint8, to_y, with_chroma
from srlib.core.imresize import downscale, imresize, modcrop
from srlib.core.protocols import lr_from_hr, protocol
from srlib.draw.page import Page, lossless
from srlib.papers.difficulty_sr.analysis import CLASSES, patch_psnr
from srlib.papers.difficulty_sr.model import BATCH, PATCH, THRESHOLDS, DualBranchSR

NETWORKS, SCALE = ("difficulty_sr",), 2
SET, CROP, PICTURES = "embedded-test", None, ("rocket", "chelsea", "coffee")
RULES = ("likeliest class", "threshold")
EASY = ("all", *(f"≥ {decibels:g} dB" for decibels in THRESHOLDS))  # from which class on a patch is easy


@torch.no_grad()
def scene(net: DualBranchSR, picture: np.ndarray) -> dict:
    """Return what is stored of a picture, cropped to whole patches: both branches everywhere, and for each patch its corner in HR
    pixels, class probabilities (hardest to easiest) and PSNR in dB of the plain and the complex branch."""
    scale, side = net.scale, PATCH * net.scale
    hr = modcrop(to_rgb(picture), side)
    chroma = imresize(rgb_to_ycbcr(downscale(hr, scale).astype(float))[..., 1:], scale)
    luma = lr_from_hr(hr, protocol("y"), scale)
    patches, corners = net.cut(torch.from_numpy(luma)[None, None].float() / 255)  # (M, 1, 48, 48)
    truth = to_y(hr, rounded=True) / 255
    truths = torch.from_numpy(np.stack([truth[y * scale :, x * scale :][:side, :side] for y, x in corners])[:, None])
    stored: dict = {}
    psnrs = []
    for name, branch in (("plain", net.plain), ("complex", net.complex)):
        upscaled = torch.cat([branch(batch) for batch in patches.split(BATCH)])
        psnrs.append(patch_psnr(upscaled, truths).clip(max=99))  # equal patches are infinite, which JSON lacks
        y = net.join(upscaled, corners, *luma.shape)[0, 0].double().numpy() * 255
        stored[name] = lossless(to_uint8(with_chroma(y, chroma)))
    return stored | {
        "hr": lossless(hr),
        "corners": [[y * scale, x * scale] for y, x in corners],
        "probabilities": net.probabilities(patches).double().numpy().round(6).tolist(),
        "psnr": np.stack(psnrs, axis=1).round(4).tolist(),
        "side": side,
        "classes": [name.replace(">=", "≥") for name in CLASSES],
        "easy": EASY,
        "border": protocol("y").border(scale),
    }


def build(networks: Mapping[str, DualBranchSR], pictures: Mapping[str, np.ndarray]) -> Page:
    """Return the page of a Difficulty-SR network, without overlap of its patches. pictures: HR by name."""
    net = networks["difficulty_sr"].with_options(overlap=0)
    controls = [
        {"name": "rule", "label": "a patch is easy by its", "kind": "choice", "options": RULES, "value": RULES[0]},
        {"name": "level", "label": "easy means a bicubic PSNR of", "kind": "steps", "options": EASY, "value": EASY[-1]},
        {
            **{"name": "threshold", "label": "with a probability of at least", "kind": "range", "value": 0.5},
            **{"min": 0, "max": 1.01, "step": 0.01, "when": {"rule": RULES[1]}},
        },
    ]
    intro = (
        "A small network, the identifier, guesses for each patch how well bicubic interpolation would enlarge it. Easy patches "
        "are left to bicubic interpolation, the others go through a network (IDN). Point at a patch to see what IDN gains "
        "there; move the threshold to send more patches to bicubic interpolation."
    )
    scenes = {name: scene(net, picture) for name, picture in pictures.items()}
    return Page("Difficulty-SR: which patches need a network?", intro, controls, scenes, [Path(__file__).with_name("page.js")])
