"""AIHub 86, counselling about feelings: a list of `{profile, talk}`, a talk of up to three exchanges."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from komt.sources.readers import Content, Reader, ReaderOptions, Rejected, Row, row_or_rejected
from komt.sources.readers.json_objects import json_objects, part, texts

PERSON, COUNSELLOR = "내담자", "상담사"
# E10 to E69: the first digit is the emotion, the second its shade.
_EMOTIONS = {"1": "분노", "2": "슬픔", "3": "불안", "4": "상처", "5": "당황", "6": "기쁨"}
_CODE = re.compile(r"E([1-6])\d\b")


class Options(ReaderOptions):
    """The encoding, when it is not recognised."""

    encoding: str = ""


def read(content: Content, options: Options) -> Iterator[Row | Rejected]:
    """One row a reply of the counsellor.

    Fields: `id, group` (the talk), `turn` ("1" to "3"), `turns` (what was said before the reply, as `{role,
    text}`), `utterance` (the last of it), `reply, emotion` ("" where the code is unknown), `code`, and
    `said` (what the person says in the whole talk, a line an utterance).

    Raises:
        DataError: broken JSON, or a file of another shape.
    """
    for found in json_objects(content, ("talk",), encoding=options.encoding):
        if isinstance(found, Rejected):
            yield found
        else:
            yield from _talk(*found)


def _talk(where: str, item: dict[str, Any]) -> Iterator[Row | Rejected]:
    exchanges = [
        tuple(" ".join(texts(part(item, "talk", "content", f"{who}{turn:02}"))) for who in ("HS", "SS"))
        for turn in range(1, 5)
    ]
    codes = texts([part(item, "profile", "emotion", key) for key in ("type", "emotion-id")])
    code = next((match for text in codes if (match := _CODE.search(text))), None)
    names = (part(item, "talk", "id", key) for key in ("profile-id", "talk-id"))
    name = "-".join(str(name) for name in names if name)
    base = {
        "group": name or where,
        "emotion": _EMOTIONS[code.group(1)] if code else "",
        "code": code.group() if code else "",
        "said": "\n".join(said for said, _ in exchanges if said),
    }
    turns: list[dict[str, str]] = []
    for number, (said, reply) in enumerate(exchanges, start=1):
        # The third exchange, and the fourth, may be empty: the talk was over.
        if not said and not reply:
            continue
        if said:
            turns.append({"role": PERSON, "text": said})
        values = {**base, "turn": str(number), "turns": list(turns), "utterance": said, "reply": reply}
        spot = f"{where}.{number}"
        if not said or not reply:
            yield Rejected("empty_reply" if said else "empty_utterance", spot, values)
        else:
            yield row_or_rejected({**({"id": f"{name}-{number}"} if name else {}), **values}, spot)
        if reply:
            turns.append({"role": COUNSELLOR, "text": reply})


READER = Reader(Options, read)
