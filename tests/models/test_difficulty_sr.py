"""Difficulty-SR: classes, identifier, routing; IDN and MemNet beside it."""

import math

import pytest
import torch
from networks import count, without_gradient
from torch import nn

from srlib.baselines.idn import IDN
from srlib.core.errors import SRError
from srlib.nn import models
from srlib.nn.cost import summary
from srlib.papers.difficulty_sr.model import EASIEST, PATCH, DualBranchSR, Identifier, PlainCNN, classes, difficulty
from srlib.train.losses import get


class Says(nn.Module):
    """An identifier that calls patches easy whose mean is at least a half."""

    def forward(self, lr):
        mean = lr.mean(dim=(1, 2, 3))
        logits = lr.new_zeros(len(lr), EASIEST + 1)
        logits[:, EASIEST] = torch.where(mean >= 0.5, 3.0, -3.0)
        return logits


class Counting(nn.Module):
    """A branch that multiplies its nearest-neighbour enlargement by a factor and counts the patches that it gets."""

    def __init__(self, factor, scale=2, channels=1):
        super().__init__()
        self.weight, self.scale, self.channels, self.seen = nn.Parameter(torch.tensor(float(factor))), scale, channels, 0

    def forward(self, lr):
        self.seen += len(lr)
        return self.weight * lr.repeat_interleave(self.scale, -1).repeat_interleave(self.scale, -2)


def dual(**changes) -> DualBranchSR:
    return DualBranchSR(Says(), Counting(2.0), Counting(3.0), **changes).eval()


def halves(height=96, width=144):
    """An image of which the right part is bright, and so easy."""
    lr = torch.rand(1, 1, height, width) * 0.3
    lr[..., width // 3 :] += 0.7
    return lr


def test_counts():
    assert (count(IDN, 2), count(IDN, 3, grouped=True)) == (677_185, 552_769)
    assert (count(Identifier, 2), count(PlainCNN, 3)) == (164_353, 18_281)
    both = models.create("difficulty_sr", 3, plain="plain_cnn")  # the model of the released code: IDN and the small network
    assert sum(p.numel() for p in both.parameters() if p.requires_grad) == 677_185 + 18_281
    assert summary(models.create("memnet", 2)).weights == 676_992


def test_classes_are_ordered_from_hard_to_easy_with_the_bounds_of_the_code():
    psnr = torch.tensor([12.0, 29.99, 30.0, 34.9, 35.0, 39.9, 40.0, 44.9, 45.0, 60.0, math.inf])
    assert classes(psnr).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 4]


def test_flat_patches_are_easiest_and_noise_is_hardest():
    hr = torch.cat([torch.full((1, 1, 96, 96), 0.25), torch.rand(1, 1, 96, 96)])
    lr = nn.functional.avg_pool2d(hr, 2)
    psnr = difficulty(lr, hr)
    assert psnr[0] > 100 and psnr[1] < 20
    assert classes(psnr).tolist() == [4, 0]


def test_the_identifier_learns_the_classes():
    torch.manual_seed(0)
    net, loss = Identifier(2), get("difficulty")
    smooth = nn.functional.interpolate(torch.rand(8, 1, 3, 3), size=96, mode="bicubic").clamp(0, 1)
    hr = torch.cat([smooth, torch.rand(8, 1, 96, 96)])
    lr = nn.functional.avg_pool2d(hr, 2)
    wanted = classes(difficulty(lr, hr))
    assert 0 in wanted and wanted.unique().numel() > 1
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    first = loss(net(lr), hr, lr)
    for _ in range(40):
        optimizer.zero_grad()
        value = loss(net(lr), hr, lr)
        value.backward()
        optimizer.step()
    assert without_gradient(net) == []
    assert value < 0.3 * first and (net(lr).argmax(dim=1) == wanted).float().mean() > 0.8


def test_the_identifier_says_which_patches_it_takes():
    with pytest.raises(SRError, match=r"the identifier got \(2, 1, 24, 24\), expected luma patches \(N, 1, 48, 48\)"):
        Identifier(2)(torch.rand(2, 1, 24, 24))


class TestRouting:
    @pytest.mark.parametrize("overlap", [0, 12, 36])
    def test_is_the_masked_sum_of_both_branches(self, overlap):
        torch.manual_seed(1)
        lr = halves(101, 150)
        with torch.no_grad():
            assert torch.allclose(dual(overlap=overlap)(lr), dual(overlap=overlap, route=False)(lr), atol=1e-6)

    def test_options_change_the_way_and_not_the_weights(self):
        torch.manual_seed(1)
        net, lr = dual(overlap=36, level=3), halves(101, 150)
        apart = net.with_options(overlap=0)
        assert (net.overlap, apart.overlap, apart.level, apart.training) == (36, 0, 3, False)
        assert (apart.identifier, apart.complex, apart.plain) == (net.identifier, net.complex, net.plain)
        net(lr)
        overlapping = net.complex.seen + net.plain.seen
        apart(lr)
        assert (net.complex.seen + net.plain.seen) - overlapping == 3 * 4 < overlapping == 6 * 10

    def test_with_real_branches(self):
        torch.manual_seed(1)
        lr = halves()
        branches = [IDN(3, width=16), models.create("bicubic", 3)]
        with torch.no_grad():
            routed, masked = (DualBranchSR(Says(), *branches, route=route).eval()(lr) for route in (True, False))
            alone = branches[0](lr[..., :48, :48])
        assert routed.shape == (1, 1, 288, 432) and (routed - masked).abs().max() <= 1e-6
        assert torch.allclose(routed[..., :144, :144], alone, atol=1e-6)

    def test_each_patch_takes_one_branch(self):
        net, lr = dual(), halves()
        with torch.no_grad():
            sr = net(lr)[..., ::2, ::2]
        assert (net.complex.seen, net.plain.seen) == (2, 4)
        assert torch.allclose(sr[..., :48], 2 * lr[..., :48]) and torch.allclose(sr[..., 48:], 3 * lr[..., 48:])

    @pytest.mark.parametrize(("threshold", "seen"), [(0.0, (0, 6)), (1.1, (6, 0)), (0.5, (2, 4))])
    def test_a_threshold_may_route_everything_or_nothing(self, threshold, seen):
        net = dual(threshold=threshold)
        with torch.no_grad():
            assert net(halves()).isfinite().all()
        assert (net.complex.seen, net.plain.seen) == seen

    def test_levels_widen_what_is_easy(self):
        probabilities = torch.eye(5)
        assert [int(dual(level=level).mask(probabilities).sum()) for level in range(5)] == [5, 4, 3, 2, 1]

    @pytest.mark.parametrize("size", [(1, 1), (5, 60), (48, 48), (49, 97), (60, 20)])
    def test_any_size_of_image(self, size):
        lr = torch.rand(2, 1, *size)
        with torch.no_grad():
            sr = dual(threshold=1.1, overlap=12)(lr)
        assert torch.allclose(sr, 2 * lr.repeat_interleave(2, -1).repeat_interleave(2, -2), atol=1e-6)

    def test_colour_goes_to_branches_that_take_it_and_luma_to_the_identifier(self):
        net = DualBranchSR(Identifier(2), Counting(1.0, channels=3), models.create("bicubic", 2)).eval()
        assert net.channels == 3
        with torch.no_grad():
            assert net(torch.rand(1, 3, 50, 40)).shape == (1, 3, 100, 80)
        assert models.create("difficulty_sr", 2, complex="edsr", complex_args={"width": 4, "blocks": 1}).channels == 3


class TestTraining:
    def test_only_routed_patches_move_a_branch(self):
        net = dual().train()
        dark, bright = torch.full((1, 1, PATCH, PATCH), 0.1), torch.full((1, 1, PATCH, PATCH), 0.9)
        net(torch.cat([dark, bright, dark]))[1].sum().backward()  # the loss sees the bright patch only
        assert net.plain.weight.grad != 0 and net.complex.weight.grad == 0
        assert (net.complex.seen, net.plain.seen) == (2, 1)

    def test_order_of_the_batch_is_kept_whatever_the_overlap(self):
        net, lr = dual().train(), torch.rand(6, 1, PATCH, PATCH) * 0.4 + torch.tensor([0, 0.6] * 3).view(6, 1, 1, 1)
        expected = torch.where(lr.mean(dim=(1, 2, 3), keepdim=True) >= 0.5, 3.0, 2.0)
        assert torch.allclose(net(lr)[..., ::2, ::2], expected * lr)
        assert torch.equal(dual(overlap=36).train()(lr), net(lr))

    def test_the_identifier_is_not_trained_along(self):
        net = models.create("difficulty_sr", 2, complex_args={"width": 16}, threshold=1.1).train()
        net(torch.rand(2, 1, PATCH, PATCH)).square().mean().backward()
        assert all(p.grad is None for p in net.identifier.parameters())
        assert all(p.grad is not None for p in net.complex.parameters())

    def test_other_patches_are_refused(self):
        with pytest.raises(SRError, match="training patches are 24x24 LR pixels; make them 48x48"):
            dual().train()(torch.rand(1, 1, 24, 24))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DualBranchSR(Says(), Counting(1, 2), Counting(1, 3)), "differ in scale: complex is x2, plain is x3"),
        (
            lambda: DualBranchSR(Says(), Counting(1), Counting(1, channels=3)),
            "the branches differ in channels: complex takes 1, plain takes 3",
        ),
        (lambda: dual(level=5), r"level \(=5\) must be a class, 0 \(hardest\) to 4"),
        (lambda: dual(threshold=-0.1), r"threshold \(=-0.1\) must be a probability of at least 0"),
        (lambda: dual(overlap=48), r"overlap \(=48\) must be 0 to 47 LR pixels"),
        (lambda: models.create("difficulty_sr", 2, complex="inn"), "unknown model 'inn'"),
        (lambda: models.create("difficulty_sr", 2, overlaps=3), "Did you mean 'overlap'?"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(SRError, match=message):
        make()
