import errno
import os
from pathlib import Path

import pytest

from srlib.core import files
from srlib.core.errors import SRError


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


def keep_time(file, change):
    """Change a file and give it its old times back, as `cp -p` and archivers do."""
    stat = file.stat()
    change()
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_contents_replaced_under_the_old_size_and_time_are_noticed(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"abc")
    other.write_bytes(b"abd")
    before, expected = files.file_hashes([one, other])
    keep_time(one, lambda: one.write_bytes(b"abd"))
    assert files.file_hashes([one]) == [expected] != [before]
    keep_time(one, lambda: one.write_bytes(b"abc"))  # at once, in the same tick of the clock
    assert files.file_hashes([one]) == [before]
    os.utime(other, ns=(one.stat().st_atime_ns, one.stat().st_mtime_ns))
    other.replace(one)  # another inode
    assert files.file_hashes([one]) == [expected]


def test_hashes_can_be_computed_again(tmp_path):
    one = tmp_path / "one"
    one.write_bytes(b"abc")
    right = files.file_hashes([one])
    cache = files._cache_file(tmp_path)
    cache.write_text(cache.read_text().replace(right[0], "0" * 64))
    assert files.file_hashes([one]) == ["0" * 64]
    assert files.file_hashes([one], refresh=True) == right == files.file_hashes([one])
    for damaged in ("", "{", "[1, 2]", '{"one": 3}', '{"one": ["x"]}'):
        cache.write_text(damaged)
        assert files.file_hashes([one]) == right


def test_a_folder_whose_name_is_no_utf8(tmp_path):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    files.atomic_write(folder / "one", b"abc")
    assert files.file_hashes([folder / "one"]) == files.file_hashes([folder / "one"])


@pytest.mark.parametrize("name", [251 * "a" + ".txt", 62 * "\N{FIRE}" + ".txt"])
def test_atomic_writes_names_as_long_as_the_file_system_allows(tmp_path, name):
    with files.atomic(tmp_path / name) as temp:
        temp.write_text("whole")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "whole")]


class TestCheckWritable:
    def test_what_can_be_written_is_not_created(self, tmp_path):
        files.check_writable(tmp_path / "new" / "deep" / "a.png")
        (tmp_path / "old.png").write_text("old")
        files.check_writable(tmp_path / "old.png")
        assert [path.name for path in tmp_path.iterdir()] == ["old.png"] and (tmp_path / "old.png").read_text() == "old"

    def test_what_cannot_be_written_is_told_as_by_atomic(self, tmp_path):
        (tmp_path / "file").touch()
        for name, reason in (("file/a.png", "Not a directory"), (300 * "a", "File name too long"), (".", "Is a directory")):
            with pytest.raises(SRError, match=f"cannot write .*: {reason}.*move it"):
                files.check_writable(tmp_path / name, "move it")

    def test_a_read_only_folder(self, tmp_path, monkeypatch):
        def refused(**options):  # root may write into read-only folders
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(files.tempfile, "TemporaryFile", refused)
        with pytest.raises(SRError, match=r"cannot write .*a\.csv: Permission denied.*choose another folder"):
            files.check_writable(tmp_path / "a.csv")


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(SRError, match=r"cannot read .*gone: No such file"):
        files.file_hashes([tmp_path / "gone"])


def test_a_cache_that_cannot_be_written_gives_a_warning_only(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SRLIB_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.warns(UserWarning, match="not cached.*SRLIB_CACHE"):
        assert len(files.file_hashes([tmp_path / "file"])) == 1


def test_locked_clears_what_a_killed_process_left(tmp_path):
    (tmp_path / ".a.bin.1-2.part").write_bytes(b"half")
    (tmp_path / "a.bin").write_bytes(b"whole")
    with files.locked(tmp_path, "wait"):
        assert {path.name for path in tmp_path.iterdir()} == {".lock", "a.bin"}
