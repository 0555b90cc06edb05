from collections import Counter

import numpy as np
import pytest
import torch

from srlib.core.errors import SRError
from srlib.data.images import write_image
from srlib.data.pairs import open_pairs
from srlib.data.patches import PatchSampler

SIZES = {"large": (40, 60), "small": (20, 24), "tiny": (10, 40)}


@pytest.fixture
def pairs(tmp_path):
    rng = np.random.default_rng(0)
    for name, size in SIZES.items():
        write_image(tmp_path / "pictures" / f"{name}.png", rng.integers(0, 256, (*size, 3), dtype=np.uint8))
    return open_pairs(f"folder:{tmp_path / 'pictures'}", 2)


def symmetries(patch: np.ndarray) -> list[np.ndarray]:
    """The 8 symmetries of a patch (h, w, 3), by rotations and a mirror."""
    turned = [np.rot90(patch, k) for k in range(4)]
    return turned + [each[:, ::-1] for each in turned]


def find(pairs, lr: np.ndarray) -> tuple[int, int, int, int]:
    """Return where a patch (3, h, w) comes from: image, top, left, symmetry; the images are noise, so it is unique."""
    side = lr.shape[-1]
    places = []
    for kind, patch in enumerate(symmetries(lr.transpose(1, 2, 0))):
        for i, (image, _) in enumerate(pairs):
            if min(image.shape[:2]) < side:
                continue
            windows = np.lib.stride_tricks.sliding_window_view(image, (side, side), axis=(0, 1))
            for top, left in np.argwhere((windows == patch.transpose(2, 0, 1)).all(axis=(2, 3, 4))):
                places.append((i, int(top), int(left), kind))
    (place,) = places
    return place


def test_hr_patches_lie_where_their_lr_patches_lie(pairs):
    lr, hr = PatchSampler(pairs, batch=40, lr_patch=7, seed=0).batch(0)
    assert lr.shape == (40, 3, 7, 7) and hr.shape == (40, 3, 14, 14)
    assert lr.dtype == hr.dtype == torch.uint8 and lr.is_contiguous() and hr.is_contiguous()
    kinds = set()
    for small, large in zip(lr.numpy(), hr.numpy(), strict=True):
        i, top, left, kind = find(pairs, small)
        whole = symmetries(large.transpose(1, 2, 0))[kind]
        np.testing.assert_array_equal(whole, pairs[i][1][2 * top : 2 * top + 14, 2 * left : 2 * left + 14])
        kinds.add(kind)
    assert kinds == set(range(8))


def test_every_position_and_symmetry_is_equally_likely(pairs):
    side = 9  # large has 12 x 22 positions, small 2 x 4, tiny none
    sampler = PatchSampler(pairs, batch=500, lr_patch=side, seed=3)
    assert sampler.skipped == ("tiny",)
    places = [find(pairs, lr) for lr in sampler.batch(0)[0].numpy()]
    images = Counter(place[0] for place in places)
    share = 8 / (12 * 22 + 8)
    assert abs(images[1] / 500 - share) < 4 * np.sqrt(share / 500)
    kinds = Counter(place[3] for place in places)
    assert set(kinds) == set(range(8)) and max(kinds.values()) < 100  # expected 62.5
    assert {place[1] for place in places if place[0] == 0} == set(range(12))
    assert {place[2] for place in places if place[0] == 0} == set(range(22))


def test_a_batch_is_a_pure_function_of_seed_and_step(pairs):
    sampler = PatchSampler(pairs, batch=4, lr_patch=8, seed=1)
    forwards = [sampler.batch(step) for step in range(5)]
    other = PatchSampler(pairs, batch=4, lr_patch=8, seed=1)
    for step in reversed(range(5)):
        for one, two in zip(forwards[step], other.batch(step), strict=True):
            assert torch.equal(one, two)
    batches = [lr.numpy().tobytes() for lr, _ in forwards]
    assert len(set(batches)) == 5
    assert PatchSampler(pairs, batch=4, lr_patch=8, seed=2).batch(0)[0].numpy().tobytes() not in batches


def test_a_batch_belongs_to_its_caller(pairs):
    sampler = PatchSampler(pairs, batch=4, lr_patch=8, seed=1)
    lr, hr = sampler.batch(0)
    before = hr.clone()
    sampler.batch(1)
    assert torch.equal(hr, before)
    lr.zero_()
    assert sampler.batch(0)[0].any()


@pytest.mark.parametrize("batch, world", [(8, 1), (8, 2), (7, 3), (2, 4)])
def test_ranks_share_one_batch(pairs, batch, world):
    sampler = PatchSampler(pairs, batch=batch, lr_patch=8, seed=1)
    whole = sampler.batch(3)
    parts = [sampler.batch(3, rank, world) for rank in range(world)]
    assert [len(lr) for lr, _ in parts] == [(r + 1) * batch // world - r * batch // world for r in range(world)]
    for k in range(2):
        assert torch.equal(torch.cat([part[k] for part in parts]), whole[k])


def test_a_patch_as_large_as_an_image_is_taken_whole(pairs):
    sampler = PatchSampler(pairs, batch=8, lr_patch=20, seed=0)
    assert sampler.skipped == ("small", "tiny")
    assert {find(pairs, lr)[1] for lr in sampler.batch(0)[0].numpy()} == {0}


def test_a_patch_that_fits_nowhere_is_refused(pairs):
    with pytest.raises(SRError, match=r"lr_patch: got 21, larger than every LR image .* 20x30 pixels: give at most 20"):
        PatchSampler(pairs, batch=4, lr_patch=21, seed=0)


def test_arguments_are_checked(pairs):
    for bad in ({"batch": 0}, {"lr_patch": 1.5}, {"seed": -1}, {"batch": True}):
        (argument,) = bad
        with pytest.raises(SRError, match=f"{argument}: got .*, expected a whole number"):
            PatchSampler(pairs, **{"batch": 2, "lr_patch": 4, "seed": 0, **bad})
    sampler = PatchSampler(pairs, batch=2, lr_patch=4, seed=0)
    with pytest.raises(SRError, match="step: got -1"):
        sampler.batch(-1)
    with pytest.raises(SRError, match="rank: got 2, expected less than world = 2"):
        sampler.batch(0, rank=2, world=2)


def test_training_images_give_batches(datasets):
    pairs = open_pairs("T91+BSD400", 4)
    sampler = PatchSampler(pairs, batch=16, lr_patch=24, seed=0)
    assert sampler.skipped == ("t20",)  # 78x78: 19 LR pixels
    lr, hr = sampler.batch(100)
    assert lr.shape == (16, 3, 24, 24) and hr.shape == (16, 3, 96, 96)
    means = hr.float().mean(dim=(1, 2, 3)) - lr.float().mean(dim=(1, 2, 3))
    assert means.abs().max() < 3
