"""Where rows come from: list the sources, show one, get its files, or read them and count rows by split.

Source files are looked for below KOMT_DATA (default: KOMT_HOME/data), at FOLDER/PATH as `show` prints them.

Example:
  komt sources list
  komt sources show korquad
  komt sources fetch korquad
  komt sources import aihub-97 ~/Downloads/097
  komt sources check sample --json
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from komt.commands import _fetch, _import

_BRINGING: dict[str, Any] = {"fetch": _fetch, "import": _import}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `komt sources`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for action, text in (
        ("list", "every source: licence, origin, whether its files are here"),
        ("show", "one source: licence, citation, files and where they are looked for"),
        ("check", "read the files that are here: rows by split, rejected rows by reason"),
    ):
        sub = actions.add_parser(action, help=text, description=text)
        if action != "list":
            sub.add_argument("name", help="a source's name, as `komt sources list` prints it")
        sub.add_argument("--json", action="store_true", help="print JSON")
    for action, module in _BRINGING.items():
        module.add_arguments(actions.add_parser(action, help=module.HELP, description=module.HELP))


def main(args: argparse.Namespace) -> int:
    """Run `komt sources`."""
    actions = {"list": _list, "show": _show, "check": _check, "fetch": _fetch.main, "import": _import.main}
    return actions[args.action](args)


def _list(args: argparse.Namespace) -> int:
    from komt.sources import SOURCES, load_source, present

    sources = [load_source(name) for name in SOURCES.names()]
    keys = ("name", "licence", "origin", "repository")
    rows = [{**{key: getattr(source, key) for key in keys}, "present": present(source)} for source in sources]
    if args.json:
        print(json.dumps(rows, ensure_ascii=False, indent=1))
        return 0
    from rich.console import Console
    from rich.table import Column, Table

    name = Column("source", no_wrap=True)
    table = Table(name, "here", "origin", "licence", "what it holds", box=None, pad_edge=False)
    for source, row in zip(sources, rows, strict=True):
        table.add_row(
            source.name, "yes" if row["present"] else "no", source.origin, source.licence, source.title
        )
    Console().print(table)
    return 0


def _show(args: argparse.Namespace) -> int:
    from komt.sources import load_source, place

    source = load_source(args.name)
    files = [
        {**file.model_dump(), "place": str(place(source, file)), "present": place(source, file).is_file()}
        for file in source.files
    ]
    if args.json:
        print(json.dumps({**source.model_dump(mode="json"), "files": files}, ensure_ascii=False, indent=1))
        return 0
    print(f"{source.name}: {source.title}")
    for key in ("licence", "origin", "citation", "repository"):
        if value := getattr(source, key):
            print(f"  {key:<11} {value}")
    rows = ", ".join(f"{split} {count:,}" for split, count in source.rows.items())
    print(f"  {'rows':<11} {rows or 'not counted yet'}")
    for file in files:
        print(f"  {file['split']:<11} {'here   ' if file['present'] else 'MISSING'} {file['place']}")
    if source.resplit_by:
        print(f"  {'resplit':<11} data.resplit: true redivides the evaluation set by {source.resplit_by}")
    return 0


def _check(args: argparse.Namespace) -> int:
    from komt.sources import load_source

    source = load_source(args.name)
    report = _count(source)
    wrong = [split for split, rows in source.rows.items() if report["splits"].get(split, rows) != rows]
    if args.json:
        print(json.dumps(report, ensure_ascii=False, indent=1))
    else:
        print(f"{source.name}: {report['rows']:,} rows")
        for split, rows in report["splits"].items():
            expected = source.rows.get(split)
            note = f"   the catalogue says {expected:,}" if split in wrong and expected is not None else ""
            print(f"  {split:<6} {rows:>9,}{note}")
        for reason, count in report["rejected"].items():
            print(f"  rejected {count:>6,}  {reason}")
    return 1 if wrong else 0


def _count(source: Any) -> dict[str, Any]:
    """Rows (usable or rejected) by split, of the splits whose files are here, and rejected rows by reason."""
    from collections import Counter

    from komt.sources import Rejected, checked_place, present, read_rows

    splits: Counter[str] = Counter()
    rejected: Counter[str] = Counter()
    if not present(source):
        checked_place(source, source.files[0])
    for split in source.splits:
        if present(source, split):
            for row in read_rows(source, split):
                splits[split] += 1
                if isinstance(row, Rejected):
                    rejected[row.reason] += 1
    return {"rows": sum(splits.values()), "splits": dict(splits), "rejected": dict(rejected)}
