"""The plan of the released networks, `data/plan.toml`, which `srlib.reproduce.queue` trains.

The plan is a list of comparisons, most wanted first. The networks of a comparison share data, steps, batch and patch, which are
written once; a network with a learning rate or precision of its own needs a `pilot`, a text on how it was chosen. A training of
more steps than a `leg` is split into legs: separate trainings with a full learning-rate schedule each, which start from the
weights of the previous leg with `restart` times the first leg's rate.
"""

import tomllib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from srlib import papers
from srlib.core import paths
from srlib.core.errors import SRError, unknown
from srlib.nn import models
from srlib.train.experiment import Experiment

SHARED = ("data", "validation", "steps", "batch", "hr_patch")  # of all networks of a comparison
OWN = ("learning_rate", "precision")  # of a network, where a pilot chose it
TOP = ("leg", "restart", "comparison")
REQUIRED = ("name", "scales", *SHARED, *OWN, "networks")  # of a comparison
COMPARISON = (*REQUIRED, "leg", "seeds", "model_args", "beside")
NETWORK = ("name", "scales", *OWN, "pilot", "seeds", "start", "also", "release", "card_only")
START = ("network", "scale", "parts")
LATER = "later"  # stands in `Experiment.start` for weights that are still to be trained

TYPES = {  # field -> description, type, type of a list's elements
    **dict.fromkeys(("scales", "seeds"), ("a list of whole numbers", list, int)),
    **dict.fromkeys(("beside", "also", "parts"), ("a list of strings", list, str)),
    "comparison": ("a list of tables", list, dict),
    "networks": ("a list", list, None),  # of strings and tables
    **dict.fromkeys(("name", "network", "pilot", "data", "validation", "precision"), ("a string", str, None)),
    **dict.fromkeys(("model_args", "start"), ("a table", dict, None)),
    **dict.fromkeys(("leg", "scale", "steps", "batch", "hr_patch"), ("a whole number", int, None)),
    **dict.fromkeys(("restart", "learning_rate"), ("a number with a point", float, None)),
    **dict.fromkeys(("release", "card_only"), ("true or false", bool, None)),
}
Key = tuple[str, str, int, int]  # paper, network, scale, seed


@dataclass(frozen=True)
class Planned:
    """A network of the plan at one scale and seed.

    experiment: as if trained in one leg; its `start` is `LATER` where it starts from other networks. leg: steps per leg.
    restart: learning rate of later legs as a fraction of the first leg's. start: the networks that it starts from, by part
    ("": the whole). official: network and scale of the official weights that it starts from, by part. also: further names of this
    training in the paper, under which it is released too. release: whether it is released. card_only: with card and scores, and
    without its weights, which nothing but a table needs (`cards`).
    """

    comparison: str
    experiment: Experiment
    leg: int
    restart: float
    start: dict[str, "Planned"] = field(default_factory=dict)
    official: dict[str, tuple[str, int]] = field(default_factory=dict)
    also: tuple[str, ...] = ()
    release: bool = True
    card_only: bool = False

    def __str__(self) -> str:
        return _name(self.key)

    @property
    def key(self) -> Key:
        e = self.experiment
        return e.paper, e.name, e.scale, e.seed

    @property
    def names(self) -> tuple[str, ...]:
        return self.experiment.name, *self.also

    @property
    def legs(self) -> int:
        return self.experiment.steps // self.leg

    @property
    def first(self) -> list["Planned"]:
        """The networks that it starts from."""
        return list({planned.key: planned for planned in self.start.values()}.values())

    def budget(self) -> Counter:
        """Return its training steps, including those of all networks that it starts from: (data, HR pixels of a step) -> steps.

        Identifiers, which do no SR, and official weights do not count.
        """
        e = self.experiment
        own = Counter({(e.data, e.batch * e.hr_patch**2): e.steps})
        return sum((first.budget() for first in self.first if first.experiment.model != "identifier"), own)

    def training(self, number: int, start: str) -> Experiment:
        """Return the training of a leg (0, 1, ...). start: the digest of the weights that it starts from."""
        rate = self.experiment.learning_rate * (self.restart if number else 1)
        return replace(self.experiment, steps=self.leg, learning_rate=rate, start=start, first_step=number * self.leg)


def _name(key: Key) -> str:
    paper, name, scale, seed = key
    return f"{paper}/{name} x{scale}{f' seed {seed}' if seed else ''}"


def read() -> list[Planned]:
    """Return the networks of the plan in its order. Raises SRError for a plan that breaks a rule of the module's docstring."""
    file = paths.home() / "data" / "plan.toml"
    try:
        content = tomllib.loads(file.read_text())
    except OSError as error:
        raise SRError(f"plan {file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise SRError(f"plan {file} is not TOML: {error}") from error
    _check_fields(content, TOP, TOP, "the plan")
    reader = _Reader(content["leg"], content["restart"])
    for table in content["comparison"]:
        reader.add(table)
    reader.check_budgets()
    return list(reader.planned.values())


def _check_fields(table: dict, known: Iterable[str], needed: Iterable[str], where: str) -> None:
    """Raise SRError for an unknown field, one that is missing, and one of another type than `TYPES` has."""
    for name, value in table.items():
        if name not in known:
            raise unknown(f"field of {where}:", name, known)
        description, kind, element = TYPES[name]
        if type(value) is not kind or (element and any(type(item) is not element for item in value)):
            raise SRError(f"{name} (={value!r}) of {where} must be {description}")
    missing = [name for name in needed if name not in table]
    if missing:
        raise SRError(f"{where} lacks {', '.join(missing)}; it has {', '.join(table) or 'nothing'}")


class _Reader:
    """Turns the tables of a plan into `Planned` networks."""

    def __init__(self, leg: int, restart: float):
        self.leg, self.restart = leg, restart
        if not 0 < restart <= 1:
            raise SRError(f"restart (={restart!r}) of the plan must be above 0 and at most 1, a part of the first rate, e.g. 0.5")
        self.planned: dict[Key, Planned] = {}
        self.trained_as: dict[Key, Key] = {}  # each name of a network, also an alias -> the name that it is trained under
        self.beside: dict[str, list[tuple[str, int]]] = {}  # comparison -> its networks planned elsewhere, with scale

    def add(self, table: dict) -> None:
        where = f"comparison {table.get('name', '?')!r}"
        _check_fields(table, COMPARISON, REQUIRED, where)
        if table["name"] in self.beside:
            raise SRError(f"{where} is in the plan twice; put its networks together")
        self.beside[table["name"]] = [(name, scale) for name in table.get("beside", []) for scale in table["scales"]]
        for item in table["networks"]:
            self._add_network(table, item if isinstance(item, dict) else {"name": item}, where)

    def _add_network(self, table: dict, network: dict, where: str) -> None:
        full_name = network.get("name", "?")
        for name in SHARED:
            if name in network:
                raise SRError(
                    f"{name} (={network[name]!r}) of {full_name} belongs to {where}, whose networks all get the same; "
                    f"leave it out, or plan {full_name} in a comparison of its own"
                )
        _check_fields(network, NETWORK, ["name"], f"{full_name} in {where}")
        own = [name for name in OWN if network.get(name, table[name]) != table[name]]
        if own and not network.get("pilot", "").strip():
            raise SRError(
                f"{own[0]} (={network[own[0]]!r}) of {full_name} is not that of {where} ({table[own[0]]!r}); "
                'say how it was chosen, pilot = "...", or leave it out'
            )
        if "pilot" in network and not own:
            raise SRError(f"pilot of {full_name} chose nothing: its rate and precision are those of {where}; leave it out")
        paper, name = papers.find(full_name)
        for scale in network.get("scales", table["scales"]):
            for seed in network.get("seeds", table.get("seeds", [0])):
                try:
                    self._add_one(table, network, paper, name, scale, seed)
                except SRError as error:
                    raise SRError(f"{full_name} in {where}: {error}") from None

    def _add_one(self, table: dict, network: dict, paper: papers.Paper, name: str, scale: int, seed: int) -> None:
        starts = self._starts(paper, name, network, scale, seed)
        fields = {key: table[key] for key in SHARED} | {key: network.get(key, table[key]) for key in OWN}
        fields["start"] = LATER if starts else ""
        experiment, *twins = (
            replace(e, model_args={**e.model_args, **table.get("model_args", {})})
            for e in (paper.experiment(alias, scale, "released", seed, **fields) for alias in (name, *network.get("also", [])))
        )
        if models.fitted(experiment.model):
            raise SRError("it is fitted in closed form, not trained; leave it out")
        leg = _leg(table.get("leg", self.leg), experiment.steps)
        if experiment.discriminator and leg < experiment.steps:
            raise SRError(
                f"leg (={leg}) splits its {experiment.steps} steps, but its discriminator is not kept between legs; set leg = "
                f"{experiment.steps}"
            )
        if network.get("card_only") and leg < experiment.steps:
            raise SRError(f"card_only leaves no weights for a second leg; set leg = {experiment.steps}")
        for twin in twins:
            differing = [key for key, value in vars(twin).items() if key != "name" and value != getattr(experiment, key)]
            twin_starts = self._starts(paper, twin.name, network, scale, seed)
            if [*map(self.trained_as.get, twin_starts.values())] != [*map(self.trained_as.get, starts.values())]:
                differing.append("start")
            if differing:
                raise SRError(f"also (={twin.name}) is another training: {', '.join(differing)}; plan it by itself")
        start, official = {}, {}
        for part, first in starts.items():
            if published := papers.get(first[0]).method(first[1]).official:
                official[part] = published, first[2]
            elif first not in self.trained_as:
                raise SRError(f"it starts from {_name(first)}, which the plan does not have before it; plan that first")
            elif self.planned[self.trained_as[first]].card_only:
                raise SRError(f"it starts from {_name(first)}, whose weights are not released; leave out its card_only")
            else:
                start[part] = self.planned[self.trained_as[first]]
        planned = Planned(
            table["name"],
            experiment,
            leg,
            self.restart,
            start,
            official,
            tuple(twin.name for twin in twins),
            network.get("release", True),
            network.get("card_only", False),
        )
        for alias in planned.names:
            key = (paper.name, alias, *planned.key[2:])
            if key in self.trained_as:
                other = self.planned[self.trained_as[key]].comparison
                raise SRError(f"{alias} x{key[2]} seed {seed} is planned already, in {other!r}; name it in `beside` of this one")
            self.trained_as[key] = planned.key
        self.planned[planned.key] = planned

    def _starts(self, paper: papers.Paper, name: str, network: dict, scale: int, seed: int) -> dict[str, Key]:
        method = paper.method(name)
        at = method.trained_at or scale
        given = network.get("start")
        if given is None:
            return {part: (paper.name, first, at, seed) for part, first in paper.start(name, paper.setting("released")).items()}
        if method.start:
            raise SRError(f"its start is the paper's: {', '.join(method.start.values())}; leave it out")
        _check_fields(given, START, START, "its start")
        lender, first = papers.find(given["network"])
        return {part: (lender.name, first, given["scale"], seed) for part in given["parts"]}

    def check_budgets(self) -> None:
        """Raise SRError where two networks of a comparison differ in data, HR pixels of a step or total steps."""
        for name, beside in self.beside.items():
            members = [planned for planned in self.planned.values() if planned.comparison == name]
            for other, scale in beside:
                paper, method = papers.find(other)
                at = paper.method(method).trained_at or scale
                keys = {key for alias, key in self.trained_as.items() if alias[:3] == (paper.name, method, at)}
                if not keys:
                    raise SRError(f"beside (={other}) of comparison {name!r} is not in the plan at x{at}; plan it, too")
                members += [self.planned[key] for key in sorted(keys)]
            for member in members[1:]:
                if member.budget() != members[0].budget():
                    raise SRError(
                        f"comparison {name!r} is of unequal budgets: {members[0]} has {_describe_budget(members[0])}, "
                        f"{member} {_describe_budget(member)}; give them the same, or put them into comparisons of their own"
                    )


def _leg(leg: int, steps: int) -> int:
    """Return the steps of a leg: all steps if they fit into one."""
    if leg < 1:
        raise SRError(f"leg (={leg}) must be a number of steps from 1")
    if steps > leg and steps % leg:
        parts = next(n for n in range(-(-steps // leg), steps + 1) if steps % n == 0)
        raise SRError(f"leg (={leg}) does not divide {steps} steps; set leg = {steps // parts} in its comparison")
    return min(leg, steps)


def _describe_budget(planned: Planned) -> str:
    parts = planned.budget().items()
    return " and ".join(f"{steps:,} steps of {pixels:,} HR pixels of {data}" for (data, pixels), steps in parts)
