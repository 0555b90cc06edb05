"""SRResNet, the generator of SRGAN, and the variant without batch normalisation that most later papers mean.

C. Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network", CVPR 2017.
Sixteen residual blocks of 64 channels with batch normalisation, 9x9 convolutions at both ends, sub-pixel up-sampling: at x4
1,549,462 parameters.

`norm=False` is MSRResNet of BasicSR: no normalisation, 3x3 at both ends, a second convolution at full size, LeakyReLU 0.1,
the residual of a bilinear image: x2 1,369,859, x3 1,554,499, x4 1,517,571. It is the SRResNet of 1.52M of D2C-SR.

Departures: x3 and x8 exist, by one shuffle of 3 and by three of 2; scale 1 has none. SRGAN's perceptual loss needs a VGG-19
that was trained on ImageNet, which is not among this project's data: the SRGAN here is the paper's variant SRGAN-MSE, whose
loss is the mean squared error plus 1e-3 times the adversarial term.
"""

from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from srlib.nn.blocks import Residual, conv, factors, init_he, upsampler

_leaky = partial(nn.LeakyReLU, 0.1, True)


class Block(Residual):
    """Convolution, activation, convolution, plus the input. norm: batch normalisation after each convolution."""

    def __init__(self, width: int, norm: bool = True):
        layers = [conv(width, width), nn.BatchNorm2d(width), nn.PReLU(), conv(width, width), nn.BatchNorm2d(width)]
        super().__init__(*(layers if norm else [layers[0], nn.ReLU(True), layers[3]]))


def plain_tail(scale: int, width: int) -> nn.Sequential:
    """Return MSRResNet's layers from features to the residual image: up-sampler and two convolutions at full size."""
    return nn.Sequential(*upsampler(scale, width, _leaky), conv(width, width), _leaky(), conv(width, 3))


class SRResNet(nn.Module):
    """RGB `(N, 3, H, W)` in 0..1 -> RGB `(N, 3, scale*H, scale*W)`.

    blocks, width: residual blocks and their channels. norm: the paper's network; False: MSRResNet, see above.
    """

    channels = 3

    def __init__(self, scale: int, blocks: int = 16, width: int = 64, norm: bool = True):
        super().__init__()
        self.scale, self.norm = scale, norm
        levels = len(factors(scale))
        if norm:
            self.entry = nn.Sequential(conv(3, width, 9), nn.PReLU())
            self.body = nn.Sequential(*(Block(width) for _ in range(blocks)), conv(width, width), nn.BatchNorm2d(width))
            self.up = nn.Sequential(*upsampler(scale, width, nn.PReLU))
            self.exit = conv(width, 3, 9)
            # 9x9 reaches 4 pixels, 3x3 one; after the shuffles they are HR pixels, so fewer in LR, rounded up.
            self.context = 4 + 2 * blocks + 1 + levels + -(-4 // scale)
        else:
            self.entry = nn.Sequential(conv(3, width), _leaky())
            self.body = nn.Sequential(*(Block(width, norm=False) for _ in range(blocks)))
            self.up, self.exit = nn.Identity(), plain_tail(scale, width)
            self.context = 1 + 2 * blocks + levels + 2
            init_he(self, factor=0.1)  # as in BasicSR

    def forward(self, lr: Tensor) -> Tensor:
        x = self.entry(lr)  # (N, 64, H, W)
        if self.norm:
            return self.exit(self.up(x + self.body(x)))  # (N, 3, sH, sW)
        return self.exit(self.up(self.body(x))) + F.interpolate(lr, scale_factor=self.scale, mode="bilinear")
