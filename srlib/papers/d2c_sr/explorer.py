"""Explorers of D2C-SR: a slider for alpha over networks trained with several, and weights by hand against the learned ones."""

from functools import lru_cache

import ipywidgets as ipy
import numpy as np

from srlib.core.color import to_uint8
from srlib.core.errors import SRError
from srlib.core.metrics import psnr
from srlib.core.protocols import Protocol
from srlib.draw.figures import PALETTE
from srlib.draw.widgets import Explorer, Panel, error_picture, places
from srlib.draw.windows import Pairs, Windows
from srlib.papers.d2c_sr.analysis import Look, differences, fuse, look, nearest
from srlib.papers.d2c_sr.figures import cut, difference_picture, weight_picture

FULL = 24.0  # grey levels that are white in difference pictures
LEAST = 1e-6  # of a weight that counts: below it the four of a pixel cannot be scaled to 1
COLORS = ("blue", "orange", "green", "red")  # the first of the palette, for the predictions 1 to 4


def _decibel(image: np.ndarray, hr: np.ndarray, protocol: Protocol, scale: int) -> str:
    return f"{psnr(image, hr, protocol, scale):.2f} dB"


def alpha_explorer(networks: dict[float, object], pictures: Pairs, protocol: Protocol, *, side: int = 96) -> Explorer:
    """Move alpha: the predictions, how they differ, their weights, the result.

    networks: D2C networks by their alpha, all of one scale. pictures: (LR, HR) by name. side: of what is shown, in HR pixels;
    the network sees up to 256 around it. Shows LR, four predictions, result, HR; then the difference of the predictions and
    the weight map of each. PSNR is that of the part shown. What a network made of a place is remembered.
    Raises SRError without networks or pictures.
    """
    if not networks:
        raise SRError("no trained network to explore yet: run the ablate notebook of this profile first")
    scale = next(iter(networks.values())).scale
    windows = Windows(pictures, scale, side)

    @lru_cache(maxsize=256)
    def inside(alpha: float, image: str, across: int, down: int) -> tuple[Look, np.ndarray, np.ndarray]:
        lr, hr, box = windows.box(image, across, down)
        found = look(networks[alpha], lr)
        weights = np.stack([cut(one, box) for one in found.weights])
        enlarged = lr.repeat(scale, axis=0).repeat(scale, axis=1)
        return Look(cut(found.predictions, box), weights), cut(enlarged, box), cut(hr, box)

    def draw(alpha: float, image: str, across: int, down: int) -> list[Panel]:
        found, lr, hr = inside(alpha, image, across, down)
        several = to_uint8(found.predictions)
        count = len(found.weights)
        panels = [Panel(f"LR<br>{_decibel(lr, hr, protocol, scale)}", lr)]
        panels += [Panel(f"prediction {i}<br>{_decibel(one, hr, protocol, scale)}", one) for i, one in enumerate(several, 1)]
        result = to_uint8(found.fused)
        panels += [Panel(f"result<br>{_decibel(result, hr, protocol, scale)}", result), Panel("HR<br>ground truth", hr)]
        apart = differences(found.predictions).mean()
        apart_picture = difference_picture(found.predictions, FULL)
        panels.append(Panel(f"|difference| of two<br>mean {apart:.2f}, white: {FULL:g} levels", apart_picture))
        shares = [f"weight {i}<br>mean {one.mean():.2f}, red: {2 / count:.2f}" for i, one in enumerate(found.weights, 1)]
        return [*panels, *(Panel(label, weight_picture(one, count)) for label, one in zip(shares, found.weights, strict=True))]

    alpha = ipy.SelectionSlider(
        options=[(f"{value:g}", value) for value in networks], value=list(networks)[len(networks) // 2], description="α"
    )
    return Explorer({"alpha": alpha} | places(windows.wholes, windows.side, step=5), draw, windows.adding())


def fusion_explorer(net, pictures: Pairs, protocol: Protocol, *, side: int = 96) -> Explorer:
    """Fuse by hand: a slider per prediction against the learned weights and the ideal ones.

    net: a D2C network. pictures, side: as in `alpha_explorer`. "by hand": one weight for each prediction and every pixel, in
    proportion to the sliders. "learned, times sliders": the learned maps, each times its slider, scaled to add up to 1 again;
    as by hand where the sliders leave nothing of them.
    Shows the result by hand, its error, the learned fusion, the ideal fusion, and where each prediction is the closest one; PSNR
    of the part shown.
    """
    scale, count = net.scale, net.divergence.leaves
    windows = Windows(pictures, scale, side)
    palette = to_uint8(255 * np.array(PALETTE))

    @lru_cache(maxsize=256)
    def inside(image: str, across: int, down: int) -> tuple[Look, np.ndarray]:
        lr, hr, box = windows.box(image, across, down)
        found = look(net, lr)
        return Look(cut(found.predictions, box), np.stack([cut(one, box) for one in found.weights])), cut(hr, box)

    def draw(rule: str, image: str, across: int, down: int, **sliders: float) -> list[Panel]:
        found, hr = inside(image, across, down)
        factors = np.array([*sliders.values()])
        factors = factors if factors.sum() > 0 else np.ones(count)
        even = np.broadcast_to((factors / factors.sum())[:, None, None], found.weights.shape)
        weights = factors[:, None, None] * (found.weights if rule != "by hand" else np.ones_like(found.weights))
        total = weights.sum(axis=0)
        weights = np.where(total > LEAST, weights / total.clip(LEAST), even)
        best = nearest(found.predictions, hr)
        by_hand, learned, ideal = (to_uint8(fuse(found.predictions, w)) for w in (weights, found.weights, best))
        shares = ", ".join(f"{c} {100 * one.mean():.0f} %" for c, one in zip(COLORS, best, strict=False))
        which = palette[best.argmax(axis=0)]
        return [
            Panel(f"{rule}<br>{_decibel(by_hand, hr, protocol, scale)}", by_hand),
            Panel(f"|{rule} - HR|<br>white: 96 levels", error_picture(by_hand, hr)),
            Panel(f"learned fusion<br>{_decibel(learned, hr, protocol, scale)}", learned),
            Panel(f"ideal fusion<br>{_decibel(ideal, hr, protocol, scale)}", ideal),
            Panel(f"which is the closest<br>{shares}", which),
            Panel("HR<br>ground truth", hr),
        ]

    rule = ipy.ToggleButtons(options=["by hand", "learned, times sliders"], description="weights")
    sliders = {f"w{i}": ipy.FloatSlider(1.0, min=0, max=1, step=0.05, description=f"w{i}") for i in range(1, count + 1)}
    return Explorer({"rule": rule} | sliders | places(windows.wholes, windows.side, step=5), draw, windows.adding())
