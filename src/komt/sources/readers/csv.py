"""Tables: CSV, TSV and their kin. Delimiter, quoting, header and columns are declared, never guessed."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import Literal

from pydantic import model_validator

from komt.errors import DataError, UsageError
from komt.recipe import Words
from komt.sources.readers import Reader, ReaderOptions, Rejected, Row, clean
from komt.sources.readers.content import Content


class Options(ReaderOptions):
    """How the table is written. No value is ever converted: every cell is a text.

    Attributes:
        delimiter: between cells; without quoting it may be several characters.
        quoting: standard (quoted cells hold delimiters and line breaks), or none (a quote is a letter).
        header: whether the first record names the columns. A column without a name is left out.
        columns: names of the columns, over or instead of the header; "" leaves a column out.
        comment: lines that start so are passed over.
        pad: records that are too short are filled with empty cells.
        spill: column that holds the delimiters of records that are too wide.
        uneven: whether a record of another width is an error, or is rejected as `wrong_width`.
        beside: names of further columns, each a file beside the table that holds a cell a record, no header.
        encoding: when it is not recognised.
    """

    delimiter: Words = ","
    quoting: Literal["standard", "none"] = "standard"
    header: bool = True
    columns: tuple[str, ...] = ()
    comment: str = ""
    pad: bool = False
    spill: str = ""
    uneven: Literal["error", "reject"] = "error"
    beside: tuple[str, ...] = ()
    encoding: str = ""

    @model_validator(mode="after")
    def _a_quoted_table_has_one_letter_between_cells(self) -> Options:
        if self.quoting == "standard" and len(self.delimiter) > 1:
            raise ValueError("delimiter: a single character, or quoting: none")
        return self


def read(content: Content, options: Options) -> Iterator[Row | Rejected]:
    """One row a record, every value a stripped NFC text.

    Raises:
        UsageError: not one column a file beside the table.
        DataError: no header, header only, a column named twice, an open quote, or a record of another width
            than the header, with file and line; a file beside the table of another length.
    """
    rows = read_table(content.lines(options.encoding), content, options)
    yield from _with_files_beside(rows, content, options) if content.beside or options.beside else rows


def _with_files_beside(
    rows: Iterable[Row | Rejected], content: Content, options: Options
) -> Iterator[Row | Rejected]:
    if len(content.beside) != len(options.beside):
        raise UsageError(
            f"{len(content.beside)} files beside the table, and {len(options.beside)} columns for them",
            where=str(content),
            cure="name the files under `beside`, and a column for each under the reader's `beside`",
        )
    files = [_only_cells(each, options) for each in content.beside]
    for item, cells in zip_longest(rows, zip_longest(*files)):
        if item is None or cells is None or None in cells:
            raise DataError(
                "a file beside the table has another number of records than the table",
                where=", ".join(map(str, content.beside)),
                cure="record N of each must belong to row N: look for a lost or an added line",
            )
        if isinstance(item, Row):
            item.values.update(zip(options.beside, map(clean, cells), strict=True))
        yield item


def _only_cells(content: Content, options: Options) -> Iterator[str]:
    """The cell of every record; an empty record, which a table passes over, is an empty cell here."""
    for line, cells in _cells(content.lines(options.encoding), content, options):
        if len(cells) > 1:
            raise _uneven(cells, ["of the file"], f"{content}, line {line}")
        yield "".join(cells)


def lines_of(text: str) -> Iterable[str]:
    r"""Lines of a text with their \n, split at \n only; at \r where there is no \n."""
    return io.StringIO(text, newline="\r" if "\r" in text and "\n" not in text else "\n")


def read_table(lines: Iterable[str], content: Content, options: Options) -> Iterator[Row | Rejected]:
    """The rows of a table's lines; see `read`."""
    columns: list[str] = list(options.columns)
    header = options.header
    count = 0
    for line, cells in records(lines, content, options):
        if header:
            header, columns = False, columns or [clean(cell) for cell in cells]
            _check_columns(columns, options, f"{content}, line {line}")
            continue
        if not count and not options.header:
            columns = columns or [f"column{number}" for number in range(1, len(cells) + 1)]
            _check_columns(columns, options, f"{content}, line {line}")
        count += 1
        if len(cells) != len(columns):
            cells = _even(cells, columns, options)
        if len(cells) != len(columns):
            if options.uneven == "error":
                raise _uneven(cells, columns, f"{content}, line {line}")
            yield Rejected("wrong_width", f"{content.label}, line {line}", {"cells": clean(cells)})
            continue
        pairs = zip(columns, cells, strict=True)
        yield Row({name: clean(cell) for name, cell in pairs if name}, f"{content.label}, line {line}")
    if not count:
        raise DataError(
            "the table has a header but no row" if options.header and not header else "the table is empty",
            where=str(content),
            cure="write a line for each row below the header, or name another file",
        )


def records(lines: Iterable[str], content: Content, options: Options) -> Iterator[tuple[int, list[str]]]:
    """The records of a table, without blank ones and comments, with the line each starts on."""
    comment = options.comment
    for line, cells in _cells(lines, content, options):
        if comment and cells and cells[0].startswith(comment):
            continue
        if any(cells) and any(cell.strip() for cell in cells):
            yield line, cells


def _cells(lines: Iterable[str], content: Content, options: Options) -> Iterator[tuple[int, list[str]]]:
    return _plain(lines, options) if options.quoting == "none" else _quoted(lines, content, options)


def _plain(lines: Iterable[str], options: Options) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(lines, start=1):
        yield number, line.rstrip("\r\n").split(options.delimiter)


def _quoted(lines: Iterable[str], content: Content, options: Options) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(1 << 30)
    reader = csv.reader(lines, delimiter=options.delimiter, strict=True)
    line = 1
    try:
        for cells in reader:
            yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"broken table: {error}",
            where=f"{content}, line {line}",
            cure='a quote inside a quoted cell is written twice (""); every opened quote must be closed; '
            "where quotes are letters, declare quoting: none",
        ) from error


def _even(cells: list[str], columns: list[str], options: Options) -> list[str]:
    """Cells of a record of another width than the table, padded or joined where the options say so."""
    more = len(cells) - len(columns)
    if more < 0 and options.pad:
        return [*cells, *([""] * -more)]
    if more > 0 and options.spill:
        at = columns.index(options.spill)
        return [*cells[:at], options.delimiter.join(cells[at : at + more + 1]), *cells[at + more + 1 :]]
    if more > 0 and not any(cell.strip() for cell in cells[len(columns) :]) and options.pad:
        return cells[: len(columns)]
    return cells


def _uneven(cells: list[str], columns: list[str], where: str) -> DataError:
    return DataError(
        f"{len(cells)} cells where the table has {len(columns)} columns ({', '.join(columns)})",
        where=where,
        cure="put cells that hold the delimiter or a line break in double quotes",
    )


def _check_columns(columns: list[str], options: Options, where: str) -> None:
    twice = sorted({name for name in columns if name and columns.count(name) > 1})
    if twice:
        raise DataError(
            f"the column '{twice[0]}' stands twice in the header", where=where, cure="rename one of them"
        )
    if options.spill and options.spill not in columns:
        raise DataError(
            f"spill names '{options.spill}', which is no column",
            where=where,
            cure=f"the columns are: {', '.join(columns)}",
        )


READER = Reader(Options, read)
