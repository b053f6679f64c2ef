"""Sniff JSON: lines, one list, or one object that holds the list, read off its content."""

from __future__ import annotations

import json
import re
from contextlib import closing
from typing import Any

from komt.sources.readers.content import Content

_DEEPEST = 100


def json_reader(content: Content) -> tuple[dict[str, Any], list[str]]:
    """The reader that JSON is for, with its options, and remarks on what was seen."""
    head = content.head().lstrip()
    if head.startswith("["):
        return {"format": "jsonl"}, []
    path = _list_in(content)
    if path == "data" and re.search(r'"paragraphs"\s*:', head) and re.search(r'"qas"\s*:', head):
        return {"format": "squad"}, []
    if path:
        return {"format": "json", "records": path}, []
    first = next((line for line in content.lines() if line.strip()), "")
    try:
        json.loads(first)
    except (RecursionError, ValueError):
        return {"format": "json"}, ["one object: one row"]
    return {"format": "jsonl"}, []


def _list_in(content: Content) -> str:
    """Where the list of objects stands in a file that is one object; "" where it is no such file."""
    import ijson

    from komt.sources.readers.json_stream import utf8

    path: list[str] = []
    with closing(content.open()) as stream:
        try:
            # Not ijson.parse, whose paths fill the memory where a file is nested a hundred thousand deep.
            data = utf8(stream, content.encoding(), str(content))
            for event, value in ijson.basic_parse(data, use_float=True):
                if event == "start_map" and path and path[-1] == "[]":
                    return ".".join(path[:-1]).replace(".[]", "[]")
                if event in {"start_map", "start_array"}:
                    path.append("[]" if event == "start_array" else "")
                elif event == "map_key":
                    path[-1] = value
                elif event in {"end_map", "end_array"}:
                    path.pop()
                if not 0 < len(path) < _DEEPEST:
                    return ""
        except (ijson.JSONError, ValueError):
            return ""  # the reading proper says where
    return ""
