"""Official weights that were not seen here: DDet, KPN, LP-KPN and D2C-SR.

Their maps are written from the authors' code and tested on made-up files with the same layers; what the files score was not
measured. They are not fetched. A copy of a user's own is checked by git's id of its content, which the authors' repository has;
D2C-SR's file is not in git, and `official.convert` takes it unchecked. `unseen.csv` has the address of each.
"""

from functools import lru_cache
from pathlib import Path

import pandas as pd

from srlib.core.errors import SRError
from srlib.core.files import git_blob
from srlib.core.paths import data_dir

TABLE = Path(__file__).with_name("unseen.csv")


@lru_cache
def sources() -> pd.DataFrame:
    """Return a row per file: `network`, `scales`, `file`, `git_blob`, `url`, `licence`, `origin`, `note`; "" where unknown."""
    return pd.read_csv(TABLE, dtype=str, keep_default_na=False)


def path(row: pd.Series) -> Path:
    """Return the file of a row of `sources`, checked by its id.

    Raises SRError, with the address, for one that is missing, that has another id, or whose id is not known.
    """
    file = data_dir() / "official" / row["file"]
    if not row["git_blob"]:
        raise SRError(
            f"{row['file']}: no id of it is known, so that it cannot be checked. Download it from {row['url']} and pass it to "
            f"`official.convert` with its scale, if you trust it"
        )
    if not file.is_file():
        raise SRError(
            f"{file} is missing, and not fetched, as it was not seen here: download it from {row['url']}. "
            f"Its content is checked by its id in git"
        )
    if (got := git_blob(file)) != row["git_blob"]:
        raise SRError(
            f"{file} has the git id {got}, expected {row['git_blob']}: a damaged copy or another version. "
            f"Download it again from {row['url']}"
        )
    return file
