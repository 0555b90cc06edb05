import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from srlib.data.images import read_image, read_photo, write_image


def test_a_photo_comes_with_its_alpha_channel_and_profile(tmp_path, rgb):
    alpha, profile = rgb[..., 1], ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for pixels, one in ((rgb, alpha), (rgb[..., 0], alpha), (rgb, None)):
        write_image(tmp_path / "a.png", pixels, alpha=one, profile=profile)
        photo = read_photo(tmp_path / "a.png")
        np.testing.assert_array_equal(photo.pixels, pixels)
        np.testing.assert_array_equal(photo.alpha, one)
        assert photo.profile == profile and photo.profile_fits == (pixels.ndim == 3)
    write_image(tmp_path / "a.jpg", rgb, profile=profile)
    assert read_photo(tmp_path / "a.jpg").profile == profile
    write_image(tmp_path / "a.png", rgb)
    assert read_photo(tmp_path / "a.png").profile is None and not read_photo(tmp_path / "a.png").profile_fits


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
