"""Explorers of ProSRN: unroll it level by level, and blend it with ProSRGAN."""

from functools import lru_cache

import ipywidgets as ipy
import numpy as np

from srlib.core.color import to_rgb, to_uint8
from srlib.core.errors import SRError
from srlib.core.imresize import downscale, modcrop
from srlib.core.metrics import psnr
from srlib.core.protocols import Protocol
from srlib.draw.widgets import Explorer, Panel, adding, corner, places
from srlib.scoring.evaluation import upscale


def unroll_explorer(
    families: dict[str, dict[int, object]], images: dict[str, np.ndarray], protocol: Protocol, *, side: int = 128
) -> Explorer:
    """Unroll a progressive network: a slider for the factor, and every image from LR to SR.

    families: by label, a network per factor (2, 4, 8, ...). images: HR images by name; LR is HR reduced by the factor, and each
    sub-SR image is scored against HR reduced to its size. side: of the crop in HR pixels. Shows LR, one picture per level (grey
    beyond the factor) and HR, all enlarged to the same size. Raises SRError without networks and for too small pictures.
    """
    if not families:
        raise SRError("no trained network to explore yet: run the train notebook of this profile first")
    images = dict(images)  # uploaded ones come in addition
    factors = sorted(next(iter(families.values())))
    side = min(side, *(min(image.shape[:2]) for image in images.values())) // factors[-1] * factors[-1]
    if side == 0:
        raise SRError(f"every picture must have at least {factors[-1]} pixels per side, the largest factor")

    @lru_cache(maxsize=64)
    def unrolled(name: str, image: str, factor: int) -> list[tuple[int, np.ndarray, np.ndarray]]:
        hr = modcrop(to_rgb(images[image]), factors[-1])
        lr = downscale(hr, factor)
        levels = [(1, lr, lr)]
        for level in (f for f in factors if f <= factor):
            target = hr if level == factor else downscale(hr, factor // level)
            levels.append((level, to_uint8(upscale(families[name][level], lr)), target))
        return levels

    def panel(factor: int, level: int, sr: np.ndarray, hr: np.ndarray, across: int, down: int) -> Panel:
        small, times = side * level // factor, factor // level
        top, left = corner(*sr.shape[:2], small, across, down)
        crop = sr[top : top + small, left : left + small]
        if level == 1:
            label = f"LR<br>{small}x{small}"
        else:
            value = psnr(sr, hr, protocol, level)
            label = f"{'SR' if times == 1 else 'sub-SR'} x{level}<br>{value:.2f} dB, whole picture"
        return Panel(label, crop.repeat(times, axis=0).repeat(times, axis=1))

    def draw(network: str, factor: int, image: str, across: int, down: int) -> list[Panel]:
        levels = unrolled(network, image, factor)
        panels = [panel(factor, *level, across, down) for level in levels]
        panels += [Panel(f"x{f}<br>beyond the factor", np.full_like(panels[0].image, 128)) for f in factors if f > factor]
        hr = levels[-1][2]
        top, left = corner(*hr.shape[:2], side, across, down)
        return [*panels, Panel("HR<br>ground truth", hr[top : top + side, left : left + side])]

    controls: dict[str, ipy.Widget] = {
        "network": ipy.Dropdown(options=list(families), description="network"),
        "factor": ipy.SelectionSlider(options=factors, value=factors[min(2, len(factors) - 1)], description="factor"),
    }
    return Explorer(controls | places(images, side), draw, adding(images, side))


def blend_explorer(
    plain: tuple[str, object],
    sharp: tuple[str, object],
    images: dict[str, np.ndarray],
    protocol: Protocol,
    *,
    side: int = 96,
) -> Explorer:
    """Blend the outputs of two networks of the same scale: a slider for the second one's share.

    plain, sharp: label and network. images: HR images by name. side: of the crop in HR pixels. Shows the first, the blend, the
    second and HR, with the PSNR of each crop.
    """
    images = dict(images)  # uploaded ones come in addition
    scale = plain[1].scale
    side = min(side, *(min(image.shape[:2]) for image in images.values())) // scale * scale

    @lru_cache(maxsize=32)
    def both(image: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        hr = modcrop(to_rgb(images[image]), scale)
        lr = downscale(hr, scale)
        return upscale(plain[1], lr), upscale(sharp[1], lr), hr

    def draw(share: float, image: str, across: int, down: int) -> list[Panel]:
        first, second, hr = both(image)
        top, left = corner(*hr.shape[:2], side, across, down)
        crops = [image[top : top + side, left : left + side] for image in (first, second, hr)]
        blend = (1 - share) * crops[0] + share * crops[1]
        labels = (plain[0], f"{100 * share:.0f} % {sharp[0]}", sharp[0])
        panels = []
        for label, sr in zip(labels, (crops[0], blend, crops[1]), strict=True):
            picture = to_uint8(sr)
            panels.append(Panel(f"{label}<br>{psnr(picture, crops[2], protocol, scale):.2f} dB", picture))
        return [*panels, Panel("HR<br>ground truth", crops[2])]

    share = ipy.FloatSlider(0.5, min=0, max=1, step=0.05, description=sharp[0])
    return Explorer({"share": share} | places(images, side), draw, adding(images, side))
