"""DDet and the networks of its tables beside the facts, and what all networks of scale 1 must do."""

import numpy as np
import pytest
import torch
from networks import shaken
from scipy.fft import dct

from srlib import papers
from srlib.baselines.kpn import BASES, KPN, LPKPN, KernelLayer, collapse, cosines, laplacian
from srlib.core.errors import SRError
from srlib.nn.cost import summary
from srlib.nn.dynamic_filter import dynamic_filter
from srlib.nn.same_size import pad
from srlib.papers.ddet.model import DDet
from srlib.reproduce.store import load_released

SMALL = {"width": 16, "blocks": 1}
PLAIN = {"cdm": False, "mda": False, "refine": False}
NETWORKS = {
    "KPN": lambda **more: KPN(**SMALL, kernel=5, **more),
    "LP-KPN": lambda **more: LPKPN(**SMALL, **more),
    "DDet": lambda **more: DDet(**SMALL, **more),
    "DDet wide": lambda **more: DDet(**SMALL, wide=True, **more),
    "DDet paper": lambda **more: DDet(**SMALL, variant="paper", **more),
    "plain": lambda **more: DDet(**SMALL, **PLAIN, **more),
}
every = pytest.mark.parametrize("name", NETWORKS)


def photograph(height=64, width=72):
    """A luma image with edges and texture, 16/255 to 235/255."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    image = 0.5 + 0.2 * torch.sin(y * x / 40) + 0.2 * ((y // 7 + x // 11) % 2)
    return image.clamp(16 / 255, 235 / 255)[None, None].float()


class TestSizes:
    @pytest.mark.parametrize(
        ("build", "parameters", "giga"),
        [
            (lambda: DDet(), 1_428_919, 255.3),
            (lambda: DDet(wide=True), 1_559_159, 375.3),
            (lambda: DDet(variant="paper"), 1_353_246, 185.8),
            (lambda: KPN(kernel=5), 1_281_625, 120.0),
            (lambda: KPN(kernel=7), 1_295_473, 132.7),
            (lambda: KPN(kernel=13), 1_364_713, 196.4),
            (lambda: KPN(kernel=19), 1_475_497, 298.3),
            (lambda: LPKPN(), 1_430_539, 139.0),
        ],
    )
    def test_are_those_of_the_authors_code(self, build, parameters, giga):
        cost = summary(build())
        assert cost.parameters == parameters
        assert cost.mult_adds / 1e9 == pytest.approx(giga, abs=0.05)

    def test_kernels_have_the_sizes_of_their_source(self):
        lr = torch.rand(2, 1, 9, 10)
        for variant, sizes in (("official", [81, 49, 25]), ("paper", [9, 25, 49])):
            assert [one.shape for one in DDet(**SMALL, variant=variant).kernels(lr)] == [(2, n, 9, 10) for n in sizes]
        assert [one.shape for one in KPN(**SMALL, kernel=3).kernels(lr)] == [(2, 9, 9, 10)]


class TestSameSize:
    @every
    def test_padding_is_cropped_back_exactly(self, name):
        """An image is treated as the part of the larger one that repeats its last row and column."""
        net, lr = shaken(NETWORKS[name]()), torch.rand(1, 1, 13, 18)
        larger = lr[..., [*range(13), 12, 12, 12], :][..., [*range(18), 17, 17]]
        with torch.no_grad():
            assert torch.equal(pad(lr), larger)
            assert torch.equal(net(lr), net(larger)[..., :13, :18])

    @every
    def test_context_is_as_far_as_a_pixel_looks(self, name):
        """No output pixel of a cell depends on pixels farther away; some depend on pixels less than two cells nearer."""
        net = shaken(NETWORKS[name]()).double()
        assert net.context % 4 == 0
        for parameter in net.parameters():
            parameter.data.abs_()  # so that no path is closed by a ReLU or cancels another
        reach, side = 0, 2 * net.context + 20
        for row in range(4):
            lr = torch.rand(1, 1, side, side, dtype=torch.float64, requires_grad=True)
            middle = side // 2 // 4 * 4 + row
            net(lr)[0, 0, middle, middle].backward()
            rows = lr.grad[0, 0].abs().sum(1).nonzero().flatten()
            reach = max(reach, int(rows[-1]) - middle, middle - int(rows[0]))
        assert net.context - 8 < reach <= net.context


class TestInitialisation:
    @pytest.mark.parametrize("net", [KPN, LPKPN, DDet])
    def test_a_fresh_network_returns_nearly_its_input(self, net):
        fresh, lr = net().eval(), photograph()
        with torch.no_grad():
            error = (fresh(lr) - lr).square().mean()
        assert -10 * torch.log10(error) > 50  # dB

    def test_faded_features_soften_the_first_step(self):
        """Adam moves all elements of all kernels at once, by as much as the features are large."""
        lr, errors = photograph(32, 32), []
        for factor in (1, 10):  # 10: features of the usual size
            torch.manual_seed(0)
            net = DDet().train()
            net.features[-2].weight.data.mul_(factor)
            optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)
            (net(lr) - lr).square().mean().backward()
            optimizer.step()
            errors.append((net(lr) - lr).square().mean())
        assert 10 * torch.log10(errors[1] / errors[0]) > 10  # dB

    @pytest.mark.parametrize("variant", ["official", "paper"])
    def test_centres_share_the_image(self, variant):
        for kernels in DDet(variant=variant, blocks=2).kernels(photograph()):
            centre = kernels.shape[1] // 2
            assert (kernels[:, centre] - 1 / 3).abs().max() < 0.01
            assert torch.cat([kernels[:, :centre], kernels[:, centre + 1 :]], dim=1).abs().max() < 0.01

    @every
    def test_caffe_is_msra_everywhere(self, name):
        net, lr = NETWORKS[name](init="caffe").eval(), photograph()
        for layer in net.modules():
            if isinstance(layer, torch.nn.Conv2d):
                assert not layer.bias.any()
                if layer.weight.numel() > 1000:
                    assert float(layer.weight.detach().std()) == pytest.approx((2 / layer.weight[0].numel()) ** 0.5, rel=0.1)
        with torch.no_grad():
            assert (net(lr) - lr).abs().mean() > 0.1

    def test_sixteen_fresh_blocks_do_not_blow_up_but_caffes_do(self):
        lr = photograph()
        with torch.no_grad():
            faded, msra = (KPN(init=init).trunk(lr).std() for init in ("identity", "caffe"))
        assert faded < 5 < 500 < msra


class TestBasis:
    """Kernels held as cosines are the same kernels."""

    @pytest.mark.parametrize("kernel", [1, 3, 7])
    def test_cosines_are_orthonormal_and_begin_with_a_constant(self, kernel):
        waves = cosines(kernel)
        assert torch.allclose(waves.T @ waves, torch.eye(kernel**2), atol=1e-6)
        assert torch.allclose(waves[:, 0], torch.full((kernel**2,), 1 / kernel))
        assert np.allclose(waves.numpy(), np.kron(*2 * [dct(np.eye(kernel), norm="ortho")]), atol=1e-6)

    @every
    def test_a_network_is_the_one_of_pixels_with_its_weights_transformed(self, name):
        net, plain = shaken(NETWORKS[name](basis="dct")), NETWORKS[name]()
        state = net.state_dict()
        for layer, module in net.named_modules():
            if isinstance(module, KernelLayer):
                state[f"{layer}.weight"] = torch.einsum("kc,cxyz->kxyz", module.basis, module.weight)
                state[f"{layer}.bias"] = module.basis @ module.bias
        plain.load_state_dict(state)
        lr = photograph()
        with torch.no_grad():
            assert torch.allclose(net.eval()(lr), plain.eval()(lr), atol=1e-4)

    @every
    def test_starts_near_the_identity_at_the_same_cost(self, name):
        lr, (pixels, dct) = photograph(), (NETWORKS[name](basis=basis).eval() for basis in BASES)
        with torch.no_grad():
            assert (dct(lr) - lr).abs().mean() < 2 * (pixels(lr) - lr).abs().mean() + 1e-3
        assert pixels.state_dict().keys() == dct.state_dict().keys() and summary(pixels) == summary(dct)

    def test_is_exact_in_double_precision_and_under_autocast(self):
        net, lr = shaken(KPN(**SMALL, basis="dct")), photograph()
        with torch.no_grad():
            exact = net.double()(lr.double())
            assert exact.dtype == torch.float64 and torch.allclose(exact.float(), net.float()(lr), atol=1e-4)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                assert net(lr).isfinite().all()


class TestDDet:
    @pytest.mark.parametrize(("height", "width"), [(12, 16), (7, 10)])
    def test_parts_are_those_of_the_equations_and_can_be_left_out(self, height, width):
        net, lr = shaken(DDet(**SMALL), std=0.08), torch.rand(1, 1, height, width)
        with torch.no_grad():
            parts = net.intermediates(lr)
            assert torch.equal(parts.output, net(lr))
            assert {image.shape for image in (parts.corrected, *parts.contributions, parts.output)} == {lr.shape}
            if height % 4 == 0:  # nothing is padded
                assert torch.equal(parts.corrected, lr + net.cdm(lr))  # eq. 10
                for contribution, kernels in zip(parts.contributions, net.kernels(lr), strict=True):
                    assert torch.equal(contribution, dynamic_filter(parts.corrected, kernels))
                assert torch.equal(parts.output, net.refine(sum(parts.contributions)))  # eqs. 9, 11
            bare = net.intermediates(lr, cdm=False, refine=False)
            assert torch.equal(bare.corrected, lr) and torch.equal(bare.output, sum(bare.contributions))
            assert not torch.allclose(net.intermediates(lr, cdm=False).output, net(lr))
            assert not torch.allclose(net.intermediates(lr, refine=False).output, net(lr))

    def test_the_plain_rung_is_kpn(self):
        plain, kpn = DDet(**SMALL, **PLAIN), shaken(KPN(**SMALL))
        plain.load_state_dict({key.replace("head.", "heads.0.0."): value for key, value in kpn.state_dict().items()})
        lr = torch.rand(1, 1, 9, 12)
        with torch.no_grad():
            assert torch.equal(plain.eval()(lr), kpn(lr))

    def test_trunk_sees_cells_row_by_row(self):
        net, lr = KPN(**SMALL), torch.arange(64.0).view(1, 1, 8, 8)
        seen = []
        net.trunk.entry.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
        net(lr)
        assert seen[0][0, :, 0, 1].tolist() == [row * 8 + column + 4 for row in range(4) for column in range(4)]

    @pytest.mark.parametrize(
        ("net", "arguments", "message"),
        [
            (DDet, {"variant": "papper"}, "unknown variant 'papper'.*'paper'"),
            (DDet, {"variant": "paper", "wide": True}, r"wide \(=True\) is of the official variant"),
            (DDet, {"width": 24}, r"width \(=24\) must be a multiple of 16"),
            (KPN, {"width": 0}, r"width \(=0\) must be a multiple of 16"),
            (KPN, {"kernel": 4}, r"kernel \(=4\) must be odd"),
            (LPKPN, {"kernel": -1}, r"kernel \(=-1\) must be odd"),
            (LPKPN, {"blocks": -1}, "blocks: got -1, .* at least 0"),
            *((net, {"init": "cafe"}, "unknown init 'cafe'.*'caffe'") for net in (KPN, LPKPN, DDet)),
            *((net, {"basis": "dtc"}, "unknown basis 'dtc'.*'dct'") for net in (KPN, LPKPN, DDet)),
            *((net, {"scale": 2}, r"scale \(=2\) of \w+ must be 1") for net in (KPN, LPKPN, DDet)),
        ],
    )
    def test_bad_arguments_are_named(self, net, arguments, message):
        with pytest.raises(SRError, match=message):
            net(**arguments)


class TestPyramid:
    @pytest.mark.parametrize(("height", "width"), [(4, 4), (16, 12)])
    def test_collapses_to_the_image(self, height, width):
        image = torch.rand(2, 1, height, width)
        bands = laplacian(image)
        assert [band.shape[2:] for band in bands] == [(height // n, width // n) for n in (1, 2, 4)]
        assert torch.allclose(collapse(bands), image, atol=1e-6)

    def test_flat_images_and_ramps_have_no_detail(self):
        *detail, rest = laplacian(torch.full((1, 1, 8, 8), 0.7))
        assert max(band.abs().max() for band in detail) < 1e-6 and torch.allclose(rest, torch.tensor(0.7))
        fine, *_ = laplacian(torch.arange(24.0).expand(1, 1, 24, 24))
        assert fine[..., 6:-6, 6:-6].abs().max() < 1e-5  # away from the border

    def test_kernels_filter_the_levels(self):
        net, lr = shaken(LPKPN(**SMALL)), torch.rand(1, 1, 16, 16)
        with torch.no_grad():
            assert [one.shape[-1] for one in net.kernels(lr)] == [16, 8, 4]
            assert torch.equal(collapse(net.levels(lr)), net(lr))


@pytest.mark.parametrize("name", ["ddet", "ddet_cdm", "ddet_refine", "kpn", "kpn_5", "kpn_13", "kpn_19"])
def test_released_kernels_differ_from_pixel_to_pixel(name):
    """Where all units before a head have died, a trained network has the same kernel everywhere, whatever its PSNR."""
    net = load_released(papers.get("ddet"), name, 1).model
    dark = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for kernels in net.kernels(torch.cat([dark, 0.5 * dark.flip(-1)], dim=-1)):
            assert kernels.std(dim=(2, 3)).mean() > 1e-5
