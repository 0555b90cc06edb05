"""D2C-SR: a tree of branches that predicts several images, and a small network that fuses them.

Y. Li et al., "D2C-SR: A Divergence to Convergence Approach for Real-World Image Super-Resolution", ECCV 2022. What the paper
leaves out is from the authors' code (megvii-research/D2C-SR).

    lr - mean -> head -> branch a -> branch aa -> skips -> tail -> + mean = prediction 1
                      |           -> branch ab -> ...                       prediction 2     C = 2 branches at every node,
                      -> branch b -> branch ba -> ...                       prediction 3     L = 2 levels: P = 4 leaves
                                  -> branch bb -> ...                       prediction 4
    predictions -> three convolutions, softmax = weights; sum of weights * predictions = sr (eq. 8)

Paper's symbol -> here: L, C, P -> `depth`, `children`, number of predictions; G, B -> `groups`, `blocks`; I_D ->
`predictions(lr)`; W -> `fusion_weights(lr)`. Skips of a leaf (multi-branch deep residual): a convolution and the
features of its parent, for each parent up to the root, whose features are the head's; `deep_residual=False` leaves only the
last, our reading of Table 5.

Parameters of both networks: x2 5,178,724, x3 5,917,284, x4 5,769,572, x8 6,360,420. The divergence network alone, x8, makes
five of Figure 7's six sizes (width, groups, blocks): 64, 2, 2 4,527,876; 64, 2, 1 3,634,644; 32, 2, 1 912,636; 16, 2, 1
230,160; 16, 1, 1 188,106. 5.88M fits no configuration of the published code. Up to 16 channels, attention has one inner channel.

Departures:
- Colour is RGB, with the means of RGB; the code reads BGR and subtracts the means of RGB. The 1x1 convolutions that subtract
  and add them are trained, as in the code.
- Scale 1, for pairs of equal size (City100): the tail is a convolution of `width` to `width` channels and the last one, without
  shuffle. The paper has no such data.
- The last ReLU before the softmax is the code's; the paper does not draw it.
- The fusion is in float32 also under autocast. Differences of predictions are close to the resolution of bfloat16: without
  divergence loss, at a learning rate of 1e-3, it collapses to one prediction within 200 steps; in float32 it does not (same seeds
  and patches), but in two of three seeds its last ReLU dies and all weights stay equal. At 1e-4 it lives in two of three seeds,
  with hardly any variation in the third; PSNR is the same, as predictions without the loss hardly differ.
"""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn

from srlib.baselines.rcan import ResidualGroup
from srlib.core.errors import SRError
from srlib.nn.bicubic import upsample_bicubic
from srlib.nn.blocks import MEAN, conv, single, tail

MOST_LEAVES = 64


def branch_module(groups: int, blocks: int, width: int) -> nn.Sequential:
    """Return the basic branch module: residual groups of RCAN and a convolution."""
    return nn.Sequential(*(ResidualGroup(blocks, width) for _ in range(groups)), conv(width, width))


def leaf_tail(scale: int, width: int) -> nn.Sequential:
    """Return the layers from a leaf's features to its image: RCAN's up-sampler and last convolution; see above for scale 1."""
    return tail(scale, width) if scale > 1 else nn.Sequential(conv(width, width), conv(width, 3))


def mean_shift(sign: int) -> nn.Conv2d:
    """Return a 1x1 convolution that is initialised to add `sign` times the mean colour."""
    layer = conv(3, 3, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(3).view(3, 3, 1, 1))
        layer.bias.copy_(sign * torch.tensor(MEAN))
    return layer


class Tree(nn.Module):
    """A divergence network of any branches and tails: RGB `(N, 3, H, W)` in 0..1 -> predictions `(N, P, 3, scale*H, scale*W)`.

    branch, tail: constructors of a module that keeps `width` channels, and of one from these to RGB. enlarge: work on the bicubic
    image, to which every prediction is added (VDSR). Returns the predictions in training mode and their mean in evaluation mode.
    Raises SRError for depth or children below 1, and for more than `MOST_LEAVES` leaves.
    """

    channels = 3
    context: int | None = None

    def __init__(
        self,
        scale: int,
        width: int,
        branch: Callable[[], nn.Module],
        tail: Callable[[], nn.Module],
        depth: int = 2,
        children: int = 2,
        deep_residual: bool = True,
        enlarge: bool = False,
    ):
        super().__init__()
        if min(depth, children) < 1 or children**depth > MOST_LEAVES:
            raise SRError(f"depth (={depth}) and children (={children}) must make a tree of 1 to {MOST_LEAVES} leaves")
        skips = depth if deep_residual else 1
        self.scale, self.depth, self.branching = scale, depth, children
        self.leaves, self.deep_residual, self.enlarge = children**depth, deep_residual, enlarge
        self.subtract_mean, self.add_mean = mean_shift(-1), mean_shift(1)
        self.head = conv(3, width)
        # Branch i of one level feeds branches i*C .. i*C + C - 1 of the next.
        self.levels = nn.ModuleList(nn.ModuleList(branch() for _ in range(children**level)) for level in range(1, depth + 1))
        self.skips = nn.ModuleList(nn.ModuleList(conv(width, width) for _ in range(skips)) for _ in range(self.leaves))
        self.tails = nn.ModuleList(tail() for _ in range(self.leaves))

    def leaf_features(self, parents: list[Tensor], index: int) -> Iterator[Tensor]:
        """Yield the features of all leaves under a node, depth first. parents: features `(N, width, H, W)` from the root on."""
        level = len(parents) - 1
        if level == self.depth:
            yield self._add_skips(parents, index)
            return
        for child in range(index * self.branching, (index + 1) * self.branching):
            yield from self.leaf_features([*parents, self.levels[level][child](parents[-1])], child)

    def _add_skips(self, parents: list[Tensor], leaf: int) -> Tensor:
        """Return a leaf's features after its multi-branch deep residual: a convolution and a parent each, the nearest first."""
        root, *between, features = parents
        sources = [*reversed(between), root] if self.deep_residual else [root]
        for layer, source in zip(self.skips[leaf], sources, strict=True):
            features = layer(features) + source
        return features

    def predictions(self, lr: Tensor) -> Tensor:
        """Return the images of the leaves, `(N, P, 3, scale*H, scale*W)`, neither clipped nor rounded."""
        image = self.subtract_mean(upsample_bicubic(lr, self.scale) if self.enlarge else lr)  # (N, 3, H, W)
        leaves = zip(self.tails, self.leaf_features([self.head(image)], 0), strict=True)
        predictions = (tail(features) + image if self.enlarge else tail(features) for tail, features in leaves)
        return torch.stack([self.add_mean(prediction) for prediction in predictions], dim=1)  # (N, P, 3, scale*H, scale*W)

    def forward(self, lr: Tensor) -> Tensor:
        predictions = self.predictions(lr)
        return predictions if self.training else predictions.mean(dim=1)


class DivergenceNet(Tree):
    """The paper's divergence network, a `Tree`. Arguments: see the symbols above; width: channels.

    Parameters: x2 5,132,644, x3 5,871,204, x4 5,723,492, x8 6,314,340. Its attention depends on the whole image.
    """

    def __init__(
        self,
        scale: int,
        depth: int = 2,
        children: int = 2,
        groups: int = 2,
        blocks: int = 4,
        width: int = 64,
        deep_residual: bool = True,
    ):
        branch, tail = partial(branch_module, groups, blocks, width), partial(leaf_tail, scale, width)
        super().__init__(scale, width, branch, tail, depth, children, deep_residual)


class ConvergenceNet(nn.Module):
    """Predictions `(N, P, 3, H, W)` -> weights `(N, P, H, W)` that add up to 1 at every pixel. 46,080 parameters for P = 4.

    Three convolutions without bias, ReLU after each, also the last: no logit is below 0.
    """

    REACH = 3  # receptive radius in pixels

    def __init__(self, count: int, width: int = 64):
        super().__init__()
        sizes = [3 * count, width, width, count]
        self.layers = nn.ModuleList(conv(a, b, bias=False) for a, b in zip(sizes, sizes[1:], strict=False))

    def forward(self, predictions: Tensor) -> Tensor:
        x = single(predictions).flatten(1, 2)  # (N, 3P, H, W)
        with torch.autocast(x.device.type, enabled=False):
            for layer in self.layers:
                x = torch.relu(layer(x))
            return x.softmax(dim=1)  # (N, P, H, W)


def fuse(predictions: Tensor, weights: Tensor) -> Tensor:
    """Return the sum of weights `(N, P, H, W)` times predictions `(N, P, 3, H, W)`, eq. 8."""
    return (single(predictions) * weights[:, :, None]).sum(dim=1)


class Fused(nn.Module):
    """A divergence network and the convergence network on its predictions: RGB in 0..1 -> RGB, `scale` times as large.

    freeze: the paper's second stage: the divergence network is frozen, and only the fusion is trained. False: both are trained at
    once, as in the published code; in training mode it returns [predictions `(N, P, 3, H, W)`, fused image], and the fused
    image has no gradient to the divergence network.
    """

    channels = 3

    def __init__(self, divergence: Tree, freeze: bool = True):
        super().__init__()
        self.scale, self.freeze = divergence.scale, freeze
        self.divergence = divergence.requires_grad_(not freeze)
        self.convergence = ConvergenceNet(divergence.leaves)
        context = divergence.context
        self.context = None if context is None else context + -(-ConvergenceNet.REACH // self.scale)

    def predictions(self, lr: Tensor) -> Tensor:
        """Return the predictions of the divergence network, `(N, P, 3, scale*H, scale*W)`."""
        return self.divergence.predictions(lr)

    def fusion_weights(self, lr: Tensor) -> Tensor:
        """Return the weight of each prediction at every pixel, `(N, P, scale*H, scale*W)`."""
        return self.convergence(self.predictions(lr))

    def forward(self, lr: Tensor) -> Tensor | list[Tensor]:
        predictions = self.predictions(lr)
        inputs = predictions.detach() if self.training else predictions
        fused = fuse(inputs, self.convergence(inputs))
        return [predictions, fused] if self.training and not self.freeze else fused


class D2C(Fused):
    """D2C-SR, both networks. Arguments: those of `DivergenceNet`, and `freeze` (see `Fused`)."""

    def __init__(
        self,
        scale: int,
        depth: int = 2,
        children: int = 2,
        groups: int = 2,
        blocks: int = 4,
        width: int = 64,
        deep_residual: bool = True,
        freeze: bool = True,
    ):
        super().__init__(DivergenceNet(scale, depth, children, groups, blocks, width, deep_residual), freeze)
