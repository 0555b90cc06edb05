"""Caffe networks, from protobuf's wire format."""

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from srlib.official.readers import Arrays, refuse


def read(path: Path) -> Arrays:
    """Return the blobs of a Caffe network by layer and number: "conv1[0]" is a layer's weight, "conv1[1]" its bias.

    Read from protobuf's wire format, with the field numbers of caffe.proto: NetParameter.layer 100 (of older files layers 2) with
    name 1 (4) and blobs 7 (6); BlobProto.shape 7, whose dim is 1, or num, channels, height, width 1..4; data 5.
    """
    try:
        arrays: Arrays = {}
        for number, layer in _fields(path.read_bytes()):
            if number not in (100, 2):
                continue
            name_number, blob_number = (1, 7) if number == 100 else (4, 6)
            parts = list(_fields(layer))
            name = next((value.decode() for field, value in parts if field == name_number), "")
            for i, blob in enumerate(value for field, value in parts if field == blob_number):
                arrays[f"{name}[{i}]"] = _blob(blob)
    except (ValueError, TypeError, IndexError, struct.error) as error:
        raise refuse(path, "Caffe model", error) from error
    if not arrays:
        raise refuse(path, "Caffe model", "it has no layer with blobs")
    return arrays


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise ValueError("a number has more than ten bytes")


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield (field number, value) of a protobuf message: whole numbers, or the bytes of all else."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(data, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
            value, at = data[at : at + length], at + length
        elif kind == 2:
            length, at = _varint(data, at)
            value, at = data[at : at + length], at + length
        else:
            raise ValueError(f"unknown wire type {kind}")
        if at > len(data):
            raise ValueError("it ends in the middle of a field")
        yield number, value


def _numbers(value: int | bytes) -> list[int]:
    """Return repeated whole numbers, packed or not."""
    if isinstance(value, int):
        return [value]
    numbers, at = [], 0
    while at < len(value):
        number, at = _varint(value, at)
        numbers.append(number)
    return numbers


def _blob(data: bytes) -> np.ndarray:
    shape, legacy, floats = [], {}, []
    for number, value in _fields(data):
        if number == 7:
            shape += [dim for field, dims in _fields(value) if field == 1 for dim in _numbers(dims)]
        elif number in (1, 2, 3, 4):
            legacy[number] = value
        elif number == 5:
            floats.append(value)
    array = np.frombuffer(b"".join(floats), "<f4")
    return array.reshape(shape or [legacy.get(number, 1) for number in (1, 2, 3, 4)])
