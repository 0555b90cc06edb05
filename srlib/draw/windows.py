"""What explorers of pairs share: the part of a picture that is looked at, and the reader's own picture as one of a pair."""

from collections.abc import Callable

import numpy as np

from srlib.core.errors import SRError
from srlib.core.imresize import modcrop
from srlib.data.camera import photograph
from srlib.draw.widgets import adding

SEEN = 256  # HR pixels a side; what a network sees of a picture around the place that is chosen
Pairs = dict[str, tuple[np.ndarray, np.ndarray]]  # LR and HR by name


class Windows:
    """The part of a picture that is looked at: a square of at most 256 HR pixels, of which the middle is shown.

    side: of what is shown, in HR pixels; at most the smallest picture. Raises SRError without pictures.
    """

    def __init__(self, pictures: Pairs, scale: int, side: int):
        if not pictures:
            raise SRError("no pictures to explore; give a set of pairs that has some")
        self.pictures, self.scale = dict(pictures), scale  # uploaded ones come in addition
        smallest = min(min(hr.shape[:2]) for _, hr in pictures.values())
        self.side = min(side, smallest, SEEN) // scale * scale
        self.seen = min(SEEN, smallest) // scale * scale

    @property
    def wholes(self) -> dict[str, np.ndarray]:
        """HR of every picture, by name."""
        return {name: hr for name, (_, hr) in self.pictures.items()}

    def box(self, image: str, across: int, down: int) -> tuple[np.ndarray, np.ndarray, tuple[int, int, int, int]]:
        """Return LR and HR of the square, and the box (top, left, height, width) that is shown of it, in HR pixels."""
        lr, hr = self.pictures[image]
        at = []
        for length, share in zip(hr.shape[:2], (down, across), strict=True):
            start = (length - self.side) * share // 100
            first = min(max(start - (self.seen - self.side) // 2, 0), length - self.seen) // self.scale * self.scale
            at.append((first, start - first))
        (top, y), (left, x) = at
        s, scale = self.seen, self.scale
        small = lr[top // scale : (top + s) // scale, left // scale : (left + s) // scale]
        return small, hr[top : top + s, left : left + s], (y, x, self.side, self.side)

    def adding(self) -> Callable[[str, np.ndarray], str]:
        """Return an `Explorer`'s `add`: the reader's picture is HR, LR a simulated photograph of it."""

        def pair(hr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return photograph(hr, self.scale, seed=0), modcrop(hr, self.scale)

        return adding(self.pictures, self.seen, pair, "LR is a simulated photograph of it")
