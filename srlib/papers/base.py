"""What a paper is to this project: named methods, each of them one experiment at any scale and profile."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from srlib.errors import SRError, unknown
from srlib.experiments import Experiment, Profile
from srlib.experiments import profile as find_profile


@dataclass(frozen=True)
class Method:
    """A row of a paper's table: a model, its label in tables, its arguments, and the paper's training as fields of an
    Experiment (empty for a method that is not trained)."""

    model: str
    label: str
    args: dict[str, Any] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def trained(self) -> bool:
        return bool(self.fields)


@dataclass(frozen=True)
class Paper:
    """methods: those of its main tables, and networks that stand beside them. compared: the methods that its main tables
    compare, in their order. ablations: those that only its ablations compare. protocol: the name
    of the protocol of its main table."""

    name: str
    title: str
    protocol: str
    methods: dict[str, Method]
    compared: tuple[str, ...]
    ablations: dict[str, Method] = field(default_factory=dict)

    def method(self, name: str) -> Method:
        known = {**self.methods, **self.ablations}
        if name not in known:
            raise unknown(f"method of {self.name}:", name, known)
        return known[name]

    def experiment(self, name: str, scale: int, profile: str | Profile, seed: int = 0, **changes) -> Experiment:
        """Return the training of a method under a profile; `changes` are fields that win over both.

        Raises SRError for an unknown method, profile, scale or field, and for a method that is not trained.
        """
        chosen = find_profile(profile) if isinstance(profile, str) else profile
        method = self.method(name)
        if not method.trained:
            raise SRError(f"method {name!r} is not trained")
        fields = {**method.fields, **chosen.overrides}
        args = {arg: v // chosen.shrink if arg in ("width", "bottleneck") else v for arg, v in method.args.items()}
        if name in self.ablations:
            fields |= chosen.ablation
        for budget, other in (("steps", "minutes"), ("minutes", "steps")):
            if budget in changes or (budget in chosen.overrides and other not in changes):
                fields.pop(other, None)
        fixed = ("name", "paper", "model", "scale", "seed")  # those are arguments of their own, or the method's
        known = [field.name for field in dataclasses.fields(Experiment) if field.name not in fixed]
        for change in changes:
            if change not in known:
                raise unknown("field of an experiment:", change, known)
        base = {"data": chosen.data, "model_args": args, "validation": chosen.validation, "seed": seed, **fields, **changes}
        return Experiment(name=name, paper=self.name, model=method.model, scale=scale, **base)
