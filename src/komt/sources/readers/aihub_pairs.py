"""AIHub 126, sentences with their translation: xlsx with the columns 원문, 번역문, or csv with ko, en."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from komt.errors import DataError
from komt.sources.readers import READERS, Content, Reader, ReaderOptions, Rejected, Row

_COLUMNS = {
    "ko": ("원문", "한국어", "ko", "korean"),
    "en": ("번역문", "영어", "영어 번역문", "en", "english"),
}


class Options(ReaderOptions):
    """The encoding of a csv, when it is not recognised."""

    encoding: str = ""


def read(content: Content, options: Options) -> Iterator[Row | Rejected]:
    """One row a line of the table; fields `ko` and `en`. The content decides whether it is xlsx or csv.

    Raises:
        DataError: a broken table, or one without two such columns.
    """
    with closing(content.open()) as stream:
        zipped = stream.read(2) == b"PK"
    table = READERS.get("xlsx" if zipped else "csv")
    given = {} if zipped else {"encoding": options.encoding}
    columns: dict[str, str] = {}
    for item in table.rows(content, table.options.model_validate(given)):
        if isinstance(item, Rejected):
            yield item
            continue
        columns = columns or _columns(list(item.values), content)
        values = {field: str(item.values.get(column) or "") for field, column in columns.items()}
        empty = next((field for field, text in values.items() if not text), "")
        yield Rejected(f"empty_{empty}", item.where, values) if empty else Row(values, item.where)


def _columns(names: list[str], content: Content) -> dict[str, str]:
    found = {
        field: next((name for name in names if name.strip().lower() in known), "")
        for field, known in _COLUMNS.items()
    }
    if not all(found.values()):
        raise DataError(
            f"no columns for a Korean sentence and its translation among: {', '.join(names)}",
            where=str(content),
            cure="the columns are called 원문 and 번역문, or ko and en",
        )
    return found


READER = Reader(Options, read)
