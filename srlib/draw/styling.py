"""Tables for readers: Markdown, LaTeX and HTML of one table, formatted by the names of its columns (`columns`).

Best values are bold, second best underlined, among the methods of one dataset and scale; values that are printed alike share a
mark. In a table of methods side by side a column is a pair `(method, column)`, and methods are compared within a row; in one of
sets side by side, a pair `(dataset, column)`, they are compared within a column.
"""

import html
import re
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import HTML
from pandas.io.formats.style import Styler

from srlib.core.errors import SRError
from srlib.draw.columns import METRICS, column_name, format_value, header, parse_column, round_as_printed, with_unit, write_files

_LATEX = str.maketrans(
    {c: f"\\{c}" for c in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$", "|": "$|$"}
    | {"×": r"$\times$", "±": r"$\pm$", "−": "$-$", "—": "---", "–": "--", "≥": r"$\geq$", "≤": r"$\leq$", "≈": r"$\approx$"}
)
_LONG = 40  # characters, above which a LaTeX column wraps


def _printed(table: pd.DataFrame, escape: Callable[[str], str]) -> pd.DataFrame:
    """Return the cells as escaped text under their headers; of methods side by side "METHOD, METRIC (UNIT)" above the kind."""
    printed = pd.DataFrame(
        {c: [escape(format_value(column_name(c), value)) for value in table[c]] for c in table.columns}, dtype=object
    )
    if not isinstance(table.columns, pd.MultiIndex):
        return printed.set_axis([escape(header(column)) for column in table.columns], axis=1)
    heads = []
    for method, column in table.columns:
        metric, kind = parse_column(column)
        heads.append((escape(f"{method}, {with_unit(metric)}" if metric else method), escape(kind or header(column))))
    return printed.set_axis(pd.MultiIndex.from_tuples(heads), axis=1)


def _marks(table: pd.DataFrame) -> np.ndarray:
    """Return "best", "second" or "" for each cell."""
    marks = pd.DataFrame("", index=table.index, columns=table.columns)
    ranked: dict[str, list] = {}  # columns that are compared, by their name
    for column in table.columns:
        metric, kind = parse_column(column_name(column))
        if metric and kind in ("", "published", "ours") and METRICS[metric].higher_is_better is not None:
            ranked.setdefault(column_name(column), []).append(column)
    keys = [table[key] for key in ("dataset", "scale") if key in table.columns]
    methods_beside = isinstance(table.columns, pd.MultiIndex) and ("", "method") not in table.columns
    for name, columns in ranked.items():
        values = table[columns].map(lambda value, name=name: np.nan if pd.isna(value) else round_as_printed(name, value))
        values = values.astype(float)
        order = {"method": "dense", "ascending": not METRICS[parse_column(name)[0]].higher_is_better}
        if methods_beside:
            ranks, counts = values.rank(axis=1, **order), pd.DataFrame({c: values.nunique(axis=1) for c in columns})
        else:
            groups = values.groupby(keys or [0] * len(values), dropna=False)
            ranks, counts = groups.rank(**order), groups.transform("nunique")
        best, second = (ranks == 1) & (counts > 1), (ranks == 2) & (counts > 2)
        marks[columns] = np.select([best, second], ["best", "second"], "")
    return marks.to_numpy()


def _is_numeric(column: str | tuple[str, str]) -> bool:
    return bool(parse_column(column_name(column))[0]) or column_name(column) in ("scale", "images", "seeds")


def _escape_markdown(value: str) -> str:
    return value.replace("<", "&lt;").replace("|", "\\|").replace("\n", " ")


def markdown(table: pd.DataFrame, caption: str) -> str:
    """Return a table in GitHub's Markdown, its caption above it; tags are escaped, as they would not be shown."""
    styles = {"best": "**{}**", "second": "<u>{}</u>", "": "{}"}
    rows = [[_escape_markdown(header(c)) for c in table.columns], ["---:" if _is_numeric(c) else ":---" for c in table.columns]]
    for cells, marks in zip(_printed(table, _escape_markdown).to_numpy(), _marks(table), strict=True):
        rows.append([styles[mark].format(cell) for cell, mark in zip(cells, marks, strict=True)])
    return f"{caption.replace('<', '&lt;')}\n\n" + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _styler(printed: pd.DataFrame, marks: np.ndarray, best: str, second: str) -> Styler:
    css = {"best": best, "second": second, "": ""}
    return printed.style.hide(axis="index").apply(lambda _: np.vectorize(css.get)(marks), axis=None)


def _escape_latex(value: str) -> str:
    return value.translate(_LATEX)


def latex(table: pd.DataFrame, caption: str, label: str) -> str:
    """Return a table environment with booktabs rules; long text wraps, datasets are set apart, wide tables are set small."""
    printed, names = _printed(table, _escape_latex), [column_name(column) for column in table.columns]
    long = [bool(length > _LONG) for length in printed.map(len).max()]
    wrapped = rf"p{{{0.42 / max(sum(long), 1):.2g}\linewidth}}"
    kinds = ["r" if _is_numeric(c) else wrapped if wraps else "l" for c, wraps in zip(table.columns, long, strict=True)]
    if "dataset" in names:
        datasets = printed.iloc[:, names.index("dataset")]
        printed.iloc[:, 0] = (
            np.where(datasets != datasets.shift(fill_value=datasets[0]), "\\addlinespace\n", "") + printed.iloc[:, 0]
        )
    if isinstance(printed.columns, pd.MultiIndex):
        rules, end = "", 0
        for method, columns in groupby(printed.columns.get_level_values(0)):
            start, end = end + 1, end + len(list(columns))
            rules += rf"\cmidrule(lr){{{start}-{end}}}" if method else ""
        first, *others = printed.columns
        printed.columns = pd.MultiIndex.from_tuples([(first[0], f"{rules}\n{first[1]}"), *others])
    style = _styler(printed, _marks(table), "textbf:--rwrap;", "underline:--rwrap;")
    if len(kinds) > 7:
        small = {"footnotesize": "", "setlength": r"{\tabcolsep}{3pt}"}
        style = style.set_table_styles([{"selector": name, "props": [("", value)]} for name, value in small.items()])
    source = style.to_latex(
        column_format="".join(kinds),
        caption=_escape_latex(caption),
        label=f"tab:{label}",
        position_float="centering",
        multicol_align="c",
        hrules=True,
    )
    return f"% needs the package booktabs\n{source}"


def split_caption(caption: str) -> tuple[str, str]:
    """Return the first sentence, which says what a table shows, and the rest, which is unfolded."""
    first, *rest = re.split(r"(?<=\.)\s+(?=[A-Z])", caption, maxsplit=1)
    return first, "".join(rest)


def styled(table: pd.DataFrame, caption: str = "") -> HTML:
    """Return the table for a notebook, formatted and escaped, below its caption, whose first sentence unfolds the rest."""
    printed = _printed(table, html.escape)
    style = _styler(printed, _marks(table), "font-weight: bold", "text-decoration: underline")
    numeric = [head for head, column in zip(printed.columns, table.columns, strict=True) if _is_numeric(column)]
    style = style.set_properties(subset=numeric, **{"text-align": "right"}) if numeric else style
    first, rest = (html.escape(part, quote=False) for part in split_caption(caption))
    line = f"<details><summary>{first}</summary>{rest}</details>" if rest else f"<div>{first}</div>" if first else ""
    return HTML(f"{line}\n{style.to_html()}")


def save_table(table: pd.DataFrame, folder: Path, name: str, caption: str) -> list[Path]:
    """Write `name`.csv (all digits), .md and .tex, each atomically; return their paths.

    Raises SRError for an empty table, an empty caption, and a name that is no file name.
    """
    if table.empty:
        raise SRError(f"table {name!r} has no rows; evaluate something first")
    if not caption.strip():
        raise SRError(f"caption of table {name!r} is empty; say what it shows, with protocol, profile, budget and data")
    flat = table.set_axis([" ".join(filter(None, c)) if isinstance(c, tuple) else c for c in table.columns], axis=1)
    csv = flat.to_csv(index=False, float_format="%.8g")
    return write_files(folder, name, {"csv": csv, "md": markdown(table, caption), "tex": latex(table, caption, name)})
