"""Readers: a file format in, rows out. ADD A FORMAT: a module with a READER, and a line here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from komt.recipe import Part
from komt.registry import Registry
from komt.sources.readers.content import Content, content_of
from komt.sources.readers.options import ReaderOptions, finished, short_hash
from komt.sources.readers.row import Rejected, Row, clean, row_or_rejected

__all__ = [
    "READERS",
    "Content",
    "Reader",
    "ReaderOptions",
    "Rejected",
    "Row",
    "clean",
    "content_of",
    "row_or_rejected",
    "short_hash",
]


@dataclass(frozen=True, slots=True)
class Reader:
    """A format.

    Attributes:
        options: what it takes in a source's YAML: a ReaderOptions with the format's own keys.
        rows: reads one content. Values are str, int, float, bool, list or dict; text NFC and stripped;
            `where` opens with the content's `label`. What ReaderOptions offers is done for it.
    """

    options: type[Part]
    rows: Callable[[Content, Any], Iterator[Row | Rejected]]

    def read(self, place: Path | Content | Iterable[Content], options: Any) -> Iterator[Row | Rejected]:
        """Rows of a file, of a content, or of several contents one after the other.

        Raises:
            DataError: as the format's own; a field that the options name and no row has.
        """
        contents = [content_of(place)] if isinstance(place, Path | Content) else place
        return finished(chain.from_iterable(self.rows(content, options) for content in contents), options)


READERS: Registry[Reader] = Registry("reader", "komt.readers")
_GENERAL = ("squad", "jsonl", "json", "csv", "xlsx", "parquet", "hub", "conll", "parallel", "auto")
_OF_ONE_SET = ("parakqc", "scinews", "wos")
_AIHUB = (
    *("qa", "tech", "documents", "papers", "books", "emotion"),
    *("dialogues", "calls", "law", "complaints", "pairs", "finance"),
)
for _name in (*_GENERAL, *_OF_ONE_SET):
    READERS.add(_name, f"komt.sources.readers.{_name}:READER")
for _name in _AIHUB:
    READERS.add(f"aihub_{_name}", f"komt.sources.readers.aihub_{_name}:READER")
for _name, _attribute in (("qa", "QA"), ("papers", "PAPERS"), ("tags", "SENTENCES")):
    READERS.add(f"kisti_{_name}", f"komt.sources.readers.kisti:{_attribute}")
