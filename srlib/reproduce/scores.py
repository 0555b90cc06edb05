"""Scores, computed once and kept: per network, set, protocol and data, with a probe of the scoring (`srlib.train.probe`).

Scores of released weights on the public sets are in `data/scores/`, a row per image.
"""

import hashlib
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd
from torch import nn

from srlib.core.errors import SRError, unknown
from srlib.core.files import atomic_write
from srlib.core.protocols import Protocol, protocol
from srlib.data.sets import ImageSet, open_set
from srlib.papers import Paper
from srlib.papers.profiles import Profile
from srlib.reproduce.cards import NotReleased
from srlib.reproduce.store import Trained, load_or_train
from srlib.scoring import lpips, perceptual  # noqa: F401  registers its scorers
from srlib.scoring.evaluation import SCORERS, evaluate
from srlib.train import probe


def write_scores(file: Path, rows: pd.DataFrame, by: Protocol, scoring_probe: list[float]) -> None:
    """Write scores as CSV below a JSON comment line with the protocol, the scoring probe and the SHA-256 of the rows."""
    body = rows.to_csv(index=False)
    head = {"protocol": asdict(by), "probe": scoring_probe, "rows": hashlib.sha256(body.encode()).hexdigest()}
    atomic_write(file, f"# {json.dumps(head)}\n{body}")


def read_scores(file: Path, by: Protocol, scoring_probe: list[float]) -> tuple[pd.DataFrame | None, str]:
    """Return the rows of a score file, or None and why they are invalid: damaged, another protocol, other scoring code."""
    try:
        first, _, body = file.read_text().partition("\n")
        head = json.loads(first.removeprefix("# "))
        if hashlib.sha256(body.encode()).hexdigest() != head["rows"]:
            return None, "the rows were modified"
        if Protocol(**head["protocol"]) != by:
            return None, f"protocol {by.name!r} has changed"
        if not probe.agree_scores(head["probe"], scoring_probe):
            return None, "the scoring code has changed"
    except (OSError, ValueError, TypeError, KeyError) as error:
        return None, f"it cannot be read ({error})"
    return pd.read_csv(io.StringIO(body), dtype={"image": str}), ""


def file_name(dataset: str) -> str:
    """Return a set's name as score files begin with it."""
    return dataset.replace("/", "_").replace(":", "_")


def whole_set_probe(model: nn.Module, by: Protocol) -> list[float]:
    """Return the probe of `evaluation.evaluate`, with which the scores of a network on a whole set are stored."""
    net = probe.stand_in(model)
    return probe.scoring(net, lambda pictures: evaluate(net, pictures, by))


def score(
    trained: Trained, dataset: str, by: Protocol, *, limit: int | None = None, ensemble: bool = False, scorer: str = ""
) -> pd.DataFrame:
    """Return a row per image (`image`, the protocol's metrics, `seconds`), computed once and then cached.

    scorer: a paper's own evaluation, of `evaluation.SCORERS`: "parts" (D2C-SR), "patches" (Difficulty-SR), "displaced" (DDet), or
    "perceptual" or "lpips" (`scoring.perceptual`). Scores are recomputed where the code scores `probe.pictures` differently.
    Raises NotReleased for those of a network of which only the card is released.
    """
    if scorer and scorer not in SCORERS:
        raise unknown("scorer", scorer, SCORERS)

    def compute(net: nn.Module, images: str | ImageSet) -> pd.DataFrame:
        if scorer:
            return SCORERS[scorer](net, images, by, limit)
        return evaluate(net, images, by, limit=limit, ensemble=ensemble)

    images = open_set(dataset)
    parts = [file_name(dataset), f"x{trained.model.scale}", by.name, images.fingerprint[:8]]
    parts += [f"first{limit}"] if limit is not None and limit < len(images) else []
    name = f"{'_'.join(filter(None, [*parts, scorer or ('ensemble' if ensemble else '')]))}.csv"
    probed = trained.probed
    scoring_probe = probe.scoring(probed, lambda pictures: compute(probed, pictures))
    file = trained.scores / name
    problems = []
    for cached in (file, *([trained.kept / name] if trained.kept else [])):
        if cached.exists():
            rows, problem = read_scores(cached, by, scoring_probe)
            if rows is not None:
                return rows
            problems.append(f"{cached.parent.name}/{cached.name}: {problem}; re-scored")
            if cached == file:  # else `workflow/scores.py` would copy it
                file.unlink()
    if trained.absent:
        raise trained.absent
    print(*problems, sep="\n", end="\n" if problems else "", flush=True)
    write_scores(file, compute(trained.model, dataset), by, scoring_probe)
    return read_scores(file, by, scoring_probe)[0]


def perceptual_scores(trained: Trained, dataset: str, by: Protocol, limit: int | None = None) -> pd.DataFrame:
    """Return a row per image with `gmsd` and `sharpness`, and `lpips` where its weights are fetched; kept like other scores."""
    rows = score(trained, dataset, by, limit=limit, scorer="perceptual")
    return rows.merge(score(trained, dataset, by, limit=limit, scorer="lpips"), on="image") if lpips.is_fetched() else rows


def collect(
    paper: Paper,
    names: Iterable[str],
    scales: Iterable[int],
    datasets: Sequence[str],
    profile: Profile,
    *,
    by: str | None = None,
    seeds: Iterable[int] = (0,),
    limit: int | None = None,
    ensemble: bool = False,
    progress: str = "auto",
) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows of several methods, scales, sets and seeds, and a note on those without released weights.

    datasets: empty for each method's test sets under the profile (`Paper.tests`). by: name of the protocol, default: the paper's.
    Scales that a method does not have are skipped. The rows carry `paper`, `method`, `dataset`, `scale` and `seed`.
    """
    selected, scales, seeds = protocol(by or paper.protocol), list(scales), list(seeds)
    frames, missing = [], []
    for name in names:
        for scale in (s for s in scales if paper.has(name, s)):
            for seed in seeds if paper.method(name).trained else (0,):
                try:
                    trained = load_or_train(paper, name, scale, profile, seed, progress, only_scored=True)
                    sets = datasets or paper.tests(name, paper.setting(profile, scale))
                    scored = {dataset: score(trained, dataset, selected, limit=limit, ensemble=ensemble) for dataset in sets}
                except NotReleased as error:
                    missing.append(error.which)
                    continue
                for dataset, rows in scored.items():
                    if "accuracy" in rows:
                        raise SRError(f"{name} classifies patches and has no {selected.metrics[0]}; see `scores.score`")
                    keys = {"paper": paper.name, "method": name, "dataset": dataset, "scale": scale, "seed": seed}
                    frames.append(rows.assign(**keys))
    columns = ["paper", "method", "dataset", "scale", "seed", "image", *selected.metrics, "seconds"]
    table = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)
    if not missing:
        return table[columns], []
    left_out = [
        which for which in missing if "(" not in which or which.split(" (")[0] not in missing
    ]  # "x2" covers "x2 (seed 1)"
    names = ", ".join(dict.fromkeys(left_out))
    how = "see python -m srlib list released; official ones: python -m srlib data official"
    return table[columns], [f"Without weights, left out: {names} ({how})."]


def gain(rows: pd.DataFrame, left: str, right: str) -> pd.Series:
    """Return the PSNR gain (dB) of method `left` over `right` per image, largest first, from rows of one set and scale."""
    means = rows.groupby(["method", "image"])["psnr"].mean()
    return (means[left] - means[right]).sort_values(ascending=False)
