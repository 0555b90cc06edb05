"""Explorers: sliders beside pictures, for notebooks with a kernel, and the same picture as a static figure without one.

An explorer is controls plus one function from their values to labelled pictures. It updates the value of image widgets
through `observe`, when a slider is let go; no output widget and no `interact`, which can hang a headless run. The function runs
beside the kernel's main thread, so that the kernel stays free and a slider that moves on supersedes what is not drawn yet.
"""

import html
import io
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import ipywidgets as ipy
import numpy as np
from PIL import Image

from srlib.core.color import to_rgb, to_uint8
from srlib.core.errors import SRError
from srlib.data.images import read_image
from srlib.draw.figures import busiest_box, error_map

ZOOM = 3  # screen pixels per image pixel, at most
PAGE = 1120  # screen pixels that a row of pictures may take
ROW = 5  # pictures side by side that come before a larger zoom


@dataclass(frozen=True)
class Panel:
    """One picture of an explorer: uint8 `(H, W, 3)` and the line under it."""

    label: str
    image: np.ndarray


def zoom_of(panels: Sequence[Panel]) -> int:
    """Return the largest whole zoom at which all panels, or `ROW` of more, stand side by side, at least 1."""
    across = sum(panel.image.shape[1] for panel in panels[:ROW])
    return max(min(PAGE // across, ZOOM), 1)


def png(image: np.ndarray, zoom: int = ZOOM) -> bytes:
    """Return an image as PNG bytes, enlarged without interpolation."""
    out = io.BytesIO()
    Image.fromarray(image.repeat(zoom, axis=0).repeat(zoom, axis=1)).save(out, format="PNG", compress_level=1)
    return out.getvalue()


def error_picture(sr: np.ndarray, hr: np.ndarray, full: float = 96.0) -> np.ndarray:
    """Return `figures.error_map` as a uint8 picture: black is none, white is `full` grey levels or more."""
    return to_rgb(to_uint8(error_map(sr, hr) / full * 255))


LARGEST = 384  # pixels a side; of a larger picture that is uploaded the centre is taken, so that sliders stay quick


def decoded(name: str, content: bytes) -> np.ndarray:
    """Return the picture in a file's bytes as uint8 RGB; raises SRError for what is none."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / Path(name).name
        file.write_bytes(content)
        return to_rgb(read_image(file))


WORKER = ThreadPoolExecutor(1, thread_name_prefix="explorer")  # one thing is drawn at a time


class Explorer:
    """Controls above a row of pictures.

    controls: widgets by name. draw: called with their values, returns the panels, always as many of the same size.
    add: takes the name and the RGB pixels of a picture that the user has uploaded, makes it one that the control "image" can
    choose, and returns how LR comes from it; raises SRError for one that does not do. None: nothing can be uploaded.
    `view` is the widget to display; `panels` what it shows, once all moves are drawn; `figure()` draws the same without a kernel.
    """

    def __init__(
        self,
        controls: dict[str, ipy.Widget],
        draw: Callable[..., Sequence[Panel]],
        add: Callable[[str, np.ndarray], str] | None = None,
    ):
        self.controls, self._draw, self._add = controls, draw, add
        self.upload = ipy.FileUpload(accept="image/*", description="your picture")
        self.message = ipy.HTML()
        self.busy = ipy.HTML(layout=ipy.Layout(width="90px"))
        self.upload.observe(self._uploaded, names="value")
        for control in controls.values():
            if hasattr(control, "continuous_update"):
                control.continuous_update = False
            control.observe(self._update, names="value")
        self._moves = 0
        self._panels = list(draw(**self.values))
        self._images = [ipy.Image(format="png") for _ in self._panels]
        self._labels = [ipy.HTML() for _ in self._panels]
        columns = [ipy.VBox(pair) for pair in zip(self._images, self._labels, strict=True)]
        wrap = ipy.Layout(flex_flow="row wrap")
        above = [*controls.values(), *([self.upload] if add else []), self.busy, self.message]
        self.view = ipy.VBox([ipy.HBox(above, layout=wrap), ipy.HBox(columns, layout=wrap)])
        self._drawn: Future | None = None  # of the last move
        self._show(self._panels)

    @property
    def values(self) -> dict:
        return {name: control.value for name, control in self.controls.items()}

    @property
    def panels(self) -> list[Panel]:
        if self._drawn:
            self._drawn.result()  # raises what drawing has raised
        return self._panels

    def _uploaded(self, change) -> None:
        for file in change["new"]:
            name, chooser = file["name"], self.controls["image"]
            try:
                picture = decoded(name, bytes(file["content"]))
                top, left = (max(0, (side - LARGEST) // 2) for side in picture.shape[:2])
                centre = picture[top : top + LARGEST, left : left + LARGEST]
                how = self._add(name, centre)
            except SRError as error:
                self.message.value = html.escape(str(error))
                continue
            if name not in chooser.options:
                chooser.options = [*chooser.options, name]
            chooser.value = name
            part = "" if centre.shape == picture.shape else "its centre, "
            self.message.value = html.escape(f"{name}: {part}{centre.shape[1]}x{centre.shape[0]} pixels; {how}")

    def _update(self, _change) -> None:
        self._moves += 1
        self.message.value = ""
        self.busy.value = "computing …"
        self._drawn = WORKER.submit(self._redraw, self._moves, self.values)

    def _redraw(self, move: int, values: dict) -> None:
        if move != self._moves:  # a control has moved since
            return
        try:
            self._panels = list(self._draw(**values))
            self._show(self._panels)
        except Exception as error:
            self.message.value = html.escape(f"{type(error).__name__}: {error}")
            raise
        finally:
            if move == self._moves:
                self.busy.value = ""

    def _show(self, panels: Sequence[Panel]) -> None:
        zoom = zoom_of(panels)
        for panel, image, label in zip(panels, self._images, self._labels, strict=True):
            image.value = png(panel.image, zoom)
            style = f"max-width:{panel.image.shape[1] * zoom}px;line-height:1.3"
            label.value = f"<div style='{style}'>{panel.label}</div>"

    def figure(self):
        """Return a matplotlib figure of the panels, for readers without a kernel."""
        import matplotlib.pyplot as plt

        panels = self.panels
        rows = -(-len(panels) // 8)
        columns = -(-len(panels) // rows)
        fig, axes = plt.subplots(rows, columns, figsize=(2.6 * columns, 3.1 * rows), layout="constrained", squeeze=False)
        for ax in axes.flat:
            ax.set_axis_off()
        for panel, ax in zip(panels, axes.flat, strict=False):
            ax.imshow(panel.image, interpolation="nearest")
            ax.set_title(panel.label.replace("<br>", "\n"), fontsize=9)
        return fig


def places(images: Mapping[str, np.ndarray], side: int, step: int = 1) -> dict[str, ipy.Widget]:
    """Return the controls that every explorer ends with: which picture, and where in it, in per cent.

    images: HR by name. side: of the square that is shown, in HR pixels; they begin at the busiest one of the first picture.
    """
    hr = next(iter(images.values()))
    at = [
        round(100 * start / max(length - side, 1) / step) * step
        for start, length in zip(busiest_box(hr, side)[:2], hr.shape[:2], strict=True)
    ]
    return {
        "image": ipy.Dropdown(options=list(images), description="image"),
        "across": ipy.IntSlider(at[1], 0, 100, step=step, description="across %"),
        "down": ipy.IntSlider(at[0], 0, 100, step=step, description="down %"),
    }


def corner(height: int, width: int, side: int, across: int, down: int) -> tuple[int, int]:
    """Return top and left of a square of `side` pixels at a place given in per cent."""
    return (height - side) * down // 100, (width - side) * across // 100


def adding(
    images: dict, least: int, make: Callable[[np.ndarray], object] = lambda hr: hr, how: str = "LR is reduced from it"
) -> Callable[[str, np.ndarray], str]:
    """Return an `Explorer`'s `add` for pictures by name, of at least `least` pixels a side.

    make: turns HR into what `images` holds. how: what the reader is told of LR.
    """

    def add(name: str, image: np.ndarray) -> str:
        if min(image.shape[:2]) < least:
            raise SRError(f"{name} has {image.shape[1]}x{image.shape[0]} pixels; a picture needs at least {least} a side here")
        if name in images:
            raise SRError(f"there is a picture {name} already; give yours another name")
        images[name] = make(image)
        return how

    return add
