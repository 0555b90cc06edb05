"""Tables of published numbers beside ours, and of claims with their verdicts; `draw.columns` and `draw.styling` format them."""

import math
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from srlib import papers
from srlib.core.errors import SRError, unknown
from srlib.draw.columns import METRICS
from srlib.papers.base import OFFICIAL
from srlib.reproduce.claims import Claim, format_difference, load_claims, published_differences

KEYS = ["dataset", "scale", "method"]


def comparison(
    published: pd.DataFrame,
    ours: pd.DataFrame,
    metric: str = "psnr",
    *,
    methods: Iterable[str] | None = None,
    labels: Mapping[str, str] | None = None,
    extra_metrics: Iterable[str] = (),
    wide: bool = False,
    run_only: bool = False,
) -> pd.DataFrame:
    """Return published, ours and difference (ours - published) per dataset, scale and method.

    published: rows of `papers.published`. ours: a row per image (and seed), averaged here. A number of one side alone is kept; a
    row of official weights has the method's published number. methods: which, in which order (default: as they come). labels:
    method -> its text. extra_metrics: of ours, in columns of their own. Sets with a number of ours come first, else in the
    paper's order. wide: a row per dataset and scale, the methods side by side (column pairs `(method, column)`); else the spread
    over seeds is added where a method has several. run_only: as in `run_beside`.
    Raises SRError for an unknown metric or method, and for a number that is published twice.
    """
    if metric not in METRICS:
        raise unknown("metric", metric, METRICS)
    theirs = _with_official(published[published["metric"] == metric], ours).rename(columns={"value": f"{metric}_published"})
    if theirs.duplicated(KEYS).any():
        first = theirs[theirs.duplicated(KEYS)].iloc[0]
        where = f"{first['method']} on {first['dataset']} x{first['scale']}"
        raise SRError(f"published has {where} twice; pass the rows of one table")
    known = list(dict.fromkeys([*theirs["method"], *ours.get("method", ())]))
    theirs = run_beside(theirs, ours) if run_only else theirs
    ours, left_out = _without_exact(ours, metric)
    seeds = pd.DataFrame(columns=[*KEYS, "seed", metric])
    if len(ours):
        seeds = ours.groupby([*KEYS, "seed"], sort=False, dropna=False)[metric].mean().reset_index()
    by_network = seeds.groupby(KEYS, sort=False)[metric]
    means = by_network.mean().astype(float).rename(f"{metric}_ours").reset_index()
    table = theirs[[*KEYS, f"{metric}_published"]].merge(means, on=KEYS, how="outer")
    table[f"{metric}_difference"] = table[f"{metric}_ours"] - table[f"{metric}_published"]
    if (by_network.count() > 1).any() and not wide:
        table = table.merge(by_network.std().rename(f"{metric}_spread").reset_index(), on=KEYS, how="left")
    for extra in extra_metrics if len(ours) else ():
        means_of_extra = ours.groupby(KEYS, sort=False)[extra].mean().rename(f"{extra}_ours").reset_index()
        table = table.merge(means_of_extra, on=KEYS, how="left")
    order = list(methods) if methods is not None else known
    for method in order:
        if method not in known:
            raise unknown("method", method, known)
    table = table[table["method"].isin(order)]
    scored = set(table.loc[table[f"{metric}_ours"].notna(), "dataset"])
    datasets = sorted(dict.fromkeys([*theirs["dataset"], *means["dataset"]]), key=lambda name: name not in scored)
    rank = {"dataset": datasets.index, "scale": int, "method": order.index}
    table = table.sort_values(KEYS, key=lambda column: column.map(rank[column.name]), ignore_index=True)
    table["method"] = table["method"].map(lambda name: (labels or {}).get(name, name))
    if run_only and table[f"{metric}_published"].isna().all():
        table = table.drop(columns=[f"{metric}_published", f"{metric}_difference"])
    table = _pivot_methods(table) if wide else table
    table.attrs["left_out"] = left_out
    return table


def run_beside(published: pd.DataFrame, ours: pd.DataFrame) -> pd.DataFrame:
    """Return the published numbers of the methods, sets and scales that were run: what a brief profile shows."""
    scored = pd.MultiIndex.from_frame(ours.reindex(columns=KEYS))
    return published[pd.MultiIndex.from_frame(published[KEYS]).isin(scored)]


def _with_official(published: pd.DataFrame, ours: pd.DataFrame) -> pd.DataFrame:
    """Repeat the published numbers of each method whose official weights were scored."""
    scored = [method for method in dict.fromkeys(ours.get("method", ())) if method.endswith(OFFICIAL)]
    rows = [published[published["method"] == method.removesuffix(OFFICIAL)].assign(method=method) for method in scored]
    return pd.concat([published, *rows], ignore_index=True)


def _without_exact(rows: pd.DataFrame, metric: str) -> tuple[pd.DataFrame, str]:
    """Return rows without the images that a method reproduces exactly (infinite PSNR), and a note on how many these are."""
    exact = rows[np.isinf(rows[metric].astype(float))] if metric in rows else rows[:0]
    if exact.empty:
        return rows, ""
    keys = ["dataset", "scale", "image"]
    rows = rows[~pd.MultiIndex.from_frame(rows[keys]).isin(pd.MultiIndex.from_frame(exact[keys]))]
    counts = exact.drop_duplicates(keys).groupby(["dataset", "scale"], sort=False).size()
    images = ", ".join(f"{count} of {dataset} ×{scale}" for (dataset, scale), count in counts.items())
    return rows, f"Left out of the means, as a method makes them exactly: {images}."


def _pivot_methods(table: pd.DataFrame) -> pd.DataFrame:
    index, values = KEYS[:2], [column for column in table.columns if column not in KEYS]
    pairs = [(method, value) for method in table["method"].unique() for value in values]
    rows = pd.MultiIndex.from_frame(table[index].drop_duplicates())
    wide = table.pivot(index=index, columns="method", values=values).swaplevel(axis=1).reindex(index=rows, columns=pairs)
    return wide.reset_index().set_axis(pd.MultiIndex.from_tuples([("", key) for key in index] + pairs), axis=1)


def by_method(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of `comparison` at one scale with a row per method and the sets side by side, as papers print it.

    Columns are pairs `(dataset, column)`, published and ours; rows and columns without a number are left out.
    """
    values = [column for column in table.columns if column.endswith(("_published", "_ours"))]
    pairs = [(dataset, value) for dataset in table["dataset"].unique() for value in values]
    wide = table.pivot(index="method", columns="dataset", values=values).swaplevel(axis=1)
    wide = wide.reindex(index=table["method"].unique(), columns=pairs).dropna(axis=0, how="all").dropna(axis=1, how="all")
    return wide.reset_index().set_axis(pd.MultiIndex.from_tuples([("", "method"), *wide.columns]), axis=1)


def paper_table(
    paper: str,
    table: str,
    ours: pd.DataFrame,
    methods: Iterable[str],
    scales: Iterable[int],
    labels: Mapping[str, str],
    metric: str = "psnr",
    extra_metrics: Iterable[str] = (),
    run_only: bool = False,
) -> pd.DataFrame:
    """Return one table of a paper beside ours (see `comparison`), of the methods and scales that either side has."""
    methods, scales = list(methods), list(scales)
    printed = papers.published(paper, table)
    printed, ours = (rows[rows["method"].isin(methods) & rows["scale"].isin(scales)] for rows in (printed, ours))
    available = {*printed.loc[printed["metric"] == metric, "method"], *ours["method"]}
    methods = [method for method in methods if method in available]
    options = {"methods": methods, "labels": labels, "extra_metrics": extra_metrics, "run_only": run_only}
    return comparison(printed, ours, metric, **options)


def side_by_side(
    ours: pd.DataFrame,
    published: pd.DataFrame,
    metrics: Iterable[str],
    *,
    methods: Iterable[str],
    labels: Mapping[str, str],
    network_metrics: Iterable[str] = (),
    run_only: bool = False,
) -> pd.DataFrame:
    """Return a row per method: our numbers, and those of a paper on other sets in columns of their own, never subtracted.

    ours: a row per image (and seed), averaged here. published: rows of `papers.published`. metrics: of both, each where a side
    has it, in columns like "psnr_ours@City100-nikon/test ×1". network_metrics: of ours, of the network whatever the set. methods:
    in their order; those that neither side has are skipped. run_only: as in `run_beside`.
    """
    published = run_beside(published, ours) if run_only else published
    columns: dict[str, pd.Series] = {}
    left_out = []
    for metric in metrics:
        for kind, rows, value in (("ours", ours, metric), ("published", published[published["metric"] == metric], "value")):
            if value not in rows.columns:
                continue
            if kind == "ours":
                rows, note = _without_exact(rows, metric)
                left_out += [note] if note else []
            for (dataset, scale), block in rows.groupby(["dataset", "scale"], sort=False):
                seeds = block.groupby(["method", *(["seed"] if "seed" in block else [])])[value].mean().groupby("method")
                where = f"{dataset} ×{scale}".removeprefix("- ")  # "-": of a network, not of a set
                columns[f"{metric}_{kind}@{where}"] = seeds.mean()
                if (seeds.count() > 1).any():
                    columns[f"{metric}_spread@{where}"] = seeds.std()
    known = {method for column in columns.values() for method in column.index}
    index = [method for method in methods if method in known]
    table = pd.DataFrame({"method": [labels.get(method, method) for method in index]}, index=index)
    if measured := [metric for metric in network_metrics if metric in ours.columns]:
        table = table.join(ours.groupby("method")[measured].mean())
    table = table.join(pd.DataFrame(columns)).reset_index(drop=True)
    table.attrs["left_out"] = " ".join(left_out)
    return table


def _signed(metric: str, difference: float) -> str:
    return format_difference(metric, difference).replace("-", "−")


def _published_cell(claim: Claim) -> str | None:
    """Return the published difference that supports the claim least, and how many contradict it; None where none is published."""
    differences = list(published_differences(claim, papers.published(claim.paper)).values())
    if not differences:
        return None
    least = _signed(claim.metric, min(differences, key=claim.slack))
    if contradicting := sum(map(claim.contradicted_by, differences)):
        return f"{least}, contradicted by {contradicting} of {len(differences)}"
    return f"{least}, least favourable of {len(differences)}" if len(differences) > 1 else least


def claims_table(evaluated: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `evaluate_claims` for readers: verdict, claim, source, published difference, kind, our difference,
    interval, images, seeds, detail; untested claims last.
    """
    lines, claims = [], {claim.id: claim for claim in load_claims()}
    for row in sorted(evaluated.to_dict("records"), key=lambda row: row["verdict"] == "not tested"):
        claim, tested = claims[row["id"]], not math.isnan(row["estimate"])
        low, difference, high = (_signed(row["metric"], row[key]) for key in ("low", "estimate", "high"))
        lines.append(
            {"verdict": row["verdict"], "claim": row["text"], "source": row["source"], "published": _published_cell(claim)}
            | {"kind": claim.kind, "difference": difference if tested else None}
            | {"interval (95 %)": f"{low} to {high}" if row["low"] < row["high"] else None}
            | {"images": row["n_images"] or None, "seeds": row["n_seeds"] or None, "detail": row["detail"] if tested else None}
        )
    return pd.DataFrame(lines).astype(object)
