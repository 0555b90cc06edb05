"""Difficulty of patches: bicubic PSNR, an identifier's predictions, and what routing gains (sections 3.5, Tables 3 and 4)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, product

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from srlib.core.color import to_y
from srlib.core.errors import SRError
from srlib.core.imresize import modcrop
from srlib.core.protocols import Protocol, lr_from_hr, protocol
from srlib.data.sets import open_set
from srlib.nn.models import device_of
from srlib.papers.difficulty_sr.model import EASIEST, PATCH, DualBranchSR, Identifier, classes, difficulty

CLASSES = ("< 30 dB", "30-35 dB", "35-40 dB", "40-45 dB", ">= 45 dB")  # hardest to easiest


@dataclass(frozen=True)
class Patches:
    """The patches of one image, in luma 0..1: lr `(M, 1, 48, 48)`, hr `(M, 1, 48*scale, 48*scale)`, their LR corners."""

    image: str
    corners: tuple[tuple[int, int], ...]
    lr: Tensor
    hr: Tensor


def patches(dataset: str, scale: int, limit: int | None = None) -> Iterator[Patches]:
    """Yield the images of a set as 48x48 LR patches that do not overlap; incomplete ones at the border are dropped (section 3.5).

    LR is made from the rounded luma of the whole image, and grey images are taken as luma (protocol "y"). limit: number of
    images, None for all. Images smaller than a patch are left out.
    """
    for name, image in islice(open_set(dataset), limit):
        hr = modcrop(image, scale)
        lr = lr_from_hr(hr, protocol("y"), scale)
        hr = hr if hr.ndim == 2 else to_y(hr, rounded=True)
        corners = tuple(product(*(range(0, side - PATCH + 1, PATCH) for side in lr.shape)))
        if corners:
            yield Patches(name, corners, _cut(lr, corners, 1), _cut(hr, corners, scale))


def _cut(image: np.ndarray, corners: tuple[tuple[int, int], ...], scale: int) -> Tensor:
    crops = [image[y * scale : (y + PATCH) * scale, x * scale : (x + PATCH) * scale] for y, x in corners]
    return torch.from_numpy(np.stack(crops)[:, None]).float() / 255  # (M, 1, 48*scale, 48*scale)


def patch_psnr(sr: Tensor, hr: Tensor) -> np.ndarray:
    """Return the PSNR in dB of each patch `(M, 1, h, w)` in 0..1, infinite for equal ones; no border is left out.

    SR is neither clipped nor rounded: rounding to 8 bits, as for whole images, would decide the PSNR of nearly perfect patches.
    """
    error = (sr.double() - hr.double()).square().mean(dim=(1, 2, 3)).numpy()
    with np.errstate(divide="ignore"):
        return -10 * np.log10(error)


@torch.no_grad()
def compare(networks: dict[str, nn.Module], dataset: str, scale: int, limit: int | None = None) -> pd.DataFrame:
    """Score networks patch by patch: a row per patch with `image`, `y`, `x`, `bicubic` (dB), `actual` (its class), and for each
    network its PSNR in dB, or for an identifier `predicted` and the class probabilities `p0` (hardest) to `p4`.

    Raises SRError where all images of the set are smaller than a patch.
    """
    modes = {name: net.training for name, net in networks.items()}
    for net in networks.values():
        net.eval().to(memory_format=torch.channels_last)
    frames = []
    for image in patches(dataset, scale, limit):
        bicubic = difficulty(image.lr, image.hr)
        rows = {"image": image.image, "y": [y for y, _ in image.corners], "x": [x for _, x in image.corners]}
        rows |= {"bicubic": bicubic.numpy(), "actual": classes(bicubic).numpy()}
        for name, net in networks.items():
            batches = (batch.to(device_of(net), memory_format=torch.channels_last) for batch in image.lr.split(32))
            outputs = torch.cat([net(batch) for batch in batches]).cpu()
            if isinstance(net, Identifier):
                probabilities = outputs.softmax(dim=1).numpy()
                rows |= {"predicted": probabilities.argmax(axis=1), **{f"p{i}": probabilities[:, i] for i in range(EASIEST + 1)}}
            else:
                rows[name] = patch_psnr(outputs, image.hr)
        frames.append(pd.DataFrame(rows))
    for name, net in networks.items():
        net.train(modes[name])
    if not frames:
        raise SRError(f"{dataset} has no image of {PATCH}x{PATCH} LR pixels at scale {scale}; choose larger images")
    return pd.concat(frames, ignore_index=True)


def score(net: DualBranchSR, dataset: str, protocol: Protocol, limit: int | None = None) -> pd.DataFrame:
    """Return `compare` of the "identifier" and the "complex" branch of a Difficulty-SR network; protocol: not used."""
    return compare({"identifier": net.identifier, "complex": net.complex}, dataset, net.scale, limit)


def overlap_note(networks: Mapping[str, nn.Module]) -> str:
    """Return a sentence for captions: by how many LR pixels the patches of each Difficulty-SR network overlap, by its label; ""
    where there is no such network."""
    overlaps = [f"{label} {net.overlap}" for label, net in networks.items() if isinstance(net, DualBranchSR)]
    return f"LR pixels by which {PATCH}x{PATCH} patches overlap: {', '.join(overlaps)}." if overlaps else ""


def choose(rows: pd.DataFrame, plain: str = "bicubic", complex: str = "complex") -> pd.DataFrame:
    """Return the PSNR of each patch for each rule of choosing a branch, a column each: `plain` and `complex` alone,
    "difficulty_sr" by the identifier's likeliest class, "oracle" the better branch."""
    easy = rows["predicted"] >= EASIEST
    psnr = {plain: rows[plain], complex: rows[complex], "difficulty_sr": rows[plain].where(easy, rows[complex])}
    return rows[["image", "y", "x", "bicubic", "actual"]].assign(**psnr, oracle=np.maximum(rows[plain], rows[complex]))


def as_scores(chosen: pd.DataFrame, paper: str, scale: int, seed: int = 0) -> pd.DataFrame:
    """Return the table of `choose` as scores, a row per patch and rule, of three sets: "patches", "easy patches" (bicubic PSNR
    of at least 45 dB) and "hard patches". Patches with an infinite PSNR are left out, as in the paper's means."""
    methods = [name for name in chosen.columns if name not in ("image", "y", "x", "actual")]
    finite = chosen[np.isfinite(chosen[methods]).all(axis=1)]
    easy = finite["actual"] >= EASIEST
    frames = []
    for name, subset in (("patches", finite), ("easy patches", finite[easy]), ("hard patches", finite[~easy])):
        image = subset["image"] + "@" + subset["y"].astype(str) + "," + subset["x"].astype(str)
        about = {"paper": paper, "dataset": name, "scale": scale, "seed": seed, "image": image}
        frames += [pd.DataFrame({**about, "method": method, "psnr": subset[method]}) for method in methods]
    return pd.concat(frames, ignore_index=True)


def sweep(rows: pd.DataFrame, thresholds: list[float]) -> pd.DataFrame:
    """Route by the probability of the easiest class: for each threshold the `share` of patches on the plain branch and the
    `psnr` in dB, over all patches of an image, then the mean over images.

    rows: of `compare` with an identifier and "complex". A last row, threshold nan, routes by the actual class.
    """
    error = {name: 10 ** (-rows[name] / 10) for name in ("bicubic", "complex")}

    def at(easy: pd.Series) -> dict[str, float]:
        per_image = error["bicubic"].where(easy, error["complex"]).groupby(rows["image"]).mean()
        return {"share": float(easy.mean()), "psnr": float((-10 * np.log10(per_image)).mean())}

    probability = rows[f"p{EASIEST}"]
    lines = [{"threshold": t, **at(probability >= t)} for t in thresholds]
    return pd.DataFrame([*lines, {"threshold": float("nan"), **at(rows["actual"] >= EASIEST)}])


def identify(net: Identifier, dataset: str, limit: int | None = None) -> pd.DataFrame:
    """Return a row per image with an identifier's `accuracy` and the number of `patches`."""
    rows = compare({"identifier": net}, dataset, net.scale, limit)
    right = (rows["actual"] == rows["predicted"]).groupby(rows["image"], sort=False)
    return pd.DataFrame({"accuracy": right.mean(), "patches": right.size()}).reset_index()


def accuracy(rows: pd.DataFrame) -> dict[str, float]:
    """Return the `accuracy` over all patches, from rows of `identify`."""
    return {"accuracy": float(np.average(rows["accuracy"], weights=rows["patches"]))}


def shares(rows: pd.DataFrame) -> pd.Series:
    """Return the share of the patches in each class, by its name, hardest to easiest."""
    counted = rows["actual"].value_counts(normalize=True).reindex(range(len(CLASSES)), fill_value=0.0)
    return counted.set_axis(CLASSES)


def confusion(rows: pd.DataFrame) -> pd.DataFrame:
    """Count patches by their actual class (rows) and the predicted one (columns), hardest to easiest."""
    table = pd.crosstab(rows["actual"], rows["predicted"]).reindex(index=range(5), columns=range(5), fill_value=0)
    return table.set_axis(CLASSES, axis=0).set_axis(CLASSES, axis=1).rename_axis(index="actual", columns="predicted")
