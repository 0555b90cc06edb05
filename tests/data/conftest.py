"""A dataset, `Tiny`, whose registry points to a local HTTP server with scriptable failures; images to write and read."""

import hashlib
import struct
import threading
import zlib
from collections import Counter, defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from srlib.data import registry
from srlib.data.images import write_image


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
def root(tmp_path, monkeypatch, server, content, home) -> Path:
    """The data folder; the registry has one dataset, `Tiny`, served locally."""
    rows = [
        ("Tiny", "test", f"Tiny/{name}", hashlib.sha256(data).hexdigest(), len(data), f"{server.url}/{name}")
        for name, data in content.items()
    ]
    pd.DataFrame(rows, columns=registry.COLUMNS).to_csv(tmp_path / "registry.csv", index=False)
    monkeypatch.setattr(registry, "FILE", tmp_path / "registry.csv")
    monkeypatch.setenv("SRLIB_DATA", str(tmp_path / "datasets"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(registry, "BACKOFF", 0.01)
    return tmp_path / "datasets"


@pytest.fixture
def div2k(tmp_path, monkeypatch) -> Path:
    """DIV2K's 100 validation images in their official folders, tiny: HR n, LR x2 100 + n."""
    monkeypatch.setenv("SRLIB_DATA", str(tmp_path))
    for number in range(801, 901):
        write_image(tmp_path / "DIV2K" / "DIV2K_valid_HR" / f"{number:04d}.png", np.full((4, 6, 3), number - 800, np.uint8))
        lr = np.full((2, 3, 3), number - 700, np.uint8)
        write_image(tmp_path / "DIV2K" / "DIV2K_valid_LR_bicubic" / "X2" / f"{number:04d}x2.png", lr)
    return tmp_path / "DIV2K"


@pytest.fixture
def rgb() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (9, 13, 3), dtype=np.uint8)


@pytest.fixture
def png():
    """A writer of PNG files that Pillow cannot write."""

    def write(path, values, bits=16, transparent=None):
        """Write a PNG of (H, W, C) of 16 bits, or of (1, 2, 1) of 4 bits, with a transparent colour; Pillow cannot."""
        height, width, channels = values.shape

        def chunk(kind, data):
            return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

        header = struct.pack(">IIBBBBB", width, height, bits, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
        rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
        if bits == 4:
            rows = bytes([0, int(values[0, 0, 0] << 4 | values[0, 1, 0])])
        key = b"" if transparent is None else chunk(b"tRNS", np.array(transparent, ">u2").tobytes())
        body = chunk(b"IHDR", header) + key + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)

    return write
