"""BTSRN's experiments: which network each row of its tables and figures is, and how it is trained.

Y. Fan et al., "Balanced Two-Stage Residual Networks for Image Super-Resolution", CVPR Workshops (NTIRE) 2017.

Training, section 4.1 and the authors' code: patches of 108 px, batch 32, Adam 1e-3, mean squared error on RGB, 16 passes
over DIV2K, the rate multiplied by 0.6 after each (the paper's "after each iteration" can only mean a pass). One pass is about
17,250 steps: 690 patches from each of 800 images.
"""

from srlib.nn import models
from srlib.papers.base import Method, Paper, with_official
from srlib.papers.btsrn.model import BTSRN

models.register("btsrn", BTSRN, (2, 3, 4))

PASSES, STEPS_PER_PASS = 16, 17_250

_SCHEDULE = {"steps": PASSES * STEPS_PER_PASS, "schedule": "steps", "drops": PASSES, "factor": 0.6, "learning_rate": 1e-3}
_OWN = {"hr_patch": 108, "batch": 32, **_SCHEDULE, "loss": "mse"}
# The paper copies VDSR's published row; here VDSR is trained on the same data with the same budget.
_VDSR = {**_OWN, "learning_rate": 5e-4, "clip": 0.1}
_CLASSIC = {**_OWN, "hr_patch": 48, "batch": 64}


def split(low: int, high: int) -> str:
    """Return the name of the experiment with `low` + `high` blocks."""
    return f"btsrn_{low}+{high}"


HIGH_STAGE = [split(6, high) for high in (3, 4, 5)]  # Table 1
LOW_STAGE = [split(low, 4) for low in (5, 6, 7, 8, 9)]  # Table 2
SPLITS = [split(low, 10 - low) for low in range(10, -1, -1)]  # Figure 3
_LABELS = {"pixelcnn": "PixelCNN", "pixelcnn_gated": "PixelCNN gated", "pixelcnnpp": "PixelCNN++ gated", "pconv": "PConv"}
BLOCKS = [f"btsrn_{block}" for block in _LABELS]  # Figure 4, and of Figure 2 the gated one of PixelCNN


def _split(name: str) -> Method:
    low, high = map(int, name.removeprefix("btsrn_").split("+"))
    return Method("btsrn", f"BTSRN {low}+{high}", {"low": low, "high": high, "width": 128, "bottleneck": 64}, _OWN)


def _block(block: str, label: str) -> Method:
    return Method("btsrn", label, {"block": block, "width": 128, "bottleneck": 32}, _OWN)


SCALES = (2, 3, 4)

PAPER = Paper(
    name="btsrn",
    title="Balanced Two-Stage Residual Networks for Image Super-Resolution",
    protocol="btsrn",
    methods=with_official(
        {
            "bicubic": Method("bicubic", "Bicubic", {"kernel": "pillow"}),
            "srcnn": Method("srcnn", "SRCNN", fields=_CLASSIC),
            "fsrcnn": Method("fsrcnn", "FSRCNN", fields=_CLASSIC),
            "espcn": Method("espcn", "ESPCN", fields=_CLASSIC),
            "vdsr": Method("vdsr", "VDSR", {"width": 64}, _VDSR),
            "btsrn": Method("btsrn", "BTSRN", {"width": 128, "bottleneck": 64}, _OWN),
        },
        scales=SCALES,
    ),
    compared=("btsrn", "vdsr", "bicubic"),
    scales=SCALES,
    ablations={
        **{name: _split(name) for name in HIGH_STAGE + LOW_STAGE + SPLITS},
        **{f"btsrn_{block}": _block(block, label) for block, label in _LABELS.items()},
    },
    profiles={"released": {"ablation_tests": "Set14"}},
)
