import hashlib
import socket
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from srlib.core.errors import SRError
from srlib.data import layouts, registry, sets
from srlib.data.images import write_image
from srlib.data.sets import EMBEDDED, EMBEDDED_TEST, known_sets, open_set


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for i in (1, 2, 10):
        write_image(tmp_path / "pictures" / f"img_{i}.png", rng.integers(0, 256, (6 + i, 9, 3), dtype=np.uint8))
    return tmp_path / "pictures"


def test_a_folder_is_a_set(folder):
    images = open_set(f"folder:{folder}")
    assert len(images) == 3 and images.names == ("img_1", "img_2", "img_10")
    assert [(name, image.shape) for name, image in images] == [
        ("img_1", (7, 9, 3)), ("img_2", (8, 9, 3)), ("img_10", (16, 9, 3)),
    ]  # fmt: skip
    np.testing.assert_array_equal(images[-1], list(images)[2][1])


def test_the_fingerprint_follows_names_and_contents(folder, tmp_path):
    first = open_set(f"folder:{folder}").fingerprint
    folder.rename(tmp_path / "moved")
    moved = tmp_path / "moved"
    assert open_set(f"folder:{moved}").fingerprint == first
    (moved / "img_1.png").rename(moved / "img_3.png")
    renamed = open_set(f"folder:{moved}").fingerprint
    write_image(moved / "img_3.png", np.zeros((7, 9, 3), np.uint8))
    changed = open_set(f"folder:{moved}").fingerprint
    assert len({first, renamed, changed}) == 3


def test_names_are_unique_within_a_set(folder):
    write_image(folder / "img_1.jpg", np.zeros((8, 8, 3), np.uint8))
    assert open_set(f"folder:{folder}").names == ("img_1.jpg", "img_1.png", "img_2", "img_10")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("folder:none", "none does not exist"),
        ("folder:.", "holds no image"),
        ("folder:~/none+T91+B100", r"none\+T91\+B100 does not exist; folders come last in a sum, as in T91\+B100\+folder:~/none"),
        ("pairs:none+City100-nikon", r"folders come last in a sum, as in City100-nikon\+pairs:none"),
        ("Urban10", r"unknown dataset 'Urban10'. Did you mean 'Urban100'\? Known: .*folder:PATH"),
        (None, "data: got None, expected the name of a set: Set5, "),
        ("T91+", "unknown dataset ''"),
        ("embedded+embedded", r"'embedded\+embedded' names 'embedded' twice"),
        ("embedded+embedded-test", "mixes the cropped set"),
        ("embedded+embedded-camera", "mixes sets of pairs with others, or pairs of several scales; name them alone"),
        ("embedded-camera+embedded", "mixes sets of pairs with others, or pairs of several scales; name them alone"),
        ("embedded-camera+embedded-camera-test", "mixes the cropped set 'embedded-camera-test' with others"),
        ("Set5", r"Set5: 5 of 5 files are missing in \.: .*make data"),
    ],
)
def test_names_that_open_nothing(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SRLIB_DATA", ".")
    with pytest.raises(SRError, match=message):
        open_set(name)


def test_a_folder_may_have_a_plus_in_its_name(folder):
    folder.rename(folder.with_name("a+b"))
    assert len(open_set(f"folder:{folder.with_name('a+b')}")) == 3


def test_a_folder_comes_last_in_a_sum(folder):
    assert len(open_set(f"embedded+folder:{folder}")) == len(EMBEDDED) + 3


def test_embedded_photographs_need_no_network(monkeypatch):
    monkeypatch.setattr(socket, "socket", lambda *args, **options: pytest.fail("opened a socket"))
    train, test = open_set("embedded"), open_set("embedded-test")
    assert train.names == EMBEDDED and test.names == EMBEDDED_TEST and not set(EMBEDDED) & set(EMBEDDED_TEST)
    assert train.fingerprint != test.fingerprint
    for images in (train, test):
        assert {image.ndim for _, image in images} == {2, 3}  # grey and colour
        assert all(image.shape[0] * image.shape[1] > 60_000 for _, image in images)
    assert all(max(image.shape[:2]) <= 256 for _, image in test)


@pytest.mark.parametrize(
    ("name", "set_name", "photograph"),
    [
        ("embedded", "embedded", EMBEDDED[0]),
        ("embedded-test", "embedded-test", EMBEDDED_TEST[-1]),
        ("embedded-camera", "embedded", EMBEDDED[1]),
    ],
)
def test_an_embedded_photograph_that_is_missing(tmp_path, monkeypatch, name, set_name, photograph):
    (tmp_path / "data").mkdir()
    for other in {*EMBEDDED, *EMBEDDED_TEST} - {photograph}:
        (tmp_path / "data" / f"{other}.png").touch()
    package = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(sets, "importlib", SimpleNamespace(util=SimpleNamespace(find_spec=lambda name: package)))
    message = f"{set_name}: no photograph {photograph!r} in {tmp_path}/data; install scikit-image 0.25 or later again"
    with pytest.raises(SRError, match=message):
        open_set(name)


def test_the_embedded_fingerprint_is_one_of_pixels(monkeypatch):
    before = open_set("embedded-test").fingerprint
    monkeypatch.setattr("srlib.data.sets.TEST_CROP", 200)
    assert open_set("embedded-test").fingerprint != before


def test_div2k_in_its_official_folders(div2k):
    images = open_set("DIV2K-val")
    assert len(images) == 100 and images.names[:2] == ("0801", "0802")
    assert images[99][0, 0, 0] == 100
    assert images.lr_path(0, 2) == div2k / "DIV2K_valid_LR_bicubic" / "X2" / "0801x2.png"
    assert images.lr_path(0, 3) is None


def test_div2k_says_what_is_missing_and_where_to_get_it(div2k):
    for number in (850, 851):
        (div2k / "DIV2K_valid_HR" / f"0{number}.png").unlink()
    with pytest.raises(SRError, match=r"2 of 100 images are missing in .*DIV2K_valid_HR, the first is 0850.png"):
        open_set("DIV2K-val")
    with pytest.raises(SRError, match=r"800 of 800 .*DIV2K_train_HR.zip .*https://data.vision.ee.ethz.ch/cvl/DIV2K/"):
        open_set("DIV2K")


def test_the_benchmarks_open(datasets):
    sizes = {"Set5": 5, "Set14": 14, "B100": 100, "Urban100": 100, "T91": 91, "BSD400": 400}
    assert {name: len(open_set(name)) for name in sizes} == sizes
    assert set(sizes) < set(known_sets())
    grey = [name for name, image in open_set("Set14") if image.ndim == 2]
    assert grey == ["bridge"]


def test_sums_of_sets(datasets):
    both = open_set("T91+BSD400")
    assert both.name == "T91+BSD400" and len(both) == 491
    assert both.names[:91] == open_set("T91").names and len(set(both.names)) == 491
    assert both.fingerprint not in (open_set("T91").fingerprint, open_set("BSD400+T91").fingerprint)
    assert len(open_set("T91 + embedded")) == 91 + len(EMBEDDED)


@pytest.fixture
def tiny(tmp_path, monkeypatch) -> Path:
    """The registry's sets of pairs and DIV2K-x4lr with files of 4x6 pixels that spell their name; the last is 1 in LR."""
    root = tmp_path / "data"
    rows = registry.table()
    rows = rows[rows.dataset.isin([*layouts.REGISTERED, "DIV2K-x4lr"])].copy()
    for file in rows.file:
        name, image = Path(file).stem.rstrip("HL"), np.zeros((4, 6, 3), np.uint8)
        image.reshape(-1)[: len(name)] = list(name.encode())
        image[-1, -1] = file.endswith("L.PNG") or "/LR/" in file
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(root / file)
    rows["sha256"] = [hashlib.sha256((root / file).read_bytes()).hexdigest() for file in rows.file]
    rows.to_csv(tmp_path / "registry.csv", index=False)
    monkeypatch.setattr(registry, "FILE", tmp_path / "registry.csv")
    monkeypatch.setenv("SRLIB_DATA", str(root))
    return root


def spelt(image: np.ndarray) -> str:
    return image[:-1].tobytes().rstrip(b"\0").decode()


def check_pairs(images) -> None:
    """Check that each name of a tiny set of pairs has the HR and the LR file of that name."""
    assert images.paired and images.scale == 1
    for i, (name, hr) in enumerate(images):
        lr = images.lr(i, hr, 1)
        assert (spelt(hr), hr[-1, -1, 0]) == (name, 0) and (spelt(lr), lr[-1, -1, 0]) == (name, 1)


def test_city100_is_pairs_of_one_size(datasets):
    nikon, iphone = open_set("City100-nikon/test"), open_set("City100-iphone/test")
    assert nikon.names == iphone.names == ("001", "016", "048", "060", "098")
    assert nikon[0].shape == nikon.lr(0, nikon[0], 1).shape == (870, 1218, 3)
    assert nikon.paired and nikon.scale == 1
    assert (nikon[0] != nikon.lr(0, nikon[0], 1)).any()
    assert len(open_set("City100-nikon/test+City100-iphone/test")) == 10
    cropped = nikon.cropped(200)
    assert (cropped[0] == nikon[0][335:535, 509:709]).all() and len(cropped) == 5
    assert (cropped.lr(0, cropped[0], 1) == nikon.lr(0, nikon[0], 1)[335:535, 509:709]).all()


def test_cropped():
    whole = open_set("embedded-test")
    assert whole.cropped(10**4)[0].shape == whole[0].shape == (256, 256)
    assert whole.cropped(100)[0].shape == whole.cropped(100).cropped(200)[0].shape == (100, 100)
    small = replace(whole, lr_files=whole.paths, scale=2)
    assert small.cropped(100) is small  # its LR files would have to be cut, too, on a grid of two pixels


def test_a_split_of_city100_has_exactly_its_scenes(tiny):
    for camera in registry.CITY100:
        assert {f"{camera}/{split}" for split in registry.CITY100_SPLITS} < set(known_sets())
        sizes = {"": 100, "/train": 95, "/test": 5, "/train13": 13, "/train80": 80, "/test20": 20}
        sets = {split: open_set(camera + split) for split in sizes}
        assert {split: len(images) for split, images in sets.items()} == sizes
        for images in sets.values():
            check_pairs(images)
            assert list(images.names) == sorted(images.names)
            assert {path.parent.name for path in (*images.paths, *images.lr_files)} == {camera.removeprefix("City100-")}
        assert sets["/train13"].names == tuple(f"{scene:03d}" for scene in range(2, 15))
    assert open_set("City100-nikon/test20").names == open_set("City100-iphone/test20").names


def test_city100_is_whole_or_an_error(tiny):
    for scene in ("003H", "020L", "021H", "016H"):
        (tiny / "City100" / "nikon" / f"{scene}.PNG").unlink()
    for split, message in {
        "/train": r"3 of 190 files are missing in .*: City100/nikon/003H.PNG, City100/nikon/020L.PNG, City100/nikon/021H.PNG\.",
        "/train80": r"3 of 160 files are missing",
        "/train13": r"1 of 26 files are missing in .*: City100/nikon/003H.PNG\. Run `make data`",
        "/test": r"1 of 10 files are missing in .*: City100/nikon/016H.PNG\.",
        "/test20": r"1 of 40 files are missing in .*: City100/nikon/016H.PNG\.",
        "": "4 of 200 files are missing",
    }.items():
        with pytest.raises(SRError, match=f"City100-nikon{split}: {message}.*`python -m srlib data City100-nikon{split}`"):
            open_set(f"City100-nikon{split}")
    assert len(open_set("City100-iphone/train")) == 95


def test_realsr_ntire19_pairs_one_name_in_two_folders(tiny):
    images = open_set("RealSR-NTIRE19")
    assert len(images) == 16 and images.names[:2] == ("cam1_01", "cam1_02") and images.names[8:10] == ("cam1_010", "cam2_01")
    check_pairs(images)
    with pytest.raises(SRError, match="scale: got 2, but RealSR-NTIRE19 has LR and HR of one size"):
        images.check_scale(2)
    (tiny / "RealSR" / "NTIRE19" / "LR" / "cam2_04.png").unlink()
    with pytest.raises(SRError, match="RealSR-NTIRE19: 1 of 32 files are missing in .*: RealSR/NTIRE19/LR/cam2_04.png"):
        open_set("RealSR-NTIRE19")


def test_div2k_x4lr_is_a_set_of_hr_images(tiny):
    images = open_set("DIV2K-x4lr")
    assert len(images) == 800 and not images.paired and images.names[::799] == ("0001x4", "0800x4")
    assert images.lr_path(0, 4) is None and spelt(images[41]) == "0042x4"
    assert len(open_set("DIV2K-x4lr + embedded")) == 800 + len(EMBEDDED)
    (tiny / "DIV2K" / "DIV2K_train_LR_bicubic" / "X4" / "0007x4.png").write_bytes(b"cut short")
    with pytest.raises(SRError, match="0007x4.png has sha256 .* `python -m srlib data DIV2K-x4lr` replaces it"):
        open_set("DIV2K-x4lr")


def test_sets_that_share_images_are_not_joined(tiny):
    twice = "has 13 images twice, the first is .*nikon/002H.PNG in City100-nikon/train80 and City100-nikon/train13; name one"
    with pytest.raises(SRError, match=twice):
        open_set("City100-nikon/train80+City100-nikon/train13")
    both = open_set("City100-nikon/train80+City100-nikon/test20")
    assert len(both) == 100 and len(set(both.names)) == 100


def test_camera_pairs_are_simulated_at_any_scale():
    images = open_set("embedded-camera-test")
    assert images.names == EMBEDDED_TEST and images.paired
    hr = images[3]
    assert hr.shape == images.lr(3, hr, 1).shape == (256, 256, 3)
    assert images.lr(3, hr, 4).shape == (64, 64, 3)
    np.testing.assert_array_equal(images.lr(3, hr, 4), open_set("embedded-camera-test").lr(3, hr, 4))


def test_a_changed_simulation_changes_the_fingerprint(monkeypatch):
    before = open_set("embedded-camera-test").fingerprint
    monkeypatch.setattr("srlib.data.camera.READ", 1e-3)
    assert before not in (open_set("embedded-camera-test").fingerprint, open_set("embedded-test").fingerprint)
