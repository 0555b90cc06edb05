"""Readers for weights of other frameworks, a file for each format.

Each has `read(path)`, which needs none of these frameworks and never runs code of a file: it returns the arrays by name, as they
are stored, and raises SRError for a file that is damaged or of another format.
"""

from pathlib import Path

import numpy as np

from srlib.core.errors import SRError

Arrays = dict[str, np.ndarray]


def refuse(path: Path, what: str, why: object) -> SRError:
    """Return the error for a file that is not what it should be."""
    return SRError(f"{path.name} is damaged or no {what}: {why}; fetch it again (python -m srlib data --official)")
