"""D2C-SR, and its structure on other networks, beside the numbers of the published code."""

import pytest
import torch
from networks import awake, count, parameters, without_gradient, zeroed

from srlib.baselines.cdc import CDC
from srlib.baselines.edsr import EDSR
from srlib.baselines.imdn import IMDN
from srlib.baselines.rdn import RDN
from srlib.baselines.rrdbnet import RRDBNet
from srlib.baselines.srresnet import SRResNet
from srlib.baselines.vdsr import VDSR
from srlib.core.errors import SRError
from srlib.nn.bicubic import upsample_bicubic
from srlib.nn.blocks import MEAN
from srlib.nn.cost import summary
from srlib.papers.d2c_sr.bodies import BODIES, BodyTree, D2CBody
from srlib.papers.d2c_sr.loss import divergence_loss, shared_levels
from srlib.papers.d2c_sr.model import D2C, ConvergenceNet, DivergenceNet, branch_module, fuse

SMALL = {"groups": 1, "blocks": 1, "width": 8}


class TestSizes:
    @pytest.mark.parametrize(
        ("scale", "divergence", "both", "giga"),
        [
            (2, 5_132_644, 5_178_724, 1221),
            (3, 5_871_204, 5_917_284, 645),
            (4, 5_723_492, 5_769_572, 478),
            (8, 6_314_340, 6_360_420, 292),
        ],
    )
    def test_networks_have_the_published_codes(self, scale, divergence, both, giga):
        assert (count(DivergenceNet, scale), count(D2C, scale)) == (divergence, both)
        assert summary(D2C(scale)).mult_adds / 1e9 == pytest.approx(giga, abs=0.5)

    def test_parts_have_the_published_codes(self):
        with torch.device("meta"):
            net = D2C(4)
        assert parameters(net.convergence) == 46_080 and parameters(net.divergence.head) == 1_792
        assert [parameters(one) for level in net.divergence.levels for one in level] == [706_272] * 6
        assert [parameters(one) for one in net.divergence.tails] == [297_155] * 4
        assert [parameters(one) for one in net.divergence.skips] == [2 * 36_928] * 4
        assert parameters(branch_module(2, 4, 64)[0]) == 334_672

    @pytest.mark.parametrize(
        ("width", "groups", "blocks", "alone_x8", "alone_x4", "both_x4"),
        [
            (64, 2, 3, 5_421_108, 4_830_260, 4_876_340),
            (64, 2, 2, 4_527_876, 3_937_028, 3_983_108),
            (64, 2, 1, 3_634_644, 3_043_796, 3_089_876),
            (32, 2, 1, 912_636, 764_668, 810_748),
            (16, 2, 1, 230_160, 193_040, 239_120),
            (16, 1, 1, 188_106, 150_986, 197_066),
        ],
    )
    def test_smaller_ones_make_figure_7(self, width, groups, blocks, alone_x8, alone_x4, both_x4):
        size = {"width": width, "groups": groups, "blocks": blocks}
        assert count(DivergenceNet, 8, **size) == alone_x8
        assert (count(DivergenceNet, 4, **size), count(D2C, 4, **size)) == (alone_x4, both_x4)

    @pytest.mark.parametrize(
        ("depth", "children", "millions"),
        [
            *((1, 1, 0.60), (1, 2, 1.19), (1, 3, 1.78), (1, 4, 2.38)),
            *((2, 2, 3.04), (3, 2, 6.90), (4, 2, 14.9), (2, 3, 6.46), (2, 4, 11.1)),
        ],
    )
    def test_trees_of_table_4(self, depth, children, millions):
        assert count(DivergenceNet, 4, depth=depth, children=children, blocks=1) / 1e6 == pytest.approx(millions, rel=0.01)

    def test_a_leaf_without_deep_residual_and_one_at_scale_one(self):
        """One convolution less; a convolution of width to width channels, 36,928, and the last, 1,731, without a shuffle."""
        assert count(D2C, 4) - count(D2C, 4, deep_residual=False) == 4 * 36_928
        assert count(D2C, 1) == count(D2C, 4) - 4 * (297_155 - 36_928 - 1_731)


class TestTree:
    @pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
    def test_gives_predictions_in_training_and_their_mean_else(self, scale):
        net, lr = DivergenceNet(scale, **SMALL), torch.rand(2, 3, 5, 4)
        with torch.no_grad():
            predictions = net.train()(lr)
            assert predictions.shape == (2, 4, 3, 5 * scale, 4 * scale)
            assert torch.equal(net.eval()(lr), predictions.mean(dim=1))
            assert torch.equal(net.predictions(lr), predictions)

    @pytest.mark.parametrize(("depth", "children"), [(1, 1), (1, 4), (3, 2), (2, 3)])
    def test_any_tree_fits_its_loss(self, depth, children):
        net = awake(DivergenceNet(2, depth=depth, children=children, **SMALL)).train()
        predictions = net(torch.rand(1, 3, 4, 4))
        assert predictions.shape[1] == net.leaves == children**depth
        divergence_loss(predictions, torch.rand(1, 3, 8, 8), alpha=0.1, children=children).backward()
        assert without_gradient(net) == []

    def test_is_what_the_published_code_computes(self):
        net, lr = DivergenceNet(2, **SMALL), torch.rand(1, 3, 5, 4)
        mean = torch.tensor(MEAN).view(1, 3, 1, 1)
        head = net.head(lr - mean)
        (a, b), (aa, ab, ba, bb) = net.levels
        expected = []
        for leaf, (first, second) in enumerate([(a, aa), (a, ab), (b, ba), (b, bb)]):
            parent = first(head)
            near, far = net.skips[leaf]
            expected.append(net.tails[leaf](far(near(second(parent)) + parent) + head) + mean)
        assert torch.allclose(net.predictions(lr), torch.stack(expected, dim=1), atol=1e-6)

    def test_without_deep_residual_only_the_heads_skip_remains(self):
        net, lr = DivergenceNet(2, deep_residual=False, **SMALL), torch.rand(1, 3, 5, 4)
        head = net.head(net.subtract_mean(lr))
        features = net.skips[1][0](net.levels[1][1](net.levels[0][0](head))) + head
        assert torch.allclose(net.predictions(lr)[:, 1], net.add_mean(net.tails[1](features)), atol=1e-6)

    def test_leaves_are_numbered_as_the_loss_counts_them(self):
        """A branch of the first level moves exactly the leaves that share it."""
        net, lr = DivergenceNet(1, depth=3, **SMALL).eval(), torch.rand(1, 3, 4, 4)
        with torch.no_grad():
            before = net.predictions(lr)
            net.levels[1][1][-1].bias += 1  # the second branch of the second level: leaves 2 and 3
            moved = (net.predictions(lr) - before).abs().amax(dim=(0, 2, 3, 4)) > 0
        assert moved.tolist() == (shared_levels(8, 2)[2] == 2).tolist()

    @pytest.mark.parametrize(("depth", "children"), [(0, 2), (2, 0), (-1, 2), (2, -1), (10, 10), (5000, 2)])
    def test_a_tree_has_at_least_a_leaf_and_not_too_many(self, depth, children):
        with pytest.raises(SRError, match=rf"depth \(={depth}\) and children \(={children}\) must make a tree of 1 to 64 leaves"):
            D2C(2, depth=depth, children=children)


class TestFusion:
    def test_weights_add_up_to_one_and_no_logit_is_negative(self):
        net, predictions = ConvergenceNet(4), torch.rand(2, 4, 3, 6, 5)
        weights = net(predictions)
        assert weights.shape == (2, 4, 6, 5) and torch.allclose(weights.sum(dim=1), torch.ones(2, 6, 5))
        for parameter in net.parameters():
            parameter.data.abs_().neg_()
        assert torch.equal(net(predictions), torch.full((2, 4, 6, 5), 0.25))

    def test_fusion_is_the_weighted_sum(self):
        predictions = torch.rand(1, 2, 3, 2, 2)
        weights = torch.tensor([1.0, 0.25]).view(1, 2, 1, 1).expand(1, 2, 2, 2)
        assert torch.allclose(fuse(predictions, weights), predictions[:, 0] + 0.25 * predictions[:, 1])

    def test_testing_gives_the_fused_image(self):
        net, lr = D2C(2, **SMALL).eval(), torch.rand(1, 3, 5, 4)
        with torch.no_grad():
            predictions, weights = net.predictions(lr), net.fusion_weights(lr)
            assert predictions.shape == (1, 4, 3, 10, 8) and weights.shape == (1, 4, 10, 8)
            assert torch.equal(net(lr), fuse(predictions, weights))
            assert predictions.amin(dim=1).le(net(lr) + 1e-6).all() and predictions.amax(dim=1).ge(net(lr) - 1e-6).all()

    @pytest.mark.parametrize("freeze", [True, False])
    def test_the_fused_image_trains_the_fusion_only(self, freeze):
        net, lr = D2C(2, freeze=freeze, **SMALL).train(), torch.rand(1, 3, 5, 4)
        fused = net(lr) if freeze else net(lr)[1]
        assert fused.shape == (1, 3, 10, 8)
        fused.square().mean().backward()
        assert all(p.grad is None and p.requires_grad != freeze for p in net.divergence.parameters())
        assert without_gradient(net.convergence) == []
        assert net.predictions(lr).requires_grad != freeze

    def test_weights_of_the_first_stage_load_into_the_second(self):
        first, second, lr = DivergenceNet(2, **SMALL), D2C(2, **SMALL), torch.rand(1, 3, 4, 4)
        second.divergence.load_state_dict(first.state_dict())
        with torch.no_grad():
            assert torch.equal(second.predictions(lr), first.predictions(lr))

    def test_divergence_loss_makes_branches_differ(self):
        """Twenty steps from the same weights: with the term predictions are farther apart than without."""
        lr, hr, spread = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8), {}
        for alpha in (0.0, 1.0):
            torch.manual_seed(1)
            net = DivergenceNet(1, **SMALL).train()
            optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
            for _ in range(20):
                optimizer.zero_grad()
                divergence_loss(net(lr), hr, alpha=alpha).backward()
                optimizer.step()
            spread[alpha] = net(lr).var(dim=1).mean().item()
        assert spread[1.0] > 1.2 * spread[0.0]


ORIGINALS = {
    "srresnet": (SRResNet, {"norm": False}, 1_345_188),
    "vdsr": (VDSR, {"channels": 3}, 623_844),
    "edsr": (EDSR, {"blocks": 32, "width": 256}, 8_843_684),
    "rdn": (RDN, {}, 5_644_708),
    "rrdbnet": (RRDBNet, {}, 12_170_916),
    "imdn": (IMDN, {}, 664_716),
}
TINY = {"blocks": 1, "width": 8}


class TestPrecision:
    """What bfloat16 rounds away: 1/512 of a prediction, more than predictions may differ by."""

    @staticmethod
    def autocast(run):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return run()

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_predictions_are_fused_in_float32_under_autocast(self, dtype):
        predictions, net = torch.rand(1, 4, 3, 12, 12).to(dtype), ConvergenceNet(4)
        weights = self.autocast(lambda: net(predictions))
        assert weights.dtype == torch.float32 and torch.equal(weights, net(predictions.float()))
        fused = self.autocast(lambda: fuse(predictions, weights))
        assert fused.dtype == torch.float32 and torch.equal(fused, fuse(predictions.float(), weights))

    @pytest.mark.parametrize("freeze", [True, False])
    def test_gradients_too(self, freeze):
        net = awake(D2C(1, **SMALL, freeze=freeze)).train()
        outputs = self.autocast(lambda: net(torch.rand(1, 3, 12, 12)))
        fused = outputs if freeze else outputs[-1]
        assert fused.dtype == torch.float32
        fused.square().mean().backward()
        assert all(p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in net.convergence.parameters())
        assert net.double()(torch.rand(1, 3, 8, 8).double())[-1].dtype == torch.float64

    def test_masks_of_cdc(self):
        net = CDC(1, hourglasses=1, levels=1, blocks=1, width=8).eval()
        lr = torch.rand(1, 3, 8, 8)
        with torch.no_grad():
            _, masks = self.autocast(lambda: net.components(lr))
            result = self.autocast(lambda: net(lr))
        assert masks.dtype == result.dtype == torch.float32
        assert torch.allclose(masks.sum(dim=1), torch.ones(1, 8, 8), atol=1e-6)


class TestBodies:
    def test_all_of_table_3(self):
        assert BODIES.keys() == ORIGINALS.keys()

    @pytest.mark.parametrize("body", BODIES)
    def test_is_no_larger_than_the_original_at_x4_and_gives_predictions_and_the_fused_image(self, body):
        model, arguments, size = ORIGINALS[body]
        assert count(D2CBody, 4, body=body) == size <= count(model, 4, **arguments)
        predictions, fused = D2CBody(2, body=body, freeze=False, **TINY).train()(torch.rand(1, 3, 5, 4))
        assert predictions.shape == (1, 4, 3, 10, 8) and fused.shape == (1, 3, 10, 8)

    def test_attention_needs_the_whole_image(self):
        assert D2CBody(2, body="imdn", **TINY).context is None and D2C(2, **SMALL).context is None

    def test_vdsr_adds_to_the_bicubic_image(self):
        net, lr = BodyTree(2, body="vdsr", **TINY).eval(), torch.rand(1, 3, 6, 6)
        zeroed(net.tails)
        with torch.no_grad():
            predictions = net.predictions(lr)
        assert torch.allclose(predictions, upsample_bicubic(lr, 2)[:, None].expand_as(predictions), atol=1e-6)

    def test_bad_arguments_are_named(self):
        with pytest.raises(SRError, match=r"unknown body 'edrs'\. Did you mean 'edsr'\?"):
            D2CBody(2, body="edrs")
        with pytest.raises(SRError, match="blocks: got 0, .* at least 1"):
            D2CBody(2, blocks=0)
