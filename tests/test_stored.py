"""`srlib claim` and `srlib compare`: verdicts on stored evaluations, and what changed between two commits."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scripts import git

from srlib.cli.main import main
from srlib.core.errors import SRError
from srlib.reproduce import changes, stored
from srlib.reproduce.changes import compare
from srlib.reproduce.stored import judge
from srlib.reproduce.verdicts import VERDICTS


def evaluation(file, offset: float, images: int = 20, **columns) -> str:
    """Write what `evaluate --csv` does, of images that differ a lot from each other and by `offset` from another file's."""
    rng = np.random.default_rng(0)
    psnr = 30 + rng.normal(0, 3, images) + offset + np.random.default_rng(int(offset * 100)).normal(0, 0.02, images)
    rows = pd.DataFrame({"image": [f"i{n}" for n in range(images)], "psnr": psnr, "ssim": psnr / 40})
    rows.assign(dataset="Set9", scale=4, protocol="y", **columns).to_csv(file, index=False)
    return str(file)


class TestClaim:
    def test_of_files(self, tmp_path, capsys):
        low, close, high = (evaluation(tmp_path / f"{offset}.csv", offset) for offset in (0.0, 0.05, 1.0))
        cases = [
            (f"{high} > {low}", "", "holds"),
            (f"{low}>{high}", "", "contradicted"),
            (f"{low} < {high}", "by 0.5 dB", "holds"),
        ]
        cases += [(f"{close} > {low}", "", "not decidable at this budget"), (f"{high} > {low}", "by 2 in psnr", "contradicted")]
        for text, end, verdict in cases:
            assert main(["claim", f"{text} on Set9 x4 {end}"]) == 0
            assert capsys.readouterr().out.startswith(f"{verdict}: Set9 x4: ")

    def test_few_pictures_decide_nothing(self, tmp_path):
        few, more = (evaluation(tmp_path / f"{offset}.csv", offset, images=3) for offset in (0.0, 1.0))
        assert judge(f"{more} > {few} on Set9 x4")[0] == "not decidable at this budget"

    def test_windows_of_a_picture_are_no_pictures(self, tmp_path):
        files = [evaluation(tmp_path / f"a picture's {offset}.csv", offset, images=8) for offset in (0.0, 1.0)]
        for file in files:
            rows = pd.read_csv(file)
            rows.assign(image=[f"i{n // 2}@0,{48 * (n % 2)}" for n in range(8)]).to_csv(file, index=False)
        verdict, detail = judge(f"{files[1]} > {files[0]} on Set9 x4")
        assert verdict == "not decidable at this budget" and ", 4 images" in detail

    def test_infinite_scores_are_refused(self, tmp_path):
        files = [evaluation(tmp_path / f"{offset}.csv", offset) for offset in (0.0, 1.0)]
        rows = pd.read_csv(files[0])
        rows.loc[3, "psnr"] = np.inf
        rows.to_csv(files[0], index=False)
        with pytest.raises(SRError, match=r"0\.0\.csv has no finite psnr of 'i3'; leave that image out on both sides"):
            judge(f"{files[1]} > {files[0]} on Set9 x4")

    def test_of_stored_methods(self):
        verdict, detail = judge("difficulty_sr > idn on Urban100 x4")
        assert verdict in VERDICTS and "Urban100 x4: Difficulty-SR against IDN " in detail and "100 images" in detail
        assert detail.endswith("protocol y")

    def test_scores_of_other_scoring_code_are_refused(self, monkeypatch):
        monkeypatch.setattr(stored, "whole_set_probe", lambda model, by: [0.0])
        with pytest.raises(SRError, match="the scoring code has changed; delete the file and evaluate again"):
            judge("difficulty_sr > idn on Urban100 x4")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("a is better than b", "expected e.g."),
            ("btsrn > nothing on Set5 x2", "no paper has both btsrn and nothing"),
            ("difficulty_sr > idn on City100-nikon/test20 x2", "x2 under one protocol are stored"),
            ("difficulty_sr > idn on set5 x2", "unknown set 'set5'. Did you mean 'Set5'"),
            ("idn > idn on Set5 x2", "both sides are idn"),
            ("vdsr > srcnn on Set5 x2", "say which: btsrn/vdsr"),
            ("nix.csv > b.csv on Set5 x2", "nix.csv cannot be read"),
        ],
    )
    def test_mistakes(self, text, message):
        with pytest.raises(SRError, match=message):
            judge(text)

    @pytest.mark.parametrize(
        ("files", "message"),
        [
            (
                ["run/Set5_x2_btsrn_00000000", "run/Set5_x2_btsrn_11111111"],
                "scores of btsrn x2 on 2 versions of Set5 are stored: ",
            ),
            (
                ["run/Set5_x2_btsrn_00000000", "kept/Set5_x2_btsrn_11111111"],
                "scores of btsrn x2 on 2 versions of Set5 are stored: ",
            ),
            (
                ["run/Set5_x2_btsrn_00000000", "kept/Set5_x2_btsrn_00000000"],
                "stored scores .*; delete the file and evaluate again",
            ),
            (["run/Set5_x3_btsrn_00000000", "run/Set14_x2_btsrn_0"], "no scores of both btsrn and vdsr on Set5 x2"),
        ],
    )
    def test_scores_of_several_versions_of_a_set(self, tmp_path, monkeypatch, files, message):
        for file in files:
            (tmp_path / file).parent.mkdir(exist_ok=True)
            (tmp_path / f"{file}.csv").touch()
        network = SimpleNamespace(scores=tmp_path / "run", kept=tmp_path / "kept", probed=None)
        monkeypatch.setattr(stored.store, "load_existing", lambda *given: network)
        monkeypatch.setattr(stored, "whole_set_probe", lambda *given: [])
        with pytest.raises(SRError, match=message):
            judge("btsrn/btsrn > btsrn/vdsr on Set5 x2")

    def test_files_of_other_pictures_or_sets(self, tmp_path):
        first, other = evaluation(tmp_path / "1.csv", 0.0), evaluation(tmp_path / "2.csv", 0.0, images=19)
        with pytest.raises(SRError, match="differ in pictures or protocol"):
            judge(f"{first} > {other} on Set9 x4")
        with pytest.raises(SRError, match="no scores on Set5 x4; it has Set9 x4"):
            judge(f"{first} > {other} on Set5 x4")


@pytest.fixture
def repository(home):
    """A repository with two commits: scores of new weights, a lost and a new score, and a verdict that turned."""

    def write(path, text):
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).write_text(text)

    git(home, "init", "-b", "main")
    claims = "verdict,claim,difference\n{},A beats B | C,+0.1 dB\nholds,B is small,\n"
    scores = "# {{}}\nimage,psnr,seconds\n1,30.0,{}\n2,{},1.0\n"
    for folder, second, verdict, extra in (
        ("net_x2-0123456789", 31.0, "holds", "old"),
        ("net_x2-abcdef0123", 32.0, "contradicted", "new"),
    ):
        write(f"data/scores/{folder}/Set5_x2_y_0123abcd.csv", scores.format(1.0, second))
        write(f"data/scores/{extra}_x2-0123456789/Set5_x2_y_0123abcd.csv", scores.format(1.0, second))
        write("data/scores/same_x2-0123456789/Set5_x2_y_0123abcd.csv", scores.format(second, 7.0))  # only its time differs
        write("data/scores/bicubic_default_x2/Set5_x2_y_0123abcd_lpips.csv", scores.format(1.0, second))
        write("data/scores/official_net_x2-0123456789-0123456789/parts/Set5_x2_y_0123abcd.csv", scores.format(1.0, second))
        write("figures/released/paper/claims.csv", claims.format(verdict))
        git(home, "add", "-A")
        git(home, "commit", "-m", extra)
        git(home, "tag", extra)
        for stale in (f"{folder}", f"{extra}_x2-0123456789"):
            git(home, "rm", "-rq", f"data/scores/{stale}") if extra == "old" else None
    return home


class TestCompare:
    def test_lists_scores_and_verdicts_that_changed(self, repository, capsys):
        assert main(["compare", "old", "new"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert "| net_x2: Set5_x2_y, psnr | 30.5000 | 31.0000 | +0.5000 |" in lines
        assert "| old_x2: Set5_x2_y, psnr | 30.5000 | - |  |" in lines and "| new_x2: Set5_x2_y, psnr | - | 31.0000 |  |" in lines
        assert "| bicubic_default_x2: Set5_x2_y_lpips, psnr | 30.5000 | 31.0000 | +0.5000 |" in lines
        assert "| official_net_x2/parts: Set5_x2_y, psnr | 30.5000 | 31.0000 | +0.5000 |" in lines
        assert "| paper: A beats B / C | holds (+0.1 dB) | contradicted (+0.1 dB) |" in lines
        assert "## Scores: 5 changed" in lines and "## Verdicts: 1 changed" in lines

    def test_every_score_file_is_known(self):
        files = git(Path(__file__).parents[1], "ls-files", "data/scores/*.csv").split()
        assert len(files) > 500 and [file for file in files if not changes.SCORE_FILE.fullmatch(file)] == []

    def test_nothing_changed(self, repository):
        assert compare("new", "new").splitlines()[2:] == ["## Scores: none changed", "", "## Verdicts: none changed"]

    def test_an_unknown_commit(self, repository):
        with pytest.raises(SRError, match="unknown commit 'nix'"):
            compare("nix", "new")
