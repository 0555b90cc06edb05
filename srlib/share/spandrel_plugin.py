"""Our networks in spandrel's registry, where spandrel is installed: after `install()` its `ModelLoader` reads the files that
`srlib export NAME --to spandrel` writes."""

import json

import spandrel
from torch import Tensor, nn

from srlib.share.export import DESCRIPTION, PLANES, build


class SRLibArch(spandrel.Architecture[nn.Module]):
    """All networks of srlib: shapes of tensors do not tell them apart, nor their scales, so their files name them."""

    def __init__(self):
        super().__init__(id="srlib", name="srlib", detect=lambda state: DESCRIPTION in state)

    def load(self, state_dict: dict[str, Tensor]) -> spandrel.ImageModelDescriptor[nn.Module]:
        described = json.loads(bytes(state_dict[DESCRIPTION].tolist()))
        network = build(described, state_dict)
        channels, tiled = network.channels or 3, network.context is not None
        return spandrel.ImageModelDescriptor(
            network,
            network.state_dict(),
            architecture=self,
            purpose="SR" if network.scale > 1 else "Restoration",
            tags=[described["arch"], PLANES[network.channels]],
            supports_half=False,
            supports_bfloat16=False,
            scale=network.scale,
            input_channels=channels,
            output_channels=channels,
            tiling=spandrel.ModelTiling.SUPPORTED if tiled else spandrel.ModelTiling.DISCOURAGED,
        )


def install(registry: spandrel.ArchRegistry = spandrel.MAIN_REGISTRY) -> None:
    """Add our networks to a registry, before all others; a second call has no effect."""
    first = tuple(support.architecture.id for support in registry)
    registry.add(spandrel.ArchSupport.from_architecture(SRLibArch(), before=first), ignore_duplicates=True)
