"""D2C-X, the tree of D2C-SR with the blocks of other networks X in its branches and their tails at its leaves (Table 3).

Y. Li et al., ECCV 2022, section 4.3, says only that channels or modules are reduced until the result is smaller than the
original. The rule here: two levels of two branches, each with half of the original's blocks, so that a path from the root to a
leaf is as deep as the original, and fewer channels until both networks together have no more parameters than the original at
x4. Head, skips of the leaves and convergence network are D2C-SR's (see `d2c_sr`).

Both networks at x4, the original, and what the paper prints for them:

    srresnet   8 blocks,   32 channels   1,345,188   original 1,517,571   1.37M   1.52M   (without normalisation)
    vdsr       9 layers,   32 channels     623,844   original   668,227   0.67M   0.67M   (of RGB)
    edsr      16 blocks,   64 channels   8,843,684   original 43,089,923  7.91M   43.1M
    rdn        8 blocks,   32 channels   5,644,708   original 22,271,107  5.59M   6.02M   (growth 16, 8 layers)
    rrdbnet   11 blocks,   32 channels  12,170,916   original 16,697,987  9.16M   16.7M   (growth 16)
    imdn       3 blocks,   32 channels     664,716   original   715,176   0.738M  0.874M

VDSR's tree works on the bicubic image, to which its leaves add. SRResNet's bilinear image is left out: the head's skip remains.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import nn

from srlib.baselines import imdn, rdn, rrdbnet, srresnet
from srlib.core.errors import check_int, unknown
from srlib.nn.blocks import ResidualBlock, conv, factors, init_he
from srlib.papers.d2c_sr.model import Fused, Tree, leaf_tail

DENSE_LAYERS = 8  # RDN's C


@dataclass(frozen=True)
class Body:
    """A network X of D2C-X. blocks, width: defaults. branch(blocks, width), tail(scale, width): constructors of a tree's modules.

    reach(blocks): convolutions in a row of a branch; None where its output depends on the whole image. enlarge: see `Tree`.
    """

    blocks: int
    width: int
    branch: Callable[[int, int], nn.Module]
    tail: Callable[[int, int], nn.Module]
    reach: Callable[[int], int] | None
    enlarge: bool = False


def _srresnet(blocks: int, width: int) -> nn.Module:
    return nn.Sequential(*(srresnet.Block(width, norm=False) for _ in range(blocks)))


def _vdsr(blocks: int, width: int) -> nn.Module:
    layers = nn.Sequential(*(layer for _ in range(blocks) for layer in (conv(width, width), nn.ReLU(True))))
    init_he(layers)
    return layers


def _vdsr_tail(scale: int, width: int) -> nn.Module:
    """Return the last convolution, initialised near zero as VDSR's; the tree has enlarged the image."""
    last = conv(width, 3)
    nn.init.normal_(last.weight, std=0.001)
    return last


def _edsr(blocks: int, width: int) -> nn.Module:
    return nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)), conv(width, width))


def _rdn(blocks: int, width: int) -> nn.Module:
    return rdn.DenseBlocks(blocks, width, DENSE_LAYERS, growth=width // 2)


def _rrdbnet(blocks: int, width: int) -> nn.Module:
    return nn.Sequential(*(rrdbnet.RRDB(width, growth=width // 2) for _ in range(blocks)), conv(width, width))


BODIES = {
    "srresnet": Body(8, 32, _srresnet, srresnet.plain_tail, lambda blocks: 2 * blocks),
    "vdsr": Body(9, 32, _vdsr, _vdsr_tail, lambda blocks: blocks, enlarge=True),
    "edsr": Body(16, 64, _edsr, leaf_tail, lambda blocks: 2 * blocks + 1),
    "rdn": Body(8, 32, _rdn, leaf_tail, lambda blocks: DENSE_LAYERS * blocks + 1),
    "rrdbnet": Body(11, 32, _rrdbnet, rrdbnet.nearest_tail, lambda blocks: rrdbnet.RRDB.REACH * blocks + 1),
    "imdn": Body(3, 32, imdn.Distillations, imdn.shuffle_tail, None),
}


class BodyTree(Tree):
    """A divergence network with the blocks of another model. See `Tree` for inputs and outputs, and the table above.

    body: "srresnet", "vdsr", "edsr", "rdn", "rrdbnet" or "imdn". blocks, width: of a branch; None: those of the table.
    """

    def __init__(self, scale: int, body: str = "srresnet", blocks: int | None = None, width: int | None = None):
        if body not in BODIES:
            raise unknown("body", body, BODIES)
        spec = BODIES[body]
        blocks = check_int("blocks", spec.blocks if blocks is None else blocks, 1)
        width = check_int("width", spec.width if width is None else width, 4)
        branch, tail = partial(spec.branch, blocks, width), partial(spec.tail, scale, width)
        super().__init__(scale, width, branch, tail, enlarge=spec.enlarge)
        if spec.reach is not None:
            # Head, branches and skips on the path to a leaf, the steps of its up-sampler, and at most two more convolutions.
            reach = 1 + self.depth * (spec.reach(blocks) + 1) + len(factors(scale)) + 2
            self.context = 4 + -(-reach // scale) if spec.enlarge else reach


class D2CBody(Fused):
    """D2C-X, both networks. Arguments: those of `BodyTree`, and `freeze` (see `Fused`)."""

    def __init__(
        self, scale: int, body: str = "srresnet", blocks: int | None = None, width: int | None = None, freeze: bool = True
    ):
        super().__init__(BodyTree(scale, body, blocks, width), freeze)
