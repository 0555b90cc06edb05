import errno
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest

from srlib.core import files
from srlib.core.errors import SRError
from srlib.core.paths import home
from srlib.data import registry

CONTENT = {f"img_{i}.bin": bytes([i]) * (1000 + i) for i in range(1, 7)}


class Server(ThreadingHTTPServer):
    """Serves CONTENT; `todo[name]` lists what to do instead on the next requests for a file."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = dict(CONTENT)
        self.todo = defaultdict(list)
        self.requests = Counter()
        self.stalled = threading.Event()
        self.together = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.strip("/")
        self.server.requests[name] += 1
        if self.server.together is not None:
            self.server.together.wait()
        todo = self.server.todo[name].pop(0) if self.server.todo[name] else "send"
        if isinstance(todo, int):
            self.send_error(todo)
        elif todo != "close":
            data = self.server.content[name]
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            if todo == "stall":
                self.server.stalled.set()
                threading.Event().wait(20)
            elif todo == "send":
                self.wfile.write(data[len(data) // 2 :])
        self.close_connection = True

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def root(tmp_path, monkeypatch, server) -> Path:
    """The folder of datasets, with a registry of one dataset, `Tiny`, that the local server offers."""
    home = tmp_path / "home"
    (home / "notebooks").mkdir(parents=True)
    rows = [
        ("Tiny", "test", f"Tiny/{name}", hashlib.sha256(data).hexdigest(), len(data), f"{server.url}/{name}")
        for name, data in CONTENT.items()
    ]
    pd.DataFrame(rows, columns=registry.COLUMNS).to_csv(tmp_path / "registry.csv", index=False)
    monkeypatch.setattr(registry, "FILE", tmp_path / "registry.csv")
    monkeypatch.setenv("SRLIB_HOME", str(home))
    monkeypatch.setenv("SRLIB_DATA", str(tmp_path / "datasets"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(registry, "BACKOFF", 0.01)
    return tmp_path / "datasets"


def stored(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (root / "Tiny").iterdir() if path.name != ".lock"}


def test_fetch_brings_every_file(root, server):
    assert registry.datasets() == ["Tiny"]
    got = registry.fetch("Tiny", progress=False)
    assert got == [root / "Tiny" / name for name in CONTENT] == registry.paths("Tiny")
    assert stored(root) == CONTENT
    assert set(registry.verify("Tiny").status) == {"ok"}


def test_fetch_downloads_in_parallel(root, server):
    server.together = threading.Barrier(3, timeout=10)  # nobody is answered before three have asked
    registry.fetch("Tiny", progress=False, workers=3)
    assert stored(root) == CONTENT


def test_fetch_shows_one_bar_that_counts_bytes(root, capsys):
    registry.fetch("Tiny")
    last = capsys.readouterr().err.strip().split("\r")[-1]
    assert last.startswith("Tiny: 100%") and "6.02k/6.02k" in last
    registry.fetch("Tiny")
    assert capsys.readouterr().err == ""


def test_fetch_keeps_what_is_right_and_replaces_what_is_not(root, server):
    registry.fetch("Tiny", progress=False)
    server.requests.clear()
    (root / "Tiny" / "img_2.bin").unlink()
    (root / "Tiny" / "img_3.bin").write_bytes(b"damaged")
    registry.fetch("Tiny", progress=False)
    assert stored(root) == CONTENT
    assert server.requests == {"img_2.bin": 1, "img_3.bin": 1}
    registry.fetch("Tiny", progress=False)
    assert sum(server.requests.values()) == 2


@pytest.mark.parametrize("trouble", [[500], [503, 429], ["close"], ["half"], ["half", "close"]])
def test_fetch_tries_again(root, server, trouble):
    server.todo["img_2.bin"] = list(trouble)
    registry.fetch("Tiny", progress=False)
    assert stored(root) == CONTENT
    assert server.requests["img_2.bin"] == len(trouble) + 1


def test_fetch_gives_up_on_a_server_that_keeps_failing(root, server):
    server.todo["img_2.bin"] = [500] * 9
    with pytest.raises(SRError, match=r"1 of 6 files could not be fetched .*img_2.bin \(500 Internal Server Error"):
        registry.fetch("Tiny", progress=False, workers=1)
    assert server.requests["img_2.bin"] == registry.ATTEMPTS
    assert stored(root) == {name: data for name, data in CONTENT.items() if name != "img_2.bin"}


def test_a_file_that_is_gone_is_asked_for_once(root, server):
    server.todo["img_2.bin"] = [404]
    with pytest.raises(SRError, match=rf"img_2.bin \(404 Not Found from {server.url}/img_2.bin\)"):
        registry.fetch("Tiny", progress=False)
    assert server.requests["img_2.bin"] == 1


def test_a_wrong_hash_is_explained_and_not_kept(root, server):
    server.content["img_2.bin"] = b"<html>please log in</html>"
    expected = hashlib.sha256(CONTENT["img_2.bin"]).hexdigest()
    got = hashlib.sha256(server.content["img_2.bin"]).hexdigest()
    with pytest.raises(SRError, match=f"sha256 {got}, expected {expected}; the source changed or a proxy answered"):
        registry.fetch("Tiny", progress=False)
    assert stored(root) == {name: data for name, data in CONTENT.items() if name != "img_2.bin"}
    assert server.requests["img_2.bin"] == 1


def test_a_wrong_hash_does_not_replace_an_older_file(root, server):
    registry.fetch("Tiny", progress=False)
    (root / "Tiny" / "img_2.bin").write_bytes(b"another edition")
    server.content["img_2.bin"] = b"wrong too"
    with pytest.raises(SRError, match="1 of 6 files could not be fetched"):
        registry.fetch("Tiny", progress=False)
    assert (root / "Tiny" / "img_2.bin").read_bytes() == b"another edition"


def test_without_a_network_one_error_says_what_is_missing_and_how_to_get_it(root, server):
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
    assert stored(root) == {"img_3.bin": CONTENT["img_3.bin"]}


def test_one_server_that_is_down_does_not_stop_the_others(root, server):
    file = registry.FILE
    rows = pd.read_csv(file)
    rows.loc[5, "url"] = "http://127.0.0.1:1/img_6.bin"
    rows.to_csv(file, index=False)
    registry._read_table.cache_clear()
    with pytest.raises(SRError, match=r"1 of 6 files .* Tiny/img_6.bin \(ConnectionError"):
        registry.fetch("Tiny", progress=False, workers=1)
    assert len(stored(root)) == 5


OTHER_PROCESS = "from srlib.data import registry; registry.FILE = {file!r}; registry.fetch('Tiny', progress=False{options})"


def test_a_killed_fetch_leaves_no_half_file_and_the_next_one_goes_on(root, server):
    server.todo["img_3.bin"] = ["stall"]
    code = OTHER_PROCESS.format(file=str(registry.FILE), options=", workers=1")
    child = subprocess.Popen([sys.executable, "-c", code])
    assert server.stalled.wait(60)
    child.send_signal(signal.SIGKILL)
    child.wait()
    left = stored(root)
    assert left.pop("img_1.bin") == CONTENT["img_1.bin"] and left.pop("img_2.bin") == CONTENT["img_2.bin"]
    assert all(name.startswith(".") for name in left)
    registry.fetch("Tiny", progress=False)
    assert stored(root) == CONTENT
    assert server.requests["img_1.bin"] == 1


def test_two_processes_fetch_together(root, server):
    code = OTHER_PROCESS.format(file=str(registry.FILE), options="")
    children = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [child.wait() for child in children] == [0, 0]
    assert stored(root) == CONTENT
    assert set(server.requests.values()) == {1}


def test_a_full_disk_ends_the_fetch_and_leaves_nothing(root, monkeypatch):
    class Full:
        def __init__(self, **options):
            pass

        def __call__(self, url, output_file, pooch):
            output_file.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pooch.HTTPDownloader", Full)
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

    def refuse(*args):
        raise AssertionError("wrote into the folder of datasets")

    monkeypatch.setattr(registry, "locked", refuse)
    monkeypatch.setattr(registry, "atomic", refuse)
    assert len(registry.fetch("Tiny", progress=False)) == 6


def test_loaders_never_download(root, server):
    with pytest.raises(SRError) as caught:
        registry.paths("Tiny")
    assert str(caught.value) == (
        f"Tiny: 6 of 6 files are missing in {root}: Tiny/img_1.bin, Tiny/img_2.bin, Tiny/img_3.bin and 3 more. "
        "Run `make data` or `python -m srlib data Tiny`, or set SRLIB_DATA to a folder that has them"
    )
    assert not server.requests and not root.exists()


def test_loaders_refuse_a_damaged_file(root):
    registry.fetch("Tiny", progress=False)
    (root / "Tiny" / "img_2.bin").write_bytes(b"damaged")
    (root / "Tiny" / "img_4.bin").unlink()
    assert list(registry.verify("Tiny").status) == ["ok", "wrong hash", "ok", "missing", "ok", "ok"]
    (root / "Tiny" / "img_4.bin").write_bytes(b"damaged too")
    got, expected = (hashlib.sha256(data).hexdigest() for data in (b"damaged", CONTENT["img_2.bin"]))
    message = rf"img_2.bin has sha256 {got}, expected {expected} \(and 1 more files\).*data Tiny` replaces it"
    with pytest.raises(SRError, match=message):
        registry.paths("Tiny")


def test_a_remembered_hash_is_computed_again_before_a_file_is_refused(root, server):
    registry.fetch("Tiny", progress=False)
    registry.paths("Tiny")
    memory = files._memory_file((root / "Tiny").resolve())
    known = json.loads(memory.read_text())
    known["img_2.bin"][-1] = "0" * 64
    memory.write_text(json.dumps(known))
    assert len(registry.paths("Tiny")) == 6
    memory.write_text(json.dumps(known))
    server.requests.clear()
    assert len(registry.fetch("Tiny", progress=False)) == 6 and not server.requests


def test_a_file_restored_with_its_old_time_is_taken_again(root):
    registry.fetch("Tiny", progress=False)
    file = root / "Tiny" / "img_2.bin"
    stat = file.stat()
    for content in (CONTENT["img_2.bin"][:-1] + b"x", CONTENT["img_2.bin"]):
        file.write_bytes(content)
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        if content == CONTENT["img_2.bin"]:
            assert file in registry.paths("Tiny")
        else:
            with pytest.raises(SRError, match=r"img_2\.bin has sha256"):
                registry.paths("Tiny")


def test_verify_hashes_anew(root):
    registry.fetch("Tiny", progress=False)
    file = root / "Tiny" / "img_2.bin"
    stat = file.stat()
    file.write_bytes(CONTENT["img_2.bin"][:-1] + b"x")  # same size and time: only reading it tells
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert list(registry.verify("Tiny").status).count("wrong hash") == 1


def test_names_are_checked(root):
    with pytest.raises(SRError, match="unknown dataset 'tiny'. Did you mean 'Tiny'"):
        registry.fetch("tiny")
    with pytest.raises(SRError, match=r"DIV2K: not fetched.*DIV2K_train_HR.zip.*https://data.vision.ee.ethz.ch/cvl/DIV2K/"):
        registry.fetch("DIV2K")
    with pytest.raises(SRError, match="workers: got 0, expected a whole number of at least 1"):
        registry.fetch("Tiny", workers=0)


def test_a_damaged_registry_is_named(root):
    file = registry.FILE
    for content in ("dataset,file\nTiny,a\n", "", 'a,b\n"'):
        file.write_text(content)
        with pytest.raises(SRError, match=rf"cannot read {file} .*expected the columns dataset, split, file"):
            registry.datasets()


def test_the_projects_registry_is_sound():
    rows = registry.table()
    counts = {"Set5": 5, "Set14": 14, "B100": 100, "Urban100": 100, "T91": 91, "BSD400": 400}
    counts |= {"City100-nikon": 200, "City100-iphone": 200, "RealSR-NTIRE19": 32, "DIV2K-x4lr": 800, "official": 17}
    assert rows.groupby("dataset").size().to_dict() == counts
    assert registry.datasets() == list(counts)
    assert rows.file.is_unique and rows.url.is_unique
    train, test = (set(rows.sha256[rows.split == split]) for split in ("train", "test"))
    assert train and test and not train & test
    assert rows.sha256.str.fullmatch("[0-9a-f]{64}").all()
    assert rows.url.str.startswith("https://").all() and (rows.bytes > 0).all()
    assert (rows.file.str.split("/").str[0] == rows.dataset.str.split("-").str[0]).all()
    cities, weights = rows.dataset.str.startswith("City100"), rows.dataset == "official"
    assert rows[~cities & ~weights].groupby("dataset").split.nunique().eq(1).all()
    for name, scenes in rows[cities].groupby("dataset"):
        assert scenes.groupby("split").size().to_dict() == {"train": 190, "test": 10}, name
        expected = [f"{number:03d}{kind}" for number in range(1, 101) for kind in "HL"]
        assert sorted(scenes.file.map(lambda file: Path(file).stem)) == expected
    hr, lr = (rows.file[rows.file.str.startswith(f"RealSR/NTIRE19/{kind}/")].map(os.path.basename) for kind in ("HR", "LR"))
    assert len(hr) == 16 and list(hr) == list(lr)
    official = [f"DIV2K/DIV2K_train_LR_bicubic/X4/{number:04d}x4.png" for number in range(1, 801)]
    assert list(rows.file[rows.dataset == "DIV2K-x4lr"]) == official
    pinned = rows.url.str.match(r"https://raw\.githubusercontent\.com/[^/]+/[^/]+/[0-9a-f]{40}/")
    assert pinned[rows.url.str.contains("github")].all()


def test_a_split_is_named_behind_the_dataset():
    test, train = (registry.files(f"City100-nikon/{split}") for split in ("test", "train"))
    assert len(test) == 10 and len(train) == 190 and set(test.split) == {"test"}
    with pytest.raises(SRError, match="unknown dataset 'City100-nikon/val'.*Known: City100-nikon/test, City100-nikon/test20"):
        registry.files("City100-nikon/val")
    assert registry.splits("City100-iphone") == ["test", "train", "train13", "train80", "test20"]
    assert registry.splits("Set5") == ["test"]
    with pytest.raises(SRError, match="unknown dataset 'Set5/test20'.*Known: Set5/test"):
        registry.files("Set5/test20")


def scenes(dataset: str) -> list[int]:
    """The scenes of City100 in a split, each with its HR and its LR file."""
    files = registry.files(dataset).file.map(lambda file: Path(file).stem)
    hr, lr = (sorted(int(file[:3]) for file in files if file[3] == kind) for kind in "HL")
    assert hr == lr and len(files) == 2 * len(hr)
    return hr


@pytest.mark.parametrize("camera", registry.CITY100)
def test_the_splits_of_city100(camera):
    train13, train80, test20 = (scenes(f"{camera}/{split}") for split in ("train13", "train80", "test20"))
    official = scenes(f"{camera}/test")
    assert (train13, official) == (list(range(2, 15)), [1, 16, 48, 60, 98])
    assert len(train80) == 80 and len(test20) == 20 and sorted(train80 + test20) == list(range(1, 101))
    assert set(official) < set(test20) and not set(train13) & set(test20)
    draw = random.Random(0)
    others = sorted({*range(1, 101)} - {*official} - {*train13})
    assert test20 == sorted(official + sorted(others, key=lambda scene: draw.random())[:15])
    assert set(registry.files(f"{camera}/test20").dataset) == {camera}


def test_train13_is_what_the_released_networks_were_trained_on():
    rows = registry.files("City100-nikon/train13")
    hashes = {Path(file).stem: value for file, value in zip(rows.file, rows.sha256, strict=True)}
    lines = "".join(f"{scene:03d} {hashes[f'{scene:03d}H']} {hashes[f'{scene:03d}L']}\n" for scene in range(2, 15))
    pairs = f"{hashlib.sha256(lines.encode()).hexdigest()} 1 {hashlib.sha256(b'pairs').hexdigest()}"
    cards = [json.loads(card.read_text()) for card in (home() / "data" / "weights").glob("*/*.json")]
    made = [card["provenance"]["data"] for card in cards if card["experiment"]["data"].startswith("City100")]
    assert made and all(2 * one["images"] == len(registry.files(one["name"])) for one in made)
    thirteen = {one["fingerprint"] for one in made if one["name"] == "City100-nikon/train13"}
    assert thirteen == {hashlib.sha256(pairs.encode()).hexdigest()}


def test_one_split_is_fetched_into_the_folder_of_its_files(root, server):
    file = registry.FILE
    rows = pd.read_csv(file)
    rows["split"] = ["test", "train"] * 3
    rows["file"] = rows.file.str.replace("Tiny/", "Shared/tiny/")
    rows.to_csv(file, index=False)
    registry._read_table.cache_clear()
    got = registry.fetch("Tiny/test", progress=False)
    assert got == [root / "Shared" / "tiny" / f"img_{i}.bin" for i in (1, 3, 5)] == registry.paths("Tiny/test")
    assert sum(server.requests.values()) == 3 and [path.name for path in root.iterdir()] == ["Shared"]
    missing = r"Tiny/train: 3 of 3 files are missing in .*: Shared/tiny/img_2.bin, .*`python -m srlib data Tiny/train`"
    with pytest.raises(SRError, match=missing):
        registry.paths("Tiny/train")


def test_what_is_fetched_by_hand_is_named_exactly(root, server):
    file = registry.FILE
    rows = pd.read_csv(file)
    rows["dataset"] = ["DIV2K-x4lr"] * 3 + ["City100-nikon"] * 3
    rows["file"] = [f"DIV2K/X4/{i}.png" for i in (1, 2, 3)] + [f"City100/nikon/{i}H.PNG" for i in ("002", "016", "020")]
    rows.to_csv(file, index=False)
    registry._read_table.cache_clear()
    assert len(registry.fetch("DIV2K-x4lr", progress=False)) == 3
    with pytest.raises(SRError, match="DIV2K-val: not fetched, it comes as archives"):
        registry.fetch("DIV2K-val")
    for split, expected in (("train80", ["002", "020"]), ("test20", ["016"]), ("train13", ["002"])):
        got = registry.fetch(f"City100-nikon/{split}", progress=False)
        assert [path.name for path in got] == [f"{scene}H.PNG" for scene in expected]
    assert sum(server.requests.values()) == 6


@pytest.mark.parametrize("name", ["Set5", "Set14", "B100", "Urban100", "T91", "BSD400"])
def test_the_benchmark_images_are_those_of_the_registry(datasets, name):
    found = registry.paths(name)
    assert len(found) == len(registry.files(name))
    assert [path.stat().st_size for path in found] == list(registry.files(name).bytes)
