"""`python -m srlib`: see `srlib.cli.main`."""

import sys

from srlib.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
