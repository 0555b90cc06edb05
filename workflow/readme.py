"""Write what came out into README.md, from the committed tables of `figures/released/`: python workflow/readme.py [--check]

Between `<!-- NAME -->` and `<!-- end -->` stand the main table of each paper, the paper's number and ours, and how its claims
fared. With --check nothing is written, and the exit status is 1 where README differs from the tables.
"""

import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
# As in srlib.reproduce.verdicts and claims
WORDS = ("holds", "holds where tested", "contradicted", "not decidable at this budget", "not judged", "not tested")
KINDS = ("accuracy", "cost measured", "cost counted")
OLD = "inconclusive"  # in tables that were made before claims had kinds


@dataclass(frozen=True)
class Shown:
    """The part of a paper's tables that README shows. files: of its tables, without suffix. methods: columns, by their label, the
    paper's own last. same: whether paper and we score the same images."""

    files: tuple[str, ...]
    methods: tuple[str, ...]
    same: bool = True


SHOWN = {
    "difficulty_sr": Shown(
        ("table_1_x2", "table_1_x3", "table_1_x4"), ("Bicubic", "IDN", "IDN, same total steps (no routing)", "Difficulty-SR")
    ),
    "prosrn": Shown(("table_6_x2", "table_6_x4", "table_6_x8"), ("Bicubic", "A+", "VDSR", "LapSRN", "ProSRN (2x)")),
    "btsrn": Shown(("table_4",), ("Bicubic", "VDSR", "BTSRN")),
    "d2c_sr": Shown(("table_1",), (), same=False),
    "ddet": Shown(("table_1",), (), same=False),
}


def _number(value: float) -> str:
    return "-" if pd.isna(value) else f"{value:.2f}"


def _long(file: Path) -> pd.DataFrame:
    """Return a table of ours as rows of dataset, scale, method, published, ours."""
    table = pd.read_csv(file)
    if "method" in table:
        return table.rename(columns={"psnr_published": "published", "psnr_ours": "ours"})
    methods = dict.fromkeys(c.removesuffix(" psnr_ours") for c in table.columns if c.endswith(" psnr_ours"))
    parts = []
    for method in methods:
        values = {"published": table[f"{method} psnr_published"], "ours": table[f"{method} psnr_ours"]}
        parts.append(table[["dataset", "scale"]].assign(method=method, **values))
    return pd.concat(parts, ignore_index=True)


def _same_images(folder: Path, shown: Shown) -> list[str]:
    rows = pd.concat([_long(folder / f"{name}.csv") for name in shown.files if (folder / f"{name}.csv").exists()])
    heads = " | ".join(f"{m}: paper, ours" for m in shown.methods)
    lines = [f"| set | scale | {heads} |", "|---" * (2 + len(shown.methods)) + "|"]
    rows = rows[rows["method"].isin(shown.methods)]
    for (dataset, scale), some in rows.groupby(["dataset", "scale"], sort=False):
        found = some.set_index("method")
        if found["ours"].notna().sum() < 2:  # bicubic alone says nothing
            continue
        cells = []
        for method in shown.methods:
            theirs, ours = (_number(found[side].get(method, float("nan"))) for side in ("published", "ours"))
            own = method == shown.methods[-1] and ours != "-"
            cells.append("-" if theirs == ours == "-" else f"{theirs}, {f'**{ours}**' if own else ours}")
        lines.append(f"| {dataset} | x{scale} | " + " | ".join(cells) + " |")
    return lines


def _other_images(folder: Path, shown: Shown) -> list[str]:
    """The paper's columns stand beside ours, of other images; ± is over seeds."""
    table = pd.read_csv(folder / f"{shown.files[0]}.csv")
    ours = [c for c in table.columns if c.startswith("psnr_ours@")]
    theirs = [c for c in table.columns if c.startswith("psnr_published@")][:3]
    heads = [c.split("@")[1].replace(" ×1", "") + ", ours" for c in ours] + [c.split("@")[1] + ", paper" for c in theirs]
    lines = ["| method | parameters | " + " | ".join(heads) + " |", "|---" * (2 + len(heads)) + "|"]
    for row in table.to_dict("records"):
        if not any(pd.notna(row[c]) for c in ours):
            continue
        size = "-" if pd.isna(row["parameters"]) else f"{row['parameters']:,.0f}"
        spread = {c: row.get(c.replace("psnr_ours@", "psnr_spread@"), float("nan")) for c in ours}
        cells = [_number(row[c]) + (f" ± {spread[c]:.2f}" if pd.notna(spread[c]) else "") for c in ours]
        lines.append(f"| {row['method']} | {size} | " + " | ".join([*cells, *(_number(row[c]) for c in theirs)]) + " |")
    return lines


def _furthest(name: str, file: Path) -> list[str]:
    """Return a line on the network that stays furthest behind the paper; none where there is no table of gaps."""
    trained = pd.read_csv(file).dropna(subset="training_share") if file.exists() else pd.DataFrame()
    if trained.empty:
        return []
    one = trained.sort_values("gap").iloc[0]
    gap = f"{one['method']} x{one['scale']} on {one['dataset']}, {one['reached']:.2f} dB for {one['printed']:.2f}"
    part = f"{one['training_share']:.2g} % of its training under the profile paper"
    return ["", f"Furthest behind: {gap}, after {part} ([all gaps](figures/released/{name}/gaps.md))."]


def _fared(file: Path) -> str:
    """Return how many claims got which verdict, each kind of claim apart."""
    claims = pd.read_csv(file)
    if "kind" not in claims:
        return _counted(claims["verdict"])
    return "; ".join(f"{kind}: {_counted(some)}" for kind in KINDS if len(some := claims.loc[claims["kind"] == kind, "verdict"]))


def _counted(verdicts: pd.Series) -> str:
    counts = Counter(verdicts)
    return ", ".join(f"{counts[word]} *{word}*" for word in (*WORDS[:3], OLD, *WORDS[3:]) if counts[word])


def block(name: str) -> str:
    """Return what README says of a paper between its marks."""
    folder, shown = ROOT / "figures" / "released" / name, SHOWN[name]
    table = _same_images(folder, shown) if shown.same else _other_images(folder, shown)
    claims = f"Claims ([all, with intervals](figures/released/{name}/claims.md)): {_fared(folder / 'claims.csv')}."
    return "\n".join([*table, "", claims, *_furthest(name, folder / "gaps.csv")])


def written(text: str) -> str:
    """Return README's text with every block as the tables have it."""
    for name in SHOWN:
        mark = f"<!-- {name} -->\n"
        before, rest = text.split(mark, 1)
        text = before + mark + block(name) + "\n" + rest[rest.index("<!-- end -->") :]
    return text


def main(arguments: list[str]) -> int:
    readme = ROOT / "README.md"
    text = readme.read_text()
    new = written(text)
    if arguments == ["--check"]:
        if new != text:
            print("README.md differs from figures/released; run: python workflow/readme.py", file=sys.stderr)
        return int(new != text)
    readme.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
