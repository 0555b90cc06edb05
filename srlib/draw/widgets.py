"""Explorers: sliders beside pictures, for notebooks with a kernel, and the same picture as a static figure without one.

An explorer is controls plus one function from their values to labelled pictures. It updates the value of image widgets
through `observe`, when a slider is let go; no output widget and no `interact`, which can hang a headless run. The function runs
beside the kernel's main thread, so that the kernel stays free and a slider that moves on supersedes what is not drawn yet.
"""

import html
import importlib.util
import io
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import ipywidgets as ipy
import numpy as np
from PIL import Image

from srlib.core.color import to_rgb, to_uint8
from srlib.core.errors import SRError
from srlib.core.imresize import downscale, modcrop
from srlib.core.metrics import psnr
from srlib.core.protocols import Protocol
from srlib.data.camera import photograph
from srlib.data.images import center_crop, read_image
from srlib.draw.panels import busiest_box, error_map
from srlib.draw.style import subplots

ZOOM = 3  # screen pixels per image pixel, at most
PAGE = 1120  # screen pixels that a row of pictures may take
ROW = 5  # pictures side by side that come before a larger zoom
LARGEST = 384  # pixels a side; of a larger picture that is uploaded the centre is taken, so that sliders stay quick
WINDOW = 256  # HR pixels a side; what a network sees of a picture around the place that is chosen
VIEWER = importlib.util.find_spec("anywidget") is not None  # without it explorers show plain images
WORKER = ThreadPoolExecutor(1, thread_name_prefix="explorer")  # one thing is drawn at a time


class Panel(NamedTuple):
    """One picture of an explorer: the line under it, and uint8 `(H, W, 3)`.

    kind: "sr", whose visible part is scored; "hr", which it is scored against; "map" for what has no PSNR.
    """

    label: str
    image: np.ndarray
    kind: str = "sr"


def psnr_panel(label: str, image: np.ndarray, hr: np.ndarray, protocol: Protocol, scale: int) -> Panel:
    """Return a panel with the PSNR (dB) of an image under its label."""
    return Panel(f"{label}<br>{psnr(image, hr, protocol, scale):.2f} dB", image)


def error_panel(label: str, sr: np.ndarray, hr: np.ndarray) -> Panel:
    """Return a panel with the `error_picture` of an image."""
    return Panel(f"|{label} - HR|<br>white: 96 levels", error_picture(sr, hr), "map")


def hr_panel(hr: np.ndarray) -> Panel:
    """Return the panel that the others are scored against."""
    return Panel("HR<br>ground truth", hr, "hr")


def error_picture(sr: np.ndarray, hr: np.ndarray) -> np.ndarray:
    """Return `figures.error_map` as a uint8 picture: black is none, white is 96 grey levels or more."""
    return to_rgb(to_uint8(error_map(sr, hr) / 96 * 255))


def enlarge(image: np.ndarray, factor: int) -> np.ndarray:
    """Enlarge an image without interpolation."""
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


def check_trained(networks: Collection, notebook: str) -> None:
    """Raise SRError where there is no network to explore. notebook: the one that trains them."""
    if not networks:
        raise SRError(f"no trained network to explore yet: run the {notebook} notebook of this profile first")


class Pictures:
    """The pictures of an explorer by name, a reader's own among them, and the square of them that is shown.

    pictures: HR images, or pairs (LR, HR) of camera images. LR of the first is their reduction, and of a reader's picture beside
    pairs a simulated photograph of it. side: of the square, in HR pixels, reduced to the smallest picture; None: pictures are
    shown whole. least: pixels a side that a reader's picture needs, where they are shown whole.
    Raises SRError without pictures and for pictures smaller than the scale.
    """

    def __init__(self, pictures: Mapping[str, np.ndarray | tuple], scale: int = 1, side: int | None = None, least: int = 1):
        if not pictures:
            raise SRError("no pictures to explore; give a set of pairs that has some")
        self.scale = scale
        pairs = {name: picture if isinstance(picture, tuple) else (None, picture) for name, picture in pictures.items()}
        self.hr = {name: modcrop(to_rgb(hr), scale) for name, (_, hr) in pairs.items()}
        self._lr = {name: lr for name, (lr, _) in pairs.items() if lr is not None}
        self._paired = bool(self._lr)
        self.side = min(side, *(min(hr.shape[:2]) for hr in self.hr.values())) // scale * scale if side else None
        self.least = self.side or least

    def lr(self, name: str) -> np.ndarray:
        """Return the LR image of a picture, uint8 `(h, w, 3)`: its own, or the reduced HR image."""
        if name not in self._lr:
            self._lr[name] = downscale(self.hr[name], self.scale)
        return self._lr[name]

    def add(self, name: str, image: np.ndarray) -> str:
        """Add a picture; return how LR comes from it. Raises SRError for a name that is taken and for too few pixels."""
        if min(image.shape[:2]) < self.least:
            size = f"{image.shape[1]}x{image.shape[0]}"
            raise SRError(f"{name} has {size} pixels; a picture needs at least {self.least} a side here")
        if name in self.hr:
            raise SRError(f"there is a picture {name} already; give yours another name")
        if self._paired:
            self._lr[name] = photograph(image, self.scale, seed=0)
        self.hr[name] = modcrop(image, self.scale)
        return "LR is a simulated photograph of it" if self._paired else "LR is reduced from it"

    def controls(self, step: int = 1) -> dict[str, ipy.Widget]:
        """Return the controls that every explorer ends with: which picture, and where in it, in per cent.

        The square begins at the busiest place of the first picture. step: of the place.
        """
        chooser = {"image": ipy.Dropdown(options=list(self.hr), description="image")}
        if not self.side:
            return chooser
        hr = next(iter(self.hr.values()))
        starts = zip(busiest_box(hr, self.side)[:2], hr.shape[:2], strict=True)
        down, across = (round(100 * start / max(length - self.side, 1) / step) * step for start, length in starts)
        sliders = {"across": across, "down": down}
        return chooser | {name: ipy.IntSlider(at, 0, 100, step, description=f"{name} %") for name, at in sliders.items()}

    def crop(self, image: np.ndarray, across: int, down: int, side: int | None = None) -> np.ndarray:
        """Return the square at a place in per cent. side: where the image is smaller than HR, that of the square in it."""
        side = side or self.side
        top, left = ((length - side) * at // 100 for length, at in zip(image.shape[:2], (down, across), strict=True))
        return image[top : top + side, left : left + side]

    def window(self, name: str, across: int, down: int, width: int = WINDOW) -> tuple[np.ndarray, np.ndarray, tuple]:
        """Return LR and HR around the square, `width` HR pixels a side or all there are, and the box of the square in HR:
        top, left, height, width."""
        lr, hr, scale, corners = self.lr(name), self.hr[name], self.scale, []
        width = min(width, *hr.shape[:2]) // scale * scale
        for length, share in zip(hr.shape[:2], (down, across), strict=True):
            start = (length - self.side) * share // 100
            first = min(max(start - (width - self.side) // 2, 0), length - width) // scale * scale
            corners.append((first, start - first))
        (top, y), (left, x) = corners
        small = lr[top // scale : (top + width) // scale, left // scale : (left + width) // scale]
        return small, hr[top : top + width, left : left + width], (y, x, self.side, self.side)


def _png(image: np.ndarray, zoom: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(enlarge(image, zoom)).save(out, format="PNG", compress_level=1)
    return out.getvalue()


def _decode(name: str, content: bytes) -> np.ndarray:
    """Return the picture in a file's bytes as uint8 RGB; raises SRError for what is none."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / Path(name).name
        file.write_bytes(content)
        return to_rgb(read_image(file))


def _viewer(protocol: Protocol | None):
    from srlib.draw.viewer import Viewer

    if protocol is None:
        return Viewer()
    colors = "luma" if protocol.color == "y" else "RGB"
    return Viewer(color=protocol.color, rounded=protocol.round_y, legend=f"PSNR in view on {colors}, no border cropped")


class Explorer:
    """Controls above a row of pictures.

    controls: widgets by name. draw: called with their values, returns the panels, always as many of the same size. pictures:
    whose controls come last, and to which the user can add one. step: of the place in them. protocol: whose colours the PSNR of
    what is visible has. pixel: names of the controls of row and column that a click into a picture moves.
    The pictures are a `Viewer` where anywidget is installed, else images.
    `view` is the widget to display; `panels` what it shows, once all moves are drawn; `figure()` draws the same without a kernel.
    """

    def __init__(
        self,
        controls: dict[str, ipy.Widget],
        draw: Callable[..., Sequence[Panel]],
        pictures: Pictures | None = None,
        step: int = 1,
        protocol: Protocol | None = None,
        pixel: tuple[str, str] | None = None,
    ):
        self.controls = controls | (pictures.controls(step) if pictures else {})
        self._draw, self._pictures = draw, pictures
        self.upload = ipy.FileUpload(accept="image/*", description="your picture")
        self.message = ipy.HTML()
        self.busy = ipy.HTML(layout=ipy.Layout(width="90px"))
        self.upload.observe(self._uploaded, names="value")
        for control in self.controls.values():
            if hasattr(control, "continuous_update"):
                control.continuous_update = False
            control.observe(self._update, names="value")
        self._moves = 0
        self._panels = list(draw(**self.values))
        wrap = ipy.Layout(flex_flow="row wrap")
        self._images = [ipy.Image(format="png") for _ in self._panels]
        self._labels = [ipy.HTML() for _ in self._panels]
        columns = ipy.HBox([ipy.VBox(pair) for pair in zip(self._images, self._labels, strict=True)], layout=wrap)
        self.viewer = _viewer(protocol) if VIEWER else None
        if self.viewer and pixel:
            self.viewer.observe(lambda change: self._choose(pixel, change["new"]), names="point")
        above = [*self.controls.values(), *([self.upload] if pictures else []), self.busy, self.message]
        self.view = ipy.VBox([ipy.HBox(above, layout=wrap), self.viewer or columns])
        self._drawn: Future | None = None  # of the last move
        self._show()

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
                picture = _decode(name, bytes(file["content"]))
                centre = center_crop(picture, LARGEST)
                how = self._pictures.add(name, centre)
            except SRError as error:
                self.message.value = html.escape(str(error))
                continue
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
            self._show()
        except Exception as error:
            self.message.value = html.escape(f"{type(error).__name__}: {error}")
            raise
        finally:
            if move == self._moves:
                self.busy.value = ""

    def _choose(self, pixel: tuple[str, str], point: list[int] | None) -> None:
        if point:
            for name, value in zip(pixel, reversed(point), strict=True):
                self.controls[name].value = min(max(value, self.controls[name].min), self.controls[name].max)

    def _show(self) -> None:
        if self.viewer:
            kinds = [panel.kind for panel in self._panels]
            with self.viewer.hold_sync():
                self.viewer.reference = kinds.index("hr") if "hr" in kinds else -1
                self.viewer.pictures = [
                    {"label": panel.label.replace("<br>", "\n"), "png": _png(panel.image, 1), "unscored": panel.kind == "map"}
                    for panel in self._panels
                ]
            return
        across = sum(panel.image.shape[1] for panel in self._panels[:ROW])
        zoom = max(min(PAGE // across, ZOOM), 1)  # the largest at which all panels, or `ROW` of more, stand side by side
        for panel, image, label in zip(self._panels, self._images, self._labels, strict=True):
            image.value = _png(panel.image, zoom)
            style = f"max-width:{panel.image.shape[1] * zoom}px;line-height:1.3"
            label.value = f"<div style='{style}'>{panel.label}</div>"

    def figure(self):
        """Return a matplotlib figure of the panels, for readers without a kernel."""
        rows = -(-len(self.panels) // 8)
        columns = -(-len(self.panels) // rows)
        fig, axes = subplots(rows, columns, 2.6 * columns, 3.1 * rows, squeeze=False)
        for ax in axes.flat:
            ax.set_axis_off()
        for panel, ax in zip(self.panels, axes.flat, strict=False):
            ax.imshow(panel.image, interpolation="nearest")
            ax.set_title(panel.label.replace("<br>", "\n"), fontsize=9)
        return fig
