"""The objects of a JSON file of any size, whatever stands around them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

from komt.errors import DataError
from komt.sources.readers import Rejected, clean
from komt.sources.readers.content import Content
from komt.sources.readers.json_stream import broken, long_number, utf8
from komt.sources.readers.jsonl import load_json, objects, streamed

Object = dict[str, Any]


def json_objects(
    content: Content, needs: Sequence[str], lists: Sequence[str] = ("data",), encoding: str = ""
) -> Iterator[tuple[str, Object] | Rejected]:
    """The objects of a JSON file, each with its place, `FILE, item 3`; what is none is rejected.

    A file is a list of objects; an object that holds the list under one of the keys `lists`; a list of such
    objects; JSON Lines; or one object. A big file is streamed with flat memory.

    Args:
        content: JSON.
        needs: an object has at least one of these keys; one that has none is rejected as `other_shape`.
        lists: keys under which the list may stand.
        encoding: when it is not recognised.

    Raises:
        DataError: broken JSON, with file and place; or the first of several objects has none of the keys.
    """
    items = _items(content, lists, encoding)
    for number, (where, item) in enumerate(items):
        if isinstance(item, dict) and any(key in item for key in needs):
            yield where, item
            continue
        # A stray file among thousands of one object each is passed over; a list of others is another set.
        if not number and next(items, None) is not None:
            raise _other_file(content, item, needs)
        yield Rejected("other_shape", where, item if isinstance(item, dict) else {"value": item})


def texts(value: Any) -> list[str]:
    """The texts of a value, a text or a list of texts, lists in lists included; empty ones left out."""
    if isinstance(value, list):
        return [text for item in value for text in texts(item)]
    return [text] if isinstance(value, str) and (text := clean(value)) else []


def objects_in(value: Any) -> list[Object]:
    """The objects of a list; one object alone counts as such a list, anything else is left out."""
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, dict)]


def part(value: Any, *keys: str) -> Any:
    """What stands below keys, one in the other; None where one is missing."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _items(content: Content, lists: Sequence[str], encoding: str) -> Iterator[tuple[str, Any]]:
    if content.big:
        encoding = content.codec(encoding)
        path = _path_to_items(content, lists, encoding)
        yield from (
            streamed(content, encoding, path, "item {}") if path else _one_after_the_other(content, encoding)
        )
        return
    try:
        whole = load_json(content, encoding)
    except DataError as error:
        if isinstance(error.__cause__, json.JSONDecodeError) and error.__cause__.msg == "Extra data":
            yield from objects(content, encoding)
            return
        raise
    for number, item in enumerate(_unwrapped(whole, lists), start=1):
        yield f"{content.label}, item {number}", item


def _unwrapped(whole: Any, lists: Sequence[str]) -> Iterator[Any]:
    for item in whole if isinstance(whole, list) else [whole]:
        key = next((key for key in lists if isinstance(item, dict) and isinstance(item.get(key), list)), "")
        yield from item[key] if key else [item]


def _one_after_the_other(content: Content, encoding: str) -> Iterator[tuple[str, Any]]:
    """Objects that stand in a big file without a list around them, as JSON Lines have them."""
    import ijson

    number = 0
    with closing(content.open()) as stream:
        try:
            data = utf8(stream, encoding, str(content))
            for item in ijson.items(data, "", multiple_values=True, use_float=True):
                number += 1
                yield f"{content.label}, item {number}", item
        except ijson.JSONError as error:
            raise broken(error, f"{content}, in or after item {number}") from error
        except UnicodeError as error:
            raise content.undecodable(encoding) from error
        except ValueError as error:
            raise long_number(f"{content}, in or after item {number}") from error


def _path_to_items(content: Content, lists: Sequence[str], encoding: str) -> str:
    """Where a big file's items stand, as ijson has it: `item`, `data.item`, `item.data.item`; "": no list."""
    import ijson

    with closing(content.open()) as stream:
        try:
            for prefix, event, _ in ijson.parse(utf8(stream, encoding, str(content)), use_float=True):
                parent, _, key = prefix.rpartition(".")
                if event == "start_array" and key in lists and parent in ("", "item"):
                    return f"{prefix}.item"
                if prefix == "item" and event not in ("start_map", "map_key"):
                    return "item"
                if not prefix and event == "end_map":
                    return ""
        except (ijson.JSONError, ValueError):
            pass  # the reading proper says where
    return "item"


def _other_file(content: Content, item: Any, needs: Sequence[str]) -> DataError:
    found = ", ".join(map(str, list(item)[:12])) if isinstance(item, dict) else f"a {type(item).__name__}"
    return DataError(
        f"another shape than this set's: none of {', '.join(repr(key) for key in needs)} in its first item"
        f" (found: {found or 'nothing'})",
        where=str(content),
        cure="keep only the set's label files here; take the others away",
    )
