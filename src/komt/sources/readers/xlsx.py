"""Excel workbooks (.xlsx): a sheet is a table, every cell a text."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import closing
from datetime import date, datetime, time
from typing import Annotated, Any
from zipfile import BadZipFile

from pydantic import Field

from komt.errors import DataError
from komt.sources.readers import Reader, ReaderOptions, Rejected, Row, clean
from komt.sources.readers.content import Content

# What openpyxl raises for broken archives and broken XML (a SyntaxError).
_BROKEN = (BadZipFile, zlib.error, EOFError, SyntaxError, LookupError, ValueError, TypeError, AttributeError)


class Options(ReaderOptions):
    """Where the table stands.

    Attributes:
        sheet: its name; "" is the first one, "*" all of them, one after the other.
        skip: rows above the header (or, without header, above the table) that are passed over.
        header: whether the first row names the columns. A column without a name is left out.
        columns: names of the columns, over or instead of the header; "" leaves a column out.
    """

    sheet: str = ""
    skip: Annotated[int, Field(ge=0)] = 0
    header: bool = True
    columns: tuple[str, ...] = ()


def read(content: Content, options: Options) -> Iterator[Row | Rejected]:
    """One row a row of the sheet, without empty ones; formulas give the value they had when saved.

    Raises:
        DataError: no workbook, no such sheet, a column named twice, or no row.
    """
    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    with closing(content.seekable()) as stream:
        try:
            book = load_workbook(stream, read_only=True, data_only=True)
        except (*_BROKEN, InvalidFileException) as error:
            raise DataError(
                f"no Excel workbook (.xlsx): {error}",
                where=str(content),
                cure="an old .xls must be saved as .xlsx, or as CSV",
            ) from error
        with closing(book):
            names = book.sheetnames if options.sheet == "*" else [options.sheet] * bool(options.sheet)
            names = names or book.sheetnames[:1]
            if not names or not set(names) <= set(book.sheetnames):
                raise DataError(
                    f"no sheet '{options.sheet}'"
                    if options.sheet not in {"", "*"}
                    else "no sheet in the workbook",
                    where=str(content),
                    cure=f"the sheets are: {', '.join(book.sheetnames) or 'none'}",
                )
            for name in names:
                label = f"{content.label}/{name}" if options.sheet == "*" else content.label
                yield from _sheet(book[name], label, f"{content}, sheet {name}", options)


def _cells(sheet: Any, place: str) -> Iterator[list[str]]:
    # What a file says of its own size is often wrong.
    sheet.reset_dimensions()
    try:
        for values in sheet.iter_rows(values_only=True):
            yield [_text(value) for value in values]
    except _BROKEN as error:
        raise DataError(
            f"the sheet cannot be read: {error}", where=place, cure="open it in Excel and save it again"
        ) from error


def _sheet(sheet: Any, label: str, place: str, options: Options) -> Iterator[Row]:
    columns = list(options.columns)
    header, count = options.header, 0
    for number, cells in enumerate(_cells(sheet, place), start=1):
        if number <= options.skip or not any(cells):
            continue
        if header:
            header, columns = False, columns or cells
            twice = sorted({name for name in columns if name and columns.count(name) > 1})
            if twice:
                raise DataError(
                    f"the column '{twice[0]}' stands twice in the header", where=f"{place}, row {number}"
                )
            continue
        columns = columns or [f"column{at}" for at in range(1, len(cells) + 1)]
        cells += [""] * (len(columns) - len(cells))
        if any(cells[len(columns) :]):
            raise DataError(
                f"{len(cells)} cells where the table has {len(columns)} columns ({', '.join(columns)})",
                where=f"{place}, row {number}",
                cure="name every column in the header, or take away what stands beside the table",
            )
        count += 1
        yield Row(
            {name: cell for name, cell in zip(columns, cells, strict=False) if name}, f"{label}, row {number}"
        )
    if not count:
        raise DataError("the sheet has no row", where=place)


def _text(value: Any) -> str:
    """A cell as a text: 3.0 is 3, a date is 2023-10-09."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime) and value.time() == time():
        return value.date().isoformat()
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    return str(clean(str(value)))


READER = Reader(Options, read)
