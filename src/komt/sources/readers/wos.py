"""Wizard of Seoul (KLUE DST): dialogues of a user and an office, with what the user has asked for so far."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from komt.errors import DataError
from komt.sources.readers import Reader, ReaderOptions, Rejected, Row, clean, row_or_rejected
from komt.sources.readers.content import Content
from komt.sources.readers.jsonl import load_json


class Options(ReaderOptions):
    """The encoding, when it is not recognised."""

    encoding: str = ""


def read(content: Content, options: Options) -> Iterator[Row | Rejected]:
    """One row a turn of the user: `id, group, domains, dialogue, state`.

    `dialogue` is every turn up to this one, as [{"role": "user" or "sys", "text": …}]; `state` the slots and
    values asked for by then (관광-지역-서울 서쪽), which may be none; `group` the dialogue.

    Raises:
        DataError: another shape, with the place.
    """
    whole = load_json(content, options.encoding)
    if not isinstance(whole, list):
        raise _other_shape(str(content))
    for number, item in enumerate(clean(whole), start=1):
        where = f"{content.label}, item {number}"
        turns = item.get("dialogue") if isinstance(item, dict) else None
        if not isinstance(turns, list):
            raise _other_shape(f"{content}, item {number}")
        said: list[dict[str, str]] = []
        for at, turn in enumerate(turns):
            said.append(_said(turn, f"{content}, item {number}, turn {at}"))
            if said[-1]["role"] == "user":
                yield row_or_rejected(_row(item, at, said, turn.get("state") or []), f"{where}-{at}")


def _row(item: dict[str, Any], at: int, said: list[dict[str, str]], state: list[str]) -> dict[str, Any]:
    name = str(item.get("guid") or "")
    return {
        "id": name and f"{name}-{at}",
        "group": name,
        "domains": item.get("domains") or [],
        "dialogue": list(said),
        "state": state,
    }


def _said(turn: Any, where: str) -> dict[str, str]:
    if not isinstance(turn, dict) or not all(isinstance(turn.get(key), str) for key in ("role", "text")):
        raise _other_shape(where)
    return {"role": turn["role"], "text": turn["text"]}


def _other_shape(where: str) -> DataError:
    return DataError(
        "not a file of Wizard of Seoul",
        where=where,
        cure="the shape is [{guid, domains, dialogue: [{role, text, state}, …]}, …]",
    )


READER = Reader(Options, read)
