"""Dynamic filtering: every pixel of an image is filtered by its own kernel.

X. Jia, B. De Brabandere, T. Tuytelaars, L. Van Gool, "Dynamic Filter Networks", NIPS 2016; here as the layer PixelConv in the
code of KPN and DDet (csjcai/RealSR, ykshi/DDet): zero padding, correlation (kernels are not flipped), kernels neither
normalised nor shared.

    out(y, x) = sum over i, j of kernels(i*K + j, y, x) * image(y + i - r, x + j - r),    r = (K - 1) / 2

A direct implementation unfolds the image to K*K shifted copies and multiplies them by the kernels: two tensors as large as
the kernels, and two more in the backward pass. Here the K*K offsets are views of one padded image; products are accumulated
in place, in bands of rows that stay in the CPU's cache for all offsets.
"""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import handle_torch_function, has_torch_function

from srlib.core.errors import SRError

BAND = 2**16  # pixels of a band: with its part of the image, half a megabyte in float32


def side(channels: int) -> int:
    """Return K for K*K channels; raises SRError where that is not the square of an odd number."""
    size = math.isqrt(channels)
    if channels < 1 or size**2 != channels or size % 2 == 0:
        raise SRError(f"kernels have {channels} channels; expected K*K for an odd K: 1, 9, 25, 49, 81, ...")
    return size


def _bands(image: Tensor) -> Iterator[tuple[int, int]]:
    """Yield the first row of each band and the one after its last; on a GPU, which gains nothing, a single band."""
    batch, _, height, width = image.shape
    rows = max(BAND // (batch * width), 1) if image.device.type == "cpu" else height
    for top in range(0, height, rows):
        yield top, min(top + rows, height)


def _offsets(padded: Tensor, size: int, top: int, bottom: int, width: int) -> list[Tensor]:
    """Return the pixels under each kernel element for the rows top to bottom: K*K views `(B, rows, W)` of `(B, H+2r, W+2r)`."""
    return [padded[:, top + i : bottom + i, j : j + width] for i in range(size) for j in range(size)]


def _band(kernels: Tensor, top: int, bottom: int, dtype: torch.dtype) -> Iterator[Tensor]:
    """Yield the K*K kernel planes `(B, rows, W)` of a band; kernels in channels-last memory are made contiguous first."""
    rows = kernels[:, :, top:bottom]
    rows = rows if rows.stride(-1) == 1 else rows.contiguous()
    for plane in rows.unbind(1):
        yield plane.to(dtype)


def _pad(image: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    return F.pad(image[:, 0].to(dtype), (size // 2,) * 4)


class _DynamicFilter(torch.autograd.Function):
    @staticmethod
    def forward(ctx, image: Tensor, kernels: Tensor) -> Tensor:
        ctx.save_for_backward(image, kernels)
        size, width = side(kernels.shape[1]), image.shape[-1]
        dtype = torch.promote_types(torch.promote_types(image.dtype, kernels.dtype), torch.float32)
        padded = _pad(image, size, dtype)
        out = torch.zeros(image.shape, dtype=dtype, device=image.device)
        for top, bottom in _bands(image):
            rows, offsets = out[:, 0, top:bottom], _offsets(padded, size, top, bottom, width)
            for pixels, plane in zip(offsets, _band(kernels, top, bottom, dtype), strict=True):
                rows.addcmul_(pixels, plane)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        image, kernels = ctx.saved_tensors
        return (
            _image_gradient(grad, image, kernels) if ctx.needs_input_grad[0] else None,
            _kernel_gradient(grad, image, kernels) if ctx.needs_input_grad[1] else None,
        )


def _image_gradient(grad: Tensor, image: Tensor, kernels: Tensor) -> Tensor:
    """Scatter the gradient of each output pixel to the pixels under its kernel, weighted by it."""
    size, (height, width) = side(kernels.shape[1]), image.shape[-2:]
    padded = _pad(torch.zeros_like(image), size, grad.dtype)
    for top, bottom in _bands(image):
        rows, offsets = grad[:, 0, top:bottom], _offsets(padded, size, top, bottom, width)
        for pixels, plane in zip(offsets, _band(kernels, top, bottom, grad.dtype), strict=True):
            pixels.addcmul_(rows, plane)
    r = size // 2
    return padded[:, None, r : r + height, r : r + width].to(image.dtype)


def _kernel_gradient(grad: Tensor, image: Tensor, kernels: Tensor) -> Tensor:
    """Multiply the pixel under each kernel element by the gradient of the output pixel."""
    size = side(kernels.shape[1])
    windows = _pad(image, size, grad.dtype).unfold(1, size, 1).unfold(2, size, 1).permute(0, 3, 4, 1, 2)  # a view
    gradient = torch.empty(kernels.shape, dtype=kernels.dtype, device=kernels.device)
    planes = gradient.unflatten(1, (size, size))
    for top, bottom in _bands(image):
        pixels, rows, out = windows[..., top:bottom, :], grad[:, :, None, top:bottom], planes[..., top:bottom, :]
        if torch.compiler.is_compiling():  # torch.compile refuses views as `out`
            out.copy_(pixels * rows)
        else:
            torch.mul(pixels, rows, out=out)
    return gradient


def dynamic_filter(image: Tensor, kernels: Tensor) -> Tensor:
    """Filter each pixel of `image (B, 1, H, W)` with its own kernel of `kernels (B, K*K, H, W)`; returns `(B, 1, H, W)`.

    Channel i*K + j weights the pixel i - r rows below and j - r columns to the right. Accumulates at least in float32, also under
    autocast; gradients have the dtypes of their tensors, and cannot be differentiated again.
    Raises SRError for a number of channels that is not the square of an odd number, and for shapes that do not match.
    """
    if has_torch_function((image, kernels)):  # tracers see one operation
        return handle_torch_function(dynamic_filter, (image, kernels), image, kernels)
    if image.ndim != 4 or kernels.ndim != 4 or image.shape[1] != 1:
        got = f"{tuple(image.shape)} and {tuple(kernels.shape)}"
        raise SRError(f"image and kernels have shapes {got}; expected (B, 1, H, W) and (B, K*K, H, W)")
    side(kernels.shape[1])
    if image.shape[0] != kernels.shape[0] or image.shape[2:] != kernels.shape[2:]:
        got = f"image {tuple(image.shape)} and kernels {tuple(kernels.shape)}"
        raise SRError(f"{got} differ in batch, height or width; expected one kernel per pixel of the image")
    if torch.onnx.is_in_onnx_export():  # the K*K offsets as one-hot convolutions, whose graph holds for every size
        count = int(kernels.shape[1])
        one_hot = torch.eye(count).view(count, 1, side(count), side(count))
        return (F.conv2d(image, one_hot, padding=side(count) // 2) * kernels).sum(1, keepdim=True)
    return _DynamicFilter.apply(image, kernels)
