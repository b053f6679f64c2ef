"""JSON Lines, or one JSON array of objects: the content decides, not the file's name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from komt.errors import DataError
from komt.korean import escape_surrogates
from komt.sources.readers import Reader, ReaderOptions, Rejected, Row, clean, row_or_rejected
from komt.sources.readers.content import Content, content_of


class Options(ReaderOptions):
    """The encoding, when it is neither UTF-8 nor CP949 nor UTF-16."""

    encoding: str = ""


def read(content: Content, options: Options) -> Iterator[Row | Rejected]:
    """One row an object, NFC and stripped; half a surrogate pair in it rejects it as `broken_unicode`.

    Raises:
        DataError: broken JSON, something other than an object, or an object around the list, with file and
            line.
    """
    for where, value in _objects(content.text(options.encoding), content):
        if not isinstance(value, dict):
            raise DataError(
                f"expected an object with named values, found {_kind(value)}",
                where=where,
                cure='write one object a line, as {"question": "…", "answer": "…"}',
            )
        yield row_or_rejected(clean(value), where)


def _objects(text: str, path: Content) -> Iterator[tuple[str, Any]]:
    if text.lstrip().startswith("["):
        for index, value in enumerate(_loads(text, path)):
            yield f"{path.label}, item {index + 1}", value
        return
    _refuse_object_around_a_list(text, path)
    # Split at \n only: str.splitlines() would also split at U+001C or U+2028 inside a value.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield f"{path.label}, line {number}", _loads(line, path, number)


def _refuse_object_around_a_list(text: str, path: Content) -> None:
    """A file that is one object, {"data": [{…}, …]}, is no row: the rows are in its list."""
    try:
        whole = json.loads(text)
    except json.JSONDecodeError:
        return
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
            where=str(path),
            cure=f"save the list under {names} as a file of its own: [{{…}}, {{…}}], or one object a line",
        )


def load_json(place: Path | Content, encoding: str = "") -> Any:
    """A whole JSON file.

    Raises:
        DataError: broken JSON, with file, line and column.
    """
    content = content_of(place)
    return _loads(content.text(encoding), content)


def _loads(text: str, path: Content, first_line: int = 1) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise DataError(
            f"broken JSON: {error.msg}",
            where=f"{path}, line {line}, column {error.colno}",
            cure="give JSON Lines (one object a line) or one JSON array of objects",
        ) from error


def _kind(value: Any) -> str:
    return {list: "a list", str: "a text", int: "a number", float: "a number"}.get(
        type(value), "null or a boolean"
    )


READER = Reader(Options, read)
