"""Parallel text: files, or members of an archive, whose lines belong together."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest

from komt.errors import DataError, UsageError
from komt.sources.readers import Reader, ReaderOptions, Rejected, Row, clean
from komt.sources.readers.content import Content


class Options(ReaderOptions):
    """Names of the fields: of the file itself, then of those beside it; and the encoding."""

    fields: tuple[str, ...] = ("ko", "en")
    encoding: str = ""


def read(content: Content, options: Options) -> Iterator[Row | Rejected]:
    """One row a line; lines that are empty in one of the files are rejected as `empty_FIELD`.

    Raises:
        UsageError: not one field a file.
        DataError: the files have not the same number of lines; both numbers are named.
    """
    contents = (content, *content.beside)
    if len(contents) != len(options.fields) or len(contents) < 2:
        raise UsageError(
            f"{len(contents)} files beside each other, and {len(options.fields)} fields "
            f"({', '.join(options.fields)})",
            where=str(content),
            cure="name the other files under `beside`, and a field for each file under the reader's `fields`",
        )
    counts = [0] * len(contents)
    files = [each.lines(options.encoding) for each in contents]
    for number, lines in enumerate(zip_longest(*files), start=1):
        for at, line in enumerate(lines):
            counts[at] += line is not None
        if None in lines:
            continue
        values = {field: clean(line) for field, line in zip(options.fields, lines, strict=True)}
        where = f"{content.label}, line {number}"
        empty = [field for field, text in values.items() if not text]
        yield Rejected(f"empty_{empty[0]}", where, values) if empty else Row(values, where)
    if len(set(counts)) > 1:
        lengths = "\n".join(
            f"  {count:>9,} lines in {each}" for count, each in zip(counts, contents, strict=True)
        )
        raise DataError(
            f"files read beside each other have different numbers of lines:\n{lengths}",
            cure="line N of each must say the same: look for a lost or an added line",
        )


READER = Reader(Options, read)
