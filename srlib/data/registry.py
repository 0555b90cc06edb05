"""Registry of the public datasets: their files, hash checks and downloads.

`registry.csv` in this folder lists every file with its sha256, size and public URL. Datasets are stored in
`paths.data_dir()`, one folder each. Loaders call `paths`, which never downloads: its error says what is missing and how to
get it.
"""

import os
import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from srlib.core.errors import SRError, check_int, unknown
from srlib.core.files import cannot_write, file_hashes, locked
from srlib.core.paths import data_dir

FILE = Path(__file__).with_name("registry.csv")
COLUMNS = ["dataset", "split", "file", "sha256", "bytes", "url"]
MAX_NAMED = 3  # files listed in an error

ATTEMPTS = 3  # per file
BACKOFF = 1.0  # seconds before the second attempt; twice as long before the third
TIMEOUT = (10, 60)  # seconds to connect, and between bytes
RETRY_STATUS = (408, 429, 500, 502, 503, 504)  # transient HTTP errors
DATA_REMEDY = "set SRLIB_DATA to a folder that can be written"

DIV2K_URL = "https://data.vision.ee.ethz.ch/cvl/DIV2K/"
OFFICIAL, LPIPS = "official", "lpips"  # weights, not images; see `srlib.official` and `scoring.lpips`
OPTIONAL = (LPIPS,)  # fetched by name only
MANUAL = ("DIV2K", "DIV2K-val")  # archives of several GB

# Splits of City100's 100 scenes in addition to the authors' train (95) and test (5), the same for both cameras.
# train13: training set of the networks released first. test20: the authors' test scenes and 15 more, drawn with seed 0 from
# the 82 scenes outside test and train13, so that it is held out for these networks, too (redrawn in
# tests/data/test_registry.py). train80: the complement of test20.
CITY100 = ("City100-nikon", "City100-iphone")
_SCENES = [f"{number:03d}" for number in range(1, 101)]
_TEST20 = "001 016 019 028 031 041 048 049 052 057 060 061 064 066 070 074 088 089 093 098".split()
CITY100_SPLITS = {
    "train13": _SCENES[1:14],
    "train80": [scene for scene in _SCENES if scene not in _TEST20],
    "test20": _TEST20,
}


def table():
    """Return the registry as a DataFrame with the columns dataset, split, file, sha256, bytes, url."""
    return _read_table(FILE)


@lru_cache(maxsize=4)
def _read_table(file: Path):
    import pandas as pd

    try:
        return pd.read_csv(file)[COLUMNS]
    except (OSError, KeyError, ValueError) as error:
        raise SRError(f"registry: cannot read {file} ({error}); expected the columns {', '.join(COLUMNS)}") from error


def datasets() -> list[str]:
    """Return the names of the registry's datasets, in file order."""
    return list(dict.fromkeys(table().dataset))


def splits(dataset: str) -> list[str]:
    """Return the names of a dataset's splits: those in the registry and, for City100, `CITY100_SPLITS`."""
    rows = table()
    return [*dict.fromkeys(rows.split[rows.dataset == dataset]), *(CITY100_SPLITS if dataset in CITY100 else ())]


def files(dataset: str):
    """Return the rows of one dataset, or of one split as in "City100-nikon/test" (see `splits`), as a DataFrame.

    Raises SRError for an unknown name, and for a set that is fetched by hand.
    """
    if dataset in MANUAL:
        raise SRError(
            f"{dataset}: not fetched, it comes as archives of several GB. Download DIV2K_train_HR.zip (or "
            f"DIV2K_valid_HR.zip) from {DIV2K_URL} and unpack it in {data_dir() / 'DIV2K'}"
        )
    rows = table()
    name, _, split = dataset.partition("/")
    if name not in set(rows.dataset):
        raise unknown("dataset", dataset, datasets())
    if split and split not in splits(name):
        raise unknown("dataset", dataset, [f"{name}/{known}" for known in splits(name)])
    rows = rows[rows.dataset == name]
    if split in set(rows.split):
        rows = rows[rows.split == split]
    elif split:
        scenes = rows.file.map(lambda file: Path(file).stem[:-1])  # 001H.PNG and 001L.PNG
        rows = rows[scenes.isin(CITY100_SPLITS[split])]
    return rows.reset_index(drop=True)


def paths(dataset: str) -> list[Path]:
    """Return the files of a dataset or split after checking that all exist with the right hash; never downloads.

    Hashes are cached (`file_hashes`). Raises SRError that names the missing or wrong files, the folder searched and the command
    to fetch them.
    """
    rows, root = files(dataset), data_dir()
    hashes = _hashes(rows)
    missing = [file for file in rows.file if file not in hashes]
    if missing:
        raise SRError(
            f"{dataset}: {len(missing)} of {len(rows)} files are missing in {root}: {_abbreviate(missing)}. "
            f"Run `make data` or `python -m srlib data {dataset}`, or set SRLIB_DATA to a folder that has them"
        )
    wrong = rows[rows.sha256 != rows.file.map(hashes)]
    if len(wrong):
        file, expected = wrong.iloc[0][["file", "sha256"]]
        more = f" (and {len(wrong) - 1} more files)" if len(wrong) > 1 else ""
        raise SRError(
            f"{dataset}: {root / file} has sha256 {hashes[file]}, expected {expected}{more}: a damaged copy or another "
            f"version of the image. `python -m srlib data {dataset}` replaces it"
        )
    return [root / file for file in rows.file]


def verify(dataset: str):
    """Rehash every file of a dataset; return a DataFrame of file and status ("ok", "missing", "wrong hash")."""
    rows = files(dataset)
    hashes = rows.file.map(_hashes(rows, refresh=True))
    status = (hashes == rows.sha256).map({True: "ok", False: "wrong hash"}).where(hashes.notna(), "missing")
    return rows[["file"]].assign(status=status)


def fetch(dataset: str, *, progress: bool = True, workers: int = 4) -> list[Path]:
    """Download the missing and damaged files of a dataset to `paths.data_dir()`; return all its files, verified.

    Files with the right hash are kept, so an interrupted fetch resumes; a file is moved into place only once verified.
    progress: show one progress bar, in bytes. workers: number of parallel downloads.
    Raises SRError that lists the failed files with reasons, and for a folder that cannot be written.
    """
    check_int("workers", workers, 1)
    rows, root = files(dataset), data_dir()
    if len(_outdated(rows)):
        folder = root / os.path.commonpath([Path(file).parent for file in rows.file])
        with locked(folder, DATA_REMEDY):
            outdated = _outdated(rows)  # another process may have fetched them meanwhile
            try:
                failures = _download(dataset, outdated, folder, root, progress, workers)
            except OSError as error:
                raise cannot_write(folder, error, DATA_REMEDY) from error
        if failures:
            reasons = _abbreviate([f"{file} ({reason})" for file, reason in failures.items()])
            raise SRError(
                f"{dataset}: {len(failures)} of {len(rows)} files could not be fetched into {root}: {reasons}. "
                f"The others are kept; run `make data` with a network, or set SRLIB_DATA to a folder that has them"
            )
    return paths(dataset)


def _hashes(rows, refresh: bool = False) -> dict[str, str]:
    """Return the sha256 of each file that exists; a cached hash other than the expected one is recomputed."""
    root = data_dir()
    present = rows[[(root / file).is_file() for file in rows.file]]
    hashes = dict(zip(present.file, file_hashes([root / file for file in present.file], refresh=refresh), strict=True))
    doubtful = present.file[present.sha256 != present.file.map(hashes)]
    return hashes | dict(zip(doubtful, file_hashes([root / file for file in doubtful], refresh=True), strict=True))


def _outdated(rows):
    """Return the rows whose file is missing or has another hash."""
    return rows[rows.sha256 != rows.file.map(_hashes(rows))]


def _download(dataset: str, rows, folder: Path, root: Path, progress: bool, workers: int) -> dict[str, str]:
    """Download rows in parallel through a staging folder in `folder`; return file -> reason of each failure."""
    import pooch
    import requests
    from tqdm.auto import tqdm

    pooch.get_logger().setLevel("WARNING")  # otherwise one line per file
    http = pooch.HTTPDownloader(chunk_size=1 << 16, timeout=TIMEOUT)
    offline = threading.Event()  # no server can be reached: skip the rest
    fetched = []

    def download(url: str, target: str, store: pooch.Pooch) -> None:
        """Retry what may succeed the next time; pooch's own retries would repeat a 404 and a wrong hash, too."""
        for attempt in range(ATTEMPTS):
            if offline.wait(BACKOFF * 2 ** (attempt - 1) if attempt else 0):
                raise CancelledError
            try:
                return http(url, target, store)
            except requests.RequestException as error:
                permanent = isinstance(error, requests.HTTPError) and error.response.status_code not in RETRY_STATUS
                if permanent or attempt == ATTEMPTS - 1:
                    raise

    def failure(row) -> str | None:
        """Fetch one file; return the reason if that fails."""
        try:
            verified = store.fetch(row.file, downloader=download)
        except requests.HTTPError as error:
            return f"{error.response.status_code} {error.response.reason} from {row.url}"
        except requests.RequestException as error:
            if not fetched:
                offline.set()
            return f"{type(error).__name__}: {urlsplit(row.url).netloc}"
        except CancelledError:
            return "not tried, no network"
        except ValueError as error:  # a wrong hash
            return str(error)
        fetched.append(os.replace(verified, root / row.file))
        return None

    bar = tqdm(total=int(rows.bytes.sum()), desc=dataset, unit="B", unit_scale=True, disable=not progress)
    # Its name is one that `locked` removes after a kill.
    with bar, TemporaryDirectory(prefix=".", suffix=".part", dir=folder) as staging:
        for parent in {Path(file).parent for file in rows.file}:
            (root / parent).mkdir(parents=True, exist_ok=True)
            (Path(staging) / parent).mkdir(parents=True, exist_ok=True)  # here, as parallel fetches would race for it
        registry, urls = (dict(zip(rows.file, column, strict=True)) for column in (rows.sha256, rows.url))
        store = pooch.create(staging, base_url="", registry=registry, urls=urls)
        pool, failures = ThreadPoolExecutor(workers), {}
        try:
            for row, reason in zip(rows.itertuples(), pool.map(failure, rows.itertuples()), strict=True):
                if reason is None:
                    bar.update(row.bytes)
                else:
                    failures[row.file] = reason
        finally:  # also after Ctrl-C and on a full disk
            offline.set()
            pool.shutdown(cancel_futures=True)
    return failures


def _abbreviate(names: list[str]) -> str:
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more
