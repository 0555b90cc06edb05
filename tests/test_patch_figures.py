"""Figures about patches: what they show is what they are given, and their text stays inside."""

import numpy as np
import pandas as pd
import pytest

from srlib.papers.difficulty_sr import figures as patch_figures
from srlib.papers.difficulty_sr.analysis import CLASSES, confusion

CORNERS = [(0, 0), (0, 48), (48, 0), (48, 48)]


def inside(fig):
    fig.draw_without_rendering()
    texts = [t for ax in fig.axes for t in (ax.title, ax.xaxis.label, ax.yaxis.label, *ax.texts) if t.get_text()]
    texts += [t for legend in fig.legends for t in legend.get_texts()]
    return all(fig.bbox.padded(1).contains(*corner) for t in texts for corner in t.get_window_extent().corners())


def picture(side=192):
    return np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)


def test_maps_have_a_frame_per_patch_coloured_by_its_class():
    fig = patch_figures.difficulty_maps(picture(), CORNERS, [0, 1, 2, 4], [4, 4, 4, 4], 2, "Set5, baby")
    first, actual, predicted = fig.axes
    assert [len(ax.patches) for ax in fig.axes] == [0, 4, 4] and inside(fig)
    assert len({p.get_facecolor() for p in actual.patches}) == 4 and len({p.get_facecolor() for p in predicted.patches}) == 1
    assert [p.get_xy() for p in predicted.patches] == [(x * 2 - 0.5, y * 2 - 0.5) for y, x in CORNERS]
    assert fig.get_suptitle() == "Set5, baby, ×2; only whole 48×48 LR patches"


def test_overlapping_patches_are_laid_over_a_picture_once_and_the_last_is_seen():
    corners = [(y, x) for y in (0, 30) for x in (0, 48, 60)]
    fig = patch_figures.framework(picture(108), *[picture(216)] * 3, corners, [0, 4, 0, 0, 0, 4], "")
    sizes = [(p.get_width(), p.get_height()) for p in fig.axes[1].patches]
    assert sizes == [(48, 30), (12, 30), (48, 30), (48, 48), (12, 48), (48, 48)]
    mask = patch_figures.plain_mask(corners, [0, 4, 0, 0, 0, 4], 108, 108)
    assert mask[:30, 48:60].all() and mask[30:78, 60:].all() and mask.sum() == 30 * 12 + 48 * 48


def test_legends_show_the_colours_of_the_classes_over_grey():
    fig = patch_figures.difficulty_maps(np.full((96, 96, 3), 127, np.uint8), [(0, 0)], [2], [2], 2, "flat")
    fig.canvas.draw()
    x, y = fig.axes[1].transData.transform((48, 48)).astype(int)
    pixel = np.asarray(fig.canvas.buffer_rgba())[::-1][y, x]
    legend = fig.legends[0].get_patches()[2].get_facecolor()
    assert np.abs(pixel - 255 * np.array(legend)).max() < 3


def test_framework_shows_every_step_in_order():
    hard, easy = 0 * picture(), 0 * picture() + 9
    fig = patch_figures.framework(picture(96), hard, easy, picture(), CORNERS, [0, 0, 4, 4], "Set5, baby, ×2")
    assert [ax.get_title().split()[0] for ax in fig.axes] == ["LR", "class", "mask:", "complex", "plain", "result:"]
    assert inside(fig)
    mask, hard, easy = (ax.images[0].get_array()[..., 0] for ax in fig.axes[2:5])
    assert (mask[:48] == 0).all() and (mask[48:] == 255).all()
    assert (hard[:96] == 0).all() and (easy[96:] == 9).all() and (hard[96:] == easy[:96]).all()  # blank


def test_confusion_prints_every_count():
    rows = pd.DataFrame({"actual": [0, 0, 4, 4, 4], "predicted": [0, 1, 4, 4, 3]})
    fig = patch_figures.confusion(confusion(rows), "title")
    (ax,) = fig.axes
    assert [t.get_text() for t in ax.texts] == [str(n) for n in confusion(rows).to_numpy().ravel()] and inside(fig)
    assert ax.get_yticklabels()[-1].get_text() == "≥ 45 dB" and ax.get_title().endswith("colour: share of the row")


def test_balance_adds_up_and_names_the_share_of_easy_patches():
    shares = pd.DataFrame([[0.5, 0.2, 0.1, 0.1, 0.1], [0, 0, 0, 0, 1]], index=["Set5", "Urban100"], columns=CLASSES)
    (ax,) = (fig := patch_figures.balance(shares, 2)).axes
    assert [t.get_text() for t in ax.texts] == ["10.0 % easy", "100.0 % easy"] and inside(fig)
    ends = {round(p.get_x() + p.get_width(), 6) for p in ax.containers[-1]}
    assert ends == {1.0} and ax.get_xlim() == (0, 1)


def test_sweep_has_the_gain_on_the_left_and_time_on_the_right():
    table = pd.DataFrame({"threshold": [0, 0.5, 1.01, np.nan], "share": [1, 0.25, 0, 0.3], "psnr": [20.0, 25, 25.5, 25.2]})
    left, right = (fig := patch_figures.sweep({"Set5": table}, (0.001, 0.002, 0.1), 2)).axes
    assert left.lines[0].get_ydata() == pytest.approx([-0.5, 0]) and left.lines[1].get_ydata()[0] == pytest.approx(-0.3)
    assert [t.get_text() for t in fig.legends[0].get_texts()] == ["Set5 (threshold 0: −5.50 dB)"]
    assert right.lines[0].get_ydata() == pytest.approx([1 + 0.25 * 2 + 75, 101]) and inside(fig)
