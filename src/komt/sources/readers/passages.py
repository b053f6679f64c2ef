"""Questions over a passage: tables written out as text, answers located, kinds of answer told apart."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from html.parser import HTMLParser
from typing import Any

from komt.korean import nfc
from komt.sources.readers import Rejected, Row, clean, row_or_rejected, short_hash
from komt.sources.readers.row import whole_number

Values = dict[str, Any]

_TAG = re.compile(
    r"</?(?:table|thead|tbody|tr|td|th|caption|p|br|div|span|b|i|u|ul|ol|li|h[1-6]|sub|sup)\b", re.I
)
_BREAKS = {"p", "br", "div", "ul", "ol", "li", "table", "caption", "h1", "h2", "h3", "h4", "h5", "h6"}
_YES_NO = {
    **dict.fromkeys(("예", "네", "yes", "true", "o", "참", "그렇다", "맞다"), "예"),
    **dict.fromkeys(("아니오", "아니요", "no", "false", "x", "거짓", "아니다", "그렇지 않다"), "아니요"),
}
_CIRCLED = {mark: number for number, mark in enumerate("①②③④⑤⑥⑦⑧⑨", start=1)}


def readable(text: str) -> str:
    """A text without its HTML: a table row is a line whose cells are divided by ` | `.

    A text without known tags is given back as it is.
    """
    if not _TAG.search(text):
        return text
    parser = _TableText()
    parser.feed(text)
    parser.close()
    lines = (" ".join(line.split()) for line in "".join(parser.parts).split("\n"))
    return "\n".join(line for line in lines if line)


class _TableText(HTMLParser):
    """Collects the text of HTML, cells and rows marked."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._in_cell, self._first_cell = False, True

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag == "tr":
            self.parts.append("\n")
            self._first_cell = True
        elif tag in ("td", "th"):
            self.parts.append("" if self._first_cell else " | ")
            self._first_cell, self._in_cell = False, True
        elif tag in _BREAKS:
            self.parts.append(" " if self._in_cell else "\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._in_cell = False
        elif tag in _BREAKS:
            self.parts.append(" " if self._in_cell else "\n")

    def handle_data(self, data: str) -> None:
        self.parts.append(re.sub(r"\s+", " ", data) if self._in_cell else data)


@dataclass(frozen=True)
class Passage:
    """A passage as the file holds it; `fields` are what every row over it has besides."""

    raw: str
    fields: Values = field(default_factory=dict)

    @cached_property
    def text(self) -> str:
        """The passage as it is shown: no HTML, NFC, stripped."""
        return str(clean(readable(self.raw)))

    @cached_property
    def values(self) -> Values:
        """`context`, `group`, and the fields."""
        return {"title": "", **self.fields, "context": self.text, "group": short_hash(self.text)}

    def find(self, answer: str, start: Any) -> int:
        """Where the answer stands in the shown text, nearest to its start in the file's; -1 when nowhere."""
        found = [match.start() for match in re.finditer(f"(?={re.escape(answer)})", self.text)]
        if len(found) < 2 or not isinstance(start, int):
            return found[0] if found else -1
        wanted = len(nfc(readable(self.raw[: max(start, 0)])).lstrip())
        return min(found, key=lambda at: (abs(at - wanted), at))


@dataclass(frozen=True)
class Question:
    """A question as the file has it.

    Attributes:
        id: or "".
        answers: (text, start in the passage or None), the first being the answer.
        impossible: the set says that the passage does not answer it.
        options: of multiple choice; the answer is one of them, or its number.
        extra: further fields of the row.
    """

    id: str
    text: str
    answers: Sequence[tuple[str, Any]]
    impossible: bool = False
    options: Sequence[str] = ()
    extra: Values = field(default_factory=dict)


def question_row(passage: Passage, question: Question, where: str, *, spans_only: bool) -> Row | Rejected:
    """The row of a question.

    Fields: `context, group, title, question, answer, answers, answer_start` (-1 where it stands nowhere),
    `answerable` ("True", "False"), `candidates` (the choices), `number` (of the right one, "1"), and
    `answer_type`: `span` (stands in the passage), `choice`, `yes_no` (예, 아니요), `free` (own words), `none`
    (the passage does not answer it).

    Args:
        passage: what is asked about.
        question: what is asked.
        where: the place in the file.
        spans_only: an answer that does not stand in the passage rejects the row.
    """
    asked = clean(question.text)
    answers = list(dict.fromkeys(text for given, _ in question.answers if (text := clean(readable(given)))))
    values: Values = {**passage.values, **clean(question.extra), "question": asked, "answers": answers}
    if question.id:
        values["id"] = question.id
    for reason, missing in (("empty_question", not asked), ("empty_context", not passage.text)):
        if missing:
            return Rejected(reason, where, values)
    values |= {"answer": "", "answer_start": -1, "answerable": "True", "candidates": [], "number": ""}
    if question.impossible:
        return row_or_rejected({**values, "answers": [], "answerable": "False", "answer_type": "none"}, where)
    if not answers:
        return Rejected("empty_answer", where, values)
    return _answered(passage, question, values, where, spans_only)


def _answered(
    passage: Passage, question: Question, values: Values, where: str, spans_only: bool
) -> Row | Rejected:
    candidates = [clean(readable(option)) for option in question.options if option.strip()]
    answer = values["answers"][0]
    if len(candidates) > 1:
        number = _number(answer, candidates)
        if not number:
            return Rejected("answer_not_a_choice", where, {**values, "candidates": candidates})
        answer = candidates[number - 1]
        chosen = {"answer": answer, "answers": [answer], "answer_type": "choice"}
        return row_or_rejected({**values, **chosen, "candidates": candidates, "number": str(number)}, where)
    at = passage.find(answer, question.answers[0][1])
    if not spans_only and (word := _YES_NO.get(answer.rstrip(".").lower())):
        return row_or_rejected({**values, "answer": word, "answers": [word], "answer_type": "yes_no"}, where)
    if at < 0 and spans_only:
        return Rejected("answer_not_in_passage", where, {**values, "answer": answer})
    kind = "span" if at >= 0 else "free"
    return row_or_rejected({**values, "answer": answer, "answer_start": at, "answer_type": kind}, where)


def _number(answer: str, candidates: Sequence[str]) -> int:
    """Which candidate the answer names, by its text or by its number; 0 for none."""
    if answer in candidates:
        return candidates.index(answer) + 1
    mark = answer.rstrip("번.) ").strip()
    number = _CIRCLED.get(mark, whole_number(mark) or 0)
    return number if 0 < number <= len(candidates) else 0
