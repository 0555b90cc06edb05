"""SR and HR files paired by name, as people name them, and read as two images of one size."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from srlib.core.color import to_rgb
from srlib.core.errors import SRError
from srlib.data.images import image_kind, list_images, read_image

KINDS = {"sr", "hr", "lr", "gt", "out", "output", "result", "pred", "fake"}  # in names, beside the picture's own
SCALES = {"x", "srf", "scale"}  # before a number
MAX_SCALE = 16
LISTED = 5  # names in a line


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


def listed(names: list[str]) -> str:
    return ", ".join(names[:LISTED]) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")


def match(sr_folder: Path, hr_folder: Path, scale: int) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Pair the images of two folders by name; return (SR, HR) files in the order of SR, and notes on what is left over.

    Files whose names state another scale, where some state this one, and LR files beside HR, are left out. Raises SRError for a folder without images, one
    folder given twice, and where no names are alike.
    """
    if sr_folder.resolve() == hr_folder.resolve():
        raise SRError(f"SR and HR are the same folder, {sr_folder}; name the folder of outputs and that of the ground truth")
    notes, sides = [], []
    for kind, folder in (("SR", sr_folder), ("HR", hr_folder)):
        names = [parse(path) for path in list_images(folder)]
        other = [name for name in names if name.scale not in (None, scale)]
        if other and any(name.scale == scale for name in names):  # else the numbers may mean something else
            notes.append(
                f"{kind} files whose names state another scale than x{scale}, left out: {listed([n.path.name for n in other])}"
            )
            names = [name for name in names if name not in other]
        sides.append([name for name in names if kind == "SR" or "lr" not in name.marks])
    rest, free, pairs = *sides, {}
    for rule in RULES:
        wanted = {}
        for sr in rest:
            matches = [hr for hr in free if rule(sr, hr)]
            most = max((len(hr.words) for hr in matches), default=0)
            wanted[sr] = [hr for hr in matches if len(hr.words) == most]
        claims = Counter(hr for matches in wanted.values() for hr in matches)
        pairs |= {sr: matches[0] for sr, matches in wanted.items() if len(matches) == 1 == claims[matches[0]]}
        rest, free = [sr for sr in rest if sr not in pairs], [hr for hr in free if hr not in pairs.values()]
    ambiguous = [sr.path.name for sr in rest if any(rule(sr, hr) for rule in RULES for hr in free)]
    unknown = [sr.path.name for sr in rest if sr.path.name not in ambiguous]
    if not pairs:
        examples = "; ".join(
            f"{k} has {listed([n.path.name for n in side]) or 'none'}" for k, side in zip(("SR", "HR"), sides, strict=True)
        )
        raise SRError(f"no SR file in {sr_folder} can be told to belong to an HR file in {hr_folder} by its name: {examples}")
    if ambiguous:
        notes.append(f"ambiguous, left out: {listed(ambiguous)}, of several SR for one HR or several HR for one SR")
    if unknown:
        notes.append(f"SR without HR, left out: {listed(unknown)}")
    if free:
        without = listed([hr.path.name for hr in free])
        notes.append(f"HR without SR: {without}. A published mean is of all {len(sides[1])} pictures, this one of {len(pairs)}")
    return [(sr.path, pairs[sr].path) for sr in sides[0] if sr in pairs], notes


def inspect(files: list[tuple[Path, Path]]) -> tuple[list[Pair], list[str], list[str]]:
    """Return the pairs, notes on odd files, and failures: a line on each pair with a file that cannot be read."""
    pairs, deep, failures = [], [], []
    for sr, hr in files:
        try:
            (sr_grey, sr_bits), (hr_grey, hr_bits) = image_kind(sr), image_kind(hr)
        except SRError as error:
            failures.append(str(error))
            continue
        pairs.append(Pair(sr, hr, hr_grey, sr_grey and not hr_grey))
        deep += [path.name for path, bits in ((sr, sr_bits), (hr, hr_bits)) if bits == 16]
    notes = [f"16-bit files, scored in 8 bits: {listed(deep)}"] if deep else []
    if jpegs := [pair.sr.name for pair in pairs if pair.sr.suffix.lower() in (".jpg", ".jpeg")]:
        notes.append(f"SR saved as JPEG, which costs quality: {listed(jpegs)}")
    if luma := [pair.sr.name for pair in pairs if pair.luma_sr]:
        notes.append(f"grey SR of colour HR: {listed(luma)}; read as luma, as grey levels, and as RGB with bicubic chroma")
    return pairs, notes, failures


def read(pair: Pair, scale: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return SR and HR, uint8 of one size, cropped at bottom and right, and in what they differed.

    Raises SRError for files that cannot be read, sizes that no usual crop of HR explains, and SR that equals HR.
    """
    sr, hr = read_image(pair.sr), read_image(pair.hr)
    sizes, most = (sr.shape[:2], hr.shape[:2]), max(4 * scale, 12)  # crops to a multiple of 12 serve x2, x3 and x4
    if not all(-scale < big - small < most for small, big in zip(*sizes, strict=True)):
        (h, w), (full_h, full_w) = sizes
        hint = f"; it looks like LR, or an output of x{full_h // h}" if full_h // h == full_w // w > 1 else ""
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
    if np.array_equal(sr, hr):
        raise SRError(f"{pair.sr.name} equals its HR {pair.hr.name}: PSNR is infinite; is it a copy of the ground truth?")
    return sr, hr, differences
