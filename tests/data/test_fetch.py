"""Fetching a dataset: verification, retries, interruption, parallel processes."""

import errno
import hashlib
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pandas as pd
import pytest

from srlib.core.errors import SRError
from srlib.data import registry


def stored(root: Path) -> dict[str, bytes]:
    """Return name -> content of the files in the dataset's folder."""
    return {path.name: path.read_bytes() for path in (root / "Tiny").iterdir() if not path.name.startswith(".")}


def partial(root: Path) -> list[Path]:
    """Return the leftovers of unfinished downloads."""
    return list((root / "Tiny").glob(".*.part"))


def test_fetch_brings_every_file(root, server, content):
    assert registry.datasets() == ["Tiny"]
    got = registry.fetch("Tiny", progress=False)
    assert got == [root / "Tiny" / name for name in content] == registry.paths("Tiny")
    assert stored(root) == content
    assert set(registry.verify("Tiny").status) == {"ok"}


def test_fetch_downloads_in_parallel(root, server, content):
    server.barrier = threading.Barrier(3, timeout=10)  # no response before three requests
    registry.fetch("Tiny", progress=False, workers=3)
    assert stored(root) == content


def test_fetch_shows_one_bar_that_counts_bytes(root, capsys):
    registry.fetch("Tiny")
    last = capsys.readouterr().err.strip().split("\r")[-1]
    assert last.startswith("Tiny: 100%") and "6.02k/6.02k" in last
    registry.fetch("Tiny")
    assert capsys.readouterr().err == ""


def test_fetch_keeps_what_is_right_and_replaces_what_is_not(root, server, content):
    registry.fetch("Tiny", progress=False)
    server.requests.clear()
    (root / "Tiny" / "img_2.bin").unlink()
    (root / "Tiny" / "img_3.bin").write_bytes(b"damaged")
    registry.fetch("Tiny", progress=False)
    assert stored(root) == content
    assert server.requests == {"img_2.bin": 1, "img_3.bin": 1}
    registry.fetch("Tiny", progress=False)
    assert sum(server.requests.values()) == 2


@pytest.mark.parametrize("trouble", [[500], [503, 429], ["close"], ["half"], ["half", "close"]])
def test_fetch_tries_again(root, server, trouble, content):
    server.failures["img_2.bin"] = list(trouble)
    registry.fetch("Tiny", progress=False)
    assert stored(root) == content
    assert server.requests["img_2.bin"] == len(trouble) + 1


@pytest.mark.parametrize(
    ("status", "tries", "reason"), [(500, registry.ATTEMPTS, "500 Internal Server Error"), (404, 1, "404 Not Found")]
)
def test_fetch_gives_up_on_a_file_and_brings_the_others(root, server, content, status, tries, reason):
    server.failures["img_2.bin"] = [status] * 9
    message = rf"1 of 6 files could not be fetched .*img_2.bin \({reason} from {server.url}/img_2.bin\)"
    with pytest.raises(SRError, match=message):
        registry.fetch("Tiny", progress=False, workers=1)
    assert server.requests["img_2.bin"] == tries
    assert stored(root) == {name: data for name, data in content.items() if name != "img_2.bin"}


@pytest.mark.parametrize("before", [None, b"another edition"])
def test_a_wrong_hash_is_explained_and_replaces_nothing(root, server, content, before):
    if before:
        registry.fetch("Tiny", progress=False)
        (root / "Tiny" / "img_2.bin").write_bytes(before)
    server.requests.clear()
    server.content["img_2.bin"] = b"<html>please log in</html>"
    expected, got = (hashlib.sha256(each["img_2.bin"]).hexdigest() for each in (content, server.content))
    with pytest.raises(SRError, match=f"1 of 6 files .*does not match .*: expected {expected} but got {got}. Deleted"):
        registry.fetch("Tiny", progress=False)
    others = {name: data for name, data in content.items() if name != "img_2.bin"}
    assert stored(root) == others | ({"img_2.bin": before} if before else {})
    assert server.requests["img_2.bin"] == 1


def test_without_a_network_one_error_says_what_is_missing_and_how_to_get_it(root, server, content):
    registry.fetch("Tiny", progress=False)
    for name in ("img_1.bin", "img_2.bin", "img_4.bin", "img_5.bin", "img_6.bin"):
        (root / "Tiny" / name).unlink()
    server.shutdown()
    server.server_close()
    with pytest.raises(SRError) as caught:
        registry.fetch("Tiny", progress=False, workers=1)
    message = str(caught.value)
    assert f"5 of 6 files could not be fetched into {root}" in message
    assert f"Tiny/img_1.bin (ConnectionError: 127.0.0.1:{server.server_port}), Tiny/img_2.bin (not tried" in message
    assert "and 2 more" in message
    assert "`make data`" in message and "SRLIB_DATA" in message
    assert stored(root) == {"img_3.bin": content["img_3.bin"]}


@pytest.fixture
def change_registry():
    def change(**columns) -> None:
        pd.read_csv(registry.FILE).assign(**columns).to_csv(registry.FILE, index=False)
        registry._read_table.cache_clear()

    return change


def test_one_server_that_is_down_does_not_stop_the_others(root, server, change_registry):
    change_registry(url=lambda rows: rows.url.where(rows.index < 5, "http://127.0.0.1:1/img_6.bin"))
    with pytest.raises(SRError, match=r"1 of 6 files .* Tiny/img_6.bin \(ConnectionError"):
        registry.fetch("Tiny", progress=False, workers=1)
    assert len(stored(root)) == 5


OTHER_PROCESS = "from srlib.data import registry; registry.FILE = {file!r}; registry.fetch('Tiny', progress=False{options})"


def test_a_killed_fetch_leaves_no_half_file_and_the_next_one_goes_on(root, server, content):
    server.failures["img_3.bin"] = ["stall"]
    code = OTHER_PROCESS.format(file=str(registry.FILE), options=", workers=1")
    child = subprocess.Popen([sys.executable, "-c", code])
    assert server.stalled.wait(60)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert len(partial(root)) == 1 and stored(root) == {name: content[name] for name in ("img_1.bin", "img_2.bin")}
    registry.fetch("Tiny", progress=False)
    assert not partial(root)
    assert stored(root) == content
    assert server.requests["img_1.bin"] == 1


def test_two_processes_fetch_together(root, server, content):
    code = OTHER_PROCESS.format(file=str(registry.FILE), options="")
    children = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [child.wait() for child in children] == [0, 0]
    assert stored(root) == content
    assert set(server.requests.values()) == {1}


def test_a_full_disk_ends_the_fetch_and_leaves_nothing(root, monkeypatch):
    def full(url, output_file, pooch):
        Path(output_file).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pooch.HTTPDownloader", lambda **options: full)
    with pytest.raises(SRError, match="No space left on device.*free some space or set SRLIB_DATA"):
        registry.fetch("Tiny", progress=False)
    assert stored(root) == {}


def test_a_folder_that_cannot_be_written_is_named(root, tmp_path, monkeypatch):
    (tmp_path / "file").touch()  # root writes into read-only folders, but nobody below a file
    monkeypatch.setenv("SRLIB_DATA", str(tmp_path / "file" / "datasets"))
    with pytest.raises(SRError, match=r"cannot write .*file/datasets/Tiny.*set SRLIB_DATA to a folder that can be"):
        registry.fetch("Tiny", progress=False)


def test_a_complete_read_only_folder_is_not_touched(root, monkeypatch):
    registry.fetch("Tiny", progress=False)

    monkeypatch.setattr(registry, "locked", lambda *args: pytest.fail("wrote into the folder of datasets"))
    assert len(registry.fetch("Tiny", progress=False)) == 6


def test_one_split_is_fetched_into_the_folder_of_its_files(root, server, change_registry):
    change_registry(split=["test", "train"] * 3, file=lambda rows: rows.file.str.replace("Tiny/", "Shared/tiny/"))
    got = registry.fetch("Tiny/test", progress=False)
    assert got == [root / "Shared" / "tiny" / f"img_{i}.bin" for i in (1, 3, 5)] == registry.paths("Tiny/test")
    assert sum(server.requests.values()) == 3 and [path.name for path in root.iterdir()] == ["Shared"]
    missing = r"Tiny/train: 3 of 3 files are missing in .*: Shared/tiny/img_2.bin, .*`python -m srlib data Tiny/train`"
    with pytest.raises(SRError, match=missing):
        registry.paths("Tiny/train")


def test_what_is_fetched_by_hand_is_named_exactly(root, server, change_registry):
    names = [*(f"DIV2K/X4/{i}.png" for i in (1, 2, 3)), *(f"City100/nikon/{i}H.PNG" for i in ("002", "016", "020"))]
    change_registry(dataset=["DIV2K-x4lr"] * 3 + ["City100-nikon"] * 3, file=names)
    assert len(registry.fetch("DIV2K-x4lr", progress=False)) == 3
    with pytest.raises(SRError, match="DIV2K-val: not fetched, it comes as archives"):
        registry.fetch("DIV2K-val")
    for split, expected in (("train80", ["002", "020"]), ("test20", ["016"]), ("train13", ["002"])):
        got = registry.fetch(f"City100-nikon/{split}", progress=False)
        assert [path.name for path in got] == [f"{scene}H.PNG" for scene in expected]
    assert sum(server.requests.values()) == 6
