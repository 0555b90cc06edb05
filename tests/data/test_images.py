import errno
import os

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from srlib.core.errors import SRError
from srlib.data import images
from srlib.data.images import image_head, list_images, read_image, read_photo, write_image


def test_the_head_is_known_without_decoding(tmp_path, rgb):
    path = tmp_path / "a.png"
    write_image(path, rgb)
    path.write_bytes(path.read_bytes()[:60])
    assert image_head(path) == (9, 13, False)
    with pytest.raises(SRError, match="cannot be decoded"):
        read_image(path)
    path.write_bytes(b"no picture")
    with pytest.raises(SRError, match=r"a\.png: not an image that can be read"):
        image_head(path)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_head_has_the_sides_of_the_turned_picture(tmp_path, rgb, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(rgb).save(tmp_path / "a.jpg", exif=exif)
    assert image_head(tmp_path / "a.jpg")[:2] == read_image(tmp_path / "a.jpg").shape[:2]


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "deep/er/a.PNG"])
def test_an_rgb_image_comes_back_as_written(tmp_path, rgb, name):
    path = tmp_path / name
    write_image(path, rgb) if path.suffix.lower() == ".png" else Image.fromarray(rgb).save(path)
    pixels = read_image(path)
    assert pixels.dtype == np.uint8 and pixels.flags.writeable
    np.testing.assert_array_equal(pixels, rgb)


def test_grey_stays_grey_and_alpha_is_dropped(tmp_path, rgb):
    grey, alpha = rgb[..., 0], rgb[..., 1]
    write_image(tmp_path / "l.png", grey)
    Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)]).save(tmp_path / "la.png")
    Image.fromarray(np.dstack([rgb, alpha])).save(tmp_path / "rgba.png")
    np.testing.assert_array_equal(read_image(tmp_path / "l.png"), grey)
    np.testing.assert_array_equal(read_image(tmp_path / "la.png"), grey)
    np.testing.assert_array_equal(read_image(tmp_path / "rgba.png"), rgb)
    Image.fromarray(grey).convert("1", dither=Image.Dither.NONE).save(tmp_path / "b.png")
    np.testing.assert_array_equal(read_image(tmp_path / "b.png"), np.where(grey < 128, 0, 255))


@pytest.mark.parametrize("transparency", [None, 0, bytes([0, 128, 255])])
def test_a_palette_becomes_rgb(tmp_path, recwarn, transparency):
    index = np.array([[0, 1, 2], [2, 1, 0]], dtype=np.uint8)
    colours = [[10, 20, 30], [40, 50, 60], [70, 80, 90]]
    image = Image.frombytes("P", (3, 2), index.tobytes())
    image.putpalette(sum(colours, []))
    options = {} if transparency is None else {"transparency": transparency}
    image.save(tmp_path / "p.png", **options)
    np.testing.assert_array_equal(read_image(tmp_path / "p.png"), np.array(colours, dtype=np.uint8)[index])
    assert not recwarn.list


def test_sixteen_bit_grey_is_rounded_not_cut(tmp_path, png):
    values = np.array([[0, 128, 129, 257], [32895, 32896, 65406, 65535]], dtype=np.uint16)
    expected = np.round(values / 257)
    png(tmp_path / "16.png", values[..., None])
    np.testing.assert_array_equal(read_image(tmp_path / "16.png"), expected)
    Image.fromarray(values).save(tmp_path / "16.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "16.tif"), expected)
    Image.fromarray(values.astype(np.int32)).save(tmp_path / "32.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "32.tif"), expected)


@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bit_colour_keeps_the_high_byte(tmp_path, channels, png):
    values = np.random.default_rng(0).integers(0, 65536, (4, 5, channels)).astype(np.uint16)
    png(tmp_path / "16.png", values)
    np.testing.assert_array_equal(read_image(tmp_path / "16.png"), values[..., :3] >> 8)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (Image.fromarray(np.full((2, 2), 70000, np.int32)), "32-bit pixels.*expected 8 or 16 bits"),
        (Image.fromarray(np.full((2, 2), -1, np.int32)), "32-bit pixels.*expected 8 or 16 bits"),
        (Image.fromarray(np.ones((2, 2), np.float32)), "floating-point pixels"),
        (Image.new("LAB", (4, 4)), "Lab pixels, expected grey, RGB or CMYK"),
    ],
)
def test_other_pixels_are_refused(tmp_path, image, message):
    image.save(tmp_path / "a.tif")
    with pytest.raises(SRError, match=message):
        read_image(tmp_path / "a.tif")


def test_a_cmyk_jpeg_becomes_rgb(tmp_path):
    colour = np.full((16, 16, 3), (200, 60, 90), np.uint8)
    Image.fromarray(colour).convert("CMYK").save(tmp_path / "c.jpg", quality=100)
    got = read_image(tmp_path / "c.jpg")
    assert got.shape == (16, 16, 3)
    assert np.abs(got.astype(int) - colour).max() <= 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, rgb, orientation):
    # what each value says about the stored picture (EXIF 2.3, tag 0x0112), undone
    undo = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(a.transpose(1, 0, 2), 2),
        8: lambda a: np.rot90(a, 1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(rgb).save(tmp_path / "e.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "e.png"), undo[orientation](rgb))


def test_missing_folder_and_empty_files_are_named(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("not an image\n" * 20)
    cases = {
        "none.png": rf"none\.png: no such file; looked in {tmp_path}",
        "text.png/a.png": r"a\.png: no such file",
        300 * "a" + ".png": r"a\.png: File name too long",
        ".": "Is a directory; expected an image file",
        "empty.png": r"empty\.png: the file is empty",
        "text.png": r"text\.png: not an image",
    }
    for name, message in cases.items():
        with pytest.raises(SRError, match=message):
            read_image(tmp_path / name)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "webp"])
def test_a_truncated_file_is_an_error(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    whole, cut = tmp_path / f"whole.{suffix}", tmp_path / f"cut.{suffix}"
    Image.fromarray(noise).save(whole)
    data = whole.read_bytes()
    for part in (0.1, 0.5, 0.8):
        cut.write_bytes(data[: int(len(data) * part)])
        with pytest.raises(SRError, match=rf"cut\.{suffix}: (cannot be decoded|not an image)"):
            read_image(cut)


@pytest.mark.filterwarnings("ignore")  # Pillow warns of what it repairs
@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "webp", "gif"])
def test_damaged_bytes_never_raise_anything_else(tmp_path, suffix):
    rng = np.random.default_rng(0)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(rng.integers(0, 256, (8, 9, 3), dtype=np.uint8)).save(path)
    data = np.frombuffer(path.read_bytes(), np.uint8)
    refused = 0
    for _ in range(150):
        damaged = data.copy()
        damaged[rng.integers(0, min(len(data), 200), 4)] = rng.integers(0, 256, 4)
        path.write_bytes(damaged.tobytes())
        try:
            assert read_image(path).dtype == np.uint8
        except SRError:
            refused += 1
    assert refused


def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch, rgb):
    write_image(tmp_path / "a.png", rgb)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(SRError, match=r"a\.png: cannot be decoded.*exceeds limit.*; cut it into smaller images"):
        read_image(tmp_path / "a.png")


def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch, rgb):
    write_image(tmp_path / "a.png", rgb)
    monkeypatch.setattr(Image, "open", lambda path: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    with pytest.raises(SRError, match=r"a\.png: Permission denied"):
        read_image(tmp_path / "a.png")


def test_images_are_listed_in_natural_order(tmp_path, rgb):
    for name in ["img_10.png", "img_2.PNG", "img_1.jpg", "img.bmp", ".hidden.png", "notes.txt", "b", "b1"]:
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in list_images(tmp_path)] == ["img.bmp", "img_1.jpg", "img_2.PNG", "img_10.png"]


def test_a_folder_without_images_is_an_error(tmp_path):
    (tmp_path / "notes.txt").touch()
    cases = {"": r"holds no image, of 1 file; expected \.png", "none": "does not exist", "notes.txt": "is a file"}
    for name, message in cases.items():
        with pytest.raises(SRError, match=message):
            list_images(tmp_path / name)


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    def refused(folder):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(SRError, match=r"folder: .* cannot be read: Permission denied"):
        list_images(tmp_path)


@pytest.mark.parametrize("suffix", ["jpg", "JPEG"])
def test_jpeg_is_written_in_high_quality(tmp_path, suffix):
    smooth = np.dstack(np.broadcast_arrays(np.arange(0, 64)[:, None], np.arange(64, 192, 2), 128)).astype(np.uint8)
    write_image(tmp_path / f"a.{suffix}", smooth)
    assert np.abs(read_image(tmp_path / f"a.{suffix}").astype(int) - smooth).max() <= 6


def test_sixteen_bit_tiff_whose_white_is_zero(tmp_path):
    values = np.array([[0, 257, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "a.tif", tiffinfo={262: 0})
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), [[255, 254, 0]])


@pytest.mark.parametrize("packed", [True, False])
def test_a_png_with_much_text_is_sound(tmp_path, rgb, packed):
    text = PngImagePlugin.PngInfo()
    text.add_text("notes", "0123456789" * 150_000, zip=packed)
    Image.fromarray(rgb).save(tmp_path / "a.png", pnginfo=text)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), rgb)


def test_a_png_with_far_too_much_text_is_not_called_damaged(tmp_path, rgb):
    text = PngImagePlugin.PngInfo()
    text.add_text("notes", bytes(65 << 20).decode(), zip=True)
    Image.fromarray(rgb).save(tmp_path / "a.png", pnginfo=text)
    with pytest.raises(SRError, match=r"a\.png: has more than 64 MB of text or of an ICC profile; save it again without these"):
        read_image(tmp_path / "a.png")


def test_what_jpeg_cannot_hold(tmp_path, rgb):
    with pytest.raises(SRError, match=r"'a\.jpg' cannot hold an alpha channel"):
        write_image(tmp_path / "a.jpg", rgb, alpha=rgb[..., 0])
    with pytest.raises(SRError, match=r"cannot hold 65501 pixels a side"):
        write_image(tmp_path / "a.jpg", np.zeros((1, 65501), np.uint8))
    with pytest.raises(SRError, match=r"alpha: got uint8 of shape \(4, 13\), expected uint8 of \(9, 13\)"):
        write_image(tmp_path / "a.png", rgb, alpha=rgb[:4, :, 0])
    assert list(tmp_path.iterdir()) == []


def test_write_image_refuses_what_it_cannot_keep(tmp_path, rgb):
    with pytest.raises(SRError, match=r"cannot write 'a\.gif'; expected a name that ends in \.png"):
        write_image(tmp_path / "a.gif", rgb)
    for bad in (rgb.astype(np.float32), rgb[..., :2], rgb[:0], rgb[0, 0]):
        with pytest.raises(SRError, match="expected uint8 of"):
            write_image(tmp_path / "a.png", bad)
    assert list(tmp_path.iterdir()) == []


def test_natural_order_never_compares_numbers_with_words():
    names = ["a", "a1", "1", "1a", "a01", "", "a1b2", "a1b10"]
    assert sorted(names, key=images.natural) == ["", "1", "1a", "a", "a01", "a1", "a1b2", "a1b10"]


def test_a_photo_comes_with_its_alpha_channel_and_profile(tmp_path, rgb):
    alpha, profile = rgb[..., 1], ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for pixels, one in ((rgb, alpha), (rgb[..., 0], alpha), (rgb, None)):
        write_image(tmp_path / "a.png", pixels, alpha=one, profile=profile)
        photo = read_photo(tmp_path / "a.png")
        np.testing.assert_array_equal(photo.pixels, pixels)
        np.testing.assert_array_equal(photo.alpha, one)
        assert photo.profile == (profile if pixels.ndim == 3 else None) and bool(photo.lost) == (pixels.ndim == 2)
    write_image(tmp_path / "a.jpg", rgb, profile=profile)
    assert read_photo(tmp_path / "a.jpg").profile == profile
    write_image(tmp_path / "a.png", rgb)
    assert read_photo(tmp_path / "a.png").profile is None and read_photo(tmp_path / "a.png").lost == ()


@pytest.mark.parametrize("mode", ["P", "L", "RGB"])
def test_a_transparent_colour_becomes_alpha(tmp_path, mode):
    image = Image.new(mode, (3, 2), {"P": 5, "L": 5, "RGB": (5, 5, 5)}[mode])
    image.putpixel((1, 0), {"P": 7, "L": 7, "RGB": (7, 7, 7)}[mode])
    if mode == "P":
        image.putpalette([value for value in range(16) for _ in range(3)])
    image.save(tmp_path / "a.png", transparency={"P": 7, "L": 7, "RGB": (7, 7, 7)}[mode])
    photo = read_photo(tmp_path / "a.png")
    np.testing.assert_array_equal(photo.alpha, [[255, 0, 255], [255, 255, 255]])
    np.testing.assert_array_equal(photo.pixels, read_image(tmp_path / "a.png"))


@pytest.mark.parametrize("channels", [2, 4])
def test_alpha_of_16_bits(tmp_path, channels, png):
    values = np.random.default_rng(0).integers(0, 256, (4, 5, channels)) * 257
    png(tmp_path / "a.png", values)
    photo = read_photo(tmp_path / "a.png")
    np.testing.assert_array_equal(photo.alpha, values[..., -1] // 257)
    colours = np.broadcast_to(values[..., :-1] // 257, (4, 5, 3))  # Pillow reads grey with alpha of 16 bits as RGB
    np.testing.assert_array_equal(photo.pixels, colours)


def test_a_transparent_colour_of_other_than_8_bits(tmp_path, png):
    path = tmp_path / "a.png"
    png(path, np.array([[[300], [301], [65535]]], np.uint16), transparent=[300])
    np.testing.assert_array_equal(read_photo(path).alpha, [[0, 255, 255]])
    np.testing.assert_array_equal(read_photo(path).pixels, [[1, 1, 255]])
    png(path, np.array([[[3], [15]]], np.uint16), bits=4, transparent=[3])
    np.testing.assert_array_equal(read_photo(path).alpha, [[0, 255]])
    np.testing.assert_array_equal(read_photo(path).pixels, [[51, 255]])
    png(path, np.array([[[300, 500, 700], [300, 900, 700]]], np.uint16), transparent=[300, 500, 700])
    np.testing.assert_array_equal(read_photo(path).alpha, [[0, 255]])


def test_what_a_photo_does_not_hold_is_named(tmp_path, rgb):
    first, others = Image.fromarray(rgb), [Image.fromarray(rgb[::-1]), Image.fromarray(rgb[:, ::-1])]
    exif, upright, gamma, usual = Image.Exif(), Image.Exif(), PngImagePlugin.PngInfo(), PngImagePlugin.PngInfo()
    exif[0x0132], upright[0x0112] = "2020:01:02 03:04:05", 6
    gamma.add(b"gAMA", (100000).to_bytes(4, "big"))
    usual.add(b"gAMA", (45455).to_bytes(4, "big"))
    for name, options, lost in (
        ("a.gif", {"save_all": True, "append_images": others}, ("2 further frames",)),
        ("a.png", {"save_all": True, "append_images": others}, ("2 further frames",)),
        ("a.tif", {"save_all": True, "append_images": others[:1]}, ("1 further page",)),
        ("a.jpg", {"exif": exif}, ("its EXIF data",)),
        ("a.jpg", {"exif": upright}, ()),
        ("a.png", {"pnginfo": gamma}, ("its gamma of 1",)),
        ("a.png", {"pnginfo": gamma, "exif": exif}, ("its gamma of 1", "its EXIF data")),
        ("a.png", {"pnginfo": usual}, ()),
        ("a.tif", {}, ()),
    ):
        first.save(tmp_path / name, **options)
        assert read_photo(tmp_path / name).lost == lost, (name, options)
