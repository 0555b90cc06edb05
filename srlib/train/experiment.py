"""The configuration of a training, frozen: `Experiment`.

Its `key` names the run directory and changes with every field and with the data.
"""

import hashlib
import json
import math
import numbers
import operator
from dataclasses import asdict, dataclass, field
from typing import Any

from srlib.core.errors import SRError, unknown
from srlib.nn import models
from srlib.train import losses

SCHEDULES = ("cosine", "warm_cosine", "steps")
PRECISIONS = ("fp32", "bf16")
WARMUP = 0.1  # fraction of the budget over which the rate of "warm_cosine" rises

_INTEGERS = ("scale", "hr_patch", "batch", "steps", "drops", "seed", "first_step")
_REALS = ("minutes", "learning_rate", "factor", "clip", "ema", "content", "adversarial")
_POSITIVE = ("batch", "steps", "minutes", "learning_rate", "factor")
_NOT_NEGATIVE = ("drops", "clip", "ema", "seed", "first_step", "content", "adversarial")


def _number(name: str, value: Any) -> int | float:
    """Convert a number to a plain int or float, so that 30 and 30.0 minutes, or NumPy's 2 and 2, give the same key."""
    integer = name in _INTEGERS
    valid = hasattr(value, "__index__") if integer else isinstance(value, numbers.Real) and math.isfinite(value)
    if isinstance(value, bool) or not valid:
        raise SRError(f"{name} (={value!r}) must be a {'whole' if integer else 'finite'} number")
    return operator.index(value) if integer else float(value)


@dataclass(frozen=True)
class Experiment:
    """Configuration of one training.

    name, paper: the row of the paper's table that it reproduces. model, model_args, scale: `models.create`'s arguments.
    data: name of the training images. validation: name of the validation images ("" for none).
    loss, loss_args: of `losses.get`. hr_patch: side of a training patch in HR pixels, a multiple of scale. batch: patches per
    step, summed over processes. steps or minutes: the budget, exactly one of them.
    learning_rate: Adam's initial learning rate. schedule: "cosine" annealing to zero; "warm_cosine", the same after a linear
    warm-up over a tenth of the budget; or "steps", multiplied by `factor` (gamma) after each of `drops` equal parts of it.
    clip: maximum gradient norm, 0 for no clipping. ema: decay of the exponential moving average of the weights, 0 for none.
    precision: "fp32", or "bf16" for mixed precision. seed: of initial weights and patch sampling. first_step: where in the seed's
    sequence of patches the training begins, so that a later leg sees new ones.
    discriminator, discriminator_args: of `losses.adversarial`, "" for none; with one the generator's loss is content * loss
    + adversarial * `Adversarial.generator_loss`. start: `training.digest` of the weights files that the network is initialised
    from, "" for random initialisation. Raises SRError for an invalid field.
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
    first_step: int = 0
    discriminator: str = ""
    discriminator_args: dict[str, Any] = field(default_factory=dict)
    content: float = 1.0
    adversarial: float = 0.0
    start: str = ""

    def __post_init__(self) -> None:
        for name in (*_INTEGERS, *_REALS):
            value = getattr(self, name)
            if value is not None or name not in ("steps", "minutes"):
                object.__setattr__(self, name, _number(name, value))
        models.check(self.model, self.scale, self.model_args)
        losses.get(self.loss, **self.loss_args)
        if self.schedule not in SCHEDULES:
            raise unknown("schedule", self.schedule, SCHEDULES)
        if self.precision not in PRECISIONS:
            raise unknown("precision", self.precision, PRECISIONS)
        if (self.steps is None) == (self.minutes is None):
            raise SRError(f"give steps (={self.steps}) or minutes (={self.minutes}), exactly one of them")
        for name in (*_POSITIVE, *_NOT_NEGATIVE):
            value, positive = getattr(self, name), name in _POSITIVE
            if value is not None and (value < 0 or positive and value == 0):
                raise SRError(f"{name} (={value!r}) must {'be greater than 0' if positive else 'not be negative'}")
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

    @property
    def lr_patch(self) -> int:
        return self.hr_patch // self.scale

    def rate(self, progress: float) -> float:
        """Return the learning rate at `progress`, the fraction of the budget that is used (0..1)."""
        if self.schedule == "cosine":
            return self.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))
        if self.schedule == "warm_cosine":
            annealed = 0.5 * (1 + math.cos(math.pi * max(progress - WARMUP, 0) / (1 - WARMUP)))
            return self.learning_rate * min(progress / WARMUP, annealed)
        return self.learning_rate * self.factor ** int(progress * self.drops)

    def key(self, fingerprint: str) -> str:
        """Return the run's name: readable, and unique by a hash of all fields and of the data's fingerprint."""
        fields = asdict(self)
        if not self.first_step:
            del fields["first_step"]  # runs of before there was this field keep their names
        config = json.dumps({**fields, "fingerprint": fingerprint}, sort_keys=True)
        digest = hashlib.sha256(config.encode()).hexdigest()[:10]
        return f"{self.name}_x{self.scale}_seed{self.seed}-{digest}"
