"""Released networks as models of a hub: `SuperResolver.from_pretrained(folder)`; needs the extra `export`."""

from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

from srlib.nn import models


class SuperResolver(nn.Module, PyTorchModelHubMixin, library_name="srlib", license="mit", tags=["super-resolution"]):
    """A network by its name, as `srlib export NAME --to hub` writes it; input and output as those of the network, in 0..1.

    The tensors have the names that the network gives them. Loading is strict: a folder that does not fit raises.
    """

    def __init__(self, model: str, scale: int, model_args: dict | None = None):
        super().__init__()
        self.module = models.create(model, scale, **(model_args or {}))
        self.scale, self.channels, self.context = scale, self.module.channels, self.module.context

    def forward(self, lr: Tensor) -> Tensor:
        return self.module(lr)

    def state_dict(self, *args, **kwargs):
        return self.module.state_dict(*args, **kwargs)

    def load_state_dict(self, state_dict, strict: bool = True, assign: bool = False):
        return self.module.load_state_dict(state_dict, strict=True, assign=assign)
