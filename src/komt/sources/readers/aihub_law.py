"""AIHub 580, judgments taken apart: one object a file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from komt.sources.readers import Content, Reader, ReaderOptions, Rejected, Row, row_or_rejected, short_hash
from komt.sources.readers.json_objects import json_objects, part, texts

_PIECES = {
    "order": ("disposal", "disposalcontent"),
    "claim": ("mentionedItems", "rqestObjet"),
    "plaintiff": ("assrs", "acusrAssrs"),
    "defendant": ("assrs", "dedatAssrs"),
    "facts": ("facts", "bsisFacts"),
    "reasoning": ("dcss", "courtDcss"),
    "conclusion": ("close", "cnclsns"),
}


class Options(ReaderOptions):
    """The encoding, when it is not recognised."""

    encoding: str = ""


def read(content: Content, options: Options) -> Iterator[Row | Rejected]:
    """One row a judgment; a piece that it lacks is empty.

    Fields: `case` (its name), `court, number, laws` (list), and the pieces, a paragraph a line: `claim` (what
    is asked for), `facts, plaintiff` (what the suing or prosecuting side says), `defendant, reasoning,
    conclusion, order`; `group` is of the facts and both sides.

    Raises:
        DataError: broken JSON, or a file of another shape.
    """
    for found in json_objects(content, ("disposal", "facts", "dcss"), encoding=options.encoding):
        yield found if isinstance(found, Rejected) else _judgment(*found)


def _judgment(where: str, item: dict[str, Any]) -> Row | Rejected:
    pieces = {name: "\n".join(texts(part(item, *keys))) for name, keys in _PIECES.items()}
    number = " ".join(texts(part(item, "info", "caseNo")))
    values: dict[str, Any] = {
        **({"id": number} if number else {}),
        "case": " ".join(texts(part(item, "info", "caseNm"))),
        "court": " ".join(texts(part(item, "info", "courtNm"))),
        "number": number,
        "laws": texts(part(item, "info", "relateLaword")),
        **pieces,
        "group": short_hash("\n".join(pieces[name] for name in ("facts", "plaintiff", "defendant"))),
    }
    return (
        row_or_rejected(values, where) if any(pieces.values()) else Rejected("empty_context", where, values)
    )


READER = Reader(Options, read)
