"""Notes on rows of a paper's table without a number of ours, or of the paper."""

import pandas as pd
import pytest

from srlib import papers
from srlib.papers import prosrn
from srlib.reproduce import missing, tables


def noted(paper, table, scale, ours, order, also=()) -> dict[tuple[str, str], str]:
    """The notes by set and method. ours: method -> the sets that it was scored on."""
    found = papers.get(paper)
    labels = found.labels | prosrn.PUBLISHED_METHODS
    rows = [
        {"paper": paper, "method": method, "dataset": name, "scale": scale, "seed": 0, "image": "a", "psnr": 30.0}
        for method, sets in ours.items()
        for name in sets
    ]
    made = tables.paper_table(paper, table, pd.DataFrame(rows), order, [scale], labels)
    explained = missing.explain(made, found, found.setting("released"), labels, also=also)
    assert explained.drop(columns="note").dropna(how="all", subset=["psnr_published", "psnr_ours"]).shape == made.shape
    names = {label: name for name, label in labels.items()}
    return {(row["dataset"], names[row["method"]]): row["note"] for row in explained.to_dict("records")}


def test_prosrns_table_6():
    order = ["bicubic", "selfexsr", "drcn", "drrn", "drrn_official", "lapsrn", "prosrn"]
    ours = {"bicubic": ["Set5", "Urban100", "embedded-test"], "drrn_official": ["Set5"], "lapsrn": ["Set5"]}
    notes = noted("prosrn", "Table 6", 2, ours, order, also=["drrn"])
    assert notes["Set5", "bicubic"] == notes["Set5", "lapsrn"] == ""
    assert notes["Set5", "selfexsr"] == "not implemented here"
    assert notes["Set5", "drcn"] == "not trained here, and its authors' weights were not available"
    assert notes["Set5", "drrn_official"] == "the paper prints none"
    assert notes["Urban100", "lapsrn"] == "not scored here"
    assert {note.partition(";")[0] for (name, _), note in notes.items() if name == "Manga109"} == {"images not public"}
    assert notes["Urban100", "drrn_official"] == "scored on Set5, Set14 only; the paper prints none"
    assert not any(name == "drrn" for _, name in notes)  # its other row says enough
    assert notes["embedded-test", "bicubic"] == "" and ("embedded-test", "drrn_official") not in notes  # no set of the paper


def test_a_method_with_neither_number_has_rows():
    notes = noted("prosrn", "Table 6", 8, {"bicubic": ["Set5"]}, ["bicubic", "drrn", "drrn_official", "prosrn"], also=["drrn"])
    assert notes["Set5", "drrn"] == "not trained here, and its authors' weights were not available; the paper prints none"
    assert notes["Manga109", "drrn"] == "images not public; the paper prints none"
    at_4 = noted("prosrn", "Table 6", 4, {"bicubic": ["Set5"]}, ["bicubic", "vdsr", "prosrn"], also=["drrn"])
    assert at_4["Set5", "drrn"] == "not trained here; the paper prints none"  # its weights are not fetched
    assert at_4["Set5", "vdsr"] == "not trained here"


def test_a_row_of_official_weights_is_pointed_to():
    notes = noted("prosrn", "Table 6", 2, {"vdsr_official": ["Set5"]}, ["vdsr", "vdsr_official"])
    assert notes["Set5", "vdsr"] == "not trained here; published weights have a row" and notes["Set5", "vdsr_official"] == ""


def test_difficulty_srs_table_1():
    order = ["bicubic", "fsrcnn", "fsrcnn_official", "vdsr", "lapsrn", "memnet", "idn_longer"]
    ours = {"fsrcnn": ["B100"], "vdsr": ["Set5"], "idn_longer": ["Urban100"]}
    notes = noted("difficulty_sr", "Table 1", 3, ours, order)
    assert notes["Urban100", "memnet"] == "not trained here, and its authors' weights were not available"
    assert notes["Urban100", "vdsr"] == "scored on Set5, Set14, B100 only"
    assert notes["Urban100", "lapsrn"] == "none for ×3 here"
    assert notes["B100", "fsrcnn"] == "the paper prints none"
    assert notes["Urban100", "idn_longer"] == ""  # no row of the paper's


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_aplus_is_scored_on_urban100(scale):
    paper = papers.get("difficulty_sr")
    assert "Urban100" in paper.tests("aplus", paper.setting("released")) and paper.has("aplus", scale)


def test_a_brief_profiles_table_gets_no_notes():
    paper = papers.get("prosrn")
    row = {"method": "bicubic", "dataset": "embedded-test", "scale": 2, "seed": 0, "image": "a", "psnr": 30.0}
    made = tables.paper_table("prosrn", "Table 6", pd.DataFrame([row]), ["bicubic", "drrn"], [2], paper.labels, run_only=True)
    assert len(made) == 1 and missing.explain(made, paper, paper.setting("quick"), paper.labels, also=["drrn"]) is made
