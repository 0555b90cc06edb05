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
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import filelock
import pandas as pd
import torch
from safetensors.torch import save

from srlib.core import paths
from srlib.core.errors import SRError
from srlib.core.files import atomic_write, sha256, write_json
from srlib.train import probe
from srlib.train.experiment import Experiment


class Outdated(SRError):
    """A result of an earlier version of the code."""


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
    def started(self) -> bool:
        """Whether the directory holds anything of a training."""
        return any((self.dir / name).exists() for name in ("config.json", "last.ckpt", "model.safetensors"))

    def set_aside(self) -> Path:
        """Rename the directory, so that the run starts afresh and nothing is lost; return the new path."""
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
            actual = sha256(self.weights)
        except OSError as error:
            raise SRError(f"{self.weights} cannot be read: {error.strerror}") from error
        if actual != expected:
            raise SRError(
                f"{self.weights} is damaged or was replaced: SHA-256 {actual[:10]}, the training wrote {expected[:10]}; "
                "restore the file, or delete the folder and train it again"
            )


def reusable(run: Run) -> bool:
    """Return whether a run is complete and valid. One whose probe differs from `run.probe` is set aside.

    Raises SRError for a run whose config is missing, damaged or edited, and for weights that were changed.
    """
    if not run.started:
        return False
    saved = Run.open(run.dir)
    if saved.key != run.key:
        raise SRError(f"{run.dir} holds the run {saved.key}; move it back to a folder of that name")
    if saved.probe is None or not probe.agree(saved.probe, run.probe):
        print(
            f"{run.key}: its network, loss or gradient were others than today's; it is kept in {run.set_aside()} "
            "and trained anew",
            flush=True,
        )
    if run.complete:
        run.check_weights()
    return run.complete


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
    budget = load_budget(weights)
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


def load_budget(weights: Path) -> dict[str, Any] | None:
    """Return the `training_budget` of a weights file, of a run or released; None without a run or card beside it."""
    card = weights.with_suffix(".json")
    if card.exists():
        contents = json.loads(card.read_text())
        experiment, made = contents["experiment"], contents["provenance"]
    elif (weights.parent / "provenance.json").exists():
        run = Run.open(weights.parent)
        experiment, made = vars(run.experiment), run.provenance()
    else:
        return None
    return training_budget(experiment, made)
