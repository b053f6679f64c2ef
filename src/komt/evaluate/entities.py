"""Named entities in an answer: how they are read, and where in the sentence they stand."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from komt.evaluate.reading import bare, items_of, lines_of, says_nothing
from komt.korean import nfc

_BETWEEN = r"\s*(?::|：|=|->|→|—|–|\s-\s|\|)\s*"


@dataclass(frozen=True, slots=True)
class Entity:
    """A word of a sentence and its type (PS, LC, …).

    Attributes:
        text, type: as they are.
        at: the place of its first character in the sentence; -1: it does not stand there.
    """

    text: str
    type: str
    at: int = -1

    @property
    def end(self) -> int:
        """The place after its last character."""
        return self.at + len(self.text)


def read_entities(answer: str, types: Mapping[str, str], known: Iterable[Entity] = ()) -> list[Entity] | None:
    """The entities that an answer names, in any of the forms that prompts ask for; None where it has no
    such form.

    Read are lines `말: 종류` and `종류: 말, 말`, `말(종류)` and `종류=말` with commas between, and JSON
    with a type and a word in each item. A type is its word or its code. 없음 and [] name none.

    Args:
        answer: the text.
        types: code -> word (PS -> 사람).
        known: entities whose words may have a comma within.
    """
    if says_nothing(answer):
        return []
    codes = {bare(name).casefold(): code for code, word in types.items() for name in (code, word)}
    found = _from_json(answer, codes)
    if found is None:
        kept = {entity.text for entity in known}
        found = [entity for line in lines_of(answer) for entity in _from_line(line, codes, kept)]
    return found or ([] if _each_says_nothing(answer, codes) else None)


def place(entities: Sequence[Entity], sentence: str, right: Sequence[Entity] = ()) -> list[Entity]:
    """Entities with their places in the sentence; answers name words, not places.

    A word that stands several times is taken for the right entity that has not been named yet, of the same
    type if there is one, and else for the first place that is free.
    """
    taken: list[Entity] = []
    for entity in entities:
        free = [
            one
            for one in right
            if _core(one.text) == _core(entity.text) and all(one.at != other.at for other in taken)
        ]
        same = [one for one in free if one.type == entity.type]
        if free:
            taken.append(Entity((same or free)[0].text, entity.type, (same or free)[0].at))
        else:
            taken.append(Entity(entity.text, entity.type, _first_free(entity.text, sentence, taken)))
    return taken


def in_order(entities: Iterable[Mapping[str, Any]], sentence: str) -> list[Entity]:
    """The right entities {text, type} of a row with their places: each after the one before it."""
    found, after = list[Entity](), 0
    for entity in entities:
        text = nfc(str(entity["text"]))
        at = sentence.find(text, after)
        found.append(Entity(text, str(entity["type"]), at))
        after = found[-1].end if at >= 0 else after
    return found


def tags(entities: Iterable[Entity], sentence: str) -> list[str]:
    """B-X, I-X or O for each character of a sentence that is not white space (IOB2), as KLUE marks them."""
    marks = ["O"] * len(sentence)
    for entity in entities:
        if entity.at >= 0 and all(mark == "O" for mark in marks[entity.at : entity.end]):
            marks[entity.at : entity.end] = [f"I-{entity.type}"] * len(entity.text)
            marks[entity.at] = f"B-{entity.type}"
    return [mark for mark, character in zip(marks, sentence, strict=True) if not character.isspace()]


def _core(text: str) -> str:
    """A word without the comma that whole eojeols of NAVER's set keep."""
    return bare(bare(text).strip(" ,，"))


def _first_free(text: str, sentence: str, taken: Iterable[Entity]) -> int:
    spans = [(one.at, one.end) for one in taken if one.at >= 0]
    at = sentence.find(text) if text else -1
    while at >= 0 and any(at < end and start < at + len(text) for start, end in spans):
        at = sentence.find(text, at + 1)
    return at


def _from_json(answer: str, codes: Mapping[str, str]) -> list[Entity] | None:
    start = min((at for at in (answer.find("["), answer.find("{")) if at >= 0), default=-1)
    if start < 0:
        return None
    try:
        value, _ = json.JSONDecoder().raw_decode(answer[start:])
    except ValueError:
        return None
    return list(_from_value(value, codes))


def _from_value(value: Any, codes: Mapping[str, str]) -> Iterable[Entity]:
    """Entities of a JSON value.

    {"종류": "장소", "말": "강릉"}, {"장소": ["강릉"]}, {"강릉": "장소"}, ["강릉", "장소"], lists of these.
    """
    if isinstance(value, list):
        if len(value) == 2 and all(isinstance(one, str) for one in value) and _type(value[1], codes):
            yield Entity(bare(value[0]), codes[bare(value[1]).casefold()])
            return
        for one in value:
            yield from _from_value(one, codes)
    elif isinstance(value, dict):
        texts = [one for one in value.values() if isinstance(one, str)]
        named = [one for one in texts if _type(one, codes)]
        if not any(_type(key, codes) for key in value) and len(named) == 1 and len(texts) == 2:
            word = next(one for one in texts if one is not named[0])
            yield Entity(bare(word), codes[bare(named[0]).casefold()])
            return
        for key, one in value.items():
            if _type(key, codes):
                words = one if isinstance(one, list) else [one]
                yield from (Entity(bare(str(word)), _type(key, codes)) for word in words if bare(str(word)))
            elif isinstance(one, str) and _type(one, codes):
                yield Entity(bare(key), _type(one, codes))
            elif isinstance(one, list | dict):
                yield from _from_value(one, codes)


def _type(text: str, codes: Mapping[str, str]) -> str:
    return codes.get(bare(text).casefold(), "")


def _from_line(line: str, codes: Mapping[str, str], known: set[str]) -> list[Entity]:
    kinds = "|".join(re.escape(name) for name in sorted(codes, key=len, reverse=True))
    plain = rf"[\"'‘’“”]?(?:{kinds})[\"'‘’“”]?"
    kind = plain.replace("(?:", "(?P<type>", 1)
    forms = (
        rf"(?P<text>\S.*?)\s*[(（\[]\s*{kind}\s*[)）\]]",
        rf"(?P<text>\S.*?){_BETWEEN}{kind}\s*(?=[,，、;.]|$)",
    )
    if not re.match(rf"{plain}{_BETWEEN}(?!{plain}\s*$)", line, re.IGNORECASE):
        for form in forms:
            if found := _matches(form, line, codes):
                return found
    return _grouped(rf"(?:^|[,，、;/|]\s*){kind}{_BETWEEN}", line, codes, known)


def _each_says_nothing(answer: str, codes: Mapping[str, str]) -> bool:
    """Whether every line is a type of which there is none: `사람: 없음`."""
    lines = [re.split(r"\s*[:：=]\s*", line, maxsplit=1) for line in lines_of(answer)]
    return bool(lines) and all(
        len(sides) == 2 and _type(sides[0], codes) and says_nothing(sides[1]) for sides in lines
    )


def _matches(form: str, line: str, codes: Mapping[str, str]) -> list[Entity]:
    """Entities of which each brings its type; what stands between them is a separator."""
    found = [
        (bare(match["text"].lstrip(" ,，、;·/")), match["type"])
        for match in re.finditer(form, line, re.IGNORECASE)
    ]
    return [Entity(text, codes[kind.casefold()]) for text, kind in found if text]


def _grouped(opening: str, line: str, codes: Mapping[str, str], known: set[str]) -> list[Entity]:
    """Entities listed after their type."""
    heads = list(re.finditer(opening, line, re.IGNORECASE))
    ends = [*(head.start() for head in heads[1:]), len(line)][: len(heads)]
    return [
        Entity(text, codes[head["type"].casefold()])
        for head, end in zip(heads, ends, strict=True)
        for text in items_of(line[head.end() : end], known)
        if not says_nothing(text)
    ]
