"""Memory that is kept between layers, counted in processes of their own: the rule stays for as long as a process lives."""

import math
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from srlib import memory
from srlib.errors import SRError

BLOCK = 64  # MB
PASSES = """
import contextlib, resource, torch
from srlib.memory import kept_between_layers

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt * resource.getpagesize() >> 20

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() >> 20

torch.ones(1)
before, began = resident(), None
with {context}:
    for layer in range(30):
        began = faults() if layer == 20 else began
        torch.ones({block} << 18)
    cleared, held = faults() - began, resident() - before
print(cleared, held, resident() - before)
"""


def passes(context: str) -> list[int]:
    """Return MB cleared by the system in the last ten of thirty layers, MB held after them, and MB held at the end."""
    script = PASSES.format(context=context, block=BLOCK)
    return [int(word) for word in subprocess.check_output([sys.executable, "-c", script], text=True).split()]


def in_a_block(first: str = "") -> list[int]:
    """Return MB held after an inner and after the outermost block."""
    script = PASSES.replace("before, began", "outer = kept_between_layers()\nouter.__enter__()\nbefore, began")
    script = first + script + "outer.__exit__(None, None, None)\nprint(resident() - before)"
    script = script.format(context="kept_between_layers()", block=BLOCK)
    return [int(word) for word in subprocess.check_output([sys.executable, "-c", script], text=True).split()][2:]


def test_free_and_held_memory_are_numbers_of_bytes():
    assert 2**20 < memory.free_memory() < math.inf
    script = "import torch; from srlib.memory import held_memory as held; torch.ones(1); before = held()\n"
    script += f"block = torch.ones({BLOCK} << 18); print((held() - before) >> 20)"
    assert BLOCK * 0.9 < int(subprocess.check_output([sys.executable, "-c", script], text=True)) < BLOCK * 1.5


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep memory")
class TestKept:
    def test_pages_are_not_cleared_again(self):
        cleared, held, _ = passes("kept_between_layers()")
        assert cleared < BLOCK and held >= BLOCK - 1

    def test_without_it_every_layer_pays(self):
        cleared, held, _ = passes("contextlib.nullcontext()")
        assert cleared > 8 * BLOCK and held < BLOCK / 2

    def test_memory_is_given_back_at_the_end(self):
        assert passes("kept_between_layers()")[2] < BLOCK / 2

    def test_the_outermost_block_gives_it_back(self):
        after_inner, after_outer = in_a_block()
        assert after_inner >= BLOCK - 1 and after_outer < BLOCK / 2

    def test_where_less_is_left_than_is_held_every_block_gives_it_back(self):
        after_inner, _ = in_a_block("import srlib.memory\nsrlib.memory.free_memory = lambda: 0\n")
        assert after_inner < BLOCK / 2

    def test_threads_have_their_own(self):
        with memory.kept_between_layers():
            assert memory._entered.already
            with ThreadPoolExecutor(1) as pool:
                assert not pool.submit(getattr, memory._entered, "already", False).result()
        assert not memory._entered.already

    def test_errors_pass(self):
        with pytest.raises(SRError, match="a layer"), memory.kept_between_layers():
            raise SRError("a layer failed")


def test_other_c_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: pytest.fail("asked a C library that is not glibc"))
    with memory.kept_between_layers():
        pass
