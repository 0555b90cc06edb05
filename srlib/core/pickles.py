"""Arrays from pickles of others, without running what a pickle can run.

A pickle may call any function by its name. `read_arrays` knows four names, those by which numpy's arrays and ordered
dictionaries are written, and puts inert classes of its own in the place of numpy's; any other name is refused.
"""

import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np

from srlib.core.errors import SRError

NUMBERS = {f"{kind}{size}" for kind in "fiu" for size in (1, 2, 4, 8)} - {"f1"}  # numpy's codes of numeric types


class _Type:
    """What stands for `numpy.dtype`."""

    def __init__(self, code: str, *flags: bool):
        self.code, self.order = code, "|"

    def __setstate__(self, state: tuple) -> None:
        self.order = state[1]


class _Array:
    """What stands for `numpy.ndarray` and for the function that makes an empty one."""

    def __init__(self, *ignored: object):
        self.state: tuple = ()

    def __setstate__(self, state: tuple) -> None:
        self.state = state

    def array(self) -> np.ndarray:
        _, shape, kind, columns_first, data = self.state
        if not isinstance(kind, _Type) or kind.code not in NUMBERS or kind.order not in ("<", ">", "|", "="):
            raise ValueError("an array is not one of numbers")
        flat = np.frombuffer(data, np.dtype(kind.code).newbyteorder(kind.order))
        return flat.reshape(shape, order="F" if columns_first else "C")


ALLOWED = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("collections", "OrderedDict"): OrderedDict,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, and only arrays of numbers are read")
        return ALLOWED[module, name]


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of nested dictionaries in a pickle, by their keys joined with dots.

    Raises SRError for a file that holds anything else, before any of it is run, and for a damaged one.
    """
    try:
        with open(path, "rb") as stream:
            return dict(_flatten("", _Unpickler(stream).load()))
    except Exception as error:  # a damaged pickle ends in whatever its bytes make it meet
        if getattr(error, "errno", None):  # the file system's own error
            raise
        raise SRError(f"{path.name} is damaged or no pickle of arrays: {error}") from error


def _flatten(name: str, value: object):
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _flatten(f"{name}.{key}" if name else str(key), part)
    elif isinstance(value, _Array):
        yield name, value.array()
    else:
        raise ValueError(f"{name or 'it'} is of type {type(value).__name__}")
