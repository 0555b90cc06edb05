"""The source of functions and classes, to show in a notebook what it imports."""

import ast
import inspect
import textwrap

from IPython.display import Markdown


def source(*objects, docstring: bool = False) -> Markdown:
    """Return the source of functions, methods or classes as one block of code. docstring: keep their docstrings."""
    parts = []
    for thing in objects:
        text = textwrap.dedent(inspect.getsource(thing)).rstrip()
        if not docstring and thing.__doc__ and not inspect.isclass(thing):
            text = _without_docstring(text)
        parts.append(text)
    return Markdown("```python\n" + "\n\n\n".join(parts) + "\n```")


def _without_docstring(text: str) -> str:
    """Remove the docstring of a function's source."""
    first = ast.parse(text).body[0].body[0]
    lines = text.splitlines()
    return "\n".join(lines[: first.lineno - 1] + lines[first.end_lineno :])
