"""ProSRN and ProSRGAN: the experiments of the paper's tables.

"Lightweight and Accurate Image Super-Resolution Using Progressive Mode", anonymous CVPR submission.

Training, section 4.2: 125,000 random crops of DIV2K, luma, Adam at 1e-4. Patch size, batch, decay and length are not given.
Patches of 128 px and a batch of 64 are LapSRN's; 150 epochs over the crops, with the rate halved at regular intervals, are our
choice (LapSRN: 1,000 epochs of 100 batches, halved every 50). ProSRGAN starts from a trained ProSRN, at 1e-5 and with
alternating steps. Of Figure 7 the text names a depth of 10 only; 2, 6 and 14 are ours.

Names: "prosrn" is trained at x2, "prosrn_2_4" at x2 and x4 jointly, "prosrn_2_4_8" at x2, x4 and x8; each is tested at all scales
by unrolling.

Choice: eq. 7 multiplies the content term by lambda = 1e-2, but the text says that a large lambda gives sharper and a small one
blurrier images, which fits a weight of the *adversarial* term only, as in SRGAN. "prosrgan" takes that reading,
"prosrgan_literal" eq. 7 as printed.
"""

from srlib.nn import models
from srlib.papers.base import Method, Paper, with_official
from srlib.papers.prosrn import gan
from srlib.papers.prosrn.model import ProSRN
from srlib.train import losses

models.register("prosrn", ProSRN, models.POWERS)
losses.ADVERSARIAL |= {"patch": gan.PATCH, "image": gan.IMAGE}

CROPS, BATCH, PASSES = 125_000, 64, 150
LAMBDA = 1e-2

_SCHEDULE = {"steps": CROPS * PASSES // BATCH, "schedule": "steps", "drops": 4, "factor": 0.5, "learning_rate": 1e-4}
_OWN = {"hr_patch": 128, "batch": BATCH, **_SCHEDULE, "loss": "charbonnier"}
_MSE = {**_OWN, "loss": "mse"}
_GAN = {**_OWN, "steps": CROPS * 10 // BATCH, "learning_rate": 1e-5}
# For budgets of hundreds or thousands of steps: a larger rate. (At this rate as at the paper's, lambda = 1e-2 sharpens far beyond
# the paper's pictures: from 31.1 to 25.7 dB on Set5.)
_SHORT = {"learning_rate": 1e-3, "hr_patch": 64, "clip": 1.0}
# At x8 64 px are 8x8 LR pixels, less than the receptive field: 12,000 steps of 16 such patches gave 25.5 dB on Set5, a third of
# the steps with 8 patches of 128 px 25.7.
_SHORT_8 = {**_SHORT, "hr_patch": 128, "batch": 8}
_SHORT_GAN = {"learning_rate": 1e-4, "hr_patch": 64}
# A+ and RFL are fitted in closed form, to the patches of as many steps.
_FITTED = {**_OWN, "steps": 2_000}
_SHORT_FITTED = {"hr_patch": 96, "batch": 32, "steps": 150}


def _prosrn(label: str, trained_at: int = 2, short: dict = _SHORT, **args) -> Method:
    return Method("prosrn", label, {"width": 64, **args}, _OWN, short, trained_at=trained_at)


def _prosrgan(label: str, content: float, adversarial: float) -> Method:
    fields, start = _GAN | gan.objective(content, adversarial), {"": "prosrn_2_4"}
    return Method("prosrn", label, {"width": 64}, fields, _SHORT_GAN, trained_at=4, scales=(4,), start=start)


_SRGAN = {**_GAN, "loss": "mse", "discriminator": "image", "discriminator_args": {"width": 64}, "adversarial": 1e-3}

MIXED = ("prosrn", "prosrn_2_4", "prosrn_2_4_8")  # Table 4
STRUCTURES = ("prosrn_general", "prosrn_residual", "prosrn_memory")  # Table 3
DEPTHS = ("prosrn_depth_2", "prosrn_depth_6", "prosrn_memory", "prosrn_depth_14")  # Figure 7
GANS = ("bicubic", "srgan", "prosrgan")  # Table 5, which has SRGAN-VGG54
_OFFICIAL = ("vdsr_official", "drrn_official")  # LapSRN's are fast enough for all sets
DIRECT = ("aplus", "rfl", "srcnn", "fsrcnn", "vdsr", "drcn")  # Table 6, one network per scale
PUBLISHED_METHODS = {"selfexsr": "SelfExSR", "srgan_vgg54": "SRGAN-VGG54"}
SCALES = (2, 4, 8)

PAPER = Paper(
    name="prosrn",
    title="Lightweight and Accurate Image Super-Resolution Using Progressive Mode",
    protocol="prosrn",
    methods=with_official(
        {
            "bicubic": Method("bicubic", "Bicubic"),
            "aplus": Method("aplus", "A+", fields=_FITTED, short=_SHORT_FITTED),
            # Each leaf holds a regressor: 256 leaves a tree make a file of 12 MB, the model's default of 2,048 one of 94 MB.
            "rfl": Method("rfl", "RFL", {"leaves": 256}, fields=_FITTED, short=_SHORT_FITTED),
            "srcnn": Method("srcnn", "SRCNN", fields=_MSE, short=_SHORT),
            "fsrcnn": Method("fsrcnn", "FSRCNN", fields=_MSE, short=_SHORT),
            "vdsr": Method("vdsr", "VDSR", {"width": 64}, {**_MSE, "clip": 0.1}, {**_SHORT, "learning_rate": 5e-4}),
            "drcn": Method("drcn", "DRCN", {"width": 256}, {**_MSE, "clip": 0.1}, {**_SHORT, "learning_rate": 5e-4}),
            "drrn": Method(
                "drrn", "DRRN", {"width": 128}, {**_MSE, "clip": 0.01}, {**_SHORT, "learning_rate": 5e-4}, sets=("Set5", "Set14")
            ),  # half an hour for B100
            "lapsrn": Method("lapsrn", "LapSRN", {"width": 64}, _OWN, _SHORT),
            "ms_lapsrn": Method("lapsrn", "MS-LapSRN", {"width": 64, "shared": True}, _OWN, _SHORT),
            "prosrn": _prosrn("ProSRN (2x)"),
            "prosrn_2_4": _prosrn("ProSRN (2x, 4x)", 4),
            "prosrn_2_4_8": _prosrn("ProSRN (2x, 4x, 8x)", 8, _SHORT_8),
            "srresnet": Method("srresnet", "SRResNet", {"width": 64}, _MSE, _SHORT, scales=(4,)),
            "srgan": Method("srresnet", "SRGAN-MSE", {"width": 64}, _SRGAN, _SHORT_GAN, scales=(4,), start={"": "srresnet"}),
            "prosrgan": _prosrgan("ProSRGAN", 1.0, LAMBDA),
            "prosrgan_literal": _prosrgan("ProSRGAN (eq. 7)", LAMBDA, 1.0),
        },
        scales=SCALES,
    ),
    compared=("bicubic", "lapsrn", *MIXED, "srresnet", "srgan", "prosrgan"),
    scales=SCALES,
    reference_methods=(*DIRECT, *_OFFICIAL, "drrn", "ms_lapsrn", "srresnet", "srgan", "prosrgan", "prosrgan_literal"),
    parts={"srgan_vgg54": PUBLISHED_METHODS["srgan_vgg54"]},  # in claims: SRGAN-MSE, trained for PSNR, is no substitute
    ablations={
        "prosrn_general": _prosrn("Plain stack (A)", structure="general"),
        "prosrn_residual": _prosrn("Residual (B)", structure="residual"),
        "prosrn_memory": _prosrn("Memory (C), depth 10"),
        "prosrn_depth_2": _prosrn("Memory, depth 2", depth=2),
        "prosrn_depth_6": _prosrn("Memory, depth 6", depth=6),
        "prosrn_depth_14": _prosrn("Memory, depth 14", depth=14),
    },
    borrows={name: "btsrn" for name in ("srcnn", "fsrcnn", "vdsr")},
)
