"""Explorers: sliders beside pictures, for notebooks with a kernel, and the same picture as a static figure without one.

An explorer is controls plus one function from their values to labelled pictures. It updates the value of image widgets
through `observe`, when a slider is let go; no output widget and no `interact`, which can hang a headless run.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import ipywidgets as ipy
import numpy as np
from PIL import Image

from srlib.color import to_rgb
from srlib.degradation import downscale, imresize
from srlib.errors import SRError
from srlib.evaluation import upscale
from srlib.figures import error_map
from srlib.metrics import Protocol, psnr

ZOOM = 3  # screen pixels per image pixel


@dataclass(frozen=True)
class Panel:
    """One picture of an explorer: uint8 `(H, W, 3)` and the line under it."""

    label: str
    image: np.ndarray


def png(image: np.ndarray, zoom: int = ZOOM) -> bytes:
    """Return an image as PNG bytes, enlarged without interpolation."""
    out = io.BytesIO()
    Image.fromarray(image.repeat(zoom, axis=0).repeat(zoom, axis=1)).save(out, format="PNG")
    return out.getvalue()


def error_picture(sr: np.ndarray, hr: np.ndarray, full: float = 96.0) -> np.ndarray:
    """Return `figures.error_map` as a uint8 picture: black is none, white is `full` grey levels or more."""
    return to_rgb((error_map(sr, hr) / full * 255).clip(0, 255).astype(np.uint8))


class Explorer:
    """Controls above a row of pictures.

    controls: widgets by name. draw: called with their values, returns the panels, always as many of the same size.
    `view` is the widget to display; `panels` holds what it shows now; `figure()` draws the same without a kernel.
    """

    def __init__(self, controls: dict[str, ipy.Widget], draw: Callable[..., Sequence[Panel]]):
        self.controls, self._draw = controls, draw
        for control in controls.values():
            if hasattr(control, "continuous_update"):
                control.continuous_update = False
            control.observe(self._update, names="value")
        self.panels = list(draw(**self.values))
        self._images = [ipy.Image(format="png") for _ in self.panels]
        self._labels = [ipy.HTML() for _ in self.panels]
        columns = [ipy.VBox(pair) for pair in zip(self._images, self._labels, strict=True)]
        wrap = ipy.Layout(flex_flow="row wrap")
        self.view = ipy.VBox([ipy.HBox(list(controls.values()), layout=wrap), ipy.HBox(columns, layout=wrap)])
        self._show()

    @property
    def values(self) -> dict:
        return {name: control.value for name, control in self.controls.items()}

    def _update(self, _change) -> None:
        self.panels = list(self._draw(**self.values))
        self._show()

    def _show(self) -> None:
        for panel, image, label in zip(self.panels, self._images, self._labels, strict=True):
            image.value = png(panel.image)
            label.value = f"<div style='max-width:{panel.image.shape[1] * ZOOM}px'>{panel.label}</div>"

    def figure(self):
        """Return a matplotlib figure of the panels, for readers without a kernel."""
        import matplotlib.pyplot as plt

        fig, axes = plt.subplots(1, len(self.panels), figsize=(2.6 * len(self.panels), 3.1), layout="constrained")
        for panel, ax in zip(self.panels, np.atleast_1d(axes), strict=True):
            ax.imshow(panel.image, interpolation="nearest")
            ax.set_title(panel.label.replace("<br>", "\n"), fontsize=9)
            ax.set_axis_off()
        return fig


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Clip to 0..255, round half up and return uint8."""
    return np.floor(image.clip(0, 255) + 0.5).astype(np.uint8)


def comparison_explorer(
    families: dict[str, dict[str, object]],
    images: dict[str, np.ndarray],
    protocol: Protocol,
    *,
    side: int = 96,
) -> Explorer:
    """Compare one network with bicubic on a crop: sliders for the network, the picture and the place.

    families: for each control ("split", "block") the networks by label, all of one scale; the control moved last decides.
    images: HR images by name. side: of the crop in HR pixels, at most the smallest picture.
    Shows bicubic, its error, the network, its error, HR.
    """
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
        """Upscale only the crop and what the network sees around it."""
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
        top, left = (height - side // scale) * down // 100, (width - side // scale) * across // 100
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
    controls["image"] = ipy.Dropdown(options=list(images), description="image")
    controls["across"] = ipy.IntSlider(50, 0, 100, description="across %")
    controls["down"] = ipy.IntSlider(50, 0, 100, description="down %")
    return Explorer(controls, draw)
