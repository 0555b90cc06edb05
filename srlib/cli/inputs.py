"""Which pictures a user's inputs name, and where their results go: files, folders and patterns."""

import fnmatch
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from srlib.core.errors import SRError
from srlib.data.images import SUFFIXES, WRITERS, list_images, natural

WILD = re.compile(r"[*?[]")
SHOWN = 3  # names of skipped files


def is_glob(given: str) -> bool:
    """Whether an input is a pattern, and not a file or folder of that very name."""
    return WILD.search(given) is not None and not os.path.exists(given)


def _subfolders(folder: Path, failures: list[str]) -> Iterator[Path]:
    """Yield a folder and all below it, each once: links are followed, but not to where the way has been."""

    def unreadable(error: OSError) -> None:
        failures.append(f"folder {error.filename}: cannot be read: {error.strerror}")

    seen = set()
    for place, names, _ in os.walk(folder, onerror=unreadable, followlinks=True):
        stat = os.stat(place)
        if (stat.st_dev, stat.st_ino) in seen:
            names.clear()
            continue
        seen.add((stat.st_dev, stat.st_ino))
        names[:] = sorted(name for name in names if not name.startswith("."))
        yield Path(place)


def _matching(folder: Path, parts: Sequence[str], failures: list[str]) -> Iterator[Path]:
    """Yield what the parts of a pattern name in a folder. Brackets stand for themselves where a name has them."""
    if not parts:
        yield folder
    elif parts[0] == "**":
        for place in _subfolders(folder, failures) if folder.is_dir() else ():
            yield from _matching(place, parts[1:] or ["*"], failures)
    elif not WILD.search(parts[0]):
        if os.path.lexists(folder / parts[0]):
            yield from _matching(folder / parts[0], parts[1:], failures)
    else:
        try:
            names = sorted(os.listdir(folder))
        except NotADirectoryError:
            return
        except OSError as error:
            failures.append(f"folder {folder}: cannot be read: {error.strerror}")
            return
        names = [name for name in names if parts[0].startswith(".") or not name.startswith(".")]
        literal = fnmatch.filter(names, parts[0].replace("[", "[[]"))
        for name in literal or fnmatch.filter(names, parts[0]):
            yield from _matching(folder / name, parts[1:], failures)


def expand(pattern: str, failures: list[str]) -> list[Path]:
    """Return the files that a pattern names, in natural order: `*`, `?` and `[...]` as in a shell, `**` for folders at any depth.

    failures: gets a line for each folder that cannot be read.
    """
    path = Path(pattern)
    parts = [part for part, before in zip(path.parts, ("", *path.parts), strict=False) if not part == before == "**"]
    start = Path(path.anchor) if path.anchor else Path()
    matches = dict.fromkeys(_matching(start, parts[1:] if path.anchor else parts, failures))
    return sorted((path for path in matches if path.is_file()), key=lambda path: natural(str(path)))


def find(given: str, ending: str, notes: list[str] | None = None, failures: list[str] | None = None) -> list[Path]:
    """Return the pictures that an input names: the file itself, or those in a folder or of a pattern, in natural order.

    Of folders and patterns, files with that ending are left out: an earlier call made them. notes: gets a line about files of
    other kinds. failures: see `expand`. Raises SRError where no picture is left.
    """
    notes, failures = [] if notes is None else notes, [] if failures is None else failures
    if is_glob(given):
        files = expand(given, failures)
        pictures = [path for path in files if path.suffix.lower() in SUFFIXES]
    elif os.path.isdir(given):  # unlike Path, also where a name is too long
        pictures = list_images(given)
        files = [path for path in Path(given).iterdir() if path.is_file() and not path.name.startswith(".")]
    else:
        return [Path(given)]
    others = sorted({path.name for path in files} - {path.name for path in pictures}, key=natural)
    pictures = [path for path in pictures if not path.name.endswith(ending)]
    if not pictures:
        raise SRError(f"image {given}: names no image to upscale; expected files that end in {', '.join(SUFFIXES)}")
    if others:
        more = ", ..." if len(others) > SHOWN else ""
        count = f"{len(others)} file{'s' if len(others) > 1 else ''} of other kinds"
        notes.append(f"{given}: leaves out {count}: {', '.join(others[:SHOWN])}{more}")
    return pictures


def _is_folder(inputs: Sequence[str], output: Path) -> bool:
    """Whether the output is a folder, and not a file; raises SRError where it can be neither."""
    if len(inputs) > 1 or is_glob(inputs[0]) or os.path.isdir(inputs[0]):
        if output.is_file() or output.suffix.lower() in WRITERS:
            raise SRError(f"output (={output}) must be a folder, as there may be several images; give another name")
        return True
    if output.is_dir():
        return True
    if output.suffix.lower() not in WRITERS:
        raise SRError(f"output (={output}) must end in one of {', '.join(WRITERS)}, or be a folder that exists")
    return False


def plan(
    inputs: Sequence[str], output: Path | None, ending: str, notes: list[str] | None = None
) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Return the (picture, output) to work on, each picture once, and what is wrong with the other inputs.

    output: a folder for several pictures, a file for one, None for beside each picture; names in a folder are those of the
    pictures with `ending` in place of their suffix. notes: see `find`. Raises SRError for an output that does not fit the inputs.
    """
    folder = output is not None and _is_folder(inputs, output)
    jobs, failures, seen, taken = [], [], set(), {}
    for given in inputs:
        try:
            sources = find(given, ending, notes, failures)
        except SRError as error:
            failures.append(str(error))
            continue
        for source in (path for path in sources if path.resolve() not in seen):
            target = output if output and not folder else (output or source.parent) / f"{source.stem}{ending}"
            seen.add(source.resolve())
            first = taken.setdefault(target.resolve(), source)
            if first is source:
                jobs.append((source, target))
            else:
                failures.append(f"image {source}: {target} is the output of {first}; upscale it by itself with --output")
    return jobs, failures
