"""The command line of srlib: `python -m srlib --help` lists its commands."""

import argparse
import os
import re
import sys
from pathlib import Path

from srlib.cli.arguments import parser
from srlib.cli.verify import run_claim, run_compare, run_verify
from srlib.core.errors import SRError
from srlib.core.output import tolerant


def _data(args: argparse.Namespace) -> None:
    from srlib.core import paths
    from srlib.data import registry

    damaged = []
    names = [*args.datasets, *([registry.OFFICIAL] if args.official else [])]
    for name in names:  # a mistake in the last name is reported before the first set is fetched
        registry.files(name)
    for name in names or (name for name in registry.datasets() if name not in registry.OPTIONAL):
        if args.check:
            status = registry.verify(name)
            print(f"{name}: {(status['status'] == 'ok').sum()} of {len(status)} files are intact")
            damaged += [f"{row.file} ({row.status})" for row in status.itertuples() if row.status != "ok"]
        else:
            files = registry.fetch(name, workers=args.workers)
            print(f"{name}: {len(files)} files verified in {os.path.commonpath([file.parent for file in files])}")
    if damaged:
        examples = ", ".join(damaged[:3]) + (", ..." if len(damaged) > 3 else "")
        lacking = f"{len(damaged)} file{'s are' if len(damaged) > 1 else ' is'} missing or damaged"
        raise SRError(f"{lacking} in {paths.data_dir()}: {examples}. Run the same without --check")


def _entries(folder: Path, pattern: str = "*") -> list[Path]:
    """Return what a folder holds, none where it is not there; unlike `Path.glob`, a folder that cannot be read is an error."""
    return sorted(path for path in folder.iterdir() if path.match(pattern)) if folder.exists() else []


def _list(args: argparse.Namespace) -> None:
    from srlib import papers
    from srlib.core import paths
    from srlib.data.sets import known_sets
    from srlib.nn import models
    from srlib.nn.cost import summary

    if args.what == "models":
        print(f"{'model':14s} {'scales':24s} {'at':>4s} {'parameters':>12s} {'mult-adds (G)':>14s}")
        for name in models.names():
            scale = models.default_scale(name)
            scales, costs = ",".join(map(str, models.scales(name))), ("-", "-")
            if not models.fitted(name):  # in closed form, without layers to count
                cost = summary(models.create(name, scale))
                costs = f"{cost.parameters:,d}", f"{cost.mult_adds / 1e9:.1f}"
            print(f"{name:14s} {scales:24s} {f'x{scale}':>4s} {costs[0]:>12s} {costs[1]:>14s}")
    elif args.what == "experiments":
        for name, trained_by in papers.experiments().items():
            for paper in trained_by:
                print(f"{f'{paper.name}/{name}':38s} {paper.method(name).label}")
    elif args.what == "datasets":
        print("\n".join(known_sets()))
    elif args.what == "released":
        from srlib.reproduce.cards import weights_dir

        for file in (path for folder in _entries(weights_dir()) for path in _entries(folder, "*.safetensors")):
            name, scale, seed = re.fullmatch(r"(.+)_x(\d+)(?:_seed(\d+))?", file.stem).groups("0")
            size = f"{file.stat().st_size / 1e6:6.2f} MB"
            print(f"{f'{file.parent.name}/{name}':38s} x{scale}  seed {seed}  {size}")
    else:
        root = paths.runs_dir() / "experiments"
        for folder in filter(Path.is_dir, _entries(root)):
            state = "complete" if (folder / "model.safetensors").exists() else "partial"
            print(f"{state:9s} {folder}")


def _start(args: argparse.Namespace, paper, name: str) -> dict[str, Path]:
    """Return the weights that a training starts from: those that were named, or those of the profile, run or released."""
    from srlib.reproduce.store import available

    setting, scale = paper.setting(args.profile), paper.method(name).trained_at or args.scale
    start, initial = {}, paper.start(name, setting)
    for given in args.start:
        part, path = given.split("=", 1) if "=" in given and not Path(given).exists() else ("", given)
        if part not in (initial or {"": ""}):
            wanted = " ".join(f"--start {f'{known}=' if known else ''}PATH" for known in initial or ("",))
            raise SRError(f"start (={given}): {args.experiment} starts from {wanted}")
        file = Path(path) / "model.safetensors" if Path(path).is_dir() else Path(path)
        if not file.is_file():
            raise SRError(f"start (={path}) must be a complete run or a weights file, and {file} is not there")
        start[part] = file
    for part, first in initial.items():
        if part in start:
            continue
        ready = available(paper, [first], scale, setting, args.seed)
        if not ready and paper.method(first).official:
            raise SRError(
                f"{args.experiment} starts from {paper.labels[first]} x{scale}, which are not here; fetch them "
                f"(python -m srlib data official), or name others with --start {f'{part}=' if part else ''}PATH"
            )
        if not ready:
            command = f"python -m srlib train {paper.name}/{first} --scale {scale} --profile {args.profile} --seed {args.seed}"
            raise SRError(
                f"{args.experiment} starts from a trained {first} x{scale} of profile {args.profile}, and there is none; "
                f"train that first ({command}), or name a run with --start {f'{part}=' if part else ''}PATH"
            )
        start[part] = ready[first].weights
    return start


def _train(args: argparse.Namespace) -> None:
    from srlib import papers
    from srlib.papers.profiles import profile
    from srlib.train.loop import describe
    from srlib.train.training import digest, train

    paper, name = papers.find(args.experiment, args.scale)
    method = paper.method(name)
    if args.scale is None:
        scales = [scale for scale in paper.scales_of(profile(args.profile)) if paper.has(name, scale)]
        args.scale = method.trained_at or min(scales or method.scales or paper.scales)
    paper.check(name, args.scale)
    options = ("data", "validation", "minutes", "steps", "batch", "hr_patch", "learning_rate", "precision")
    changes = {name: getattr(args, name) for name in options if getattr(args, name) is not None}
    start = _start(args, paper, name)
    changes["start"] = digest(start)
    experiment = paper.experiment(name, args.scale, args.profile, args.seed, **changes)
    run = train(experiment, start=start)
    if os.environ.get("RANK", "0") != "0":
        return  # of several processes only the first prints
    last = run.history().iloc[-1].to_dict()
    print(f"{int(last['step'])} steps, {last['seconds'] / 60:.1f} minutes{describe(last, run.validated_on)}")
    print(run.dir)


def _trained(name: str, scale: int | None):
    from srlib import papers
    from srlib.nn import models
    from srlib.reproduce.cards import read_card, weights_dir, weights_path
    from srlib.reproduce.store import Trained, check_scale, load_or_train, load_released, load_run
    from srlib.share import export, foreign
    from srlib.train.experiment import Experiment

    if Path(name).suffix == ".safetensors" and not export.is_export(Path(name)):
        if (Path(name).parent / "config.json").exists():  # of a run
            return load_run(Path(name).parent, scale)
        if Path(name).parent.parent.resolve() == weights_dir().resolve() and (card := Path(name).with_suffix(".json")).exists():
            experiment = Experiment(**read_card(card, whole=True)["experiment"])
            scale = check_scale(experiment, scale, name)
            return load_released(papers.get(experiment.paper), experiment.name, scale, experiment.seed)
    if (Path(name) / "config.json").exists():
        weights = Path(name) / "model.safetensors"
        if not export.is_export(weights):
            return load_run(Path(name), scale)
        name = str(weights)  # of a folder by `export --to hub`
    if foreign.is_foreign(name):
        label = Path(name).stem if name.endswith(foreign.FILES) else name.replace(":", ".")
        return Trained(label, label, foreign.load(name, scale), Path())
    if "/" in name and name.partition("/")[0] not in papers.names():
        raise SRError(f"no run in {name}; `python -m srlib list runs` shows which there are")
    if name == "bicubic":
        return Trained("bicubic", "Bicubic", models.create("bicubic", 2 if scale is None else scale).eval(), Path())
    paper, name = _find_released(name, scale)
    if scale is None:
        has = paper.method(name).scales or paper.scales
        having = [scale for scale in has if weights_path(paper, name, paper.method(name).trained_at or scale).exists()] or has
        scale = 2 if 2 in having else min(having)
    if models.fitted(paper.method(name).model):
        return load_or_train(paper, name, scale, paper.setting("released"))
    return load_released(paper, name, scale)


def _find_released(name: str, scale: int | None):
    """Like `papers.find`, but where several papers train that name, take the only one whose weights are released."""
    from srlib import papers
    from srlib.reproduce.cards import weights_dir

    pattern = f"{name}_x{'*' if scale is None else scale}.safetensors"
    released = [paper for paper in papers.experiments().get(name, ()) if any((weights_dir() / paper.name).glob(pattern))]
    return papers.find(f"{released[0].name}/{name}" if len(released) == 1 else name, scale)


def _evaluate(args: argparse.Namespace) -> None:
    import pandas as pd

    from srlib.core.files import atomic, check_writable
    from srlib.core.protocols import protocol
    from srlib.data.sets import open_set
    from srlib.scoring.evaluation import count_images, evaluate, means

    by = protocol(args.protocol)
    trained = _trained(args.name, args.scale)
    print(f"{trained.name} x{trained.model.scale}; {by.describe()}")
    for dataset in args.datasets:  # a mistake in the last name is reported before the first set is scored
        open_set(dataset)
    if args.csv:
        check_writable(args.csv)
    frames, failures = [], []
    for dataset in args.datasets:
        images: list[str] = []  # that failed, after which the others are still scored
        try:
            rows = evaluate(trained.model, dataset, by, ensemble=args.ensemble, progress=sys.stderr.isatty(), failures=images)
        except SRError as error:
            images.append(str(error))
            rows = pd.DataFrame()
        failures += images
        if rows.empty:
            continue
        count = count_images(rows, by)
        frames.append(rows.assign(dataset=dataset, scale=trained.model.scale, protocol=by.name))
        if "accuracy" in rows:
            right, patches = (rows["accuracy"] * rows["patches"]).sum(), rows["patches"].sum()
            print(f"{dataset:14s} {count:4d} images  {right / patches:.1%} of {patches} patches classified correctly")
        else:
            mean = means(rows, ("psnr", "ssim", "seconds"))
            exact = f", PSNR excludes {mean['exact']} reproduced exactly" if "exact" in mean else ""
            seconds = mean["seconds"] * len(rows) / count
            numbers = f"{mean['psnr']:6.2f} dB  {mean['ssim']:.4f}  {seconds:.2f} s per image"
            windows = f", in {len(rows)} windows" if len(rows) > count else ""
            without = f", without {len(images)} that failed" if images else ""
            print(f"{dataset:14s} {count:4d} images  {numbers}{windows}{exact}{without}")
        if args.csv:  # after each set, so that nothing is lost where a later one fails
            with atomic(args.csv) as temporary:
                pd.concat(frames).to_csv(temporary, index=False, errors="backslashreplace")  # names that are no UTF-8
    if failures:
        raise SRError("\n  ".join([f"not scored: {len(failures)}", *failures] if len(failures) > 1 else failures))


def _upscale(args: argparse.Namespace) -> None:
    from srlib.cli.pictures import upscale_files

    upscale_files(
        _trained(args.model, args.scale),
        args.images,
        args.output,
        tile=args.tile,
        ensemble=args.ensemble,
        overwrite=args.overwrite,
        progress=sys.stderr.isatty(),
    )


def _release(args: argparse.Namespace) -> None:
    from srlib.core.protocols import protocol
    from srlib.reproduce.cards import release
    from srlib.reproduce.store import load_run

    run = load_run(args.run).run
    print(release(run, args.datasets, protocol("y")))


def _export(args: argparse.Namespace) -> None:
    from srlib.cli.sharing import export_networks

    export_networks(args, _trained)


def _count(args: argparse.Namespace) -> None:
    from srlib.cli.sharing import count_costs

    count_costs(args)


COMMANDS = {
    "data": _data,
    "list": _list,
    "train": _train,
    "evaluate": _evaluate,
    "upscale": _upscale,
    "verify": run_verify,
    "claim": run_claim,
    "compare": run_compare,
    "release": _release,
    "export": _export,
    "count": _count,
}


@tolerant()
def main(argv: list[str] | None = None) -> int:
    """Run one command; return 0, or 2 with one clear message on standard error."""
    args = parser().parse_args(argv)
    try:
        COMMANDS[args.command](args)
    except SRError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except PermissionError as error:
        print(f"error: no permission for {error.filename}; change its mode or owner, or name another place", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        goes_on = "; the same command continues where this one ended" if args.command in ("train", "data") else ""
        print(f"stopped{goes_on}", file=sys.stderr)
        return 130
    return 0
