"""From the arrays of official weights to the networks here: one function for each network.

Each takes what a reader of `official.readers` returns, and the scale, and returns the arguments of the network and its
state_dict. What conversions have to do was found by measuring: the papers' PSNR on Set5 comes out (tests/test_official.py). Those
of `official.unseen` are written from the authors' code instead.
"""

import re
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from srlib.official.readers import Arrays

Mapped = tuple[dict, dict[str, Tensor]]


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(array, dtype=np.float32, order="C"))  # a copy, in C's order


def _matconvnet(array: np.ndarray) -> Tensor:
    """`(h, w, in[, out])` -> `(out, in, h, w)`; of a transposed convolution `(in, out, h, w)`."""
    return _tensor(array.reshape(*array.shape[:3], -1).transpose(3, 2, 0, 1))


def _column_major(array: np.ndarray, inputs: int, outputs: int) -> Tensor:
    """`(in, k*k, out)`, kernels column by column -> `(out, in, k, k)`."""
    side = round((array.size / inputs / outputs) ** 0.5)
    return _tensor(array.reshape(inputs, side, side, outputs).transpose(3, 0, 2, 1))


def vdsr(arrays: Arrays, scale: int) -> Mapped:
    """One file for all scales."""
    state = {}
    for i in range(20):
        state[f"layers.{2 * i}.weight"] = _matconvnet(arrays.pop(f"model.weight[{i}]"))
        state[f"layers.{2 * i}.bias"] = _tensor(arrays.pop(f"model.bias[{i}]").ravel())
    return {}, state


def srcnn(arrays: Arrays, scale: int) -> Mapped:
    """9-5-5; the authors' test code repeats the border."""
    state = {}
    for i, (name, inputs, outputs) in enumerate((("extraction", 1, 64), ("mapping", 64, 32), ("reconstruction", 32, 1)), 1):
        state[f"{name}.weight"] = _column_major(arrays.pop(f"weights_conv{i}"), inputs, outputs)
        state[f"{name}.bias"] = _tensor(arrays.pop(f"biases_conv{i}").ravel())
    return {"padding_mode": "replicate"}, state


PRELU = {f"mapping.{i}": (f"mapping.{2 * i}", f"mapping.{2 * i + 1}") for i in range(4)}  # convolutions and what follows them


def fsrcnn(arrays: Arrays, scale: int) -> Mapped:
    """56-12-4, a PReLU slope for each layer."""
    names = ["extraction", "shrinking", *(f"mapping.{i}" for i in range(4)), "expanding", "deconvolution"]
    sizes = [(1, 56), (56, 12), *[(12, 12)] * 4, (12, 56)]
    state = {}
    for i, name in enumerate(names[:-1]):
        first, second = PRELU.get(name, (f"{name}.0", f"{name}.1"))
        state[f"{first}.weight"] = _column_major(arrays.pop(f"weights_conv[{i}]"), *sizes[i])
        state[f"{first}.bias"] = _tensor(arrays.pop(f"biases_conv[{i}]").ravel())
        state[f"{second}.weight"] = _tensor(np.full(sizes[i][1], arrays.pop(f"prelu_conv[{i}]").item()))
    state["deconvolution.weight"] = _column_major(arrays.pop("weights_conv[7]"), 1, 56)
    state["deconvolution.bias"] = _tensor(arrays.pop("biases_conv[7]").ravel())
    arrays.pop("prelu_conv[7]")
    return {"padding_mode": "replicate", "padding": 3 if scale == 3 else 4}, state


def lapsrn(arrays: Arrays, scale: int) -> Mapped:
    """The file counts levels downwards; x8 has five convolutions a level."""
    found = {name: re.fullmatch(r"net\.params\[(\w+)\]\.value", name) for name in arrays}
    values = {match[1]: arrays[name] for name, match in found.items() if match}
    arrays.clear()  # what else is there describes layers, not weights
    levels, depth = scale.bit_length() - 1, 5 if scale == 8 else 10
    places = {"entry.0": "input_conv"}
    for level in range(levels):
        here, there = f"levels.{level}", f"level{levels - level}"
        places |= {f"{here}.extract.{2 * i}": f"{there}_conv{i + 1}" for i in range(depth)}
        places |= {f"{here}.up.0": f"{there}_upconv", f"{here}.predict": f"{there}_residual_conv"}
    state = {}
    for ours, theirs in places.items():
        state[f"{ours}.weight"] = _matconvnet(values.pop(f"{theirs}_f"))
        state[f"{ours}.bias"] = _tensor(values.pop(f"{theirs}_b").ravel())
    for level in range(levels):
        state[f"levels.{level}.image_up.weight"] = _tensor(values.pop(f"level{levels - level}_img_up_f")[None, None])
    arrays |= values
    return {"depth": depth, "padding": 0}, state


def idn(arrays: Arrays, scale: int) -> Mapped:
    """The grouped original, whose transposed convolution is aligned to the last pixel."""
    places = {"entry.0": "conv1", "entry.2": "conv2", "exit": "upsample"}
    for block in range(4):
        theirs = f"conv{block + 3}"
        places |= {f"blocks.{block}.first.{2 * i}": f"{theirs}_{i + 1}" for i in range(3)}
        places |= {f"blocks.{block}.second.{2 * i}": f"{theirs}_{i + 4}" for i in range(3)}
        places[f"blocks.{block}.compress"] = f"down{block + 1}"
    state = {}
    for ours, theirs in places.items():
        state[f"{ours}.weight"], state[f"{ours}.bias"] = (_tensor(arrays.pop(f"{theirs}[{i}]")) for i in (0, 1))
    return {"grouped": True}, state


def imdn(arrays: Arrays, scale: int) -> Mapped:
    places = {"head": "fea_conv", "body.0.fusion.0": "c.0", "body.1": "LR_conv", "tail.0": "upsampler.0"}
    for block in range(6):
        here, there = f"body.0.blocks.{block}", f"IMDB{block + 1}"
        places |= {f"{here}.layers.{i}": f"{there}.c{i + 1}" for i in range(3)}
        places |= {f"{here}.last": f"{there}.c4", f"{here}.fusion": f"{there}.c5"}
        places |= {f"{here}.attention.weigh.{i}": f"{there}.cca.conv_du.{i}" for i in (0, 2)}
    state = {}
    for ours, theirs in places.items():
        for kind in ("weight", "bias"):
            state[f"{ours}.{kind}"] = _tensor(arrays.pop(f"module.{theirs}.{kind}"))
    return {}, state


def drrn(arrays: Arrays, scale: int) -> Mapped:
    """A third party's training of B1U25, without biases; one file for all scales."""
    state = {}
    for i, name in enumerate(("entry", "unit.1", "unit.3", "exit.1")):
        state[f"{name}.weight"] = _tensor(arrays.pop(f"arg:learned_{i}"))
        state[f"{name}.bias"] = torch.zeros(len(state[f"{name}.weight"]))
    return {"rectified": True}, state


def _transposed(side: int) -> np.ndarray:
    """Return the order that takes the cells of a square from column by column to row by row."""
    return np.arange(side**2).reshape(side, side).T.ravel()


TRUNK = {"trunk.entry": "conv1", "trunk.body.16": "conv34"} | {
    f"trunk.body.{block}.body.{2 * i}": f"conv{2 * block + 2 + i}" for block in range(16) for i in (0, 1)
}


def _kernel_network(arrays: Arrays, places: dict[str, str], heads: dict[str, int]) -> dict[str, Tensor]:
    """Return the state of a network that predicts kernels. heads: its last layers, with the size of their kernels.

    The authors' test code (Test.m of csjcai/RealSR) hands MATLAB's images to Caffe as they are, which has them transposed. Here
    the kernels of all layers are transposed instead, and so are the cells of the first layer and the predicted kernels.
    """
    state = {}
    for ours, theirs in (TRUNK | places).items():
        weight, bias = arrays.pop(f"{theirs}[0]"), arrays.pop(f"{theirs}[1]").ravel()
        weight = weight.swapaxes(2, 3)  # (out, in, k, k)
        if ours == "trunk.entry":
            weight = weight[:, _transposed(4)]
        if ours in heads and len(weight) == heads[ours] ** 2:
            weight, bias = (array[_transposed(heads[ours])] for array in (weight, bias))
        state[f"{ours}.weight"], state[f"{ours}.bias"] = _tensor(weight), _tensor(bias)
    return state


def ddet(arrays: Arrays, scale: int) -> Mapped:
    """The files of x3 and x4 are the wide network."""
    places = {"features.1": "conv35", "features.3": "conv36", "refine.0": "conv_f1", "refine.2": "conv_f2"}
    places |= {f"cdm.{2 * i}": f"convp{i + 1}" for i in range(3)}
    places |= {"heads.0.0": "Kernel", "heads.1.0": "Kernel_c10", "heads.1.2": "Kernel_c12"}
    places |= {"heads.2.0": "Kernel_c20", "heads.2.2": "Kernel_c22"}
    state = _kernel_network(arrays, places, {"heads.0.0": 9, "heads.1.2": 7, "heads.2.2": 5})
    return {"scale": 1, "wide": scale != 2, "columns_first": True}, state


def kpn(arrays: Arrays, scale: int, kernel: int) -> Mapped:
    places = {"features.1": "conv35", "features.3": "conv36", "head": "Kernel"}
    state = _kernel_network(arrays, places, {"head": kernel})
    return {"model": "kpn", "scale": 1, "kernel": kernel, "columns_first": True}, state


def lp_kpn(arrays: Arrays, scale: int) -> Mapped:
    """Levels C, B, A of the file are those of full, half and quarter size; K = 5."""
    places = {}
    for level, letter in enumerate("CBA"):
        places |= {f"features.{level}.1": f"conv{letter}35", f"features.{level}.3": f"conv{letter}36"}
        places[f"heads.{level}"] = f"Kernel{letter}"
    state = _kernel_network(arrays, places, {f"heads.{level}": 5 for level in range(3)})
    return {"scale": 1, "columns_first": True, "border": "zeros"}, state


def d2c_sr(arrays: Arrays, scale: int) -> Mapped:
    """Two groups of four blocks. The authors' images are BGR: channels of colour are reversed."""
    places = {"divergence.subtract_mean": "sub_mean", "divergence.add_mean": "add_mean", "divergence.head": "head.0"}
    for level, bodies in enumerate((("1", "2"), ("11", "12", "21", "22"))):
        for branch, body in enumerate(bodies):
            here, there = f"divergence.levels.{level}.{branch}", f"body{body}"
            for group in range(2):
                for block in range(4):
                    ours, theirs = (f"{name}.{group}.body.{block}.body" for name in (here, there))
                    places |= {f"{ours}.{i}": f"{theirs}.{i}" for i in (0, 2)}
                    places |= {f"{ours}.3.weigh.{i + 1}": f"{theirs}.3.conv_du.{i}" for i in (0, 2)}
                places[f"{here}.{group}.body.4"] = f"{there}.{group}.body.4"
            places[f"{here}.2"] = f"{there}.2"
    steps = 1 if scale == 3 else scale.bit_length() - 1  # of the up-sampler
    for leaf, name in enumerate(("11", "12", "21", "22")):
        places |= {f"divergence.skips.{leaf}.{i}": f"res_conv{2 * leaf + i + 1}" for i in (0, 1)}
        places |= {f"divergence.tails.{leaf}.{2 * i}": f"tail{name}.0.{2 * i}" for i in range(steps)}
        places[f"divergence.tails.{leaf}.{2 * steps}"] = f"tail{name}.1"
    state = {}
    for ours, theirs in places.items():
        weight, bias = arrays.pop(f"state_dict_D.{theirs}.weight"), arrays.pop(f"state_dict_D.{theirs}.bias").ravel()
        if weight.shape[1] == 3:
            weight = weight[:, ::-1]
        if weight.shape[0] == 3:
            weight, bias = weight[::-1], bias[::-1]
        state[f"{ours}.weight"], state[f"{ours}.bias"] = _tensor(weight), _tensor(bias)
    for i in range(3):
        weight = arrays.pop(f"state_dict_C.fusion_final.{i}.conv.weight")
        if i == 0:  # (64, 4 predictions * 3 colours, 3, 3)
            weight = weight.reshape(len(weight), -1, 3, 3, 3)[:, :, ::-1].reshape(weight.shape)
        state[f"convergence.layers.{i}.weight"] = _tensor(weight)
    return {}, state


MAPS: dict[str, Callable[[Arrays, int], Mapped]] = {
    "vdsr": vdsr,
    "idn": idn,
    "lapsrn": lapsrn,
    "imdn": imdn,
    "srcnn": srcnn,
    "fsrcnn": fsrcnn,
    "drrn": drrn,
    "ddet": ddet,
    "kpn": partial(kpn, kernel=7),
    **{f"kpn_{kernel}": partial(kpn, kernel=kernel) for kernel in (5, 13, 19)},
    "lp_kpn": lp_kpn,
    "d2c_sr": d2c_sr,
}
