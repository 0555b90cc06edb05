"""An explorer of DDet: the kernels of a chosen pixel and their contributions, with components switched on and off."""

from functools import lru_cache

import ipywidgets as ipy
import numpy as np
import torch
from skimage.draw import rectangle_perimeter

from srlib.core.errors import SRError
from srlib.core.metrics import psnr
from srlib.core.protocols import Protocol
from srlib.draw.panels import signed_heatmap
from srlib.draw.widgets import Explorer, Panel, Pictures, hr_panel
from srlib.papers.ddet.analysis import colorize, inspect, luma_input, reshape_kernels
from srlib.papers.ddet.figures import kernel_heatmap
from srlib.papers.ddet.model import DDet

ADDED = 16.0  # grey levels in full colour, of corrections and changes
MARK = (255, 40, 40)


def _marked(image: np.ndarray, row: int, column: int, reach: int) -> np.ndarray:
    """Return an image with a frame around the extent of a pixel's largest kernel."""
    framed = image.copy()
    corners = (row - reach, column - reach), (row + reach, column + reach)
    framed[rectangle_perimeter(*corners, shape=image.shape[:2], clip=True)] = MARK
    return framed


def kernel_explorer(net: DDet, pairs: dict[str, tuple], protocol: Protocol, *, side: int = 96) -> Explorer:
    """Return an explorer of DDet's kernels at one pixel.

    net: a DDet with all components. pairs: (LR, HR) of one size by name. side: of what is shown, in pixels; the network sees
    up to 256 around it. Shows LR with the pixel, its kernels (positive weights red, negative blue), the correction by CDM, the
    output, its change by the components switched off, and HR. PSNR is that of the part shown. Outputs are cached.
    Raises SRError without pictures, and for pictures of two sizes.
    """
    for name, (lr, hr) in pairs.items():
        if lr.shape != hr.shape:
            raise SRError(f"{name}: LR is {lr.shape[:2]}, HR {hr.shape[:2]}; DDet needs pairs of one size")
    pictures = Pictures(pairs, 1, side)
    side = pictures.side

    def crop(*place) -> tuple[np.ndarray, np.ndarray, tuple[slice, slice]]:
        """Return the network's input, HR of the visible part, and where that part is in the input."""
        lr, hr, (top, left, height, width) = pictures.window(*place)
        visible = (slice(top, top + height), slice(left, left + width))
        return lr, hr[visible], visible

    @lru_cache(maxsize=4)
    @torch.no_grad()
    def padded_kernels(*place) -> list[torch.Tensor]:
        return net.eval().padded_kernels(luma_input(crop(*place)[0]))

    @lru_cache(maxsize=64)
    def inspected(cdm: bool, refine: bool, *place) -> tuple[list[np.ndarray], np.ndarray]:
        """Return the correction and each kernel's contribution, in grey levels, and the output as an RGB image."""
        lr, _, visible = crop(*place)
        inside = inspect(net, lr, cdm, refine, padded_kernels(*place))
        planes = torch.cat([inside.corrected - luma_input(lr), *inside.contributions])[:, 0].numpy() * 255
        return [plane[visible].copy() for plane in planes], colorize(inside.output, lr)[visible]

    def draw(cdm: bool, refine: bool, row: int, column: int, image: str, across: int, down: int) -> list[Panel]:
        pixel, place = (row, column), (image, across, down)
        lr, hr, visible = crop(*place)
        kernels = [per_pixel[visible][pixel] for per_pixel in reshape_kernels(padded_kernels(*place), *lr.shape[:2])]
        (correction, *contributions), output = inspected(cdm, refine, *place)
        _, complete = inspected(True, True, *place)
        full = max(float(np.abs(kernel).max()) for kernel in kernels)
        lr_psnr, psnr_now, psnr_complete = (f"{psnr(x, hr, protocol, 1):.2f} dB" for x in (lr[visible], output, complete))
        colours = f"red: +{ADDED:.0f}, blue: −{ADDED:.0f}"
        change = signed_heatmap((output.astype(float) - complete).mean(axis=2), ADDED)
        framed = _marked(lr[visible], row, column, max(map(len, kernels)) // 2)
        panels = [Panel(f"LR, {lr_psnr}<br>pixel {row}, {column}", framed, "map")]
        for kernel, levels in zip(kernels, contributions, strict=True):
            label = f"{len(kernel)}×{len(kernel)}, sum {kernel.sum():+.2f}<br>gives {levels[pixel]:+.1f} levels"
            panels.append(Panel(label, kernel_heatmap(kernel, side, full), "map"))
        return [
            *panels,
            Panel(f"CDM adds {correction[pixel]:+.1f} here<br>{colours}", signed_heatmap(correction, ADDED), "map"),
            Panel(f"result, {psnr_now}<br>all parts: {psnr_complete}", output),
            Panel(f"what the switches change<br>{'nothing is switched off' if cdm and refine else colours}", change, "map"),
            hr_panel(hr),
        ]

    controls = {
        "cdm": ipy.Checkbox(True, description="CDM"),
        "refine": ipy.Checkbox(True, description="refinement"),
        "row": ipy.IntSlider(side // 2, 0, side - 1, description="row"),
        "column": ipy.IntSlider(side // 2, 0, side - 1, description="column"),
    }
    return Explorer(controls, draw, pictures, step=5, protocol=protocol, pixel=("row", "column"))
