import pytest
import torch
import torch.nn.functional as F
from torch import nn

from srlib import models
from srlib.anatomy import inside, whole
from srlib.errors import SRError
from srlib.models.btsrn import BLOCKS, Upsample


@pytest.fixture(autouse=True)
def one_thread():
    """Small tensors do not gain from threads, and lose to them on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def short(anatomy):
    return [(box.group, f"{box.count} {box.title}", box.shape, box.skip) for box in anatomy.boxes]


def test_btsrn_is_found_stage_by_stage():
    model = models.create("btsrn", 2)
    found = whole(model, 24)
    assert short(found) == [
        ("entry", "1 conv 1×1", (128, 24, 24), None),
        ("low", "6 PConv", (128, 24, 24), "identity"),
        ("up", "1 Upsample", (128, 48, 48), "nearest ×2"),
        ("high", "4 PConv", (128, 48, 48), "identity"),
        ("exit", "1 conv 1×1", (3, 48, 48), None),
    ]
    assert found.skip == "bicubic ×2" and (found.input, found.output) == ((3, 24, 24), (3, 48, 48))
    assert [box.kind for box in found.boxes] == ["low", "low", "up", "high", "high"]
    assert found.boxes[1].text == ["6 × PConv", "1×1, 3×3", "128→64→128", "+ identity", "6 × 82,112 params"]
    assert found.boxes[4].text == ["LeakyReLU 0.2", "conv 1×1", "128→3", "387 params"]
    assert found.parameters == 887_683 == sum(box.count * box.parameters for box in found.boxes)


def test_what_is_found_follows_the_module():
    other = whole(models.create("btsrn", 4, low=2, high=0, block="pixelcnnpp", width=16, bottleneck=4), 12)
    assert [(group, title) for group, title, *_ in short(other)] == [
        ("entry", "1 conv 1×1"),
        ("low", "2 PixelCNNPP"),
        ("up", "1 Upsample"),
        ("up", "1 PixelCNNPP"),  # the block between the two x2 steps that the paper does not mention
        ("up", "1 Upsample"),
        ("exit", "1 conv 1×1"),
    ]
    assert other.boxes[1].lines == ("1×1, 3×3", "16→4→32") and other.boxes[4].shape == (16, 48, 48)


def test_unpadded_blocks_are_still_counted_and_at_low_resolution():
    found = whole(models.create("btsrn", 2, padding="valid", width=8, bottleneck=4), 48)
    assert [(f"{box.count} {box.title}", box.kind, box.skip) for box in found.boxes[1:4]] == [
        ("6 PConv", "low", "identity, cropped"),
        ("1 Upsample", "up", "nearest ×2"),
        ("4 PConv", "high", "identity, cropped"),
    ]


@pytest.mark.parametrize("name", [name for name in models.list() if name != "bicubic"])
def test_every_model_can_be_described(name):
    for scale in models.scales(name):
        model = models.create(name, scale).train()
        state = {key: value.clone() for key, value in model.state_dict().items()}
        found = whole(model, 16)
        assert sum(box.count * box.parameters for box in found.boxes) == sum(p.numel() for p in model.parameters())
        assert found.boxes[-1].shape == found.output == (model.channels, 16 * scale, 16 * scale)
        # Looking changes nothing.
        assert model.training and not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
        assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def test_networks_on_the_enlarged_image_say_so():
    vdsr = whole(models.create("vdsr", 3), 16)
    assert vdsr.boxes[0].title == vdsr.skip == "bicubic ×3" and vdsr.boxes[0].shape == (1, 48, 48)
    assert vdsr.boxes[2].text == ["18 × conv 3×3", "64→64", "ReLU", "18 × 36,928 params"]
    assert {box.kind for box in vdsr.boxes[1:]} == {"high"}
    srcnn = whole(models.create("srcnn", 2), 16)
    assert srcnn.skip is None and [box.lines[-1] for box in srcnn.boxes[1:3]] == ["ReLU", "ReLU"]


GATED = ["LeakyReLU 0.2", "conv 1×1 128→32", "LeakyReLU 0.2", "conv 3×3 32→256"]


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ("pconv", ["LeakyReLU 0.2", "conv 1×1 128→32", "LeakyReLU 0.2", "conv 3×3 32→128"]),
        ("pixelcnn", ["ReLU", "conv 1×1 128→32", "ReLU", "conv 3×3 32→32", "ReLU", "conv 1×1 32→128"]),
        ("pixelcnn_gated", [*GATED, "Gate Tanh, Sigmoid 256→128"]),
        ("pixelcnnpp", [*GATED, "Gate Sigmoid 256→128"]),
    ],
)
def test_inside_a_block_each_layer_is_a_box(block, expected):
    found = inside(BLOCKS[block](128, 32, padding=1), 8)
    assert [" ".join((box.title, *box.lines)) for box in found.boxes] == expected
    assert found.skip == "identity" and found.input == found.output == (128, 8, 8)


def test_activations_that_are_called_as_functions_are_found():
    found = inside(Upsample(8, 3), 6)
    assert [box.title for box in found.boxes] == ["LeakyReLU 0.2", "conv 3×3 transposed"]
    assert found.skip == "nearest ×3" and found.output == (8, 18, 18) and "stride 3" in found.boxes[1].lines


class Odd(nn.Module):
    """Adds something that is none of the known skips."""

    def __init__(self, add):
        super().__init__()
        self.convolution, self.add = nn.Conv2d(2, 2, 3, padding=1), add

    def forward(self, x):
        return F.relu(self.convolution(x)) + self.add(x)


@pytest.mark.parametrize(
    ("add", "expected"),
    [(lambda x: x, "identity"), (lambda x: 0 * x, None), (lambda x: 2 * x, "skip"), (lambda x: x.flip(-1), "skip")],
)
def test_a_skip_is_what_it_does(add, expected):
    found = inside(Odd(add), 8)
    assert found.skip == expected and [box.title for box in found.boxes] == ["conv 3×3", "ReLU"]


def test_hooks_go_also_when_the_module_fails():
    broken = Odd(lambda x: x[:, :, :3])
    with pytest.raises(RuntimeError):
        inside(broken, 8)
    assert not broken.convolution._forward_hooks and broken.training


def test_nothing_to_draw_is_said():
    with pytest.raises(SRError, match="Bicubic has no layers to draw"):
        whole(models.create("bicubic", 2))
    with pytest.raises(SRError, match="block ReLU has no convolution to draw"):
        inside(nn.ReLU())
