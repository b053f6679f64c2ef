"""JSON Lines, or one JSON array of objects: the content decides, not the file's name."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from komt.errors import DataError
from komt.korean import escape_surrogates
from komt.sources.readers import Reader, ReaderOptions, Rejected, Row, clean, row_or_rejected
from komt.sources.readers.content import Content, content_of

Items = Iterator[tuple[str, Any]]


class Options(ReaderOptions):
    """The encoding, when it is not recognised."""

    encoding: str = ""


def read(content: Content, options: Options) -> Iterator[Row | Rejected]:
    """One row an object, NFC and stripped; half a surrogate pair in it rejects it as `broken_unicode`.

    Raises:
        DataError: broken JSON, something other than an object, or an object around the list, with file and
            line.
    """
    for where, value in objects(content, options.encoding):
        yield row_of(value, where)


def row_of(value: Any, where: str) -> Row | Rejected:
    """A row of a JSON object.

    Raises:
        DataError: it is no object.
    """
    if not isinstance(value, dict):
        raise DataError(
            f"expected an object with named values, found {_kind(value)}",
            where=where,
            cure='write one object a line, as {"question": "…", "answer": "…"}',
        )
    return row_or_rejected(clean(value), where)


def objects(content: Content, encoding: str = "") -> Items:
    """What a file of JSON Lines or one JSON array holds, with its place.

    Raises:
        DataError: broken JSON, with file and line.
    """
    head = content.head(encoding)
    if head.lstrip().startswith("["):
        yield from array(content, encoding)
    else:
        yield from _lines(content, encoding)


def array(content: Content, encoding: str = "", prefix: str = "item", name: str = "item {}") -> Items:
    """The items of a JSON array, streamed where the file is big.

    Args:
        content: JSON.
        encoding: when it is not recognised.
        prefix: where the items stand, as `ijson` has it.
        name: what an item is called, its number for the braces.

    Raises:
        DataError: broken JSON, with file and line, or the number of the item where it was streamed.
    """
    if content.big or prefix != "item":
        yield from streamed(content, encoding, prefix, name)
        return
    for number, value in enumerate(load_json(content, encoding), start=1):
        yield f"{content.label}, {name.format(number)}", value


def streamed(content: Content, encoding: str, prefix: str, name: str) -> Items:
    """The items below a prefix, one after the other, however large the file is.

    Raises:
        DataError: broken JSON, with the number of the item.
    """
    import ijson

    codec = encoding or content.encoding() or "utf-8"
    number = 0
    with closing(content.open()) as stream:
        source = stream if codec == "utf-8" else _AsUtf8(stream, codec)
        try:
            for value in ijson.items(source, prefix, use_float=True):
                number += 1
                yield f"{content.label}, {name.format(number)}", value
        except ijson.JSONError as error:
            raise DataError(
                f"broken JSON: {str(error).strip().splitlines()[0]}",
                where=f"{content}, in or after {name.format(number)}",
                cure="the file may be cut off: get it again",
            ) from error
        except UnicodeDecodeError as error:
            raise content.undecodable(codec) from error


class _AsUtf8:
    """A stream in another encoding, read as UTF-8."""

    def __init__(self, stream: Any, codec: str) -> None:
        self._text = io.TextIOWrapper(stream, codec, newline="")

    def read(self, size: int = -1) -> bytes:
        """So many characters, as UTF-8."""
        return self._text.read(size).encode("utf-8", "surrogatepass")


def _lines(content: Content, encoding: str) -> Items:
    last: Any = None
    count = 0
    # Split at \n only: str.splitlines() would also split at U+001C or U+2028 inside a value.
    for number, line in enumerate(content.lines(encoding), start=1):
        line = line.rstrip("\r\n")
        if not line or line.isspace():
            continue
        if count == 1:
            yield f"{content.label}, line {last[0]}", last[1]
        count += 1
        if count == 1:
            # Held back until it is known not to be the whole file.
            last = number, _first(line, content, number, encoding)
        else:
            yield f"{content.label}, line {number}", _loads(line, content, number)
    if count == 1:
        refuse_object_around_a_list(last[1], content)
        yield f"{content.label}, line {last[0]}", last[1]
    if not count:
        content.read()


def _first(line: str, content: Content, number: int, encoding: str) -> Any:
    """The first line's value; where it is none, the file may be one object over several lines."""
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        if not content.big:
            try:
                whole = json.loads(content.text(encoding))
            except json.JSONDecodeError:
                whole = None
            refuse_object_around_a_list(whole, content)
        return _loads(line, content, number)


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
    return _loads(content.text(encoding), content)


def _loads(text: str, content: Content, first_line: int = 1) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise DataError(
            f"broken JSON: {error.msg}",
            where=f"{content}, line {line}, column {error.colno}",
            cure="give JSON Lines (one object a line) or one JSON array of objects",
        ) from error


def _kind(value: Any) -> str:
    return {list: "a list", str: "a text", int: "a number", float: "a number"}.get(
        type(value), "null or a boolean"
    )


READER = Reader(Options, read)
