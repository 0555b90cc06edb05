import math

import numpy as np
import pytest
import torch

from srlib.core.errors import SRError
from srlib.core.imresize import imresize
from srlib.nn import models
from srlib.papers.prosrn import gan
from srlib.train import losses

ALL = sorted(losses.LOSSES)


def pair():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 3, 5, 4, generator=generator), torch.rand(2, 3, 5, 4, generator=generator)


@pytest.mark.parametrize("name", ALL)
def test_moves_the_gradient_of_every_pixel(name):
    sr, hr = pair()
    sr.requires_grad_()
    losses.get(name)(sr, hr).backward()
    assert torch.isfinite(sr.grad).all() and (sr.grad != 0).all()
    assert torch.equal(sr.grad.sign(), (sr - hr).detach().sign())


@pytest.mark.parametrize("name", ALL)
def test_is_a_scalar_mean_that_batches_do_not_change(name):
    sr, hr = pair()
    loss = losses.get(name)
    assert loss(sr, hr).shape == ()
    assert torch.allclose(loss(sr, hr), torch.stack([loss(a, b) for a, b in zip(sr, hr, strict=True)]).mean())
    assert loss(sr, hr) == loss(hr, sr) > loss(hr, hr) >= 0


def test_values():
    sr, hr = torch.zeros(1, 1, 2, 2), torch.tensor([[[[0.0, 0.1], [-0.2, 0.3]]]])
    assert losses.get("mse")(sr, hr).item() == pytest.approx((0.01 + 0.04 + 0.09) / 4)
    assert losses.get("l1")(sr, hr).item() == pytest.approx(0.6 / 4)
    expected = sum((d * d + 1e-6) ** 0.5 for d in (0.0, 0.1, 0.2, 0.3)) / 4
    assert losses.charbonnier(sr, hr).item() == pytest.approx(expected)


def test_charbonnier_has_a_gradient_at_zero():
    sr = torch.zeros(1, requires_grad=True)
    losses.charbonnier(sr, torch.zeros(1)).backward()
    assert sr.grad.item() == 0


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("charbonier", {}, r"unknown loss 'charbonier'\. Did you mean 'charbonnier'\? Known: charbonnier, difficulty"),
        ("difficulty", {"balance": True}, "unknown argument of loss 'difficulty': 'balance'.*balanced"),
    ],
)
def test_misspelt_names_and_arguments_are_refused(name, args, message):
    with pytest.raises(SRError, match=message):
        losses.get(name, **args)


class TestLevels:
    def test_targets_are_hr_reduced_bicubically(self):
        hr = torch.rand(2, 1, 24, 16, generator=torch.Generator().manual_seed(1))
        outputs = [torch.zeros(2, 1, 24 // s, 16 // s) for s in (4, 2, 1)]
        small, middle, large = losses.level_targets(outputs, hr)
        assert large is hr
        assert all(target is hr for target in losses.level_targets([hr] * 3, hr))  # levels of one size share their target
        for target, scale in ((small, 4), (middle, 2)):
            expected = np.stack([imresize(image[0].double().numpy(), 1 / scale) for image in hr])
            assert np.allclose(target[:, 0].numpy(), expected, atol=1e-6)

    @pytest.mark.parametrize("name", ALL)
    def test_total_is_the_sum_over_the_levels(self, name):
        hr, loss = torch.rand(2, 1, 8, 8), losses.get(name)
        outputs = [torch.rand(2, 1, side, side, requires_grad=True) for side in (4, 8)]
        parts = [loss(*both) for both in zip(outputs, losses.level_targets(outputs, hr), strict=True)]
        assert min(parts) > 0 and torch.allclose(loss(outputs, hr), sum(parts))
        assert loss(outputs[1:], hr) == loss(outputs[1], hr) == parts[1]
        loss(outputs, hr).backward()
        assert all((image.grad != 0).all() for image in outputs)

    @pytest.mark.parametrize("sides", [[(8, 8)], [(6, 6)], [(4, 4), (4, 4)], [(3, 3), (16, 16)], [(8, 4), (16, 16)]])
    def test_outputs_of_another_size_than_hr_are_refused(self, sides):
        hr, loss = torch.rand(1, 1, 16, 16), losses.get("mse")
        assert loss([torch.rand(1, 1, 8, 8), hr + 1], hr) > 0
        outputs = [torch.rand(1, 1, *side) for side in sides]
        with pytest.raises(SRError, match=r"the network gave \d+x\d+.* pixels for HR patches of 16x16; the last image must have"):
            loss(outputs if len(outputs) > 1 else outputs[0], hr)


class TestDifficulty:
    @staticmethod
    def batch(hard: int, easy: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Patches of the hardest and of the easiest class: hr, lr."""
        generator = torch.Generator().manual_seed(0)
        hr = torch.full((hard + easy, 1, 96, 96), 0.5)
        hr[:hard] = torch.rand(hard, 1, 96, 96, generator=generator)
        return hr, torch.full((hard + easy, 1, 48, 48), 0.5)

    def test_each_class_of_a_batch_weighs_the_same_where_it_is_balanced(self):
        (hr, lr), logits = self.batch(7, 1), torch.randn(8, 5)
        each = torch.nn.functional.cross_entropy(logits, torch.tensor([0] * 7 + [4]), reduction="none")
        assert torch.isclose(losses.get("difficulty")(logits, hr, lr), each.mean())
        balanced = losses.get("difficulty", balanced=True)(logits, hr, lr)
        assert torch.isclose(balanced, (each[:7].mean() + each[7]) / 2)
        (hr, lr), logits = self.batch(0, 4), torch.randn(4, 5)  # one class is no special case
        plain, balanced = (losses.get("difficulty", balanced=b)(logits, hr, lr) for b in (False, True))
        assert torch.isclose(plain, balanced)

    def test_a_rare_class_is_predicted_where_it_is_balanced(self):
        """What the logits of an identifier that sees nothing become: the hardest of eight patches against the one easy one."""
        hr, lr = self.batch(7, 1)
        shares = []
        for balanced in (False, True):
            bias = torch.zeros(5, requires_grad=True)
            optimizer = torch.optim.SGD([bias], lr=1.0)
            for _ in range(60):
                optimizer.zero_grad()
                losses.get("difficulty", balanced=balanced)(bias.expand(8, 5), hr, lr).backward()
                optimizer.step()
            shares.append(bias.softmax(dim=0)[4].item())
        assert shares == pytest.approx([1 / 8, 1 / 2], abs=0.02)


class TestCropToOutput:
    def test_takes_the_centre_for_a_network_that_declares_valid_padding(self):
        hr = torch.arange(36.0).view(1, 1, 6, 6)
        net = torch.nn.Identity()
        assert losses.crop_to_output(net, hr, torch.zeros(1, 1, 2, 4)) is hr
        net.valid_padding = True
        assert torch.equal(losses.crop_to_output(net, hr, torch.zeros(1, 1, 2, 4)), hr[..., 2:4, 1:5])
        assert torch.equal(losses.crop_to_output(net, hr, [torch.zeros(1, 1, 1, 2), torch.zeros(1, 1, 2, 4)]), hr[..., 2:4, 1:5])

    def test_only_btsrn_without_padding_declares_it(self):
        nets = {name: models.create(name, models.scales(name)[-1]) for name in models.names()}
        assert not any(getattr(net, "valid_padding", False) for net in nets.values())
        assert models.create("btsrn", 2, padding="valid").valid_padding


class TestAdversarialBCE:
    def test_values(self):
        logits = torch.tensor([[0.0, 2.0], [-3.0, 1.0]])
        for real in (True, False):
            target = torch.full_like(logits, float(real))
            expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, target)
            assert torch.allclose(gan.adversarial_bce(logits, real), expected)
        assert gan.adversarial_bce(torch.zeros(3), True).item() == pytest.approx(math.log(2))

    def test_a_generator_that_is_seen_through_still_learns(self):
        """The form that does not saturate: the surer the discriminator, the larger the gradient, up to 1."""
        logits = torch.tensor([-20.0, 0.0, 20.0], requires_grad=True)
        gan.adversarial_bce(logits, True).backward()
        assert torch.allclose(3 * logits.grad, torch.tensor([-1.0, -0.5, 0.0]), atol=1e-6)

    def test_extreme_logits_are_finite(self):
        for logit, real in ((-1e4, True), (1e4, False)):
            assert gan.adversarial_bce(torch.tensor([logit]), real).item() == 1e4
