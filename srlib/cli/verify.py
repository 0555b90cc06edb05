"""`srlib verify`, `claim`, `compare`: what published numbers, stored evaluations and commits say."""

import argparse
import json
import sys

from srlib.core import paths


def add_verify(commands: argparse._SubParsersAction) -> None:
    """Add the arguments of these commands."""
    verify = commands.add_parser(
        "verify",
        help="find the protocol that gives a published number, from SR and HR pictures",
        description="Score a folder of SR pictures under all named protocols, and under every colour, rounding, border and SSIM "
        "window that papers use; with published numbers, say which of them give these. Pictures are paired by name.",
    )
    verify.add_argument(
        "sr", type=paths.given, metavar="SR_FOLDER", help="SR pictures; with several sets, a folder of each set's name"
    )
    verify.add_argument(
        "--hr", type=paths.given, required=True, metavar="HR_FOLDER", help="the ground truth, laid out like SR_FOLDER"
    )
    verify.add_argument("--scale", type=int, required=True, help="the factor of SR; also the unit of some borders")
    verify.add_argument(
        "--published",
        action="append",
        default=[],
        metavar="[SET=]PSNR[/SSIM]",
        help="e.g. 32.62 or Set5=32.21/0.8948; once per set",
    )
    verify.add_argument("--published-ssim", action="append", default=[], metavar="[SET=]SSIM", help="where only SSIM is printed")
    verify.add_argument("--lr", type=paths.given, metavar="LR_FOLDER", help="the networks' input: say which resize made it")
    verify.add_argument("--json", type=paths.given, metavar="FILE", help="write everything that was found")
    verify.add_argument("--csv", type=paths.given, metavar="FILE", help="write the scores of all combinations, a row each")

    claim = commands.add_parser("claim", help="give the verdict of two stored evaluations")
    claim.add_argument("claim", help='e.g. "difficulty_sr > idn on Urban100 x4"; also of two files of `evaluate --csv`')
    compare = commands.add_parser("compare", help="list every score and verdict that changed between two commits, as Markdown")
    compare.add_argument("old", metavar="REV1")
    compare.add_argument("new", metavar="REV2")


def run_claim(args: argparse.Namespace) -> None:
    from srlib.reproduce.stored import judge

    print("{}: {}".format(*judge(args.claim)))


def run_compare(args: argparse.Namespace) -> None:
    from srlib.reproduce.changes import compare

    print(compare(args.old, args.new), end="")


def run_verify(args: argparse.Namespace) -> None:
    import pandas as pd

    from srlib.core.errors import SRError
    from srlib.core.files import atomic_write, check_writable
    from srlib.core.imresize import integer_scale
    from srlib.verify import report
    from srlib.verify.degradation import compare_lr
    from srlib.verify.detective import folder_of, score_sets
    from srlib.verify.published import parse_published, search

    published = parse_published(args.published, args.published_ssim)
    for file in filter(None, (args.json, args.csv)):
        check_writable(file)
    names, scale = [entry.dataset for entry in published] or [""], integer_scale(args.scale)
    roots = (args.lr, args.hr)
    only = len(names) == 1
    lr = {name: compare_lr(*(folder_of(root, name, scale, only) for root in roots), scale) for name in names if args.lr}
    scored = score_sets(args.sr, args.hr, names, scale, sys.stderr.isatty())
    for scored_set in scored:
        print("\n".join(report.set_lines(scored_set)))
        if args.lr:
            print(report.lr_line(lr[scored_set.dataset]))
    table = search({scored_set.dataset: scored_set.table for scored_set in scored}, published, scale) if published else None
    lines = report.search_lines(table, published, scored) if published else []
    for line in lines + report.trap_lines(table, published, scored, bool(args.lr)):
        print(line)
    if args.csv:
        rows = pd.concat([scored_set.table.assign(dataset=scored_set.dataset) for scored_set in scored])
        atomic_write(args.csv, rows.to_csv(index=False))
    if args.json:
        atomic_write(args.json, json.dumps(report.to_json(table, published, scored, lr), indent=1, allow_nan=False))
    if failures := [line for scored_set in scored for line in scored_set.failures]:
        count = len(failures) + sum(len(scored_set.pairs) for scored_set in scored)
        raise SRError(f"not scored: {len(failures)} of {count} pictures, see above")
