"""D2C-SR: the experiments of the paper's tables.

Y. Li et al., "D2C-SR: A Divergence to Convergence Approach for Real-World Image Super-Resolution", ECCV 2022.

Training, section 4.1 and the code: RGB, four patches of 96x96 LR pixels, Adam 1e-4, halved every 2,000 of 20,000 epochs of 114
steps (459 scenes); the code's weight decay of 1e-8 is left out. The divergence network first ("d2c_divergence"), then, with it
frozen, the convergence network ("d2c_sr"), whose number of epochs is not given: 2,000 here. The published code trains both at
once, as all networks of Tables 3 and 4 and Figure 7 do here (`freeze=False`). CDC, RCAN and EDSR seem to have been retrained
for the paper, with settings that it does not give, and LP-KPN's row is of RealSR's version 2; here all have the same loss,
patches and steps.

Alpha is not printed, and the code's 2e-5 has no effect even with gradient (see `ALPHAS`): 0.1 is used instead. Ablations:
"a0.1" is alpha, "code" the published loss, whose term has no gradient, "flat" without multi-branch deep residual, "signed"
without the absolute value in the residual, "tree_2_3" has L = 2, C = 3.

In budgets that are not the paper's, networks are small: `short` holds their arguments. Each D2C-X has no more parameters than its
X, in both sizes.
"""

from typing import Any

from srlib.nn import models
from srlib.papers.base import CITY100, CITY100_NOISE, EMBEDDED_CAMERA, NOISE_ON, Method, Paper, camera_sets
from srlib.papers.d2c_sr import analysis
from srlib.papers.d2c_sr.bodies import D2CBody
from srlib.papers.d2c_sr.loss import divergence_and_fusion, divergence_loss
from srlib.papers.d2c_sr.model import D2C, DivergenceNet
from srlib.scoring import evaluation
from srlib.train import losses

models.register("divergence", DivergenceNet, models.PAIRS)
models.register("d2c_sr", D2C, models.PAIRS)
models.register("d2c", D2CBody, models.PAIRS)
evaluation.SCORERS["parts"] = analysis.evaluate_parts
losses.register("divergence", divergence_loss)
losses.register("divergence_and_fusion", divergence_and_fusion, options_of=divergence_loss)

EPOCH = 459 // 4
ALPHA = 0.1
ALPHAS = (0, 2e-5, 0.01, 0.03, 0.1, 0.3, 1)
_SCHEDULE = {"schedule": "steps", "drops": 10, "factor": 0.5, "learning_rate": 1e-4}
_TRAINING = {"lr_patch": 96, "batch": 4, "steps": 20_000 * EPOCH, **_SCHEDULE, "loss": "mse"}
_FUSION_TRAINING = {**_TRAINING, "steps": 2_000 * EPOCH, "drops": 1}
_SHORT = {"batch": 4, "learning_rate": 1e-3, "clip": 1.0}
# At the others' learning rate, and half of it, VDSR's ReLUs die and it outputs LR; at this one its training loss falls.
_VDSR = {"learning_rate": 2e-4, "clip": 0.1}
_TREE, _SMALL = {"groups": 2, "blocks": 4, "width": 64}, {"groups": 2, "blocks": 1, "width": 16}
_BASELINE = {"groups": 2, "blocks": 1, "width": 64}  # "a small baseline model" of section 4.5


def _small(**args: Any) -> dict[str, Any]:
    return {**_SHORT, "model_args": args}


def _plain(model: str, label: str, full: dict[str, Any], small: dict[str, Any], **short: float) -> Method:
    return Method(model, label, {"width": 64, **full}, _TRAINING, {**_small(**{"width": 32, **full, **small}), **short})


def _divergence(label: str, alpha: float, **options) -> Method:
    """Return a first stage. options: of the loss, and `deep_residual` of the network."""
    flat = {"deep_residual": options.pop("deep_residual")} if "deep_residual" in options else {}
    fields = {**_TRAINING, "loss": "divergence", "loss_args": {"alpha": alpha, **options}}
    return Method("divergence", label, {**_TREE, **flat}, fields, _small(**_SMALL, **flat))


def _fusion(label: str, first: str, **flat) -> Method:
    """Return a second stage on a trained divergence network."""
    return Method("d2c_sr", label, {**_TREE, **flat}, _FUSION_TRAINING, _small(**_SMALL, **flat), start={"divergence": first})


def _at_once(model: str, label: str, full: dict[str, Any], small: dict[str, Any], children: int = 2, **short: float) -> Method:
    """Return a method whose stages are trained at once."""
    loss = {"loss": "divergence_and_fusion", "loss_args": {"alpha": ALPHA, "children": children}}
    return Method(model, label, {**full, "freeze": False}, {**_TRAINING, **loss}, {**_small(**small, freeze=False), **short})


def _body(name: str, label: str, blocks: int | None = None, **short: float) -> Method:
    """Return D2C-X. blocks: of the small network's branches (None: the module's default). short: further fields."""
    small = {"body": name, "width": 16, **({"blocks": blocks} if blocks else {})}
    return _at_once("d2c", f"D2C-{label}", {"body": name}, small, **short)


def _size(width: int, groups: int, blocks: int) -> Method:
    args = {"groups": groups, "blocks": blocks, "width": width}
    return _at_once("d2c_sr", f"D2C-SR {width}-{groups}-{blocks}", args, args)


def _tree(depth: int, children: int) -> Method:
    shape = {"depth": depth, "children": children}
    return _at_once("d2c_sr", f"L = {depth}, C = {children}", {**_BASELINE, **shape}, {**_SMALL, **shape}, children)


def tag(alpha: float) -> str:
    """Return an alpha as part of a method's name."""
    return f"a{alpha:g}"


COMPARISON = ("bicubic", "drcn", "srresnet_rgb", "edsr_rgb", "rcan_rgb", "esrgan", "srflow", "lp_kpn", "cdc_rgb", "d2c_sr")
PERCEPTUAL = ("bicubic", "srresnet_rgb", "edsr_rgb", "rcan_rgb", "cdc_rgb", "d2c_sr", "d2c_vgg")  # Table 2
BODIES = ("srresnet", "vdsr", "rrdbnet", "rdn", "edsr", "imdn")  # Table 3
PAIRED = tuple(name for body in BODIES for name in (f"{body}_rgb", f"d2c_{body}"))
WIDTHS, DEPTHS = ((2, 1), (2, 2), (2, 3), (2, 4)), ((1, 2), (2, 2), (3, 2), (4, 2))  # Table 4, (L, C)
TREES = tuple(dict.fromkeys((*WIDTHS, *DEPTHS)))
_SIZES = ((16, 1, 1), (16, 2, 1), (32, 2, 1), (64, 2, 1), (64, 2, 2), (64, 2, 4))  # Figure 7: width, G, B
SIZES = {"d2c_{}_{}_{}".format(*size): size for size in _SIZES}
BETWEEN = {f"between_{tag(a)}": f"α = {a:g}" for a in ALPHAS} | {"between_code": "published loss"}
VARIANTS = ("d2c_a0", "d2c_flat", "d2c_a0.1")  # Table 5
PUBLISHED_METHODS = {"drcn": "DRCN", "esrgan": "ESRGAN", "srflow": "SR-Flow", "d2c_vgg": "D2C-SR, VGG loss"}

BESIDE = (
    "City100 (80 of its scenes to train on, 20 to test on; or simulated camera pairs) stands in for RealSR, its second camera "
    "for DRealSR; the paper's numbers are of other images: no difference is taken, and smoke and quick leave them out. Networks "
    "are small, except under the profile paper: see their parameters."
)

PAPER = Paper(
    name="d2c_sr",
    title="D2C-SR: A Divergence to Convergence Approach for Real-World Image Super-Resolution",
    protocol="d2c",
    methods={
        "bicubic": Method("bicubic", "Bicubic (x1: LR unprocessed)"),
        "srresnet_rgb": _plain("srresnet", "SRResNet", {"norm": False}, {}),
        "edsr_rgb": _plain("edsr", "EDSR", {"blocks": 32, "width": 256, "res_scale": 0.1}, {"blocks": 16, "width": 32}),
        "rcan_rgb": _plain("rcan", "RCAN", {}, {"groups": 3, "blocks": 3}),
        "cdc_rgb": _plain("cdc", "CDC", {"width": 128}, {"width": 32, "hourglasses": 1, "levels": 2, "blocks": 1}),
        "vdsr_rgb": _plain("vdsr", "VDSR", {"channels": 3}, {}, **_VDSR),
        "rrdbnet_rgb": _plain("rrdbnet", "RRDBNet", {"growth": 32}, {"blocks": 3, "growth": 16}),
        "rdn_rgb": _plain("rdn", "RDN", {"blocks": 7, "layers": 6, "growth": 64}, {"blocks": 4, "layers": 8, "growth": 16}),
        "imdn_rgb": _plain("imdn", "IMDN", {}, {}),
        "lp_kpn": Method("lp_kpn", "LP-KPN", {}, _TRAINING, {**_small(basis="dct"), "schedule": "warm_cosine"}, scales=(1,)),
        "d2c_divergence": _divergence("D2C-SR, divergence network", ALPHA),
        "d2c_sr": _fusion("D2C-SR", "d2c_divergence"),
        "d2c_srresnet": _body("srresnet", "SRResNet"),
        "d2c_vdsr": _body("vdsr", "VDSR", blocks=7, **_VDSR),
        "d2c_rrdbnet": _body("rrdbnet", "RRDBNet", blocks=1),
        "d2c_rdn": _body("rdn", "RDN", blocks=2),
        "d2c_edsr": _body("edsr", "EDSR", blocks=7),
        "d2c_imdn": _body("imdn", "IMDN", blocks=2),
        **{name: _size(*size) for name, size in SIZES.items()},
    },
    compared=("bicubic", "srresnet_rgb", "d2c_divergence", "d2c_sr"),
    scales=(1, 2, 3, 4, 8),
    reference_methods=tuple(name for name in (*PAIRED, *SIZES) if name not in COMPARISON),
    ablations={
        **{f"divergence_{tag(a)}": _divergence(f"α = {a:g}, first stage", a) for a in ALPHAS},
        "divergence_code": _divergence("Published loss, first stage", 2e-5, released=True),
        "divergence_flat": _divergence("Without deep residual, first stage", ALPHA, deep_residual=False),
        "divergence_signed": _divergence("Without absolute value, first stage", ALPHA, absolute=False),
        **{f"d2c_{tag(a)}": _fusion(f"α = {a:g}", f"divergence_{tag(a)}") for a in ALPHAS},
        "d2c_code": _fusion("Published loss", "divergence_code"),
        "d2c_flat": _fusion("Without multi-branch deep residual", "divergence_flat", deep_residual=False),
        **{f"tree_{depth}_{children}": _tree(depth, children) for depth, children in TREES},
    },
    parts={
        "single": "One of the predictions, on average",
        "mean": "Mean of the predictions",
        "ideal": "Ideal fusion",
        **{name: f"Predictions against each other, {about}" for name, about in BETWEEN.items()},
    },
    part_of={
        **dict.fromkeys(("single", "mean", "ideal"), "d2c_sr"),
        **{between: between.replace("between", "d2c") for between in BETWEEN},
    },
    part_signs=dict.fromkeys(("single", "mean", "ideal", *BETWEEN), ("branches", "dead_units")),  # made before the fusion
    profiles={
        "smoke": {**EMBEDDED_CAMERA, "validation": "", "seeds": (0,), "ablation_images": 1},
        "quick": {**EMBEDDED_CAMERA, "ablation": {"steps": 30, "validation": ""}},
        "released": {**CITY100, "seeds": (0, 1, 2)},
        "paper": camera_sets("RealSR-V3-x{scale}/train", "RealSR-V3-x{scale}/test", "DRealSR-x{scale}/test", scales=(2, 3, 4)),
    },
    noise=CITY100_NOISE,
    noise_on=NOISE_ON,
    part_noise=dict.fromkeys(BETWEEN, 1.0),  # 35.97, 35.27 and 35.63 dB with alpha 0.1: 95 % of a difference of two seeds
)
