"""AIHub 98, calls to help desks: a list of sentences, which make up dialogues by their number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from komt.sources.readers import (
    Content,
    Reader,
    ReaderOptions,
    Rejected,
    Row,
    clean,
    row_or_rejected,
    short_hash,
)
from komt.sources.readers.json_objects import json_objects, texts
from komt.sources.readers.row import whole_number

CUSTOMER, AGENT = "고객", "상담사"
# Exactly one of these holds what was said.
_TEXTS = {
    "고객질문(요청)": CUSTOMER,
    "고객답변": CUSTOMER,
    "상담사질문(요청)": AGENT,
    "상담사답변": AGENT,
}
_DIALOGUE = "대화셋일련번호"


class Options(ReaderOptions):
    """The encoding, when it is not recognised."""

    encoding: str = ""


@dataclass
class _Call:
    """A dialogue as far as it has been read."""

    where: str
    category: str
    sentences: list[tuple[int, str, str, dict[str, str]]] = field(default_factory=list)


def read(content: Content, options: Options) -> Iterator[Row | Rejected]:
    """One row a turn of the agent that answers something.

    Fields: `id, group` (the call), `category, turn, turns` (before the reply, as `{role, text}`; sentences
    that one speaker says in a row are one turn), `utterance` (the last of them), `reply, entities` and
    `knowledge` (noted with the customer's last turn, lists). A sentence in none or in several of the four
    text fields is rejected as `empty_turn` or `several_texts`, and its call goes on without it.

    The file is read twice, so that a call is complete when its last sentence has come, wherever it stands:
    memory holds the calls that are open.

    Raises:
        DataError: broken JSON, or a file of another shape.
    """
    left = Counter(
        _name(found[1]) for found in _sentences(content, options) if not isinstance(found, Rejected)
    )
    calls: dict[str, _Call] = {}
    for found in _sentences(content, options):
        if isinstance(found, Rejected):
            yield found
            continue
        where, item = found
        name = _name(item)
        call = calls.setdefault(name, _Call(where, " ".join(texts(item.get("카테고리")))))
        if rejected := _add(call, item, where):
            yield rejected
        left[name] -= 1
        if not left[name]:
            yield from _replies(calls.pop(name), name)


def _sentences(content: Content, options: Options) -> Iterator[tuple[str, dict[str, Any]] | Rejected]:
    for found in json_objects(content, (_DIALOGUE,), encoding=options.encoding):
        if isinstance(found, Rejected):
            yield found
        else:
            # Some keys end in a space, as "개체명 ".
            yield found[0], {clean(key): value for key, value in found[1].items()}


def _name(item: dict[str, Any]) -> str:
    return str(item[_DIALOGUE]).strip()


def _add(call: _Call, item: dict[str, Any], where: str) -> Rejected | None:
    said = {key: " ".join(texts(item.get(key))) for key in _TEXTS}
    filled = [key for key, text in said.items() if text]
    if len(filled) != 1:
        return Rejected("several_texts" if filled else "empty_turn", where, item)
    number = str(item.get("문장번호", "")).strip()
    noted = {
        "entities": " ".join(texts(item.get("개체명"))),
        "knowledge": " ".join(texts(item.get("지식베이스"))),
    }
    # Without a number the sentence stays where it stands.
    place = whole_number(number)
    place = len(call.sentences) if place is None else place
    call.sentences.append((place, _TEXTS[filled[0]], said[filled[0]], noted))
    return None


def _replies(call: _Call, name: str) -> Iterator[Row | Rejected]:
    turns: list[dict[str, str]] = []
    notes: list[dict[str, list[str]]] = []
    for _, role, text, noted in sorted(call.sentences, key=lambda sentence: sentence[0]):
        lists = {
            key: [word for part in value.split(",") if (word := part.strip())] for key, value in noted.items()
        }
        if turns and turns[-1]["role"] == role:
            turns[-1]["text"] += f" {text}"
            notes[-1] = {key: [*notes[-1][key], *lists[key]] for key in lists}
        else:
            turns.append({"role": role, "text": text})
            notes.append(lists)
    for at, turn in enumerate(turns):
        if at and turn["role"] == AGENT:
            values = {
                "id": f"{name}-{at}",
                # Other files number their calls alike.
                "group": short_hash(call.where),
                "category": call.category,
                "turn": str(at),
                "turns": turns[:at],
                "utterance": turns[at - 1]["text"],
                "reply": turn["text"],
                **{key: list(dict.fromkeys(words)) for key, words in notes[at - 1].items()},
            }
            yield row_or_rejected(values, f"{call.where}.{at}")


READER = Reader(Options, read)
