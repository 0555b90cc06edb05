"""The checks that every notebook starts with, and the notebooks as files."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

from srlib import papers
from srlib.core.errors import SRError
from srlib.papers.profiles import profile as find_profile
from srlib.reproduce import notebooks

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


def test_the_profile_is_the_one_that_the_paper_has_at_the_scale():
    d2c = papers.get("d2c_sr")
    assert notebooks.check(namespace(profile="smoke", scale=1), "ablate", d2c) == d2c.setting("smoke", 1)
    assert notebooks.check(namespace(profile="quick"), "summary") == find_profile("quick")


def test_a_misspelt_parameter_is_refused_with_the_right_name():
    with pytest.raises(SRError, match=r"unknown parameter 'scal'. Did you mean 'scale'\?"):
        train("scale = 2", "scal = 4", scal=4)


@pytest.mark.parametrize(
    "since",
    [
        ['profile = "quick"\nscal = 4'],  # the cell of parameters, changed and run again
        ["scal = 4"],  # a cell of its own before the check
        ['profile = "quick"\nscal: int = 4', "fig = draw()"],
        ["fig = draw()", 'profile = "quick"', "scal = 4"],
    ],
)
def test_a_misspelt_parameter_is_refused_when_the_check_is_run_again(since):
    with pytest.raises(SRError, match="unknown parameter 'scal'"):
        train("scale = 2", CHECK, "rows = score()", *since)


@pytest.mark.parametrize(
    "since",
    [
        [],  # only the check once more
        ["rows = [1]", "fig = draw(rows)"],  # cells of the notebook, or of its reader
        ["rows = [1]", "fig = draw(rows)", "scale = 2"],
        ["scale = 2", "%matplotlib inline", "import srlib"],
    ],
)
def test_names_of_other_cells_are_no_parameters(since):
    train("scale = 2", CHECK, *since, rows=[1])


def test_a_misspelling_that_was_put_right_is_forgotten():
    train("scal = 2", CHECK, "scale = 2", scal=2)


def test_everything_wrong_is_said_at_once():
    with pytest.raises(SRError) as error:
        train("scal = 2", profile="quik", method="vdrs", scale="2", seed=1.5)
    message = str(error.value)
    assert "unknown parameter 'scal'" in message
    assert "Did you mean 'quick'?" in message and "Did you mean 'vdsr'?" in message
    assert "scale (='2') must be one of 2, 3, 4" in message
    assert "seed (=1.5) must be a whole number from 0 to 2**32 - 1" in message
    with pytest.raises(SRError) as error:
        render(scales=[2, 2, 7], tests=["embedded", "embedded", "embeded", 3])
    message = str(error.value)
    assert "scales (=[2, 2, 7]) names 2 twice" in message and "scales (=7) must be one of 2, 3, 4" in message
    assert "names 'embedded' twice" in message and "unknown dataset 'embeded'" in message and "tests (=3)" in message


@pytest.mark.parametrize("value", [True, 2.0, 5, None, [], [2, 7], "2", [2], (2,)])
def test_values_outside_the_choice_are_refused(value):
    with pytest.raises(SRError, match=r"scale \(=.*\) must be one of 2, 3, 4"):
        train(scale=value)


@pytest.mark.parametrize("value", [True, -1, 2**32, 0.0, "0", None])
def test_seeds_that_no_training_takes_are_refused(value):
    with pytest.raises(SRError, match="seed"):
        train(seed=value)


@pytest.mark.parametrize("value", [2, None, "2", {2: 3}])
def test_a_list_is_no_single_choice(value):
    with pytest.raises(SRError, match=r"scales \(=.*\) must be a list, e.g. \[2\]"):
        render(scales=value)
    with pytest.raises(SRError, match=r"tests \(=.*\) must be a list, e.g. \['Set5'\]"):
        render(tests=value)


@pytest.mark.parametrize("value", [[2, 7], ["2"], [2.0], [[2]], [None]])
def test_a_list_with_a_wrong_item_is_refused(value):
    with pytest.raises(SRError, match="must be one of 2, 3, 4"):
        render(scales=value)


def test_scales_that_the_profile_lacks_are_refused():
    with pytest.raises(SRError, match="scale x4: profile smoke has x2 of btsrn"):
        render(profile="smoke", scales=[2, 4])
    with pytest.raises(SRError, match="scale x3: profile smoke has x2 of btsrn"):
        train(profile="smoke", scale=3)
    prosrn = papers.get("prosrn")
    with pytest.raises(SRError, match="scale x4: profile smoke has no scale of prosrgan"):
        notebooks.check(namespace(profile="smoke", method="prosrgan", scale=4, seed=0), "train", prosrn)
    with pytest.raises(SRError, match="scale x2: profile quick has x4 of srgan"):
        notebooks.check(namespace(profile="quick", method="srgan", scale=2, seed=0), "train", prosrn)
    notebooks.check(namespace(profile="smoke", method="prosrn_2_4_8", scale=8, seed=0), "train", prosrn)  # where it is trained


def test_a_missing_parameter_is_named():
    with pytest.raises(SRError, match="parameter 'profile' is missing"):
        notebooks.check(namespace(), "summary")


def test_sets_of_the_profile_that_are_missing_are_named_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setenv("SRLIB_DATA", str(tmp_path))
    for kind, values in {"train": {"method": "btsrn", "seed": 0}, "ablate": {}, "explore": {}}.items():
        with pytest.raises(SRError, match="python -m srlib data Set"):
            notebooks.check(namespace(profile="released", scale=2, **values), kind, BTSRN)
    with pytest.raises(SRError, match="Urban100.*python -m srlib data Urban100"):
        render(profile="released")
    render(profile="released", tests=["embedded-test"])  # then those of the profile are not needed


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


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_each_notebook_takes_its_own_values_and_refuses_others(file):
    space = checked(file)
    assert space["profile"] == "quick"
    if file.parent != FOLDER:
        assert space["setting"].name == "quick"
    for given, message in (({"profile": "quik"}, "Did you mean 'quick'"), ({"profil": "quick"}, "unknown parameter 'profil'")):
        with pytest.raises(SRError, match=message):
            checked(file, **given)


@pytest.mark.parametrize("file", SINGLE + SEVERAL, ids=name_of)
def test_each_notebook_refuses_scales_that_it_or_its_profile_lacks(file):
    name, made = ("scale", int) if file in SINGLE else ("scales", lambda scale: [scale])
    profile, scale = lacking(file)
    for given, message in (({"profile": profile, name: made(scale)}, str(scale)), ({name: made(7)}, "7"), ({name: "2"}, "'2'")):
        with pytest.raises(SRError, match=rf"scales? (x|\(=\[?){message}"):
            checked(file, **given)


@pytest.mark.parametrize("file", SEVERAL, ids=name_of)
def test_each_notebook_refuses_a_scale_that_is_named_twice(file):
    scale = papers.get(file.parent.name).scales_of(find_profile("quick"))[0]
    with pytest.raises(SRError, match=f"names {scale} twice"):
        checked(file, scales=[scale, scale])


@pytest.mark.parametrize("file", TESTED, ids=name_of)
def test_each_notebook_refuses_sets_that_cannot_be_scored(file, tmp_path):
    paired = papers.get(file.parent.name).setting("quick").scales == (1,)
    good = "embedded-camera-test" if paired else "embedded"
    assert list(checked(file, tests=[good])["tests"]) in ([good], [1])  # D2C-SR has them by scale
    bad = {"Set55": "unknown dataset 'Set55'", f"folder:{tmp_path / 'none'}": "does not exist", 5: "names of sets"}
    bad |= {"embedded": "take a set of pairs"} if paired else {}
    for name, message in bad.items():
        with pytest.raises(SRError, match=re.escape(message)):
            checked(file, tests=[name])
    for given, message in ((good, "must be a list"), ([good, good], f"names '{good}' twice")):
        with pytest.raises(SRError, match=message):
            checked(file, tests=given)


@pytest.mark.parametrize("file", TESTED, ids=name_of)
def test_sets_that_are_given_stand_in_for_all_of_the_profile(file):
    cells = [cell for cell in json.loads(file.read_text())["cells"] if cell["cell_type"] == "code"]
    assert "setting.tests" not in "".join("".join(cell["source"]) for cell in cells[2:]), "rows are only of those given"


@pytest.mark.parametrize("file", [file for file in FILES if file.stem == "train"], ids=name_of)
def test_each_notebook_refuses_methods_and_seeds_that_are_none(file):
    for given, message in (("method", "bicubic"), "unknown method 'bicubic'"), (("method", 3), "method"), (("seed", -1), "seed"):
        with pytest.raises(SRError, match=message):
            checked(file, **dict([given]))


# --- Metrics --------------------------------------------------------------------------------------------------------------


def test_metrics_survive_a_round_trip():
    rows = pd.DataFrame({"method": ["btsrn"], "image": ["001"], "psnr": [30.0]})
    notebooks.save_metrics(rows, "quick", "train_btsrn_x2", "btsrn")
    notebooks.save_metrics(pd.DataFrame({"claim": ["a"]}), "quick", "ablate", "btsrn")
    assert notebooks.load_metrics("quick", "btsrn").equals(rows)
    assert notebooks.load_metrics("smoke", "btsrn").empty


def test_only_metrics_that_the_workflow_declares_are_loaded():
    rows = pd.DataFrame({"method": ["vdsr"], "image": ["001"], "psnr": [30.0]})
    for name in ("train_vdsr_x2_OLD", "train_vdsr_x8", "train_espcn_x2", "render (copy)", "ablate_costs_OLD"):
        notebooks.save_metrics(rows, "quick", name, "btsrn")
    assert notebooks.load_metrics("quick", "btsrn").empty and notebooks.load_costs("quick", "btsrn") is None
    for name in ("train_vdsr_x2", "ablate_costs"):
        notebooks.save_metrics(rows, "quick", name, "btsrn")
    assert len(notebooks.load_metrics("quick", "btsrn")) == len(notebooks.load_costs("quick", "btsrn")) == 1


def test_the_names_of_metrics():
    names = notebooks.metrics_names(BTSRN, find_profile("quick"), [3])
    assert names == ["train_btsrn_x3", "train_vdsr_x3", "ablate", "render"]
    prosrn = notebooks.metrics_names(papers.get("prosrn"), find_profile("smoke"))
    assert {"train_lapsrn_x2", "train_prosrn_2_4_8_x8"} <= set(prosrn) and "train_prosrgan_x4" not in prosrn
    released = notebooks.trainings(BTSRN, find_profile("released"))
    assert ("espcn", 2) in released and set(released) > set(notebooks.trainings(BTSRN, find_profile("released"), [2]))


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


def test_there_are_notebooks():
    assert {f"{f.parent.name}/{f.name}" for f in FILES} >= {
        f"btsrn/{name}.ipynb" for name in ("train", "ablate", "render", "explore")
    } | {"notebooks/summary.ipynb"}
