"""The networks by name: `create("btsrn", scale=2)`, `list()`, `summary(model)`.

Every model maps `(N, C, H, W)` in 0..1 to `(N, C, scale*H, scale*W)` and has
- `scale`: its factor; `channels`: 1 (luma), 3 (RGB) or None (either);
- `context`: how many LR pixels around a pixel its output depends on (None: the whole image), which makes tiles exact;
- where they apply: `probe`, the LR side of the smallest input that shows all it does (default 24); `valid_padding`, True where
  its output in training is only the centre of HR; `selective`, True where a batch may leave all trained layers out.
In training mode a network that is supervised at several levels returns a list of images, the final one last; one that makes
several predictions (`divergence`, `d2c_tree`) returns `(N, P, C, H, W)`, and in eval mode their mean. A model with a
method `fit(batches, seed)` learns by it, and not by gradient descent. "identifier" is the one that gives no image but the
logits of classes (see `difficulty_sr`).
"""

import builtins
import inspect
from collections.abc import Callable

from torch import nn

from srlib.errors import SRError, unknown
from srlib.models.aplus import APlus
from srlib.models.bicubic import Bicubic
from srlib.models.btsrn import BTSRN
from srlib.models.cdc import CDC
from srlib.models.d2c_bodies import BodyTree, D2CBody
from srlib.models.d2c_sr import D2C, DivergenceNet
from srlib.models.ddet import DDet
from srlib.models.difficulty_sr import EASIEST, DualWay, FewLayers, Identifier
from srlib.models.discriminators import check_discriminator, discriminator
from srlib.models.drcn import DRCN
from srlib.models.drrn import DRRN
from srlib.models.edrn import EDRN
from srlib.models.edsr import EDSR
from srlib.models.espcn import ESPCN
from srlib.models.fsrcnn import FSRCNN
from srlib.models.idn import IDN
from srlib.models.imdn import IMDN
from srlib.models.kpn import KPN, LPKPN
from srlib.models.lapsrn import LapSRN
from srlib.models.memnet import MemNet
from srlib.models.prosrn import ProSRN
from srlib.models.rcan import RCAN
from srlib.models.rdn import RDN
from srlib.models.rfl import RFL
from srlib.models.rrdbnet import RRDBNet
from srlib.models.srcnn import SRCNN
from srlib.models.srresnet import SRResNet
from srlib.models.summary import Structure, Summary, structure, summary
from srlib.models.vdsr import VDSR

__all__ = [
    "Structure",
    "Summary",
    "check",
    "check_discriminator",
    "create",
    "discriminator",
    "fitted",
    "list",
    "scales",
    "structure",
    "summary",
]


def _difficulty_sr(
    scale: int,
    complex: str = "idn",
    plain: str = "bicubic",
    complex_args: dict | None = None,
    plain_args: dict | None = None,
    level: int = EASIEST,
    threshold: float | None = None,
    overlap: int = 0,
    route: bool = True,
) -> DualWay:
    """Build Difficulty-SR with any two models as its branches; further arguments as in `difficulty_sr.DualWay`."""
    branches = (create(name, scale, **(args or {})) for name, args in ((complex, complex_args), (plain, plain_args)))
    return DualWay(Identifier(scale), *branches, level=level, threshold=threshold, overlap=overlap, route=route)


SCALES = (2, 3, 4, 8)
PAIRS = (1, *SCALES)  # also for LR and HR of one size
POWERS = tuple(2**level for level in range(1, 9))
_MODELS: dict[str, tuple[Callable[..., nn.Module], tuple[int, ...]]] = {
    "bicubic": (Bicubic, tuple(sorted({1, 3, *POWERS}))),
    "aplus": (APlus, SCALES),
    "rfl": (RFL, SCALES),
    "srcnn": (SRCNN, SCALES),
    "fsrcnn": (FSRCNN, SCALES),
    "espcn": (ESPCN, SCALES),
    "vdsr": (VDSR, PAIRS),
    "drcn": (DRCN, SCALES),
    "drrn": (DRRN, SCALES),
    "srresnet": (SRResNet, PAIRS),
    "edsr": (EDSR, PAIRS),
    "rcan": (RCAN, PAIRS),
    "rdn": (RDN, PAIRS),
    "rrdbnet": (RRDBNet, PAIRS),
    "imdn": (IMDN, PAIRS),
    "cdc": (CDC, PAIRS),
    "memnet": (MemNet, SCALES),
    "idn": (IDN, SCALES),
    "plain_cnn": (FewLayers, SCALES),
    "difficulty_sr": (_difficulty_sr, SCALES),
    "identifier": (Identifier, SCALES),
    "lapsrn": (LapSRN, POWERS),
    "btsrn": (BTSRN, (2, 3, 4)),
    "prosrn": (ProSRN, POWERS),
    "edrn": (EDRN, (1,)),
    "kpn": (KPN, (1,)),
    "lp_kpn": (LPKPN, (1,)),
    "ddet": (DDet, (1,)),
    "divergence": (DivergenceNet, PAIRS),
    "d2c_sr": (D2C, PAIRS),
    "d2c_tree": (BodyTree, PAIRS),
    "d2c": (D2CBody, PAIRS),
}


def list() -> builtins.list[str]:
    """Return the names of all models that upscale."""
    return [name for name in _MODELS if name != "identifier"]


def scales(name: str) -> tuple[int, ...]:
    """Return the scales that a model is made for; raises SRError for an unknown name."""
    if name not in _MODELS:
        raise unknown("model", name, _MODELS)
    return _MODELS[name][1]


def fitted(name: str) -> bool:
    """Whether a model learns by its method `fit(batches, seed)`, not by gradient descent."""
    scales(name)
    return hasattr(_MODELS[name][0], "fit")


def check(name: str, scale: int, args: dict) -> None:
    """Raise SRError for an unknown name, a scale that the model lacks, or an argument that it does not take."""
    whole = hasattr(scale, "__index__") and not isinstance(scale, bool)
    if not whole or scale not in scales(name):
        known = ", ".join(str(s) for s in scales(name))
        raise SRError(f"scale (={scale!r}) is not one that model {name!r} has: {known}")
    known = [arg for arg in inspect.signature(_MODELS[name][0]).parameters if arg != "scale"]
    for arg in args:
        if arg not in known:
            raise unknown(f"argument of model {name!r}:", arg, known)


def create(name: str, scale: int, **args) -> nn.Module:
    """Build a model with fresh weights.

    Raises SRError for an unknown name, a scale that the model lacks, or an argument that it does not take.
    """
    check(name, scale, args)
    return _MODELS[name][0](int(scale), **args)
