"""Options that every reader takes, and what they do to the rows."""

from __future__ import annotations

import contextlib
import hashlib
import html
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any

from pydantic import Field, field_validator

from komt.errors import DataError, did_you_mean
from komt.recipe import Part
from komt.sources.readers.row import Rejected, Row, clean

Values = dict[str, Any]
_EMPTY: tuple[Any, ...] = (None, "", [])
_NUMBERS = (int, float, bool)


class ReaderOptions(Part):
    """What every reader takes, done in this order.

    Attributes:
        rename: name in the file -> name of the field; "" leaves the field out.
        fill: field -> the value of every row, for a file that is all of one kind.
        unescape: fields whose HTML entities (&#8212;) become characters, and no-break spaces plain ones.
        texts: fields whose numbers become texts (4.5 -> "4.5").
        decimals: field -> how many; its numbers, and texts that are numbers, become texts with so many.
        split: field -> separator: a text becomes the list of its parts, empty ones left out.
        labels: field -> {spelling in the file: the one spelling}; other values stay as they are.
        group: field with the passage; a field `group`, its hash, is added.
        required: fields that must not be empty; else the row is rejected as `empty_FIELD`.
    """

    rename: dict[str, str] = Field(default_factory=dict)
    fill: dict[str, str] = Field(default_factory=dict)
    unescape: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    decimals: dict[str, int] = Field(default_factory=dict)
    split: dict[str, Annotated[str, Field(min_length=1)]] = Field(default_factory=dict)
    labels: dict[str, dict[str, str]] = Field(default_factory=dict)
    group: str = ""
    required: tuple[str, ...] = ()

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


def short_hash(text: str) -> str:
    """The first 16 hex digits of a text's SHA-256: the id of a passage."""
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:16]


def finished(items: Iterable[Row | Rejected], options: Any) -> Iterator[Row | Rejected]:
    """Rows as the options want them.

    Raises:
        DataError: a field that the options name and no row has.
    """
    steps = _steps(options) if isinstance(options, ReaderOptions) else []
    return _stepped(items, steps) if steps else iter(items)


Step = tuple[str, dict[str, Any], Callable[[Values, dict[str, Any]], str]]


def _steps(options: ReaderOptions) -> list[Step]:
    steps: list[Step] = [
        ("rename", options.rename, _rename),
        ("fill", dict(options.fill), _fill),
        ("unescape", dict.fromkeys(options.unescape), _unescape),
        ("texts", dict.fromkeys(options.texts), _texts),
        ("decimals", dict(options.decimals), _decimals),
        ("split", options.split, _split),
        ("labels", dict(options.labels), _labels),
        ("group", {options.group: None} if options.group else {}, _group),
        ("required", dict.fromkeys(options.required), _required),
    ]
    return [step for step in steps if step[1]]


def _stepped(items: Iterable[Row | Rejected], steps: list[Step]) -> Iterator[Row | Rejected]:
    unseen = [(what, set() if what == "fill" else set(named)) for what, named, _ in steps]
    calls = [(named, step) for _, named, step in steps]
    values: Values = {}
    searching = True
    for item in items:
        if isinstance(item, Rejected):
            yield item
            continue
        values, reason = item.values, ""
        for at, (named, step) in enumerate(calls):
            if searching:
                unseen[at][1].difference_update(values)
            if reason := step(values, named):
                break
        searching = searching and any(names for _, names in unseen)
        yield Rejected(reason, item.where, values) if reason else item
    for what, names in unseen:
        if names and values:
            name = min(names)
            raise DataError(
                f"the reader's {what} names '{name}', which no row has{did_you_mean(name, values)}",
                cure=f"the fields are: {', '.join(values)}",
            )


def _rename(values: Values, named: dict[str, Any]) -> str:
    renamed = {new: value for old, value in values.items() if (new := named.get(old, old))}
    values.clear()
    values.update(renamed)
    return ""


def _fill(values: Values, named: dict[str, Any]) -> str:
    values.update(named)
    return ""


def _unescape(values: Values, named: dict[str, Any]) -> str:
    for field in named:
        if isinstance(text := values.get(field), str) and ("&" in text or "\u00a0" in text):
            values[field] = clean(html.unescape(text).replace("\u00a0", " "))
    return ""


def _texts(values: Values, named: dict[str, Any]) -> str:
    for field in named:
        value = values.get(field)
        if type(value) in _NUMBERS:
            values[field] = str(value)
    return ""


def _decimals(values: Values, named: dict[str, Any]) -> str:
    for field, count in named.items():
        with contextlib.suppress(KeyError, TypeError, ValueError):
            values[field] = f"{float(values[field]):.{count}f}"
    return ""


def _split(values: Values, named: dict[str, Any]) -> str:
    for field, separator in named.items():
        if isinstance(text := values.get(field), str):
            parts = text.split() if separator == " " else text.split(separator)
            values[field] = [part.strip() for part in parts if part.strip()]
    return ""


def _labels(values: Values, named: dict[str, Any]) -> str:
    for field, spellings in named.items():
        if field in values:
            values[field] = spellings.get(str(values[field]), values[field])
    return ""


def _group(values: Values, named: dict[str, Any]) -> str:
    for field in named:
        values["group"] = short_hash(str(values.get(field, "")))
    return ""


def _required(values: Values, named: dict[str, Any]) -> str:
    for field in named:
        if values.get(field) in _EMPTY:
            return f"empty_{field}"
    return ""
