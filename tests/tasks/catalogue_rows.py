"""Rows of every source of the catalogue, for tests that need no data.

The bundled sources serve with their own rows; the sets of AI Hub and KISTI, which a person must download,
with files in their shapes (tests/sources/aihub_files.py) through their readers; all others with a few rows
written for this, in the source's own fields: `rows/SOURCE.jsonl`. Whoever adds a source adds its rows.
"""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from komt.sources import load_source, read_rows

# Where aihub_files.py and what it imports stand.
sys.path.append(str(Path(__file__).parents[1] / "sources"))
from aihub_files import SETS, write_set

WRITTEN = Path(__file__).parent / "rows"
Row = dict[str, Any]


@cache
def rows_of(name: str) -> tuple[Row, ...]:
    """Rows of a source, each with the fields that its reader gives."""
    if name in SETS:
        return _read_from_files(name)
    if load_source(name).bundled:
        return _read(name)
    path = WRITTEN / f"{name}.jsonl"
    assert path.is_file(), f"write a few rows of {name}: {path}"
    lines = path.read_text(encoding="utf-8").splitlines()
    return tuple(_completed(json.loads(line), f"{path.name}:{at}") for at, line in enumerate(lines, start=1))


def _read(name: str) -> tuple[Row, ...]:
    return tuple(row for row in read_rows(load_source(name), "train") if isinstance(row, dict))


def _read_from_files(name: str) -> tuple[Row, ...]:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("KOMT_DATA", folder)
        write_set(Path(folder), name)
        return _read(name)


def _completed(row: Row, place: str) -> Row:
    """The row with its id; an answer in a passage with its place."""
    row = {"id": place, **row}
    if "context" in row and "answer" in row:
        start = row["context"].index(row["answer"])
        row |= {"answers": [row["answer"]], "answer_start": start, "group": row["context"][:20]}
    return row
