"""Pictures side by side: grids, heat maps, crops of each method's result beside HR with error maps, and where to crop."""

import dataclasses
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image, ImageDraw

from srlib.core.color import to_rgb, to_uint8
from srlib.core.errors import SRError
from srlib.core.metrics import psnr
from srlib.core.protocols import COLORS, Protocol
from srlib.draw.style import DPI, GREY, note, subplots, use_style

SIGNED = plt.get_cmap("RdBu_r")  # blue below zero, white at zero, red above; safe for colour-blind readers
WIDEST, PANEL = 13.1, 1.9  # inches: of a visual comparison, and about of a picture in it
CROP = 128  # HR pixels a side of the part that a visual comparison shows
FRAME = "#d60000"


def signed_heatmap(values: np.ndarray, full: float) -> np.ndarray:
    """Return values `(H, W)` as a uint8 RGB image: white is 0, red `full` and more, blue -`full` and less."""
    return to_uint8(255 * SIGNED(np.clip(values / full, -1, 1) / 2 + 0.5)[..., :3])


def window_sums(values: np.ndarray, side: int) -> np.ndarray:
    """Return the sum of each `side` by `side` window of `(H, W)`, `(H - side + 1, W - side + 1)`."""
    integral = np.pad(values.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    return integral[side:, side:] - integral[:-side, side:] - integral[side:, :-side] + integral[:-side, :-side]


def largest_window(values: np.ndarray, side: int) -> tuple[int, int, int, int]:
    """Return the square of `(H, W)` with the largest sum: top, left, height and width, at most `side` pixels each."""
    side = min(side, *values.shape)
    sums = window_sums(values, side)
    top, left = np.unravel_index(sums.argmax(), sums.shape)
    return int(top), int(left), side, side


def clear_axes(ax: Axes) -> None:
    """Remove ticks, grid and frame; labels stay."""
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    ax.spines[:].set_visible(False)


def show_image(ax: Axes, image: np.ndarray, label: str = "") -> None:
    """Show an image without ticks, grid and frame, a label below it."""
    clear_axes(ax)
    ax.imshow(to_rgb(image), interpolation="none")
    ax.set_xlabel(label, fontsize=9, labelpad=3)


def image_grid(rows: Mapping[str, Sequence[tuple[str, np.ndarray]]], about: str = "", operators: Sequence[str] = ()) -> Figure:
    """Draw rows of (label, image), all of one size, the row's name at its left and each label below its image.

    about: a line below the figure. operators: signs between neighbours of every row ("→", "+", "="), one fewer than images.
    """
    columns = max(len(row) for row in rows.values())
    height, width = next(iter(rows.values()))[0][1].shape[:2]
    panel = min(1.75, 12 / columns)
    lines = max(label.count("\n") + 1 for row in rows.values() for label, _ in row)
    total = columns * (panel + 0.05) + 0.4
    below = 0.14 + 0.16 * math.ceil(len(about) / (15 * total)) if about else 0
    tall = len(rows) * (panel * height / width + 0.14 + 0.16 * lines) + below
    fig, axes = subplots(len(rows), columns, total, tall, squeeze=False)
    fig.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.12 if operators else 0, hspace=0)
    for line, (name, row) in zip(axes, rows.items(), strict=True):
        for ax in line:
            clear_axes(ax)
            ax.set_anchor("N")
        line[0].set_ylabel(name)
        for ax, (label, image) in zip(line, row, strict=False):
            show_image(ax, image, label)
        for ax, sign in zip(line[1:], operators, strict=bool(operators)):
            look = {"ha": "center", "va": "center", "fontsize": 14, "color": "0.25", "in_layout": False}
            ax.text(-0.08, 0.5, sign, transform=ax.transAxes, **look)
    note(fig, about)
    return fig


def framed(image: np.ndarray, box: tuple[int, int, int, int], side: int = 320) -> np.ndarray:
    """Return a whole uint8 picture as an RGB square of `side` pixels, white beside it, with a red frame around a box."""
    top, left, height, width = box
    factor = side / max(image.shape[:2])
    picture = Image.fromarray(to_rgb(image)).resize([round(factor * n) for n in image.shape[1::-1]], Image.Resampling.LANCZOS)
    corners = [round(factor * n) for n in (left, top, left + width - 1, top + height - 1)]
    draw, line = ImageDraw.Draw(picture), side // 80
    edge = line // 2 + 1  # white, on both sides of the red line
    around = [n + d for n, d in zip(corners, (-edge, -edge, edge, edge), strict=True)]
    draw.rectangle(around, outline="white", width=line + 2 * edge)
    draw.rectangle(corners, outline=FRAME, width=line)
    square = Image.new("RGB", (side, side), "white")
    square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return np.asarray(square)


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


def _overview(fig: Figure, example: Example, left: float, top: float, width: float, height: float) -> Axes:
    """Draw an example's whole HR picture, with a frame where its box is and its name below.

    left, top: of the picture; width, height: that it takes at most, with its name; all in inches.
    """
    name = textwrap.fill(example.name.replace(" dB", "\N{NO-BREAK SPACE}dB"), int(12 * width))
    height -= 0.1 + 0.17 * (name.count("\n") + 1)
    rows, columns = example.hr.shape[:2]
    inch = min(width / columns, height / rows)  # of a pixel
    place = np.array([left + (width - columns * inch) / 2, top - rows * inch, columns * inch, rows * inch])
    dots = 2 * np.round(DPI * place / 2).astype(int)
    ax = fig.add_axes(dots / DPI / np.tile(fig.get_size_inches(), 2))
    clear_axes(ax)
    picture = Image.fromarray(to_rgb(example.hr))
    if picture.width > dots[2] / 2:  # two dots a pixel are enough, and the file is small
        picture = picture.resize(dots[2:] // 2, Image.Resampling.LANCZOS)
    ax.imshow(picture, interpolation="none", aspect="auto", extent=(-0.5, columns - 0.5, rows - 0.5, -0.5))
    ax.set_xlabel(name, labelpad=3)
    y, x, box_height, box_width = example.box
    for color, line in (("white", 2.6), (FRAME, 1.3)):  # visible on any picture
        ax.add_patch(Rectangle((x - 0.5, y - 0.5), box_width, box_height, fill=False, ec=color, lw=line, clip_on=False))
    return ax


def visual_comparison(examples: Sequence[Example], protocol: Protocol, scale: int, about: str = "") -> Figure:
    """Draw each example as the whole picture with a frame around its box, beside it the part in the box: a picture per method and
    last the ground truth, over their absolute errors.

    As many examples lie side by side as fit, the others below. All examples have the same methods and boxes of one size. Under
    each picture: the PSNR of the part that is shown, in the protocol's colours. All error maps share one scale. A pixel
    becomes a whole number of dots at 300 dpi. about: a line below, such as on what is missing. Raises SRError for sizes or
    methods that differ and boxes that leave the image.
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
    gap, under, between, head, edge, label = 0.08, 0.28, 0.22, 0.32, 0.1, 0.3
    side = edge + PANEL + label  # of the overview
    fitting = (WIDEST - side) / (len(methods) + 1) - gap
    dots = max(min(round(PANEL * DPI / width), int(fitting * DPI / width)), 1)
    w, h = width * dots / DPI, height * dots / DPI
    wide, tall = side + (len(methods) + 1) * (w + gap), 2 * h + under + between
    abreast = min(max(int(WIDEST // wide), 1), len(examples))
    lines = [f"×{scale}; PSNR on {COLORS[protocol.color]}, of the part shown ({width}×{height} pixels, framed)"]
    lines += ["|SR − HR|: absolute difference, R + G + B"]
    lines += textwrap.wrap(about, int(14 * abreast * wide))
    foot = 0.2 + 0.16 * len(lines)
    size = np.round(DPI * np.array([abreast * wide, head + -(-len(examples) // abreast) * tall - between + foot])) / DPI
    fig = plt.figure(figsize=size)

    def show(image: np.ndarray, left: float, bottom: float, label: str = "", **options) -> Axes:
        """Draw a picture at a place in inches, rounded to whole dots, so that pixels stay sharp."""
        ax = fig.add_axes(np.round(DPI * np.array([left, bottom, w, h])) / DPI / [*size, *size])
        clear_axes(ax)
        ax.imshow(image, interpolation="none", aspect="auto", **options)  # an SVG has the pixels as they are
        ax.set_ylabel(label, labelpad=4)
        return ax

    for i, (example, hr) in enumerate(zip(examples, hrs, strict=True)):
        left, top = i % abreast * wide + side, size[1] - head - i // abreast * tall
        _overview(fig, example, left - side + edge, top, PANEL, 2 * h + under)
        for j, (name, picture) in enumerate(zip([*methods, "HR (ground truth)"], [*srs[i], hr], strict=True)):
            ax = show(to_rgb(picture), left + j * (w + gap), top - h)
            ax.set_title(name if i < abreast else "", pad=5)
            if j < len(methods):
                ax.set_xlabel(f"{psnr(picture, hr, whole, scale):.2f} dB", labelpad=3)
        bottom = top - 2 * h - under
        look = {"cmap": "magma", "vmin": 0, "vmax": full}
        for j, error in enumerate(errors[i]):
            ax = show(error, left + j * (w + gap), bottom, "|SR − HR|" if j == 0 else "", **look)
        place = [(left + len(methods) * (w + gap) + 0.06) / size[0], bottom / size[1], 0.12 / size[0], h / size[1]]
        bar = fig.colorbar(ax.images[0], cax=fig.add_axes(place), extend="max", extendfrac=0.03)
        bar.set_label("grey levels", fontsize=9)
        bar.outline.set_visible(False)
    fig.text(edge / size[0], 0.07 / size[1], "\n".join(lines), fontsize=9, color=GREY, va="bottom")
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
