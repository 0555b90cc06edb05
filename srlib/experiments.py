"""What is trained, and how much of everything: `Experiment` and `Profile`.

An experiment is one training, named and frozen; its `key` names the run directory and changes with everything that
shapes the result. A profile sets data and budgets for all experiments; profiles differ in parameters, never in code.
"""

import hashlib
import json
import math
import numbers
import operator
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from srlib import losses, models
from srlib.errors import SRError, unknown

SCHEDULES = ("cosine", "warm_cosine", "steps")
PRECISIONS = ("fp32", "bf16")
WARM = 0.1  # part of the budget in which the rate of "warm_cosine" rises


_WHOLE = ("scale", "hr_patch", "batch", "steps", "drops", "seed")
_REAL = ("minutes", "learning_rate", "factor", "clip", "ema", "content", "adversarial")


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise SRError(f"{name} (={value!r}) must be a whole number")
    return operator.index(value)


def _real(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise SRError(f"{name} (={value!r}) must be a finite number")
    return float(value)


@dataclass(frozen=True)
class Experiment:
    """One training.

    name, paper: the row of the paper's table that it fills. model, model_args, scale: `models.create`'s arguments.
    data: name of the training images. validation: name of the images scored during training ("" for none).
    loss, loss_args: of `losses.get`. hr_patch: side of a training patch in HR pixels, a multiple of scale. batch: patches per
    step over all processes. steps or minutes: the budget, exactly one of them.
    learning_rate: Adam's first rate. schedule: "cosine" to zero, "warm_cosine", the same after a linear rise over a tenth of the
    budget, or "steps": times `factor` after each of `drops` equal parts of it. clip: largest gradient norm, 0 for none. ema:
    decay of averaged weights, 0 for none.
    precision: "fp32", or "bf16" for mixed precision. seed: of weights and patches.
    discriminator, discriminator_args: of `models.discriminator`, "" for none; with one the generator's loss is content * loss
    + adversarial * (cross entropy of being judged real). start: `training.digest` of the weights files that the
    network starts from, "" for fresh weights.
    """

    name: str
    paper: str
    model: str
    scale: int
    data: str
    model_args: dict[str, Any] = field(default_factory=dict)
    validation: str = ""
    loss: str = "mse"
    loss_args: dict[str, Any] = field(default_factory=dict)
    hr_patch: int = 48
    batch: int = 16
    steps: int | None = None
    minutes: float | None = None
    learning_rate: float = 1e-3
    schedule: str = "cosine"
    drops: int = 0
    factor: float = 1.0
    clip: float = 0.0
    ema: float = 0.0
    precision: str = "fp32"
    seed: int = 0
    discriminator: str = ""
    discriminator_args: dict[str, Any] = field(default_factory=dict)
    content: float = 1.0
    adversarial: float = 0.0
    start: str = ""

    def __post_init__(self) -> None:
        for name in _WHOLE:
            self._set(name, _whole)
        for name in _REAL:
            self._set(name, _real)
        models.check(self.model, self.scale, self.model_args)
        losses.get(self.loss, **self.loss_args)
        if self.schedule not in SCHEDULES:
            raise unknown("schedule", self.schedule, SCHEDULES)
        if self.precision not in PRECISIONS:
            raise unknown("precision", self.precision, PRECISIONS)
        if (self.steps is None) == (self.minutes is None):
            raise SRError(f"give steps (={self.steps}) or minutes (={self.minutes}), exactly one of them")
        for name in ("batch", "steps", "minutes", "learning_rate", "factor"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise SRError(f"{name} (={value!r}) must be greater than 0")
        for name in ("drops", "clip", "ema", "seed", "content", "adversarial"):
            if getattr(self, name) < 0:
                raise SRError(f"{name} (={getattr(self, name)!r}) must not be negative")
        if self.seed >= 2**32:
            raise SRError(f"seed (={self.seed}) must be less than 2**32")
        if self.ema >= 1:
            raise SRError(f"ema (={self.ema!r}) must be less than 1, e.g. 0.999")
        if self.discriminator:
            models.check_discriminator(self.discriminator, self.discriminator_args)
            if not self.start:
                raise SRError(f"{self.name} trains against a discriminator and needs trained weights to start from, got start=''")
        if bool(self.discriminator) != (self.adversarial > 0):
            raise SRError(f"adversarial (={self.adversarial:g}) must be above 0 with a discriminator, and 0 without one")
        if self.hr_patch <= 0 or self.hr_patch % self.scale:
            raise SRError(f"hr_patch (={self.hr_patch}) must be a positive multiple of scale (={self.scale})")

    def _set(self, name: str, kind: Callable[[str, Any], Any]) -> None:
        """Bring a number to its plain type, so that 30 and 30.0 minutes, or numpy's 2 and 2, name one run."""
        value = getattr(self, name)
        if value is not None or name not in ("steps", "minutes"):
            object.__setattr__(self, name, kind(name, value))

    @property
    def lr_patch(self) -> int:
        return self.hr_patch // self.scale

    def rate(self, progress: float) -> float:
        """Return the learning rate at `progress`, the part of the budget that is spent (0..1)."""
        if self.schedule == "cosine":
            return self.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))
        if self.schedule == "warm_cosine":
            return self.learning_rate * min(progress / WARM, 0.5 * (1 + math.cos(math.pi * max(progress - WARM, 0) / (1 - WARM))))
        return self.learning_rate * self.factor ** int(progress * self.drops)

    def key(self, fingerprint: str) -> str:
        """Return the name of the run: readable, and unique by a hash of every field and of the data's fingerprint."""
        described = json.dumps({**asdict(self), "fingerprint": fingerprint}, sort_keys=True)
        digest = hashlib.sha256(described.encode()).hexdigest()[:10]
        return f"{self.name}_x{self.scale}_seed{self.seed}-{digest}"


@dataclass(frozen=True)
class Profile:
    """How much of everything.

    train: False uses the released weights and trains nothing. data, validation: as in Experiment. fitted_data: what methods
    in closed form are fitted to, where that is not `data`. tests: the sets of the main table. tests_beside: which of them
    the networks get that only stand beside it (`Paper.beside`), and ablations; () for all. scales: which ones of a paper's
    are made. seeds: of its ablations. images: how many of each test set (None: all). overrides: fields of every experiment.
    ablation: further fields of the ablations' experiments. ablation_tests: the set that ablations are scored on.
    ablation_images: how many of it. shrink: what the channels of the networks are divided by. ensemble_images: how many
    images the self-ensembled table takes, at eight passes each (None: all). judges_accuracy: False where the budgets only show
    that the machinery works, so that no claim of accuracy gets a verdict.
    """

    name: str
    train: bool
    data: str
    validation: str
    tests: tuple[str, ...]
    scales: tuple[int, ...]
    seeds: tuple[int, ...]
    ablation_tests: str
    tests_beside: tuple[str, ...] = ()
    images: int | None = None
    ablation_images: int | None = None
    shrink: int = 1
    ensemble_images: int | None = None
    fitted_data: str = ""
    overrides: dict[str, Any] = field(default_factory=dict)
    ablation: dict[str, Any] = field(default_factory=dict)
    judges_accuracy: bool = True

    @property
    def budget(self) -> str:
        """One phrase for captions."""
        if not self.train:
            return "released weights, each with its own budget on its card"
        o = self.overrides
        if "steps" not in o:
            return "the paper's own budget"
        steps = f"{o['steps']} steps"
        if "steps" in self.ablation:
            steps += f" ({self.ablation['steps']} in ablations)"
        return f"{steps}, most networks of 1/{self.shrink} the channels" if self.shrink > 1 else steps


BENCHMARKS = ("Set5", "Set14", "B100", "Urban100")
_TINY = {"hr_patch": 24, "batch": 4, "schedule": "cosine"}
_SMALL = {"hr_patch": 36, "batch": 8, "schedule": "cosine"}

PROFILES = {
    p.name: p
    for p in (
        Profile(
            name="smoke",
            train=True,
            data="embedded",
            validation="",
            tests=("embedded-test",),
            scales=(2,),
            seeds=(0, 1),
            images=2,
            ablation_tests="embedded-test",
            ablation_images=2,
            ensemble_images=1,
            overrides={**_TINY, "steps": 4},
            ablation={"steps": 2},
            shrink=4,
            judges_accuracy=False,
        ),
        Profile(
            name="quick",
            train=True,
            data="embedded",
            validation="embedded-test",
            tests=("embedded-test",),
            scales=(2, 3, 4, 8),
            seeds=(0, 1),
            ablation_tests="embedded-test",
            overrides={**_SMALL, "steps": 240},
            ablation={"steps": 40, "validation": ""},
            shrink=2,
            judges_accuracy=False,
        ),
        Profile(
            name="released",
            train=False,
            data="T91+BSD400",
            validation="Set5",
            tests=BENCHMARKS,
            tests_beside=BENCHMARKS[:3],  # Urban100 has four fifths of all pixels
            scales=(2, 3, 4, 8),
            seeds=(0,),
            ablation_tests="Set5",
            ensemble_images=10,
            fitted_data="T91",  # as their authors do
            overrides={"hr_patch": 48, "batch": 16, "schedule": "cosine", "minutes": 30.0},
        ),
        Profile(
            name="paper",
            train=True,
            data="DIV2K",
            validation="DIV2K-val",
            fitted_data="T91",
            tests=BENCHMARKS,
            scales=(2, 3, 4, 8),
            seeds=(0, 1, 2),
            ablation_tests="DIV2K-val",
        ),
    )
}


def profile(name: str) -> Profile:
    """Return a profile by name; raises SRError for an unknown one."""
    if name not in PROFILES:
        raise unknown("profile", name, PROFILES)
    return PROFILES[name]
