"""ProSRN: one small x2 network, applied recursively to its own output up to the target scale.

"Lightweight and Accurate Image Super-Resolution Using Progressive Mode", anonymous CVPR submission; no official code.

Paper's symbol -> here: x -> `lr`; the x2 network -> `step`; sub-SR images -> what `unroll` returns; feature extraction,
up-sampling and fusion -> `entry` + `extract`, `up`, `fusion`; transposed convolution of the input -> `image_up`.

    lr -> entry -> extract (memory block) -> up x2 -> fusion -> residual
    lr -> image_up x2 ------------------------------------------- + ---> sub-SR, the next level's lr

Choices where the paper is silent, mostly as in LapSRN: 64 channels, LeakyReLU 0.2, a 3x3 transposed convolution for features, a
trained 4x4 one without bias for the image, initialised as bilinear interpolation; He initialisation, but for `fusion`, near zero
(std 0.001), so that training starts from the bilinear image. With `entry` outside of the memory block the layers are 14, as the
paper counts.

Structures (Figure 6), each of `depth` convolutions:
- "memory": H_i = LeakyReLU(conv(H_{i-1})) + H_0. "Connects source layer to every other layer" is read as all other layers, by
  addition, as in DRRN's unit, of which the paper calls it a simplification.
- "general": a plain stack, as in LapSRN.
- "residual": units of two convolutions with an identity skip; depth is even.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srlib.core.errors import SRError, check_int, unknown
from srlib.nn.blocks import conv
from srlib.nn.progressive import SLOPE, bilinear, context, double, doublings, initialise


class Convolutions(nn.Module):
    """`depth` 3x3 convolutions, of one of the structures; `(N, width, H, W)` -> the same shape."""

    def __init__(self, depth: int, width: int):
        super().__init__()
        self.layers = nn.ModuleList(conv(width, width) for _ in range(depth))


class General(Convolutions):
    """Figure 6a: a plain stack."""

    def forward(self, h: Tensor) -> Tensor:
        for layer in self.layers:
            h = F.leaky_relu(layer(h), SLOPE)
        return h


class Residual(Convolutions):
    """Figure 6b: residual units of two convolutions."""

    def __init__(self, depth: int, width: int):
        if depth % 2:
            raise SRError(f"depth (={depth}) of the residual structure must be even: its units have two convolutions")
        super().__init__(depth, width)

    def forward(self, h: Tensor) -> Tensor:
        for first, second in zip(self.layers[::2], self.layers[1::2], strict=True):
            h = F.leaky_relu(second(F.leaky_relu(first(h), SLOPE)), SLOPE) + h
        return h


class Memory(Convolutions):
    """Figure 6c, the paper's: the block's input is added to each layer's output."""

    def forward(self, source: Tensor) -> Tensor:
        h = source
        for layer in self.layers:
            h = F.leaky_relu(layer(h), SLOPE) + source
        return h


STRUCTURES = {"memory": Memory, "general": General, "residual": Residual}


class ProSRN(nn.Module):
    """Luma `(N, 1, H, W)` in 0..1 -> luma `(N, 1, scale*H, scale*W)`; in training the images of all levels, small to large.

    scale: any power of two. structure: "memory", "general" or "residual". depth: convolutions in it. width: channels.
    Parameters: 407,441 at every scale; all scales share weights. Raises SRError for values that do not fit.
    """

    channels = 1

    def __init__(self, scale: int, structure: str = "memory", depth: int = 10, width: int = 64):
        super().__init__()
        if structure not in STRUCTURES:
            raise unknown("structure", structure, STRUCTURES)
        check_int("depth", depth, 1)
        self.scale, self.levels = scale, doublings(scale)
        self.entry = nn.Sequential(conv(1, width), nn.LeakyReLU(SLOPE))
        self.extract = STRUCTURES[structure](depth, width)
        self.up = nn.Sequential(double(width), nn.LeakyReLU(SLOPE))
        self.fusion = conv(width, 1)
        self.image_up = bilinear()
        self.context = context(depth + 2, self.levels)  # entry, each convolution, up and fusion together
        initialise(self, last=self.fusion)

    def step(self, lr: Tensor) -> Tensor:
        """Upscale `(N, 1, H, W)` by 2."""
        features = self.extract(self.entry(lr))  # (N, width, H, W)
        residual = self.fusion(self.up(features))  # (N, 1, 2H, 2W)
        with torch.autocast(lr.device.type, enabled=False):  # images keep their precision
            return self.image_up(lr) + residual

    def unroll(self, lr: Tensor) -> list[Tensor]:
        """Return the sub-SR images at x2, x4, ..., `scale`; neither clipped nor rounded between levels."""
        images = [lr]
        for _ in range(self.levels):
            images.append(self.step(images[-1]))
        return images[1:]

    def forward(self, lr: Tensor) -> Tensor | list[Tensor]:
        return self.unroll(lr) if self.training else self.unroll(lr)[-1]
