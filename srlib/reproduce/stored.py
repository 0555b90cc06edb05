"""The verdict on a claim that is typed, such as "difficulty_sr > idn on Urban100 x4", from stored evaluations."""

import glob
import re
from collections.abc import Iterator

import numpy as np
import pandas as pd

from srlib import papers
from srlib.core.errors import SRError, unknown
from srlib.core.protocols import PROTOCOLS, protocol
from srlib.data.sets import known_sets
from srlib.papers import Paper
from srlib.papers.base import SEED_NOISE
from srlib.reproduce import budgets, store
from srlib.reproduce.claims import Claim, format_difference
from srlib.reproduce.intervals import image_interval
from srlib.reproduce.judging import MIN_IMAGES, UNDECIDED, decide
from srlib.reproduce.scores import file_name, read_scores, whole_set_probe
from srlib.reproduce.verdicts import combine, evaluate_comparisons
from srlib.scoring.evaluation import whole_images

FORM = re.compile(
    r"(.+?)\s*([<>])\s*(.+?)\s+on\s+(\S+)\s+x(\d+)(?:\s+by\s+(\d+\.?\d*)(?:\s*dB)?)?(?:\s+in\s+(psnr|ssim))?", re.IGNORECASE
)
MAX_SEEDS = 10


def judge(text: str) -> tuple[str, str]:
    """Return the verdict on a claim and one line of detail.

    text: "a > b on Urban100 x4", with "by 0.1" for a margin and "in ssim" for SSIM. a and b are methods, where needed as
    PAPER/METHOD, or two files that `evaluate --csv` wrote. Methods are judged as the claims of their paper are (`verdicts`). The
    training behind files is not known: pictures and the usual noise of seeds alone decide. Raises SRError for another form, and
    for a side without scores on that set.
    """
    parts = FORM.fullmatch(text.strip())
    if not parts:
        raise SRError(
            f'claim {text!r}: expected e.g. "difficulty_sr > idn on Urban100 x4", also with "by 0.1" and "in ssim" after it'
        )
    left, relation, right, dataset, scale, margin, metric = parts.groups()
    sides = [left, right] if relation == ">" else [right, left]
    where = (dataset, int(scale), (metric or "psnr").lower(), float(margin or 0))
    return _judge_files(sides, *where) if all(side.endswith(".csv") for side in sides) else _judge_methods(sides, *where)


def _judge_methods(sides: list[str], dataset: str, scale: int, metric: str, margin: float) -> tuple[str, str]:
    names = [side.rpartition("/")[2] for side in sides]
    if names[0] == names[1]:
        raise SRError(f"both sides are {names[0]}; name two methods")
    wanted = [papers.get(side.partition("/")[0]) for side in sides if "/" in side] or [
        papers.get(name) for name in papers.names()
    ]
    having = [paper for paper in wanted if {*names} <= {*paper.methods, *paper.ablations}]
    if not having:
        raise SRError(f"no paper has both {names[0]} and {names[1]}; `python -m srlib list experiments` has all names")
    stored = {paper.name: rows for paper in having if (rows := _stored_rows(paper, names, dataset, scale)) is not None}
    if not stored and dataset not in known_sets():
        raise unknown("set", dataset, known_sets())
    if not stored:
        raise SRError(f"no scores of both {names[0]} and {names[1]} on {dataset} x{scale} under one protocol are stored")
    if len(stored) > 1:
        raise SRError(f"{len(stored)} papers have both; say which: {', '.join(f'{name}/{names[0]}' for name in stored)}")
    (paper,), (rows,) = stored.keys(), stored.values()
    claim = Claim("typed", paper, "", "", "", names[0], ">", (names[1],), metric, (dataset,), (scale,), margin)
    trainings = budgets.trainings(papers.get(paper), rows, papers.get(paper).setting("released"))
    verdict = combine(claim, evaluate_comparisons(claim, rows, trainings=trainings))
    return verdict.verdict, f"{verdict.detail}; protocol {rows['protocol'].iloc[0]}"


def _stored_rows(paper: Paper, names: list[str], dataset: str, scale: int) -> pd.DataFrame | None:
    """Return the rows of both methods under the paper's protocol, or the first that both have; None without one."""
    for by in dict.fromkeys([paper.protocol, *PROTOCOLS]):
        frames = [list(_stored(paper, name, dataset, scale, by)) for name in names]
        if all(frames):
            return pd.concat([frame for own in frames for frame in own], ignore_index=True)
    return None


def _stored(paper: Paper, name: str, dataset: str, scale: int, by: str) -> Iterator[pd.DataFrame]:
    """Yield the stored scores of each seed of a method on a whole set."""
    for seed in range(MAX_SEEDS) if paper.has(name, scale) else ():
        trained = store.load_existing(paper, name, scale, paper.setting("released"), seed)
        folders = [trained.scores, trained.kept] if trained else []
        pattern = f"{glob.escape(file_name(dataset))}_x{scale}_{by}_{'[0-9a-f]' * 8}.csv"
        files = [file for folder in folders if folder for file in sorted(folder.glob(pattern))]
        if (versions := len({file.name for file in files})) > 1:
            raise SRError(
                f"scores of {name} x{scale} on {versions} versions of {dataset} are stored: {', '.join(map(str, files))}"
            )
        for file in files[:1]:
            rows, problem = read_scores(file, protocol(by), whole_set_probe(trained.probed, protocol(by)))
            if rows is None:
                raise SRError(f"stored scores {file}: {problem}; delete the file and evaluate again")
            yield rows.assign(method=name, dataset=dataset, scale=scale, seed=seed, protocol=by)
        if not paper.method(name).trained:
            return


def _sets(rows: pd.DataFrame) -> str:
    return ", ".join(sorted({f"{row.dataset} x{row.scale}" for row in rows[["dataset", "scale"]].itertuples()}))


def _judge_files(files: list[str], dataset: str, scale: int, metric: str, margin: float) -> tuple[str, str]:
    tables = []
    for file in files:
        try:
            rows = pd.read_csv(file, dtype={"image": str})
            own = rows[(rows["dataset"] == dataset) & (rows["scale"] == scale)].set_index(["protocol", "image"])[metric]
        except (OSError, ValueError, KeyError) as error:
            raise SRError(f"{file} cannot be read as an evaluation ({error}); write one with `evaluate ... --csv`") from None
        if own.empty:
            raise SRError(f"{file} has no scores on {dataset} x{scale}; it has {_sets(rows)}")
        tables.append(own)
    left, right = tables
    if not left.index.is_unique or not left.sort_index().index.equals(right.sort_index().index):
        raise SRError(f"{files[0]} and {files[1]} differ in pictures or protocol on {dataset} x{scale}; evaluate both alike")
    values = [side.loc[left.index].to_numpy(float)[:, None] for side in (left, right)]
    for file, own in zip(files, values, strict=True):
        if not np.isfinite(own).all():
            image = left.index[~np.isfinite(own[:, 0])][0][1]
            raise SRError(f"{file} has no finite {metric} of {image!r}; leave that image out on both sides")
    pictures = whole_images(left.index.get_level_values("image")).to_numpy()
    n_images = len(set(pictures))
    estimate, *over_images = image_interval(*values, pictures)
    word, low, high = decide(1, margin, estimate, *over_images, SEED_NOISE["psnr" if metric == "psnr" else "ssim"])
    word = word if n_images >= MIN_IMAGES else UNDECIDED
    numbers = f"{format_difference(metric, estimate)} [{format_difference(metric, low)}, {format_difference(metric, high)}]"
    return (
        word,
        f"{dataset} x{scale}: {files[0]} against {files[1]} {numbers}, {n_images} images; training budgets not known",
    )
