"""Build a recipe's instruction data: examples, a manifest of what was kept and why the rest was not.

DIR gets train.parquet, evaluate.parquet, rejects.parquet, fingerprints.parquet and manifest.json, and
appears whole or not at all. The same recipe over the same files gives the same bytes.

Example:
  komt build sample --out runs/sample/data
  komt build korquad data.tasks.korquad.qa.cap=100 --out /tmp/korquad --show-rejects
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from komt.mix import Manifest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `komt build`."""
    parser.add_argument("recipe", metavar="RECIPE", help="a shipped recipe's name, or a YAML file")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="values over the recipe's, as seed=1"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder to write (default: runs/RECIPE-NAME/data)"
    )
    parser.add_argument(
        "--format", choices=("parquet", "alpaca"), default="parquet", help="alpaca: write alpaca.json besides"
    )
    parser.add_argument(
        "--show-rejects",
        nargs="?",
        const="",
        metavar="REASON",
        help="print what was left out (of one reason)",
    )
    parser.add_argument("--json", action="store_true", help="print the manifest instead of the table")


def main(args: argparse.Namespace) -> int:
    """Run `komt build`."""
    from rich.console import Console

    from komt.commands._stages import built, recipe_with_own
    from komt.mix import read_examples

    recipe = recipe_with_own(args.recipe, args.overrides)
    out: Path = args.out or Path("runs") / recipe.name / "data"
    _refuse_foreign(out)
    with Console(stderr=True).status("building"):
        manifest = built(recipe, out)
    if args.format == "alpaca":
        from komt.mix.formats import write_alpaca

        write_alpaca(out / "alpaca.json", read_examples(out / "train.parquet"))
    if args.json:
        print(manifest.as_json(), end="")
        return 0
    _print_manifest(manifest)
    if args.show_rejects is not None:
        _print_rejects(out / "rejects.parquet", args.show_rejects)
    print(f"{manifest.examples:,} examples in {out}")
    return 0


def _refuse_foreign(out: Path) -> None:
    """The folder is replaced as a whole: it must be new, empty, or a former build."""
    from komt.errors import UsageError

    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not (out / "manifest.json").is_file()):
        raise UsageError(f"{out} holds something else than built data", cure="name a new folder with --out")


def _print_manifest(manifest: Manifest) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    table = Table(Column("task", no_wrap=True), box=None, pad_edge=False)
    for column in ("read", "kept", "shortened", "rejected", "evaluate"):
        table.add_column(column, justify="right")
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
            ", ".join(f"{reason} {n:,}" for reason, n in reasons.items()),
        )
    Console().print(table)
    if manifest.note:
        print(f"{', '.join(manifest.resplit)}: {manifest.note}")


def _print_rejects(path: Path, reason: str) -> None:
    import pyarrow.parquet as pq

    for item in pq.read_table(path).to_pylist():
        if reason in {"", item["reason"]}:
            row = json.loads(item["row"]) if item["row"] else ""
            text = json.dumps(row, ensure_ascii=False) if row else ""
            head = f"{item['task']} {item['split']} {item['stage']}/{item['reason']}"
            print(f"{head} {item['where']} {text}".rstrip())
