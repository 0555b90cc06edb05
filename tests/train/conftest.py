"""Tiny images, and trainings that are interrupted."""

import numpy as np
import pytest
from PIL import Image

from srlib.core.imresize import imresize
from srlib.train.run import Run
from srlib.train.trainer import Trainer
from srlib.train.training import train


@pytest.fixture(autouse=True)
def one_thread_everywhere(one_thread, monkeypatch):
    """The same number of threads in every process: sums are split the same way, bit for bit."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def data(tmp_path) -> str:
    """Three small pictures, one of them grey, none a multiple of 2, 3 and 4."""
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for i, shape in enumerate([(40, 37, 3), (33, 50), (38, 38, 3)]):
        noise = rng.integers(0, 256, (8, 8, 3)[: len(shape)], dtype=np.uint8)
        Image.fromarray(imresize(noise, size=shape[:2])).save(tmp_path / "photos" / f"{i}.png")
    return f"folder:{tmp_path / 'photos'}"


class Stop(Exception):
    """Raised inside of a training to interrupt it."""


@pytest.fixture
def interrupted(monkeypatch):
    """Return a function that trains an experiment until right before a step (the first is 1) and returns the partial run."""

    def train_until(step: int, experiment, **options) -> Run:
        take, runs, lock = Trainer.step, [], Run.lock

        def stopping(self, *args):
            if self.done + 1 == step:
                raise Stop
            return take(self, *args)

        with monkeypatch.context() as patch, pytest.raises(Stop):
            patch.setattr(Trainer, "step", stopping)
            patch.setattr(Run, "lock", lambda self: (runs.append(self), lock(self))[1])
            train(experiment, progress="none", **options)
        assert not runs[0].complete and runs[0].checkpoint.exists() == (step > 1)
        return runs[0]

    return train_until
