import pytest
import torch

from srlib import losses
from srlib.errors import SRError

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
def test_descent_reduces_it(name):
    sr, hr = pair()
    weight = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.Adam([weight], lr=0.05)
    values = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = losses.get(name)(sr + weight, hr + 0.5)
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[-1] < 0.8 * values[0]
    assert weight.item() > 0.2


@pytest.mark.parametrize("name", ALL)
def test_is_a_scalar_mean_that_batches_do_not_change(name):
    sr, hr = pair()
    loss = losses.get(name)
    assert loss(sr, hr).shape == ()
    assert torch.allclose(loss(sr, hr), torch.stack([loss(a, b) for a, b in zip(sr, hr, strict=True)]).mean())
    assert loss(sr, hr) == loss(hr, sr) > loss(hr, hr) >= 0


def test_values():
    sr, hr = torch.zeros(1, 1, 2, 2), torch.tensor([[[[0.0, 0.1], [-0.2, 0.3]]]])
    assert losses.mse(sr, hr).item() == pytest.approx((0.01 + 0.04 + 0.09) / 4)
    assert losses.l1(sr, hr).item() == pytest.approx(0.6 / 4)
    expected = sum((d * d + 1e-6) ** 0.5 for d in (0.0, 0.1, 0.2, 0.3)) / 4
    assert losses.charbonnier(sr, hr).item() == pytest.approx(expected)


def test_charbonnier_has_a_gradient_at_zero():
    sr = torch.zeros(1, requires_grad=True)
    losses.charbonnier(sr, torch.zeros(1)).backward()
    assert sr.grad.item() == 0


def test_unknown_loss_names_the_nearest():
    with pytest.raises(SRError, match=r"unknown loss 'charbonier'\. Did you mean 'charbonnier'\? Known: charbonnier, l1, mse"):
        losses.get("charbonier")
