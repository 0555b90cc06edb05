"""The checks that every notebook starts with, and the notebooks as files."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

from srlib import papers
from srlib.core.errors import SRError
from srlib.papers.profiles import profile as find_profile
from srlib.reproduce import notebooks, report, trainings

FOLDER = Path(__file__).parents[1] / "notebooks"
FILES = sorted(FOLDER.rglob("*.ipynb"))
CHECK = "notebooks.check(globals(), ...)"
BTSRN = papers.get("btsrn")


def namespace(*cells: str, **values) -> dict:
    return {"In": ["", *cells, CHECK], **values}


def train(*cells: str, **values) -> None:
    """Check BTSRN's train notebook, with right values but those given."""
    notebooks.check(namespace(*cells, **{"profile": "quick", "method": "btsrn", "scale": 2, "seed": 0} | values), "train", BTSRN)


def render(**values) -> None:
    notebooks.check(namespace(**{"profile": "quick", "scales": [], "tests": []} | values), "render", BTSRN)


def test_right_parameters_pass():
    train('profile = "quick"\nscale = 2\nseed = 0')
    render(scales=[2, 4], tests=["embedded"])
    render(scales=(2,), tests=("embedded", "embedded-test"))
    d2c = papers.get("d2c_sr")
    assert notebooks.check(namespace(profile="smoke", scale=1), "ablate", d2c) == d2c.setting("smoke", 1)
    assert notebooks.check(namespace(profile="quick"), "summary") == find_profile("quick")


@pytest.mark.parametrize(
    "cells",
    [
        ["scale = 2", "scal = 4"],
        ["scale = 2", CHECK, "rows = score()", 'profile = "quick"\nscal = 4'],  # the cell of parameters, changed and run again
        ["scale = 2", CHECK, "rows = score()", "scal = 4"],  # a cell of its own before the check
        ["scale = 2", CHECK, 'profile = "quick"\nscal: int = 4', "fig = draw()"],
        ["scale = 2", CHECK, "fig = draw()", 'profile = "quick"', "scal = 4"],
    ],
)
def test_a_misspelt_parameter_is_refused_also_when_the_check_is_run_again(cells):
    with pytest.raises(SRError, match=r"unknown parameter 'scal'. Did you mean 'scale'\?"):
        train(*cells, scal=4)


@pytest.mark.parametrize(
    "cells",
    [
        ["scale = 2", CHECK],  # only the check once more
        ["scale = 2", CHECK, "rows = [1]", "fig = draw(rows)"],  # cells of the notebook, or of its reader
        ["scale = 2", CHECK, "rows = [1]", "fig = draw(rows)", "scale = 2"],
        ["scale = 2", CHECK, "scale = 2", "%matplotlib inline", "import srlib"],
        ["scal = 2", CHECK, "scale = 2"],  # put right
    ],
)
def test_names_of_other_cells_are_no_parameters(cells):
    train(*cells, rows=[1], scal=2)


def test_everything_wrong_is_said_at_once():
    with pytest.raises(SRError) as error:
        train("scal = 2", profile="quik", method="vdrs", scale="2", seed=1.5)
    parts = ["unknown parameter 'scal'", "Did you mean 'quick'?", "Did you mean 'vdsr'?", "scale (='2') must be one of 2, 3, 4"]
    assert all(part in str(error.value) for part in [*parts, "seed (=1.5) must be a whole number from 0 to 2**32 - 1"])
    with pytest.raises(SRError) as error:
        render(scales=[2, 2, 7], tests=["embedded", "embedded", "embeded", 3])
    parts = ["scales (=[2, 2, 7]) names 2 twice", "scales (=7) must be one of 2, 3, 4", "names 'embedded' twice"]
    assert all(part in str(error.value) for part in [*parts, "unknown dataset 'embeded'", "tests (=3)"])
    with pytest.raises(SRError, match="parameter 'profile' is missing"):
        notebooks.check(namespace(), "summary")


@pytest.mark.parametrize(
    ("check", "name", "values", "message"),
    [
        (train, "scale", [True, 2.0, 5, None, [], [2, 7], "2", [2], (2,)], r"scale \(=.*\) must be one of 2, 3, 4"),
        (train, "seed", [True, -1, 2**32, 0.0, "0", None], "seed"),
        (render, "scales", [2, None, "2", {2: 3}], r"scales \(=.*\) must be a list, e.g. \[2\]"),
        (render, "tests", [2, None, "2", {2: 3}], r"tests \(=.*\) must be a list, e.g. \['Set5'\]"),
        (render, "scales", [[2, 7], ["2"], [2.0], [[2]], [None]], "must be one of 2, 3, 4"),
    ],
)
def test_wrong_values_are_refused(check, name, values, message):
    for value in values:
        with pytest.raises(SRError, match=message):
            check(**{name: value})


def test_scales_that_the_profile_lacks_are_refused():
    def prosrn(**values) -> None:
        notebooks.check(namespace(**values, seed=0), "train", papers.get("prosrn"))

    for check, values, message in (
        (render, {"profile": "smoke", "scales": [2, 4]}, "scale x4: profile smoke has x2 of btsrn"),
        (train, {"profile": "smoke", "scale": 3}, "scale x3: profile smoke has x2 of btsrn"),
        (prosrn, {"profile": "smoke", "method": "prosrgan", "scale": 4}, "scale x4: profile smoke has no scale of prosrgan"),
        (prosrn, {"profile": "quick", "method": "srgan", "scale": 2}, "scale x2: profile quick has x4 of srgan"),
    ):
        with pytest.raises(SRError, match=message):
            check(**values)
    prosrn(profile="smoke", method="prosrn_2_4_8", scale=8)  # where it is trained


def test_sets_of_the_profile_that_are_missing_are_named_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setenv("SRLIB_DATA", str(tmp_path))
    for kind, values in {"train": {"method": "btsrn", "seed": 0}, "ablate": {}}.items():
        with pytest.raises(SRError, match="python -m srlib data Set"):
            notebooks.check(namespace(profile="released", scale=2, **values), kind, BTSRN)
    with pytest.raises(SRError, match="Urban100.*python -m srlib data Urban100"):
        render(profile="released")
    render(profile="released", tests=["embedded-test"])  # then those of the profile are not needed


def test_explorers_show_the_embedded_photographs_where_a_set_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SRLIB_DATA", str(tmp_path))
    setting = notebooks.check(namespace(profile="released", scale=2), "explore", BTSRN)
    assert notebooks.first_set(setting).name == "embedded-test"
    assert "python -m srlib data Set5" in capsys.readouterr().out
    assert notebooks.first_set(papers.get("d2c_sr").setting("released", 1)).name == "embedded-camera-test"
    assert notebooks.first_set(BTSRN.setting("quick")).name == "embedded-test" and not capsys.readouterr().out.count("Set5")


# --- The same through each notebook's own cells --------------------------------------------------------------------------


def checked(file: Path, **given) -> dict:
    """Run a notebook up to its check, with parameters as papermill sets them; return its names."""
    notebook = parameterize_notebook(load_notebook_node(str(file)), given)
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    cells = cells[: next(i for i, source in enumerate(cells) if "notebooks.check(" in source) + 1]
    space = {"In": [""]}
    for source in cells:
        space["In"].append(source)
        exec(source, space)
    return space


SINGLE, SEVERAL, TESTED = (
    [file for file in FILES if re.search(rf'"{name} = [^"]+  # ', file.read_text())] for name in ("scale", "scales", "tests")
)


def name_of(file: Path) -> str:
    return f"{file.parent.name}/{file.stem}"


def lacking(file: Path) -> tuple[str, int]:
    """Return a profile and a scale of the paper that it lacks, or one that no paper has."""
    paper = papers.get(file.parent.name)
    found = ((p, s) for p in ("smoke", "paper") for s in paper.scales if s not in paper.scales_of(find_profile(p)))
    return next(found, ("smoke", 5))


def refuses(file: Path, message: str, **given) -> None:
    with pytest.raises(SRError, match=message):
        checked(file, **given)


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_each_notebook_takes_its_own_values_and_refuses_others(file, tmp_path):
    space = checked(file)
    default = "released" if file.stem == "explore" else "quick"
    assert space["profile"] == default
    if file.parent != FOLDER:
        assert space["setting"].name == default
    refuses(file, "Did you mean 'quick'", profile="quik")
    refuses(file, "unknown parameter 'profil'", profil="quick")
    if file in SINGLE + SEVERAL:
        name, made = ("scale", int) if file in SINGLE else ("scales", lambda scale: [scale])
        profile, scale = lacking(file)
        refuses(file, rf"scales? (x|\(=\[?){scale}", profile=profile, **{name: made(scale)})
        refuses(file, r"scales? (x|\(=\[?)7", **{name: made(7)})
        refuses(file, r"scales? (x|\(=\[?)'2'", **{name: "2"})
    if file in SEVERAL:
        scale = papers.get(file.parent.name).scales_of(find_profile("quick"))[0]
        refuses(file, f"names {scale} twice", scales=[scale, scale])
    if file.stem == "train":
        refuses(file, "unknown method 'bicubic'", method="bicubic")
        refuses(file, "method", method=3)
        refuses(file, "seed", seed=-1)


@pytest.mark.parametrize("file", TESTED, ids=name_of)
def test_each_notebook_refuses_sets_that_cannot_be_scored(file, tmp_path):
    paired = papers.get(file.parent.name).setting("quick").scales == (1,)
    good = "embedded-camera-test" if paired else "embedded"
    assert list(checked(file, tests=[good])["tests"]) in ([good], [1])  # D2C-SR has them by scale
    bad = {"Set55": "unknown dataset 'Set55'", f"folder:{tmp_path / 'none'}": "does not exist", 5: "names of sets"}
    bad |= {"embedded": "take a set of pairs"} if paired else {}
    for name, message in bad.items():
        refuses(file, re.escape(message), tests=[name])
    refuses(file, "must be a list", tests=good)
    refuses(file, f"names '{good}' twice", tests=[good, good])
    cells = [cell for cell in json.loads(file.read_text())["cells"] if cell["cell_type"] == "code"]
    assert "setting.tests" not in "".join("".join(cell["source"]) for cell in cells[2:]), "rows are only of those given"


# --- Metrics --------------------------------------------------------------------------------------------------------------


def test_only_metrics_that_the_workflow_declares_are_loaded():
    rows = pd.DataFrame({"method": ["vdsr"], "image": ["001"], "psnr": [30.0]})
    for name in ("train_btsrn_x2_OLD", "train_btsrn_x8", "train_espcn_x2", "render (copy)", "ablate_costs_OLD"):
        notebooks.save_metrics(rows, "quick", name, "btsrn")
    assert notebooks.load_metrics("quick", "btsrn").empty and notebooks.load_costs("quick", "btsrn") is None
    for name in ("train_btsrn_x2", "ablate_costs"):
        notebooks.save_metrics(rows, "quick", name, "btsrn")
    notebooks.save_metrics(pd.DataFrame({"claim": ["a"]}), "quick", "ablate", "btsrn")
    assert notebooks.load_metrics("quick", "btsrn").equals(rows) and notebooks.load_costs("quick", "btsrn").equals(rows)
    assert notebooks.load_metrics("smoke", "btsrn").empty


def test_the_names_of_metrics():
    names = notebooks.metrics_names(BTSRN, find_profile("quick"), [3])
    assert names == ["train_btsrn_x3", "ablate", "render"], "the main method's notebook"
    assert notebooks.metrics_names(BTSRN, find_profile("released")) == ["train_btsrn_x2", "ablate", "render"]
    prosrn = notebooks.metrics_names(papers.get("prosrn"), find_profile("released"), [8])
    assert prosrn[0] == "train_prosrn_x2", "its one network, which serves all scales"
    assert set(notebooks.metrics_names(BTSRN, find_profile("paper"), [2])) > {"train_btsrn_x2", "train_vdsr_x2"}


def test_what_is_trained():
    prosrn = notebooks.trainings(papers.get("prosrn"), find_profile("smoke"))
    assert {("lapsrn", 2), ("prosrn_2_4_8", 8)} <= set(prosrn) and ("prosrgan", 4) not in prosrn
    assert notebooks.trainings(BTSRN, find_profile("quick"), [3]) == [("btsrn", 3), ("vdsr", 3)]
    assert notebooks.trainings(BTSRN, find_profile("released")) == []


def test_a_training_that_fails_does_not_stop_the_others(monkeypatch, capsys):
    def obtain(paper, method, scale, setting, progress):
        if method == "btsrn":
            raise SRError("loss exploded")
        return SimpleNamespace(provenance={"steps": 4, "minutes": 0.1})

    monkeypatch.setattr(trainings.store, "load_or_train", obtain)
    assert trainings.main(["smoke", "btsrn", "2"]) == 1
    said = capsys.readouterr().out
    assert "btsrn x2 failed: SRError: loss exploded" in said and "2 of 2  vdsr x2: 4 steps" in said
    assert not notebooks.metrics_file("smoke", "trainings", "btsrn").exists(), "the job runs again"
    monkeypatch.setattr(trainings.store, "load_or_train", lambda *args, **options: obtain(args[0], "", *args[2:], **options))
    assert trainings.main(["smoke", "btsrn", "2"]) == 0
    assert list(pd.read_csv(notebooks.metrics_file("smoke", "trainings", "btsrn"))["method"]) == ["btsrn", "vdsr"]
    assert trainings.main(["smok", "btsrn"]) == 2 and "Did you mean 'smoke'?" in capsys.readouterr().err


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_notebook_as_a_file(file):
    cells = json.loads(file.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    sources = ["".join(cell["source"]) for cell in code]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code), "committed with outputs"
    tagged = [cell for cell in code if "parameters" in cell["metadata"].get("tags", [])]
    assert len(tagged) == 1, "one cell tagged parameters"
    for line in "".join(tagged[0]["source"]).splitlines():
        assert line.count("=") == 1 and "  # " in line, f"a parameter with a comment and no second '=': {line}"
    assert sources.index("".join(tagged[0]["source"])) == 0, "parameters come first"
    assert "notebooks.check(globals()" in sources[1], "parameters are checked before any work"
    assert not any(notebooks._literals(source) for source in sources[1:]), "a cell of literals is taken for one of parameters"
    assert max(source.count("\n") for source in sources) <= 20, "short cells"
    assert not any(line.startswith(("class ", "def ")) for source in sources for line in source.splitlines())
    assert cells[0]["cell_type"] == "markdown" and "".join(cells[0]["source"]).startswith("# ")
    assert cells[-1]["cell_type"] == "markdown", "ends with a summary"
    for text in ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"):
        assert "$" not in report.MATH.sub("", text), f"a formula in a line of text goes on in the next: {text}"


def test_there_are_notebooks():
    assert {f"{f.parent.name}/{f.name}" for f in FILES} >= {
        f"btsrn/{name}.ipynb" for name in ("train", "ablate", "render", "explore")
    } | {"notebooks/summary.ipynb"}
