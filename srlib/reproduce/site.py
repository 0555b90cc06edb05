"""The site: the explorers as pages without a kernel."""

import importlib
from dataclasses import replace
from pathlib import Path

from srlib import papers
from srlib.core.errors import SRError
from srlib.core.protocols import protocol
from srlib.data.sets import open_set
from srlib.draw import page
from srlib.reproduce import store


def write_explorer(paper: papers.Paper, profile: str, folder: Path) -> Path:
    """Write the explorer of a paper; return its file. Raises SRError where the profile has no network that it shows."""
    module = importlib.import_module(f"srlib.papers.{paper.name}.page")
    setting = paper.setting(profile)
    available = store.available(paper, module.NETWORKS, module.SCALE, setting)
    if not available:
        command = f"make reproduce PROFILE={profile} PAPER={paper.name}"
        raise SRError(f"{paper.name}: profile {profile} lacks networks that its explorer shows; run {command}")
    images = replace(open_set(module.SET), crop=module.CROP)
    pictures = {}
    for name in module.PICTURES:
        i = images.names.index(name)
        pictures[name] = (images.lr(i, images[i], module.SCALE), images[i]) if images.paired else images[i]
    file = folder / f"{paper.name}.html"
    page.write(file, module.build({name: one.model for name, one in available.items()}, pictures), protocol(paper.protocol))
    return file
