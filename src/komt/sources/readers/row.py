"""What readers give: a Row, or a Rejected with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from unicodedata import normalize

from komt.korean import escape_surrogates, has_lone_surrogate

_MOST_DIGITS = 18


@dataclass(frozen=True, slots=True)
class Row:
    """One item of a source: its values, NFC, and where they stand (file and line, or place in the JSON)."""

    values: dict[str, Any]
    where: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """An item that cannot be used, and why; half a surrogate pair, which no file holds, is spelled out."""

    reason: str
    where: str
    row: dict[str, Any]

    def __post_init__(self) -> None:
        if has_lone_surrogate(self.row):
            object.__setattr__(self, "row", escape_surrogates(self.row))


def clean(value: Any) -> Any:
    r"""A text NFC, stripped, with \n at line ends; so with texts in a list or mapping; else as it is."""
    if isinstance(value, str):
        value = value.strip()
        if "\r" in value:
            value = value.replace("\r\n", "\n").replace("\r", "\n")
        return value if value.isascii() else normalize("NFC", value)
    if isinstance(value, dict):
        return {key if key.isascii() else normalize("NFC", key): clean(item) for key, item in value.items()}
    if isinstance(value, list):
        return [clean(item) for item in value]
    return value


def row_or_rejected(values: dict[str, Any], where: str) -> Row | Rejected:
    """A row, or its rejection as `broken_unicode` where it holds half a surrogate pair."""
    return Rejected("broken_unicode", where, values) if has_lone_surrogate(values) else Row(values, where)


def whole_number(text: str) -> int | None:
    """The number that a text is, as `3` or `-3`; None where it is none, or has more digits than any count."""
    digits = text.removeprefix("-")
    return int(text) if digits.isdecimal() and len(digits) <= _MOST_DIGITS else None
