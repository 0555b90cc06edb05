import hashlib
import json
import os
import random
from contextlib import nullcontext
from pathlib import Path

import pytest

from srlib.core import files
from srlib.core.errors import SRError
from srlib.core.paths import home
from srlib.data import registry


def test_loaders_never_download(root, server):
    with pytest.raises(SRError) as caught:
        registry.paths("Tiny")
    assert str(caught.value) == (
        f"Tiny: 6 of 6 files are missing in {root}: Tiny/img_1.bin, Tiny/img_2.bin, Tiny/img_3.bin and 3 more. "
        "Run `make data` or `python -m srlib data Tiny`, or set SRLIB_DATA to a folder that has them"
    )
    assert not server.requests and not root.exists()


def test_loaders_refuse_a_damaged_file(root, content):
    registry.fetch("Tiny", progress=False)
    (root / "Tiny" / "img_2.bin").write_bytes(b"damaged")
    (root / "Tiny" / "img_4.bin").unlink()
    assert list(registry.verify("Tiny").status) == ["ok", "wrong hash", "ok", "missing", "ok", "ok"]
    (root / "Tiny" / "img_4.bin").write_bytes(b"damaged too")
    got, expected = (hashlib.sha256(data).hexdigest() for data in (b"damaged", content["img_2.bin"]))
    message = rf"img_2.bin has sha256 {got}, expected {expected} \(and 1 more files\).*data Tiny` replaces it"
    with pytest.raises(SRError, match=message):
        registry.paths("Tiny")


def test_a_cached_hash_is_computed_again_before_a_file_is_refused(root, server):
    registry.fetch("Tiny", progress=False)
    cache = files._cache_file((root / "Tiny").resolve())
    entries = json.loads(cache.read_text())
    wrong = json.dumps(entries | {"img_2.bin": entries["img_2.bin"][:-64] + "0" * 64})
    server.requests.clear()
    for call in (registry.paths, registry.fetch):
        cache.write_text(wrong)
        assert len(call("Tiny")) == 6 and not server.requests


def test_contents_count_not_size_and_time(root, content):
    registry.fetch("Tiny", progress=False)
    file = root / "Tiny" / "img_2.bin"
    stat, right = file.stat(), content["img_2.bin"]
    for data, status in ((right[:-1] + b"x", "wrong hash"), (right, "ok")):
        file.write_bytes(data)
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        assert registry.verify("Tiny").status[1] == status
        with nullcontext() if data == right else pytest.raises(SRError, match=r"img_2\.bin has sha256"):
            assert file in registry.paths("Tiny")


def test_names_are_checked(root):
    with pytest.raises(SRError, match="unknown dataset 'tiny'. Did you mean 'Tiny'"):
        registry.fetch("tiny")
    for work in (registry.fetch, registry.verify):
        with pytest.raises(SRError, match=r"DIV2K: not fetched.*DIV2K_train_HR.zip.*https://data.vision.ee.ethz.ch/cvl/DIV2K/"):
            work("DIV2K")
    with pytest.raises(SRError, match="workers: got 0, expected a whole number of at least 1"):
        registry.fetch("Tiny", workers=0)


def test_a_damaged_registry_is_named(root):
    file = registry.FILE
    for content in ("dataset,file\nTiny,a\n", "", 'a,b\n"'):
        file.write_text(content)
        with pytest.raises(SRError, match=rf"cannot read {file} .*expected the columns dataset, split, file"):
            registry.datasets()


def test_the_page_on_data_says_what_is_fetched_on_request():
    page, rows = (home() / "docs" / "data.md").read_text(), registry.table()
    asked = {line.split("|")[1].strip() for line in page.splitlines() if "| on request" in line}
    assert asked & set(registry.datasets()) == set(registry.OPTIONAL)
    size = rows.bytes[~rows.dataset.isin(registry.OPTIONAL)].sum()
    assert f"fetches all of them but lpips, {size / 1e6:.0f} MB" in page


def test_the_projects_registry_is_sound():
    rows = registry.table()
    counts = {"Set5": 5, "Set14": 14, "B100": 100, "Urban100": 100, "T91": 91, "BSD400": 400}
    counts |= {"City100-nikon": 200, "City100-iphone": 200, "RealSR-NTIRE19": 32, "DIV2K-x4lr": 800, "official": 17, "lpips": 2}
    assert rows.groupby("dataset").size().to_dict() == counts
    assert registry.datasets() == list(counts)
    assert rows.file.is_unique and rows.url.is_unique
    assert not set(rows.sha256[rows.split == "train"]) & set(rows.sha256[rows.split == "test"])
    assert rows.sha256.str.fullmatch("[0-9a-f]{64}").all()
    assert rows.url.str.startswith("https://").all() and (rows.bytes > 0).all()
    assert (rows.file.str.split("/").str[0] == rows.dataset.str.split("-").str[0]).all()
    cities, weights = rows.dataset.str.startswith("City100"), rows.dataset.isin(["official", "lpips"])
    assert rows[~cities & ~weights].groupby("dataset").split.nunique().eq(1).all()
    for name, scenes in rows[cities].groupby("dataset"):
        assert scenes.groupby("split").size().to_dict() == {"train": 190, "test": 10}, name
        expected = [f"{number:03d}{kind}" for number in range(1, 101) for kind in "HL"]
        assert sorted(scenes.file.map(lambda file: Path(file).stem)) == expected
    hr, lr = (rows.file[rows.file.str.startswith(f"RealSR/NTIRE19/{kind}/")].map(os.path.basename) for kind in ("HR", "LR"))
    assert len(hr) == 16 and list(hr) == list(lr)
    official = [f"DIV2K/DIV2K_train_LR_bicubic/X4/{number:04d}x4.png" for number in range(1, 801)]
    assert list(rows.file[rows.dataset == "DIV2K-x4lr"]) == official
    pinned = rows.url.str.match(r"https://raw\.githubusercontent\.com/[^/]+/[^/]+/[0-9a-f]{40}/")
    assert pinned[rows.url.str.contains("github")].all()


def test_a_split_is_named_behind_the_dataset():
    test, train = (registry.files(f"City100-nikon/{split}") for split in ("test", "train"))
    assert len(test) == 10 and len(train) == 190 and set(test.split) == {"test"}
    with pytest.raises(SRError, match="unknown dataset 'City100-nikon/val'.*Known: City100-nikon/test, City100-nikon/test20"):
        registry.files("City100-nikon/val")
    assert registry.splits("City100-iphone") == ["test", "train", "train13", "train80", "test20"]
    assert registry.splits("Set5") == ["test"]
    with pytest.raises(SRError, match="unknown dataset 'Set5/test20'.*Known: Set5/test"):
        registry.files("Set5/test20")


def scenes(dataset: str) -> list[int]:
    """The scenes of City100 in a split, each with its HR and its LR file."""
    files = registry.files(dataset).file.map(lambda file: Path(file).stem)
    hr, lr = (sorted(int(file[:3]) for file in files if file[3] == kind) for kind in "HL")
    assert hr == lr and len(files) == 2 * len(hr)
    return hr


@pytest.mark.parametrize("camera", registry.CITY100)
def test_the_splits_of_city100(camera):
    train13, train80, test20 = (scenes(f"{camera}/{split}") for split in ("train13", "train80", "test20"))
    official = scenes(f"{camera}/test")
    assert (train13, official) == (list(range(2, 15)), [1, 16, 48, 60, 98])
    assert len(train80) == 80 and len(test20) == 20 and sorted(train80 + test20) == list(range(1, 101))
    assert set(official) < set(test20) and not set(train13) & set(test20)
    draw = random.Random(0)
    others = sorted({*range(1, 101)} - {*official} - {*train13})
    assert test20 == sorted(official + sorted(others, key=lambda scene: draw.random())[:15])
    assert set(registry.files(f"{camera}/test20").dataset) == {camera}


def test_train13_is_what_the_released_networks_were_trained_on():
    rows = registry.files("City100-nikon/train13")
    hashes = {Path(file).stem: value for file, value in zip(rows.file, rows.sha256, strict=True)}
    lines = "".join(f"{scene:03d} {hashes[f'{scene:03d}H']} {hashes[f'{scene:03d}L']}\n" for scene in range(2, 15))
    pairs = f"{hashlib.sha256(lines.encode()).hexdigest()} 1 {hashlib.sha256(b'pairs').hexdigest()}"
    cards = [json.loads(card.read_text()) for card in (home() / "data" / "weights").glob("*/*.json")]
    made = [card["provenance"]["data"] for card in cards if card["experiment"]["data"].startswith("City100")]
    assert made and all(2 * one["images"] == len(registry.files(one["name"])) for one in made)
    thirteen = {one["fingerprint"] for one in made if one["name"] == "City100-nikon/train13"}
    assert thirteen == {hashlib.sha256(pairs.encode()).hexdigest()}
