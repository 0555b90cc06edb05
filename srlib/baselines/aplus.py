"""A+: adjusted anchored neighbourhood regression.

R. Timofte, V. De Smet, L. Van Gool, "A+: Adjusted Anchored Neighborhood Regression for Fast Super-Resolution", ACCV 2014.
Features, patches and their average are those of `srlib.nn.patchwise`.

Paper's symbol -> here: d_j, the atoms of the LR dictionary -> `anchors`; P_j -> `regressors[j]`, transposed; N_l, the
samples around an anchor -> the `neighbours` of largest correlation; lambda -> `penalty`; y_F -> `features`; x -> the
residual patch. P_j = N_h (N_l^T N_l + lambda I)^-1 N_l^T, samples as columns and divided by the length of their features;
it is computed as ridge regression, N_h N_l^T (N_l N_l^T + lambda I)^-1, which is the same and smaller.

A patch takes the regressor of the anchor that its features correlate with most, whatever the sign: P_j is linear, so a
feature and its negative are served alike.

Departures:
- Anchors are the directions of k-means clusters (scikit-learn's MiniBatchKMeans) of features of length one, the sign of the
  first component made positive; the paper takes the atoms of a K-SVD dictionary.
- The paper draws 5 million samples from 91 images at several sizes; here `samples` patches of the training images, in all eight
  symmetries. More samples make tighter neighbourhoods: 800,000 instead of 200,000 gain about 0.2 dB at x2.
- Features shorter than 0.1 are divided by 0.1, not by their length. They are flat patches, whose direction is rounding
  noise; photographs of print have many, exactly flat, that would outweigh all others.
- 32 components, 99.9 % of the energy at x2 and x4, instead of a number that follows from the data.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from srlib.core.errors import SRError
from srlib.nn.patchwise import PATCH, Patchwise, apply

CLUSTERED = 100  # samples per anchor that the clusters are made of, at most
FLAT = 0.1  # the shortest features that are stretched to length one: shorter ones hold little but the rounding to 8 bits
TOGETHER = 16  # anchors that are solved at a time, to bound the memory


class APlus(Patchwise):
    """Luma `(N, 1, H, W)` in 0..1 -> luma `(N, 1, scale*H, scale*W)`; bicubic until it is fitted.

    atoms: number of anchors. neighbours: samples that each regressor is learnt from. penalty: lambda.
    components: of the PCA. samples: the most that are kept for learning, 4 * (81 + 9 * scale**2) bytes each.
    Numbers learnt, most of them atoms * components * (3*scale)**2: x2 1.2, x3 2.7, x4 4.8, x8 18.9 million.
    """

    def __init__(
        self,
        scale: int,
        atoms: int = 1024,
        neighbours: int = 2048,
        penalty: float = 0.1,
        components: int = 32,
        samples: int = 800_000,
    ):
        super().__init__(scale, components, samples)
        if atoms < 1 or neighbours < 1:
            raise SRError(f"atoms (={atoms}) and neighbours (={neighbours}) must be at least 1")
        if not penalty > 0:
            raise SRError(f"penalty (={penalty}) must be above 0")
        self.neighbours, self.penalty = neighbours, penalty
        self.register_buffer("anchors", torch.zeros(atoms, components))
        self.register_buffer("regressors", torch.zeros(atoms, components, (PATCH * scale) ** 2))

    @property
    def least(self) -> tuple[int, str]:
        atoms = len(self.anchors)
        return max(atoms, self.neighbours), f"atoms={atoms} and neighbours={self.neighbours}"

    def predict(self, features: Tensor) -> Tensor:
        nearest = (features @ self.anchors.to(features).T).abs().argmax(1, keepdim=True)
        return apply(self.regressors, nearest, features.to(self.regressors))

    def learn(self, features: np.ndarray, residuals: np.ndarray, rng: np.random.Generator) -> None:
        x, y = torch.from_numpy(features), torch.from_numpy(residuals)
        length = x.norm(dim=1, keepdim=True).clamp_min(FLAT)
        x, y = x.div_(length), y.div_(length)
        self.anchors.copy_(self._clusters(x.numpy(), rng))
        for first in range(0, len(self.anchors), TOGETHER):
            anchors = self.anchors[first : first + TOGETHER].cpu()
            near = (anchors @ x.T).abs().topk(self.neighbours, dim=1, sorted=False).indices
            inputs, outputs = x[near], y[near]
            gram = inputs.mT @ inputs + self.penalty * torch.eye(x.shape[1])
            self.regressors[first : first + TOGETHER] = torch.linalg.solve(gram, inputs.mT @ outputs)

    def _clusters(self, x: np.ndarray, rng: np.random.Generator) -> Tensor:
        from sklearn.cluster import MiniBatchKMeans

        atoms = len(self.anchors)
        some = x[rng.choice(len(x), min(len(x), CLUSTERED * atoms), replace=False)]
        some *= np.where(some[:, :1] < 0, -1, 1).astype(x.dtype)
        means = MiniBatchKMeans(atoms, batch_size=4096, max_iter=20, n_init=1, random_state=int(rng.integers(2**31))).fit(some)
        return F.normalize(torch.from_numpy(means.cluster_centers_))
