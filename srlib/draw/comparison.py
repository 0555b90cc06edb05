"""Visual comparison: crops of each method's result beside the ground truth, with error maps, and where to crop."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from srlib.core.color import to_rgb, to_uint8
from srlib.core.errors import SRError
from srlib.core.metrics import psnr
from srlib.core.protocols import COLORS, Protocol
from srlib.draw.panels import clear_axes, largest_window
from srlib.draw.style import DPI, GREY, use_style

WIDEST = 13  # inches


@dataclass(frozen=True)
class Example:
    """One row of a visual comparison.

    name: of the image. hr: uint8 `(H, W, 3)` or `(H, W)`. srs: method -> its output, same height and width, 0..255.
    box: top, left, height and width of the part that is shown, in HR pixels.
    """

    name: str
    hr: np.ndarray
    srs: Mapping[str, np.ndarray]
    box: tuple[int, int, int, int]


def error_map(sr: np.ndarray, hr: np.ndarray) -> np.ndarray:
    """Return |sr - hr| summed over R, G and B, `(H, W)` in grey levels; a grey image counts as three equal channels."""
    return np.abs(to_rgb(sr).astype(float) - to_rgb(hr).astype(float)).sum(axis=2)


def _cut(example: Example, image: np.ndarray, label: str) -> np.ndarray:
    top, left, height, width = example.box
    if image.shape[:2] != example.hr.shape[:2]:
        raise SRError(f"{label} of {example.name} is {image.shape[:2]}, HR is {example.hr.shape[:2]}; crop HR to the scale first")
    if min(top, left) < 0 or min(height, width) < 8 or top + height > image.shape[0] or left + width > image.shape[1]:
        raise SRError(f"box (={example.box}) of {example.name} must lie inside {image.shape[:2]} and be at least 8 pixels a side")
    return to_uint8(image[top : top + height, left : left + width])


def visual_comparison(examples: Sequence[Example], protocol: Protocol, scale: int, *, panel: float = 1.9) -> Figure:
    """Draw each example as a row of pictures, one per method and last the ground truth, over a row of their absolute errors.

    As many examples lie side by side as fit, the others below. All examples have the same methods and boxes of one size. Under
    each picture: the PSNR of the part that is shown, in the protocol's colours. All error maps share one scale. panel: width of
    a picture in inches; a pixel becomes a whole number of dots at 300 dpi. Raises SRError for sizes or methods that differ and
    boxes that leave the image.
    """
    if not examples:
        raise SRError("examples is empty; pass at least one")
    methods, (_, _, height, width) = list(examples[0].srs), examples[0].box
    for example in examples:
        if list(example.srs) != methods or example.box[2:] != (height, width):
            raise SRError(f"{example.name} has other methods or another size of box than {examples[0].name}; make them alike")
    hrs = [_cut(e, e.hr, "HR") for e in examples]
    srs = [[_cut(e, e.srs[m], m) for m in methods] for e in examples]
    errors = [[error_map(sr, hr) for sr in row] for row, hr in zip(srs, hrs, strict=True)]
    full = max(float(np.quantile([maps for row in errors for maps in row], 0.995)), 1.0)
    whole = dataclasses.replace(protocol, shave=0, shave_per_scale=0)

    use_style()
    dots = max(round(panel * DPI / width), 1)
    w, h = width * dots / DPI, height * dots / DPI
    gap, under, between, head, side, foot = 0.08, 0.28, 0.16, 0.32, 0.32, 0.46
    wide, tall = side + (len(methods) + 1) * (w + gap), 2 * h + under + between
    abreast = min(max(int(WIDEST // wide), 1), len(examples))
    size = np.round(DPI * np.array([abreast * wide, head + -(-len(examples) // abreast) * tall - between + foot])) / DPI
    fig = plt.figure(figsize=size)

    def show(image: np.ndarray, left: float, bottom: float, label: str = "", **options) -> Axes:
        """Draw a picture at a place in inches, rounded to whole dots, so that pixels stay sharp."""
        ax = fig.add_axes(np.round(DPI * np.array([left, bottom, w, h])) / DPI / [*size, *size])
        clear_axes(ax)
        ax.imshow(image, interpolation="nearest", aspect="auto", **options)
        ax.set_ylabel(label, labelpad=4)
        return ax

    for i, (example, hr) in enumerate(zip(examples, hrs, strict=True)):
        left, bottom = i % abreast * wide + side, size[1] - head - h - i // abreast * tall
        for j, (label, picture) in enumerate(zip([*methods, "HR (ground truth)"], [*srs[i], hr], strict=True)):
            ax = show(to_rgb(picture), left + j * (w + gap), bottom, example.name if j == 0 else "")
            ax.set_title(label if i < abreast else "", pad=5)
            if j < len(methods):
                ax.set_xlabel(f"{psnr(picture, hr, whole, scale):.2f} dB", labelpad=3)
        bottom -= under + h
        look = {"cmap": "magma", "vmin": 0, "vmax": full}
        for j, error in enumerate(errors[i]):
            ax = show(error, left + j * (w + gap), bottom, "|SR − HR|" if j == 0 else "", **look)
        place = [(left + len(methods) * (w + gap) + 0.06) / size[0], bottom / size[1], 0.12 / size[0], h / size[1]]
        bar = fig.colorbar(ax.images[0], cax=fig.add_axes(place), extend="max", extendfrac=0.03)
        bar.set_label("grey levels", fontsize=9)
        bar.outline.set_visible(False)
    caption = f"×{scale}; PSNR on {COLORS[protocol.color]}, of the part shown ({width}×{height} pixels)\n"
    caption += "|SR − HR|: absolute difference, R + G + B"
    fig.text(side / size[0], 0.07 / size[1], caption, fontsize=9, color=GREY, va="bottom")
    return fig


def _gradients(hr: np.ndarray) -> np.ndarray:
    grey = to_rgb(hr).astype(float).mean(axis=2)
    return np.abs(np.diff(grey, axis=0, append=grey[-1:])) + np.abs(np.diff(grey, axis=1, append=grey[:, -1:]))


def busiest_box(hr: np.ndarray, side: int) -> tuple[int, int, int, int]:
    """Return the square of `side` pixels with the largest sum of absolute gradients: where methods can differ most."""
    return largest_window(_gradients(hr), side)


def calmest_box(hr: np.ndarray, side: int) -> tuple[int, int, int, int]:
    """Return the square of `side` pixels with the smallest sum of absolute gradients: where there is least to get wrong."""
    return largest_window(-_gradients(hr), side)
