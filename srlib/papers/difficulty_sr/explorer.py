"""An explorer of Difficulty-SR: which patches are easy, and does it matter which way they go?"""

import time
from functools import lru_cache

import ipywidgets as ipy
import numpy as np
import torch

from srlib.core.color import rgb_to_ycbcr, to_rgb, to_uint8, to_y, ycbcr_to_rgb
from srlib.core.errors import SRError
from srlib.core.imresize import downscale, imresize, modcrop
from srlib.core.metrics import psnr
from srlib.core.protocols import Protocol, lr_from_hr
from srlib.draw.widgets import Explorer, Panel, adding, error_picture
from srlib.papers.difficulty_sr.analysis import CLASSES
from srlib.papers.difficulty_sr.model import PATCH, DualWay


def difficulty_explorer(networks: dict[int, DualWay], images: dict[str, np.ndarray], protocol: Protocol) -> Explorer:
    """Look inside Difficulty-SR: sliders for the rule that routes patches, their overlap and the scale.

    networks: by scale. images: HR images by name, reduced to LR here. Shows LR with the patches that go to the plain branch in
    green, the picture that comes out, its error, both branches alone, and HR; the share of easy patches, PSNR on luma, and the
    time of the branches, as it was measured when they ran. Branches run once per picture, scale and overlap.
    """
    if not networks:
        raise SRError("no trained network to explore yet: run the train notebook of this profile first")

    images = dict(images)  # uploaded ones come in addition

    @lru_cache(maxsize=32)
    def parts(image: str, scale: int, overlap: int):
        """Everything that does not depend on the rule: the pictures' chroma, patches, probabilities, both branches, seconds."""
        net, hr = networks[scale], modcrop(to_rgb(images[image]), scale)
        lr = downscale(hr, scale)
        luma = lr_from_hr(hr, protocol, scale) if protocol.lr == "float_y" else to_y(lr, rounded=False)
        net.overlap = overlap
        with torch.no_grad():
            patches, corners = net.cut(torch.from_numpy(luma)[None, None].float() / 255)
            probabilities = net.probabilities(patches)
            done, seconds = [], []
            for branch in (net.plain, net.complex):
                began = time.perf_counter()
                done.append(torch.cat([branch(some) for some in patches.split(16)]))
                seconds.append((time.perf_counter() - began) / len(patches))
        chroma = imresize(rgb_to_ycbcr(lr.astype(float))[..., 1:], scale)
        return hr, lr, chroma, corners, probabilities, done, seconds

    def picture(net: DualWay, patches, corners, lr: np.ndarray, chroma: np.ndarray) -> np.ndarray:
        y = net.join(patches, corners, *lr.shape[:2])[0, 0].double().numpy() * 255
        return to_uint8(ycbcr_to_rgb(np.concatenate([y[..., None], chroma], axis=2)))

    @lru_cache(maxsize=32)
    def alone(image: str, scale: int, overlap: int) -> list[tuple[np.ndarray, float]]:
        """What the complex and the plain branch make of the whole picture, and PSNR."""
        hr, lr, chroma, corners, _, (plain, complex_), _ = parts(image, scale, overlap)
        shown = [picture(networks[scale], patches, corners, lr, chroma) for patches in (complex_, plain)]
        return [(sr, psnr(sr, hr, protocol, scale)) for sr in shown]

    def shaded(lr: np.ndarray, corners, easy: np.ndarray, scale: int) -> np.ndarray:
        """LR enlarged, easy patches tinted green, each patch framed."""
        votes, shown = np.zeros(lr.shape[:2]), lr.repeat(scale, axis=0).repeat(scale, axis=1).astype(float)
        count = np.zeros(lr.shape[:2])
        for (y, x), e in zip(corners, easy, strict=True):
            votes[y : y + PATCH, x : x + PATCH] += e
            count[y : y + PATCH, x : x + PATCH] += 1
        share = (votes / count).repeat(scale, axis=0).repeat(scale, axis=1)[..., None]
        shown = shown * (1 - 0.5 * share) + np.array([0.0, 158.0, 115.0]) * 0.5 * share
        for y, x in corners:
            shown[y * scale, x * scale : (x + PATCH) * scale] = shown[y * scale : (y + PATCH) * scale, x * scale] = 255
        return to_uint8(shown)

    def draw(scale: int, rule: str, easiest: int, probability: float, overlap: int, image: str) -> list[Panel]:
        net = networks[scale]
        hr, lr, chroma, corners, probabilities, (plain, complex_), seconds = parts(image, scale, overlap)
        net.level, net.threshold = easiest, probability if rule == "probability" else None
        easy = net.easy(probabilities)
        routed = torch.where(easy[:, None, None, None], plain, complex_)
        spent = [1000 * (int(easy.sum()) * seconds[0] + int((~easy).sum()) * seconds[1]), 1000 * len(easy) * seconds[1]]
        sr = picture(net, routed, corners, lr, chroma)
        (hard, hard_psnr), (quick, quick_psnr) = alone(image, scale, overlap)
        mask = f"{int(easy.sum())} of {len(easy)} patches plain ({100 * float(easy.float().mean()):.0f} %)<br>green: plain branch"
        return [
            Panel(mask, shaded(lr, corners, easy.numpy(), scale)),
            Panel(f"Difficulty-SR<br>{psnr(sr, hr, protocol, scale):.2f} dB, {spent[0]:.0f} ms", sr),
            Panel("|Difficulty-SR - HR|<br>white: 96 levels", error_picture(sr, hr)),
            Panel(f"complex branch alone<br>{hard_psnr:.2f} dB, {spent[1]:.0f} ms", hard),
            Panel(f"plain branch alone<br>{quick_psnr:.2f} dB", quick),
            Panel("HR<br>ground truth", hr),
        ]

    rule = ipy.ToggleButtons(options=["likeliest class", "probability"], description="rule")
    probability = ipy.FloatSlider(0.5, min=0, max=1.05, step=0.05, description="at least", disabled=True)
    rule.observe(lambda change: setattr(probability, "disabled", change["new"] != "probability"), "value")
    controls: dict[str, ipy.Widget] = {
        "scale": ipy.SelectionSlider(options=list(networks), description="scale"),
        "rule": rule,
        "easiest": ipy.SelectionSlider(
            options=[(label, k) for k, label in enumerate(CLASSES)], value=len(CLASSES) - 1, description="easy from"
        ),
        "probability": probability,
        "overlap": ipy.SelectionSlider(options=[0, 12, 36], description="overlap"),
        "image": ipy.Dropdown(options=list(images), description="image"),
    }
    return Explorer(controls, draw, adding(images, 16 * max(networks)))
