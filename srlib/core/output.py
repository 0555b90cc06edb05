"""Printing that never stops the work that prints: names that the terminal cannot show, readers that go away."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO


class Tolerant:
    """A text stream that escapes what its encoding lacks, and prints nothing more once its reader is gone or its disk is full."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            try:
                return self._stream.write(text)
            except UnicodeEncodeError:
                encoding = self._stream.encoding
                return self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        except OSError as error:
            self._end(error)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._end(error)

    def _end(self, error: OSError) -> None:
        """Lead what is still to be printed nowhere, also what the stream holds back until the process ends."""
        with open(os.devnull, "w") as nowhere, contextlib.suppress(io.UnsupportedOperation):  # a stream without a descriptor
            os.dup2(nowhere.fileno(), self._stream.fileno())
        if not isinstance(error, BrokenPipeError) and self._stream is not sys.__stderr__:
            print(f"the rest is not printed: {error.strerror}", file=sys.stderr)


def _tolerant(stream: TextIO | None) -> TextIO:
    if stream is None:  # closed before the process began: `>&-`
        return open(os.devnull, "w")
    return stream if isinstance(stream, Tolerant) else Tolerant(stream)


def say(line: str, stream: TextIO | None = None) -> None:
    """Print a line at once, by default on standard output."""
    print(line, file=_tolerant(stream or sys.stdout), flush=True)


@contextlib.contextmanager
def tolerant() -> Iterator[None]:
    """Have all that is printed in the block, on standard output and standard error, never stop it."""
    out, err = _tolerant(sys.stdout), _tolerant(sys.stderr)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            yield
        finally:
            out.flush()
            err.flush()
