"""Networks with several levels and adversarial training, on tiny images."""

from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file

from srlib.core.errors import SRError
from srlib.nn import models
from srlib.papers.prosrn import gan as gan_module
from srlib.train import loop, losses
from srlib.train.experiment import Experiment
from srlib.train.overfit import overfit
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


def experiment(data, **changes) -> Experiment:
    return Experiment(**{"name": "tiny", "paper": "test", "data": data, "batch": 2, "steps": STEPS, **PROSRN, **changes})


@pytest.fixture
def first(data, tmp_path):
    """The weights that a GAN starts from: those of its whole network."""
    return {"": train(experiment(data, steps=1), root=tmp_path / "first", progress="none").weights}


@pytest.fixture
def gan(data, first):
    def make(**changes) -> Experiment:
        adversarial = {"discriminator": "patch", "discriminator_args": {"width": 4}, "adversarial": 0.1, "start": digest(first)}
        return experiment(data, **{"name": "gan", **adversarial, **changes})

    return make


def weights(run: Run) -> bytes:
    return run.weights.read_bytes()


class TestLevels:
    @pytest.mark.parametrize("name", NETWORKS)
    def test_training_lowers_the_loss_of_all_levels(self, data, name):
        chosen = experiment(data, **NETWORKS[name], steps=40, loss="charbonnier", learning_rate=3e-3, validation=data)
        history = train(chosen, progress="none").history()
        assert history["loss"].iloc[-1] < 0.9 * history["loss"].iloc[0]
        assert history["psnr"].iloc[-1] > history["psnr"].iloc[0]

    @pytest.mark.parametrize("name", NETWORKS)
    def test_killed_and_continued_equals_uninterrupted(self, data, tmp_path, interrupted, name):
        chosen = experiment(data, **NETWORKS[name])
        whole = train(chosen, root=tmp_path / "whole", progress="none")
        interrupted(4, chosen)
        resumed = train(chosen, progress="none")
        assert weights(resumed) == weights(whole) and resumed.history()["loss"].equals(whole.history()["loss"])

    def test_loss_counts_every_level(self, data, monkeypatch):
        """A network whose first level is right and whose last one is not, and the other way round: both are told."""
        trainer = Trainer(experiment(data), Accelerator())
        lr, hr = torch.rand(1, 1, 8, 8), torch.rand(1, 1, 32, 32)
        right = losses.level_targets([torch.zeros(1, 1, 16, 16), torch.zeros(1, 1, 32, 32)], hr)
        for wrong in (0, 1):
            images = [image + 0.5 * (i == wrong) for i, image in enumerate(right)]
            trainer.model = lambda lr, images=images: [image.requires_grad_() for image in images]
            assert trainer.step(lr, hr, 1e-3).item() == pytest.approx(0.25)


def test_a_clipped_gradient_has_the_norm_of_clip(data):
    lr, hr = torch.rand(2, 1, 8, 8), torch.rand(2, 1, 32, 32)
    norms = []
    for clip in (0, 1e-3):
        trainer = Trainer(experiment(data, clip=clip), Accelerator())
        trainer.step(lr, hr, 1e-3)
        norms.append(torch.nn.utils.get_total_norm([p.grad for p in trainer.net.parameters()]).item())
    assert norms[0] > 1e-2 and norms[1] == pytest.approx(1e-3, rel=1e-3)


class TestStart:
    def test_training_starts_from_the_weights(self, gan, first, monkeypatch):
        states, take = [], Trainer.step

        def watch(self, *args):
            states.append({name: tensor.clone() for name, tensor in self.net.state_dict().items()})
            return take(self, *args)

        monkeypatch.setattr(Trainer, "step", watch)
        train(gan(steps=2), start=first, progress="none")
        expected = load_file(first[""])
        assert states[0].keys() == expected.keys() and all(torch.equal(states[0][key], expected[key]) for key in expected)
        assert not all(torch.equal(states[1][key], expected[key]) for key in expected)

    def test_also_without_a_discriminator(self, data, first):
        tuned = train(experiment(data, start=digest(first), learning_rate=1e-12, steps=1), start=first, progress="none")
        tensors = load_file(tuned.weights)
        assert all(torch.allclose(tensor, tensors[name], atol=1e-9) for name, tensor in load_file(first[""]).items())

    @pytest.mark.parametrize("file", [None, "none.safetensors", "."])
    def test_missing_file_is_refused(self, gan, tmp_path, file):
        with pytest.raises(SRError, match=r"gan starts from trained weights, and start \(=.*\) is no file; train those"):
            train(gan(), start=file and {"": tmp_path / file}, progress="none")
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
        with pytest.raises(SRError, match=r"start \(=.*\) was given, but tiny starts from fresh weights"):
            train(experiment(data), start=first, progress="none")
        assert not (tmp_path / "runs").exists()


IMAGE = {"discriminator": "image", "discriminator_args": {"width": 1}}


class TestGAN:
    def test_history_has_the_loss_of_the_discriminator(self, gan, first, data):
        run = train(gan(validation=data), start=first, progress="none")
        history = run.history()
        assert list(history.columns) == ["step", "loss", "discriminator", "learning_rate", "seconds", "psnr", "ssim"]
        assert history["step"].tolist() == [1, 2, 3, 4, 5, 6] and np.isfinite(history.to_numpy()).all()
        assert load_file(run.weights).keys() == models.create("prosrn", 4, **PROSRN["model_args"]).state_dict().keys()

    @pytest.mark.parametrize(("step", "changes"), [(1, {}), (4, {}), (6, {}), (4, {"ema": 0.9}), (4, IMAGE)], ids=str)
    def test_killed_and_continued_equals_uninterrupted(self, gan, first, tmp_path, interrupted, step, changes):
        chosen = gan(**changes)
        whole = train(chosen, start=first, root=tmp_path / "whole", progress="none")
        interrupted(step, chosen, start=first)
        resumed = train(chosen, start=first, progress="none")
        assert weights(resumed) == weights(whole)
        assert resumed.history()[["loss", "discriminator"]].equals(whole.history()[["loss", "discriminator"]])

    def test_options_matter(self, gan, first, data):
        changes = ({}, {"adversarial": 0.2}, {"content": 0.5}, IMAGE, {"discriminator_args": {"width": 8}})
        chosen = [*(gan(steps=2, **fields) for fields in changes), experiment(data, steps=2, start=digest(first))]
        assert len({weights(train(fields, start=first, progress="none")) for fields in chosen}) == len(chosen)

    def test_vanishing_adversary_is_plain_training(self, gan, first, data):
        plain, weak = experiment(data, start=digest(first)), gan(adversarial=1e-12)
        a, b = (load_file(train(chosen, start=first, progress="none").weights) for chosen in (plain, weak))
        assert all(torch.allclose(a[name], b[name], atol=1e-6) for name in a)

    def test_trains_in_half_precision(self, gan, first):
        tensors = load_file(train(gan(precision="bf16", steps=2), start=first, progress="none").weights)
        assert all(tensor.dtype == torch.float32 and tensor.isfinite().all() for tensor in tensors.values())

    def test_patches_too_small_for_the_discriminator_are_refused(self, gan, first):
        with pytest.raises(SRError, match="needs images of at least 16x16 pixels at every level, got 8x8"):
            train(gan(hr_patch=16), start=first, progress="none")

    def test_several_processes_are_refused(self, gan, first, monkeypatch):
        monkeypatch.setattr(loop, "Accelerator", lambda **_: SimpleNamespace(num_processes=2))
        with pytest.raises(SRError, match="gan trains against a discriminator, which works in one process, got 2"):
            train(gan(), start=first, progress="none")


class TestDivergence:
    def test_of_both_networks_names_the_step(self, gan, first):
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
        assert weights(train(gan(), start=first, progress="none")) == weights(whole)


class TestAdversary:
    @pytest.fixture
    def adversary(self, gan):
        torch.manual_seed(0)
        return Adversary(gan(learning_rate=1e-2), Accelerator(), channels=1)

    def test_learns_to_discriminate_and_raises_the_generators_loss(self, adversary):
        """HR with a grid that no generator has drawn."""
        lr = torch.rand(2, 1, 8, 8)
        fakes = [torch.nn.functional.interpolate(lr, scale_factor=s, mode="bicubic") for s in (2, 4)]
        hr = fakes[-1] + 0.3 * (torch.arange(32) % 8 < 4)
        before = adversary.generator_loss(fakes, lr).item()
        values = [adversary.step(fakes, hr, lr, 1e-2).item() for _ in range(15)]
        assert values[-1] < 0.7 * values[0]
        assert adversary.generator_loss(fakes, lr).item() > before + 0.5

    def test_generator_loss_moves_the_generator_only_and_a_step_the_discriminator_only(self, adversary):
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
    """Models that are fitted in closed form, without gradients."""

    FITTED = {"model": "aplus", "model_args": {"atoms": 64, "neighbours": 128}, "scale": 2, "hr_patch": 32, "steps": 4}

    def test_leaves_a_complete_run(self, data, tmp_path):
        chosen = experiment(data, **self.FITTED, validation=data)
        run, again = (train(chosen, root=tmp_path / name, progress="none") for name in "ab")
        assert run.complete and weights(run) == weights(again) and run.provenance()["steps"] == 4
        assert run.history()["step"].tolist() == [4] and np.isfinite(run.history()["psnr"]).all()

    def test_minutes_and_weights_to_start_from_are_refused(self, data, tmp_path):
        (tmp_path / "some.safetensors").write_bytes(b"some")
        start = {"": tmp_path / "some.safetensors"}
        with pytest.raises(SRError, match=r"tiny is fitted to steps \* batch patches at once; give it steps, not minutes"):
            train(experiment(data, **{**self.FITTED, "steps": None}, minutes=1.0), progress="none")
        with pytest.raises(SRError, match=r"start \(=.*some.safetensors\) was given, but tiny is fitted in closed form"):
            train(experiment(data, **self.FITTED, start=digest(start)), start=start, progress="none")
        assert not (tmp_path / "runs").exists()


def test_a_batch_is_learned(monkeypatch):
    """On a clock that every look at it moves on by a second: two looks a step."""
    clock = count()
    monkeypatch.setattr("srlib.train.overfit.time", SimpleNamespace(monotonic=lambda: next(clock)))
    generator = torch.Generator().manual_seed(0)
    hr = torch.rand(2, 1, 16, 16, generator=generator)
    lr = torch.nn.functional.avg_pool2d(hr, 2)
    net = models.create("espcn", 2)
    history = overfit(net, lr, hr, "mse", seconds=200)
    assert history["loss"].iloc[-1] < 0.7 * history["loss"].iloc[0]
    assert history["step"].tolist() == list(range(1, 101)) and history["seconds"].tolist() == list(range(1, 200, 2))
    assert not net.training


def test_an_unknown_loss_is_refused():
    net = models.create("espcn", 2)
    with pytest.raises(SRError, match="unknown loss 'l3'"):
        overfit(net, torch.rand(1, 1, 8, 8), torch.rand(1, 1, 16, 16), "l3")
