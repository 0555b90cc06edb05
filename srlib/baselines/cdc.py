"""CDC: stacked hourglasses; after every second one an image and a mask, for flat regions, edges and corners.

P. Wei et al., "Component Divide-and-Conquer for Real-World Image Super-Resolution", ECCV 2020. Their code has 39,920,530
parameters at x4 (39,698,962 at x2, 39,703,570 at x3).

    lr -> head -> two hourglasses -> two hourglasses -> two hourglasses
                        |                  |                  |
                   image, mask        image, mask        image, mask     -> sum of masks * images

Departures:
- An hourglass is built from the paper's description and not from the code: four levels of pooling, residual blocks at each,
  a residual block on each skip, nearest-neighbour up-sampling. Parameters: x2 39,637,196, x4 40,080,332, close to the code's but
  not equal.
- One mask of a component serves all colours; the code has one for each. Both make them by a softmax over the three components.
  The code's last stage also adds a skip from the head. Images and masks are fused in float32 also under autocast.
- The loss here compares every image with the HR image; the paper restricts each to its own region, found by a Harris detector,
  and weights the last by gradients.
- Images are padded to multiples of 16 by repeating border pixels. `context` is None: the receptive field of the hourglasses is
  larger than a tile.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srlib.core.errors import check_int
from srlib.nn.blocks import ResidualBlock, conv, single, tail
from srlib.nn.borders import crop_corner, pad_to_multiple

COMPONENTS = ("flat", "edges", "corners")


def _residuals(blocks: int, width: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)))


class Hourglass(nn.Module):
    """`levels` times down to half the size and back up, `blocks` residual blocks at each; sides divisible by 2**levels."""

    def __init__(self, levels: int, blocks: int, width: int):
        super().__init__()
        self.before, self.after, self.skip = _residuals(blocks, width), _residuals(blocks, width), ResidualBlock(width)
        self.inner = Hourglass(levels - 1, blocks, width) if levels > 1 else _residuals(blocks, width)

    def forward(self, x: Tensor) -> Tensor:
        small = self.inner(self.before(F.max_pool2d(x, 2)))  # (N, C, H/2, W/2)
        return self.skip(x) + F.interpolate(self.after(small), scale_factor=2)  # (N, C, H, W)


class Component(nn.Module):
    """Hourglasses, and the heads for an image and the logits of its mask."""

    def __init__(self, scale: int, hourglasses: int, levels: int, blocks: int, width: int):
        super().__init__()
        half = width // 2
        self.body = nn.Sequential(*(Hourglass(levels, blocks, width) for _ in range(hourglasses)))
        self.reduce = nn.Sequential(conv(width, half), nn.ReLU(True))
        *up, image = tail(scale, half)
        self.up, self.image, self.mask = nn.Sequential(*up), image, conv(half, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features = self.body(x)  # (N, C, H, W)
        large = self.up(self.reduce(features))  # (N, C/2, sH, sW)
        return features, self.image(large), self.mask(large)  # (N, 3, sH, sW), (N, 1, sH, sW)


class CDC(nn.Module):
    """RGB `(N, 3, H, W)` in 0..1 -> RGB `(N, 3, scale*H, scale*W)`; in training the images of the components, then the result.

    hourglasses: of each component. levels: of each hourglass. blocks: residual blocks at each level. width: channels, even.
    """

    channels = 3
    context = None

    def __init__(self, scale: int, hourglasses: int = 2, levels: int = 4, blocks: int = 2, width: int = 128):
        super().__init__()
        for name, value in (("hourglasses", hourglasses), ("levels", levels), ("blocks", blocks)):
            check_int(name, value, 1)
        self.scale, self.multiple = scale, 2**levels
        self.head = conv(3, width)
        self.parts = nn.ModuleList(Component(scale, hourglasses, levels, blocks, width) for _ in COMPONENTS)

    def components(self, lr: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return the images of flat regions, edges and corners, and their masks `(N, 3, scale*H, scale*W)`."""
        size = [side * self.scale for side in lr.shape[-2:]]
        x, images, masks = self.head(pad_to_multiple(lr, self.multiple)), [], []  # (N, C, H', W')
        for part in self.parts:
            x, image, mask = part(x)
            images.append(crop_corner(image, *size))
            masks.append(crop_corner(mask, *size))
        return images, single(torch.cat(masks, dim=1)).softmax(dim=1)

    def fusion_weights(self, lr: Tensor) -> Tensor:
        """Return the masks `(N, 3, scale*H, scale*W)`, which add up to 1."""
        return self.components(lr)[1]

    def forward(self, lr: Tensor) -> Tensor | list[Tensor]:
        images, masks = self.components(lr)
        result = sum(single(image) * mask[:, None] for image, mask in zip(images, masks.unbind(1), strict=True))
        return [*images, result] if self.training else result
