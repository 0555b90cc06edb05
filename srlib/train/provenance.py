"""Provenance of results: commit, versions, hardware."""

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from srlib.core import paths
from srlib.core.errors import SRError

PACKAGES = ("torch", "accelerate", "numpy", "pandas", "pillow", "scikit-image", "safetensors")


def _git(*args: str) -> str | None:
    try:
        process = subprocess.run(["git", *args], cwd=paths.home(), capture_output=True, text=True, timeout=10, check=True)
    except (SRError, OSError, subprocess.SubprocessError):
        return None  # not a checkout, or no git: the provenance says null
    return process.stdout.strip()


def hardware() -> str:
    """Return the names of the processor and, where there is one, of the GPU."""
    cpuinfo = Path("/proc/cpuinfo")
    model = re.search(r"^model name\s*:\s*(.+)", cpuinfo.read_text() if cpuinfo.exists() else "", re.MULTILINE)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    name = f"{model[1].strip() if model else platform.machine()}, {cores} cores"
    return f"{torch.cuda.get_device_name()}, {name}" if torch.cuda.is_available() else name


def checkout() -> dict[str, Any]:
    """Return the `commit` of the repository and whether it is `dirty`, that is changed since; None for both without git."""
    changes = _git("status", "--porcelain", "--untracked-files=no")
    return {"commit": _git("rev-parse", "HEAD"), "dirty": None if changes is None else bool(changes)}


def joined(checkouts: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the `checkout` of a training in several calls: the last `commit`, whether any was `dirty` (None where that is not
    known), and the `earlier_commits`, if there are others."""
    commits = list(dict.fromkeys(made["commit"] for made in checkouts))
    states = {made["dirty"] for made in checkouts}
    last = checkouts[-1]["commit"]
    earlier = {"earlier_commits": [commit for commit in commits if commit != last]} if len(commits) > 1 else {}
    return {"commit": last, "dirty": True if True in states else None if None in states else False, **earlier}


def provenance(**extra: Any) -> dict[str, Any]:
    """Return where and with what a result was made; `extra` is added as it is."""
    return {
        **checkout(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "hardware": hardware(),
        "threads": torch.get_num_threads(),
        **extra,
    }
