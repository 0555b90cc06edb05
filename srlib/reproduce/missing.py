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

    also: methods that the paper does not print, which get a row for every set, if only for the note. The paper's number is
    noted as missing for these, and for a method that it prints elsewhere in the table.
    """
    unprinted = {name: [labels[row] for row in (name, name + OFFICIAL) if row in labels] for name in also}
    present, rows = set(table["method"]), []
    for (dataset, scale), block in table.groupby(["dataset", "scale"], sort=False):
        for own, *official in unprinted.values():
            if not {own, *official} & set(block["method"]):
                rows.append({"dataset": dataset, "scale": scale, "method": official[0] if present & {*official} else own})
    order = list(table["dataset"].unique())
    whole = pd.concat([table, pd.DataFrame(rows)], ignore_index=True) if rows else table.copy()
    whole = whole.sort_values("dataset", key=lambda column: column.map(order.index), kind="stable", ignore_index=True)

    printed = {*whole.loc[whole[f"{metric}_published"].notna(), "method"], *sum(unprinted.values(), [])}
    ours = whole[whole[f"{metric}_ours"].notna()]
    scored, public = set(zip(ours["method"], ours["scale"], strict=True)), set(known_sets())
    names = {label: name for name, label in labels.items()}

    def unscored(name: str, dataset: str, scale: int) -> str:
        official = paper.methods.get(name + OFFICIAL)
        if dataset not in public:
            return "images not public"
        if name not in paper.methods:
            return "no network here"
        if not paper.has(name, scale):
            return f"none for ×{scale} here"
        if (labels[name], scale) in scored:
            sets = paper.tests(name, profile)
            return "not scored here" if dataset in sets else f"scored on {', '.join(sets)} only"
        if paper.method(name).official:
            return "weights not fetched"
        if official is None or scale not in official.scales:
            return "not trained here, and its authors' weights were not seen"
        return "not trained here" + ("; published weights have a row" if (official.label, scale) in scored else "")

    def note(row: dict) -> str:
        ours = unscored(names[row["method"]], row["dataset"], row["scale"]) if pd.isna(row[f"{metric}_ours"]) else ""
        theirs = pd.isna(row[f"{metric}_published"]) and row["method"] in printed
        return "; ".join(filter(None, (ours, "the paper prints none" if theirs else "")))

    whole["note"] = [note(row) for row in whole.to_dict("records")]
    whole.attrs = table.attrs
    return whole
