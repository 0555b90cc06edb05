"""RFL: super-resolution forests.

S. Schulter, C. Leistner, H. Bischof, "Fast and Accurate Image Upscaling with Super-Resolution Forests", CVPR 2015.
Features, patches and their average are those of `srlib.nn.patchwise`.

Paper's symbol -> here: T -> `trees`; x_L -> `features`; x_H -> the residual patch; l_j(x_L) = W_j x_L, the linear leaf ->
`regressors`; lambda -> `penalty`; kappa -> `kappa`; split functions of one feature -> `feature`, `threshold`, `below`.

Each tree is grown to make the samples of a node alike, in what they predict and, weighted by kappa, in their features
(the paper's E = variance of x_H + kappa * variance of x_L): scikit-learn's ExtraTreeRegressor, which draws a random
threshold per feature and keeps the best, with both as targets. The variances are made equal first, so that kappa = 1
weighs them alike. Each leaf is a ridge regression of its samples; the trees are averaged.

Departures:
- `leaves` and `smallest` bound a tree where the paper bounds its depth to 15, so that the size of the model is fixed.
- Trees differ by the `grown` samples that each is grown from. The leaves are regressed on all samples.
- Residual patches are coded in `rank` principal components, all 36 at x2. Uncoded, the leaves would hold 16 times as many
  numbers at x8.
- The average of the trees is the plain RFL; the alternating ARFL variant is left out.
"""

import numpy as np
import torch
from torch import Tensor

from srlib.core.errors import SRError
from srlib.nn.patchwise import PATCH, Patchwise, apply

SPLIT = 6  # leading components of the residuals that decide the splits; more cost time and change little


class RFL(Patchwise):
    """Luma `(N, 1, H, W)` in 0..1 -> luma `(N, 1, scale*H, scale*W)`; bicubic until it is fitted.

    trees, leaves: their number, and the most leaves of each. smallest: samples of a leaf, at least, when a tree is grown.
    grown: samples that a tree is grown from. penalty: lambda. kappa: weight of the features' variance in the splits.
    components: of the features' PCA. rank: components of the residual patches, at most (3*scale)**2.
    samples: the most that are kept for learning, 4 * (81 + 9 * scale**2) bytes each.
    Numbers learnt, most of them trees * leaves * components * rank: 23.6 million at every scale.
    """

    def __init__(
        self,
        scale: int,
        trees: int = 10,
        leaves: int = 2048,
        smallest: int = 16,
        grown: int = 200_000,
        penalty: float = 0.01,
        kappa: float = 1.0,
        components: int = 32,
        rank: int = 36,
        samples: int = 800_000,
    ):
        super().__init__(scale, components, samples)
        for name, value, least in (("trees", trees, 1), ("leaves", leaves, 2), ("smallest", smallest, 1), ("grown", grown, 2)):
            if value < least:
                raise SRError(f"{name} (={value}) must be at least {least}")
        if not penalty > 0 or not kappa >= 0:
            raise SRError(f"penalty (={penalty}) must be above 0 and kappa (={kappa}) not below")
        if not 1 <= rank <= (PATCH * scale) ** 2:
            raise SRError(f"rank (={rank}) must be from 1 to {(PATCH * scale) ** 2}, the HR pixels of a patch")
        self.leaves, self.smallest, self.grown, self.penalty, self.kappa = leaves, smallest, grown, penalty, kappa
        nodes = 2 * leaves - 1
        self.register_buffer("feature", torch.zeros(trees, nodes, dtype=torch.int64))
        self.register_buffer("threshold", torch.zeros(trees, nodes))
        self.register_buffer("below", torch.zeros(trees, nodes, 2, dtype=torch.int64))  # left, right; a leaf lies below itself
        self.register_buffer("leaf", torch.zeros(trees, nodes, dtype=torch.int64))  # number of the leaf at a node
        self.register_buffer("regressors", torch.zeros(trees, leaves, components, rank))
        self.register_buffer("basis", torch.zeros(rank, (PATCH * scale) ** 2))

    @property
    def least(self) -> tuple[int, str]:
        needed = max(self.grown, self.leaves * self.smallest)
        return needed, f"grown={self.grown}, leaves={self.leaves} and smallest={self.smallest}"

    def predict(self, features: Tensor) -> Tensor:
        trees = len(self.feature)
        chosen = [self._descend(tree, features) + tree * self.leaves for tree in range(trees)]
        codes = apply(self.regressors.flatten(0, 1), torch.stack(chosen, dim=1), features.to(self.regressors))
        return codes / trees @ self.basis

    def _descend(self, tree: int, features: Tensor) -> Tensor:
        """Return the number of the leaf `(n,)` that each row of features falls into."""
        feature, threshold, below = self.feature[tree], self.threshold[tree], self.below[tree]
        node = torch.zeros(len(features), dtype=torch.int64, device=features.device)
        while True:
            right = features.gather(1, feature[node, None])[:, 0] > threshold[node]
            following = below[node, right.long()]
            if torch.equal(following, node):
                return self.leaf[tree, node]
            node = following

    def learn(self, features: np.ndarray, residuals: np.ndarray, rng: np.random.Generator) -> None:
        x, y = torch.from_numpy(features), torch.from_numpy(residuals)
        axes = torch.linalg.eigh((y.T @ y).double())[1].flip(1)[:, : len(self.basis)].float()
        self.basis.copy_(axes.T)
        codes = y @ axes
        alike = [equalised(codes[:, :SPLIT]), self.kappa**0.5 * equalised(x)]
        targets = torch.cat(alike, dim=1).numpy()
        for tree in range(len(self.feature)):
            some = rng.choice(len(features), self.grown, replace=False)
            self._grow(tree, features[some], targets[some], int(rng.integers(2**31)))
            self._regress(tree, x, codes)

    def _grow(self, tree: int, features: np.ndarray, targets: np.ndarray, seed: int) -> None:
        """Grow a tree and write its nodes to the buffers."""
        from sklearn.tree import ExtraTreeRegressor

        grown = ExtraTreeRegressor(
            max_leaf_nodes=self.leaves, min_samples_leaf=self.smallest, max_features=None, random_state=seed
        )
        nodes = grown.fit(features, targets).tree_
        own = np.arange(nodes.node_count)
        ends = nodes.children_left < 0
        children = np.stack([nodes.children_left, nodes.children_right], axis=1)
        for buffer, values in (
            (self.feature, np.where(ends, 0, nodes.feature)),
            (self.threshold, np.where(ends, 0, nodes.threshold)),
            (self.below, np.where(ends[:, None], own[:, None], children)),
            (self.leaf, np.where(ends, ends.cumsum() - 1, 0)),
        ):
            buffer[tree].zero_()
            buffer[tree, : len(own)] = torch.from_numpy(values).to(buffer)

    def _regress(self, tree: int, x: Tensor, codes: Tensor) -> None:
        """Set the regressors of a tree: ridge regression of all samples that fall into each leaf."""
        leaf = self._descend(tree, x.to(self.threshold.device)).cpu()
        counts = leaf.bincount(minlength=self.leaves).tolist()
        parts = leaf.argsort(stable=True).split(counts)
        diagonal = self.penalty * torch.eye(x.shape[1])
        for number, rows in enumerate(parts):
            inputs = x[rows]
            self.regressors[tree, number] = torch.linalg.solve(inputs.T @ inputs + diagonal, inputs.T @ codes[rows])


def equalised(x: Tensor) -> Tensor:
    """Scale `x` (n, D) as a whole to a mean squared length of one."""
    return x / x.square().sum(1).mean().sqrt().clamp_min(1e-12)
