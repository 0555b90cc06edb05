import dataclasses
import json
import math
import re

import numpy as np
import pandas as pd
import pytest

from srlib import claims, notebooks, papers, paths
from srlib.claims import Claim, evaluate_claims, load_claims, over_images, over_seeds, verdict, verdicts
from srlib.errors import SRError

IMAGES = 40


def claim(left="btsrn", relation=">", right="vdsr", metric="psnr", datasets=("Set5",), scales=(2,), margin=0.0):
    rivals = (right,) if isinstance(right, str) else right
    return Claim("made-up", "btsrn", "1", "Table 1", "Text.", left, relation, rivals, metric, datasets, scales, margin)


def result(method, mean, *, spread=0.02, dataset="Set5", scale=2, seeds=1, images=IMAGES, **columns):
    """Rows around `mean`; the images differ by several dB from each other, alike for all methods."""
    rng = np.random.default_rng(sum(map(ord, method + dataset)) + scale)
    level = np.random.default_rng(0).normal(0, 4, images)
    noise = rng.normal(0, spread, (seeds, images))
    noise -= noise.mean(axis=1, keepdims=True)
    rows = [
        {"method": method, "dataset": dataset, "scale": scale, "seed": seed, "image": f"{i:03d}"}
        | {"psnr": mean + level[i] + noise[seed, i], "ssim": 0.9, "seconds": 0.1}
        | {name: value for name, value in columns.items()}
        for seed in range(seeds)
        for i in range(images)
    ]
    return pd.DataFrame(rows).assign(paper="btsrn")


def both(left, right, **columns):
    return pd.concat([result("btsrn", left, **columns), result("vdsr", right, **columns)], ignore_index=True)


@pytest.mark.parametrize(
    ("relation", "margin", "difference", "expected"),
    [
        (">", 0.0, 0.3, "holds"),
        (">", 0.0, -0.3, "contradicted"),
        (">", 0.2, 0.35, "holds"),
        (">", 0.5, 0.3, "contradicted"),
        (">", -0.3, -0.1, "holds"),  # not worse by 0.3
        ("<", 0.0, -0.3, "holds"),
        ("<", 0.0, 0.3, "contradicted"),
        ("<", 0.3, -0.1, "contradicted"),
        ("approx", 0.3, 0.1, "holds"),
        ("approx", 0.3, -0.1, "holds"),
        ("approx", 0.3, 0.5, "contradicted"),
        ("approx", 0.3, -0.5, "contradicted"),
        ("best", 0.0, 0.3, "holds"),
        ("best", 0.0, -0.3, "contradicted"),
    ],
)
def test_a_clear_difference_is_judged_by_relation_and_margin(relation, margin, difference, expected):
    found = verdict(claim(relation=relation, margin=margin), both(30 + difference, 30.0))
    assert found.verdict == expected
    assert found.estimate == pytest.approx(difference, abs=1e-9)
    assert found.low < difference < found.high
    assert (found.n_images, found.n_seeds) == (IMAGES, 1)
    assert "one seed" in found.detail and "Set5 x2" in found.detail


@pytest.mark.parametrize(("relation", "margin"), [(">", 0.0), ("<", 0.0), ("approx", 0.1)])
def test_a_wide_interval_is_inconclusive(relation, margin):
    difference = 0.08 if relation == "approx" else 0.1
    found = verdict(claim(relation=relation, margin=margin), both(30 + difference, 30.0, spread=1.5, seeds=3))
    assert found.verdict == "inconclusive"
    assert found.low < 0 < found.high


def test_without_rows_a_claim_is_not_tested():
    for rows in (pd.DataFrame(), result("btsrn", 30.0), result("vdsr", 30.0), both(31, 30).assign(dataset="B100")):
        found = verdict(claim(), rows)
        assert found.verdict == "not tested" and math.isnan(found.estimate) and found.n_images == 0


def test_one_seed_cannot_decide_within_the_noise_of_training():
    near = both(30.04, 30.0, spread=0.001)
    found = verdict(claim(), near)
    assert found.verdict == "inconclusive" and (found.low, found.high) == pytest.approx((-0.06, 0.14), abs=1e-4)
    assert "one seed" in found.detail and "undecided for the noise of 0.100 dB" in found.detail
    assert verdict(claim(), both(30.11, 30.0, spread=0.001)).verdict == "holds"
    # Three seeds say how large the noise is, so the interval decides.
    assert verdict(claim(), both(30.04, 30.0, spread=0.001, seeds=3)).verdict == "holds"
    # Bicubic is not trained: one network with three seeds is enough.
    rows = pd.concat([result("btsrn", 30.04, spread=0.001, seeds=3), result("bicubic", 30.0, spread=0.001)])
    found = verdict(claim(right="bicubic"), rows)
    assert found.verdict == "holds" and found.n_seeds == 3
    # What counts is the distance from the margin.
    assert verdict(claim(margin=-0.03), both(30.0, 30.0, spread=0.001)).verdict == "inconclusive"
    assert verdict(claim(relation="approx", margin=0.2), both(30.03, 30.0, spread=0.001)).verdict == "holds"
    assert verdict(claim(relation="approx", margin=0.2), both(30.17, 30.0, spread=0.001)).verdict == "inconclusive"


def test_a_paper_can_have_more_noise():
    noisy = dataclasses.replace(papers.get("btsrn"), noise={"psnr": 0.3})
    rows = both(30.2, 30.0, spread=0.001)
    assert verdict(claim(), rows).verdict == "holds"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(papers, "get", lambda name: noisy)
        found = verdict(claim(), rows)
        assert found.verdict == "inconclusive" and "noise of 0.300 dB" in found.detail
        assert verdict(claim(), both(30.4, 30.0, spread=0.001)).verdict == "holds"


def test_seeds_that_disagree_widen_the_interval():
    def seeds(offsets):
        frames = [result("btsrn", 30.1 + offset, spread=0.01).assign(seed=i) for i, offset in enumerate(offsets)]
        return pd.concat([*frames, result("vdsr", 30.0, spread=0.01, seeds=3)])

    calm, wild = verdict(claim(), seeds([0, 0.01, -0.01])), verdict(claim(), seeds([0, 0.4, -0.4]))
    assert calm.verdict == "holds" and wild.verdict == "inconclusive"
    assert wild.estimate == pytest.approx(calm.estimate)
    assert wild.high - wild.low > 10 * (calm.high - calm.low)


def test_few_images_cannot_decide():
    found = verdict(claim(), both(32.0, 30.0, images=claims.MIN_IMAGES - 1))
    assert found.verdict == "inconclusive" and "too few images" in found.detail
    assert verdict(claim(), both(32.0, 30.0, images=claims.MIN_IMAGES)).verdict == "holds"


def test_images_are_paired():
    rows = both(30.2, 30.0, seeds=3)
    paired = verdict(claim(), rows)
    assert paired.high - paired.low < 0.05  # the images differ by several dB
    shuffled = rows.sample(frac=1, random_state=1)
    assert verdict(claim(), shuffled) == paired
    levels = rows.loc[rows["method"] == "vdsr", "psnr"].to_numpy()[::-1]
    unpaired = rows.assign(psnr=np.concatenate([rows.loc[rows["method"] == "btsrn", "psnr"], levels]))
    broken = verdict(claim(), unpaired)
    assert broken.estimate == pytest.approx(paired.estimate) and broken.high - broken.low > 1


def test_over_several_sets_and_scales():
    every = claim(datasets=("Set5", "B100"), scales=(2, 3))

    def rows(differences):
        return pd.concat([both(30 + d, 30.0, dataset=s, scale=x) for (s, x), d in differences.items()])

    good = {("Set5", 2): 0.3, ("Set5", 3): 0.2, ("B100", 2): 0.15, ("B100", 3): 0.4}
    found = verdict(every, rows(good))
    assert found.verdict == "holds"
    assert found.estimate == pytest.approx(0.15) and "least: B100 x2" in found.detail  # the weakest is shown
    assert [v.verdict for v in verdicts(every, rows(good)).values()] == ["holds"] * 4
    found = verdict(every, rows(good | {("Set5", 3): -0.2}))
    assert found.verdict == "contradicted" and "1 contradicted" in found.detail and found.estimate == pytest.approx(-0.2)
    assert verdict(every, rows(good | {("Set5", 3): 0.01})).verdict == "inconclusive"
    part = {key: d for key, d in good.items() if key != ("B100", 3)}
    found = verdict(every, rows(part))
    assert found.verdict == "holds where tested" and "3 of 4 tested: 3 holds; least: B100 x2" in found.detail
    assert verdict(every, rows(part | {("Set5", 2): 0.01})).verdict == "inconclusive"  # tested, and undecided
    assert verdicts(every, rows(part))[claims.Cell("vdsr", "B100", 3)].verdict == "not tested"
    assert verdict(every, rows(part | {("Set5", 2): -0.2})).verdict == "contradicted"
    # A star takes what there is.
    assert verdict(dataclasses.replace(every, datasets=(), scales=()), rows(part)).verdict == "holds"
    assert verdict(dataclasses.replace(every, datasets=()), rows(part)).verdict == "holds where tested"


def test_best_needs_every_rival():
    best = claim("btsrn_7+3", "best", ("btsrn_6+4", "btsrn_5+5"))
    top, second, third = result("btsrn_7+3", 31), result("btsrn_6+4", 30.8), result("btsrn_5+5", 30)
    found = verdict(best, pd.concat([top, second, third]))
    assert found.verdict == "holds" and "BTSRN 7+3 against BTSRN 6+4" in found.detail and found.estimate == pytest.approx(0.2)
    assert verdict(best, pd.concat([top, third])).verdict == "holds where tested"
    assert verdict(best, pd.concat([top, second.assign(psnr=second["psnr"] + 1)])).verdict == "contradicted"
    assert verdict(best, pd.concat([second, third])).verdict == "not tested"
    # The best cost is the smallest.
    costs = pd.DataFrame({"method": ["btsrn_7+3", "btsrn_6+4", "btsrn_5+5"], "scale": 2, "mult_adds": [1.0, 2.0, 3.0]})
    assert verdict(dataclasses.replace(best, metric="mult_adds"), pd.DataFrame(), costs).verdict == "holds"


def test_costs_are_compared_as_ratios():
    costs = pd.DataFrame({"method": ["btsrn", "vdsr"], "scale": 2, "mult_adds": [430.8, 612.6]})
    found = verdict(claim(relation="<", metric="mult_adds"), pd.DataFrame(), costs)
    assert found.verdict == "holds" and found.low == found.high == found.estimate == pytest.approx(430.8 / 612.6 - 1)
    assert verdict(claim(metric="step_memory"), both(30, 30), costs).verdict == "not tested"
    with pytest.raises(SRError, match="mult_adds of btsrn x2 2 times"):
        verdict(claim(metric="mult_adds"), pd.DataFrame(), pd.concat([costs, costs.iloc[:1]]))


def timed(left, right, **changes) -> pd.DataFrame:
    """Costs of two networks that were measured in rounds."""
    joined = [";".join(map(str, side)) for side in (left, right)]
    shared = {"scale": 2, "session": "one", "busy": 0.0}
    table = {"method": ["btsrn", "vdsr"], "seconds": [min(left), min(right)], "seconds_rounds": joined, **shared}
    return pd.DataFrame({**table, **changes})


class TestTimes:
    SLOW, FAST = [1.50, 1.52, 1.49, 1.51, 1.53, 1.50], [1.0, 1.01, 0.99, 1.0, 1.02, 1.0]

    def word(self, relation: str, margin: float, costs: pd.DataFrame) -> str:
        return verdict(claim(relation=relation, metric="seconds", margin=margin), pd.DataFrame(), costs).verdict

    def test_an_interval_over_rounds_decides(self):
        costs = timed(self.SLOW, self.FAST)
        found = verdict(claim(metric="seconds", margin=0.4), pd.DataFrame(), costs)
        assert found.verdict == "holds" and found.estimate == pytest.approx(sum(self.SLOW) / sum(self.FAST) - 1)
        assert found.low == pytest.approx(found.estimate - claims.REPEATED, abs=2e-3)
        assert re.fullmatch(r"x2: BTSRN against VDSR \+50.\d % \[\+45.\d %, \+55.\d %\], 6 rounds", found.detail)
        assert self.word("<", 0, costs) == "contradicted" and self.word("approx", 0.6, costs) == "holds"
        assert self.word(">", 0.49, costs) == "inconclusive"

    def test_one_disturbed_round_in_which_both_are_slow_changes_little(self):
        costs = timed([*self.SLOW, 3.0], [*self.FAST, 2.0])
        assert self.word(">", 0.4, costs) == "holds"

    def test_the_verdict_does_not_flip_on_a_busy_machine(self):
        """-42.6 % once and +0.4 % later: neither is believed."""
        for left, right in (([0.574] * 6, [1.0] * 6), ([1.004] * 6, [1.0] * 6)):
            busy = timed(left, right, busy=[0.0, 0.96])
            found = verdict(claim(relation="<", metric="seconds"), pd.DataFrame(), busy)
            assert found.verdict == "inconclusive" and found.detail.endswith("6 rounds, while other processes used 0.96 cores")

    def test_rounds_that_differ_widely_decide_nothing(self):
        left = [0.5, 1.6, 0.7, 1.5, 0.6, 1.4]
        assert self.word("<", 0, timed(left, [1.0, 1.1, 1.4, 1.0, 1.3, 1.2])) == "inconclusive"

    @pytest.mark.parametrize(
        ("changes", "detail"),
        [
            ({"session": ["one", "other"]}, "not measured in the same rounds"),
            ({"seconds_rounds": [None, None]}, "measured once, not in rounds"),
            ({"seconds_rounds": ["1.5;1.5", "1;1"]}, "2 rounds, fewer than 5"),
            ({"seconds_rounds": ["1.5", "1.0"]}, "1 rounds, fewer than 5"),
        ],
    )
    def test_what_was_not_measured_side_by_side_is_inconclusive(self, changes, detail):
        found = verdict(claim(metric="seconds"), pd.DataFrame(), timed(self.SLOW, self.FAST, **changes))
        assert found.verdict == "inconclusive" and found.detail.endswith(detail)
        assert found.estimate == pytest.approx(0.5, abs=0.02)

    def test_of_one_side_alone_is_not_tested(self):
        assert self.word(">", 0, timed(self.SLOW, self.FAST).iloc[:1]) == "not tested"

    def test_interval_of_a_ratio_covers_the_truth(self):
        rng, hits = np.random.default_rng(0), 0
        for _ in range(400):
            shared = rng.uniform(1, 1.5, 7)
            d, half = claims.ratio(1.3 * shared * rng.normal(1, 0.03, 7), shared * rng.normal(1, 0.03, 7))
            hits += abs(d - 0.3) < half
        assert 0.91 < hits / 400 < 0.99

    def test_of_single_images_are_not_taken(self):
        """They were measured one network after the other."""
        rows = pd.concat([result("btsrn", 30, seconds=0.1), result("vdsr", 30, seconds=0.3)])
        assert verdict(claim(relation="<", metric="seconds"), rows).verdict == "not tested"


def test_parameters_are_a_counted_cost():
    counts = pd.DataFrame({"method": ["btsrn", "vdsr"], "scale": 2, "parameters": [407_441, 814_242]})
    found = verdict(claim(relation="<", metric="parameters"), pd.DataFrame(), counts)
    assert found.verdict == "holds" and found.low == found.high == found.estimate == pytest.approx(407_441 / 814_242 - 1)
    assert found.detail == "x2: BTSRN against VDSR -50.0 %, counted"
    same = counts.assign(parameters=407_441)
    assert verdict(claim(relation="approx", metric="parameters", margin=1e-3), pd.DataFrame(), same).verdict == "holds"
    assert verdict(claim(relation="<", metric="parameters"), pd.DataFrame(), same).verdict == "contradicted"


def test_the_interval_covers_the_truth_about_as_often_as_it_says(monkeypatch):
    monkeypatch.setattr(claims, "RESAMPLES", 1000)
    rng = np.random.default_rng(0)
    trials, hits = 300, dict.fromkeys((5, 14, 25, 2, 3, 8, "paired"), 0)
    for _ in range(trials):
        for images in (5, 14, 25):
            level = rng.normal(30, 4, (images, 1))
            left = level + 0.2 + rng.normal(0, 0.3, (images, 1))
            _, low, high = over_images(left, level + rng.normal(0, 0.3, (images, 1)))
            hits[images] += low < 0.2 < high
        for seeds in (2, 3, 8):
            left, right = (rng.normal(0, 0.1, (1, seeds)) + rng.normal(0, 0.02, (25, seeds)) for _ in range(2))
            hits[seeds] += abs((left - right).mean()) < over_seeds(left, right)
        shared = rng.normal(0, 0.3, (1, 3))  # what a seed does to both sides
        left, right = (shared + rng.normal(0, 0.1, (1, 3)) for _ in range(2))
        hits["paired"] += abs((left - right).mean()) < over_seeds(left, right, same_seeds=True)
    for n, found in hits.items():
        assert 0.91 < found / trials < 0.99, (n, found / trials)


def test_patches_of_one_picture_stay_together():
    rng = np.random.default_rng(0)
    difference = np.repeat(rng.normal(0.2, 1, 12), 50)[:, None]  # each picture has its own, and each patch the picture's
    pictures = np.repeat(np.arange(12), 50)
    alone = over_images(difference, np.zeros_like(difference))
    together = over_images(difference, np.zeros_like(difference), pictures)
    assert alone[0] == pytest.approx(together[0])
    assert (together[2] - together[1]) == pytest.approx(7.6 * (alone[2] - alone[1]), rel=0.2)  # sqrt(50) * 2.20 / 1.96
    # a picture counts by its patches
    uneven = np.concatenate([np.full(90, 1.0), np.full(10, 0.0)])[:, None]
    d, low, high = over_images(uneven, np.zeros_like(uneven), np.repeat(["a", "b"], [90, 10]))
    assert d == pytest.approx(0.9) and low < 0.9 < high
    rows = pd.concat([result("btsrn", 30.3, images=12), result("vdsr", 30.0, images=12)])
    rows["image"] = "img_" + (rows["image"].astype(int) % 4).astype(str) + "@0," + rows["image"]
    found = verdict(claim(), rows)
    assert found.n_images == 4 and "12 patches of 4 images" in found.detail and "too few images" in found.detail


def test_seeds_of_both_sides_are_compared_with_each_other():
    rng = np.random.default_rng(3)
    drift = dict(enumerate(rng.normal(0, 0.5, 3)))  # what a seed does to every network that is trained with it
    rows = pd.concat([result("btsrn", 30.2, seeds=3), result("vdsr", 30.0, seeds=3)])
    rows["psnr"] += rows["seed"].map(drift)
    assert verdict(claim(), rows).verdict == "holds"
    equal = pd.concat([rows[rows["method"] == "btsrn"], rows[rows["method"] == "btsrn"].assign(method="vdsr")])
    same = verdict(claim(margin=0.1), equal)
    assert same.verdict == "contradicted" and same.estimate == same.low == same.high == 0
    fewer = equal[(equal["method"] == "btsrn") | (equal["seed"] == 0)]
    found = verdict(claim(margin=0.1), fewer)
    assert found.low < -0.1  # seeds that one side lacks stand for no others
    assert "3 seeds against 1" in found.detail and found.n_seeds == 1


def test_the_interval_is_that_of_the_mean():
    x = np.random.default_rng(1).normal(0, 1, (400, 1))
    _, low, high = over_images(x, np.zeros((400, 1)))
    assert (high - low) / 2 == pytest.approx(1.96 * x.std(ddof=1) / 20, rel=0.03)
    assert over_images(x, np.zeros((400, 1))) == over_images(x, np.zeros((400, 1)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"relation": ">="}, "unknown relation of claim 'made-up': '>='"),
        ({"metric": "psrn"}, "Did you mean 'psnr'"),
        ({"left": "btsnr"}, "unknown method of claim 'made-up': 'btsnr'. Did you mean 'btsrn'"),
        ({"right": ("vdrs",)}, "Did you mean 'vdsr'"),
        ({"paper": "btsnr"}, "unknown paper 'btsnr'"),
        ({"right": ("btsrn",)}, "expected methods other than left"),
        ({"right": ()}, "expected methods other than left"),
        ({"right": ("vdsr", "bicubic")}, 'only the relation "best" takes several'),
        ({"relation": "approx"}, "expected a number, for approx one above 0"),
        ({"margin": math.nan}, "expected a number"),
    ],
)
def test_a_claim_that_makes_no_sense(change, message):
    with pytest.raises(SRError) as caught:
        dataclasses.replace(claim(), **change)
    assert message in str(caught.value)


def test_rows_that_do_not_match():
    rows = both(30.3, 30.0)
    with pytest.raises(SRError, match=r"vdsr on Set5 x2 lacks 1 images that btsrn has, first '007'; evaluate both"):
        verdict(claim(), rows[(rows["method"] == "btsrn") | (rows["image"] != "007")])
    with pytest.raises(SRError, match=r"btsrn on Set5 x2 lacks 2 images that vdsr has, first '007'"):
        verdict(claim(), rows[(rows["method"] == "vdsr") | ~rows["image"].isin(["007", "008"])])
    seeds = both(30.3, 30.0, seeds=2)
    with pytest.raises(SRError, match=r"image '003' of btsrn on Set5 x2 has no psnr in some seed"):
        verdict(claim(), seeds.drop(seeds.query("method == 'btsrn' and seed == 1 and image == '003'").index))
    twice = pd.concat([rows, rows.assign(psnr=math.nan)])  # from a notebook that has other metrics of them
    assert verdict(claim(), twice) == verdict(claim(), rows)
    with pytest.raises(SRError, match="two values of psnr for image '000' of btsrn on Set5 x2"):
        verdict(claim(), pd.concat([rows, rows.assign(psnr=rows["psnr"] + 1)]))
    assert verdict(claim(), pd.concat([rows, rows])) == verdict(claim(), rows)
    with pytest.raises(SRError, match="infinite psnr"):
        verdict(claim(), rows.assign(psnr=rows["psnr"].where(rows["image"] != "001", math.inf)))
    with pytest.raises(SRError, match="rows lack the column 'seed'"):
        verdict(claim(), rows.drop(columns="seed"))


def test_rows_of_other_papers_do_not_count():
    other = both(20.0, 30.0).assign(paper="other")
    assert verdict(claim(), pd.concat([both(30.3, 30.0), other])).verdict == "holds"


def test_evaluate_claims_gives_a_row_per_claim_or_per_set():
    rows = pd.concat([both(31, 30, dataset=d, scale=s) for d in ("Set5", "Set14", "B100", "Urban100") for s in (2, 3, 4)])
    table = evaluate_claims("btsrn", rows).set_index("id")
    assert len(table) == len(load_claims("btsrn"))
    assert table.loc["btsrn-vdsr", "verdict"] == "holds" and table.loc["btsrn-vdsr", "unit"] == "dB"
    assert set(table.drop("btsrn-vdsr")["verdict"]) == {"not tested"}
    each = evaluate_claims("btsrn", rows, per_set=True)
    mine = each[each["id"] == "btsrn-vdsr"]
    assert len(mine) == 12 and set(mine["dataset"]) == {"Set5", "Set14", "B100", "Urban100"}
    assert list(evaluate_claims("btsrn", pd.DataFrame())["verdict"].unique()) == ["not tested"]
    with pytest.raises(SRError, match="Did you mean 'btsrn'"):
        evaluate_claims("btrsn", rows)


@pytest.fixture
def own_file(tmp_path, monkeypatch):
    """Write claims of our own into a repository of our own."""
    header = "id,paper,section,source,text,left,relation,right,metric,datasets,scales,margin\n"
    folder = tmp_path / "home" / "data" / "published"
    folder.mkdir(parents=True)
    monkeypatch.setenv("SRLIB_HOME", str(tmp_path / "home"))
    return lambda *lines: (folder / "claims.csv").write_text(header + "\n".join(lines))


def test_load_claims_reads_lists_and_stars(own_file):
    own_file(
        "a,btsrn,4,Table 4,T.,btsrn_7+3,best,btsrn_6+4; btsrn_5+5,psnr,Set5;B100,2;3,0.1",
        "b,btsrn,4,x,T.,btsrn,>,vdsr,psnr,*,*,0",
    )
    first, second = load_claims()
    assert first.right == ("btsrn_6+4", "btsrn_5+5") and first.datasets == ("Set5", "B100") and first.scales == (2, 3)
    assert first.margin == 0.1 and second.datasets == () and second.scales == ()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a,btsrn,4,x,T.,btsrn,>,vdsr,psnr,*,two,0"], "claim 'a' in claims.csv: invalid literal"),
        (["a,btsrn,4,x,T.,btsrn,>,vdsr,psnr,*,2,none"], "scales are 2;3;4 or *"),
        (["a,btsrn,4,x,T.,btsrn,>,vdsr,psnr,*,2,0"] * 2, "has the id 'a' twice"),
        (["a,btsrn,4,x,T.,btsrn,beats,vdsr,psnr,*,2,0"], "unknown relation of claim 'a': 'beats'"),
    ],
)
def test_load_claims_says_which_row_is_wrong(own_file, lines, message):
    own_file(*lines)
    with pytest.raises(SRError) as caught:
        load_claims()
    assert message in str(caught.value)


def test_the_summary_of_one_paper_leaves_the_claims_of_the_others_as_they_are():
    notebooks.save_metrics(pd.concat([result("btsrn", 33.0), result("vdsr", 32.0)]), "smoke", "render", "btsrn")
    other = notebooks.figures_folder("smoke", "ddet") / "claims.csv"
    other.parent.mkdir(parents=True)
    other.write_text("of an earlier run")
    cells = json.loads((paths.home() / "notebooks" / "summary.ipynb").read_text())["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    exec(code.replace('profile = "quick"', 'profile = "smoke"'), {})
    assert "BTSRN" in (notebooks.figures_folder("smoke", "btsrn") / "claims.csv").read_text()
    assert other.read_text() == "of an earlier run"
