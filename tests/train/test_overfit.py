import pytest
import torch

from srlib.core.errors import SRError
from srlib.nn import models
from srlib.train.overfit import overfit


def test_a_batch_is_learned():
    generator = torch.Generator().manual_seed(0)
    hr = torch.rand(2, 1, 16, 16, generator=generator)
    lr = torch.nn.functional.avg_pool2d(hr, 2)
    net = models.create("espcn", 2)
    history = overfit(net, lr, hr, "mse", seconds=2)
    assert history["loss"].iloc[-1] < 0.7 * history["loss"].iloc[0]
    assert history["step"].tolist() == list(range(1, len(history) + 1)) and history["seconds"].is_monotonic_increasing
    assert not net.training


def test_an_unknown_loss_is_refused():
    net = models.create("espcn", 2)
    with pytest.raises(SRError, match="unknown loss 'l3'"):
        overfit(net, torch.rand(1, 1, 8, 8), torch.rand(1, 1, 16, 16), "l3")
