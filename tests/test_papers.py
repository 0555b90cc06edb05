import dataclasses
import itertools

import pytest
import torch
from networks import parameters

from srlib import papers
from srlib.core.errors import SRError
from srlib.core.protocols import protocol
from srlib.nn import models
from srlib.papers import btsrn, d2c_sr, ddet, prosrn
from srlib.papers.base import Method, Paper
from srlib.papers.profiles import PROFILES, profile
from srlib.papers.prosrn.gan import SMALLEST
from srlib.papers.prosrn.model import General, Memory, Residual
from srlib.train.experiment import Experiment

ALL = [papers.get(name) for name in papers.names()]
DIGEST = "0123456789"


each = pytest.mark.parametrize("paper", ALL, ids=lambda paper: paper.name)


def changes(method: Method) -> dict:
    """What an experiment needs besides its name: which weights it starts from."""
    return {"start": DIGEST} if method.start else {}


def build(paper: Paper, name: str, scale: int, chosen: str) -> torch.nn.Module:
    """Return a network of a profile's size that takes no memory."""
    experiment = paper.experiment(name, scale, chosen, **changes(paper.method(name)))
    with torch.device("meta"):
        return models.create(experiment.model, scale, **experiment.model_args)


def size(paper: Paper, name: str, scale: int, chosen: str) -> int:
    return parameters(build(paper, name, scale, chosen))


@each
@pytest.mark.parametrize("chosen", PROFILES)
def test_every_method_is_an_experiment_of_every_profile(paper, chosen):
    for name, method in {**paper.methods, **paper.ablations}.items():
        scales = [scale for scale in paper.scales_of(PROFILES[chosen]) if paper.has(name, scale)]
        for scale in scales:
            if not method.trained:
                models.create(method.model, scale, **method.args)
                continue
            experiment = paper.experiment(name, scale, chosen, seed=3, **changes(method))
            trained_at = method.trained_at or scale
            assert (experiment.name, experiment.paper, experiment.scale, experiment.seed) == (name, paper.name, trained_at, 3)
            if scale == scales[0]:  # the others differ in their tails
                build(paper, name, scale, chosen)


@each
def test_names_and_protocols_exist(paper):
    assert papers.get(paper.name) is paper
    protocol(paper.protocol)
    assert not paper.methods.keys() & paper.ablations.keys()
    assert all(method.label for method in paper.methods.values())
    assert {*paper.compared, *paper.reference_methods} <= paper.methods.keys()


@each
def test_methods_start_from_trained_methods_that_fit(paper):
    for name, method in {**paper.methods, **paper.ablations}.items():
        for part, start in method.start.items():
            first = paper.method(start)
            assert first.trained and not first.start
            scales = [method.trained_at] if method.trained_at else [s for s in paper.scales if paper.has(name, s)]
            assert all(paper.has(start, scale) for scale in scales)
            for sizes in (lambda one: one.args, lambda one: one.short.get("model_args", one.args)):
                with torch.device("meta"):
                    net, begun = (models.create(one.model, scales[0], **sizes(one)) for one in (method, first))
                shapes = [{k: v.shape for k, v in one.state_dict().items()} for one in (net.get_submodule(part), begun)]
                assert shapes[0] == shapes[1]


def test_scales_are_those_that_paper_profile_and_method_have():
    ours, theirs = papers.get("btsrn"), papers.get("prosrn")
    assert (ours.scales_of(profile("smoke")), ours.scales_of(profile("paper"))) == ([2], [2, 3, 4])
    assert (theirs.scales_of(profile("smoke")), theirs.scales_of(profile("paper"))) == ([2], [2, 4, 8])
    assert [theirs.has("lapsrn", scale) for scale in (2, 3, 4, 8)] == [True, False, True, True]
    assert [theirs.has("srgan", scale) for scale in (2, 4, 8)] == [False, True, False]


def test_networks_beside_a_paper_and_ablations_have_some_of_its_sets_where_a_profile_says_so():
    difficulty, released = papers.get("difficulty_sr"), profile("released")
    assert difficulty.tests("idn", released) == ("Set5", "Set14", "B100", "Urban100")
    assert difficulty.tests("vdsr", released) == difficulty.tests("dual_cnn", released) == ("Set5", "Set14", "B100")
    assert difficulty.tests("vdsr", profile("paper")) == difficulty.tests("idn", profile("paper"))
    assert papers.get("btsrn").tests("vdsr", released) == released.tests  # the rival of its table
    prosrn = papers.get("prosrn")
    for name in ("drrn", "drrn_official"):  # the slowest of all
        assert prosrn.tests(name, released) == ("Set5", "Set14")
        assert prosrn.tests(name, profile("quick")) == profile("quick").tests
    ddet = papers.get("ddet")
    sets = "City100-nikon/test20", "City100-iphone/test20", "RealSR-NTIRE19"
    assert ddet.tests("ddet", ddet.setting("released")) == sets
    assert ddet.tests("kpn_5", ddet.setting("released")) == sets[:1]


def test_a_trained_method_is_found_by_its_name_where_one_paper_trains_it():
    known = papers.experiments()
    assert [paper.name for paper in known["btsrn"]] == ["btsrn"] and "bicubic" not in known
    for name, trained_by in known.items():
        assert all(papers.find(f"{paper.name}/{name}") == (paper, name) for paper in trained_by)
        if len(trained_by) == 1:
            assert papers.find(name) == (trained_by[0], name)


def test_a_name_of_several_trainings_has_to_be_qualified():
    three = "btsrn/vdsr, prosrn/vdsr, difficulty_sr/vdsr"
    with pytest.raises(SRError, match=f"'vdsr' names 3 different trainings; say which: {three}"):
        papers.find("vdsr")
    with pytest.raises(SRError, match="'vdsr' names 2 different trainings; say which: btsrn/vdsr, difficulty_sr/vdsr"):
        papers.find("vdsr", 3)
    assert papers.find("vdsr", 8) == (papers.get("prosrn"), "vdsr") == papers.find("prosrn/vdsr")


def test_borrowed_methods_are_trained_by_the_lender_in_the_same_network():
    for paper in map(papers.get, papers.names()):
        for name, lender in paper.borrows.items():
            ours, theirs = (one.experiment(name, 1 if 1 in one.scales else 2, "released") for one in (paper, papers.get(lender)))
            assert (ours.model, ours.model_args) == (theirs.model, theirs.model_args) or name == "lp_kpn"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: papers.get("btsr"), "unknown paper 'btsr'.*'btsrn'"),
        (lambda: papers.find("vdsrr"), "unknown experiment 'vdsrr'.*'vdsr'"),
        (lambda: papers.find("bicubic"), "unknown experiment 'bicubic'"),
        (lambda: papers.find("btsrn/vdrs"), "unknown experiment 'btsrn/vdrs'.*'btsrn/vdsr'"),
        (lambda: papers.find("btsrn/prosrn"), "unknown experiment 'btsrn/prosrn'"),
        (lambda: papers.get("btsrn").method("srcn"), "unknown method of btsrn: 'srcn'.*'srcnn'"),
        (lambda: papers.get("btsrn").experiment("bicubic", 2, "smoke"), "method 'bicubic' is not trained"),
        (lambda: papers.get("btsrn").experiment("vdsr", 2, "smok"), "unknown profile 'smok'.*'smoke'"),
        (lambda: papers.get("btsrn").experiment("vdsr", 6, "smoke"), r"scale \(=6\) of vdsr must .* btsrn has: x2, x3, x4"),
        (lambda: papers.get("prosrn").experiment("lapsrn", 3, "smoke"), r"scale \(=3\) of lapsrn must be .*: x2, x4, x8"),
        (lambda: papers.get("prosrn").experiment("srgan", 2, "quick"), r"scale \(=2\) of srgan must be .* prosrn has: x4"),
        (lambda: papers.get("prosrn").experiment("srgan", 4, "quick"), "srgan trains against .* needs trained weights to start"),
        (lambda: papers.get("btsrn").experiment("vdsr", 2, "smoke", bacth=2), "unknown field of an experiment: 'bacth'.*'batch'"),
        (lambda: papers.get("btsrn").experiment("vdsr", 2, "smoke", model="srcnn"), "unknown field of an experiment: 'model'"),
    ],
)
def test_bad_names_are_told(call, message):
    with pytest.raises(SRError, match=message):
        call()


def test_changes_win_over_the_profile_and_the_profile_over_the_paper():
    paper = papers.get("btsrn")
    assert [paper.experiment("btsrn", 2, chosen).hr_patch for chosen in ("paper", "smoke")] == [108, 36]
    assert paper.experiment("btsrn", 2, "smoke", hr_patch=12).hr_patch == 12


@pytest.mark.parametrize(
    ("chosen", "changes", "budget"),
    [
        ("paper", {}, (16 * 17_250, None)),
        ("paper", {"minutes": 5.0}, (None, 5.0)),
        ("paper", {"steps": 7}, (7, None)),
        ("smoke", {}, (4, None)),
        ("smoke", {"minutes": 5.0}, (None, 5.0)),
        ("released", {}, (None, 30.0)),
        ("released", {"steps": 7}, (7, None)),
        ("released", {"minutes": 2.0}, (None, 2.0)),
    ],
)
def test_one_budget_remains(chosen, changes, budget):
    experiment = papers.get("btsrn").experiment("vdsr", 2, chosen, **changes)
    assert (experiment.steps, experiment.minutes) == budget


def test_two_budgets_are_refused():
    with pytest.raises(SRError, match=r"give steps \(=7\) or minutes \(=2.0\), exactly one"):
        papers.get("btsrn").experiment("vdsr", 2, "released", steps=7, minutes=2.0)


@pytest.mark.parametrize(("chosen", "fitted", "trained"), [("released", "T91", "T91+BSD400"), ("quick", "embedded", "embedded")])
def test_what_is_fitted_has_data_of_its_own(chosen, fitted, trained):
    for paper, name in (("prosrn", "aplus"), ("prosrn", "rfl"), ("difficulty_sr", "aplus")):
        assert papers.get(paper).experiment(name, 2, chosen).data == fitted
        assert papers.get(paper).experiment("fsrcnn", 2, chosen).data == trained


def test_small_profiles_divide_channels_and_nothing_else():
    paper, smoke = papers.get("btsrn"), profile("smoke")
    assert paper.experiment("btsrn", 2, smoke).model_args == {"width": 32, "bottleneck": 16}
    assert paper.experiment("btsrn", 2, "released").model_args == {"width": 128, "bottleneck": 64}
    assert "1/4 the channels" in smoke.budget and "channels" not in profile("paper").budget
    assert paper.experiment("btsrn_7+3", 2, smoke).model_args == {"low": 7, "high": 3, "width": 32, "bottleneck": 16}
    assert paper.experiment("btsrn_7+3", 2, "paper").model_args["width"] == 128
    assert paper.experiment("btsrn_7+3", 2, smoke).steps == smoke.ablation["steps"]


def test_all_seeds_and_methods_have_runs_of_their_own():
    keys = [
        paper.experiment(name, (method.scales or paper.scales)[0], "quick", seed, **changes(method)).key("f")
        for paper in ALL
        for name, method in {**paper.methods, **paper.ablations}.items()
        if method.trained
        for seed in (0, 1)
    ]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    ("paper", "scale", "names"),
    [
        (btsrn.PAPER, 2, btsrn.SPLITS + btsrn.HIGH_STAGE + btsrn.LOW_STAGE),
        (btsrn.PAPER, 2, btsrn.BLOCKS),
        (prosrn.PAPER, 2, [*prosrn.STRUCTURES, *prosrn.DEPTHS, "prosrn"]),
        (ddet.PAPER, 1, {*ddet.RIVALS, *ddet.LADDER, *ddet.VARIANTS} - {*ddet.PUBLISHED_METHODS}),
    ],
)
def test_compared_networks_differ_only_in_what_is_compared(paper, scale, names):
    for chosen in PROFILES if paper is ddet.PAPER else ["paper"]:
        trainings = [dataclasses.asdict(paper.experiment(name, scale, chosen)) for name in names]
        for fields in trainings:
            for own in ("name", "model", "model_args", "validation"):
                del fields[own]
        assert all(fields == trainings[0] for fields in trainings), "one budget, ablations too"


class TestBTSRN:
    def test_the_papers_training(self):
        e = btsrn.PAPER.experiment("btsrn", 2, "paper")
        assert (e.batch, e.hr_patch, e.learning_rate, e.loss, e.data) == (32, 108, 1e-3, "mse", "DIV2K")
        per_pass = e.steps // 16
        rates = [e.rate(n * per_pass / e.steps) for n in range(16)]
        assert rates == pytest.approx([1e-3 * 0.6**n for n in range(16)])

    def test_experiments_of_its_tables_and_figures(self):
        known = btsrn.PAPER.ablations
        assert {*btsrn.HIGH_STAGE, *btsrn.LOW_STAGE, *btsrn.SPLITS, *btsrn.BLOCKS} == set(known)
        assert [known[name].args["high"] for name in btsrn.HIGH_STAGE] == [3, 4, 5]
        assert [known[name].args["low"] for name in btsrn.LOW_STAGE] == [5, 6, 7, 8, 9]
        assert {(known[n].args["low"], known[n].args["high"]) for n in btsrn.SPLITS} == {(n, 10 - n) for n in range(11)}
        assert {known[name].args["block"] for name in btsrn.BLOCKS} == {"pixelcnn", "pixelcnn_gated", "pixelcnnpp", "pconv"}
        assert {known[name].args["bottleneck"] for name in btsrn.BLOCKS} == {32}


class TestProSRN:
    def test_the_papers_training(self):
        e = prosrn.PAPER.experiment("prosrn", 2, "paper")
        assert (e.data, e.learning_rate, e.loss, e.model_args) == ("DIV2K", 1e-4, "charbonnier", {"width": 64})
        assert e.steps * e.batch == pytest.approx(150 * 125_000, rel=1e-4)
        assert [e.rate(n / 4) for n in range(4)] == pytest.approx([1e-4 / 2**n for n in range(4)])
        gan = prosrn.PAPER.experiment("prosrgan", 4, "paper", start=DIGEST)
        assert (gan.learning_rate, gan.discriminator, gan.loss) == (1e-5, "patch", "charbonnier")

    def test_one_training_serves_every_scale(self):
        for name, trained_at in zip(prosrn.MIXED, (2, 4, 8), strict=True):
            keys = {prosrn.PAPER.experiment(name, scale, "quick").key("f") for scale in (2, 4, 8)}
            assert len(keys) == 1 and keys.pop().startswith(f"{name}_x{trained_at}_")
        assert len({prosrn.PAPER.experiment("lapsrn", scale, "quick").key("f") for scale in (2, 4, 8)}) == 3

    def test_lambda_weighs_the_adversarial_term_or_literally_the_content(self):
        read, literal = (prosrn.PAPER.experiment(n, 4, "paper", start=DIGEST) for n in ("prosrgan", "prosrgan_literal"))
        assert (read.content, read.adversarial) == (1.0, 0.01)
        assert (literal.content, literal.adversarial) == (0.01, 1.0)
        same = dataclasses.replace(literal, name=read.name)
        assert same.key("f") != read.key("f")
        assert dataclasses.replace(same, content=1.0, adversarial=0.01) == read

    def test_small_profiles_narrow_the_discriminator_too(self):
        for chosen in ("smoke", "quick", "paper"):
            e = prosrn.PAPER.experiment("prosrgan", 4, chosen, start=DIGEST)
            assert e.model_args["width"] == e.discriminator_args["width"] == 64 // profile(chosen).width_divisor

    def test_short_budgets_have_their_own_rate(self):
        rates = {p: prosrn.PAPER.experiment("prosrn", 2, p).learning_rate for p in PROFILES}
        assert rates == {"smoke": 1e-3, "quick": 1e-3, "released": 1e-3, "paper": 1e-4}
        assert prosrn.PAPER.experiment("prosrn", 2, "quick", learning_rate=3e-4).learning_rate == 3e-4

    def test_gan_patches_are_large_enough_for_the_discriminator_at_every_level(self):
        for name, chosen in itertools.product(("prosrgan", "prosrgan_literal", "srgan"), PROFILES):
            assert 2 * prosrn.PAPER.experiment(name, 4, chosen, start=DIGEST).lr_patch >= SMALLEST

    def test_experiments_of_its_tables_and_figures(self):
        known = {**prosrn.PAPER.methods, **prosrn.PAPER.ablations}
        assert {*prosrn.MIXED, *prosrn.STRUCTURES, *prosrn.DEPTHS, *prosrn.GANS, *prosrn.DIRECT} <= known.keys()
        created = {n: models.create("prosrn", 2, **known[n].args) for n in (*prosrn.STRUCTURES, *prosrn.DEPTHS)}
        assert [type(created[n].extract) for n in prosrn.STRUCTURES] == [General, Residual, Memory]
        assert [len(created[n].extract.layers) for n in prosrn.DEPTHS] == [2, 6, 10, 14]
        assert {len(created[n].extract.layers) for n in prosrn.STRUCTURES} == {10}


class TestDifficultySR:
    paper = papers.get("difficulty_sr")

    @pytest.mark.parametrize("chosen", PROFILES)
    @pytest.mark.parametrize("name", ["difficulty_sr", "dual_cnn"])
    def test_patches_overlap_as_in_the_authors_test_script(self, name, chosen):
        scale = profile(chosen).scales[0]
        experiment = self.paper.experiment(name, scale, chosen, start=DIGEST)
        assert models.create(experiment.model, scale, **experiment.model_args).overlap == 36

    def test_weights_of_before_are_tested_without_overlap_which_is_a_part_of_it(self):
        assert models.create("difficulty_sr", 2, complex="idn", complex_args={"width": 16}).overlap == 0
        assert self.paper.part_of["difficulty_sr_no_overlap"] == "difficulty_sr"
        assert set(self.paper.part_of) == set(self.paper.parts) and self.paper.trains("difficulty_sr_no_overlap")


def test_a_sixth_paper_is_one_value():
    paper = Paper("new", "Title", "y", {"net": Method("vdsr", "Net", {"depth": 2}, {"steps": 9})}, ("net",), (2, 3, 4))
    experiment = paper.experiment("net", 3, "paper", learning_rate=2e-4)
    assert isinstance(experiment, Experiment)
    assert (experiment.model_args, experiment.steps, experiment.learning_rate) == ({"depth": 2}, 9, 2e-4)


class TestD2CSR:
    paper = papers.get("d2c_sr")

    @pytest.mark.parametrize(("chosen", "scale"), [("paper", 4), ("released", 1)])
    @pytest.mark.parametrize("body", d2c_sr.BODIES)
    def test_the_structure_costs_no_more_than_the_network_that_it_is_put_on(self, body, chosen, scale):
        assert 0.6 < size(self.paper, f"d2c_{body}", scale, chosen) / size(self.paper, f"{body}_rgb", scale, chosen) <= 1 or (
            (body, chosen) == ("edsr", "paper")  # 8.8M of 43.1M, as in the paper
        )

    def test_sizes_are_the_papers_where_it_has_a_gpu(self):
        sizes = [size(self.paper, name, 4, "paper") for name in (*d2c_sr.SIZES, "srresnet_rgb", "rdn_rgb", "cdc_rgb")]
        assert sizes[:6] == [197_066, 239_120, 810_748, 3_089_876, 3_983_108, 5_769_572]
        assert sizes[6:] == [1_517_571, 6_024_387, 40_080_332]
        assert [size(self.paper, "d2c_sr", *at) for at in ((4, "paper"), (1, "released"))] == [5_769_572, 174_160]

    def test_stages_and_losses(self):
        first = self.paper.experiment("d2c_divergence", 4, "paper")
        assert (first.hr_patch, first.batch, first.steps, first.rate(0.95)) == (384, 4, 2_280_000, 1e-4 / 2**9)
        assert (first.loss, first.loss_args) == ("divergence", {"alpha": 0.1})
        assert self.paper.experiment("divergence_code", 1, "released").loss_args == {"alpha": 2e-5, "released": True}
        assert self.paper.experiment("tree_2_3", 1, "quick").loss_args == {"alpha": 0.1, "children": 3}
        assert not self.paper.experiment("divergence_flat", 1, "quick").model_args["deep_residual"]

    def test_sets_follow_the_scale(self):
        experiment = self.paper.experiment("srresnet_rgb", 3, "paper")
        assert (experiment.data, experiment.validation) == ("RealSR-V3-x3/train", "RealSR-V3-x3/test")
        assert self.paper.setting("paper", 2).tests == ("RealSR-V3-x2/test", "DRealSR-x2/test")
        assert self.paper.experiment("srresnet_rgb", 8, "paper", data="D2CRealSR-x8/train").data == "D2CRealSR-x8/train"


class TestDDet:
    def test_every_rung_of_the_ladder_adds_one_part(self):
        nets = [build(ddet.PAPER, name, 1, "paper") for name in ddet.LADDER]
        assert (type(nets[0]).__name__, nets[0].head.out_channels) == ("KPN", 49)
        parts = [(net.refine is not None, net.cdm is not None, len(net.heads)) for net in nets[1:]]
        assert parts == [(True, False, 1), (True, True, 1), (True, True, 3)]
        assert list(map(parameters, nets)) == [1_295_473, 1_296_690, 1_334_835, 1_428_919]

    def test_sizes_are_those_of_table_iii_in_the_papers_budget_and_of_kernels_in_any(self):
        printed = {"srresnet_rgb": 4.9, "edsr_rgb": 153.5, "kpn_5": 5.1, "kpn": 5.2, "kpn_13": 5.5, "kpn_19": 5.9}
        for name, megabytes in {**printed, "lp_kpn": 5.7, "ddet": 5.7}.items():
            assert size(ddet.PAPER, name, 1, "paper") * 4 / 1e6 == pytest.approx(megabytes, abs=0.05)
        assert [size(ddet.PAPER, name, 1, "released") for name in ("ddet", "edsr_rgb")] == [1_428_919, 306_947]
        assert [size(ddet.PAPER, name, 1, "paper") for name in ddet.VARIANTS] == [1_428_919, 1_559_159, 1_353_246]

    def test_trainings(self):
        quick, full = (ddet.PAPER.experiment("ddet", 1, chosen) for chosen in ("quick", "paper"))
        assert (quick.schedule, full.data, full.learning_rate) == ("warm_cosine", "RealSR-V2-x2/train", 1e-4)
