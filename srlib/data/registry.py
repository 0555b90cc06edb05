"""The public datasets: which files they have, whether these are there and right, and fetching them.

`data/registry.csv` lists every file with its sha256, size and public URL. Datasets lie in `paths.data_dir()`, one
folder each. Loaders call `dataset_paths`, which never downloads: it says what is missing and how to get it.
"""

from functools import lru_cache
from pathlib import Path

from srlib import paths
from srlib.data.files import file_hashes
from srlib.errors import SRError, unknown

COLUMNS = ["dataset", "split", "file", "sha256", "bytes", "url"]
SHOWN = 3  # files named in an error


@lru_cache(maxsize=1)
def table():
    """Return the registry as a DataFrame with the columns dataset, split, file, sha256, bytes, url."""
    import pandas as pd

    file = paths.home() / "data" / "registry.csv"
    try:
        return pd.read_csv(file)[COLUMNS]
    except (OSError, KeyError, pd.errors.ParserError) as error:
        raise SRError(f"registry: cannot read {file} ({error}); expected the columns {', '.join(COLUMNS)}") from error


def datasets() -> list[str]:
    """Return the names of the datasets in the registry, in its order."""
    return list(dict.fromkeys(table().dataset))


def files(dataset: str):
    """Return the rows of one dataset as a DataFrame; SRError for an unknown name."""
    rows = table()
    rows = rows[rows.dataset == dataset]
    if rows.empty:
        raise unknown("dataset", dataset, datasets())
    return rows.reset_index(drop=True)


def dataset_paths(dataset: str) -> list[Path]:
    """Return the files of a dataset, all of them present and of the right hash; nothing is downloaded.

    Hashes are remembered by size and modification time (`file_hashes`). Raises SRError that names what is missing or
    wrong, where it was looked for and how to get it.
    """
    rows, root = files(dataset), paths.data_dir()
    found = [root / file for file in rows.file]
    missing = [file for file, path in zip(rows.file, found, strict=True) if not path.is_file()]
    if missing:
        raise SRError(
            f"{dataset}: {len(missing)} of {len(rows)} files are missing in {root}: {_few(missing)}. "
            f"Run `make data` or `python -m srlib data fetch {dataset}`, or set SRLIB_DATA to a folder that has them"
        )
    hashes = file_hashes(found)
    checked = zip(rows.file, rows.sha256, hashes, strict=True)
    wrong = [(file, expected, got) for file, expected, got in checked if expected != got]
    if wrong:
        file, expected, got = wrong[0]
        more = f" (and {len(wrong) - 1} more files)" if len(wrong) > 1 else ""
        raise SRError(
            f"{dataset}: {root / file} has sha256 {got}, expected {expected}{more}: a damaged copy or another "
            f"edition of the picture. `python -m srlib data fetch {dataset}` replaces it"
        )
    return found


def _few(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
