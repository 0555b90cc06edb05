"""Training on tiny images: right results, and nothing lost whatever happens."""

import dataclasses
import errno
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from srlib.baselines.espcn import ESPCN
from srlib.core import color
from srlib.core.errors import SRError
from srlib.core.imresize import imresize
from srlib.data.pairs import open_pairs
from srlib.data.sets import open_set
from srlib.nn import models
from srlib.scoring import vitals
from srlib.train import loop, losses, training
from srlib.train.experiment import Experiment
from srlib.train.run import Run
from srlib.train.trainer import to_batch
from srlib.train.training import train

BTSRN = {"model": "btsrn", "model_args": {"width": 8, "bottleneck": 4, "low": 1, "high": 1}}


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


def experiment(data, **changes) -> Experiment:
    base = {"name": "tiny", "paper": "test", "model": "espcn", "scale": 2, "data": data, "hr_patch": 16, "batch": 4, "steps": 12}
    return Experiment(**{**base, **changes})


def weights(run: Run) -> dict[str, torch.Tensor]:
    return load_file(run.weights)


def equal(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


class Stop(Exception):
    """Raised inside of a training to interrupt it."""


def at_step(monkeypatch, step: int, action):
    """Call `action` before the given step is taken (the first is 1)."""
    take = loop.Trainer.step

    def wrapped(self, *args):
        if self.done + 1 == step:
            action()
        return take(self, *args)

    monkeypatch.setattr(loop.Trainer, "step", wrapped)


def spoil(monkeypatch, step: int, change):
    """Let `change` have the loss of the given step (the first is 1)."""
    mse, calls = losses.LOSSES["mse"], [0]

    def wrapped(sr, hr):
        if sr.dtype == torch.float64:  # the probe before a training
            return mse(sr, hr)
        calls[0] += 1
        loss = mse(sr, hr)
        return change(loss, sr) if calls[0] == step else loss

    monkeypatch.setitem(losses.LOSSES, "mse", wrapped)


def interrupt():
    raise Stop


class TestRun:
    def test_leaves_a_complete_run(self, data):
        run = train(experiment(data, validation=data), progress="none")
        assert run.complete and not run.checkpoint.exists()
        assert {f.name for f in run.dir.iterdir()} - {".lock"} == {
            "config.json",
            "history.csv",
            "model.safetensors",
            "provenance.json",
        }
        net = models.create("espcn", 2)
        net.load_state_dict(weights(run))
        again = Run.open(run.dir)
        assert again.experiment == run.experiment and again.fingerprint == open_pairs(data, 2).fingerprint

    def test_provenance_has_the_vital_signs_of_the_weights(self, data):
        args = {"width": 8, "depth": 4}
        for validation in ("", "embedded-test"):
            run = train(experiment(data, model="vdsr", model_args=args, validation=validation), progress="none")
            net = models.create("vdsr", 2, **args)
            net.load_state_dict(weights(run))
            signs = run.provenance()["vital_signs"]
            assert signs["images"] == (validation or data)
            assert signs == vitals.measure(net, *filter(None, (validation, data)))

    def test_vital_signs_of_mixed_precision_are_measured_in_float32(self, monkeypatch):
        types = []

        def look(net, *datasets):
            layer = next(layer for layer in net.modules() if isinstance(layer, torch.nn.Conv2d))
            layer.register_forward_hook(lambda _, inputs, output: types.append(output.dtype))
            net(torch.rand(1, 3, 16, 16))
            return {}

        monkeypatch.setattr(vitals, "measure", look)
        args = {"width": 8, "blocks": 1}
        train(experiment("embedded", model="edsr", model_args=args, precision="bf16", steps=1, hr_patch=32), progress="none")
        assert types == [torch.float32]

    def test_history_has_a_row_per_validation(self, data):
        history = train(experiment(data, validation=data, steps=25), progress="none").history()
        assert list(history.columns) == ["step", "loss", "learning_rate", "seconds", "psnr", "ssim"]
        assert history["step"].tolist() == [3, 6, 9, 12, 15, 18, 21, 24, 25]
        assert np.isfinite(history.to_numpy()).all() and history["seconds"].is_monotonic_increasing
        assert history["learning_rate"].is_monotonic_decreasing and history["learning_rate"].iloc[-1] < 1e-9
        assert history["psnr"].iloc[-1] > history["psnr"].iloc[0]

    def test_without_validation_there_is_no_score(self, data):
        assert list(train(experiment(data), progress="none").history().columns) == ["step", "loss", "learning_rate", "seconds"]

    def test_provenance_tells_everything_that_shaped_it(self, data):
        run = train(experiment(data, seed=5), progress="none")
        got = run.provenance()
        assert (got["seed"], got["steps"], got["processes"]) == (5, 12, 1)
        assert got["device"] in ("cpu", "cuda") and got["minutes"] >= 0
        assert got["data"] == {"name": data, "fingerprint": run.fingerprint, "images": 3}
        assert {"commit", "dirty", "date", "python", "packages", "hardware", "threads"} <= got.keys()

    def test_history_and_weights_are_functions_of_the_seed(self, data, tmp_path):
        first, second = (train(experiment(data), root=tmp_path / name, progress="none") for name in "ab")
        other = train(experiment(data, seed=1), progress="none")
        assert equal(weights(first), weights(second)) and not equal(weights(first), weights(other))
        assert first.history()["loss"].tolist() == second.history()["loss"].tolist() != other.history()["loss"].tolist()

    @pytest.mark.parametrize("loss", sorted(losses.LOSSES))
    @pytest.mark.parametrize("model", ["espcn", "btsrn"])
    def test_learns(self, data, model, loss):
        chosen = BTSRN if model == "btsrn" else {"model": model}
        history = train(experiment(data, **chosen, loss=loss, steps=80, learning_rate=3e-3), progress="none").history()
        assert history["loss"].iloc[-1] < 0.7 * history["loss"].iloc[0]

    @pytest.mark.parametrize(("scale", "hr_patch"), [(2, 24), (3, 24), (4, 32)])
    def test_valid_padding_trains_on_the_centre(self, data, scale, hr_patch):
        args = {**BTSRN["model_args"], "padding": "valid"}
        chosen = experiment(data, model="btsrn", model_args=args, scale=scale, hr_patch=hr_patch, steps=3, validation=data)
        assert train(chosen, progress="none").history()["psnr"].notna().all()

    def test_options_matter(self, data):
        plain = weights(train(experiment(data), progress="none"))
        for changes in ({"clip": 1e-3}, {"ema": 0.9}, {"loss": "l1"}, {"schedule": "steps", "drops": 3, "factor": 0.5}):
            assert not equal(plain, weights(train(experiment(data, **changes), progress="none"))), changes

    def test_average_lies_between_first_and_last_weights(self, data):
        """With decay d the average of two steps is d * first + (1 - d) * second."""
        one, two = (weights(train(experiment(data, steps=n, schedule="steps"), progress="none")) for n in (1, 2))
        averaged = weights(train(experiment(data, steps=2, schedule="steps", ema=0.75), progress="none"))
        for key in one:
            assert torch.allclose(averaged[key], 0.75 * one[key] + 0.25 * two[key], atol=1e-6)

    def test_one_process_trains_in_either_precision(self, data):
        runs = [train(experiment(data, precision=p, steps=2), progress="none") for p in ("fp32", "bf16", "fp32")]
        assert not equal(weights(runs[0]), weights(runs[1])) and runs[0].dir == runs[2].dir
        assert all(tensor.dtype == torch.float32 for tensor in weights(runs[1]).values())

    def test_a_run_that_another_process_ends_in_between_is_left_alone(self, data, monkeypatch):
        run = train(experiment(data), progress="none")
        before = {file.name: file.read_bytes() for file in run.dir.iterdir()}
        answers = iter([False, True])
        monkeypatch.setattr(Run, "complete", property(lambda self: next(answers, True)))
        assert train(experiment(data), progress="none").dir == run.dir
        assert {file.name: file.read_bytes() for file in run.dir.iterdir()} == before

    def test_complete_run_is_returned_without_work(self, data, monkeypatch):
        run = train(experiment(data), progress="none")
        before = {f: (f.stat().st_mtime_ns, f.stat().st_size) for f in run.dir.iterdir()}
        monkeypatch.setattr(loop, "Trainer", None)
        assert train(experiment(data), progress="none").dir == run.dir
        assert before == {f: (f.stat().st_mtime_ns, f.stat().st_size) for f in run.dir.iterdir()}

    def test_changed_data_is_another_run(self, data, tmp_path):
        first = train(experiment(data, steps=1), progress="none")
        Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(tmp_path / "photos" / "4.png")
        assert train(experiment(data, steps=1), progress="none").dir != first.dir


class TestProgress:
    def test_lines(self, data, capsys):
        train(experiment(data, validation=data, steps=4), progress="lines")
        lines = capsys.readouterr().out.splitlines()
        assert [line.split(":")[0] for line in lines] == [f"tiny x2 step {n}/4" for n in (1, 2, 3, 4)]
        assert all("dB on folder:" in line and "loss" in line for line in lines)

    def test_none(self, data, capsys):
        train(experiment(data, steps=2), progress="none")
        assert capsys.readouterr() == ("", "")

    def test_bar(self, data, capsys):
        train(experiment(data, steps=2), progress="bar")
        out, err = capsys.readouterr()
        assert out == "" and "2/2" in err

    def test_headless_runs_print_lines(self, monkeypatch):
        monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
        monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
        assert not loop.interactive()
        monkeypatch.setenv("JPY_SESSION_NAME", "x.ipynb")
        assert loop.interactive()

    def test_unknown_one(self, data):
        with pytest.raises(SRError, match=r"progress \(='loud'\) must be auto, bar, lines or none"):
            train(experiment(data), progress="loud")


class TestResume:
    @pytest.mark.parametrize("changes", [{}, {"ema": 0.9}, {"clip": 0.01, "schedule": "steps", "drops": 3, "factor": 0.5}, BTSRN])
    @pytest.mark.parametrize("step", [1, 7, 12])
    def test_equals_an_uninterrupted_run_bit_for_bit(self, data, tmp_path, monkeypatch, changes, step):
        chosen = experiment(data, validation=data, **changes)
        whole = train(chosen, root=tmp_path / "whole", progress="none")
        with monkeypatch.context() as patch, pytest.raises(Stop):
            at_step(patch, step, interrupt)
            train(chosen, progress="none")
        run = Run(chosen, whole.fingerprint)
        assert not run.complete and run.checkpoint.exists() == (step > 1)
        resumed = train(chosen, progress="none")
        assert resumed.complete and equal(weights(resumed), weights(whole))
        columns = ["step", "loss", "learning_rate", "psnr", "ssim"]
        assert resumed.history()[columns].equals(whole.history()[columns])

    def test_only_the_rest_is_trained(self, data, monkeypatch):
        with monkeypatch.context() as patch, pytest.raises(Stop):
            at_step(patch, 9, interrupt)
            train(experiment(data), progress="none")
        taken, take = [], loop.Trainer.step
        monkeypatch.setattr(loop.Trainer, "step", lambda self, *args: (taken.append(self.done), take(self, *args))[1])
        train(experiment(data), progress="none")
        assert taken == [8, 9, 10, 11]

    def test_ctrl_c_in_a_checkpoint(self, data, tmp_path, monkeypatch):
        whole = train(experiment(data), root=tmp_path / "whole", progress="none")
        replace, calls = os.replace, [0]

        def pressed(source, target):
            calls[0] += str(target).endswith("last.ckpt")
            if calls[0] == 3:
                raise KeyboardInterrupt
            replace(source, target)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(os, "replace", pressed)
            train(experiment(data), progress="none")
        assert equal(weights(train(experiment(data), progress="none")), weights(whole))

    def test_damaged_checkpoint_is_told_and_kept(self, data, monkeypatch):
        with monkeypatch.context() as patch, pytest.raises(Stop):
            at_step(patch, 9, interrupt)
            train(experiment(data), progress="none")
        checkpoint = Run(experiment(data), open_pairs(data, 2).fingerprint).checkpoint
        checkpoint.write_bytes(checkpoint.read_bytes()[:500])
        with pytest.raises(SRError, match="last.ckpt is damaged, or not a checkpoint .*; delete it to train this run"):
            train(experiment(data), progress="none")
        assert checkpoint.stat().st_size == 500
        checkpoint.unlink()
        assert train(experiment(data), progress="none").complete


SCRIPT = """
import os, pathlib, signal, sys, time
import torch
torch.set_num_threads(1)
from srlib.train import loop
from srlib.train.experiment import Experiment
from srlib.train.training import train

take = loop.Trainer.step
def slow(self, *args):
    time.sleep(float(os.environ.get("SLOW", "0")))
    return take(self, *args)
loop.Trainer.step = slow

write, count = pathlib.Path.write_bytes, [0]
def half(self, content):
    if "last.ckpt" in self.name and "DIE" in os.environ:
        count[0] += 1
        if count[0] == int(os.environ["DIE"]):
            with open(self, "wb") as stream:
                stream.write(content[: len(content) // 2])
                stream.flush()
                os.kill(os.getpid(), signal.SIGKILL)
    return write(self, content)
pathlib.Path.write_bytes = half
train(Experiment(**eval(sys.argv[1])), progress="lines")
"""


def start(chosen: Experiment, **environment) -> subprocess.Popen:
    """Train in another process."""
    command = [sys.executable, "-c", SCRIPT, repr(dataclasses.asdict(chosen))]
    return subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


class TestOtherProcesses:
    def test_kill_in_the_middle_of_a_checkpoint(self, data, tmp_path):
        whole = train(experiment(data), root=tmp_path / "whole", progress="none")
        process = start(experiment(data), DIE="3")
        _, err = process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL, err
        run = Run(experiment(data), whole.fingerprint)
        assert run.load_checkpoint()["trainer"]["step"] == 4  # the second one, whole
        assert len(list(run.dir.glob(".last.ckpt.*.part"))) == 1
        resumed = train(experiment(data), progress="none")
        assert equal(weights(resumed), weights(whole))
        assert not list(run.dir.glob(".*.part"))

    def test_second_process_is_turned_away_and_a_kill_loses_nothing(self, data, tmp_path):
        whole = train(experiment(data), root=tmp_path / "whole", progress="none")
        process = start(experiment(data), SLOW="0.7")
        run = Run(experiment(data), whole.fingerprint)
        try:
            line = process.stdout.readline()
            assert line.startswith("tiny x2 step 2/12"), process.stderr.read()
            with pytest.raises(SRError, match=f"another process is training {run.dir.name}; wait for it, or stop it and run"):
                train(experiment(data), progress="none")
            assert process.stdout.readline().startswith("tiny x2 step 4/12")  # the first one is unharmed
            time.sleep(0.2)
        finally:
            process.kill()
            process.communicate(timeout=60)
        assert not run.complete and run.load_checkpoint()["trainer"]["step"] >= 2
        assert equal(weights(train(experiment(data), progress="none")), weights(whole))


class TestDivergence:
    @pytest.mark.parametrize(
        ("change", "what"),
        [
            (lambda loss, sr: loss * float("nan"), "loss nan"),
            (lambda loss, sr: loss * float("inf"), "loss inf"),
            (lambda loss, sr: loss + 1000, r"loss 1e\+03"),
        ],
        ids=["nan", "inf", "exploding"],
    )
    def test_stops_at_the_step_and_keeps_the_checkpoint(self, data, tmp_path, monkeypatch, change, what):
        whole = train(experiment(data), root=tmp_path / "whole", progress="none")
        message = (
            rf"training tiny diverged: {what} at step 7 of 12; the checkpoint of an earlier step is kept in tiny_x2_seed0-\w+\. "
            r"Lower learning_rate \(=0.001\) or set clip \(=0\)\."
        )
        with monkeypatch.context() as patch, pytest.raises(SRError, match=message):
            spoil(patch, 7, change)
            train(experiment(data), progress="none")
        run = Run(experiment(data), whole.fingerprint)
        state = run.load_checkpoint()
        assert not run.complete and state["trainer"]["step"] == 6
        assert all(tensor.isfinite().all() for tensor in state["trainer"]["net"].values())
        assert equal(weights(train(experiment(data), progress="none")), weights(whole))

    def test_at_the_first_step(self, data, monkeypatch):
        spoil(monkeypatch, 1, lambda loss, sr: loss * float("nan"))
        with pytest.raises(SRError, match="loss nan at step 1 of 12; no checkpoint was written yet"):
            train(experiment(data), progress="none")

    @pytest.mark.parametrize("step", [6, 12])
    def test_a_good_loss_with_a_bad_gradient_spoils_no_checkpoint(self, data, monkeypatch, step):
        def bad_gradient(loss, sr):
            return loss + (sr * 0).sqrt().sum()  # 0, with the gradient 0 * inf

        with monkeypatch.context() as patch, pytest.raises(SRError, match=f"weights that are not finite at step {step} of 12"):
            spoil(patch, step, bad_gradient)
            train(experiment(data), progress="none")
        run = Run(experiment(data), open_pairs(data, 2).fingerprint)
        assert not run.complete and run.load_checkpoint()["trainer"]["step"] == step - 2

    def test_flat_first_patches_raise_no_alarm(self, tmp_path):
        (tmp_path / "flat").mkdir()
        pixels = np.full((60, 60, 3), 128, np.uint8)
        pixels[:, -6:] = np.random.default_rng(0).integers(0, 2, (60, 6, 1), dtype=np.uint8) * 255
        Image.fromarray(pixels).save(tmp_path / "flat" / "0.png")
        chosen = experiment(f"folder:{tmp_path / 'flat'}", model="vdsr", model_args={"depth": 2, "width": 4}, batch=1, steps=9)
        losses_seen = train(chosen, progress="none").history()["loss"]
        assert losses_seen.max() > 100 * losses_seen.iloc[0]  # a legitimate jump


class TestBudget:
    @pytest.mark.parametrize("first", [0.01, 0.5], ids=["steady", "slow first step"])
    def test_minutes_end_at_the_budget_with_an_annealed_rate(self, data, monkeypatch, first):
        """On a clock of its own: a step takes 10 ms, the first one longer where it compiles, a validation 50 ms."""
        now, stepped, take, score = [100.0], [], loop.Trainer.step, loop.validate

        def step(self, *args):
            now[0] += 0.01 if stepped else first
            stepped.append(self.done)
            return take(self, *args)

        def validate(net, chosen):
            now[0] += 0.05
            return score(net, chosen)

        monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: now[0]))
        monkeypatch.setattr(loop.Trainer, "step", step)
        monkeypatch.setattr(loop, "validate", validate)
        run = train(experiment(data, steps=None, minutes=0.05, validation=data), progress="none")
        history = run.history()
        assert now[0] - 100 == pytest.approx(3, rel=0.03)
        assert history["step"].iloc[-1] == run.provenance()["steps"] > 150
        assert history["learning_rate"].iloc[-1] < 1e-9 and len(history) in (10, 11)
        assert run.provenance()["minutes"] == 0.05

    def test_minutes_on_the_real_clock(self, data):
        run = train(experiment(data, steps=None, minutes=0.02, validation=data), progress="none")
        assert run.complete and run.history()["learning_rate"].iloc[-1] < 1e-9

    @pytest.mark.parametrize("changes", [{}, {"schedule": "warm_cosine"}, {"ema": 0.5, "clip": 0.1}], ids=str)
    def test_minutes_give_what_as_many_steps_give(self, data, changes):
        timed = train(experiment(data, steps=None, minutes=0.01, **changes), progress="none")
        counted = train(experiment(data, steps=timed.provenance()["steps"], **changes), progress="none")
        assert equal(weights(timed), weights(counted))

    def test_interrupted_budget_keeps_its_schedule(self, data, monkeypatch):
        chosen = experiment(data, steps=None, minutes=0.02)
        validate, seen = loop.Loop.validate, []

        def third(self):
            validate(self)
            seen.append(self.total)
            if len(seen) == 3:
                self.save()
                raise Stop

        with monkeypatch.context() as patch, pytest.raises(Stop):
            patch.setattr(loop.Loop, "validate", third)
            train(chosen, progress="none")
        assert train(chosen, progress="none").provenance()["steps"] == seen[0]

    def test_a_budget_too_small_for_anything_still_ends_whole(self, data):
        run = train(experiment(data, steps=None, minutes=1e-6), progress="none")
        assert run.complete and run.history()["step"].tolist() == [1]


class TestBadInput:
    def test_full_disk_loses_nothing(self, data, tmp_path, monkeypatch):
        whole = train(experiment(data), root=tmp_path / "whole", progress="none")
        replace, calls = os.replace, [0]

        def full(source, target):
            calls[0] += str(target).endswith("last.ckpt")
            if calls[0] == 3:
                raise OSError(errno.ENOSPC, "No space left on device")
            replace(source, target)

        with monkeypatch.context() as patch, pytest.raises(SRError, match="cannot write .*last.ckpt: No space left on device"):
            patch.setattr(os, "replace", full)
            train(experiment(data), progress="none")
        run = Run(experiment(data), whole.fingerprint)
        assert run.load_checkpoint()["trainer"]["step"] == 4
        assert equal(weights(train(experiment(data), progress="none")), weights(whole))

    def test_folder_of_runs_that_cannot_be_written(self, data, tmp_path, monkeypatch):
        (tmp_path / "file").write_text("mine")
        monkeypatch.setenv("SRLIB_RUNS", str(tmp_path / "file"))
        with pytest.raises(SRError, match=r"cannot write .*: Not a directory; set SRLIB_RUNS to a folder that can be"):
            train(experiment(data), progress="none")
        assert (tmp_path / "file").read_text() == "mine"

    def test_patch_larger_than_every_image_leaves_nothing(self, data, tmp_path):
        with pytest.raises(SRError, match=r"lr_patch: got 40, larger than every LR image .*the largest has \d+x\d+ pixels"):
            train(experiment(data, hr_patch=80), progress="none")
        assert not (tmp_path / "runs").exists()

    def test_smaller_images_are_left_out(self, data):
        assert train(experiment(data, hr_patch=36, steps=1), progress="none").complete

    def test_missing_data(self, tmp_path):
        with pytest.raises(SRError, match="does not exist; expected a folder of images"):
            train(experiment(f"folder:{tmp_path / 'none'}"), progress="none")
        with pytest.raises(SRError, match="unknown dataset 'embeded'.*'embedded'"):
            train(experiment("embeded"), progress="none")
        assert not (tmp_path / "runs").exists()

    def test_unknown_validation_is_told_before_the_first_step(self, data, tmp_path, monkeypatch):
        at_step(monkeypatch, 1, interrupt)
        with pytest.raises(SRError, match="unknown dataset 'Set55'.*'Set5'"):
            train(experiment(data, validation="Set55"), progress="none")
        assert not (tmp_path / "runs").exists()

    def test_validation_of_another_scale_is_told_before_the_first_step(self, data, tmp_path, monkeypatch):
        at_step(monkeypatch, 1, interrupt)
        with monkeypatch.context() as patch, pytest.raises(SRError, match="scale: got 2, but embedded-camera-test has LR and HR"):
            patch.setattr(training, "open_set", lambda name: dataclasses.replace(open_set(name), scale=1))
            train(experiment(data, validation="embedded-camera-test"), progress="none")
        with pytest.raises(SRError, match="validation \\(=embedded-test\\) has no LR images"):
            train(experiment("embedded-camera", scale=1, model="ddet", validation="embedded-test"), progress="none")
        assert not (tmp_path / "runs").exists()

    def test_model_without_weights(self, data, tmp_path):
        with pytest.raises(SRError, match="model 'bicubic' has no parameters to train"):
            train(experiment(data, model="bicubic"), progress="none")


class TestBatch:
    def test_rgb_and_luma(self):
        lr, hr = (torch.randint(0, 256, (2, 3, n, n), dtype=torch.uint8) for n in (4, 8))
        for channels in (1, 3):
            small, large = to_batch(lr, hr, channels, torch.device("cpu"))
            assert small.shape == (2, channels, 4, 4) and large.shape == (2, channels, 8, 8)
            assert small.is_contiguous(memory_format=torch.channels_last)
            assert small.dtype == torch.float32 and 0 <= small.min() and small.max() <= 1
        expected = color.to_y(hr[1].permute(1, 2, 0).numpy(), rounded=False)
        luma = to_batch(lr, hr, 1, torch.device("cpu"))[1]
        assert np.abs(luma[1, 0].numpy() * 255 - expected).max() < 1e-3
        assert torch.equal(to_batch(lr, hr, 3, torch.device("cpu"))[1], hr.float() / 255)


class TestCode:
    """A run belongs to what its code does."""

    def test_a_changed_forward_pass_trains_anew_and_keeps_the_old_run(self, data, monkeypatch, capsys):
        first = train(experiment(data), progress="none")
        before = weights(first)
        forward = ESPCN.forward
        monkeypatch.setattr(ESPCN, "forward", lambda self, lr: 0.5 * forward(self, lr))
        second = train(experiment(data), progress="none")
        assert second.dir == first.dir and not equal(weights(second), before)
        aside = first.dir.with_name(f"{first.dir.name}.outdated1")
        assert equal(load_file(aside / "model.safetensors"), before)
        assert f"its network, loss or gradient were others than today's; it is kept in {aside}" in capsys.readouterr().out

    def test_a_partial_run_of_other_code_is_not_continued(self, data, monkeypatch):
        whole = weights(train(experiment(data, loss="l1"), progress="none"))
        with monkeypatch.context() as patch:
            patch.setitem(losses.LOSSES, "l1", lambda sr, hr: 3 * losses.mse(sr, hr))
            at_step(patch, 9, interrupt)
            with pytest.raises(Stop):
                train(experiment(data, loss="l1", seed=1), progress="none")
        again = train(experiment(data, loss="l1", seed=1), progress="none")
        assert again.dir.with_name(f"{again.dir.name}.outdated1").exists()
        assert weights(again).keys() == whole.keys() and again.history()["step"].tolist()[0] <= 2

    def test_a_renamed_class_in_another_module_is_the_same_network(self, data, monkeypatch, capsys):
        class Moved(ESPCN):
            pass

        first = train(experiment(data), progress="none")
        written = first.weights.stat().st_mtime_ns
        monkeypatch.setitem(models._MODELS, "espcn", (Moved, models.SCALES))
        assert train(experiment(data), progress="none").weights.stat().st_mtime_ns == written
        assert "trained anew" not in capsys.readouterr().out

    def test_a_complete_run_with_truncated_weights_is_refused(self, data):
        run = train(experiment(data), progress="none")
        run.weights.write_bytes(run.weights.read_bytes()[:-7])
        with pytest.raises(SRError, match="model.safetensors is damaged or was replaced: .*; restore the file, or delete"):
            train(experiment(data), progress="none")

    def test_an_edited_config_does_not_resume(self, data, monkeypatch):
        with monkeypatch.context() as patch:
            at_step(patch, 9, interrupt)
            with pytest.raises(Stop):
                train(experiment(data), progress="none")
        (config,) = Run(experiment(data), "").dir.parent.glob("*/config.json")
        config.write_text(config.read_text().replace('"steps": 12', '"steps": 1200'))
        with pytest.raises(SRError, match="config.json was edited after the training began"):
            train(experiment(data), progress="none")

    def test_a_foreign_checkpoint_is_told(self, data, monkeypatch):
        with monkeypatch.context() as patch:
            at_step(patch, 9, interrupt)
            with pytest.raises(Stop):
                train(experiment(data), progress="none")
        (checkpoint,) = Run(experiment(data), "").dir.parent.glob("*/last.ckpt")
        torch.save({"model": torch.zeros(3)}, checkpoint)
        with pytest.raises(SRError, match="last.ckpt is damaged, or not a checkpoint .*; delete it to train this run"):
            train(experiment(data), progress="none")


class TestGradient:
    """A training that changes nothing is an error, not a result."""

    @pytest.mark.parametrize("detach", [lambda loss, _: loss.detach(), lambda loss, _: torch.tensor(loss.item())])
    def test_a_detached_loss_is_refused_at_the_first_step(self, data, monkeypatch, detach):
        spoil(monkeypatch, 1, detach)
        with pytest.raises(SRError, match="training tiny would change nothing: the loss 'mse' is detached from the outputs of"):
            train(experiment(data), progress="none")

    def test_an_output_without_gradient_is_refused(self, data, monkeypatch):
        forward = ESPCN.forward
        monkeypatch.setattr(ESPCN, "forward", lambda self, lr: forward(self, lr).detach())
        with pytest.raises(SRError, match="would change nothing: no trained layer takes part in the outputs of 'espcn'"):
            train(experiment(data), progress="none")

    @pytest.mark.parametrize("size", [(8, 8), (12, 16)])
    def test_a_network_that_does_not_enlarge_is_refused(self, data, monkeypatch, size):
        monkeypatch.setattr(
            ESPCN, "forward", lambda self, lr: torch.nn.functional.interpolate(lr, size=size) * self.subpixel[0].weight.mean()
        )
        with pytest.raises(SRError, match=rf"the network gave {size[0]}x{size[1]} pixels for HR patches of 16x16"):
            train(experiment(data), progress="none")
