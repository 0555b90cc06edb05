"""Memory between the layers of a network on a CPU."""

import contextlib
import ctypes
import platform
import threading
from collections.abc import Iterator

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h


_entered = threading.local()


def free_memory() -> int:
    """Return the bytes of memory that this machine can give."""
    import psutil  # comes with accelerate

    return psutil.virtual_memory().available


def held_memory() -> int:
    """Return the bytes of memory that this process holds."""
    import psutil

    return psutil.Process().memory_info().rss


@contextlib.contextmanager
def kept_between_layers() -> Iterator[None]:
    """Let layers reuse what earlier ones have freed, and hand it back to the system at the end of the outermost block, or of any
    block where the process holds more than the machine has left: images of many sizes leave gaps between what is reused.

    By default glibc hands large blocks back at once, and the system clears every page of the next ones anew, which takes up to
    two fifths of a forward pass (`benchmarks/evaluation.py --memory`). The process keeps this rule from the first call on, in
    its main thread. Other C libraries are left as they are.
    """
    if platform.libc_ver()[0] != "glibc":
        yield
        return
    libc = ctypes.CDLL(None)
    outermost = not getattr(_entered, "already", False)
    if outermost:
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, -1)
        _entered.already = True
    try:
        yield
    finally:
        if outermost:
            _entered.already = False
        if outermost or held_memory() > free_memory():
            libc.malloc_trim(0)
