"""The explorer of DDet without a browser: pixels, switches and places change what is shown."""

import numpy as np
import pytest
import torch

from srlib.core.errors import SRError
from srlib.core.metrics import psnr
from srlib.core.protocols import protocol
from srlib.nn import models
from srlib.papers.ddet import analysis
from srlib.papers.ddet.explorer import kernel_explorer

REALSR = protocol("realsr")


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    made = models.create("ddet", 1, width=16, blocks=1).eval()
    with torch.no_grad():
        for head in made.heads:
            head[-1].weight.normal_(std=0.02)
        made.refine[-1].weight.add_(0.01)
        made.cdm[-1].weight.normal_(std=0.1)
    return made


@pytest.fixture
def pictures():
    return {name: (lr, hr) for name, lr, hr in analysis.center_crops("embedded-camera-test", side=120, limit=2)}


@pytest.fixture
def explorer(net, pictures):
    return kernel_explorer(net, pictures, REALSR, side=64)


def shown(explorer) -> list[tuple[str, bytes]]:
    return [(panel.label, panel.image.tobytes()) for panel in explorer.panels]


def test_it_shows_what_the_network_does_at_the_pixel(explorer, net, pictures):
    for way in ("across", "down"):
        explorer.controls[way].value = 50
    lr, hr = next(iter(pictures.values()))
    parts, box = analysis.inspect(net, lr), (slice(28, 92), slice(28, 92))
    result = analysis.colorize(parts.output, lr)[box]
    assert np.array_equal(explorer.panels[5].image, result)
    assert f"{psnr(result, hr[box], REALSR, 1):.2f} dB" in explorer.panels[5].label
    assert np.array_equal(explorer.panels[-1].image, hr[box])
    for k, (size, given) in enumerate(zip((9, 7, 5), parts.contributions, strict=True), 1):
        assert explorer.panels[k].label.startswith(f"{size}×{size}, sum ")
        assert f"gives {255 * float(given[0, 0, 60, 60]):+.1f} levels" in explorer.panels[k].label


@pytest.mark.parametrize("control", ["row", "column"])
def test_another_pixel_has_other_kernels_and_the_same_result(explorer, control):
    before = shown(explorer)
    explorer.controls[control].value = 5
    for (label, image), (old_label, old_image) in zip(shown(explorer)[:4], before, strict=False):
        assert label != old_label and image != old_image
    assert shown(explorer)[5:] == before[5:]


@pytest.mark.parametrize("switch", ["cdm", "refine"])
def test_a_switch_changes_picture_and_psnr_and_back(explorer, switch):
    before = shown(explorer)
    explorer.controls[switch].value = False
    (label, result), change = shown(explorer)[5:7]
    assert label != before[5][0] and result != before[5][1] and change[1] != before[6][1]
    assert before[5][0].split(", ")[1].split("<br>")[0] in label.split("all parts: ")[1]
    assert ("adds +0.0 here" in explorer.panels[4].label) == (switch == "cdm")
    explorer.controls[switch].value = True
    assert shown(explorer) == before


@pytest.mark.parametrize(("control", "value"), [("across", 0), ("down", 100), ("image", "chelsea")])
def test_another_place_shows_another_part(explorer, control, value):
    before = shown(explorer)
    explorer.controls[control].value = value
    for k in (5, -1):
        assert shown(explorer)[k][1] != before[k][1]


def test_all_panels_have_one_size_and_a_static_figure(explorer):
    assert {panel.image.shape for panel in explorer.panels} == {(64, 64, 3)}
    assert len([ax for ax in explorer.figure().axes if ax.images]) == len(explorer.panels) == 8


def test_pairs_of_two_sizes_are_refused(net, pictures):
    name, (lr, hr) = next(iter(pictures.items()))
    with pytest.raises(SRError, match=f"{name}: LR is .*pairs of one size"):
        kernel_explorer(net, {name: (lr[::2, ::2], hr)}, REALSR)
