"""Explorers: sliders beside pictures, for notebooks with a kernel, and the same picture as a static figure without one.

An explorer is controls plus one function from their values to labelled pictures. It updates the value of image widgets
through `observe`, when a slider is let go; no output widget and no `interact`, which can hang a headless run.
"""

import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import ipywidgets as ipy
import numpy as np
import torch
from PIL import Image

from srlib.color import rgb_to_ycbcr, to_rgb, to_y, ycbcr_to_rgb
from srlib.degradation import downscale, imresize, modcrop
from srlib.difficulty import CLASSES
from srlib.errors import SRError
from srlib.evaluation import upscale
from srlib.figures import error_map
from srlib.metrics import Protocol, lr_from_hr, psnr
from srlib.models.difficulty_sr import PATCH, DualWay

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


def _places(images: dict[str, np.ndarray]) -> dict[str, ipy.Widget]:
    """Return the controls that every explorer ends with: which picture, and where in it."""
    return {
        "image": ipy.Dropdown(options=list(images), description="image"),
        "across": ipy.IntSlider(50, 0, 100, description="across %"),
        "down": ipy.IntSlider(50, 0, 100, description="down %"),
    }


def _corner(height: int, width: int, side: int, across: int, down: int) -> tuple[int, int]:
    """Return top and left of a square of `side` pixels at a place given in per cent."""
    return (height - side) * down // 100, (width - side) * across // 100


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
        top, left = _corner(height, width, side // scale, across, down)
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
    return Explorer(controls | _places(images), draw)


def unroll_explorer(
    families: dict[str, dict[int, object]], images: dict[str, np.ndarray], protocol: Protocol, *, side: int = 128
) -> Explorer:
    """Unroll a progressive network: a slider for the factor, and every image on the way from LR to SR.

    families: by label, a network per factor (2, 4, 8, ...). images: HR images by name. LR is the picture reduced by the chosen
    factor; each sub-SR image is scored against the picture reduced to its size. side: of the crop in HR pixels. Shows LR, a
    picture per level (grey where the factor needs none) and HR, all enlarged to the same size.
    """
    if not families:
        raise SRError("no trained network to explore yet: run the train notebook of this profile first")
    factors = sorted(next(iter(families.values())))
    side = min(side, *(min(image.shape[:2]) for image in images.values())) // factors[-1] * factors[-1]
    if side == 0:
        raise SRError(f"every picture must have at least {factors[-1]} pixels per side, the largest factor")

    @lru_cache(maxsize=64)
    def unrolled(name: str, image: str, factor: int) -> list[tuple[int, np.ndarray, np.ndarray]]:
        hr = modcrop(to_rgb(images[image]), factors[-1])
        lr = downscale(hr, factor)
        levels = [(1, lr, lr)]
        for level in (f for f in factors if f <= factor):
            target = hr if level == factor else downscale(hr, factor // level)
            levels.append((level, to_uint8(upscale(families[name][level], lr)), target))
        return levels

    def panel(factor: int, level: int, sr: np.ndarray, hr: np.ndarray, across: int, down: int) -> Panel:
        small, times = side * level // factor, factor // level
        top, left = _corner(*sr.shape[:2], small, across, down)
        shown, truth = (one[top : top + small, left : left + small] for one in (sr, hr))
        if level == 1:
            label = f"LR<br>{small}x{small}"
        else:
            whole = psnr(sr, hr, protocol, level)
            label = f"{'SR' if times == 1 else 'sub-SR'} x{level}<br>{whole:.2f} dB, whole picture"
        return Panel(label, shown.repeat(times, axis=0).repeat(times, axis=1))

    def draw(network: str, factor: int, image: str, across: int, down: int) -> list[Panel]:
        levels = unrolled(network, image, factor)
        panels = [panel(factor, *level, across, down) for level in levels]
        panels += [Panel(f"x{f}<br>not needed", np.full_like(panels[0].image, 128)) for f in factors if f > factor]
        hr = levels[-1][2]
        top, left = _corner(*hr.shape[:2], side, across, down)
        return [*panels, Panel("HR<br>ground truth", hr[top : top + side, left : left + side])]

    controls: dict[str, ipy.Widget] = {
        "network": ipy.Dropdown(options=list(families), description="network"),
        "factor": ipy.SelectionSlider(options=factors, value=factors[min(2, len(factors) - 1)], description="factor"),
    }
    return Explorer(controls | _places(images), draw)


def blend_explorer(
    plain: tuple[str, object],
    sharp: tuple[str, object],
    images: dict[str, np.ndarray],
    protocol: Protocol,
    *,
    side: int = 96,
) -> Explorer:
    """Blend the outputs of two networks of one scale: a slider from the first to the second.

    plain, sharp: label and network. Shows the first, the blend, the second and HR, each with the PSNR of the crop.
    """
    scale = plain[1].scale
    side = min(side, *(min(image.shape[:2]) for image in images.values())) // scale * scale

    @lru_cache(maxsize=32)
    def both(image: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        hr = modcrop(to_rgb(images[image]), scale)
        lr = downscale(hr, scale)
        return upscale(plain[1], lr), upscale(sharp[1], lr), hr

    def draw(share: float, image: str, across: int, down: int) -> list[Panel]:
        first, second, hr = both(image)
        top, left = _corner(*hr.shape[:2], side, across, down)
        crops = [one[top : top + side, left : left + side] for one in (first, second, hr)]
        blend = (1 - share) * crops[0] + share * crops[1]
        labels = (plain[0], f"{100 * share:.0f} % {sharp[0]}", sharp[0])
        panels = []
        for label, sr in zip(labels, (crops[0], blend, crops[1]), strict=True):
            shown = to_uint8(sr)
            panels.append(Panel(f"{label}<br>{psnr(shown, crops[2], protocol, scale):.2f} dB", shown))
        return [*panels, Panel("HR<br>ground truth", crops[2])]

    share = ipy.FloatSlider(0.5, min=0, max=1, step=0.05, description=sharp[0])
    return Explorer({"share": share} | _places(images), draw)


def difficulty_explorer(networks: dict[int, DualWay], images: dict[str, np.ndarray], protocol: Protocol) -> Explorer:
    """Look inside Difficulty-SR: sliders for the rule that routes patches, their overlap and the scale.

    networks: by scale. images: HR images by name, reduced to LR here. Shows LR with the patches that go to the plain branch in
    green, the picture that comes out, its error, both branches alone, and HR; the share of easy patches, PSNR on luma, and the
    time of the branches, as it was measured when they ran. Branches run once per picture, scale and overlap.
    """
    if not networks:
        raise SRError("no trained network to explore yet: run the train notebook of this profile first")

    @lru_cache(maxsize=32)
    def parts(image: str, scale: int, overlap: int):
        """Everything that does not depend on the rule: the pictures' chroma, patches, probabilities, both branches, seconds."""
        net, hr = networks[scale], modcrop(to_rgb(images[image]), scale)
        lr = downscale(hr, scale)
        luma = lr_from_hr(hr, protocol, scale) if protocol.lr == "float_y" else to_y(lr, rounded=False)
        net.overlap = overlap
        with torch.no_grad():
            patches, corners = net.cut(torch.from_numpy(luma)[None, None].float() / 255)
            probabilities = net.probabilities(patches)
            done, seconds = [], []
            for branch in (net.plain, net.complex):
                began = time.perf_counter()
                done.append(torch.cat([branch(some) for some in patches.split(16)]))
                seconds.append((time.perf_counter() - began) / len(patches))
        chroma = imresize(rgb_to_ycbcr(lr.astype(float))[..., 1:], scale)
        return hr, lr, chroma, corners, probabilities, done, seconds

    def picture(net: DualWay, patches, corners, lr: np.ndarray, chroma: np.ndarray) -> np.ndarray:
        y = net.join(patches, corners, *lr.shape[:2])[0, 0].double().numpy() * 255
        return to_uint8(ycbcr_to_rgb(np.concatenate([y[..., None], chroma], axis=2)))

    def shaded(lr: np.ndarray, corners, easy: np.ndarray, scale: int) -> np.ndarray:
        """LR enlarged, easy patches tinted green, each patch framed."""
        votes, shown = np.zeros(lr.shape[:2]), lr.repeat(scale, axis=0).repeat(scale, axis=1).astype(float)
        count = np.zeros(lr.shape[:2])
        for (y, x), e in zip(corners, easy, strict=True):
            votes[y : y + PATCH, x : x + PATCH] += e
            count[y : y + PATCH, x : x + PATCH] += 1
        share = (votes / count).repeat(scale, axis=0).repeat(scale, axis=1)[..., None]
        shown = shown * (1 - 0.5 * share) + np.array([0.0, 158.0, 115.0]) * 0.5 * share
        for y, x in corners:
            shown[y * scale, x * scale : (x + PATCH) * scale] = shown[y * scale : (y + PATCH) * scale, x * scale] = 255
        return to_uint8(shown)

    def draw(scale: int, rule: str, easiest: int, probability: float, overlap: int, image: str) -> list[Panel]:
        net = networks[scale]
        hr, lr, chroma, corners, probabilities, (plain, complex_), seconds = parts(image, scale, overlap)
        net.level, net.threshold = easiest, probability if rule == "probability" else None
        easy = net.easy(probabilities)
        routed = torch.where(easy[:, None, None, None], plain, complex_)
        spent = [1000 * (int(easy.sum()) * seconds[0] + int((~easy).sum()) * seconds[1]), 1000 * len(easy) * seconds[1]]
        labels = ("Difficulty-SR", "complex branch alone", "plain branch alone")
        shown = [picture(net, patches, corners, lr, chroma) for patches in (routed, complex_, plain)]
        found = [f"{label}<br>{psnr(sr, hr, protocol, scale):.2f} dB" for label, sr in zip(labels, shown, strict=True)]
        mask = f"{int(easy.sum())} of {len(easy)} patches plain ({100 * float(easy.float().mean()):.0f} %)<br>green: plain branch"
        return [
            Panel(mask, shaded(lr, corners, easy.numpy(), scale)),
            Panel(f"{found[0]}, {spent[0]:.0f} ms", shown[0]),
            Panel("|Difficulty-SR - HR|<br>white: 96 levels", error_picture(shown[0], hr)),
            Panel(f"{found[1]}, {spent[1]:.0f} ms", shown[1]),
            Panel(found[2], shown[2]),
            Panel("HR<br>ground truth", hr),
        ]

    controls: dict[str, ipy.Widget] = {
        "scale": ipy.SelectionSlider(options=list(networks), description="scale"),
        "rule": ipy.ToggleButtons(options=["likeliest class", "probability"], description="rule"),
        "easiest": ipy.SelectionSlider(
            options=[(label, k) for k, label in enumerate(CLASSES)], value=len(CLASSES) - 1, description="easy from"
        ),
        "probability": ipy.FloatSlider(0.5, min=0, max=1.05, step=0.05, description="at least"),
        "overlap": ipy.SelectionSlider(options=[0, 12, 36], description="overlap"),
        "image": ipy.Dropdown(options=list(images), description="image"),
    }
    return Explorer(controls, draw)
