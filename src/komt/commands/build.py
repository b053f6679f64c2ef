"""Build a recipe's instruction data: examples, a manifest of what was kept and why the rest was not.

DIR gets train.parquet, evaluate.parquet, rejects.parquet, fingerprints.parquet, manifest.json and
report.html, and appears whole or not at all. The same recipe over the same files gives the same bytes.
Formats of other programs stand beside: chat.jsonl, alpaca.json, sharegpt.jsonl, lm-eval/.

Example:
  komt build sample --out runs/sample/data
  komt build sample --format chat,alpaca,lm-eval
  komt build korquad data.tasks.korquad.qa.cap=100 --out /tmp/korquad --show-rejects duplicate --limit 20
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

# Columns from which on reasons have room; in a narrow terminal they would stand in single syllables.
_REASONS_WIDTH = 110
# All of them are started at once.
_MOST_PER_CORE = 8

if TYPE_CHECKING:
    from komt.mix import Manifest
    from komt.recipe import Recipe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `komt build`."""
    add = parser.add_argument
    add("recipe", metavar="RECIPE", help="a shipped recipe's name, or a YAML file")
    add("overrides", nargs="*", metavar="key=value", help="values over the recipe's, as seed=1")
    add("--out", type=Path, metavar="DIR", help="folder to write (default: runs/RECIPE-NAME/data)")
    add(
        "--format",
        action="append",
        default=[],
        metavar="NAME",
        help="besides Parquet: chat, alpaca, sharegpt, lm-eval (several: with commas)",
    )
    add(
        "--show-rejects",
        nargs="?",
        const="",
        metavar="REASON",
        help="print what was left out (of one reason), counted first",
    )
    add("--limit", type=int, metavar="N", help="with --show-rejects: at most N rows")
    add("--engine", choices=("local", "ray"), default="local", help="where the work is done (default: local)")
    add(
        "--processes",
        type=int,
        default=0,
        metavar="N",
        help="processes of the local engine (default: 0, by the cores and the work there is)",
    )
    add("--json", action="store_true", help="print the manifest, or the rejects as JSON Lines")


def main(args: argparse.Namespace) -> int:
    """Run `komt build`."""
    from komt.commands._rejects import print_rejects
    from komt.commands._stages import built, recipe_with_own
    from komt.mix.formats import parse_formats

    _check(args)
    formats = parse_formats(args.format)
    recipe = recipe_with_own(args.recipe, args.overrides)
    out: Path = args.out or Path("runs") / recipe.name / "data"
    _refuse_foreign(out)
    manifest = built(
        recipe,
        out,
        engine=args.engine,
        processes=args.processes,
        also=lambda folder, manifest: _write_formats(folder, formats, recipe, manifest),
    )
    if args.show_rejects is not None:
        if not args.json:
            _print_manifest(manifest)
        print_rejects(out / "rejects.parquet", args.show_rejects, args.limit, as_json=args.json)
        return 0
    if args.json:
        print(manifest.as_json(), end="")
        return 0
    _print_manifest(manifest)
    print(f"{manifest.examples:,} examples in {out}; look at {out / 'report.html'}")
    return 0


def _check(args: argparse.Namespace) -> None:
    from komt.commands._engine import check_processes
    from komt.errors import UsageError

    if args.limit is not None and args.show_rejects is None:
        raise UsageError("--limit belongs to --show-rejects")
    if args.limit is not None and args.limit < 1:
        raise UsageError(f"--limit {args.limit}: at least 1")
    if args.processes < 0:
        raise UsageError(f"--processes {args.processes}: at least 1, or 0 for what cores and work ask for")
    check_processes(args.processes, _MOST_PER_CORE)
    if args.engine == "ray" and args.processes:
        raise UsageError("--processes belongs to the local engine; Ray divides the work itself")


def _write_formats(folder: Path, formats: list[str], recipe: Recipe, manifest: Manifest) -> None:
    from komt.mix.formats import write_formats
    from komt.tasks import load_task

    metrics = {name: load_task(name, recipe).metrics for name in manifest.tasks}
    write_formats(folder, formats, metrics)


def _refuse_foreign(out: Path) -> None:
    """The folder is replaced as a whole: it must be new, empty, or a former build."""
    from komt.errors import UsageError

    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not (out / "manifest.json").is_file()):
        raise UsageError(f"{out} holds something else than built data", cure="name a new folder with --out")


def _print_manifest(manifest: Manifest) -> None:
    from rich.table import Column, Table

    from komt.commands._console import table_console

    console = table_console()
    wide = console.width >= _REASONS_WIDTH
    table = Table(Column("task", no_wrap=True), box=None, pad_edge=False)
    for column in ("read", "kept", "shortened", "rejected", "evaluate"):
        table.add_column(column, justify="right", no_wrap=True)
    if wide:
        table.add_column("why rejected")
    for name, task in manifest.tasks.items():
        reasons = {reason: n for stage in task.rejected.values() for reason, n in stage.items()}
        table.add_row(
            name,
            f"{task.read:,}",
            f"{task.examples:,}",
            f"{task.shortened:,}",
            f"{sum(reasons.values()):,}",
            f"{task.evaluation.examples:,}" if task.evaluation else "none",
            *([", ".join(f"{reason} {n:,}" for reason, n in reasons.items())] if wide else []),
        )
    console.print(table)
    if not wide:
        print("(a wider terminal shows the reasons; --show-rejects prints the rows)")
    for title, left in (("not trained on", manifest.held_out), ("not here", manifest.absent)):
        if left:
            print(f"{title}: {', '.join(left)}")
    if manifest.note:
        print(f"{', '.join(manifest.resplit)}: {manifest.note}")
