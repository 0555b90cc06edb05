"""The public datasets: which files they have, whether these are there and right, and fetching them.

`registry.csv`, beside this file, lists every file with its sha256, size and public URL. Datasets lie in `paths.data_dir()`, one
folder each. Loaders call `paths`, which never downloads: it says what is missing and how to get it.
"""

import os
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from srlib.core.errors import SRError, unknown
from srlib.core.files import atomic, file_hashes, locked, sha256
from srlib.core.paths import data_dir

FILE = Path(__file__).with_name("registry.csv")
COLUMNS = ["dataset", "split", "file", "sha256", "bytes", "url"]
SHOWN = 3  # files named in an error

ATTEMPTS = 3  # per file
BACKOFF = 1.0  # seconds before the second attempt; twice as long before the third
TIMEOUT = (10, 60)  # seconds to connect, and without a byte
AGAIN = (408, 429, 500, 502, 503, 504)  # HTTP answers that may be better the next time
DATA_REMEDY = "set SRLIB_DATA to a folder that can be written"

DIV2K_URL = "https://data.vision.ee.ethz.ch/cvl/DIV2K/"
OFFICIAL = "official"  # weights, not images; see `srlib.official`
BY_HAND = ("DIV2K", "DIV2K-val")  # archives of several GB

# Splits of City100's 100 scenes beside its authors' own (95 and 5), the same for both cameras. train13: what the released
# networks were trained on. test20: the authors' five and 15 more, drawn with seed 0 from the 82 scenes that are neither theirs
# nor in train13, so that the released networks can be tested on it, too (tests/data/test_registry.py draws them again).
# train80: all others.
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
    """Return the names of the datasets in the registry, in its order."""
    return list(dict.fromkeys(table().dataset))


def splits(dataset: str) -> list[str]:
    """Return the names of the splits of a dataset: those of the registry and, of City100, `CITY100_SPLITS`."""
    rows = table()
    return [*dict.fromkeys(rows.split[rows.dataset == dataset]), *(CITY100_SPLITS if dataset in CITY100 else ())]


def files(dataset: str):
    """Return the rows of one dataset, or of one split as in "City100-nikon/test" (see `splits`), as a DataFrame.

    Raises SRError for an unknown name.
    """
    rows = table()
    name, _, split = dataset.partition("/")
    if name not in set(rows.dataset):
        raise unknown("dataset", dataset, datasets())
    if split and split not in splits(name):
        raise unknown("dataset", dataset, [f"{name}/{one}" for one in splits(name)])
    rows = rows[rows.dataset == name]
    if split in set(rows.split):
        rows = rows[rows.split == split]
    elif split:
        scenes = rows.file.map(lambda file: Path(file).stem[:-1])  # 001H.PNG and 001L.PNG
        rows = rows[scenes.isin(CITY100_SPLITS[split])]
    return rows.reset_index(drop=True)


def paths(dataset: str) -> list[Path]:
    """Return the files of a dataset, or of a split, all of them present and of the right hash; nothing is downloaded.

    Hashes are remembered (`file_hashes`); one that is not right is computed again before the file is refused. Raises SRError
    that names what is missing or wrong, where it was looked for and how to get it.
    """
    rows, root = files(dataset), data_dir()
    found = [root / file for file in rows.file]
    missing = [file for file, path in zip(rows.file, found, strict=True) if not path.is_file()]
    if missing:
        raise SRError(
            f"{dataset}: {len(missing)} of {len(rows)} files are missing in {root}: {_few(missing)}. "
            f"Run `make data` or `python -m srlib data {dataset}`, or set SRLIB_DATA to a folder that has them"
        )
    hashes = _hashes(found, rows.sha256)
    checked = zip(rows.file, rows.sha256, hashes, strict=True)
    wrong = [(file, expected, got) for file, expected, got in checked if expected != got]
    if wrong:
        file, expected, got = wrong[0]
        more = f" (and {len(wrong) - 1} more files)" if len(wrong) > 1 else ""
        raise SRError(
            f"{dataset}: {root / file} has sha256 {got}, expected {expected}{more}: a damaged copy or another "
            f"edition of the picture. `python -m srlib data {dataset}` replaces it"
        )
    return found


def verify(dataset: str):
    """Hash every file of a dataset anew; return a DataFrame of file and status ("ok", "missing", "wrong hash")."""
    import pandas as pd

    rows, root = files(dataset), data_dir()
    status = [_status(root / file, expected) for file, expected in zip(rows.file, rows.sha256, strict=True)]
    return pd.DataFrame({"file": rows.file, "status": status})


def fetch(dataset: str, *, progress: bool = True, workers: int = 4) -> list[Path]:
    """Download what is missing or damaged of a dataset into `paths.data_dir()`; return its files, all verified.

    Files that are there and right are kept, so that a fetch that was cut short goes on where it stopped; a file
    appears whole and verified or not at all. progress: show one bar, in bytes. workers: simultaneous downloads.
    Raises SRError that names the files that could not be fetched and why, and for a folder that cannot be written.
    """
    if dataset in BY_HAND:
        raise SRError(
            f"{dataset}: not fetched, it comes as archives of several GB. Download DIV2K_train_HR.zip (or "
            f"DIV2K_valid_HR.zip) from {DIV2K_URL} and unpack it in {data_dir() / 'DIV2K'}"
        )
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise SRError(f"workers: got {workers!r}, expected a whole number of at least 1")
    rows, root = files(dataset), data_dir()
    if _wanted(rows, root):
        with locked(root / os.path.commonpath([Path(file).parent for file in rows.file]), DATA_REMEDY):
            wanted = _wanted(rows, root)  # another process may have fetched them meanwhile
            failed = _download_all(dataset, wanted, root, progress, workers)
        if failed:
            reasons = _few([f"{file} ({reason})" for file, reason in failed])
            raise SRError(
                f"{dataset}: {len(failed)} of {len(rows)} files could not be fetched into {root}: {reasons}. "
                f"The others are kept; run `make data` with a network, or set SRLIB_DATA to a folder that has them"
            )
    return paths(dataset)


def _hashes(found: list[Path], expected: Iterable[str]) -> list[str]:
    """Return the sha256 of each file; a remembered one that is not the expected one is computed again."""
    hashes = dict(zip(found, file_hashes(found), strict=True))
    doubtful = [path for path, right in zip(found, expected, strict=True) if hashes[path] != right]
    hashes.update(zip(doubtful, file_hashes(doubtful, again=True), strict=True))
    return [hashes[path] for path in found]


def _status(path: Path, expected: str) -> str:
    if not path.is_file():
        return "missing"
    return "ok" if sha256(path) == expected else "wrong hash"


def _wanted(rows, root: Path) -> list:
    """Return the rows whose file is missing or not what it should be."""
    rows = list(rows.itertuples())
    present = [row for row in rows if (root / row.file).is_file()]
    hashes = _hashes([root / row.file for row in present], [row.sha256 for row in present])
    good = {row.file for row, got in zip(present, hashes, strict=True) if got == row.sha256}
    return [row for row in rows if row.file not in good]


def _download_all(dataset: str, rows: list, root: Path, progress: bool, workers: int) -> list[tuple[str, str]]:
    """Download rows in parallel; return (file, reason) of each one that failed, in the order of the rows."""
    from tqdm.auto import tqdm

    stop, failed, arrived = threading.Event(), {}, 0
    total = sum(int(row.bytes) for row in rows)
    with tqdm(total=total, desc=dataset, unit="B", unit_scale=True, disable=not progress) as bar:
        pool = ThreadPoolExecutor(workers)
        try:
            jobs = {pool.submit(_download, row, root / row.file, stop): row for row in rows}
            for job in as_completed(jobs):
                reason, unreachable = job.result()
                if reason:
                    failed[jobs[job].file] = reason
                    if unreachable and not arrived:  # no network: do not wait for every other file to find out
                        stop.set()
                else:
                    arrived += 1
                    bar.update(int(jobs[job].bytes))
        finally:  # also after Ctrl-C and a full disk
            stop.set()
            pool.shutdown(cancel_futures=True)
    return [(row.file, failed[row.file]) for row in rows if row.file in failed]


class _WrongHash(Exception):
    """What arrived is not the file of the registry."""


def _download(row, target: Path, stop: threading.Event) -> tuple[str, bool]:
    """Download one file; return (why it failed or "", whether its server could not be reached)."""
    import requests
    from pooch import HTTPDownloader

    download = HTTPDownloader(chunk_size=1 << 16, timeout=TIMEOUT)
    for attempt in range(ATTEMPTS):
        if stop.wait(BACKOFF * 2 ** (attempt - 1) if attempt else 0):
            return "not tried, no network", True
        try:
            with atomic(target, DATA_REMEDY) as temp:
                download(row.url, temp, None)
                got = sha256(temp)
                if got != row.sha256:
                    raise _WrongHash(f"sha256 {got}, expected {row.sha256}; the source changed or a proxy answered")
            return "", False
        except _WrongHash as error:  # another attempt would bring the same
            return str(error), False
        except requests.HTTPError as error:
            reason, unreachable = f"{error.response.status_code} {error.response.reason} from {row.url}", False
            if error.response.status_code not in AGAIN:
                break
        except requests.RequestException as error:
            reason, unreachable = f"{type(error).__name__}: {urlsplit(row.url).netloc}", True
    return reason, unreachable


def _few(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
