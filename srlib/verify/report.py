"""What `srlib verify` says: named protocols, what matches published numbers, traps."""

import math

import pandas as pd

from srlib.verify.degradation import SAME
from srlib.verify.detective import Scored
from srlib.verify.lattice import GAIN
from srlib.verify.published import Published

SHOWN = 10  # matches
ENSEMBLE = (0.02, 0.35)  # dB that a self-ensemble brings
SSIM_WORDS = {
    "ssim": "Gaussian 11x11",
    "ssim_uniform7": "uniform 7x7, range max - min of HR",
    "ssim_uniform7_255": "uniform 7x7, range 255",
    "ssim_padded": "Gaussian 11x11, whole pictures in zero padding",
}
COLOR_WORDS = {"y": "luma 16..235", "full": "full-range luma", "bgr": "luma of RGB read as BGR", "rgb": "RGB"}
LUMA_SR_WORDS = {
    "luma": "grey SR as luma",
    "grey": "grey SR as R = G = B",
    "rebuilt": "grey SR made RGB in 8 bits",
    "rebuilt_float": "grey SR made RGB in float",
}


def describe(row: pd.Series, grey_hr: bool) -> str:
    """Return a combination in words; row: with `lattice.AXES`, and `psnr_by` and `ssim_by` where a search has them."""
    words = [COLOR_WORDS[row["color"]] + (" in whole numbers" if row["rounded"] else ""), f"border {row['border']}"]
    if row["multiple"] > 1:
        tiles = f", in windows of {row['window']}" if row["window"] else ""
        words.append(f"LR cropped to multiples of {row['multiple']}{tiles}")
    if grey_hr and row["color"] == "y":
        words.append("grey HR as luma" if row["grey"] == "as_y" else "grey HR converted")
    words += [LUMA_SR_WORDS[row["luma_sr"]]] if row["luma_sr"] else []
    words += ["SR luma clipped to 16..235"] if row["clipped"] else []
    words += ["PSNR of the mean squared error"] if row.get("psnr_by") == "psnr_pooled" else []
    words += [f"SSIM {SSIM_WORDS[row['ssim_by']]}"] if row.get("ssim_by") else []
    return ", ".join(words)


def named_lines(scored: Scored) -> list[str]:
    """Return the table of named protocols, those of equal scores in one line."""
    lines = []
    by_scores: dict[tuple, list[str]] = {}
    for name, metrics in scored.named().items():
        by_scores.setdefault((metrics["psnr"], metrics["ssim"]), []).append(name)
    width = max(len(", ".join(names)) for names in by_scores.values())
    for (psnr, ssim), names in by_scores.items():
        lines.append(f"  {', '.join(names):{width}s}  {psnr:7.3f} dB  {ssim:.4f}")
        for name in names:
            own = [
                f"{value:.4f} with {SSIM_WORDS[m]} ({name})"
                for m, value in scored.named()[name].items()
                if m not in ("psnr", "ssim")
            ]
            lines += [f"  {'':{width}s}              {text}" for text in own]
    return lines


def _numbers(row: pd.Series, published: list[Published]) -> str:
    """Return the numbers of a combination beside the printed ones."""
    texts = []
    for entry in published:
        for metric, digits, unit in (("psnr", 3, " dB"), ("ssim", 5, "")):
            if (printed := getattr(entry, metric)) is not None:
                value = row[f"{entry.dataset} {metric}"]
                texts.append(f"{entry.dataset} {value:.{digits}f}{unit} ({value - printed:+.{digits}f})".strip())
    return "; ".join(texts)


def search_lines(table: pd.DataFrame, published: list[Published], grey_hr: bool) -> list[str]:
    """Return what `published.search` found."""
    matches = table[table["match"]]
    largest = {m: max((e.tolerances[m] for e in published if m in e.printed), default=None) for m in ("psnr", "ssim")}
    within = " and ".join(f"{value:g}{' dB' if m == 'psnr' else ' in SSIM'}" for m, value in largest.items() if value)
    head = f"Published {', '.join(map(str, published))}: {len(table):,} combinations tried, "
    if matches.empty:
        lines = [f"{head}not reproduced by any protocol, none is within {within}; nearest:"]
        matches, most = table, 3
    else:
        names = sorted({name for text in matches["protocols"] for name in text.split(";") if name})
        known = f"named protocols among them: {', '.join(names)}" if names else "no named protocol among them"
        lines, most = [f"{head}{len(matches):,} within {within}; {known}:"], SHOWN
    for _, row in matches.head(most).iterrows():
        name = f"{row['protocols'].replace(';', ', ')}: " if row["protocols"] else ""
        lines.append(f"  {_numbers(row, published)}  {name}{describe(row, grey_hr)}")
    if len(matches) > most and most == SHOWN:
        lines.append(f"  and {len(matches) - most:,} more (--csv has all scores, --json all matches)")
    return lines


def trap_lines(scored: list[Scored], table: pd.DataFrame | None, published: list[Published], has_lr: bool) -> list[str]:
    """Return sentences on known traps that these pictures or numbers show."""
    lines = []
    for one in scored:
        grey = [pair.hr.stem for pair in one.pairs if pair.grey_hr]
        rows = one.table[
            (one.table["color"] == "y") & one.table["rounded"] & ~one.table["clipped"] & (one.table["border"] == one.scale)
        ]
        by_grey = rows.drop_duplicates("grey").set_index("grey")["psnr"]
        if grey and len(by_grey) == 2:
            lines.append(
                f"{', '.join(grey)} of {one.label} is grey: taken as luma the mean PSNR is {by_grey['as_y']:.2f} dB, converted "
                f"like a colour picture {by_grey['convert']:.2f} dB; papers do both."
            )
    if table is None:
        return lines
    nearest, found = table.iloc[0], table["match"].any()
    if found and nearest["color"] == "full":
        lines.append(
            f"Full-range luma (0..255: YIQ, OpenCV's and Pillow's grey) reads {-20 * math.log10(GAIN):.2f} dB below luma of 16..235 in PSNR; numbers of one "
            "cannot stand beside those of the other."
        )
    if found:
        return lines
    psnrs = [entry for entry in published if entry.psnr is not None]
    gaps = [entry.psnr - nearest[f"{entry.dataset} psnr"] for entry in psnrs]
    if gaps and all(ENSEMBLE[0] <= gap <= ENSEMBLE[1] for gap in gaps):
        lines.append(
            f"The paper is {min(gaps):.2f} dB or more above every protocol: a self-ensemble (often marked +) brings {ENSEMBLE[0]} to "
            f"{ENSEMBLE[1]} dB; so do other weights."
        )
    if not has_lr:
        lines.append(
            "LR made by another resize moves PSNR by tenths of a dB: give the network's input with --lr to have it compared."
        )
    return lines


def lr_line(differences: dict[str, float]) -> str:
    """Return what `degradation.compare_lr` found."""
    (best, least), (second, more), *_ = differences.items()
    rest = f"{second} is {more:.2f} off"
    if least > SAME:
        return f"LR was made by none of the known resizes: {best} is nearest, {least:.2f} grey levels off on average; {rest}"
    warning = "" if best == "MATLAB's imresize" else "; most papers use MATLAB's imresize"
    return f"LR was made by {best} ({least:.3f} grey levels off on average; {rest}){warning}"


def to_json(
    scored: list[Scored], table: pd.DataFrame | None, published: list[Published], lr: dict[str, dict[str, float]]
) -> dict:
    """Return all that was found, for a JSON file."""
    sets = {
        one.label: {
            "pictures": len(one.pairs),
            "protocols": one.named(),
            "notes": one.notes,
            "failures": one.failures,
            "lr": lr.get(one.label),
        }
        for one in scored
    }
    result = {"scale": scored[0].scale, "sets": sets}
    if table is not None:
        matches = table[table["match"]]
        result |= {"published": [{"dataset": e.dataset, "psnr": e.psnr, "ssim": e.ssim} for e in published], "tried": len(table)}
        result |= {"matches": matches.to_dict("records"), "nearest": table.iloc[0].to_dict()}
    return result
