"""Perceptual measures: known answers, the direction in which blur and noise move them, LPIPS from made-up files."""

import os
import pickle
import socket
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from scipy.signal import convolve2d

from srlib.cli.main import main
from srlib.core.errors import SRError
from srlib.core.files import sha256
from srlib.core.imresize import imresize
from srlib.core.protocols import protocol
from srlib.data import registry
from srlib.data.sets import open_set
from srlib.nn import models
from srlib.reproduce.scores import perceptual_scores
from srlib.reproduce.store import Trained
from srlib.scoring import lpips, perceptual
from srlib.scoring.lpips import is_fetched


@pytest.fixture
def picture() -> np.ndarray:
    return dict(open_set("embedded-test"))["chelsea"]


def test_equal_pictures(picture):
    assert perceptual.gmsd(picture.astype(float), picture) == 0
    assert perceptual.sharpness(picture.astype(float), picture) == 1


def test_blur_and_noise(picture):
    height, width = picture.shape[:2]
    blurry = [imresize(imresize(picture.astype(float), 1 / k), size=(height, width)) for k in (2, 4)]
    noisy = picture + np.random.default_rng(0).normal(0, 20, picture.shape)
    assert 0 < perceptual.gmsd(blurry[0], picture) < perceptual.gmsd(blurry[1], picture)
    assert perceptual.sharpness(blurry[1], picture) < perceptual.sharpness(blurry[0], picture) < 1
    assert perceptual.sharpness(noisy, picture) > 1 and perceptual.gmsd(noisy, picture) > 0.02


def test_gmsd_written_out():
    """Half size by means of 2x2, Prewitt's filters over 3, similarity, deviation; one value by hand."""
    hr, sr = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8, 3))
    hr[:, 4:] = 60
    assert perceptual.gmsd(sr, hr) == 0  # the same loss everywhere is no deviation
    sr[:, :] = hr
    sr[4:] = 0
    assert perceptual.gmsd(sr, hr) == pytest.approx(0.0848749, abs=1e-6)


def test_gmsd_of_a_coloured_pair_with_values_beyond_the_range():
    rng = np.random.default_rng(0)
    hr = rng.integers(0, 256, (15, 22, 3), dtype=np.uint8)
    sr = hr + rng.normal(0, 40, hr.shape)
    assert sr.min() < -20 and sr.max() > 275
    prewitt = np.array([[1, 0, -1]] * 3) / 3

    def gradient(image):
        grey = (image @ [0.299, 0.587, 0.114])[:14]
        small = (grey[::2, ::2] + grey[1::2, ::2] + grey[::2, 1::2] + grey[1::2, 1::2]) / 4
        return np.sqrt(sum(convolve2d(small, kernel, mode="valid") ** 2 for kernel in (prewitt, prewitt.T)))

    a, b = gradient(sr.clip(0, 255)), gradient(hr)
    assert perceptual.gmsd(sr, hr) == pytest.approx(((2 * a * b + 170) / (a**2 + b**2 + 170)).std())
    assert perceptual.sharpness(sr, hr) == pytest.approx((a**2).mean() / (b**2).mean())


def test_half_the_contrast_is_a_quarter_of_the_energy(picture):
    assert perceptual.sharpness(100 + (picture - 100.0) / 2, picture) == pytest.approx(0.25)


def test_a_picture_that_is_too_small():
    with pytest.raises(SRError, match=r"\(4, 8\) pixels, expected at least 6 a side"):
        perceptual.gmsd(np.zeros((4, 8, 3)), np.zeros((4, 8, 3), np.uint8))


def test_scores_of_a_set():
    rows = perceptual.score(models.create("bicubic", 1), "embedded-camera-test", protocol("d2c"), 2)
    assert list(rows["image"]) == ["camera", "chelsea"] and rows["gmsd"].gt(0).all() and rows["sharpness"].lt(1).all()
    assert list(rows) == ["image", "gmsd", "sharpness"]


def test_luma_alone_is_refused():
    with pytest.raises(SRError, match="makes luma alone under the protocol 'y', expected a network of RGB"):
        perceptual.score(models.create("espcn", 2), "embedded-test", protocol("y"))


# --- LPIPS --------------------------------------------------------------------------------------------------------------


# Kernel size, inputs and outputs of each convolution; LPIPS compares after those with a star.
ALEX = ["11 3 64*", "5 64 192*", "3 192 384*", "3 384 256*", "3 256 256*"]
VGG = ["3 3 64", "3 64 64*", "3 64 128", "3 128 128*", "3 128 256", "3 256 256", "3 256 256*"]
VGG += ["3 256 512", "3 512 512", "3 512 512*", "3 512 512", "3 512 512", "3 512 512*"]


def made_up(layers: list[str], name: str) -> dict:
    random, convolutions, weights = np.random.default_rng(0), {}, {}
    for i, layer in enumerate(layers):
        k, inputs, outputs = map(int, layer.rstrip("*").split())
        kernel = random.normal(size=(k, k, inputs, outputs)) * (2 / (k * k * inputs)) ** 0.5
        bias = random.normal(size=outputs) * 0.1
        convolutions[f"Conv_{i}"] = {"kernel": kernel.astype("f4"), "bias": bias.astype("f4")}
        if layer.endswith("*"):
            weight = random.uniform(size=(1, 1, outputs, 1)).astype("f4")
            weights[f"NetLinLayer_{len(weights)}"] = {"Conv_0": {"kernel": weight}}
    return {name: convolutions, **weights}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("lpips")
    (folder / "alexnet.ckpt").write_bytes(pickle.dumps(made_up(ALEX, "AlexNet_0"), protocol=3))
    return folder


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    """An empty folder of data, and no network."""

    def refuse(*args, **kwargs):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("SRLIB_DATA", str(tmp_path))
    return tmp_path


def written_out(arrays: dict, name: str, image: torch.Tensor, other: torch.Tensor, layers: list[str]) -> float:
    """Distances of unit features, weighted, averaged over pixels and summed over layers."""

    def kernel(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).permute(3, 2, 0, 1)

    def features(x: torch.Tensor) -> list[torch.Tensor]:
        x = (2 * x - 1 - torch.tensor([-0.030, -0.088, -0.188])[:, None, None]) / torch.tensor([0.458, 0.448, 0.450])[
            :, None, None
        ]
        taken = []
        for i, layer in enumerate(layers):
            part, first = arrays[name][f"Conv_{i}"], name == "AlexNet_0" and i == 0
            pad = 2 if first else part["kernel"].shape[0] // 2
            x = F.conv2d(x, kernel(part["kernel"]), torch.from_numpy(part["bias"]), stride=4 if first else 1, padding=pad).relu()
            if layer.endswith("*"):
                taken.append(F.normalize(x, dim=1))
            if name == "VGG16_0" and layer.endswith("*"):
                x = F.max_pool2d(x, 2)
            elif name == "AlexNet_0" and i in (0, 1):
                x = F.max_pool2d(x, 3, 2)
        return taken

    pairs = zip(features(image), features(other), strict=True)
    return sum(
        (arrays[f"NetLinLayer_{i}"]["Conv_0"]["kernel"][0, 0, :, 0] * ((a - b) ** 2).mean(dim=(0, 2, 3)).numpy()).sum()
        for i, (a, b) in enumerate(pairs)
    )


@pytest.mark.parametrize(("net", "layers", "name"), [("alex", ALEX, "AlexNet_0"), ("vgg", VGG, "VGG16_0")])
def test_the_formula_written_out(tmp_path, net, layers, name):
    arrays = made_up(layers, name)
    (tmp_path / "a.ckpt").write_bytes(pickle.dumps(arrays, protocol=3))
    model = lpips.read(tmp_path / "a.ckpt", net)
    image, other = torch.rand(2, 1, 3, 69, 83, generator=torch.Generator().manual_seed(0))
    expected = written_out(arrays, name, image, other, layers)
    assert expected > 0.1 and model(image, other).item() == pytest.approx(expected, rel=1e-4)
    assert model(image, image).item() == 0 and model(other, image).item() == model(image, other).item()


def test_a_missing_file_is_no_metric_and_names_the_command(data):
    assert not is_fetched() and "python -m srlib data lpips/alex" in perceptual.NO_LPIPS
    with pytest.raises(SRError, match=r"lpips/alex: 1 of 1 files are missing .*python -m srlib data lpips/alex"):
        perceptual.lpips()
    with pytest.raises(SRError, match="unknown net 'alexx'. Did you mean 'alex'"):
        lpips.load_lpips("alexx")


@pytest.fixture
def fetched(data, folder, monkeypatch) -> None:
    (data / "lpips").symlink_to(folder)
    rows = registry.table().copy()
    rows.loc[rows["file"] == "lpips/alexnet.ckpt", "sha256"] = sha256(folder / "alexnet.ckpt")
    monkeypatch.setattr(registry, "table", lambda: rows)


def test_scores_are_kept_and_have_lpips_where_its_weights_are_fetched(request, data, tmp_path):
    trained = Trained("bicubic", "Bicubic", models.create("bicubic", 1), tmp_path / "scores")
    given = trained, "embedded-camera-test", protocol("d2c"), 1
    without = perceptual_scores(*given)
    request.getfixturevalue("fetched")
    rows = perceptual_scores(*given)
    assert list(without) == ["image", "gmsd", "sharpness"] and list(rows) == [*without, "lpips"] and rows["lpips"].gt(0).all()
    names = sorted(file.name.rpartition("_")[2] for file in (tmp_path / "scores").iterdir())
    assert names == ["lpips.csv", "perceptual.csv"]
    stamps = [file.stat().st_mtime_ns for file in (tmp_path / "scores").iterdir()]
    pd.testing.assert_frame_equal(perceptual_scores(*given), rows)
    assert [file.stat().st_mtime_ns for file in (tmp_path / "scores").iterdir()] == stamps


def test_the_metric_takes_images_of_8_bits(fetched):
    hr = np.random.default_rng(0).integers(0, 256, (70, 80, 3), dtype=np.uint8)
    sr = hr + 20.0  # beyond 255, which is clipped
    pair = (torch.from_numpy(x.clip(0, 255) / 255).permute(2, 0, 1)[None].float() for x in (sr, hr))
    assert perceptual.lpips()(sr, hr) == pytest.approx(lpips.load_lpips()(*pair).item(), rel=1e-6)


def test_a_changed_file_is_refused(data, folder):
    content = bytearray((folder / "alexnet.ckpt").read_bytes())
    content[5000] ^= 1
    (data / "lpips").mkdir()
    (data / "lpips" / "alexnet.ckpt").write_bytes(content)
    with pytest.raises(SRError, match="alexnet.ckpt has sha256 [0-9a-f]{64}, expected 443c5bc3"):
        perceptual.lpips()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"cos\nsystem\n(S'touch harm'\ntR.", "it asks for os.system"),
        (pickle.dumps({"AlexNet_0": np.ones(3)}, protocol=3), "is not the weights of LPIPS with alex"),
        (pickle.dumps(made_up(["3 3 64*"] * 5, "AlexNet_0"), protocol=3), "is not the weights of LPIPS with alex"),
        (b"", "damaged"),
    ],
)
def test_another_pickle_is_refused(tmp_path, monkeypatch, content, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.ckpt").write_bytes(content)
    with pytest.raises(SRError, match=message):
        lpips.read(tmp_path / "a.ckpt", "alex")
    assert not (tmp_path / "harm").exists()


def test_a_file_of_the_other_network_is_refused(folder):
    with pytest.raises(SRError, match="is not the weights of LPIPS with vgg: 'VGG16_0.Conv_0.kernel'"):
        lpips.read(folder / "alexnet.ckpt", "vgg")


def test_fetched_by_name_only(monkeypatch):
    fetched = []
    monkeypatch.setattr(registry, "fetch", lambda name, workers: fetched.append(name) or [Path("folder/file")])
    main(["data"])
    assert fetched == [name for name in registry.datasets() if name != "lpips"] and len(fetched) > 5
    main(["data", "lpips/alex"])
    assert fetched[-1] == "lpips/alex"


def test_the_authors_example():
    """imgs/ex_*.png of richzhang/PerceptualSimilarity, to which the package lpips 0.1.4 gives these distances."""
    examples = Path(os.environ.get("SRLIB_TEST_LPIPS", "none"))
    if not (examples / "ex_ref.png").is_file():
        pytest.skip("needs SRLIB_TEST_LPIPS, a folder with alexnet.ckpt, vgg16.ckpt, ex_ref.png, ex_p0.png and ex_p1.png")
    ref, *others = (np.array(Image.open(examples / f"ex_{name}.png").convert("RGB")) for name in ("ref", "p0", "p1"))
    ref, *others = (torch.from_numpy(image / 255).permute(2, 0, 1)[None].float() for image in (ref, *others))
    alex, vgg = lpips.read(examples / "alexnet.ckpt", "alex"), lpips.read(examples / "vgg16.ckpt", "vgg")
    assert [round(alex(ref, other).item(), 3) for other in others] == [0.722, 0.138]
    assert [vgg(ref, other).item() for other in others] == pytest.approx([0.568613, 0.421664], abs=1e-5)
