"""The checks that every notebook starts with, and the notebooks as files."""

import json
from pathlib import Path

import pandas as pd
import pytest

from srlib import notebooks
from srlib.errors import SRError
from srlib.experiments import PROFILES

FILES = sorted((Path(__file__).parents[1] / "notebooks").rglob("*.ipynb"))
EXPECTED = {"profile": PROFILES, "scale": (2, 3, 4), "seed": int}


def namespace(*cells: str, **values) -> dict:
    return {"In": ["", *cells, "notebooks.check(globals(), ...)"], **values}


def test_right_parameters_pass():
    cell = 'profile = "quick"\nscale = 2\nseed = 0'
    notebooks.check(namespace(cell, profile="quick", scale=2, seed=0), **EXPECTED)


def test_a_misspelt_parameter_is_refused_with_the_right_name():
    space = namespace("scale = 2", "scal = 4", profile="quick", scale=2, scal=4, seed=0)
    with pytest.raises(SRError, match=r"unknown parameter 'scal'. Did you mean 'scale'\?"):
        notebooks.check(space, **EXPECTED)


def test_names_of_later_cells_are_no_parameters():
    space = namespace("scale = 2", profile="quick", scale=2, seed=0, rows=[1])
    space["In"].append("rows = [1]")
    notebooks.check(space, **EXPECTED)


def test_everything_wrong_is_said_at_once():
    with pytest.raises(SRError) as error:
        notebooks.check(namespace(profile="quik", scale="2", seed=1.5), **EXPECTED)
    message = str(error.value)
    assert "Did you mean 'quick'?" in message
    assert "scale (='2') must be one of 2, 3, 4" in message
    assert "seed (=1.5) must be of type int, not float" in message


@pytest.mark.parametrize("value", [True, 2.0, 5, None, [], [2, 7]])
def test_values_outside_the_choice_are_refused(value):
    with pytest.raises(SRError, match="scale"):
        notebooks.check(namespace(scale=value), scale=(2, 3, 4))


def test_a_list_may_hold_several_choices():
    notebooks.check(namespace(scales=[2, 4]), scales=[2, 3, 4])


@pytest.mark.parametrize("value", [[2], [2, 4], (2,)])
def test_one_choice_is_no_list(value):
    with pytest.raises(SRError, match=r"scale \(=.*\) must be one of 2, 3, 4"):
        notebooks.check(namespace(scale=value), scale=(2, 3, 4))


@pytest.mark.parametrize("value", [2, [], None, "2"])
def test_a_list_is_no_single_choice(value):
    with pytest.raises(SRError, match=r"scales \(=.*\) must be a list of some of 2, 3, 4, e.g. \[2\]"):
        notebooks.check(namespace(scales=value), scales=[2, 3, 4])


@pytest.mark.parametrize("value", [[2, 7], ["2"], [2.0]])
def test_a_list_with_a_wrong_item_is_refused(value):
    with pytest.raises(SRError, match="must be one of 2, 3, 4"):
        notebooks.check(namespace(scales=value), scales=[2, 3, 4])


def test_a_missing_parameter_is_named():
    with pytest.raises(SRError, match="parameter 'seed' is missing"):
        notebooks.check(namespace(), seed=int)


def test_metrics_survive_a_round_trip():
    rows = pd.DataFrame({"method": ["btsrn"], "image": ["001"], "psnr": [30.0]})
    notebooks.save_metrics(rows, "quick", "train_btsrn_x2", "btsrn")
    notebooks.save_metrics(pd.DataFrame({"claim": ["a"]}), "quick", "other", "btsrn")
    assert notebooks.load_metrics("quick", "btsrn").equals(rows)
    assert notebooks.load_metrics("smoke", "btsrn").empty


@pytest.mark.parametrize("file", FILES, ids=[f"{f.parent.name}/{f.name}" for f in FILES])
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
    assert max(source.count("\n") for source in sources) <= 20, "short cells"
    assert not any(line.startswith(("class ", "def ")) for source in sources for line in source.splitlines())
    assert cells[0]["cell_type"] == "markdown" and "".join(cells[0]["source"]).startswith("# ")
    assert cells[-1]["cell_type"] == "markdown", "ends with a summary"


def test_there_are_notebooks():
    assert {f"{f.parent.name}/{f.name}" for f in FILES} >= {
        f"btsrn/{name}.ipynb" for name in ("train", "ablate", "render", "explore")
    } | {"notebooks/summary.ipynb"}
