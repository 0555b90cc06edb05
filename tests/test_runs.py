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

from srlib.core.errors import SRError
from srlib.core.files import atomic_write, sha256, write_json
from srlib.nn import models
from srlib.train.experiment import Experiment
from srlib.train.provenance import PACKAGES, provenance
from srlib.train.run import Outdated, Run, load_budget
from srlib.train.weights import half_precision, load_weights

TINY = Experiment(name="tiny", paper="test", model="espcn", scale=2, data="embedded", steps=4)


@pytest.fixture
def run(tmp_path) -> Run:
    return Run(TINY, "f" * 64, tmp_path / "runs")


def finished(run: Run) -> torch.nn.Module:
    net = models.create("espcn", 2)
    with run.lock():
        run.write_config()
        run.save_checkpoint({"step": 1})
        run.finish(net.state_dict(), {"steps": 4}, [[1.0]])
    return net


class TestDirectory:
    def test_is_named_by_the_experiment_and_the_data(self, tmp_path):
        folder = Run(TINY, "a", tmp_path).dir
        assert folder.parent == tmp_path and folder.name == TINY.key("a")
        assert Run(TINY, "b", tmp_path).dir != folder

    def test_lies_in_the_folder_of_runs(self, tmp_path):
        assert Run(TINY, "a").dir == tmp_path / "runs" / "experiments" / TINY.key("a")

    def test_is_complete_with_its_weights_only(self, run):
        with run.lock():
            run.write_config()
            run.save_checkpoint({"step": 1})
            assert not run.complete
        finished(run)
        assert run.complete and not run.checkpoint.exists()
        assert {f.name for f in run.dir.iterdir()} - {".lock"} == {"config.json", "model.safetensors", "provenance.json"}
        assert run.provenance() == {"steps": 4, "weights": sha256(run.weights), "probe": [[1.0]]}

    def test_opens_again_also_when_moved(self, run, tmp_path):
        finished(run)
        run_provenance = run.provenance()
        moved = run.dir.rename(tmp_path / "elsewhere")
        again = Run.open(moved)
        assert (again.experiment, again.fingerprint, again.dir) == (TINY, "f" * 64, moved)
        assert again.complete and again.provenance() == run_provenance

    def test_folders_that_are_no_runs_are_told(self, run, tmp_path):
        with pytest.raises(SRError, match="is not a run; `python -m srlib list runs` shows which there are"):
            Run.open(tmp_path / "nothing")
        finished(run)
        config = run.dir / "config.json"
        fields = json.loads(config.read_text())
        for broken in ("{", "[]", json.dumps({**fields, "steps": -4}), json.dumps({**fields, "colour": 1}), '{"fingerprint": 1}'):
            config.write_text(broken)
            with pytest.raises(SRError, match="config.json does not describe a run .*; delete the folder and train it again"):
                Run.open(run.dir)

    @pytest.mark.parametrize("changes", [{"steps": 400}, {"learning_rate": 1.0}, {"fingerprint": "e" * 64}])
    def test_config_that_was_edited_is_refused(self, run, changes):
        finished(run)
        config = run.dir / "config.json"
        config.write_text(json.dumps({**json.loads(config.read_text()), **changes}))
        with pytest.raises(SRError, match="config.json was edited after the training began: .*; restore it, or delete"):
            Run.open(run.dir)

    def test_set_aside_keeps_everything(self, run):
        finished(run)
        before = run.weights.read_bytes()
        aside = run.set_aside()
        assert aside.name == f"{run.key}.outdated1" and not run.started and Run.open(aside).weights.read_bytes() == before
        finished(run)
        assert run.set_aside().name == f"{run.key}.outdated2"


class TestWeights:
    def test_one_flipped_bit_is_refused(self, run):
        finished(run)
        run.check_weights()
        data = bytearray(run.weights.read_bytes())
        data[-5] ^= 1
        run.weights.write_bytes(data)
        with pytest.raises(SRError, match="model.safetensors is damaged or was replaced: SHA-256 .*; restore the file"):
            run.check_weights()

    def test_of_a_version_without_checksums_are_outdated(self, run):
        finished(run)
        (run.dir / "provenance.json").write_text("{}")
        with pytest.raises(Outdated, match="is of version 0.1.0, which kept no checksums; train it again"):
            run.check_weights()

    @pytest.mark.parametrize("content", [None, "{", "3"])
    def test_provenance_that_cannot_be_read_is_told(self, run, content):
        finished(run)
        file = run.dir / "provenance.json"
        file.unlink() if content is None else file.write_text(content)
        with pytest.raises(SRError, match="provenance.json cannot be read .*; delete the folder and train it again"):
            run.check_weights()


class TestCheckpoint:
    def test_none_at_first(self, run):
        assert run.load_checkpoint() is None

    def test_comes_back_as_it_was(self, run):
        state = {"step": 3, "net": {"w": torch.randn(4, 3)}, "history": [{"step": 1, "loss": 0.5}], "limit": float("inf")}
        run.save_checkpoint(state)
        again = run.load_checkpoint()
        assert torch.equal(again["net"]["w"], state["net"]["w"])
        assert (again["step"], again["history"], again["limit"]) == (3, state["history"], float("inf"))

    @pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
    def test_damaged_one_is_told(self, run, content):
        run.save_checkpoint({"net": torch.randn(1000)})
        run.checkpoint.write_bytes(run.checkpoint.read_bytes()[:2000] if content is None else content)
        with pytest.raises(SRError, match=r"last.ckpt is damaged, or not a checkpoint .*; delete it to train this run"):
            run.load_checkpoint()

    def test_full_disk_keeps_the_old_one(self, run, monkeypatch):
        run.save_checkpoint({"step": 1})

        def full(source, target):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "replace", full)
        with pytest.raises(SRError, match=r"cannot write .*last.ckpt: No space left on device.*free some space"):
            run.save_checkpoint({"step": 2})
        assert run.load_checkpoint() == {"step": 1}
        assert [f.name for f in run.dir.iterdir()] == ["last.ckpt"]

    def test_file_that_the_system_cuts_short_keeps_the_old_one(self, run):
        run.save_checkpoint({"step": 1})
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
        try:
            with pytest.raises(SRError, match="cannot write .*last.ckpt: File too large"):
                run.save_checkpoint({"net": torch.randn(100_000)})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert run.load_checkpoint() == {"step": 1}
        assert [f.name for f in run.dir.iterdir()] == ["last.ckpt"]


class TestFinish:
    def test_weights_that_cannot_be_written_leave_the_checkpoint(self, run, monkeypatch):
        run.save_checkpoint({"step": 1})
        replace = os.replace

        def full(source, target):
            if str(target).endswith(".safetensors"):
                raise OSError(errno.ENOSPC, "No space left on device")
            replace(source, target)

        monkeypatch.setattr(os, "replace", full)
        with pytest.raises(SRError, match="cannot write .*model.safetensors"):
            run.finish(models.create("espcn", 2).state_dict(), {}, [])
        assert not run.complete and run.load_checkpoint() == {"step": 1}

    def test_strides_do_not_matter(self, run):
        weight = torch.randn(4, 3, 5, 5).contiguous(memory_format=torch.channels_last)
        run.finish({"w": weight}, {}, [])
        assert torch.equal(load_file(run.weights)["w"], weight)


class TestLock:
    def test_is_for_one_process_at_a_time(self, run):
        with run.lock():
            with pytest.raises(SRError, match=rf"another process is training {run.dir.name}; wait for it, or stop it"):
                with Run(TINY, "f" * 64, run.dir.parent).lock():
                    pytest.fail("two processes hold one run")
        with run.lock():
            pass

    def test_is_released_by_an_error(self, run):
        with pytest.raises(KeyError):
            with run.lock():
                raise KeyError("x")
        with run.lock():
            pass

    def test_removes_what_a_killed_process_left(self, run):
        run.save_checkpoint({"step": 1})
        (run.dir / ".last.ckpt.123-456.part").write_bytes(b"half")
        with run.lock():
            assert not list(run.dir.glob("*.part")) and not list(run.dir.glob(".*.part"))
            assert run.load_checkpoint() == {"step": 1}

    def test_folder_that_cannot_be_written_is_told(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(SRError, match=r"cannot write .*: Not a directory; set SRLIB_RUNS to a folder that can be"):
            with Run(TINY, "a", tmp_path / "file" / "runs").lock():
                pytest.fail("locked a folder that cannot exist")

    def test_read_only_file_system_is_told(self, run, monkeypatch):
        def read_only(*args, **kwargs):
            raise OSError(errno.EROFS, "Read-only file system")

        monkeypatch.setattr(os, "open", read_only)
        with pytest.raises(SRError, match="Read-only file system; set SRLIB_RUNS"):
            with run.lock():
                pytest.fail("locked a folder that cannot be written")


class TestFiles:
    def test_text_and_bytes(self, tmp_path):
        atomic_write(tmp_path / "new" / "a.txt", "ü")
        atomic_write(tmp_path / "new" / "a.bin", b"\x00\xff")
        assert (tmp_path / "new" / "a.txt").read_text(encoding="utf-8") == "ü"
        assert (tmp_path / "new" / "a.bin").read_bytes() == b"\x00\xff"
        assert len(list((tmp_path / "new").iterdir())) == 2

    def test_json_is_readable_and_sorted(self, tmp_path):
        write_json(tmp_path / "a.json", {"b": 1, "a": [2.5, None]})
        assert (tmp_path / "a.json").read_text().startswith('{\n  "a": [')
        assert json.loads((tmp_path / "a.json").read_text()) == {"b": 1, "a": [2.5, None]}

    def test_failure_keeps_the_old_file(self, tmp_path, monkeypatch):
        atomic_write(tmp_path / "a", "old")
        monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
        with pytest.raises(SRError, match="cannot write"):
            atomic_write(tmp_path / "a", "new")
        assert [f.name for f in tmp_path.iterdir()] == ["a"] and (tmp_path / "a").read_text() == "old"

    def test_history(self, run):
        rows = [{"step": 1, "loss": 0.123456789012345}, {"step": 2, "loss": 0.1, "psnr": 30.0}]
        run.write_history(rows)
        pd.testing.assert_frame_equal(run.history(), pd.DataFrame(rows))


def test_weights_without_run_or_card_have_no_known_budget(tmp_path):
    assert load_budget(tmp_path / "model.safetensors") is None


class TestHalfPrecision:
    def test_names_and_whole_numbers_stay(self):
        state = models.create("srresnet", 4, width=8).state_dict()
        found = half_precision(state)
        assert list(found) == list(state)
        counts = [name for name, tensor in state.items() if not tensor.is_floating_point()]
        assert counts and all(found[name].dtype == torch.int64 for name in counts)
        assert {found[name].dtype for name in state if name not in counts} == {torch.float16}
        assert all(torch.allclose(found[name].float(), state[name].float(), rtol=1e-3, atol=1e-6) for name in state)

    @pytest.mark.parametrize("value", [7e4, -7e4, math.inf, math.nan, 1e-8, 1e-7])
    def test_what_it_cannot_hold_is_refused(self, value):
        state = {"fine": torch.ones(3), "zero": torch.zeros(3), "body.weight": torch.full((4,), value)}
        with pytest.raises(SRError, match=r"'body.weight' has values up to .*, which float16 .* cannot hold within 1 %; train"):
            half_precision(state)

    def test_small_values_beside_large_ones_do_not_matter(self):
        state = {"w": torch.tensor([1.0, 1e-9]), "large": torch.tensor([65504.0])}
        assert half_precision(state)["w"].tolist() == [1.0, 0.0]


class TestLoadWeights:
    def test_half_precision_fits(self, run):
        net = models.create("espcn", 2)
        run.finish({name: tensor.half() for name, tensor in net.state_dict().items()}, {}, [])
        other = load_weights(models.create("espcn", 2), run.weights)
        for name, tensor in other.state_dict().items():
            assert tensor.dtype == torch.float32 and torch.allclose(tensor, net.state_dict()[name], atol=1e-3)

    def test_an_older_release_in_8_bits_is_read(self, run):
        net = models.create("espcn", 2)
        exact, state = net.state_dict(), {}
        for name, tensor in exact.items():
            if tensor.ndim == 4:
                scale = (tensor.abs().amax((1, 2, 3), keepdim=True) / 127).half()
                state |= {name: (tensor / scale.float()).round().to(torch.int8), f"{name}.step": scale}
            else:
                state[name] = tensor.half()
        run.finish(state, {}, [])
        back = load_weights(models.create("espcn", 2), run.weights).state_dict()
        assert torch.int8 in {tensor.dtype for tensor in state.values()}
        assert all(torch.allclose(back[name], exact[name], atol=5e-3) for name in exact)

    @pytest.mark.parametrize("other", [("espcn", 3), ("srcnn", 2), ("fsrcnn", 2)])
    def test_another_model_is_refused_and_left_alone(self, run, other):
        finished(run)
        net = models.create(*other)
        before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
        with pytest.raises(SRError, match=r"does not fit this model: \d+ tensors differ, first '\w+"):
            load_weights(net, run.weights)
        assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())

    def test_missing_file_is_told(self, tmp_path):
        with pytest.raises(SRError, match=r"weights .*w.safetensors cannot be read: No such file or directory$"):
            load_weights(models.create("espcn", 2), tmp_path / "w.safetensors")

    def test_file_without_permission_is_not_to_be_deleted(self, tmp_path, monkeypatch):
        def forbidden(path):
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(Path, "read_bytes", forbidden)
        with pytest.raises(SRError, match=r"weights .*w.safetensors cannot be read: Permission denied$"):
            load_weights(models.create("espcn", 2), tmp_path / "w.safetensors")

    @pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff" * 64])
    def test_damaged_file_is_told(self, tmp_path, content):
        file = tmp_path / "w.safetensors"
        file.write_bytes(content)
        with pytest.raises(SRError, match=r"w.safetensors is not a readable safetensors file .*; delete it and train"):
            load_weights(models.create("espcn", 2), file)

    def test_truncated_file_is_told(self, run):
        finished(run)
        run.weights.write_bytes(run.weights.read_bytes()[:-10])
        with pytest.raises(SRError, match="is not a readable safetensors file"):
            load_weights(models.create("espcn", 2), run.weights)


class TestProvenance:
    def test_says_where_and_with_what(self):
        got = provenance(seed=3)
        assert got["seed"] == 3 and got["threads"] == torch.get_num_threads()
        assert set(got["packages"]) == set(PACKAGES) and got["packages"]["torch"] == torch.__version__
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", got["date"])
        assert re.fullmatch(r".+, \d+ cores", got["hardware"])
        assert json.loads(json.dumps(got)) == got

    def test_names_the_commit(self, tmp_path, monkeypatch):
        import subprocess

        (tmp_path / "notebooks").mkdir(parents=True)
        (tmp_path / "file").write_text("1")
        monkeypatch.setenv("SRLIB_HOME", str(tmp_path))
        git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@example.org"]
        subprocess.run([*git, "init", "-q"], check=True)
        subprocess.run([*git, "add", "file"], check=True)
        subprocess.run([*git, "commit", "-qm", "first"], check=True)
        clean = provenance()
        assert re.fullmatch("[0-9a-f]{40}", clean["commit"]) and clean["dirty"] is False
        (tmp_path / "file").write_text("2")
        assert provenance()["dirty"] is True

    def test_without_git_says_null(self, tmp_path, monkeypatch):
        (tmp_path / "notebooks").mkdir(parents=True)
        monkeypatch.setenv("SRLIB_HOME", str(tmp_path))
        monkeypatch.setenv("PATH", "")
        got = provenance()
        assert got["commit"] is None and got["dirty"] is None
