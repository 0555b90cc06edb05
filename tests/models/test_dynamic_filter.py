"""The per-pixel filter beside its definition and the unfold formulation."""

import pytest
import torch
import torch.nn.functional as F

from srlib.core.errors import SRError
from srlib.nn import dynamic_filter as module
from srlib.nn.dynamic_filter import dynamic_filter


def unfold(image, kernels):
    size = round(kernels.shape[1] ** 0.5)
    return (F.unfold(image, size, padding=size // 2).view_as(kernels) * kernels).sum(dim=1, keepdim=True)


def inputs(size, height=11, width=9, batch=2, dtype=torch.float32):
    torch.manual_seed(0)
    image = torch.rand(batch, 1, height, width, dtype=dtype)
    return image.requires_grad_(), (torch.randn(batch, size**2, height, width, dtype=dtype) / size).requires_grad_()


def results(function, image, kernels):
    out = function(image, kernels)
    weights = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)
    return [out.detach(), *torch.autograd.grad((out * weights).sum(), (image, kernels))]


def close(tensors, expected):
    assert [tensor.shape for tensor in tensors] == [tensor.shape for tensor in expected]
    assert all((a - b).abs().max() <= 1e-6 for a, b in zip(tensors, expected, strict=True))


@pytest.mark.parametrize(("size", "shape"), [*((size, (11, 9)) for size in (1, 3, 5, 19)), (9, (1, 1)), (9, (1, 6)), (9, (7, 2))])
@pytest.mark.parametrize("band", [1, 40, 2**16])
def test_agrees_with_unfold_forward_and_backward(size, shape, band, monkeypatch):
    """shape: also smaller than the kernels. band: rows one by one, a few at once that do not divide the height, all."""
    monkeypatch.setattr(module, "BAND", band)
    image, kernels = inputs(size, *shape)
    close(results(dynamic_filter, image, kernels), results(unfold, image, kernels))


@pytest.mark.parametrize("size", [1, 3, 5])
def test_gradients_are_those_of_the_function(size):
    assert torch.autograd.gradcheck(dynamic_filter, inputs(size, 4, 5, dtype=torch.float64))


def test_channel_is_row_times_size_plus_column_and_zeros_surround():
    image = torch.arange(1.0, 13).view(1, 1, 3, 4)
    kernels = torch.zeros(1, 9, 3, 4)
    kernels[:, 1 * 3 + 2] = 1  # the pixel to the right
    assert dynamic_filter(image, kernels)[0, 0].tolist() == [[2, 3, 4, 0], [6, 7, 8, 0], [10, 11, 12, 0]]
    kernels = torch.zeros(1, 9, 3, 4)
    kernels[:, 0, 2] = 1  # the pixel above and to the left, for the last row only
    assert dynamic_filter(image, kernels)[0, 0].tolist() == [[0] * 4, [0] * 4, [0, 5, 6, 7]]


def test_only_what_is_needed_is_differentiated():
    image, kernels = inputs(3)
    dynamic_filter(image.detach(), kernels).sum().backward()
    dynamic_filter(image, kernels.detach()).sum().backward()
    expected = torch.autograd.grad(unfold(image, kernels).sum(), (image, kernels))
    close([image.grad, kernels.grad], expected)
    assert not dynamic_filter(image.detach(), kernels.detach()).requires_grad


@pytest.mark.parametrize(
    "lay_out",
    [
        lambda x: x.contiguous(memory_format=torch.channels_last),
        lambda x: x.mT.contiguous().mT,
        lambda x: F.pad(x, (1, 2, 3, 1))[..., 3:-1, 1:-2],
        lambda x: x[:1, :, :1].expand(2, -1, 8, -1),
    ],
    ids=["channels_last", "transposed", "sliced", "expanded"],
)
def test_any_layout_gives_the_same(lay_out):
    image, kernels = (lay_out(x.detach()) for x in inputs(5, 8, 8))
    expected = results(unfold, *(x.clone().requires_grad_() for x in (image, kernels)))
    assert not kernels.is_contiguous()
    close(results(dynamic_filter, image.requires_grad_(), kernels.requires_grad_()), expected)


def test_a_gradient_that_is_not_contiguous():
    image, kernels = inputs(3)
    assert torch.equal(
        torch.autograd.grad(dynamic_filter(image, kernels).sum(), kernels)[0],  # an expanded scalar
        torch.autograd.grad(dynamic_filter(image, kernels), kernels, torch.ones_like(image))[0],
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_adds_up_in_float32(dtype):
    image, kernels = inputs(9)
    halves = [one.detach().to(dtype).requires_grad_() for one in (image, kernels)]
    out = dynamic_filter(*halves)
    assert out.dtype == torch.float32
    close([out], [unfold(*(one.float() for one in halves))])
    out.sum().backward()
    assert [one.grad.dtype for one in halves] == [dtype, dtype]
    mixed = dynamic_filter(image, halves[1])
    close([mixed], [unfold(image, halves[1].float())])


def test_works_under_autocast():
    image, kernels = inputs(5)
    features, layer = torch.rand(2, 4, 11, 9), torch.nn.Conv2d(4, 25, 3, padding=1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        predicted = layer(features)
        out = dynamic_filter(image, predicted)
        loss = out.square().mean()
    loss.backward()
    assert predicted.dtype == torch.bfloat16 and out.dtype == torch.float32
    assert layer.weight.grad.abs().sum() > 0 and image.grad.abs().sum() > 0
    close([out], [unfold(image, predicted.float())])


def test_can_be_compiled():
    image, kernels = inputs(3)
    compiled = torch.compile(dynamic_filter, backend="aot_eager", fullgraph=True)
    close(results(compiled, image, kernels), results(unfold, image, kernels))


def test_keeps_only_its_inputs_for_the_backward_pass():
    image, kernels = inputs(5)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda one: kept.append(one.data_ptr()) or one, lambda one: one):
        dynamic_filter(image, kernels)
    assert sorted(kept) == sorted([image.data_ptr(), kernels.data_ptr()])


def test_no_gradient_of_the_gradient():
    image, kernels = inputs(3)
    (first,) = torch.autograd.grad(dynamic_filter(image, kernels).square().sum(), image, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


ONE_SIZE = r"image \(1, 1, 4, 4\) and kernels .* differ in batch, height or width"


@pytest.mark.parametrize(
    ("image", "kernels", "message"),
    [
        *(((1, 1, 4, 4), (1, n, 4, 4), rf"kernels have {n} channels; expected K\*K for an odd K") for n in (0, 2, 4, 8, 16, 80)),
        *(((1, 1, 4, 4), shape, ONE_SIZE) for shape in ((1, 9, 5, 4), (1, 9, 4, 5), (2, 9, 4, 4))),
        *((shape, (1, 9, 4, 4), r"have shapes .*; expected \(B, 1, H, W\)") for shape in ((1, 3, 4, 4), (1, 4, 4), (4, 4))),
    ],
)
def test_shapes_that_do_not_fit_are_refused(image, kernels, message):
    with pytest.raises(SRError, match=message):
        dynamic_filter(torch.rand(image), torch.rand(kernels))
