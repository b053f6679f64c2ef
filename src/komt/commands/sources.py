"""Where rows come from: list the sources, show one, get its files, count rows, or declare a file of your own.

Source files are looked for below KOMT_DATA (default: KOMT_HOME/data), at FOLDER/PATH as `show` prints them.

Example:
  komt sources list
  komt sources show korquad
  komt sources fetch korquad
  komt sources import aihub-97 ~/Downloads/097
  komt sources check sample --json
  komt sources check my.csv > sources/my.yaml
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from komt.commands import _check, _fetch, _import

_MODULES: dict[str, Any] = {"check": _check, "fetch": _fetch, "import": _import}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `komt sources`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for action, text in (
        ("list", "every source: licence, origin, whether its files are here"),
        ("show", "one source: licence, citation, files and where they are looked for"),
    ):
        sub = actions.add_parser(action, help=text, description=text)
        if action != "list":
            sub.add_argument("name", help="a source's name, as `komt sources list` prints it")
        sub.add_argument("--json", action="store_true", help="print JSON")
    for action, module in _MODULES.items():
        module.add_arguments(actions.add_parser(action, help=module.HELP, description=module.HELP))


def main(args: argparse.Namespace) -> int:
    """Run `komt sources`: over the catalogue, and what lies in ./sources."""
    from pathlib import Path

    from komt.sources import add_folder_beside

    add_folder_beside(Path.cwd())
    actions = {"list": _list, "show": _show, **{action: module.main for action, module in _MODULES.items()}}
    return int(actions[args.action](args))


def _list(args: argparse.Namespace) -> int:
    from komt.sources import SOURCES, load_source, present

    sources = [load_source(name) for name in SOURCES.names()]
    keys = ("name", "licence", "origin", "repository")
    rows = [{**{key: getattr(source, key) for key in keys}, "present": present(source)} for source in sources]
    if args.json:
        print(json.dumps(rows, ensure_ascii=False, indent=1))
        return 0
    from rich.table import Column, Table

    from komt.commands._console import table_console

    name = Column("source", no_wrap=True)
    table = Table(name, "here", "origin", "licence", "what it holds", box=None, pad_edge=False)
    for source, row in zip(sources, rows, strict=True):
        table.add_row(
            source.name, "yes" if row["present"] else "no", source.origin, source.licence, source.title
        )
    table_console().print(table)
    return 0


def _show(args: argparse.Namespace) -> int:
    from komt.sources import load_source, place
    from komt.sources.source import is_here

    source = load_source(args.name)
    files = [
        {
            **file.model_dump(),
            "place": str(place(source, file)),
            "present": all(is_here(source, file, path) for path, _ in file.paths),
        }
        for file in source.files
    ]
    if args.json:
        print(json.dumps({**source.model_dump(mode="json"), "files": files}, ensure_ascii=False, indent=1))
        return 0
    print(f"{source.name}: {source.title}")
    for key in ("licence", "origin", "terms", "login", "citation", "repository", "revision"):
        if value := getattr(source, key):
            print(f"  {key:<11} {value}")
    if source.evaluation_only:
        print(f"  {'evaluation':<11} only: never trained on")
    rows = ", ".join(f"{split} {count:,}" for split, count in source.rows.items())
    print(f"  {'rows':<11} {rows or 'not counted yet'}")
    if source.rejected:
        counts = (
            f"{split} {n:,} {why}" for split, part in source.rejected.items() for why, n in part.items()
        )
        print(f"  {'rejected':<11} {', '.join(counts)}")
    for file in files:
        print(f"  {file['split']:<11} {'here   ' if file['present'] else 'MISSING'} {file['place']}")
        for other in file["beside"]:
            print(f"  {'':<11} {'beside ':<7} {other['path']}")
    if source.resplit_by:
        print(f"  {'resplit':<11} data.resplit: true redivides the evaluation set by {source.resplit_by}")
    return 0
