import errno
import subprocess
import sys

import pytest

from srlib.data import files
from srlib.errors import SRError


def test_atomic_replaces_the_file_only_at_the_end(tmp_path):
    target = tmp_path / "new" / "a.txt"
    with files.atomic(target) as temp:
        temp.write_text("one")
        assert not target.exists()
    assert target.read_text() == "one"
    with pytest.raises(KeyError), files.atomic(target) as temp:
        temp.write_text("half")
        raise KeyError("stopped")
    assert target.read_text() == "one"
    assert [path.name for path in target.parent.iterdir()] == ["a.txt"]


def test_a_full_disk_is_explained_and_leaves_nothing(tmp_path):
    with pytest.raises(SRError, match=r"cannot write .*a\.bin: No space left.*free some space or move it"):
        with files.atomic(tmp_path / "a.bin", "move it") as temp:
            temp.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_work_itself_passes_through(tmp_path):
    with pytest.raises(OSError, match="image file is truncated") as caught, files.atomic(tmp_path / "a.bin"):
        raise OSError("image file is truncated")
    assert not isinstance(caught.value, SRError)


def test_hashes_are_computed_once_per_content(tmp_path, monkeypatch):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"abc")
    two.write_bytes(b"")
    hashed = []
    real = files.sha256
    monkeypatch.setattr(files, "sha256", lambda path: hashed.append(path.name) or real(path))
    first = files.file_hashes([one, two])
    assert first[0] == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180 example
    assert files.file_hashes([two, one]) == first[::-1]
    assert hashed == ["one", "two"]
    one.write_bytes(b"abcd")
    assert files.file_hashes([one])[0] != first[0]
    assert hashed == ["one", "two", "one"]


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", '{"one": 3}', '{"one": ["x"]}'])
def test_a_damaged_memory_of_hashes_is_ignored(tmp_path, content):
    one = tmp_path / "one"
    one.write_bytes(b"abc")
    expected = files.file_hashes([one])
    files._memory_file(tmp_path).write_text(content)
    assert files.file_hashes([one]) == expected


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(SRError, match=r"cannot read .*gone: No such file"):
        files.file_hashes([tmp_path / "gone"])


def test_a_cache_that_cannot_be_written_gives_a_warning_only(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SRLIB_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.warns(UserWarning, match="not remembered.*SRLIB_CACHE"):
        assert len(files.file_hashes([tmp_path / "file"])) == 1


def test_locked_clears_what_a_killed_process_left(tmp_path):
    (tmp_path / ".a.bin.1-2.part").write_bytes(b"half")
    (tmp_path / "a.bin").write_bytes(b"whole")
    with files.locked(tmp_path, "wait"):
        assert {path.name for path in tmp_path.iterdir()} == {".lock", "a.bin"}


def test_the_command_line_does_not_pay_for_libraries_it_does_not_use():
    code = (
        "import sys, srlib.data.registry, srlib.data.sets; "
        "print([m for m in ('torch', 'pandas', 'pooch', 'requests', 'skimage', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
