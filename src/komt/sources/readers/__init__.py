"""Readers: a file format in, rows out. ADD A FORMAT: a module with a READER, and a line here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any
from unicodedata import normalize

from pydantic import Field, field_validator

from komt.errors import DataError, did_you_mean
from komt.korean import escape_surrogates, has_lone_surrogate, nfc
from komt.recipe import Part
from komt.registry import Registry
from komt.sources.readers.content import Content, content_of


@dataclass(frozen=True, slots=True)
class Row:
    """One item of a source: its values, NFC, and where they stand (file and line, or place in the JSON)."""

    values: dict[str, Any]
    where: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """An item that cannot be used, and why."""

    reason: str
    where: str
    row: dict[str, Any]


class ReaderOptions(Part):
    """What every reader takes.

    Attributes:
        rename: name in the file -> name of the field; "" leaves the field out.
        labels: field -> {spelling in the file: the one spelling}; other values stay as they are.
    """

    rename: dict[str, str] = Field(default_factory=dict)
    labels: dict[str, dict[str, str]] = Field(default_factory=dict)

    @field_validator("labels", mode="before")
    @classmethod
    def _spellings_are_texts(cls, value: Any) -> Any:
        # YAML reads 0 as a number and TRUE as a boolean: a number has one spelling, a boolean several.
        if not isinstance(value, dict):
            return value
        return {
            field: {_spelling(old): _spelling(new) for old, new in names.items()}
            if isinstance(names, dict)
            else names
            for field, names in value.items()
        }


def _spelling(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("put the spellings in quotes: YAML reads True, TRUE, yes and on alike")
    return str(value) if isinstance(value, int | float) else value


def clean(value: Any) -> Any:
    """A text NFC and stripped, or every text in a list or mapping; anything else as it is."""
    if isinstance(value, str):
        value = value.strip()
        return value if value.isascii() else normalize("NFC", value)
    if isinstance(value, list):
        return [clean(item) for item in value]
    if isinstance(value, dict):
        return {nfc(key): clean(item) for key, item in value.items()}
    return value


def row_or_rejected(values: dict[str, Any], where: str) -> Row | Rejected:
    """A row, or its rejection as `broken_unicode` where it holds half a surrogate pair."""
    if has_lone_surrogate(values):
        return Rejected("broken_unicode", where, escape_surrogates(values))
    return Row(values, where)


@dataclass(frozen=True, slots=True)
class Reader:
    """A format.

    Attributes:
        options: what it takes in a source's YAML, a ReaderOptions (or a Part of its own).
        rows: reads one content. Values are str, int, float, bool, list or dict; text NFC and stripped;
            `where` opens with the content's `label`. Renaming and labels are done for it.
    """

    options: type[Part]
    rows: Callable[[Content, Any], Iterator[Row | Rejected]]

    def read(self, place: Path | Content | Iterable[Content], options: Any) -> Iterator[Row | Rejected]:
        """Rows of a file, of a content, or of several contents one after the other, renamed as declared.

        Raises:
            DataError: as the format's own; a name in `rename` or `labels` that no row has.
        """
        contents = [content_of(place)] if isinstance(place, Path | Content) else place
        items = chain.from_iterable(self.rows(content, options) for content in contents)
        rename, labels = getattr(options, "rename", {}), getattr(options, "labels", {})
        return _renamed(items, rename, labels) if rename or labels else items


def _renamed(
    items: Iterable[Row | Rejected], rename: dict[str, str], labels: dict[str, dict[str, str]]
) -> Iterator[Row | Rejected]:
    unseen, unlabelled = set(rename), set(labels)
    values: dict[str, Any] = {}
    for item in items:
        if isinstance(item, Rejected):
            yield item
            continue
        if rename:
            unseen -= item.values.keys()
            values = {new: v for old, v in item.values.items() if (new := rename.get(old, old))}
        else:
            values = item.values
        for field, spellings in labels.items():
            if field in values:
                unlabelled.discard(field)
                values[field] = spellings.get(str(values[field]).strip(), values[field])
        yield Row(values, item.where)
    for what, names in (("rename", unseen), ("labels", unlabelled)):
        if names and values:
            name = min(names)
            raise DataError(
                f"the reader's {what} names '{name}', which no row has{did_you_mean(name, values)}",
                cure=f"the fields are: {', '.join(values)}",
            )


READERS: Registry[Reader] = Registry("reader", "komt.readers")
for _name in ("squad", "jsonl", "csv", "auto"):
    READERS.add(_name, f"komt.sources.readers.{_name}:READER")
