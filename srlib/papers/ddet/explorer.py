"""An explorer of DDet: the kernels of a chosen pixel and their contributions, with components switched on and off."""

from functools import lru_cache

import ipywidgets as ipy
import numpy as np
import torch

from srlib.core.errors import SRError
from srlib.core.metrics import psnr
from srlib.core.protocols import Protocol
from srlib.draw.panels import signed_heatmap
from srlib.draw.widgets import Explorer, Panel, places
from srlib.draw.windows import Pairs, Windows
from srlib.papers.ddet.analysis import colorize, inspect, luma_input, reshape_kernels
from srlib.papers.ddet.figures import kernel_heatmap
from srlib.papers.ddet.model import DDet

ADDED = 16.0  # grey levels in full colour, of corrections and changes
MARK = (255, 40, 40)


def _marked(image: np.ndarray, row: int, column: int, reach: int) -> np.ndarray:
    """Return an image with a frame around the extent of a pixel's largest kernel."""
    framed = image.copy()
    top, left = max(row - reach - 1, 0), max(column - reach - 1, 0)
    bottom, right = min(row + reach + 1, len(image) - 1), min(column + reach + 1, image.shape[1] - 1)
    framed[top, left : right + 1] = framed[bottom, left : right + 1] = MARK
    framed[top : bottom + 1, left] = framed[top : bottom + 1, right] = MARK
    return framed


def kernel_explorer(net: DDet, pictures: Pairs, protocol: Protocol, *, side: int = 96) -> Explorer:
    """Return an explorer of DDet's kernels at one pixel.

    net: a DDet with all components. pictures: (LR, HR) of one size by name. side: of what is shown, in pixels; the network sees
    up to 256 around it. Shows LR with the pixel, its kernels (positive weights red, negative blue), the correction by CDM, the
    output, its change by the components switched off, and HR. PSNR is that of the part shown. Outputs are cached.
    Raises SRError without pictures, and for pictures of two sizes.
    """
    for name, (lr, hr) in pictures.items():
        if lr.shape != hr.shape:
            raise SRError(f"{name}: LR is {lr.shape[:2]}, HR {hr.shape[:2]}; DDet needs pairs of one size")
    windows = Windows(pictures, 1, side)
    side = windows.side

    def crop(image: str, across: int, down: int) -> tuple[np.ndarray, np.ndarray, tuple[slice, slice]]:
        """Return the network's input, HR of the visible part, and where that part is in the input."""
        lr, hr, (top, left, height, width) = windows.box(image, across, down)
        visible = (slice(top, top + height), slice(left, left + width))
        return lr, hr[visible], visible

    @lru_cache(maxsize=4)
    @torch.no_grad()
    def padded_kernels(image: str, across: int, down: int) -> list[torch.Tensor]:
        return net.eval().padded_kernels(luma_input(crop(image, across, down)[0]))

    @lru_cache(maxsize=16)
    def visible_kernels(image: str, across: int, down: int) -> list[np.ndarray]:
        lr, _, visible = crop(image, across, down)
        return [kernels[visible].copy() for kernels in reshape_kernels(padded_kernels(image, across, down), *lr.shape[:2])]

    @lru_cache(maxsize=64)
    def inspected(image: str, across: int, down: int, cdm: bool, refine: bool) -> tuple[list[np.ndarray], np.ndarray]:
        """Return the correction and each kernel's contribution, in grey levels, and the output as an RGB image."""
        lr, _, visible = crop(image, across, down)
        inside = inspect(net, lr, cdm, refine, padded_kernels(image, across, down))
        planes = torch.cat([inside.corrected - luma_input(lr), *inside.contributions])[:, 0].numpy() * 255
        return [plane[visible].copy() for plane in planes], colorize(inside.output, lr)[visible]

    def draw(cdm: bool, refine: bool, row: int, column: int, image: str, across: int, down: int) -> list[Panel]:
        row, column, place = min(row, side - 1), min(column, side - 1), (image, across, down)
        lr, hr, visible = crop(*place)
        kernels = [per_pixel[row, column] for per_pixel in visible_kernels(*place)]
        (correction, *contributions), output = inspected(*place, cdm, refine)
        _, complete = inspected(*place, True, True)
        full = max(float(np.abs(kernel).max()) for kernel in kernels)
        lr_psnr, psnr_now, psnr_complete = (f"{psnr(x, hr, protocol, 1):.2f} dB" for x in (lr[visible], output, complete))
        framed = _marked(lr[visible], row, column, max(map(len, kernels)) // 2)
        colours = f"red: +{ADDED:.0f}, blue: −{ADDED:.0f}"
        change = signed_heatmap((output.astype(float) - complete).mean(axis=2), ADDED)
        return [
            Panel(f"LR, {lr_psnr}<br>pixel {row}, {column}", framed),
            *(
                Panel(
                    f"{len(kernel)}×{len(kernel)}, sum {kernel.sum():+.2f}<br>gives {levels[row, column]:+.1f} levels",
                    kernel_heatmap(kernel, side, full),
                )
                for kernel, levels in zip(kernels, contributions, strict=True)
            ),
            Panel(f"CDM adds {correction[row, column]:+.1f} here<br>{colours}", signed_heatmap(correction, ADDED)),
            Panel(f"result, {psnr_now}<br>all parts: {psnr_complete}", output),
            Panel(f"what the switches change<br>{'nothing is switched off' if cdm and refine else colours}", change),
            Panel("HR<br>ground truth", hr),
        ]

    controls: dict[str, ipy.Widget] = {
        "cdm": ipy.Checkbox(True, description="CDM"),
        "refine": ipy.Checkbox(True, description="refinement"),
        "row": ipy.IntSlider(side // 2, 0, side - 1, description="row"),
        "column": ipy.IntSlider(side // 2, 0, side - 1, description="column"),
    }
    return Explorer(controls | places(windows.wholes, windows.side, step=5), draw, windows.adding())
