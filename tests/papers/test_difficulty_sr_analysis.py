"""Patches of a set, what branches make of them, and what routing is worth."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from srlib.core.errors import SRError
from srlib.core.protocols import protocol
from srlib.nn import models
from srlib.papers.difficulty_sr import analysis
from srlib.papers.difficulty_sr.analysis import CLASSES, as_scores, choose, compare, confusion, identify, patches, sweep
from srlib.papers.difficulty_sr.model import EASIEST, Identifier
from srlib.scoring.evaluation import evaluate, measure


@pytest.fixture
def data(tmp_path) -> str:
    """A noisy picture of 2 x 3 patches with a border that is left over at x2, and one smaller than a patch."""
    rng = np.random.default_rng(0)
    big = rng.integers(0, 256, (200, 300, 3), dtype=np.uint8)
    big[:96, :96] = 77  # its first patch is flat
    Image.fromarray(big).save(tmp_path / "big.png")
    Image.fromarray(big[:60, :60]).save(tmp_path / "small.png")
    return f"folder:{tmp_path}"


def test_patches_lie_side_by_side_and_incomplete_ones_are_dropped(data):
    (found,) = patches(data, 2)
    assert found.image == "big" and found.corners == tuple((y, x) for y in (0, 48) for x in (0, 48, 96))
    assert found.lr.shape == (6, 1, 48, 48) and found.hr.shape == (6, 1, 96, 96)
    assert [p.image for p in patches(data, 2, limit=1)] == ["big"]


def test_grey_images_are_luma_in_both_resolutions(tmp_path):
    picture = np.random.default_rng(1).integers(0, 256, (96, 192), dtype=np.uint8)
    picture[:] = picture[::-1].cumsum(axis=1) // 40 % 200 + 20
    Image.fromarray(picture).save(tmp_path / "grey.png")
    (found,) = patches(f"folder:{tmp_path}", 2)
    assert torch.equal(found.hr, torch.from_numpy(np.stack([picture[:, :96], picture[:, 96:]])[:, None]).float() / 255)
    assert float((found.lr.mean() - found.hr.mean()).abs()) < 0.01
    rows = compare({"complex": models.create("bicubic", 2)}, f"folder:{tmp_path}", 2)
    whole = evaluate(models.create("bicubic", 2), f"folder:{tmp_path}", protocol("y"))
    assert abs(rows["bicubic"].mean() - whole["psnr"].item()) < 1


def test_patch_psnr_is_exact_and_infinite_for_a_perfect_patch():
    hr = torch.zeros(2, 1, 4, 4)
    assert analysis.patch_psnr(torch.stack([hr[0], hr[1] + 0.1]), hr).tolist() == [math.inf, pytest.approx(20, abs=1e-5)]


def test_compare_scores_branches_and_identifiers_patch_by_patch(data):
    identifier, frozen = Identifier(2), Identifier(2).eval()
    rows = compare({"complex": models.create("bicubic", 2), "frozen": frozen, "identifier": identifier}, data, 2)
    assert identifier.training and identifier.classify.training and not frozen.training
    assert len(rows) == 6 and rows["actual"].tolist() == [EASIEST, *[0] * 5]
    assert np.allclose(rows["complex"][1:], rows["bicubic"][1:], atol=1e-3)  # the same network
    assert np.allclose(rows[[f"p{i}" for i in range(5)]].sum(axis=1), 1, atol=1e-5)
    table = confusion(rows)
    assert len(CLASSES) == EASIEST + 1 == 5
    assert table.to_numpy().sum() == 6 and tuple(table.columns) == CLASSES and table.iloc[1:4].to_numpy().sum() == 0


def test_an_identifier_is_scored_by_its_accuracy(data):
    net = Identifier(2)
    with torch.no_grad():
        for p in net.parameters():
            p.zero_()
        net.classify[-1].bias[0] = 1.0  # always the hardest
    rows = identify(net, data)
    assert rows.to_dict("records") == [{"image": "big", "accuracy": 5 / 6, "patches": 6}]
    assert evaluate(net, data, protocol("y")).equals(rows)
    assert measure(net, data, protocol("y")) == {"accuracy": 5 / 6, "images": 1}


def test_captions_say_by_how_much_patches_overlap():
    networks = {name: models.create("difficulty_sr", 2, **args) for name, args in (("A", {}), ("B", {"overlap": 36}))}
    said = analysis.overlap_note({**networks, "C": models.create("bicubic", 2)})
    assert said == "LR pixels by which 48x48 patches overlap: A 0, B 36."
    assert analysis.overlap_note({"C": models.create("bicubic", 2)}) == ""


def test_images_without_a_patch_are_told(data):
    with pytest.raises(SRError, match=r"has no image of 48x48 LR pixels at scale 8; choose larger images"):
        compare({}, data, 8)


def rows() -> pd.DataFrame:
    told = {"predicted": [4, 4, 0, 0], "p4": [0.9, 0.6, 0.4, 0.1]}
    psnr = {"bicubic": [50.0, 30.0, 48.0, 20.0], "complex": [48.0, 33.0, math.inf, 25.0], "actual": [4, 1, 4, 0]}
    return pd.DataFrame({"image": ["a", "a", "b", "b"], "y": 0, "x": [0, 48, 0, 48], **psnr, **told})


def test_choosing_takes_one_branch_per_patch_and_the_oracle_the_better_one():
    chosen = choose(rows())
    assert chosen["difficulty_sr"].tolist() == [50, 30, math.inf, 25]
    assert chosen["oracle"].tolist() == [50, 33, math.inf, 25]


def test_scores_are_split_by_actual_difficulty_and_leave_infinite_patches_out():
    scores = as_scores(choose(rows()), "difficulty_sr", 2)
    counts = scores.groupby(["dataset", "method"]).size().unstack()
    assert counts.loc["patches"].unique().tolist() == [3]
    assert (counts.loc["easy patches", "oracle"], counts.loc["hard patches", "oracle"]) == (1, 2)
    means = scores.groupby(["dataset", "method"])["psnr"].mean()
    assert means["patches", "difficulty_sr"] == pytest.approx((50 + 30 + 25) / 3)
    assert set(scores["image"]) == {"a@0,0", "a@0,48", "b@0,48"}


def test_sweep_goes_from_all_plain_to_none_and_ends_with_the_truth():
    table = sweep(rows(), [0, 0.5, 1.01])
    assert table["share"].tolist() == [1, 0.5, 0, 0.5] and math.isnan(table["threshold"].iloc[-1])
    image_a = -10 * math.log10((10**-5 + 10**-3) / 2), -10 * math.log10((10**-4.8 + 10**-3.3) / 2)
    image_b = -10 * math.log10((10**-4.8 + 10**-2) / 2), -10 * math.log10((0 + 10**-2.5) / 2)
    assert table["psnr"].tolist()[:3:2] == [pytest.approx((image_a[k] + image_b[k]) / 2) for k in (0, 1)]
