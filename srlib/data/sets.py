"""Opening a set of HR images by name."""

import hashlib
import importlib.util
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from srlib import paths
from srlib.data import registry
from srlib.data.files import file_hashes
from srlib.data.images import list_images, read_image
from srlib.errors import SRError, unknown

# Photographs in the scikit-image wheel: the training part, and a test part of other scenes. Left out: the second view
# of the motorcycle, drawings, medical and sky images that are mostly flat.
EMBEDDED = ("astronaut", "brick", "grass", "gravel", "ihc", "motorcycle_left", "page", "text")
EMBEDDED_TEST = ("camera", "chelsea", "coffee", "coins", "rocket")
TEST_CROP = 256  # pixels; keeps a quick evaluation quick

DIV2K = {  # set -> folder, first and last number, folder of bicubic LR images
    "DIV2K": ("DIV2K_train_HR", 1, 800, "DIV2K_train_LR_bicubic"),
    "DIV2K-val": ("DIV2K_valid_HR", 801, 900, "DIV2K_valid_LR_bicubic"),
}


@dataclass(frozen=True)
class ImageSet:
    """HR images in a fixed order, decoded when asked for: iterating gives (name, uint8 image), `images[i]` an image."""

    name: str
    names: tuple[str, ...]  # unique within the set; the file name without its suffix where that is enough
    paths: tuple[Path, ...]
    fingerprint: str  # sha256 over names and contents
    lr_folders: tuple[Path | None, ...] = ()  # per image, the folder with X2/0001x2.png and the like
    crop: int | None = None  # largest height and width; the centre is kept

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> np.ndarray:
        return _centre(read_image(self.paths[i]), self.crop)

    def __iter__(self) -> Iterator[tuple[str, np.ndarray]]:
        for i, name in enumerate(self.names):
            yield name, self[i]

    def lr_path(self, i: int, scale: int) -> Path | None:
        """Return the official LR file of image i, or None where the set has none for this scale."""
        folder = self.lr_folders[i] if self.lr_folders else None
        if folder is None or not (folder / f"X{scale}").is_dir():
            return None
        return folder / f"X{scale}" / f"{self.paths[i].stem}x{scale}.png"


def known_sets() -> list[str]:
    """Return the names that `open_set` takes, besides folder:PATH and sums of names."""
    return [*registry.datasets(), "embedded", "embedded-test", *DIV2K]


def open_set(name: str) -> ImageSet:
    """Open a set of HR images.

    name: a dataset of the registry (Set5, B100, ...); "embedded" and "embedded-test", the photographs of the
    scikit-image package (grey and colour; no network); "DIV2K" (800) and "DIV2K-val" (100) in their official folders
    under `paths.data_dir()/DIV2K`; "folder:PATH"; or a sum of these, such as "T91+BSD400".
    Raises SRError for an unknown name and for files that are missing, damaged or not images.
    """
    if not isinstance(name, str):
        raise SRError(f"data: got {name!r}, expected the name of a set: {', '.join(known_sets())}, folder:PATH")
    parts = [name] if name.startswith("folder:") else [part.strip() for part in name.split("+")]
    for part in parts:
        if part not in known_sets() and not part.startswith("folder:"):
            raise unknown("dataset", part, [*known_sets(), "folder:PATH"])
    if len(parts) == 1:
        return _open_one(parts[0])
    repeated = [part for part, count in Counter(parts).items() if count > 1]
    if repeated:
        raise SRError(f"data: {name!r} names {repeated[0]!r} twice; name every set once")
    return _joined(name, [_open_one(part) for part in parts])


def _open_one(name: str) -> ImageSet:
    if name in ("embedded", "embedded-test"):
        return _embedded(name)
    if name in DIV2K:
        return _div2k(name)
    if name.startswith("folder:"):
        found = list_images(Path(name.removeprefix("folder:")).expanduser())
        return _from_files(name, found, file_hashes(found))
    return _from_files(name, registry.paths(name), list(registry.files(name).sha256))


def _from_files(name: str, found: list[Path], hashes: list[str], lr_folder: Path | None = None) -> ImageSet:
    names = _unique_names(found)
    return ImageSet(name, names, tuple(found), _fingerprint(names, hashes), (lr_folder,) * len(found))


def _embedded(name: str) -> ImageSet:
    names, crop = (EMBEDDED, None) if name == "embedded" else (EMBEDDED_TEST, TEST_CROP)
    spec = importlib.util.find_spec("skimage")
    folder = Path(spec.submodule_search_locations[0]) / "data"
    found = []
    for photograph in names:
        files = sorted(folder.glob(f"{photograph}.*"))
        if not files:
            raise SRError(f"{name}: no photograph {photograph!r} in {folder}; install scikit-image 0.25 or later again")
        found.append(files[0])
    # releases of scikit-image store the same photograph in different files: the decoded pixels tell
    images = (_centre(read_image(path), crop) for path in found)
    hashes = [hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest() for image in images]
    return ImageSet(name, names, tuple(found), _fingerprint(names, hashes), (None,) * len(names), crop)


def _div2k(name: str) -> ImageSet:
    folder, first, last, lr_folder = DIV2K[name]
    root = paths.data_dir() / "DIV2K"
    found = [root / folder / f"{number:04d}.png" for number in range(first, last + 1)]
    missing = [path.name for path in found if not path.is_file()]
    if missing:
        raise SRError(
            f"{name}: {len(missing)} of {len(found)} images are missing in {root / folder}, the first is {missing[0]}. "
            f"Download {folder}.zip (and, if wanted, {lr_folder}_X2.zip ...) from {registry.DIV2K_URL} and unpack it "
            f"in {root}"
        )
    return _from_files(name, found, file_hashes(found), root / lr_folder)


def _joined(name: str, sets: list[ImageSet]) -> ImageSet:
    if len({images.crop for images in sets}) > 1:
        raise SRError(f"data: {name!r} mixes the cropped set 'embedded-test' with others; name it alone")
    found = [path for images in sets for path in images.paths]
    fingerprint = _fingerprint([images.name for images in sets], [images.fingerprint for images in sets])
    lr_folders = tuple(folder for images in sets for folder in images.lr_folders)
    return ImageSet(name, _unique_names(found), tuple(found), fingerprint, lr_folders, sets[0].crop)


def _unique_names(found: list[Path]) -> tuple[str, ...]:
    stems = Counter(path.stem for path in found)
    files = Counter(path.name for path in found)
    names = []
    for path in found:
        if stems[path.stem] == 1:
            names.append(path.stem)
        else:
            names.append(path.name if files[path.name] == 1 else f"{path.parent.name}/{path.name}")
    return tuple(names)


def _fingerprint(names, hashes) -> str:
    lines = "".join(f"{name} {value}\n" for name, value in zip(names, hashes, strict=True))
    return hashlib.sha256(lines.encode()).hexdigest()


def _centre(image: np.ndarray, crop: int | None) -> np.ndarray:
    if crop is None:
        return image
    top, left = (max(0, (length - crop) // 2) for length in image.shape[:2])
    return image[top : top + crop, left : left + crop]
