"""Training on tiny images: right results, and nothing lost whatever happens."""

import dataclasses
import errno
import os
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
from srlib.core.protocols import protocol
from srlib.data.pairs import open_pairs
from srlib.data.sets import open_set
from srlib.nn import models
from srlib.scoring import vitals
from srlib.scoring.evaluation import measure
from srlib.train import loop, losses, training
from srlib.train.experiment import Experiment
from srlib.train.run import Run
from srlib.train.trainer import to_batch
from srlib.train.training import train

BTSRN = {"model": "btsrn", "model_args": {"width": 8, "bottleneck": 4, "low": 1, "high": 1}}


def experiment(data, **changes) -> Experiment:
    base = {"name": "tiny", "paper": "test", "model": "espcn", "scale": 2, "data": data, "hr_patch": 16, "batch": 4, "steps": 12}
    return Experiment(**{**base, **changes})


def weights(run: Run) -> bytes:
    return run.weights.read_bytes()


@pytest.fixture
def whole(data, tmp_path) -> Run:
    """The uninterrupted run of `experiment(data)`, in another folder of runs."""
    return train(experiment(data), root=tmp_path / "whole", progress="none")


def spoil(monkeypatch, step: int, change):
    """Let `change` have the loss of the given step (the first is 1)."""
    mse, calls = losses.LOSSES["mse"], [0]

    def spoilt(sr, hr):
        loss = mse(sr, hr)
        if sr.dtype == torch.float64:  # the probe before a training
            return loss
        calls[0] += 1
        return change(loss, sr) if calls[0] == step else loss

    monkeypatch.setitem(losses.LOSSES, "mse", spoilt)


class TestRun:
    def test_leaves_a_complete_run(self, data):
        run = train(experiment(data, seed=5), progress="none")
        assert run.complete and not run.checkpoint.exists()
        files = {"config.json", "history.csv", "model.safetensors", "provenance.json"}
        assert {file.name for file in run.dir.iterdir()} - {".lock"} == files
        models.create("espcn", 2).load_state_dict(load_file(run.weights))
        again = Run.open(run.dir)
        assert again.experiment == run.experiment and again.fingerprint == open_pairs(data, 2).fingerprint
        assert list(run.history().columns) == ["step", "loss", "learning_rate", "seconds"]  # no validation, no score
        made = run.provenance()
        assert (made["seed"], made["steps"], made["processes"]) == (5, 12, 1)
        assert made["device"] in ("cpu", "cuda") and made["minutes"] >= 0
        assert made["data"] == {"name": data, "fingerprint": run.fingerprint, "images": 3}
        assert {"commit", "dirty", "date", "python", "packages", "hardware", "threads"} <= made.keys()

    def test_images_smaller_than_a_patch_are_left_out_and_counted(self, data, capsys):
        Image.new("RGB", (40, 8)).save(f"{data.removeprefix('folder:')}/tiny.png")
        run = train(experiment(data))
        assert f"{data}: left out 1 images that are smaller than a patch of 8x8 LR pixels" in capsys.readouterr().out
        assert run.provenance()["data"]["images"] == 3

    @pytest.mark.parametrize("validation", ["", "embedded-test"])
    def test_provenance_has_the_vital_signs_of_the_weights(self, data, validation):
        args = {"width": 8, "depth": 4}
        run = train(experiment(data, model="vdsr", model_args=args, validation=validation, steps=2), progress="none")
        net = models.create("vdsr", 2, **args)
        net.load_state_dict(load_file(run.weights))
        signs = run.provenance()["vital_signs"]
        assert signs["images"] == (validation or data)
        assert signs == vitals.measure(net, *filter(None, (validation, data)))

    def test_vital_signs_of_mixed_precision_are_measured_in_float32(self, monkeypatch):
        types = []

        def record(net, *datasets):
            layer = next(layer for layer in net.modules() if isinstance(layer, torch.nn.Conv2d))
            layer.register_forward_hook(lambda _, inputs, output: types.append(output.dtype))
            net(torch.rand(1, 3, 16, 16))
            return {}

        monkeypatch.setattr(vitals, "measure", record)
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

    def test_history_and_weights_are_functions_of_the_seed(self, data, whole):
        same, other = (train(experiment(data, seed=seed), progress="none") for seed in (0, 1))
        assert weights(same) == weights(whole) != weights(other)
        assert same.history()["loss"].tolist() == whole.history()["loss"].tolist() != other.history()["loss"].tolist()

    @pytest.mark.parametrize("loss", sorted(losses.LOSSES))
    @pytest.mark.parametrize("model", [{"model": "espcn"}, BTSRN], ids=["espcn", "btsrn"])
    def test_learns(self, data, model, loss):
        history = train(experiment(data, **model, loss=loss, steps=80, learning_rate=3e-3), progress="none").history()
        assert history["loss"].iloc[-1] < 0.7 * history["loss"].iloc[0]

    @pytest.mark.parametrize(("scale", "hr_patch"), [(2, 24), (3, 24), (4, 32)])
    def test_valid_padding_trains_on_the_centre(self, data, scale, hr_patch):
        args = {**BTSRN["model_args"], "padding": "valid"}
        chosen = experiment(data, model="btsrn", model_args=args, scale=scale, hr_patch=hr_patch, steps=3, validation=data)
        assert train(chosen, progress="none").history()["psnr"].notna().all()

    @pytest.mark.parametrize(
        "changes", [{"clip": 1e-3}, {"ema": 0.9}, {"loss": "l1"}, {"schedule": "steps", "drops": 3, "factor": 0.5}], ids=str
    )
    def test_options_matter(self, data, whole, changes):
        assert weights(train(experiment(data, **changes), progress="none")) != weights(whole)

    def test_average_lies_between_first_and_last_weights(self, data):
        """With decay d the average of two steps is d * first + (1 - d) * second."""
        changes = ({"steps": 1}, {"steps": 2}, {"steps": 2, "ema": 0.75})
        runs = (train(experiment(data, schedule="steps", **fields), progress="none") for fields in changes)
        first, second, averaged = (load_file(run.weights) for run in runs)
        for key in first:
            assert torch.allclose(averaged[key], 0.75 * first[key] + 0.25 * second[key], atol=1e-6)

    def test_one_process_trains_in_either_precision(self, data):
        runs = [train(experiment(data, precision=p, steps=2), progress="none") for p in ("fp32", "bf16", "fp32")]
        assert weights(runs[0]) != weights(runs[1]) and runs[0].dir == runs[2].dir
        assert all(tensor.dtype == torch.float32 for tensor in load_file(runs[1].weights).values())

    def test_complete_run_is_returned_without_work(self, data, monkeypatch):
        def written() -> dict:
            return {file: file.stat().st_mtime_ns for file in run.dir.iterdir() if file.name != ".lock"}

        run = train(experiment(data), progress="none")
        before = written()
        monkeypatch.setattr(training, "Trainer", None)
        assert train(experiment(data), progress="none").dir == run.dir
        answers = iter([False, False, True])  # another process ends it after the first look
        monkeypatch.setattr(Run, "complete", property(lambda self: next(answers, True)))
        assert train(experiment(data), progress="none").dir == run.dir
        assert written() == before and next(answers, None) is None

    def test_changed_data_is_another_run(self, data, tmp_path):
        first = train(experiment(data, steps=1), progress="none")
        Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(tmp_path / "photos" / "4.png")
        assert train(experiment(data, steps=1), progress="none").dir != first.dir


def test_validation_is_on_the_centres_of_the_first_five_images(tmp_path):
    rng = np.random.default_rng(0)
    for i, (height, width) in enumerate([(520, 601), (40, 530), *[(30, 20)] * 4]):
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        top, left = (max(side - 512, 0) // 2 for side in (height, width))
        for name, image in (("all", pixels), ("used", pixels[top : top + 512, left : left + 512])):
            (tmp_path / name).mkdir(exist_ok=True)
            if name == "all" or i < 5:
                Image.fromarray(image).save(tmp_path / name / f"{i}.png")
    net, whole, used = models.create("bicubic", 2), f"folder:{tmp_path / 'all'}", f"folder:{tmp_path / 'used'}"
    scores = loop.validate(net, experiment(whole, validation=whole))
    expected = measure(net, used, protocol("y"))
    assert scores == {name: expected[name] for name in ("psnr", "ssim")} and expected["images"] == 5
    assert loop.validate(net, experiment(whole)) == {}


class TestProgress:
    def test_lines(self, data, capsys):
        train(experiment(data, validation=data, steps=4), progress="lines")
        lines = capsys.readouterr().out.splitlines()
        assert [line.split(":")[0] for line in lines] == [f"tiny x2 step {n}/4" for n in (1, 2, 3, 4)]
        assert all("dB on folder:" in line and "loss" in line for line in lines)

    @pytest.mark.parametrize(("progress", "printed"), [("none", ""), ("bar", "2/2")])
    def test_none_and_bar(self, data, capsys, progress, printed):
        train(experiment(data, steps=2), progress=progress)
        out, err = capsys.readouterr()
        assert out == "" and printed in err and bool(printed) == bool(err)

    @pytest.mark.parametrize("session", ["", "x.ipynb"])
    def test_headless_runs_print_lines(self, data, monkeypatch, capsys, session):
        if session:
            monkeypatch.setenv("JPY_SESSION_NAME", session)
        train(experiment(data, steps=1))
        out, err = capsys.readouterr()
        assert ("1/1" in err, out == "") == (bool(session), bool(session))

    def test_unknown_one(self, data):
        with pytest.raises(SRError, match=r"progress \(='loud'\) must be auto, bar, lines or none"):
            train(experiment(data), progress="loud")


CASES = [{}, {"ema": 0.9}, {"clip": 0.01, "schedule": "steps", "drops": 3, "factor": 0.5}, BTSRN]


class TestResume:
    @pytest.mark.parametrize(("step", "changes"), [(1, {}), *((7, case) for case in CASES), (12, {}), (12, CASES[1])], ids=str)
    def test_equals_an_uninterrupted_run_bit_for_bit(self, data, tmp_path, interrupted, step, changes):
        chosen = experiment(data, validation=data, **changes)
        whole = train(chosen, root=tmp_path / "whole", progress="none")
        interrupted(step, chosen)
        resumed = train(chosen, progress="none")
        assert resumed.complete and weights(resumed) == weights(whole)
        columns = ["step", "loss", "learning_rate", "psnr", "ssim"]
        assert resumed.history()[columns].equals(whole.history()[columns])

    @pytest.mark.parametrize(("step", "kept"), [(26, 20), (29, 27)])
    def test_checkpoints_between_validations(self, data, tmp_path, interrupted, monkeypatch, step, kept):
        """Validations every 10 steps, checks of the loss every 3; on a clock on which a step takes 10 s: 70 s after step 20."""
        chosen, now, take = experiment(data, steps=100), [100.0], loop.Trainer.step

        def slow(self, *args):
            now[0] += 10
            return take(self, *args)

        monkeypatch.setattr(loop, "CHECK_EVERY", 3)
        whole = train(chosen, root=tmp_path / "whole", progress="none")
        with monkeypatch.context() as patch:
            patch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: now[0]))
            patch.setattr(loop.Trainer, "step", slow)
            state = interrupted(step, chosen).load_checkpoint()
        assert state["trainer"]["step"] == kept and len(state["since_validation"]) == kept - 20
        assert [row["step"] for row in state["history"]] == [10, 20]
        resumed = train(chosen, progress="none")
        assert weights(resumed) == weights(whole)
        assert resumed.history().drop(columns="seconds").equals(whole.history().drop(columns="seconds"))

    def test_every_commit_is_remembered_and_a_change_to_any(self, data, interrupted, monkeypatch):
        calls = [("a", True), ("b", False), ("b", False), ("c", False)]
        made = iter({"commit": commit, "dirty": dirty} for commit, dirty in calls)
        monkeypatch.setattr(training, "checkout", lambda: next(made))
        for step in (3, 7, 9):
            interrupted(step, experiment(data))
        resumed = train(experiment(data), progress="none").provenance()
        assert (resumed["commit"], resumed["dirty"], resumed["earlier_commits"]) == ("c", True, ["a", "b"])

    def test_only_the_rest_is_trained(self, data, interrupted, monkeypatch):
        interrupted(9, experiment(data))
        taken, take = [], loop.Trainer.step
        monkeypatch.setattr(loop.Trainer, "step", lambda self, *args: (taken.append(self.done), take(self, *args))[1])
        train(experiment(data), progress="none")
        assert taken == [8, 9, 10, 11]

    @pytest.mark.parametrize(
        ("raised", "expected", "message"),
        [
            (KeyboardInterrupt(), KeyboardInterrupt, None),
            (OSError(errno.ENOSPC, "No space left on device"), SRError, "cannot write .*last.ckpt: No space left on device"),
        ],
        ids=["ctrl-c", "full disk"],
    )
    def test_a_failed_checkpoint_leaves_the_one_before(self, data, whole, monkeypatch, raised, expected, message):
        replace, calls = os.replace, [0]

        def failing(source, target):
            calls[0] += str(target).endswith("last.ckpt")
            if calls[0] == 3:
                raise raised
            replace(source, target)

        with monkeypatch.context() as patch, pytest.raises(expected, match=message):
            patch.setattr(os, "replace", failing)
            train(experiment(data), progress="none")
        assert Run(experiment(data), whole.fingerprint).load_checkpoint()["trainer"]["step"] == 4
        assert weights(train(experiment(data), progress="none")) == weights(whole)

    @pytest.mark.parametrize("foreign", [False, True])
    def test_damaged_checkpoint_is_refused_and_kept(self, data, interrupted, foreign):
        checkpoint = interrupted(9, experiment(data)).checkpoint
        if foreign:
            torch.save({"model": torch.zeros(3)}, checkpoint)
        else:
            checkpoint.write_bytes(checkpoint.read_bytes()[:500])
        content = checkpoint.read_bytes()
        with pytest.raises(SRError, match="last.ckpt is damaged, or not a checkpoint .*; delete it"):
            train(experiment(data), progress="none")
        assert checkpoint.read_bytes() == content
        checkpoint.unlink()
        assert train(experiment(data), progress="none").complete

    def test_an_edited_config_does_not_resume(self, data, interrupted):
        config = interrupted(9, experiment(data)).dir / "config.json"
        config.write_text(config.read_text().replace('"steps": 12', '"steps": 1200'))
        with pytest.raises(SRError, match="config.json was edited after the training began"):
            train(experiment(data), progress="none")


SCRIPT = """
import sys, time
import torch
torch.set_num_threads(1)
from srlib.train import loop
from srlib.train.experiment import Experiment
from srlib.train.training import train

take = loop.Trainer.step
loop.Trainer.step = lambda self, *args: (time.sleep(0.4), take(self, *args))[1]
train(Experiment(**eval(sys.argv[1])), progress="lines")
"""


def test_second_process_is_turned_away_and_a_kill_loses_nothing(data, whole):
    command = [sys.executable, "-c", SCRIPT, repr(dataclasses.asdict(experiment(data)))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    run = Run(experiment(data), whole.fingerprint)
    try:
        line = process.stdout.readline()
        assert line.startswith("tiny x2 step 2/12"), process.stderr.read()
        with pytest.raises(SRError, match=f"another process is training {run.dir.name}"):
            train(experiment(data), progress="none")
        assert process.stdout.readline().startswith("tiny x2 step 4/12")  # the first one is unharmed
        time.sleep(0.2)
    finally:
        process.kill()
        process.communicate(timeout=60)
    assert not run.complete and run.load_checkpoint()["trainer"]["step"] >= 2
    (run.dir / ".last.ckpt.0123.part").write_bytes(b"half")  # as where it is killed in the middle of a checkpoint
    assert weights(train(experiment(data), progress="none")) == weights(whole)
    assert not list(run.dir.glob(".*.part"))


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
    def test_stops_at_the_step_and_keeps_the_checkpoint(self, data, whole, monkeypatch, change, what):
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
        assert weights(train(experiment(data), progress="none")) == weights(whole)

    def test_is_noticed_between_validations(self, data, monkeypatch):
        taken, take = [], loop.Trainer.step
        monkeypatch.setattr(loop.Trainer, "step", lambda self, *args: (taken.append(self.done), take(self, *args))[1])
        monkeypatch.setattr(loop, "CHECK_EVERY", 3)
        spoil(monkeypatch, 5, lambda loss, sr: loss * float("nan"))
        with pytest.raises(SRError, match="loss nan at step 5 of 100; no checkpoint was written yet"):
            train(experiment(data, steps=100), progress="none")
        assert len(taken) == 6

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
        history = train(chosen, progress="none").history()["loss"]
        assert history.max() > 100 * history.iloc[0]  # a legitimate jump


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

    def test_minutes_give_what_as_many_steps_give(self, data):
        changes = {"schedule": "warm_cosine", "ema": 0.5, "clip": 0.1, "validation": data}
        timed = train(experiment(data, steps=None, minutes=0.01, **changes), progress="none")
        counted = train(experiment(data, steps=timed.provenance()["steps"], **changes), progress="none")
        assert weights(timed) == weights(counted) and timed.history()["learning_rate"].iloc[-1] < 1e-9

    def test_interrupted_budget_keeps_its_schedule(self, data, monkeypatch):
        chosen = experiment(data, steps=None, minutes=0.01)
        validate, totals = loop.Loop.validate, []

        def third(self, bar):
            validate(self, bar)
            totals.append(self.total)
            if len(totals) == 3:
                self.save()
                raise InterruptedError

        with monkeypatch.context() as patch, pytest.raises(InterruptedError):
            patch.setattr(loop.Loop, "validate", third)
            train(chosen, progress="none")
        assert train(chosen, progress="none").provenance()["steps"] == totals[0]

    def test_a_budget_too_small_for_anything_still_ends_whole(self, data):
        run = train(experiment(data, steps=None, minutes=1e-6), progress="none")
        assert run.complete and run.history()["step"].tolist() == [1]


class TestBadInput:
    """Told before the first step: no folder of runs is left."""

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"hr_patch": 80}, r"lr_patch: got 40, larger than every LR image .*the largest has \d+x\d+ pixels"),
            ({"data": "folder:/no/such"}, "does not exist; expected a folder of images"),
            ({"data": "embeded"}, "unknown dataset 'embeded'.*'embedded'"),
            ({"validation": "Set55"}, "unknown dataset 'Set55'.*'Set5'"),
            (
                {"data": "embedded-camera", "scale": 1, "model": "ddet", "validation": "embedded-test"},
                r"validation \(=embedded-test\) has no LR images",
            ),
        ],
        ids=str,
    )
    def test_is_refused(self, data, tmp_path, changes, message):
        with pytest.raises(SRError, match=message):
            train(experiment(**{"data": data, **changes}), progress="none")
        assert not (tmp_path / "runs").exists()

    def test_validation_of_another_scale(self, data, tmp_path, monkeypatch):
        monkeypatch.setattr(training, "open_set", lambda name: dataclasses.replace(open_set(name), scale=1))
        with pytest.raises(SRError, match="scale: got 2, but embedded-camera-test has LR and HR"):
            train(experiment(data, validation="embedded-camera-test"), progress="none")
        assert not (tmp_path / "runs").exists()

    def test_model_without_weights(self, data):
        with pytest.raises(SRError, match="model 'bicubic' has no parameters to train"):
            train(experiment(data, model="bicubic"), progress="none")

    def test_smaller_images_are_left_out(self, data):
        assert train(experiment(data, hr_patch=36, steps=1), progress="none").complete


def test_batch_is_rgb_or_luma_in_floats():
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
        before, forward = weights(first), ESPCN.forward
        for n, factor in enumerate((0.5, 0.25), 1):
            monkeypatch.setattr(ESPCN, "forward", lambda self, lr, factor=factor: factor * forward(self, lr))
            again = train(experiment(data), progress="none")
            assert again.dir == first.dir and weights(again) != before
            aside = first.dir.with_name(f"{first.dir.name}.outdated{n}")
            assert Run.open(aside).weights.read_bytes() == before
            assert f"its network, loss or gradient has changed; it is kept in {aside}" in capsys.readouterr().out
            before = weights(again)

    def test_a_partial_run_of_other_code_is_not_continued(self, data, interrupted, monkeypatch):
        chosen = experiment(data, loss="l1")
        with monkeypatch.context() as patch:
            patch.setitem(losses.LOSSES, "l1", lambda sr, hr: 3 * losses.charbonnier(sr, hr))
            interrupted(9, chosen)
        again = train(chosen, progress="none")
        assert again.dir.with_name(f"{again.dir.name}.outdated1").exists() and again.history()["step"][0] <= 2

    def test_a_renamed_class_in_another_module_is_the_same_network(self, data, monkeypatch, capsys):
        class Moved(ESPCN):
            pass

        first = train(experiment(data), progress="none")
        written = first.weights.stat().st_mtime_ns
        monkeypatch.setitem(models._MODELS, "espcn", (Moved, models.SCALES))
        assert train(experiment(data), progress="none").weights.stat().st_mtime_ns == written
        assert "trained anew" not in capsys.readouterr().out

    @pytest.mark.parametrize("step", [None, 2])
    def test_a_folder_with_another_run_is_refused(self, data, interrupted, step):
        run = interrupted(step, experiment(data, steps=3)) if step else train(experiment(data, steps=1), progress="none")
        other = Run(experiment(data, steps=5), run.fingerprint)
        run.dir.rename(other.dir)
        with pytest.raises(SRError, match=f"{other.key} holds the run {run.key}; move it back to a folder of that name"):
            train(other.experiment, progress="none")

    def test_a_complete_run_with_truncated_weights_is_refused(self, data):
        run = train(experiment(data, steps=1), progress="none")
        run.weights.write_bytes(run.weights.read_bytes()[:-7])
        with pytest.raises(SRError, match="model.safetensors is damaged or was replaced"):
            train(experiment(data, steps=1), progress="none")


class TestGradient:
    """A training that changes nothing is an error, not a result."""

    @pytest.mark.parametrize("detach", [lambda loss, _: loss.detach(), lambda loss, _: torch.tensor(loss.item())])
    def test_a_detached_loss_is_refused_at_the_first_step(self, data, monkeypatch, detach):
        spoil(monkeypatch, 1, detach)
        with pytest.raises(SRError, match="training tiny would change nothing: the loss 'mse' is detached"):
            train(experiment(data), progress="none")

    def test_an_output_without_gradient_is_refused(self, data, monkeypatch):
        forward = ESPCN.forward
        monkeypatch.setattr(ESPCN, "forward", lambda self, lr: forward(self, lr).detach())
        with pytest.raises(SRError, match="would change nothing: no trained layer takes part in the outputs of 'espcn'"):
            train(experiment(data), progress="none")

    @pytest.mark.parametrize("size", [(8, 8), (12, 16)])
    def test_a_network_that_does_not_enlarge_is_refused(self, data, monkeypatch, size):
        interpolate = torch.nn.functional.interpolate
        monkeypatch.setattr(ESPCN, "forward", lambda self, lr: interpolate(lr, size=size) * self.subpixel[0].weight.mean())
        with pytest.raises(SRError, match=rf"the network gave {size[0]}x{size[1]} pixels for HR patches of 16x16"):
            train(experiment(data), progress="none")
