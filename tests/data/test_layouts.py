"""Sets of pairs: official folders and a user's own, made up of tiny files."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from srlib.core.errors import SRError
from srlib.data.images import read_image, write_image
from srlib.data.layouts import CAMERAS, LAYOUTS
from srlib.data.pairs import open_pairs
from srlib.data.patches import PatchSampler
from srlib.data.sets import known_sets, open_set


def write_pair(hr: Path, lr: Path, scale: int, value: int = 0) -> None:
    """An HR image of 8x16 pixels that counts up from `value`, and an LR image that repeats every scale-th of them."""
    picture = np.add.outer(np.arange(8), 16 * np.arange(16))[..., None] * np.ones(3, int) + value
    write_image(hr, picture.astype(np.uint8))
    write_image(lr, picture[::scale, ::scale].astype(np.uint8))


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("SRLIB_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def make(root: Path, name: str, count: int | None = None) -> Path:
    """Write a published set, whole or of `count` pairs; return the folder of its first HR image."""
    layout = LAYOUTS[name]
    shrink = int(name.split("-x")[1][0])
    count = count or layout.count or 6
    for number in range(1, count + 1):
        hr, lr = layout.folders[number % len(layout.folders)]
        key, (big, small) = f"scene_{number}", ("_HR", f"_LR{shrink}")
        if name.startswith("RealSR"):
            key = f"{CAMERAS[number % 2]}_{number:03d}"
        elif name.startswith("DRealSR"):
            big, small = "_x1", f"_x{shrink}"
        else:
            big = small = ""
        write_pair(root / hr / f"{key}{big}.png", root / lr / f"{key}{small}.png", layout.scale, number)
    return root / layout.folders[0][0]


@pytest.mark.parametrize("name", ["RealSR-V2-x3/test", "RealSR-V3-x4/train", "DRealSR-x2/test", "D2CRealSR-x8/test"])
def test_official_folders(root, name):
    make(root, name)
    scale = LAYOUTS[name].scale
    assert scale == {"RealSR-V2-x3/test": 1, "RealSR-V3-x4/train": 4, "DRealSR-x2/test": 2, "D2CRealSR-x8/test": 8}[name]
    pairs = open_pairs(name, scale)
    assert len(pairs) == (LAYOUTS[name].count or 6) and pairs.scale == scale
    for lr, hr in pairs:
        np.testing.assert_array_equal(lr, hr[::scale, ::scale])
    batch = PatchSampler(pairs, batch=5, lr_patch=1 if scale == 8 else 2, seed=0).batch(3)
    np.testing.assert_array_equal(batch[0].shape[-1] * scale, batch[1].shape[-1])
    images = open_set(name)
    assert images.paired and images.scale == scale
    np.testing.assert_array_equal(images.lr(1, images[1], scale), pairs[1][0])


def test_pairs_are_in_natural_order_and_named_by_what_they_share(root):
    make(root, "DRealSR-x3/test")
    assert open_set("DRealSR-x3/test").names == tuple(f"scene_{number}" for number in range(1, 85))


def test_another_scale_is_refused(root):
    make(root, "RealSR-V2-x2/train")
    with pytest.raises(SRError, match=r"scale: got 2, but RealSR-V2-x2/train has LR and HR of one size \(scale 1\)"):
        open_pairs("RealSR-V2-x2/train", 2)
    make(root, "RealSR-V3-x2/train")
    with pytest.raises(SRError, match="scale: got 1, but RealSR-V3-x2/train has pairs of scale 2; take a model of that scale"):
        open_pairs("RealSR-V3-x2/train", 1)


def test_what_is_missing_is_named(root):
    with pytest.raises(SRError, match=r"DRealSR-x4/test: .*test_HR does not exist; unpack the archive of https://.* in .*/DReal"):
        open_set("DRealSR-x4/test")
    folder = make(root, "RealSR-V3-x4/test", count=60)
    with pytest.raises(SRError, match="RealSR-V3-x4/test: 60 pairs in .*, the official set has 100; unpack the archive again"):
        open_set("RealSR-V3-x4/test")
    (folder / "Canon_002_LR4.png").unlink()
    message = "30 HR and 29 LR images, and Canon_002_HR.png has no LR partner in .*Canon/Test/4; name the files NAME_HR.png"
    with pytest.raises(SRError, match=message):
        open_set("RealSR-V3-x4/test")
    assert set(LAYOUTS) < set(known_sets())


@pytest.fixture
def mine(tmp_path) -> Path:
    folder = tmp_path / "mine"
    for i in (1, 2, 10):
        write_pair(folder / f"street_{i}_HR.png", folder / f"street_{i}_LR.png", 2, i)
    return folder


class TestOwnPairs:
    def test_in_one_folder_or_in_two(self, mine, tmp_path):
        one = open_pairs(f"pairs:{mine}", 2)
        assert one.names == ("street_1", "street_2", "street_10")
        for kind in ("HR", "LR"):
            for path in mine.glob(f"*_{kind}.png"):
                write_image(tmp_path / "two" / kind / path.name.replace(f"_{kind}", ""), read_image(path))
        two = open_pairs(f"pairs:{tmp_path / 'two'}", 2)
        assert two.names == one.names and two.fingerprint == one.fingerprint
        assert all((lr == other).all() for (lr, _), (other, _) in zip(two, one, strict=True))

    def test_sizes_must_match(self, mine):
        with pytest.raises(SRError, match=r"street_1_LR.png: 4x8 pixels, expected 8x16 for scale 1: .*street_1_HR.png has 8x16"):
            open_pairs(f"pairs:{mine}", 1)
        images = open_set(f"pairs:{mine}")
        with pytest.raises(SRError, match=r"street_2_LR.png: 4x8 pixels, expected 2x4 for scale 4"):
            images.lr(1, images[1], 4)

    def test_lr_files_are_part_of_the_fingerprint(self, mine):
        before = open_pairs(f"pairs:{mine}", 2)
        write_image(mine / "street_2_LR.png", np.zeros((4, 8, 3), np.uint8))
        after = open_pairs(f"pairs:{mine}", 2)
        assert after.fingerprint != before.fingerprint and not after[1][0].any()
        assert open_set(f"pairs:{mine}").fingerprint != open_set(f"folder:{mine}").fingerprint

    def test_partners_must_be_there(self, mine):
        for i in (2, 10):
            (mine / f"street_{i}_HR.png").unlink()
        message = "1 HR and 3 LR images, and street_2_LR.png has no HR partner in .*mine, nor do 1 more have one; name the"
        with pytest.raises(SRError, match=message):
            open_set(f"pairs:{mine}")

    def test_names_must_tell(self, mine, tmp_path):
        shutil.copy(mine / "street_1_LR.png", mine / "street_1_LR2.png")
        with pytest.raises(SRError, match="street_1_LR2.png and street_1_LR.png both stand for 'street_1'; keep one"):
            open_set(f"pairs:{mine}")
        (mine / "street_1_LR2.png").rename(mine / "other.png")
        with pytest.raises(SRError, match="other.png ends in neither _HR nor _LR; name the files"):
            open_set(f"pairs:{mine}")
        (tmp_path / "half" / "HR").mkdir(parents=True)
        with pytest.raises(SRError, match="half/LR does not exist beside HR; name the files"):
            open_set(f"pairs:{tmp_path / 'half'}")
        with pytest.raises(SRError, match="nowhere does not exist"):
            open_set(f"pairs:{tmp_path / 'nowhere'}")

    def test_grey_files_become_rgb(self, mine):
        write_image(mine / "grey_HR.png", np.full((8, 16), 9, np.uint8))
        write_image(mine / "grey_LR.png", np.full((4, 8), 9, np.uint8))
        images = open_set(f"pairs:{mine}")
        assert images[0].shape == (8, 16, 3) and images.lr(0, images[0], 2).shape == (4, 8, 3)
