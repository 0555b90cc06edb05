"""Fixtures shared by all tests: a private cache, and the benchmark images where they are present."""

import os
import sys
from pathlib import Path

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")  # before torch: what is compared bit for bit is compared on a CPU

import matplotlib
import pytest
import torch

matplotlib.use("Agg")  # here and not by MPLBACKEND, as the kernels of notebooks have a backend of their own
SHARED = Path(__file__).resolve().parents[2] / "shared"
DATASETS, MATLAB = SHARED / "datasets", SHARED / "matlab"


@pytest.fixture(autouse=True)
def private_folders(tmp_path, monkeypatch):
    """No test reads or writes the user's cache, runs or figures, or takes itself for a notebook or one of several processes."""
    monkeypatch.setenv("SRLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SRLIB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("SRLIB_FIGURES", str(tmp_path / "figures"))
    for name in ("SRLIB_DATA", "SRLIB_HOME", "RANK", "JPY_SESSION_NAME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A repository of its own, so that no test writes into the real one."""
    (tmp_path / "home" / "notebooks").mkdir(parents=True)
    monkeypatch.setenv("SRLIB_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(autouse=True)
def one_seed():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")


@pytest.fixture
def one_thread():
    """Small tensors gain nothing from threads, and parallel tests lose by them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def forget_fits():
    """A function that forgets the small fits of probes; none of another test is there, and none is left to the next one."""
    from srlib.train import probe

    probe.small_fit.cache_clear()
    yield probe.small_fit.cache_clear
    probe.small_fit.cache_clear()


@pytest.fixture
def datasets(monkeypatch) -> Path:
    """The benchmark images, for tests that need them."""
    root = Path(os.environ.get("SRLIB_TEST_DATA") or DATASETS)
    if not (root / "Set5").is_dir():
        pytest.skip(f"needs the benchmark images: none at {root}; run `make data` and set SRLIB_TEST_DATA to the folder")
    monkeypatch.setenv("SRLIB_DATA", str(root))
    return root


@pytest.fixture
def weights(tmp_path, monkeypatch, datasets) -> Path:
    """A folder of datasets that has the official weights and the benchmark images."""
    folder = Path(os.environ.get("SRLIB_TEST_OFFICIAL") or datasets.parent / "official")
    if not (folder / "idn_x2.caffemodel").is_file():
        pytest.skip(f"needs official weights: none at {folder}; run `make data` and set SRLIB_TEST_OFFICIAL to data/official")
    root = tmp_path / "data"
    root.mkdir()
    for name in ("Set5", "Set14", "B100", "Urban100"):
        (root / name).symlink_to(datasets / name)
    (root / "official").symlink_to(folder)
    monkeypatch.setenv("SRLIB_DATA", str(root))
    return folder


@pytest.fixture
def matlab() -> Path:
    """Output of MATLAB's own `imresize`, for tests that need it."""
    root = Path(os.environ.get("SRLIB_TEST_MATLAB") or MATLAB)
    if not (root / "lena_512x512.png").is_file():
        pytest.skip(
            f"needs MATLAB's own output: no lena_512x512.png, lena_123x234_uint8.png and lena_123x234_double.png at {root}; "
            "resize the first by imresize(x, [123 234]) as uint8 and as double, and set SRLIB_TEST_MATLAB to the folder"
        )
    return root


def pytest_collection_modifyitems(items):
    """Start what takes longest first, so that no process is left alone with it at the end."""
    longest = ("test_smoke_is_killed_continues_and_is_then_complete", "test_slurm_makes_the_same_tables")
    items.sort(key=lambda item: item.name not in longest)


@pytest.fixture
def ok(capsys):
    """Run the command line, which has to succeed; returns what it printed."""
    from srlib.cli.main import main

    def call(*args) -> str:
        assert main([str(arg) for arg in args]) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    return call
