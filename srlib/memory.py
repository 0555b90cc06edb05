"""Memory between the layers of a network on a CPU."""

import contextlib
import ctypes
import platform
import threading
from collections.abc import Iterator

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h


_entered = threading.local()


@contextlib.contextmanager
def kept_between_layers() -> Iterator[None]:
    """Let layers reuse what earlier ones have freed, and hand it back to the system at the end of the outermost block.

    By default glibc hands large blocks back at once, and the system clears every page of the next ones anew, which takes up to
    two fifths of a forward pass (`benchmarks/evaluation.py --memory`). The process keeps this rule from the first call on, in
    its main thread. Other C libraries are left as they are.
    """
    if platform.libc_ver()[0] != "glibc" or getattr(_entered, "already", False):
        yield
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_MAX, 0)
    libc.mallopt(M_TRIM_THRESHOLD, -1)
    _entered.already = True
    try:
        yield
    finally:
        _entered.already = False
        libc.malloc_trim(0)
