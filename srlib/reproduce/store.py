"""Networks ready to use: untrained, from a complete run, with released weights, or trained on demand."""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from srlib import official, papers
from srlib.core import paths
from srlib.core.errors import SRError
from srlib.core.files import sha256
from srlib.data.pairs import open_pairs
from srlib.nn import models
from srlib.nn.patchwise import FittedWhenUsed, Patchwise
from srlib.papers import Method, Paper
from srlib.papers.profiles import Profile
from srlib.reproduce.cards import NotReleased, describe_budget, kept_scores, published_scores, read_card, weights_path
from srlib.scoring import vitals
from srlib.train import probe
from srlib.train.experiment import Experiment
from srlib.train.run import Outdated, Run, training_budget
from srlib.train.training import digest, train
from srlib.train.weights import load_weights


@dataclass(frozen=True)
class Trained:
    """A network ready to use, its weights file and its folder of scores.

    weights: None for a method that is not trained. run: None also for released weights, which have a `card` instead. kept: the
    folder of the published scores of released weights, of an untrained method, or of one in closed form. lender: the paper
    that trained it, if borrowed. unfitted: the experiment of a method in closed form that has not been fitted.
    absent: where only the card is released, the error that using the model raises; its parameters have no values.
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
    unfitted: Experiment | None = None
    absent: NotReleased | None = None

    @property
    def provenance(self) -> dict | None:
        """Data, hardware, code and date of the training; None for a method that is not trained."""
        return self.run.provenance() if self.run else self.card and self.card["provenance"]

    @property
    def vital_signs(self) -> vitals.Signs:
        """`vitals.measure` after the training; {} for a network without a mechanism and where none are recorded."""
        return ((self.run.provenance() if self.run else self.card) or {}).get("vital_signs", {})

    @property
    def probed(self) -> nn.Module:
        """The network whose scoring is probed: `probe.stand_in`, or with `card_only` the network before its training."""
        if self.card and self.card.get("card_only"):
            return _initial(self.experiment, self.model.scale)
        return probe.stand_in(self.model)

    @property
    def experiment(self) -> Experiment | None:
        """The training that the weights come from; None for a method that is not trained."""
        return self.run.experiment if self.run else Experiment(**self.card["experiment"]) if self.card else self.unfitted

    @property
    def training_budget(self) -> dict | None:
        """See `run.training_budget`; None for a method that is not trained."""
        return training_budget(vars(self.experiment), self.provenance) if self.provenance else None

    @property
    def budget_summary(self) -> str:
        """The training budget as one item of a caption's list; "" for a method that is not trained."""
        if not self.experiment:
            return ""
        if models.fitted(self.experiment.model):
            return f"{self.label} x{self.experiment.scale} fitted to {self.experiment.data}"
        return describe_budget(self.label, self.training_budget, self.lender)

    @property
    def budget(self) -> str:
        """One sentence for captions: training budget, data and hardware."""
        if not self.provenance:
            return f"{self.label}: not trained."
        data, hardware = self.provenance["data"], self.provenance["hardware"]
        return f"{self.budget_summary} on {data['images']} images of {data['name']}; {hardware}."


def _initial(experiment: Experiment, scale: int) -> nn.Module:
    """Return the network with initial weights of seed 0, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return models.create(experiment.model, scale, **experiment.model_args).eval()


def _load(experiment: Experiment, file: Path, scale: int) -> nn.Module:
    return load_weights(models.create(experiment.model, scale, **experiment.model_args), file)


def _load_checked(experiment: Experiment, file: Path, scale: int, made: dict, expected: probe.Groups, what: str) -> nn.Module:
    """Load a network; raises Outdated where its output is not `expected`. made: the provenance of its training."""
    model = _load(experiment, file, experiment.scale)
    if not probe.agree(probe.network(model), expected):
        raise Outdated(
            f"{what}: the network's output differs from that after its training, so its code has changed since; "
            f"retrain it, or check out commit {str(made.get('commit'))[:10]}"
        )
    return model if scale == experiment.scale else _load(experiment, file, scale)


def load_released(paper: Paper, name: str, scale: int, seed: int = 0, only_scored: bool = False) -> Trained:
    """Load a method's released weights and check their hash and probe.

    scale: may differ from the scale of the training for a method whose weights serve all scales. only_scored: where only the card
    is released, return the method without weights, for its stored scores (see `Trained`).
    Raises NotReleased where there are none, SRError for an unknown name or scale and for modified weights, and Outdated where the
    network's code has changed since the training.
    """
    method = paper.method(name)
    models.check(method.model, scale, method.args)
    file = weights_path(paper, name, method.trained_at or scale, seed)
    there = file.exists() or file.with_suffix(".json").exists()
    card = read_card(file.with_suffix(".json"), whole=True) if there else {}
    actual, expected = sha256(file) if file.exists() else "", str(card.get("weights"))
    earlier = bool(actual) and actual != expected and card.get("card_only")  # weights of a release before the card's
    if not actual or earlier:
        which = f"{name} x{scale} (seed {seed})" if seed else f"{name} x{scale}"
        command = f"python -m srlib train {paper.name}/{name} --scale {scale}{f' --seed {seed}' if seed else ''}"
        if card:
            message = f"{which} of {paper.name}: only its card is released, not its weights; train it: {command}"
            if only_scored and card.get("card_only"):
                return _without_weights(paper, method, name, scale, file, NotReleased(which, message))
        else:
            existing = ", ".join(sorted(f.stem for f in file.parent.glob("*.safetensors"))) or "none"
            elsewhere = "" if paths.released_dir().name == "data" else "a checkout has more: set SRLIB_HOME to it. "
            message = f"no released weights of {paper.name} for {which}; there are: {existing}. {elsewhere}Train it: {command}"
        raise NotReleased(which, message)
    experiment = Experiment(**card["experiment"])
    lender = file.parent.name
    if (experiment.paper, experiment.name) != (lender, name):
        raise SRError(f"{file}: its card is of {experiment.paper}/{experiment.name}; put weights and card back in their folder")
    if actual != expected:
        raise SRError(f"{file} was changed: SHA-256 {actual[:10]}, not {expected[:10]} as on its card; restore it")
    what, kept = f"released weights {file.stem}", kept_scores(file)
    model = _load_checked(experiment, file, scale, card["provenance"], card["probe"], what)
    folder = paths.runs_dir() / "released" / kept.name
    return Trained(name, method.label, model, folder, file, card=card, kept=kept, lender="" if lender == paper.name else lender)


def _without_weights(paper: Paper, method: Method, name: str, scale: int, file: Path, error: NotReleased) -> Trained:
    """Return a method of which only the card and the scores are released; its model raises the error when it is called."""

    def refuse(model: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        raise error

    card, kept = read_card(file.with_suffix(".json")), kept_scores(file)
    with torch.device("meta"):  # no values, so that no part of it can be used either
        model = models.create(method.model, scale, **Experiment(**card["experiment"]).model_args).eval()
    model.register_forward_pre_hook(refuse)
    folder = paths.runs_dir() / "released" / kept.name
    lender = "" if file.parent.name == paper.name else file.parent.name
    return Trained(name, method.label, model, folder, card=card, kept=kept, lender=lender, absent=error)


def load_run(folder: Path, scale: int | None = None) -> Trained:
    """Load the weights of a complete run directory and check their hash and probe.

    scale: default: that of the run; another one for a method whose weights serve all scales.
    Raises SRError for an incomplete run, for a scale that does not fit and for modified weights, and Outdated where the network's
    code has changed since the training.
    """
    run = Run.open(folder)
    if not run.complete:
        raise SRError(f"{folder} is not a complete run; the same `python -m srlib train ...` continues it")
    experiment = run.experiment
    scale = check_scale(experiment, scale, folder)
    run.check_weights()
    made = run.provenance()
    model = _load_checked(experiment, run.weights, scale, made, made["probe"], f"run {folder}")
    return Trained(experiment.name, experiment.name, model, run.dir / "metrics", run.weights, run)


def check_scale(experiment: Experiment, scale: int | None, source: str | Path) -> int:
    """Return the scale to use a training's weights at: their own, or another one where a method's weights serve all scales.

    scale: asked for; None for their own. source: the weights, for the error. Raises SRError for a scale that does not fit.
    """
    if scale in (None, experiment.scale) or _serves_all_scales(experiment):
        return experiment.scale if scale is None else scale
    raise SRError(f"scale (={scale}) does not fit {source}, which is x{experiment.scale}; leave the scale out")


def _serves_all_scales(experiment: Experiment) -> bool:
    return bool(papers.get(experiment.paper).method(experiment.name).trained_at)


def _untrained(method: Method, name: str, scale: int) -> Trained:
    model = models.create(method.model, scale, **method.args).eval()
    folder = untrained_scores(method, scale)
    return Trained(name, method.label, model, paths.runs_dir() / "untrained" / folder.name, kept=folder)


def untrained_scores(method: Method, scale: int) -> Path:
    """Return the folder of the published scores of an untrained method in `data/scores/`."""
    variant = "_".join(str(v) for v in method.args.values()) or "default"
    return published_scores(f"{method.model}_{variant}_x{scale}")


def _closed_form(paper: Paper, name: str, scale: int, profile: Profile, seed: int, progress: str = "auto") -> Trained | None:
    """Return a method in closed form: its fit, or one that is fitted when it is used; None without fit and published scores."""
    method, experiment = paper.method(name), paper.experiment(name, scale, profile, seed)
    try:
        run = Run(experiment, open_pairs(experiment.data, experiment.scale).fingerprint)
    except SRError:  # its training images are not here: the published scores of one version of them are enough
        versions = list(published_scores("").glob(f"{experiment.key('').rpartition('-')[0]}-*"))
        if len(versions) != 1:
            return None
        kept, made = versions[0], paths.runs_dir() / "released" / versions[0].name
    else:
        kept, made = published_scores(run.key), run.dir / "metrics"
        if run.complete:
            with contextlib.suppress(Outdated):  # it is fitted anew when it is used
                return replace(load_run(run.dir, scale), label=method.label, kept=kept)
    unfitted = models.create(experiment.model, scale, **experiment.model_args)
    if not (kept.is_dir() and isinstance(unfitted, Patchwise)):
        return None
    model = FittedWhenUsed(unfitted, lambda: load_run(train(experiment, progress=progress).dir, scale).model)
    return Trained(name, method.label, model, made, kept=kept, unfitted=experiment)


def load_official(method: Method, name: str, scale: int) -> Trained:
    """Return a network with official weights; raises NotReleased where their file was not fetched."""
    which = f"{name} x{scale}"
    if not official.fetched(method.official, scale):
        raise NotReleased(which, f"official weights of {which} were not fetched; fetch them: python -m srlib data official")
    weights = official.weights_file(method.official, scale)
    kept = kept_scores(weights)
    model = official.load(method.official, scale)
    return Trained(name, method.label, model, paths.runs_dir() / "released" / kept.name, weights, kept=kept)


def load_or_train(
    paper: Paper, name: str, scale: int, profile: Profile, seed: int = 0, progress: str = "auto", only_scored: bool = False
) -> Trained:
    """Return a method's network: untrained (bicubic), with released weights, or trained or fitted under the profile.

    Networks whose weights it starts from are trained first. only_scored: of a method whose scores are published they are enough:
    one in closed form is fitted when other scores are asked of it; one without weights then raises NotReleased.
    """
    method = paper.method(name)
    if method.official:
        return load_official(method, name, scale)
    if not method.trained:
        return _untrained(method, name, scale)
    if method.loaded(profile):
        return load_released(paper, name, scale, seed, only_scored)
    if only_scored and not profile.train and (ready := _closed_form(paper, name, scale, profile, seed, progress)):
        return ready
    at = method.trained_at or scale
    initial = paper.start(name, profile)
    start = {part: load_or_train(paper, first, at, profile, seed, progress).weights for part, first in initial.items()}
    run = train(paper.experiment(name, scale, profile, seed, start=digest(start)), start=start, progress=progress)
    return replace(load_run(run.dir, scale), label=method.label)


def available(paper: Paper, names: Iterable[str], scale: int, profile: Profile, seed: int = 0) -> dict[str, Trained]:
    """Return, by name, the networks that need no training: untrained methods, released ones, complete runs."""
    networks = {name: load_existing(paper, name, scale, profile, seed) for name in names if paper.has(name, scale)}
    return {name: trained for name, trained in networks.items() if trained is not None}


def load_existing(paper: Paper, name: str, scale: int, profile: Profile, seed: int) -> Trained | None:
    """Return a network that needs no training, released without weights (`Trained.absent`) or with; None without one."""
    method = paper.method(name)
    if method.official:  # beside networks trained in minutes they would be no comparison
        return load_official(method, name, scale) if not profile.train and official.fetched(method.official, scale) else None
    if not method.trained:
        return _untrained(method, name, scale)
    if method.loaded(profile):
        try:
            return load_released(paper, name, scale, seed, only_scored=True)
        except NotReleased:
            return None
    if not profile.train:
        return _closed_form(paper, name, scale, profile, seed)
    start_networks = {
        part: load_existing(paper, first, method.trained_at or scale, profile, seed)
        for part, first in paper.start(name, profile).items()
    }
    if None in start_networks.values():
        return None
    start = digest({part: first.weights for part, first in start_networks.items()})
    experiment = paper.experiment(name, scale, profile, seed, start=start)
    run = Run(experiment, open_pairs(experiment.data, experiment.scale).fingerprint)
    try:
        return replace(load_run(run.dir, scale), label=method.label) if run.complete else None
    except Outdated:  # load_or_train retrains it
        return None


def with_model(trained: Trained, name: str, model: nn.Module) -> Trained:
    """Return a trained network with another model, such as a component of it, whose scores have a folder of their own."""
    kept = trained.kept and trained.kept / name
    return replace(trained, name=name, model=model, scores=trained.scores / name, kept=kept)


def at_scale(trained: Trained, scale: int) -> nn.Module:
    """Return the network at another scale; raises SRError unless its weights serve all scales."""
    experiment = trained.experiment
    if trained.absent:
        raise trained.absent
    if experiment is None or not _serves_all_scales(experiment):
        raise SRError(f"{trained.name} is trained for x{trained.model.scale} and has no x{scale} from the same weights")
    return _load(experiment, trained.weights, scale)
