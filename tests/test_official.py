"""Official weights: what readers make of files, what conversions give, and the papers' own numbers."""

import re
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat

from srlib import official, papers
from srlib.core.errors import SRError
from srlib.core.protocols import protocol
from srlib.data.sets import open_set
from srlib.nn import models
from srlib.official.readers import caffemodel, mat, params, pth
from srlib.reproduce import scores, store
from srlib.reproduce.cards import NotReleased
from srlib.scoring.evaluation import measure
from srlib.train.run import load_budget
from srlib.train.weights import load_weights

# Set5, dB, as first measured with these files; what is printed is the same to 0.01 or 0.02. DRRN's file is a third party's
# training, behind the paper (37.74, 34.03, 31.68). IMDN's numbers are of LR rounded as MATLAB does; unrounded, x2 has 38.006.
SET5 = {
    ("vdsr", "y"): {2: 37.527, 3: 33.658, 4: 31.343},
    ("idn", "y"): {2: 37.827, 3: 34.113, 4: 31.810},
    ("lapsrn", "lapsrn"): {2: 37.517, 4: 31.539, 8: 26.143},
    ("imdn", "edsr"): {2: 37.996, 3: 34.360, 4: 32.210},
    ("srcnn", "y"): {2: 36.656, 3: 32.749, 4: 30.484},
    ("fsrcnn", "y"): {2: 36.994, 3: 33.155, 4: 30.705},
    ("drrn", "y"): {2: 37.621, 3: 33.991, 4: 31.675},
}
CASES = [(name, by, scale, psnr) for (name, by), scales in SET5.items() for scale, psnr in scales.items()]
LARGE = ("drrn",)  # half a minute an image set
# What the papers print, to 0.01 dB.
PRINTED = {
    ("idn", "y", "Set14"): {2: 33.30, 3: 29.99, 4: 28.25},
    ("idn", "y", "B100"): {2: 32.08, 3: 28.95, 4: 27.41},
    ("idn", "y", "Urban100"): {4: 25.41},
    ("lapsrn", "lapsrn", "Set14"): {4: 28.19},
    ("lapsrn", "lapsrn", "B100"): {2: 31.80, 4: 27.32},
}


@pytest.mark.parametrize(
    ("name", "by", "scale", "psnr"), [pytest.param(*case, marks=[pytest.mark.slow] * (case[0] in LARGE)) for case in CASES]
)
def test_set5_has_the_measured_psnr(weights, one_thread, name, by, scale, psnr):
    assert measure(official.load(name, scale), "Set5", protocol(by))["psnr"] == pytest.approx(psnr, abs=0.005)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "by", "dataset", "scale", "psnr"), [(*key, *one) for key, scales in PRINTED.items() for one in scales.items()]
)
def test_larger_sets_have_the_printed_psnr(weights, one_thread, name, by, dataset, scale, psnr):
    assert measure(official.load(name, scale), dataset, protocol(by))["psnr"] == pytest.approx(psnr, abs=0.0155)


def test_one_file_serves_all_scales_of_drrn(weights, one_thread):
    centres = open_set("Set5").cropped(72)  # where bicubic has 29.5 dB, VDSR 33.9
    assert measure(official.load("drrn", 4), centres, protocol("y"))["psnr"] > 34
    first, second = official.load("drrn", 2), official.load("drrn", 4)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_every_source_is_registered_and_loads(weights):
    assert {(name, scale) for name, _, scale, _ in CASES} == set(official.available())
    assert set(official.sources()["licence"]) == {"MIT", "none stated"}
    for name, scale in official.available():
        net = official.load(name, scale)
        assert net.scale == scale and not net.training and all(p.isfinite().all() for p in net.parameters())


class TestMistakes:
    def test_unknown_networks_and_scales(self):
        with pytest.raises(SRError, match="unknown network with official weights 'vdrs'. Did you mean 'vdsr'"):
            official.load("vdrs", 2)
        with pytest.raises(SRError, match=r"scale \(=3\): official weights of lapsrn are of x2, x4, x8"):
            official.load("lapsrn", 3)

    def test_a_missing_file_says_how_to_get_it(self, tmp_path, monkeypatch):
        monkeypatch.setenv("SRLIB_DATA", str(tmp_path))
        with pytest.raises(SRError, match=r"official/idn_x2: 1 of 1 files are missing .*python -m srlib data official/idn_x2"):
            official.load("idn", 2)

    def test_a_changed_file_is_refused(self, weights, tmp_path, monkeypatch):
        content = bytearray((weights / "idn_x2.caffemodel").read_bytes())
        content[1000] ^= 1
        (tmp_path / "official").mkdir()
        (tmp_path / "official" / "idn_x2.caffemodel").write_bytes(content)
        monkeypatch.setenv("SRLIB_DATA", str(tmp_path))
        with pytest.raises(SRError, match="idn_x2.caffemodel has sha256 .*, expected eed047c6"):
            official.load("idn", 2)

    @pytest.mark.parametrize(
        ("file", "name", "scale", "message"),
        [
            ("idn_x2.caffemodel", "vdsr", 2, "has no layer 'model.weight"),
            ("lapsrn_x2.mat", "lapsrn", 4, "has no layer 'level2_conv1_f', which lapsrn x4 needs"),
            ("imdn_x2.pth", "imdn", 3, r"has \(12, 64, 3, 3\) for tail.0.weight, expected \(27, 64, 3, 3\)"),
            ("lapsrn_x4.mat", "lapsrn", 2, "has layers that lapsrn x2 lacks: level2_"),
            ("srcnn_x2.mat", "fsrcnn", 2, "has no layer 'weights_conv.0.'"),
            ("lapsrn_x8.mat", "lapsrn", 2, "has no layer .level1_conv6_f., which lapsrn x2 needs"),
        ],
    )
    def test_a_file_of_another_network_or_scale(self, weights, file, name, scale, message):
        with pytest.raises(SRError, match=message):
            official.convert(weights / file, name, scale)

    @pytest.mark.parametrize("file", ["vdsr_official.mat", "idn_x2.caffemodel", "drrn_b1u25.params", "imdn_x2.pth"])
    @pytest.mark.parametrize("part", [0.0, 0.3, 0.999])
    def test_a_truncated_file(self, weights, tmp_path, file, part):
        content = (weights / file).read_bytes()
        (tmp_path / file).write_bytes(content[: int(part * len(content))])
        with pytest.raises(SRError, match=f"{file} (is damaged or no|has)"):
            official.convert(tmp_path / file, file.split("_")[0], 2)

    @pytest.mark.parametrize("reader", [mat, pth, params, caffemodel])
    def test_a_file_of_another_format(self, tmp_path, reader):
        (tmp_path / "other").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4)
        with pytest.raises(SRError, match="other is damaged or no"):
            reader.read(tmp_path / "other")


@pytest.mark.parametrize(
    ("file", "name", "message"),
    [
        ("a.mat", "vsdr", "unknown network with official weights 'vsdr'. Did you mean 'vdsr'"),
        ("absent.mat", "vdsr", "absent.mat is not there; name a file of weights of vdsr"),
        ("a.safetensors", "vdsr", "a.safetensors is of no format that is read; expected a file that ends in .mat, .caffemodel"),
        ("a.mat", "vdsr", "a.mat has no layer 'model.weight[0]', which vdsr x2 needs"),
    ],
)
@pytest.mark.parametrize("kind", [str, Path])
def test_what_cannot_be_converted(tmp_path, file, name, message, kind):
    savemat(tmp_path / "a.mat", {"other": np.ones((3, 1))})
    with pytest.raises(SRError, match=re.escape(message)):
        official.convert(kind(tmp_path / file), name, 2)


def mxnet(begin=0x112, version=0xF993FAC9, storage=0, ndim=2, kind=0, named=1, end=b"") -> bytes:
    """A file of one array, 2x3, with the name "arg:w"."""
    array = struct.pack("<IiIqqiii", version, storage, ndim, 2, 3, 1, 0, kind) + np.arange(6, dtype="<f4").tobytes()
    return struct.pack("<QQQ", begin, 0, 1) + array + struct.pack("<QQ", named, 5) + b"arg:w" + end


class TestReaders:
    def test_mat_names_elements_of_cells_and_structs(self, tmp_path):
        cell = np.empty((1, 2), object)
        cell[0, 0], cell[0, 1] = np.ones((3, 1)), np.zeros((2, 2))
        savemat(tmp_path / "a.mat", {"model": {"weight": cell, "label": "text"}, "bias": np.arange(3.0)})
        arrays = mat.read(tmp_path / "a.mat")
        assert {name: array.shape for name, array in arrays.items()} == {
            "model.weight[0]": (3, 1),
            "model.weight[1]": (2, 2),
            "bias": (1, 3),
        }

    def test_pth_runs_nothing(self, tmp_path):
        class Harm:
            def __reduce__(self):
                return (Path.touch, (tmp_path / "harm",))

        torch.save({"a": Harm()}, tmp_path / "a.pth")
        with pytest.raises(SRError, match="a.pth is damaged or no PyTorch state_dict"):
            pth.read(tmp_path / "a.pth")
        assert not (tmp_path / "harm").exists()
        torch.save([1, 2], tmp_path / "b.pth")
        with pytest.raises(SRError, match="it holds list"):
            pth.read(tmp_path / "b.pth")

    def test_params(self, tmp_path):
        (tmp_path / "a.params").write_bytes(mxnet())
        assert np.array_equal(params.read(tmp_path / "a.params")["arg:w"], np.arange(6).reshape(2, 3))

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"begin": 0x113}, "it begins with 0x113"),
            ({"version": 0xF993FACA}, "an array is not dense or of another version"),
            ({"storage": 1}, "an array is not dense or of another version"),
            ({"ndim": 9}, "an array is not dense or of another version"),
            ({"kind": 2}, "an array has the type 2, not float32"),
            ({"named": 2}, "1 arrays have 2 names"),
            ({"end": b"x"}, "1 bytes are left over"),
        ],
    )
    def test_params_of_another_form(self, tmp_path, changes, message):
        (tmp_path / "a.params").write_bytes(mxnet(**changes))
        with pytest.raises(SRError, match=f"a.params is damaged or no MXNet file of parameters.*{message}"):
            params.read(tmp_path / "a.params")

    @pytest.mark.parametrize("legacy", [False, True])
    def test_caffemodel(self, tmp_path, legacy):
        def field(number: int, value: bytes) -> bytes:
            return bytes([(number << 3 | 2) & 127 | 128, (number << 3 | 2) >> 7, len(value)]) + value

        values = np.arange(6, dtype="<f4")
        dims = (
            b"".join(bytes([n << 3, size]) for n, size in ((1, 1), (2, 1), (3, 2), (4, 3)))
            if legacy
            else field(7, b"\x0a\x02\x02\x03")
        )
        blob = dims + field(5, values.tobytes())
        layer = field(4, b"conv") + field(6, blob) if legacy else field(1, b"conv") + field(7, blob)
        (tmp_path / "a.caffemodel").write_bytes(field(1, b"net") + field(2 if legacy else 100, layer))
        arrays = caffemodel.read(tmp_path / "a.caffemodel")
        assert np.array_equal(arrays["conv[0]"].ravel(), values) and arrays["conv[0]"].shape[-2:] == (2, 3)


def test_official_weights_are_what_a_training_can_start_from(weights, tmp_path, monkeypatch):
    monkeypatch.setenv("SRLIB_CACHE", str(tmp_path / "cache"))
    file = official.weights_file("idn", 2)
    net = load_weights(models.create("idn", 2, grouped=True), file)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), official.load("idn", 2).parameters(), strict=True))
    routed = models.create("difficulty_sr", 2, complex="idn", complex_args={"grouped": True})
    load_weights(routed.complex, file, "complex")
    assert torch.equal(routed.complex.state_dict()["exit.weight"], net.state_dict()["exit.weight"])
    assert load_budget(file) == {**dict.fromkeys(("batch", "hr_patch", "steps"), 0), "name": "idn_official", "scale": 2} | {
        "precision": "fp32",
        "minutes": 0.0,
    }
    written = file.stat().st_mtime_ns
    assert official.weights_file("idn", 2) == file and file.stat().st_mtime_ns == written


class TestRows:
    """Rows of official weights in the papers' tables."""

    def test_where_there_are_some(self):
        paper = papers.get("difficulty_sr")
        rows = {name: method.scales for name, method in paper.methods.items() if method.official}
        assert rows == {f"{name}_official": (2, 3, 4) for name in ("srcnn", "fsrcnn", "vdsr", "idn")} | {
            "lapsrn_official": (2, 4)
        }
        assert paper.labels["vdsr_official"] == "VDSR, official weights" and not paper.trains("vdsr_official")
        assert list(paper.methods).index("vdsr_official") == list(paper.methods).index("vdsr") + 1

    def test_only_profiles_that_load_weights_start_from_them(self):
        paper = papers.get("difficulty_sr")
        start = {name: paper.start("difficulty_sr", paper.setting(name)) for name in ("quick", "released", "paper")}
        assert start["released"] == {"identifier": "identifier", "complex": "idn_official"}
        assert start["quick"] == start["paper"] == {"identifier": "identifier", "complex": "idn"}

    def test_a_row_is_scored_where_its_file_is_here(self, weights):
        paper = papers.get("difficulty_sr")
        released, quick = paper.setting("released"), paper.setting("quick")
        ready = store.available(paper, ["idn_official", "bicubic"], 3, released)
        assert ready["idn_official"].label == "IDN, official weights" and ready["idn_official"].experiment is None
        assert not store.available(paper, ["idn_official"], 3, quick)

    def test_it_is_left_out_and_named_where_its_file_is_not(self, tmp_path, monkeypatch):
        monkeypatch.setenv("SRLIB_DATA", str(tmp_path))
        paper = papers.get("difficulty_sr")
        assert not store.available(paper, ["idn_official"], 2, paper.setting("released"))
        with pytest.raises(NotReleased, match="python -m srlib data official"):
            store.load_or_train(paper, "idn_official", 2, paper.setting("released"))
        rows, notes = scores.collect(paper, ["idn_official"], [2], ["Set5"], paper.setting("released"))
        assert rows.empty and "idn_official x2" in notes[0]
