import math
import re

import numpy as np
import pandas as pd
import pytest
from scripts import card, total_steps

from srlib import papers
from srlib.core.errors import SRError
from srlib.core.protocols import protocol
from srlib.draw.columns import format_value, header, published_only
from srlib.draw.styling import latex, markdown, save_table, styled
from srlib.papers import published
from srlib.papers.profiles import profile
from srlib.reproduce import captions, tables
from srlib.reproduce.tables import claims_table, comparison
from srlib.reproduce.verdicts import evaluate_claims

LABELS = {"btsrn": "BTSRN", "vdsr": "VDSR", "bicubic": "Bicubic"}


def printed(*lines):
    return pd.DataFrame(lines, columns=["dataset", "scale", "method", "value"]).assign(metric="psnr", table="Table 4")


def scored(method, dataset, scale, values, seed=0):
    about = {"method": method, "dataset": dataset, "scale": scale, "seed": seed}
    return pd.DataFrame({"image": range(len(values)), "psnr": values}).assign(**about)


@pytest.fixture
def table():
    rows = [("Set5", 2, "btsrn", 37.75), ("Set5", 2, "vdsr", 37.53), ("Set5", 2, "bicubic", 33.64), ("B100", 2, "btsrn", 32.05)]
    theirs = printed(*rows)
    ours = pd.concat(
        [
            scored("btsrn", "Set5", 2, [36.0, 38.0], seed=0),
            scored("btsrn", "Set5", 2, [37.0, 39.0], seed=1),
            scored("vdsr", "Set5", 2, [37.0, 38.0]),
            scored("bicubic", "Set5", 2, [33.0, 34.276]),
            scored("bicubic", "Mine & Co_1", 2, [30.0]),
        ]
    )
    return comparison(theirs, ours, labels=LABELS)


def test_a_row_of_official_weights_has_the_published_number_of_its_method():
    theirs = printed(("Set5", 2, "vdsr", 37.53), ("B100", 2, "vdsr", 31.9))
    both = comparison(theirs, pd.concat([scored(name, "Set5", 2, [37.5]) for name in ("vdsr", "vdsr_official")]))
    numbers = both.set_index(["dataset", "method"])["psnr_published"]
    assert numbers["Set5", "vdsr"] == numbers["Set5", "vdsr_official"] == 37.53 and numbers["B100", "vdsr"] == 31.9
    assert "vdsr_official" not in set(comparison(theirs, scored("vdsr", "Set5", 2, [37.5]))["method"])


def test_published_reads_a_paper_and_its_tables(tmp_path, monkeypatch):
    assert len(published("btsrn")) == 50 and len(published("btsrn", "Table 4")) == 36
    with pytest.raises(SRError, match="unknown table of btsrn: 'Table 5'. Did you mean 'Table "):
        published("btsrn", "Table 5")
    with pytest.raises(SRError, match="unknown paper 'btsrm'"):
        published("btsrm")
    monkeypatch.setattr(papers, "folder", lambda name: tmp_path)
    with pytest.raises(SRError, match="no published numbers of btsrn: .*published.csv is missing"):
        published("btsrn")


def test_comparison_puts_published_beside_ours(table):
    assert list(table.columns) == ["dataset", "scale", "method", "psnr_published", "psnr_ours", "psnr_difference", "psnr_spread"]
    rows = table.set_index(["dataset", "method"])
    mine = ("Mine & Co_1", "Bicubic")
    # what has a number of ours comes before what is only published
    assert list(rows.index) == [("Set5", "BTSRN"), ("Set5", "VDSR"), ("Set5", "Bicubic"), mine, ("B100", "BTSRN")]
    first = rows.loc[("Set5", "BTSRN")]
    assert first["psnr_ours"] == 37.5 and first["psnr_difference"] == pytest.approx(-0.25)
    assert first["psnr_spread"] == pytest.approx(np.std([37, 38], ddof=1))
    assert np.isnan(rows.loc[("B100", "BTSRN"), "psnr_ours"]) and np.isnan(rows.loc[("Set5", "VDSR"), "psnr_spread"])
    assert rows.loc[mine, "psnr_ours"] == 30 and np.isnan(rows.loc[mine, "psnr_published"])


def test_comparison_chooses_methods_and_lays_them_side_by_side():
    ours = pd.concat([scored(m, d, 2, [30.0]) for m in LABELS for d in ("Set5", "B100")])
    wide = comparison(published("btsrn", "Table 4"), ours, methods=["vdsr", "btsrn"], labels=LABELS, wide=True)
    assert list(wide.columns[:3]) == [("", "dataset"), ("", "scale"), ("VDSR", "psnr_published")]
    assert len(wide) == 12 and len(wide.columns) == 2 + 2 * 3
    assert list(wide[("", "dataset")].unique()) == ["Set5", "B100", "Set14", "Urban100"]  # ours first
    assert wide[("BTSRN", "psnr_published")].iloc[0] == 37.75 and wide[("VDSR", "psnr_ours")].iloc[0] == 30
    assert wide[("VDSR", "psnr_ours")].isna().sum() == 10


def test_methods_are_rows_with_the_sets_side_by_side(table):
    wide = tables.by_method(table.drop(index=table.index[table["method"] == "Bicubic"]))
    assert list(wide[("", "method")]) == ["BTSRN", "VDSR"]
    pairs = [("Set5", "psnr_published"), ("Set5", "psnr_ours"), ("B100", "psnr_published")]
    assert list(wide.columns) == [("", "method"), *pairs], "B100 has no number of ours"
    assert wide[("Set5", "psnr_published")].to_list() == [37.75, 37.53]
    assert np.isnan(wide[("B100", "psnr_published")].iloc[1])
    lines = markdown(wide, "c").splitlines()
    assert "**37.75**" in lines[4] and "37.53" in lines[5] and "**37.53**" not in lines[5], "compared within a column"


def test_what_was_run_alone_stands_beside_the_same_set_and_scale_of_the_paper():
    ours = pd.concat([scored("btsrn", "embedded-test", 2, [30.0]), scored("bicubic", "embedded-test", 2, [29.0])])
    for layout in ({}, {"wide": True}):
        run = comparison(published("btsrn", "Table 4"), ours, methods=LABELS, run_only=True, **layout)
        assert "embedded-test" in run.to_string() and "Set5" not in run.to_string() and "published" not in run.to_string()
    assert comparison(published("btsrn", "Table 4"), pd.DataFrame(), run_only=True).empty
    ours = pd.concat([ours, scored("btsrn", "Set5", 2, [37.0])])
    run = tables.paper_table("btsrn", "Table 4", ours, LABELS, [2, 3, 4], LABELS, run_only=True)
    assert list(run["dataset"]) == ["Set5", "embedded-test", "embedded-test"]
    assert list(run["method"]) == ["BTSRN", "BTSRN", "Bicubic"]
    assert run["psnr_published"].iloc[0] == 37.75 and run["psnr_difference"].iloc[0] == -0.75
    run = tables.side_by_side(ours, published("btsrn", "Table 4"), ["psnr"], methods=LABELS, labels=LABELS, run_only=True)
    columns = ["psnr_ours@embedded-test ×2", "psnr_ours@Set5 ×2", "psnr_published@Set5 ×2"]
    assert list(run) == ["method", *columns] and list(run["method"]) == ["BTSRN", "Bicubic"]


def test_images_that_a_method_makes_exactly_are_left_out_for_all_and_the_caption_says_so():
    ours = pd.concat(
        [
            scored("btsrn", "Set5", 2, [math.inf, 38.0, 36.0]),
            scored("vdsr", "Set5", 2, [50.0, 37.0, 35.0]),
            scored("vdsr", "B100", 2, [31.0]),
            scored("bicubic", "Mine", 2, [math.inf]),
        ]
    )
    said = "Left out of the means, as a method makes them exactly: 1 of Set5 ×2, 1 of Mine ×2."
    found = comparison(printed(("Set5", 2, "btsrn", 37.75)), ours)
    values = found.set_index(["dataset", "method"])["psnr_ours"].dropna().to_dict()
    assert values == {("Set5", "btsrn"): 37.0, ("Set5", "vdsr"): 36.0, ("B100", "vdsr"): 31.0}
    assert captions.for_table("What.", protocol("y"), profile("quick"), "A note.", table=found).endswith(f" A note. {said}")
    wide = comparison(printed(("Set5", 2, "btsrn", 37.75)), ours, wide=True)
    assert captions.for_table("What.", protocol("y"), profile("quick"), table=wide).endswith(said)
    table = tables.side_by_side(ours, printed(("there", 2, "btsrn", 37.75)), ["psnr"], methods=["btsrn", "vdsr"], labels={})
    assert table["psnr_ours@Set5 ×2"].tolist() == [37.0, 36.0]
    assert captions.for_table("What.", protocol("y"), profile("quick"), table=table).endswith(said)
    finite = comparison(printed(("Set5", 2, "btsrn", 37.75)), ours[np.isfinite(ours["psnr"])])
    assert "Left out" not in captions.for_table("What.", protocol("y"), profile("quick"), table=finite)


def test_comparison_says_what_is_wrong():
    theirs = published("btsrn", "Table 4")
    with pytest.raises(SRError, match="unknown metric 'pnsr'. Did you mean 'psnr'"):
        comparison(theirs, pd.DataFrame(), "pnsr")
    with pytest.raises(SRError, match="unknown method 'vdrs'. Did you mean 'vdsr'"):
        comparison(theirs, pd.DataFrame(), methods=["vdrs"])
    with pytest.raises(SRError, match="published has btsrn_6.4 on DIV2K-val x2 twice; pass the rows of one table"):
        comparison(published("btsrn"), pd.DataFrame())
    alone = comparison(theirs, pd.DataFrame())
    assert len(alone) == 36 and alone["psnr_ours"].isna().all()


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("psnr_ours", 37.456, "37.46"),
        ("ssim", 0.93456, "0.9346"),
        ("psnr_difference", 0.123, "+0.12"),
        ("psnr_difference", -0.126, "−0.13"),
        ("psnr_difference", -0.001, "0.00"),
        ("psnr", float("nan"), "—"),
        ("seconds", None, "—"),
        ("parameters", 887683, "887,683"),
        ("mult_adds", 1430.84, "1,430.8"),
        ("scale", 2, "×2"),
        ("scale", "all", "all"),
        ("images", 5.0, "5"),
        ("dataset", "Set5", "Set5"),
    ],
)
def test_format_value(column, value, expected):
    assert format_value(column, value) == expected


def test_headers_have_units():
    assert header("psnr_published") == "PSNR (dB), published"
    assert header(("BTSRN", "ssim")) == "BTSRN SSIM"
    assert header("mult_adds") == "Mult-adds (G, 1280×720)" and header("seconds") == "Time (s)"
    assert header("n_images") == "N images"


def test_markdown_marks_the_best_two_of_each_group(table):
    lines = markdown(table, "A caption.").splitlines()
    assert lines[0] == "A caption." and lines[1] == ""
    assert lines[2].startswith("| Dataset | Scale | Method | PSNR (dB), published |")
    assert lines[4] == "| Set5 | ×2 | BTSRN | **37.75** | **37.50** | −0.25 | 0.71 |"
    assert lines[5] == "| Set5 | ×2 | VDSR | <u>37.53</u> | **37.50** | −0.03 | — |"  # equal as printed: both best
    assert lines[6] == "| Set5 | ×2 | Bicubic | 33.64 | 33.64 | 0.00 | — |"
    assert lines[8] == "| B100 | ×2 | BTSRN | 32.05 | — | — | — |"  # nothing to be better than
    assert len({line.count("|") for line in lines[2:]}) == 1


def test_markdown_marks_side_by_side_methods_per_row():
    pairs = [("", "dataset"), ("A", "psnr_ours"), ("B", "psnr_ours"), ("C", "psnr_ours"), ("C", "psnr_difference")]
    wide = pd.DataFrame([["x|y", 1.0, 3.0, 2.0, 9.0], ["z", 3.0, 1.0, None, 9.0]], columns=pd.MultiIndex.from_tuples(pairs))
    lines = markdown(wide, "c").splitlines()
    assert lines[2] == "| Dataset | A PSNR (dB), ours | B PSNR (dB), ours | C PSNR (dB), ours | C PSNR (dB), difference |"
    assert lines[4] == "| x\\|y | 1.00 | **3.00** | <u>2.00</u> | +9.00 |"
    assert lines[5] == "| z | **3.00** | 1.00 | — | +9.00 |"


def check_latex(source):
    """Compile in the head: environments and braces match, every row has as many cells as the tabular has columns."""
    environments = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", source):
        if kind == "begin":
            environments.append(name)
        else:
            assert environments.pop() == name
    assert not environments
    bare = re.sub(r"\\[\\&%$#_{}]", "", source.split("\n", 1)[1])  # without escapes and the comment of the first line
    depth = 0
    for c in bare:
        depth += (c == "{") - (c == "}")
        assert depth >= 0
    assert depth == 0 and bare.count("$") % 2 == 0
    assert not set("%#~^") & set(bare) and bare.isascii()
    assert all(c not in re.sub(r"\$[^$]*\$", "", bare) for c in "<>|")
    assert "_" not in bare.replace(source.split(r"\label{")[1].split("}")[0], "")
    spec = re.search(r"\\begin\{tabular\}\{((?:[lrc]|p\{[^}]*\})+)\}", source).group(1)
    width = len(re.sub(r"p\{[^}]*\}", "p", spec))
    inside = source.split(r"\toprule")[1].split(r"\bottomrule")[0].replace(r"\&", "")
    rows = [line for line in inside.splitlines() if line.endswith(r"\\")]
    for row in rows:
        spans = [int(n) for n in re.findall(r"\\multicolumn\{(\d+)\}", row)]
        assert row.count("&") + 1 - len(spans) + sum(spans) == width
    commands = set(re.findall(r"\\([a-zA-Z]+)", source))
    assert commands <= set(
        "begin end centering caption label toprule midrule bottomrule addlinespace multicolumn cmidrule textbf underline "
        "times pm linewidth footnotesize setlength tabcolsep textbackslash textasciitilde textasciicircum".split()
    )
    return len(rows)


def test_latex_is_well_formed(table):
    source = latex(table, r"100 % of_all & #1 $x$ {y} a\b ~^ <p> | ± — ×2.", "table_4")
    assert check_latex(source) == 1 + len(table)
    assert r"\textbf{37.75}" in source and r"\underline{37.53}" in source
    assert r"Mine \& Co\_1" in source and r"100 \% of\_all \& \#1 \$x\$ \{y\} a\textbackslash{}b" in source
    assert source.count(r"\addlinespace") == 2 and "---" in source and r"\label{tab:table_4}" in source


def test_latex_of_methods_side_by_side():
    ours = pd.concat([scored(m, "Set5", s, [30.0 + len(m)]) for m in LABELS for s in (2, 3, 4)])
    wide = comparison(published("btsrn", "Table 4"), ours, labels=LABELS, wide=True)
    source = latex(wide, "c", "x")
    assert check_latex(source) == 2 + 12
    assert r"\multicolumn{3}{c}{BTSRN, PSNR (dB)}" in source and r"\cmidrule(lr){3-5}" in source


def test_claims_table_is_for_readers():
    cells = [(method, dataset, scale) for method in ("btsrn", "vdsr") for dataset in ("Set5", "B100") for scale in (2, 3, 4)]
    rows = pd.concat([scored(*cell, np.linspace(0, 9, 10) + {"btsrn": 31, "vdsr": 30}[cell[0]]) for cell in cells])
    about = {"data": "T91", "steps": 100, "batch": 16, "hr_patch": 48, "official": False, "dead": "", "validation": "Set5"}
    history = {"btsrn": [{"step": step, "psnr": 31.0} for step in (80, 90, 100)]}
    history["vdsr"] = [{**row, "psnr": 30.0} for row in history["btsrn"]]
    made = rows[["method", "scale", "seed"]].drop_duplicates().assign(**about, history=lambda rows: rows["method"].map(history))
    found = claims_table(evaluate_claims("btsrn", rows, trainings=made)).set_index("claim")
    line = found.loc["BTSRN is more accurate than VDSR on every benchmark and scale."]
    assert line["verdict"] == "holds where tested" and line["difference"] == "+1.000 dB" and line["seeds"] == 1
    assert line["detail"].startswith("6 of 12 tested: 6 holds") and line["kind"] == "accuracy"
    unknown = claims_table(evaluate_claims("btsrn", rows)).set_index("claim").loc[line.name]
    assert unknown["verdict"] == "not decidable at this budget" and "a known budget of BTSRN" in unknown["detail"]
    other = found.loc["Six blocks in the low-resolution stage need less work than nine."]
    assert other["verdict"] == "not tested" and pd.isna(other["difference"]) and pd.isna(other["images"])
    gan = claims_table(evaluate_claims("prosrn", rows)).set_index("claim")
    assert gan.loc["ProSRGAN has a higher PSNR than SRGAN-VGG54.", "published"] == "−0.240 dB, contradicted by 1 of 3"  # of Set5
    assert line["published"] == "+0.130 dB, least favourable of 12" and pd.isna(other["published"])
    untested = (found["verdict"] == "not tested").to_list()
    assert untested == sorted(untested) and set(untested) == {False, True}  # the last
    assert check_latex(latex(found.reset_index(), "c", "claims")) == 1 + len(found)
    assert "| not tested | Six blocks" in markdown(claims_table(evaluate_claims("btsrn", rows)), "c")


def steps_and_data(paper, names, scale):
    """What is said of released trainings, by their cards."""
    made = [card(paper, name, scale) for name in names]
    steps = sorted({total_steps(one["provenance"]) for one in made})
    data = sorted({one["experiment"]["data"] for one in made})
    said = f"{steps[0]:,} steps each" if len(steps) == 1 else f"{steps[0]:,} to {steps[-1]:,} steps"
    return data, said + (f"; trained on {' or '.join(data)}" if len(data) > 1 else "")


def test_a_note_says_protocol_seeds_and_steps_of_all_trainings():
    btsrn, d2c = papers.get("btsrn"), papers.get("d2c_sr")
    ladder = ["btsrn_6+3", "btsrn_6+4"]
    rows = pd.concat([scored(name, "Set14", 2, [31.0, 32.0]) for name in ladder] + [scored("bicubic", "Set14", 2, [30.0], None)])
    said = captions.for_figure(btsrn, ladder, [2], profile("released"), rows)
    data, steps = steps_and_data("btsrn", ladder, 2)
    noise = btsrn.seed_noise("psnr", data)
    assert said == f"protocol btsrn; one seed each, another may move a point by {noise} dB; {steps}"
    alphas = ["d2c_a0.1", "d2c_a0.3", "tree_1_2"]
    rows = pd.concat([*(scored(name, "City100", 1, [29.0]) for name in alphas), scored(alphas[0], "City100", 1, [29.1], seed=1)])
    said = captions.for_figure(d2c, alphas, [1], d2c.setting("released"), rows)
    several = f"{d2c.labels['d2c_a0.1']}: 2"
    data, steps = steps_and_data("d2c_sr", alphas, 1)
    noise = d2c.seed_noise("psnr", data)
    assert said == f"protocol d2c; one seed each ({several}), another may move a point by {noise} dB; {steps}"
    two = pd.concat([scored("btsrn_6+4", "Set14", 2, [31.0], seed) for seed in (0, 1)])
    assert captions.for_figure(papers.get("btsrn"), ["btsrn_6+4"], [2], profile("smoke"), two) == "protocol btsrn; 2 seeds"


def test_styled_shows_the_same_as_markdown(table):
    html = styled(table, "A caption.").data
    assert "A caption." in html and "PSNR (dB), published" in html and "−0.25" in html and "—" in html
    bold = re.search(r"([^{}]+)\{\s*font-weight: bold", html).group(1)
    assert bold.count("#") == 3  # 37.75, and 37.50 twice
    wide = comparison(published("btsrn", "Table 4"), pd.DataFrame(), labels=LABELS, wide=True)
    html = styled(wide).data
    assert html.count("font-weight: bold") == 1 and "Dataset" in html and "37.75" in html
    assert "not tested" in styled(claims_table(evaluate_claims("btsrn", pd.DataFrame()))).data


def test_a_caption_in_a_notebook_is_its_first_sentence_which_unfolds_the_rest(table):
    caption = "Table 4: PSNR (dB) of A+ & co., x2. Protocol y: luma <b>. Profile quick."
    html = styled(table, caption).data
    first, rest = "Table 4: PSNR (dB) of A+ &amp; co., x2.", "Protocol y: luma &lt;b&gt;. Profile quick."
    assert html.startswith(f"<details><summary>{first}</summary>{rest}</details>\n<style")
    assert caption.replace("<", "&lt;") in markdown(table, caption) and "Profile quick.}" in latex(table, caption, "t")
    assert styled(table, "One sentence.").data.startswith("<div>One sentence.</div>\n<style")
    assert "<details" not in styled(table).data and "<caption" not in html


def test_save_table_writes_three_files_whole(table, tmp_path, monkeypatch):
    files = save_table(table, tmp_path / "figures", "table_4", "What it shows.")
    assert [f.name for f in files] == ["table_4.csv", "table_4.md", "table_4.tex"]
    back = pd.read_csv(files[0])
    pd.testing.assert_frame_equal(back, table, check_dtype=False, rtol=1e-7)
    assert files[1].read_text().startswith("What it shows.\n\n| Dataset |")
    check_latex(files[2].read_text())
    old = [f.read_bytes() for f in files]

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(SRError, match="No space left"):
        save_table(table, tmp_path / "figures", "table_4", "Another caption.")
    assert [f.read_bytes() for f in files] == old and len(list((tmp_path / "figures").iterdir())) == 3


def test_save_table_refuses_what_nobody_could_read(table, tmp_path):
    for args, message in (
        ((table.iloc[:0], tmp_path, "t", "c"), "table 't' has no rows"),
        ((table, tmp_path, "t", " "), "caption of table 't' is empty"),
        ((table, tmp_path, "a/b", "c"), r"name \(='a/b'\) must be a file name"),
    ):
        with pytest.raises(SRError, match=message):
            save_table(*args)
    assert list(tmp_path.iterdir()) == []


def test_what_looks_like_html_is_a_text():
    script = "<script>alert(1)</script>"
    table = pd.DataFrame({"method": [script, "a|b"], script: ["x", "y"], "psnr": [30.0, 31.0]})
    wide = table.copy()
    wide.columns = pd.MultiIndex.from_tuples([("", "method"), (script, "note"), (script, "psnr")])
    for shown in (styled(table, script).data, styled(wide, script).data, markdown(table, script)):
        assert "<script" not in shown and shown.count("&lt;script") >= 3
    assert "| a\\|b | y | **31.00** |" in markdown(table, "A caption.")


def test_caption_states_protocol_profile_budget_and_data():
    quick = profile("quick")
    line = captions.for_table("Table 4.", protocol("btsrn"), quick, "City100 stands in.")
    for part in ("Table 4. Protocol btsrn: ", "2 pixels cropped", "Profile quick", quick.budget, quick.data):
        assert part in line
    assert line.endswith("City100 stands in.")
    released = profile("released")
    assert "training data T91+BSD400 where no other is named." in captions.for_table("Costs.", None, released)
    assert captions.for_table("Costs.", None, quick) == f"Costs. Profile quick: {quick.budget}; training data {quick.data}."
    line = captions.for_table("Claims.", None, papers.get("d2c_sr").setting("paper"))
    assert "training data RealSR-V3-x*/train." in line


def test_caption_tells_only_of_the_windows_of_metrics_that_the_table_has():
    gaussian, uniform = "SSIM with Gaussian 11x11", "SSIM with uniform 7x7"

    def said(*columns):
        line = captions.for_table("Table 5.", protocol("prosrn"), profile("quick"), table=pd.DataFrame(columns=list(columns)))
        return gaussian in line, uniform in line

    assert said("method", "psnr_ours@Set5 x2") == (False, False)
    assert said("method", "psnr_ours", "ssim_difference") == (True, False)
    assert said("method", ("ProSRN", "ssim_uniform7_published"), ("ProSRN", "ssim_ours")) == (True, True)
    whole = captions.for_table("Table 5.", protocol("prosrn"), profile("quick"))
    assert gaussian in whole and uniform in whole


def test_seeds_are_those_that_were_scored():
    bicubic = scored("bicubic", "Set5", 2, [30.0], seed=None)
    one, two = (pd.concat([scored(name, "Set5", 2, [31.0, 32.0], seed=i) for i in range(n)]) for name, n in (("a", 1), ("b", 2)))
    assert captions.seeds(pd.DataFrame()) == captions.seeds(bicubic) == ""
    assert captions.seeds(pd.concat([one, bicubic])) == "Seeds: 1."
    collected = pd.concat(
        [scored(name, "Set5", 2, [31.0], seed=i) for name, i in (("bicubic", 0), *(("btsrn", i) for i in range(3)))]
    )
    assert captions.seeds(collected.assign(paper="btsrn")) == "Seeds: 3.", "what is not trained does not count"
    assert captions.seeds(two) == "Seeds: 2." and captions.seeds(pd.concat([one, two])) == "Seeds: 1 to 2."


def test_a_table_of_published_numbers_only_is_known_by_its_csv(table, tmp_path):
    def read(table):
        return pd.read_csv(save_table(table, tmp_path, "t", "c")[0])

    theirs = published("btsrn", "Table 4")
    wide = comparison(theirs, pd.DataFrame(), labels=LABELS, wide=True)
    assert published_only(read(comparison(theirs, pd.DataFrame()))) and published_only(read(wide))
    assert not published_only(read(table))
    assert not published_only(read(comparison(theirs, scored("btsrn", "Set5", 2, [37.0]), labels=LABELS, wide=True)))
    apart = tables.side_by_side(scored("btsrn", "here", 1, [37.0]), theirs, ["psnr"], methods=["btsrn"], labels=LABELS)
    assert not published_only(read(apart))
    assert published_only(read(apart.drop(columns="psnr_ours@here ×1")))
    costs = pd.DataFrame({"method": ["a"], "parameters": [7]})
    assert not published_only(read(costs))  # ours, measured
    assert not published_only(read(claims_table(evaluate_claims("btsrn", pd.DataFrame()))))


def test_numbers_on_other_sets_stand_beside_and_are_never_subtracted():
    ours = pd.DataFrame(
        [
            {"method": m, "dataset": "here", "scale": 1, "seed": s, "image": i, "psnr": 30 + s + v, "parameters": 7}
            for m, v in (("a", 0), ("b", 4))
            for s in (0, 1)
            for i in "xy"
        ]
    )
    theirs = {"dataset": ["there", "there", "-"], "scale": [2, 2, 4], "method": ["a", "c", "a"]}
    printed = pd.DataFrame({**theirs, "metric": ["psnr", "psnr", "parameters"], "value": [31.5, 33.0, 5.0]})
    labels = {"a": "A"}
    table = tables.side_by_side(
        ours, printed, ["psnr"], methods=["c", "a", "b", "d"], labels=labels, network_metrics=["parameters"]
    )
    assert list(table["method"]) == ["c", "A", "b"] and not any("difference" in column for column in table)
    row = table.set_index("method").loc["A"]
    assert (row["psnr_ours@here ×1"], row["psnr_published@there ×2"], row["parameters"]) == (30.5, 31.5, 7)
    assert row["psnr_spread@here ×1"] == pytest.approx(0.5**0.5)
    assert header("psnr_published@there ×2") == "PSNR (dB), published, there ×2"
    sizes = tables.side_by_side(ours.drop(columns="parameters"), printed, ["parameters"], methods=["a"], labels=labels)
    assert list(sizes) == ["method", "parameters_published@×4"]
    assert "**34.50**" in markdown(table, "caption") and "**33.00**" in markdown(table, "caption")


def test_less_is_better_for_some():
    table = pd.DataFrame({"method": ["a", "b"], "gmsd": [0.2, 0.1]})
    assert "**0.1000**" in markdown(table, "caption")
