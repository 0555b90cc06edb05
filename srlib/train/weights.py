"""Formats of weights files: float16 for releases, int8 of older ones, strict loading into a network."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load

from srlib.core.errors import SRError

SCALE_SUFFIX = ".step"  # of the name of an int8 kernel's scales
HALF_TOLERANCE = 0.01  # largest relative error of a tensor in float16


def half_precision(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return tensors in the format of releases: floats in float16, integers unchanged.

    Raises SRError for a tensor that float16 cannot hold: overflow above 65504, or underflow.
    """
    halves = {}
    for name, tensor in state.items():
        halves[name] = half = tensor.half() if tensor.is_floating_point() else tensor
        error = (half.double() - tensor.double()).norm()
        if not error <= HALF_TOLERANCE * tensor.double().norm():  # also where one of them is not finite
            raise SRError(
                f"tensor {name!r} has values up to {tensor.abs().max():.3g}, which float16 (6e-8 to 65504) cannot hold within "
                f"{100 * HALF_TOLERANCE:g} %; train it with another rate or initial value, or rescale its layer"
            )
    return halves


def dequantize(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Dequantise int8 kernels with a scale per output channel, the format of older releases."""
    scales = {name.removesuffix(SCALE_SUFFIX): scale.float() for name, scale in state.items() if name.endswith(SCALE_SUFFIX)}
    kept = {name: tensor for name, tensor in state.items() if not name.endswith(SCALE_SUFFIX)}
    return {name: tensor.float() * scales[name] if name in scales else tensor for name, tensor in kept.items()}


def read_bytes(path: Path) -> bytes:
    """Return the content of a file; raises SRError where it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise SRError(f"{path} cannot be read: {error.strerror}") from error


def load_weights(model: torch.nn.Module, path: Path, part: str = "") -> torch.nn.Module:
    """Load safetensors (any float precision, or int8 as in `dequantize`) into a model, strictly; return it in eval mode.

    part: the name of the model in a larger network; where the file is of such a network, only its tensors are taken.
    """
    content = read_bytes(path)
    try:
        state = dequantize(load(content))
    except (SafetensorError, KeyError) as error:  # KeyError: an unknown type of numbers
        raise SRError(f"{path} is not a readable safetensors file ({error}); delete it and train or fetch it again") from error
    prefix = f"{part}."
    state = {name.removeprefix(prefix): tensor for name, tensor in state.items() if part and name.startswith(prefix)} or state
    expected = model.state_dict()
    wrong = [k for k in expected.keys() | state.keys() if k not in state or k not in expected]
    wrong += [k for k in expected.keys() & state.keys() if expected[k].shape != state[k].shape]
    if wrong:
        raise SRError(
            f"{path} does not fit this model: {len(wrong)} tensors differ, first {sorted(wrong)[0]!r}; "
            "take weights of a network of the same arguments"
        )
    model.load_state_dict({name: tensor.to(expected[name].dtype) for name, tensor in state.items()})
    return model.eval()
