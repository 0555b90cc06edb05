"""MXNet's lists of arrays."""

import struct
from pathlib import Path

import numpy as np

from srlib.official.readers import Arrays, refuse

LIST_MAGIC, ARRAY_MAGIC = 0x112, 0xF993FAC9  # of MXNet's list of arrays, and of an array of its version 2
FLOAT32 = 0


def read(path: Path) -> Arrays:
    """Return the arrays of an MXNet `.params` file (dense float32 arrays of version 2)."""
    data = path.read_bytes()
    at = 0

    def take(form: str) -> tuple:
        nonlocal at
        values = struct.unpack_from(f"<{form}", data, at)
        at += struct.calcsize(f"<{form}")
        return values

    try:
        magic, _, count = take("QQQ")
        if magic != LIST_MAGIC:
            raise ValueError(f"it begins with {magic:#x}")
        arrays = []
        for _ in range(count):
            magic, storage, ndim = take("IiI")
            if magic != ARRAY_MAGIC or storage != 0 or ndim > 8:
                raise ValueError("an array is not dense or of another version")
            shape = take(f"{ndim}q")
            *_, kind = take("iii")  # device, its number
            if kind != FLOAT32:
                raise ValueError(f"an array has the type {kind}, not float32")
            size = int(np.prod(shape))
            arrays.append(np.frombuffer(data, "<f4", size, at).reshape(shape))
            at += 4 * size
        (named,) = take("Q")
        if named != count:
            raise ValueError(f"{count} arrays have {named} names")
        names = []
        for _ in range(count):
            (length,) = take("Q")
            names.append(data[at : at + length].decode())
            at += length
        if at != len(data):
            raise ValueError(f"{len(data) - at} bytes are left over")
    except (ValueError, struct.error) as error:
        raise refuse(path, "MXNet file of parameters", error) from error
    return dict(zip(names, arrays, strict=True))
