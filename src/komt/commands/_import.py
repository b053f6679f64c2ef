"""`komt sources import`: what a person has downloaded, put where the source's reader looks for it."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from komt.commands._fetch import size

HELP = "take over what you downloaded: a folder, zip, tar, split archive, or single files"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `komt sources import`."""
    parser.add_argument("name", metavar="NAME", help="a source, as `komt sources list` prints it")
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="as downloaded; all parts of a split archive lie in one folder",
    )
    parser.add_argument(
        "--split",
        choices=["train", "dev", "test"],
        default="",
        help="the split of all that is given, where no folder's name (Training, Validation) says it",
    )
    parser.add_argument("--force", action="store_true", help="replace what is here")
    parser.add_argument("--add", action="store_true", help="add to what is here (a set in several downloads)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def main(args: argparse.Namespace) -> int:
    """Import, and say what was taken, what was not and why, and how many rows there are."""
    from komt.sources import load_source
    from komt.sources.bring import Wish, bring

    source = load_source(args.name)
    paths = tuple(Path(path).expanduser() for path in args.paths)
    wish = Wish(paths, split=args.split, force=args.force, add=args.add)
    with _shown() as onlooker:
        found = bring(source, wish, onlooker)
    if args.json:
        print(json.dumps({"source": source.name, **found.as_json()}, ensure_ascii=False, indent=1))
    else:
        print("\n".join(_lines(source, found)))
    return 0


def _lines(source: Any, found: Any) -> Iterator[str]:
    for item in found.brought:
        files = "1 file" if item.files == 1 else f"{item.files:,} files"
        taken = f"{files} in " if source.imports and item.files else ""
        cures = "--force replaces it" + (", --add adds to it" if source.imports else "")
        note = "" if item.files or item.state != "present" else f"   ({cures})"
        yield f"{item.state:<9} {taken}{size(item.bytes)}  {item.place}{note}"
    for split, rows in found.rows.items():
        expected = source.rows.get(split, rows)
        note = f"   the catalogue says {expected:,}" if expected != rows else ""
        yield f"  {split:<7} {rows:>9,} rows{note}"
        for reason, count in found.rejected[split].items():
            yield f"          {count:>9,} of them rejected: {reason}"
    for reason, count in found.ignored.counts.most_common():
        names = found.ignored.examples[reason]
        more = ", …" if count > len(names) else ""
        yield f"  left out {count:>7,} × {reason}: {', '.join(names)}{more}"
    for path in found.missing:
        yield f"  still missing: {path}"
    if source.terms:
        yield f"  terms: {source.terms}"


@contextlib.contextmanager
def _shown() -> Iterator[Any]:
    """Bars on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    from komt.sources.download import Watch
    from komt.sources.fetch import Onlooker

    done = TaskProgressColumn(text_format_no_percentage="{task.completed:,.0f}")
    columns = (TextColumn("{task.description}"), BarColumn(), done, TimeElapsedColumn())
    console = Console(file=sys.stderr)
    # Where nobody watches, bars would be blank lines.
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:

        def begin(title: str) -> Watch:
            bar = bars.add_task(title, total=None)
            return lambda done, total: bars.update(bar, completed=done, total=total or None)

        yield Onlooker(
            begin, lambda text: bars.console.print(text, highlight=False, markup=False, soft_wrap=True)
        )
