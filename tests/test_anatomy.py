from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from srlib.core.errors import SRError
from srlib.draw.anatomy import inside, whole
from srlib.nn import models
from srlib.papers.btsrn.model import BLOCKS, Upsample
from srlib.papers.prosrn.model import STRUCTURES
from srlib.train import losses

pytestmark = pytest.mark.usefixtures("one_thread")


def layers(anatomy):
    """Return the boxes that are neither inputs, outputs nor sums."""
    return [box for box in anatomy.boxes if box.kind not in ("image", "sum")]


def short(anatomy):
    return [(box.group, f"{box.count} {box.title}", box.shape) for box in layers(anatomy)]


def name(box):
    return box.group or box.title


def sums(anatomy):
    """Return what each sum adds: (name of a box, what happens on the way)."""
    return [{(name(edge.source), edge.label) for edge in box.inputs} for box in anatomy.boxes if box.kind == "sum"]


def ways(anatomy):
    return {box.group: [name(edge.source) for edge in box.inputs] for box in layers(anatomy)}


def test_btsrn_is_found_stage_by_stage():
    model = models.create("btsrn", 2)
    anatomy = whole(model, 24)
    assert short(anatomy) == [
        ("entry", "1 conv 1×1", (128, 24, 24)),
        ("low", "6 PConv", (128, 24, 24)),
        ("up", "1 Upsample", (128, 48, 48)),
        ("high", "4 PConv", (128, 48, 48)),
        ("exit", "1 conv 1×1", (3, 48, 48)),
    ]
    assert sums(anatomy) == [{("LR", "bicubic ×2"), ("exit", "")}]
    assert (anatomy.boxes[0].shape, anatomy.boxes[-1].shape) == ((3, 24, 24), (3, 48, 48))
    entry, low, up, high, exit = layers(anatomy)
    assert [box.kind for box in (entry, low, up, high, exit)] == ["low", "low", "up", "high", "high"]
    assert entry.inputs[0].label == "− 0.5"
    assert low.text == ["6 × PConv", "1×1, 3×3", "128→64→128", "+ identity", "6 × 82,112 params"]
    assert up.text == ["Upsample", "2×2 transposed", "128→128", "+ nearest ×2", "65,664 params"]
    assert exit.text == ["LeakyReLU 0.2", "conv 1×1", "128→3", "387 params"]
    assert anatomy.parameters == 887_683 == sum(box.count * box.parameters for box in anatomy.boxes)


def test_prosrn_has_a_branch_from_lr_to_the_sum():
    anatomy = whole(models.create("prosrn", 2), 12)
    assert ways(anatomy) == {"entry": ["LR"], "extract": ["entry"], "up": ["extract"], "fusion": ["up"], "image_up": ["LR"]}
    assert sums(anatomy) == [{("fusion", ""), ("image_up", "")}] and anatomy.loops == []
    assert layers(anatomy)[1].text == ["Memory", "10 convolutions", "+ input, 10 times", "369,280 params"]


def test_prosrn_uses_one_network_for_every_level():
    anatomy = whole(models.create("prosrn", 8), 12)
    networks = layers(anatomy)
    assert [(box.title, box.shape, box.reused, box.parameters) for box in networks] == [
        ("×2 network", (1, 24, 24), False, 407_441),
        ("×2 network", (1, 48, 48), True, 0),
        ("×2 network", (1, 96, 96), True, 0),
    ]
    assert anatomy.loops == [(networks, 3, [], "×2 network")]
    assert [box.inputs[0].label for box in networks] == ["", "sub-SR", "sub-SR"]
    assert {"extract: Memory, 10 convolutions", "image_up + fusion"} <= set(networks[0].lines)


def test_one_skip_of_a_block_is_named_in_the_singular():
    (block,) = [box for box in whole(models.create("idn", 2), 12).boxes if box.title == "Distillation"]
    assert block.text[:3] == ["4 × Distillation", "7 convolutions", "1 skip"]


def test_lapsrn_has_two_ways_through_its_levels():
    anatomy = whole(models.create("lapsrn", 4), 12)
    taken = ways(anatomy)
    assert taken["levels.0.predict"] == taken["levels.1.extract"] == ["levels.0.up"]
    assert taken["levels.0.image_up"] == ["LR"] and taken["levels.1.image_up"] == ["+"]
    assert sums(anatomy) == [{(f"levels.{n}.image_up", ""), (f"levels.{n}.predict", "")} for n in (0, 1)]
    shared = layers(whole(models.create("lapsrn", 4, shared=True), 12))
    assert [box.group for box in shared if box.reused] == [f"levels.0.{n}" for n in ("extract", "up", "image_up", "predict")]


@pytest.mark.parametrize(("structure", "added"), [("memory", [0, 0, 0, 0]), ("residual", [0, 3]), ("general", [])])
def test_the_structures_of_prosrn_keep_their_skips(structure, added):
    anatomy = inside(STRUCTURES[structure](4, 16), 8)
    assert [box.text[:3] for box in layers(anatomy)] == [["conv 3×3", "16→16", "LeakyReLU 0.2"]] * 4
    assert [anatomy.boxes.index(box.inputs[1].source) for box in anatomy.boxes if box.kind == "sum"] == added
    assert all(box.inputs[0].source is before for before, box in pairwise(anatomy.boxes))


def test_what_runs_again_is_drawn_once():
    drrn = whole(models.create("drrn", 2, units=5, width=8), 8)
    (loop,) = drrn.loops
    assert [name(box) for box in loop.boxes] == ["unit", "unit", "+"] and loop.count == 5
    assert loop.back == [(loop.boxes[-1], loop.boxes[0])] and sums(drrn)[0] == {("unit", ""), ("entry", "")}
    drcn = whole(models.create("drcn", 2, recursions=4, width=8), 8)
    (loop,) = drcn.loops
    assert loop.count == 4 and [(name(a), name(b)) for a, b in loop.back] == [("recurse", "recurse")]
    assert sums(drcn) == [{("bicubic ×2", ""), ("reconstruct", "")}, {("+", "all 4, weighted")}]


def test_a_discriminator_looks_at_the_residual():
    anatomy = inside(losses.adversarial("patch").build(1, width=4), 32, scale=4)
    assert [(box.title, box.shape) for box in anatomy.boxes[:2]] == [("image", (1, 32, 32)), ("lr", (1, 8, 8))]
    assert sums(anatomy) == [{("image", ""), ("lr", "− bicubic ×4")}]
    assert len(layers(anatomy)) == 9 and anatomy.boxes[-1].shape == (1, 2, 2)
    assert layers(anatomy)[1].text[:5] == ["conv 3×3", "4→4", "stride 2", "BatchNorm", "LeakyReLU 0.2"]
    unconditional = inside(losses.adversarial("image").build(3, width=4), 32)
    assert [box.title for box in unconditional.boxes if box.kind == "image"] == ["image", "output"]  # it ignores its lr


def test_what_is_found_follows_the_module():
    other = whole(models.create("btsrn", 4, low=2, high=0, block="pixelcnnpp", width=16, bottleneck=4), 12)
    assert [(group, title) for group, title, _ in short(other)] == [
        ("entry", "1 conv 1×1"),
        ("low", "2 PixelCNNPP"),
        ("up", "1 Upsample"),
        ("up", "1 PixelCNNPP"),  # the block between the two x2 steps that the paper does not mention
        ("up", "1 Upsample"),
        ("exit", "1 conv 1×1"),
    ]
    assert layers(other)[1].lines == ["1×1, 3×3", "16→4→32", "+ identity"] and layers(other)[4].shape == (16, 48, 48)


def test_unpadded_blocks_are_still_counted_and_at_low_resolution():
    anatomy = whole(models.create("btsrn", 2, padding="valid", width=8, bottleneck=4), 48)
    assert [(f"{box.count} {box.title}", box.kind, box.lines[-1]) for box in layers(anatomy)[1:4]] == [
        ("6 PConv", "low", "+ identity, cropped"),
        ("1 Upsample", "up", "+ nearest ×2"),
        ("4 PConv", "high", "+ identity, cropped"),
    ]


# Routed patches and trees of predictions are drawn by their papers' own figures, and MemNet's and CDC's flow by none.
OWN = {"difficulty_sr", "divergence", "d2c_sr", "d2c", "memnet", "cdc"}
DRAWN = [name for name in models.names() if name != "bicubic" and not models.fitted(name) and name not in OWN]


@pytest.mark.parametrize("name", DRAWN)
def test_every_model_can_be_described(name):
    for scale in {min(models.scales(name)), max(scale for scale in models.scales(name) if scale <= 4)}:
        model = models.create(name, scale).train()
        state = {key: value.clone() for key, value in model.state_dict().items()}
        anatomy = whole(model, 8)
        bare = sum(p.numel() for p in model.parameters(recurse=False))  # DRCN's weights of the mean stand on the way to it
        assert bare + sum(box.count * box.parameters for box in anatomy.boxes) == sum(p.numel() for p in model.parameters())
        assert anatomy.boxes[-1].shape == (model.channels, 8 * scale, 8 * scale)
        assert all(edge.source in anatomy.boxes[:i] for i, box in enumerate(anatomy.boxes) for edge in box.inputs)
        # Looking changes nothing.
        assert model.training and not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
        assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def test_a_constant_goes_by_its_name():
    anatomy = whole(models.create("edsr", 2, blocks=1, width=8), 8)
    assert layers(anatomy)[0].inputs[0].label == "− mean" and anatomy.boxes[-1].inputs[0].label == "+ mean"


def test_networks_on_the_enlarged_image_say_so():
    vdsr = whole(models.create("vdsr", 3), 16)
    enlarged, _, body, _ = layers(vdsr)
    assert enlarged.title == "bicubic ×3" and enlarged.shape == (1, 48, 48)
    assert sums(vdsr) == [{("bicubic ×3", ""), ("layers", "")}]
    assert body.text == ["18 × conv 3×3", "64→64", "ReLU", "18 × 36,928 params"]
    assert [box.kind for box in layers(vdsr)] == ["up", "high", "high", "high"]
    srcnn = whole(models.create("srcnn", 2), 16)
    assert sums(srcnn) == [] and [box.lines[-1] for box in layers(srcnn)[1:3]] == ["ReLU", "ReLU"]


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
    anatomy = inside(BLOCKS[block](128, 32, padding=1), 8)
    assert [" ".join((box.title, *box.lines)) for box in layers(anatomy)] == expected
    (added,) = sums(anatomy)
    assert ("input", "") in added and anatomy.boxes[0].shape == anatomy.boxes[-1].shape == (128, 8, 8)


def test_activations_that_are_called_as_functions_are_found():
    anatomy = inside(Upsample(8, 3), 6)
    assert [box.title for box in layers(anatomy)] == ["LeakyReLU 0.2", "conv 3×3"]
    assert layers(anatomy)[1].lines == ["transposed", "8→8", "stride 3"] and anatomy.boxes[-1].shape == (8, 18, 18)
    assert sums(anatomy) == [{("input", "nearest ×3"), ("conv 3×3", "")}]


class Odd(nn.Module):
    """Adds something that is none of the known skips."""

    def __init__(self, add):
        super().__init__()
        self.convolution, self.add = nn.Conv2d(2, 2, 3, padding=1), add

    def forward(self, x):
        return F.relu(self.convolution(x)) + self.add(x)


@pytest.mark.parametrize(
    ("add", "expected"),
    [(lambda x: x, ""), (lambda x: 2 * x, "× 2"), (lambda x: x.flip(-1), "flip"), (lambda x: x[:, :1], "getitem")],
)
def test_a_skip_is_what_it_does(add, expected):
    anatomy = inside(Odd(add), 8)
    assert sums(anatomy) == [{("ReLU", ""), ("input", expected)}]
    assert [box.title for box in layers(anatomy)] == ["conv 3×3", "ReLU"]


def test_hooks_go_also_when_the_module_fails():
    broken = Odd(lambda x: x[:, :, :3])
    with pytest.raises(RuntimeError):
        inside(broken, 8)
    assert not broken.convolution._forward_hooks and broken.training


class Several(Odd):
    def forward(self, x):
        return x, super().forward(x)


@pytest.mark.parametrize(
    ("draw", "module", "message"),
    [
        (whole, models.create("bicubic", 2), "Bicubic has no layers"),
        (inside, nn.ReLU(), "block ReLU has no convolution"),
        (inside, models.create("lapsrn", 2).levels[0], "block Level takes features, image, expected one input"),
        (inside, Several(lambda x: x), "Several returns a tuple, expected one tensor"),
    ],
)
def test_what_cannot_be_drawn_is_said(draw, module, message):
    with pytest.raises(SRError, match=message):
        draw(module)
