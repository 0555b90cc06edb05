"""Explorers of D2C-SR: a slider over networks trained with different alpha, and fusion weights set by hand."""

from functools import lru_cache

import ipywidgets as ipy
import numpy as np

from srlib.core.color import to_uint8
from srlib.core.protocols import Protocol
from srlib.draw.style import PALETTE
from srlib.draw.widgets import Explorer, Panel, Pictures, check_trained, enlarge, error_panel, hr_panel, psnr_panel
from srlib.papers.d2c_sr.analysis import Intermediates, crop, ideal_weights, inspect, pairwise_difference, weighted_sum
from srlib.papers.d2c_sr.figures import difference_heatmap, weight_heatmap

FULL = 24.0  # grey levels that are white in difference pictures
SMALLEST_TOTAL = 1e-6  # of the scaled weights of a pixel that can be normalised to 1; below it the sliders alone count
COLORS = ("blue", "orange", "green", "red")  # the first of the palette, for the predictions 1 to 4
Pairs = dict[str, tuple[np.ndarray, np.ndarray]]  # LR and HR by name


def alpha_explorer(networks: dict[float, object], pairs: Pairs, protocol: Protocol, *, side: int = 96) -> Explorer:
    """Return an explorer of alpha: predictions, their difference, fusion weights and result.

    networks: D2C networks by their alpha, all of one scale. pairs: (LR, HR) by name. side: of what is shown, in HR pixels;
    the network sees up to 256 around it. Shows LR, four predictions, result, HR; then the difference of the predictions and
    the weight map of each. PSNR is that of the part shown. Outputs are cached.
    Raises SRError without networks or pictures.
    """
    check_trained(networks, "ablate")
    scale = next(iter(networks.values())).scale
    pictures = Pictures(pairs, scale, side)

    @lru_cache(maxsize=256)
    def inspected(alpha: float, *place) -> tuple[Intermediates, np.ndarray, np.ndarray]:
        lr, hr, box = pictures.window(*place)
        return inspect(networks[alpha], lr).crop(box), crop(enlarge(lr, scale), box), crop(hr, box)

    def draw(alpha: float, image: str, across: int, down: int) -> list[Panel]:
        inside, lr, hr = inspected(alpha, image, across, down)
        count, difference = len(inside.weights), pairwise_difference(inside.predictions).mean()
        named = {"LR": lr} | {f"prediction {i}": sr for i, sr in enumerate(to_uint8(inside.predictions), 1)}
        named["result"] = to_uint8(inside.fused)
        about = f"pairwise |difference|<br>mean {difference:.2f}, white: {FULL:g} levels"
        maps = [
            Panel(f"weight {i}<br>mean {weights.mean():.2f}, red: {2 / count:.2f}", weight_heatmap(weights, count), "map")
            for i, weights in enumerate(inside.weights, 1)
        ]
        panels = [psnr_panel(label, image, hr, protocol, scale) for label, image in named.items()]
        return [*panels, hr_panel(hr), Panel(about, difference_heatmap(inside.predictions, FULL), "map"), *maps]

    options = [(f"{value:g}", value) for value in networks]
    alpha = ipy.SelectionSlider(options=options, value=list(networks)[len(networks) // 2], description="α")
    return Explorer({"alpha": alpha}, draw, pictures, step=5, protocol=protocol)


def fusion_explorer(net, pairs: Pairs, protocol: Protocol, *, side: int = 96) -> Explorer:
    """Return an explorer of the fusion: weights set by sliders, against the learned and the ideal ones.

    net: a D2C network. pairs, side: as in `alpha_explorer`. "by hand": a weight per prediction, the same at all pixels,
    in proportion to the sliders. "learned, times sliders": the learned maps, each times its slider, normalised to sum to 1; as by
    hand where all that remains is about 0.
    Shows the result by hand, its error, the learned fusion, the ideal fusion, and where each prediction is the closest one; PSNR
    of the part shown.
    """
    scale, count = net.scale, net.divergence.leaves
    pictures = Pictures(pairs, scale, side)
    palette = to_uint8(255 * np.array(PALETTE))

    @lru_cache(maxsize=256)
    def inspected(*place) -> tuple[Intermediates, np.ndarray]:
        lr, hr, box = pictures.window(*place)
        return inspect(net, lr).crop(box), crop(hr, box)

    def draw(rule: str, image: str, across: int, down: int, **sliders: float) -> list[Panel]:
        inside, hr = inspected(image, across, down)
        factors = np.array([*sliders.values()])
        factors = factors if factors.sum() > 0 else np.ones(count)
        uniform = np.broadcast_to((factors / factors.sum())[:, None, None], inside.weights.shape)
        weights = factors[:, None, None] * (inside.weights if rule != "by hand" else np.ones_like(inside.weights))
        total = weights.sum(axis=0)
        weights = np.where(total > SMALLEST_TOTAL, weights / total.clip(SMALLEST_TOTAL), uniform)
        best = ideal_weights(inside.predictions, hr)
        by_hand, learned, ideal = (to_uint8(weighted_sum(inside.predictions, w)) for w in (weights, inside.weights, best))
        shares = ", ".join(f"{color} {100 * selected.mean():.0f} %" for color, selected in zip(COLORS, best, strict=False))
        return [
            psnr_panel(rule, by_hand, hr, protocol, scale),
            error_panel(rule, by_hand, hr),
            psnr_panel("learned fusion", learned, hr, protocol, scale),
            psnr_panel("ideal fusion", ideal, hr, protocol, scale),
            Panel(f"which is the closest<br>{shares}", palette[best.argmax(axis=0)], "map"),
            hr_panel(hr),
        ]

    rule = ipy.ToggleButtons(options=["by hand", "learned, times sliders"], description="weights")
    sliders = {f"w{i}": ipy.FloatSlider(1.0, min=0, max=1, step=0.05, description=f"w{i}") for i in range(1, count + 1)}
    return Explorer({"rule": rule} | sliders, draw, pictures, step=5, protocol=protocol)
