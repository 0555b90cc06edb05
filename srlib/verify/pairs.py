"""SR and HR files paired by name, as people name them, and read as two images of one size."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from srlib.core.color import to_rgb
from srlib.core.errors import SRError
from srlib.data.images import center_crop, image_head, image_kind, list_images, read_image

KINDS = {"sr", "hr", "lr", "gt", "out", "output", "result", "pred", "fake"}  # in names, beside the picture's own
SCALES = {"x", "srf", "scale"}  # before a number
MAX_SCALE = 16
LISTED = 5  # names in a line
CHECKED = 512  # pixels a side in the middle of a picture
SHIFT_GAIN = 0.3  # dB that a pixel's shift must gain to be told
FLAT, UNLIKE = 2.0, 0.5  # standard deviation in grey levels, correlation


@dataclass(frozen=True)
class Name:
    """A file and what its name says: the picture's own words and numbers, the scale, and marks of `KINDS`.

    "img_001_SRF_4_SR.png": ("img", "1"), 4, {"sr"}; "0801x4.png": ("801",), 4, {}.
    """

    path: Path
    words: tuple[str, ...]
    scale: int | None
    marks: frozenset[str]

    def contains(self, other: "Name") -> bool:
        """Whether the words of the other are a run of these."""
        count = len(other.words)
        return any(self.words[i : i + count] == other.words for i in range(len(self.words) - count + 1))


@dataclass(frozen=True)
class Pair:
    """Two files of one picture. grey_hr: HR is grey. luma_sr: SR is grey, and HR is not."""

    sr: Path
    hr: Path
    grey_hr: bool
    luma_sr: bool


def parse(path: Path) -> Name:
    """Read the name of a file."""
    stem = re.sub(r"x(?=[0-9]{1,2}(?![0-9a-z]))", "_x", path.stem.lower())  # babyx4
    parts = [str(int(part)) if part.isdecimal() else part for part in re.findall(r"\d+|[^\W\d_]+", stem)]
    words, scale, i = [], None, 0
    while i < len(parts):
        following, then = [*parts[i + 1 : i + 3], "", ""][:2]
        number = following if parts[i] in SCALES else parts[i] if following == "x" and not then.isdecimal() else ""
        if number.isdecimal() and int(number) <= MAX_SCALE:
            scale, i = int(number), i + 2
        else:
            words.append(parts[i])
            i += 1
    own = tuple(word for word in words if word not in KINDS)
    return Name(path, own or tuple(parts), scale, frozenset(words) & KINDS)


RULES = (  # an SR file belongs to an HR file, the surest rule first
    lambda sr, hr: sr.path.stem.lower() == hr.path.stem.lower(),
    lambda sr, hr: sr.words == hr.words,
    lambda sr, hr: sr.contains(hr),  # baby_EDSR, baby
    lambda sr, hr: hr.contains(sr),  # 1, img_001
)


def listed(files: Sequence[Name | Pair]) -> str:
    """Return the names of the first files, SR of pairs."""
    names = [(file.sr if isinstance(file, Pair) else file.path).name for file in files]
    return ", ".join(names[:LISTED]) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")


def match(folder: Path, hr_folder: Path, scale: int, kind: str = "SR") -> tuple[list[tuple[Path, Path]], list[str]]:
    """Pair the images of two folders by name; return (file, HR file) in the order of the first folder, and notes on the rest.

    Files whose names state another scale, where some state this one, and LR files beside HR are left out. kind: "SR" or "LR", for
    messages. Raises SRError for a folder without images, for one folder given twice, and where no names are alike.
    """
    if folder.resolve() == hr_folder.resolve():
        raise SRError(f"{kind} and HR are the same folder, {folder}; name the folder of outputs and that of the ground truth")
    notes, sides = [], {}
    for side, place in ((kind, folder), ("HR", hr_folder)):
        names = [parse(path) for path in list_images(place)]
        other = [name for name in names if name.scale not in (None, scale)]
        if other and any(name.scale == scale for name in names):  # else the numbers may mean something else
            notes.append(f"{side} of another scale than x{scale} by their names, left out: {listed(other)}")
            names = [name for name in names if name not in other]
        stated = {name.scale for name in names}
        if len(names) > 1 == len(stated) and stated.isdisjoint({None, scale}):
            notes.append(f"names of {side} state x{stated.pop()}, scored with the borders of x{scale}")
        sides[side] = [name for name in names if side != "HR" or "lr" not in name.marks]
    rest, free, pairs = *sides.values(), {}
    for rule in RULES:
        wanted = {name: [hr for hr in free if rule(name, hr)] for name in rest}
        for name, matches in wanted.items():
            wanted[name] = [hr for hr in matches if len(hr.words) == max(len(other.words) for other in matches)]
        claims = Counter(hr for matches in wanted.values() for hr in matches)
        pairs |= {name: matches[0] for name, matches in wanted.items() if len(matches) == 1 == claims[matches[0]]}
        rest, free = [name for name in rest if name not in pairs], [hr for hr in free if hr not in pairs.values()]
    ambiguous = [name for name in rest if any(rule(name, hr) for rule in RULES for hr in free)]
    if not pairs and ambiguous:
        several = f"several {kind} files for one HR, or several HR for one {kind} file"
        raise SRError(f"{folder} has {several}: {listed(ambiguous)}; keep one for each picture")
    if not pairs:
        examples = "; ".join(f"{side} has {listed(names) or 'none'}" for side, names in sides.items())
        raise SRError(f"no {kind} file in {folder} has a name like that of an HR file in {hr_folder}: {examples}")
    if ambiguous:
        notes.append(f"ambiguous, left out: {listed(ambiguous)}, of several {kind} for one HR or several HR for one {kind}")
    if unknown := [name for name in rest if name not in ambiguous]:
        notes.append(f"{kind} without HR, left out: {listed(unknown)}")
    if free:
        count = f"a published mean is of all {len(sides['HR'])} pictures, this one of {len(pairs)}"
        notes.append(f"HR without {kind}: {listed(free)}; {count}")
    return [(name.path, pairs[name].path) for name in sides[kind] if name in pairs], notes


def inspect(files: list[tuple[Path, Path]]) -> tuple[list[Pair], list[str], list[str]]:
    """Return the pairs, notes on odd files, and failures: a line on each pair with a file that cannot be read."""
    pairs, deep, clear, failures = [], [], [], []
    for sr, hr in files:
        try:
            (sr_grey, sr_bits), (hr_grey, hr_bits) = image_kind(sr), image_kind(hr)
            transparent = any(image_head(file)[2] for file in (sr, hr))
        except SRError as error:
            failures.append(str(error))
            continue
        pairs.append(Pair(sr, hr, hr_grey, sr_grey and not hr_grey))
        deep += [pairs[-1]] * (16 in (sr_bits, hr_bits))
        clear += [pairs[-1]] * transparent
    odd = {
        "16 bits, scored in 8": deep,
        "with an alpha channel, which is left out": clear,
        "SR saved as JPEG, which costs quality": [pair for pair in pairs if pair.sr.suffix.lower() in (".jpg", ".jpeg")],
        "grey SR of colour HR, read as luma, as grey levels and as RGB with bicubic chroma": [p for p in pairs if p.luma_sr],
    }
    return pairs, [f"{what}: {listed(those)}" for what, those in odd.items() if those], failures


def _middle(image: np.ndarray) -> np.ndarray:
    """Return the middle of an image as floats (h, w), the mean of its channels."""
    part = center_crop(image, CHECKED).astype(np.float64)
    return part.mean(axis=2) if part.ndim == 3 else part


def oddities(sr: np.ndarray, hr: np.ndarray, name: str) -> list[str]:
    """Return what is odd about SR beside HR, two images of one size: that it lies a pixel off, or shows something else."""
    x, y = _middle(sr), _middle(hr)
    if min(x.std(), y.std()) > FLAT and np.corrcoef(x.ravel(), y.ravel())[0, 1] < UNLIKE:
        return [f"{name} hardly resembles its HR (another picture, or turned)"]
    height, width = y.shape
    errors = {
        (down, right): np.square(x[1 + down : height - 1 + down, 1 + right : width - 1 + right] - y[1:-1, 1:-1]).mean()
        for down, right in product((-1, 0, 1), repeat=2)
    }
    best = min(errors, key=errors.get)
    better = errors[0, 0] > 10 ** (SHIFT_GAIN / 10) * errors[best]
    return ["SR lies {:+d} pixels down and {:+d} right of HR".format(*best)] if better else []


def read(pair: Pair, scale: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return SR and HR, uint8 of one size, cropped at bottom and right, and in what they differed.

    Raises SRError for files that cannot be read, sizes that no usual crop of HR explains, and SR that equals HR.
    """
    sr, hr = read_image(pair.sr), read_image(pair.hr)
    sizes, most = (sr.shape[:2], hr.shape[:2]), max(4 * scale, 12)  # crops to a multiple of 12 serve x2, x3 and x4
    if not all(-scale < big - small < most for small, big in zip(*sizes, strict=True)):
        (h, w), (full_h, full_w) = sizes
        smaller = full_h // h if full_h // h == full_w // w else 1
        hint = "; is it the LR image?" if smaller == scale else f"; it is {smaller} times smaller" if smaller > 1 else ""
        raise SRError(f"{pair.sr.name} has {h}x{w} pixels, its HR {pair.hr.name} {full_h}x{full_w}{hint}")
    height, width = (min(sides) for sides in zip(*sizes, strict=True))
    sr, hr = sr[:height, :width], hr[:height, :width]
    differences = ["HR not cropped to SR's size"] if sizes[1] > (height, width) else []
    differences += ["SR larger than HR"] if sizes[0] > (height, width) else []
    if hr.ndim == 2 and sr.ndim == 3:
        if (sr == sr[..., :1]).all():
            sr = sr[..., 0]
        else:
            hr = to_rgb(hr)
            differences.append("SR in colour of a grey HR, which is converted for all protocols")
    differences += oddities(sr, hr, pair.sr.name)
    if np.array_equal(sr, hr):
        raise SRError(f"{pair.sr.name} equals its HR {pair.hr.name}: PSNR is infinite; is it a copy of the ground truth?")
    return sr, hr, differences
