"""Rows of a build's Parquet files: found by what stands in their columns, read a page at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from komt.web.runs import Stamp, Unreadable

Places = npt.NDArray[np.int64]
_BATCH_ROWS = 8192
_P = ParamSpec("_P")
_R = TypeVar("_R")


def _readable(read: Callable[_P, _R]) -> Callable[_P, _R]:
    """The function, with files that are cut short, broken or of another shape told as such."""

    def reading(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return read(*args, **kwargs)
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            name = next((value.path.name for value in args if isinstance(value, Stamp)), "")
            raise Unreadable("runs.broken", path=name) from error

    return reading


@_readable
def counts(file: Stamp, columns: tuple[str, ...]) -> dict[tuple[str, ...], int]:
    """How many rows there are of each combination of values in some columns, the most first.

    Raises:
        Unreadable: no Parquet file with these columns.
    """
    return dict(_counts(file, columns))


@lru_cache(maxsize=32)
def _counts(file: Stamp, columns: tuple[str, ...]) -> tuple[tuple[tuple[str, ...], int], ...]:
    table = pq.read_table(file.path, columns=list(columns))
    grouped = table.group_by(list(columns)).aggregate([([], "count_all")]).to_pylist()
    rows = [(tuple(str(row[name]) for name in columns), int(row["count_all"])) for row in grouped]
    return tuple(sorted(rows, key=lambda item: (-item[1], item[0])))


@_readable
def find(file: Stamp, wanted: tuple[tuple[str, str], ...], text: str = "") -> Places:
    """The places of the rows whose columns have the wanted values and that hold a text, upper or lower case.

    Args:
        file: what is searched.
        wanted: column and value.
        text: looked for in the messages, or in the column `row` where there are none.

    Raises:
        Unreadable: no Parquet file with these columns.
    """
    return _find(file, wanted, text)


@lru_cache(maxsize=32)
def _find(file: Stamp, wanted: tuple[tuple[str, str], ...], text: str) -> Places:
    found, start = [np.empty(0, np.int64)], 0
    with pq.ParquetFile(file.path) as table:
        searched = "messages" if "messages" in table.schema_arrow.names else "row"
        columns = [*(name for name, _ in wanted), *([searched] if text else [])]
        for batch in table.iter_batches(_BATCH_ROWS, columns=columns or [table.schema_arrow.names[0]]):
            fits = np.ones(len(batch), bool)
            for name, value in wanted:
                fits &= pc.fill_null(pc.equal(batch.column(name), value), False).to_numpy(
                    zero_copy_only=False
                )
            if text:
                fits &= _holds(batch.column(searched), text)
            found.append(np.flatnonzero(fits) + start)
            start += len(batch)
    return np.concatenate(found)


def _holds(column: Any, text: str) -> npt.NDArray[np.bool_]:
    if isinstance(column, pa.ListArray):
        content = column.flatten().field("content")
        hits = pc.match_substring(content, text, ignore_case=True).to_numpy(zero_copy_only=False)
        sums = np.concatenate([[0], np.cumsum(hits)])
        offsets = column.offsets.to_numpy() - column.offsets[0].as_py()
        return np.asarray(sums[offsets[1:]] > sums[offsets[:-1]])
    return np.asarray(pc.match_substring(column, text, ignore_case=True).to_numpy(zero_copy_only=False))


@_readable
def rows(file: Stamp, places: Sequence[int]) -> list[dict[str, Any]]:
    """The rows at some places, in the order of the file.

    Raises:
        Unreadable: no Parquet file.
    """
    records, start = [], 0
    with pq.ParquetFile(file.path) as table:
        for group in range(table.num_row_groups):
            length = table.metadata.row_group(group).num_rows
            inside = [place - start for place in places if start <= place < start + length]
            if inside:
                records += table.read_row_group(group).take(pa.array(inside)).to_pylist()
            start += length
    return records
