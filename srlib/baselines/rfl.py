"""RFL: super-resolution forests.

S. Schulter, C. Leistner, H. Bischof, "Fast and Accurate Image Upscaling with Super-Resolution Forests", CVPR 2015.
Features, patches and averaging: `srlib.nn.patchwise`.

Paper's symbol -> here: T -> `trees`; x_L -> `features`; x_H -> the residual patch; l_j(x_L) = W_j x_L, the linear leaf ->
`regressors`; lambda, kappa -> `LAMBDA`, `KAPPA`; split functions of one feature -> `feature`, `threshold`, `below`.

Splits minimise the paper's E = variance of x_H + kappa * variance of x_L within a node: scikit-learn's ExtraTreeRegressor, which
draws a random threshold per feature and keeps the best, with both as targets, normalised so that kappa = 1 gives them equal
weight. Each leaf holds a ridge regression of its samples; the trees are averaged.

Departures:
- `leaves` and `smallest` bound a tree where the paper limits its depth to 15, so that the size of the model is fixed.
- Trees differ in the `grown` samples that each is grown from. The leaves are fitted to all samples.
- Residual patches are projected on `rank` principal components, all 36 at x2. Otherwise the leaves would be 16 times as large
  at x8.
- This is the plain RFL, without the alternating regression of ARFL.
"""

import numpy as np
import torch
from torch import Tensor

from srlib.core.errors import SRError, check_int
from srlib.nn.patchwise import PATCH, Patchwise, apply_selected

LAMBDA, KAPPA = 0.01, 1.0
SPLIT = 6  # leading principal components of the residuals used as split targets; more cost time and change little


class RFL(Patchwise):
    """Luma `(N, 1, H, W)` in 0..1 -> luma `(N, 1, scale*H, scale*W)`; bicubic until it is fitted.

    trees: their number. leaves: maximum per tree. smallest: minimum samples per leaf while growing. grown: samples to grow a
    tree from. components: of the features' PCA. rank: components of the residual patches, at most (3*scale)**2.
    samples: maximum kept for fitting, 4 * (81 + 9 * scale**2) bytes each.
    Fitted values, most of them trees * leaves * components * rank: 23.6 million at every scale.
    """

    small = {"trees": 2, "leaves": 8, "smallest": 8, "grown": 1_000, "samples": 2_000}

    def __init__(
        self,
        scale: int,
        trees: int = 10,
        leaves: int = 2048,
        smallest: int = 16,
        grown: int = 200_000,
        components: int = 32,
        rank: int = 36,
        samples: int = 800_000,
    ):
        super().__init__(scale, components, samples)
        for name, value, minimum in (("trees", trees, 1), ("leaves", leaves, 2), ("smallest", smallest, 1), ("grown", grown, 2)):
            check_int(name, value, minimum)
        if not 1 <= rank <= (PATCH * scale) ** 2:
            raise SRError(f"rank (={rank}) must be from 1 to {(PATCH * scale) ** 2}, the HR pixels of a patch")
        self.leaves, self.smallest, self.grown = leaves, smallest, grown
        nodes = 2 * leaves - 1
        self.register_buffer("feature", torch.zeros(trees, nodes, dtype=torch.int64))
        self.register_buffer("threshold", torch.zeros(trees, nodes))
        self.register_buffer("below", torch.zeros(trees, nodes, 2, dtype=torch.int64))  # left and right child; a leaf is its own
        self.register_buffer("leaf", torch.zeros(trees, nodes, dtype=torch.int64))  # index of the leaf at a node
        self.register_buffer("regressors", torch.zeros(trees, leaves, components, rank))
        self.register_buffer("basis", torch.zeros(rank, (PATCH * scale) ** 2))

    @property
    def min_samples(self) -> tuple[int, str]:
        needed = max(self.grown, self.leaves * self.smallest)
        return needed, f"grown={self.grown}, leaves={self.leaves} and smallest={self.smallest}"

    def predict(self, features: Tensor) -> Tensor:
        trees = len(self.feature)
        chosen = [self._descend(tree, features) + tree * self.leaves for tree in range(trees)]
        codes = apply_selected(self.regressors.flatten(0, 1), torch.stack(chosen, dim=1), features.to(self.regressors))
        return codes / trees @ self.basis

    def _descend(self, tree: int, features: Tensor) -> Tensor:
        """Return the index of the leaf `(n,)` that each row of features falls into."""
        feature, threshold, below = self.feature[tree], self.threshold[tree], self.below[tree]
        node = torch.zeros(len(features), dtype=torch.int64, device=features.device)
        while True:
            right = features.gather(1, feature[node, None])[:, 0] > threshold[node]
            child = below[node, right.long()]
            if torch.equal(child, node):
                return self.leaf[tree, node]
            node = child

    def learn(self, features: np.ndarray, residuals: np.ndarray, rng: np.random.Generator) -> None:
        x, y = torch.from_numpy(features), torch.from_numpy(residuals)
        axes = torch.linalg.eigh((y.T @ y).double())[1].flip(1)[:, : len(self.basis)].float()
        self.basis.copy_(axes.T)
        codes = y @ axes
        targets = torch.cat([equalised(codes[:, :SPLIT]), KAPPA**0.5 * equalised(x)], dim=1).numpy()
        for tree in range(len(self.feature)):
            subset = rng.choice(len(features), self.grown, replace=False)
            self._grow(tree, features[subset], targets[subset], int(rng.integers(2**31)))
            self._regress(tree, x, codes)

    def _grow(self, tree: int, features: np.ndarray, targets: np.ndarray, seed: int) -> None:
        """Grow a tree and store its nodes in the buffers."""
        from sklearn.tree import ExtraTreeRegressor

        bounds = {"max_leaf_nodes": self.leaves, "min_samples_leaf": self.smallest}
        nodes = ExtraTreeRegressor(**bounds, max_features=None, random_state=seed).fit(features, targets).tree_
        index = np.arange(nodes.node_count)
        is_leaf = nodes.children_left < 0
        children = np.stack([nodes.children_left, nodes.children_right], axis=1)
        for buffer, values in (
            (self.feature, np.where(is_leaf, 0, nodes.feature)),
            (self.threshold, np.where(is_leaf, 0, nodes.threshold)),
            (self.below, np.where(is_leaf[:, None], index[:, None], children)),
            (self.leaf, np.where(is_leaf, is_leaf.cumsum() - 1, 0)),
        ):
            buffer[tree].zero_()
            buffer[tree, : len(index)] = torch.from_numpy(values).to(buffer)

    def _regress(self, tree: int, x: Tensor, codes: Tensor) -> None:
        """Fit the regressors of a tree: ridge regression on all samples in each leaf."""
        leaf = self._descend(tree, x.to(self.threshold.device)).cpu()
        parts = leaf.argsort(stable=True).split(leaf.bincount(minlength=self.leaves).tolist())
        diagonal = LAMBDA * torch.eye(x.shape[1])
        for index, rows in enumerate(parts):
            inputs = x[rows]
            self.regressors[tree, index] = torch.linalg.solve(inputs.T @ inputs + diagonal, inputs.T @ codes[rows])


def equalised(x: Tensor) -> Tensor:
    """Scale `x` (n, D) as a whole to a mean squared norm of one."""
    return x / x.square().sum(1).mean().sqrt().clamp_min(1e-12)
