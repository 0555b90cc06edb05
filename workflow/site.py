"""Build the site of a profile: python workflow/site.py [--profile released] [--folder site]

It holds the explorers as pages without a kernel, and the notebooks that `make reproduce PROFILE=...` has executed.
"""

import argparse
import sys
from pathlib import Path

from srlib.core import paths
from srlib.core.errors import SRError
from srlib.papers import profiles
from srlib.reproduce import site


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", choices=profiles.PROFILES, default="released", help="whose networks (default: released)")
    parser.add_argument("--folder", type=Path, help="where to (default: site/)")
    options = parser.parse_args(arguments)
    try:
        folder = options.folder or paths.home() / "site"
        explorers, notebooks = site.build(options.profile, folder)
    except SRError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for explorer in explorers:
        print(f"{explorer.bytes / 1e6:5.1f} MB  {explorer.link}")
    print(f"{notebooks} executed notebooks of profile {options.profile}")
    print(f"Open {folder / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
