"""Questions as JSON Lines or one JSON array, and the same rows with answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from komt.errors import DataError
from komt.example import Message
from komt.korean import has_lone_surrogate, nfc
from komt.serve.engine import Completion

_FORMS = '{"prompt": …}, {"instruction": …, "input"?: …} or {"messages": [{"role": …, "content": …}, …]}'
_ROLES = ("system", "user", "assistant")
_ADDED = ("answer", "ended")
Row = dict[str, Any]


def parse_rows(text: str, where: str) -> list[tuple[Row, tuple[Message, ...]]]:
    """Rows and the conversations they ask about; blank lines are passed over.

    Args:
        text: JSON Lines, or one JSON array of objects.
        where: the file's name, for errors.

    Raises:
        DataError: with file and line (or item of the array), at the first that is not a question; or no
            question at all.
    """
    rows = []
    for place, row in _objects(text, where):
        if has_lone_surrogate(row):
            raise DataError(
                "the text holds half a surrogate pair, as \\ud800, which stands for no letter",
                where=place,
                cure="write the letter itself, or both halves of its pair",
            )
        rows.append((row, _conversation(row, place)))
    if not rows:
        raise DataError("the file is empty", where=where, cure=f"write a line for each question: {_FORMS}")
    return rows


def with_answers(rows: Sequence[Row], answers: Sequence[Completion]) -> str:
    """JSON Lines: each row with `answer` and `ended` added."""
    lines = [
        json.dumps({**row, "answer": answer.text.strip(), "ended": answer.ended}, ensure_ascii=False)
        for row, answer in zip(rows, answers, strict=True)
    ]
    return "\n".join(lines) + "\n"


def _objects(text: str, where: str) -> Iterator[tuple[str, Any]]:
    if text.lstrip().startswith("["):
        for number, row in enumerate(_loads(text, where, 1), 1):
            yield f"{where}, item {number}", row
        return
    # Split at \n only: str.splitlines() would also split at U+0085 or U+2028 inside a text.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield f"{where}, line {number}", _loads(line, where, number)


def _loads(text: str, where: str, first_line: int) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"not JSON: {error.msg} (column {error.colno})",
            where=f"{where}, line {first_line + error.lineno - 1}",
            cure="write one JSON object a line, or one JSON array of objects",
        ) from error
    except (ValueError, RecursionError) as error:
        what = "a number of too many digits" if isinstance(error, ValueError) else "nested too deep"
        raise DataError(f"not JSON that can be read: {what}", where=f"{where}, line {first_line}") from error


def _conversation(row: Any, where: str) -> tuple[Message, ...]:
    if not isinstance(row, dict):
        raise DataError("not a JSON object", where=where, cure=f"write {_FORMS}")
    if taken := [key for key in _ADDED if key in row]:
        raise DataError(
            f"the row already has '{taken[0]}', which the answer would overwrite",
            where=where,
            cure="rename that key",
        )
    given = [key for key in ("prompt", "instruction", "messages") if key in row]
    if len(given) != 1:
        what = f"both '{given[0]}' and '{given[1]}'" if given else "neither prompt, instruction nor messages"
        raise DataError(f"the row has {what}", where=where, cure=f"write {_FORMS}")
    if given == ["messages"]:
        return _messages(row["messages"], where)
    text = _text(row[given[0]], given[0], where)
    if given == ["instruction"] and row.get("input"):
        text = f"{text}\n\n{_text(row['input'], 'input', where)}"
    return (Message("user", text),)


def _messages(value: Any, where: str) -> tuple[Message, ...]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise DataError("'messages' is not a list of objects", where=where, cure=f"write {_FORMS}")
    for item in value:
        if item.get("role") not in _ROLES:
            raise DataError(
                f"unknown role {item.get('role')!r}", where=where, cure=f"a role is {', '.join(_ROLES)}"
            )
    messages = tuple(Message(item["role"], _text(item.get("content"), "content", where)) for item in value)
    if not messages or messages[-1].role != "user":
        raise DataError("the last message is not the user's", where=where, cure="end with the question")
    return messages


def _text(value: Any, key: str, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"'{key}' is {'empty' if value == '' else 'no text'}: {value!r}", where=where)
    return str(nfc(value))
