"""An explorer that compares networks with bicubic interpolation: split, block, crop, error map."""

from functools import lru_cache

import ipywidgets as ipy
import numpy as np

from srlib.core.color import to_rgb, to_uint8
from srlib.core.errors import SRError
from srlib.core.imresize import downscale, imresize
from srlib.core.metrics import psnr
from srlib.core.protocols import Protocol
from srlib.draw.widgets import Explorer, Panel, adding, corner, error_picture, places
from srlib.scoring.evaluation import upscale


def comparison_explorer(
    families: dict[str, dict[str, object]],
    images: dict[str, np.ndarray],
    protocol: Protocol,
    *,
    side: int = 96,
) -> Explorer:
    """Compare a network with bicubic interpolation on a crop: sliders for the network, the picture and the place.

    families: for each control ("split", "block") the networks by label, all of one scale; the control moved last decides.
    images: HR images by name. side: of the crop in HR pixels, reduced to the smallest picture.
    Shows SR and error of bicubic and of the network, and HR. Raises SRError without networks.
    """
    images = dict(images)  # uploaded ones come in addition
    networks = {(family, name): net for family, members in families.items() for name, net in members.items()}
    if not networks:
        raise SRError("no trained network to explore yet: run the ablate notebook of this profile first")
    scale = next(iter(networks.values())).scale
    side = min(side, *(min(image.shape[:2]) for image in images.values()))
    side -= side % scale
    last = {"family": next(iter(families)), "values": {}}

    @lru_cache(maxsize=32)
    def small(image: str) -> np.ndarray:
        return downscale(to_rgb(images[image]), scale)

    @lru_cache(maxsize=256)
    def crop(key: tuple[str, str] | None, image: str, top: int, left: int) -> np.ndarray:
        """Upscale the crop with a margin of the network's receptive field."""
        margin = 4 if key is None else networks[key].context
        lr = small(image)
        y0, x0 = max(top - margin, 0), max(left - margin, 0)
        lr = lr[y0 : top + side // scale + margin, x0 : left + side // scale + margin]
        sr = imresize(lr.astype(float), scale) if key is None else upscale(networks[key], lr)
        y, x = (top - y0) * scale, (left - x0) * scale
        return to_uint8(sr[y : y + side, x : x + side])

    def draw(image: str, across: int, down: int, **chosen) -> list[Panel]:
        moved = [family for family, name in chosen.items() if last["values"].get(family, name) != name]
        last["family"], last["values"] = (moved or [last["family"]])[0], dict(chosen)
        key = (last["family"], chosen[last["family"]])
        height, width = small(image).shape[:2]
        top, left = corner(height, width, side // scale, across, down)
        hr = to_rgb(images[image])[top * scale : top * scale + side, left * scale : left * scale + side]
        panels = []
        for label, sr in (
            ("Bicubic", crop(None, image, top, left)),
            (key[1], crop(key, image, top, left)),
        ):
            panels.append(Panel(f"{label}<br>{psnr(sr, hr, protocol, scale):.2f} dB", sr))
            panels.append(Panel(f"|{label} - HR|<br>white: 96 levels", error_picture(sr, hr)))
        return [*panels, Panel("HR<br>ground truth", hr)]

    controls: dict[str, ipy.Widget] = {
        family: ipy.SelectionSlider(options=list(members), description=family) for family, members in families.items()
    }
    return Explorer(controls | places(images, side), draw, adding(images, side))
