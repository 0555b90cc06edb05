"""What networks cost side by side: size, work, time and memory, measured in one loop on one input.

Times are measured in rounds, each network once in each, so that what else the machine does meets all of them. A row has every
round of its network (`seconds_rounds`, `step_seconds_rounds`: numbers joined by ";"), the `session` that it was measured in and
`busy`, how many cores other processes used meanwhile: claims on times are judged by these (`reproduce.verdicts`).
"""

import statistics
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

import pandas as pd
import psutil
import torch
from torch import Tensor, nn

from srlib.core.protocols import lr_from_hr, protocol
from srlib.data.sets import open_set
from srlib.nn.cost import saved_bytes, summary
from srlib.nn.models import levels

COSTS = ("parameters", "mult_adds", "seconds", "step_seconds", "step_memory")  # the last two of a training step
TIMES = ("seconds", "step_seconds")


def _used() -> tuple[float, float]:
    """Return the seconds of processor time that all processes, and this one, have used since they began."""
    everything = psutil.cpu_times()
    idle = everything.idle + getattr(everything, "iowait", 0.0)
    own = psutil.Process().cpu_times()
    return sum(everything[:8]) - idle, own.user + own.system  # the fields after the eighth are parts of the first two


@contextmanager
def _session() -> Iterator[dict]:
    """Yield what a measurement's rows share: `session`, and at the end `busy`, the cores that other processes used meanwhile."""
    about: dict = {"session": uuid.uuid4().hex[:12]}
    began, (all_before, own_before) = time.perf_counter(), _used()
    yield about
    took, (all_after, own_after) = time.perf_counter() - began, _used()
    others = (all_after - all_before) - (own_after - own_before)
    about["busy"] = round(max(others / took, 0.0), 2)


def _rounds(times: list[float]) -> str:
    return ";".join(f"{seconds:.4g}" for seconds in times)


def rounds(row: pd.Series, metric: str) -> list[float]:
    """Return the rounds of a time of a row of costs; empty where it has none."""
    given = row.get(f"{metric}_rounds")
    return [float(part) for part in given.split(";")] if isinstance(given, str) and given else []


def shown(table: pd.DataFrame, labels: dict[str, str]) -> pd.DataFrame:
    """Return costs as a reader wants them: methods by their labels, without rounds and session."""
    hidden = [name for name in table.columns if name.endswith("_rounds") or name in ("session", "busy")]
    return table.drop(columns=hidden).assign(method=table["method"].map(labels))


def _seconds(run) -> float:
    began = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def _step(model: nn.Module, lr: Tensor) -> None:
    model.zero_grad(set_to_none=True)
    sum(image.square().mean() for image in levels(model(lr))).backward()


def per_patch(net: nn.Module, side: int = 48, batch: int = 16, repeats: int = 5) -> float:
    """Return the seconds that a network takes for one luma patch of `side` by `side` LR pixels, in batches; the least of some."""
    patches = torch.rand(batch, net.channels or 1, side, side)
    with torch.no_grad():
        times = [_seconds(lambda: net.eval()(patches)) for _ in range(repeats + 1)]
    return min(times[1:]) / batch


def frames(networks: dict[str, nn.Module], dataset: str, scale: int, limit: int | None = None) -> pd.DataFrame:
    """Return what networks cost on the images of a set, luma reduced by `scale`, each image whole and all networks in turn.

    Columns: `method`, `parameters`, `megabytes` (2**20 bytes of float32 weights, as in Difficulty-SR's Table 2), `seconds` (mean
    of an image); a round is an image.
    """
    spent = {name: [] for name in networks}
    with _session() as about, torch.no_grad():
        for i, (_, image) in enumerate(islice(open_set(dataset), limit)):
            lr = lr_from_hr(image, protocol("y"), scale)
            lr = torch.from_numpy(lr)[None, None].float() / 255
            for name in [*networks][:: 1 if i % 2 else -1]:
                net = networks[name].eval()
                if not spent[name]:
                    net(lr)  # warms up
                spent[name].append(_seconds(lambda net=net, lr=lr: net(lr)))
    counts = {name: sum(p.numel() for p in net.parameters()) for name, net in networks.items()}
    rows = [
        {
            "method": name,
            "parameters": counts[name],
            "megabytes": counts[name] * 4 / 2**20,
            "seconds": statistics.mean(times),
            "seconds_rounds": _rounds(times),
            **about,
        }
        for name, times in spent.items()
    ]
    return pd.DataFrame(rows)


def same_size_frame(networks: dict[str, nn.Module], *, side: int = 128, repeats: int = 7) -> pd.DataFrame:
    """Return what networks of scale 1 cost for one frame of `side` by `side` pixels, all networks in turn.

    Columns: `method`, `parameters`, `megabytes` (10**6 bytes of float32 weights, as in DDet's Table III), `seconds` (the least).
    """
    spent = {name: [] for name in networks}
    with _session() as about, torch.no_grad():
        for turn in range(repeats + 1):  # the first turn warms up
            for name, net in networks.items():
                frame = torch.rand(1, net.channels or 3, side, side)
                seconds = _seconds(lambda net=net, frame=frame: net.eval()(frame))
                spent[name] += [seconds] if turn else []
    counts = {name: sum(p.numel() for p in net.parameters()) for name, net in networks.items()}
    rows = [
        {
            "method": name,
            "parameters": counts[name],
            "megabytes": counts[name] * 4 / 1e6,
            "seconds": min(times),
            "seconds_rounds": _rounds(times),
            **about,
        }
        for name, times in spent.items()
    ]
    return pd.DataFrame(rows)


def measure(networks: dict[str, nn.Module], *, side: int = 48, repeats: int = 7) -> pd.DataFrame:
    """Return a row per network: what it costs on one `side` by `side` LR image, times as the least of alternating runs: what else
    the machine does only adds to them.

    Columns: `method`, `parameters`, `mult_adds` (G, for a 1280x720 output), `seconds` (one upscaling), `step_seconds` (forward
    and backward), `step_memory` (MB that the forward pass keeps for the backward one).
    """
    lrs = {name: torch.rand(1, net.channels or 3, side, side) for name, net in networks.items()}
    infer, step = {name: [] for name in networks}, {name: [] for name in networks}
    with _session() as about:
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
                "seconds": min(infer[name]),
                "step_seconds": min(step[name]),
                "step_memory": saved_bytes(net, lrs[name]) / 1e6,
                "seconds_rounds": _rounds(infer[name]),
                "step_seconds_rounds": _rounds(step[name]),
                **about,
            }
        )
    return pd.DataFrame(rows)
