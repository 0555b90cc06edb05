"""Transformed kernels give what PyTorch's own convolution gives, and nothing else is touched."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from srlib import convolution, models
from srlib.evaluation import upscale

needs_nnpack = pytest.mark.skipif(not torch.backends.nnpack.is_available(), reason="this build of PyTorch has no NNPACK")


@pytest.fixture
def gaining(monkeypatch):
    """A processor that gains from transformed kernels."""
    monkeypatch.setattr(convolution, "available", lambda: True)


@pytest.fixture
def transformed(monkeypatch):
    """Keep count of the kernels that go to NNPACK."""
    calls = []

    def count(x, weight, bias=None, padding=0):
        calls.append(tuple(weight.shape))
        return F.conv2d(x, weight, bias, padding=padding)

    monkeypatch.setattr(torch, "_nnpack_spatial_convolution", count)
    return calls


def within(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad(), convolution.fastest(net) as order:
        return net(x.contiguous(memory_format=order) if x.dim() == 4 else x)


@pytest.fixture(params=[pytest.param(True, marks=needs_nnpack), False], ids=["transformed", "channels last"])
def gaining_or_not(request, monkeypatch):
    """Whether the processor gains from transformed kernels."""
    monkeypatch.setattr(convolution, "available", lambda: request.param)
    return request.param


class TestSame:
    @pytest.mark.parametrize("shape", [(1, 1), (2, 7), (5, 8), (33, 40), (64, 31)])
    @pytest.mark.parametrize("kernel", [3, 5, 9, 15])
    def test_as_pytorchs_own(self, gaining_or_not, kernel, shape):
        net = nn.Conv2d(32, 48, kernel, padding=kernel // 2)
        x = torch.randn(2, 32, *shape)
        assert convolution.suits(net) is gaining_or_not
        with torch.no_grad():
            torch.testing.assert_close(within(net, x), net(x), rtol=0, atol=2e-5)

    @pytest.mark.parametrize("options", [{"bias": False}, {"padding": 2}, {"padding": (0, 1)}, {"padding_mode": "reflect"}])
    @pytest.mark.usefixtures("gaining_or_not")
    def test_without_bias_and_with_other_padding(self, options):
        net, x = nn.Conv2d(64, 32, 3, **{"padding": 1, **options}), torch.randn(1, 64, 20, 17)
        with torch.no_grad():
            torch.testing.assert_close(within(net, x), net(x), rtol=0, atol=2e-5)

    @pytest.mark.parametrize("outputs", [32, 3])
    @pytest.mark.parametrize(
        "options",
        [
            {"kernel_size": 2, "stride": 2},
            {"kernel_size": 3, "stride": 2},
            {"kernel_size": 3, "stride": 2, "bias": False, "output_padding": 1},
            {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1},
            {"kernel_size": 4, "stride": 2, "padding": 1, "bias": False},
            {"kernel_size": 9, "stride": 2, "padding": 4, "output_padding": 1},
            {"kernel_size": 9, "stride": 4, "padding": 4, "output_padding": 3},
            {"kernel_size": 17, "stride": 3, "padding": 8, "output_padding": 2},
            {"kernel_size": 2, "stride": 3},
            {"kernel_size": 3, "stride": 1, "padding": 1},
            {"kernel_size": (3, 5), "stride": 2},
            {"kernel_size": 3, "stride": (2, 1)},
            {"kernel_size": 3, "stride": 2, "dilation": 2},
        ],
    )
    def test_transposed(self, gaining_or_not, options, outputs):
        net = nn.Sequential(nn.Conv2d(32, 64, 5), nn.ConvTranspose2d(64, outputs, **options))
        x = torch.randn(2, 32, 13, 16)
        assert convolution.suits(net) is gaining_or_not
        with torch.no_grad():
            torch.testing.assert_close(within(net, x), net(x), rtol=0, atol=2e-5)

    @pytest.mark.usefixtures("gaining_or_not")
    def test_transposed_in_groups(self):
        net, x = nn.Sequential(nn.Conv2d(32, 32, 3), nn.ConvTranspose2d(32, 32, 3, 2, groups=2)), torch.randn(2, 32, 9, 12)
        with torch.no_grad():
            torch.testing.assert_close(within(net, x), net(x), rtol=0, atol=2e-5)

    @pytest.mark.parametrize("bias", [True, False])
    @pytest.mark.usefixtures("gaining_or_not")
    def test_of_one_pixel(self, bias):
        net, x = nn.Sequential(nn.Conv2d(32, 64, 3), nn.Conv2d(64, 48, 1, bias=bias)), torch.randn(2, 32, 9, 12)
        with torch.no_grad():
            torch.testing.assert_close(within(net, x), net(x), rtol=0, atol=2e-5)

    @pytest.mark.parametrize("name, scale", [("vdsr", 2), ("btsrn", 3), ("idn", 2), ("lapsrn", 4), ("srcnn", 3), ("ddet", 1)])
    @needs_nnpack
    @pytest.mark.usefixtures("gaining")
    def test_pictures_are_the_same(self, name, scale, monkeypatch):
        net = models.create(name, scale)
        lr = np.random.default_rng(0).integers(0, 256, (21, 26, 3))
        assert convolution.suits(net)
        sr = upscale(net, lr)
        monkeypatch.setattr(convolution, "available", lambda: False)
        plain = upscale(net, lr)
        assert 0 < np.abs(sr - plain).max() < 0.02

    @pytest.mark.parametrize("name, scale", [("idn", 2), ("fsrcnn", 4)])
    def test_pictures_are_those_of_pytorchs_own_convolutions(self, gaining_or_not, name, scale, monkeypatch):
        net = models.create(name, scale)
        lr = np.random.default_rng(0).integers(0, 256, (21, 26, 3))
        sr = upscale(net, lr)
        monkeypatch.setattr(convolution, "FASTER", {})
        assert 0 < np.abs(sr - upscale(net, lr)).max() < 0.02

    def test_what_follows_a_layer_of_one_channel_is_in_one_order(self, gaining_or_not):
        """Else sums with what is in the other order take several times as long."""
        net = models.create("prosrn", 2).to(memory_format=torch.channels_last)
        with torch.no_grad(), convolution.fastest(net) as order:
            source = net.entry(torch.rand(1, 40, 48, 1).movedim(-1, 1))  # as pictures come
            assert (order is torch.contiguous_format) is gaining_or_not
            assert all(x.is_contiguous(memory_format=order) for x in (source, net.extract.layers[0](source)))

    @pytest.mark.usefixtures("gaining_or_not")
    def test_the_network_stays_as_it_is(self):
        """Or training would go on with other rounding after a validation."""
        net = models.create("vdsr", 2).to(memory_format=torch.channels_last)
        upscale(net, np.zeros((9, 9), np.uint8))
        assert all(p.is_contiguous(memory_format=torch.channels_last) for p in net.parameters() if p.dim() == 4)


@pytest.mark.usefixtures("gaining")
class TestWhich:
    @pytest.mark.parametrize(
        "options",
        [{"kernel_size": 1}, {"stride": 2}, {"dilation": 2}, {"groups": 2}, {"padding": "same"}, {"kernel_size": (3, 5)}]
        + [{"out_channels": 16}, {"padding": 3}, {"out_channels": 1, "kernel_size": 17, "padding": 8}],
    )
    def test_others_stay(self, options, transformed):
        net = nn.Sequential(nn.Conv2d(32, 32, 5, padding=2), nn.Conv2d(32, **{"out_channels": 32, "kernel_size": 3, **options}))
        net.append(nn.Conv2d(net[1].out_channels, 32, 15, padding=7))
        x = torch.randn(1, 32, 24, 24)
        assert within(net, x).shape == net(x).shape
        assert [kernel[2] for kernel in transformed] == [5, 15]

    @pytest.mark.parametrize("change", [lambda net, x: (net.double(), x.double()), lambda net, x: (net, x[0])])
    def test_other_inputs_stay(self, change, transformed):
        net, x = change(nn.Conv2d(32, 32, 3), torch.randn(1, 32, 9, 9))
        within(net, x)
        assert not transformed

    def test_a_single_image_without_a_batch(self, transformed):
        net, x = nn.Sequential(nn.Conv2d(32, 32, 3), nn.ConvTranspose2d(32, 32, 4, 2)), torch.randn(32, 9, 9)
        with torch.no_grad():
            torch.testing.assert_close(within(net, x), net(x))
        assert not transformed

    def test_gradients_stay(self, transformed):
        net, x = nn.Conv2d(32, 32, 3), torch.randn(1, 32, 9, 9)
        with convolution.fastest(net):
            net(x).sum().backward()
        assert net.weight.grad is not None and not transformed

    def test_only_inside(self, transformed):
        net, x = nn.Conv2d(32, 32, 3), torch.randn(1, 32, 9, 9)
        within(net, x)
        net(x)
        assert len(transformed) == 1

    def test_only_for_networks_that_gain(self, transformed):
        """Most weights decide, as the other layers are slower in the order that transformed kernels want."""
        mixed = nn.Sequential(nn.Conv2d(32, 32, 3), nn.Conv2d(32, 512, 1))
        for net, order in ((nn.Conv2d(32, 32, 3), torch.contiguous_format), (mixed, torch.channels_last)):
            with convolution.fastest(net) as found:
                assert found is order
        within(mixed, torch.randn(1, 32, 9, 9))
        assert not transformed and not convolution.suits(models.create("bicubic", 2)) and not convolution.suits(nn.Identity())


@pytest.mark.parametrize("capability", ["AVX512", "DEFAULT", "NO AVX"])
def test_only_on_processors_that_gain(monkeypatch, capability):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert not convolution.suits(nn.Conv2d(32, 32, 3))


def test_where_there_is_no_nnpack(monkeypatch):
    monkeypatch.setattr(torch.backends.nnpack, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert not convolution.suits(nn.Conv2d(32, 32, 3))


def test_where_there_is_no_onednn(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    monkeypatch.setattr(convolution, "FASTER", {})  # nothing may be asked of it
    monkeypatch.setattr(convolution._Faster, "__enter__", lambda self: pytest.fail("another way to convolve than PyTorch's own"))
    net, x = nn.Conv2d(32, 32, 1), torch.randn(1, 32, 9, 9)
    with torch.no_grad():
        torch.testing.assert_close(within(net, x), net(x))
