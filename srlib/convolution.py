"""Faster convolutions on a CPU: transposed ones as convolutions, and kernels of one pixel by oneDNN on one thread too. With AVX2,
fewer multiplications: Winograd's algorithm for kernels of 3x3, Fourier's for larger ones.

A. Lavin, S. Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016; NNPACK, which PyTorch contains, does the work.
PyTorch itself chooses it for batches of 16 and more only, and not where oneDNN is at hand.
"""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

CHANNELS = 32  # a 3x3 kernel with fewer, in or out, takes longer to transform than to apply
LARGEST = 16  # NNPACK's tile in Fourier's domain; a kernel must fit


def available() -> bool:
    """Whether this processor gains from transformed kernels: it has AVX2. With AVX-512, oneDNN applies kernels about twice as
    fast as with AVX2."""
    return torch.backends.nnpack.is_available() and torch.backends.cpu.get_cpu_capability() == "AVX2"


def _gains(weight: Tensor) -> bool:
    """Whether a kernel `(out, in, k, k)` takes less time transformed, by single layers on one core. On whole images some networks
    lose by it where all cores are busy, as transforms go through memory (`benchmarks/evaluation.py --transformed`)."""
    outputs, inputs, height, width = weight.shape
    return height == width and ((height == 3 and min(inputs, outputs) >= CHANNELS) or 5 <= height <= LARGEST)


def _pair(value: int | tuple[int, ...]) -> tuple[int, ...]:
    return (value, value) if isinstance(value, int) else tuple(value)


def _conv2d(order, input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1) -> Tensor:
    """Do what `torch.conv2d` does, in the way that takes the least time. order: what is in memory between the layers is in it;
    transformed kernels want rows of pixels, `torch.contiguous_format`."""
    if input.dim() != 4:
        return F.conv2d(input, weight, bias, stride, padding, dilation, groups)
    plain = groups == 1 and _pair(stride) == _pair(dilation) == (1, 1) and not isinstance(padding, str)
    plain = plain and max(_pair(padding)) < weight.shape[-1]
    if plain and order is torch.contiguous_format and _gains(weight):
        return torch._nnpack_spatial_convolution(input, weight, bias, padding=_pair(padding))
    weight = weight.clone(memory_format=order)
    if plain and weight.shape[-2:] == (1, 1):  # on one thread PyTorch multiplies matrices instead, at two thirds of the speed
        return torch.mkldnn_convolution(input, weight, bias, (0, 0), (1, 1), (1, 1), 1)
    # One channel is in both orders at once, and oneDNN may go on in the other one; a sum of two orders takes ten times as long.
    return F.conv2d(input, weight, bias, stride, padding, dilation, groups).contiguous(memory_format=order)


def _conv_transpose2d(order, input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1) -> Tensor:
    """Do what `torch.conv_transpose2d` does, in the way that takes the least time. order: as in `_conv2d`."""
    if input.dim() != 4:
        return F.conv_transpose2d(input, weight, bias, stride, padding, output_padding, groups, dilation)
    sizes = [*map(set, map(_pair, (stride, padding, output_padding, weight.shape[2:])))]
    plain = groups == 1 and _pair(dilation) == (1, 1) and all(len(size) == 1 for size in sizes)
    if plain:
        (step,), (crop,), (more,), (side,) = sizes
        rows = order is torch.contiguous_format  # copies of channels cost less in it
        few = weight.shape[1] < CHANNELS and (rows or weight.shape[0] >= CHANNELS)
        if more <= crop and (few or (rows and side == step)):
            return _shuffled(order, input, weight, bias, step, crop, more)
    # With overlapping kernels oneDNN's output is in channels-last order and copied into that of its input: let it be the same.
    if weight.shape[-1] > max(_pair(stride)):
        order = torch.channels_last
    input, weight = input.contiguous(memory_format=order), weight.clone(memory_format=order)
    return F.conv_transpose2d(input, weight, bias, stride, padding, output_padding, groups, dilation)


def _shuffled(order, input, weight, bias, step: int, crop: int, more: int) -> Tensor:
    """Transposed convolution: every step-th pixel comes from the same part of the kernel, so that a convolution can make those of
    each part as a channel; then they are shuffled together. For kernels without overlap, and for few outputs."""
    inputs, outputs, side, _ = weight.shape
    taps = -(-side // step)  # of a part, across; the last of some are zeros
    parts = F.pad(weight.contiguous(), (0, taps * step - side) * 2).view(inputs, outputs, taps, step, taps, step)
    parts = parts.flip(2, 4).permute(1, 3, 5, 0, 2, 4).reshape(-1, inputs, taps, taps)
    biases = None if bias is None else bias.repeat_interleave(step * step)
    whole = F.pixel_shuffle(_conv2d(order, input, parts, biases, padding=taps - 1), step)
    height, width = ((length - 1) * step - 2 * crop + side + more for length in input.shape[2:])
    return whole[..., crop : crop + height, crop : crop + width].contiguous(memory_format=order)


# Kernels are cloned, as those of one pixel or channel would keep the strides of channels-last order, which oneDNN goes by.
FASTER = {F.conv2d: _conv2d, F.conv_transpose2d: _conv_transpose2d}  # the same functions as `torch.conv2d` and its like


class _Faster(TorchFunctionMode):
    def __init__(self, order: torch.memory_format):
        super().__init__()
        self.order = order

    def __torch_function__(self, func, types, args=(), kwargs=None):
        suited = not torch.is_grad_enabled() and all(
            isinstance(x, Tensor) and x.device.type == "cpu" and x.dtype == torch.float32 for x in args[:2]
        )
        if suited and func in FASTER:
            return FASTER[func](self.order, *args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def suits(model: nn.Module) -> bool:
    """Whether most weights of a model's convolutions are in kernels that take less time transformed, on this processor."""
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    gaining = sum(layer.weight.numel() for layer in layers if max(layer.stride) == layer.groups == 1 and _gains(layer.weight))
    return available() and 2 * gaining > sum(layer.weight.numel() for layer in layers)


@contextlib.contextmanager
def fastest(model: nn.Module) -> Iterator[torch.memory_format]:
    """Have a model's convolutions done in the faster way, and yield the order in memory that its input should have.

    Outputs differ by rounding: up to some 1e-5 of the range. Only without gradients, in 32 bits and on a CPU.
    """
    order = torch.contiguous_format if suits(model) else torch.channels_last
    with _Faster(order) if torch.backends.mkldnn.is_available() else contextlib.nullcontext():
        yield order
