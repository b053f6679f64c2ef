"""The bundled questions for judges, one file a category, and the reader of files like them.

All were written for komt and are dedicated to the public domain (CC0 1.0), as the sample data is. A file:

    category: 수학
    questions:
      - id: math-01
        turns:
          - ask: 무엇을 묻는지 …
            points: [좋은 답이 담아야 할 것, …]

An `id` is unique among all files; a question of two turns asks the second after the first was answered.
Where a question has one right answer, its first point is `정답: …`.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import Field

from komt.errors import UsageError
from komt.strict import Part, Words, parse_part, read_yaml

FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of every model, and what a good answer holds.

    Attributes:
        id: unique among the questions read together.
        category: such as 수학.
        turns: the user's messages, one or more; the model answers each before the next is asked.
        points: for each turn what a good answer must hold (채점 기준), to be shown to the judge; maybe none.
    """

    id: str
    category: str
    turns: tuple[str, ...]
    points: tuple[tuple[str, ...], ...]


class _Turn(Part):
    ask: Words
    points: tuple[Words, ...] = ()


class _Asked(Part):
    id: Words
    turns: Annotated[tuple[_Turn, ...], Field(min_length=1)]


class _File(Part):
    category: Words
    questions: Annotated[tuple[_Asked, ...], Field(min_length=1)]


@cache
def bundled() -> tuple[Question, ...]:
    """All bundled questions, by category and id."""
    return read_questions(sorted(FOLDER.glob("*.yaml")))


def read_questions(paths: Iterable[Path]) -> tuple[Question, ...]:
    """The questions of YAML files of the form above, in the order of the files.

    Raises:
        UsageError: broken YAML, unknown or missing keys, an id that comes twice.
        DataError: text that cannot be decoded.
    """
    found: list[Question] = []
    for path in paths:
        part = parse_part(_File, read_yaml(path, "the questions"), str(path), "the questions")
        found += [_question(part.category, asked) for asked in part.questions]
    twice = [name for name, count in Counter(question.id for question in found).items() if count > 1]
    if twice:
        raise UsageError(
            f"questions of the same id: {', '.join(twice)}", cure="give each question an id of its own"
        )
    return tuple(found)


def _question(category: str, asked: _Asked) -> Question:
    return Question(
        asked.id,
        unicodedata.normalize("NFC", category),
        tuple(unicodedata.normalize("NFC", turn.ask).strip() for turn in asked.turns),
        tuple(tuple(unicodedata.normalize("NFC", p).strip() for p in turn.points) for turn in asked.turns),
    )
