"""Explorers: sliders beside pictures, for notebooks with a kernel, and the same picture as a static figure without one.

An explorer is controls plus one function from their values to labelled pictures. It updates the value of image widgets
through `observe`, when a slider is let go; no output widget and no `interact`, which can hang a headless run.
"""

import html
import io
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import ipywidgets as ipy
import numpy as np
from PIL import Image

from srlib.color import to_rgb
from srlib.data.images import read_image
from srlib.errors import SRError
from srlib.figures import error_map

ZOOM = 3  # screen pixels per image pixel, at most
PAGE = 1120  # screen pixels that a row of pictures may take


@dataclass(frozen=True)
class Panel:
    """One picture of an explorer: uint8 `(H, W, 3)` and the line under it."""

    label: str
    image: np.ndarray


def zoom_of(panels: Sequence[Panel]) -> int:
    """Return the largest whole zoom at which all panels stand side by side, at least 1."""
    across = sum(panel.image.shape[1] for panel in panels)
    return max(min(PAGE // across, ZOOM), 1)


def png(image: np.ndarray, zoom: int = ZOOM) -> bytes:
    """Return an image as PNG bytes, enlarged without interpolation."""
    out = io.BytesIO()
    Image.fromarray(image.repeat(zoom, axis=0).repeat(zoom, axis=1)).save(out, format="PNG")
    return out.getvalue()


def error_picture(sr: np.ndarray, hr: np.ndarray, full: float = 96.0) -> np.ndarray:
    """Return `figures.error_map` as a uint8 picture: black is none, white is `full` grey levels or more."""
    return to_rgb((error_map(sr, hr) / full * 255).clip(0, 255).astype(np.uint8))


LARGEST = 384  # pixels a side; of a larger picture that is uploaded the centre is taken, so that sliders stay quick


def decoded(name: str, content: bytes) -> np.ndarray:
    """Return the picture in a file's bytes as uint8 RGB; raises SRError for what is none."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / Path(name).name
        file.write_bytes(content)
        return to_rgb(read_image(file))


class Explorer:
    """Controls above a row of pictures.

    controls: widgets by name. draw: called with their values, returns the panels, always as many of the same size.
    add: takes the name and the RGB pixels of a picture that the user has uploaded, and makes it one that the control "image"
    can choose; raises SRError for one that does not do. None: nothing can be uploaded.
    `view` is the widget to display; `panels` holds what it shows now; `figure()` draws the same without a kernel.
    """

    def __init__(
        self,
        controls: dict[str, ipy.Widget],
        draw: Callable[..., Sequence[Panel]],
        add: Callable[[str, np.ndarray], None] | None = None,
    ):
        self.controls, self._draw, self._add = controls, draw, add
        self.upload = ipy.FileUpload(accept="image/*", description="your picture")
        self.message = ipy.HTML()
        self.upload.observe(self._uploaded, names="value")
        for control in controls.values():
            if hasattr(control, "continuous_update"):
                control.continuous_update = False
            control.observe(self._update, names="value")
        self.panels = list(draw(**self.values))
        self._images = [ipy.Image(format="png") for _ in self.panels]
        self._labels = [ipy.HTML() for _ in self.panels]
        columns = [ipy.VBox(pair) for pair in zip(self._images, self._labels, strict=True)]
        wrap = ipy.Layout(flex_flow="row wrap")
        above = [*controls.values(), *([self.upload, self.message] if add else [])]
        self.view = ipy.VBox([ipy.HBox(above, layout=wrap), ipy.HBox(columns, layout=wrap)])
        self._show()

    @property
    def values(self) -> dict:
        return {name: control.value for name, control in self.controls.items()}

    def _uploaded(self, change) -> None:
        for file in change["new"]:
            name, chooser = file["name"], self.controls["image"]
            try:
                picture = decoded(name, bytes(file["content"]))
                top, left = (max(0, (side - LARGEST) // 2) for side in picture.shape[:2])
                centre = picture[top : top + LARGEST, left : left + LARGEST]
                self._add(name, centre)
            except SRError as error:
                self.message.value = html.escape(str(error))
                continue
            if name not in chooser.options:
                chooser.options = [*chooser.options, name]
            chooser.value = name
            whole = centre.shape == picture.shape
            self.message.value = html.escape(
                f"{name}: {'' if whole else 'its centre, '}{centre.shape[1]}x{centre.shape[0]} pixels"
            )

    def _update(self, _change) -> None:
        self.panels = list(self._draw(**self.values))
        self._show()

    def _show(self) -> None:
        zoom = zoom_of(self.panels)
        for panel, image, label in zip(self.panels, self._images, self._labels, strict=True):
            image.value = png(panel.image, zoom)
            style = f"max-width:{panel.image.shape[1] * zoom}px;line-height:1.3"
            label.value = f"<div style='{style}'>{panel.label}</div>"

    def figure(self):
        """Return a matplotlib figure of the panels, for readers without a kernel."""
        import matplotlib.pyplot as plt

        rows = -(-len(self.panels) // 8)
        columns = -(-len(self.panels) // rows)
        fig, axes = plt.subplots(rows, columns, figsize=(2.6 * columns, 3.1 * rows), layout="constrained", squeeze=False)
        for ax in axes.flat:
            ax.set_axis_off()
        for panel, ax in zip(self.panels, axes.flat, strict=False):
            ax.imshow(panel.image, interpolation="nearest")
            ax.set_title(panel.label.replace("<br>", "\n"), fontsize=9)
        return fig


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Clip to 0..255, round half up and return uint8."""
    return np.floor(image.clip(0, 255) + 0.5).astype(np.uint8)


def places(images: dict[str, np.ndarray]) -> dict[str, ipy.Widget]:
    """Return the controls that every explorer ends with: which picture, and where in it."""
    return {
        "image": ipy.Dropdown(options=list(images), description="image"),
        "across": ipy.IntSlider(50, 0, 100, description="across %"),
        "down": ipy.IntSlider(50, 0, 100, description="down %"),
    }


def corner(height: int, width: int, side: int, across: int, down: int) -> tuple[int, int]:
    """Return top and left of a square of `side` pixels at a place given in per cent."""
    return (height - side) * down // 100, (width - side) * across // 100


def adding(images: dict[str, np.ndarray], least: int) -> Callable[[str, np.ndarray], None]:
    """Return an `Explorer`'s `add` for HR images by name, of at least `least` pixels a side."""

    def add(name: str, image: np.ndarray) -> None:
        if min(image.shape[:2]) < least:
            raise SRError(f"{name} has {image.shape[1]}x{image.shape[0]} pixels; a picture needs at least {least} a side here")
        if name in images:
            raise SRError(f"there is a picture {name} already; give yours another name")
        images[name] = image

    return add
