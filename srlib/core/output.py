"""Output that cannot abort the program: unencodable characters, closed pipes and full disks."""

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO


class Tolerant:
    """A text stream that escapes unencodable characters and goes silent after a broken pipe or a full disk."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        encoding = self._stream.encoding or "utf-8"
        self._attempt(self._stream.write, str.encode(text, encoding, "backslashreplace").decode(encoding))
        return len(text)

    def flush(self) -> None:
        self._attempt(self._stream.flush)

    def _attempt(self, call: Callable, *args: str) -> None:
        """Call; if that fails, redirect the rest to the null device, including what is still buffered."""
        try:
            call(*args)
        except OSError as error:
            with open(os.devnull, "w") as null, contextlib.suppress(io.UnsupportedOperation):  # a stream without a descriptor
                os.dup2(null.fileno(), self._stream.fileno())
            if not isinstance(error, BrokenPipeError) and self._stream is not sys.__stderr__:
                print(f"the rest is not printed: {error.strerror}", file=sys.stderr)


def _tolerant(stream: TextIO | None) -> TextIO:
    if stream is None:  # closed before the process began: `>&-`
        return open(os.devnull, "w")
    return stream if isinstance(stream, Tolerant) else Tolerant(stream)


def print_line(line: str, stream: TextIO | None = None) -> None:
    """Print a line and flush; standard output by default."""
    print(line, file=_tolerant(stream or sys.stdout), flush=True)


@contextlib.contextmanager
def tolerant() -> Iterator[None]:
    """Make standard output and standard error tolerant within the block."""
    out, err = _tolerant(sys.stdout), _tolerant(sys.stderr)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            yield
        finally:
            out.flush()
            err.flush()
