"""Sizes and mult-adds beside the tables of CARN and the counts that they were derived from."""

import pytest
import torch
from torch import nn

from srlib.nn import models
from srlib.nn.cost import peak_bytes, saved_bytes, summary


@pytest.mark.parametrize(
    ("name", "scale", "weights_k", "mult_adds_g"),
    [
        *(("srcnn", scale, 57, 52.7) for scale in (2, 3, 4)),
        *(("fsrcnn", scale, 12, giga) for scale, giga in ((2, 6.0), (3, 5.0), (4, 4.6))),
        *(("vdsr", scale, 665, 612.6) for scale in (2, 3, 4)),
    ],
)
def test_entries_of_the_carn_table(name, scale, weights_k, mult_adds_g):
    cost = summary(models.create(name, scale))
    assert round(cost.weights / 1e3) == weights_k
    assert round(cost.mult_adds_carn / 1e9, 1) == mult_adds_g


@pytest.mark.parametrize(
    ("name", "weights", "parameters"),
    [("srcnn", 57_184, 57_281), ("fsrcnn", 12_464, 12_809), ("vdsr", 664_704, 665_921)],
)
def test_exact_sizes(name, weights, parameters):
    cost = summary(models.create(name, 2))
    assert (cost.weights, cost.parameters) == (weights, parameters)


@pytest.mark.parametrize(("scale", "weights_k", "mult_adds_g"), [(2, 21.3, 4.9), (3, 22.7, 2.3), (4, 24.8, 1.4)])
def test_espcn(scale, weights_k, mult_adds_g):
    cost = summary(models.create("espcn", scale))
    assert abs(cost.parameters / 1e3 - weights_k) < 0.05
    assert abs(cost.mult_adds / 1e9 - mult_adds_g) < 0.05
    assert cost.mult_adds == cost.mult_adds_carn


@pytest.mark.parametrize(
    ("bottleneck", "scale", "mult_adds_g"),
    [(64, 2, 430.8), (64, 3, 367.2), (64, 4, 368.4), (32, 2, 223.2), (32, 3, 191.4), (32, 4, 193.8)],
)
def test_btsrn(bottleneck, scale, mult_adds_g):
    """At x3 the derived counts took 426 for 1280 / 3."""
    got = summary(models.create("btsrn", scale, bottleneck=bottleneck)).mult_adds / 1e9
    assert got == pytest.approx(mult_adds_g, rel=0.002) if scale == 3 else round(got, 1) == mult_adds_g


@pytest.mark.parametrize(("scale", "mult_adds_g"), [(2, 207.7), (3, 176.2), (4, 165.2)])
def test_btsrn_of_the_carn_table_is_blocks_and_entry_without_up_sampling(scale, mult_adds_g):
    """CARN's 410K: ten 32-wide blocks and the input convolution, weights only."""
    net = models.create("btsrn", scale, bottleneck=32)
    parts = (net.entry, net.low, net.high)
    entry, low, high = (sum(m.weight.numel() for m in part.modules() if isinstance(m, nn.Conv2d)) for part in parts)
    assert entry + low + high == 409_984
    assert round(((entry + low) / scale**2 + high) * 1280 * 720 / 1e9, 1) == mult_adds_g


def test_bicubic_costs_nothing():
    cost = summary(models.create("bicubic", 2))
    assert (cost.parameters, cost.weights, cost.mult_adds, cost.mult_adds_carn) == (0, 0, 0, 0)


def test_a_layer_used_twice_counts_twice():
    class Twice(nn.Module):
        scale, channels = 1, 1

        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(1, 1, 3, padding=1)

        def forward(self, x):
            return self.layer(self.layer(x))

    cost = summary(Twice())
    assert cost.weights == 9 and cost.mult_adds == pytest.approx(2 * 9 * 1280 * 720)


def test_counting_leaves_the_model_as_it_was():
    model = models.create("btsrn", 2, width=8, bottleneck=4, padding="valid").train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    summary(model)
    assert model.training
    assert all(not module._forward_hooks for module in model.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("scale", [2, 3])
def test_valid_and_same_cost_the_same(scale):
    """The frame of a valid network is left out of its mult-adds."""
    same, valid = (summary(models.create("btsrn", scale, padding=p)) for p in ("same", "valid"))
    assert same.parameters == valid.parameters
    assert (valid.mult_adds, valid.mult_adds_carn) == pytest.approx((same.mult_adds, same.mult_adds_carn), rel=1e-12)


@pytest.mark.parametrize("levels", [3, 4])
def test_what_an_image_is_padded_to_does_not_count(levels):
    """CDC: levels in powers of two need multiples of 8 or 16; 24 is one of the first only."""
    net = models.create("cdc", 2, levels=levels, width=8, hourglasses=1, blocks=1)
    before = summary(net).mult_adds
    net.probe = 80
    assert before == pytest.approx(summary(net).mult_adds, rel=1e-12)


class TestSavedBytes:
    def test_counts_what_backward_needs(self):
        class Square(nn.Module):
            def forward(self, x):
                return x * x

        x = torch.rand(1, 1, 10, 10, requires_grad=True)
        assert saved_bytes(Square(), x) == 10 * 10 * 4

    def test_leaves_out_parameters_and_counts_a_storage_once(self):
        layer = nn.Conv2d(1, 2, 3, padding=1)
        x = torch.rand(1, 1, 10, 10, requires_grad=True)
        assert saved_bytes(layer, x) == 10 * 10 * 4
        assert saved_bytes(nn.Sequential(layer, nn.ReLU(), nn.Conv2d(2, 1, 1)), x) == 10 * 10 * 4 * (1 + 2)

    def test_grows_with_the_pixels_and_the_high_resolution_blocks(self):
        def net(low, high):
            return models.create("btsrn", 2, low=low, high=high, width=8, bottleneck=4)

        small, large = torch.rand(1, 3, 8, 8), torch.rand(1, 3, 16, 16)
        assert 3.5 < saved_bytes(net(2, 2), large) / saved_bytes(net(2, 2), small) < 4.5
        assert saved_bytes(net(1, 3), large) > saved_bytes(net(3, 1), large)


def test_peak_bytes_are_of_what_is_alive_at_once():
    class Chain(nn.Module):
        def forward(self, x):
            y = x + 1  # 400 bytes
            z = (y + 1).view(-1)  # 400 more; a view takes nothing
            del y
            return (z * 2).add_(1)  # y is gone

    lr = torch.rand(1, 1, 10, 10)
    assert peak_bytes(Chain(), lr) == 800 and peak_bytes(nn.Identity(), lr) == 0
    layer = nn.Conv2d(1, 4, 3, padding=1)
    assert peak_bytes(nn.Sequential(layer, nn.ReLU(inplace=True), nn.Conv2d(4, 1, 1)), lr) == 400 * (4 + 1)
