"""Upscaling a user's pictures: inputs, outputs, alpha, profiles, bad files."""

import errno
import os
import platform
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from srlib.cli import pictures
from srlib.cli.inputs import find, plan
from srlib.cli.pictures import upscale_file, upscale_files
from srlib.core.color import to_uint8
from srlib.core.errors import SRError
from srlib.core.imresize import imresize
from srlib.data.images import read_image, read_photo, write_image
from srlib.nn import models
from srlib.reproduce.store import Trained
from srlib.scoring import evaluation

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


def found(given: str, failures: list[str] | None = None) -> list[Path]:
    return find(given, END, [], [] if failures is None else failures)


class TestInputs:
    def test_folders_and_patterns_in_natural_order_without_what_was_made_before(self):
        photos("in/b10.png", "in/b2.jpg", "in/b2_bicubic_x2.png", "in/deep/c.png")
        Path("in/b.txt").write_text("no image")
        assert found("in") == found("in/b*") == [Path("in/b2.jpg"), Path("in/b10.png")]
        assert found("in/**/*.png") == [Path("in/b10.png"), Path("in/deep/c.png")]
        assert found("*/*/c.png") == [Path("in/deep/c.png")] and found("i*/b*.jpg") == [Path("in/b2.jpg")]

    @pytest.mark.parametrize("pattern", ["t/**/*.png", "t/**/**/*.png", "./t/**/x.png", "{here}/t/**/*.png", "t/**"])
    def test_links_that_lead_back_are_followed_once(self, here, pattern):
        photos("t/deep/x.png", "far/y/x.png")
        for link, target in (("one", "."), ("two", "."), ("deep/far", here / "far"), ("deep/up", here)):
            Path("t", link).symlink_to(target)
        assert {path.resolve() for path in found(pattern.format(here=here))} == {here / "t/deep/x.png", here / "far/y/x.png"}

    @pytest.mark.parametrize("pattern", ["in [1]/*.png", "*/b[2].png", "**/b[2].png", "in [1]/b[2]*", "in [[]1]/b[[]2].png"])
    def test_brackets_in_names_stand_for_themselves(self, pattern):
        photos("in [1]/b[2].png", "in 1/b.png")
        assert found(pattern) == [Path("in [1]/b[2].png")] == found("in [1]/b[2].png")

    def test_brackets_are_a_choice_where_no_name_has_them(self):
        photos("in/a1.png", "in/a2.png", "in/a3.png", "in/.a1.png")
        assert found("in/a[12].png") == [Path("in/a1.png"), Path("in/a2.png")]
        assert found("i[n]/?[!12].png") == [Path("in/a3.png")] and found("in/.a*") == [Path("in/.a1.png")]

    def test_a_folder_that_cannot_be_read_is_named_and_the_others_are_searched(self, monkeypatch):
        photos("in/shut/a.png", "in/b.png")
        scan = os.scandir

        def refused(folder):
            if str(folder).endswith("shut"):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
            return scan(folder)

        monkeypatch.setattr(os, "scandir", refused)
        failures = []
        assert found("in/**/*.png", failures) == [Path("in/b.png")]
        assert failures == ["folder in/shut: cannot be read: Permission denied"]

    def test_files_of_other_kinds_are_noted(self, capsys):
        photos("in/a.png")
        for name in ("n1.txt", "n2.heic", "n10.gif", "n3.cr2", ".hidden"):
            Path("in", name).write_text("")
        upscale_files(bicubic(), ["in", "in/[an]*"])
        note = "skips 4 files that are no images: n1.txt, n2.heic, n3.cr2, ..."
        assert capsys.readouterr().out.splitlines() == [f"in: {note}", f"in/[an]*: {note}", f"in/a{END}: 10x12"]

    @pytest.mark.parametrize("given", ["in/*.bmp", "in", "none/*.png"])
    def test_nothing_to_upscale(self, given):
        photos("in/a_bicubic_x2.png")
        with pytest.raises(SRError, match=re.escape(f"image {given}: matches no image to upscale")):
            found(given)

    def test_each_picture_once(self):
        photos("in/a.png", "in/b.png")
        jobs, failures, _ = plan(["in/b.png", "in", "./in/*.png"], None, END)
        assert [source for source, _ in jobs] == [Path("in/b.png"), Path("in/a.png")] and failures == []

    def test_a_picture_goes_by_its_own_name_and_not_by_a_link(self):
        photos("in/photo.png", "in/z.png")
        Path("in/link.png").symlink_to("photo.png")
        jobs, failures, _ = plan(["in"], None, END)
        assert [source.name for source, _ in jobs] == ["photo.png", "z.png"] and failures == []

    def test_a_quoted_home_folder(self, here, monkeypatch):
        monkeypatch.setenv("HOME", str(here))
        photos("in/a.png", "in/b.png")
        for given in ("~/in/*.png", "~/in"):
            jobs, failures, _ = plan([given], Path("out"), END)
            assert [source for source, _ in jobs] == [here / "in" / "a.png", here / "in" / "b.png"] and not failures

    def test_two_pictures_never_share_an_output(self, here):
        photos("x/a.png", "x/b.png", "y/a.png")
        jobs, failures, _ = plan(["x", "y"], Path("out"), END)
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

    @pytest.mark.parametrize("name", ["bicubic", "espcn"])
    def test_hidden_colours_do_not_bleed_into_soft_edges(self, name):
        rows, columns = np.mgrid[:64, :64] - 31.5
        alpha = (np.clip(20.5 - np.hypot(rows, columns), 0, 1) * 255).round().astype(np.uint8)
        disc, hidden = np.array([250, 120, 20]), np.array([0, 255, 255])
        model, outputs = models.create(name, 2).eval(), []
        for colour in (disc, hidden):
            pixels = np.where(alpha[..., None] > 0, disc, colour).astype(np.uint8)
            write_image("a.png", pixels, alpha=alpha)
            upscale_files(Trained(name, name, model, Path()), ["a.png"], Path("o.png"), overwrite=True)
            outputs.append(read_photo("o.png"))
        seen = outputs[0].alpha > 0
        np.testing.assert_array_equal(outputs[0].alpha, outputs[1].alpha)
        np.testing.assert_array_equal(outputs[0].pixels[seen], outputs[1].pixels[seen])
        if name == "bicubic":
            assert np.abs(outputs[1].pixels[seen].astype(int) - disc).max() <= 1

    def test_a_picture_of_nothing_but_hidden_colours(self):
        write_image("a.png", noise(6, 5, 3), alpha=np.zeros((6, 5), np.uint8))
        upscale_files(bicubic(), ["a.png"], Path("out.png"))
        assert not read_photo("out.png").alpha.any()

    def test_what_is_lost_is_said_in_one_line(self, capsys):
        exif = Image.Exif()
        exif[0x0132] = "2020:01:02 03:04:05"
        picture, cmyk = Image.fromarray(noise(6, 5, 3)), SRGB[:16] + b"CMYK" + SRGB[20:]
        picture.convert("CMYK").save("a.jpg", icc_profile=cmyk, exif=exif)
        picture.save("b.tif", save_all=True, append_images=[picture] * 2)
        upscale_files(bicubic(), ["a.jpg", "b.tif"])
        assert capsys.readouterr().out.splitlines() == [
            f"a{END}: 10x12, without its EXIF data and its ICC profile, which is for other colours",
            f"b{END}: 10x12, without 2 further pages",
        ]
        assert read_photo(f"a{END}").profile is None

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


# Memory is the process's own, and not ru_maxrss, which begins with that of the process that started it.
MEASURING = """
from pathlib import Path
import numpy as np
from srlib.cli import pictures
from srlib.cli.pictures import upscale_file
from srlib.core.memory import release_freed_memory
from srlib.data.images import write_image
from srlib.nn import models
def memory(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))
"""
on_linux = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="memory is read from Linux's /proc, and kept with glibc")


def measured(code: str) -> list[int]:
    """Return the numbers in bytes that a process of its own prints."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", MEASURING + code], capture_output=True, text=True, check=True, env=environment)
    return [int(word) for word in done.stdout.splitlines()[-1].split()]


class TestMemory:
    @pytest.mark.parametrize("name", ["bicubic", "srcnn", "kpn"])
    @pytest.mark.parametrize("ensemble", [False, True])
    @pytest.mark.parametrize("shape", [(53, 72), (64, 40, 3)])
    def test_blocks_give_the_whole_picture(self, name, ensemble, shape, one_thread):
        scale = models.scales(name)[0] if 2 not in models.scales(name) else 2
        write_image("a.png", noise(*shape), alpha=noise(*shape[:2]))
        model = models.create(name, scale).eval()
        results = []
        for tile in (0, 16):
            upscale_file(model, Path("a.png"), Path("o.png"), tile=tile, ensemble=ensemble, overwrite=True)
            results.append(read_photo("o.png"))
        assert np.abs(results[0].pixels.astype(int) - results[1].pixels).max() <= 1
        assert np.abs(results[0].alpha.astype(int) - results[1].alpha).max() <= 1

    def test_a_large_picture_is_worked_on_in_blocks(self, monkeypatch):
        write_image("a.png", noise(600, 1300))
        areas = []
        real = pictures.upscale
        monkeypatch.setattr(pictures, "upscale", lambda model, lr, **o: areas.append(lr.size) or real(model, lr, **o))
        upscale_files(bicubic(), ["a.png"])
        assert len(areas) == 6 and max(areas) <= 3 * 520**2

    def test_what_the_machine_does_not_have_is_refused_before_the_picture_is_decoded(self, here, monkeypatch):
        write_image("a.png", noise(600, 500, 3))
        Path("a.png").write_bytes(Path("a.png").read_bytes()[:100])  # whoever decodes it fails otherwise
        monkeypatch.setattr(pictures, "free_memory", lambda: 20_000_000)
        message = r"a.png: 500x600 pixels to 1000x1200 takes about 0.2 GB of memory, and 0.0 GB are free; cut it into smaller"
        with pytest.raises(SRError, match=message):
            upscale_files(bicubic(), ["a.png"])
        with pytest.raises(SRError, match=r"leave out --tile 0$"):
            upscale_files(bicubic(), ["a.png"], tile=0)
        assert names(here) == ["a.png"]

    def test_a_large_picture_says_what_it_takes(self, monkeypatch, capsys):
        photos("a.png")
        monkeypatch.setattr(pictures, "LARGE", 1000)
        upscale_files(bicubic(), ["a.png"])
        assert capsys.readouterr().out == f"a.png: 5x6 pixels to 10x12 takes about 0.0 GB of memory\na{END}: 10x12\n"

    def test_what_is_needed(self):
        needed = pictures.memory_needed
        small, large = (needed(bicubic().model, side, side, False) for side in (1000, 4000))
        assert large < 10 * small < needed(bicubic().model, 4000, 4000, False, tile=0)
        assert needed(bicubic().model, 1000, 1000, True) > small
        assert needed(models.create("vdsr", 2).eval(), 1000, 1000, False) > 2 * small
        whole = models.create("imdn", 2, width=8).eval()  # sees all of a picture
        assert whole.context is None and needed(whole, 4000, 4000, False) > 10 * needed(whole, 1000, 1000, False)

    @pytest.mark.parametrize("name", ["btsrn", "vdsr"])
    @on_linux
    def test_the_estimate_is_at_or_above_the_real_peak(self, here, name):
        code = f"""
write_image("small.png", np.zeros((16, 16, 3), np.uint8))
write_image("a.png", np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8))
model = models.create("{name}", 2).eval()
upscale_file(model, Path("small.png"), Path("small_out.png"))  # loads the libraries
release_freed_memory()
Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
before = memory("VmRSS")
upscale_file(model, Path("a.png"), Path("out.png"))
print(memory("VmHWM") - before, pictures.memory_needed(model, 128, 128, False))
"""
        peak, needed = measured(code)
        assert 0.9 * peak < needed < 4 * peak

    @on_linux
    def test_memory_that_an_earlier_picture_freed_counts_as_free(self, here):
        code = """
import torch
write_image("a.png", np.zeros((16, 16, 3), np.uint8))
model = models.create("bicubic", 2).eval()
freed = [torch.ones(1 << 20) for _ in range(128)]  # 512 MB
kept = memory("VmRSS")
del freed
at_check = []
pictures.free_memory = lambda: at_check.append(memory("VmRSS")) or 1 << 40
upscale_file(model, Path("a.png"), Path("out.png"))
print(kept - at_check[0])
"""
        assert measured(code)[0] > 300e6

    @on_linux
    def test_a_large_picture_takes_little_memory(self, here):
        code = """
write_image("large.png", np.zeros((2400, 2400, 3), np.uint8))
upscale_file(models.create("bicubic", 2).eval(), Path("large.png"), Path("out.png"))
print(memory("VmHWM"))
"""
        assert measured(code)[0] < 0.7e9  # of which Python with PyTorch is half

    def test_the_limit_of_a_control_group_counts(self, here, monkeypatch):
        cgroup = Path("/proc/self/cgroup")
        lines = cgroup.read_text().splitlines() if cgroup.exists() else []
        group = next((line[3:] for line in lines if line.startswith("0::")), None)
        if group is None:
            pytest.skip("control groups of version 2 are Linux's")
        folder = here / "cgroup" / group.lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        for name, value in (("max", "3000000"), ("current", "2500000"), ("stat", "anon 5\ninactive_file 400000")):
            (folder / f"memory.{name}").write_text(value)
        monkeypatch.setattr(pictures, "CGROUP", here / "cgroup")
        assert pictures.free_memory() == 900_000
        (folder / "memory.max").write_text("max")
        assert pictures.free_memory() > 900_000


def failing(error: Exception):
    def fail(*args, **options):
        raise error

    return fail


class TestFailures:
    def test_an_output_that_cannot_be_written_is_told_before_any_work(self, monkeypatch):
        photos("in/a.png", "in/b.png")
        monkeypatch.setattr(pictures, "upscale", lambda *a, **o: pytest.fail("worked"))
        Path("file").touch()
        with pytest.raises(SRError, match=r"2 of 2 images were not upscaled:\n  cannot write file/out/a_bic.*: Not a directory"):
            upscale_files(bicubic(), ["in"], Path("file/out"))
        Path(f"in/a{END}").mkdir()
        with pytest.raises(SRError, match=rf"cannot write in/a{END}: Is a directory"):
            upscale_files(bicubic(), ["in/a.png"], overwrite=True)

    def test_names_as_long_as_the_file_system_allows(self, here):
        photos("a.png")
        upscale_files(bicubic(), ["a.png"], Path(236 * "b" + ".png"))
        assert read_image(236 * "b" + ".png").shape == (12, 10, 3)
        photos(245 * "c" + ".png")
        with pytest.raises(SRError, match="cannot write c+_bicubic_x2.png: File name too long"):
            upscale_files(bicubic(), [245 * "c" + ".png"])

    def test_goes_on_and_reports_at_the_end(self, here, capsys):
        photos("in/a.png", "in/c.png", f"in/c{END}")
        Path("in/b.png").write_bytes(Path("in/a.png").read_bytes()[:60])
        with pytest.raises(SRError) as caught:
            upscale_files(bicubic(), ["in", "none.png", 300 * "a", "empty/*.png"])
        for line, start in zip(
            str(caught.value).splitlines(),
            (
                "5 of 6 images were not upscaled:",
                "  image empty/*.png: matches no image",
                "  image in/b.png: cannot be decoded",
                f"  in/c{END} exists",
                "  image none.png: no such file",
                f"  image {300 * 'a'}: File name too long",
            ),
            strict=True,
        ):
            assert line.startswith(start)
        assert capsys.readouterr().out == f"in/a{END}: 10x12\n"
        assert names(here / "in") == ["a.png", f"a{END}", "b.png", "c.png", f"c{END}"]

    def test_memory_that_runs_out_is_one_pictures_failure(self, monkeypatch):
        photos("a.png")
        monkeypatch.setattr(evaluation, "forward", failing(torch.OutOfMemoryError("too large")))
        for tile, remedy in ((None, "cut it into smaller pictures"), (0, "leave out --tile 0")):
            with pytest.raises(SRError, match=f"image a.png: memory ran out at 5x6 pixels; {remedy}"):
                upscale_file(bicubic().model, Path("a.png"), Path("out.png"), tile=tile)

    def test_other_mistakes_are_not_swallowed(self, monkeypatch):
        photos("a.png")
        monkeypatch.setattr(pictures, "upscale", failing(RuntimeError("a mistake of the program")))
        with pytest.raises(RuntimeError, match="a mistake of the program"):
            upscale_files(bicubic(), ["a.png"])

    def test_settings_are_checked_before_any_picture_is_read(self):
        for trained, options, message in (
            (bicubic(), {"tile": 3}, r"tile \(=3\) must be"),
            (bicubic(1), {}, r"scale \(=1\) of bicubic"),
            (replace(bicubic(), name="one", model=models.create("identifier", 2)), {}, r"model \(=one\) predicts how difficult"),
        ):
            with pytest.raises(SRError, match=message):
                upscale_files(trained, ["none.png"], **options)


def test_a_network_of_scale_1_restores_at_the_same_size():
    photos("a.png")
    model = models.create("imdn", 1, width=8).eval()
    upscale_files(Trained("imdn", "IMDN", model, Path()), ["a.png"])
    assert read_image("a_imdn_x1.png").shape == (6, 5, 3)


def test_bars_over_images_and_tiles(capsys):
    for name in "ab":
        write_image(f"in/{name}.png", noise(40, 20, 3))
    upscale_files(bicubic(), ["in"], tile=16, progress=True)
    out, err = capsys.readouterr()
    assert "0/2 [" in err and "image" in err and "0/6 [" in err and "tile" in err
    assert out == f"in/a{END}: 40x80\nin/b{END}: 40x80\n"
    upscale_files(bicubic(), ["in"], tile=16, overwrite=True)
    assert capsys.readouterr().err == ""
