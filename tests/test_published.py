"""The transcribed numbers: nothing twice, everything in range, and what a paper's tables share is the same."""

import pandas as pd
import pytest

from srlib import papers
from srlib.data.sets import known_sets
from srlib.papers import d2c_sr, ddet, prosrn
from srlib.reproduce.claims import load_claims, published_differences

COLUMNS = ["paper", "table", "dataset", "scale", "method", "metric", "value"]
# Rows of each table, and cells that the claims speak of; a paper that is not here has its numbers checked all the same.
COUNTS = {
    "btsrn": {"Table 1": 3, "Table 2": 5, "Table 3": 6, "Table 4": 36},
    "d2c_sr": {"Section 4.6": 2, "Table 1": 127, "Table 2": 54, "Table 3": 84, "Table 5": 18},
    "ddet": {"Table I": 60, "Table II": 4, "Table III": 30},
    "difficulty_sr": {"Table 1": 204, "Table 1, as printed": 204, "Table 2": 8, "Table 3": 9, "Table 4": 12},
    "prosrn": {"Table 1": 9, "Table 2": 60, "Table 3": 30, "Table 4": 90, "Table 5": 18, "Table 6": 310},
}
CLAIMED = {"btsrn": 35, "d2c_sr": 113, "ddet": 72, "difficulty_sr": 129, "prosrn": 217}
RANGES = {"psnr": (20, 45), "ssim": (0.3, 1), "ssim_uniform7": (0.3, 1), "lpips": (0.1, 0.5)}
RANGES |= {"layers": (1, 100), "seconds": (0.01, 10), "megabytes": (2, 160), "parameters": (5e5, 5e7)}
NOT_PUBLIC = {"DIV2K-test", "Manga109"}  # sets whose images cannot be fetched without asking
PRINTED_SCALES = {"d2c_sr": (2, 3, 4, 8), "ddet": (2, 3, 4)}  # where our stand-ins have pairs of one size
NO_DATASET = "-"  # of what belongs to a network
CAMERAS = {"RealSR", "DRealSR", "D2CRealSR"}  # named as the paper prints them, where ours have a version and a scale
PATCHES = ("patches", "hard patches", "easy patches")  # of Urban100, in Difficulty-SR's Tables 3 and 4
# Printed, but not among the experiments.
PRINTED_ONLY = {"espcn", *prosrn.PUBLISHED_METHODS, *d2c_sr.PUBLISHED_METHODS, *ddet.PUBLISHED_METHODS}
NOT_FOR_PSNR = ["srgan_vgg54", "prosrgan", "srflow"]
# ProSRN's VDSR at x8 is no better than bicubic on Set14 alone: 23.20 and 23.19 dB, and the same SSIM.
SLIPS = [("prosrn", "Set14", 8, "vdsr")]
# What a paper says of a table and the table denies: claim -> rival, set, scale of the cells that do.
CONTRADICTED = {
    # to three digits no better, on DRealSR; the row of LP-KPN is of other images
    "d2c_sr-best-ssim": {
        *(("cdc_rgb", "DRealSR", scale) for scale in (3, 4)),
        *(("rcan_rgb", "DRealSR", scale) for scale in (3, 4)),
        ("lp_kpn", "RealSR", 4),
    },
    "difficulty_sr-gain-idn": {("idn", "Set5", 4)},
    "difficulty_sr-others": {("idn", "Set5", 4)},
    "difficulty_sr-ssim": {("idn", "Set5", scale) for scale in (2, 3, 4)},  # to four digits no better
    "prosrn-reuse-every": {("lapsrn", "Set5", 4), ("lapsrn", "B100", 4), ("lapsrn", "Manga109", 4)},
    "prosrn-own-factor-4": {("prosrn_2_4_8", "Set14", 4), ("prosrn_2_4_8", "Manga109", 4)},
    "prosrn-own-factor-8": {("prosrn_2_4", "Set5", 8), ("prosrn_2_4", "B100", 8)},
    "prosrn-gan-srgan-psnr": {("srgan_vgg54", "Set5", 4)},
    "prosrn-gan-bicubic-psnr": {("bicubic", "B100", 4)},
    "prosrn-others-2": {("drcn", "Set5", 2), ("drcn", "Manga109", 2), ("vdsr", "B100", 2)},
    "prosrn-others-4": {("lapsrn", "B100", 4)},
}
PAPERS = sorted(papers.names())


def read(paper):
    return pd.read_csv(papers.folder(paper) / "published.csv")


@pytest.mark.parametrize("paper", PAPERS)
def test_numbers_are_complete_and_in_range(paper):
    table = read(paper)
    assert list(table.columns) == COLUMNS
    assert not table.isna().any(axis=None)
    assert not table.duplicated(COLUMNS[:-1]).any()
    assert set(table["paper"]) == {paper}
    counts = table.groupby("table").size().to_dict()
    assert counts == COUNTS.get(paper, counts)
    for metric, (low, high) in RANGES.items():
        high = 65 if (paper, metric) == ("difficulty_sr", "psnr") else high  # easy patches
        assert table.loc[table["metric"] == metric, "value"].between(low, high).all()
    assert set(table["metric"]) <= set(RANGES)
    assert set(table["scale"]) == set(PRINTED_SCALES.get(paper, papers.get(paper).scales))
    assert set(table["method"]) <= {*papers.get(paper).labels} | PRINTED_ONLY
    assert set(table["dataset"]) <= {*known_sets(), NO_DATASET, *PATCHES} | NOT_PUBLIC | CAMERAS
    assert ((table["dataset"] == NO_DATASET) == table["metric"].isin(["layers", "parameters"])).all()


@pytest.mark.parametrize("paper", PAPERS)
def test_a_larger_scale_is_harder(paper):
    # easy is easy at any scale, and so it is with the photographs that no network was trained for
    table = read(paper).query("metric not in ('megabytes', 'parameters', 'lpips') and dataset not in ('easy patches', 'DRealSR')")
    wide = table.pivot(index=["table", "dataset", "method", "metric"], columns="scale", values="value")
    steps = wide.diff(axis=1).stack().dropna()
    assert len(steps) and (steps < 0).all()


@pytest.mark.parametrize("paper", [paper for paper in PAPERS if "bicubic" in set(read(paper)["method"])])
def test_networks_beat_bicubic(paper):
    table = read(paper).query("dataset not in ('easy patches', 'DRealSR')")
    psnr = table[table["metric"] == "psnr"]
    by_method = psnr.pivot(index=["paper", "table", "dataset", "scale"], columns="method", values="value")
    rivals = by_method.drop(columns=["bicubic", *NOT_FOR_PSNR], errors="ignore").sub(by_method["bicubic"], axis=0)
    rivals = rivals.stack().dropna().droplevel("table")
    assert len(rivals)
    assert list(rivals[rivals <= 0.4].index) == [slip for slip in SLIPS if slip[0] == paper]


def test_btsrn_prints_the_same_network_alike():
    table = read("btsrn")
    shared = table[table["method"] == "btsrn_6+4"]
    assert list(shared["table"]) == ["Table 1", "Table 2"] and shared["value"].nunique() == 1
    assert (table.loc[table["table"] == "Table 4", "method"].value_counts() == 12).all()


def test_difficulty_sr_is_kept_as_printed_and_with_the_swapped_columns_put_right():
    table = read("difficulty_sr").set_index(["table", "dataset", "scale", "metric", "method"])["value"]
    printed, right = table["Table 1, as printed"], table["Table 1"]
    swapped = printed.rename({"idn": "memnet", "memnet": "idn"}, level="method")
    assert right.sort_index().equals(swapped.sort_index()) and not right.sort_index().equals(printed.sort_index())
    # what MemNet's and IDN's own papers say of Set5 x2
    assert (right["Set5", 2, "psnr", "memnet"], right["Set5", 2, "psnr", "idn"]) == (37.78, 37.83)
    easy = table["Table 4", "easy patches"]
    assert all(easy[scale, "psnr", "bicubic"] > easy[scale, "psnr", "complex"] for scale in (2, 3, 4))


def test_prosrn_prints_the_same_network_alike():
    table = read("prosrn")
    table = table[table["metric"] != "layers"].replace({"method": {"prosrn_memory": "prosrn", "prosrn_general": "lapsrn"}})
    groups = table.groupby(["dataset", "scale", "method", "metric"])
    assert (groups["value"].nunique() == 1).all()
    where = groups["table"].agg(set)
    assert where["Set5", 2, "prosrn", "psnr"] == {"Table 2", "Table 3", "Table 4", "Table 6"}
    assert where["Urban100", 8, "prosrn", "ssim_uniform7"] == {"Table 2", "Table 4", "Table 6"}
    assert where["Manga109", 8, "prosrn_2_4_8", "psnr"] == {"Table 4", "Table 6"}
    assert where["Set14", 2, "lapsrn", "psnr"] == {"Table 2", "Table 3", "Table 6"}
    assert where["B100", 4, "bicubic", "ssim_uniform7"] == {"Table 5", "Table 6"}
    # prosrn 30, lapsrn 30, prosrn_2_4 at x4 and prosrn_2_4_8 at x8 10 each, bicubic at x4 on three sets 6.
    assert (where.map(len) > 1).sum() == 86
    # what looks like slips of the pen is kept
    ssim = table.query("metric == 'ssim_uniform7'").set_index(["table", "dataset", "scale", "method"])["value"]
    assert ssim["Table 3", "Set5", 2, "prosrn_residual"] == 0.9882  # its neighbours print 0.9581 and 0.9584
    assert ssim["Table 6", "B100", 8, "aplus"] == 0.6115  # its neighbours print 0.48 to 0.54


def test_ddet_prints_the_same_network_alike_but_once():
    table = read("ddet").query("metric == 'psnr'").set_index(["table", "scale", "method"])["value"].sort_index()
    assert table["Table III", 3].equals(table["Table I", 3])
    assert table["Table II", 2, "ddet"] == table["Table I", 2, "ddet"]
    assert (table["Table II", 2, "kpn"], table["Table I", 2, "kpn"]) == (33.43, 33.42)


@pytest.mark.parametrize("paper", PAPERS)
def test_the_paper_s_own_numbers_agree_with_the_claims_drawn_from_them(paper):
    """A claim taken from a printed table is true of it but for `CONTRADICTED`; it is a test of the transcription."""
    table, checked, denied = read(paper), 0, {}
    for claim in load_claims(paper):
        differences = published_differences(claim, table)
        checked += len(differences)
        for cell, d in differences.items():
            if claim.contradicted_by(d):
                denied.setdefault(claim.id, set()).add((cell.right, cell.dataset, cell.scale))
    assert denied == {claim: cells for claim, cells in CONTRADICTED.items() if claim.startswith(f"{paper}-")}
    assert checked == CLAIMED.get(paper, checked)


def test_every_claim_is_one_plain_sentence_with_a_source():
    for claim in load_claims():
        assert claim.text[0].isupper() and claim.text.endswith(".") and claim.text.count(". ") == 0
        own = claim.source in {"Control", "Oracle", "Authors' code"}
        assert own == (claim.kind == "own question") and (own or claim.source.split()[0] in {"Table", "Figure", "Section"})
        assert claim.section
        assert claim.id.startswith(claim.paper.split("_")[0])
