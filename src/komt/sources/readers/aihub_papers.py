"""AIHub 90, summaries of papers and patents: `data[].{summary_entire, summary_section}`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from komt.sources.readers import Content, Reader, ReaderOptions, Rejected, Row, row_or_rejected, short_hash
from komt.sources.readers.json_objects import json_objects, objects_in, texts

# The typo is the publisher's; later files may mend it.
_ORIGINALS = ("orginal_text", "original_text")


class Options(ReaderOptions):
    """The encoding, when it is not recognised."""

    encoding: str = ""


def read(content: Content, options: Options) -> Iterator[Row | Rejected]:
    """One row a summary, of the whole text or of a section.

    Fields: `id, title, kind` (of document), `publisher` ("" for patents, which have none), `date, author,
    part` (`entire`, `section`), `context, summary, group`.

    Raises:
        DataError: broken JSON, or a file of another shape.
    """
    for found in json_objects(content, ("summary_entire", "summary_section"), encoding=options.encoding):
        if isinstance(found, Rejected):
            yield found
        else:
            yield from _summaries(*found)


def _summaries(where: str, item: dict[str, Any]) -> Iterator[Row | Rejected]:
    names = {
        "kind": "doc_type",
        "title": "title",
        "publisher": "issued_by",
        "date": "date",
        "author": "author",
    }
    base = {name: "; ".join(texts(item.get(key))) for name, key in names.items()}
    document = str(item.get("doc_id") or "")
    for part in ("entire", "section"):
        for number, pair in enumerate(objects_in(item.get(f"summary_{part}")), start=1):
            context = "\n".join(texts(next((pair[key] for key in _ORIGINALS if key in pair), "")))
            summary = "\n".join(texts(pair.get("summary_text")))
            values = {
                **base,
                **({"id": f"{document}-{part}-{number}"} if document else {}),
                "part": part,
                "context": context,
                "summary": summary,
                "group": short_hash(context),
            }
            spot = f"{where}.{part}.{number}"
            empty = "" if context and summary else "empty_summary" if context else "empty_context"
            yield Rejected(empty, spot, values) if empty else row_or_rejected(values, spot)


READER = Reader(Options, read)
