"""A dataset, `Tiny`, whose registry points to a local HTTP server with scriptable failures."""

import hashlib
import threading
from collections import Counter, defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest

from srlib.data import registry


class Server(ThreadingHTTPServer):
    """Serve `content`; `failures[name]` lists an HTTP status or failure for each of the next requests for a file."""

    daemon_threads = True

    def __init__(self, content: dict[str, bytes]):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = dict(content)
        self.failures = defaultdict(list)
        self.requests = Counter()
        self.stalled = threading.Event()
        self.barrier = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.strip("/")
        self.server.requests[name] += 1
        if self.server.barrier is not None:
            self.server.barrier.wait()
        failure = self.server.failures[name].pop(0) if self.server.failures[name] else None
        if isinstance(failure, int):
            self.send_error(failure)
        elif failure != "close":
            data = self.server.content[name]
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            if failure == "stall":
                self.server.stalled.set()
                threading.Event().wait(20)
            elif failure is None:
                self.wfile.write(data[len(data) // 2 :])
        self.close_connection = True

    def log_message(self, *args):
        pass


@pytest.fixture
def content() -> dict[str, bytes]:
    return {f"img_{i}.bin": bytes([i]) * (1000 + i) for i in range(1, 7)}


@pytest.fixture
def server(content):
    with Server(content) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def root(tmp_path, monkeypatch, server, content) -> Path:
    """The data folder; the registry has one dataset, `Tiny`, served locally."""
    home = tmp_path / "home"
    (home / "notebooks").mkdir(parents=True)
    rows = [
        ("Tiny", "test", f"Tiny/{name}", hashlib.sha256(data).hexdigest(), len(data), f"{server.url}/{name}")
        for name, data in content.items()
    ]
    pd.DataFrame(rows, columns=registry.COLUMNS).to_csv(tmp_path / "registry.csv", index=False)
    monkeypatch.setattr(registry, "FILE", tmp_path / "registry.csv")
    monkeypatch.setenv("SRLIB_HOME", str(home))
    monkeypatch.setenv("SRLIB_DATA", str(tmp_path / "datasets"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(registry, "BACKOFF", 0.01)
    return tmp_path / "datasets"
