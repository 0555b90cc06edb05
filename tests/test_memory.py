"""Freed memory is reused: measured in page faults, in a process of its own."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, torch
from srlib.core import memory
{prepare}
def faults(tensors=4):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(tensors):
        torch.ones(16, 1024, 1024)  # 64 MB, of 16,384 pages
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults(20)  # the first ones grow the heap
print(faults())
{release}
print(faults(1))
"""


def faults(prepare: str = "", release: str = "") -> list[int]:
    code = FAULTS.format(prepare=prepare, release=release)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return [int(line) for line in done.stdout.split()]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left as they are")
def test_freed_memory_is_reused_and_released():
    reused, after_release = faults("memory.keep_freed_memory()", "memory.release_freed_memory()")
    cleared, _ = faults()
    assert reused < 1_000 < cleared
    assert after_release > 1_000


def test_nothing_happens_without_glibc(monkeypatch):
    from srlib.core import memory

    memory._glibc.cache_clear()
    monkeypatch.setattr(memory.platform, "libc_ver", lambda: ("", ""))
    try:
        assert memory._glibc() is None
        memory.keep_freed_memory.__wrapped__()
        memory.release_freed_memory()
    finally:
        memory._glibc.cache_clear()
