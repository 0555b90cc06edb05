"""Official weights that were not seen here: made-up files with the same layers, against the authors' forward pass."""

import hashlib
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from srlib import official
from srlib.core.errors import SRError
from srlib.core.files import git_blob
from srlib.core.pickles import read_arrays
from srlib.official import unseen

Layers = dict[str, tuple[int, int]]  # name -> inputs, outputs of a 3x3 convolution

TRUNK = {"conv1": (16, 64), **{f"conv{i}": (64, 64) for i in range(2, 35)}}


def kpn_layers(kernel: int) -> Layers:
    return {**TRUNK, "conv35": (4, 64), "conv36": (64, 64), "Kernel": (64, kernel**2)}


def ddet_layers(width: int) -> Layers:
    heads = {"Kernel": 81, "Kernel_c10": 49, "Kernel_c20": 32}
    return {
        **TRUNK,
        **{"convp1": (1, 64), "convp2": (64, 64), "convp3": (64, 1), "conv35": (4, 64), "conv36": (64, width)},
        **{name: (width, outputs) for name, outputs in heads.items()},
        **{"Kernel_c12": (49, 49), "Kernel_c22": (32, 25), "conv_f1": (1, 64), "conv_f2": (64, 1)},
    }


LP_KPN = {
    **TRUNK,
    **{f"conv{level}35": (inputs, 64) for level, inputs in (("C", 4), ("B", 16), ("A", 64))},
    **{f"conv{level}36": (64, 64) for level in "CBA"},
    **{f"Kernel{level}": (64, 25) for level in "CBA"},
}


def made_up(layers: Layers) -> dict[str, list[np.ndarray]]:
    """Weights and biases of every layer, of a size that keeps activations near 1."""
    random = np.random.default_rng(0)
    shapes = {name: [(outputs, inputs, 3, 3), (outputs,)] for name, (inputs, outputs) in layers.items()}
    scale = {name: (inputs * 9) ** -0.5 * (0.3 if "Kernel" in name else 1) for name, (inputs, _) in layers.items()}
    return {n: [(random.normal(size=shape) * scale[n]).astype("<f4") for shape in pair] for n, pair in shapes.items()}


def varint(number: int) -> bytes:
    low, high = number & 127, number >> 7
    return bytes([low | 128]) + varint(high) if high else bytes([low])


def field(number: int, value: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(value)) + value


def write_caffemodel(path: Path, blobs: dict[str, list[np.ndarray]]) -> Path:
    """Protobuf's wire format of NetParameter, with a layer that has no blobs among the others."""
    layers = field(100, field(1, b"Down") + field(2, b"Dtow"))
    for name, arrays in blobs.items():
        parts = field(1, name.encode()) + field(2, b"Convolution")
        for array in arrays:
            shape = field(7, field(1, b"".join(map(varint, array.shape))))
            parts += field(7, shape + field(5, array.tobytes()))
        layers += field(100, parts)
    path.write_bytes(field(1, b"net") + layers)
    return path


class Caffe:
    """The layers of the authors' prototxt, for an image as Caffe has it: transposed."""

    def __init__(self, blobs: dict[str, list[np.ndarray]], image: torch.Tensor):
        self.blobs = {name: [torch.from_numpy(array) for array in pair] for name, pair in blobs.items()}
        self.data = image.mT

    def conv(self, x: torch.Tensor, name: str, relu: bool = False) -> torch.Tensor:
        x = F.conv2d(x, *self.blobs[name], padding=1)
        return x.relu() if relu else x

    def trunk(self) -> torch.Tensor:
        first = total = self.conv(F.pixel_unshuffle(self.data, 4), "conv1")
        for i in range(2, 34, 2):
            total = total + self.conv(self.conv(total, f"conv{i}", relu=True), f"conv{i + 1}")
        return first + self.conv(total, "conv34")

    def features(self, x: torch.Tensor, factor: int, first: str, second: str) -> torch.Tensor:
        return self.conv(self.conv(F.pixel_shuffle(x, factor), first, relu=True), second, relu=True)

    @staticmethod
    def pixel_conv(kernels: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        side = round(kernels.shape[1] ** 0.5)
        windows = F.unfold(image, side, padding=side // 2).unflatten(2, image.shape[-2:])
        return (windows * kernels).sum(dim=1, keepdim=True)

    def kpn(self) -> torch.Tensor:
        kernels = self.conv(self.features(self.trunk(), 4, "conv35", "conv36"), "Kernel")
        return self.pixel_conv(kernels, self.data).mT

    def ddet(self) -> torch.Tensor:
        x = self.features(self.trunk(), 4, "conv35", "conv36")
        kernels = [self.conv(x, "Kernel")]
        kernels += [self.conv(self.conv(x, f"Kernel_c{i}0", relu=True), f"Kernel_c{i}2") for i in (1, 2)]
        detail = self.conv(self.conv(self.conv(self.data, "convp1", relu=True), "convp2", relu=True), "convp3")
        total = sum(self.pixel_conv(each, self.data + detail) for each in kernels)
        return self.conv(self.conv(total, "conv_f1", relu=True), "conv_f2").mT

    def lp_kpn(self) -> torch.Tensor:
        """LapPyr pads with zeros: blur and take every second pixel; put zeros between pixels and blur."""
        taps = torch.tensor([1.0, 4, 6, 4, 1]).outer(torch.tensor([1.0, 4, 6, 4, 1]))[None, None]

        def down(image: torch.Tensor) -> torch.Tensor:
            return F.conv2d(image, taps / 256, padding=2)[..., ::2, ::2]

        def up(image: torch.Tensor) -> torch.Tensor:
            spread = torch.zeros(*image.shape[:2], 2 * image.shape[2], 2 * image.shape[3])
            spread[..., ::2, ::2] = image
            return F.conv2d(spread, taps / 64, padding=2)

        half = down(self.data)
        quarter, x = down(half), self.trunk()
        levels = {"C": (4, self.data - up(half)), "B": (2, half - up(quarter)), "A": (1, quarter)}
        made = {}
        for level, (factor, image) in levels.items():
            kernels = self.conv(self.features(x, factor, f"conv{level}35", f"conv{level}36"), f"Kernel{level}")
            made[level] = self.pixel_conv(kernels, image)
        return (made["C"] + up(made["B"] + up(made["A"]))).mT


CASES = [
    ("ddet", 2, ddet_layers(64), Caffe.ddet),
    ("ddet", 3, ddet_layers(128), Caffe.ddet),
    ("kpn_5", 4, kpn_layers(5), Caffe.kpn),
    ("kpn", 2, kpn_layers(7), Caffe.kpn),
    ("kpn_13", 2, kpn_layers(13), Caffe.kpn),
    ("kpn_19", 3, kpn_layers(19), Caffe.kpn),
    ("lp_kpn", 2, LP_KPN, Caffe.lp_kpn),
]


@pytest.mark.parametrize(("name", "scale", "layers", "forward"), CASES)
def test_a_file_of_the_same_layers_gives_the_authors_forward_pass(tmp_path, name, scale, layers, forward):
    blobs, image = made_up(layers), torch.rand(1, 1, 24, 36, generator=torch.Generator().manual_seed(0))
    net = official.convert(write_caffemodel(tmp_path / "a.caffemodel", blobs), name, scale)
    with torch.no_grad():
        expected, got = forward(Caffe(blobs, image)), net(image)
    assert expected.shape == got.shape and expected.std() > 0.05
    assert torch.allclose(got, expected, atol=1e-4 * expected.abs().max())
    if hasattr(net, "kernels"):
        assert net.kernels(image)[0].shape[-2:] == image.shape[-2:]


# The layers of the authors' D_Net and C_Net (x4): two groups of four blocks, four leaves.
def megengine_shapes(scale: int) -> dict[str, dict[str, tuple[int, ...]]]:
    convs = {"sub_mean": (3, 3, 1), "add_mean": (3, 3, 1), "head.0": (3, 64, 3)}
    convs |= {f"res_conv{i}": (64, 64, 3) for i in range(1, 9)}
    for body in ("1", "2", "11", "12", "21", "22"):
        for group in range(2):
            for block in range(4):
                name = f"body{body}.{group}.body.{block}.body"
                convs |= {f"{name}.0": (64, 64, 3), f"{name}.2": (64, 64, 3)}
                convs |= {f"{name}.3.conv_du.0": (64, 4, 1), f"{name}.3.conv_du.2": (4, 64, 1)}
            convs[f"body{body}.{group}.body.4"] = (64, 64, 3)
        convs[f"body{body}.2"] = (64, 64, 3)
    for leaf in ("11", "12", "21", "22"):
        steps = [9] if scale == 3 else [4] * (scale.bit_length() - 1)
        convs |= {f"tail{leaf}.0.{2 * i}": (64, 64 * factor, 3) for i, factor in enumerate(steps)}
        convs[f"tail{leaf}.1"] = (64, 3, 3)
    weights = {f"{name}.weight": (outputs, inputs, k, k) for name, (inputs, outputs, k) in convs.items()}
    biases = {f"{name}.bias": (1, outputs, 1, 1) for name, (_, outputs, _) in convs.items()}
    sizes = ((12, 64), (64, 64), (64, 4))
    fusion = {f"fusion_final.{i}.conv.weight": (outputs, inputs, 3, 3) for i, (inputs, outputs) in enumerate(sizes)}
    return {"state_dict_D": weights | biases, "state_dict_C": fusion}


def d2c_forward(state: dict, bgr: torch.Tensor, scale: int) -> torch.Tensor:
    """What the authors' D_Net and C_Net do with an image whose channels are blue, green, red."""
    d, c = ({name: torch.from_numpy(array) for name, array in state[f"state_dict_{part}"].items()} for part in "DC")

    def conv(x: torch.Tensor, name: str) -> torch.Tensor:
        weight = d[f"{name}.weight"]
        return F.conv2d(x, weight, d[f"{name}.bias"].flatten(), padding=weight.shape[-1] // 2)

    def body(x: torch.Tensor, name: str) -> torch.Tensor:
        for group in range(2):
            whole = x
            for block in range(4):
                at = f"{name}.{group}.body.{block}.body"
                y = conv(conv(x, f"{at}.0").relu(), f"{at}.2")
                pooled = conv(y.mean(dim=(2, 3), keepdim=True), f"{at}.3.conv_du.0").relu()
                x = x + y * conv(pooled, f"{at}.3.conv_du.2").sigmoid()
            x = whole + conv(x, f"{name}.{group}.body.4")
        return conv(x, f"{name}.2")

    head = conv(conv(bgr, "sub_mean"), "head.0")
    predictions = []
    for leaf, name in enumerate(("11", "12", "21", "22")):
        parent = body(head, f"body{name[0]}")
        x = conv(body(parent, f"body{name}"), f"res_conv{2 * leaf + 1}") + parent
        x = conv(x, f"res_conv{2 * leaf + 2}") + head
        for i, factor in enumerate([3] if scale == 3 else [2] * (scale.bit_length() - 1)):
            x = F.pixel_shuffle(conv(x, f"tail{name}.0.{2 * i}"), factor)
        predictions.append(conv(conv(x, f"tail{name}.1"), "add_mean"))
    mask = torch.cat(predictions, dim=1)
    for i in range(3):
        mask = F.conv2d(mask, c[f"fusion_final.{i}.conv.weight"], padding=1).relu()
    return sum(image * mask.softmax(dim=1)[:, i : i + 1] for i, image in enumerate(predictions))


@pytest.mark.parametrize("scale", [3, 4])
def test_d2c_sr_of_megengine_has_its_colours_reversed(tmp_path, scale):
    random = np.random.default_rng(0)
    state = {
        part: OrderedDict(
            (name, (random.normal(size=shape) * np.prod(shape[1:]) ** -0.5).astype("f4")) for name, shape in shapes.items()
        )
        for part, shapes in megengine_shapes(scale).items()
    }
    (tmp_path / "checkpoint.pkl").write_bytes(pickle.dumps(state, protocol=4))
    net = official.convert(tmp_path / "checkpoint.pkl", "d2c_sr", scale)
    rgb = torch.rand(1, 3, 10, 12, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = d2c_forward(state, rgb.flip(1), scale).flip(1)
        assert torch.allclose(net(rgb), expected, atol=1e-4 * expected.abs().max())
    with pytest.raises(SRError, match="has layers that d2c_sr x2 lacks|expected"):
        official.convert(tmp_path / "checkpoint.pkl", "d2c_sr", 2)


class TestRegistration:
    def test_all_are_registered_and_none_counts_as_measured(self):
        rows = unseen.sources()
        assert {(row.network, row.scales) for row in rows.itertuples()} == {
            *((name, str(scale)) for name in ("ddet", "kpn_5", "kpn", "kpn_13", "kpn_19", "lp_kpn") for scale in (2, 3, 4)),
            ("d2c_sr", ""),
        }
        ids = rows["git_blob"][rows["network"] != "d2c_sr"]
        assert ids.str.fullmatch("[0-9a-f]{40}").all() and ids.is_unique and set(rows["network"]) <= set(official.MAPS)
        assert ids.iloc[0] == "01559695201dc44d8fc49ce7617b5ab117f1d341"  # of DDet x2 in ykshi/DDet
        assert not {name for name, _ in official.available()} & set(rows["network"])

    def test_gits_id_of_a_file(self, tmp_path):
        (tmp_path / "a").write_bytes(b"")
        (tmp_path / "b").write_bytes(b"hello\n")
        assert git_blob(tmp_path / "a") == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
        assert git_blob(tmp_path / "b") == "ce013625030ba8dba906f756967f9e9ca394464a"

    def test_a_file_of_a_users_own_is_checked(self, tmp_path, monkeypatch):
        monkeypatch.setenv("SRLIB_DATA", str(tmp_path))
        with pytest.raises(SRError, match=r"ddet_x2.caffemodel is missing, .* from https://raw\..*/ykshi/DDet/"):
            official.load("ddet", 2)
        (tmp_path / "official").mkdir()
        file = write_caffemodel(tmp_path / "official" / "ddet_x2.caffemodel", made_up(ddet_layers(64)))
        with pytest.raises(SRError, match="ddet_x2.caffemodel has the git id [0-9a-f]{40}, expected 01559695"):
            official.load("ddet", 2)
        content = file.read_bytes()
        rows = unseen.sources().copy()
        rows.loc[rows["file"] == file.name, "git_blob"] = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        monkeypatch.setattr(unseen, "sources", lambda: rows)
        assert sum(p.numel() for p in official.load("ddet", 2).parameters()) == 1_428_919
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(SRError, match="has the git id"):
            official.load("ddet", 2)

    def test_a_file_without_an_id_is_not_loaded_by_name(self):
        with pytest.raises(SRError, match=r"d2c_sr\.pkl: no id of it is known.*https://drive\.google\.com/.*official\.convert"):
            official.load("d2c_sr", 4)

    def test_unknown_scales(self):
        with pytest.raises(SRError, match=r"scale \(=8\): official weights of kpn_13 are of x2, x3, x4"):
            official.load("kpn_13", 8)

    @pytest.mark.parametrize(
        ("layers", "name", "scale", "message"),
        [
            (ddet_layers(64), "ddet", 3, r"has \(64, 64, 3, 3\) for features.3.weight, expected \(128, 64, 3, 3\)"),
            (kpn_layers(5), "kpn", 2, r"has \(25, 64, 3, 3\) for head.weight, expected \(49, 64, 3, 3\)"),
            (kpn_layers(5), "lp_kpn", 2, "has no layer 'convC35.0.', which lp_kpn x2 needs"),
            (ddet_layers(64), "kpn", 2, "has layers that kpn x2 lacks|expected"),
            ({**kpn_layers(7), "conv1": (4, 64)}, "kpn", 2, "is not of kpn x2"),
            ({**kpn_layers(7), "conv99": (4, 4)}, "kpn", 2, "has layers that kpn x2 lacks: conv99"),
        ],
    )
    def test_a_file_of_another_network(self, tmp_path, layers, name, scale, message):
        file = write_caffemodel(tmp_path / "a.caffemodel", made_up(layers))
        with pytest.raises(SRError, match=message):
            official.convert(file, name, scale)


class TestPickles:
    def test_arrays_by_their_keys(self, tmp_path):
        inner = {"b": np.arange(6, dtype=">i4").reshape(2, 3), "c": np.asfortranarray(np.ones((3, 2)))}
        nested = {"a": inner, "d": np.float32([1])}
        for protocol in (3, 4):
            (tmp_path / "a.pkl").write_bytes(pickle.dumps(nested, protocol=protocol))
            arrays = read_arrays(tmp_path / "a.pkl")
            assert {name: array.tolist() for name, array in arrays.items()} == {
                "a.b": [[0, 1, 2], [3, 4, 5]],
                "a.c": [[1, 1]] * 3,
                "d": [1],
            }

    @pytest.mark.parametrize(
        "content",
        [
            b"cos\nsystem\n(S'touch harm'\ntR.",
            b"cbuiltins\neval\n(S'1'\ntR.",
            b"cnumpy\nload\n(S'a'\ntR.",
            b"cnumpy.core.multiarray\nscalar\n.",
            b"\x80\x02c__builtin__\ngetattr\n.",
        ],
    )
    def test_another_name_is_refused(self, tmp_path, monkeypatch, content):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "a.pkl").write_bytes(content)
        with pytest.raises(SRError, match="a.pkl is damaged or no pickle of arrays: it asks for .*only arrays of numbers"):
            read_arrays(tmp_path / "a.pkl")
        assert not (tmp_path / "harm").exists()

    @pytest.mark.parametrize(
        "value", [[1, 2], {"a": "text"}, {"a": np.array(["x"])}, {"a": np.array([{}], dtype=object)}, {"a": 1.0}, Path("a")]
    )
    def test_nothing_but_arrays_of_numbers(self, tmp_path, value):
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(value))
        with pytest.raises(SRError, match="no pickle of arrays"):
            read_arrays(tmp_path / "a.pkl")

    def test_a_truncated_file(self, tmp_path):
        content = pickle.dumps({"a": np.ones(100)})
        for size in (0, 10, 60, len(content) - 1):
            (tmp_path / "a.pkl").write_bytes(content[:size])
            with pytest.raises(SRError, match="damaged"):
                read_arrays(tmp_path / "a.pkl")
