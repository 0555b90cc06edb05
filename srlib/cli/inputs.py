"""Which pictures a user's inputs name, and where their results go: files, folders and patterns."""

import fnmatch
import os
import re
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path

from srlib.core.errors import SRError
from srlib.data.images import SUFFIXES, WRITERS, list_images, natural

WILD = re.compile(r"[*?[]")
MAX_NAMED = 3  # skipped files


def is_glob(given: str) -> bool:
    """Whether an input is a pattern, and not a file or folder of that very name."""
    return WILD.search(given) is not None and not os.path.exists(given)


def _files(root: Path, depth: int | None, failures: list[str]) -> Iterator[Path]:
    """Yield the files up to `depth` folders below `root`; None: at any depth, each folder once, whatever links lead to it."""

    def unreadable(error: OSError) -> None:
        failures.append(f"folder {error.filename}: cannot be read: {error.strerror}")

    seen = set()
    for place, folders, names in os.walk(root, onerror=unreadable, followlinks=True):
        stat = os.stat(place)
        if depth is None and (stat.st_dev, stat.st_ino) in seen:
            folders.clear()
            continue
        seen.add((stat.st_dev, stat.st_ino))
        yield from (Path(place, name) for name in names)
        deepest = depth is not None and len(Path(place).relative_to(root).parts) == depth
        folders[:] = [] if deepest else sorted(name for name in folders if not name.startswith("."))


def _matches(names: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether the parts of a path fit those of a pattern; names with a leading dot need one in the pattern."""
    if not pattern or not names:
        return not pattern and not names
    if pattern[0] == "**":
        return any(_matches(names[i:], pattern[1:]) for i in range(len(names)))
    hidden = names[0].startswith(".") and not pattern[0].startswith(".")
    return not hidden and fnmatch.fnmatchcase(names[0], pattern[0]) and _matches(names[1:], pattern[1:])


def expand(pattern: str, failures: list[str]) -> list[Path]:
    """Return the files that a pattern names, in natural order: `*`, `?` and `[...]` as in a shell, `**` for folders at any depth.

    Brackets stand for themselves where names have them. Hidden folders are searched only if named before the first wildcard.
    failures: gets a line for each folder that cannot be read.
    """
    parts = Path(pattern).parts
    fixed = [*takewhile(lambda part: not WILD.search(part), parts)]
    root, wild = Path(*fixed), [*parts[len(fixed) :]]
    if wild[-1] == "**":
        wild.append("*")
    files = [*_files(root, None if "**" in wild else len(wild) - 1, failures)] if root.is_dir() else []
    for choice in ([part.replace("[", "[[]") for part in wild], wild):
        matches = [file for file in files if _matches(file.relative_to(root).parts, choice) and file.is_file()]
        if matches:
            return sorted(matches, key=lambda path: natural(str(path)))
    return []


def find(given: str, ending: str, notes: list[str], failures: list[str]) -> list[Path]:
    """Return the pictures that an input names: the file itself, or those in a folder or of a pattern, in natural order.

    Of folders and patterns, files with that ending are left out: an earlier call made them. notes: gets a line about files of
    other kinds. failures: see `expand`. Raises SRError where no picture is left.
    """
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
        raise SRError(f"image {given}: matches no image to upscale; expected files that end in {', '.join(SUFFIXES)}")
    if others:
        more = ", ..." if len(others) > MAX_NAMED else ""
        count = "1 file that is no image" if len(others) == 1 else f"{len(others)} files that are no images"
        notes.append(f"{given}: skips {count}: {', '.join(others[:MAX_NAMED])}{more}")
    return pictures


def _is_folder(inputs: Sequence[str], output: Path) -> bool:
    """Whether the output is a folder, and not a file; raises SRError where it can be neither."""
    if len(inputs) > 1 or is_glob(inputs[0]) or os.path.isdir(inputs[0]):
        if output.is_file() or output.suffix.lower() in WRITERS:
            raise SRError(f"output (={output}) must be a folder, as there may be several images; give another name")
        return True
    if not output.is_dir() and output.suffix.lower() not in WRITERS:
        raise SRError(f"output (={output}) must end in one of {', '.join(WRITERS)}, or be a folder that exists")
    return output.is_dir()


def plan(inputs: Sequence[str], output: Path | None, ending: str) -> tuple[list[tuple[Path, Path]], list[str], list[str]]:
    """Return the (picture, output) to work on, each picture once, what is wrong with the other inputs, and notes (see `find`).

    inputs: of a user, where "~" is the home folder, also in a pattern that was quoted.
    output: a folder for several pictures, a file for one, None for beside each picture; names in a folder are those of the
    pictures with `ending` in place of their suffix. Raises SRError for an output that does not fit the inputs.
    """
    inputs = [os.path.expanduser(given) for given in inputs]
    folder = output is not None and _is_folder(inputs, output)
    jobs, failures, notes, seen, taken = [], [], [], set(), {}
    for given in inputs:
        try:
            sources = sorted(find(given, ending, notes, failures), key=os.path.islink)  # a picture goes by its own name
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
    return jobs, failures, notes
