"""Files that appear whole or not at all, and hashes that are computed once per file."""

import errno
import hashlib
import json
import os
import tempfile
import time
import uuid
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from srlib.core import paths
from srlib.core.errors import SRError

FULL = (errno.ENOSPC, errno.EDQUOT)
CACHE_REMEDY = "set SRLIB_CACHE to a folder on another disk"
CLOCK_TICK = 20_000_000  # nanoseconds: file times of one tick of the system's clock are equal, and it ticks at least this often


def cannot_write(path: Path, error: OSError, remedy: str) -> SRError:
    """Return the error for a file that could not be written: what the system said and what to do."""
    reason = error.strerror or str(error)
    first = "free some space or " if error.errno in FULL else ""
    return SRError(f"cannot write {path}: {reason}. Nothing was left behind; {first}{remedy}")


@contextmanager
def atomic(path: Path, remedy: str = "choose another folder") -> Iterator[Path]:
    """Yield a temporary path beside `path` that takes its place when the block ends and vanishes when it fails.

    The folder is created. A failed write (full disk, read-only folder) raises SRError that ends in `remedy`; other
    exceptions of the block pass through.
    """
    path = Path(path)
    temp = path.with_name(f".{path.name[:40]}.{uuid.uuid4().hex}.part")  # shorter than any name that a file system forbids
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temp
        os.replace(temp, path)
    except OSError as error:
        if error.errno is None:  # not the file system: a network library's exception, for one
            raise
        raise cannot_write(path, error, remedy) from error
    finally:
        if temp.exists():
            temp.unlink()


def atomic_write(path: Path, data: str | bytes) -> None:
    """Write text (UTF-8) or bytes: the file is old or new, never half. Raises SRError where it cannot be written."""
    with atomic(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    atomic_write(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def check_writable(path: Path, remedy: str = "choose another folder") -> None:
    """Raise the SRError of `atomic` for a file that it could not write, before there is anything to write; create nothing."""
    path = Path(path)
    try:
        if os.path.isdir(path):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        try:
            path.lstat()  # also says that a name is too long, or that a file stands where a folder is needed
        except FileNotFoundError:
            pass
        folder = next(folder for folder in path.absolute().parents if folder.exists())
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise cannot_write(path, error, remedy) from error


@contextmanager
def locked(folder: Path, remedy: str) -> Iterator[None]:
    """Hold a folder for this process: others wait. It is created, and what a killed holder left unfinished is removed.

    Raises SRError that ends in `remedy` when the folder cannot be written.
    """
    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise cannot_write(folder, error, remedy) from error
    try:
        for part in folder.glob(".*.part"):
            part.unlink()
        yield
    finally:
        lock.release()


def file_hashes(files: Sequence[Path], *, again: bool = False) -> list[str]:
    """Return the sha256 of each file, computed again only when its size, times or inode have changed.

    The time of the last change of the inode cannot be set by hand, so that contents replaced under an old modification time are
    noticed. again: compute all of them. The hashes are remembered in the cache folder, one small JSON per folder of files. A
    cache that cannot be written costs time, not correctness, and gives a warning. Raises SRError for a file that cannot be read.
    """
    memories: dict[Path, dict] = {}
    changed = set()
    hashes = []
    for file in files:
        folder = Path(file).parent.resolve()
        if folder not in memories:
            memories[folder] = _recall(folder)
        known = memories[folder].get(file.name)
        try:
            identity = _identity(file)
            if again or known is None or known[:-1] != identity:
                known = [*_settled(file, identity), sha256(file)]
                memories[folder][file.name] = known
                changed.add(folder)
        except OSError as error:
            raise SRError(f"cannot read {file}: {error.strerror}") from error
        hashes.append(known[-1])
    for folder in changed:
        _remember(folder, memories[folder])
    return hashes


def _identity(file: Path) -> list[int]:
    """Return what changes when the contents do: size, modification time, change time, inode."""
    stat = os.stat(file)
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


def _settled(file: Path, identity: list[int]) -> list[int]:
    """Return the identity when a later change must show in it: not in the tick of the clock in which the file was changed."""
    while 0 <= time.time_ns() - identity[2] < CLOCK_TICK:
        time.sleep(CLOCK_TICK / 1e9)
        identity = _identity(file)
    return identity


def sha256(file: Path) -> str:
    """Return the sha256 of a file's content, in hexadecimal."""
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _memory_file(folder: Path) -> Path:
    name = hashlib.sha256(str(folder).encode(errors="surrogateescape")).hexdigest()[:24]
    return paths.cache_dir() / "hashes" / f"{name}.json"


def _recall(folder: Path) -> dict:
    try:
        memory = json.loads(_memory_file(folder).read_text())
    except (OSError, ValueError):  # none yet, or unreadable: hashing again is always right
        return {}
    items = memory.items() if isinstance(memory, dict) else ()
    return {name: known for name, known in items if isinstance(known, list) and len(known) == 5}


def _remember(folder: Path, memory: dict) -> None:
    try:
        with atomic(_memory_file(folder), CACHE_REMEDY) as temp:
            temp.write_text(json.dumps(memory))
    except SRError as error:
        warnings.warn(f"hashes of {folder} are not remembered, the next start is slower: {error}", stacklevel=3)
