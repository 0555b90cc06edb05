"""Write results from the tables of `figures/released/` into README.md and the papers' pages: python workflow/readme.py [--check]

Between `<!-- papers -->` and `<!-- end -->` README has a row per paper; between `<!-- results -->` and `<!-- end -->` the page of
a paper, `notebooks/<paper>/README.md`, has its main table and how its claims fared. With --check nothing is written, and the exit
status is 1 where a page differs from the tables.
"""

import sys
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
RELEASED = ROOT / "figures" / "released"
# As in srlib.reproduce.verdicts and claims
WORDS = ("holds", "holds where tested", "contradicted", "not decidable at this budget", "not judged", "not tested")
BRIEF = tuple(word.removesuffix(" at this budget") for word in WORDS)
KINDS = ("accuracy", "cost measured", "cost counted", "own question")


@dataclass(frozen=True)
class Results:
    """The results of a paper on its page and in README.

    title, idea: of its row in README. files: its main tables, without suffix. methods: the columns on its page, by their label,
    the paper's own last. headline: dataset and scale of its row in README. official: label of the official weights there. same:
    whether paper and we score the same images.
    """

    title: str
    idea: str
    files: tuple[str, ...]
    methods: tuple[str, ...]
    headline: tuple[str, int]
    official: str = ""
    same: bool = True


RESULTS = {
    "difficulty_sr": Results(
        "Difficulty-SR, ICME 2019",
        "easy patches go to bicubic interpolation, hard ones to a network",
        ("table_1_x2", "table_1_x3", "table_1_x4"),
        ("Bicubic", "IDN", "IDN, official weights", "IDN, same total steps (no routing)", "Difficulty-SR"),
        ("Set5", 2),
        "IDN, official weights",
    ),
    "d2c_sr": Results(
        "D2C-SR, ECCV 2022",
        "several predictions, pushed apart by a loss, then fused with per-pixel weights",
        ("table_1",),
        ("D2C-SR",),
        ("City100-nikon/test20", 1),
        same=False,
    ),
    "ddet": Results(
        "DDet, IEEE SPL 2020",
        "per-pixel filter kernels of three sizes, applied to a detail-corrected image",
        ("table_1",),
        ("DDet",),
        ("City100-nikon/test20", 1),
        same=False,
    ),
    "prosrn": Results(
        "ProSRN, ProSRGAN, anonymous",
        "one network for x2, used on its own output for x4 and x8",
        ("table_6_x2", "table_6_x4", "table_6_x8"),
        ("Bicubic", "A+", "VDSR", "VDSR, official weights", "LapSRN", "LapSRN, official weights", "ProSRN (2x)"),
        ("Set5", 2),
        "LapSRN, official weights",
    ),
    "btsrn": Results(
        "BTSRN, CVPRW 2017",
        "some residual blocks at low resolution, the rest after upsampling",
        ("table_4",),
        ("Bicubic", "VDSR", "VDSR, official weights", "BTSRN"),
        ("Set5", 2),
        "VDSR, official weights",
    ),
}


def _number(value: float) -> str:
    return "-" if pd.isna(value) else f"{value:.2f}"


def _table(heads: list[str], rows: list[list[str]]) -> list[str]:
    """Return the lines of a table in Markdown."""
    return [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *(f"| {' | '.join(row)} |" for row in rows)]


def _long(file: Path) -> pd.DataFrame:
    """Return a table of ours as rows of dataset, scale, method, published, ours."""
    table = pd.read_csv(file)
    if "method" in table:
        return table.rename(columns={"psnr_published": "published", "psnr_ours": "ours"})
    parts = []
    for method in (column.removesuffix(" psnr_ours") for column in table.columns if column.endswith(" psnr_ours")):
        values = {"published": table[f"{method} psnr_published"], "ours": table[f"{method} psnr_ours"]}
        parts.append(table[["dataset", "scale"]].assign(method=method, **values))
    return pd.concat(parts, ignore_index=True)


def _rows(folder: Path, results: Results) -> pd.DataFrame:
    rows = pd.concat([_long(folder / f"{name}.csv") for name in results.files if (folder / f"{name}.csv").exists()])
    return rows[rows["method"].isin(results.methods)]


def _same_images(folder: Path, results: Results) -> list[str]:
    scores, rows = _rows(folder, results), []
    methods = [method for method in results.methods if method in set(scores["method"])]
    for (dataset, scale), block in scores.groupby(["dataset", "scale"], sort=False):
        by_method = block.set_index("method")[["published", "ours"]].reindex(methods)
        if by_method["ours"].notna().sum() < 2:  # bicubic alone says nothing
            continue
        cells = []
        for method, *values in by_method.itertuples():
            published, ours = map(_number, values)
            own = method == results.methods[-1] and ours != "-"
            cells.append("-" if published == ours == "-" else f"{published}, {f'**{ours}**' if own else ours}")
        rows.append([dataset, f"x{scale}", *cells])
    return _table(["set", "scale", *(f"{method}: paper, ours" for method in methods)], rows)


def _other_images(folder: Path, results: Results) -> list[str]:
    """The paper's columns stand beside ours, of other images; ± is over seeds."""
    table, rows = pd.read_csv(folder / f"{results.files[0]}.csv"), []
    ours = [c for c in table.columns if c.startswith("psnr_ours@")]
    published = [c for c in table.columns if c.startswith("psnr_published@")][:3]
    heads = [c.split("@")[1].replace(" ×1", "") + ", ours" for c in ours] + [c.split("@")[1] + ", paper" for c in published]
    for row in table.dropna(subset=ours, how="all").to_dict("records"):
        size = "-" if pd.isna(row["parameters"]) else f"{row['parameters']:,.0f}"
        spread = {c: row.get(c.replace("psnr_ours@", "psnr_spread@"), float("nan")) for c in ours}
        cells = [_number(row[c]) + (f" ± {spread[c]:.2f}" if pd.notna(spread[c]) else "") for c in ours]
        rows.append([row["method"], size, *cells, *(_number(row[c]) for c in published)])
    return _table(["method", "parameters", *heads], rows)


def _furthest(name: str, file: Path) -> list[str]:
    """Return a line on the network that stays furthest behind the paper; none where there is no table of gaps."""
    trained = pd.read_csv(file).dropna(subset="training_share") if file.exists() else pd.DataFrame()
    if trained.empty:
        return []
    worst = trained.sort_values("gap").iloc[0]
    gap = f"{worst['method']} x{worst['scale']} on {worst['dataset']}, {worst['reached']:.2f} dB (paper: {worst['printed']:.2f})"
    part = f"{worst['training_share']:.2g} % of the training in profile `paper`"
    return ["", f"Largest gap: {gap}, after {part} ([all gaps](../../figures/released/{name}/gaps.md))."]


def _verdicts(file: Path) -> str:
    """Return how many claims got which verdict, each kind of claim apart."""
    claims = pd.read_csv(file)
    by_kind = {kind: claims.loc[claims["kind"] == kind, "verdict"] for kind in KINDS}
    return "; ".join(f"{kind}: {_counts(verdicts)}" for kind, verdicts in by_kind.items() if len(verdicts))


def _counts(verdicts: pd.Series) -> str:
    counts = Counter(verdicts)
    return ", ".join(f"{counts[word]} *{word}*" for word in WORDS if counts[word])


def _brief_verdicts(file: Path) -> str:
    """Return in few words how the paper's own claims fared."""
    claims = pd.read_csv(file)
    parts = []
    for kind in KINDS[:-1]:
        counts = Counter(claims.loc[claims["kind"] == kind, "verdict"].str.removesuffix(" at this budget"))
        words = [
            f"{counts[word]} {word.replace('holds', 'hold') if counts[word] > 1 else word}" for word in BRIEF if counts[word]
        ]
        parts += [f"{kind}: {', '.join(words)}"] if words else []
    return "; ".join(parts)


def results_block(name: str) -> str:
    """Return what the page of a paper says between its marks."""
    folder, results = RELEASED / name, RESULTS[name]
    table = _same_images(folder, results) if results.same else _other_images(folder, results)
    claims = f"Claims ([all, with intervals](../../figures/released/{name}/claims.md)): {_verdicts(folder / 'claims.csv')}."
    return "\n".join([*table, "", claims, *_furthest(name, folder / "gaps.csv")])


def _overview_row(name: str) -> list[str]:
    """Return a paper's row in README."""
    folder, results = RELEASED / name, RESULTS[name]
    dataset, scale = results.headline
    published, official = "on other images", "-"
    if results.same:
        rows = _rows(folder, results)
        rows = rows[(rows["dataset"] == dataset) & (rows["scale"] == scale)].set_index("method")
        published, ours = (_number(rows.loc[results.methods[-1], side]) for side in ("published", "ours"))
        if results.official in rows.index:
            official = f"{_number(rows.loc[results.official, 'ours'])} ({results.official.split(',')[0]})"
    else:
        rows = pd.read_csv(folder / f"{results.files[0]}.csv").set_index("method")
        ours = _number(rows.loc[results.methods[-1], f"psnr_ours@{dataset} ×{scale}"])
    claims = f"{_brief_verdicts(folder / 'claims.csv')} ([all](figures/released/{name}/claims.md))"
    where = f"{dataset} x{scale}".removesuffix(" x1")
    return [f"[{results.title}](notebooks/{name}/)", results.idea, where, published, ours, official, claims]


def overview_block() -> str:
    """Return what README says between its marks: a row per paper."""
    heads = ["paper", "its idea", "PSNR (dB) on", "published", "ours", "a baseline's official weights", "its claims"]
    return "\n".join(_table(heads, [_overview_row(name) for name in RESULTS]))


PAGES = {ROOT / "README.md": ("papers", overview_block)} | {
    ROOT / "notebooks" / name / "README.md": ("results", partial(results_block, name)) for name in RESULTS
}


def updated(page: Path) -> str:
    """Return the text of a page with its block as the tables have it."""
    name, block = PAGES[page]
    before, mark, rest = page.read_text().partition(f"<!-- {name} -->\n")
    return f"{before}{mark}{block()}\n{rest[rest.index('<!-- end -->') :]}"


def main(arguments: list[str]) -> int:
    outdated = {page: text for page in PAGES if (text := updated(page)) != page.read_text()}
    if arguments == ["--check"]:
        for page in outdated:
            print(f"{page.relative_to(ROOT)} differs from figures/released; run: python workflow/readme.py", file=sys.stderr)
        return int(bool(outdated))
    for page, text in outdated.items():
        page.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
