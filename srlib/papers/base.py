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
    nested = {arg: _narrow(value, width_divisor) for arg, value in args.items() if isinstance(value, dict)}
    return args | nested | {arg: args[arg] // width_divisor for arg in ("width", "bottleneck") if arg in args}


def camera_sets(data: str, *tests: str, scales: tuple[int, ...] = (1,)) -> dict[str, Any]:
    """Return the fields of a profile on camera pairs; the first of `tests` is also the validation and the ablations' set."""
    return {"data": data, "validation": tests[0], "tests": tests, "ablation_tests": tests[0], "scales": scales}


EMBEDDED_CAMERA = camera_sets("embedded-camera", "embedded-camera-test")
CITY100 = {
    **camera_sets("City100-nikon/train80", "City100-nikon/test20", "City100-iphone/test20", "RealSR-NTIRE19"),
    "reference_tests": ("City100-nikon/test20",),
}
# 95 % of the difference between trainings that differ in nothing but the seed: 0.01 to 0.02 dB in these papers with their own
# budgets, and more with small ones: two of BTSRN's 6+4 and of its 7+4 lie 0.04 and 0.07 dB apart on Set14 after 1,200 steps.
SEED_NOISE = {"psnr": 0.1, "ssim": 0.001}
# On 13 scenes three seeds of short trainings span 0.47 dB and 0.013 with D2C-SR, 0.69 dB and 0.016 without its residuals. On 80
# scenes, over three seeds of four networks each, 95 % of a difference on test20 is 0.15 dB and 0.0017 with D2C-SR after 26,000
# steps, 0.04 dB and 0.0015 in DDet's ladder after 10,000: the larger one stands for all networks.
CITY100_NOISE = {"City100-nikon/train13": {"psnr": 0.7, "ssim": 0.016}, "City100-nikon/train80": {"psnr": 0.15, "ssim": 0.0017}}
# On photographs of other cameras, of the same networks: 0.07 to 0.32 dB and up to 0.0075, pooled.
NOISE_ON = dict.fromkeys(("City100-iphone/test20", "RealSR-NTIRE19"), {"psnr": 0.23, "ssim": 0.0055})


@dataclass(frozen=True)
class Method:
    """A row of a paper's table.

    model, args: of `models.create`. label: in tables. fields: the paper's training as fields of an `Experiment`, empty for a
    method that is not trained. short: fields for budgets other than the paper's. trained_at: the scale of its only training,
    whose weights serve every scale (None: one training per scale). scales: those that it has (empty: all of the paper's). start:
    the methods whose trained weights initialise it, by the part of its network ("": the whole). A field `lr_patch` is the patch
    size in LR pixels, the same at every scale; a field `model_args` replaces args. official: the network of `srlib.official` that
    it stands for, with its authors' weights; such a method is not trained. sets: those of `Profile.reference_tests` that it is
    scored on, where it is too slow for all of them (empty: all).
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
    sets: tuple[str, ...] = ()

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
            trained_by_others = official.source(name, published[0])["origin"] == "a third party's training"
            whose = "a third party's" if trained_by_others else "official"
            label = f"{method.label}, {whose} weights"
            rows[name + OFFICIAL] = Method(method.model, label, scales=published, official=name, sets=method.sets)
    return rows


@dataclass(frozen=True)
class Paper:
    """A paper: what its tables compare, and how.

    protocol: name of the protocol of its main table. methods: those of its main tables and their references. compared: the
    methods that its main tables compare, in order. scales: those of its tables. reference_methods: methods shown on fewer sets
    where a profile says so (`Profile.reference_tests`). ablations: methods of its ablations only. parts: further rows, a
    component of a trained method or a bound, name -> label. part_of: the trained method of a part. part_signs: the vital signs
    (`srlib.scoring.vitals`) that a part depends on, where not on all of its network. profiles: by profile name, the
    fields that this paper sets otherwise (data, scales, sets). noise, noise_on, part_noise: see `seed_noise`, by training data,
    by test set, and in dB by part. borrows: methods without released weights of their own at some scale -> the paper whose
    released training of that name is used instead; captions say so. derived: sets in its tables made of another set's images ->
    that set.
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
    part_signs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    profiles: dict[str, dict[str, Any]] = field(default_factory=dict)
    noise: dict[str, dict[str, float]] = field(default_factory=dict)
    noise_on: dict[str, dict[str, float]] = field(default_factory=dict)
    part_noise: dict[str, float] = field(default_factory=dict)
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
        sets = self.method(name).sets if fewer else ()
        fewer = tuple(test for test in fewer if test in sets) or fewer
        return tuple(test for test in profile.tests if test in fewer) or profile.tests

    @property
    def labels(self) -> dict[str, str]:
        """The label of every name that a table, a claim or a row of scores can have."""
        return {name: method.label for name, method in (self.methods | self.ablations).items()} | self.parts

    def trains(self, name: str) -> bool:
        """Whether the row of that name depends on a training, and so on a seed."""
        return name in self.parts or self.method(name).trained

    def seed_noise(self, metric: str, data: Collection[str] = (), dataset: str = "", rows: Collection[str] = ()) -> float:
        """Return by how much another seed may move a metric: the largest noise that is known of what is named.

        data: of the training; where its noise is not known, that of all data counts. dataset: which is scored. rows: the methods
        or parts that are scored.
        """
        kind = "psnr" if metric == "psnr" else "ssim"
        sets = data if data and set(data) <= self.noise.keys() else self.noise
        trained = max((self.noise[name][kind] for name in sets), default=SEED_NOISE[kind])
        parts = [self.part_noise[row] for row in rows if row in self.part_noise and kind == "psnr"]
        return max(trained, self.noise_on.get(dataset, {}).get(kind, 0.0), *parts)

    def method(self, name: str) -> Method:
        """Return a method of the tables or ablations; raises SRError for an unknown name."""
        known = self.methods | self.ablations
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

    def scales_of(self, profile: Profile) -> list[int]:
        """Return the scales of the paper that a profile has."""
        return [scale for scale in self.scales if scale in self.setting(profile).scales]

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

        A method with `trained_at` has one training, that of this scale, whatever `scale` it is asked for. Raises SRError for an
        unknown method, profile, scale or field, and for a method that is not trained.
        """
        self.check(name, scale)
        chosen, method = self.setting(profile), self.method(name)
        if not method.trained:
            raise SRError(f"method {name!r} is not trained")
        scale = method.trained_at or scale
        fields: dict[str, Any] = {"model_args": method.args}
        for layer in (method.fields, chosen.overrides, method.short if chosen.overrides else {}):
            fields |= layer
            if "lr_patch" in layer:
                fields["hr_patch"] = fields.pop("lr_patch") * scale
        for args in ("model_args", "discriminator_args"):
            if args in fields:
                fields[args] = _narrow(fields[args], chosen.width_divisor)
        if name in self.ablations:
            fields |= chosen.ablation
        for layer in (changes, method.short, chosen.overrides):  # the first of them that has a budget decides
            if "steps" in layer or "minutes" in layer:
                fields.pop("minutes" if "steps" in layer else "steps", None)
                break
        given = {"name": name, "paper": self.name, "model": method.model, "scale": scale}  # by this method's arguments
        known = {field.name for field in dataclasses.fields(Experiment)} - given.keys() - {"seed"}
        for change in changes:
            if change not in known:
                raise unknown("field of an experiment:", change, known)
        data = chosen.fitted_data if models.fitted(method.model) and chosen.fitted_data else chosen.data
        fields = {"data": data, "validation": chosen.validation, **fields}
        fields |= {name: fields[name].format(scale=scale) for name in ("data", "validation")}
        return Experiment(**given, **{"seed": seed, **fields, **changes})
