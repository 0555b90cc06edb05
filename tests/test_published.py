"""The transcribed numbers: nothing twice, everything in range, and what the paper's tables share is the same."""

import pandas as pd
import pytest

from srlib import papers, paths
from srlib.claims import load_claims
from srlib.data.sets import known_sets

COLUMNS = ["paper", "table", "dataset", "scale", "method", "metric", "value"]
COUNTS = {"btsrn": {"Table 1": 3, "Table 2": 5, "Table 3": 6, "Table 4": 36}}
RANGES = {"psnr": (20, 45), "ssim": (0.3, 1)}
FILES = sorted(f.stem for f in (paths.home() / "data" / "published").glob("*.csv") if f.stem != "claims")


def read(paper):
    return pd.read_csv(paths.home() / "data" / "published" / f"{paper}.csv")


def test_every_paper_with_counts_has_a_file():
    assert sorted(COUNTS) == FILES


@pytest.mark.parametrize("paper", FILES)
def test_numbers_are_complete_and_in_range(paper):
    table = read(paper)
    assert list(table.columns) == COLUMNS
    assert not table.isna().any(axis=None)
    assert not table.duplicated(COLUMNS[:-1]).any()
    assert set(table["paper"]) == {paper}
    assert table.groupby("table").size().to_dict() == COUNTS[paper]
    for metric, (low, high) in RANGES.items():
        assert table.loc[table["metric"] == metric, "value"].between(low, high).all()
    assert set(table["metric"]) <= set(RANGES)
    assert set(table["scale"]) <= {2, 3, 4}


@pytest.mark.parametrize("paper", FILES)
def test_names_are_those_of_the_project(paper):
    table, known = read(paper), papers.get(paper)
    assert set(table["method"]) <= {*known.methods, *known.ablations}
    assert set(table["dataset"]) <= {*known_sets(), "DIV2K-test"}  # whose images are not public


@pytest.mark.parametrize("paper", FILES)
def test_a_larger_scale_is_harder_and_networks_beat_bicubic(paper):
    table = read(paper)
    wide = table.pivot(index=["table", "dataset", "method", "metric"], columns="scale", values="value").dropna()
    assert len(wide) and (wide[2] > wide[3]).all() and (wide[3] > wide[4]).all()
    by_method = table.pivot(index=["table", "dataset", "scale", "metric"], columns="method", values="value")
    rivals = by_method.drop(columns="bicubic").sub(by_method["bicubic"], axis=0).stack().dropna()
    assert len(rivals) and (rivals > 0.5).all()


def test_btsrn_prints_the_same_network_alike():
    table = read("btsrn")
    shared = table[table["method"] == "btsrn_6+4"]
    assert list(shared["table"]) == ["Table 1", "Table 2"] and shared["value"].nunique() == 1
    assert (table.loc[table["table"] == "Table 4", "method"].value_counts() == 12).all()


@pytest.mark.parametrize("paper", FILES)
def test_the_paper_s_own_numbers_agree_with_the_claims_drawn_from_them(paper):
    """A claim taken from a printed table must be true of that table; it is a test of the transcription."""
    table, checked = read(paper), 0
    for claim in load_claims(paper):
        printed = table[(table["table"] == claim.source) & (table["metric"] == claim.metric)]
        for right in claim.right:
            sides = printed[printed["method"].isin([claim.left, right])]
            wide = sides.pivot(index=["dataset", "scale"], columns="method", values="value").dropna()
            if set(wide.columns) != {claim.left, right}:
                continue
            difference = claim.sign * (wide[claim.left] - wide[right])
            if claim.relation == "approx":
                assert (difference.abs() <= claim.margin).all(), claim.id
            else:
                assert (difference > claim.margin).all(), claim.id
            checked += len(difference)
    assert checked == {"btsrn": 35}[paper]


def test_every_claim_is_one_plain_sentence_with_a_source():
    for claim in load_claims():
        assert claim.text[0].isupper() and claim.text.endswith(".") and claim.text.count(". ") == 0
        assert claim.source.split()[0] in {"Table", "Figure", "Section"} and claim.section
        assert claim.id.startswith(claim.paper.split("_")[0])
