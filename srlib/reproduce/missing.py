"""Why a row of a paper's table lacks a number."""

from collections.abc import Iterable, Mapping

import pandas as pd

from srlib.data.sets import known_sets
from srlib.papers import Paper
from srlib.papers.base import OFFICIAL
from srlib.papers.profiles import Profile


def explain(
    table: pd.DataFrame,
    paper: Paper,
    profile: Profile,
    labels: Mapping[str, str],
    metric: str = "psnr",
    also: Iterable[str] = (),
) -> pd.DataFrame:
    """Return a table of `tables.paper_table` with a column `note`: why a row lacks our number, or the paper's.

    also: methods that the paper does not print, which get a row for each of its sets, if only for the note. The paper's number is
    noted as missing, on these sets, for such methods and for those that it prints elsewhere in the table. Of a brief
    profile, whose table has only what was run, the table itself.
    """
    if profile.brief:
        return table
    published, ours = f"{metric}_published", f"{metric}_ours"
    printed_sets = set(table.loc[table[published].notna(), "dataset"])
    unprinted = {name: [labels[row] for row in (name, name + OFFICIAL) if row in labels] for name in also}
    present, rows = set(table["method"]), []
    for (dataset, scale), block in table[table["dataset"].isin(printed_sets)].groupby(["dataset", "scale"], sort=False):
        for own, *official in unprinted.values():
            if not {own, *official} & set(block["method"]):
                rows.append({"dataset": dataset, "scale": scale, "method": official[0] if present & {*official} else own})
    order = list(table["dataset"].unique())
    whole = pd.concat([table, pd.DataFrame(rows)], ignore_index=True) if rows else table.copy()
    whole = whole.sort_values("dataset", key=lambda column: column.map(order.index), kind="stable", ignore_index=True)

    printed = {*whole.loc[whole[published].notna(), "method"], *sum(unprinted.values(), [])}
    with_ours = whole[whole[ours].notna()]
    scored, public = set(zip(with_ours["method"], with_ours["scale"], strict=True)), set(known_sets())
    names = {label: name for name, label in labels.items()}

    def unscored(name: str, dataset: str, scale: int) -> str:
        official = paper.methods.get(name + OFFICIAL)
        if dataset not in public:
            return "images not public"
        if name not in paper.methods:
            return "not implemented here"
        if not paper.has(name, scale):
            return f"none for ×{scale} here"
        if (labels[name], scale) in scored:
            sets = paper.tests(name, profile)
            return "not scored here" if dataset in sets else f"scored on {', '.join(sets)} only"
        if paper.method(name).official:
            return "weights not fetched"
        if official is None or scale not in official.scales:
            return "not trained here, and its authors' weights were not available"
        return "not trained here" + ("; published weights have a row" if (official.label, scale) in scored else "")

    def note(row: dict) -> str:
        reason = unscored(names[row["method"]], row["dataset"], row["scale"]) if pd.isna(row[ours]) else ""
        unprinted_here = pd.isna(row[published]) and row["method"] in printed and row["dataset"] in printed_sets
        return "; ".join(filter(None, (reason, "the paper prints none" if unprinted_here else "")))

    whole["note"] = [note(row) for row in whole.to_dict("records")]
    whole.attrs = table.attrs
    return whole
