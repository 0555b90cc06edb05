"""PyTorch state_dicts."""

from pathlib import Path

import torch

from srlib.official.readers import Arrays, refuse


def read(path: Path) -> Arrays:
    """Return the tensors of a PyTorch state_dict; nothing else is unpickled."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and torch raise errors of many kinds
        if getattr(error, "errno", None):  # the file system's own error
            raise
        raise refuse(path, "PyTorch state_dict", str(error).splitlines()[0] if str(error) else type(error).__name__) from error
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise refuse(path, "PyTorch state_dict", f"it holds {type(content).__name__}")
    return {name: value.numpy() for name, value in content.items()}
