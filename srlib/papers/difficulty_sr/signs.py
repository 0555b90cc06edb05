"""The vital sign of Difficulty-SR's identifier: predicted classes against actual ones."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from srlib.data.sets import ImageSet, open_set
from srlib.papers.difficulty_sr.analysis import CLASSES, patches
from srlib.papers.difficulty_sr.model import DualBranchSR, Identifier, classes, difficulty
from srlib.scoring.vitals import Sign, percent, rounded

MOST, ENOUGH = 1000, 500  # patches: the most that are classified, and the fewest that a verdict needs
PRESENT = 0.01  # share of the patches from which on a class counts as missed when it is never predicted


def measure(net: nn.Module, datasets: Sequence[str | ImageSet]) -> dict | None:
    """Return the set (`images`), the number of `patches`, and the shares of the `actual` and `predicted` classes, hardest first;
    None for a network without identifier, and where all images are smaller than a patch.

    Takes up to `MOST` patches of the first set that has `ENOUGH`, else of the one with the most.
    """
    identifier = net if isinstance(net, Identifier) else net.identifier if isinstance(net, DualBranchSR) else None
    if identifier is None:
        return None
    name, lr, actual = _patches(datasets, net.scale)
    if not len(lr):
        return None
    predicted = torch.cat([identifier(batch).argmax(dim=1) for batch in lr.split(32)])
    return {"images": name, "patches": len(lr), "actual": _shares(actual), "predicted": _shares(predicted)}


def _patches(datasets: Sequence[str | ImageSet], scale: int) -> tuple[str, Tensor, Tensor]:
    """Return the name of the chosen set, its LR patches `(M, 1, 48, 48)` and their classes `(M,)`."""
    name, lr, actual = "", torch.empty(0), torch.empty(0, dtype=torch.long)
    for images in map(open_set, datasets):
        labelled: list[tuple[Tensor, Tensor]] = []
        for image in patches(images, scale):
            labelled.append((image.lr, classes(difficulty(image.lr, image.hr))))
            if sum(len(cut) for cut, _ in labelled) >= MOST:
                break
        if sum(len(cut) for cut, _ in labelled) > len(lr):
            name, (lr, actual) = images.name, (torch.cat(parts)[:MOST] for parts in zip(*labelled, strict=True))
        if len(lr) >= ENOUGH:
            break
    return name, lr, actual


def _shares(labels: Tensor) -> list[float]:
    return [rounded(count / len(labels)) for count in labels.bincount(minlength=len(CLASSES)).tolist()]


def dead(sign: dict) -> str:
    """Return which classes are never predicted; "" for fewer than `ENOUGH` patches, which prove nothing."""
    if sign["patches"] < ENOUGH:
        return ""
    pairs = zip(CLASSES, sign["actual"], sign["predicted"], strict=True)
    missed = [
        f"{name} ({percent(share)} of the patches)" for name, share, predicted in pairs if share >= PRESENT and not predicted
    ]
    return f"the identifier never predicts {' and '.join(missed)}" if missed else ""


def describe(sign: dict) -> str:
    predicted, actual = ("/".join(percent(share)[:-2] for share in sign[kind]) for kind in ("predicted", "actual"))
    where = f"{sign['patches']:,} patches of {sign['images']}"
    return f"identifier: classes, hardest first, predicted {predicted} % and actual {actual} % of {where}"


IDENTIFIER = Sign("identifier", measure, dead, describe)
