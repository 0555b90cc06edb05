"""The networks by name: `create("btsrn", scale=2)`, `names()`.

`srlib.baselines` and the papers register theirs (`core.plugins`).

Every network maps `(N, C, H, W)` in 0..1 to `(N, C, scale*H, scale*W)` and has
- `scale`: its factor; `channels`: 1 (luma), 3 (RGB) or None (either);
- `context`: how many LR pixels around a pixel its output depends on (None: the whole image), which makes tiles exact;
- optionally: `probe`, the LR side of the smallest input that runs all its layers (default 24); `multiple`, the LR pixels that
  it pads the sides of images to a multiple of; `valid_padding`, True where its output in training covers only the centre of
  HR; `selective`, True where a batch may bypass all trained layers; `makes_images`, False where it predicts something else,
  such as the logits of Difficulty-SR's identifier; `channels_last`, False where its tensors must keep their usual order.

In training mode a network that is supervised at several levels returns a list of images, the final one last; one that makes
several predictions (`divergence`) returns `(N, P, C, H, W)`, and in eval mode their mean. A network with a
method `fit(batches, seed)` is fitted in closed form, not by gradient descent.

`scoring.vitals` examines mechanisms through methods: `predictions(lr)` -> `(N, P, 3, H, W)`, `fusion_weights(lr)` ->
`(N, P, H, W)`, `kernels(lr)` -> a list of `(N, K*K, H, W)`, one per head (LP-KPN's are of the full, half and quarter size, and
the sides of `lr` multiples of 4).
"""

import inspect
from collections.abc import Callable, Collection

import torch
from torch import Tensor, nn

from srlib.core import plugins
from srlib.core.errors import SRError, unknown
from srlib.core.memory import keep_freed_memory

SCALES = (2, 3, 4, 8)
SAME_SIZE = (1,)  # LR and HR of equal size
PAIRS = (*SAME_SIZE, *SCALES)
POWERS = tuple(2**level for level in range(1, 9))
_MODELS: dict[str, tuple[Callable[..., nn.Module], tuple[int, ...]]] = {}


def register(name: str, build: Callable[..., nn.Module], scales: Collection[int] = SCALES) -> None:
    """Register `build(scale, **args)`, a class or a function, under a name. Raises SRError for a name that is taken."""
    if name in _MODELS and _MODELS[name][0] is not build:
        raise SRError(f"model {name!r} is registered already, as {_MODELS[name][0].__qualname__}; choose another name")
    _MODELS[name] = (build, tuple(scales))


def names() -> list[str]:
    """Return the names of all registered networks that upscale."""
    plugins.load()
    return [name for name, (build, _) in _MODELS.items() if getattr(build, "makes_images", True)]


def scales(name: str) -> tuple[int, ...]:
    """Return the scales that a network supports; raises SRError for an unknown name."""
    if name not in _MODELS:
        plugins.load()
    if name not in _MODELS:
        raise unknown("model", name, _MODELS)
    return _MODELS[name][1]


def default_scale(name: str) -> int:
    """Return 2 where a network supports it, else its first scale."""
    return 2 if 2 in scales(name) else scales(name)[0]


def fitted(name: str) -> bool:
    """Whether a network is fitted in closed form, by its method `fit(batches, seed)`."""
    scales(name)
    return hasattr(_MODELS[name][0], "fit")


def check(name: str, scale: int, args: dict) -> None:
    """Raise SRError for an unknown name, an unsupported scale or an unknown argument."""
    integer = hasattr(scale, "__index__") and not isinstance(scale, bool)
    if not integer or scale not in scales(name):
        supported = ", ".join(str(s) for s in scales(name))
        raise SRError(f"scale (={scale!r}) is not one that model {name!r} has: {supported}")
    known = [arg for arg in inspect.signature(_MODELS[name][0]).parameters if arg != "scale"]
    for arg in args:
        if arg not in known:
            raise unknown(f"argument of model {name!r}:", arg, known)


def create(name: str, scale: int, **args) -> nn.Module:
    """Build a network with fresh weights; the process keeps freed memory from then on. Raises what `check` does."""
    check(name, scale, args)
    keep_freed_memory()
    return _MODELS[name][0](int(scale), **args)


def makes_images(model: nn.Module) -> bool:
    """Whether a network upscales."""
    return getattr(model, "makes_images", True)


def levels(outputs: Tensor | list[Tensor]) -> list[Tensor]:
    """Return the outputs of a network in training as a list, small to large."""
    return [outputs] if isinstance(outputs, Tensor) else outputs


def device_of(model: nn.Module) -> torch.device:
    """Return the device of a network's tensors, the CPU without any."""
    return next((tensor.device for tensor in (*model.parameters(), *model.buffers())), torch.device("cpu"))
