import dataclasses
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from srlib.core.color import rgb_to_ycbcr, to_y, ycbcr_to_rgb
from srlib.core.errors import SRError
from srlib.core.imresize import downscale, imresize, modcrop
from srlib.core.metrics import psnr, score, ssim
from srlib.core.protocols import PROTOCOLS, protocol
from srlib.data.sets import open_set
from srlib.nn import models
from srlib.nn.bicubic import Bicubic
from srlib.scoring import evaluation
from srlib.scoring.evaluation import evaluate, forward, measure, self_ensemble, super_resolve, upscale, windows

pytestmark = pytest.mark.usefixtures("one_thread")


def picture(*shape, seed=0) -> np.ndarray:
    """A smooth picture, so that upscaling makes sense."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 6, 3)[: len(shape)], dtype=np.uint8)
    return imresize(noise, size=shape[:2])


@pytest.fixture
def pictures(tmp_path) -> str:
    (tmp_path / "set").mkdir()
    for i, shape in enumerate([(37, 41, 3), (32, 30), (40, 33, 3)]):
        Image.fromarray(picture(*shape, seed=i)).save(tmp_path / "set" / f"img_{i}.png")
    return f"folder:{tmp_path / 'set'}"


SMALL = {
    "btsrn": {"width": 8, "bottleneck": 4, "low": 1, "high": 1},
    **{name: {"width": 8} for name in ("drcn", "drrn", "lapsrn", "prosrn", "srresnet")},
}


# Of every kind: any channels, luma, RGB, fitted, unrolled, cut into patches.
KINDS = ["bicubic", "aplus", "rfl", "srcnn", "fsrcnn", "espcn", "vdsr", "drcn", "drrn", "srresnet", "lapsrn", "btsrn", "prosrn"]
KINDS += ["idn", "difficulty_sr"]


def network(name="btsrn", scale=2, **args) -> nn.Module:
    return models.create(name, scale, **{**SMALL.get(name, {}), **args}).eval()


class Nearest(nn.Module):
    """A model without convolutions that keeps count of what it sees and can run out of memory."""

    channels = 3
    context = 2

    def __init__(self, scale=2, largest=None, error=None):
        super().__init__()
        self.scale, self.largest, self.error, self.seen = scale, largest, error, []

    def forward(self, lr):
        self.seen.append(tuple(lr.shape[-2:]))
        if self.largest is not None and max(lr.shape[-2:]) > self.largest:
            raise self.error
        return lr.repeat_interleave(self.scale, -1).repeat_interleave(self.scale, -2)


CPU_ERROR = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate "
    "4000000000 bytes. Error code 12 (Cannot allocate memory)"
)
WINDOWS_ERROR = RuntimeError("[enforce fail at ..\\c10\\core\\impl\\alloc_cpu.cpp:72] . DefaultCPUAllocator: not enough memory")


class TestTiles:
    @pytest.mark.parametrize(("tile", "shape"), [(16, (48, 33)), (17, (16, 70)), (30, (5, 40)), (47, (48, 70))])
    @pytest.mark.parametrize(("name", "args"), [("btsrn", {"low": 2, "high": 3}), *(("fsrcnn", {"m": m}) for m in (0, 10))])
    def test_are_exact(self, name, args, tile, shape):
        model = network(name, **args)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.05)
        lr = torch.rand(2, model.channels, *shape)
        assert torch.allclose(forward(model, lr, tile=tile), forward(model, lr, tile=0), atol=1e-5)

    @pytest.mark.parametrize(
        ("width", "seen"),
        [
            (32, [(20, 32)]),
            (33, [(20, 20 + 2), (20, 13 + 2)]),
            (70, [(20, 24 + 2), (20, 24 + 2 + 2), (20, 22 + 2)]),
        ],
    )
    def test_are_about_equal_begin_at_multiples_of_4_and_cut_only_what_is_larger(self, width, seen):
        model = Nearest()
        forward(model, torch.rand(1, 3, 20, width), tile=32)
        assert model.seen == seen

    @pytest.mark.parametrize("scale, fits", [(1, 1024), (2, 512), (3, 344), (8, 128)])
    def test_default_holds_1024_pixels_of_the_output(self, scale, fits):
        model = Nearest(scale)
        forward(model, torch.rand(1, 3, 3, fits))
        assert model.seen.pop() == (3, fits)
        forward(model, torch.rand(1, 3, 3, fits + 1))
        assert len(model.seen) == 2
        forward(model, torch.rand(1, 3, 3, fits + 1), tile=0)
        assert model.seen[-1] == (3, fits + 1)

    def test_model_that_needs_the_whole_image_is_never_cut(self):
        model = Nearest()
        model.context = None
        forward(model, torch.rand(1, 3, 40, 40), tile=16)
        assert model.seen == [(40, 40)]

    @pytest.mark.parametrize("tile", [-1, 1, 15])
    def test_too_small_ones_are_refused(self, tile):
        with pytest.raises(SRError, match=rf"tile \(={tile}\) must be 0 \(never\) or at least 16 LR pixels"):
            forward(Nearest(), torch.rand(1, 3, 8, 8), tile=tile)

    def test_keep_no_graph(self):
        assert not forward(network(), torch.rand(1, 3, 40, 8), tile=16).requires_grad


class TestOutOfMemory:
    @pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), CPU_ERROR, WINDOWS_ERROR])
    @pytest.mark.parametrize("largest", [20, 37, 90])
    def test_falls_back_to_smaller_tiles(self, error, largest):
        model = Nearest(largest=largest, error=error)
        lr = torch.rand(1, 3, 70, 96)
        assert torch.equal(forward(model, lr), Nearest()(lr))
        assert max(model.seen[0]) == 96 and max(model.seen[-1]) <= largest

    def test_falls_back_from_a_given_tile(self):
        model = Nearest(largest=40, error=CPU_ERROR)
        lr = torch.rand(1, 3, 70, 100)
        assert torch.equal(forward(model, lr, tile=64), Nearest()(lr))

    def test_gives_up_where_the_smallest_tile_does_not_fit(self):
        with pytest.raises(torch.OutOfMemoryError):
            forward(Nearest(largest=10, error=torch.OutOfMemoryError("x")), torch.rand(1, 3, 70, 100))

    @pytest.mark.parametrize(("error", "tile"), [(CPU_ERROR, 0), (RuntimeError("shapes do not fit"), None)])
    def test_without_tiles_and_after_other_errors_there_is_no_second_try(self, error, tile):
        model = Nearest(largest=10, error=error)
        with pytest.raises(RuntimeError, match="DefaultCPUAllocator|shapes do not fit"):
            forward(model, torch.rand(1, 3, 70, 100), tile=tile)
        assert len(model.seen) == 1

    def test_real_allocator_is_understood(self):
        with pytest.raises(RuntimeError) as caught:
            torch.empty(10**15)
        assert evaluation.out_of_memory(caught.value)


class TestSelfEnsemble:
    def test_averages_the_eight_symmetries(self):
        model, lr = network(scale=3), torch.rand(1, 3, 7, 10)
        passes = []
        with torch.no_grad():
            for transpose in (False, True):
                for dims in ((), (-1,), (-2,), (-1, -2)):
                    x = lr.flip(dims).mT if transpose else lr.flip(dims)
                    y = model(x)
                    passes.append((y.mT if transpose else y).flip(dims))
        assert len(passes) == 8
        assert torch.allclose(self_ensemble(model, lr), torch.stack(passes).mean(0), atol=1e-6)
        assert not torch.allclose(passes[0], passes[3], atol=1e-4)


class TestUpscale:
    def test_rgb_model(self):
        model, lr = network(), picture(9, 7, 3)
        with torch.no_grad():
            expected = model(torch.from_numpy(lr).permute(2, 0, 1)[None] / 255)[0].permute(1, 2, 0).double().numpy() * 255
        sr = upscale(model, lr)
        assert sr.shape == (18, 14, 3) and sr.dtype == np.float64
        assert np.abs(sr - expected).max() < 1e-3

    @pytest.mark.parametrize(("name", "there_and_back"), [("espcn", ["cuda", torch.device("cpu")]), ("bicubic", [])])
    def test_a_trained_model_is_on_the_gpu_meanwhile(self, monkeypatch, name, there_and_back):
        model, moved = network(name), []
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(model, "to", lambda *where, **_: [moved.extend(where), model][1])
        assert upscale(model, picture(9, 7)).shape == (18, 14) and moved == there_and_back
        with pytest.raises(SRError, match="lr has shape"):
            upscale(model, picture(9, 7)[..., None])
        with pytest.raises(SRError, match="a layer"), evaluation._evaluating(model):
            raise SRError("a layer failed")
        assert moved == 2 * there_and_back

    def test_luma_model_keeps_the_chroma_bicubic(self):
        model, lr = network("espcn", 3), picture(9, 7, 3)
        sr = rgb_to_ycbcr(upscale(model, lr))
        ycbcr = rgb_to_ycbcr(lr.astype(np.float64))
        assert np.abs(sr[..., 1:] - imresize(ycbcr[..., 1:], 3)).max() < 1e-6
        assert np.abs(sr[..., 0] - upscale(model, ycbcr[..., 0])).max() < 1e-3
        assert np.abs(sr[..., 0] - imresize(ycbcr[..., 0], 3)).max() > 1

    def test_grey_is_luma_for_a_luma_model_and_equal_channels_for_an_rgb_one(self):
        grey = picture(9, 7)
        luma = network("espcn")
        with torch.no_grad():
            expected = luma(torch.from_numpy(grey)[None, None] / 255)[0, 0].double().numpy() * 255
        assert np.abs(upscale(luma, grey) - expected).max() < 1e-3
        model = network()
        rgb = upscale(model, np.repeat(grey[..., None], 3, axis=2))
        assert np.allclose(upscale(model, grey), rgb.mean(axis=2))

    @pytest.mark.parametrize("shape", [(9, 7), (9, 7, 3)])
    def test_bicubic_takes_both_and_floats_are_not_clipped(self, shape):
        lr = picture(*shape).astype(np.float64)
        lr[:, 4:] = 255.0
        sr = upscale(models.create("bicubic", 4), lr)
        assert np.abs(sr - imresize(lr, 4)).max() < 1e-3 and sr.max() > 256

    @pytest.mark.parametrize("shape", [(1, 1), (1, 1, 3), (1, 9, 3), (2, 1)])
    def test_tiny_images(self, shape):
        for name in KINDS:
            assert upscale(network(name), picture(*shape)).shape == (shape[0] * 2, shape[1] * 2, *shape[2:])

    @pytest.mark.parametrize("shape", [(4,), (4, 4, 4), (4, 4, 1), (0, 4, 3), (2, 4, 4, 3)])
    def test_other_shapes_are_refused(self, shape):
        with pytest.raises(SRError, match=r"lr has shape \(.*\); expected \(H, W\) or \(H, W, 3\)"):
            upscale(network(), np.zeros(shape, np.uint8))

    def test_ensemble_and_tiles(self):
        model, lr = network(), picture(40, 21, 3)
        plain, ensembled = upscale(model, lr), upscale(model, lr, ensemble=True)
        assert np.abs(plain - upscale(model, lr, tile=16)).max() < 1e-3
        assert np.abs(ensembled - upscale(model, lr, ensemble=True, tile=16)).max() < 1e-3
        assert np.abs(plain - ensembled).max() > 0.1

    @pytest.mark.parametrize("training", [True, False])
    def test_runs_in_eval_mode_and_restores_the_mode(self, training):
        model = network(padding="valid").train(training)
        assert upscale(model, picture(9, 7, 3)).shape == (18, 14, 3)
        assert model.training is training
        with pytest.raises(SRError, match="tile"):
            upscale(model, picture(9, 7, 3), tile=3)
        assert model.training is training


@pytest.mark.parametrize("options", [{}, {"tile": 16}, {"ensemble": True}])
def test_layers_get_channels_last(options):
    net, seen = network("btsrn"), []
    for layer in (layer for layer in net.modules() if isinstance(layer, nn.Conv2d)):
        layer.register_forward_hook(lambda layer, inputs, output: seen.extend((layer.weight, output)))
    upscale(net, picture(40, 33, 3), **options)
    assert len(seen) >= 6 and all(x.is_contiguous(memory_format=torch.channels_last) for x in seen)


class TestSuperResolve:
    @pytest.mark.parametrize("shape", [(41, 38, 3), (38, 41)])
    @pytest.mark.parametrize(
        ("name", "by"), sorted({*product(KINDS, ["y"]), *product(["bicubic", "espcn", "btsrn", "difficulty_sr"], PROTOCOLS)})
    )
    def test_scores_any_image_under_any_protocol(self, name, by, shape):
        chosen, scale = protocol(by), 3 if 3 in models.scales(name) else 4
        sr, hr, seconds = super_resolve(network(name, scale), picture(*shape), chosen)
        step = scale * chosen.multiple
        assert hr.shape[:2] == (shape[0] // step * step, shape[1] // step * step) == sr.shape[:2] and seconds > 0
        assert np.isfinite(score(sr, hr, chosen, scale)).all()

    def test_luma_network_is_scored_on_rgb_with_bicubic_chroma(self):
        chosen, hr = protocol("btsrn_div2k"), picture(60, 60, 3)
        model = network("espcn")
        sr, _, _ = super_resolve(model, hr, chosen)
        assert sr.shape == hr.shape and np.allclose(sr, upscale(model, downscale(hr, 2)))

    @pytest.mark.parametrize("shape", [(40, 36, 3), (40, 36)])
    def test_luma_network_gets_float_luma_under_a_luma_protocol(self, shape):
        hr, model = picture(*shape), network("espcn")
        sr, _, _ = super_resolve(model, hr, protocol("y"))
        luma = to_y(hr, rounded=True) if hr.ndim == 3 else hr.astype(np.float64)
        assert np.allclose(sr, upscale(model, imresize(luma, 0.5)))
        sr, _, _ = super_resolve(model, hr, protocol("edsr"))
        assert np.allclose(sr, upscale(model, to_y(downscale(hr, 2), rounded=False)))

    @pytest.mark.parametrize("by", ["lapsrn", "prosrn"])
    def test_lapsrn_scores_the_luma_of_rgb_with_bicubic_chroma(self, by):
        """SR is made RGB, clipped and rounded to 8 bits, and its luma, not rounded again, is compared."""
        hr, model, chosen = picture(40, 36, 3), network("espcn"), protocol(by)
        sr, _, _ = super_resolve(model, hr, chosen)
        ycbcr = rgb_to_ycbcr(imresize(hr.astype(np.float64), 0.5))
        by_hand = ycbcr_to_rgb(np.dstack([upscale(model, ycbcr[..., 0]), imresize(ycbcr[..., 1:], 2)]))
        assert sr.shape == hr.shape and np.allclose(sr, by_hand, atol=1e-6)
        error = (to_y(np.clip(np.floor(by_hand + 0.5), 0, 255), rounded=False) - to_y(hr, rounded=False))[2:-2, 2:-2]
        assert psnr(sr, hr, chosen, 2) == pytest.approx(10 * np.log10(255**2 / np.square(error).mean()), abs=1e-3)
        luma, _, _ = super_resolve(model, hr, dataclasses.replace(chosen, sr_rgb=False))
        assert luma.ndim == 2 and abs(psnr(luma, hr, chosen, 2) - psnr(sr, hr, chosen, 2)) > 1e-3

    def test_rgb_network_gets_the_8_bit_image_under_a_protocol_that_degrades_luma(self):
        hr, model = picture(40, 36, 3), network()
        sr, _, _ = super_resolve(model, hr, protocol("y"))
        assert np.allclose(sr, upscale(model, downscale(hr, 2)))

    def test_chroma_does_not_change_the_luma_that_is_scored(self):
        hr, model = picture(40, 36, 3), models.create("bicubic", 2)
        lr = downscale(hr, 2)
        direct = upscale(model, to_y(lr, rounded=False))
        ycbcr = rgb_to_ycbcr(lr.astype(np.float64))
        through = to_y(ycbcr_to_rgb(np.dstack([direct, imresize(ycbcr[..., 1:], 2)])), rounded=False)
        assert np.abs(direct - through).max() < 1e-6


@pytest.mark.parametrize(
    ("change", "message"), [(lambda x: x / 255, "lr: got floats in .*, a picture in 0..1"), (lambda x: x * np.nan, "lr: has NaN")]
)
def test_upscale_refuses_pictures_of_another_range_before_any_work(change, message):
    model = Nearest()
    with pytest.raises(SRError, match=message):
        upscale(model, change(picture(12, 10)))
    assert not model.seen


class TestEvaluate:
    def test_exact_images_are_counted_and_left_out_of_the_mean_of_psnr(self, pictures, tmp_path):
        model, chosen = models.create("bicubic", 2), protocol("edsr")
        assert list(measure(model, pictures, chosen)) == ["psnr", "ssim", "images"]
        Image.fromarray(np.full((30, 30, 3), 128, np.uint8)).save(tmp_path / "set" / "flat.png")  # bicubic makes it exactly
        rows = evaluate(model, pictures, chosen).set_index("image")
        assert np.isinf(rows.loc["flat", "psnr"]) and len(rows) == 4
        assert measure(model, pictures, chosen) == {
            "psnr": pytest.approx(rows["psnr"].drop("flat").mean()),
            "ssim": pytest.approx(rows["ssim"].mean()),
            "exact": 1,
            "images": 4,
        }
        only = measure(model, pictures, chosen, limit=1)
        assert list(rows.index)[0] == "flat" and only["psnr"] == np.inf and (only["exact"], only["images"]) == (1, 1)

    def test_a_row_per_image_has_the_metrics_of_what_upscale_gives(self, pictures):
        model, chosen, hr = network(), protocol("edsr"), picture(37, 41, 3)
        rows = evaluate(model, pictures, chosen)
        assert list(rows.columns) == ["image", "psnr", "ssim", "seconds"]
        assert rows["image"].tolist() == ["img_0", "img_1", "img_2"] and (rows["seconds"] > 0).all()
        sr = upscale(model, downscale(hr, 2))
        assert tuple(rows.loc[0, ["psnr", "ssim"]]) == (psnr(sr, hr[:36, :40], chosen, 2), ssim(sr, hr[:36, :40], chosen, 2))

    def test_images_are_scored_from_the_smallest_and_rows_are_in_the_order_of_the_set(self, tmp_path, monkeypatch):
        """What is too small to be scored is known at once."""
        for i, side in enumerate((24, 40, 32)):
            Image.fromarray(picture(side, side, 3)).save(tmp_path / f"{i}.png")
        seen = []
        monkeypatch.setattr(evaluation, "upscale", lambda model, lr, **options: seen.append(lr.shape[0]) or upscale(model, lr))
        rows = evaluate(models.create("bicubic", 2), f"folder:{tmp_path}", protocol("y"))
        assert seen == [12, 16, 20] and rows["image"].tolist() == ["0", "1", "2"]
        Image.fromarray(picture(8, 8, 3)).save(tmp_path / "3.png")
        seen.clear()
        with pytest.raises(SRError, match=r", 3: sr: 4x4 pixels inside the border"):
            evaluate(models.create("bicubic", 2), f"folder:{tmp_path}", protocol("y"))
        assert seen == [4]

    def test_limit_and_ensemble(self, pictures):
        model, chosen = network("espcn"), protocol("y")
        rows, first, ensembled = (
            evaluate(model, pictures, chosen, **options) for options in ({}, {"limit": 2}, {"ensemble": True})
        )
        pd.testing.assert_frame_equal(first[["image", "psnr", "ssim"]], rows[["image", "psnr", "ssim"]][:2])
        assert len(evaluate(model, pictures, chosen, limit=9)) == 3
        assert not np.allclose(rows["psnr"], ensembled["psnr"], atol=1e-3)

    def test_prints_nothing_unless_asked(self, pictures, capsys):
        evaluate(models.create("bicubic", 2), pictures, protocol("y"))
        assert capsys.readouterr() == ("", "")
        evaluate(models.create("bicubic", 2), pictures, protocol("y"), progress=True)
        out, err = capsys.readouterr()
        assert out == "" and "folder:" in err

    @pytest.mark.parametrize(
        ("side", "message"),
        [(1, "image: 1x1 pixels is smaller than scale 2"), (12, "sr: 8x8 pixels inside the border, fewer than the SSIM window")],
    )
    def test_names_the_image_that_is_too_small(self, tmp_path, pictures, side, message):
        Image.fromarray(np.zeros((side, side, 3), np.uint8)).save(tmp_path / "set" / "small.png")
        with pytest.raises(SRError, match=rf"folder:.*, small: {message}"):
            evaluate(models.create("bicubic", 2), pictures, protocol("y"))

    def test_a_damaged_file_is_named_and_does_not_lose_the_others(self, tmp_path, pictures):
        whole = evaluate(models.create("bicubic", 2), pictures, protocol("y"))
        file = sorted((tmp_path / "set").iterdir())[0]
        for length in (200, 10):  # pixels are cut off, or the header
            file.write_bytes(file.read_bytes()[:length])
            failures = []
            rows = evaluate(models.create("bicubic", 2), pictures, protocol("y"), failures=failures)
            assert len(failures) == 1 and file.stem in failures[0] and len(rows) == len(whole) - 1
            with pytest.raises(SRError, match=file.stem):
                evaluate(models.create("bicubic", 2), pictures, protocol("y"))


def test_windows_and_patches_are_of_the_images_before_their_corner():
    names = ["a@0,48", "a@12,0", "icon@2x", "icon@3x", "icon@2x@0,0"]
    for kind in (pd.Series, pd.Index):
        assert [*evaluation.whole_images(kind(names))] == ["a", "a", "icon@2x", "icon@3x", "icon@2x"]


class Darker(nn.Module):
    """A same-size model: takes 10 levels from every pixel."""

    scale, context = 1, 0

    def __init__(self, channels):
        super().__init__()
        self.channels = channels

    def forward(self, lr):
        return lr - 10 / 255


@pytest.fixture
def pairs(tmp_path) -> str:
    """Two pairs of one size; LR is HR with the opposite noise in its halves, which no degradation would give."""
    for i, shape in enumerate([(37, 41, 3), (40, 33, 3)]):
        hr = np.clip(picture(*shape, seed=i), 30, 220)
        noise = np.random.default_rng(i).integers(-5, 6, shape)
        for kind, image in (("HR", hr), ("LR", (hr + noise).astype(np.uint8))):
            (tmp_path / kind).mkdir(exist_ok=True)
            Image.fromarray(image).save(tmp_path / kind / f"img_{i}.png")
    return f"pairs:{tmp_path}"


class TestPairs:
    @pytest.mark.parametrize("by", ["realsr", "d2c", "y"])
    def test_identity_scores_the_lr_of_the_set(self, pairs, by):
        images, chosen = open_set(pairs), protocol(by)
        rows = evaluate(Bicubic(1), pairs, chosen)
        step = chosen.multiple
        for i in range(2):
            hr = images[i]
            lr, hr = modcrop(images.lr(i, hr, 1), step), modcrop(hr, step)
            expected = score(lr, hr, chosen, 1)
            assert tuple(rows.loc[i, list(chosen.metrics)]) == pytest.approx(expected, abs=1e-5)
        # the noise has a variance of 10 in each channel, so 3.3 in luma
        assert rows["psnr"].to_numpy() == pytest.approx(10 * np.log10(255**2 / 3.3), abs=0.5)

    @pytest.mark.parametrize("channels", [1, 3])
    def test_models_get_the_lr_of_the_set(self, pairs, channels):
        images = open_set(pairs)
        lr = images.lr(0, images[0], 1)
        sr, hr, _ = super_resolve(Darker(channels), images[0], protocol("realsr"), lr=lr)
        expected = to_y(lr, rounded=True) - 10 if channels == 1 else lr.astype(float) - 10
        assert np.allclose(sr, modcrop(expected, 4), atol=1e-4) and np.array_equal(hr, modcrop(images[0], 4))

    def test_smaller_lr(self):
        rows = evaluate(Bicubic(2), "embedded-camera-test", protocol("d2c"), limit=2)
        clean = evaluate(Bicubic(2), "embedded-test", protocol("d2c"), limit=2)
        assert len(rows) == 2 and (rows["psnr"] < clean["psnr"] - 1).all()

    def test_same_size_models_need_pairs(self, pictures, pairs):
        with pytest.raises(SRError, match="img_1: lr: got None at scale 1, expected LR of the size of HR; take a set of pairs"):
            evaluate(Bicubic(1), pictures, protocol("realsr"))
        with pytest.raises(SRError, match=r"img_1.png: 40x33 pixels, expected 20x16 for scale 2"):
            evaluate(Bicubic(2), pairs, protocol("realsr"))
        with pytest.raises(SRError, match=r"lr: got \(9, 9\) pixels for hr of \(9, 8\) at scale 1, expected \(9, 8\)"):
            super_resolve(Bicubic(1), picture(9, 8, 3), protocol("realsr"), lr=picture(9, 9, 3))

    def test_large_images_are_scored_window_by_window(self, pairs):
        small = dataclasses.replace(protocol("realsr"), window=32, stride=20)
        rows = evaluate(Bicubic(1), pairs, small)
        # 36x40 pixels: both sides above 32; 40x32: not
        assert list(rows["image"]) == ["img_0@0,0", "img_0@0,8", "img_0@4,0", "img_0@4,8", "img_1"]
        assert measure(Bicubic(1), pairs, small)["images"] == 2
        images = open_set(pairs)
        part = images.lr(0, images[0], 1)[4:36, 8:40], images[0][4:36, 8:40]
        assert rows["psnr"][3] == pytest.approx(psnr(*part, small, 1), abs=1e-5)

    def test_windows_of_realsr(self):
        chosen = protocol("realsr")
        assert windows(1200, 3000, chosen) == [(0, 0, 1200, 3000)]
        assert [window[1] for window in windows(1300, 2900, chosen)[:4]] == [0, 800, 1600, 1700]
        assert windows(1204, 2000, chosen) == [(0, 0, 1200, 1200), (0, 800, 1200, 1200), (4, 0, 1200, 1200), (4, 800, 1200, 1200)]
        assert windows(9, 9, protocol("d2c")) == [(0, 0, 9, 9)]

    def test_city100_identity(self, datasets):
        """The floor that every same-size method starts from; measured here, in no paper."""
        rows = evaluate(Bicubic(1), "City100-nikon/test", protocol("realsr"))
        assert len(rows) == 5 and rows["psnr"].mean() == pytest.approx(28.151, abs=1e-3)
        assert rows["ssim"].mean() == pytest.approx(0.8113, abs=1e-4)
