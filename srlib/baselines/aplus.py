"""A+: adjusted anchored neighbourhood regression.

R. Timofte, V. De Smet, L. Van Gool, "A+: Adjusted Anchored Neighborhood Regression for Fast Super-Resolution", ACCV 2014.
Features, patches and averaging: `srlib.nn.patchwise`.

Paper's symbol -> here: d_j, the atoms of the LR dictionary -> `anchors`; P_j -> `regressors[j]`, transposed; N_l, the
samples around an anchor -> the `neighbours` most correlated with it; lambda -> `LAMBDA`; y_F -> `features`; x -> the
residual patch. P_j = N_h (N_l^T N_l + lambda I)^-1 N_l^T, samples as columns, divided by the norm of their features;
it is computed as ridge regression, N_h N_l^T (N_l N_l^T + lambda I)^-1, which is equal and inverts a smaller matrix.
A patch uses the regressor of the anchor with the largest absolute correlation: P_j is linear.

Departures:
- Anchors are the directions of k-means clusters (scikit-learn's MiniBatchKMeans) of unit-norm features, the first component
  made positive; the paper takes the atoms of a K-SVD dictionary.
- The paper draws 5 million samples from 91 images at several sizes; here `samples` patches of the training images, in all eight
  orientations. More samples make tighter neighbourhoods: 800,000 instead of 200,000 gain about 0.2 dB at x2.
- Features of norm below 0.1 are divided by 0.1, not by their norm. They are flat patches, whose direction is quantisation
  noise; photographs of print have many, exactly flat, that would outweigh all others.
- 32 components, 99.9 % of the energy at x2 and x4, instead of a number derived from the data.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from srlib.core.errors import check_int
from srlib.nn.patchwise import PATCH, Patchwise, apply_selected

LAMBDA = 0.1
CLUSTERED = 100  # maximum number of samples per anchor for clustering
FLAT = 0.1  # smallest norm that is normalised to one: features below are mostly 8-bit quantisation noise
TOGETHER = 16  # anchors solved at a time, to bound memory


class APlus(Patchwise):
    """Luma `(N, 1, H, W)` in 0..1 -> luma `(N, 1, scale*H, scale*W)`; bicubic until it is fitted.

    atoms: number of anchors. neighbours: samples that each regressor is fitted to. components: of the PCA. samples: maximum kept
    for fitting, 4 * (81 + 9 * scale**2) bytes each.
    Fitted values, most of them atoms * components * (3*scale)**2: x2 1.2, x3 2.7, x4 4.8, x8 18.9 million.
    """

    small = {"atoms": 16, "neighbours": 64, "samples": 2_000}

    def __init__(self, scale: int, atoms: int = 1024, neighbours: int = 2048, components: int = 32, samples: int = 800_000):
        super().__init__(scale, components, samples)
        check_int("atoms", atoms, 1)
        self.neighbours = check_int("neighbours", neighbours, 1)
        self.register_buffer("anchors", torch.zeros(atoms, components))
        self.register_buffer("regressors", torch.zeros(atoms, components, (PATCH * scale) ** 2))

    @property
    def min_samples(self) -> tuple[int, str]:
        atoms = len(self.anchors)
        return max(atoms, self.neighbours), f"atoms={atoms} and neighbours={self.neighbours}"

    def predict(self, features: Tensor) -> Tensor:
        nearest = (features @ self.anchors.to(features).T).abs().argmax(1, keepdim=True)
        return apply_selected(self.regressors, nearest, features.to(self.regressors))

    def learn(self, features: np.ndarray, residuals: np.ndarray, rng: np.random.Generator) -> None:
        x, y = torch.from_numpy(features), torch.from_numpy(residuals)
        norm = x.norm(dim=1, keepdim=True).clamp_min(FLAT)
        x, y = x.div_(norm), y.div_(norm)
        self.anchors.copy_(self._clusters(x.numpy(), rng))
        for first in range(0, len(self.anchors), TOGETHER):
            anchors = self.anchors[first : first + TOGETHER].cpu()
            near = (anchors @ x.T).abs().topk(self.neighbours, dim=1, sorted=False).indices
            inputs, outputs = x[near], y[near]
            gram = inputs.mT @ inputs + LAMBDA * torch.eye(x.shape[1])
            self.regressors[first : first + TOGETHER] = torch.linalg.solve(gram, inputs.mT @ outputs)

    def _clusters(self, x: np.ndarray, rng: np.random.Generator) -> Tensor:
        from sklearn.cluster import MiniBatchKMeans

        atoms = len(self.anchors)
        subset = x[rng.choice(len(x), min(len(x), CLUSTERED * atoms), replace=False)]
        subset *= np.where(subset[:, :1] < 0, -1, 1).astype(x.dtype)
        kmeans = MiniBatchKMeans(atoms, batch_size=4096, max_iter=20, n_init=1, random_state=int(rng.integers(2**31)))
        return F.normalize(torch.from_numpy(kmeans.fit(subset).cluster_centers_))
