"""Files that appear whole or not at all, and hashes that are computed once per file."""

import errno
import hashlib
import json
import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from srlib import paths
from srlib.errors import SRError

FULL = (errno.ENOSPC, errno.EDQUOT)
CACHE_REMEDY = "set SRLIB_CACHE to a folder on another disk"


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
    temp = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
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


def file_hashes(files: Sequence[Path]) -> list[str]:
    """Return the sha256 of each file, computed again only when its size or modification time has changed.

    The hashes are remembered in the cache folder, one small JSON per folder of files. A cache that cannot be
    written costs time, not correctness, and gives a warning. Raises SRError for a file that cannot be read.
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
            stat = os.stat(file)
            if known is None or known[:2] != [stat.st_size, stat.st_mtime_ns]:
                known = [stat.st_size, stat.st_mtime_ns, sha256(file)]
                memories[folder][file.name] = known
                changed.add(folder)
        except OSError as error:
            raise SRError(f"cannot read {file}: {error.strerror}") from error
        hashes.append(known[2])
    for folder in changed:
        _remember(folder, memories[folder])
    return hashes


def sha256(file: Path) -> str:
    """Return the sha256 of a file's content, in hexadecimal."""
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _memory_file(folder: Path) -> Path:
    return paths.cache_dir() / "hashes" / f"{hashlib.sha256(str(folder).encode()).hexdigest()[:24]}.json"


def _recall(folder: Path) -> dict:
    try:
        memory = json.loads(_memory_file(folder).read_text())
    except (OSError, ValueError):  # none yet, or unreadable: hashing again is always right
        return {}
    items = memory.items() if isinstance(memory, dict) else ()
    return {name: known for name, known in items if isinstance(known, list) and len(known) == 3}


def _remember(folder: Path, memory: dict) -> None:
    try:
        with atomic(_memory_file(folder), CACHE_REMEDY) as temp:
            temp.write_text(json.dumps(memory))
    except SRError as error:
        warnings.warn(f"hashes of {folder} are not remembered, the next start is slower: {error}", stacklevel=3)
