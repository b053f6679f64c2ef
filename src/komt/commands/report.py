"""Tables, comparisons and a page with plots of what evaluations, judges and trainings left.

DIR is a run's folder, or what `komt eval --out` or `komt judge` wrote. Without --format the table is printed,
and with --out the page and all tables are written there.

Example:
  komt report runs/sample
  komt report runs/sample --compare base tuned
  komt report report-base report-tuned --compare gemma-3-270m runs/sample --out compared
  komt report judged-by-a judged-by-b --votes runs/votes.jsonl
  komt report runs/sample --format md
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from komt.report import Comparison, Report

_FORMATS = ("text", "md", "json", "csv", "html")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `komt report`."""
    parser.add_argument(
        "folders", nargs="+", type=Path, metavar="DIR", help="a run, an evaluation, a judge's"
    )
    parser.add_argument(
        "--compare",
        nargs=2,
        metavar=("A", "B"),
        help="where the model B is better and worse than A, and which examples changed",
    )
    parser.add_argument(
        "--votes",
        type=Path,
        metavar="FILE",
        help="people's votes, as `komt web` writes them: how far judges agree with them",
    )
    parser.add_argument("--format", choices=_FORMATS, default="", help="printed, or written to --out")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write report.html, report.md, report.json, report.csv there"
    )
    parser.add_argument("--json", action="store_true", help="as --format json")


def main(args: argparse.Namespace) -> int:
    """Run `komt report`."""
    from komt.errors import UsageError
    from komt.report import compare, read_report

    if args.json and args.format not in {"", "json"}:
        raise UsageError(f"--json and --format {args.format}: give one of them")
    wanted = "json" if args.json else args.format
    if args.compare and wanted == "csv":
        raise UsageError("--format csv holds no comparison", cure="--format json, md or html, or none")
    report = read_report(args.folders, args.votes)
    comparison = compare(report, *args.compare) if args.compare else None
    if args.out:
        _write(args.out, report, comparison, wanted)
    elif wanted in {"", "text"}:
        _print(report, comparison)
    else:
        sys.stdout.write(_text(report, comparison, wanted))
    return 0


def _print(report: Report, comparison: Comparison | None) -> None:
    from komt.report.text import print_report

    print_report(report, comparison)


def _text(report: Report, comparison: Comparison | None, form: str) -> str:
    from komt.report.page import page
    from komt.report.tables import as_csv, as_json, as_markdown

    if form == "csv":
        return as_csv(report)
    return {"md": as_markdown, "json": as_json, "html": page}[form](report, comparison)


def _write(out: Path, report: Report, comparison: Comparison | None, wanted: str) -> None:
    """One format, or all; what is printed as text is written nowhere."""
    from komt.files import write_atomic

    if wanted in {"", "text"}:
        _print(report, comparison)
    for form in (wanted,) if wanted not in {"", "text"} else _FORMATS[1:]:
        path = out / f"report.{form}"
        write_atomic(path, _text(report, comparison, form))
        print(path, file=sys.stderr)
