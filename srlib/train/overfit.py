"""A network fitted to one batch: what a working model and loss must be able to do."""

import time

import pandas as pd
import torch
from torch import Tensor, nn

from srlib.train import losses


def overfit(
    net: nn.Module, lr: Tensor, hr: Tensor, loss: str = "l1", seconds: float = 30.0, learning_rate: float = 1e-3, **loss_args
) -> pd.DataFrame:
    """Train a network in place on one batch for some seconds; return `step`, `seconds` and `loss`, a row per step.

    lr, hr: `(N, C, H, W)` in 0..1. loss, loss_args: of `losses.get`.
    """
    objective = losses.get(loss, **loss_args)
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], learning_rate)
    began, rows = time.monotonic(), []
    net.train()
    while not rows or time.monotonic() - began < seconds:
        optimizer.zero_grad()
        value = objective(net(lr), hr, lr)
        value.backward()
        optimizer.step()
        rows.append({"step": len(rows) + 1, "seconds": time.monotonic() - began, "loss": value.item()})
    net.eval()
    return pd.DataFrame(rows)
