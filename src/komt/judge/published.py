"""Judged files as the published komt evaluation wrote them: `id, instruction, answer, chatgpt, score` a line.

`chatgpt` is the judge's raw reply. It is read again, by the reader that all judges' replies go through, and
the score that was recorded is held against it: a reply that says nothing was often recorded as 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from komt.errors import DataError
from komt.judge.folder import Row
from komt.judge.items import Answered, id_of, rows_of
from komt.judge.questions import Question
from komt.judge.read_reply import read_score
from komt.judge.rubric import Rubric

_FORM = "{id, instruction, answer, chatgpt, score}, as `komt judge import` reads them"
_KEYS = ("instruction", "answer", "chatgpt")


@dataclass(frozen=True)
class Disagreement:
    """A recorded score that the reply does not bear out.

    Attributes:
        place: file and line.
        question: its id.
        recorded: what the file says, None where it says nothing.
        read: what the reply says, None where it says nothing.
        reason: why nothing was read, or "".
        reply: the judge's words.
    """

    place: str
    question: str
    recorded: float | None
    read: float | None
    reason: str
    reply: str


def read_published(
    path: Path, rubric: Rubric, judge: str
) -> tuple[list[Row], list[Answered], list[Disagreement]]:
    """The judgements of a file, its answers, and where recorded score and reply differ.

    Args:
        path: the file; its name is the model's, where a row names no model.
        rubric: whose scale the scores are on.
        judge: what the judge is called.

    Raises:
        DataError: with file and line, at the first row that is not of this form.
    """
    rows: list[Row] = []
    answers: dict[tuple[str, str], Answered] = {}
    found: list[Disagreement] = []
    for place, row in rows_of(path, _FORM):
        missing = [key for key in _KEYS if not isinstance(row.get(key), str)]
        if missing:
            raise DataError(
                f"the row has no text '{missing[0]}'",
                where=place,
                cure=f"rows are {_FORM}",
            )
        name, model = id_of(row, row["instruction"]), str(row.get("model") or path.stem)
        if (name, model) in answers:
            raise DataError(
                f"'{model}' is judged twice for the question '{name}'", where=place, cure="keep one of them"
            )
        recorded = _recorded(row.get("score"), place)
        reading = read_score(row["chatgpt"], rubric.low, rubric.high)
        if reading.score != recorded:
            found.append(Disagreement(place, name, recorded, reading.score, reading.reason, row["chatgpt"]))
        question = Question(name, str(row.get("category") or ""), (row["instruction"],), ())
        answers[name, model] = Answered(question, model, (row["answer"],))
        rows.append(
            _judgement(row, question, model, rubric, judge)
            | {"score": reading.score, "reason": reading.reason, "recorded": recorded}
        )
    return rows, list(answers.values()), found


def _judgement(row: Row, question: Question, model: str, rubric: Rubric, judge: str) -> Row:
    return {
        "question": question.id,
        "category": question.category,
        "turn": 1,
        "model": model,
        "other": None,
        "order": "",
        "rubric": rubric.name,
        "judge": judge,
        "repeat": 0,
        "verdict": None,
        "reply": row["chatgpt"],
        "cut": False,
        "prompt_tokens": None,
        "completion_tokens": None,
        "cost": None,
        "seconds": None,
        "answer": row["answer"],
    }


def _recorded(value: Any, place: str) -> float | None:
    if value is None or value == "":
        return None
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):  # NaN and Infinity, which Python's JSON takes, would spoil every sum
        raise DataError(
            f"the score {str(value)[:80]!r} is no number", where=place, cure="write a number, or null"
        )
    return number


def sums(rows: Sequence[Row], high: float) -> dict[str, dict[str, Any]]:
    """Of each model: questions, sum, average and percentage of the highest sum, recorded and read again."""
    found: dict[str, dict[str, Any]] = {}
    for model in dict.fromkeys(row["model"] for row in rows):
        own = [row for row in rows if row["model"] == model]
        found[model] = {"questions": len(own)}
        for name, key in (("recorded", "recorded"), ("read", "score")):
            scores = [row[key] for row in own if row[key] is not None]
            found[model][name] = {
                "scored": len(scores),
                "sum": sum(scores),
                "average": sum(scores) / len(scores) if scores else None,
                "percent": 100 * sum(scores) / (high * len(scores)) if scores else None,
            }
    return found
