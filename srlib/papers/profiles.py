"""Profiles: the size of a reproduction, from a smoke test to the paper's budget. They differ in parameters, never in code."""

from dataclasses import dataclass, field
from typing import Any

from srlib.core.errors import unknown


@dataclass(frozen=True)
class Profile:
    """The size of a reproduction.

    train: False loads the released weights and trains nothing. data, validation: as in `Experiment`. fitted_data: training data
    of methods fitted in closed form, where not `data`. tests: sets of the main table. reference_tests: those of them on which
    `Paper.reference_methods` and ablations are scored; () for all. scales: at most these of a paper's. seeds: of its ablations.
    images: at most this many of each test set (None: all). overrides: fields of every experiment. ablation: further fields of
    ablations. ablation_tests: the set that ablations are scored on. ablation_images: at most this many of it. width_divisor:
    divides the channels of the networks. ensemble_images: at most this many in the self-ensembled table, at eight passes each
    (None: all). judges_accuracy: False where budgets are too small for verdicts on claims of accuracy. brief: trainings take
    seconds, so the workflow runs those of a paper in one process, and the `train` notebook of its main method only.
    """

    name: str
    train: bool
    data: str
    validation: str
    tests: tuple[str, ...]
    scales: tuple[int, ...]
    seeds: tuple[int, ...]
    ablation_tests: str
    reference_tests: tuple[str, ...] = ()
    images: int | None = None
    ablation_images: int | None = None
    width_divisor: int = 1
    ensemble_images: int | None = None
    fitted_data: str = ""
    overrides: dict[str, Any] = field(default_factory=dict)
    ablation: dict[str, Any] = field(default_factory=dict)
    judges_accuracy: bool = True
    brief: bool = False

    @property
    def budget(self) -> str:
        """The training budget, as a phrase for captions."""
        if not self.train:
            return "released weights, each with its own budget on its card"
        o = self.overrides
        if "steps" not in o:
            return "the paper's own budget"
        steps = f"{o['steps']} steps"
        if "steps" in self.ablation:
            steps += f" ({self.ablation['steps']} in ablations)"
        return f"{steps}, most networks of 1/{self.width_divisor} the channels" if self.width_divisor > 1 else steps


BENCHMARKS = ("Set5", "Set14", "B100", "Urban100")
_SETS = {"data": "embedded", "tests": ("embedded-test",), "ablation_tests": "embedded-test"}
_EMBEDDED = {**_SETS, "train": True, "judges_accuracy": False, "brief": True}
_CHOSEN = (
    Profile(
        name="smoke",
        **_EMBEDDED,
        validation="",
        seeds=(0, 1),
        scales=(2,),
        images=2,
        ablation_images=2,
        ensemble_images=1,
        overrides={"hr_patch": 36, "batch": 4, "schedule": "cosine", "steps": 4},  # patches of quick: what fits there fits here
        ablation={"steps": 2},
        width_divisor=4,
    ),
    Profile(
        name="quick",
        **_EMBEDDED,
        validation="embedded-test",
        seeds=(0,),
        scales=(2, 3, 4, 8),
        overrides={"hr_patch": 36, "batch": 8, "schedule": "cosine", "steps": 120},
        ablation={"steps": 30, "validation": ""},
        width_divisor=2,
    ),
    Profile(
        name="released",
        train=False,
        data="T91+BSD400",
        validation="Set5",
        tests=BENCHMARKS,
        reference_tests=BENCHMARKS[:3],  # Urban100 has four fifths of all pixels
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
PROFILES = {chosen.name: chosen for chosen in _CHOSEN}


def profile(name: str) -> Profile:
    """Return a profile by name; raises SRError for an unknown one."""
    if name not in PROFILES:
        raise unknown("profile", name, PROFILES)
    return PROFILES[name]
