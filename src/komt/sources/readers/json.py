"""JSON of any shape: where the list of rows stands, and which values of an item are its fields."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import Field

from komt.errors import DataError, did_you_mean
from komt.sources.readers import Reader, ReaderOptions, Rejected, Row
from komt.sources.readers.content import Content
from komt.sources.readers.jsonl import PlainItems, is_plain, load_json, loads, plain_objects, row_of, streamed


class Options(ReaderOptions):
    """The shape.

    Attributes:
        records: dotted path to the list of rows, `[]` after lists on the way: `data[].paragraphs`;
            "" when the file is the list, one object a line, or one object that is the only row.
        pick: field -> dotted path in the item (a number is a place in a list): `labels.label`,
            `answers.0.text`; the row has these fields only. A path that is missing rejects the row as
            `missing_FIELD`; with `?` at its end it gives an empty text.
        encoding: when it is not recognised.
    """

    records: str = ""
    pick: dict[str, str] = Field(default_factory=dict)
    encoding: str = ""


def read(content: Content, options: Options) -> Iterator[Row | Rejected]:
    """One row an item, NFC and stripped.

    Raises:
        DataError: broken JSON, or nothing at the path of the records.
    """
    for where, value, plain in _records(content, options):
        item = row_of(value, where, plain)
        yield _picked(item, options.pick) if options.pick and isinstance(item, Row) else item


def _records(content: Content, options: Options) -> PlainItems:
    if options.records:
        yield from _below(content, options)
    elif _is_one_object(content, options.encoding):
        yield f"{content.label}, item 1", load_json(content, options.encoding), False
    else:
        yield from plain_objects(content, options.encoding)


def _below(content: Content, options: Options) -> PlainItems:
    steps = options.records.removesuffix("[]").split(".")
    name = f"{'.'.join(steps)}[{{}}]"
    if content.big:
        yield from _streamed_below(content, options, steps, name)
        return
    text = content.text(options.encoding)
    found, plain = [loads(text, content)], is_plain(text)
    for step in steps:
        found = list(_step(found, step, content, options.records))
    items = [item for value in found for item in _as_list(value)]
    for number, item in enumerate(items):
        yield f"{content.label}, {name.format(number)}", item, plain


def _streamed_below(content: Content, options: Options, steps: list[str], name: str) -> PlainItems:
    """The same of a big file: the first list on the way is streamed; in memory stands one of its items."""
    first = next((at for at, step in enumerate(steps) if step.endswith("[]")), len(steps) - 1)
    prefix = ".".join(steps[: first + 1]).removesuffix("[]")
    number = 0
    for _, outer in streamed(content, options.encoding, f"{prefix}.item", f"{prefix}[{{}}]", first=0):
        found = [outer]
        for step in steps[first + 1 :]:
            found = list(_step(found, step, content, options.records))
        # The list that is streamed is the last one, or holds what the lists of rows are in.
        last = first == len(steps) - 1
        for item in found if last else (item for value in found for item in _as_list(value)):
            yield f"{content.label}, {name.format(number)}", item, False
            number += 1
    if not number:
        raise _nothing(content, options.records)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _step(values: list[Any], step: str, content: Content, records: str) -> Iterator[Any]:
    key, many = step.removesuffix("[]"), step.endswith("[]")
    for value in values:
        if not isinstance(value, dict) or key not in value or (many and not isinstance(value[key], list)):
            raise _nothing(content, records, value, key)
        yield from value[key] if many else [value[key]]


def _nothing(content: Content, records: str, value: Any = None, key: str = "") -> DataError:
    known = list(value) if isinstance(value, dict) else []
    return DataError(
        f"no list of records at '{records}'{did_you_mean(key, known)}",
        where=str(content),
        cure=f"the names there are: {', '.join(known)}" if known else "check the reader's `records`",
    )


def _is_one_object(content: Content, encoding: str) -> bool:
    """Whether the file is one object over several lines rather than one object a line."""
    if not content.head(encoding).lstrip().startswith("{") or content.big:
        return False
    import json

    first = next((line for line in content.lines(encoding) if not line.isspace()), "")
    try:
        json.loads(first)
    except (RecursionError, ValueError):
        return True
    return False


def _picked(item: Row, pick: dict[str, str]) -> Row | Rejected:
    values: dict[str, Any] = {}
    for field, path in pick.items():
        found, value = _at(item.values, path.removesuffix("?"))
        if not found and not path.endswith("?"):
            return Rejected(f"missing_{field}", item.where, item.values)
        values[field] = "" if value is None else value
    return Row(values, item.where)


def _at(value: Any, path: str) -> tuple[bool, Any]:
    for key in path.split("."):
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        else:
            return False, None
    return True, value


READER = Reader(Options, read)
