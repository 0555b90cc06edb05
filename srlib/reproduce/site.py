"""The site: the explorers as pages without a kernel."""

import importlib
from pathlib import Path

from srlib import papers
from srlib.core.errors import SRError
from srlib.core.protocols import protocol
from srlib.data.sets import open_set
from srlib.draw import page
from srlib.reproduce import store

PICTURES = "embedded-test"


def write_explorer(paper: papers.Paper, profile: str, folder: Path) -> Path:
    """Write the explorer of a paper; return its file. Raises SRError where the profile has no network that it shows."""
    module = importlib.import_module(f"srlib.papers.{paper.name}.page")
    setting = paper.setting(profile)
    networks = {name: one.model for name, one in store.available(paper, module.NETWORKS, module.SCALE, setting).items()}
    if not networks:
        raise SRError(f"{paper.name}: profile {profile} has no network for its explorer; run make reproduce PROFILE={profile}")
    pictures = {name: image for name, image in open_set(PICTURES) if name in module.PICTURES}
    file = folder / f"{paper.name}.html"
    page.write(file, module.build(networks, pictures), protocol(paper.protocol))
    return file
