"""From an experiment to its numbers: train or load a network, score it, and remember every score.

Released weights lie in `data/weights/<paper>/<experiment>_x<scale>.safetensors`, in float16, with a card beside them; their
scores on the public sets in `data/scores/`, a row per image. Scores are remembered per network, set, protocol and data, with a
probe of the scoring (`srlib.train.probe`), and made anew where the code scores otherwise.
"""

import hashlib
import io
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd
from safetensors.torch import load_file, save
from torch import nn

from srlib import papers
from srlib.core import paths
from srlib.core.errors import SRError, unknown
from srlib.core.files import atomic_write, sha256, write_json
from srlib.core.protocols import Protocol, protocol
from srlib.data.pairs import open_pairs
from srlib.data.sets import ImageSet, open_set
from srlib.nn import models
from srlib.papers import Method, Paper
from srlib.papers.profiles import Profile
from srlib.scoring import vitals
from srlib.scoring.evaluation import SCORERS, evaluate, measure
from srlib.train import probe
from srlib.train.experiment import Experiment
from srlib.train.run import Outdated, Run, legs, training_budget
from srlib.train.training import digest, train
from srlib.train.weights import half_precision, load_weights

# Columns of `trainings`
TRAININGS = ("method", "scale", "seed", "data", "steps", "batch", "hr_patch", "official", "dead", "validation", "history")


class NotReleased(SRError):
    """There are no released weights for an experiment at a scale: `which`."""

    def __init__(self, which: str, message: str):
        super().__init__(message)
        self.which = which


def _told(label: str, spent: dict, lender: str = "") -> str:
    parts = legs(spent)
    steps, minutes = (sum(one[key] for one in parts) for key in ("steps", "minutes"))
    patches = f"{steps:,} steps of {spent['batch']} patches of {spent['hr_patch']} px"
    precision = f" in {spent['precision']}" if "precision" in spent else ""  # older cards do not have that of a start
    whose = f" ({lender}'s training)" if lender else ""
    annealed = f" in {len(parts)} annealed legs" if len(parts) > 1 else ""
    return f"{label} x{spent['scale']}{whose} {patches}{precision}, {minutes:.1f} minutes{annealed}"


@dataclass(frozen=True)
class Trained:
    """A network ready to use, the folder that remembers its scores, and the file of its weights.

    run: None for released weights and methods that are not trained, which have no weights either. kept: the folder of the scores
    that came with released weights. lender: the paper whose training it is, where a paper borrows it.
    """

    name: str
    label: str
    model: nn.Module
    scores: Path
    weights: Path | None = None
    run: Run | None = None
    card: dict | None = None
    kept: Path | None = None
    lender: str = ""

    @property
    def provenance(self) -> dict | None:
        """Where and with what the weights were made; None for a method that is not trained."""
        return self.run.provenance() if self.run else self.card and self.card["provenance"]

    @property
    def vital_signs(self) -> vitals.Signs:
        """What `vitals.measure` gave after the training; {} for a network without a mechanism, and where nothing was kept."""
        return ((self.run.provenance() if self.run else self.card) or {}).get("vital_signs", {})

    @property
    def experiment(self) -> Experiment | None:
        """The training that the weights come from; None for a method that is not trained."""
        return self.run.experiment if self.run else self.card and Experiment(**self.card["experiment"])

    @property
    def training_budget(self) -> dict | None:
        """What the training cost, see `run.training_budget`; None for a method that is not trained."""
        made, one = self.provenance, self.experiment
        return training_budget(vars(one), made) if made and one else None

    @property
    def spent(self) -> str:
        """The budget in a few words, to stand beside those of other networks in a caption."""
        made, one = self.provenance, self.experiment
        if not made or not one:
            return ""
        if models.fitted(one.model):
            return f"{self.label} x{one.scale} fitted to {one.data}, {made['minutes']:.1f} minutes"
        return _told(self.label, training_budget(vars(one), made), self.lender)

    @property
    def budget(self) -> str:
        """One sentence for captions: what was spent on these weights, on which data and hardware."""
        made, one = self.provenance, self.experiment
        if not made or not one:
            return f"{self.label}: not trained."
        data = made["data"]
        return f"{self.spent} on {data['images']} images of {data['name']}; {made['hardware']}."


def weights_path(paper: Paper, name: str, scale: int, seed: int = 0) -> Path:
    """Return where the released weights of a paper's method lie, or would: its own, or where it has none those that it borrows.

    Seeds but the first are in their names.
    """
    own, lender = released_file(paper.name, name, scale, seed), paper.borrows.get(name)
    return released_file(lender, name, scale, seed) if lender and not own.exists() else own


def released_file(paper: str, name: str, scale: int, seed: int) -> Path:
    """Return where the released weights of a paper's own training lie, or would."""
    tail = f"_seed{seed}" if seed else ""
    return weights_dir() / paper / f"{name}_x{scale}{tail}.safetensors"


def weights_dir() -> Path:
    """Return the folder that has a folder of released weights for each paper."""
    return paths.home() / "data" / "weights"


def kept_scores(weights: Path) -> Path:
    """Return the folder in `data/scores/` for released weights; other weights of the same name have another one."""
    return paths.home() / "data" / "scores" / f"{weights.stem}-{sha256(weights)[:10]}"


def read_card(file: Path) -> dict:
    """Return the card of released weights; raises SRError where it cannot be read."""
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise SRError(f"{file}, the card of released weights, cannot be read ({error}); restore it from git") from error


def load_released(paper: Paper, name: str, scale: int, seed: int = 0) -> Trained:
    """Load released weights; raises NotReleased where there are none, SRError for an unknown name or scale, for weights that were
    changed and for code that no longer gives what it gave with them.

    scale: also one that the weights were not trained at, where the method's weights serve all.
    """
    method = paper.method(name)
    models.check(method.model, scale, method.args)
    file = weights_path(paper, name, method.trained_at or scale, seed)
    if not file.exists():
        there = sorted(f.stem for f in file.parent.glob("*.safetensors"))
        which = f"{name} x{scale} (seed {seed})" if seed else f"{name} x{scale}"
        if file.with_suffix(".json").exists():
            made = f"python -m srlib train {paper.name}/{name} --scale {scale} --seed {seed}"
            raise NotReleased(which, f"{which} of {paper.name}: its card is kept, its weights are not released; train it: {made}")
        raise NotReleased(
            which,
            f"no released weights of {paper.name} for {which}; there are: {', '.join(there) or 'none'}. "
            f"Train it: python -m srlib train {paper.name}/{name} --scale {scale}",
        )
    card = read_card(file.with_suffix(".json"))
    experiment = Experiment(**card["experiment"])
    lender = file.parent.name
    if (experiment.paper, experiment.name) != (lender, name):
        raise SRError(f"{file}: its card is of {experiment.paper}/{experiment.name}; put weights and card back in their folder")
    found = sha256(file)
    if found != card.get("weights"):
        raise SRError(f"{file} was changed: SHA-256 {found[:10]}, not {str(card.get('weights'))[:10]} as on its card; restore it")
    model = load_weights(models.create(experiment.model, experiment.scale, **experiment.model_args), file)
    _check_probe(model, card["probe"], f"released weights {file.stem}", card["provenance"])
    if scale != experiment.scale:
        model = load_weights(models.create(experiment.model, scale, **experiment.model_args), file)
    kept = kept_scores(file)
    folder = paths.runs_dir() / "released" / kept.name
    lent = papers.get(lender).name if lender != paper.name else ""
    return Trained(name, method.label, model, folder, file, card=card, kept=kept, lender=lent)


def _check_probe(model: nn.Module, kept: probe.Groups, what: str, made: dict) -> None:
    """Raise Outdated where a network with its trained weights no longer gives what it gave after the training."""
    if not probe.agree(probe.network(model), kept):
        raise Outdated(
            f"{what}: the network gives something else than after its training, so its code has changed since; "
            f"train it again, or go back to commit {str(made.get('commit'))[:10]}"
        )


def load_run(folder: Path, scale: int | None = None) -> Trained:
    """Load the weights of a complete run directory, for its own scale or another one that its model has.

    Raises SRError where the folder is no complete run, its weights are of one scale only or were changed, and Outdated where the
    code gives something else with them than after the training.
    """
    run = Run.open(folder)
    if not run.complete:
        raise SRError(f"{folder} is not a complete run; the same `python -m srlib train ...` continues it")
    experiment = run.experiment
    scale = experiment.scale if scale is None else scale
    if scale != experiment.scale and not _serves_all_scales(experiment):
        raise SRError(f"scale (={scale}) does not fit {folder}, which is x{experiment.scale}; leave the scale out")
    run.check_weights()
    model = load_weights(models.create(experiment.model, experiment.scale, **experiment.model_args), run.weights)
    made = run.provenance()
    _check_probe(model, made["probe"], f"run {folder}", made)
    if scale != experiment.scale:
        model = load_weights(models.create(experiment.model, scale, **experiment.model_args), run.weights)
    return Trained(experiment.name, experiment.name, model, run.dir / "metrics", run.weights, run)


def _serves_all_scales(experiment: Experiment) -> bool:
    return bool(papers.get(experiment.paper).method(experiment.name).trained_at)


def _untrained(method: Method, name: str, scale: int) -> Trained:
    model = models.create(method.model, scale, **method.args).eval()
    variant = "_".join(str(v) for v in method.args.values()) or "default"
    return Trained(name, method.label, model, paths.runs_dir() / "untrained" / f"{method.model}_{variant}_x{scale}")


def obtain(paper: Paper, name: str, scale: int, profile: Profile, seed: int = 0, progress: str = "auto") -> Trained:
    """Return a method's network: as it is (bicubic), trained or fitted under the profile, or with its released weights.

    A method that starts from another one's weights has that one trained before.
    """
    method = paper.method(name)
    if not method.trained:
        return _untrained(method, name, scale)
    if method.loaded(profile):
        return load_released(paper, name, scale, seed)
    at = method.trained_at or scale
    start = {part: obtain(paper, first, at, profile, seed, progress).weights for part, first in method.start.items()}
    run = train(paper.experiment(name, scale, profile, seed, start=digest(start)), start=start, progress=progress)
    return replace(load_run(run.dir, scale), label=method.label)


def available(paper: Paper, names: Iterable[str], scale: int, profile: Profile, seed: int = 0) -> dict[str, Trained]:
    """Return, by name, the networks that a profile has ready: untrained methods, released weights, complete runs."""
    found = {name: _ready(paper, name, scale, profile, seed) for name in names if paper.has(name, scale)}
    return {name: trained for name, trained in found.items() if trained is not None}


def _ready(paper: Paper, name: str, scale: int, profile: Profile, seed: int) -> Trained | None:
    method = paper.method(name)
    if not method.trained:
        return _untrained(method, name, scale)
    if method.loaded(profile):
        exists = weights_path(paper, name, method.trained_at or scale, seed).exists()
        return load_released(paper, name, scale, seed) if exists else None
    before = {part: _ready(paper, first, method.trained_at or scale, profile, seed) for part, first in method.start.items()}
    if None in before.values():
        return None
    start = digest({part: first.weights for part, first in before.items()})
    experiment = paper.experiment(name, scale, profile, seed, start=start)
    run = Run(experiment, open_pairs(experiment.data, experiment.scale).fingerprint)
    try:
        return replace(load_run(run.dir, scale), label=method.label) if run.complete else None
    except Outdated:  # trained anew when it is asked for
        return None


def training(paper: Paper, name: str, scale: int, profile: Profile, seed: int = 0) -> dict | None:
    """Return the training of a method that a profile has ready; None where it has none, or the method is not trained.

    Keys as on cards: `experiment`, `provenance`, `validation` (a row per validation, with `step`). Released weights need not be
    there, their card is enough.
    """
    method = paper.method(name)
    if not method.trained:
        return None
    if method.loaded(profile):
        card = weights_path(paper, name, method.trained_at or scale, seed).with_suffix(".json")
        return read_card(card) if card.exists() else None
    found = _ready(paper, name, scale, profile, seed)
    if found is None:
        return None
    return {"experiment": asdict(found.experiment), "provenance": found.provenance, "validation": _validations(found.run)}


def trainings(paper: Paper, rows: pd.DataFrame, profile: Profile) -> pd.DataFrame:
    """Return what claims of accuracy need to know of the trainings behind scores: a row per method, scale and seed in `rows`.

    Columns: `TRAININGS`. steps: with those of the trainings that it started from, but for identifiers, which enlarge
    nothing. official: whether the weights are those of the paper's authors. dead: why its mechanism did not train
    (`vitals.dead`), "" for a live one. validation: the name of the set; history: a row per validation. Left out is what is not
    trained, what is not there, and what started from weights whose training is not known.
    """
    found = []
    keys = ["method", "scale", "seed"]
    for method, scale, seed in rows[keys].fillna({"seed": 0}).drop_duplicates().itertuples(index=False) if len(rows) else ():
        name = paper.part_of.get(method, method)
        card = None if name in paper.parts else training(paper, name, int(scale), profile, int(seed))
        if card is None:
            continue
        one, made = Experiment(**card["experiment"]), card["provenance"]
        budget = training_budget(card["experiment"], made)
        steps = _all_steps(paper, name, int(scale), profile, int(seed), budget)
        if math.isnan(steps):
            continue
        about = {"data": one.data, "steps": int(steps)}
        about |= {"batch": one.batch, "hr_patch": one.hr_patch, "official": bool(made.get("official"))}
        about |= {"dead": vitals.dead(card.get("vital_signs") or made.get("vital_signs", {})), "validation": one.validation}
        found.append({"method": method, "scale": scale, "seed": seed, **about, "history": card.get("validation", [])})
    return pd.DataFrame(found, columns=list(TRAININGS))


def _all_steps(paper: Paper, name: str, scale: int, profile: Profile, seed: int, budget: dict) -> float:
    """Return the steps of a training and of those that it started from, but for identifiers; NaN where one is not known.

    budget: its `run.training_budget`, which older cards have without the trainings that it started from.
    """
    total, method = budget["steps"], paper.method(name)
    if "start" in budget:
        for first in budget["start"].values():
            if first is None:
                return math.nan
            total += 0 if first["name"] == "identifier" else _all_steps(paper, name, scale, profile, seed, {"start": {}, **first})
        return total
    for first in method.start.values():
        if paper.method(first).model != "identifier":
            card = training(paper, first, method.trained_at or scale, profile, seed)
            before = training_budget(card["experiment"], card["provenance"]) if card else {"steps": math.nan}
            total += _all_steps(paper, first, scale, profile, seed, before)
    return total


def spent(paper: Paper, names: Iterable[str], scales: Iterable[int], profile: Profile) -> str:
    """Return one sentence for a caption: what was spent on each network that a profile has ready; "" for none."""
    ready = [(scale, one) for scale in scales for one in available(paper, names, scale, profile).values()]
    said = dict.fromkeys(_spent(paper, one, scale, profile) for scale, one in ready if one.spent)
    return f"Spent: {'; '.join(said)}." if said else ""


def _spent(paper: Paper, trained: Trained, scale: int, profile: Profile) -> str:
    """Return the budget of a network and of those it started from, also of those whose weights are no longer there."""
    budget = trained.training_budget
    known = _before(paper, legs(budget)[0]) if budget else {}
    method, unknown = paper.method(trained.name), {}
    for part, name in method.start.items():
        if part not in known:  # older cards do not say
            at = method.trained_at or scale
            ready = available(paper, [name], at, profile)
            unknown[part] = _spent(paper, ready[name], at, profile) if ready else paper.method(name).label
    return f"{trained.spent}{_after([*known.values(), *unknown.values()])}"


def _before(paper: Paper, spent: dict) -> dict[str, str]:
    """Return, by part, the budgets in words of what a training started from, as far as they are known."""
    found = {}
    for part, first in spent.get("start", {}).items():
        if first:
            before = _before(paper, legs(first)[0])
            found[part] = f"{_told(paper.labels.get(first['name'], first['name']), first)}{_after(before.values())}"
    return found


def _after(before: Iterable[str]) -> str:
    joined = " and ".join(before)
    return f" (after {joined})" if joined else ""


def vital_signs(paper: Paper, names: Iterable[str], scales: Iterable[int], profile: Profile, seeds: Iterable[int] = (0,)) -> str:
    """Return one sentence for a caption: the vital signs of each network that a profile has ready, seed by seed; "" for none."""
    scales, seeds, said = list(scales), list(seeds), []
    for name in names:
        for scale in scales:
            found = {seed: available(paper, [name], scale, profile, seed).get(name) for seed in seeds}
            signs = {seed: vitals.describe(one.vital_signs) for seed, one in found.items() if one}
            for seed, words in signs.items():
                which = f"{paper.labels[name]} x{scale}{f' seed {seed}' if len(signs) > 1 else ''}"
                said += [f"{which}, {words}"] if words else []
    return f"Vital signs: {'. '.join(said)}." if said else ""


def with_model(trained: Trained, name: str, model: nn.Module) -> Trained:
    """Return a trained network with another model in its place, such as a part of it, and a folder for that one's own scores."""
    kept = trained.kept and trained.kept / name
    return replace(trained, name=name, model=model, scores=trained.scores / name, kept=kept)


def at_scale(trained: Trained, scale: int) -> nn.Module:
    """Return the network of a method whose weights serve every scale, for another one; raises SRError where they do not."""
    one = trained.experiment
    if one is None or not _serves_all_scales(one):
        raise SRError(f"{trained.name} is trained for x{trained.model.scale} and has no x{scale} from the same weights")
    return load_weights(models.create(one.model, scale, **one.model_args), trained.weights)


def gain(rows: pd.DataFrame, left: str, right: str) -> pd.Series:
    """Return by how many dB `left` beats `right` on each image, best first; rows of one set and scale."""
    means = rows.groupby(["method", "image"])["psnr"].mean()
    return (means[left] - means[right]).sort_values(ascending=False)


def _remembered(
    trained: Trained, dataset: str, by: Protocol, limit: int | None, tail: str, compute: Callable[[str | ImageSet], pd.DataFrame]
) -> pd.DataFrame:
    """Return what `compute` gives for a set, as it was remembered where the code still scores `probe.pictures` alike."""
    images = open_set(dataset)
    parts = [dataset.replace("/", "_").replace(":", "_"), f"x{trained.model.scale}", by.name, images.fingerprint[:8]]
    parts += [f"first{limit}"] if limit is not None and limit < len(images) else []
    name = f"{'_'.join([*parts, *([tail] if tail else [])])}.csv"
    does = probe.scoring(trained.model, compute)
    file = trained.scores / name
    for kept in (file, *([trained.kept / name] if trained.kept else [])):
        if kept.exists():
            rows, problem = read_scores(kept, by, does)
            if rows is not None:
                return rows
            print(f"{kept.parent.name}/{kept.name}: {problem}; scored again", flush=True)
    write_scores(file, compute(dataset), by, does)
    return read_scores(file, by, does)[0]


def write_scores(file: Path, rows: pd.DataFrame, by: Protocol, does: list[float]) -> None:
    """Write scores as CSV below a line that says, in JSON, what they belong to: protocol, probe, SHA-256 of the rows."""
    body = rows.to_csv(index=False)
    head = {"protocol": asdict(by), "probe": does, "rows": hashlib.sha256(body.encode()).hexdigest()}
    atomic_write(file, f"# {json.dumps(head)}\n{body}")


def read_scores(file: Path, by: Protocol, does: list[float]) -> tuple[pd.DataFrame | None, str]:
    """Return the rows of a file of scores, or None and why they do not count: damaged, another protocol, other code."""
    try:
        first, _, body = file.read_text().partition("\n")
        head = json.loads(first.removeprefix("# "))
        if hashlib.sha256(body.encode()).hexdigest() != head["rows"]:
            return None, "the rows were changed"
        if Protocol(**head["protocol"]) != by:
            return None, f"protocol {by.name!r} was another one"
        if not probe.agree_scores(head["probe"], does):
            return None, "the code scored otherwise"
    except (OSError, ValueError, TypeError, KeyError) as error:
        return None, f"it cannot be read ({error})"
    return pd.read_csv(io.StringIO(body), dtype={"image": str}), ""


def score(
    trained: Trained, dataset: str, by: Protocol, *, limit: int | None = None, ensemble: bool = False, scorer: str = ""
) -> pd.DataFrame:
    """Return a row per image (`image`, the protocol's metrics, `seconds`), evaluated once and then remembered.

    scorer: what a paper looks at instead, of `evaluation.SCORERS`: "parts" (D2C-SR), "patches" (Difficulty-SR).
    """

    def run(images: str | ImageSet) -> pd.DataFrame:
        if scorer:
            return SCORERS[scorer](trained.model, images, by, limit)
        return evaluate(trained.model, images, by, limit=limit, ensemble=ensemble)

    if scorer and scorer not in SCORERS:
        raise unknown("scorer", scorer, SCORERS)
    return _remembered(trained, dataset, by, limit, scorer or ("ensemble" if ensemble else ""), run)


def scores(
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
    """Return the rows of several methods, scales, sets and seeds, and, where some cannot be had, a note on which.

    datasets: empty for those that the profile has for each method (`Paper.tests`). by: the name of the protocol, by default the
    paper's. Scales that a method lacks are left out. The rows carry `paper`, `method`, `dataset`, `scale` and `seed`.
    """
    chosen = protocol(by or paper.protocol)
    frames, missing = [], []
    for name in names:
        for scale in (s for s in scales if paper.has(name, s)):
            for seed in seeds if paper.method(name).trained else (0,):
                try:
                    trained = obtain(paper, name, scale, profile, seed, progress)
                except NotReleased as error:
                    missing.append(error.which)
                    continue
                for dataset in datasets or paper.tests(name, profile):
                    rows = score(trained, dataset, chosen, limit=limit, ensemble=ensemble)
                    if "accuracy" in rows:
                        raise SRError(f"{name} tells patches apart and has no {chosen.metrics[0]}; see `store.score`")
                    about = {"paper": paper.name, "method": name, "dataset": dataset, "scale": scale, "seed": seed}
                    frames.append(rows.assign(**about))
    columns = ["paper", "method", "dataset", "scale", "seed", "image", *chosen.metrics, "seconds"]
    table = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)
    left_out = ", ".join(dict.fromkeys(one for one in missing if one.split(" (")[0] not in missing or "(" not in one))
    notes = [f"Without released weights, left out: {left_out} (python -m srlib list released)."] if missing else []
    return table[columns], notes


def _validations(run: Run) -> list[dict[str, float]]:
    """Return the scores of the validations of a run, each with its step, counted from the first leg on; [] where it had none."""
    history = run.history()
    history["step"] += sum(leg["steps"] for leg in legs(training_budget(vars(run.experiment), run.provenance()))[:-1])
    kept = history[history.columns.intersection(["step", "psnr", "ssim", "accuracy"])].dropna()
    return kept.to_dict("records") if kept.shape[1] > 1 else []


def _training(card: dict) -> dict:
    """Return what tells one training from another on a card."""
    return {key: value for key, value in card["provenance"].items() if key not in ("weights", "probe")}


def release(run: Run, datasets: Iterable[str], by: Protocol) -> Path:
    """Copy a complete run into `data/weights/`, `run.half_precision`, with a card: experiment, data, budget, hardware, metrics,
    and the validations of the training.

    It takes the place of another training that was released before, whichever is the better one; the card keeps the history of
    the budgets that were released before. Metrics and vital signs are those of the released weights.
    Raises SRError for a run that is not complete, and for weights that float16 cannot hold.
    """
    experiment: Experiment = run.experiment
    if not run.complete:
        raise SRError(f"{run.dir.name} is not complete; train it to its end first")
    run.check_weights()
    file = released_file(experiment.paper, experiment.name, experiment.scale, experiment.seed)
    model = models.create(experiment.model, experiment.scale, **experiment.model_args)
    state = half_precision(load_file(run.weights))
    model.load_state_dict(state)
    metrics = {}
    for dataset in datasets:
        means = {key: round(value, 4) for key, value in measure(model.eval(), dataset, by).items()}
        metrics[dataset] = {**means, "protocol": by.name}
    data = save(state)
    card = {
        "experiment": asdict(experiment),
        "provenance": {key: value for key, value in run.provenance().items() if key != "vital_signs"},
        "metrics": metrics,
        "history": [],
        "validation": _validations(run),
        "weights": hashlib.sha256(data).hexdigest(),
        "probe": probe.network(model),
        "vital_signs": vitals.measure(model, *metrics) if metrics else {},
    }
    if file.exists():
        old = read_card(file.with_suffix(".json"))
        same = _training(old) == _training(card)
        parts = legs(training_budget(old["experiment"], old["provenance"]))
        spent = {key: sum(part[key] for part in parts) for key in ("steps", "minutes")}
        spent |= {key: old["provenance"][key] for key in ("hardware", "date")}
        card["history"] = old["history"] if same else [*old["history"], {**spent, "metrics": old["metrics"]}]
    write_json(file.with_suffix(".json"), card)
    atomic_write(file, data)  # last: weights never lie there without a card
    return file
