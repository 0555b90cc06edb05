"""SRResNet, the generator of SRGAN.

C. Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network", CVPR 2017.
Sixteen residual blocks of 64 channels with batch normalisation, 9x9 convolutions at both ends, sub-pixel up-sampling: at x4
1,549,462 parameters.

Departures: x3 and x8 exist, by one shuffle of 3 and by three of 2. SRGAN's perceptual loss needs a VGG-19 that was trained on
ImageNet, which is not among this project's data: the SRGAN here is the paper's variant SRGAN-MSE, whose loss is the mean
squared error plus 1e-3 times the adversarial term.
"""

from torch import Tensor, nn


class Block(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.PReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def _shuffle(width: int, factor: int) -> list[nn.Module]:
    return [nn.Conv2d(width, width * factor**2, 3, padding=1), nn.PixelShuffle(factor), nn.PReLU()]


class SRResNet(nn.Module):
    """RGB `(N, 3, H, W)` in 0..1 -> RGB `(N, 3, scale*H, scale*W)`. blocks, width: residual blocks and their channels."""

    channels = 3

    def __init__(self, scale: int, blocks: int = 16, width: int = 64):
        super().__init__()
        factors = [3] if scale == 3 else [2] * (scale.bit_length() - 1)
        self.scale = scale
        self.entry = nn.Sequential(nn.Conv2d(3, width, 9, padding=4), nn.PReLU())
        body = [Block(width) for _ in range(blocks)]
        self.body = nn.Sequential(*body, nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width))
        self.up = nn.Sequential(*(layer for factor in factors for layer in _shuffle(width, factor)))
        self.exit = nn.Conv2d(width, 3, 9, padding=4)
        # Nine-pixel ends reach 4, each 3x3 one; those after a shuffle count for less, rounded up.
        self.context = 4 + 2 * blocks + 1 + sum(-(-1 // 2**level) for level in range(len(factors))) + -(-4 // scale)

    def forward(self, lr: Tensor) -> Tensor:
        x = self.entry(lr)
        return self.exit(self.up(x + self.body(x)))
