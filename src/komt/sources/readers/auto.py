"""A person's own table: encoding, format and delimiter are read off the content."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Literal

from komt.errors import DataError
from komt.sources.readers import Reader, ReaderOptions, Rejected, Row, jsonl, parquet, xlsx
from komt.sources.readers import csv as table
from komt.sources.readers.content import Content, content_of

_LINES_LOOKED_AT = 200
_BINARY = {b"PK\x03\x04": "xlsx", b"PAR1": "parquet", b"\xd0\xcf\x11\xe0": "xls"}


class Options(ReaderOptions):
    """What is known beforehand; an empty value is read off the content."""

    table: Literal["", "csv", "tsv", "json", "jsonl"] = ""
    encoding: str = ""


def read(place: Path | Content, options: Options) -> Iterator[Row | Rejected]:
    """Rows of a CSV, TSV, JSON, JSON Lines, Excel or Parquet file; keys that an object lacks are empty texts.

    Raises:
        DataError: as the readers of the formats, with file and line.
    """
    content = content_of(place)
    binary = binary_format(content)
    if binary == "xlsx":
        yield from xlsx.read(content, xlsx.Options())
        return
    if binary == "parquet":
        yield from parquet.read(content, parquet.Options())
        return
    text = content.text(options.encoding)
    if looks_like_json(text, options.table):
        items = list(jsonl.read(content, jsonl.Options(encoding=options.encoding)))
        keys = dict.fromkeys(key for item in items if isinstance(item, Row) for key in item.values)
        for item in items:
            if isinstance(item, Rejected):
                yield item
                continue
            values = {key: item.values.get(key) for key in keys}
            yield Row({key: "" if value is None else value for key, value in values.items()}, item.where)
        return
    delimiter = "\t" if options.table == "tsv" else sniff_delimiter(text)
    quoting: Literal["standard", "none"] = "none" if quotes_are_letters(text, delimiter) else "standard"
    yield from table.read_table(
        table.lines_of(text), content, table.Options(delimiter=delimiter, quoting=quoting)
    )


def binary_format(content: Content) -> str:
    """`xlsx` or `parquet` by the first bytes; "" for text.

    Raises:
        DataError: an old Excel file, or one with a password.
    """
    with content.named(), closing(content.open()) as stream:
        found = _BINARY.get(stream.read(4), "")
    if found == "xls":
        raise DataError(
            "an old Excel file (.xls), or one with a password",
            where=str(content),
            cure="save it as .xlsx without a password, or as CSV",
        )
    return found


def looks_like_json(text: str, format: str = "") -> bool:
    """Whether the content is JSON or JSON Lines rather than a table."""
    return format in {"json", "jsonl"} or (not format and text.lstrip()[:1] in {"{", "["})


def sniff_delimiter(text: str) -> str:
    """The delimiter that splits the first records most evenly: comma, tab, semicolon or bar."""
    sample = "\n".join(text.split("\n")[:_LINES_LOOKED_AT])

    def evenness(delimiter: str) -> tuple[float, int]:
        try:
            widths = [
                len(cells)
                for cells in csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter)
                if cells
            ]
        except csv.Error:
            return 0.0, 0
        if not widths or widths[0] < 2:
            return 0.0, 0
        return sum(width == widths[0] for width in widths) / len(widths), widths[0]

    return max(",\t;|", key=evenness)


def quotes_are_letters(text: str, delimiter: str) -> bool:
    """Whether quotes are part of the cells: all lines are equally wide, and quoting breaks or joins them.

    Some published TSV files are written so; read with quoting they lose rows, or cannot be read. In other
    tables a quote quotes.
    """
    lines = [line for line in text.replace("\r\n", "\n").split("\n") if line.strip()]
    if delimiter != "\t" or '"' not in text or len({line.count(delimiter) for line in lines}) > 1:
        return False
    csv.field_size_limit(1 << 30)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        return sum(any(cell.strip() for cell in cells) for cells in reader) != len(lines)
    except csv.Error:
        return True


READER = Reader(Options, read)
