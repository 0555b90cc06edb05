"""An explorer of Difficulty-SR: which patches are easy, and what routing them costs in PSNR."""

import time
from functools import lru_cache

import ipywidgets as ipy
import numpy as np
import torch

from srlib.core.color import rgb_to_ycbcr, to_uint8, to_y, with_chroma
from srlib.core.imresize import downscale, imresize, modcrop
from srlib.core.metrics import psnr
from srlib.core.protocols import Protocol, lr_from_hr
from srlib.draw.widgets import Explorer, Panel, Pictures, check_trained, enlarge, error_panel, hr_panel
from srlib.papers.difficulty_sr.analysis import CLASSES
from srlib.papers.difficulty_sr.model import BATCH, PATCH, DualBranchSR


def difficulty_explorer(networks: dict[int, DualBranchSR], images: dict[str, np.ndarray], protocol: Protocol) -> Explorer:
    """Explore the routing of Difficulty-SR: sliders for its rule, the overlap of the patches and the scale.

    networks: by scale. images: HR images by name; LR is their bicubic reduction. Shows LR with the patches of the plain branch in
    green, SR, its error, both branches alone, and HR, with the share of easy patches, PSNR on luma and the measured time of the
    branches. Branches run once per picture, scale and overlap. Raises SRError without networks.
    """
    check_trained(networks, "train")
    pictures = Pictures(images, least=16 * max(networks))

    @lru_cache(maxsize=32)
    def run_branches(image: str, scale: int, overlap: int) -> tuple:
        """Return what does not depend on the rule; seconds: of each branch, per patch; join: makes an image of patches."""
        net, hr = networks[scale].with_options(overlap=overlap), modcrop(pictures.hr[image], scale)
        lr = downscale(hr, scale)
        luma = lr_from_hr(hr, protocol, scale) if protocol.lr == "float_y" else to_y(lr, rounded=False)
        chroma = imresize(rgb_to_ycbcr(lr.astype(float))[..., 1:], scale)
        upscaled, seconds = [], []
        with torch.no_grad():
            patches, corners = net.cut(torch.from_numpy(luma)[None, None].float() / 255)
            probabilities = net.probabilities(patches)
            for branch in (net.plain, net.complex):
                began = time.perf_counter()
                upscaled.append(torch.cat([branch(batch) for batch in patches.split(BATCH)]))
                seconds.append((time.perf_counter() - began) / len(patches))

        def join(patches: torch.Tensor) -> np.ndarray:
            y = net.join(patches, corners, *lr.shape[:2])[0, 0].double().numpy() * 255
            return to_uint8(with_chroma(y, chroma))

        return hr, lr, corners, probabilities, upscaled, [join(patches) for patches in upscaled], seconds, join

    def shaded(lr: np.ndarray, corners, easy: np.ndarray, scale: int) -> np.ndarray:
        """Return LR enlarged, easy patches tinted green, each patch framed."""
        plain, count = np.zeros(lr.shape[:2]), np.zeros(lr.shape[:2])  # patches over each pixel
        for (y, x), e in zip(corners, easy, strict=True):
            plain[y : y + PATCH, x : x + PATCH] += e
            count[y : y + PATCH, x : x + PATCH] += 1
        share = enlarge(plain / count, scale)[..., None]
        tinted = enlarge(lr, scale) * (1 - 0.5 * share) + np.array([0.0, 158.0, 115.0]) * 0.5 * share
        for y, x in corners:
            tinted[y * scale, x * scale : (x + PATCH) * scale] = tinted[y * scale : (y + PATCH) * scale, x * scale] = 255
        return to_uint8(tinted)

    def draw(scale: int, rule: str, easiest: int, probability: float, overlap: int, image: str) -> list[Panel]:
        net = networks[scale].with_options(level=easiest, threshold=probability if rule == "probability" else None)
        hr, lr, corners, probabilities, upscaled, alone, seconds, join = run_branches(image, scale, overlap)
        easy = net.mask(probabilities)
        plain, count = int(easy.sum()), len(easy)
        sr = join(torch.where(easy[:, None, None, None], *upscaled))
        plain_psnr, complex_psnr, sr_psnr = (psnr(x, hr, protocol, scale) for x in (*alone, sr))
        milliseconds = 1000 * (plain * seconds[0] + (count - plain) * seconds[1])
        mask = f"{plain} of {count} patches plain ({100 * plain / count:.0f} %)<br>green: plain branch"
        return [
            Panel(mask, shaded(lr, corners, easy.numpy(), scale), "map"),
            Panel(f"Difficulty-SR<br>{sr_psnr:.2f} dB, {milliseconds:.0f} ms", sr),
            error_panel("Difficulty-SR", sr, hr),
            Panel(f"complex branch alone<br>{complex_psnr:.2f} dB, {1000 * count * seconds[1]:.0f} ms", alone[1]),
            Panel(f"plain branch alone<br>{plain_psnr:.2f} dB", alone[0]),
            hr_panel(hr),
        ]

    rule = ipy.ToggleButtons(options=["likeliest class", "probability"], description="rule")
    probability = ipy.FloatSlider(0.5, min=0, max=1.05, step=0.05, description="at least", disabled=True)
    rule.observe(lambda change: setattr(probability, "disabled", change["new"] != "probability"), "value")
    classes = [(label, k) for k, label in enumerate(CLASSES)]
    controls = {
        "scale": ipy.SelectionSlider(options=list(networks), description="scale"),
        "rule": rule,
        "easiest": ipy.SelectionSlider(options=classes, value=len(CLASSES) - 1, description="easy from"),
        "probability": probability,
        "overlap": ipy.SelectionSlider(options=[0, 12, 36], description="overlap"),
    }
    return Explorer(controls, draw, pictures, protocol=protocol)
