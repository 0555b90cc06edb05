"""Tables: published numbers beside ours, written as CSV, Markdown and LaTeX, and shown in notebooks.

A column's name decides its header, unit and decimals: `psnr`, `psnr_published`, `psnr_ours`, `psnr_difference`,
`psnr_spread` (standard deviation over seeds), and the same for every name in `METRICS`. Best values are bold, second best
underlined, among the methods of one dataset and scale; ties as printed are all marked.
"""

import html
import math
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from srlib.core.errors import SRError, unknown
from srlib.core.files import atomic_write
from srlib.core.protocols import Protocol
from srlib.draw.columns import METRICS, check_name, header, metric_of, rounded, text, with_unit
from srlib.nn import models
from srlib.papers import Paper
from srlib.papers.profiles import Profile
from srlib.reproduce import store
from srlib.reproduce.claims import NOISE, Claim, denies, distance, load_claims, printed, published, show
from srlib.train.run import total_steps

KEYS = ["dataset", "scale", "method"]


def comparison(
    published: pd.DataFrame,
    ours: pd.DataFrame,
    metric: str = "psnr",
    *,
    methods: Iterable[str] | None = None,
    labels: Mapping[str, str] | None = None,
    beside: Iterable[str] = (),
    wide: bool = False,
) -> pd.DataFrame:
    """Return published, ours and difference (ours - published) per dataset, scale and method.

    published: rows of `published()`. ours: a row per image (and seed), averaged here. What only one side has is kept, with
    a missing value on the other. methods: which, and in which order (default: as they come). labels: method -> its text.
    beside: further metrics of ours, in columns of their own. Sets with a number of ours come first, else in the paper's order.
    wide: a row per dataset and scale, the methods side by side (column pairs `(method, column)`); else a column of the spread
    over seeds is added where a method has several. Raises SRError for an unknown metric or method, and for numbers twice.
    """
    if metric not in METRICS:
        raise unknown("metric", metric, METRICS)
    theirs = published[published["metric"] == metric].rename(columns={"value": f"{metric}_published"})
    if theirs.duplicated(KEYS).any():
        first = theirs[theirs.duplicated(KEYS)].iloc[0]
        where = f"{first['method']} on {first['dataset']} x{first['scale']}"
        raise SRError(f"published has {where} twice; pass the rows of one table")
    ours, left_out = _without_exact(ours, metric)
    seeds = pd.DataFrame(columns=[*KEYS, "seed", metric])
    if len(ours):
        seeds = ours.groupby([*KEYS, "seed"], sort=False, dropna=False)[metric].mean().reset_index()
    grouped = seeds.groupby(KEYS, sort=False)[metric]
    mine = grouped.mean().rename(f"{metric}_ours").reset_index()
    table = theirs[[*KEYS, f"{metric}_published"]].merge(mine, on=KEYS, how="outer")
    table[f"{metric}_ours"] = table[f"{metric}_ours"].astype(float)
    table[f"{metric}_difference"] = table[f"{metric}_ours"] - table[f"{metric}_published"]
    if (grouped.count() > 1).any() and not wide:
        table = table.merge(grouped.std().rename(f"{metric}_spread").reset_index(), on=KEYS, how="left")
    for other in beside if len(ours) else ():
        more = ours.groupby(KEYS, sort=False)[other].mean().rename(f"{other}_ours").reset_index()
        table = table.merge(more, on=KEYS, how="left")
    found = list(dict.fromkeys([*theirs["method"], *mine["method"]]))
    order = list(methods) if methods is not None else found
    for method in order:
        if method not in found:
            raise unknown("method", method, found)
    table = table[table["method"].isin(order)]
    scored = set(table.loc[table[f"{metric}_ours"].notna(), "dataset"])
    datasets = sorted(dict.fromkeys([*theirs["dataset"], *mine["dataset"]]), key=lambda name: name not in scored)
    rank = {"dataset": datasets.index, "scale": int, "method": order.index}
    table = table.sort_values(KEYS, key=lambda column: column.map(rank[column.name]), ignore_index=True)
    table["method"] = table["method"].map(lambda name: (labels or {}).get(name, name))
    table = _side_by_side(table) if wide else table
    table.attrs["left_out"] = left_out
    return table


def _without_exact(rows: pd.DataFrame, metric: str) -> tuple[pd.DataFrame, str]:
    """Return rows without the images that some method makes exactly (infinite PSNR), and a note on how many these are."""
    exact = rows[np.isinf(rows[metric].astype(float))] if metric in rows else rows[:0]
    if exact.empty:
        return rows, ""
    where = ["dataset", "scale", "image"]
    rows = rows[~pd.MultiIndex.from_frame(rows[where]).isin(pd.MultiIndex.from_frame(exact[where]))]
    counts = exact.drop_duplicates(where).groupby(["dataset", "scale"], sort=False).size()
    images = ", ".join(f"{count} of {dataset} ×{scale}" for (dataset, scale), count in counts.items())
    return rows, f"Left out of the means, as a method makes them exactly: {images}."


def paper_table(
    paper: str,
    table: str,
    ours: pd.DataFrame,
    methods: Iterable[str],
    scales: Iterable[int],
    labels: Mapping[str, str],
    metric: str = "psnr",
    beside: Iterable[str] = (),
) -> pd.DataFrame:
    """Return one table of a paper beside ours (see `comparison`), of the methods and scales that either side has."""
    methods, scales = list(methods), list(scales)
    printed = published(paper, table)
    printed = printed[printed["method"].isin(methods) & printed["scale"].isin(scales)]
    ours = ours[ours["method"].isin(methods) & ours["scale"].isin(scales)]
    there = {*printed.loc[printed["metric"] == metric, "method"], *ours["method"]}
    kept = [method for method in methods if method in there]
    return comparison(printed, ours, metric, methods=kept, labels=labels, beside=beside)


def beside(
    ours: pd.DataFrame,
    published: pd.DataFrame,
    metrics: Iterable[str],
    *,
    methods: Iterable[str],
    labels: Mapping[str, str],
    extra: Iterable[str] = (),
) -> pd.DataFrame:
    """Return a row per method: our numbers, and those of a paper on other sets in columns of their own, never subtracted.

    ours: a row per image (and seed), averaged here. published: rows of `published()`. metrics: of both, each where a side has it.
    A column is named like "psnr_ours@City100-nikon/test ×1". extra: metrics of ours that belong to the network, not to a set.
    methods: in their order; those that neither side has are left out.
    """
    columns: dict[str, dict[str, float]] = {}
    left_out: list[str] = []
    for metric in metrics:
        for kind, rows, value in (("ours", ours, metric), ("published", published[published["metric"] == metric], "value")):
            if value not in rows.columns:
                continue
            if kind == "ours":
                rows, note = _without_exact(rows, metric)
                left_out += [note] if note else []
            for (dataset, scale), some in rows.groupby(["dataset", "scale"], sort=False):
                seeds = some.groupby(["method", *(["seed"] if "seed" in some else [])])[value].mean().groupby("method")
                where = f"{dataset} ×{scale}".removeprefix("- ")  # "-": of a network, not of a set
                columns[f"{metric}_{kind}@{where}"] = seeds.mean().to_dict()
                if (seeds.count() > 1).any():
                    columns[f"{metric}_spread@{where}"] = seeds.std().to_dict()
    found = {name for column in columns.values() for name in column}
    lines = []
    for name in (method for method in methods if method in found):
        about = {one: ours.loc[ours["method"] == name, one].mean() for one in extra if one in ours.columns}
        values = {column: found_there.get(name, math.nan) for column, found_there in columns.items()}
        lines.append({"method": labels.get(name, name), **about, **values})
    table = pd.DataFrame(lines)
    table.attrs["left_out"] = " ".join(left_out)
    return table


def _side_by_side(table: pd.DataFrame) -> pd.DataFrame:
    index, values = KEYS[:2], [column for column in table.columns if column not in KEYS]
    pairs = [(method, value) for method in table["method"].unique() for value in values]
    rows = table[index].drop_duplicates()
    out = table.pivot(index=index, columns="method", values=values).swaplevel(axis=1).reindex(columns=pairs)
    out = out.reindex(pd.MultiIndex.from_frame(rows)).reset_index()
    out.columns = pd.MultiIndex.from_tuples([("", key) for key in index] + pairs)
    return out


def _signed(metric: str, d: float) -> str:
    return show(metric, d).replace("-", "−")


def _in_print(claim: Claim) -> str | None:
    """Return what the paper's table has for a claim, by the cell that speaks least for it, and how many cells deny it."""
    found = list(printed(claim, published(claim.paper)).values())
    if not found:
        return None
    least = _signed(claim.metric, min(found, key=lambda d: distance(claim, d)))
    denied = sum(denies(claim, d) for d in found)
    if denied:
        return f"{least}, denied by {denied} of {len(found)}"
    return f"{least}, least of {len(found)}" if len(found) > 1 else least


def claims_table(evaluated: pd.DataFrame) -> pd.DataFrame:
    """Return what `evaluate_claims` found, for readers: verdict, claim, source, the difference that the source prints, kind,
    our difference, interval, images, seeds, detail.

    What is not tested comes last, else in the order given.
    """
    lines, per_set = [], (evaluated["dataset"] != "all").any()
    claims = {claim.id: claim for claim in load_claims()}
    rows = evaluated.to_dict("records")
    for row in sorted(rows, key=lambda row: row["verdict"] == "not tested"):
        tested = not math.isnan(row["estimate"])
        exact = row["low"] == row["high"]
        low, d, high = (_signed(row["metric"], row[key]) for key in ("low", "estimate", "high"))
        interval = f"{low} to {high}" if tested and not exact else None
        where = {"dataset": row["dataset"] or None, "scale": row["scale"]} if per_set else {}
        lines.append(
            {"verdict": row["verdict"], "claim": row["text"], "source": row["source"], **where}
            | ({} if per_set else {"published": _in_print(claims[row["id"]])})
            | {"kind": claims[row["id"]].kind}
            | {"difference": d if tested else None, "interval (95 %)": interval}
            | {"images": row["n_images"] or None, "seeds": row["n_seeds"] or None}
            | {"detail": row["detail"] if tested else None}
        )
    return pd.DataFrame(lines).astype(object)


def caption(what: str, by: Protocol | None, profile: Profile, *notes: str, table: pd.DataFrame | None = None) -> str:
    """Return a caption: what the table shows, the protocol (None: nothing was scored), profile, budget, data and notes.

    Data that differ from scale to scale are named with a star for the scale; empty notes are left out. table: what is captioned,
    for the protocol to tell only of the metrics in it (default: of all that it computes), and for what its means leave out.
    """
    data = profile.data.replace("{scale}", "*")
    shown = None if table is None else {metric_of(_name(column))[0] for column in table.columns}
    parts = [what, by.describe(shown) if by else "", f"Profile {profile.name}: {profile.budget}; training data {data}."]
    left_out = "" if table is None else table.attrs.get("left_out", "")
    return " ".join(part for part in (*parts, *notes, left_out) if part)


def seeds(rows: pd.DataFrame) -> str:
    """Return a note on how many seeds were scored, "Seeds: 2." or, where methods differ, "Seeds: 1 to 3."; "" if nothing was.

    rows: a row per image and seed; what is not trained has no seed and does not count.
    """
    counts = rows.groupby("method")["seed"].nunique() if len(rows) else pd.Series(dtype=int)
    counts = counts[counts > 0]
    if counts.empty:
        return ""
    return f"Seeds: {counts.min()}." if counts.min() == counts.max() else f"Seeds: {counts.min()} to {counts.max()}."


def note(paper: Paper, names: Iterable[str], scales: Iterable[int], profile: Profile, rows: pd.DataFrame) -> str:
    """Return a line to stand below a figure of scores: protocol, seeds, what another seed may change, and steps of training.

    rows: the scores that are drawn, a row per image and seed. Steps are those of all trainings that a network went through.
    """
    names = list(names)
    ready = [one for scale in scales for one in store.available(paper, names, scale, profile).values() if one.spent]
    steps = sorted(total_steps(one.training_budget) for one in ready if not models.fitted(one.experiment.model))
    counts = rows[rows["method"].isin(names)].groupby("method", sort=False)["seed"].nunique()
    counts = counts[counts > 0]
    parts = [f"protocol {paper.protocol}"]
    if len(counts) and counts.min() == 1:
        several = ", ".join(f"{paper.labels[name]}: {count}" for name, count in counts.items() if count > 1)
        noise = paper.noise.get("psnr", NOISE["psnr"])
        parts.append(f"one seed each{f' ({several})' if several else ''}, another may move a point by {noise:g} dB")
    elif len(counts):
        parts.append(f"{counts.min()} seeds" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()} seeds")
    if steps:
        parts.append(f"{steps[0]:,} steps each" if steps[0] == steps[-1] else f"{steps[0]:,} to {steps[-1]:,} steps")
    return "; ".join(parts)


def published_only(table: pd.DataFrame) -> bool:
    """Return whether a table, as its CSV has it, holds published numbers and none of ours."""
    kinds: dict[str, bool] = {}  # kind of a column -> whether it has a number
    for column in table.columns:
        name = column.partition("@")[0].rpartition(" ")[2]  # "BTSRN psnr_ours" of methods side by side
        metric, kind = metric_of(name)
        if metric:
            kinds[kind] = kinds.get(kind, False) or bool(table[column].notna().any())
    return kinds.get("published", False) and not (kinds.get("ours") or kinds.get(""))


def _name(column) -> str:
    return column[1] if isinstance(column, tuple) else column


def _marks(table: pd.DataFrame) -> pd.DataFrame:
    """Return a frame like `table` with "best", "second" or "" in each cell."""
    marks = pd.DataFrame("", index=table.index, columns=table.columns)
    columns = [c for c in table.columns if metric_of(_name(c))[1] in ("", "published", "ours")]
    columns = [c for c in columns if METRICS.get(metric_of(_name(c))[0], (None,) * 4)[3] is not None]
    if isinstance(table.columns, pd.MultiIndex):
        groups = [[(i, c) for c in columns if c[1] == name] for i in table.index for name in {c[1] for c in columns}]
    else:
        keys = [key for key in KEYS[:2] if key in table.columns]
        blocks = table.groupby(keys, sort=False, dropna=False).groups.values() if keys else [table.index]
        groups = [[(i, c) for i in block] for block in blocks for c in columns]
    for cells in groups:
        shown = {cell: rounded(_name(cell[1]), table.at[cell]) for cell in cells if not pd.isna(table.at[cell])}
        more_is_better = all(METRICS[metric_of(_name(c))[0]][3] for _, c in shown)
        values = sorted(set(shown.values()), reverse=more_is_better)
        for (i, c), value in shown.items():
            if value == values[0] and len(values) > 1:
                marks.at[i, c] = "best"
            elif len(values) > 2 and value == values[1]:
                marks.at[i, c] = "second"
    return marks


def _printed(table: pd.DataFrame) -> tuple[list[list[str]], list[list[str]]]:
    """Return the cells as text, row by row, and their marks."""
    marks = _marks(table)
    rows = [[text(_name(c), v) for c, v in zip(table.columns, row, strict=True)] for row in table.itertuples(index=False)]
    return rows, marks.to_numpy().tolist()


def _numeric(table: pd.DataFrame) -> list[bool]:
    return [bool(metric_of(_name(c))[0]) or _name(c) in ("scale", "images", "seeds") for c in table.columns]


def markdown(table: pd.DataFrame, caption: str) -> str:
    """Return a table in GitHub's Markdown, the caption above it; what looks like HTML is escaped, as it would vanish."""
    styles = {"best": "**{}**", "second": "<u>{}</u>", "": "{}"}
    heads = [_markdown_text(header(c)) for c in table.columns]
    rules = ["---:" if numeric else ":---" for numeric in _numeric(table)]
    cells = [
        [styles[m].format(_markdown_text(v)) for v, m in zip(row, marks, strict=True)]
        for row, marks in zip(*_printed(table), strict=True)
    ]
    lines = ["| " + " | ".join(line) + " |" for line in (heads, rules, *cells)]
    return f"{_escape_tags(caption)}\n\n" + "\n".join(lines) + "\n"


def _markdown_text(value: str) -> str:
    return _escape_tags(value).replace("|", "\\|").replace("\n", " ")


def _escape_tags(value: str) -> str:
    return value.replace("<", "&lt;")


_LATEX = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$", "|": "$|$"},
    **{"×": r"$\times$", "±": r"$\pm$", "−": "$-$", "—": "---", "–": "--", "≥": r"$\geq$", "≤": r"$\leq$", "≈": r"$\approx$"},
}


def _escape(value: str) -> str:
    return "".join(_LATEX.get(c, c) for c in value)


def _groups(table: pd.DataFrame) -> list[tuple[str, str, int]]:
    """Return neighbouring columns of one method and metric: its text, the metric, how many."""
    spans: list[tuple[str, str, int]] = []
    for top, name in table.columns:
        metric = metric_of(name)[0]
        if spans and spans[-1][:2] == (top, metric):
            spans[-1] = (top, metric, spans[-1][2] + 1)
        else:
            spans.append((top, metric, 1))
    return spans


def _latex_heads(table: pd.DataFrame) -> list[str]:
    if not isinstance(table.columns, pd.MultiIndex):
        return [" & ".join(_escape(header(c)) for c in table.columns) + r" \\"]
    tops, rules, start = [], [], 1
    for top, metric, width in _groups(table):
        title = f"{top}, {with_unit(metric)}" if metric else top
        tops.append(rf"\multicolumn{{{width}}}{{c}}{{{_escape(title)}}}")
        rules += [rf"\cmidrule(lr){{{start}-{start + width - 1}}}"] if top else []
        start += width
    heads = " & ".join(_escape(metric_of(name)[1] or header(name)) for _, name in table.columns)
    return [" & ".join(tops) + r" \\", "".join(rules), heads + r" \\"]


def latex(table: pd.DataFrame, caption: str, label: str) -> str:
    """Return a table environment with booktabs rules; long text wraps, datasets are set apart, wide tables are set small."""
    styles = {"best": r"\textbf{{{}}}", "second": r"\underline{{{}}}", "": "{}"}
    rows, marks = _printed(table)
    widest = [max((len(row[j]) for row in rows), default=0) for j in range(len(table.columns))]
    wrapped = rf"p{{{0.42 / max(sum(w > 40 for w in widest), 1):.2g}\linewidth}}"
    kinds = ["r" if n else wrapped if w > 40 else "l" for n, w in zip(_numeric(table), widest, strict=True)]
    body, before = [], None
    names = [_name(c) for c in table.columns]
    for row, mark in zip(rows, marks, strict=True):
        first = row[names.index("dataset")] if "dataset" in names else None
        if before is not None and first != before:
            body.append(r"\addlinespace")
        before = first
        body.append(" & ".join(styles[m].format(_escape(v)) for v, m in zip(row, mark, strict=True)) + r" \\")
    small = [r"\footnotesize", r"\setlength{\tabcolsep}{3pt}"] if len(kinds) > 7 else []
    lines = ["% needs the package booktabs", r"\begin{table}", r"\centering", *small, rf"\caption{{{_escape(caption)}}}"]
    lines += [rf"\label{{tab:{label}}}", rf"\begin{{tabular}}{{{''.join(kinds)}}}", r"\toprule"]
    lines += [*_latex_heads(table), r"\midrule"]
    return "\n".join([*lines, *body, r"\bottomrule", r"\end{tabular}", r"\end{table}"]) + "\n"


def save_table(table: pd.DataFrame, folder: Path, name: str, caption: str) -> list[Path]:
    """Write `name`.csv (all digits), .md and .tex, each whole or not at all; return their paths.

    Raises SRError for an empty table, a caption that says nothing, and a name that is no file name.
    """
    if table.empty:
        raise SRError(f"table {name!r} has no rows; evaluate something first")
    if not caption.strip():
        raise SRError(f"caption of table {name!r} is empty; say what it shows, with protocol, profile, budget and data")
    check_name(name)
    flat = table.copy()
    flat.columns = [" ".join(filter(None, c)) if isinstance(c, tuple) else c for c in table.columns]
    contents = {
        "csv": flat.to_csv(index=False, float_format="%.8g"),
        "md": markdown(table, caption),
        "tex": latex(table, caption, name),
    }
    files = [Path(folder) / f"{name}.{suffix}" for suffix in contents]
    for file, content in zip(files, contents.values(), strict=True):
        atomic_write(file, content)
    return files


def styled(table: pd.DataFrame, caption: str = "") -> Styler:
    """Return the table for a notebook: formatted, best bold, second best underlined, headers with units."""
    css = {"best": "font-weight: bold", "second": "text-decoration: underline", "": ""}
    marks = _marks(table)
    style = table.style.format({c: partial(text, _name(c)) for c in table.columns}, escape="html").hide(axis="index")
    style = style.apply(lambda _: marks.map(css.get), axis=None)
    if isinstance(table.columns, pd.MultiIndex):
        style = style.format_index(axis=1, level=0, escape="html")
        style = style.format_index(lambda name: header(name) if name else "", axis=1, level=1, escape="html")
    else:
        style = style.format_index(header, axis=1, escape="html")
    numeric = [c for c, n in zip(table.columns, _numeric(table), strict=True) if n]
    style = style.set_properties(subset=numeric, **{"text-align": "right"}) if numeric else style
    return style.set_caption(html.escape(caption, quote=False)) if caption else style
