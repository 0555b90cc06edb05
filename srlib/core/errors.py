"""The one exception that a user can act on.

Raised with a message of one or two lines that names the argument, what it got, what was expected and
the remedy. The command line prints the message without a traceback; notebooks print it unchanged.
"""

import difflib
from collections.abc import Iterable, Sequence
from numbers import Integral

MOST_LISTED = 60  # names in an error


class SRError(ValueError):
    """An error in the input or the environment that the user can fix."""


def unknown(what: str, got: object, known: Iterable[str]) -> SRError:
    """Return the error for an unknown name: the name, the closest known one and all known ones, or of very many the closest."""
    known = sorted(known)
    matches = difflib.get_close_matches(str(got), known, n=1)
    hint = f" Did you mean {matches[0]!r}?" if matches else ""
    if len(known) > MOST_LISTED:
        closest = difflib.get_close_matches(str(got), known, n=5, cutoff=0.3) or known[:5]
        return SRError(f"unknown {what} {got!r}.{hint} Closest of {len(known)}: {', '.join(closest)}")
    return SRError(f"unknown {what} {got!r}.{hint} Known: {', '.join(known)}")


def failure(what: str, error: Exception) -> SRError:
    """Return the error for an exception of other people's code: its type and the first line of its message."""
    reason = next(iter(str(error).strip().splitlines()), "")
    return SRError(f"{what}: {type(error).__name__}{f': {reason}' if reason else ''}")


def batch_error(failures: Sequence[str], total: int, what: str) -> SRError:
    """Return the error of a batch that went on: the failure of its only item, else "2 of 5 `what`:" and a line each."""
    return SRError(failures[0] if total == 1 else "\n  ".join([f"{len(failures)} of {total} {what}:", *failures]))


def check_int(name: str, value: object, minimum: int) -> int:
    """Return an argument, numpy's integers included, as an int; SRError unless it is one of at least `minimum`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < minimum:
        raise SRError(f"{name}: got {value!r}, expected a whole number of at least {minimum}")
    return int(value)
