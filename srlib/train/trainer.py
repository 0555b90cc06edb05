"""State of a training and its optimiser step: network, optimiser, averaged weights, discriminator."""

from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from srlib.core.color import luma
from srlib.core.errors import SRError
from srlib.nn import models
from srlib.train import losses
from srlib.train.experiment import Experiment
from srlib.train.weights import load_weights

PARTS = ("net", "optimizer", "average", "adversary")  # of a trainer that have a state


def to_batch(lr: Tensor, hr: Tensor, channels: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Convert uint8 RGB patches `(N, 3, H, W)` to float batches in 0..1, as luma for a model of one channel."""
    floats = (image.to(device, non_blocking=True).float() / 255 for image in (lr, hr))
    lr, hr = (luma(image) if channels == 1 else image for image in floats)
    return lr.contiguous(memory_format=torch.channels_last), hr.contiguous(memory_format=torch.channels_last)


class Adversary:
    """The discriminator of a GAN and its optimiser. It sees the images of all levels, each together with the LR image."""

    def __init__(self, experiment: Experiment, accelerator: Accelerator, channels: int):
        self.accelerator = accelerator
        self.losses = losses.adversarial(experiment.discriminator, experiment.discriminator_args)
        self.net = self.losses.build(channels, **experiment.discriminator_args)
        self.net.to(accelerator.device, memory_format=torch.channels_last).train()
        optimizer = torch.optim.Adam(self.net.parameters(), lr=experiment.learning_rate, fused=True)
        self.model, self.optimizer = accelerator.prepare(self.net, optimizer)

    def step(self, outputs: Tensor | list[Tensor], hr: Tensor, lr: Tensor, learning_rate: float) -> Tensor:
        """Take one optimiser step of the discriminator; return its loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        fakes = models.levels(outputs)
        loss = self.losses.discriminator_loss(self.model, fakes, losses.level_targets(fakes, hr), lr)
        self.optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(loss)
        self.optimizer.step()
        return loss

    def generator_loss(self, outputs: Tensor | list[Tensor], lr: Tensor) -> Tensor:
        """Return the adversarial term of the generator's loss."""
        self.net.requires_grad_(False)  # gradients flow through it, not into it
        loss = self.losses.generator_loss(self.model, models.levels(outputs), lr)
        self.net.requires_grad_(True)
        return loss

    def state_dict(self) -> dict:
        return {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])


class Trainer:
    """Network, optimiser, averaged weights and step count of one training; no loop, logging or files."""

    def __init__(self, experiment: Experiment, accelerator: Accelerator, start: dict[str, Path] | None = None):
        set_seed(experiment.seed)
        self.experiment, self.accelerator = experiment, accelerator
        self.net = models.create(experiment.model, experiment.scale, **experiment.model_args)
        if not any(p.requires_grad for p in self.net.parameters()):
            raise SRError(f"model {experiment.model!r} has no parameters to train")
        for part, file in (start or {}).items():
            load_weights(self.net.get_submodule(part), file, part)
        self.net.to(accelerator.device, memory_format=torch.channels_last).train()
        self.average = None
        if experiment.ema:
            self.average = AveragedModel(self.net, multi_avg_fn=get_ema_multi_avg_fn(experiment.ema))
        optimizer = torch.optim.Adam(self.net.parameters(), lr=experiment.learning_rate, fused=True)
        self.model, self.optimizer = accelerator.prepare(self.net, optimizer)
        self.loss = losses.get(experiment.loss, **experiment.loss_args)
        self.adversary = Adversary(experiment, accelerator, self.net.channels) if experiment.discriminator else None
        self.done = 0

    def step(self, lr: Tensor, hr: Tensor, learning_rate: float) -> Tensor:
        """Take one optimiser step on a float batch, after one of the discriminator where there is one.

        Returns the loss, and the discriminator's, still on the device. Where a `selective` network routed no patch of the batch
        through a trainable layer, the weights stay as they are. Raises SRError for any other loss without a gradient.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        outputs = self.model(lr)
        hr = losses.crop_to_output(self.net, hr, outputs)
        loss = self.loss(outputs, hr, lr)
        reported = [loss]
        if self.adversary is not None:
            discriminator_loss = self.adversary.step(outputs, hr, lr, learning_rate)
            loss = self.experiment.content * loss + self.experiment.adversarial * self.adversary.generator_loss(outputs, lr)
            reported = [loss, discriminator_loss]
        trained, several = self._check_gradient(outputs, loss), self.accelerator.num_processes > 1
        if several:  # a process without such a patch must join the all-reduce
            loss = loss + 0 * sum(p.sum() for p in self.net.parameters() if p.requires_grad)
        if trained or several:
            self.optimizer.zero_grad(set_to_none=True)
            self.accelerator.backward(loss)
            if self.experiment.clip:
                self.accelerator.clip_grad_norm_(self.net.parameters(), self.experiment.clip)
            self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.net)
        self.done += 1
        return torch.stack([value.detach() for value in reported])

    def _check_gradient(self, outputs: Tensor | list[Tensor], loss: Tensor) -> bool:
        """Return whether the loss has a gradient; raise SRError where it has none although it must."""
        if loss.requires_grad:
            return True
        reached = any(output.requires_grad for output in models.levels(outputs))
        if not reached and getattr(self.net, "selective", False):
            return False
        where = f"the loss {self.experiment.loss!r} is detached from" if reached else "no trained layer takes part in"
        raise SRError(
            f"training {self.experiment.name} would change nothing: {where} the outputs of {self.experiment.model!r}; "
            "return tensors that carry gradients, without .item(), .detach() or torch.no_grad()"
        )

    @property
    def result(self) -> nn.Module:
        """The network to evaluate and save: the averaged one where there is one."""
        return self.net if self.average is None else self.average.module

    def state(self) -> dict:
        parts = {name: getattr(self, name) for name in PARTS}
        return {"step": self.done, **{name: None if part is None else part.state_dict() for name, part in parts.items()}}

    def load(self, state: dict) -> None:
        for name in PARTS:
            if state[name] is not None:
                getattr(self, name).load_state_dict(state[name])
        self.done = state["step"]
