"""Matching LR and HR files of paired sets: published camera sets and custom folders.

RealSR: J. Cai et al., "Toward real-world single image super-resolution", ICCV 2019. Version 2 has LR images
upscaled to the size of HR, version 3 has them at their native size. DRealSR: P. Wei et al., "Component divide-and-conquer",
ECCV 2020. D2CRealSR: Y. Li et al., "D2C-SR", ECCV 2022. None of them has direct download links. Paired sets in the
registry: City100 (C. Chen et al., "Camera lens super-resolution", CVPR 2019) and 16 of RealSR's pairs.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from srlib.core.errors import SRError
from srlib.core.paths import data_dir
from srlib.data import registry
from srlib.data.images import list_images, natural

SUFFIX = re.compile(r"(?P<key>.+)_(?P<kind>HR|LR|x)(?P<scale>[0-9]*)")
NAMING = "name the files NAME_HR.png and NAME_LR.png in one folder, or alike in two folders HR and LR"
CAMERAS = ("Canon", "Nikon")
SCALES = (2, 3, 4)
SOURCES = {
    "RealSR": "https://github.com/csjcai/RealSR",
    "DRealSR": "https://github.com/xiezw5/Component-Divide-and-Conquer-for-Real-World-Image-Super-Resolution",
    "D2CRealSR": "https://github.com/megvii-research/D2C-SR",
}


@dataclass(frozen=True)
class Layout:
    """A published set: its folders below `paths.data_dir()`, the scale and the number of pairs."""

    folders: tuple[tuple[str, str], ...]  # HR and LR, may be the same
    scale: int
    count: int | None  # None: not published


def _realsr(version: int, scale: int, split: str) -> Layout:
    folders = [f"RealSR(V{version})/{camera}/{split.capitalize()}/{scale}" for camera in CAMERAS]
    count = 100 if split == "test" else None
    return Layout(tuple((folder, folder) for folder in folders), scale if version == 3 else 1, count)


def _drealsr(scale: int, split: str) -> Layout:
    folder = f"DRealSR/{split.capitalize()}_x{scale}/{split}"
    count = {2: 83, 3: 84, 4: 93}[scale] if split == "test" else None
    return Layout(((f"{folder}_HR", f"{folder}_LR"),), scale, count)


def _d2crealsr(split: str) -> Layout:
    folder = f"D2CRealSR/{split}"
    return Layout(((f"{folder}/HR", f"{folder}/LR"),), 8, {"train": 100, "test": 15}[split])


REGISTERED = (*registry.CITY100, "RealSR-NTIRE19")  # paired datasets in the registry, LR of the size of HR

SPLITS = ("train", "test")
LAYOUTS = {
    **{f"RealSR-V{v}-x{s}/{split}": _realsr(v, s, split) for v in (2, 3) for s in SCALES for split in SPLITS},
    **{f"DRealSR-x{s}/{split}": _drealsr(s, split) for s in SCALES for split in SPLITS},
    **{f"D2CRealSR-x8/{split}": _d2crealsr(split) for split in SPLITS},
}

PairFiles = dict[str, tuple[Path, Path]]  # name -> HR file, LR file


def published(name: str) -> PairFiles:
    """Return the pairs of a set in LAYOUTS; SRError for missing folders and partners, and for another number of pairs."""
    layout, pairs = LAYOUTS[name], {}
    root = data_dir() / layout.folders[0][0].split("/")[0]
    for hr, lr in layout.folders:
        for folder in (data_dir() / hr, data_dir() / lr):
            if not folder.is_dir():
                raise SRError(f"{name}: {folder} does not exist; unpack the archive of {SOURCES[name.split('-')[0]]} in {root}")
        pairs |= _match(name, data_dir() / hr, data_dir() / lr)
    if layout.count not in (None, len(pairs)):
        raise SRError(f"{name}: {len(pairs)} pairs in {root}, the official set has {layout.count}; unpack the archive again")
    return pairs


def registered(name: str) -> PairFiles:
    """Return the pairs of a dataset in REGISTERED or of a split, in natural order; SRError for files missing or damaged.

    City100 has 001H.PNG (long focal length) and 001L.PNG (short, enlarged), RealSR-NTIRE19 one name in the folders HR and LR.
    """
    hr, lr = {}, {}
    for path in registry.paths(name):
        key, kind = (path.stem[:-1], path.stem[-1]) if name.startswith(registry.CITY100) else (path.stem, path.parent.name[0])
        (hr if kind == "H" else lr)[key] = path
    return {key: (hr[key], lr[key]) for key in sorted(hr, key=natural)}


def custom(name: str) -> PairFiles:
    """Return the pairs of `pairs:PATH`.

    PATH holds folders HR and LR with files of the same name, ignoring a trailing _HR, _LR, _LR2 or _x2; or the
    files themselves, as NAME_HR.png and NAME_LR.png (or NAME_LR2.png). Suffixes may differ.
    """
    folder = Path(name.removeprefix("pairs:")).expanduser()
    hr, lr = folder / "HR", folder / "LR"
    if hr.is_dir() != lr.is_dir():
        missing, other = (lr, hr) if hr.is_dir() else (hr, lr)
        raise SRError(f"{name}: {missing} does not exist beside {other.name}; {NAMING}")
    return _match(name, hr, lr) if hr.is_dir() else _match(name, folder, folder)


def _match(name: str, hr_folder: Path, lr_folder: Path) -> PairFiles:
    """Match the files of two folders, or of one with both kinds, in natural order."""
    if hr_folder == lr_folder:
        kinds = {"HR": [], "LR": []}
        for path in list_images(hr_folder):
            match = SUFFIX.fullmatch(path.stem)
            if not match or match["kind"] not in kinds:
                raise SRError(f"{name}: {path} ends in neither _HR nor _LR; {NAMING}")
            kinds[match["kind"]].append(path)
        hr, lr = kinds.values()
    else:
        hr, lr = list_images(hr_folder), list_images(lr_folder)
    hr, lr = _by_key(name, hr), _by_key(name, lr)
    unmatched = [key for key in hr | lr if key not in hr or key not in lr]
    if unmatched:
        key = unmatched[0]
        path, kind, folder = (hr[key], "LR", lr_folder) if key in hr else (lr[key], "HR", hr_folder)
        more = f", nor do {len(unmatched) - 1} more have one" if len(unmatched) > 1 else ""
        raise SRError(
            f"{name}: {len(hr)} HR and {len(lr)} LR images, and {path.name} has no {kind} partner in {folder}{more}; {NAMING}"
        )
    return {key: (hr[key], lr[key]) for key in sorted(hr, key=natural)}


def _by_key(name: str, files: list[Path]) -> dict[str, Path]:
    by_key: dict[str, Path] = {}
    for path in files:
        match = SUFFIX.fullmatch(path.stem)
        key = match["key"] if match else path.stem
        if key in by_key:
            raise SRError(f"{name}: {by_key[key]} and {path.name} both stand for {key!r}; keep one of them")
        by_key[key] = path
    return by_key
