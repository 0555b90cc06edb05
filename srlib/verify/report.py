"""What `srlib verify` says: scores of named protocols, what matches published numbers, known traps."""

import math
from typing import Any

import pandas as pd

from srlib.verify.degradation import SAME
from srlib.verify.detective import Scored
from srlib.verify.lattice import GAIN
from srlib.verify.published import Published, search

SHOWN, NEAREST = 10, 3  # lines
ENSEMBLE = (0.02, 0.35)  # dB that a self-ensemble brings
RESIZE = 2.0  # dB that another resize may make
COLORS = {"y": "luma 16..235", "full": "full-range luma", "bgr": "luma of RGB read as BGR", "rgb": "RGB"}
LUMA_SR = {
    "luma": "grey SR as luma",
    "grey": "grey SR as R = G = B",
    "rebuilt": "grey SR made RGB in 8 bits",
    "rebuilt_float": "grey SR made RGB in float",
}
WINDOWS = {
    "ssim": "Gaussian 11x11",
    "ssim_uniform7": "uniform 7x7, range max - min of HR",
    "ssim_uniform7_255": "uniform 7x7, range 255",
    "ssim_padded": "Gaussian 11x11, whole pictures in zero padding",
}


def describe(row: pd.Series, grey_hr: bool) -> str:
    """Return a combination of `search` in words; grey_hr: whether some HR is grey."""
    words = [COLORS[row["color"]] + (" rounded to integers" if row["rounded"] else ""), f"border {row['border']}"]
    if row["multiple"] > 1:
        tiles = f", larger ones in windows of {row['window']}" if row["window"] else ""
        words.append(f"LR cropped to multiples of {row['multiple']}{tiles}")
    if grey_hr and row["color"] == "y":
        words.append("grey HR as luma" if row["grey"] == "as_y" else "grey HR converted")
    words += [LUMA_SR[row["luma_sr"]]] if row["luma_sr"] else []
    words += ["SR luma clipped to 16..235"] if row["clipped"] else []
    words += ["PSNR of the mean squared error"] if row["psnr_by"] == "psnr_pooled" else []
    words += [f"SSIM {WINDOWS[row['ssim_by']]}"] if row["ssim_by"] else []
    return ", ".join(words)


def set_lines(scored: Scored) -> list[str]:
    """Return a set's notes and the scores of named protocols, those of equal scores in one line."""
    count = len(scored.pairs)
    lines = [f"{scored.label} x{scored.scale}: {count} picture{'s' if count > 1 else ''}"]
    lines += [f"  {line}" for line in scored.notes] + [f"  not scored: {line}" for line in scored.failures]
    alike: dict[tuple[float, float], list[str]] = {}
    for name, metrics in scored.named().items():
        alike.setdefault((metrics["psnr"], metrics["ssim"]), []).append(name)
    width = max(len(", ".join(names)) for names in alike.values())
    for (psnr, ssim), names in alike.items():
        lines.append(f"  {', '.join(names):{width}s}  {psnr:7.3f} dB  {ssim:.4f}")
        for name in names:
            other = {metric: value for metric, value in scored.named()[name].items() if metric not in ("psnr", "ssim")}
            lines += [f"  {'':{width}s}{value:20.4f}  {WINDOWS[metric]} ({name})" for metric, value in other.items()]
    return lines


def _numbers(row: pd.Series, published: list[Published]) -> str:
    texts = []
    for entry in published:
        for metric in entry.printed:
            value, digits, unit = row[f"{entry.dataset} {metric}"], *((3, " dB") if metric == "psnr" else (5, ""))
            texts.append(f"{entry.dataset} {value:.{digits}f}{unit} ({value - getattr(entry, metric):+.{digits}f})".strip())
    return ", ".join(texts)


def search_lines(table: pd.DataFrame, published: list[Published], scored: list[Scored]) -> list[str]:
    """Return what `search` found: the matches, or else the nearest, and what the numbers of one metric alone give."""
    matches, grey_hr = table[table["match"]], any(scored_set.grey for scored_set in scored)
    largest = {m: max((e.tolerances[m] for e in published if m in e.printed), default=0) for m in ("psnr", "ssim")}
    within = " and ".join(
        f"{value:.5f}".rstrip("0") + (" dB" if m == "psnr" else " in SSIM") for m, value in largest.items() if value
    )
    head = f"Published {', '.join(map(str, published))}: {len(table):,} combinations tried"
    if matches.empty:
        lines = [f"{head}, not reproduced by any protocol: none is within {within}. Nearest:"]
    else:
        lines = [f"{head}, {len(matches):,} within {within}; {_known(matches)}:"]
    nearest = pd.concat([table.head(NEAREST), table[table["protocols"] != ""].head(1)])  # a named one among them
    shown = matches.head(SHOWN) if len(matches) else nearest[~nearest.index.duplicated()]
    for _, row in shown.iterrows():
        names = f"{row['protocols'].replace(';', ', ')}: " if row["protocols"] else ""
        lines.append(f"  {_numbers(row, published)}  {names}{describe(row, grey_hr)}")
    if len(matches) > SHOWN:
        lines.append(f"  and {len(matches) - SHOWN:,} more, all of them with --json")
    if matches.empty and all(largest.values()):
        for metric in largest:
            alone = [entry.only(metric) for entry in published if metric in entry.printed]
            part = search({scored_set.dataset: scored_set.table for scored_set in scored}, alone, scored[0].scale)
            part = part[part["match"]]
            result = f"{len(part):,} combination{'s'[: len(part) > 1]}; {_known(part)}" if len(part) else "no combination"
            lines.append(f"  {metric.upper()} alone is given by {result}")
    return lines


def _known(matches: pd.DataFrame) -> str:
    names = sorted({name for text in matches["protocols"] for name in text.split(";") if name})
    return f"named protocols among them: {', '.join(names)}" if names else "no named protocol among them"


def trap_lines(table: pd.DataFrame | None, published: list[Published], scored: list[Scored], has_lr: bool) -> list[str]:
    """Return sentences on known traps that these pictures or numbers show. table: of `search`, if a number is published."""
    lines = []
    for scored_set in (scored_set for scored_set in scored if scored_set.grey):
        rows = scored_set.table[
            (scored_set.table["color"] == "y") & scored_set.table["rounded"] & (scored_set.table["border"] == scored_set.scale)
        ]
        psnr = rows.drop_duplicates("grey").set_index("grey")["psnr"]
        lines.append(
            f"Grey HR of {scored_set.label}: {', '.join(scored_set.grey)}. Read as luma the mean PSNR is {psnr['as_y']:.2f} dB, "
            f"converted like a colour picture {psnr['convert']:.2f} dB (rounded, border {scored_set.scale}). Papers do both."
        )
    if table is None:
        return lines
    if table["match"].any():
        if table["color"].iloc[0] == "full":
            lines.append(
                "Full-range luma (0..255: YIQ, the grey of OpenCV and Pillow) reads "
                f"{-20 * math.log10(GAIN):.2f} dB below luma of 16..235: do not compare numbers of the two."
            )
        return lines
    named = table[table["protocols"] != ""]
    gaps = [entry.psnr - named[f"{entry.dataset} psnr"].max() for entry in published if entry.psnr is not None]
    if gaps and all(ENSEMBLE[0] <= gap <= ENSEMBLE[1] for gap in gaps):
        lines.append(
            f"The paper is {min(gaps):.2f} dB above every named protocol: is its number of a self-ensemble, often marked +?"
        )
    if not has_lr and any(abs(gap) < RESIZE for gap in gaps):
        lines.append("LR made by another resize changes PSNR by tenths of a dB: check the networks' input with --lr.")
    return lines


def lr_line(differences: dict[str, float]) -> str:
    """Return what `degradation.compare_lr` found."""
    (best, least), (second, more), *_ = differences.items()
    if least > SAME:
        return f"LR was made by none of the known resizes: {best} is {least:.2f} grey levels off on average, {second} {more:.2f}"
    warning = "" if best == "MATLAB's imresize" else "; most papers use MATLAB's imresize"
    return f"LR was made by {best}: {least:.3f} grey levels off on average, {second} {more:.2f}{warning}"


def _without_nan(value: Any) -> Any:
    """Return a value of dicts and lists with None, which JSON has, for nan and infinity, which it has not."""
    if isinstance(value, dict):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def to_json(table: pd.DataFrame | None, published: list[Published], scored: list[Scored], lr: dict[str, dict]) -> dict:
    """Return everything that was found. lr: of `compare_lr`, by set."""
    sets = {}
    for scored_set in scored:
        sets[scored_set.label] = {
            "pictures": len(scored_set.pairs),
            "protocols": scored_set.named(),
            "notes": scored_set.notes,
            "failures": scored_set.failures,
        }
        sets[scored_set.label] |= {"lr": lr[scored_set.dataset]} if lr else {}
    result = {"scale": scored[0].scale, "sets": sets}
    if table is not None:
        table = table.rename(columns=str.strip)
        result |= {"published": {entry.dataset or scored[0].label: entry.printed for entry in published}, "tried": len(table)}
        result |= {"matches": table[table["match"]].to_dict("records"), "nearest": table.iloc[0].to_dict()}
    return _without_nan(result)
