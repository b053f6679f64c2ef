"""Parquet files, read batch by batch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from komt.errors import DataError, did_you_mean
from komt.sources.readers import Reader, ReaderOptions, Rejected, Row, clean
from komt.sources.readers.content import Content

_ROWS = 2048


class Options(ReaderOptions):
    """Which columns, and how labels are shown.

    Attributes:
        columns: those that are read; () is all of them.
        label_names: numbers of classes become the names that the file gives them.
    """

    columns: tuple[str, ...] = ()
    label_names: bool = True


def read(content: Content, options: Options) -> Iterator[Row | Rejected]:
    """One row a row; nested values are lists and mappings, dates texts, columns of bytes are left out.

    Raises:
        DataError: no Parquet file, no such column, or a column named twice.
    """
    import pyarrow
    import pyarrow.parquet

    with closing(content.seekable()) as stream:
        try:
            file = pyarrow.parquet.ParquetFile(stream)
        except pyarrow.ArrowInvalid as error:
            raise DataError(
                f"no Parquet file: {error}", where=str(content), cure="it may be cut off: get it again"
            ) from error
        names = file.schema_arrow.names
        if unknown := [name for name in options.columns if name not in names]:
            raise DataError(
                f"no column '{unknown[0]}'{did_you_mean(unknown[0], names)}",
                where=str(content),
                cure=f"the columns are: {', '.join(names)}",
            )
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise DataError(
                f"the column '{twice[0]}' stands twice in the file",
                where=str(content),
                cure="write it again with one of them renamed",
            )
        classes = _classes(file.schema_arrow.metadata) if options.label_names else {}
        number = 0
        for batch in file.iter_batches(_ROWS, columns=list(options.columns) or None):
            for values in batch.to_pylist():
                number += 1
                yield Row(row_values(values, classes), f"{content.label}, row {number}")


def row_values(values: dict[str, Any], classes: dict[str, list[str]]) -> dict[str, Any]:
    """Values as a Row has them: None is an empty text, dates are texts, numbers of classes their names."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, bytes):
            continue
        if (names := classes.get(name)) and isinstance(value, int) and 0 <= value < len(names):
            value = names[value]
        found[name] = clean(_plain(value))
    return found


def _plain(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value if isinstance(value, str | int | float | bool) else str(value)


def _classes(metadata: dict[bytes, bytes] | None) -> dict[str, list[str]]:
    """Names of classes by column, as the `datasets` library writes them into its files."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return {
            name: list(feature["names"])
            for name, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (KeyError, TypeError, ValueError):
        return {}


READER = Reader(Options, read)
