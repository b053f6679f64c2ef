"""AIHub 71533, questions on technical documents: `dataset.context_info[].qas[]`, one document a file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from komt.files import hash_of
from komt.sources.readers import Content, Reader, ReaderOptions, Rejected, Row, clean
from komt.sources.readers.json_objects import json_objects, objects_in, part, texts
from komt.sources.readers.passages import Passage, Question, question_row


class Options(ReaderOptions):
    """The encoding, when it is not recognised."""

    encoding: str = ""


def read(content: Content, options: Options) -> Iterator[Row | Rejected]:
    """One row for each wording of a question: `question-1` and `question-2`, of which either may be empty.

    Fields as `question_row` has them, with `title`, `title_en`, `level`, `kind` (of the answer) and `clue`.

    Raises:
        DataError: broken JSON, or a file of another shape.
    """
    for found in json_objects(content, ("dataset", "context_info"), encoding=options.encoding):
        if isinstance(found, Rejected):
            yield found
            continue
        where, item = found
        document = item.get("dataset", item)
        title, title_en = (clean(part(document, "doc_title", key) or "") for key in ("kor", "eng"))
        for c, info in enumerate(objects_in(part(document, "context_info"))):
            passage = Passage(str(info.get("context") or ""), {"title": title, "title_en": title_en})
            for q, asked in enumerate(objects_in(info.get("qas"))):
                yield from _wordings(passage, asked, f"{where}.{c + 1}.{q + 1}")


def _wordings(passage: Passage, asked: dict[str, Any], where: str) -> Iterator[Row | Rejected]:
    wordings = [(key, texts(asked.get(key))) for key in ("question-1", "question-2", "question")]
    given = {text[0]: key for key, text in reversed(wordings) if text}
    if not given:
        yield Rejected("empty_question", where, asked)
    for wording, key in reversed(given.items()):
        number = key.rpartition("-")[2]
        name = str(asked.get("question_id") or "")
        question = Question(
            id=f"{name}-{number}" if name else "",
            text=wording,
            answers=[(text, None) for text in texts(asked.get("answer"))],
            options=_options(asked),
            extra={
                "level": str(asked.get("question_level") or ""),
                "kind": str(asked.get("answer_type") or ""),
                "clue": "\n".join(_clues(asked.get("clue"))),
            },
        )
        yield question_row(passage, question, f"{where}.{number}", spans_only=False)


def _options(asked: dict[str, Any]) -> list[str]:
    """The choices, in an order that does not betray the right one; none where no wrong ones are given."""
    wrong = texts(asked.get("wrong_answer"))
    right = texts(asked.get("answer"))[:1]
    return sorted({*wrong, *right}, key=hash_of) if wrong else []


def _clues(value: Any) -> list[str]:
    items = value if isinstance(value, list) else [value]
    return [text for item in items for text in texts(part(item, "clue_text") or item)]


READER = Reader(Options, read)
