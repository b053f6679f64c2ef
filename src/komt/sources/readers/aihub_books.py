"""AIHub 93, summaries of books: one object a file, `{metadata, chapter, passage, summary}`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from komt.sources.readers import Content, Reader, ReaderOptions, Rejected, Row, row_or_rejected, short_hash
from komt.sources.readers.json_objects import json_objects, texts

_METADATA = {"title": "doc_name", "author": "author", "publisher": "publisher", "subject": "kdc_label"}


class Options(ReaderOptions):
    """The encoding, when it is not recognised."""

    encoding: str = ""


def read(content: Content, options: Options) -> Iterator[Row | Rejected]:
    """One row a passage; fields `title, author, publisher, subject` (by the Korean Decimal Classification),
    `chapter, context, summary, group`.

    Raises:
        DataError: broken JSON, or a file of another shape.
    """
    for found in json_objects(content, ("passage",), encoding=options.encoding):
        yield found if isinstance(found, Rejected) else _book(*found)


def _book(where: str, item: dict[str, Any]) -> Row | Rejected:
    metadata = item.get("metadata")
    known = {**item, **(metadata if isinstance(metadata, dict) else {})}
    context, summary = ("\n".join(texts(item.get(key))) for key in ("passage", "summary"))
    values = {
        **({"id": str(known["passage_id"])} if known.get("passage_id") else {}),
        **{name: ", ".join(texts(known.get(key))) for name, key in _METADATA.items()},
        "chapter": " ".join(texts(item.get("chapter"))),
        "context": context,
        "summary": summary,
        "group": short_hash(context),
    }
    if not context or not summary:
        return Rejected("empty_summary" if context else "empty_context", where, values)
    return row_or_rejected(values, where)


READER = Reader(Options, read)
