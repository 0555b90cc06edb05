"""MATLAB files, version 5 to 7."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from srlib.official.readers import Arrays, refuse


def read(path: Path) -> Arrays:
    """Return the numeric arrays of a MATLAB file (version 5 to 7) by their path: "model.weight[3]", "net.params[input_conv_f]".

    Elements of cells and struct arrays are numbered from 0; those of a struct array with a field `name` go by it.
    """
    from scipy.io import loadmat

    try:
        content = loadmat(path, simplify_cells=False)
        return dict(_flatten("", {key: value for key, value in content.items() if not key.startswith("__")}))
    except Exception as error:  # scipy has no error of its own: a damaged file ends in whatever its bytes make it meet
        if getattr(error, "errno", None):  # the file system's own error
            raise
        raise refuse(path, "MATLAB file", error) from error


def _flatten(name: str, value) -> Iterator[tuple[str, np.ndarray]]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _flatten(f"{name}.{key}" if name else key, part)
    elif not isinstance(value, np.ndarray):  # what scipy has no array for: objects of MATLAB classes
        return
    elif value.dtype.names:
        for i, element in enumerate(value.flat):
            own = str(element["name"].item()) if "name" in value.dtype.names and element["name"].size == 1 else str(i)
            where = f"{name}[{own}]" if value.size > 1 else name
            yield from _flatten(where, {field: element[field] for field in value.dtype.names})
    elif value.dtype == object:
        for i, element in enumerate(value.flat):
            yield from _flatten(f"{name}[{i}]", element)
    elif np.issubdtype(value.dtype, np.number):
        yield name, value
