"""Opening a set of HR images, or of pairs of HR and LR images, by name."""

import hashlib
import importlib.util
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from srlib.core import paths
from srlib.core.errors import SRError, unknown
from srlib.core.files import file_hashes
from srlib.data import layouts, registry
from srlib.data.images import center_crop, image_head, list_images, read_image

# Photographs in the scikit-image wheel: the training part, and a test part of other scenes. Left out: the second view
# of the motorcycle, drawings, medical and sky images that are mostly flat.
EMBEDDED = ("astronaut", "brick", "grass", "gravel", "ihc", "motorcycle_left", "page", "text")
EMBEDDED_TEST = ("camera", "chelsea", "coffee", "coins", "rocket")
PREFIXES = ("folder:", "pairs:")
TEST_CROP = 256  # pixels; keeps a quick evaluation quick

DIV2K = {"DIV2K": ("DIV2K_train_HR", 1, 800), "DIV2K-val": ("DIV2K_valid_HR", 801, 900)}  # folder, first and last number
OFFICIAL_LR = {"DIV2K_train_HR": "DIV2K_train_LR_bicubic", "DIV2K_valid_HR": "DIV2K_valid_LR_bicubic"}
CAMERA = {"embedded-camera": "embedded", "embedded-camera-test": "embedded-test"}  # simulated pairs of these photographs


@dataclass(frozen=True)
class ImageSet:
    """HR images in a fixed order, decoded lazily: iteration yields (name, uint8 image), `images[i]` an image.

    Paired sets (`paired`) have their own LR images, see `lr`, and return all images as RGB.
    """

    name: str
    names: tuple[str, ...]  # unique; the file stem if that is unambiguous
    paths: tuple[Path, ...]
    fingerprint: str  # sha256 over names and contents
    crop: int | None = None  # largest height and width; the centre is kept
    lr_files: tuple[Path, ...] = ()  # of a paired set: the LR file of each image
    camera: bool = False  # the LR images are simulated photographs of the HR images
    scale: int | None = None  # of the LR files, if known from the set's name; 1: LR of the size of HR

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> np.ndarray:
        image = _center_crop(read_image(self.paths[i]), self.crop)
        return _rgb(image) if self.paired else image

    def __iter__(self) -> Iterator[tuple[str, np.ndarray]]:
        for i, name in enumerate(self.names):
            yield name, self[i]

    def area(self, i: int) -> int:
        """Return the number of pixels in the file of image i, without decoding it."""
        height, width, _ = image_head(self.paths[i])
        return height * width

    def cropped(self, side: int) -> "ImageSet":
        """Return the set with its images cut to their central `side` pixels; a set with files of smaller LR images as it is."""
        if self.lr_files and self.scale != 1:
            return self
        return replace(self, crop=min(side, self.crop or side))

    @property
    def paired(self) -> bool:
        """Whether the set has its own LR images, real or simulated photographs, which no protocol computes."""
        return bool(self.lr_files) or self.camera

    def check_scale(self, scale: int) -> None:
        """Raise SRError for a paired set of another scale."""
        if self.scale is not None and scale != self.scale:
            kind = "LR and HR of one size (scale 1)" if self.scale == 1 else f"pairs of scale {self.scale}"
            raise SRError(f"scale: got {scale}, but {self.name} has {kind}; take a model of that scale, or another set")

    def lr(self, i: int, hr: np.ndarray, scale: int) -> np.ndarray:
        """Return the uint8 RGB LR image of `hr`, image i of a paired set.

        (H // scale, W // scale, 3); scale 1: LR of the size of HR. Raises SRError if the sizes do not match.
        """
        self.check_scale(scale)
        if self.camera:
            from srlib.data.camera import photograph  # only here, as in `_rgb`

            return photograph(hr, scale, zlib.crc32(self.paths[i].stem.encode()))
        lr = _center_crop(_rgb(read_image(self.lr_files[i])), self.crop)
        expected = (hr.shape[0] // scale, hr.shape[1] // scale)
        if lr.shape[:2] != expected:
            got, needed, full = (f"{h}x{w}" for h, w in (lr.shape[:2], expected, hr.shape[:2]))
            raise SRError(
                f"image {self.lr_files[i]}: {got} pixels, expected {needed} for scale {scale}: "
                f"its HR image {self.paths[i].name} has {full}"
            )
        return lr

    def lr_path(self, i: int, scale: int) -> Path | None:
        """Return the official LR file of image i, such as X2/0001x2.png, or None if the set has none for this scale."""
        path = self.paths[i]
        if path.parent.name not in OFFICIAL_LR:
            return None
        folder = path.parents[1] / OFFICIAL_LR[path.parent.name] / f"X{scale}"
        return folder / f"{path.stem}x{scale}.png" if folder.is_dir() else None


def known_sets() -> list[str]:
    """Return the names that `open_set` takes, besides folder:PATH, pairs:PATH and sums of names."""
    parts = [f"{name}/{split}" for name in registry.CITY100 if name in registry.datasets() for split in registry.splits(name)]
    images = [name for name in registry.datasets() if name not in (registry.OFFICIAL, registry.LPIPS)]
    return [*images, *parts, "embedded", "embedded-test", *CAMERA, *DIV2K, *layouts.LAYOUTS]


def open_set(name: str | ImageSet) -> ImageSet:
    """Open a set of HR images or a paired set; an ImageSet is returned unchanged.

    name: a dataset of the registry (Set5, B100, ...); "embedded" and "embedded-test", the photographs of the
    scikit-image package (grey and colour; no network); "DIV2K" (800) and "DIV2K-val" (100) in their official folders
    under `paths.data_dir()/DIV2K`; "folder:PATH"; or a sum of these, such as "T91+BSD400" or "T91+folder:PATH". Folders come last
    in a sum: all of a name that begins with "folder:" or "pairs:" is one PATH.
    Pairs: "City100-nikon" and "City100-iphone" (all 100 scenes), their authors' "/train" (95) and "/test" (5), and
    "/train80", "/test20" and "/train13" (`registry.CITY100_SPLITS`); "RealSR-NTIRE19" (16); "embedded-camera" and
    "embedded-camera-test", simulated from the embedded photographs; "RealSR-V2-x2/train" and the like (`layouts.LAYOUTS`)
    in their official folders; "pairs:PATH" (see `layouts.custom`).
    Raises SRError for an unknown name, an incomplete set, damaged files or non-images, unmatched LR or HR files, and a sum
    of sets that share images.
    """
    if isinstance(name, ImageSet):
        return name
    if not isinstance(name, str):
        raise SRError(f"data: got {name!r}, expected the name of a set: {', '.join(known_sets())}, folder:PATH, pairs:PATH")
    parts = [name] if name.startswith(PREFIXES) else [part.strip() for part in name.split("+")]
    for part in parts:
        if part not in known_sets() and not part.startswith(PREFIXES):
            raise unknown("dataset", part, [*known_sets(), "folder:PATH", "pairs:PATH"])
    prefix, _, path = name.partition(":")
    if name.startswith(PREFIXES) and "+" in path and not Path(path).expanduser().exists():
        first, *others = path.split("+")
        order = "+".join([*others, f"{prefix}:{first}"])
        raise SRError(f"{name}: {path} does not exist; folders come last in a sum, as in {order}")
    if len(parts) == 1:
        return _open_single(parts[0])
    repeated = [part for part, count in Counter(parts).items() if count > 1]
    if repeated:
        raise SRError(f"data: {name!r} names {repeated[0]!r} twice; name every set once")
    return _concatenate(name, [_open_single(part) for part in parts])


def _open_single(name: str) -> ImageSet:
    if name in ("embedded", "embedded-test"):
        return _embedded(name)
    if name in CAMERA:
        return _camera(name)
    if name in DIV2K:
        return _div2k(name)
    if name.partition("/")[0] in layouts.REGISTERED:
        return _from_pairs(name, layouts.registered(name), 1)
    if name in layouts.LAYOUTS:
        return _from_pairs(name, layouts.published(name), layouts.LAYOUTS[name].scale)
    if name.startswith("pairs:"):
        return _from_pairs(name, layouts.custom(name), None)
    if name.startswith("folder:"):
        image_paths = list_images(Path(name.removeprefix("folder:")).expanduser())
        return _from_files(name, image_paths, file_hashes(image_paths))
    return _from_files(name, registry.paths(name), list(registry.files(name).sha256))


def _from_files(name: str, image_paths: list[Path], hashes: list[str]) -> ImageSet:
    names = _unique_names(image_paths)
    return ImageSet(name, names, tuple(image_paths), _fingerprint(names, hashes))


def _from_pairs(name: str, pairs: layouts.PairFiles, scale: int | None) -> ImageSet:
    hr, lr = zip(*pairs.values(), strict=True)
    hashes = [f"{hr_hash} {lr_hash}" for hr_hash, lr_hash in zip(file_hashes(hr), file_hashes(lr), strict=True)]
    return ImageSet(name, tuple(pairs), hr, _fingerprint(pairs, hashes), lr_files=lr, scale=scale)


def _embedded(name: str) -> ImageSet:
    names, crop = (EMBEDDED, None) if name == "embedded" else (EMBEDDED_TEST, TEST_CROP)
    spec = importlib.util.find_spec("skimage")
    folder = Path(spec.submodule_search_locations[0]) / "data"
    files = [min(folder.glob(f"{photo}.*"), default=None) for photo in names]
    if None in files:
        raise SRError(f"{name}: no photograph {names[files.index(None)]!r} in {folder}; install scikit-image 0.25 or later again")
    # hash the pixels: releases of scikit-image store the same photograph in different files
    images = (_center_crop(read_image(path), crop) for path in files)
    hashes = [hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest() for image in images]
    return ImageSet(name, names, tuple(files), _fingerprint(names, hashes), crop)


def _camera(name: str) -> ImageSet:
    from srlib.data.camera import photograph

    images = _embedded(CAMERA[name])
    pattern = np.random.default_rng(0).integers(0, 256, (16, 20, 3), dtype=np.uint8)
    samples = [hashlib.sha256(photograph(pattern, scale, 0).tobytes()).hexdigest() for scale in (1, 2)]
    fingerprint = _fingerprint([name, "same size", "smaller"], [images.fingerprint, *samples])  # includes the simulation
    return replace(images, name=name, camera=True, fingerprint=fingerprint)


def _div2k(name: str) -> ImageSet:
    folder, first, last = DIV2K[name]
    root = paths.data_dir() / "DIV2K"
    image_paths = [root / folder / f"{number:04d}.png" for number in range(first, last + 1)]
    missing = [path.name for path in image_paths if not path.is_file()]
    if missing:
        raise SRError(
            f"{name}: {len(missing)} of {len(image_paths)} images are missing in {root / folder}, the first is {missing[0]}. "
            f"Download {folder}.zip (and, if wanted, {OFFICIAL_LR[folder]}_X2.zip ...) from {registry.DIV2K_URL} and unpack it "
            f"in {root}"
        )
    return _from_files(name, image_paths, file_hashes(image_paths))


def _concatenate(name: str, sets: list[ImageSet]) -> ImageSet:
    if len({images.crop for images in sets}) > 1:
        cropped = next(images.name for images in sets if images.crop is not None)
        raise SRError(f"data: {name!r} mixes the cropped set {cropped!r} with others; name it alone")
    if len({(bool(images.lr_files), images.camera, images.scale) for images in sets}) > 1:
        raise SRError(f"data: {name!r} mixes sets of pairs with others, or pairs of several scales; name them alone")
    names = [name for images in sets for name in images.names]
    image_paths = [path for images in sets for path in images.paths]
    repeated = [path for path, count in Counter(image_paths).items() if count > 1]
    if repeated:
        shared = " and ".join(images.name for images in sets if repeated[0] in images.paths)
        raise SRError(
            f"data: {name!r} has {len(repeated)} images twice, the first is {repeated[0]} in {shared}; name one of these"
        )
    unique = tuple(names) if len(set(names)) == len(names) else _unique_names(image_paths)
    return replace(
        sets[0],
        name=name,
        names=unique,
        paths=tuple(image_paths),
        fingerprint=_fingerprint([images.name for images in sets], [images.fingerprint for images in sets]),
        lr_files=tuple(path for images in sets for path in images.lr_files),
    )


def _unique_names(image_paths: list[Path]) -> tuple[str, ...]:
    stems = Counter(path.stem for path in image_paths)
    files = Counter(path.name for path in image_paths)
    names = []
    for path in image_paths:
        longer = path.name if files[path.name] == 1 else f"{path.parent.name}/{path.name}"
        names.append(path.stem if stems[path.stem] == 1 else longer)
    return tuple(names)


def _fingerprint(names, hashes) -> str:
    lines = "".join(f"{name} {value}\n" for name, value in zip(names, hashes, strict=True))
    return hashlib.sha256(lines.encode(errors="surrogateescape")).hexdigest()  # file names may be invalid UTF-8


def _rgb(image: np.ndarray) -> np.ndarray:
    from srlib.core.color import to_rgb  # imports torch, not needed to list and fetch sets

    return to_rgb(image)


def _center_crop(image: np.ndarray, crop: int | None) -> np.ndarray:
    return image if crop is None else center_crop(image, crop)
