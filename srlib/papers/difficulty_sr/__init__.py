"""Difficulty-SR: the experiments of the paper's tables.

J. Qin et al., "Difficulty-aware Image Super Resolution via Deep Adaptive Dual-Network", ICME 2019.

Training, section 3.2 and the code's scripts: DIV2K, luma, patches of 48x48 LR pixels at every scale, batch 64, Adam 1e-4, epochs
of 200 batches; IDN for 100 epochs, then both branches for 500, the rate halved every 100 (in the scripts once). The identifier's
length is not given; it is trained for as many epochs as IDN.

Testing: the paper's text has patches that do not overlap, the authors' final test script averages patches that overlap by 36 of
48 LR pixels. Difficulty-SR is judged with the script's overlap; "difficulty_sr_no_overlap" is the same network without. Training
does not depend on it, as it takes single patches. Weights whose card has no `overlap` are tested without.

"difficulty_sr" starts from the trained identifier, which stays frozen, and from the trained IDN: under the profile released, from
IDN's official weights. "idn_longer" is the control: the same IDN trained for the same further steps without routing. The paper's
IDN row cannot serve as one: it is the original network, trained on 291 images, while Difficulty-SR is trained on DIV2K.
"""

from srlib.nn import models
from srlib.papers.base import Method, Paper, with_official
from srlib.papers.difficulty_sr import analysis
from srlib.papers.difficulty_sr.model import Identifier, PlainCNN, difficulty_class, difficulty_sr
from srlib.papers.difficulty_sr.signs import IDENTIFIER
from srlib.scoring import evaluation, vitals
from srlib.train import losses

models.register("identifier", Identifier)
models.register("plain_cnn", PlainCNN)
models.register("difficulty_sr", difficulty_sr)
losses.register("difficulty", difficulty_class)
evaluation.register(Identifier, analysis.identify, analysis.accuracy)
evaluation.SCORERS["patches"] = analysis.score
vitals.register(IDENTIFIER)

EPOCH = 200
SCALES = (2, 3, 4)

_SCHEDULE = {"steps": 100 * EPOCH, "schedule": "steps", "drops": 1, "factor": 0.5, "learning_rate": 1e-4}
_OWN = {"lr_patch": 48, "batch": 64, **_SCHEDULE, "loss": "l1"}
_JOINT = {**_OWN, "steps": 500 * EPOCH, "drops": 5}
_MSE = {**_OWN, "loss": "mse"}
# For budgets of hundreds or thousands of steps; smaller rates for networks that start from trained weights.
_SHORT = {"learning_rate": 1e-3, "clip": 1.0}
_SHORT_IDN = {"learning_rate": 5e-4, "clip": 1.0}
_SHORT_JOINT = {"lr_patch": 48, "batch": 4, "learning_rate": 1e-4, "clip": 1.0}
# Balanced over the classes present: the easiest are so rare that an identifier trained without never predicts them at x4.
_SHORT_IDENTIFIER = {"lr_patch": 48, "batch": 32, "learning_rate": 1e-3, "loss_args": {"balanced": True}}
# IDN with groups, as in its official weights: in budgets that are not the paper's, whose IDN has none (see Table 2's sizes).
_ORIGINAL = {"width": 64, "grouped": True}
# A+ is fitted in closed form, to the patches of as many steps.
_FITTED, _SHORT_FITTED = {**_OWN, "steps": 2_000}, {"hr_patch": 96, "batch": 32, "steps": 150}

OVERLAP = 36  # LR pixels, in the authors' final test script


def _idn(label: str, fields: dict, short: dict, **start: dict) -> Method:
    return Method("idn", label, {"width": 64}, fields, {**short, "model_args": _ORIGINAL}, **start)


def _routed(label: str, **args) -> Method:
    args = {"complex": "idn", "complex_args": {"width": 64}, "overlap": OVERLAP, **args}
    short = {**_SHORT_JOINT, "model_args": {**args, "complex_args": _ORIGINAL}}
    return Method("difficulty_sr", label, args, _JOINT, short, start={"identifier": "identifier", "complex": "idn"})


PARTS = {
    "difficulty_sr_no_overlap": "Difficulty-SR, patches that do not overlap",
    "complex": "Complex branch alone",
    "oracle": "Oracle: the better branch of each patch",
    "masked": "Both branches everywhere",
}

PAPER = Paper(
    name="difficulty_sr",
    title="Difficulty-aware Image Super Resolution via Deep Adaptive Dual-Network",
    protocol="y",
    methods=with_official(
        {
            "bicubic": Method("bicubic", "Bicubic"),
            "aplus": Method("aplus", "A+", fields=_FITTED, short=_SHORT_FITTED),
            "srcnn": Method("srcnn", "SRCNN", fields=_MSE, short=_SHORT),
            "fsrcnn": Method("fsrcnn", "FSRCNN", fields=_MSE, short=_SHORT),
            "vdsr": Method("vdsr", "VDSR", {"width": 64}, {**_MSE, "clip": 0.1}, {**_SHORT, "learning_rate": 5e-4}),
            "lapsrn": Method("lapsrn", "LapSRN", {"width": 64}, {**_OWN, "loss": "charbonnier"}, _SHORT, scales=(2, 4)),
            "memnet": Method("memnet", "MemNet", {"width": 64}, {**_MSE, "clip": 0.01}, {**_SHORT, "learning_rate": 5e-4}),
            "edsr": Method("edsr", "EDSR-baseline", {"width": 64}, _OWN, {**_SHORT, "learning_rate": 2e-4}),
            "identifier": Method("identifier", "Identifier", fields={**_OWN, "loss": "difficulty"}, short=_SHORT_IDENTIFIER),
            "idn": _idn("IDN", _OWN, _SHORT_IDN),
            "idn_grouped": Method("idn", "IDN, original", _ORIGINAL, _OWN, _SHORT_IDN),
            "idn_longer": _idn("IDN, same total steps (no routing)", _JOINT, _SHORT_JOINT, start={"": "idn"}),
            "difficulty_sr": _routed("Difficulty-SR"),
        },
        scales=SCALES,
    ),
    compared=("bicubic", "srcnn", "idn", "idn_longer", "difficulty_sr"),
    scales=SCALES,
    reference_methods=("fsrcnn", "vdsr", "vdsr_official", "lapsrn", "memnet", "edsr"),
    ablations={"dual_cnn": _routed("Difficulty-SR, plain branch of the code", plain="plain_cnn")},
    parts=PARTS,
    part_of=dict.fromkeys(PARTS, "difficulty_sr"),
    derived=dict.fromkeys(("patches", "easy patches", "hard patches"), "Urban100"),
    borrows={**{name: "btsrn" for name in ("srcnn", "fsrcnn", "vdsr")}, "lapsrn": "prosrn"},
)
