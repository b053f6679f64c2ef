"""Tables: CSV, TSV and their kin. Delimiter, quoting, header and columns are declared, never guessed."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Literal

from komt.errors import DataError
from komt.sources.readers import Reader, ReaderOptions, Row, clean
from komt.sources.readers.content import Content


class Options(ReaderOptions):
    """How the table is written. `columns` names the columns, over or instead of the header."""

    delimiter: str = ","
    quoting: Literal["standard", "none"] = "standard"
    header: bool = True
    columns: tuple[str, ...] = ()
    encoding: str = ""


def read(content: Content, options: Options) -> Iterator[Row]:
    """One row a record, every value a stripped NFC text.

    Raises:
        DataError: no header, header only, a column named twice, an open quote, or a record of another width
            than the header, with file and line.
    """
    yield from read_table(content.text(options.encoding), content, options)


def read_table(text: str, path: Content, options: Options) -> Iterator[Row]:
    """The rows of a table's text; see `read`."""
    columns: list[str] = list(options.columns)
    header = options.header
    count = 0
    for line, cells in records(text, path, options):
        if header:
            header, columns = False, columns or [clean(cell) for cell in cells]
            _check_header(columns, f"{path}, line {line}")
            continue
        if len(cells) != len(columns):
            raise DataError(
                f"{len(cells)} cells where the table has {len(columns)} columns ({', '.join(columns)})",
                where=f"{path}, line {line}",
                cure="put cells that hold the delimiter or a line break in double quotes",
            )
        count += 1
        pairs = zip(columns, cells, strict=True)
        yield Row({name: clean(cell) for name, cell in pairs if name}, f"{path.label}, line {line}")
    if not count:
        raise DataError(
            "the table has a header but no row" if not header else "the table is empty",
            where=str(path),
            cure="write a line for each row below the header, or name another file",
        )


def records(text: str, path: Content, options: Options) -> Iterator[tuple[int, list[str]]]:
    """The non-blank records of a table with the line each starts on."""
    csv.field_size_limit(1 << 30)
    plain = options.quoting == "none"
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=options.delimiter,
        quoting=csv.QUOTE_NONE if plain else csv.QUOTE_MINIMAL,
        strict=not plain,
    )
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"broken table: {error}",
            where=f"{path}, line {line}",
            cure='a quote inside a quoted cell is written twice (""); every opened quote must be closed',
        ) from error


def _check_header(columns: list[str], where: str) -> None:
    twice = sorted({name for name in columns if name and columns.count(name) > 1})
    if twice:
        raise DataError(
            f"the column '{twice[0]}' stands twice in the header", where=where, cure="rename one of them"
        )


READER = Reader(Options, read)
