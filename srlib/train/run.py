"""Run directories: what a training leaves behind, whole or not at all.

runs/experiments/<key>/
           config.json         the experiment, the data's fingerprint, the key, the probe of what is trained (`srlib.train.probe`)
           last.ckpt           everything needed to go on, and its SHA-256 (deleted when the run is complete)
           history.csv         step, loss, learning_rate, seconds, validation scores
           model.safetensors   the trained weights: its presence means that the run is complete
           provenance.json     commit, versions, device, threads, seed, data, wall time, SHA-256 and probe of the weights
           metrics/            a row per test image, one file per set, scale and protocol
"""

import contextlib
import hashlib
import io
import json
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import filelock
import pandas as pd
import torch
from safetensors.torch import load, save

from srlib.core import paths
from srlib.core.errors import SRError
from srlib.core.files import atomic_write, sha256, write_json
from srlib.train.experiment import Experiment

SCALE = ".step"  # ends the name of the scales of an int8 kernel
LOST = 0.01  # largest relative error of a tensor in float16
PACKAGES = ("torch", "accelerate", "numpy", "pandas", "pillow", "scikit-image", "safetensors")


class Outdated(SRError):
    """A result of code that has changed since."""


class Run:
    """One run directory, addressed by the experiment and the fingerprint of its data.

    probe: `srlib.train.probe.training` of the code that it was, or is about to be, trained with.
    """

    def __init__(self, experiment: Experiment, fingerprint: str, root: Path | None = None):
        self.experiment, self.fingerprint = experiment, fingerprint
        self.key = experiment.key(fingerprint)
        self.dir = Path(root or paths.runs_dir() / "experiments") / self.key
        self.probe: Sequence[Sequence[float]] | None = None

    @classmethod
    def open(cls, folder: Path) -> "Run":
        """Return the run in a directory, also one that was moved.

        Raises SRError where it holds no readable config, or one that was edited after the training began.
        """
        config = Path(folder) / "config.json"
        try:
            fields = dict(json.loads(config.read_text()))
            # Runs of version 0.1.0 kept neither.
            key, probe = fields.pop("key", None), fields.pop("probe", None)
            run = cls(Experiment(**{k: v for k, v in fields.items() if k != "fingerprint"}), fields["fingerprint"])
        except FileNotFoundError:
            raise SRError(f"{folder} is not a run; `python -m srlib list runs` shows which there are") from None
        except PermissionError as error:
            raise SRError(f"{config} cannot be read: {error.strerror}") from error
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise SRError(f"{config} does not describe a run ({error}); delete the folder and train it again") from error
        if key is not None and key != run.key:
            raise SRError(
                f"{config} was edited after the training began: it describes {run.key}, and was written for {key}; "
                "restore it, or delete the folder and train again"
            )
        run.dir, run.probe = Path(folder), probe if key else None
        return run

    @property
    def begun(self) -> bool:
        """Whether the directory holds anything of a training."""
        return any((self.dir / name).exists() for name in ("config.json", "last.ckpt", "model.safetensors"))

    def set_aside(self) -> Path:
        """Rename the directory, so that the run begins anew and nothing is lost; return where it is now."""
        with self.lock():
            n = 1
            while (aside := self.dir.with_name(f"{self.dir.name}.outdated{n}")).exists():
                n += 1
            self.dir.rename(aside)
        return aside

    @property
    def weights(self) -> Path:
        return self.dir / "model.safetensors"

    @property
    def checkpoint(self) -> Path:
        return self.dir / "last.ckpt"

    @property
    def complete(self) -> bool:
        return self.weights.exists()

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run for one process, and remove what a killed one left half written.

        The lock goes with the process, however that ends.
        """
        try:
            self.dir.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.dir / ".lock", timeout=0)
            lock.acquire()
        except filelock.Timeout:
            raise SRError(
                f"another process is training {self.dir.name}; wait for it, or stop it and run the same again"
            ) from None
        except OSError as error:
            raise SRError(f"cannot write {self.dir}: {error.strerror}; set SRLIB_RUNS to a folder that can be") from error
        try:
            for part in self.dir.glob(".*.part"):
                part.unlink()
            yield
        finally:
            lock.release()

    def write_config(self) -> None:
        config = {**vars(self.experiment), "fingerprint": self.fingerprint, "key": self.key, "probe": self.probe}
        write_json(self.dir / "config.json", config)

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        """Write the state, followed by its SHA-256."""
        buffer = io.BytesIO()  # written by Python, whose errors say what the system said; torch's own do not
        torch.save(state, buffer)
        data = buffer.getvalue()
        atomic_write(self.checkpoint, data + hashlib.sha256(data).digest())

    def load_checkpoint(self) -> dict[str, Any] | None:
        """Return the last state, or None for a fresh run; raises SRError for a file that is not as it was written."""
        if not self.checkpoint.exists():
            return None
        try:
            data = self.checkpoint.read_bytes()
        except OSError as error:
            raise SRError(f"{self.checkpoint} cannot be read: {error.strerror}") from error
        data, digest = data[:-32], data[-32:]
        if hashlib.sha256(data).digest() != digest:
            raise SRError(
                f"{self.checkpoint} is damaged, or not a checkpoint of this project (SHA-256 differs); "
                "delete it to train this run from the start"
            )
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)

    def write_history(self, rows: list[dict[str, float]]) -> None:
        atomic_write(self.dir / "history.csv", pd.DataFrame(rows).to_csv(index=False))

    def history(self) -> pd.DataFrame:
        return pd.read_csv(self.dir / "history.csv")

    def finish(self, state: dict[str, torch.Tensor], provenance: dict[str, Any], probe: Sequence[Sequence[float]]) -> None:
        """Write provenance, then the weights, which make the run complete, then drop the checkpoint.

        probe: of `srlib.train.probe.network` with these weights.
        """
        data = save({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()})
        made = {**provenance, "weights": hashlib.sha256(data).hexdigest(), "probe": probe}
        write_json(self.dir / "provenance.json", made)
        atomic_write(self.weights, data)
        self.checkpoint.unlink(missing_ok=True)

    def provenance(self) -> dict[str, Any]:
        """Return where and with what the run was made; raises SRError where that cannot be read."""
        file = self.dir / "provenance.json"
        try:
            return dict(json.loads(file.read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise SRError(f"{file} cannot be read ({error}); delete the folder and train it again") from error

    def check_weights(self) -> None:
        """Raise SRError where the weights of a complete run are not those that the training wrote."""
        expected = self.provenance().get("weights")
        if expected is None:
            raise Outdated(f"{self.dir} is of version 0.1.0, which kept no checksums; train it again")
        try:
            found = sha256(self.weights)
        except OSError as error:
            raise SRError(f"{self.weights} cannot be read: {error.strerror}") from error
        if found != expected:
            raise SRError(
                f"{self.weights} is damaged or was replaced: SHA-256 {found[:10]}, the training wrote {expected[:10]}; "
                "restore the file, or delete the folder and train it again"
            )


def training_budget(experiment: Mapping[str, Any], made: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a training with this provenance cost.

    Keys: `name`, `scale`, `batch`, `hr_patch`, `precision`, `steps`, `minutes`; of one that started from trained weights also
    `start`, the same of those by the part of the network ("": the whole; None: not known), see `start_budget`.
    """
    shape = {field: experiment[field] for field in ("name", "scale", "batch", "hr_patch", "precision")}
    start = {"start": made["start"]} if made.get("start") else {}
    return {**shape, "steps": made["steps"], "minutes": made["minutes"], **start}


def start_budget(experiment: Experiment, part: str, weights: Path) -> dict[str, Any] | None:
    """Return the `training_budget` of weights that a part of a network starts from; None where nothing is known of them.

    With the key `leg`, which is true, where they are of an earlier leg: of the same network, whole.
    """
    budget = budget_of(weights)
    if budget and not part and (budget["name"], budget["scale"]) == (experiment.name, experiment.scale):
        budget["leg"] = True
    return budget


def legs(budget: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the budgets of the legs of a training, each of which started from the weights of the one before."""
    first = budget.get("start", {}).get("")
    return [*legs(first), budget] if first and first.get("leg") else [budget]


def total_steps(budget: dict[str, Any]) -> int:
    """Return the steps of a training and of all that it started from."""
    return budget["steps"] + sum(total_steps(first) for first in budget.get("start", {}).values() if first)


def budget_of(weights: Path) -> dict[str, Any] | None:
    """Return the `training_budget` of a weights file, of a run or released; None where no run and no card lies beside it."""
    card = weights.with_suffix(".json")
    if card.exists():
        told = json.loads(card.read_text())
        experiment, made = told["experiment"], told["provenance"]
    elif (weights.parent / "provenance.json").exists():
        run = Run.open(weights.parent)
        experiment, made = vars(run.experiment), run.provenance()
    else:
        return None
    return training_budget(experiment, made)


def half_precision(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return tensors as they are released: floats in float16, whole numbers as they are.

    Raises SRError for a tensor that float16 cannot hold: numbers above 65504, or so small that most of it is lost.
    """
    found = {}
    for name, tensor in state.items():
        found[name] = half = tensor.half() if tensor.is_floating_point() else tensor
        lost = (half.double() - tensor.double()).norm()
        if not lost <= LOST * tensor.double().norm():  # also where one of them is not finite
            raise SRError(
                f"tensor {name!r} has values up to {tensor.abs().max():.3g}, which float16 (6e-8 to 65504) cannot hold within "
                f"{100 * LOST:g} %; train it with another rate or initial value, or rescale its layer"
            )
    return found


def dequantize(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return tensors whose kernels are int8 with a scale per output channel, as older releases have them, as floats."""
    scales = {name.removesuffix(SCALE): scale.float() for name, scale in state.items() if name.endswith(SCALE)}
    kept = {name: tensor for name, tensor in state.items() if not name.endswith(SCALE)}
    return {name: tensor.float() * scales[name] if name in scales else tensor for name, tensor in kept.items()}


def load_weights(model: torch.nn.Module, path: Path, part: str = "") -> torch.nn.Module:
    """Load safetensors (any float precision, or int8 as in `dequantize`) into a model, strictly; return it in eval mode.

    part: the name of the model in a larger network; where the file is of such a network, only its tensors are taken.
    """
    try:
        state = dequantize(load(Path(path).read_bytes()))
    except OSError as error:
        raise SRError(f"weights {path} cannot be read: {error.strerror}") from error
    except Exception as error:
        raise SRError(f"{path} is not a readable safetensors file ({error}); delete it and train or fetch it again") from error
    prefix = f"{part}."
    state = {name.removeprefix(prefix): tensor for name, tensor in state.items() if part and name.startswith(prefix)} or state
    expected = model.state_dict()
    wrong = [k for k in expected.keys() | state.keys() if k not in state or k not in expected]
    wrong += [k for k in expected.keys() & state.keys() if expected[k].shape != state[k].shape]
    if wrong:
        raise SRError(
            f"{path} does not fit this model: {len(wrong)} tensors differ, first {sorted(wrong)[0]!r}; "
            "take weights of a network of the same arguments"
        )
    model.load_state_dict({name: tensor.to(expected[name].dtype) for name, tensor in state.items()})
    return model.eval()


def _git(*args: str) -> str | None:
    try:
        done = subprocess.run(["git", *args], cwd=paths.home(), capture_output=True, text=True, timeout=10, check=True)
    except (SRError, OSError, subprocess.SubprocessError):
        return None  # not a checkout, or no git: the provenance says null
    return done.stdout.strip()


def hardware() -> str:
    """Name the processor and, where there is one, the GPU."""
    cpu = platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                cpu = line.split(":", 1)[1].strip()
                break
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    name = f"{cpu}, {cores} cores"
    return f"{torch.cuda.get_device_name()}, {name}" if torch.cuda.is_available() else name


def checkout() -> dict[str, Any]:
    """Return the `commit` of the repository and whether it is `dirty`, that is changed since; None for both without git."""
    changes = _git("status", "--porcelain", "--untracked-files=no")
    return {"commit": _git("rev-parse", "HEAD"), "dirty": None if changes is None else bool(changes)}


def provenance(**extra: Any) -> dict[str, Any]:
    """Return where and with what a result was made; `extra` is added as it is."""
    return {
        **checkout(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "hardware": hardware(),
        "threads": torch.get_num_threads(),
        **extra,
    }
