"""`komt sources check`: count what a source has, or read off a path how it is to be declared."""

from __future__ import annotations

import argparse
import json
import os
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from komt.sources import Source
    from komt.sources.sniff import Sniffed

HELP = "count rows and rejected rows of a source; or say how a file, folder or archive is to be declared"
_CONTENTS_LOOKED_AT = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `komt sources check`."""
    parser.add_argument(
        "name",
        metavar="NAME|PATH",
        help="a source's name, as `komt sources list` prints it; or a file, folder or archive",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def main(args: argparse.Namespace) -> int:
    """Count, or sniff: a name of the catalogue before a path."""
    from rich.console import Console

    from komt.encodings import missing_file
    from komt.sources import SOURCES, load_source

    path = Path(args.name).expanduser()
    console = Console(stderr=True)
    if args.name not in SOURCES and path.exists():
        from komt.sources.sniff import sniff

        with console.status(f"reading {path}"):
            found = sniff(path)
        text = json.dumps(_sniffed_json(found), ensure_ascii=False, indent=1)
        print(text if args.json else declared(found))
        return 0
    if args.name not in SOURCES and any(mark in args.name for mark in "./\\"):
        missing_file(path)
    source = load_source(args.name)
    with console.status(f"reading {source.name}"):
        report, by_split = _count(source)
    wrong = _differences(source, report["splits"], by_split)
    if args.json:
        print(json.dumps(report, ensure_ascii=False, indent=1))
        print("\n".join(wrong), end="\n" if wrong else "", file=sys.stderr)
    else:
        _print(source, report, wrong)
    return 1 if wrong else 0


def _count(source: Source) -> tuple[dict[str, Any], dict[str, dict[str, int]]]:
    """Rows (usable or rejected) by split of the splits that are here; rejected rows by split and reason."""
    from komt.sources import Rejected, checked_place, present
    from komt.sources.read import read_splits

    if not present(source):
        checked_place(source, source.files[0])
    here = [split for split in source.splits if present(source, split)]
    splits = dict.fromkeys(here, 0)
    rejected: dict[str, Counter[str]] = {split: Counter() for split in here}
    for split, row in read_splits(source, here):
        splits[split] += 1
        if isinstance(row, Rejected):
            rejected[split][row.reason] += 1
    report = {
        "rows": sum(splits.values()),
        "splits": splits,
        "rejected": dict(sum(rejected.values(), Counter())),
        "files": list(_files(source)),
    }
    return report, {split: dict(reasons) for split, reasons in rejected.items()}


def _files(source: Source) -> Iterator[dict[str, Any]]:
    """Every file that is here, with the encoding that was recognised in it."""
    from itertools import islice

    from komt.sources.read import contents
    from komt.sources.source import is_here

    for file in source.files:
        if not all(is_here(source, file, path) for path, _ in file.paths):
            continue
        found: dict[str, None] = {}
        if hasattr(source.options(file), "encoding"):
            for content in islice(contents(source, file), _CONTENTS_LOOKED_AT):
                found |= dict.fromkeys(each.encoding() for each in (content, *content.beside))
        path = Path(file.path)
        if path.is_absolute() and path.is_relative_to(Path.cwd()):
            path = path.relative_to(Path.cwd())
        yield {"path": path.as_posix(), "split": file.split, "encoding": ", ".join(found)}


def _differences(source: Source, splits: dict[str, int], rejected: dict[str, dict[str, int]]) -> list[str]:
    """What the catalogue says otherwise."""
    found = [
        f"{split}: {splits[split]:,} rows; the catalogue says {rows:,}"
        for split, rows in source.rows.items()
        if splits.get(split, rows) != rows
    ]
    pinned = source.rows.keys() | source.rejected.keys()
    for split in (split for split in splits if split in pinned):
        expected = source.rejected.get(split, {})
        for reason in sorted(expected.keys() | rejected[split].keys()):
            here, there = rejected[split].get(reason, 0), expected.get(reason, 0)
            if here != there:
                found.append(f"{split}: {here:,} rejected as {reason}; the catalogue says {there:,}")
    return found


def _print(source: Source, report: dict[str, Any], wrong: list[str]) -> None:
    print(f"{source.name}: {report['rows']:,} rows")
    for split, rows in report["splits"].items():
        print(f"  {split:<6} {rows:>9,}{'' if split in source.rows else '   not pinned'}")
    for reason, count in report["rejected"].items():
        print(f"  rejected {count:>6,}  {reason}")
    for file in report["files"]:
        print(f"  {file['encoding'] or 'no text':<9} {file['path']}")
    for line in wrong:
        print(f"  DIFFERS  {line}")


def declared(found: Sniffed) -> str:
    """The YAML of a source to paste: what was seen stands in comments above it."""
    rows, rejected = sum(found.rows.values()), sum(sum(part.values()) for part in found.rejected.values())
    encodings = ", ".join(name for name in found.encodings if name)
    seen = [
        f"{found.path.name}: {', '.join(filter(None, (found.declaration['reader']['format'], encodings)))};"
        f" {rows:,} rows, {rejected:,} rejected",
        *(f"  {name}: {' · '.join(samples) or '(empty)'}" for name, samples in found.columns.items()),
        *(f"note: {remark}" for remark in found.remarks),
        f"save this as sources/{found.declaration['name']}.yaml beside your recipe:",
    ]
    return "\n".join([*(f"# {_comment(line)}" for line in seen), _yaml(found)])


def _comment(text: str) -> str:
    """Text as it may stand in a comment of YAML: control characters and line separators are spelled out."""
    spelled = {"Cc", "Cs", "Cn", "Zl", "Zp"}
    return "".join(
        ascii(letter)[1:-1] if letter == "\ufeff" or unicodedata.category(letter) in spelled else letter
        for letter in text
    )


def _yaml(found: Sniffed) -> str:
    values = found.declaration
    notes = {"licence": "   # its real one", "origin": "   # native | translated | generated"}
    lines = [
        f"{key}: {_flow(values[key])}{notes.get(key, '')}" for key in ("name", "title", "licence", "origin")
    ]
    lines += ["reader:", *(f"  {key}: {_flow(value)}" for key, value in values["reader"].items()), "files:"]
    for file in values["files"]:
        path = os.path.relpath(file["path"], "sources")
        rest = "".join(f", {key}: {_flow(value)}" for key, value in file.items() if key != "path")
        lines.append(f"  - {{path: {_flow(path)}{rest}}}")
    lines.append(f"rows: {_flow(found.rows)}")
    if found.rejected:
        lines.append(f"rejected: {_flow(found.rejected)}")
    return "\n".join(lines)


def _flow(value: Any) -> str:
    """A value as YAML on one line, fit to stand within braces."""
    text = yaml.safe_dump([value], allow_unicode=True, default_flow_style=True, sort_keys=False, width=10**6)
    return text.strip()[1:-1]


def _sniffed_json(found: Sniffed) -> dict[str, Any]:
    return {
        "path": str(found.path),
        "encoding": ", ".join(name for name in found.encodings if name),
        "declaration": found.declaration,
        "rows": sum(found.rows.values()),
        "splits": found.rows,
        "rejected": found.rejected,
        "columns": found.columns,
        "remarks": found.remarks,
    }
