"""The networks that ProSRN is compared with, and the discriminators, beside published numbers."""

import pytest
import torch

from srlib.baselines.drcn import DRCN
from srlib.baselines.drrn import DRRN
from srlib.baselines.lapsrn import LapSRN
from srlib.baselines.srresnet import SRResNet
from srlib.core.errors import SRError
from srlib.nn import models
from srlib.nn.bicubic import upsample_bicubic
from srlib.nn.cost import summary
from srlib.nn.models import levels
from srlib.papers.prosrn.gan import SMALLEST, ImageDiscriminator, PatchDiscriminator
from srlib.train import losses


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def shaken(net):
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return net


def zeroed(module):
    for parameter in module.parameters():
        torch.nn.init.zeros_(parameter)
    return module


class TestLapSRN:
    @pytest.mark.parametrize(("scale", "count"), [(2, 407_441), (4, 814_242), (8, 1_221_043)])
    def test_has_the_size_of_the_authors_code(self, scale, count):
        assert parameters(models.create("lapsrn", scale)) == count
        assert parameters(models.create("lapsrn", scale, shared=True)) == 407_441

    def test_every_level_of_its_own_costs_the_same(self):
        sizes = [parameters(models.create("lapsrn", scale)) for scale in (2, 4, 8, 16)]
        assert {b - a for a, b in zip(sizes, sizes[1:], strict=False)} == {406_801}

    def test_shared_levels_carry_features_which_prosrn_does_not(self):
        """LapSRN's second level works on the features of the first, ProSRN's on its image."""
        net = shaken(LapSRN(4, shared=True, depth=2, width=8)).eval()
        lr = torch.rand(1, 1, 5, 5)
        features, image = net.levels[0](net.entry(lr), lr)
        with torch.no_grad():
            assert torch.equal(net(lr), net.levels[0](features, image)[1])
            assert not torch.allclose(net(lr), net.levels[0](net.entry(image), image)[1])

    @pytest.mark.parametrize("shared", [False, True])
    def test_training_gives_all_levels_and_testing_the_last(self, shared):
        net = shaken(LapSRN(8, shared=shared, depth=1, width=8))
        lr = torch.rand(2, 1, 4, 3)
        with torch.no_grad():
            images = net.train()(lr)
            assert [tuple(image.shape[2:]) for image in images] == [(8, 6), (16, 12), (32, 24)]
            assert torch.equal(net.eval()(lr), images[-1])

    def test_fresh_network_interpolates(self):
        net, flat = LapSRN(4).eval(), torch.full((1, 1, 9, 9), 0.5)
        with torch.no_grad():
            assert (net(flat)[..., 4:-4, 4:-4] - 0.5).abs().max() < 0.01

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"scale": 3}, r"scale \(=3\) of LapSRN must be a power of two"),
            ({"scale": 0}, r"scale \(=0\) of LapSRN must be a power of two"),
            ({"depth": 0}, r"depth \(=0\) must be at least 1"),
        ],
    )
    def test_bad_arguments_are_named(self, arguments, message):
        with pytest.raises(SRError, match=message):
            LapSRN(**{"scale": 2, **arguments})


class TestDRCN:
    def test_has_the_published_size_and_cost(self):
        cost = summary(models.create("drcn", 2))
        assert cost.weights == 1_774_080
        assert cost.mult_adds_carn / 1e9 == pytest.approx(17_974.3, abs=0.1)

    def test_recursions_share_their_weights(self):
        assert parameters(DRCN(2, recursions=5, width=8)) - parameters(DRCN(2, recursions=1, width=8)) == 4

    def test_output_is_the_weighted_mean_of_the_predictions(self):
        net = shaken(DRCN(2, recursions=3, width=8)).train()
        *predictions, mean = net(torch.rand(1, 1, 5, 5))
        assert len(predictions) == 3
        expected = sum(w * p for w, p in zip(net.weights, predictions, strict=True))
        assert torch.allclose(mean, expected) and not torch.allclose(predictions[0], predictions[1])

    def test_fresh_recursions_hand_on_what_they_get(self):
        net, h = DRCN(2, width=8), torch.rand(1, 8, 4, 4)
        assert torch.equal(net.recurse(h), h) and net.weights.tolist() == [1 / 16] * 16

    def test_recursions_must_be_positive(self):
        with pytest.raises(SRError, match=r"recursions \(=0\) must be at least 1"):
            DRCN(2, recursions=0)


class TestDRRN:
    def test_has_the_published_size_and_cost(self):
        cost = summary(models.create("drrn", 2))
        assert cost.weights == 297_216
        assert cost.mult_adds_carn / 1e9 == pytest.approx(6_796.9, abs=0.1)

    def test_every_use_of_the_unit_adds_the_source(self):
        """A unit that only gives its bias c, n times: the last one gives source + c, whatever came before."""
        net = zeroed(DRRN(2, units=3, width=8)).eval()
        torch.nn.init.constant_(net.unit[-1].bias, 2.0)
        torch.nn.init.dirac_(net.exit[-1].weight)
        lr = torch.rand(1, 1, 4, 4)
        assert torch.allclose(net(lr), upsample_bicubic(lr, 2) + 2)
        torch.nn.init.dirac_(net.unit[-1].weight)  # and one that also hands on half of what it gets
        net.unit[-1].weight.data /= 2
        torch.nn.init.dirac_(net.unit[1].weight)
        assert torch.allclose(net(lr), upsample_bicubic(lr, 2) + 2 + 1 + 0.5)

    def test_units_must_be_positive(self):
        with pytest.raises(SRError, match=r"units \(=0\) must be at least 1"):
            DRRN(2, units=0)


class TestSRResNet:
    def test_has_the_published_size_and_cost(self):
        cost = summary(models.create("srresnet", 4))
        assert (cost.parameters, cost.weights) == (1_549_462, 1_542_528)
        assert cost.mult_adds / 1e9 == pytest.approx(127.8, abs=0.05)

    def test_testing_does_not_depend_on_the_batch_but_training_does(self):
        net, lr = shaken(SRResNet(2, blocks=1, width=8)), torch.rand(2, 3, 6, 6)
        with torch.no_grad():
            assert torch.allclose(net.eval()(lr)[:1], net(lr[:1]), atol=1e-5)
            assert not torch.allclose(net.train()(lr)[:1], net(lr[:1]), atol=1e-3)

    def test_statistics_of_the_batches_are_saved(self):
        net = SRResNet(2, blocks=1, width=8)
        before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
        net.train()(torch.rand(2, 3, 6, 6))
        changed = {name.rsplit(".", 1)[1] for name, tensor in net.state_dict().items() if not torch.equal(tensor, before[name])}
        assert changed == {"running_mean", "running_var", "num_batches_tracked"}


class TestDiscriminators:
    def test_patch_discriminator_has_the_size_of_the_facts(self):
        assert parameters(PatchDiscriminator()) == 4_692_545

    @pytest.mark.parametrize(("height", "width"), [(16, 16), (32, 48), (96, 96)])
    def test_a_logit_per_patch_or_per_image(self, height, width):
        lr, image = torch.rand(2, 1, height // 4, width // 4), torch.rand(2, 1, height, width)
        assert PatchDiscriminator(1, 8)(image, lr).shape == (2, 1, height // 16, width // 16)
        assert ImageDiscriminator(1, 2)(image, lr).shape == (2, 1)

    def test_a_logit_judges_93_pixels(self):
        net = PatchDiscriminator(1, 8).double().eval()
        for layer in net.modules():
            if isinstance(layer, torch.nn.Conv2d):  # all paths count, none cancels another
                layer.weight.data.abs_()
        image = torch.rand(1, 1, 224, 224, dtype=torch.float64, requires_grad=True)
        net(image, torch.zeros(1, 1, 112, 112, dtype=torch.float64))[0, 0, 7, 7].backward()
        rows = image.grad[0, 0].abs().sum(1).nonzero().flatten()
        assert rows[-1] - rows[0] + 1 == 93 == len(rows)

    @pytest.mark.parametrize("scale", [2, 4])
    def test_patch_discriminator_sees_the_residual_beside_bicubic(self, scale):
        """The bicubic image itself leaves nothing, whatever it shows; an offset is all that is seen of one with an offset."""
        net, seen = PatchDiscriminator(1, 8).eval(), []
        net.features[0].register_forward_hook(lambda layer, inputs, output: seen.append(inputs[0]))
        lr = torch.rand(1, 1, 32 // scale, 32 // scale)
        enlarged = upsample_bicubic(lr, scale)
        with torch.no_grad():
            net(enlarged, lr)
            net(enlarged + 0.25, lr)
        assert seen[0].abs().max() == 0
        assert torch.allclose(seen[1], torch.full_like(enlarged, 0.25), atol=1e-6)

    def test_image_discriminator_does_not_care_about_lr(self):
        net, image = ImageDiscriminator(3, 2).eval(), torch.rand(1, 3, 32, 32)
        assert torch.equal(net(image, torch.rand(1, 3, 8, 8)), net(image, torch.rand(1, 3, 8, 8)))

    @pytest.mark.parametrize("name", ["patch", "image"])
    def test_every_parameter_and_the_image_receive_a_gradient(self, name):
        net = losses.adversarial(name).build(1, width=4).train()
        image = torch.rand(2, 1, 32, 32, requires_grad=True)
        net(image, torch.rand(2, 1, 8, 8)).square().mean().backward()
        assert image.grad.abs().sum() > 0
        assert [n for n, p in net.named_parameters() if p.grad is None or p.grad.abs().sum() == 0] == []

    @pytest.mark.parametrize("name", ["patch", "image"])
    @pytest.mark.parametrize(("height", "width"), [(15, 32), (32, 8)])
    def test_images_too_small_are_refused(self, name, height, width):
        net = losses.adversarial(name).build(1, width=2)
        message = rf"at least {SMALLEST}x{SMALLEST} pixels at every level, got {height}x{width}; give a larger hr_patch"
        with pytest.raises(SRError, match=message):
            net(torch.rand(1, 1, height, width), torch.rand(1, 1, height // 2, width // 2))

    def test_unknown_names(self):
        with pytest.raises(SRError, match="unknown discriminator 'pach'.*'patch'"):
            losses.adversarial("pach")
        with pytest.raises(SRError, match="unknown argument of discriminator 'image': 'channels'. Known: width"):
            losses.adversarial("image", {"channels": 3})


SUPERVISED = {"drcn": 17, "drrn": 1, "lapsrn": 2, "prosrn": 2, "srresnet": 1, "vdsr": 1}


@pytest.mark.parametrize("name", SUPERVISED)
def test_what_is_supervised_in_training(name):
    net = models.create(name, 4, width=8).train()
    assert len(levels(net(torch.rand(1, net.channels or 3, 4, 4)))) == SUPERVISED[name]
