"""Networks with several levels and adversarial training, on tiny images."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from PIL import Image
from safetensors.torch import load_file

from srlib.core.errors import SRError
from srlib.core.imresize import imresize
from srlib.nn import models
from srlib.papers.prosrn import gan as gan_module
from srlib.train import loop, losses
from srlib.train.experiment import Experiment
from srlib.train.run import Run
from srlib.train.trainer import Adversary, Trainer
from srlib.train.training import digest, train

PROSRN = {"model": "prosrn", "model_args": {"width": 8, "depth": 2}, "scale": 4, "hr_patch": 32}
NETWORKS = {
    "prosrn": PROSRN,
    "lapsrn": {**PROSRN, "model": "lapsrn"},
    "drcn": {"model": "drcn", "model_args": {"width": 8, "recursions": 3}, "scale": 2, "hr_patch": 16},
}
STEPS = 6


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def data(tmp_path) -> str:
    (tmp_path / "photos").mkdir()
    for i in range(2):
        noise = np.random.default_rng(i).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(imresize(noise, size=(40, 44))).save(tmp_path / "photos" / f"{i}.png")
    return f"folder:{tmp_path / 'photos'}"


def experiment(data, **changes) -> Experiment:
    return Experiment(**{"name": "tiny", "paper": "test", "data": data, "batch": 2, "steps": STEPS, **PROSRN, **changes})


@pytest.fixture
def first(data, tmp_path):
    """The weights that a GAN starts from: those of its whole network."""
    return {"": train(experiment(data, steps=1), root=tmp_path / "first", progress="none").weights}


@pytest.fixture
def gan(data, first):
    def make(**changes) -> Experiment:
        judged = {"discriminator": "patch", "discriminator_args": {"width": 4}, "adversarial": 0.1, "start": digest(first)}
        return experiment(data, **{"name": "gan", **judged, **changes})

    return make


def weights(run: Run) -> dict[str, torch.Tensor]:
    return load_file(run.weights)


def equal(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


class Stop(Exception):
    """Raised inside of a training to interrupt it."""


def stop_at(monkeypatch, step: int):
    """Interrupt before the given step is taken (the first is 1)."""
    take = Trainer.step

    def wrapped(self, *args):
        if self.done + 1 == step:
            raise Stop
        return take(self, *args)

    monkeypatch.setattr(Trainer, "step", wrapped)


class TestLevels:
    @pytest.mark.parametrize("name", NETWORKS)
    def test_training_lowers_the_loss_of_all_levels(self, data, name):
        chosen = experiment(data, **NETWORKS[name], steps=40, loss="charbonnier", learning_rate=3e-3, validation=data)
        history = train(chosen, progress="none").history()
        assert history["loss"].iloc[-1] < 0.9 * history["loss"].iloc[0]
        assert history["psnr"].iloc[-1] > history["psnr"].iloc[0]

    @pytest.mark.parametrize("name", NETWORKS)
    def test_killed_and_continued_equals_uninterrupted(self, data, tmp_path, monkeypatch, name):
        chosen = experiment(data, **NETWORKS[name])
        whole = train(chosen, root=tmp_path / "whole", progress="none")
        with monkeypatch.context() as patch, pytest.raises(Stop):
            stop_at(patch, 4)
            train(chosen, progress="none")
        resumed = train(chosen, progress="none")
        assert equal(weights(resumed), weights(whole))
        assert resumed.history()["loss"].equals(whole.history()["loss"])

    def test_loss_counts_every_level(self, data, monkeypatch):
        """A network whose first level is right and whose last one is not, and the other way round: both are told."""
        trainer = Trainer(experiment(data), Accelerator())
        lr, hr = torch.rand(1, 1, 8, 8), torch.rand(1, 1, 32, 32)
        right = losses.level_targets([torch.zeros(1, 1, 16, 16), torch.zeros(1, 1, 32, 32)], hr)
        for wrong in (0, 1):
            images = [image + 0.5 * (i == wrong) for i, image in enumerate(right)]
            trainer.model = lambda lr, images=images: [image.requires_grad_() for image in images]
            assert trainer.step(lr, hr, 1e-3).item() == pytest.approx(0.25)


class TestStart:
    def test_training_starts_from_the_weights(self, gan, first, monkeypatch):
        seen, take = [], Trainer.step

        def watch(self, *args):
            seen.append({name: tensor.clone() for name, tensor in self.net.state_dict().items()})
            return take(self, *args)

        monkeypatch.setattr(Trainer, "step", watch)
        train(gan(steps=2), start=first, progress="none")
        assert equal(seen[0], load_file(first[""])) and not equal(seen[1], seen[0])

    def test_also_without_a_discriminator(self, data, first, tmp_path):
        tuned = train(experiment(data, start=digest(first), learning_rate=1e-12, steps=1), start=first, progress="none")
        assert all(torch.allclose(tensor, weights(tuned)[name], atol=1e-9) for name, tensor in load_file(first[""]).items())

    def test_missing_file_is_told(self, gan, tmp_path):
        for start in (None, {"": tmp_path / "none.safetensors"}, {"": tmp_path}):
            with pytest.raises(SRError, match=r"gan starts from trained weights, and start \(=.*\) is no file; train those"):
                train(gan(), start=start, progress="none")
        assert not (tmp_path / "runs").exists()

    def test_other_weights_are_refused(self, gan, data, first, tmp_path):
        other = {"": train(experiment(data, steps=1, seed=1), root=tmp_path / "other", progress="none").weights}
        message = rf"model.safetensors is not what gan starts from: SHA-256 {digest(other)}, expected {digest(first)}"
        with pytest.raises(SRError, match=message):
            train(gan(), start=other, progress="none")
        assert not (tmp_path / "runs").exists()

    def test_weights_of_another_network_are_refused(self, gan, first):
        with pytest.raises(SRError, match="model.safetensors does not fit this model: .* tensors differ"):
            train(gan(model_args={"width": 16}), start=first, progress="none")

    def test_weights_that_nobody_asked_for_are_refused(self, data, first, tmp_path):
        with pytest.raises(SRError, match=r"start \(=.*\) was given, but tiny starts from fresh weights; leave it out"):
            train(experiment(data), start=first, progress="none")
        assert not (tmp_path / "runs").exists()

    def test_the_start_names_the_run(self, gan):
        assert gan().key("f") != gan(start="0123456789").key("f")


class TestGAN:
    def test_history_has_the_loss_of_the_discriminator(self, gan, first, data):
        run = train(gan(validation=data), start=first, progress="none")
        history = run.history()
        assert list(history.columns) == ["step", "loss", "discriminator", "learning_rate", "seconds", "psnr", "ssim"]
        assert history["step"].tolist() == [1, 2, 3, 4, 5, 6] and np.isfinite(history.to_numpy()).all()
        assert weights(run).keys() == models.create("prosrn", 4, **PROSRN["model_args"]).state_dict().keys()

    @pytest.mark.parametrize("changes", [{}, {"ema": 0.9}, {"discriminator": "image", "discriminator_args": {"width": 1}}])
    @pytest.mark.parametrize("step", [1, 4, 6])
    def test_killed_and_continued_equals_uninterrupted(self, gan, first, tmp_path, monkeypatch, changes, step):
        chosen = gan(**changes)
        whole = train(chosen, start=first, root=tmp_path / "whole", progress="none")
        with monkeypatch.context() as patch, pytest.raises(Stop):
            stop_at(patch, step)
            train(chosen, start=first, progress="none")
        assert not Run(chosen, whole.fingerprint).complete
        resumed = train(chosen, start=first, progress="none")
        assert equal(weights(resumed), weights(whole))
        assert resumed.history()[["loss", "discriminator"]].equals(whole.history()[["loss", "discriminator"]])

    def test_options_matter(self, gan, first, data):
        plain = weights(train(gan(), start=first, progress="none"))
        others = (
            gan(adversarial=0.2),
            gan(content=0.5),
            gan(content=0.01, adversarial=1.0),
            gan(discriminator="image", discriminator_args={"width": 1}),
            gan(discriminator_args={"width": 8}),
            experiment(data, start=digest(first)),
        )
        for other in others:
            assert not equal(plain, weights(train(other, start=first, progress="none"))), other

    def test_vanishing_adversary_is_plain_training(self, gan, first, data):
        plain = weights(train(experiment(data, start=digest(first)), start=first, progress="none"))
        weak = weights(train(gan(adversarial=1e-12), start=first, progress="none"))
        assert all(torch.allclose(plain[name], weak[name], atol=1e-6) for name in plain)

    def test_trains_in_half_precision(self, gan, first):
        run = train(gan(precision="bf16", steps=2), start=first, progress="none")
        assert all(tensor.dtype == torch.float32 and tensor.isfinite().all() for tensor in weights(run).values())

    def test_patches_too_small_for_the_discriminator_are_refused(self, gan, first):
        message = "needs images of at least 16x16 pixels at every level, got 8x8; give a larger hr_patch"
        with pytest.raises(SRError, match=message):
            train(gan(hr_patch=16), start=first, progress="none")

    def test_several_processes_are_refused(self, gan, first, monkeypatch):
        monkeypatch.setattr(loop, "Accelerator", lambda **_: SimpleNamespace(num_processes=2))
        with pytest.raises(SRError, match="gan trains against a discriminator, which works in one process, got 2"):
            train(gan(), start=first, progress="none")


class TestDivergence:
    def test_of_both_networks_is_told_with_the_step(self, gan, first):
        with pytest.raises(SRError, match=r"training gan diverged: .* at step \d of 6; .*Lower learning_rate \(=1e\+10\)"):
            train(gan(learning_rate=1e10), start=first, progress="none")

    def test_of_the_discriminator_keeps_the_checkpoint(self, gan, first, tmp_path, monkeypatch):
        whole = train(gan(), start=first, root=tmp_path / "whole", progress="none")
        bce, calls = gan_module.adversarial_bce, [0]

        def spoilt(logits, real):
            if logits.dtype == torch.float64:  # the probe before a training
                return bce(logits, real)
            calls[0] += 1
            return bce(logits, real) * (float("nan") if calls[0] == 4 * 6 + 1 else 1)  # two levels, real and fake, and judged

        with monkeypatch.context() as patch:
            patch.setattr(gan_module, "adversarial_bce", spoilt)
            with pytest.raises(SRError, match=r"diverged: loss nan, discriminator nan at step 5 of 6; the checkpoint of"):
                train(gan(), start=first, progress="none")
        run = Run(gan(), whole.fingerprint)
        state = run.load_checkpoint()["trainer"]
        assert state["step"] == 4 and not run.complete
        assert all(tensor.isfinite().all() for tensor in state["adversary"]["net"].values())
        assert equal(weights(train(gan(), start=first, progress="none")), weights(whole))


class TestAdversary:
    @pytest.fixture
    def adversary(self, gan):
        torch.manual_seed(0)
        return Adversary(gan(learning_rate=1e-2), Accelerator(), channels=1)

    def test_learns_to_tell_and_then_judges_accordingly(self, adversary):
        """HR with a grid that no generator has drawn."""
        lr = torch.rand(2, 1, 8, 8)
        fakes = [torch.nn.functional.interpolate(lr, scale_factor=s, mode="bicubic") for s in (2, 4)]
        hr = fakes[-1] + 0.3 * (torch.arange(32) % 8 < 4)
        before = adversary.generator_loss(fakes, lr).item()
        told = [adversary.step(fakes, hr, lr, 1e-2).item() for _ in range(15)]
        assert told[-1] < 0.7 * told[0]
        assert adversary.generator_loss(fakes, lr).item() > before + 0.5

    def test_judging_moves_the_generator_only_and_its_own_step_the_discriminator_only(self, adversary):
        lr, hr = torch.rand(2, 1, 8, 8), torch.rand(2, 1, 32, 32)
        fakes = [torch.rand(2, 1, side, side, requires_grad=True) for side in (16, 32)]
        adversary.step(fakes, hr, lr, 1e-3)
        assert all(fake.grad is None for fake in fakes)
        gradients = [p.grad.clone() for p in adversary.net.parameters()]
        assert all(gradient.abs().sum() > 0 for gradient in gradients)
        adversary.generator_loss(fakes, lr).backward()
        assert all(fake.grad.abs().sum() > 0 for fake in fakes)
        assert all(torch.equal(p.grad, gradient) for p, gradient in zip(adversary.net.parameters(), gradients, strict=True))

    def test_rate_is_the_generators(self, adversary):
        before = [p.detach().clone() for p in adversary.net.parameters()]
        adversary.step([torch.rand(2, 1, 32, 32)], torch.rand(2, 1, 32, 32), torch.rand(2, 1, 8, 8), 0.0)
        assert all(torch.equal(p, old) for p, old in zip(adversary.net.parameters(), before, strict=True))


class TestFitted:
    """Models that learn their patches at once, without gradients."""

    FITTED = {"model": "aplus", "model_args": {}, "scale": 2, "hr_patch": 32, "steps": 8}

    def test_leaves_a_complete_run(self, data, tmp_path):
        chosen = experiment(data, **self.FITTED, validation=data)
        run, again = (train(chosen, root=tmp_path / name, progress="none") for name in "ab")
        assert run.complete and equal(weights(run), weights(again)) and run.provenance()["steps"] == 8
        assert run.history()["step"].tolist() == [8] and np.isfinite(run.history()["psnr"]).all()

    def test_minutes_are_refused(self, data, tmp_path):
        chosen = experiment(data, **{**self.FITTED, "steps": None}, minutes=1.0)
        with pytest.raises(SRError, match=r"tiny is fitted to steps \* batch patches at once; give it steps, not minutes"):
            train(chosen, progress="none")
        assert not (tmp_path / "runs").exists()

    def test_weights_to_start_from_are_refused(self, data, tmp_path):
        (tmp_path / "some.safetensors").write_bytes(b"some")
        start = {"": tmp_path / "some.safetensors"}
        chosen = experiment(data, **self.FITTED, start=digest(start))
        with pytest.raises(SRError, match=r"start \(=.*some.safetensors\) was given, but tiny is fitted in closed form"):
            train(chosen, start=start, progress="none")
        assert not (tmp_path / "runs").exists()
