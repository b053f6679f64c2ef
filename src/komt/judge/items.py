"""What is judged: answers to questions, as files hold them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from komt.encodings import read_text
from komt.errors import DataError
from komt.judge.questions import Question, bundled, read_questions
from komt.korean import has_lone_surrogate, nfc

_FORM = (
    '{"id": …, "instruction": …, "answer": …}, for two turns {"id": …, "turns": […, …], "answers": […, …]}'
)
_ASKED = ("turns", "instruction", "question", "prompt")


@dataclass(frozen=True)
class Answered:
    """A model's answers to a question.

    Attributes:
        question: what was asked.
        model: who answered.
        answers: one text a turn; fewer than the question has turns where the model was asked for fewer.
    """

    question: Question
    model: str
    answers: tuple[str, ...]

    def points(self, turn: int) -> tuple[str, ...]:
        """The reference points of a turn, from 1; () where there are none."""
        return self.question.points[turn - 1] if len(self.question.points) >= turn else ()


def questions_of(name: str) -> list[Question]:
    """The bundled questions (`bundled`), or those of a YAML file (as the bundled ones) or a JSON Lines file.

    Raises:
        UsageError, DataError: with the place of the first row that is no question, or two of one id.
    """
    if name == "bundled":
        return list(bundled())
    path = Path(name).expanduser()
    if path.suffix in {".yaml", ".yml"}:
        return list(read_questions([path]))
    found: dict[str, Question] = {}
    for place, row in rows_of(path):
        question = _question(row, place)
        if question.id in found:
            raise DataError(
                f"two questions have the id '{question.id}'", where=place, cure="rename one of them"
            )
        found[question.id] = question
    return list(found.values())


def read_answers(path: Path, model: str = "", questions: Sequence[Question] = ()) -> list[Answered]:
    """The answers in a JSON Lines file.

    Args:
        path: rows of `id`, `instruction` (`prompt`, `turns`) and `answer` (`answers`), perhaps `model`.
        model: whose answers they are, where a row does not say; default: the file's name.
        questions: give category and reference points to answers of the same id, and the text where a row has
            none.

    Raises:
        DataError: with the place of the first row that is no answer, or one that answers a question twice.
    """
    known = {question.id: question for question in questions}
    found: list[Answered] = []
    seen: dict[tuple[str, str], str] = {}
    for place, row in rows_of(path):
        one = _answered(row, place, model or path.stem, known)
        key = (one.question.id, one.model)
        if key in seen:
            raise DataError(
                f"'{one.model}' answers the question '{one.question.id}' twice: {seen[key]}, and here",
                where=place,
                cure="keep one of them, or give them different ids or models",
            )
        seen[key] = place
        found.append(one)
    return found


def as_row(item: Answered) -> dict[str, Any]:
    """An answer as a line of `answers.jsonl`, which `read_answers` reads."""
    question = item.question
    return {
        "id": question.id,
        "category": question.category,
        "model": item.model,
        "turns": list(question.turns),
        "answers": list(item.answers),
        "points": [list(points) for points in question.points],
    }


def rows_of(path: Path, form: str = _FORM) -> Iterator[tuple[str, dict[str, Any]]]:
    """Objects of a JSON Lines file or of one JSON array, each with its place for errors; NFC.

    Args:
        path: the file.
        form: what a row is, said where one is something else.

    Raises:
        DataError: with the place of the first that is no object.
    """
    text = read_text(path)
    rows: Sequence[tuple[str, Any]]
    if text.lstrip().startswith("["):
        rows = [
            (f"{path}, item {number}", item) for number, item in enumerate(_json(text, str(path), form), 1)
        ]
    else:
        # Split at \n only: str.splitlines() would also split at U+2028 inside a text.
        lines = [
            (f"{path}, line {number}", line)
            for number, line in enumerate(text.split("\n"), 1)
            if line.strip()
        ]
        rows = [(place, _json(line, place, form)) for place, line in lines]
    if not rows:
        raise DataError("nothing in it", where=str(path), cure=f"rows are {form}")
    for place, row in rows:
        if not isinstance(row, dict):
            raise DataError("not an object", where=place, cure=f"rows are {form}")
        if has_lone_surrogate(row):
            raise DataError("the text holds half a surrogate pair, which stands for no letter", where=place)
        yield place, nfc(row)


def id_of(row: dict[str, Any], otherwise: str) -> str:
    """A row's id; what it asks, where it has none or null."""
    value = row.get("id")
    return otherwise if value is None or value == "" else str(value)


def _json(text: str, where: str, form: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"not JSON: {error.msg} (column {error.colno})", where=where, cure=f"rows are {form}"
        ) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; brackets without end
        raise DataError(f"JSON that cannot be read: {error}", where=where, cure=f"rows are {form}") from error


def _question(row: dict[str, Any], place: str) -> Question:
    turns = _texts(row, _ASKED, place)
    if not turns:
        raise DataError(
            "no question in it", where=place, cure='rows are {"id": …, "turns": […], "category": …}'
        )
    if len(turns) > 2:
        raise DataError(f"{len(turns)} turns, where one or two can be judged", where=place)
    category = str(row.get("category") or row.get("task") or "")
    return Question(id_of(row, turns[0]), category, turns, _points(row, len(turns), place))


def _points(row: dict[str, Any], turns: int, place: str) -> tuple[tuple[str, ...], ...]:
    value = next((row[key] for key in ("points", "reference", "references") if row.get(key)), None)
    if value is None:
        return ()
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        value = [value] if turns == 1 else [[item] for item in value]
    if not isinstance(value, list) or not all(
        isinstance(part, list) and all(isinstance(item, str) for item in part) for part in value
    ):
        raise DataError("the reference points are no list of texts for each turn", where=place)
    return tuple(tuple(part) for part in value)


def _answered(row: dict[str, Any], place: str, model: str, known: dict[str, Question]) -> Answered:
    answers = _texts(row, ("answers", "answer", "output", "response"), place, may_be_empty=True)
    if not answers:
        raise DataError("no answer in it", where=place, cure=f"rows are {_FORM}")
    turns = _texts(row, _ASKED, place)
    name = id_of(row, turns[0] if turns else "")
    question = known.get(name)
    if question is None and not turns:
        raise DataError(
            f"no question to the id '{name}'",
            where=place,
            cure=f"rows are {_FORM}; or name the file with --questions",
        )
    if question is None or (turns and turns != question.turns[: len(turns)]):
        # Another question under the same id: its points are not this one's.
        question = replace(_question(row, place), id=name)
    if len(answers) > len(question.turns):
        raise DataError(f"{len(answers)} answers to {len(question.turns)} turns", where=place)
    return Answered(question, str(row.get("model") or model), answers)


def _texts(
    row: dict[str, Any], keys: tuple[str, ...], place: str, may_be_empty: bool = False
) -> tuple[str, ...]:
    key = next((key for key in keys if row.get(key) is not None), "")
    if not key:
        return ()
    value = row[key]
    texts = value if isinstance(value, list) else [value]
    if not texts or not all(isinstance(text, str) and (may_be_empty or text.strip()) for text in texts):
        raise DataError(f"'{key}' is no text: {str(value)[:80]!r}", where=place, cure=f"rows are {_FORM}")
    if key == "instruction" and isinstance(row.get("input"), str) and row["input"].strip():
        texts = [f"{texts[0]}\n\n{row['input']}", *texts[1:]]
    return tuple(texts)


def of_all_categories(questions: Sequence[Question], limit: int) -> list[Question]:
    """At most so many questions, taken from each category in turn, in their own order."""
    by_category: dict[str, list[Question]] = {}
    for question in questions:
        by_category.setdefault(question.category, []).append(question)
    turns = [(place, question.id) for group in by_category.values() for place, question in enumerate(group)]
    chosen = {name for _, name in sorted(turns, key=lambda turn: turn[0])[:limit]}
    return [question for question in questions if question.id in chosen]
