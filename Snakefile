# The matrix of notebooks: train -> ablate -> render and explore, the summary of all papers, the HTML report.
#
#     snakemake --profile workflow/laptop --config profile=quick paper=btsrn scale=2
#
# profile: smoke, quick, released or paper. paper, scale: which of them, separated by commas (default: all).
# threads: of each notebook. Relative paths are inside the runs folder, where Snakemake keeps its own notes too.
# The metrics are a job's output, deleted when it fails; the executed notebook is its log, which stays and shows the error.
# Run directories are not declared: they outlive a failed job, and a training goes on where it stopped.

import os
import shlex
import sys
from pathlib import Path

from srlib import papers, paths
from srlib.errors import SRError, unknown
from srlib.experiments import profile as find_profile

paths.make_absolute()  # each notebook works in a folder of its own


def chosen(name, known):
    """The values of a configuration entry: all that are known, or those given."""
    given = str(config.get(name) or "").replace(",", " ").split()
    for value in given:
        if value not in map(str, known):
            raise unknown(name, value, map(str, known))
    return [value for value in known if not given or str(value) in given]


def scales(paper):
    """The scales that are asked for, of those that the paper and the profile have."""
    return [scale for scale in papers.get(paper).scales_of(SETUP) if scale in SCALES]


def training(paper, method, scale):
    """The training that a method has at a scale: its own, or the only one that serves all."""
    return method, papers.get(paper).method(method).trained_at or scale


def trainings(paper):
    """The (method, scale) of a paper's main tables: what the profile trains, or all that is released or fitted."""
    found = papers.get(paper)
    methods = [name for name in (found.compared if SETUP.train else found.methods) if found.method(name).trained]
    pairs = [training(paper, m, s) for m in methods for s in scales(paper) if found.has(m, s)]
    return [(m, s) for m, s in dict.fromkeys(pairs) if not found.method(m).loaded(SETUP) or Path(released(m, s)).exists()]


def before(wildcards):
    """What a training waits for: the released weights, or the training of the network that it starts from."""
    method = papers.get(wildcards.paper).method(wildcards.method)
    if method.loaded(SETUP):
        return [released(wildcards.method, wildcards.scale)]
    first = [training(wildcards.paper, name, wildcards.scale) for name in method.start.values()]
    return [f"metrics/{PROFILE}/{wildcards.paper}/train_{name}_x{scale}.csv" for name, scale in first]


def released(method, scale):
    return f"{HOME}/data/weights/{method}_x{scale}.safetensors"


def trained(wildcards):
    return [f"metrics/{PROFILE}/{wildcards.paper}/train_{m}_x{s}.csv" for m, s in trainings(wildcards.paper)]


def taken_apart(wildcards):
    """The trainings that the ablations wait for: all, where they look at parts of trained networks."""
    return trained(wildcards) if papers.get(wildcards.paper).parts else []


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
PUBLISHED = sorted(str(file) for file in (HOME / "data" / "published").glob("*.csv"))
SOURCE = sorted(str(file) for file in (HOME / "srlib").rglob("*.py") if file.stem not in ("__main__", "report"))
REPORT = [str(HOME / "srlib" / "report.py"), *sorted(str(file) for file in (HOME / "srlib" / "templates").iterdir())]
THREADS = int(config.get("threads") or 1)
HOUR = 3600  # the longest that one cell may take
TIMEOUT = {"smoke": HOUR // 2, "quick": HOUR, "released": 12 * HOUR}.get(PROFILE, 21 * 24 * HOUR)
PYTHON = shlex.quote(sys.executable)
PAPERMILL = (
    f"{PYTHON} {shlex.quote(str(HOME / 'workflow' / 'job.py'))} {{log.text}} {{log.notebook}} "
    f"{PYTHON} -m papermill -k python3 --no-progress-bar --log-output "
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
        f"report/{PROFILE}/index.html",


rule train:
    input:
        notebook=f"{HOME}/notebooks/{{paper}}/train.ipynb",
        source=SOURCE,
        before=before,
    output:
        "metrics/{profile}/{paper}/train_{method}_x{scale}.csv",
    log:
        notebook="notebooks/{profile}/{paper}/train_{method}_x{scale}.ipynb",
        text="notebooks/{profile}/{paper}/train_{method}_x{scale}.log",
    threads: THREADS
    shell:
        PAPERMILL + "-p method {wildcards.method} -p scale {wildcards.scale}"


rule ablate:
    input:
        taken_apart,
        notebook=f"{HOME}/notebooks/{{paper}}/ablate.ipynb",
        source=SOURCE,
        published=PUBLISHED,
    output:
        "metrics/{profile}/{paper}/ablate.csv",
        "metrics/{profile}/{paper}/ablate_costs.csv",
    log:
        notebook="notebooks/{profile}/{paper}/ablate.ipynb",
        text="notebooks/{profile}/{paper}/ablate.log",
    params:
        scale=lambda wildcards: min(scales(wildcards.paper)),
    threads: THREADS
    priority: 1  # the longest job: started first
    shell:
        PAPERMILL + "-p scale {params.scale}"


rule render:
    input:
        trained,
        "metrics/{profile}/{paper}/ablate.csv",
        notebook=f"{HOME}/notebooks/{{paper}}/render.ipynb",
        source=SOURCE,
        published=PUBLISHED,
    output:
        "metrics/{profile}/{paper}/render.csv",
        "metrics/{profile}/{paper}/render_costs.csv",
    log:
        notebook="notebooks/{profile}/{paper}/render.ipynb",
        text="notebooks/{profile}/{paper}/render.log",
    params:
        scales=lambda wildcards: f"scales: {scales(wildcards.paper)}",
    threads: THREADS
    shell:
        PAPERMILL + "-y {params.scales:q}"


rule explore:
    input:
        trained,
        "metrics/{profile}/{paper}/ablate.csv",
        notebook=f"{HOME}/notebooks/{{paper}}/explore.ipynb",
        source=SOURCE,
    output:
        touch("metrics/{profile}/{paper}/explore.done"),  # it has no numbers of its own
    log:
        notebook="notebooks/{profile}/{paper}/explore.ipynb",
        text="notebooks/{profile}/{paper}/explore.log",
    params:
        scale=lambda wildcards: min(scales(wildcards.paper)),
    threads: THREADS
    shell:
        PAPERMILL + "-p scale {params.scale}"


rule summary:
    input:
        expand("metrics/{{profile}}/{paper}/{name}", paper=PAPERS, name=("ablate.csv", "render.csv", "explore.done")),
        notebook=f"{HOME}/notebooks/summary.ipynb",
        source=SOURCE,
        published=PUBLISHED,
    output:
        "metrics/{profile}/summary.csv",
    log:
        notebook="notebooks/{profile}/summary.ipynb",
        text="notebooks/{profile}/summary.log",
    threads: THREADS
    shell:
        PAPERMILL


rule report:
    input:
        "metrics/{profile}/summary.csv",
        source=REPORT,
    output:
        "report/{profile}/index.html",
    log:
        "notebooks/{profile}/report.log",
    shell:
        "{PYTHON} -m srlib.report {wildcards.profile} > {log} 2>&1"
