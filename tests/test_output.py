"""Printing that never stops the work: what a terminal cannot show, readers that go away, disks that are full."""

import io
import os
import subprocess
import sys

import pytest

from srlib.core.output import Tolerant, print_line, tolerant

SCRIPT = """
import sys
from srlib.core.output import tolerant
with tolerant():
    for i in range(3):
        print("caf\\u00e9 \\udce9", i, flush=True)
        print("err", i, file=sys.stderr, flush=True)
    open(sys.argv[1], "w").write("done")
"""


@pytest.mark.parametrize(("encoding", "expected"), [("ascii", b"caf\\xe9 \\udce9\n"), ("utf-8", b"caf\xc3\xa9 \\udce9\n")])
def test_what_the_encoding_lacks_is_escaped(encoding, expected):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    print_line("caf\N{LATIN SMALL LETTER E WITH ACUTE} \udce9", stream)
    assert stream.buffer.getvalue() == expected


@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_work_goes_on_when_nobody_reads(tmp_path, closed):
    reading, writing = os.pipe()
    os.close(reading)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, closed: writing}
    done = subprocess.run([sys.executable, "-c", SCRIPT, tmp_path / "out"], **streams, text=True, errors="replace")
    os.close(writing)
    assert done.returncode == 0 and (tmp_path / "out").read_text() == "done"
    left = done.stderr if closed == "stdout" else done.stdout
    assert len(left.splitlines()) == 3 and "Error" not in left  # nor a complaint of the interpreter at its end


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's /dev/full")
def test_a_full_disk_is_said_once_and_work_goes_on(tmp_path):
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-c", SCRIPT, tmp_path / "out"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0 and (tmp_path / "out").read_text() == "done"
    assert done.stderr.count("the rest is not printed: No space left on device") == 1 and "Traceback" not in done.stderr


def test_a_stream_that_was_closed_before(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    with tolerant():
        print("nowhere")
        sys.stdout.write("nowhere")


def test_streams_are_as_before_at_the_end(monkeypatch):
    before = sys.stdout, sys.stderr
    with tolerant():
        assert isinstance(sys.stdout, Tolerant) and isinstance(sys.stderr, Tolerant)
        inner = sys.stdout
        with tolerant():
            assert sys.stdout is inner
    assert (sys.stdout, sys.stderr) == before


def test_other_errors_are_not_swallowed():
    with pytest.raises(TypeError):
        Tolerant(io.StringIO()).write(b"bytes")
