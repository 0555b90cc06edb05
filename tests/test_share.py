"""Exchange with other tools: networks from elsewhere, safetensors, ONNX, a folder of a model hub, spandrel."""

import json
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from torch import nn

from srlib import papers
from srlib.cli.main import main
from srlib.core.errors import SRError
from srlib.data.images import write_image
from srlib.nn import bicubic, models
from srlib.reproduce import store
from srlib.share import export, foreign

pytestmark = pytest.mark.usefixtures("one_thread")

NETWORKS = """
import torch
from torch import nn
from torch.nn import functional as F

class Nearest(nn.Module):
    def __init__(self, scale=3):
        super().__init__()
        self.scale = scale
        self.layer = nn.Conv2d(3, 3, 1)
    def forward(self, x):
        return F.interpolate(x, scale_factor=self.scale) + 0 * self.layer(x).mean()

class Luma(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(1, 4, 3, padding=1, bias=False)
    def forward(self, x):
        return F.pixel_shuffle(self.layer(x), 2)

class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 12)
    def forward(self, x):
        return F.pixel_shuffle(self.layer(x.movedim(1, 3)).movedim(3, 1), 2)

class Choosy(Nearest):
    def forward(self, x):
        if min(x.shape[-2:]) < 60:
            raise ValueError("too small")
        return super().forward(x)

class Viewing(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.volume = nn.Conv2d(3, 12, 3, padding=1), nn.Conv3d(1, 1, 1)
    def forward(self, x):
        y = self.layer(x)
        y = y.view(y.shape[0], -1).view(y.shape)
        return F.pixel_shuffle(self.volume(y[:, None])[:, 0], 2)

class Listing(nn.Module):
    def forward(self, x):
        return [x]

class Cropping(nn.Module):
    def forward(self, x):
        return x[..., 1:]

def number():
    return 3

def sized(scale):
    return Nearest(scale)

def broken():
    raise KeyError("no weights")

def script():
    import argparse
    argparse.ArgumentParser().parse_args(["--unknown"])
"""


@pytest.fixture
def networks(tmp_path, monkeypatch):
    (tmp_path / "others.py").write_text(NETWORKS)
    monkeypatch.chdir(tmp_path)
    yield
    for module in ("others", "package", "package.nets"):
        sys.modules.pop(module, None)


def released(name: str, scale: int) -> store.Trained:
    paper, _, method = name.partition("/")
    return store.load_released(papers.get(paper), method, scale)


@pytest.mark.usefixtures("networks")
class TestForeign:
    def test_scale_and_channels_are_found_out(self):
        for name, scale, expected in (
            ("others:Nearest", None, (3, 3)),
            ("others:Nearest", 4, (4, 3)),
            ("others:Luma", None, (2, 1)),
            ("others:Tokens", 2, (2, 3)),
        ):
            network = foreign.load(name, scale)
            assert (network.scale, network.channels) == expected and not network.training

    def test_it_is_scored_like_ours(self, ok, tmp_path):
        nearest = foreign.load("others:Nearest", 2)
        lr = torch.rand(1, 3, 5, 7)
        assert torch.equal(nearest(lr), lr.repeat_interleave(2, -1).repeat_interleave(2, -2))
        arguments = ("embedded-test", "--scale", 2, "--protocol", "edsr", "--csv", tmp_path / "rows.csv")
        printed = [ok("evaluate", name, *arguments).splitlines()[1] for name in ("bicubic", "srlib.nn.bicubic:Bicubic")]
        assert printed[0].split("dB")[0] == printed[1].split("dB")[0]
        assert len((tmp_path / "rows.csv").read_text().splitlines()) == 6

    def test_it_upscales_pictures(self, ok, tmp_path):
        (tmp_path / "package").mkdir()
        (tmp_path / "others.py").rename(tmp_path / "package" / "nets.py")
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)).save("photo.png")
        ok("upscale", "photo.png", "--model", "package.nets:Nearest")
        expected = np.asarray(Image.open("photo.png")).repeat(3, axis=0).repeat(3, axis=1)
        np.testing.assert_array_equal(np.asarray(Image.open("photo_package.nets.Nearest_x3.png")), expected)

    def test_its_tensors_keep_their_order_in_memory(self, ok):
        assert "   5 images  " in ok("evaluate", "others:Viewing", "embedded-test")

    def test_one_that_needs_a_large_picture_upscales_it(self, ok):
        write_image("photo.png", np.zeros((60, 70, 3), np.uint8))
        ok("upscale", "photo.png", "--model", "others:Choosy")
        assert Image.open("photo_others.Choosy_x3.png").size == (210, 180)

    @pytest.mark.parametrize(
        ("name", "scale", "message"),
        [
            ("others:number", None, "others:number returned int; expected a torch.nn.Module"),
            ("others:sized", None, "others:sized needs a scale; give --scale"),
            ("others:broken", None, "others:broken cannot be built: KeyError: 'no weights'"),
            ("others:script", None, "others:script cannot be built: it called sys.exit"),
            ("./others.py:Luma", None, "expected module:function, e.g. others:Luma"),
            ("models/others:Luma", None, "expected module:function, e.g. models.others:Luma"),
            ("others:", None, "expected module:function, e.g. others:build"),
            ("others:absent", None, "AttributeError: module 'others' has no attribute 'absent'"),
            ("nowhere:absent", None, "ModuleNotFoundError: No module named 'nowhere'"),
            ("others:Listing", None, "others:Listing returned list; expected one tensor"),
            ("others:Cropping", None, "made (1, 3, 64, 63) of (1, 3, 64, 64); expected as many channels and whole multiples"),
            ("others:Luma", 4, "scale (=4) does not fit others:Luma, which is x2"),
            ("absent.pth", None, "absent.pth is not there"),
        ],
    )
    def test_what_is_wrong_is_one_line(self, name, scale, message):
        with pytest.raises(SRError) as failure:
            foreign.load(name, scale)
        assert message in str(failure.value) and "\n" not in str(failure.value)

    def test_one_that_raises_does_not_stop_the_other_sets(self, capsys, tmp_path):
        (tmp_path / "photos").mkdir()
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (180, 200, 3), dtype=np.uint8)).save(
            tmp_path / "photos" / "a.png"
        )
        (tmp_path / "small").mkdir()
        Image.fromarray(np.zeros((90, 90, 3), np.uint8)).save(tmp_path / "small" / "b.png")
        assert main(["evaluate", "others:Choosy", f"folder:{tmp_path}/small", f"folder:{tmp_path}/photos"]) == 2
        out, err = capsys.readouterr()
        assert f"folder:{tmp_path}/photos" in out and " dB" in out
        assert "small, b: others:Choosy failed on an input (1, 3, 30, 30)" in err and "ValueError: too small" in err

    def test_one_picture_that_fails_does_not_lose_its_set(self, capsys, tmp_path):
        for name, side in (("a", 90), ("b", 180), ("c", 210)):
            pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
            write_image(tmp_path / "photos" / f"{name}.png", pixels)
        assert main(["evaluate", "others:Choosy", f"folder:{tmp_path}/photos", "--csv", str(tmp_path / "rows.csv")]) == 2
        out, err = capsys.readouterr()
        assert "   2 images  " in out and "without 1 that failed" in out and "photos, a: others:Choosy failed" in err
        assert len((tmp_path / "rows.csv").read_text().splitlines()) == 3
        write_image(tmp_path / "small" / "d.png", np.zeros((90, 90, 3), np.uint8))
        assert main(["evaluate", "others:Choosy", f"folder:{tmp_path}/photos", f"folder:{tmp_path}/small"]) == 2
        err = capsys.readouterr().err
        assert "not scored: 2\n" in err and "photos, a: " in err and "small, d: " in err

    def test_costs(self, ok, capsys):
        luma, tokens, btsrn = ok("count", "others:Luma", "others:Tokens", "btsrn", "--scale", 2).splitlines()
        pixels = 1280 * 720 / 4
        assert luma == f"others:Luma x2: 36 parameters, {36 * pixels / 1e9:.2f} G mult-adds for 1280x720"
        assert tokens.startswith("others:Tokens x2: 48 parameters, 0.00 G mult-adds")
        assert f"{36 * pixels / 1e9:.2f} G with all matrix products (linear layers" in tokens
        assert btsrn.startswith("btsrn x2: 887,683 parameters, 430.78 G mult-adds for 1280x720 (476.08 G with transposed")
        assert main(["count", "btsrn", "btsrm", "others:broken"]) == 2
        out, err = capsys.readouterr()
        assert "887,683" in out and "2 of 3 failed" in err and "unknown model 'btsrm'" in err and "no weights" in err

    @pytest.mark.parametrize("name", ["espcn", "others:Luma"])
    def test_costs_of_a_scale_that_it_has_not(self, name, capsys):
        assert main(["count", name, "--scale", "0"]) == 2
        assert "scale (=0)" in capsys.readouterr().err

    def test_other_projects_files_need_spandrel(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "spandrel", None)
        torch.save({"conv.weight": torch.zeros(1)}, tmp_path / "model.pth")
        with pytest.raises(SRError, match=r"pip install spandrel.* or name a function"):
            foreign.load("model.pth")

    @pytest.mark.parametrize(
        ("found", "message"),
        [
            (("pictures", 3, 1), "model.pth is no network that makes one picture of another (Some)"),
            (("masks", 3, 3), "model.pth is no network that makes one picture of another (Some)"),
            ("unknown", "model.pth: spandrel does not know its architecture; "),
            ("damaged", "model.pth: spandrel cannot read it: ValueError: damaged"),
        ],
    )
    def test_files_that_spandrel_cannot_make_a_network_of(self, tmp_path, monkeypatch, found, message):
        class OfPictures(SimpleNamespace):
            pass

        class Unsupported(Exception):
            pass

        def load(path):
            if found == "unknown":
                raise Unsupported
            if found == "damaged":
                raise ValueError("damaged")
            kind, inputs, outputs = found
            about = {"input_channels": inputs, "output_channels": outputs, "architecture": SimpleNamespace(name="Some")}
            return (OfPictures if kind == "pictures" else SimpleNamespace)(**about)

        loader = SimpleNamespace(load_from_file=load)
        names = {"ModelLoader": lambda: loader, "UnsupportedModelError": Unsupported, "ImageModelDescriptor": OfPictures}
        monkeypatch.setitem(sys.modules, "spandrel", SimpleNamespace(**names))
        (tmp_path / "model.pth").touch()
        with pytest.raises(SRError, match=re.escape(message)):
            foreign.load("model.pth")


class TestSafetensors:
    @pytest.mark.parametrize("precision", ["fp32", "fp16"])
    def test_tensors_and_what_they_are(self, tmp_path, precision):
        trained, file = released("btsrn/espcn", 3), tmp_path / "espcn.safetensors"
        export.to_safetensors(trained, file, precision)
        with safe_open(file, "pt") as opened:
            described = opened.metadata()
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}
        assert {tensor.dtype for tensor in tensors.values()} == {torch.float32 if precision == "fp32" else torch.float16}
        assert tensors.keys() == trained.model.state_dict().keys()
        assert (described["arch"], described["scale"], described["licence"]) == ("espcn", "3", "MIT")
        scores = {(row["dataset"], row["protocol"]): row["psnr"] for row in json.loads(described["scores"])}
        assert scores["Set5", "y"] == trained.card["metrics"]["Set5"]["psnr"]
        assert described["protocol"] == ", ".join(sorted({by for _, by in scores})) and "luma" in described["input"]
        lr = torch.rand(1, 1, 9, 8)
        torch.testing.assert_close(
            foreign.load(str(file))(lr), trained.model(lr), rtol=0, atol=1e-6 if precision == "fp32" else 2e-3
        )

    def test_scores_of_another_protocol_come_from_the_release(self):
        rows = export.scores(released("prosrn/prosrn", 4))
        assert {row["protocol"] for row in rows} == {"prosrn"}
        assert {"Set5", "Set14", "Urban100"} <= {row["dataset"] for row in rows}
        assert all(25 < row["psnr"] < 32 and "ssim_uniform7" in row for row in rows)

    def test_windows_are_no_images_of_their_own(self):
        images = {row["dataset"]: row["images"] for row in export.scores(released("ddet/ddet", 1)) if row["protocol"] == "realsr"}
        assert images["RealSR-NTIRE19"] == 16 and images["City100-nikon/test20"] == 20

    def test_damaged_and_foreign_files(self, tmp_path):
        file = tmp_path / "espcn.safetensors"
        export.to_safetensors(released("btsrn/espcn", 2), file)
        content = file.read_bytes()
        file.write_bytes(content.replace(b'"arch":"espcn"', b'"arch":"srcnn"'))
        with pytest.raises(SRError, match="espcn.safetensors was not written by this version of srlib"):
            export.read_export(file)
        file.write_bytes(content[:500])
        with pytest.raises(SRError, match="is not a readable safetensors file"):
            export.read_export(file)

    def test_what_has_no_weights_and_what_is_not_ours(self, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        assert main(["export", "bicubic", "btsrn/espcn", "others:Nearest", "--to", "safetensors", "--output", "out"]) == 2
        out, err = capsys.readouterr()
        assert "espcn_x2.safetensors: 0.0" in out and "2 of 3 failed" in err
        assert "bicubic is not trained" in err and "others:Nearest: export takes the names of released experiments" in err
        assert [file.name for file in (tmp_path / "out").iterdir()] == ["espcn_x2.safetensors"]

    def test_the_scale_that_is_released_is_the_default(self, tmp_path, ok):
        assert "d2c_16_2_1_x1.safetensors" in ok("export", "d2c_16_2_1", "--to", "safetensors", "--output", tmp_path)

    def test_a_file_for_spandrel_replaces_no_other(self, tmp_path, ok):
        for target in ("safetensors", "spandrel"):
            ok("export", "btsrn/espcn", "--scale", 2, "--to", target, "--output", tmp_path)
        assert {file.name for file in tmp_path.iterdir()} == {"espcn_x2.safetensors", "espcn_x2_spandrel.safetensors"}

    def test_two_of_one_name(self, tmp_path, capsys):
        assert main(["export", "btsrn/espcn", "espcn", "--scale", "2", "--to", "safetensors", "--output", str(tmp_path)]) == 2
        assert "espcn_x2.safetensors is the export of btsrn/espcn; export it by itself" in capsys.readouterr().err


class TestOnnx:
    @pytest.mark.parametrize(
        ("name", "scale"), [("btsrn/espcn", 3), ("btsrn/btsrn", 2), ("ddet/ddet", 1), ("difficulty_sr/idn", 4)]
    )
    def test_any_height_and_width(self, tmp_path, name, scale):
        onnxruntime = pytest.importorskip("onnxruntime")
        trained, file = released(name, scale), tmp_path / "network.onnx"
        assert export.to_onnx(trained, file) <= export.TOLERANCE
        assert file.stat().st_size < 8e6
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        assert session.get_modelmeta().custom_metadata_map["scale"] == str(scale)
        for size in ((1, 30, 17), (2, 16, 41)):
            lr = torch.rand(size[0], trained.model.channels, *size[1:])
            with torch.no_grad():
                expected = trained.model(lr).numpy()
            np.testing.assert_allclose(session.run(None, {"lr": lr.numpy()})[0], expected, rtol=0, atol=1e-4)

    @pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
    def test_bicubic_as_a_convolution(self, scale):
        for size in ((2, 2), (5, 9)):
            lr = torch.rand(2, 3, *size)
            torch.testing.assert_close(bicubic._as_convolution(lr, scale), bicubic.upsample_bicubic(lr, scale), rtol=0, atol=1e-6)

    def test_networks_that_cannot(self, tmp_path, monkeypatch):
        pytest.importorskip("onnxruntime")
        monkeypatch.chdir(tmp_path)
        bad, pillow = nn.Identity(), models.create("bicubic", 2, kernel="pillow")
        bad.scale, bad.channels, bad.context, bad.forward = 1, 3, None, lambda x: x + float(x.shape[-1])  # fixed by a trace
        for trained, message in (
            (released("difficulty_sr/difficulty_sr", 2), "chooses a branch by what each patch shows"),
            (released("difficulty_sr/identifier", 2), "makes no images"),
            (store.Trained("bad", "Bad", bad, tmp_path), "differs from torch by 3.0e.01"),
            (store.Trained("pillow", "Pillow", pillow, tmp_path), "cannot be written as ONNX: "),
        ):
            with pytest.raises(SRError, match=message):
                export.to_onnx(trained, tmp_path / "network.onnx")
            assert not (tmp_path / "network.onnx").exists()

    def test_half_precision_is_refused_before_any_work(self, tmp_path, capsys):
        options = ("--to", "onnx", "--precision", "fp16", "--output", str(tmp_path / "out"))
        assert main(["export", "btsrn/espcn", "--scale", "2", *options]) == 2
        assert "ONNX is written in fp32 only" in capsys.readouterr().err and not (tmp_path / "out").exists()

    def test_without_the_packages(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
        with pytest.raises(SRError, match=r"needs onnx and onnxruntime .*pip install onnx onnxruntime"):
            export.to_onnx(released("btsrn/espcn", 2), tmp_path / "network.onnx")


class TestHub:
    def test_a_folder_that_loads_offline(self, tmp_path, monkeypatch):
        hub = pytest.importorskip("huggingface_hub")
        from srlib.share.hub import SuperResolver

        monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
        monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("went online"))
        trained, folder = released("btsrn/espcn", 2), tmp_path / "espcn_x2"
        export.to_hub(trained, folder)
        network = SuperResolver.from_pretrained(str(folder))
        lr = torch.rand(1, 1, 12, 9)
        torch.testing.assert_close(network(lr), trained.model(lr), rtol=0, atol=1e-6)
        assert network.scale == 2 and not network.training
        card = hub.ModelCard.load(folder / "README.md")
        named = {(r.dataset_type, r.metric_name): r.metric_value for r in card.data.eval_results}
        assert named["Set5", "PSNR (dB, protocol y)"] == trained.card["metrics"]["Set5"]["psnr"]
        assert all("protocol" in metric for _, metric in named) and card.data.license == "mit"
        assert "Protocol y: luma" in card.text and trained.budget in card.text

        again = tmp_path / "again"
        network.save_pretrained(again)
        assert torch.equal(SuperResolver.from_pretrained(str(again))(lr), network(lr))

    def test_a_folder_is_evaluated_like_a_release(self, tmp_path, ok):
        pytest.importorskip("huggingface_hub")
        export.to_hub(released("btsrn/espcn", 2), tmp_path / "espcn_x2")
        printed = [ok("evaluate", name, "embedded-test").splitlines()[1] for name in (tmp_path / "espcn_x2", "btsrn/espcn")]
        assert printed[0].split("dB")[0] == printed[1].split("dB")[0]

    def test_weights_that_do_not_fit_are_refused(self, tmp_path):
        pytest.importorskip("huggingface_hub")
        from srlib.share.hub import SuperResolver

        export.to_hub(released("btsrn/espcn", 2), tmp_path)
        config = json.loads((tmp_path / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps({**config, "scale": 3}))
        with pytest.raises(RuntimeError, match="size mismatch"):
            SuperResolver.from_pretrained(str(tmp_path))


class TestSpandrel:
    @pytest.fixture
    def spandrel(self):
        return pytest.importorskip(
            "spandrel", reason="needs the extra `spandrel`, which brings torchvision", exc_type=ImportError
        )

    def test_its_registry_loads_ours(self, spandrel, tmp_path):
        from srlib.share import spandrel_plugin

        registry = spandrel.MAIN_REGISTRY.copy()
        spandrel_plugin.install(registry)
        spandrel_plugin.install(registry)
        loader = spandrel.ModelLoader(registry=registry)
        for name, scale, precision in (("btsrn/vdsr", 3, "fp32"), ("prosrn/prosrn", 4, "fp32"), ("ddet/ddet", 1, "fp16")):
            trained = released(name, scale)
            export.to_safetensors(trained, tmp_path / "file.safetensors", precision, named=True)
            loaded = loader.load_from_file(tmp_path / "file.safetensors")
            assert (loaded.scale, loaded.input_channels, loaded.architecture.id) == (scale, 1, "srlib")
            lr = torch.rand(1, 1, 20, 16)
            expected = trained.model(lr).detach().clamp(0, 1)
            torch.testing.assert_close(loaded(lr), expected, rtol=0, atol=1e-5 if precision == "fp32" else 2e-3)

    def test_files_of_its_architectures_are_evaluated(self, spandrel, tmp_path, ok):
        from spandrel.architectures.Compact import Compact

        network = Compact(num_feat=8, num_conv=2, upscale=2)
        torch.save(network.state_dict(), tmp_path / "compact.pth")
        loaded, lr = foreign.load(str(tmp_path / "compact.pth"), 2), torch.rand(1, 3, 20, 16)
        assert (loaded.scale, loaded.channels) == (2, 3)
        assert torch.equal(loaded(lr), network(lr).detach().clamp(0, 1))
        assert " dB" in ok("evaluate", tmp_path / "compact.pth", "embedded-test")
        torch.save({"unknown": torch.zeros(1)}, tmp_path / "unknown.pth")
        with pytest.raises(SRError, match="unknown.pth: spandrel cannot read it: UnsupportedModelError"):
            foreign.load(str(tmp_path / "unknown.pth"))
