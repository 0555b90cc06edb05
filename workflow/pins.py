"""Write constraints.txt: the installed versions of all that pyproject.toml asks for and what that needs in turn (make pins).

Run it after `pip install --upgrade` in the environment of `make setup`, and run the tests before committing.
"""

import re
import sys
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
UNPINNED = "spandrel"  # an extra that no command of ours installs: it brings torchvision
GPU = re.compile(r"nvidia-|cuda-|triton")  # torch asks for exact versions of these on machines with a GPU
HEADER = "# The exact versions that `make setup` installs on Linux with Python 3.11; written by `make pins`.\n"


def requirements() -> list[Requirement]:
    """Return what pyproject.toml asks for, with all its extras but `UNPINNED`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [lines for name, lines in project["optional-dependencies"].items() if name != UNPINNED]
    return [Requirement(line) for line in (*project["dependencies"], *sum(extras, []))]


def resolve(wanted: Iterable[Requirement]) -> dict[str, str]:
    """Return the names and installed versions of packages and of all that they need here, without local parts as +cpu.

    Raises PackageNotFoundError for one that is not installed.
    """
    versions, seen = {}, set()
    waiting = [(requirement.name, extra) for requirement in wanted for extra in ("", *requirement.extras)]
    while waiting:
        name, extra = waiting.pop()
        if (canonicalize_name(name), extra) in seen:
            continue
        seen.add((canonicalize_name(name), extra))
        package = metadata.distribution(name)
        versions[package.metadata["Name"]] = package.version.partition("+")[0]
        for needed in map(Requirement, package.requires or []):
            if not GPU.match(needed.name) and (needed.marker is None or needed.marker.evaluate({"extra": extra})):
                waiting += [(needed.name, each) for each in ("", *needed.extras)]
    return versions


def main() -> int:
    try:
        versions = resolve(requirements())
    except metadata.PackageNotFoundError as error:
        print(f"error: {error.name} is not installed; run make setup first", file=sys.stderr)
        return 2
    lines = [f"{name}=={versions[name]}\n" for name in sorted(versions, key=canonicalize_name)]
    (ROOT / "constraints.txt").write_text(HEADER + "".join(lines))
    print(f"constraints.txt: {len(lines)} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
