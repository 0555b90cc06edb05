"""EDSR: residual blocks without batch normalisation, wide and deep.

B. Lim, S. Son, H. Kim, S. Nah, K. M. Lee, "Enhanced Deep Residual Networks for Single Image Super-Resolution", CVPR
Workshops (NTIRE) 2017. Layers as in the authors' code (EDSR-PyTorch).

    lr - mean -> head -> blocks, conv -> + head's output -> sub-pixel tail -> + mean

Parameters of the defaults, EDSR-baseline: x2 1,369,859, x3 1,554,499, x4 1,517,571. Full size, `blocks=32, width=256,
res_scale=0.1`: 40,729,603, 43,680,003, 43,089,923.

Departures: the mean colour is a constant, where the code has frozen 1x1 convolutions. x8 (three doublings) and scale 1 (no
up-sampler, for pairs of equal size) are not in the paper.
"""

from torch import Tensor, nn

from srlib.nn.blocks import ResidualBlock, conv, mean_colour, tail, tail_context


class EDSR(nn.Module):
    """RGB `(N, 3, H, W)` in 0..1 -> RGB `(N, 3, scale*H, scale*W)`.

    blocks, width: residual blocks and their channels. res_scale: factor of every block's residual.
    """

    channels = 3

    def __init__(self, scale: int, blocks: int = 16, width: int = 64, res_scale: float = 1.0):
        super().__init__()
        self.scale = scale
        self.context = 2 * blocks + 2 + tail_context(scale)
        self.register_buffer("mean", mean_colour(), persistent=False)
        self.head = conv(3, width)
        self.body = nn.Sequential(*(ResidualBlock(width, res_scale) for _ in range(blocks)), conv(width, width))
        self.tail = tail(scale, width)

    def forward(self, lr: Tensor) -> Tensor:
        x = self.head(lr - self.mean)  # (N, 64, H, W)
        return self.tail(x + self.body(x)) + self.mean  # (N, 3, sH, sW)
