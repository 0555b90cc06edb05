"""Code that a notebook or script depends on: the modules of srlib that it imports, directly or indirectly.

The workflow reruns a notebook when its `digest` changes: an edit reruns only the notebooks that import the module, and comments
and layout rerun none.
"""

import ast
import hashlib
import json
from functools import cache
from pathlib import Path

PACKAGE = "srlib"


def _parse(file: Path) -> ast.Module:
    """Return the syntax tree of a module, or of all code cells of a notebook."""
    if file.suffix != ".ipynb":
        return ast.parse(file.read_text(), str(file))
    from IPython.core.inputtransformer2 import TransformerManager  # only here: it turns magic commands into calls

    cells = [cell for cell in json.loads(file.read_text())["cells"] if cell["cell_type"] == "code"]
    return ast.parse("\n".join(TransformerManager().transform_cell("".join(cell["source"])) for cell in cells), str(file))


@cache
def _read(file: Path) -> tuple[frozenset[str], str]:
    """Return the dotted names that a file imports, anywhere in it, and its code without comments and layout."""
    tree, names = _parse(file), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(names), ast.dump(tree)


def _files(name: str, home: Path) -> list[Path]:
    """Return the files run by importing a dotted name: the module and its parent packages."""
    parts = name.split(".")
    if parts[0] != PACKAGE:
        return []
    stems = [home.joinpath(*parts[:end]) for end in range(1, len(parts) + 1)]
    return [file for stem in stems for file in (stem / "__init__.py", stem.with_suffix(".py")) if file.is_file()]


def used(file: Path, home: Path) -> set[Path]:
    """Return the modules of `home`/srlib that a notebook or script imports, directly or through others."""
    modules, to_visit = set(), {file}
    while to_visit:
        new = {module for name in _read(to_visit.pop())[0] for module in _files(name, home)} - modules
        modules |= new
        to_visit |= new
    return modules


def digest(file: Path, home: Path) -> str:
    """Return a hash of the code of all modules that a notebook or script imports, without its own."""
    lines = (f"{module.relative_to(home)} {_read(module)[1]}\n" for module in sorted(used(file, home)))
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]
