import errno
import json
import math
import os
import re
import resource
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from scripts import git

from srlib.core.errors import SRError
from srlib.core.files import atomic_write, sha256, write_json
from srlib.nn import models
from srlib.train.experiment import Experiment
from srlib.train.provenance import PACKAGES, provenance
from srlib.train.run import Run, load_budget
from srlib.train.weights import half_precision, load_weights

TINY = Experiment(name="tiny", paper="test", model="espcn", scale=2, data="embedded", steps=4)


@pytest.fixture
def run(tmp_path) -> Run:
    return Run(TINY, "f" * 64, tmp_path / "runs")


@pytest.fixture
def net() -> torch.nn.Module:
    return models.create("espcn", 2)


@pytest.fixture
def finished(run, net) -> Run:
    with run.lock():
        run.write_config()
        run.save_checkpoint({"step": 1})
        run.finish(net.state_dict(), {"steps": 4}, [[1.0]])
    return run


def full_disk(name: str):
    """Return an `os.replace` that fails for files whose names end in `name`."""
    replace = os.replace

    def replace_or_fail(source, target):
        if str(target).endswith(name):
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    return replace_or_fail


class TestDirectory:
    def test_is_named_by_the_experiment_and_the_data_in_the_folder_of_runs(self, tmp_path):
        folder = Run(TINY, "a").dir
        assert folder == tmp_path / "runs" / "experiments" / TINY.key("a")
        assert Run(TINY, "b").dir != folder and Run(TINY, "a", tmp_path).dir == tmp_path / folder.name

    def test_is_complete_with_its_weights_only(self, run, net):
        with run.lock():
            run.write_config()
            run.save_checkpoint({"step": 1})
            assert not run.complete
            run.finish(net.state_dict(), {"steps": 4}, [[1.0]])
        assert run.complete and not run.checkpoint.exists()
        assert {f.name for f in run.dir.iterdir()} - {".lock"} == {"config.json", "model.safetensors", "provenance.json"}
        assert run.provenance() == {"steps": 4, "weights": sha256(run.weights), "probe": [[1.0]]}

    def test_opens_again_also_when_moved(self, finished, tmp_path):
        made = finished.provenance()
        moved = finished.dir.rename(tmp_path / "elsewhere")
        again = Run.open(moved)
        assert (again.experiment, again.fingerprint, again.dir) == (TINY, "f" * 64, moved)
        assert again.complete and again.provenance() == made

    def test_folder_without_config_is_no_run(self, tmp_path):
        with pytest.raises(SRError, match="is not a run; `python -m srlib list runs`"):
            Run.open(tmp_path / "nothing")

    @pytest.mark.parametrize("change", ["{", "[]", '{"fingerprint": 1}', {"steps": -4}, {"colour": 1}], ids=str)
    def test_damaged_config_is_refused(self, finished, change):
        config = finished.dir / "config.json"
        config.write_text(change if isinstance(change, str) else json.dumps({**json.loads(config.read_text()), **change}))
        with pytest.raises(SRError, match="config.json does not describe a run .*; delete the folder"):
            Run.open(finished.dir)

    @pytest.mark.parametrize("changes", [{"steps": 400}, {"learning_rate": 1.0}, {"fingerprint": "e" * 64}])
    def test_config_that_was_edited_is_refused(self, finished, changes):
        config = finished.dir / "config.json"
        config.write_text(json.dumps({**json.loads(config.read_text()), **changes}))
        with pytest.raises(SRError, match="config.json was edited after the training began: .*; restore it, or delete"):
            Run.open(finished.dir)

    def test_history(self, run):
        rows = [{"step": 1, "loss": 0.123456789012345}, {"step": 2, "loss": 0.1, "psnr": 30.0}]
        run.write_history(rows)
        pd.testing.assert_frame_equal(run.history(), pd.DataFrame(rows))


class TestWeights:
    def test_one_flipped_bit_is_refused(self, finished):
        finished.check_weights()
        data = bytearray(finished.weights.read_bytes())
        data[-5] ^= 1
        finished.weights.write_bytes(data)
        with pytest.raises(SRError, match="model.safetensors is damaged or was replaced: SHA-256 .*; restore the file"):
            finished.check_weights()

    @pytest.mark.parametrize("content", [None, "{", "3"])
    def test_provenance_that_cannot_be_read_is_refused(self, finished, content):
        file = finished.dir / "provenance.json"
        file.unlink() if content is None else file.write_text(content)
        with pytest.raises(SRError, match="provenance.json cannot be read .*; delete the folder"):
            finished.check_weights()

    def test_that_cannot_be_written_leave_the_checkpoint(self, run, net, monkeypatch):
        run.save_checkpoint({"step": 1})
        monkeypatch.setattr(os, "replace", full_disk(".safetensors"))
        with pytest.raises(SRError, match="cannot write .*model.safetensors"):
            run.finish(net.state_dict(), {}, [])
        assert not run.complete and run.load_checkpoint() == {"step": 1}

    def test_strides_do_not_matter(self, run):
        weight = torch.randn(4, 3, 5, 5).contiguous(memory_format=torch.channels_last)
        run.finish({"w": weight}, {}, [])
        assert torch.equal(load_file(run.weights)["w"], weight)

    def test_without_run_or_card_have_no_known_budget(self, tmp_path):
        assert load_budget(tmp_path / "model.safetensors") is None


class TestCheckpoint:
    def test_comes_back_as_it_was(self, run):
        assert run.load_checkpoint() is None
        state = {"step": 3, "net": {"w": torch.randn(4, 3)}, "history": [{"step": 1, "loss": 0.5}], "limit": float("inf")}
        run.save_checkpoint(state)
        again = run.load_checkpoint()
        assert torch.equal(again["net"]["w"], state["net"]["w"])
        assert (again["step"], again["history"], again["limit"]) == (3, state["history"], float("inf"))

    @pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
    def test_damaged_one_is_refused(self, run, content):
        run.save_checkpoint({"net": torch.randn(1000)})
        run.checkpoint.write_bytes(run.checkpoint.read_bytes()[:2000] if content is None else content)
        with pytest.raises(SRError, match=r"last.ckpt is damaged, or not a checkpoint .*; delete it"):
            run.load_checkpoint()

    @pytest.mark.parametrize("reason", ["No space left on device.*free some space", "File too large"])
    def test_one_that_cannot_be_written_keeps_the_old_one(self, run, monkeypatch, reason):
        run.save_checkpoint({"step": 1})
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        if reason == "File too large":  # the system cuts it short
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
        else:
            monkeypatch.setattr(os, "replace", full_disk(".ckpt"))
        try:
            with pytest.raises(SRError, match=f"cannot write .*last.ckpt: {reason}"):
                run.save_checkpoint({"net": torch.randn(100_000)})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert run.load_checkpoint() == {"step": 1}
        assert [f.name for f in run.dir.iterdir()] == ["last.ckpt"]


class TestLock:
    def test_is_for_one_process_at_a_time_and_released_by_an_error(self, run):
        with run.lock():
            with pytest.raises(SRError, match=rf"another process is training {run.dir.name}; wait for it, or stop it"):
                with Run(TINY, "f" * 64, run.dir.parent).lock():
                    pytest.fail("two processes hold one run")
        with pytest.raises(KeyError), run.lock():
            raise KeyError("x")
        with run.lock():
            pass

    def test_removes_what_a_killed_process_left(self, run):
        run.save_checkpoint({"step": 1})
        (run.dir / ".last.ckpt.123-456.part").write_bytes(b"half")
        with run.lock():
            assert not list(run.dir.glob("*.part")) and not list(run.dir.glob(".*.part"))
            assert run.load_checkpoint() == {"step": 1}

    @pytest.mark.parametrize("reason", ["Not a directory", "Read-only file system"])
    def test_folder_that_cannot_be_written_is_named(self, tmp_path, monkeypatch, reason):
        def read_only(*args, **kwargs):
            raise OSError(errno.EROFS, "Read-only file system")

        (tmp_path / "file").write_text("mine")
        folder = tmp_path / "file" / "runs" if reason == "Not a directory" else tmp_path / "runs"
        with monkeypatch.context() as patch, pytest.raises(SRError, match=f"cannot write .*: {reason}.*; set SRLIB_RUNS"):
            if reason == "Read-only file system":
                patch.setattr(os, "open", read_only)
            with Run(TINY, "a", folder).lock():
                pytest.fail("locked a folder that cannot be written")
        assert (tmp_path / "file").read_text() == "mine"


def test_text_bytes_and_sorted_json_are_written(tmp_path):
    atomic_write(tmp_path / "new" / "a.txt", "ü")
    atomic_write(tmp_path / "new" / "a.bin", b"\x00\xff")
    write_json(tmp_path / "new" / "a.json", {"b": 1, "a": [2.5, None]})
    assert (tmp_path / "new" / "a.txt").read_text(encoding="utf-8") == "ü"
    assert (tmp_path / "new" / "a.bin").read_bytes() == b"\x00\xff"
    assert (tmp_path / "new" / "a.json").read_text().startswith('{\n  "a": [')
    assert json.loads((tmp_path / "new" / "a.json").read_text()) == {"b": 1, "a": [2.5, None]}
    assert len(list((tmp_path / "new").iterdir())) == 3


class TestHalfPrecision:
    def test_names_and_whole_numbers_stay(self):
        state = models.create("srresnet", 4, width=8).state_dict()
        halves = half_precision(state)
        assert list(halves) == list(state)
        counts = [name for name, tensor in state.items() if not tensor.is_floating_point()]
        assert counts and all(halves[name].dtype == torch.int64 for name in counts)
        assert {halves[name].dtype for name in state if name not in counts} == {torch.float16}
        assert all(torch.allclose(halves[name].float(), state[name].float(), rtol=1e-3, atol=1e-6) for name in state)

    @pytest.mark.parametrize("value", [7e4, -7e4, math.inf, math.nan, 1e-8, 1e-7])
    def test_what_it_cannot_hold_is_refused(self, value):
        state = {"fine": torch.ones(3), "zero": torch.zeros(3), "body.weight": torch.full((4,), value)}
        with pytest.raises(SRError, match=r"'body.weight' has values up to .*, which float16 .* cannot hold within 1 %"):
            half_precision(state)

    def test_small_values_beside_large_ones_do_not_matter(self):
        state = {"w": torch.tensor([1.0, 1e-9]), "large": torch.tensor([65504.0])}
        assert half_precision(state)["w"].tolist() == [1.0, 0.0]


class TestLoadWeights:
    @pytest.mark.parametrize("kind", ["half", "int8"])
    def test_half_precision_and_an_older_release_in_8_bits_fit(self, run, net, kind):
        exact, state = net.state_dict(), {}
        for name, tensor in exact.items():
            if kind == "int8" and tensor.ndim == 4:
                scale = (tensor.abs().amax((1, 2, 3), keepdim=True) / 127).half()
                state |= {name: (tensor / scale.float()).round().to(torch.int8), f"{name}.step": scale}
            else:
                state[name] = tensor.half()
        assert (torch.int8 in {tensor.dtype for tensor in state.values()}) == (kind == "int8")
        run.finish(state, {}, [])
        loaded = load_weights(models.create("espcn", 2), run.weights).state_dict()
        atol = 1e-3 if kind == "half" else 5e-3
        assert {tensor.dtype for tensor in loaded.values()} == {torch.float32}
        assert all(torch.allclose(loaded[name], exact[name], atol=atol) for name in exact)

    @pytest.mark.parametrize("other", [("espcn", 3), ("srcnn", 2), ("fsrcnn", 2)])
    def test_another_model_is_refused_and_left_alone(self, finished, other):
        net = models.create(*other)
        before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
        with pytest.raises(SRError, match=r"does not fit this model: \d+ tensors differ, first '\w+"):
            load_weights(net, finished.weights)
        assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())

    @pytest.mark.parametrize("code", [errno.ENOENT, errno.EACCES])
    def test_file_that_cannot_be_read_is_not_to_be_deleted(self, tmp_path, net, monkeypatch, code):
        def forbidden(path):
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(Path, "read_bytes", forbidden)
        with pytest.raises(SRError, match=rf"w.safetensors cannot be read: {os.strerror(code)}$"):
            load_weights(net, tmp_path / "w.safetensors")

    @pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff" * 64, None])
    def test_damaged_file_is_refused(self, finished, net, content):
        finished.weights.write_bytes(finished.weights.read_bytes()[:-10] if content is None else content)
        with pytest.raises(SRError, match=r".safetensors is not a readable safetensors file .*; delete it and train"):
            load_weights(net, finished.weights)


class TestProvenance:
    def test_says_where_and_with_what(self):
        made = provenance(seed=3)
        assert made["seed"] == 3 and made["threads"] == torch.get_num_threads()
        assert set(made["packages"]) == set(PACKAGES) and made["packages"]["torch"] == torch.__version__
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", made["date"])
        assert re.fullmatch(r".+, \d+ cores", made["hardware"])
        assert json.loads(json.dumps(made)) == made

    def test_names_the_commit_and_null_without_git(self, tmp_path, monkeypatch):
        (tmp_path / "notebooks").mkdir(parents=True)
        (tmp_path / "file").write_text("1")
        monkeypatch.setenv("SRLIB_HOME", str(tmp_path))
        for command in (["init", "-q"], ["add", "file"], ["commit", "-qm", "first"]):
            git(tmp_path, *command)
        clean = provenance()
        assert re.fullmatch("[0-9a-f]{40}", clean["commit"]) and clean["dirty"] is False
        (tmp_path / "file").write_text("2")
        assert provenance()["dirty"] is True
        monkeypatch.setenv("PATH", "")
        without = provenance()
        assert without["commit"] is None and without["dirty"] is None
