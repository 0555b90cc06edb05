"""A paper as named methods, each of them an experiment at any scale and profile."""

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from srlib import official
from srlib.core.errors import SRError, unknown
from srlib.nn import models
from srlib.papers.profiles import Profile
from srlib.papers.profiles import profile as find_profile
from srlib.train.experiment import Experiment


def _narrow(args: dict[str, Any], width_divisor: int) -> dict[str, Any]:
    """Return a network's arguments with its channels divided by `width_divisor`."""

    def of(arg: str, value: Any) -> Any:
        if isinstance(value, dict):
            return _narrow(value, width_divisor)
        return value // width_divisor if arg in ("width", "bottleneck") else value

    return {arg: of(arg, value) for arg, value in args.items()}


def _sized(fields: dict[str, Any], scale: int) -> dict[str, Any]:
    """Return fields with `lr_patch` replaced by `hr_patch`."""
    fields = dict(fields)
    if "lr_patch" in fields:
        fields["hr_patch"] = fields.pop("lr_patch") * scale
    return fields


# Short trainings on City100's few pairs: three seeds span 0.47 dB and 0.013 with D2C-SR, 0.07 dB without its loss, 0.69 dB and
# 0.016 without its residuals, the largest span measured.
CITY100_NOISE = {"psnr": 0.7, "ssim": 0.016}


@dataclass(frozen=True)
class Method:
    """A row of a paper's table.

    model, args: of `models.create`. label: in tables. fields: the paper's training as fields of an `Experiment`, empty for a
    method that is not trained. short: fields for budgets other than the paper's. trained_at: the scale of its only training,
    whose weights serve every scale (None: one training per scale). scales: those that it has (empty: all of the paper's). start:
    the methods whose trained weights initialise it, by the part of its network ("": the whole). A field `lr_patch` is the patch
    size in LR pixels, the same at every scale; a field `model_args` replaces args. official: the network of `srlib.official` that
    it stands for, with its authors' weights; such a method is not trained.
    """

    model: str
    label: str
    args: dict[str, Any] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)
    short: dict[str, Any] = field(default_factory=dict)
    trained_at: int | None = None
    scales: tuple[int, ...] = ()
    start: dict[str, str] = field(default_factory=dict)
    official: str = ""

    @property
    def trained(self) -> bool:
        return bool(self.fields)

    def loaded(self, profile: Profile) -> bool:
        """Whether a profile loads its released weights instead of training it.

        Methods fitted in closed form are not released: fitting takes minutes, and their weights are larger than any network's.
        """
        return self.trained and not profile.train and not models.fitted(self.model)


OFFICIAL = "_official"  # ends the name of a row of official weights


def with_official(methods: dict[str, Method], scales: Collection[int]) -> dict[str, Method]:
    """Return methods, each followed by a row of its official weights ("vdsr_official") where there are some at these scales."""
    rows = {}
    for name, method in methods.items():
        rows[name] = method
        published = tuple(scale for network, scale in official.available() if network == name and scale in scales)
        if published:
            label = f"{method.label}, official weights"
            rows[name + OFFICIAL] = Method(method.model, label, scales=published, official=name)
    return rows


@dataclass(frozen=True)
class Paper:
    """A paper: what its tables compare, and how.

    protocol: name of the protocol of its main table. methods: those of its main tables and their references. compared: the
    methods that its main tables compare, in order. scales: those of its tables. reference_methods: methods shown on fewer sets
    where a profile says so (`Profile.reference_tests`). ablations: methods of its ablations only. parts: further rows, a
    component of a trained method or a bound, name -> label. part_of: the trained method of a part. profiles: by profile name, the
    fields that this paper sets otherwise (data, scales, sets). noise: by how much another seed moves a metric, where known to
    exceed `claims.NOISE`. borrows: methods without released weights of their own at some scale -> the paper whose released
    training of that name is used instead; captions say so. derived: sets in its tables made of another set's images -> that set.
    """

    name: str
    title: str
    protocol: str
    methods: dict[str, Method]
    compared: tuple[str, ...]
    scales: tuple[int, ...]
    reference_methods: tuple[str, ...] = ()
    ablations: dict[str, Method] = field(default_factory=dict)
    parts: dict[str, str] = field(default_factory=dict)
    part_of: dict[str, str] = field(default_factory=dict)
    profiles: dict[str, dict[str, Any]] = field(default_factory=dict)
    noise: dict[str, float] = field(default_factory=dict)
    borrows: dict[str, str] = field(default_factory=dict)
    derived: dict[str, str] = field(default_factory=dict)

    def setting(self, profile: str | Profile, scale: int | None = None) -> Profile:
        """Return a profile as this paper has it; raises SRError for an unknown name.

        Sets that differ from scale to scale are named like "RealSR-V3-x{scale}/test"; with a scale they are filled in.
        """
        chosen = find_profile(profile) if isinstance(profile, str) else profile
        chosen = dataclasses.replace(chosen, **self.profiles.get(chosen.name, {}))
        if scale is None:
            return chosen
        names = {name: getattr(chosen, name).format(scale=scale) for name in ("data", "validation", "ablation_tests")}
        return dataclasses.replace(chosen, tests=tuple(test.format(scale=scale) for test in chosen.tests), **names)

    def tests(self, name: str, profile: Profile) -> tuple[str, ...]:
        """Return the sets that a method is scored on under a profile."""
        fewer = profile.reference_tests if name in self.reference_methods or name in self.ablations else ()
        return tuple(test for test in profile.tests if test in fewer) or profile.tests

    @property
    def labels(self) -> dict[str, str]:
        """The label of every name that a table, a claim or a row of scores can have."""
        return {name: method.label for name, method in {**self.methods, **self.ablations}.items()} | self.parts

    def trains(self, name: str) -> bool:
        """Whether the row of that name depends on a training, and so on a seed."""
        return name in self.parts or self.method(name).trained

    def method(self, name: str) -> Method:
        known = {**self.methods, **self.ablations}
        if name not in known:
            raise unknown(f"method of {self.name}:", name, known)
        return known[name]

    def start(self, name: str, profile: Profile) -> dict[str, str]:
        """Return the methods whose weights initialise a method under a profile, by the part of its network.

        Official weights where there are some, unless the profile trains all networks itself.
        """
        start = self.method(name).start
        if profile.train:
            return start
        return {part: first + OFFICIAL if first + OFFICIAL in self.methods else first for part, first in start.items()}

    def rows(self, names: Collection[str], profile: Profile) -> list[str]:
        """Return names of rows, each followed by the row of its official weights where there is one and the profile shows it."""
        shown = () if profile.train else self.methods
        return [row for name in names for row in (name, name + OFFICIAL) if row == name or row in shown]

    def scales_of(self, profile: Profile, wanted: Collection[int] = ()) -> list[int]:
        """Return the scales of the paper that a profile has; of those `wanted`, where given, or SRError where none is left."""
        known = [scale for scale in self.scales if scale in self.setting(profile).scales]
        chosen = [scale for scale in wanted or known if scale in known]
        if wanted and not chosen:
            listed = ", ".join(str(scale) for scale in known)
            raise SRError(f"scales (={list(wanted)}): profile {profile.name} has {listed} of {self.name}")
        return chosen

    def has(self, name: str, scale: int) -> bool:
        """Whether a method exists at a scale."""
        return scale in (self.method(name).scales or self.scales)

    def check(self, name: str, scale: int) -> None:
        """Raise SRError for an unknown method or a scale that it lacks."""
        if not self.has(name, scale):
            known = ", ".join(f"x{s}" for s in self.method(name).scales or self.scales)
            raise SRError(f"scale (={scale}) of {name} must be one that {self.name} has: {known}")

    def experiment(self, name: str, scale: int, profile: str | Profile, seed: int = 0, **changes) -> Experiment:
        """Return the training of a method under a profile; `changes` are fields that win over both.

        A method with `trained_at` has one training, that of this scale, whatever `scale` it is asked for.

        Raises SRError for an unknown method, profile, scale or field, and for a method that is not trained.
        """
        self.check(name, scale)
        chosen = self.setting(profile)
        method = self.method(name)
        if not method.trained:
            raise SRError(f"method {name!r} is not trained")
        scale = method.trained_at or scale
        layers = [method.fields, chosen.overrides, method.short if chosen.overrides else {}]
        fields = {name: value for layer in layers for name, value in _sized(layer, scale).items()}
        args = _narrow(fields.pop("model_args", method.args), chosen.width_divisor)
        if "discriminator_args" in fields:
            fields["discriminator_args"] = _narrow(fields["discriminator_args"], chosen.width_divisor)
        if name in self.ablations:
            fields |= chosen.ablation
        for given in (changes, method.short, chosen.overrides):  # the first of them that has a budget decides
            if "steps" in given or "minutes" in given:
                fields.pop("minutes" if "steps" in given else "steps", None)
                break
        fixed = ("name", "paper", "model", "scale", "seed")  # given by this method's arguments
        known = [field.name for field in dataclasses.fields(Experiment) if field.name not in fixed]
        for change in changes:
            if change not in known:
                raise unknown("field of an experiment:", change, known)
        data = chosen.fitted_data if models.fitted(method.model) and chosen.fitted_data else chosen.data
        sets = {"data": data, "validation": chosen.validation, **fields}
        sets = {name: sets[name].format(scale=scale) for name in ("data", "validation")}
        base = {"model_args": args, "seed": seed, **fields, **sets, **changes}
        return Experiment(name=name, paper=self.name, model=method.model, scale=scale, **base)
