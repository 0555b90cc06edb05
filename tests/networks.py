"""What tests of networks share."""

import torch
from torch import nn

from srlib.scoring.evaluation import forward


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def count(model, *args, **kwargs) -> int:
    """Return the number of parameters of a network that takes no memory."""
    with torch.device("meta"):
        return parameters(model(*args, **kwargs))


def awake(net: nn.Module) -> nn.Module:
    """Keep the one inner channel of a narrow attention above its ReLU's zero."""
    for name, parameter in net.named_parameters():
        if "weigh." in name:
            nn.init.constant_(parameter, 0.1)
    return net


def shaken(net: nn.Module, std: float = 0.1) -> nn.Module:
    """Give every weight a size that shows: fresh networks start with last layers or biases near zero."""
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=std)
    return awake(net).eval()


def zeroed(net: nn.Module) -> nn.Module:
    for parameter in net.parameters():
        nn.init.zeros_(parameter)
    return net


def without_gradient(net: nn.Module) -> list[str]:
    """Return the names of the trainable parameters that got no gradient."""
    trained = [(name, p.grad) for name, p in net.named_parameters() if p.requires_grad]
    return [name for name, gradient in trained if gradient is None or not gradient.abs().sum() > 0]


def tiles_are_exact(net: nn.Module, lr: torch.Tensor) -> bool:
    whole = forward(net, lr, tile=0)
    return bool((forward(net, lr, tile=16) - whole).abs().max() <= 1e-5 * max(1.0, whole.abs().max().item()))
