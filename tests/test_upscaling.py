"""Upscaling a user's pictures: inputs, outputs, alpha, profiles, bad files."""

import errno
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from srlib import evaluation, models, upscaling
from srlib.color import to_uint8
from srlib.data.images import read_image, read_photo, write_image
from srlib.degradation import imresize
from srlib.errors import SRError
from srlib.results import Trained
from srlib.upscaling import find, plan, upscale_file, upscale_files

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
END = "_bicubic_x2.png"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def noise(*shape) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def bicubic(scale: int = 2) -> Trained:
    return Trained("bicubic", "Bicubic", models.create("bicubic", scale).eval(), Path())


def photos(*names: str) -> None:
    for name in names:
        write_image(name, noise(6, 5, 3))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class TestInputs:
    def test_a_folder_has_its_images_in_natural_order_without_those_made_before(self):
        photos("in/b10.png", "in/b2.png", "in/b2_bicubic_x2.png", "in/deep/c.png")
        Path("in/notes.txt").write_text("no image")
        assert find("in", END) == [Path("in/b2.png"), Path("in/b10.png")]

    def test_patterns(self):
        photos("in/b10.png", "in/b2.jpg", "in/b2_bicubic_x2.png", "in/deep/c.png")
        Path("in/b.txt").write_text("no image")
        assert find("in/b*", END) == [Path("in/b2.jpg"), Path("in/b10.png")]
        assert find("in/**/*.png", END) == [Path("in/b10.png"), Path("in/deep/c.png")]

    def test_a_file_whose_name_looks_like_a_pattern(self):
        photos("a[1].png", "a1.png")
        assert find("a[1].png", END) == [Path("a[1].png")]

    @pytest.mark.parametrize("given", ["in/*.bmp", "in"])
    def test_nothing_to_upscale(self, given):
        photos("in/a_bicubic_x2.png")
        with pytest.raises(SRError, match=re.escape(f"image {given}: names no image to upscale")):
            find(given, END)

    def test_each_picture_once(self):
        photos("in/a.png", "in/b.png")
        jobs, failures = plan(["in/b.png", "in", "./in/*.png"], None, END)
        assert [source for source, _ in jobs] == [Path("in/b.png"), Path("in/a.png")] and failures == []

    def test_two_pictures_never_share_an_output(self, here):
        photos("x/a.png", "x/b.png", "y/a.png")
        jobs, failures = plan(["x", "y"], Path("out"), END)
        assert [str(target) for _, target in jobs] == [f"out/a{END}", f"out/b{END}"]
        assert failures == [f"image y/a.png: out/a{END} is the output of x/a.png; upscale it by itself with --output"]
        assert len(plan(["x", "y"], None, END)[0]) == 3  # beside each they do not meet


class TestOutputs:
    def test_beside_the_picture_to_a_file_or_into_a_folder(self):
        photos("in/a.png")
        assert plan(["in/a.png"], None, END)[0] == [(Path("in/a.png"), Path(f"in/a{END}"))]
        assert plan(["in/a.png"], Path("o.jpg"), END)[0] == [(Path("in/a.png"), Path("o.jpg"))]
        assert plan(["in/a.png"], Path("in"), END)[0] == [(Path("in/a.png"), Path(f"in/a{END}"))]
        for several in (["in"], ["in/*"], ["in/a.png", "in/a.png"]):
            assert plan(several, Path("new"), END)[0] == [(Path("in/a.png"), Path(f"new/a{END}"))]

    def test_what_cannot_be_an_output(self):
        photos("in/a.png")
        Path("file").write_text("")
        for output in ("o.png", "file"):
            with pytest.raises(SRError, match=rf"output \(={output}\) must be a folder"):
                plan(["in"], Path(output), END)
        with pytest.raises(SRError, match=r"output \(=o\.gif\) must end in one of .png, .jpg, .jpeg, or be a folder that exists"):
            plan(["in/a.png"], Path("o.gif"), END)

    def test_an_input_is_replaced_only_when_told(self):
        photos("a.png")
        before = Path("a.png").read_bytes()
        with pytest.raises(SRError, match="a.png exists; give --output another name, or --overwrite"):
            upscale_files(bicubic(), ["a.png"], Path("a.png"))
        assert Path("a.png").read_bytes() == before
        upscale_files(bicubic(), ["a.png"], Path("a.png"), overwrite=True)
        assert read_image("a.png").shape == (12, 10, 3)

    def test_a_full_disk_leaves_the_old_output_and_no_half_one(self, here, monkeypatch):
        photos("a.png", "out.png")
        before = Path("out.png").read_bytes()

        def full(self, path, *args, **options):
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(Image.Image, "save", full)
        with pytest.raises(SRError, match="cannot write out.png: No space left on device"):
            upscale_files(bicubic(), ["a.png"], Path("out.png"), overwrite=True)
        assert names(here) == ["a.png", "out.png"] and Path("out.png").read_bytes() == before


class TestAlphaAndProfile:
    @pytest.mark.parametrize("shape", [(6, 5), (6, 5, 3)])
    def test_alpha_is_upscaled_bicubically(self, shape):
        pixels, alpha = noise(*shape), noise(6, 5, 2)[..., 1]
        write_image("a.png", pixels, alpha=alpha)
        upscale_files(bicubic(3), ["a.png"], Path("out.png"))
        photo = read_photo("out.png")
        np.testing.assert_array_equal(photo.alpha, imresize(alpha, 3))
        assert photo.pixels.shape == (18, 15, *shape[2:])
        assert np.abs(photo.pixels.astype(int) - to_uint8(imresize(pixels.astype(float), 3))).max() <= 1

    def test_a_transparent_palette(self):
        image = Image.fromarray(noise(6, 5, 3)).quantize(8)
        image.save("a.png", transparency=3)
        upscale_files(bicubic(), ["a.png"], Path("out.png"))
        np.testing.assert_array_equal(read_photo("out.png").alpha, imresize(read_photo("a.png").alpha, 2))

    def test_jpeg_takes_a_picture_only_if_it_is_opaque(self, here):
        write_image("clear.png", noise(6, 5, 3), alpha=noise(6, 5))
        with pytest.raises(SRError, match=r"image clear.png: is transparent in places, which out.jpg cannot hold; give --output"):
            upscale_files(bicubic(), ["clear.png"], Path("out.jpg"))
        assert names(here) == ["clear.png"]
        write_image("opaque.png", noise(6, 5, 3), alpha=np.full((6, 5), 255, np.uint8))
        upscale_files(bicubic(), ["opaque.png"], Path("out.jpg"))
        assert read_photo("out.jpg").pixels.shape == (12, 10, 3)

    @pytest.mark.parametrize("suffix", ["png", "jpg"])
    def test_the_profile_is_kept(self, suffix, capsys):
        write_image("a.png", noise(6, 5, 3), profile=SRGB)
        upscale_files(bicubic(), ["a.png"], Path(f"out.{suffix}"))
        assert read_photo(f"out.{suffix}").profile == SRGB
        assert capsys.readouterr().out == f"out.{suffix}: 10x12\n"

    def test_a_profile_for_other_colours_is_left_out_and_said(self, capsys):
        cmyk = SRGB[:16] + b"CMYK" + SRGB[20:]
        Image.fromarray(noise(6, 5, 3)).convert("CMYK").save("a.jpg", icc_profile=cmyk)
        upscale_files(bicubic(), ["a.jpg"], Path("out.png"))
        assert read_photo("out.png").profile is None
        assert capsys.readouterr().out == "out.png: 10x12, without its ICC profile, which is for other colours\n"


class TestFailures:
    def test_goes_on_and_reports_at_the_end(self, here, capsys):
        photos("in/a.png", "in/c.png", f"in/c{END}")
        Path("in/b.png").write_bytes(Path("in/a.png").read_bytes()[:60])
        with pytest.raises(SRError) as caught:
            upscale_files(bicubic(), ["in", "none.png", "empty/*.png"])
        told = str(caught.value).splitlines()
        assert told[0] == "4 of 5 images were not upscaled:"
        assert told[1].startswith("  image empty/*.png: names no image")
        assert told[2].startswith("  image in/b.png: cannot be decoded")
        assert told[3].startswith(f"  in/c{END} exists")
        assert told[4].startswith("  image none.png: no such file")
        assert capsys.readouterr().out == f"in/a{END}: 10x12\n"
        assert names(here / "in") == ["a.png", f"a{END}", "b.png", "c.png", f"c{END}"]

    def test_a_name_that_is_too_long_is_one_pictures_failure(self, capsys):
        photos("a.png")
        with pytest.raises(SRError, match="1 of 2 images were not upscaled:\n  image a+: File name too long"):
            upscale_files(bicubic(), ["a.png", 300 * "a"])
        assert capsys.readouterr().out == f"a{END}: 10x12\n"

    def test_memory_that_runs_out_is_one_pictures_failure(self, monkeypatch):
        def no_memory(*args, **options):
            raise torch.OutOfMemoryError("too large")

        photos("a.png")
        monkeypatch.setattr(evaluation, "forward", no_memory)
        with pytest.raises(SRError, match=r"image a.png: memory ran out at 5x6 pixels; give a smaller picture or --scale"):
            upscale_file(bicubic().model, Path("a.png"), Path("out.png"))
        with pytest.raises(SRError, match=r"image a.png: memory ran out at 5x6 pixels; leave out --tile 0"):
            upscale_file(bicubic().model, Path("a.png"), Path("out.png"), tile=0)

    def test_other_mistakes_are_not_swallowed(self, monkeypatch):
        def broken(*args, **options):
            raise RuntimeError("a mistake of the program")

        photos("a.png")
        monkeypatch.setattr(upscaling, "upscale", broken)
        with pytest.raises(RuntimeError, match="a mistake of the program"):
            upscale_files(bicubic(), ["a.png"])

    def test_settings_are_checked_before_any_picture_is_read(self):
        for trained, options, message in (
            (bicubic(), {"tile": 3}, r"tile \(=3\) must be"),
            (bicubic(1), {}, r"scale \(=1\) of bicubic"),
            (replace(bicubic(), name="one", model=models.create("identifier", 2)), {}, r"model \(=one\) says how difficult"),
        ):
            with pytest.raises(SRError, match=message):
                upscale_files(trained, ["none.png"], **options)


def test_a_network_of_scale_1_restores_at_the_same_size():
    photos("a.png")
    model = models.create("imdn", 1, width=8).eval()
    upscale_files(Trained("imdn", "IMDN", model, Path()), ["a.png"])
    assert read_image("a_imdn_x1.png").shape == (6, 5, 3)


def test_bars_over_images_and_tiles(capsys):
    write_image("in/a.png", noise(40, 20, 3))
    write_image("in/b.png", noise(40, 20, 3))
    upscale_files(bicubic(), ["in"], tile=16, progress=True)
    out, err = capsys.readouterr()
    assert "0/2 [" in err and "image" in err and "0/6 [" in err and "tile" in err
    assert out == f"in/a{END}: 40x80\nin/b{END}: 40x80\n"
    upscale_files(bicubic(), ["in"], tile=16, overwrite=True)
    assert capsys.readouterr().err == ""
