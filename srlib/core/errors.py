"""The one exception that a user can act on.

Raised with a message of one or two lines that names the argument, what it got, what was expected and
the remedy. The command line prints the message without a traceback; notebooks show it as it is.
"""

import difflib
from collections.abc import Iterable


class SRError(ValueError):
    """A mistake in the input or the environment that the user can mend."""


def unknown(what: str, got: object, known: Iterable[str]) -> SRError:
    """Return the error for a misspelt name: what it was, what is known, and the nearest match."""
    known = sorted(known)
    near = difflib.get_close_matches(str(got), known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return SRError(f"unknown {what} {got!r}.{hint} Known: {', '.join(known)}")
