"""What a build left out, read back from its rejects.parquet a batch at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from komt.errors import UsageError, did_you_mean

_KEYS = ("task", "split", "stage", "reason")
_LINE_CHARACTERS = 2000


def print_rejects(path: Path, reason: str, limit: int | None, *, as_json: bool = False) -> None:
    """Print how many rows were left out by task, split, stage and reason, then the rows.

    Args:
        path: the build's rejects.parquet.
        reason: only rows of this reason, as `duplicate` or `filter/duplicate`; "" for all.
        limit: at most so many rows.
        as_json: the rows alone, as JSON Lines.

    Raises:
        UsageError: no row has this reason.
    """
    counts = _counts(path)
    chosen = {key: n for key, n in counts.items() if _fits(key[2], key[3], reason)}
    if reason and not chosen:
        known = sorted({key[3] for key in counts})
        raise UsageError(
            f"nothing was left out for the reason '{reason}'{did_you_mean(reason, known)}",
            cure=f"the reasons of this build: {', '.join(known) or 'none'}",
        )
    rows = islice(_rows(path, reason), limit)
    if as_json:
        for row in rows:
            print(json.dumps({**row, "row": _read_row(row["row"])}, ensure_ascii=False))
        return
    _print_counts(chosen)
    for row in rows:
        text = json.dumps(value, ensure_ascii=False) if (value := _read_row(row["row"])) else ""
        if len(text) > _LINE_CHARACTERS:
            text = (
                f"{text[:_LINE_CHARACTERS]} … ({len(text) - _LINE_CHARACTERS:,} more characters; see --json)"
            )
        head = f"{row['task']} {row['split']} {row['stage']}/{row['reason']} {row['where']}"
        print(f"{head} {text}".rstrip())
    total = sum(chosen.values())
    if limit is not None and limit < total:
        print(f"{limit:,} of {total:,} rows; more: --limit, or {path}")


def _counts(path: Path) -> dict[tuple[str, ...], int]:
    """Rows by task, split, stage and reason, in the order of the file."""
    import pyarrow as pa

    counts: dict[tuple[str, ...], int] = {}
    for batch in _batches(path, list(_KEYS)):
        grouped = (
            pa.Table.from_batches([batch])
            .group_by(list(_KEYS), use_threads=False)
            .aggregate([([], "count_all")])
        )
        for row in grouped.to_pylist():
            key = tuple(row[name] for name in _KEYS)
            counts[key] = counts.get(key, 0) + int(row["count_all"])
    return counts


def _rows(path: Path, reason: str) -> Iterator[dict[str, str]]:
    for batch in _batches(path, None):
        for row in batch.to_pylist():
            if _fits(row["stage"], row["reason"], reason):
                yield row


def _batches(path: Path, columns: list[str] | None) -> Iterator[Any]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        yield from file.iter_batches(2048, columns=columns)


def _fits(stage: str, reason: str, wanted: str) -> bool:
    return not wanted or wanted in {reason, f"{stage}/{reason}"}


def _read_row(text: str) -> Any:
    return json.loads(text) if text else None


def _print_counts(counts: dict[tuple[str, ...], int]) -> None:
    from rich.table import Column, Table

    from komt.commands._console import table_console

    if not counts:
        print("nothing was left out")
        return
    table = Table(Column("task", no_wrap=True), "split", "stage", "reason", box=None, pad_edge=False)
    table.add_column("rows", justify="right")
    for key, n in counts.items():
        table.add_row(*key, f"{n:,}")
    table_console().print(table)
    print()
