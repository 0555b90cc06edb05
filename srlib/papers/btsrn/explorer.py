"""An explorer that compares networks with bicubic interpolation: split, block, crop, error map."""

from functools import lru_cache

import ipywidgets as ipy
import numpy as np

from srlib.core.color import to_uint8
from srlib.core.imresize import imresize
from srlib.core.protocols import Protocol
from srlib.draw.widgets import Explorer, Panel, Pictures, check_trained, error_panel, hr_panel, psnr_panel
from srlib.scoring.evaluation import upscale


def comparison_explorer(
    families: dict[str, dict[str, object]], images: dict[str, np.ndarray], protocol: Protocol, *, side: int = 96
) -> Explorer:
    """Compare a network with bicubic interpolation on a crop: sliders for the network, the picture and the place.

    families: for each control ("split", "block") the networks by label, all of one scale; the control moved last decides.
    images: HR images by name. side: of the crop in HR pixels, reduced to the smallest picture.
    Shows SR and error of bicubic and of the network, and HR. Raises SRError without networks.
    """
    networks = {(family, label): net for family, members in families.items() for label, net in members.items()}
    check_trained(networks, "ablate")
    scale = next(iter(networks.values())).scale
    pictures = Pictures(images, scale, side)
    margin = (1 + max(4, *(net.context for net in networks.values()))) * scale  # one more for squares between LR pixels
    last = {"family": next(iter(families)), "values": {}}

    @lru_cache(maxsize=256)
    def crops(key: tuple[str, str] | None, image: str, across: int, down: int) -> tuple[np.ndarray, np.ndarray]:
        """Return SR and HR of the square; key: of the network, None for bicubic."""
        lr, hr, (y, x, height, width) = pictures.window(image, across, down, pictures.side + 2 * margin)
        sr = to_uint8(upscale(networks[key], lr) if key else imresize(lr.astype(float), scale))
        return sr[y : y + height, x : x + width], hr[y : y + height, x : x + width]

    def draw(image: str, across: int, down: int, **chosen: str) -> list[Panel]:
        moved = [family for family, label in chosen.items() if last["values"].get(family, label) != label]
        last["family"], last["values"] = (moved or [last["family"]])[0], dict(chosen)
        key, panels = (last["family"], chosen[last["family"]]), []
        for label, network in (("Bicubic", None), (key[1], key)):
            sr, hr = crops(network, image, across, down)
            panels += [psnr_panel(label, sr, hr, protocol, scale), error_panel(label, sr, hr)]
        return [*panels, hr_panel(hr)]

    controls = {family: ipy.SelectionSlider(options=list(members), description=family) for family, members in families.items()}
    return Explorer(controls, draw, pictures, protocol=protocol)
