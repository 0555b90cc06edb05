import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from srlib.core import files
from srlib.core.errors import SRError
from srlib.core.imresize import downscale, modcrop
from srlib.data import pairs as pairs_module
from srlib.data.images import write_image
from srlib.data.pairs import open_pairs

SIZES = {"a": (31, 40), "b": (24, 24), "c": (50, 17)}


@pytest.fixture
def originals() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.integers(0, 256, (*size, 3), dtype=np.uint8) for name, size in SIZES.items()}


@pytest.fixture
def name(tmp_path, originals) -> str:
    for key, image in originals.items():
        write_image(tmp_path / "pictures" / f"{key}.png", image)
    return f"folder:{tmp_path / 'pictures'}"


def cached(tmp_path, prefix: str = "") -> list[Path]:
    packed = (path for path in (tmp_path / "cache" / "packs").rglob(f"{prefix}*") if path.is_file() and path.name != ".lock")
    return sorted(packed)


def check(pairs, originals) -> None:
    for (lr, hr), original in zip(pairs, originals.values(), strict=True):
        np.testing.assert_array_equal(hr, modcrop(original, pairs.scale))
        np.testing.assert_array_equal(lr, downscale(original, pairs.scale))


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_pairs_are_the_images_and_their_downscaled_versions(name, originals, scale):
    pairs = open_pairs(name, scale)
    assert len(pairs) == 3 and pairs.names == tuple(originals) and pairs.scale == scale and pairs.skipped == ()
    check(pairs, originals)
    for size, (lr, hr) in zip(pairs.sizes, pairs, strict=True):
        assert tuple(size) == lr.shape[:2] and not lr.flags.writeable and not hr.flags.writeable
        assert isinstance(lr.base.base, np.memmap) and isinstance(hr.base.base, np.memmap)


def test_images_are_decoded_once_and_lr_made_once_per_scale(name, monkeypatch, tmp_path, originals):
    first = open_pairs(name, 2)
    monkeypatch.setattr(pairs_module, "_pack_hr", lambda *args: pytest.fail("packed HR again"))
    open_pairs(name, 3)
    for writer in ("_pack_lr", "locked", "atomic", "write_json"):
        monkeypatch.setattr(pairs_module, writer, lambda *args: pytest.fail("wrote into the cache"))
    again = open_pairs(name, 2)
    assert again.fingerprint == first.fingerprint != open_pairs(name, 3).fingerprint
    check(again, originals)
    assert len(cached(tmp_path)) == 4  # hr.bin, index.json and two scales
    monkeypatch.setattr(files, "sha256", lambda file: pytest.fail(f"hashed {file} again"))
    open_pairs(name, 2)


def test_changed_images_get_a_new_pack(name, tmp_path):
    before = open_pairs(name, 2)
    write_image(tmp_path / "pictures" / "a.png", np.full((20, 20, 3), 7, np.uint8))
    after = open_pairs(name, 2)
    assert after.fingerprint != before.fingerprint
    assert after[0][1].shape == (20, 20, 3) and (after[0][0] == 7).all()


def test_lr_images_of_an_older_arithmetic_are_not_reused(name, monkeypatch):
    before = open_pairs(name, 2)
    monkeypatch.setattr(pairs_module, "downscale", lambda hr, scale: modcrop(hr, scale)[::scale, ::scale])
    after = open_pairs(name, 2)
    assert after.fingerprint != before.fingerprint
    np.testing.assert_array_equal(after[1][0], after[1][1][::2, ::2])


def test_grey_images_become_rgb(tmp_path):
    grey = np.random.default_rng(0).integers(0, 256, (12, 16), dtype=np.uint8)
    write_image(tmp_path / "pictures" / "grey.png", grey)
    check(open_pairs(f"folder:{tmp_path / 'pictures'}", 2), {"grey": np.dstack([grey] * 3)})


def test_images_smaller_than_the_scale_are_left_out(name, tmp_path):
    write_image(tmp_path / "pictures" / "aa.png", np.zeros((3, 90, 3), np.uint8))
    pairs = open_pairs(name, 4)
    assert pairs.names == ("a", "b", "c") and pairs.skipped == ("aa",)
    assert [tuple(size) for size in pairs.sizes] == [(height // 4, width // 4) for height, width in SIZES.values()]
    assert len(open_pairs(name, 3)) == 4
    with pytest.raises(SRError, match="all 4 images are smaller than scale 60"):
        open_pairs(name, 60)


@pytest.mark.parametrize("scale", [0, -2, 1.5, "2", True])
def test_a_bad_scale_is_refused(name, scale):
    with pytest.raises(SRError, match=r"scale: got .*, expected a whole number of at least 1"):
        open_pairs(name, scale)


def test_an_image_that_cannot_be_read_leaves_no_pack(name, tmp_path):
    picture = tmp_path / "pictures" / "b.png"
    picture.write_bytes(picture.read_bytes()[:200])
    with pytest.raises(SRError, match=r"b\.png: cannot be decoded"):
        open_pairs(name, 2)
    assert cached(tmp_path) == []


@pytest.mark.parametrize("damage", ["hr.bin", "index.json", "lr_x2"])
def test_a_truncated_cache_is_made_again(name, originals, tmp_path, damage):
    open_pairs(name, 2)
    (file,) = cached(tmp_path, damage)
    file.write_bytes(file.read_bytes()[:-5])
    check(open_pairs(name, 2), originals)


@pytest.mark.parametrize("content", ["[]", "{}", "3", '{"format": 2}', '{"format": 2, "sizes": 3, "files": []}'])
def test_a_foreign_index_is_written_anew(name, originals, tmp_path, content):
    open_pairs(name, 2)
    (file,) = cached(tmp_path, "index.json")
    file.write_text(content)
    check(open_pairs(name, 2), originals)
    assert json.loads(file.read_text()) != json.loads(content)


@pytest.mark.parametrize("overwritten", ["hr.bin", "lr_x2"])
def test_a_pack_that_was_overwritten_is_packed_anew_with_one_line(name, originals, tmp_path, capsys, overwritten):
    before = open_pairs(name, 2).fingerprint
    assert capsys.readouterr() == ("", "")
    (file,) = cached(tmp_path, overwritten)
    stat = file.stat()
    with open(file, "r+b") as stream:
        stream.write(bytes(500))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    pairs = open_pairs(name, 2)
    check(pairs, originals)
    assert pairs.fingerprint == before
    assert capsys.readouterr() == ("", f"{file} has changed since it was packed; it is packed anew\n")
    open_pairs(name, 2)
    assert capsys.readouterr() == ("", "")


def test_packs_of_another_format_are_packed_anew(name, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(pairs_module, "FORMAT", 1)
        before = open_pairs(name, 2)
    after = open_pairs(name, 2)
    assert after.fingerprint != before.fingerprint
    assert len(cached(tmp_path)) == 3 and capsys.readouterr().err == ""  # the LR images of the old format are gone


@pytest.mark.parametrize("after", [0, 1, 4])
def test_a_full_disk_leaves_nothing_and_says_so(name, tmp_path, monkeypatch, after):
    """The disk fills at a write of the HR images (0, 1) or of the LR images (4)."""
    written = []

    def nearly_full(path, mode):
        stream = open(path, mode, buffering=0)

        class Disk:
            fileno, flush = stream.fileno, stream.flush

            def __enter__(self):
                return self

            def __exit__(self, *error):
                stream.close()

            def write(self, data):
                if len(written) >= after:
                    raise OSError(errno.ENOSPC, "No space left on device")
                written.append(stream.write(data))

        return Disk()

    message = "cannot write .*bin: No space left on device.*free some space or set SRLIB_CACHE"
    with monkeypatch.context() as patch, pytest.raises(SRError, match=message):
        patch.setattr(pairs_module, "open", nearly_full, raising=False)
        open_pairs(name, 2)
    assert {path.name for path in cached(tmp_path)} == ({"hr.bin", "index.json"} if after == 4 else set())
    assert len(open_pairs(name, 2)) == 3


@pytest.mark.filterwarnings("ignore:hashes of")
def test_a_cache_that_cannot_be_written_is_named(name, tmp_path, monkeypatch):
    (tmp_path / "file").touch()  # root writes into read-only folders, but nobody below a file
    monkeypatch.setenv("SRLIB_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(SRError, match=r"cannot write .*file/cache/packs/.*set SRLIB_CACHE to a folder on another disk"):
        open_pairs(name, 2)


def test_two_processes_pack_the_same_set(name, originals):
    code = f"from srlib.data.pairs import open_pairs; print(sum(int(lr.sum()) for lr, _ in open_pairs({name!r}, 2)))"
    children = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    sums = [int(child.communicate()[0]) for child in children]
    assert sums == [sum(int(downscale(image, 2).sum()) for image in originals.values())] * 2


def test_a_killed_packing_is_made_again_and_cleared_away(name, tmp_path, originals):
    code = f"""
import os
from srlib.data import pairs
os.fsync = lambda descriptor: os._exit(9)  # written, not yet moved into place
pairs.open_pairs({name!r}, 2)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 9
    assert [path.suffix for path in cached(tmp_path)] == [".part"]
    check(open_pairs(name, 2), originals)
    assert not [path for path in cached(tmp_path) if path.suffix == ".part"]


def test_packing_can_show_a_bar(name, capsys):
    open_pairs(name, 2, progress=True)
    assert "LR images: 100%" in capsys.readouterr().err
    open_pairs(name, 3)
    assert capsys.readouterr().err == ""


def test_official_lr_images_are_used_where_present(div2k):
    pairs = open_pairs("DIV2K-val", 2)
    assert [int(lr[0, 0, 0]) for lr, _ in pairs] == list(range(101, 201))
    assert (open_pairs("DIV2K-val", 4)[5][0] == 6).all()
    shutil.rmtree(div2k / "DIV2K_valid_LR_bicubic")
    computed = open_pairs("DIV2K-val", 2)
    assert (computed[5][0] == 6).all() and computed.fingerprint != pairs.fingerprint


def test_official_lr_images_that_do_not_fit_are_refused(div2k):
    first = div2k / "DIV2K_valid_LR_bicubic" / "X2" / "0801x2.png"
    write_image(first, np.zeros((2, 4, 3), np.uint8))
    with pytest.raises(SRError, match=r"0801x2.png: \(2, 4\) pixels, expected \(2, 3\) for scale 2"):
        open_pairs("DIV2K-val", 2)
    first.unlink()
    with pytest.raises(SRError, match="1 official LR images are missing, the first is .*0801x2.png"):
        open_pairs("DIV2K-val", 2)


def test_real_images_pack(datasets):
    pairs = open_pairs("Set5", 3)
    assert pairs.names == ("baby_GT", "bird_GT", "butterfly_GT", "head_GT", "woman_GT")
    assert pairs[0][0].shape == (170, 170, 3) and pairs[0][1].shape == (510, 510, 3)
