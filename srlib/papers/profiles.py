"""Profiles: how much of everything is made. They differ in parameters, never in code."""

from dataclasses import dataclass, field
from typing import Any

from srlib.core.errors import unknown


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
