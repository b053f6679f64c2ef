"""JSON Lines, or one JSON array of objects: the content decides, not the file's name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from unicodedata import is_normalized

from komt.errors import DataError
from komt.korean import escape_surrogates
from komt.sources.readers import Reader, ReaderOptions, Rejected, Row, clean, row_or_rejected
from komt.sources.readers.content import Content, content_of
from komt.sources.readers.json_stream import broken, long_number, too_deep, utf8

Items = Iterator[tuple[str, Any]]
# The same, and whether the text is NFC and free of escapes already.
PlainItems = Iterator[tuple[str, Any, bool]]
_scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined]


class Options(ReaderOptions):
    """The encoding, when it is not recognised."""

    encoding: str = ""


def read(content: Content, options: Options) -> Iterator[Row | Rejected]:
    """One row an object, NFC and stripped; half a surrogate pair in it rejects it as `broken_unicode`.

    Raises:
        DataError: broken JSON, something other than an object, or an object around the list, with file and
            line.
    """
    for where, value, plain in plain_objects(content, options.encoding):
        yield row_of(value, where, plain)


def row_of(value: Any, where: str, plain: bool = False) -> Row | Rejected:
    """A row of a JSON object; `plain` where its text is NFC and free of escapes already.

    Raises:
        DataError: it is no object, or is nested too deeply.
    """
    if not isinstance(value, dict):
        raise DataError(
            f"expected an object with named values, found {_kind(value)}",
            where=where,
            cure='write one object a line, as {"question": "…", "answer": "…"}',
        )
    try:
        return _tidied(value, where, plain)
    except RecursionError as error:
        raise too_deep(where) from error


def _tidied(value: dict[str, Any], where: str, plain: bool) -> Row | Rejected:
    if not plain:
        return row_or_rejected(clean(value), where)
    for key, item in value.items():
        if type(item) is str:
            value[key] = item.strip()
        elif type(item) is list or type(item) is dict:
            value[key] = clean(item)
    return Row(value, where)


def is_plain(text: str) -> bool:
    """Whether JSON text needs no further look: NFC, no escape of half a surrogate pair or of a line's CR."""
    escapes = "\\u" in text or "\\r" in text
    return not escapes and (text.isascii() or is_normalized("NFC", text))


def objects(content: Content, encoding: str = "") -> Items:
    """What a file of JSON Lines or one JSON array holds, with its place.

    Raises:
        DataError: broken JSON, with file and line.
    """
    return ((where, value) for where, value, _ in plain_objects(content, encoding))


def plain_objects(content: Content, encoding: str = "") -> PlainItems:
    """As `objects`, and whether each item's text is NFC and free of escapes already."""
    if content.head(encoding).lstrip().startswith("["):
        return _array(content, encoding)
    return _lines(content, encoding)


def _array(content: Content, encoding: str) -> PlainItems:
    if content.big:
        for where, value in streamed(content, encoding, "item"):
            yield where, value, False
        return
    text = content.text(encoding)
    plain = is_plain(text)
    for number, value in enumerate(loads(text, content), start=1):
        yield f"{content.label}, item {number}", value, plain


def streamed(content: Content, encoding: str, prefix: str, name: str = "item {}", first: int = 1) -> Items:
    """The items of a JSON file, one after the other, however large it is: memory stays flat.

    Args:
        content: JSON.
        encoding: when it is not recognised.
        prefix: where the items stand, as `ijson` has it.
        name: what an item is called, its number for the braces.
        first: the first number.

    Raises:
        DataError: broken JSON, with the number of the item.
    """
    import ijson

    codec = content.codec(encoding)
    number = first
    with content.named(), closing(content.open()) as stream:
        try:
            for value in ijson.items(utf8(stream, codec, str(content)), prefix, use_float=True):
                yield f"{content.label}, {name.format(number)}", value
                number += 1
        except ijson.JSONError as error:
            raise broken(error, f"{content}, {name.format(number)}") from error
        except UnicodeError as error:
            raise content.undecodable(codec) from error
        except ValueError as error:
            raise long_number(f"{content}, {name.format(number)}") from error


def _lines(content: Content, encoding: str) -> PlainItems:
    held: tuple[str, Any, bool] | None = None
    label, count = content.label, 0
    # Split at \n only: str.splitlines() would also split at U+001C or U+2028 inside a value.
    for number, line in enumerate(content.lines(encoding), start=1):
        line = line.rstrip("\r\n")
        if not line or line.isspace():
            continue
        count += 1
        if count == 1:
            # Held back until it is known not to be the whole file.
            held = f"{label}, line {number}", _first(line, content, number, encoding), is_plain(line)
            continue
        if held:
            yield held
            held = None
        try:
            value, end = _scan(line, 0)
        except (StopIteration, RecursionError, ValueError):
            end = -1
        if end != len(line):
            value = loads(line, content, number)
        yield f"{label}, line {number}", value, is_plain(line)
    if held:
        if not _named_as_lines(content):  # else it is one row: a conversation is an object around a list, too
            refuse_object_around_a_list(held[1], content)
        yield held
    if not count:
        content.read()


def _named_as_lines(content: Content) -> bool:
    name = (content.member or content.path.name).lower().removesuffix(".gz")
    return name.endswith((".jsonl", ".ndjson"))


def _first(line: str, content: Content, number: int, encoding: str) -> Any:
    """The first line's value; where it is none, the file may be one object over several lines."""
    try:
        return json.loads(line)
    except (RecursionError, ValueError):
        if not content.big:
            try:
                whole = json.loads(content.text(encoding))
            except (RecursionError, ValueError):
                whole = None
            refuse_object_around_a_list(whole, content)
        return loads(line, content, number)


def refuse_object_around_a_list(whole: Any, content: Content) -> None:
    """Do nothing but for a file that is one object, {"data": [{…}, …]}: the rows are in its list.

    Raises:
        DataError: with the names of the lists.
    """
    if not isinstance(whole, dict):
        return
    lists = [
        key
        for key, value in whole.items()
        if isinstance(value, list) and value and all(isinstance(item, dict) for item in value)
    ]
    if lists:
        names = ", ".join(f"'{key}'" for key in escape_surrogates(lists))
        raise DataError(
            f"the file is one JSON object that holds a list under {names}; the list itself is needed",
            where=str(content),
            cure=f"save the list under {names} as a file of its own: [{{…}}, {{…}}], or one object a line;\n"
            f"    in a source's YAML declare reader: {{format: json, records: {lists[0]}}}",
        )


def load_json(place: Path | Content, encoding: str = "") -> Any:
    """A whole JSON file.

    Raises:
        DataError: broken JSON, with file, line and column.
    """
    content = content_of(place)
    return loads(content.text(encoding), content)


def loads(text: str, content: Content, first_line: int = 1) -> Any:
    """The value of JSON text.

    Raises:
        DataError: broken JSON, with file, line and column; or JSON that is nested too deeply.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise DataError(
            f"broken JSON: {error.msg}",
            where=f"{content}, line {line}, column {error.colno}",
            cure="give JSON Lines (one object a line) or one JSON array of objects",
        ) from error
    except RecursionError as error:
        raise too_deep(f"{content}, line {first_line}") from error
    except ValueError as error:
        raise long_number(f"{content}, line {first_line}" if first_line > 1 else str(content)) from error


def _kind(value: Any) -> str:
    return {list: "a list", str: "a text", int: "a number", float: "a number"}.get(
        type(value), "null or a boolean"
    )


READER = Reader(Options, read)
