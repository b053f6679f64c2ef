"""A proposal for a person's own table: which column is the answer, and how it could be asked for."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from komt.errors import DataError
from komt.files import read_text, sniff_encoding
from komt.korean import josa
from komt.sources.readers import Row, auto

ANSWERS = (
    *(
        "답변",
        "정답",
        "답",
        "응답",
        "출력",
        "answer",
        "output",
        "response",
        "reply",
        "completion",
        "target",
        "a",
    ),
    *(
        "분류",
        "라벨",
        "레이블",
        "카테고리",
        "label",
        "category",
        "class",
        "intent",
        "sentiment",
        "감정",
        "의도",
    ),
    *("요약", "summary", "번역", "translation", "right"),
)
_TEXTS = {
    "질문",
    "문의",
    "내용",
    "본문",
    "문장",
    "question",
    "instruction",
    "input",
    "text",
    "context",
    "premise",
}
_NOT_SHOWN = {
    "id",
    "idx",
    "index",
    "no",
    "번호",
    "순번",
    "일련번호",
    "date",
    "날짜",
    "일자",
    "url",
    "metadata",
}
_IS_ID = re.compile(r"(^|[_ ])(q?id\d*|idx)$", re.IGNORECASE)
_MOST_LABELS, _LONGEST_LABEL = 20, 20
_ENCODINGS = {
    "utf-8": "UTF-8",
    "utf-8-sig": "UTF-8 with a byte order mark",
    "cp949": "CP949",
    "utf-16": "UTF-16",
}
_DELIMITERS = {",": "comma", "\t": "tab", ";": "semicolon", "|": "bar"}


@dataclass(frozen=True, slots=True)
class Proposal:
    """What was seen in a table, and the two templates made of it.

    Attributes:
        seen: format, encoding and delimiter in words; rows: how many; columns: their names.
        asks: the columns that the prompt shows; answers: the column that is the answer.
        labels: the answers to choose from, most frequent first, or () where the answer is free text.
        prompt, answer: the templates; longest_answer: in characters.
    """

    seen: str
    rows: int
    columns: tuple[str, ...]
    asks: tuple[str, ...]
    answers: str
    labels: tuple[str, ...]
    prompt: str
    answer: str
    longest_answer: int


def propose(path: Path, encoding: str = "") -> Proposal:
    """Look at a table and propose a task.

    Raises:
        DataError: the file cannot be read, or has fewer than two columns.
    """
    text = read_text(path, encoding)
    rows: list[Row] = list(auto.read(path, auto.Options(encoding=encoding)))
    columns = tuple(rows[0].values) if rows else ()
    if len(columns) < 2:
        raise DataError(
            f"a task needs one column to ask about and one to answer with; found: {', '.join(columns)}",
            where=str(path),
            cure="check the delimiter: columns are split at commas, tabs, semicolons or bars",
        )
    values = [row.values for row in rows]
    answers = _answer_column(columns, values)
    labels = _labels(values, answers)
    asks = _asked_columns(columns, values, answers)
    return Proposal(
        seen=_seen(text, encoding or sniff_encoding(path.read_bytes())),
        rows=len(rows),
        columns=columns,
        asks=asks,
        answers=answers,
        labels=labels,
        prompt=_prompt(asks, values, labels),
        answer=_field(answers),
        longest_answer=max(len(_text(row, answers)) for row in values),
    )


def _answer_column(columns: tuple[str, ...], values: list[dict[str, Any]]) -> str:
    by_name = {name.lower(): name for name in columns}
    named = next((by_name[name] for name in ANSWERS if name in by_name), "")
    labelled = [name for name in columns if name.lower() not in _NOT_SHOWN and _labels(values, name)]
    return named or (labelled[-1] if labelled else columns[-1])


def _asked_columns(columns: tuple[str, ...], values: list[dict[str, Any]], answers: str) -> tuple[str, ...]:
    """All columns but the answer, ids and further labels, which may give the answer away."""
    others = [name for name in columns if name != answers]
    texts = [
        name
        for name in others
        if name.lower() not in {*_NOT_SHOWN, *ANSWERS}
        and not _IS_ID.search(name)
        and (name.lower() in _TEXTS or not _labels(values, name))
    ]
    return tuple(texts or others)


def _labels(values: list[dict[str, Any]], column: str) -> tuple[str, ...]:
    """The labels of a column that holds few and short ones, or ()."""
    counts = Counter(_text(row, column) for row in values)
    counts.pop("", None)
    few = 2 <= len(counts) <= min(_MOST_LABELS, max(2, len(values) // 3))
    short = all(len(label) <= _LONGEST_LABEL for label in counts)
    return tuple(label for label, _ in counts.most_common()) if few and short else ()


def _prompt(asks: tuple[str, ...], values: list[dict[str, Any]], labels: tuple[str, ...]) -> str:
    single = len(asks) == 1
    shown = "".join(_part(name, values, asks) for name in asks).strip()
    if not labels:
        return shown
    what = josa(asks[0], "을/를") if single else "내용을"
    # Sorted: how often a label occurs is not given away by its place.
    return f"다음 {what} 분류하세요.\n\n{shown}\n\n보기: {', '.join(sorted(labels))}"


def _part(name: str, values: list[dict[str, Any]], asks: tuple[str, ...]) -> str:
    """One column in the prompt, after its name where there are several; left out of rows that lack it."""
    if len(asks) == 1:
        return _field(name)
    if {item.lower() for item in asks} == {"instruction", "input"}:
        line = f"\n\n{_field(name)}"
    else:
        line = f"\n{name}: {_field(name)}"
    if all(_text(row, name) for row in values):
        return line
    return f"{{% if {_reference(name)} %}}{line}{{% endif %}}"


def _field(name: str) -> str:
    return f"{{{{ {_reference(name)} }}}}"


def _reference(name: str) -> str:
    reserved = {
        "row",
        "choices",
        "choice",
        "preface",
        "not",
        "and",
        "or",
        "in",
        "is",
        "if",
        "else",
        "true",
        "none",
    }
    return name if name.isidentifier() and name not in reserved else f'row["{name}"]'


def _text(row: dict[str, Any], name: str) -> str:
    return str(row.get(name, "")).strip()


def _seen(text: str, encoding: str) -> str:
    kind = "JSON" if text.lstrip().startswith("[") else "JSON Lines"
    if not auto.looks_like_json(text):
        kind = f"a table, columns split at {_DELIMITERS[auto.sniff_delimiter(text)]}"
    return f"{kind}, {_ENCODINGS.get(encoding, encoding)}"
