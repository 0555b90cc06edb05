"""Reuse of the memory that a network's layers free, where the C library is glibc.

By default glibc returns every large block to the system at once, which then clears each page of the next one: up to three fifths
of a forward pass on a large image, up to a tenth of a training step (`benchmarks/evaluation.py --memory`).
"""

import ctypes
import functools
import platform

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of malloc.h


@functools.cache
def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None


@functools.cache
def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, for its next allocations, from now on; nothing happens without glibc."""
    if libc := _glibc():
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, -1)


def release_freed_memory() -> None:
    """Return to the system what `keep_freed_memory` has kept so far."""
    if libc := _glibc():
        libc.malloc_trim(0)
