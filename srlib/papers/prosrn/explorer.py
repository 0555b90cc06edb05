"""Explorers of ProSRN: unroll it level by level, and blend it with ProSRGAN."""

from functools import lru_cache

import ipywidgets as ipy
import numpy as np

from srlib.core.color import to_uint8
from srlib.core.imresize import downscale
from srlib.core.metrics import psnr
from srlib.core.protocols import Protocol
from srlib.draw.widgets import Explorer, Panel, Pictures, check_trained, enlarge, hr_panel, psnr_panel
from srlib.scoring.evaluation import upscale


def unroll_explorer(
    families: dict[str, dict[int, object]], images: dict[str, np.ndarray], protocol: Protocol, *, side: int = 128
) -> Explorer:
    """Unroll a progressive network: a slider for the factor, and every image from LR to SR.

    families: by label, a network per factor (2, 4, 8, ...). images: HR images by name; LR is HR reduced by the factor, and each
    sub-SR image is scored against HR reduced to its size. side: of the crop in HR pixels. Shows LR, one picture per level (grey
    beyond the factor) and HR, all enlarged to the same size. Raises SRError without networks and for too small pictures.
    """
    check_trained(families, "train")
    factors = sorted(next(iter(families.values())))
    pictures = Pictures(images, factors[-1], side)
    side = pictures.side

    @lru_cache(maxsize=64)
    def unrolled(network: str, image: str, factor: int) -> list[tuple[int, str, np.ndarray]]:
        """Return (level, label, image), from LR to SR."""
        hr = pictures.hr[image]
        lr = downscale(hr, factor)
        levels = [(1, f"LR<br>{side // factor}x{side // factor}", lr)]
        for level in (f for f in factors if f <= factor):
            sr, target = to_uint8(upscale(families[network][level], lr)), downscale(hr, factor // level) if level < factor else hr
            name = f"SR x{level}" if level == factor else f"sub-SR x{level}"
            levels.append((level, f"{name}<br>{psnr(sr, target, protocol, level):.2f} dB, whole picture", sr))
        return levels

    def draw(network: str, factor: int, image: str, across: int, down: int) -> list[Panel]:
        panels = []
        for level, label, picture in unrolled(network, image, factor):
            crop = pictures.crop(picture, across, down, side * level // factor)
            panels.append(Panel(label, enlarge(crop, factor // level), "sr" if level == factor else "map"))
        grey = np.full((side, side, 3), 128, np.uint8)
        panels += [Panel(f"x{f}<br>beyond the factor", grey, "map") for f in factors if f > factor]
        return [*panels, hr_panel(pictures.crop(pictures.hr[image], across, down))]

    controls = {
        "network": ipy.Dropdown(options=list(families), description="network"),
        "factor": ipy.SelectionSlider(options=factors, value=factors[min(2, len(factors) - 1)], description="factor"),
    }
    return Explorer(controls, draw, pictures, protocol=protocol)


def blend_explorer(
    plain: tuple[str, object], sharp: tuple[str, object], images: dict[str, np.ndarray], protocol: Protocol, *, side: int = 96
) -> Explorer:
    """Blend the outputs of two networks of the same scale: a slider for the second one's share.

    plain, sharp: label and network. images: HR images by name. side: of the crop in HR pixels. Shows the first, the blend, the
    second and HR, with the PSNR of each crop.
    """
    scale = plain[1].scale
    pictures = Pictures(images, scale, side)

    @lru_cache(maxsize=32)
    def outputs(image: str) -> list[np.ndarray]:
        return [upscale(net, pictures.lr(image)) for _, net in (plain, sharp)]

    def draw(share: float, image: str, across: int, down: int) -> list[Panel]:
        first, second, hr = (pictures.crop(whole, across, down) for whole in (*outputs(image), pictures.hr[image]))
        mixed = (1 - share) * first + share * second
        srs = {plain[0]: first, f"{100 * share:.0f} % {sharp[0]}": mixed, sharp[0]: second}
        return [*(psnr_panel(label, to_uint8(sr), hr, protocol, scale) for label, sr in srs.items()), hr_panel(hr)]

    share = ipy.FloatSlider(0.5, min=0, max=1, step=0.05, description=sharp[0])
    return Explorer({"share": share}, draw, pictures, protocol=protocol)
