"""Cost of networks side by side: parameters, multiply-adds, time and memory.

Times are measured in rounds, each network once per round, so that other load on the machine affects all of them alike. A row has
all rounds of its network (`seconds_rounds`, `step_seconds_rounds`: numbers joined by ";"), the `session` of the measurement, and
`busy`, the number of cores that other processes used meanwhile; claims on times are judged by these.
"""

import copy
import statistics
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice, repeat

import pandas as pd
import psutil
import torch
from torch import Tensor, nn

from srlib.core.protocols import lr_from_hr, protocol
from srlib.data.sets import open_set
from srlib.nn.cost import in_mode, saved_bytes, summary
from srlib.nn.models import levels

COSTS = ("parameters", "mult_adds", "seconds", "step_seconds", "step_memory")  # the last two of a training step


def _cpu_seconds() -> tuple[float, float]:
    """Return the CPU time in seconds that all processes, and this one, have used so far."""
    total = psutil.cpu_times()
    idle = total.idle + getattr(total, "iowait", 0.0)
    own = psutil.Process().cpu_times()
    return sum(total[:8]) - idle, own.user + own.system  # the fields after the eighth are parts of the first two


@contextmanager
def _session() -> Iterator[dict]:
    """Yield the columns that all rows of a measurement share: `session`, and on exit `busy`."""
    columns: dict = {"session": uuid.uuid4().hex[:12]}
    began, (all_before, own_before) = time.perf_counter(), _cpu_seconds()
    yield columns
    elapsed, (all_after, own_after) = time.perf_counter() - began, _cpu_seconds()
    others = (all_after - all_before) - (own_after - own_before)
    columns["busy"] = round(max(others / elapsed, 0.0), 2)


def rounds(row: pd.Series, metric: str) -> list[float]:
    """Return the rounds of a time of a row of costs, in seconds; empty where it has none."""
    joined = row.get(f"{metric}_rounds")
    return [float(part) for part in joined.split(";")] if isinstance(joined, str) else []


def for_display(table: pd.DataFrame, labels: dict[str, str]) -> pd.DataFrame:
    """Return a table of costs for display: methods by their labels, without rounds, session and load."""
    hidden = [name for name in table.columns if name.endswith("_rounds") or name in ("session", "busy")]
    return table.drop(columns=hidden).assign(method=table["method"].map(labels))


def _forward(net: nn.Module, lr: Tensor) -> None:
    with torch.no_grad():
        net(lr)


def _training_step(net: nn.Module, lr: Tensor) -> None:
    net.zero_grad(set_to_none=True)
    sum(image.square().mean() for image in levels(net(lr))).backward()


WORK = {"seconds": _forward, "step_seconds": _training_step}  # the first in eval mode, the second in training mode
TIMES = tuple(WORK)


def _seconds(metric: str, net: nn.Module, lr: Tensor) -> float:
    with in_mode(net, training=metric == "step_seconds"):
        began = time.perf_counter()
        WORK[metric](net, lr)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter() - began


def _random_inputs(networks: dict[str, nn.Module], side: int) -> dict[str, Tensor]:
    return {name: torch.rand(1, net.channels or 3, side, side) for name, net in networks.items()}


def _time(
    networks: dict[str, nn.Module],
    rounds: Iterable[dict[str, Tensor]],
    metrics: Iterable[str] = ("seconds",),
    average: Callable[[list[float]], float] = min,
) -> dict[str, dict]:
    """Return the columns of each network's times, in seconds, on its input of each round; the first round only warms up.

    metrics: keys of `WORK`. average: of the rounds.
    """
    times = {name: {metric: [] for metric in metrics} for name in networks}
    with _session() as session:
        for turn, inputs in enumerate(rounds):
            for name in [*networks][:: 1 if turn % 2 else -1]:  # no network always goes first
                for metric, seconds in times[name].items():
                    seconds.append(_seconds(metric, networks[name], inputs[name]))
    columns = {}
    for name, by_metric in times.items():
        timed = {metric: seconds[1:] for metric, seconds in by_metric.items()}
        joined = {f"{metric}_rounds": ";".join(f"{value:.4g}" for value in seconds) for metric, seconds in timed.items()}
        columns[name] = {metric: average(seconds) for metric, seconds in timed.items()} | joined | session
    return columns


def per_patch(net: nn.Module, side: int = 48, batch: int = 16, repeats: int = 5) -> float:
    """Return the seconds that a network takes for one patch of `side` by `side` LR pixels, in batches; the least of `repeats`."""
    patches = torch.rand(batch, net.channels or 1, side, side)
    return _time({"": net}, repeat({"": patches}, repeats + 1))[""]["seconds"] / batch


def _frame_costs(
    networks: dict[str, nn.Module], rounds: Iterable[dict[str, Tensor]], megabyte: float, average: Callable[[list[float]], float]
) -> pd.DataFrame:
    times = _time(networks, rounds, average=average)
    counts = {name: sum(p.numel() for p in net.parameters()) for name, net in networks.items()}
    return pd.DataFrame(
        {"method": name, "parameters": count, "megabytes": count * 4 / megabyte, **times[name]} for name, count in counts.items()
    )


def frames(networks: dict[str, nn.Module], dataset: str, scale: int, limit: int | None = None) -> pd.DataFrame:
    """Return the cost of networks on the images of a set, luma downscaled by `scale` and uncut; a round is an image.

    Columns: `method`, `parameters`, `megabytes` (2**20 bytes of float32 weights, as in Difficulty-SR's Table 2), `seconds` (mean
    over the images).
    """

    def rounds() -> Iterator[dict[str, Tensor]]:
        for i, (_, hr) in enumerate(islice(open_set(dataset), limit)):
            lr = torch.from_numpy(lr_from_hr(hr, protocol("y"), scale))[None, None].float() / 255
            yield from repeat(dict.fromkeys(networks, lr), 1 if i else 2)  # the first image warms up, too

    return _frame_costs(networks, rounds(), 2**20, statistics.mean)


def same_size_frame(networks: dict[str, nn.Module], *, side: int = 128, repeats: int = 5) -> pd.DataFrame:
    """Return the cost of networks of scale 1 for one frame of `side` by `side` pixels.

    Columns: `method`, `parameters`, `megabytes` (10**6 bytes of float32 weights, as in DDet's Table III), `seconds` (the least of
    `repeats`).
    """
    return _frame_costs(networks, repeat(_random_inputs(networks, side), repeats + 1), 1e6, min)


def measure(networks: dict[str, nn.Module], *, side: int = 48, repeats: int = 7) -> pd.DataFrame:
    """Return the cost of networks on one LR image of `side` by `side` pixels, a row each. Times are the least of `repeats`
    rounds, as other load on the machine only adds to them. The networks are left as they are, also their statistics and modes.

    Columns: `method`, `parameters`, `mult_adds` (G, for a 1280x720 output), `seconds` (one upscaling, in eval mode),
    `step_seconds` (forward and backward, in training mode), `step_memory` (MB that this forward pass keeps for the backward one).
    """
    networks, inputs = copy.deepcopy(networks), _random_inputs(networks, side)
    times = _time(networks, repeat(inputs, repeats + 1), TIMES)
    rows = []
    for name, net in networks.items():
        cost = summary(net)
        sizes = {"parameters": cost.parameters, "mult_adds": cost.mult_adds / 1e9}
        with in_mode(net, training=True):
            memory = saved_bytes(net, inputs[name]) / 1e6
        rows.append({"method": name, **sizes, **times[name], "step_memory": memory})
    return pd.DataFrame(rows)
