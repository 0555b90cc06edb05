"""Official weights: the networks as their authors published them, read from the authors' own files.

`load("idn", 2)` gives a network of `srlib.baselines` with the arguments that the authors' code needs. The files are fetched like
images (`python -m srlib data official`), by address and hash; most of their repositories state no licence, so that neither they
nor conversions are part of this project. `sources.csv` has the origin and licence of each. `unseen` registers files that were
not seen here, those of DDet, KPN, LP-KPN and D2C-SR.
"""

from functools import lru_cache
from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import save
from torch import nn

from srlib.core.errors import SRError, unknown
from srlib.core.files import atomic_write, sha256, write_json
from srlib.core.paths import cache_dir, data_dir
from srlib.core.pickles import read_arrays
from srlib.data import registry
from srlib.nn import models
from srlib.official import unseen
from srlib.official.maps import MAPS
from srlib.official.readers import caffemodel, mat, params, pth

READERS = {".mat": mat.read, ".caffemodel": caffemodel.read, ".params": params.read, ".pth": pth.read, ".pkl": read_arrays}
SOURCES = Path(__file__).with_name("sources.csv")


@lru_cache
def sources() -> pd.DataFrame:
    """Return a row per file: `network`, `scales` (separated by ";"), `file`, `licence`, `origin`, `note`."""
    return pd.read_csv(SOURCES, dtype=str, keep_default_na=False)


def available() -> list[tuple[str, int]]:
    """Return every network and scale whose official weights can be fetched and were measured here."""
    return [(row.network, int(scale)) for row in sources().itertuples() for scale in row.scales.split(";")]


def source(name: str, scale: int) -> pd.Series:
    """Return the row of `sources`, or of `unseen.sources`, for a network and scale; raises SRError where there is none."""
    rows = pd.concat([sources(), unseen.sources()], ignore_index=True).fillna("")
    if name not in set(rows["network"]):
        raise unknown("network with official weights", name, rows["network"].unique())
    rows = rows[rows["network"] == name]
    for _, row in rows.iterrows():
        if str(scale) in row["scales"].split(";") or not row["scales"]:
            return row
    known = ", ".join(f"x{known_scale}" for scales in rows["scales"] for known_scale in scales.split(";"))
    raise SRError(f"scale (={scale}): official weights of {name} are of {known}")


def load(name: str, scale: int) -> nn.Module:
    """Return a network with its official weights, in eval mode.

    Raises SRError for a network or scale without any, and for a file that is missing, or not the registered one.
    """
    return convert(_file(name, scale), name, scale)


def weights_file(name: str, scale: int) -> Path:
    """Return official weights as safetensors, converted into the cache, with a card beside them: what a training starts from.

    Raises as `load`. The card says 0 steps: how long the authors trained is not known, and counts as no budget.
    """
    source_file = _file(name, scale)
    file = cache_dir() / "official" / f"official_{name}_x{scale}-{sha256(source_file)[:10]}.safetensors"
    data = save(convert(source_file, name, scale).state_dict())
    if not file.exists() or file.read_bytes() != data:
        experiment = {"name": f"{name}_official", "scale": scale, "batch": 0, "hr_patch": 0, "precision": "fp32"}
        write_json(file.with_suffix(".json"), {"experiment": experiment, "provenance": {"steps": 0, "minutes": 0.0}})
        atomic_write(file, data)
    return file


def fetched(name: str, scale: int) -> bool:
    """Whether the file of official weights is here."""
    return (data_dir() / "official" / source(name, scale)["file"]).is_file()


def _file(name: str, scale: int) -> Path:
    """Return the file of official weights after checking its hash; raises SRError as `load`."""
    row = source(name, scale)
    if row["url"]:
        return unseen.path(row)
    (file,) = registry.paths(f"official/{Path(row['file']).stem}")
    return file


def convert(file: Path | str, name: str, scale: int) -> nn.Module:
    """Return the network that a file of weights is of, in eval mode.

    Raises SRError for an unknown network, a file that is missing or of another format, and one that does not fit the network.
    """
    file = Path(file)
    if name not in MAPS:
        raise unknown("network with official weights", name, MAPS)
    if file.suffix not in READERS:
        raise SRError(f"{file} is of no format that is read; expected a file that ends in {', '.join(READERS)}")
    if not file.is_file():
        raise SRError(f"{file} is not there; name a file of weights of {name}")
    arrays = READERS[file.suffix](file)
    try:
        arguments, state = MAPS[name](arrays, scale)
    except KeyError as error:
        raise SRError(
            f"{file.name} has no layer {error.args[0]!r}, which {name} x{scale} needs; it is of another network"
        ) from None
    except (ValueError, IndexError) as error:
        raise SRError(f"{file.name} is not of {name} x{scale}: {error}") from None
    if arrays:
        raise SRError(f"{file.name} has layers that {name} x{scale} lacks: {', '.join(list(arrays)[:3])}")
    net = models.create(arguments.pop("model", name), arguments.pop("scale", scale), **arguments)
    _check_shapes(net, state, file.name)
    net.load_state_dict(state)
    return net.eval()


def _check_shapes(net: nn.Module, state: dict[str, torch.Tensor], file: str) -> None:
    for name, own in net.state_dict().items():
        got = tuple(state[name].shape) if name in state else "nothing"
        if got != tuple(own.shape):
            raise SRError(f"{file} has {got} for {name}, expected {tuple(own.shape)}; it is of another network or scale")
