"""The site: the explorers as pages without a kernel, and the executed notebooks of a profile.

site/
    index.html          links to all of it
    <paper>.html        the paper's explorer, self-contained
    <paper>/*.html      one page per executed notebook
    <paper>/files/      the picture that the index shows
    summary/*.html      the summary of all claims
"""

import importlib.util
from dataclasses import dataclass, replace
from pathlib import Path

from srlib import papers
from srlib.core import paths
from srlib.core.errors import SRError
from srlib.core.files import atomic_write, replacing
from srlib.core.protocols import protocol
from srlib.data.sets import open_set
from srlib.draw import page
from srlib.papers import Paper
from srlib.papers.profiles import profile as find_profile
from srlib.reproduce import budgets, notebooks, report, store
from srlib.reproduce.gallery import copy


@dataclass(frozen=True)
class Explorer:
    """A page that was written; link: relative to index.html."""

    title: str
    intro: str
    link: str
    bytes: int


def _module(paper: Paper) -> str:
    return f"srlib.papers.{paper.name}.page"


def write_explorer(paper: Paper, profile: str, folder: Path) -> Explorer | None:
    """Write the explorer of a paper into a folder; None where the profile has no network that it shows."""
    module = importlib.import_module(_module(paper))
    names, setting = module.NETWORKS, paper.setting(profile)
    if like := getattr(module, "LIKE", None):
        names, _ = budgets.alike(paper, names, like, module.SCALE, setting)
    available = store.available(paper, names, module.SCALE, setting)
    if not available:
        return None
    images = replace(open_set(module.SET), crop=module.CROP)
    pictures = {}
    for name in module.PICTURES:
        i = images.names.index(name)
        pictures[name] = (images.lr(i, images[i], module.SCALE), images[i]) if images.paired else images[i]
    made = module.build({name: trained.model for name, trained in available.items()}, pictures)
    file = folder / f"{paper.name}.html"
    page.write(file, made, protocol(paper.protocol))
    return Explorer(made.title, made.intro, file.name, file.stat().st_size)


def _picture(paper: str, profile: str, folder: Path) -> dict | None:
    """Copy the figure that opens a paper's section, freshly made or committed; return it, None where there is none."""
    made = notebooks.figures_folder(profile, paper)
    figures = made if made.exists() else paths.home() / "figures" / profile / paper
    _, pictures = copy(figures, folder / paper / "files", report.LEAD.get(paper, ("figure_1",))[:1])
    return pictures[0] if pictures else None


def build(profile: str, folder: Path) -> tuple[list[Explorer], int]:
    """Write the site of a profile into a folder; return its explorers and the number of notebooks.

    An earlier site is replaced once the new one is complete. Raises SRError where there is neither a network nor an executed
    notebook, and for a folder that holds other files.
    """
    find_profile(profile)
    own = {"index.html", "summary", *(name for paper in papers.names() for name in (paper, f"{paper}.html"))}
    if folder.is_dir() and (others := sorted({entry.name for entry in folder.iterdir()} - own)):
        raise SRError(f"{folder} would be replaced, but holds other files ({others[0]}); choose a new folder")
    with replacing(folder) as fresh:
        return _write(profile, fresh)


def _write(profile: str, folder: Path) -> tuple[list[Explorer], int]:
    executed = paths.runs_dir() / "notebooks" / profile
    environment, sections, explorers = report.templates(), [], []
    for name in papers.names():
        paper = papers.get(name)
        has_page = importlib.util.find_spec(_module(paper)) is not None
        explorer = write_explorer(paper, profile, folder) if has_page else None
        explorers += [explorer] if explorer else []
        pages = report.notebook_pages(executed / name, folder / name, environment)
        about = {"name": name, "title": paper.title, "picture": _picture(name, profile, folder)}
        sections.append({**about, "has_page": has_page, "explorer": explorer, "pages": pages})
    summary = report.notebook_pages(executed, folder / "summary", environment)
    count = len(summary) + sum(len(section["pages"]) for section in sections)
    if not explorers and not count:
        raise SRError(f"profile {profile} has no networks and no executed notebooks; run make reproduce PROFILE={profile}")
    made = environment.get_template("site.html.j2").render(profile=profile, sections=sections, summary=summary, css="")
    atomic_write(folder / "index.html", made)
    return explorers, count
