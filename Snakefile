# The matrix of notebooks: train -> ablate -> render and explore, the summary of all papers, the HTML report. Trainings that take
# seconds share one process per paper, and only the main method's train notebook is executed; its training is then there already.
# Of released weights, too, that notebook is the only one of its kind.
#
#     snakemake --profile workflow/laptop --config profile=quick paper=btsrn scale=2
#
# profile: smoke, quick, released or paper. paper, scale: which of them, separated by commas (default: all).
# threads: of each notebook. Relative paths are inside the runs folder, where Snakemake keeps its own notes too.
# The metrics are a job's output, deleted when it fails; the executed notebook is its log, which stays and shows the error.
# Run directories are not declared: they outlive a failed job, and a training goes on where it stopped.
# A job runs again when its inputs change, or the code that its notebook imports, be it through other modules (comments do not
# count), or what is fetched, in profiles that use it.

import os
import shlex
import sys
from pathlib import Path

from srlib.reproduce import notebooks, sources
from srlib import papers
from srlib.core import paths
from srlib.core.errors import SRError, unknown
from srlib.papers.profiles import profile as find_profile

paths.make_absolute()  # each notebook works in a folder of its own


def chosen(name, known):
    """The values of a configuration entry: all that are known, or those given."""
    given = str(config.get(name) or "").replace(",", " ").split()
    for value in given:
        if value not in map(str, known):
            raise unknown(name, value, map(str, known))
    return [value for value in known if not given or str(value) in given]


def scales(paper):
    """The scales that are asked for, of those that the paper and the profile have.

    In brief profiles the default is the first one, or all where one network serves them.
    """
    known = [scale for scale in papers.get(paper).scales_of(SETUP) if scale in SCALES]
    first_look = SETUP.brief and not config.get("scale") and not papers.get(paper).method(paper).trained_at
    return known[:1] if first_look else known


def metrics(paper, *names):
    return [f"metrics/{PROFILE}/{paper}/{name}.csv" for name in names]


def before(wildcards):
    """What a train notebook waits for: all trainings of its paper, its weights, or the training that it starts from."""
    if SETUP.brief:
        return metrics(wildcards.paper, "trainings")
    if not SETUP.train:
        return weights(wildcards)
    paper, scale = papers.get(wildcards.paper), wildcards.scale
    first = paper.method(wildcards.method).start.values()
    return metrics(wildcards.paper, *(f"train_{name}_x{paper.method(name).trained_at or scale}" for name in first))


def trained(wildcards):
    """The metrics of a paper's trainings; none where the profile loads released weights."""
    if SETUP.brief:
        return metrics(wildcards.paper, "trainings")
    pairs = notebooks.trainings(papers.get(wildcards.paper), SETUP, scales(wildcards.paper))
    return metrics(wildcards.paper, *(f"train_{method}_x{scale}" for method, scale in pairs))


def weights(wildcards):
    """The cards of all released weights of a paper's methods, of any scale and seed, where the profile loads such.

    A release writes both; of some networks only the card is released.
    """
    paper = papers.get(wildcards.paper)
    names = [name for name, method in {**paper.methods, **paper.ablations}.items() if method.loaded(SETUP)]
    folders = {HOME / "data" / "weights" / owner for owner in (paper.name, *paper.borrows.values())}
    return sorted(str(file) for name in names for folder in folders for file in folder.glob(f"{name}_x[0-9]*.json"))


def needs_trained_components(wildcards):
    """The trainings that the ablations wait for: all, where they look at parts of trained networks."""
    return trained(wildcards) if papers.get(wildcards.paper).parts else []


def all_metrics(wildcards):
    """The metrics of all notebooks of the papers asked for; the summary also reads those that others have from earlier."""
    names = {paper: notebooks.metrics_names(papers.get(paper), SETUP, scales(paper)) for paper in PAPERS}
    files = [file for paper in PAPERS for file in metrics(paper, *names[paper], *notebooks.COSTS)]
    explored = PAPERS if PROFILE != "quick" else []  # nobody waits for explorers in a first look
    return files + [f"metrics/{PROFILE}/{paper}/explore.done" for paper in explored]


def published(wildcards):
    """The printed numbers and claims of a paper, or of all where it is not said."""
    names = [wildcards.paper] if hasattr(wildcards, "paper") else PAPERS
    return [str(papers.folder(name) / file) for name in names for file in ("published.csv", "claims.csv")]


def code(name):
    """The digest of the code that a notebook or script uses: a parameter of its job, which runs again when it changes."""
    return lambda wildcards: sources.digest(HOME / name.format(**dict(wildcards.items())), HOME)


try:
    HOME = paths.home().resolve()
    PROFILE = str(config.get("profile") or "quick")
    SETUP = find_profile(PROFILE)
    SCALES = chosen("scale", sorted({s for paper in papers.names() for s in papers.get(paper).scales_of(SETUP)}))
    PAPERS = [paper for paper in chosen("paper", papers.names()) if scales(paper)]
    if not PAPERS:
        raise SRError(f"no paper that was asked for has the scale {SCALES[0]}")
except SRError as error:
    sys.exit(f"error: {error}")

os.environ["SRLIB_HOME"] = str(HOME)
TEMPLATES = sorted(str(file) for file in (HOME / "srlib" / "reproduce" / "templates").rglob("*.*"))
RELEASED = HOME / "figures" / "released"  # whose pictures and tables a report shows beside its own
BESIDE = [] if PROFILE == "released" else sorted(str(file) for name in PAPERS for file in (RELEASED / name).glob("*.*"))
FETCHED = "" if SETUP.brief else " ".join(paths.fetched())  # of a paper's jobs, which show what is there
THREADS = int(config.get("threads") or 1)
HOUR = 3600  # the longest that one cell may take
TIMEOUT = {"smoke": HOUR // 2, "quick": HOUR, "released": 12 * HOUR}.get(PROFILE, 21 * 24 * HOUR)
PYTHON = shlex.quote(sys.executable)
JOB = f"{PYTHON} {shlex.quote(str(HOME / 'workflow' / 'job.py'))} {{log.text}} {PYTHON} -m "
PAPERMILL = (
    f"{JOB} papermill -k python3 --no-progress-bar --log-output "
    f"--start-timeout 120 --execution-timeout {TIMEOUT} "
    "{input.notebook:q} {log.notebook} -p profile {wildcards.profile} "
)


workdir: str(paths.runs_dir())


wildcard_constraints:
    profile=PROFILE,
    paper="|".join(PAPERS),
    scale="[0-9]+",


localrules:
    all,
    report,


rule all:
    input:
        all_metrics,  # else one that was deleted would stay so, as the report is newer than its inputs
        f"report/{PROFILE}/index.html",


rule trainings:
    output:
        "metrics/{profile}/{paper}/trainings.csv",
    log:
        text="notebooks/{profile}/{paper}/trainings.log",
    params:
        code=code("srlib/reproduce/trainings.py"),
        scales=lambda wildcards: scales(wildcards.paper),
    threads: THREADS
    priority: 2  # most others wait for it
    shell:
        JOB + "srlib.reproduce.trainings {wildcards.profile} {wildcards.paper} {params.scales}"


rule train:
    input:
        notebook=f"{HOME}/notebooks/{{paper}}/train.ipynb",
        before=before,
    output:
        "metrics/{profile}/{paper}/train_{method}_x{scale}.csv",
    log:
        notebook="notebooks/{profile}/{paper}/train_{method}_x{scale}.ipynb",
        text="notebooks/{profile}/{paper}/train_{method}_x{scale}.log",
    params:
        code=code("notebooks/{paper}/train.ipynb"),
        fetched=FETCHED,
    threads: THREADS
    shell:
        PAPERMILL + "-p method {wildcards.method} -p scale {wildcards.scale}"


rule ablate:
    input:
        needs_trained_components,
        weights,
        notebook=f"{HOME}/notebooks/{{paper}}/ablate.ipynb",
        published=published,
    output:
        "metrics/{profile}/{paper}/ablate.csv",
        "metrics/{profile}/{paper}/ablate_costs.csv",
    log:
        notebook="notebooks/{profile}/{paper}/ablate.ipynb",
        text="notebooks/{profile}/{paper}/ablate.log",
    params:
        code=code("notebooks/{paper}/ablate.ipynb"),
        fetched=FETCHED,
        scale=lambda wildcards: min(scales(wildcards.paper)),
    threads: THREADS
    priority: 1  # a long job: started early
    shell:
        PAPERMILL + "-p scale {params.scale}"


rule render:
    input:
        trained,
        weights,
        "metrics/{profile}/{paper}/ablate.csv",
        notebook=f"{HOME}/notebooks/{{paper}}/render.ipynb",
        published=published,
    output:
        "metrics/{profile}/{paper}/render.csv",
        "metrics/{profile}/{paper}/render_costs.csv",
    log:
        notebook="notebooks/{profile}/{paper}/render.ipynb",
        text="notebooks/{profile}/{paper}/render.log",
    params:
        code=code("notebooks/{paper}/render.ipynb"),
        fetched=FETCHED,
        scales=lambda wildcards: f"scales: {scales(wildcards.paper)}",
    threads: THREADS
    shell:
        PAPERMILL + "-y {params.scales:q}"


rule explore:
    input:
        trained,
        weights,
        "metrics/{profile}/{paper}/ablate.csv",
        notebook=f"{HOME}/notebooks/{{paper}}/explore.ipynb",
    output:
        touch("metrics/{profile}/{paper}/explore.done"),  # it has no numbers of its own
    log:
        notebook="notebooks/{profile}/{paper}/explore.ipynb",
        text="notebooks/{profile}/{paper}/explore.log",
    params:
        code=code("notebooks/{paper}/explore.ipynb"),
        fetched=FETCHED,
        scale=lambda wildcards: min(scales(wildcards.paper)),
    threads: THREADS
    shell:
        PAPERMILL + "-p scale {params.scale}"


rule summary:
    input:
        all_metrics,
        notebook=f"{HOME}/notebooks/summary.ipynb",
        published=published,
    output:
        "metrics/{profile}/summary.csv",
    log:
        notebook="notebooks/{profile}/summary.ipynb",
        text="notebooks/{profile}/summary.log",
    params:
        code=code("notebooks/summary.ipynb"),
    threads: THREADS
    shell:
        PAPERMILL


rule report:
    input:
        "metrics/{profile}/summary.csv",
        templates=TEMPLATES,
        beside=BESIDE,
    output:
        "report/{profile}/index.html",
    log:
        "notebooks/{profile}/report.log",
    params:
        code=code("srlib/reproduce/report.py"),
    shell:
        "{PYTHON} -m srlib.reproduce.report {wildcards.profile} > {log} 2>&1"
