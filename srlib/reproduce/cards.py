"""Released weights and their cards: `data/weights/<paper>/<experiment>_x<scale>.safetensors` (float16) and `.json`.

A large network that nothing but a table needs is `card_only` (`data/plan.toml`): its card and its scores are in git, and its
weights, which `.gitignore` names, are not.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from safetensors.torch import load_file, save

from srlib.core import paths
from srlib.core.errors import SRError
from srlib.core.files import atomic_write, sha256, write_json
from srlib.core.protocols import Protocol
from srlib.nn import models
from srlib.papers import Paper
from srlib.scoring import vitals
from srlib.scoring.evaluation import measure
from srlib.train import probe
from srlib.train.experiment import Experiment
from srlib.train.run import Run, legs, training_budget
from srlib.train.weights import half_precision


class NotReleased(SRError):
    """Raised for a method and scale without released weights: `which`."""

    def __init__(self, which: str, message: str):
        super().__init__(message)
        self.which = which


def weights_path(paper: Paper, name: str, scale: int, seed: int = 0) -> Path:
    """Return the path of a method's released weights, existing or not: the paper's own, else those that it borrows.

    Seed 0 is not in the file name.
    """
    own, lender = released_file(paper.name, name, scale, seed), paper.borrows.get(name)
    return released_file(lender, name, scale, seed) if lender and not own.exists() else own


def released_file(paper: str, name: str, scale: int, seed: int) -> Path:
    """Return the path of the released weights of a paper's own training, existing or not."""
    suffix = f"_seed{seed}" if seed else ""
    return weights_dir() / paper / f"{name}_x{scale}{suffix}.safetensors"


def weights_dir() -> Path:
    """Return the folder of released weights, with a subfolder per paper."""
    return paths.released_dir() / "weights"


def kept_scores(weights: Path) -> Path:
    """Return the folder of released weights in `data/scores/`, named by stem and SHA-256: the card's, or an official file's."""
    digest = read_card(weights.with_suffix(".json")).get("weights") or sha256(weights)
    return published_scores(f"{weights.stem}-{digest[:10]}")


def published_scores(name: str) -> Path:
    """Return a folder of `data/scores/`."""
    return paths.released_dir() / "scores" / name


def read_card(file: Path, whole: bool = False) -> dict:
    """Return a card of weights; raises SRError where it cannot be read, or, if whole, lacks what loading released ones takes."""
    try:
        card = dict(json.loads(file.read_text()))
        if whole:
            if missing := sorted({"experiment", "provenance", "probe", "weights"} - set(card)):
                raise ValueError(f"it lacks {', '.join(missing)}")
            Experiment(**card["experiment"])
    except (OSError, ValueError, TypeError) as error:
        raise SRError(f"{file}, the card of released weights, cannot be read ({error}); restore it from git") from error
    return card


def describe_budget(label: str, budget: dict, lender: str = "") -> str:
    """Return a `run.training_budget` in words, e.g. "BTSRN x2 1,200 steps of 16 patches of 96 px in fp32, 31.0 minutes"."""
    budget_legs = legs(budget)
    steps, minutes = (sum(leg[key] for leg in budget_legs) for key in ("steps", "minutes"))
    if not steps:  # official weights
        return f"{label} x{budget['scale']}"
    patches = f"{steps:,} steps of {budget['batch']} patches of {budget['hr_patch']} px"
    precision = f" in {budget['precision']}" if "precision" in budget else ""  # older cards lack it for the start
    borrowed = f" ({lender}'s training)" if lender else ""
    annealed = f" in {len(budget_legs)} annealed legs" if len(budget_legs) > 1 else ""
    return f"{label} x{budget['scale']}{borrowed} {patches}{precision}, {minutes:.1f} minutes{annealed}"


def validations(run: Run) -> list[dict[str, float]]:
    """Return a dict per validation of a run, with steps counted from the first leg; [] without a validation set."""
    history = run.history()
    history["step"] += sum(leg["steps"] for leg in legs(training_budget(vars(run.experiment), run.provenance()))[:-1])
    curve = history[history.columns.intersection(["step", "psnr", "ssim", "accuracy"])].dropna()
    return curve.to_dict("records") if curve.shape[1] > 1 else []


def _training_identity(card: dict) -> dict:
    """Return the part of a card that identifies its training."""
    return {key: value for key, value in card["provenance"].items() if key not in ("weights", "probe")}


def release(run: Run, datasets: Iterable[str], by: Protocol, also: Iterable[str] = (), card_only: bool = False) -> Path:
    """Write a complete run's weights to `data/weights/` in float16, with a card; return the file of the weights.

    also: further names of this training in its paper, under which it is released, too. card_only: see above;
    the card says so.
    The card has the experiment, provenance, validations, and the metrics and vital signs of the float16 weights. An earlier
    release is replaced, better or worse; the card's history keeps its budget and metrics.
    Raises SRError for an incomplete run and for weights outside the range of float16.
    """
    experiment: Experiment = run.experiment
    if not run.complete:
        raise SRError(f"{run.dir.name} is not complete; finish its training first")
    run.check_weights()
    model = models.create(experiment.model, experiment.scale, **experiment.model_args)
    state = half_precision(load_file(run.weights))
    model.load_state_dict(state)
    metrics = {}
    for dataset in datasets:
        means = {key: round(value, 4) for key, value in measure(model.eval(), dataset, by).items()}
        metrics[dataset] = {**means, "protocol": by.name}
    data = save(state)
    card = {
        "provenance": {key: value for key, value in run.provenance().items() if key != "vital_signs"},
        "metrics": metrics,
        "validation": validations(run),
        "weights": hashlib.sha256(data).hexdigest(),
        "card_only": card_only,
        "probe": probe.network(model),
        "vital_signs": vitals.measure(model, *metrics, experiment.data),  # of the training images where the others are too few
    }
    for name in (*also, experiment.name):
        file = released_file(experiment.paper, name, experiment.scale, experiment.seed)
        named = {"experiment": asdict(experiment) | {"name": name}, **card, "history": _past(file, card)}
        write_json(file.with_suffix(".json"), named)
        atomic_write(file, data)  # last, so that weights never exist without a card
    return file


def _past(file: Path, card: dict) -> list[dict]:
    """Return the budgets and metrics of the releases that a card replaces."""
    if (card_file := file.with_suffix(".json")).exists():
        old = read_card(card_file)
        same = _training_identity(old) == _training_identity(card)
        old_legs = legs(training_budget(old["experiment"], old["provenance"]))
        budget = {key: sum(leg[key] for leg in old_legs) for key in ("steps", "minutes")}
        budget |= {key: old["provenance"][key] for key in ("hardware", "date")}
        return old["history"] if same else [*old["history"], {**budget, "metrics": old["metrics"]}]
    return []
