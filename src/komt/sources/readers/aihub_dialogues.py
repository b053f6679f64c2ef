"""AIHub 117, dialogues with a summary: `data[].{header, body}`; a file may be larger than memory."""

from __future__ import annotations

from collections.abc import Iterator
from string import ascii_uppercase
from typing import Any

from komt.sources.readers import Content, Reader, ReaderOptions, Rejected, Row, row_or_rejected, short_hash
from komt.sources.readers.json_objects import json_objects, objects_in, part, texts


class Options(ReaderOptions):
    """The encoding, when it is not recognised."""

    encoding: str = ""


def read(content: Content, options: Options) -> Iterator[Row | Rejected]:
    """One row a dialogue.

    Fields: `id, topic, kind, turns` (`{role, text}`, the speakers called A, B … as they first speak),
    `context` (a line a turn, "A: …"), `group, summary` ("" in the SNS set, whose `body` is the list of
    utterances itself).

    Raises:
        DataError: broken JSON, or a file of another shape.
    """
    for found in json_objects(content, ("body",), encoding=options.encoding):
        yield found if isinstance(found, Rejected) else _dialogue(*found)


def _dialogue(where: str, item: dict[str, Any]) -> Row | Rejected:
    body = item["body"]
    turns: list[dict[str, str]] = []
    names: dict[str, str] = {}
    for utterance in objects_in(body if isinstance(body, list) else part(body, "dialogue")):
        said = " ".join(texts(part(utterance, "utterance")))
        if said:
            speaker = str(part(utterance, "participantID"))
            role = names.setdefault(speaker, _letter(len(names)))
            turns.append({"role": role, "text": said})
    context = "\n".join(f"{turn['role']}: {turn['text']}" for turn in turns)
    about = part(item, "header", "dialogueInfo")
    values = {
        "topic": " ".join(texts(part(about, "topic"))),
        "kind": " ".join(texts(part(about, "type"))),
        "turns": turns,
        "context": context,
        "group": short_hash(context),
        "summary": " ".join(texts(part(body, "summary"))),
    }
    if name := part(about, "dialogueID"):
        values["id"] = str(name)
    if not turns:
        return Rejected("empty_context", where, values)
    return row_or_rejected(values, where)


def _letter(number: int) -> str:
    return ascii_uppercase[number] if number < len(ascii_uppercase) else f"A{number}"


READER = Reader(Options, read)
