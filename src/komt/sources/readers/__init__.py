"""Readers: a file format in, rows out. ADD A FORMAT: a module with a READER, and a line here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from komt.korean import escape_surrogates, has_lone_surrogate
from komt.recipe import Part
from komt.registry import Registry


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


def row_or_rejected(values: dict[str, Any], where: str) -> Row | Rejected:
    """A row, or its rejection as `broken_unicode` where it holds half a surrogate pair."""
    if has_lone_surrogate(values):
        return Rejected("broken_unicode", where, escape_surrogates(values))
    return Row(values, where)


@dataclass(frozen=True, slots=True)
class Reader:
    """A format: the options it takes in a source's YAML, and the function that reads a file."""

    options: type[Part]
    read: Callable[[Path, Any], Iterator[Row | Rejected]]


READERS: Registry[Reader] = Registry("reader", "komt.readers")
for _name in ("squad", "jsonl", "csv", "auto"):
    READERS.add(_name, f"komt.sources.readers.{_name}:READER")
