"""Every model of the registry, at every scale that it has."""

import itertools

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from srlib.core.errors import SRError
from srlib.nn import models
from srlib.nn.models import levels
from srlib.scoring.evaluation import forward
from srlib.train.weights import load_weights

LARGEST = 16  # the progressive ones go on for ever
ALL = [(name, scale) for name in models.names() for scale in models.scales(name) if scale <= LARGEST]
TRAINED = [(name, scale) for name, scale in ALL if name != "bicubic" and not models.fitted(name)]
WHOLE = ("cdc", "d2c_sr", "difficulty_sr", "divergence", "imdn", "rcan")  # what they make of a pixel may depend on all others
LOCAL = [(name, scale) for name, scale in ALL if name not in WHOLE]
# Those that take seconds for a few pixels, with fewer channels.
NARROW = {
    **dict.fromkeys(("drrn", "lapsrn", "prosrn"), {"width": 8}),
    "drcn": {"width": 16},
    "srresnet": {"width": 16, "blocks": 4},
    "edsr": {"width": 16, "blocks": 4},
    "rcan": {"width": 8, "groups": 1, "blocks": 1, "reduction": 4},
    "rdn": {"width": 8, "blocks": 2, "layers": 2, "growth": 4},
    "rrdbnet": {"width": 8, "blocks": 1, "growth": 4},
    "imdn": {"width": 16, "blocks": 2},
    "cdc": {"width": 8, "hourglasses": 1, "levels": 2, "blocks": 1},
    **dict.fromkeys(("kpn", "lp_kpn", "ddet"), {"width": 16, "blocks": 1}),
    "divergence": {"width": 8, "groups": 1, "blocks": 1},
    "d2c_sr": {"width": 8, "groups": 1, "blocks": 1, "freeze": False},
    "d2c_tree": {"body": "srresnet", "width": 8, "blocks": 1},
    "d2c": {"body": "srresnet", "width": 8, "blocks": 1, "freeze": False},
    "memnet": {"width": 8},
    "idn": {"width": 16},
    "difficulty_sr": {"complex_args": {"width": 16}, "threshold": 1.1},  # all patches to the branch that is trained
}
SIDE = {"difficulty_sr": 48}  # of a training patch, where a network insists on one


def create(name, scale):
    return awake(models.create(name, scale, **NARROW.get(name, {})))


def awake(model):
    """Keep the one inner channel of a narrow attention above its ReLU's zero."""
    for name, parameter in model.named_parameters():
        if "weigh." in name:
            torch.nn.init.constant_(parameter, 0.1)
    return model


def image(model, height, width, batch=1):
    return torch.rand(batch, model.channels or 3, height, width)


def patch(name, model):
    return image(model, SIDE.get(name, 8), SIDE.get(name, 9))


def shaken(model):
    """Give every weight a size that shows: fresh networks start with last layers or biases near zero."""
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.08)
    return awake(model).eval()


@pytest.mark.parametrize(("name", "scale"), ALL)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 7), (2, 3), (13, 11)])
def test_output_is_exactly_scale_times_the_input(name, scale, height, width):
    model = create(name, scale).eval()
    lr = image(model, height, width, batch=2)
    with torch.no_grad():
        sr = model(lr)
    assert sr.shape == (2, lr.shape[1], height * scale, width * scale)
    assert sr.dtype == torch.float32
    assert torch.isfinite(sr).all()


@pytest.mark.parametrize(("name", "scale"), ALL)
def test_says_what_it_takes(name, scale):
    model = create(name, scale)
    assert model.scale == scale
    assert model.channels in (1, 3, None)
    assert model.context is None or model.context > 0


@pytest.mark.parametrize(("name", "scale"), TRAINED)
def test_every_parameter_receives_a_gradient(name, scale):
    model = shaken(create(name, scale)).train()
    sum(one.square().mean() for one in levels(model(patch(name, model)))).backward()
    for parameter_name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, parameter_name


@pytest.mark.parametrize(("name", "scale"), TRAINED)
def test_fresh_weights_learn_in_every_layer_within_two_steps(name, scale):
    model = create(name, scale).train()
    before = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    lr = patch(name, model)
    for _ in range(2):
        optimizer.zero_grad()
        sum((one - 0.5).square().mean() for one in levels(model(lr))).backward()
        optimizer.step()
    assert [n for n, p in model.named_parameters() if n in before and torch.equal(p, before[n])] == []


@pytest.mark.parametrize(("name", "scale"), TRAINED)
def test_weights_survive_a_file(name, scale, tmp_path):
    model, other = shaken(create(name, scale)), create(name, scale)
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    assert load_file(tmp_path / "w.safetensors").keys() == model.state_dict().keys()
    load_weights(other.train(), tmp_path / "w.safetensors")
    lr = image(model, 6, 5)
    with torch.no_grad():
        assert torch.equal(model(lr), other(lr))
    assert not other.training


@pytest.mark.parametrize("name", models.names())
def test_networks_are_cut_unless_they_look_at_the_whole_image(name):
    model = create(name, models.scales(name)[0])
    assert (model.context is None) == (name in WHOLE)
    assert model.context is None or model.context >= 0


@pytest.mark.parametrize(("name", "scale"), ALL)
def test_declared_context_makes_tiles_exact(name, scale):
    """A model without one is not cut at all, or its tiles would differ."""
    model = shaken(create(name, scale))
    lr = image(model, 41, 35)
    whole = forward(model, lr, tile=0)
    tiled = forward(model, lr, tile=16)
    assert (whole - tiled).abs().max() <= 1e-5 * max(1.0, whole.abs().max().item())


@pytest.mark.parametrize(("name", "scale"), [one for one in TRAINED if one in LOCAL])
def test_pixels_outside_of_the_context_do_not_matter(name, scale):
    model = shaken(create(name, scale)).double()
    middle = model.context + 1
    lr = image(model, 2 * middle + 1, 2 * middle + 1).double()
    changed = lr.clone()
    changed[..., [0, -1]] += 1
    changed[..., [0, -1], :] += 1
    with torch.no_grad():
        before, after = model(lr), model(changed)
    pixel = slice(middle * scale, (middle + 1) * scale)
    assert torch.equal(before[..., pixel, pixel], after[..., pixel, pixel])
    assert not torch.equal(before, after)


def test_models_are_reproducible_from_the_seed():
    for name, scale in TRAINED:
        states = []
        for _ in range(2):
            torch.manual_seed(3)
            states.append(create(name, scale).state_dict())
        assert all(torch.equal(states[0][key], states[1][key]) for key in states[0]), (name, scale)


def test_unknown_model_names_the_nearest():
    with pytest.raises(SRError, match=r"unknown model 'btsrm'\. Did you mean 'btsrn'\? Known: aplus, bicubic, btsrn"):
        models.create("btsrm", 2)
    with pytest.raises(SRError, match="unknown model 'nothing'"):
        models.scales("nothing")


@pytest.mark.parametrize("scale", [5, 0, -2, 1, "2", None, 2.5, True])
def test_a_scale_that_the_model_lacks_is_refused(scale):
    with pytest.raises(SRError, match=r"scale \(=.*\) is not one that model 'fsrcnn' has: 2, 3, 4, 8"):
        models.create("fsrcnn", scale)


def test_misspelt_argument_names_the_nearest():
    with pytest.raises(SRError, match=r"unknown argument of model 'btsrn': 'botleneck'\. Did you mean 'bottleneck'\?"):
        models.create("btsrn", 2, botleneck=32)
    with pytest.raises(SRError, match="unknown argument of model 'espcn': 'width'"):
        models.create("espcn", 2, width=3)


def test_scale_is_not_an_argument_twice():
    with pytest.raises(TypeError, match="scale"):
        models.create("vdsr", 2, **{"scale": 3})


def test_list_is_a_copy():
    models.names().clear()
    assert "btsrn" in models.names()


@pytest.mark.parametrize(("name", "scale"), ALL)
def test_batches_are_independent(name, scale):
    model = shaken(create(name, scale))
    lr = image(model, 6, 7, batch=3)
    with torch.no_grad():
        together = model(lr)
        alone = torch.cat([model(one[None]) for one in lr])
    assert (together - alone).abs().max() <= 1e-5 * max(1.0, together.abs().max().item())


def test_names_are_lower_case_and_scales_are_sorted():
    for name in models.names():
        assert name == name.lower()
        assert all(a < b for a, b in itertools.pairwise(models.scales(name)))


@pytest.mark.parametrize(("channels", "depth", "parameters"), [(1, 20, 665_921), (3, 20, 668_227), (1, 2, 1_217)])
def test_vdsr_sizes(channels, depth, parameters):
    model = models.create("vdsr", 2, channels=channels, depth=depth)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert model(torch.rand(1, channels, 4, 4)).shape == (1, channels, 8, 8)


def test_vdsr_starts_as_bicubic():
    model, bicubic = models.create("vdsr", 3), models.create("bicubic", 3)
    lr = image(model, 12, 12)
    with torch.no_grad():
        assert (model(lr) - bicubic(lr)).abs().max() < 0.1


class TestBicubic:
    @pytest.mark.parametrize("scale", models.scales("bicubic"))
    def test_pillow_kernel_equals_pillow(self, scale):
        from srlib.core.imresize import pil_bicubic

        grey = np.random.default_rng(0).integers(0, 256, (9, 7), dtype=np.uint8)
        sr = models.create("bicubic", scale, kernel="pillow")(torch.from_numpy(grey)[None, None].float() / 255)
        expected = pil_bicubic(grey, (9 * scale, 7 * scale))
        assert np.array_equal((sr[0, 0] * 255).round().numpy().astype(np.uint8), expected)

    @pytest.mark.parametrize("scale", models.scales("bicubic"))
    def test_matlab_kernel_equals_imresize(self, scale):
        from srlib.core.imresize import imresize

        rgb = np.random.default_rng(0).random((9, 7, 3))
        sr = models.create("bicubic", scale)(torch.from_numpy(rgb).permute(2, 0, 1)[None].float())
        assert np.abs(sr[0].permute(1, 2, 0).numpy() - imresize(rgb, scale)).max() < 1e-6

    def test_pillow_tiles_are_exact(self):
        model = models.create("bicubic", 3, kernel="pillow")
        lr = torch.rand(1, 3, 40, 50)
        assert torch.equal(forward(model, lr, tile=16), forward(model, lr, tile=0))

    def test_unknown_kernel(self):
        with pytest.raises(SRError, match="unknown kernel 'matlap'.*'matlab'"):
            models.create("bicubic", 2, kernel="matlap")

    def test_stays_in_float32_under_autocast(self):
        lr = torch.rand(1, 1, 8, 8)
        model = models.create("bicubic", 2)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(model(lr), model(lr.float()))
            assert model(lr).dtype == torch.float32
        assert (model(lr.bfloat16()) - model(lr)).abs().max() < 0.01
