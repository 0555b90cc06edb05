"""An explorer of DDet: choose a pixel, see its kernels and what each gives; switch parts off and see picture and PSNR change."""

from functools import lru_cache

import ipywidgets as ipy
import numpy as np
import torch

from srlib.core.errors import SRError
from srlib.core.metrics import psnr
from srlib.core.protocols import Protocol
from srlib.draw.widgets import Explorer, Panel, places
from srlib.draw.windows import Pairs, Windows
from srlib.papers.ddet.analysis import look, luma, picture, predicted, squares
from srlib.papers.ddet.figures import kernel_picture, signed_picture
from srlib.papers.ddet.model import DDet

ADDED = 16.0  # grey levels that the detail path adds, in full colour
MARK = (255, 40, 40)


def _marked(image: np.ndarray, row: int, column: int, reach: int) -> np.ndarray:
    """Return a picture with a frame around what the largest kernel of a pixel sees."""
    shown = image.copy()
    top, left = max(row - reach - 1, 0), max(column - reach - 1, 0)
    bottom, right = min(row + reach + 1, len(image) - 1), min(column + reach + 1, image.shape[1] - 1)
    shown[top, left : right + 1] = shown[bottom, left : right + 1] = MARK
    shown[top : bottom + 1, left] = shown[top : bottom + 1, right] = MARK
    return shown


def kernel_explorer(net: DDet, pictures: Pairs, protocol: Protocol, *, side: int = 96) -> Explorer:
    """Look at one pixel of what DDet does.

    net: a DDet with all parts. pictures: (LR, HR) of one size by name. side: of what is shown, in pixels; the network sees up to
    256 around it. Shows LR with the pixel, its kernels (red counts for, blue against), what the detail path adds, the result,
    what switching parts off has changed, and HR. PSNR is that of the part shown. What was computed for a place is remembered.
    Raises SRError without pictures, and for pictures of two sizes.
    """
    for name, (lr, hr) in pictures.items():
        if lr.shape != hr.shape:
            raise SRError(f"{name}: LR is {lr.shape[:2]}, HR {hr.shape[:2]}; DDet needs pairs of one size")
    windows = Windows(pictures, 1, side)
    side = windows.side

    def cut(image: str, across: int, down: int) -> tuple[np.ndarray, np.ndarray, tuple[slice, slice]]:
        """Return LR as the network sees it, HR as it is shown, and what of the first is shown."""
        lr, hr, (top, left, height, width) = windows.box(image, across, down)
        shown = (slice(top, top + height), slice(left, left + width))
        return lr, hr[shown], shown

    @lru_cache(maxsize=4)
    def heads(image: str, across: int, down: int) -> list[torch.Tensor]:
        return predicted(net, cut(image, across, down)[0])

    @lru_cache(maxsize=16)
    def seen_kernels(image: str, across: int, down: int) -> list[np.ndarray]:
        lr, _, shown = cut(image, across, down)
        return [one[shown].copy() for one in squares(heads(image, across, down), lr)]

    @lru_cache(maxsize=64)
    def made(image: str, across: int, down: int, cdm: bool, refine: bool):
        """What the detail path adds and what each kernel contributes, in grey levels, and the result as a picture."""
        lr, _, shown = cut(image, across, down)
        parts = look(net, lr, cdm, refine, heads(image, across, down))
        planes = torch.cat([parts.revealed - luma(lr), *parts.contributions])[:, 0].numpy() * 255
        return [plane[shown].copy() for plane in planes], picture(parts.result, lr)[shown]

    def draw(cdm: bool, refine: bool, row: int, column: int, image: str, across: int, down: int) -> list[Panel]:
        row, column, where = min(row, side - 1), min(column, side - 1), (image, across, down)
        lr, hr, shown = cut(*where)
        found = [one[row, column] for one in seen_kernels(*where)]
        (added, *given), result = made(*where, cdm, refine)
        everything = made(*where, True, True)[1]
        full = max(float(np.abs(one).max()) for one in found)
        decibel = [f"{psnr(one, hr, protocol, 1):.2f} dB" for one in (lr[shown], result, everything)]
        panels = [Panel(f"LR, {decibel[0]}<br>pixel {row}, {column}", _marked(lr[shown], row, column, max(map(len, found)) // 2))]
        for kernel, levels in zip(found, given, strict=True):
            label = f"{len(kernel)}×{len(kernel)}, sum {kernel.sum():+.2f}<br>gives {levels[row, column]:+.1f} levels"
            panels.append(Panel(label, kernel_picture(kernel, side, full)))
        change = signed_picture((result.astype(float) - everything).mean(axis=2), ADDED)
        said = "nothing is switched off" if cdm and refine else f"red: +{ADDED:.0f}, blue: −{ADDED:.0f}"
        return [
            *panels,
            Panel(
                f"CDM adds {added[row, column]:+.1f} here<br>red: +{ADDED:.0f}, blue: −{ADDED:.0f}", signed_picture(added, ADDED)
            ),
            Panel(f"result, {decibel[1]}<br>all parts: {decibel[2]}", result),
            Panel(f"what the switches change<br>{said}", change),
            Panel("HR<br>ground truth", hr),
        ]

    controls: dict[str, ipy.Widget] = {
        "cdm": ipy.Checkbox(True, description="CDM"),
        "refine": ipy.Checkbox(True, description="refinement"),
        "row": ipy.IntSlider(side // 2, 0, side - 1, description="row"),
        "column": ipy.IntSlider(side // 2, 0, side - 1, description="column"),
    }
    return Explorer(controls | places(windows.wholes, windows.side, step=5), draw, windows.adding())
