"""Networks from elsewhere: a weights file (an export of ours, or what spandrel reads), or any module as `module:function`."""

import inspect
import os
import re
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor, nn

from srlib.core.errors import SRError, failure
from srlib.share.export import read_export

FILES = (".pth", ".pt", ".ckpt", ".safetensors")
FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
SPANDREL_FREE = "name a function that builds the network, as module:function"
SIDE = 64  # LR pixels of a trial image: a multiple of the windows and strides in use


class Foreign(nn.Module):
    """A network from elsewhere, `(N, C, H, W)` in 0..1 -> `(N, C, scale*H, scale*W)`, with the attributes of ours.

    run: called instead of the network, to pad its input. Its exceptions and outputs of another size become SRError.
    """

    context = None  # unknown, so that images are never cut
    probe = SIDE
    channels_last = False  # its code may view tensors in their usual order, or have layers of other dimensions

    def __init__(self, network: nn.Module, name: str, scale: int, channels: int, run: Callable[[Tensor], Tensor] | None = None):
        super().__init__()
        self.network, self.name, self.scale, self.channels, self.run = network, name, scale, channels, run

    def forward(self, lr: Tensor) -> Tensor:
        sr = _call(self.run or self.network, lr, self.name)
        expected = (*lr.shape[:2], *(self.scale * side for side in lr.shape[2:]))
        if sr.shape != expected:
            raise SRError(f"{self.name} made {tuple(sr.shape)} of {tuple(lr.shape)}; expected {expected}")
        return sr


def is_foreign(name: str) -> bool:
    """Whether a name is that of a weights file or of a function, and not of an experiment or a run."""
    return name.endswith(FILES) or ":" in name


def load(name: str, scale: int | None = None) -> nn.Module:
    """Load a network from elsewhere, in eval mode.

    name: a weights file, or `module:function`, found in the working directory too; the function, or class, gets `scale` where it
    has such a parameter. Raises SRError for what cannot be built, what makes no image of one, and another scale than that given.
    """
    network = _from_file(name) if name.endswith(FILES) else _from_function(name, scale)
    if scale is not None and network.scale != scale:
        raise SRError(f"scale (={scale}) does not fit {name}, which is x{network.scale}; leave the scale out")
    return network.eval()


def _call(run: Callable[[Tensor], Tensor], lr: Tensor, name: str) -> Tensor:
    try:
        sr = run(lr)
    except (Exception, SystemExit) as error:  # anything may be wrong in it, and the message is all that its user needs
        raise failure(f"{name} failed on an input {tuple(lr.shape)}", error) from error
    if not isinstance(sr, Tensor):
        raise SRError(f"{name} returned {type(sr).__name__}; expected one tensor")
    return sr


def _from_function(name: str, scale: int | None) -> Foreign:
    module, _, function = name.partition(":")
    if not FUNCTION.fullmatch(name) or module.endswith(".py"):
        dotted = ".".join(part for part in Path(module).with_suffix("").parts if part.isidentifier())
        raise SRError(f"{name}: expected module:function, e.g. {dotted or 'nets'}:{function or 'build'}, with dots for folders")
    sys.path.insert(0, os.getcwd())
    try:
        build = getattr(import_module(module), function)
        asked = inspect.signature(build).parameters.get("scale")
        if asked and scale is None and asked.default is asked.empty:
            raise SRError(f"{name} needs a scale; give --scale")
        network = build(scale=scale) if asked and scale is not None else build()
    except SystemExit as error:
        hint = "it called sys.exit, as scripts do that read their arguments when imported; move that under `if __name__`"
        raise SRError(f"{name} cannot be built: {hint}") from error
    except SRError:
        raise
    except Exception as error:
        raise failure(f"{name} cannot be built", error) from error
    finally:
        sys.path.remove(os.getcwd())
    if not isinstance(network, nn.Module):
        raise SRError(f"{name} returned {type(network).__name__}; expected a torch.nn.Module")
    return Foreign(network, name, *_sizes(network.eval(), name))


@torch.no_grad()
def _sizes(network: nn.Module, name: str) -> tuple[int, int]:
    """Return scale and channels of a network, by a trial with RGB and, where that fails, with luma."""
    try:
        sr, channels = _call(network, torch.full((1, 3, SIDE, SIDE), 0.5), name), 3
    except SRError as error:
        try:
            sr, channels = _call(network, torch.full((1, 1, SIDE, SIDE), 0.5), name), 1
        except SRError:
            raise error from None
    scale = sr.shape[-1] // SIDE
    if scale < 1 or sr.shape != (1, channels, scale * SIDE, scale * SIDE):
        made = f"{tuple(sr.shape)} of {(1, channels, SIDE, SIDE)}"
        raise SRError(f"{name} made {made}; expected as many channels and whole multiples of the sides")
    return scale, channels


def _from_file(name: str) -> nn.Module:
    path = Path(name)
    if not path.is_file():
        raise SRError(f"{path} is not there; name a weights file, or a function as module:function")
    if path.suffix == ".safetensors" and (own := read_export(path)) is not None:
        return own
    try:
        import spandrel
    except (ImportError, RuntimeError) as error:  # also where torchvision is of another torch
        way = f"install it (pip install spandrel, with the torchvision of your torch), or {SPANDREL_FREE}"
        raise SRError(f"{path}: other projects' files are read by spandrel, which cannot be imported ({error}); {way}") from error
    try:
        descriptor = spandrel.ModelLoader().load_from_file(path)
    except spandrel.UnsupportedModelError as error:
        raise SRError(f"{path}: spandrel does not know its architecture; {SPANDREL_FREE}") from error
    except Exception as error:
        raise failure(f"{path}: spandrel cannot read it", error) from error
    channels = descriptor.input_channels
    if not isinstance(descriptor, spandrel.ImageModelDescriptor) or channels != descriptor.output_channels:
        raise SRError(f"{path} is no network that makes one picture of another ({descriptor.architecture.name})")
    return Foreign(descriptor.model, name, descriptor.scale, channels, descriptor)
