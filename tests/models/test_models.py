"""Every model of the registry, at every scale that it has, and the variants of some."""

import itertools

import numpy as np
import pytest
import torch
from networks import awake, parameters, shaken, tiles_are_exact, without_gradient
from safetensors.torch import load_file, save_file

from srlib.core.errors import SRError
from srlib.core.imresize import imresize, pil_bicubic
from srlib.nn import models
from srlib.nn.models import levels
from srlib.papers.btsrn.model import BLOCKS
from srlib.papers.d2c_sr.bodies import BODIES
from srlib.train.weights import load_weights

LARGEST = 16  # the progressive ones go on for ever
WHOLE = ("cdc", "d2c_sr", "difficulty_sr", "divergence", "imdn", "rcan")  # what they make of a pixel may depend on all others
# Those that take seconds for a few pixels, with fewer channels and layers.
NARROW = {
    **dict.fromkeys(("lapsrn", "prosrn"), {"width": 8, "depth": 4}),
    "vdsr": {"width": 8, "depth": 6},
    "drrn": {"width": 8, "units": 4},
    "drcn": {"width": 8, "recursions": 4},
    "memnet": {"width": 8, "blocks": 2, "recursions": 2},
    "btsrn": {"width": 8, "bottleneck": 4},
    **dict.fromkeys(("srresnet", "edsr"), {"width": 16, "blocks": 4}),
    "rcan": {"width": 8, "groups": 1, "blocks": 1},
    "rdn": {"width": 8, "blocks": 2, "layers": 2, "growth": 4},
    "rrdbnet": {"width": 8, "blocks": 1, "growth": 4},
    "imdn": {"width": 16, "blocks": 2},
    "cdc": {"width": 8, "hourglasses": 1, "levels": 2, "blocks": 1},
    **dict.fromkeys(("kpn", "lp_kpn", "ddet"), {"width": 16, "blocks": 1}),
    "divergence": {"width": 8, "groups": 1, "blocks": 1},
    "d2c_sr": {"width": 8, "groups": 1, "blocks": 1, "freeze": False},
    "d2c": {"width": 8, "blocks": 1, "freeze": False},
    "idn": {"width": 16, "blocks": 2},
    "difficulty_sr": {"complex_args": {"width": 16}, "threshold": 1.1},  # all patches to the branch that is trained
}
TREES = [{"depth": depth, "children": children} for depth, children in ((1, 1), (1, 4), (3, 2), (2, 3))]
VARIANTS = [
    ("vdsr", 1, {"channels": 3}),
    *(("srresnet", scale, {"norm": False}) for scale in (1, 2, 3)),
    ("lapsrn", 8, {"shared": True}),
    ("drrn", 2, {"rectified": True}),
    ("idn", 3, {"grouped": True}),
    *(("prosrn", 4, {"structure": structure}) for structure in ("general", "residual")),
    *((name, 1, {"basis": "dct"}) for name in ("kpn", "lp_kpn", "ddet")),
    *(("ddet", 1, args) for args in ({"wide": True}, {"variant": "paper"}, {"mda": False}, {"cdm": False, "refine": False})),
    *(("btsrn", scale, {"low": 1, "high": 2, "padding": "valid"}) for scale in (2, 3, 4)),
    *(("btsrn", scale, {"low": low, "high": high}) for scale in (3, 4) for low, high in ((0, 10), (10, 0), (0, 0))),
    *(("btsrn", 2, {"low": 1, "high": 1, "block": block}) for block in BLOCKS),
    *(("divergence", 2, {**tree, "deep_residual": deep}) for tree in TREES for deep in (True, False)),
    *(("d2c", scale, {"body": body}) for body in BODIES for scale in (1, 2, 3)),
]
REGISTERED = [(name, scale, {}) for name in models.names() for scale in models.scales(name) if scale <= LARGEST]
ALL = [pytest.param(*case, id=f"{case[0]}-x{case[1]}-{case[2]}") for case in (*REGISTERED, *VARIANTS)]
TRAINED = [case for case in ALL if case.values[0] != "bicubic" and not models.fitted(case.values[0])]
LOCAL = [case for case in TRAINED if case.values[0] not in WHOLE and case.values[2].get("body") != "imdn"]
every = pytest.mark.parametrize(("name", "scale", "args"), ALL)
every_trained = pytest.mark.parametrize(("name", "scale", "args"), TRAINED)


def create(name, scale, args):
    return awake(models.create(name, scale, **NARROW.get(name, {}) | args))


def image(model, height, width, batch=1):
    return torch.rand(batch, model.channels or 3, height, width)


def patch(model):
    """Return a training patch: of the size that a network insists on, or one of which unpadded convolutions leave something."""
    side = 2 * model.reach + 1 if getattr(model, "valid_padding", False) else getattr(model, "probe", 8)
    return image(model, side, side)


@every
def test_output_is_exactly_scale_times_the_input(name, scale, args):
    model = create(name, scale, args).eval()
    assert model.scale == scale and model.channels in (1, 3, None)
    for height, width in ((1, 1), (2, 7), (13, 11)):
        lr = image(model, height, width, batch=2)
        with torch.no_grad():
            sr = model(lr)
        assert sr.shape == (2, lr.shape[1], height * scale, width * scale)
        assert sr.dtype == torch.float32 and torch.isfinite(sr).all()


@every_trained
def test_every_parameter_receives_a_gradient(name, scale, args):
    model = shaken(create(name, scale, args), std=0.08).train()
    sum(output.square().mean() for output in levels(model(patch(model)))).backward()
    assert without_gradient(model) == []


@every_trained
def test_fresh_weights_learn_in_every_layer_within_two_steps(name, scale, args):
    model = create(name, scale, args).train()
    before = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    lr = patch(model)
    for _ in range(2):
        optimizer.zero_grad()
        sum((output - 0.5).square().mean() for output in levels(model(lr))).backward()
        optimizer.step()
    assert [n for n, p in model.named_parameters() if n in before and torch.equal(p, before[n])] == []


@every_trained
def test_weights_survive_a_file_and_come_from_the_seed(name, scale, args, tmp_path):
    torch.manual_seed(3)
    model = create(name, scale, args)
    torch.manual_seed(3)
    other = create(name, scale, args)
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in model.state_dict().items())
    save_file(shaken(model, std=0.08).state_dict(), tmp_path / "w.safetensors")
    assert load_file(tmp_path / "w.safetensors").keys() == model.state_dict().keys()
    load_weights(other.train(), tmp_path / "w.safetensors")
    lr = image(model, 6, 5)
    with torch.no_grad():
        assert torch.equal(model(lr), other(lr))
    assert not other.training


@pytest.mark.parametrize("name", models.names())
def test_networks_are_cut_unless_they_look_at_the_whole_image(name):
    model = create(name, models.scales(name)[0], {})
    assert (model.context is None) == (name in WHOLE)
    assert model.context is None or model.context > 0
    assert name == name.lower() and all(a < b for a, b in itertools.pairwise(models.scales(name)))


@every
def test_tiles_are_exact_and_batches_are_independent(name, scale, args):
    """A model without a context is not cut at all, or its tiles would differ."""
    model = shaken(create(name, scale, args), std=0.08)
    assert tiles_are_exact(model, image(model, 41, 35))
    lr = image(model, 6, 7, batch=3)
    with torch.no_grad():
        together = model(lr)
        alone = torch.cat([model(single[None]) for single in lr])
    assert (together - alone).abs().max() <= 1e-5 * max(1.0, together.abs().max().item())


@pytest.mark.parametrize(("name", "scale", "args"), LOCAL)
def test_pixels_outside_of_the_context_do_not_matter(name, scale, args):
    model = shaken(create(name, scale, args), std=0.08).double()
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


@pytest.mark.parametrize(
    ("name", "scale", "args", "message"),
    [
        ("btsrm", 2, {}, r"unknown model 'btsrm'\. Did you mean 'btsrn'\? Known: aplus, bicubic, btsrn"),
        *(("fsrcnn", s, {}, r"scale \(=.*\) .* 'fsrcnn' has: 2, 3, 4, 8") for s in (5, 0, -2, 1, "2", None, 2.5, True)),
        *(("prosrn", s, {}, r"scale \(=.*\) .* 'prosrn' has: 2, 4, 8, 16, 32") for s in (3, 1, 512, 2.0)),
        *(
            (name, 6, {}, r"scale \(=6\) is not one that model")
            for name in ("edsr", "rcan", "rdn", "rrdbnet", "imdn", "cdc", "rfl")
        ),
        *((name, 2, {}, r"scale \(=2\) is not one that model") for name in ("kpn", "lp_kpn", "ddet")),
        ("btsrn", 2, {"botleneck": 32}, r"argument of model 'btsrn': 'botleneck'\. Did you mean 'bottleneck'\?"),
        ("espcn", 2, {"width": 3}, "unknown argument of model 'espcn': 'width'"),
        ("bicubic", 2, {"kernel": "matlap"}, "unknown kernel 'matlap'.*'matlab'"),
    ],
)
def test_bad_names_scales_and_arguments_are_refused(name, scale, args, message):
    with pytest.raises(SRError, match=message):
        models.create(name, scale, **args)


@pytest.mark.parametrize(("name", "known"), [("espcn", "ESPCN"), ("difficulty_sr", "difficulty_sr")])
def test_a_name_is_registered_once(monkeypatch, name, known):
    (build, scales), before = models._MODELS[name], dict(models._MODELS)
    models.register(name, build, scales)  # as where a module is imported again
    with pytest.raises(SRError, match=f"model '{name}' is registered already, as {known}; choose another name"):
        models.register(name, torch.nn.Identity)
    assert models._MODELS == before


def test_list_is_a_copy():
    models.names().clear()
    assert "btsrn" in models.names()


@pytest.mark.parametrize(("channels", "depth", "size"), [(1, 20, 665_921), (3, 20, 668_227), (1, 2, 1_217)])
def test_vdsr_sizes(channels, depth, size):
    assert parameters(models.create("vdsr", 2, channels=channels, depth=depth)) == size


def test_vdsr_starts_as_bicubic():
    model, bicubic = models.create("vdsr", 3), models.create("bicubic", 3)
    lr = image(model, 12, 12)
    with torch.no_grad():
        assert (model(lr) - bicubic(lr)).abs().max() < 0.1


@pytest.mark.parametrize("scale", models.scales("bicubic"))
def test_bicubic_equals_pillow_and_imresize(scale):
    rng = np.random.default_rng(0)
    grey, rgb = rng.integers(0, 256, (9, 7), dtype=np.uint8), rng.random((9, 7, 3))
    sr = models.create("bicubic", scale, kernel="pillow")(torch.from_numpy(grey)[None, None].float() / 255)
    assert np.array_equal((sr[0, 0] * 255).round().numpy().astype(np.uint8), pil_bicubic(grey, (9 * scale, 7 * scale)))
    sr = models.create("bicubic", scale)(torch.from_numpy(rgb).permute(2, 0, 1)[None].float())
    assert np.abs(sr[0].permute(1, 2, 0).numpy() - imresize(rgb, scale)).max() < 1e-6


def test_bicubic_stays_in_float32_under_autocast():
    lr, model = torch.rand(1, 1, 8, 8), models.create("bicubic", 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(model(lr), model(lr.float()))
        assert model(lr).dtype == torch.float32
    assert (model(lr.bfloat16()) - model(lr)).abs().max() < 0.01
