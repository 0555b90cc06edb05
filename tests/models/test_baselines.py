"""The networks that the papers compare with, and the discriminators, beside published numbers."""

import pytest
import torch
import torch.nn.functional as F
from networks import awake, count, parameters, shaken, without_gradient, zeroed

from srlib.baselines.cdc import CDC
from srlib.baselines.drcn import DRCN
from srlib.baselines.drrn import DRRN
from srlib.baselines.edsr import EDSR
from srlib.baselines.idn import IDN
from srlib.baselines.imdn import IMDN, Distillation
from srlib.baselines.lapsrn import LapSRN
from srlib.baselines.memnet import MemNet
from srlib.baselines.rcan import RCAN, ChannelAttention
from srlib.baselines.rdn import RDN, DenseBlock
from srlib.baselines.rrdbnet import RRDBNet
from srlib.baselines.srresnet import SRResNet
from srlib.baselines.vdsr import VDSR
from srlib.core.errors import SRError
from srlib.nn import models
from srlib.nn.bicubic import upsample_bicubic
from srlib.nn.cost import summary
from srlib.nn.models import levels
from srlib.papers.prosrn.gan import SMALLEST, ImageDiscriminator, PatchDiscriminator
from srlib.papers.prosrn.model import ProSRN
from srlib.train import losses

HOURGLASS = {"hourglasses": 1, "levels": 2, "blocks": 1, "width": 8}
SIZES = [
    (EDSR, {}, {2: 1_369_859, 3: 1_554_499, 4: 1_517_571}),
    (EDSR, {"blocks": 32, "width": 256, "res_scale": 0.1}, {2: 40_729_603, 3: 43_680_003, 4: 43_089_923}),
    (RCAN, {}, {2: 15_444_643, 3: 15_629_283, 4: 15_592_355, 8: 15_740_067}),
    (RDN, {}, {2: 22_123_395, 3: 22_308_035, 4: 22_271_107}),
    (RDN, {"blocks": 20, "layers": 6, "growth": 32}, {4: 5_578_787}),
    (RDN, {"blocks": 7, "layers": 6}, {4: 6_024_387}),
    (RRDBNet, {}, {4: 16_697_987}),
    (IMDN, {}, {2: 694_404, 3: 703_059, 4: 715_176}),
    (SRResNet, {}, {4: 1_549_462}),
    (SRResNet, {"norm": False}, {2: 1_369_859, 3: 1_554_499, 4: 1_517_571}),
    (VDSR, {"channels": 3}, {4: 668_227}),
    (LapSRN, {}, {2: 407_441, 4: 814_242, 8: 1_221_043}),
    (LapSRN, {"shared": True}, {2: 407_441, 8: 407_441}),
    (CDC, {}, {2: 39_637_196, 4: 40_080_332}),  # within half a percent of the code's 39,698,962 and 39,920,530
]


@pytest.mark.parametrize(("model", "arguments", "sizes"), SIZES)
def test_sizes_are_the_published_ones(model, arguments, sizes):
    assert {scale: count(model, scale, **arguments) for scale in sizes} == sizes


@pytest.mark.parametrize(
    ("name", "scale", "weights", "giga"),
    [("drcn", 2, 1_774_080, 17_974.3), ("drrn", 2, 297_216, 6_796.9), ("srresnet", 4, 1_542_528, 127.8)],
)
def test_costs_are_the_published_ones(name, scale, weights, giga):
    cost = summary(models.create(name, scale))
    assert cost.weights == weights
    assert (cost.mult_adds_carn if name != "srresnet" else cost.mult_adds) / 1e9 == pytest.approx(giga, abs=0.1)


class TestForwardPasses:
    """Wiring, slopes and factors, written out."""

    @pytest.fixture(autouse=True)
    def no_gradients(self):
        with torch.no_grad():
            yield

    def test_rrdbnet(self):
        net, lr = shaken(RRDBNet(2, blocks=2, width=4, growth=2), std=0.2), torch.rand(1, 3, 6, 5)
        first = x = net.head(lr)
        for block in (net.body[0], net.body[1]):
            y = x
            for dense in block.body:
                features = y
                for layer in dense.layers[:4]:
                    features = torch.cat([features, F.leaky_relu(layer(features), 0.2)], dim=1)
                y = y + 0.2 * dense.layers[4](features)
            x = x + 0.2 * y
        x = F.interpolate(first + net.body[2](x), scale_factor=2, mode="nearest")
        for i in (1, 3):
            x = F.leaky_relu(net.tail[i](x), 0.2)
        assert torch.allclose(net(lr), net.tail[5](x), atol=1e-5)

    def test_idn(self):
        net, lr = shaken(IDN(2, blocks=2, width=16), std=0.2), torch.rand(1, 1, 7, 6)
        x = net.entry[1](net.entry[0](lr))
        for block in net.blocks:
            y = x
            for i in (0, 2, 4):
                y = F.leaky_relu(block.first[i](y), 0.05)
            y, kept = y[:, :12], y[:, 12:]
            for i in (0, 2, 4):
                y = F.leaky_relu(block.second[i](y), 0.05)
            x = block.compress(y + torch.cat([kept, x], dim=1))
        large = F.conv_transpose2d(x, net.exit.weight, net.exit.bias, stride=2, padding=8, output_padding=1)
        assert torch.allclose(net(lr), upsample_bicubic(lr, 2) + large, rtol=1e-4)

    def test_memnet(self):
        net, lr = shaken(MemNet(2, blocks=2, recursions=2, width=4), std=0.6), torch.rand(1, 1, 6, 5)
        base = upsample_bicubic(lr, 2)
        memories = [net.entry(base)]
        for block in net.memories:
            x, short_term = memories[-1], []
            for i in (0, 2):
                x = x + block.second(block.norms[i + 1](block.first(block.norms[i](x))))
                short_term.append(x)
            memories.append(block.gate(torch.cat([*short_term, *memories], dim=1)))
        assert torch.allclose(net(lr), base + net.exit(memories[-1]), atol=1e-5)

    def test_rdn(self):
        net, lr = shaken(RDN(2, blocks=2, layers=2, growth=2, width=4), std=0.2), torch.rand(1, 3, 6, 5)
        mean = torch.tensor([0.4488, 0.4371, 0.4040]).view(1, 3, 1, 1)
        first = net.first(lr - mean)
        x, outputs = net.second(first), []
        for block in net.body.blocks:
            features = x
            for layer in block.layers:
                features = torch.cat([features, layer(features).relu()], dim=1)
            x = x + block.fusion(features)
            outputs.append(x)
        x = first + net.body.fusion(torch.cat(outputs, dim=1))
        expected = net.tail[2](F.pixel_shuffle(net.tail[0](x), 2)) + mean
        assert torch.allclose(net(lr), expected, atol=1e-5)

    def test_cdc(self):
        net, lr = shaken(CDC(2, hourglasses=2, levels=1, blocks=1, width=8), std=0.2), torch.rand(1, 3, 6, 4)

        def residual(block, x):
            return x + block.body[2](block.body[0](x).relu())

        x, images, logits = net.head(lr), [], []
        for part in net.parts:
            for hourglass in part.body:
                small = residual(hourglass.before[0], F.max_pool2d(x, 2))
                small = residual(hourglass.after[0], residual(hourglass.inner[0], small))
                x = residual(hourglass.skip, x) + F.interpolate(small, scale_factor=2, mode="nearest")
            large = F.pixel_shuffle(part.up[0](part.reduce[0](x).relu()), 2)
            images.append(part.image(large))
            logits.append(part.mask(large))
        weights = torch.cat(logits, dim=1).softmax(dim=1)
        expected = sum(image * weights[:, i : i + 1] for i, image in enumerate(images))
        assert torch.allclose(net(lr), expected, rtol=1e-4, atol=1e-4)


class TestLapSRN:
    def test_shared_levels_carry_features_which_prosrn_does_not(self):
        """LapSRN's second level works on the features of the first, ProSRN's on its image."""
        net = shaken(LapSRN(4, shared=True, depth=2, width=8)).eval()
        lr = torch.rand(1, 1, 5, 5)
        features, image = net.levels[0](net.entry(lr), lr)
        with torch.no_grad():
            assert torch.equal(net(lr), net.levels[0](features, image)[1])
            assert not torch.allclose(net(lr), net.levels[0](net.entry(image), image)[1])

    def test_fresh_network_interpolates(self):
        net, flat = LapSRN(4).eval(), torch.full((1, 1, 9, 9), 0.5)
        with torch.no_grad():
            assert (net(flat)[..., 4:-4, 4:-4] - 0.5).abs().max() < 0.01


class TestDRCN:
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


class TestDRRN:
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


class TestSRResNet:
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
        assert without_gradient(net) == []

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


@pytest.mark.parametrize(
    ("net", "count"),
    [(DRCN(4, width=8), 17), (DRRN(4, width=8), 1), (SRResNet(4, width=8), 1), (VDSR(4, width=8), 1), (CDC(4, **HOURGLASS), 4)],
)
def test_what_is_supervised_in_training(net, count):
    lr = torch.rand(2, net.channels, 4, 4)
    outputs = levels(net.train()(lr))
    assert len(outputs) == count and {output.shape[2:] for output in outputs} == {(16, 16)}


@pytest.mark.parametrize(
    "net", [LapSRN(8, depth=1, width=8), LapSRN(8, shared=True, depth=1, width=8), ProSRN(8, depth=2, width=8)]
)
def test_progressive_networks_give_all_levels_in_training_and_the_last_in_testing(net):
    lr = torch.rand(2, 1, 4, 3)
    with torch.no_grad():
        images = shaken(net).train()(lr)
        assert [tuple(image.shape) for image in images] == [(2, 1, 4 * s, 3 * s) for s in (2, 4, 8)]
        assert torch.equal(net.eval()(lr), images[-1])


@pytest.mark.parametrize("net", [RCAN(2, groups=2, blocks=2, width=8), IMDN(2, blocks=2, width=8)])
def test_attention_depends_on_the_whole_image(net):
    awake(net).eval()
    lr = torch.rand(1, 3, 64, 8)
    other = lr.clone()
    other[..., -1, :] += 1
    with torch.no_grad():
        assert net.context is None and not torch.equal(net(lr)[..., 0, :], net(other)[..., 0, :])


def test_edsr_scales_residuals():
    net = EDSR(1, blocks=1, width=8, res_scale=0.5)
    block, x = net.body[0], torch.rand(1, 8, 4, 4)
    assert torch.allclose(block(x), x + 0.5 * block.body(x))


def test_channel_attention_weighs_by_means():
    """Two images with the same means of channels get the same weights."""
    attention, x = ChannelAttention(8), torch.rand(1, 8, 4, 4)
    turned = x.flip(-1)
    assert torch.allclose(attention(turned), attention(x).flip(-1), atol=1e-6)
    assert 0 < (attention(x) / x).min() and (attention(x) / x).max() < 1


def test_dense_block_hands_on_everything():
    """With a fusion that picks channel 0 of the input and of each layer, the block adds all of them."""
    block, x = DenseBlock(2, layers=2, growth=1), torch.rand(1, 2, 4, 4)
    torch.nn.init.zeros_(block.fusion.weight)
    torch.nn.init.zeros_(block.fusion.bias)
    block.fusion.weight.data[0, [0, 2, 3]] = 1
    first = torch.relu(block.layers[0](x))
    second = torch.relu(block.layers[1](torch.cat([x, first], dim=1)))
    assert torch.allclose(block(x)[:, :1], x[:, :1] + x[:, :1] + first + second, atol=1e-6)
    assert torch.equal(block(x)[:, 1:], x[:, 1:])


def test_distillation_keeps_a_quarter_of_each():
    block = Distillation(8)
    assert [layer.in_channels for layer in block.layers] == [8, 6, 6] and block.last.out_channels == 2


@pytest.mark.parametrize("scale", [1, 2])
def test_srresnet_without_norm_and_vdsr_add_to_the_enlarged_image(scale):
    lr = torch.rand(1, 3, 6, 7)
    srresnet, vdsr = SRResNet(scale, blocks=2, width=8, norm=False), VDSR(scale, channels=3, depth=4, width=8)
    with torch.no_grad():
        assert torch.allclose(zeroed(srresnet)(lr), F.interpolate(lr, scale_factor=scale, mode="bilinear"))
        assert torch.allclose(zeroed(vdsr)(lr), upsample_bicubic(lr, scale), atol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LapSRN(3), r"scale \(=3\) must be a power of two"),
        (lambda: LapSRN(0), r"scale \(=0\) must be a power of two"),
        (lambda: LapSRN(2, depth=0), "depth: got 0, .* at least 1"),
        (lambda: EDSR(6), r"scale \(=6\) must be 1, 3 or a power of two"),
        (lambda: DRCN(2, recursions=0), "recursions: got 0, .* at least 1"),
        (lambda: DRRN(2, units=0), "units: got 0, .* at least 1"),
        (lambda: CDC(2, levels=0), "levels: got 0, .* at least 1"),
        (lambda: Distillation(10), r"width \(=10\) of IMDN must be divisible by 4"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(SRError, match=message):
        make()


class TestCDC:
    def test_result_is_the_components_by_their_masks(self):
        net, lr = CDC(2, **HOURGLASS), torch.rand(1, 3, 9, 7)
        with torch.no_grad():
            images, masks = net.components(lr)
            *trained, result = net.train()(lr)
            assert torch.allclose(masks.sum(dim=1), torch.ones(1, 18, 14))
            assert torch.allclose(result, sum(image * masks[:, i, None] for i, image in enumerate(images)))
            assert len(trained) == 3 and torch.equal(net.eval()(lr), result)

    def test_sides_are_extended_by_border_pixels(self):
        net, lr = CDC(1, **HOURGLASS).eval(), torch.rand(1, 3, 6, 7)
        extended = F.pad(lr, (0, 1, 0, 2), mode="replicate")
        with torch.no_grad():
            assert torch.allclose(net(lr), net(extended)[..., :6, :7], atol=1e-6)
