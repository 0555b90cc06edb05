"""What networks cost side by side: size, work, time and memory, measured in one loop on one input."""

import statistics
import time

import pandas as pd
import torch
from torch import Tensor, nn

from srlib.losses import levels
from srlib.models import summary
from srlib.models.summary import saved_bytes


def _seconds(run) -> float:
    began = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def _step(model: nn.Module, lr: Tensor) -> None:
    model.zero_grad(set_to_none=True)
    sum(image.square().mean() for image in levels(model(lr))).backward()


def measure(networks: dict[str, nn.Module], *, side: int = 48, repeats: int = 5) -> pd.DataFrame:
    """Return a row per network: what it costs on one `side` by `side` LR image, times as medians of alternating runs.

    Columns: `method`, `parameters`, `mult_adds` (G, for a 1280x720 output), `seconds` (one upscaling), `step_seconds` (forward
    and backward), `step_memory` (MB that the forward pass keeps for the backward one).
    """
    lrs = {name: torch.rand(1, net.channels or 3, side, side) for name, net in networks.items()}
    infer, step = {name: [] for name in networks}, {name: [] for name in networks}
    for turn in range(repeats + 1):  # the first turn warms up
        for name, net in networks.items():
            with torch.no_grad():
                forward = _seconds(lambda net=net, name=name: net(lrs[name]))
            train = _seconds(lambda net=net, name=name: _step(net, lrs[name]))
            if turn:
                infer[name].append(forward)
                step[name].append(train)
    rows = []
    for name, net in networks.items():
        cost = summary(net)
        rows.append(
            {
                "method": name,
                "parameters": cost.parameters,
                "mult_adds": cost.mult_adds / 1e9,
                "seconds": statistics.median(infer[name]),
                "step_seconds": statistics.median(step[name]),
                "step_memory": saved_bytes(net, lrs[name]) / 1e6,
            }
        )
    return pd.DataFrame(rows)
