"""The bicubic rows of the papers' tables: reaching them shows that a protocol is the paper's own.

Bicubic interpolation has nothing to train, so that a printed row checks every other part at once: how LR is made,
colour, rounding, border, SSIM window. Each measured cell stands beside the printed one.
"""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from srlib.core.imresize import imresize, modcrop, pil_bicubic
from srlib.core.metrics import score
from srlib.core.protocols import Protocol, lr_from_hr, protocol
from srlib.data.images import list_images, read_image

# set -> scale -> printed PSNR, SSIM
DIFFICULTY_SR_TABLE_1 = {
    "Set5": {2: (33.66, 0.9299), 3: (30.39, 0.8682), 4: (28.42, 0.8104)},
    "Set14": {2: (30.24, 0.8688), 3: (27.55, 0.7742), 4: (26.00, 0.7027)},
    "B100": {2: (29.56, 0.8431), 3: (27.21, 0.7385), 4: (25.96, 0.6675)},
    "Urban100": {2: (26.88, 0.8403), 3: (24.46, 0.7349), 4: (23.14, 0.6577)},
}
PROSRN_TABLE_6 = {
    "Set5": {2: (33.69, 0.9284), 4: (28.43, 0.8022)},
    "Set14": {2: (30.34, 0.8675), 4: (26.10, 0.6936)},
    "B100": {2: (29.57, 0.8434), 4: (25.97, 0.6517)},
}
# set -> scale -> printed PSNR
BTSRN_TABLE_4 = {
    "Set5": {2: 33.64, 3: 30.38, 4: 28.42},
    "Set14": {2: 30.22, 3: 27.51, 4: 25.95},
    "B100": {2: 29.55, 3: 27.20, 4: 25.97},
    "Urban100": {2: 26.87, 3: 24.46, 4: 23.14},
}
LAPSRN = {
    "Set5": {2: 33.69, 3: 30.41, 4: 28.43, 8: 24.40},
    "B100": {2: 29.57, 3: 27.22, 4: 25.97},
}
EDSR = {"Set5": {2: 33.68, 3: 30.40, 4: 28.43}}


def bicubic_row(images, chosen: Protocol, scale: int, metrics=("psnr", "ssim"), pillow=False) -> tuple[float, ...]:
    """The mean metrics of bicubic upscaling over the images."""
    rows = []
    for hr in images:
        hr = modcrop(hr, scale)
        lr = lr_from_hr(hr, chosen, scale)
        sr = pil_bicubic(lr, hr.shape[:2]) if pillow else imresize(lr.astype(np.float64), scale)
        rows.append(score(sr, hr, chosen, scale, metrics))
    return tuple(np.mean(rows, axis=0))


def read_set(datasets: Path, name: str) -> list[np.ndarray]:
    return [read_image(path) for path in list_images(datasets / name)]


@pytest.mark.parametrize("name", DIFFICULTY_SR_TABLE_1)
def test_difficulty_sr_table_1(datasets, name):
    images = read_set(datasets, name)
    for scale, (printed_psnr, printed_ssim) in DIFFICULTY_SR_TABLE_1[name].items():
        psnr, ssim = bicubic_row(images, protocol("y"), scale)
        assert psnr == pytest.approx(printed_psnr, abs=0.006), f"x{scale}"
        assert ssim == pytest.approx(printed_ssim, abs=0.0001), f"x{scale}"


@pytest.mark.parametrize("name", BTSRN_TABLE_4)
def test_btsrn_table_4(datasets, name):
    # Set14 measures 27.489 and 25.933 where 27.51 and 25.95 are printed. The table always leaves out two pixels, and
    # foreman and pepper gain 0.2 to 0.7 dB by one or two more: how the border was continued decides the last digits.
    tolerance = 0.021 if name == "Set14" else 0.01
    images = read_set(datasets, name)
    for scale, printed in BTSRN_TABLE_4[name].items():
        (psnr,) = bicubic_row(images, protocol("btsrn"), scale, ("psnr",), pillow=True)
        assert psnr == pytest.approx(printed, abs=tolerance), f"x{scale}"


@pytest.mark.parametrize("name", PROSRN_TABLE_6)
def test_prosrn_table_6(datasets, name):
    # The paper does not say which SSIM it prints; scikit-image's defaults come within 0.0025, the usual one does not.
    images = read_set(datasets, name)
    for scale, (printed_psnr, printed_ssim) in PROSRN_TABLE_6[name].items():
        psnr, ssim = bicubic_row(images, protocol("prosrn"), scale, ("psnr", "ssim_uniform7"))
        assert psnr == pytest.approx(printed_psnr, abs=0.01), f"x{scale}"
        assert ssim == pytest.approx(printed_ssim, abs=0.0025), f"x{scale}"


@pytest.mark.parametrize(
    ("chosen", "name", "printed"),
    [("lapsrn", name, row) for name, row in LAPSRN.items()] + [("edsr", name, row) for name, row in EDSR.items()],
)
def test_psnr_of_lapsrn_and_edsr(datasets, chosen, name, printed):
    images = read_set(datasets, name)
    for scale, value in printed.items():
        (psnr,) = bicubic_row(images, protocol(chosen), scale, ("psnr",))
        assert psnr == pytest.approx(value, abs=0.01), f"x{scale}"


@pytest.mark.parametrize(
    ("change", "cost"),
    [({"grey": "convert"}, 0.09), ({"shave_per_scale": 0}, -0.22)],
    ids=["grey image converted", "no border left out"],
)
def test_what_another_protocol_costs_on_set14(datasets, change, cost):
    images = read_set(datasets, "Set14")
    (right,) = bicubic_row(images, protocol("y"), 2, ("psnr",))
    (wrong,) = bicubic_row(images, dataclasses.replace(protocol("y"), **change), 2, ("psnr",))
    assert wrong - right == pytest.approx(cost, abs=0.01)


def test_luma_is_clipped_to_its_range(datasets):
    # 0.7027 is printed; only the clipping reaches it.
    images = read_set(datasets, "Set14")
    _, clipped = bicubic_row(images, protocol("y"), 4)
    _, free = bicubic_row(images, dataclasses.replace(protocol("y"), clip_y=False), 4)
    assert clipped == pytest.approx(0.7027, abs=0.0001)
    assert free == pytest.approx(0.7019, abs=0.0001)
