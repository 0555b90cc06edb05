"""Run directories: what a training leaves behind, whole or not at all.

runs/experiments/<key>/
           config.json         the experiment, the data's fingerprint, the key, the probe of what is trained (`srlib.train.probe`)
           last.ckpt           everything needed to go on, and its SHA-256 (deleted when the run is complete)
           history.csv         step, loss, learning_rate, seconds, validation scores
           model.safetensors   the trained weights: its presence means that the run is complete
           provenance.json     commit, versions, device, threads, seed, data, wall time, SHA-256 and probe of the weights
           metrics/            a row per test image, one file per set, scale and protocol
"""

import hashlib
import io
import itertools
import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import save

from srlib.core import paths
from srlib.core.errors import SRError
from srlib.core.files import atomic_write, locked, write_json
from srlib.data.sets import open_set
from srlib.train import probe
from srlib.train.experiment import Experiment
from srlib.train.weights import read_bytes

VALIDATION_IMAGES = 5  # the first of a set


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
        """Return the run in a directory, also one that was moved; raises SRError for a missing, damaged or edited config."""
        config = Path(folder) / "config.json"
        try:
            fields = dict(json.loads(config.read_text()))
            key, fingerprint, trained_probe = (fields.pop(name) for name in ("key", "fingerprint", "probe"))
            run = cls(Experiment(**fields), fingerprint)
        except FileNotFoundError:
            raise SRError(f"{folder} is not a run; `python -m srlib list runs` shows which there are") from None
        except OSError as error:
            raise SRError(f"{config} cannot be read: {error.strerror}") from error
        except (ValueError, TypeError, KeyError) as error:
            raise SRError(f"{config} does not describe a run ({error}); delete the folder and train it again") from error
        if key != run.key:
            raise SRError(
                f"{config} was edited after the training began: it describes {run.key}, and was written for {key}; "
                "restore it, or delete the folder and train again"
            )
        run.dir, run.probe = Path(folder), trained_probe
        return run

    @property
    def validated_on(self) -> str:
        """What the scores of its history are of: "Set5", or "5 of B100" for the first ones of a larger set; "" for none."""
        name = self.experiment.validation
        return f"{VALIDATION_IMAGES} of {name}" if name and len(open_set(name)) > VALIDATION_IMAGES else name

    @property
    def started(self) -> bool:
        """Whether the directory holds anything of a training."""
        return any((self.dir / name).exists() for name in ("config.json", "last.ckpt", "model.safetensors"))

    @property
    def weights(self) -> Path:
        return self.dir / "model.safetensors"

    @property
    def checkpoint(self) -> Path:
        return self.dir / "last.ckpt"

    @property
    def complete(self) -> bool:
        return self.weights.exists()

    def lock(self) -> AbstractContextManager[None]:
        """Lock the run for this process, until it ends at the latest; remove partial files of a killed one."""
        busy = f"another process is training {self.dir.name}; wait for it, or stop it and run again"
        return locked(self.dir, "set SRLIB_RUNS to a folder that can be", busy)

    def write_config(self) -> None:
        """Write `config.json`."""
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
        content = read_bytes(self.checkpoint)
        data, digest = content[:-32], content[-32:]
        if hashlib.sha256(data).digest() != digest:
            raise SRError(
                f"{self.checkpoint} is damaged, or not a checkpoint of this project (SHA-256 differs); "
                "delete it to train this run from the start"
            )
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)

    def write_history(self, rows: list[dict[str, float]]) -> None:
        """Write `history.csv`, a row per validation."""
        atomic_write(self.dir / "history.csv", pd.DataFrame(rows).to_csv(index=False))

    def history(self) -> pd.DataFrame:
        """Return `history.csv`: `step`, `loss`, `learning_rate`, `seconds`, and the validation's metrics, if it has any."""
        return pd.read_csv(self.dir / "history.csv")

    def finish(self, state: dict[str, torch.Tensor], provenance: dict[str, Any], probe: Sequence[Sequence[float]]) -> None:
        """Write provenance and the `srlib.train.probe.network` of these weights, then the weights, which make the run complete,
        then drop the checkpoint."""
        data = save({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()})
        digest = hashlib.sha256(data).hexdigest()
        write_json(self.dir / "provenance.json", {**provenance, "weights": digest, "probe": probe})
        atomic_write(self.weights, data)
        self.checkpoint.unlink(missing_ok=True)

    def provenance(self) -> dict[str, Any]:
        """Return `provenance.json`; raises SRError where it cannot be read."""
        file = self.dir / "provenance.json"
        try:
            return dict(json.loads(file.read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise SRError(f"{file} cannot be read ({error}); delete the folder and train it again") from error

    def check_weights(self) -> None:
        """Raise SRError where the weights of a complete run are not those that the training wrote."""
        expected, actual = str(self.provenance().get("weights")), hashlib.sha256(read_bytes(self.weights)).hexdigest()
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
    if not probe.agree(saved.probe, run.probe):
        with run.lock():
            numbered = (run.dir.with_name(f"{run.dir.name}.outdated{n}") for n in itertools.count(1))
            aside = run.dir.rename(next(path for path in numbered if not path.exists()))
        print(f"{run.key}: its network, loss or gradient has changed; it is kept in {aside} and trained anew", flush=True)
    if run.complete:
        run.check_weights()
    return run.complete


def training_budget(experiment: Mapping[str, Any], made: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a training cost: `name`, `scale`, `batch`, `hr_patch`, `precision`, `steps`, `minutes`.

    One that started from trained weights also has `start`: part of the network ("": the whole) -> `start_budget`.
    """
    shape = {field: experiment[field] for field in ("name", "scale", "batch", "hr_patch", "precision")}
    start = {"start": made["start"]} if made.get("start") else {}
    return {**shape, "steps": made["steps"], "minutes": made["minutes"], **start}


def start_budget(experiment: Experiment, part: str, weights: Path) -> dict[str, Any] | None:
    """Return the `load_budget` of weights that a part of a network starts from; `leg` is True where they are of an earlier leg,
    that is of the same whole network."""
    budget = load_budget(weights)
    if budget and not part and (budget["name"], budget["scale"]) == (experiment.name, experiment.scale):
        budget["leg"] = True
    return budget


def legs(budget: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the budgets of the legs of a training, each of which started from the weights of the one before."""
    first = budget.get("start", {}).get("")
    return [*legs(first), budget] if first and first.get("leg") else [budget]


def load_budget(weights: Path) -> dict[str, Any] | None:
    """Return the `training_budget` of a weights file, of a run or released; None without a run or card beside it."""
    card = weights.with_suffix(".json")
    if card.exists():
        contents = json.loads(card.read_text())
        return training_budget(contents["experiment"], contents["provenance"])
    if (weights.parent / "provenance.json").exists():
        run = Run.open(weights.parent)
        return training_budget(vars(run.experiment), run.provenance())
    return None
