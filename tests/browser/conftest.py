"""A JupyterLab and a Voila on copies of the explorers, and a Chromium to look at them."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from scripts import ROOT, load

from srlib import papers
from srlib.core import paths
from srlib.reproduce import store

CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
HOW = "no Chromium found; install one to run the browser tests, e.g. apt-get install chromium"
explore = load("explore")
SHOTS = Path(os.environ.get("SRLIB_SCREENSHOTS", ROOT / "runs" / "screenshots"))


def pytest_collection_modifyitems(items):
    if CHROMIUM is None:
        for item in items:
            if Path(__file__).parent in Path(item.fspath).parents:
                item.add_marker(pytest.mark.skip(reason=HOW))


@pytest.fixture(scope="session")
def runs(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("runs")


# For each paper the scale of its explorer, and enough networks for every one of its sliders.
NETWORKS = {
    "btsrn": (2, ["btsrn_10+0", "btsrn_6+4", "btsrn_pixelcnn", "btsrn_pconv"]),
    "prosrn": (4, ["prosrn", "prosrn_2_4", "prosrgan"]),
    "difficulty_sr": (2, ["difficulty_sr"]),
    "d2c_sr": (1, ["d2c_a0.1", "d2c_a1"]),
    "ddet": (1, ["ddet"]),
}


@pytest.fixture
def trained(runs, monkeypatch):
    """A function that trains what a paper's explorer shows, for a few steps."""

    def train(name: str) -> None:
        monkeypatch.setenv("SRLIB_RUNS", str(runs))
        scale, methods = NETWORKS[name]
        for method in methods:
            store.load_or_train(papers.get(name), method, scale, papers.get(name).setting("smoke"), progress="none")

    return train


def _port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def _until_it_answers(url: str, process: subprocess.Popen, log: Path) -> None:
    for _ in range(240):
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}: {log.read_text()[-2000:]}")
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except OSError:
            time.sleep(0.25)
    raise RuntimeError(f"the server does not answer: {log.read_text()[-2000:]}")


@contextlib.contextmanager
def _served(call: list[str], port: int, answers: str, folder: Path, runs: Path):
    """Run a server of notebooks; yields its address."""
    log = folder / "log.txt"
    own = {"SRLIB_RUNS": str(runs), "SRLIB_HOME": str(paths.home().resolve()), "OMP_NUM_THREADS": "1"}
    own |= {"JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"), "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces")}
    with open(log, "w") as stream:
        process = subprocess.Popen(call, env={**os.environ, **own}, stdout=stream, stderr=stream, cwd=folder)
    try:
        _until_it_answers(f"http://127.0.0.1:{port}/{answers}", process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="session")
def lab(runs, tmp_path_factory):
    """The address of a JupyterLab whose notebooks are the explorers in the smoke profile."""
    folder, port = tmp_path_factory.mktemp("lab"), _port()
    explore.write(folder, "smoke")
    settings = folder / "settings" / "@jupyterlab" / "notebook-extension" / "tracker.jupyterlab-settings"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps({"windowingMode": "none"}))  # outputs that are scrolled away stay in the page
    call = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--port", str(port), "--ServerApp.port_retries=0"]
    call += ["--IdentityProvider.token=", "--ServerApp.password=", f"--ServerApp.root_dir={folder}"]
    call += ["--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    with _served(call, port, "api", folder, runs) as address:
        yield address


@pytest.fixture(scope="session")
def voila(runs, tmp_path_factory):
    """The address of `make explore` in the smoke profile."""
    folder, port = tmp_path_factory.mktemp("voila"), _port()
    call = [sys.executable, str(ROOT / "workflow" / "explore.py"), "--profile", "smoke"]
    with _served([*call, "--no-browser", "--port", str(port)], port, "", folder, runs) as address:
        yield address


@pytest.fixture(scope="session")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install srlib[test]")
    with playwright.sync_playwright() as run:
        opened = run.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport={"width": 1500, "height": 1100})
    page = context.new_page()
    yield page
    context.close()


@pytest.fixture
def shot(request):
    """Save a screenshot under the test's name, to be looked at."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    name = request.node.name.replace("[", "_").replace("]", "")
    return lambda page, what="": page.screenshot(path=SHOTS / f"{name}{what}.png")
