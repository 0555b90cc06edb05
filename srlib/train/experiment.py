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

from srlib.core.errors import SRError, unknown
from srlib.nn import models
from srlib.train import losses

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
    discriminator, discriminator_args: of `losses.adversarial`, "" for none; with one the generator's loss is content * loss
    + adversarial * (cross entropy of being judged real). start: `loop.digest` of the weights files that the
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
            losses.adversarial(self.discriminator, self.discriminator_args)
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
