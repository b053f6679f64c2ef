"""AIHub's reading comprehension: SQuAD v1 and its relatives (84, 89, 92, 569, 71565).

`data[].paragraphs[].qas[]`, where the answer is a list of `{text, answer_start}` (SQuAD v1), one such object
under `answers` (569, which may hold `options`), or one under `answer` (71565, with `table_title`).
"""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatch
from typing import Any

from komt.sources.readers import Content, Reader, ReaderOptions, Rejected, Row, clean
from komt.sources.readers.json_objects import json_objects, objects_in, part, texts
from komt.sources.readers.passages import Passage, Question, question_row


class Options(ReaderOptions):
    """What differs from set to set.

    Attributes:
        spans_only: an answer that does not stand in the passage rejects the row; else it is kept as `free`,
            `yes_no` or `choice`.
        no_answer: files (glob of the name) whose questions their passage does not answer, although an answer
            is noted: that of the passage they were made for.
        encoding: when it is not recognised.
    """

    spans_only: bool = True
    no_answer: str = ""
    encoding: str = ""


def read(content: Content, options: Options) -> Iterator[Row | Rejected]:
    """One row a question; fields as `question_row` has them, with `title`, `table_title` and `subject`.

    Raises:
        DataError: broken JSON, or a file of another shape.
    """
    none = bool(options.no_answer) and fnmatch(content.label.rpartition("/")[2], options.no_answer)
    for found in json_objects(content, ("paragraphs",), encoding=options.encoding):
        if isinstance(found, Rejected):
            yield found
            continue
        where, document = found
        for p, paragraph in enumerate(objects_in(document["paragraphs"])):
            passage = _passage(document, paragraph)
            for q, item in enumerate(objects_in(paragraph.get("qas"))):
                question = _question(item, none)
                yield question_row(
                    passage, question, f"{where}.{p + 1}.{q + 1}", spans_only=options.spans_only
                )


def _passage(document: dict[str, Any], paragraph: dict[str, Any]) -> Passage:
    title = document.get("doc_title") or paragraph.get("title") or document.get("title") or ""
    kind = document.get("doc_class") or {}
    subject = part(kind, "class") or part(kind, "name") or document.get("kdc") or document.get("KDC") or ""
    fields = {"title": clean(str(title)), "subject": clean(str(subject))}
    if "table_title" in paragraph:
        fields["table_title"] = clean(str(paragraph["table_title"] or ""))
    return Passage(str(paragraph.get("context") or ""), fields)


def _question(item: dict[str, Any], none: bool) -> Question:
    noted = item.get("answers", item.get("answer"))
    answers = [
        (text, answer.get("answer_start")) for answer in _answers(noted) for text in texts(answer.get("text"))
    ]
    first = next(iter(_answers(noted)), {})
    return Question(
        id=str(item.get("id") or item.get("question_id") or ""),
        text=str(item.get("question") or ""),
        answers=answers,
        # A question without the key has no answer; one whose answer is an empty text is a fault.
        impossible=none or item.get("is_impossible") is True or noted is None,
        options=texts(first.get("options")),
        extra={"clue": "\n".join(texts(first.get("clue_text"))), "kind": str(item.get("qa_type") or "")},
    )


def _answers(noted: Any) -> list[dict[str, Any]]:
    return [{"text": noted}] if isinstance(noted, str) else objects_in(noted)


READER = Reader(Options, read)
