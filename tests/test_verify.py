"""`srlib verify`: protocols found from pictures, names paired, and a clear line for every mistake."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from skimage.metrics import structural_similarity

from srlib import official
from srlib.cli.main import main
from srlib.core.color import rgb_to_ycbcr, to_uint8, to_y, ycbcr_to_rgb
from srlib.core.errors import SRError
from srlib.core.imresize import downscale, imresize, modcrop
from srlib.core.metrics import score
from srlib.core.protocols import PROTOCOLS, protocol
from srlib.data.images import image_kind, read_image, write_image
from srlib.data.sets import open_set
from srlib.nn import models
from srlib.scoring.evaluation import super_resolve, windows
from srlib.verify import degradation, detective, lattice
from srlib.verify.degradation import RESIZES
from srlib.verify.lattice import AXES
from srlib.verify.pairs import match
from srlib.verify.published import parse_published

pytestmark = pytest.mark.usefixtures("one_thread")


def picture(*shape, seed=0) -> np.ndarray:
    """Return a smooth picture with some noise, as photographs have it."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (9, 9, 3)[: len(shape)], dtype=np.uint8)
    return to_uint8(imresize(coarse, size=shape[:2]).astype(float) + rng.normal(0, 6, shape))


def enlarged(hr: np.ndarray, scale: int) -> np.ndarray:
    return imresize(downscale(hr, scale), scale)


def scores(sr, hr, scale, grey_hr=False, luma_sr=False) -> pd.DataFrame:
    chosen, parts = lattice.variants(grey_hr, luma_sr), lattice.regions(scale)
    return lattice.table([lattice.score_pair(sr, hr, scale, chosen, parts)], chosen, parts)


def row(table, by, scale, grey_hr=False, luma_sr=False) -> pd.Series:
    return table.set_index(AXES).loc[(*lattice.variant_of(by, grey_hr, luma_sr), *lattice.region_of(by, scale))]


class TestLattice:
    """The lattice has the very numbers of `metrics.score`."""

    # SR of luma is made RGB first under "rgb" and `sr_rgb`, see below
    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            (n, k)
            for n, by in PROTOCOLS.items()
            for k in ("rgb", "grey", "luma")
            if k != "luma" or (by.color == "y" and not by.sr_rgb)
        ],
    )
    def test_equals_score(self, name, kind):
        by, scale = protocol(name), 4
        hr = picture(80, 96) if kind == "grey" else picture(80, 96, 3)
        sr = enlarged(hr, scale)
        if kind == "luma":
            sr = to_uint8(to_y(sr, rounded=True) * 1.1 - 10)  # also outside 16..235
        table = scores(sr, hr, scale, kind == "grey", kind == "luma")
        own = row(table, by, scale, kind == "grey", kind == "luma")
        if name == "realsr":
            sr, hr = (modcrop(image, 4 * scale) for image in (sr, hr))
        expected = dict(zip(by.metrics, score(sr, hr, by, scale), strict=True))
        for metric, value in expected.items():
            assert own[metric] == pytest.approx(value, abs=1e-9), metric

    def test_luma_sr_is_made_rgb(self):
        hr, scale = picture(64, 64, 3), 2
        luma = to_uint8(to_y(enlarged(hr, scale), rounded=True))
        ycbcr = np.dstack([luma, imresize(rgb_to_ycbcr(downscale(hr.astype(float), scale))[..., 1:], scale)])
        rgb = to_uint8(ycbcr_to_rgb(ycbcr))
        for name in ("lapsrn", "btsrn_div2k"):
            own = row(scores(luma, hr, scale, luma_sr=True), protocol(name), scale, luma_sr=True)
            assert own["psnr"] == pytest.approx(score(rgb, hr, protocol(name), scale)[0], abs=1e-9)

    def test_windows_of_large_pictures_are_scored_one_by_one(self):
        by, hr = protocol("realsr"), picture(1240, 1304, 3)
        sr = to_uint8(hr + np.random.default_rng(1).normal(0, 9, hr.shape) * np.linspace(0, 2, 1304)[:, None])
        tiles = windows(1240, 1304, by)
        parts = [(slice(top, top + h), slice(left, left + w)) for top, left, h, w in tiles]
        expected = np.mean([score(sr[p], hr[p], by, 1) for p in parts], axis=0)
        assert len(tiles) == 4
        assert row(scores(sr, hr, 1), by, 1)[["psnr", "ssim"]].to_numpy(float) == pytest.approx(expected, abs=1e-9)

    def test_full_range_luma_reads_lower_by_a_constant(self):
        hr = picture(60, 60, 3)
        table = scores(enlarged(hr, 2), hr, 2).set_index(AXES)
        y, full = (table.loc[(color, False, "convert", "", False, 2, 1, 0, 0)] for color in ("y", "full"))
        assert y["psnr"] - full["psnr"] == pytest.approx(20 * np.log10(255 / 219), abs=1e-9)

    def test_luma_of_swapped_channels(self):
        hr = picture(60, 60, 3)
        sr = enlarged(hr, 2)
        difference = (sr.astype(float) - hr)[4:-4, 4:-4] @ [24.966, 128.553, 65.481] / 255
        own = scores(sr, hr, 2).set_index(AXES).loc[("bgr", False, "convert", "", False, 4, 1, 0, 0)]
        assert own["psnr"] == pytest.approx(10 * np.log10(255**2 / np.mean(difference**2)), abs=1e-9)

    def test_grey_sr_of_colour_hr_read_as_three_equal_channels(self):
        hr = picture(60, 60, 3)
        sr = to_uint8(to_y(enlarged(hr, 2), rounded=True) * 1.2 - 20)  # also outside 16..235
        table = scores(sr, hr, 2, luma_sr=True).set_index(AXES)
        luma = 16 + hr @ [65.481, 128.553, 24.966] / 255
        differences = {"y": 16 + sr * (219 / 255) - luma, "rgb": sr[..., None].astype(float) - hr}
        for color, difference in differences.items():
            own = table.loc[(color, False, "convert", "grey", False, 2, 1, 0, 0)]
            assert own["psnr"] == pytest.approx(10 * np.log10(255**2 / np.mean(difference[2:-2, 2:-2] ** 2)), abs=1e-9)

    def test_a_psnr_may_be_of_the_mean_error_of_all_pictures(self):
        chosen, parts = lattice.variants(False, False), lattice.regions(2)
        hrs = [picture(60, 60, 3, seed=i) for i in range(2)]
        srs = [to_uint8(hr + np.random.default_rng(0).normal(0, noise, hr.shape)) for hr, noise in zip(hrs, (2, 20), strict=True)]
        pairs = list(zip(srs, hrs, strict=True))
        table = lattice.table([lattice.score_pair(*pair, 2, chosen, parts) for pair in pairs], chosen, parts)
        errors = np.array([np.mean((sr.astype(float) - hr) ** 2) for sr, hr in pairs])
        own = table.set_index(AXES).loc[("rgb", False, "convert", "", False, 0, 1, 0, 0)]
        expected = [np.mean(10 * np.log10(255**2 / errors)), 10 * np.log10(255**2 / errors.mean())]
        assert own[["psnr", "psnr_pooled"]].tolist() == pytest.approx(expected, abs=1e-9) and expected[0] - expected[1] > 3

    def test_scikit_images_default_window(self):
        hr = picture(60, 70, 3)
        sr = enlarged(hr, 2)
        own = scores(sr, hr, 2).set_index(AXES).loc[("rgb", False, "convert", "", False, 3, 1, 0, 0)]
        expected = structural_similarity(sr[3:-3, 3:-3], hr[3:-3, 3:-3], channel_axis=2, data_range=255)
        assert own["ssim_uniform7_255"] == pytest.approx(expected, abs=1e-7)

    @pytest.mark.filterwarnings("error")
    def test_a_flat_hr_has_no_range(self):
        hr = np.zeros((60, 60, 3), np.uint8)
        own = row(scores(hr + np.eye(60, dtype=np.uint8)[..., None], hr, 2), protocol("prosrn"), 2)
        assert np.isnan(own["ssim_uniform7"]) and own["ssim"] < 1 and own["psnr"] > 40

    def test_too_small_a_picture(self):
        with pytest.raises(SRError, match="30x40 pixels .* window of 11 .* border of 10"):
            scores(picture(30, 40, 3), picture(30, 40, 3), 4)


class TestNames:
    @pytest.mark.parametrize(
        ("sr", "hr"),
        [
            ("img_001_SRF_4_SR", "img_001_SRF_4_HR"),
            ("baby_x4", "baby"),
            ("babyx4", "baby_GT"),
            ("0801x4", "0801"),
            ("baby_EDSR_x4", "baby_GT"),
            ("1", "img_001"),
            ("fox4", "fox4"),
            ("butterfly_4x_out", "Butterfly"),
        ],
    )
    def test_are_paired(self, tmp_path, sr, hr):
        for folder, name in (("sr", sr), ("hr", hr), ("sr", "other_SR"), ("hr", "other")):
            write_image(tmp_path / folder / f"{name}.png", picture(8, 8))
        pairs, notes = match(tmp_path / "sr", tmp_path / "hr", 4)
        assert {(a.stem, b.stem) for a, b in pairs} == {(sr, hr), ("other_SR", "other")} and not notes

    def test_longest_name_wins_and_numbers_are_whole(self, tmp_path):
        for folder, names in (
            ("sr", ("baby_face_NET", "img_10_NET", "img_1_NET")),
            ("hr", ("baby", "baby_face", "img_1", "img_10")),
        ):
            for name in names:
                write_image(tmp_path / folder / f"{name}.png", picture(8, 8))
        pairs, notes = match(tmp_path / "sr", tmp_path / "hr", 4)
        assert {(a.stem, b.stem) for a, b in pairs} == {
            ("baby_face_NET", "baby_face"),
            ("img_10_NET", "img_10"),
            ("img_1_NET", "img_1"),
        }
        assert notes == ["HR without SR: baby.png; a published mean is of all 4 pictures, this one of 3"]

    def test_what_is_left_over_is_listed(self, tmp_path):
        sr = ("baby_A_x4", "baby_B_x4", "bird_x4", "bird_x2", "moon_x4")
        for folder, names in (("sr", sr), ("hr", ("baby", "bird", "bird_LR"))):
            for name in names:
                write_image(tmp_path / folder / f"{name}.png", picture(8, 8))
        pairs, notes = match(tmp_path / "sr", tmp_path / "hr", 4)
        assert [(a.stem, b.stem) for a, b in pairs] == [("bird_x4", "bird")]
        expected = (
            "another scale than x4.*bird_x2",
            "ambiguous.*baby_A_x4.png, baby_B_x4",
            "without HR.*moon_x4",
            "without SR: baby",
        )
        assert len(notes) == 4
        for note, pattern in zip(notes, expected, strict=True):
            assert pd.Series([note]).str.contains(pattern).all(), note


@pytest.fixture
def folders(tmp_path) -> tuple[Path, Path]:
    """Three pairs at x2: folders of SR and HR."""
    for i in range(3):
        hr = picture(60, 64 + 2 * i, 3, seed=i)
        write_image(tmp_path / "hr" / f"p{i}.png", hr)
        write_image(tmp_path / "sr" / f"p{i}_x2.png", enlarged(hr, 2))
    return tmp_path / "sr", tmp_path / "hr"


def verify(folders, *options, scale=2) -> int:
    return main(["verify", str(folders[0]), "--hr", str(folders[1]), "--scale", str(scale), *options])


class TestCommand:
    def test_without_a_published_number_lists_named_protocols(self, folders, capsys):
        assert verify(folders) == 0
        out = capsys.readouterr().out
        assert "sr x2: 3 pictures" in out and all(name in out for name in PROTOCOLS)

    def test_files_have_all_combinations_and_matches(self, folders, tmp_path, capsys):
        assert verify(folders, "--csv", str(tmp_path / "all.csv")) == 0
        table = pd.read_csv(tmp_path / "all.csv", keep_default_na=False).set_index(["color", "rounded", "border", "multiple"])
        value = table.loc[("rgb", False, 3, 1), "psnr"]
        assert verify(folders, "--published", f"{value:.6f}", "--json", str(tmp_path / "found.json")) == 0
        result = json.loads((tmp_path / "found.json").read_text())
        best = result["matches"][0]
        assert (best["color"], best["border"], best["psnr_by"]) == ("rgb", 3, "psnr")
        assert best["psnr"] == pytest.approx(value, abs=1e-6) and result["tried"] > len(result["matches"]) > 0
        assert f"{result['tried']:,} combinations tried" in capsys.readouterr().out

    def test_ssim_alone_and_full_range(self, folders, tmp_path, capsys):
        verify(folders, "--csv", str(tmp_path / "all.csv"))
        table = pd.read_csv(tmp_path / "all.csv", keep_default_na=False)
        full = table[(table["color"] == "full") & ~table["rounded"] & (table["border"] == 0) & (table["multiple"] == 1)].iloc[0]
        assert verify(folders, "--published-ssim", f"{float(full['ssim']):.6f}") == 0
        out = capsys.readouterr().out
        assert "full-range luma, border 0, SSIM Gaussian 11x11" in out and "reads 1.32 dB below" in out

    def test_names_of_another_scale(self, folders, capsys):
        assert verify(folders, scale=3) == 0
        assert "names of SR state x2, scored with the borders of x3" in capsys.readouterr().out

    def test_a_number_that_no_protocol_gives(self, folders, tmp_path, capsys):
        assert verify(folders, "--published", "12.34/0.5", "--json", str(tmp_path / "found.json")) == 0
        out = capsys.readouterr().out
        assert "not reproduced by any protocol" in out and "--lr" not in out  # no resize makes so much
        nearest = out.partition("Nearest:\n")[2].splitlines()
        assert any(name in line for line in nearest[:4] for name in PROTOCOLS)
        result = json.loads((tmp_path / "found.json").read_text())
        assert result["published"] == {"sr": {"psnr": "12.34", "ssim": "0.5"}} and result["matches"] == []

    def test_a_json_file_has_no_nan(self, tmp_path):
        for folder, grey in (("flat", 100), ("hr", 99)):
            write_image(tmp_path / folder / "a.png", np.full((60, 60, 3), grey, np.uint8))
        assert verify((tmp_path / "flat", tmp_path / "hr"), "--published", "30/0.9", "--json", str(tmp_path / "found.json")) == 0
        json.loads((tmp_path / "found.json").read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))

    def test_the_only_set_may_be_the_folder_itself(self, folders, capsys):
        assert verify(folders, "--published", "Set5=30.00") == 0
        assert "Set5 x2: 3 pictures" in capsys.readouterr().out

    def test_a_little_above_every_named_protocol_may_be_an_ensemble(self, folders, tmp_path, capsys):
        verify(folders, "--json", str(tmp_path / "found.json"))
        sets = json.loads((tmp_path / "found.json").read_text())["sets"]
        highest = max(metrics["psnr"] for metrics in sets["sr"]["protocols"].values())
        verify(folders, "--published", f"{highest + 0.3:.2f}")
        assert "0.30 dB above every named protocol: is its number of a self-ensemble" in capsys.readouterr().out
        verify(folders, "--published", f"{highest + 3:.2f}")
        assert "self-ensemble" not in capsys.readouterr().out

    @pytest.mark.parametrize("name", RESIZES)
    def test_the_resize_behind_lr_is_named(self, folders, tmp_path, capsys, name):
        for file in folders[1].iterdir():
            write_image(tmp_path / "lr" / f"{file.stem}x2.png", np.ascontiguousarray(RESIZES[name](read_image(file), 2)))
        assert verify(folders, "--lr", str(tmp_path / "lr")) == 0
        assert f"LR was made by {name}: 0.000" in capsys.readouterr().out


class TestResizes:
    """OpenCV's, written out."""

    def test_inter_cubic_is_a_cubic_of_minus_three_quarters_without_antialiasing(self):
        hr = np.random.default_rng(0).integers(0, 256, (24, 18, 3), dtype=np.uint8)
        taps = np.array([-3, 19, 19, -3]) / 32  # at half a pixel
        padded = np.pad(hr.astype(float), [(1, 1), (1, 1), (0, 0)], mode="edge")
        rows = sum(tap * padded[k : k + 23 : 2] for k, tap in enumerate(taps))
        small = sum(tap * rows[:, k : k + 17 : 2] for k, tap in enumerate(taps))
        assert np.array_equal(RESIZES["OpenCV's INTER_CUBIC"](hr, 2), np.floor(small.clip(0, 255) + 0.5))
        assert np.array_equal(RESIZES["OpenCV's INTER_CUBIC"](hr, 3), hr[1::3, 1::3])

    @pytest.mark.parametrize("scale", [2, 3])
    def test_inter_area_is_the_mean_of_blocks(self, scale):
        hr = np.random.default_rng(0).integers(0, 256, (24, 18, 3), dtype=np.uint8)
        means = hr.reshape(24 // scale, scale, 18 // scale, scale, 3).mean(axis=(1, 3))
        assert np.array_equal(RESIZES["OpenCV's INTER_AREA"](hr, scale), np.floor(means + 0.5))


class TestBadInput:
    @pytest.mark.parametrize(
        ("option", "text", "message"),
        [
            ("--published", "32,62", "has a comma"),
            ("--published", "Set5=32,62/0,9012", "has a comma"),
            ("--published", "0.9012", "0.9012 is no PSNR"),
            ("--published", "0.9012/32.62", "0.9012 is no PSNR"),
            ("--published", "32.62/1.9012", "1.9012 is no SSIM"),
            ("--published", "32.62/0.9/0.1", "expected 32.62"),
            ("--published", "abc", "expected 32.62"),
            ("--published-ssim", "32.62", "is no SSIM"),
        ],
    )
    def test_published_numbers(self, folders, capsys, option, text, message):
        assert verify(folders, option, text) == 2
        assert message in capsys.readouterr().err

    def test_published_numbers_that_contradict_each_other(self):
        with pytest.raises(SRError, match="PSNR of Set5 is given twice"):
            parse_published(["Set5=32.1", "Set5=32.2"])
        with pytest.raises(SRError, match="one without"):
            parse_published(["Set5=32.1", "32.2"])

    def test_folders(self, folders, tmp_path, capsys):
        (tmp_path / "empty").mkdir()
        write_image(tmp_path / "strange" / "sunset.png", picture(40, 40))
        for sr, message in (
            (tmp_path / "nowhere", "does not exist"),
            (tmp_path / "empty", "holds no image"),
            (folders[1], "the same folder"),
            (tmp_path / "strange", f"like that of an HR file in {folders[1]}: SR has sunset.png; HR has p0.png, p1.png, p2.png"),
        ):
            assert verify((sr, folders[1])) == 2
            assert message in capsys.readouterr().err
        assert verify(folders, "--published", "Set5=30.00", "--published", "Set14=28.00") == 2
        assert "has no folder Set5" in capsys.readouterr().err

    def test_folders_of_sets_without_their_names(self, folders, tmp_path, capsys):
        folders[0].rename(tmp_path / "outputs")
        (tmp_path / "several").mkdir()
        (tmp_path / "outputs").rename(tmp_path / "several" / "Set5")
        assert verify((tmp_path / "several", folders[1])) == 2
        assert "has folders instead of pictures (Set5); give one of them" in capsys.readouterr().err

    @pytest.mark.parametrize("option", ["--json", "--csv"])
    def test_a_file_that_cannot_be_written_is_refused_before_any_work(self, folders, tmp_path, capsys, monkeypatch, option):
        monkeypatch.setattr(detective, "score_sets", lambda *given: pytest.fail("scored"))
        monkeypatch.setattr(degradation, "compare_lr", lambda *given: pytest.fail("compared"))
        (tmp_path / "file").write_text("mine")
        for path, reason in ((tmp_path / "file" / "out", "Not a directory"), (tmp_path / "hr", "Is a directory")):
            assert verify(folders, "--lr", str(folders[1]), option, str(path)) == 2
            assert f"cannot write {path}: {reason}" in capsys.readouterr().err

    @pytest.mark.parametrize(("factor", "size"), [(1, "60x64"), (3, "20x21"), (4, "15x16")])
    def test_lr_of_another_scale(self, folders, tmp_path, capsys, factor, size):
        for file in folders[1].iterdir():
            write_image(tmp_path / "lr" / file.name, downscale(read_image(file), factor))
        assert verify(folders, "--lr", str(tmp_path / "lr")) == 2
        assert f"LR p0.png has {size} pixels, HR p0.png 60x64; expected 30x32, 2 times less" in capsys.readouterr().err

    def test_several_files_for_each_hr(self, folders, capsys):
        for file in [*folders[0].iterdir()]:
            file.with_name(f"{file.stem}_B.png").write_bytes(file.read_bytes())
            file.rename(file.with_name(f"{file.stem}_A.png"))
        assert verify(folders) == 2
        assert "several SR files for one HR, or several HR for one SR file: p0_x2_A.png, p0_x2_B.png" in capsys.readouterr().err

    def test_a_batch_goes_on_and_says_what_failed(self, folders, capsys):
        sr, hr = folders
        write_image(sr / "p0_x2.png", picture(30, 32, 3))
        (sr / "p1_x2.png").write_bytes(b"not an image")
        assert verify(folders) == 2
        out, err = capsys.readouterr()
        assert "sr x2: 1 picture\n" in out and "one picture" in out
        assert "p0_x2.png has 30x32 pixels, its HR p0.png 60x64; is it the LR image?" in out
        assert "p1_x2.png: not an image" in out and "not scored: 2 of 3 pictures" in err

    def test_sr_that_equals_hr(self, folders, capsys):
        for file in folders[0].iterdir():
            file.write_bytes((folders[1] / file.name.replace("_x2", "")).read_bytes())
        assert verify(folders) == 2
        assert "equals its HR" in capsys.readouterr().err

    def test_odd_files_are_told(self, folders, capsys):
        sr, hr = folders
        write_image(hr / "p0.png", picture(67, 69, 3))
        write_image(sr / "p0_x2.png", enlarged(picture(67, 69, 3), 2)[:60, :60])  # a crop to a multiple of 12
        Image.fromarray(read_image(hr / "p1.png")[..., 0].astype(np.uint16) * 257).save(sr / "p1_x2.png")
        Image.fromarray(read_image(sr / "p2_x2.png")).save(sr / "p2_x2.jpg")
        (sr / "p2_x2.png").unlink()
        Image.open(hr / "p2.png").convert("RGBA").save(hr / "p2.png")
        assert image_kind(sr / "p1_x2.png") == (True, 16) and image_kind(sr / "p2_x2.jpg") == (False, 8)
        assert verify(folders) == 0
        out = capsys.readouterr().out
        odd = ("16 bits, scored in 8: p1", "with an alpha channel, which is left out: p2", "JPEG", "grey SR of colour HR")
        for text in ("HR not cropped to SR's size: 1 of 3", *odd):
            assert text in out

    def test_misplaced_pictures_are_told(self, folders, capsys):
        sr, hr = folders
        aligned = read_image(sr / "p0_x2.png")
        write_image(sr / "p0_x2.png", np.roll(aligned, (1, -1), axis=(0, 1)))
        write_image(sr / "p1_x2.png", np.rot90(read_image(sr / "p1_x2.png"), 2).copy())
        assert verify(folders) == 0
        out = capsys.readouterr().out
        assert "SR lies +1 pixels down and -1 right of HR: 1 of 3" in out
        assert "p1_x2.png hardly resembles its HR (another picture, or turned): 1 of 3" in out

    def test_grey_hr_beside_colour(self, folders, capsys):
        grey = picture(60, 64)
        write_image(folders[1] / "bridge.png", grey)
        write_image(folders[0] / "bridge.png", np.repeat(enlarged(grey, 2)[..., None], 3, axis=2))
        assert verify(folders) == 0
        assert "Grey HR of sr: bridge. Read as luma the mean PSNR is" in capsys.readouterr().out

    def test_colour_sr_of_grey_hr_is_read_in_one_way(self, folders, tmp_path, capsys):
        grey = picture(60, 64)
        write_image(folders[1] / "bridge.png", grey)
        colour = np.repeat(enlarged(grey, 2)[..., None], 3, axis=2)
        colour[::2, :, 0] ^= 1  # as an RGB network makes it
        write_image(folders[0] / "bridge.png", colour)
        assert verify(folders, "--published", "30.00", "--csv", str(tmp_path / "all.csv")) == 0
        out = capsys.readouterr().out
        assert "SR in colour of a grey HR" in out and "Grey HR" not in out and "grey HR as luma" not in out
        assert set(pd.read_csv(tmp_path / "all.csv")["grey"]) == {"convert"}


def write_outputs(model, dataset: str, by, folder: Path) -> None:
    for name, hr in open_set(dataset):
        write_image(folder / f"{name}_NET_x{model.scale}.png", to_uint8(super_resolve(model, hr, by)[0]))


def found(capsys, *arguments, scale: int, tmp_path: Path) -> tuple[list[str], dict]:
    """Run verify; return the names of the protocols among its matches, and the result."""
    file = tmp_path / "found.json"
    assert main(["verify", *map(str, arguments), "--scale", str(scale), "--json", str(file)]) == 0
    result = json.loads(file.read_text())
    return [name for hit in result["matches"] for name in hit["protocols"].split(";")], result


class TestPapers:
    @pytest.mark.parametrize("name", PROTOCOLS)
    def test_finds_the_protocol_of_our_own_pictures(self, datasets, tmp_path, capsys, name):
        by = protocol(name)
        write_outputs(models.create("bicubic", 3).eval(), "Set5", by, tmp_path / "sr")
        stored = {}
        for image, hr in open_set("Set5"):
            sr = read_image(tmp_path / "sr" / f"{image}_NET_x3.png")
            hr = modcrop(hr, 3 * by.multiple)
            values = score(sr[: hr.shape[0], : hr.shape[1]], hr, by, 3)
            stored[image] = dict(zip(by.metrics, values, strict=True))
        psnr, ssim = pd.DataFrame(stored).T[["psnr", by.metrics[-1]]].mean()
        printed = f"{psnr:.2f}/{ssim:.4f}"
        names, result = found(
            capsys, tmp_path / "sr", "--hr", datasets / "Set5", "--published", printed, scale=3, tmp_path=tmp_path
        )
        assert name in names and len(result["matches"]) < result["tried"] / 20

    def test_basicsrs_table_of_baboon(self, datasets, tmp_path, capsys):
        """Its resize works in float, and its pictures are rounded once they are made."""
        hr = read_image(next((datasets / "Set14").glob("baboon*")))
        lr = to_uint8(downscale(modcrop(hr, 12).astype(float), 4))
        write_image(tmp_path / "hr" / "baboon.png", hr)
        write_image(tmp_path / "sr" / "baboon.png", to_uint8(imresize(lr.astype(float), 4)))
        folders = (tmp_path / "sr", "--hr", tmp_path / "hr")
        for color, psnr, ssim in (("rgb", 20.419710, 0.391853), ("y", 22.441898, 0.453097)):
            printed = f"{psnr:.6f}/{ssim:.6f}"
            names, result = found(capsys, *folders, "--published", printed, scale=4, tmp_path=tmp_path)
            best = result["matches"][0]
            assert (best["color"], best["rounded"], best["border"], best["ssim_by"]) == (color, False, 4, "ssim")
            assert [best["psnr"], best["ssim"]] == pytest.approx([psnr, ssim], abs=2e-6)
            assert ("edsr" in names) == (color == "y")

    @pytest.mark.parametrize(
        ("network", "by", "scale", "printed"), [("idn", "y", 2, "37.83/0.9600"), ("lapsrn", "lapsrn", 4, "31.54")]
    )
    def test_finds_the_protocol_of_official_outputs(self, weights, datasets, tmp_path, capsys, network, by, scale, printed):
        write_outputs(official.load(network, scale), "Set5", protocol(by), tmp_path / "sr")
        folders = (tmp_path / "sr", "--hr", datasets / "Set5")
        names, _ = found(capsys, *folders, "--published", printed, scale=scale, tmp_path=tmp_path)
        assert by in names

    def test_several_sets_narrow_it(self, datasets, tmp_path, capsys):
        model = models.create("bicubic", 2).eval()
        for name in ("Set5", "Set14"):
            write_outputs(model, name, protocol("btsrn"), tmp_path / "sr" / name)
        folders, common = (tmp_path / "sr", "--hr", datasets), {"scale": 2, "tmp_path": tmp_path}
        _, first = found(capsys, *folders, "--published", "Set5=33.64", **common)
        names, both = found(capsys, *folders, "--published", "Set5=33.64", "--published", "Set14=30.20", **common)
        assert set(both["sets"]) == {"Set5", "Set14"}
        assert len(both["matches"]) < len(first["matches"])
