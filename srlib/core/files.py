"""Atomic writes, folder locks and cached file hashes."""

import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
import uuid
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from srlib.core import paths
from srlib.core.errors import SRError

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
CACHE_REMEDY = "set SRLIB_CACHE to a folder on another disk"
CLOCK_TICK = 20_000_000  # ns; upper bound on the resolution of file times


def _remedy(path: Path) -> str:
    """Return what helps where a file cannot be written: the variable that sets its folder, or another folder."""
    variable = paths.variable_of(path)
    return f"set {variable} to a folder that can be written" if variable else "choose another folder"


def cannot_write(path: Path, error: OSError, remedy: str = "") -> SRError:
    """Return the error for a file that could not be written: the system's message and the remedy (default: by its folder)."""
    hint = "free some space or " if error.errno in DISK_FULL else ""
    return SRError(f"cannot write {path}: {error.strerror or error}. Nothing was left behind; {hint}{remedy or _remedy(path)}")


@contextmanager
def atomic(path: Path, remedy: str = "") -> Iterator[Path]:
    """Yield a temporary path that replaces `path` when the block succeeds and is deleted when it fails.

    Creates the folder. A failed write (full disk, read-only folder) raises SRError ending in `remedy`, by default the variable
    that sets the folder; other exceptions of the block propagate.
    """
    temp = path.with_name(f".{path.name[:40]}.{uuid.uuid4().hex}.part")  # within the limit on file names
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temp
        os.replace(temp, path)
    except OSError as error:
        if error.errno is None:  # not from the file system, e.g. a decoder's error
            raise
        raise cannot_write(path, error, remedy) from error
    finally:
        with suppress(OSError):  # gone where all went well; else the error above says more
            temp.unlink()


def atomic_write(path: Path, data: str | bytes, remedy: str = "") -> None:
    """Write text (UTF-8) or bytes atomically; errors as in `atomic`."""
    with atomic(path, remedy) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def write_json(path: Path, value: Any, remedy: str = "") -> None:
    """Write `value` as indented JSON, atomically."""
    atomic_write(path, json.dumps(value, indent=2, sort_keys=True) + "\n", remedy)


def check_writable(path: Path, remedy: str = "") -> None:
    """Raise the SRError that `atomic` would raise for an unwritable file, ahead of the work; create nothing."""
    try:
        if os.path.isdir(path):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with suppress(FileNotFoundError):
            path.lstat()  # fails for too long a name and for a file where a folder is needed
        folder = next(folder for folder in path.absolute().parents if folder.exists())
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise cannot_write(path, error, remedy) from error


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Yield a new folder that replaces `folder` when the block succeeds and is deleted when it fails; errors as in `atomic`.

    What a killed process left beside it is removed.
    """
    prefix = f".{folder.name}.part-"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        for partial in folder.parent.glob(f"{prefix}*"):
            shutil.rmtree(partial)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=prefix) as temporary:
            fresh = Path(temporary) / "new"
            fresh.mkdir()
            yield fresh
            if folder.exists():
                folder.rename(Path(temporary) / "old")
            fresh.rename(folder)
    except OSError as error:
        if error.errno is None:
            raise
        raise cannot_write(folder, error) from error


@contextmanager
def locked(folder: Path, remedy: str, busy: str = "") -> Iterator[None]:
    """Lock a folder across processes, creating it; partial files and folders of a killed process are removed.

    busy: what to say where another process has the lock, at once; without it its end is awaited. Raises SRError with it, and one
    ending in `remedy` if the folder cannot be written.
    """
    lock = FileLock(folder / ".lock", timeout=0 if busy else -1)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise SRError(busy) from None
    except OSError as error:
        raise cannot_write(folder, error, remedy) from error
    try:
        for partial in folder.glob(".*.part"):
            shutil.rmtree(partial) if partial.is_dir() else partial.unlink()
        yield
    finally:
        lock.release()


def file_hashes(files: Sequence[Path], *, refresh: bool = False) -> list[str]:
    """Return the sha256 of each file, recomputed only after its size, times or inode changed.

    The change time cannot be set by hand, so that contents replaced under an old modification time are noticed.
    refresh: recompute all. The cache folder has one small JSON per folder of files; one that cannot be written gives a
    warning. Raises SRError for a file that cannot be read.
    """
    caches, changed, hashes = {}, set(), []
    for file in files:
        folder = Path(file).parent.resolve()
        if folder not in caches:
            caches[folder] = _load_cache(folder)
        known, _, digest = str(caches[folder].get(file.name)).rpartition(" ")
        try:
            if refresh or known != _state(file):
                while 0 <= time.time_ns() - os.stat(file).st_ctime_ns < CLOCK_TICK:
                    time.sleep(CLOCK_TICK / 1e9)  # a change after the hash must show in the state
                known, digest = _state(file), sha256(file)
                caches[folder][file.name] = f"{known} {digest}"
                changed.add(folder)
        except OSError as error:
            raise SRError(f"cannot read {file}: {error.strerror}") from error
        hashes.append(digest)
    for folder in changed:
        _save_cache(folder, caches[folder])
    return hashes


def _state(file: Path) -> str:
    """Return size, modification time, change time and inode."""
    stat = os.stat(file)
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}"


def sha256(file: Path) -> str:
    """Return the sha256 of a file's content as a hexadecimal string."""
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def git_blob(file: Path) -> str:
    """Return the id that git gives a file's content: the SHA-1 of its type and size and of the content."""
    digest = hashlib.sha1(b"blob %d\0" % os.stat(file).st_size)
    with open(file, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _cache_file(folder: Path) -> Path:
    name = hashlib.sha256(str(folder).encode(errors="surrogateescape")).hexdigest()[:24]
    return paths.cache_dir() / "hashes" / f"{name}.json"


def _load_cache(folder: Path) -> dict:
    try:
        cache = json.loads(_cache_file(folder).read_text())
    except (OSError, ValueError):  # missing or damaged: hash again
        return {}
    return cache if isinstance(cache, dict) else {}


def _save_cache(folder: Path, cache: dict) -> None:
    try:
        atomic_write(_cache_file(folder), json.dumps(cache), CACHE_REMEDY)
    except SRError as error:
        warnings.warn(f"hashes of {folder} are not cached, the next start is slower: {error}", stacklevel=3)
