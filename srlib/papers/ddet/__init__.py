"""DDet: the experiments of the paper's tables.

Y. Shi et al., "DDet: Dual-path Dynamic Enhancement Network for Real-World Image Super-Resolution", IEEE Signal Processing
Letters 2020.

Training: loss, learning rate, patches and steps are not given in the paper, and the code has no training files. LP-KPN's are
used, whose protocol and rows DDet takes over: RealSR (version 2, LR enlarged to the size of HR), luma, Adam with a constant
1e-4, 100,000 steps; patches of 192 px as in RealSR's paper, 16 of them; mean squared error of the result. All networks get the
same. (LP-KPN's own loss is over its three pyramid levels, and its batch size 64.)

The paper has one training per scale of RealSR, whose pairs are all of one size. Profile "paper" has x2, the set of the ablation;
`python -m srlib train ddet --profile paper --data RealSR-V2-x3/train` trains on another.

The ladder of Table II begins at "kpn" (K = 7), adds post-refinement, then CDM, then MDA, which is "ddet". In budgets that are not
the paper's, the residual networks are small: `short` holds their arguments. The networks of per-pixel kernels keep their size.
"""

from srlib.nn import models
from srlib.papers.base import CITY100, CITY100_NOISE, EMBEDDED_CAMERA, NOISE_ON, Method, Paper, camera_sets
from srlib.papers.ddet import analysis
from srlib.papers.ddet.model import DDet
from srlib.scoring import evaluation

models.register("ddet", DDet, models.SAME_SIZE)
evaluation.SCORERS["displaced"] = analysis.evaluate_displaced

_TRAINING = {"hr_patch": 192, "batch": 16, "steps": 100_000, "schedule": "steps", "learning_rate": 1e-4, "loss": "mse"}
# Adam's first steps move all weights of all kernels together, which changes the brightness: the learning rate is warmed up.
_SHORT = {"hr_patch": 64, "batch": 4, "schedule": "warm_cosine", "clip": 1.0}
# In budgets that are not the paper's, heads predict the DCT of a kernel (`baselines.kpn`): predicted in pixels, kernels
# hardly vary over the image. KPN after 3,000 steps on City100-nikon/train80: its shape deviates over pixels by 0.01 of the mean
# kernel in pixels at 1e-4 (at 5e-4 its units die), and by 0.42 and 0.47 in cosines at 1e-4 and 5e-4; 30.06, 30.03 and 30.13 dB.
_COSINES = {"basis": "dct"}
_SCALED = {"res_scale": 0.1}
_EMBEDDED = {**EMBEDDED_CAMERA, "seeds": (0,)}


def _kernels(model: str, label: str, **args) -> Method:
    args = {"width": 64, **args}
    return Method(model, label, args, _TRAINING, {**_SHORT, "model_args": {**args, **_COSINES}})


def _residual(model: str, label: str, full: dict, small: dict) -> Method:
    return Method(model, label, {"width": 64, **full}, _TRAINING, {**_SHORT, "model_args": small})


LADDER = ("kpn", "ddet_refine", "ddet_cdm", "ddet")  # Table II
SIZES = {"kpn_5": 5, "kpn": 7, "kpn_13": 13, "kpn_19": 19}  # one kernel per pixel, of K x K
RIVALS = ("srresnet_rgb", "edsr_rgb", "rcan_rgb", "edrn", *SIZES, "lp_kpn", "ddet")  # Tables I and III, in their order
VARIANTS = ("ddet", "ddet_wide", "ddet_paper")  # the code's network, its x3 and x4 files, the text's
DISPLACED = ("bicubic", "srresnet_rgb", "edsr_rgb", "kpn", "lp_kpn", "ddet_cdm", "ddet")  # inputs shifted by some pixels
PUBLISHED_METHODS = {"edrn": "EDRN"}
_OFF = {"srresnet_rgb": "SRResNet", "kpn": "KPN (K=7)", "ddet_cdm": "w/ CDM", "ddet": "DDet"}

PAPER = Paper(
    name="ddet",
    title="DDet: Dual-path Dynamic Enhancement Network for Real-World Image Super-Resolution",
    protocol="realsr",
    methods={
        "bicubic": Method("bicubic", "LR input"),
        "srresnet_rgb": _residual("srresnet", "SRResNet", {"norm": False}, {"width": 32, "norm": False}),
        "edsr_rgb": _residual("edsr", "EDSR", {"blocks": 32, "width": 256, **_SCALED}, {"blocks": 16, "width": 32, **_SCALED}),
        "rcan_rgb": _residual("rcan", "RCAN", {}, {"groups": 3, "blocks": 3, "width": 32}),
        **{name: _kernels("kpn", f"KPN (K={kernel})", kernel=kernel) for name, kernel in SIZES.items()},
        "lp_kpn": _kernels("lp_kpn", "LP-KPN (K=5)"),
        "ddet_refine": _kernels("ddet", "w/ PR", mda=False, cdm=False),
        "ddet_cdm": _kernels("ddet", "w/ CDM", mda=False),
        "ddet": _kernels("ddet", "DDet"),
    },
    compared=("bicubic", "srresnet_rgb", "kpn", "lp_kpn", "ddet"),
    scales=(1,),
    reference_methods=("kpn_5", "kpn_13", "kpn_19", "ddet_refine", "ddet_cdm"),
    ablations={
        "ddet_wide": _kernels("ddet", "DDet, 128 channels before the heads", wide=True),
        "ddet_paper": _kernels("ddet", "DDet, as the text has it", variant="paper"),
    },
    parts={
        **PUBLISHED_METHODS,  # in claims: rows that no network here stands for
        "ddet_no_cdm": "DDet, CDM switched off",
        "ddet_no_refine": "DDet, post-refinement switched off",
        **{f"{name}_off": f"What an input 2 pixels off costs {label}" for name, label in _OFF.items()},
    },
    part_of={**dict.fromkeys(("ddet_no_cdm", "ddet_no_refine"), "ddet"), **{f"{name}_off": name for name in _OFF}},
    profiles={
        "smoke": {**_EMBEDDED, "validation": "", "overrides": {"steps": 4, "batch": 4, "learning_rate": 2e-5}, "ablation": {}},
        "quick": {**_EMBEDDED, "overrides": {"steps": 60, "batch": 4, "learning_rate": 1e-4}, "ablation": {"validation": ""}},
        "released": {**CITY100, "seeds": (0, 1, 2), "overrides": {"minutes": 10.0, "batch": 4, "learning_rate": 1e-4}},
        "paper": camera_sets("RealSR-V2-x2/train", "RealSR-V2-x2/test"),
    },
    noise=CITY100_NOISE,
    noise_on=NOISE_ON,
    borrows={name: "d2c_sr" for name in ("srresnet_rgb", "edsr_rgb", "rcan_rgb", "lp_kpn")},
)
