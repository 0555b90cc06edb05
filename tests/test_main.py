"""The command line: every command's help, work and errors; an error is one message and exit code 2, never a traceback."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.torch import save_file

from srlib import papers
from srlib.cli.main import COMMANDS, main
from srlib.core import paths
from srlib.core.color import to_uint8
from srlib.core.files import sha256
from srlib.core.imresize import imresize
from srlib.core.protocols import PROTOCOLS
from srlib.data.images import read_image
from srlib.nn import models
from srlib.train import experiment, probe
from srlib.train.experiment import Experiment
from srlib.train.run import Run
from srlib.train.training import digest, train

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def here(home, tmp_path, monkeypatch):
    monkeypatch.setenv("SRLIB_DATA", str(tmp_path / "datasets"))
    monkeypatch.chdir(tmp_path)


def picture(*shape) -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (6, 6, 3)[: len(shape)], dtype=np.uint8)
    return imresize(noise, size=shape[:2])


def save(path, image, **options):
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
    return path


@pytest.fixture
def data(tmp_path) -> str:
    (tmp_path / "photos").mkdir()
    for i in range(2):
        Image.fromarray(picture(40, 36 + i, 3)).save(tmp_path / "photos" / f"{i}.png")
    return f"folder:{tmp_path / 'photos'}"


@pytest.fixture
def run(data) -> Run:
    small = {"hr_patch": 16, "batch": 2, "steps": 2}
    return train(Experiment(name="espcn", paper="btsrn", model="espcn", scale=2, data=data, **small), progress="none")


@pytest.fixture
def fails(capsys):
    """Call a command that fails; return its message."""

    def call(*args) -> str:
        assert main([str(arg) for arg in args]) == 2
        out, err = capsys.readouterr()
        assert err.startswith("error: ") and "Traceback" not in err and len(err.strip().splitlines()) <= 2
        return err

    return call


class TestParser:
    @pytest.mark.parametrize("command", ["", *COMMANDS])
    def test_help(self, command, capsys):
        with pytest.raises(SystemExit) as stop:
            main([*([command] if command else []), "--help"])
        out = capsys.readouterr().out
        assert stop.value.code == 0 and "usage: python -m srlib" in out
        for name in COMMANDS if not command else ():
            assert name in out

    def test_version(self, capsys):
        with pytest.raises(SystemExit) as stop:
            main(["--version"])
        pinned = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]["version"]
        assert stop.value.code == 0 and capsys.readouterr().out == f"srlib {pinned}\n"

    @pytest.mark.parametrize("command", ["evaluate", "upscale", "count"])
    def test_help_names_weights_of_others(self, command, capsys):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        assert "a weights file (.pth, .safetensors), or module:function" in " ".join(capsys.readouterr().out.split())

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([], "the following arguments are required: COMMAND"),
            (["train", "vdsr", "--steps", "2", "--minutes", "3"], "not allowed with argument"),
            (["upscale", "a.png", "--sclae", "2"], "unrecognized arguments: --sclae"),
        ],
    )
    def test_usage_errors(self, arguments, message, capsys):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 2 and message in capsys.readouterr().err

    def test_ctrl_c_says_how_to_go_on(self, capsys, monkeypatch):
        def pressed(args):
            raise KeyboardInterrupt

        for command, message in (("train", "stopped; the same command continues where this one ended\n"), ("list", "stopped\n")):
            monkeypatch.setitem(COMMANDS, command, pressed)
            assert main([command, "models"]) == 130 and capsys.readouterr().err == message

    def test_mistakes_of_the_program_keep_their_traceback(self, monkeypatch):
        def broken(args):
            raise ZeroDivisionError

        monkeypatch.setitem(COMMANDS, "list", broken)
        with pytest.raises(ZeroDivisionError):
            main(["list", "models"])


def test_as_a_module_without_a_traceback(tmp_path):
    done = subprocess.run([sys.executable, "-m", "srlib", "data", "Set55"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: unknown dataset 'Set55'. Did you mean 'Set5'?")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.skipif(sys.platform == "darwin", reason="file names are UTF-8 there")
def test_names_that_the_terminal_cannot_show_stop_neither_a_batch_nor_a_training(tmp_path):
    for name in ("café".encode(), b"caf\xe9"):
        folder = os.fsencode(tmp_path / "in") + b"/" + name
        os.makedirs(folder)
        Image.fromarray(picture(40, 36, 3)).save(os.fsdecode(folder + b"/" + name + b".png"))
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii", "OMP_NUM_THREADS": "1"}
    code = "import sys; from srlib.cli.main import main; at = sys.argv.index('train'); "
    code += "sys.exit(main(sys.argv[1:at]) or main(sys.argv[at:]))"
    data, budget = b"folder:in/caf\xe9", ["--steps", "2", "--batch", "2", "--hr-patch", "16"]
    command = [sys.executable, "-c", code, "upscale", "in/*/*", "--model", "bicubic"]
    command += ["train", "espcn", "--data", data, "--validation", data, *budget]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, **locale})
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    for printed in done.stdout.split("espcn x2 step", 1):
        assert "caf\\udce9" in printed or "caf\\udcc3\\udca9" in printed
    assert len(list((tmp_path / "in").rglob("*_bicubic_x2.png"))) == 2


def test_a_reader_that_goes_away_stops_no_batch(tmp_path):
    (tmp_path / "in").mkdir()
    for i in range(4):
        Image.fromarray(picture(9, 7, 3)).save(tmp_path / "in" / f"{i}.png")
    command = [sys.executable, "-m", "srlib", "upscale", "in", "--model", "bicubic"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as child:
        child.stdout.close()
        assert child.stderr.read() == "" and child.wait() == 0
    assert len(list(tmp_path.glob("in/*_bicubic_x2.png"))) == 4


ERRORS = {
    "data Set55 --check": "unknown dataset 'Set55'. Did you mean 'Set5'?",
    "data Set55": "unknown dataset 'Set55'. Did you mean 'Set5'?",
    "data Set5 nonsense": "unknown dataset 'nonsense'",  # before anything is fetched
    "data Set5 --workers 0": "workers: got 0",
    "data Set5 --check": "5 files are missing or damaged in",
    "train btsr": "unknown experiment 'btsr'. Did you mean 'btsrn'?",
    "train bicubic": "unknown experiment 'bicubic'",
    "train btsrn/vdsr --profile quik": "unknown profile 'quik'. Did you mean 'quick'?",
    "train d2c_sr/srresnet_rgb --profile paper": "RealSR-V3-x2/",  # the smallest scale that the profile has, too
    "train btsrn/vdsr --scale 7": "scale (=7) of vdsr must be one that btsrn has: x2, x3, x4",
    "train prosrn --scale 3": "scale (=3) of prosrn must be one that prosrn has: x2, x4, x8",
    "train srgan --scale 2": "scale (=2) of srgan must be one that prosrn has: x4",
    "train btsrn/vdsr --start nowhere": "start (=nowhere) must be a complete run or a weights file, and nowhere is not",
    "train idn_longer --scale 2": "fetch them (python -m srlib data official), or name others with --start PATH",
    "train btsrn/vdsr --start foo=none": "start (=foo=none): btsrn/vdsr starts from --start PATH",
    "train btsrn/vdsr --batch 0": "batch (=0) must be greater than 0",
    "train btsrn/vdsr --minutes inf": "minutes (=inf) must be a finite number",
    "train btsrn/vdsr --data T19": "unknown dataset 'T19'. Did you mean 'T91'?",
    "train btsrn/vdsr --data T91": "set SRLIB_DATA to a folder that has them",
    "train btsrn/vdsr --data folder:nowhere": "folder: nowhere does not exist",
    "train btsrn/vdsr --profile smoke --hr-patch 4000": "lr_patch: got 2000, larger than every LR image of",
    "evaluate bicubik embedded-test": "unknown experiment 'bicubik'",
    "evaluate btsrm embedded-test": "unknown experiment 'btsrm'. Did you mean 'btsrn'?",
    "evaluate btsrn/vdsr embedded-test": "no released weights of btsrn for vdsr x2; there are: none. Train it",
    "evaluate vdsr embedded-test": "experiment 'vdsr' names 3 different trainings; say which: btsrn/vdsr, prosrn/vdsr",
    "evaluate btsrn/vdsr embedded-test --scale 7": "scale (=7) is not one that model 'vdsr' has: 1, 2, 3, 4, 8",
    "evaluate bicubic embedded-test --scale 7": "scale (=7) is not one that model 'bicubic' has: 1, 2, 3, 4, 8",
    "evaluate bicubic embeded-test": "unknown dataset 'embeded-test'. Did you mean 'embedded-test'?",
    "evaluate bicubic embedded-test --protocol lapsr": "unknown protocol 'lapsr'. Did you mean 'lapsrn'?",
    "evaluate runs/none embedded-test": "no run in runs/none; `python -m srlib list runs` shows which there are",
    "evaluate prosrn/aplus embedded-test": "python -m srlib data Set5",  # is fitted to training images
    "upscale p.png": "no released weights of btsrn for btsrn x2; there are: none. Train it: python -m srlib train btsrn/btsrn",
    "upscale p.png --model bicubix": "unknown experiment 'bicubix'",
    "upscale p.png --model btsrn --scale 8": "scale (=8) is not one that model 'btsrn' has: 2, 3, 4",
    "upscale p.png p.png --model bicubic --output out.png": "output (=out.png) must be a folder",
    "upscale p.png --model ./none": "no run in ./none",
    "upscale p.png --model espcn": "for espcn x2; there are: none",  # the default scale is one that the experiment has
    "upscale p.png --model srresnet": "for srresnet x4; there are: none",
    "upscale p.png --model ddet": "for ddet x1; there are: none",
    "release .": "is not a run",
}


@pytest.mark.parametrize("command", ERRORS)
def test_errors(fails, command, tmp_path):
    save(tmp_path / "p.png", picture(9, 7, 3))
    defaults = [] if "--data" in command or "--profile" in command else ["--data", "embedded"]
    train = [*defaults, "--validation", ""] if command.startswith("train") else []
    assert ERRORS[command] in fails(*command.split(), *train)
    assert [path.name for path in tmp_path.glob("*.*")] == ["p.png"]


class TestList:
    def test_models(self, ok):
        lines = ok("list", "models").splitlines()
        assert [line.split()[0] for line in lines[1:]] == models.names()
        assert "887,683" in next(line for line in lines if line.startswith("btsrn"))
        assert "430.8" in next(line for line in lines if line.startswith("btsrn"))
        for name in ("aplus", "rfl"):  # fitted in closed form
            assert next(line for line in lines if line.startswith(name)).split()[2:] == ["x2", "-", "-"]
            assert ok("count", name).startswith(f"{name} x2: not counted, as it is fitted in closed form")

    def test_experiments(self, ok):
        assert [line.split()[0] for line in ok("list", "experiments").splitlines()] == [
            f"{paper.name}/{name}" for name, trained_by in papers.experiments().items() for paper in trained_by
        ]

    def test_datasets(self, ok):
        assert {"Set5", "embedded", "DIV2K"} <= set(ok("list", "datasets").split())

    def test_runs_and_released(self, ok, run, data):
        assert ok("list", "runs").split() == ["complete", str(run.dir)] and ok("list", "released") == ""
        ok("release", run.dir, "--datasets", data)
        assert ok("list", "released").split()[:4] == ["btsrn/espcn", "x2", "seed", "0"]
        run.weights.unlink()
        assert ok("list", "runs").split() == ["partial", str(run.dir)]

    def test_weights_are_named_by_their_file_too(self, ok, run, data, home):
        ok("release", run.dir, "--datasets", data)
        (file,) = (home / "data" / "weights" / "btsrn").glob("*.safetensors")
        by_name = ok("evaluate", "btsrn/espcn", data, "--scale", 2)
        for weights in (file, run.weights):
            assert ok("evaluate", weights, data).split("dB")[0] == by_name.split("dB")[0]

    @pytest.mark.parametrize(
        "arguments",
        [
            ("list", "runs"),
            ("list", "released"),
            ("evaluate", "closed", "Set5"),
            ("train", "espcn", "--profile", "smoke", "--data", "folder:closed/in"),
        ],
    )
    def test_a_folder_that_cannot_be_read_is_named(self, fails, home, monkeypatch, arguments):
        closed = [paths.runs_dir() / "experiments", home / "data" / "weights", Path("closed")]
        for folder in closed:
            folder.mkdir(parents=True)

        def refusing(call, inside):
            def checked(path, *args, **options):
                if any(Path(path) != one if inside else Path(path) == one for one in closed if Path(path).is_relative_to(one)):
                    raise PermissionError(13, "Permission denied", str(path))
                return call(path, *args, **options)

            return checked

        # What mode 000 does; the tests may run as root, whom no mode stops.
        monkeypatch.setattr(os, "listdir", refusing(os.listdir, inside=False))
        monkeypatch.setattr(Path, "stat", refusing(Path.stat, inside=True))
        assert re.search(r"no permission for .*(experiments|weights|closed).*; change its mode or owner", fails(*arguments))


def test_present_files_are_verified(ok, datasets):
    assert ok("data", "Set5", "--check").strip() == "Set5: 5 of 5 files are intact"


class TestTrain:
    def test_runs_that_cannot_be_written(self, fails, data, tmp_path, monkeypatch):
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("SRLIB_RUNS", str(tmp_path / "file"))
        message = fails("train", "espcn", "--data", data, "--validation", "", "--hr-patch", 16)
        assert "cannot write" in message and "set SRLIB_RUNS" in message

    def test_on_embedded_photographs_and_evaluate(self, ok, capsys):
        arguments = ["--profile", "smoke", "--steps", 2, "--hr-patch", 16, "--batch", 2, "--validation", "embedded-test"]
        out = ok("train", "espcn", *arguments).splitlines()
        assert out[0].startswith("espcn x2 step 1/2: loss") and out[-2].startswith("2 steps, 0.")
        assert "dB on embedded-test" in out[-2]
        folder = out[-1]
        assert Run.open(folder).complete
        again = ok("train", "espcn", *arguments).splitlines()
        assert again == out[-2:]  # nothing is trained twice
        assert "embedded-test" in ok("evaluate", folder, "embedded-test")

    def test_options_reach_the_experiment(self, ok, data):
        options = ["--data", data, "--validation", "", "--steps", 1, "--batch", 3, "--hr-patch", 18, "--scale", 3]
        options += ["--learning-rate", 0.002, "--precision", "bf16", "--seed", 7]
        e = Run.open(ok("train", "espcn", *options).splitlines()[-1]).experiment
        assert (e.data, e.validation, e.steps, e.minutes, e.batch, e.hr_patch) == (data, "", 1, None, 3, 18)
        assert (e.scale, e.learning_rate, e.precision, e.seed) == (3, 0.002, "bf16", 7)
        minutes = ["--data", data, "--validation", "", "--batch", 2, "--hr-patch", 16, "--minutes", 0.01]
        e = Run.open(ok("train", "espcn", *minutes).splitlines()[-1]).experiment
        assert (e.minutes, e.steps) == (0.01, None)


class TestTrainFromWeights:
    """The GANs, which start from another training's weights."""

    SMALL = ("--profile", "smoke", "--validation", "", "--steps", 2, "--hr-patch", 32, "--batch", 2)

    @pytest.mark.parametrize(("name", "first"), [("prosrgan", "prosrn_2_4"), ("srgan", "srresnet")])
    def test_without_them_says_what_to_train_first(self, fails, name, first):
        message = fails("train", name, *self.SMALL)
        assert f"{name} starts from a trained {first} x4 of profile smoke, and there is none; train that first" in message
        command = f"python -m srlib train prosrn/{first} --scale 4 --profile smoke --seed 0"
        assert f"({command}), or name a run with --start" in message

    def test_the_default_is_the_run_of_the_same_profile_and_seed(self, ok, fails):
        command = fails("train", "srgan", "--profile", "smoke", "--seed", 1).split("(python -m srlib ")[1].split(")")[0]
        first = Run.open(ok(*command.split()).splitlines()[-1])  # what the message says, word for word
        run = Run.open(ok("train", "srgan", "--profile", "smoke", "--seed", 1).splitlines()[-1])
        assert run.complete and run.experiment.start == digest({"": first.weights})
        assert "srresnet x4 of profile smoke" in fails("train", "srgan", "--profile", "smoke")  # of seed 0 there is none

    def test_from_a_run_and_from_released_weights(self, ok, data):
        options = (*self.SMALL, "--data", data, "--profile", "released")
        first = ok("train", "prosrn_2_4", *options).splitlines()[-1]
        run = Run.open(ok("train", "prosrgan", *options, "--start", first).splitlines()[-1])
        assert run.complete and run.experiment.start == digest({"": Run.open(first).weights})
        assert "discriminator" in run.history()
        released = ok("release", first, "--datasets", data).strip()
        assert Run.open(ok("train", "prosrgan", *options).splitlines()[-1]).experiment.start == digest({"": Path(released)})

    def test_of_parts(self, ok):
        options = (*self.SMALL, "--scale", 2, "--hr-patch", 96)
        names = {"identifier": "identifier", "complex": "idn"}
        runs = {part: ok("train", f"difficulty_sr/{name}", *options).splitlines()[-1] for part, name in names.items()}
        given = [f"--start={part}={folder}" for part, folder in runs.items()]
        run = Run.open(ok("train", "difficulty_sr", *options, *given).splitlines()[-1])
        files = {part: Run.open(folder).weights for part, folder in runs.items()}
        assert run.complete and run.experiment.start == digest(files) and files["identifier"] != files["complex"]
        assert {part: made["name"] for part, made in run.provenance()["start"].items()} == names

    def test_weights_of_another_network_are_refused(self, fails, run, data):
        message = fails("train", "prosrgan", *self.SMALL, "--data", data, "--start", run.weights)
        assert "model.safetensors does not fit this model" in message

    def test_partial_run_is_refused(self, fails, run, data):
        run.weights.unlink()
        message = fails("train", "prosrgan", *self.SMALL, "--data", data, "--start", run.dir)
        assert f"start (={run.dir}) must be a complete run or a weights file" in message


class TestEvaluate:
    @pytest.mark.parametrize("by", PROTOCOLS)
    def test_protocols(self, ok, data, by):
        assert f"Protocol {by}:" in ok("evaluate", "bicubic", data, "--protocol", by)

    def test_damaged_weights(self, fails, run, data):
        run.weights.write_bytes(b"nonsense")
        assert "model.safetensors is damaged or was replaced" in fails("evaluate", run.dir, data)

    def test_bicubic(self, ok, data, tmp_path):
        out = ok("evaluate", "bicubic", data, "embedded-test", "--scale", 3, "--csv", tmp_path / "out" / "rows.csv").splitlines()
        assert out[0].startswith("bicubic x3; Protocol y:") and len(out) == 3
        assert "2 images" in out[1] and "dB" in out[1]
        rows = pd.read_csv(tmp_path / "out" / "rows.csv")
        assert set(rows.columns) == {"image", "psnr", "ssim", "seconds", "dataset", "scale", "protocol"}
        assert len(rows) == 2 + 5 and set(rows["scale"]) == {3} and set(rows["protocol"]) == {"y"}
        assert f"{rows[rows.dataset == data]['psnr'].mean():.2f} dB" in out[1]

    def test_windows_are_no_images_of_their_own(self, ok, tmp_path):
        for kind in ("HR", "LR"):
            (tmp_path / kind).mkdir()
            save(tmp_path / kind / "a.png", np.random.default_rng(0).integers(0, 256, (1204, 1204, 3), dtype=np.uint8))
        out = ok("evaluate", "bicubic", f"pairs:{tmp_path}", "--scale", 1, "--protocol", "realsr").splitlines()
        assert "   1 images  " in out[1] and ", in 4 windows" in out[1]

    def test_exact_images_are_counted_and_left_out_of_the_mean(self, ok, tmp_path):
        for name, image in (("a", picture(30, 30, 3)), ("b", np.full((30, 30, 3), 128, np.uint8)), ("c", picture(32, 30, 3))):
            save(tmp_path / f"{name}.png", image)
        out = ok("evaluate", "bicubic", f"folder:{tmp_path}", "--csv", tmp_path / "out" / "rows.csv").splitlines()
        psnr = pd.read_csv(tmp_path / "out" / "rows.csv")["psnr"]
        assert np.isinf(psnr[1]) and f"3 images  {(psnr[0] + psnr[2]) / 2:6.2f} dB" in out[1]
        assert out[1].endswith("s per image, PSNR excludes 1 reproduced exactly")

    def test_rows_that_cannot_be_written_are_told_before_any_work(self, fails, data, tmp_path, monkeypatch):
        monkeypatch.setattr("srlib.scoring.evaluation.evaluate", lambda *a, **o: pytest.fail("worked"))
        (tmp_path / "file").touch()
        for csv, reason in ((tmp_path / "file" / "rows.csv", "Not a directory"), (tmp_path, "Is a directory")):
            assert f"cannot write {csv}: {reason}" in fails("evaluate", "bicubic", data, "--csv", csv)

    def test_scores_are_printed_before_rows_are_written(self, capsys, data, tmp_path, monkeypatch):
        def full(self, path, **options):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(pd.DataFrame, "to_csv", full)
        assert main(["evaluate", "bicubic", data, "--csv", str(tmp_path / "rows.csv")]) == 2
        out, err = capsys.readouterr()
        assert "2 images" in out and "dB" in out and "No space left on device" in err

    def test_rows_of_names_that_are_no_utf8(self, ok, tmp_path):
        folder = tmp_path / "photos"
        folder.mkdir()
        Image.fromarray(picture(40, 36, 3)).save(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.png"))
        ok("evaluate", "bicubic", f"folder:{folder}", "--csv", tmp_path / "rows.csv")
        assert list(pd.read_csv(tmp_path / "rows.csv")["image"]) == ["caf\\udce9"]

    def test_run_has_its_own_scale(self, ok, fails, run, data):
        assert ok("evaluate", run.dir, data).startswith("espcn x2; ")
        assert ok("evaluate", run.dir, data, "--scale", 2).startswith("espcn x2; ")
        assert f"scale (=3) does not fit {run.dir}, which is x2" in fails("evaluate", run.dir, data, "--scale", 3)

    def test_run_whose_weights_serve_every_scale(self, ok, fails, data):
        options = ("--profile", "smoke", "--validation", "", "--steps", 1, "--hr-patch", 16, "--batch", 2, "--data", data)
        folder = ok("train", "prosrn", *options, "--scale", 8).splitlines()[-1]
        assert Run.open(folder).experiment.scale == 2
        assert [ok("evaluate", folder, data, "--scale", s).split(";")[0] for s in (2, 4)] == ["prosrn x2", "prosrn x4"]
        assert "scale (=3) is not one that model 'prosrn' has" in fails("evaluate", folder, data, "--scale", 3)

    def test_ensemble(self, ok, run, data):
        assert ok("evaluate", run.dir, data, "--ensemble") != ok("evaluate", run.dir, data)

    def test_folder_of_the_same_name_is_not_in_the_way(self, ok, data, tmp_path):
        (tmp_path / "bicubic").mkdir()
        assert ok("evaluate", "bicubic", data, "--protocol", "lapsrn").startswith("bicubic x2; Protocol lapsrn:")

    def test_a_misspelt_set_is_told_before_the_first_is_scored(self, fails, data, monkeypatch):
        monkeypatch.setattr("srlib.scoring.evaluation.evaluate", lambda *args, **options: pytest.fail("scored"))
        assert "unknown dataset 'Set15'" in fails("evaluate", "bicubic", data, "Set15")

    def test_csv_has_what_was_scored_before_an_error(self, fails, data, tmp_path):
        (tmp_path / "damaged").mkdir()
        (tmp_path / "damaged" / "1.png").write_bytes((tmp_path / "photos" / "1.png").read_bytes()[:300])
        assert "1.png" in fails("evaluate", "bicubic", data, f"folder:{tmp_path / 'damaged'}", "--csv", tmp_path / "rows.csv")
        assert set(pd.read_csv(tmp_path / "rows.csv")["dataset"]) == {data}


def release_identifier() -> None:
    """Make a released identifier x2 that calls every patch the hardest."""
    model, home = models.create("identifier", 2), paths.home() / "data" / "weights" / "difficulty_sr"
    for parameter in model.parameters():
        parameter.data.zero_()
    model.classify[-1].bias.data[0] = 1.0
    home.mkdir(parents=True)
    file = home / "identifier_x2.safetensors"
    save_file(model.state_dict(), file)
    experiment = vars(papers.get("difficulty_sr").experiment("identifier", 2, "smoke"))
    card = {"experiment": experiment, "provenance": {}, "weights": sha256(file), "probe": probe.network(model)}
    file.with_suffix(".json").write_text(json.dumps(card))


def test_an_identifier_is_evaluated_by_its_patches(ok, tmp_path):
    release_identifier()
    (tmp_path / "photos").mkdir()
    flat = np.full((96, 96, 3), 90, dtype=np.uint8)
    save(tmp_path / "photos" / "flat.png", flat)
    save(tmp_path / "photos" / "rough.png", np.random.default_rng(0).integers(0, 256, (96, 192, 3), dtype=np.uint8))
    out = ok("evaluate", "identifier", f"folder:{tmp_path / 'photos'}", "--csv", tmp_path / "scores.csv")
    assert "2 images  66.7% of 3 patches classified correctly" in out
    assert pd.read_csv(tmp_path / "scores.csv")["accuracy"].tolist() == [0.0, 1.0]


class TestUpscale:
    @pytest.mark.parametrize("kind", ["grey", "rgba", "palette", "16 bit", "1 bit", "cmyk", "one pixel"])
    def test_any_kind_of_photo(self, ok, tmp_path, kind):
        rgb, grey, photo = picture(9, 7, 3), picture(9, 7), tmp_path / ("p.jpg" if kind == "cmyk" else "p.png")
        image, shape = {
            "grey": (grey, (18, 14)),
            "rgba": (np.dstack([rgb, np.maximum(grey, 1)]), (18, 14, 3)),
            "palette": (Image.fromarray(rgb).quantize(16), (18, 14, 3)),
            "16 bit": (grey.astype(np.uint16) * 257, (18, 14)),
            "1 bit": (Image.fromarray(grey).convert("1"), (18, 14)),
            "cmyk": (Image.fromarray(rgb).convert("CMYK"), (18, 14, 3)),
            "one pixel": (rgb[:1, :1], (2, 2, 3)),
        }[kind]
        ok("upscale", save(photo, image), "--model", "bicubic", "--output", tmp_path / "out.png")
        sr = read_image(tmp_path / "out.png")
        assert sr.shape == shape
        assert np.abs(sr.astype(int) - to_uint8(imresize(read_image(photo).astype(float), 2))).max() <= 1

    @pytest.mark.parametrize(("scale", "given"), [(2, []), (3, ["--scale", 3]), (8, ["--scale", 8])])
    def test_beside_the_photo(self, ok, tmp_path, scale, given):
        photo = save(tmp_path / "a photo.png", picture(9, 7, 3))
        out = ok("upscale", photo, "--model", "bicubic", *given)
        result = tmp_path / f"a photo_bicubic_x{scale}.png"
        assert out.strip() == f"{result}: {7 * scale}x{9 * scale}"
        expected = to_uint8(imresize(picture(9, 7, 3).astype(float), scale))
        assert np.abs(read_image(result).astype(int) - expected).max() <= 1

    @pytest.mark.parametrize("shape", [(9, 7, 3), (9, 7), (1, 1)])
    def test_with_a_run(self, ok, run, tmp_path, shape):
        photo = save(tmp_path / "p.png", picture(*shape))
        out = ok("upscale", photo, "--model", os.path.relpath(run.dir))
        height, width = 2 * shape[0], 2 * shape[1]
        assert read_image(tmp_path / "p_espcn_x2.png").shape == (height, width, *shape[2:]) and f"{width}x{height}" in out

    def test_with_released_weights(self, ok, run, data, tmp_path):
        ok("release", run.dir, "--datasets", data)
        photo = save(tmp_path / "p.png", picture(40, 21, 3))
        plain, tiled, ensembled = (tmp_path / f"{name}.png" for name in "abc")
        ok("upscale", photo, "--model", "espcn", "--output", plain)
        ok("upscale", photo, "--model", "espcn", "--output", tiled, "--tile", 16)
        ok("upscale", photo, "--model", "espcn", "--output", ensembled, "--ensemble")
        assert np.abs(read_image(plain).astype(int) - read_image(tiled)).max() <= 1
        assert np.abs(read_image(plain).astype(int) - read_image(ensembled)).max() > 1

    def test_released_weights_by_their_file_have_one_scale(self, ok, fails, run, data, tmp_path):
        file = ok("release", run.dir, "--datasets", data).strip()
        photo, output = save(tmp_path / "p.png", picture(9, 7, 3)), tmp_path / "out.png"
        assert f"scale (=3) does not fit {file}, which is x2; leave" in fails("upscale", photo, "--model", file, "--scale", 3)
        ok("upscale", photo, "--model", file, "--scale", 2, "--output", output)
        assert read_image(output).shape == (18, 14, 3)

    @pytest.mark.parametrize(("factor", "message"), [("nan", "has NaN or infinite values"), ("255", "expected about 0..255")])
    def test_a_network_whose_output_is_no_picture(self, fails, tmp_path, monkeypatch, factor, message):
        (tmp_path / "nets.py").write_text(
            "import torch\n\nclass Net(torch.nn.Upsample):\n"
            f"    def forward(self, x):\n        return super().forward(x) * float('{factor}')\n\n"
            "def net():\n    return Net(scale_factor=2)\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "nets", raising=False)
        photo = save(tmp_path / "p.png", picture(9, 7, 3))
        assert message in fails("upscale", photo, "--model", "nets:net", "--scale", 2)
        assert [file.name for file in tmp_path.glob("*.png")] == ["p.png"]

    def test_the_home_folder_in_an_output(self, ok, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        ok("upscale", save(tmp_path / "p.png", picture(9, 7, 3)), "--model", "bicubic", "--output", "~/x.png")
        assert read_image(tmp_path / "home" / "x.png").shape == (18, 14, 3)

    def test_overwriting_and_failures(self, ok, fails, tmp_path):
        photo, output = save(tmp_path / "p.png", picture(9, 7, 3)), tmp_path / "p_bicubic_x2.png"
        output.write_text("mine")
        assert f"{output} exists; give --output another name, or --overwrite" in fails("upscale", photo, "--model", "bicubic")
        assert output.read_text() == "mine"
        (tmp_path / "bad.png").write_bytes(b"hello")
        assert main(["upscale", "bad.png", str(photo), "--model", "bicubic", "--overwrite"]) == 2
        assert read_image(output).shape == (18, 14, 3)


class TestRelease:
    def test_writes_weights_and_card(self, ok, run, data, home):
        out = ok("release", run.dir, "--datasets", data)
        assert out.strip() == str(home / "data" / "weights" / "btsrn" / "espcn_x2.safetensors")
        assert (home / "data" / "weights" / "btsrn" / "espcn_x2.json").exists()

    def test_unknown_dataset(self, fails, run):
        assert "unknown dataset 'Set55'" in fails("release", run.dir, "--datasets", "Set55")


def test_precisions_are_those_of_experiments():
    from srlib.cli import arguments

    assert arguments.PRECISIONS == experiment.PRECISIONS
