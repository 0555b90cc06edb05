"""The arguments of the command line."""

import argparse
from pathlib import Path

from srlib import __version__
from srlib.cli.verify import add_verify
from srlib.core import paths

PRECISIONS = ("fp32", "bf16")
FOREIGN = "a weights file (.pth, .safetensors), or module:function, which returns a torch.nn.Module"


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; it imports nothing heavy, so that --help is quick."""
    top = argparse.ArgumentParser(
        prog="python -m srlib",
        description="Single-image super-resolution: data, models, training and evaluation of the reproduced papers.",
    )
    top.add_argument("--version", action="version", version=f"srlib {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    data = commands.add_parser("data", help="fetch and verify the public test and training sets, and official weights")
    data.add_argument("datasets", nargs="*", metavar="DATASET", help="names to fetch (default: all but lpips)")
    data.add_argument("--official", action="store_true", help="fetch the official weights alone, as DATASET official")
    data.add_argument("--check", action="store_true", help="verify what is there, download nothing")
    data.add_argument("--workers", type=int, default=4, help="parallel downloads (default 4)")

    listing = commands.add_parser("list", help="list models, experiments, datasets, released weights or runs")
    kinds = ("models", "experiments", "datasets", "released", "runs")
    listing.add_argument("what", nargs="?", default="released", choices=kinds, help="default: released")

    train = commands.add_parser("train", help="train an experiment; an interrupted run resumes")
    train.add_argument("experiment", help="a name from `list experiments`")
    train.add_argument("--scale", type=int, help="default: the smallest that the experiment and the profile have")
    train.add_argument("--profile", default="released", help="data and defaults: smoke, quick, released (default) or paper")
    train.add_argument("--data", help="training images instead of the profile's, e.g. T91+BSD400 or folder:PATH")
    train.add_argument("--validation", help='images scored during training instead of the profile\'s ("" for none)')
    budget = train.add_mutually_exclusive_group()
    budget.add_argument("--minutes", type=float, help="budget in minutes; the learning rate is annealed to its end")
    budget.add_argument("--steps", type=int, help="budget in steps")
    train.add_argument("--batch", type=int, help="patches per step, over all processes")
    train.add_argument("--hr-patch", type=int, help="side of a patch in HR pixels")
    train.add_argument("--learning-rate", type=float)
    train.add_argument("--precision", choices=PRECISIONS, help="bf16 pays on GPUs and on CPUs with AMX")
    train.add_argument("--seed", type=int, default=0)
    help_of_start = "run or weights to start from, where a method does so (default: the profile's), also as PART=PATH"
    train.add_argument("--start", action="append", default=[], metavar="PATH", help=help_of_start)

    evaluate = commands.add_parser("evaluate", help="score released weights, a run or any network on test sets")
    evaluate.add_argument("name", help=f"bicubic, a released experiment, the directory of a run, {FOREIGN}")
    evaluate.add_argument("datasets", nargs="+", metavar="DATASET", help="e.g. Set5 B100 folder:PATH")
    evaluate.add_argument("--scale", type=int, help="default: that of the run, or 2, or the smallest that the experiment has")
    protocols = "y, lapsrn, prosrn, edsr, btsrn, btsrn_div2k, realsr or d2c (default y)"
    evaluate.add_argument("--protocol", default="y", help=protocols)
    evaluate.add_argument("--ensemble", action="store_true", help="average over the eight flips and rotations")
    evaluate.add_argument("--csv", type=paths.given, help="write the rows, one per image, to this file")

    upscale = commands.add_parser(
        "upscale",
        help="upscale pictures with released weights, a run or any network",
        description="Upscale pictures; 16-bit ones come out with 8 bits. A picture that fails does not stop the others; then "
        "the exit status is 2.",
    )
    upscale.add_argument("images", nargs="+", metavar="IMAGE", help="files, folders, or patterns in quotes, e.g. 'trip/**/*.jpg'")
    upscale.add_argument(
        "--model", default="btsrn", help=f"bicubic, a released experiment, the directory of a run, {FOREIGN} (default btsrn)"
    )
    upscale.add_argument("--scale", type=int, help="default: that of the run, or 2, or the smallest that the experiment has")
    upscale.add_argument(
        "--output", type=paths.given, help="a .png or .jpg, or a folder for several (default: IMAGE_MODEL_xSCALE.png beside each)"
    )
    upscale.add_argument("--ensemble", action="store_true", help="average over the eight flips and rotations")
    upscale.add_argument(
        "--tile",
        type=int,
        help="LR pixels per tile (default: about 1024 output pixels; 0 for none); ignored by networks that need the whole image",
    )
    upscale.add_argument("--overwrite", action="store_true", help="replace outputs that exist, be they inputs")

    add_verify(commands)

    release = commands.add_parser("release", help="copy a complete run to data/weights with its card")
    release.add_argument("run", type=paths.given, help="the directory of a run")
    release.add_argument("--datasets", nargs="+", default=["Set5"], help="scored for the card (default Set5)")

    export = commands.add_parser("export", help="write networks for other tools")
    export.add_argument("names", nargs="+", metavar="NAME", help="released experiments or runs")
    export.add_argument("--scale", type=int, help="default: that of the run, or 2, or the smallest that the experiment has")
    forms = "tensors with metadata, an ONNX graph for any size, a folder with a model card, or tensors that spandrel can load"
    export.add_argument("--to", required=True, choices=("safetensors", "onnx", "hub", "spandrel"), help=forms)
    export.add_argument("--precision", default="fp32", choices=("fp32", "fp16"), help="of tensors (default fp32); ONNX is fp32")
    export.add_argument("--output", type=paths.given, default=Path(), help="a folder (default: the working directory)")

    count = commands.add_parser("count", help="count parameters and mult-adds for a 1280x720 output")
    count.add_argument("names", nargs="+", metavar="NAME", help=f"from `list models`, {FOREIGN}")
    count.add_argument("--scale", type=int, help="default: that of the network, or 2, or the smallest that it has")
    return top
