"""A proposal for a person's own table: which column is the answer, and how it could be asked for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from komt.encodings import sniff_encoding
from komt.errors import DataError
from komt.korean import josa
from komt.sources.readers import Rejected, Row, auto
from komt.sources.readers.content import Content
from komt.tasks.jinja import reference
from komt.tasks.propose_pairs import PairColumns, answers_apart, pair_columns

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
        rejected: why -> how many rows cannot be used; rows counts the others.
        left_out: columns that hold objects, lists of them, or lists in some rows only.
        asks: the columns that the prompt shows; answers: the column that is the answer.
        labels: the answers to choose from, most frequent first, or () where the answer is free text.
        prompt, answer: the templates; longest_answer: in characters.
        worse: of preference pairs, the template of the rejected answer; else "".
    """

    seen: str
    rows: int
    rejected: dict[str, int]
    columns: tuple[str, ...]
    left_out: tuple[str, ...]
    asks: tuple[str, ...]
    answers: str
    labels: tuple[str, ...]
    prompt: str
    answer: str
    longest_answer: int
    worse: str = ""


def propose(path: Path, encoding: str = "") -> Proposal:
    """Look at a table and propose a task.

    Raises:
        DataError: the file cannot be read, has no usable row, or has fewer than two columns of text.
    """
    seen = _seen(Content(path), encoding)
    items = list(auto.read(path, auto.Options(encoding=encoding)))
    values = [item.values for item in items if isinstance(item, Row)]
    if not values and items:
        raise _no_usable_row([item for item in items if isinstance(item, Rejected)])
    names = tuple(values[0]) if values else ()
    if pairs := pair_columns(values, str(path)):
        return _of_pairs(pairs, seen, items, values)
    left_out = tuple(name for name in names if _is_nested(values, name))
    columns = tuple(name for name in names if name not in left_out)
    if len(columns) < 2:
        raise _too_few_columns(columns, left_out, path)
    answers = _answer_column(columns, values)
    labels = _labels(values, answers)
    asks = _asked_columns(columns, values, answers)
    return Proposal(
        seen=seen,
        rows=len(values),
        rejected=_unusable(items),
        columns=columns,
        left_out=left_out,
        asks=asks,
        answers=answers,
        labels=labels,
        prompt=_prompt(asks, values, labels),
        answer=_field(answers, values),
        longest_answer=max(len(_text(row, answers)) for row in values),
    )


def _of_pairs(
    pairs: PairColumns, seen: str, items: Sequence[Row | Rejected], values: list[dict[str, Any]]
) -> Proposal:
    """A proposal for preference pairs: asked by a column named so, else by all but the answers."""
    columns = tuple(values[0])
    asks = pairs.asks or _asked_columns(answers_apart(columns), values, "")
    return Proposal(
        seen=seen,
        rows=len(values),
        rejected=_unusable(items),
        columns=columns,
        left_out=tuple(name for name in asks if not pairs.prompt and _is_nested(values, name)),
        asks=asks,
        answers=pairs.chosen,
        labels=(),
        prompt=pairs.prompt or _prompt(asks, values, ()),
        answer=pairs.answer or _field(pairs.chosen, values),
        longest_answer=max(len(_text(row, pairs.chosen)) for row in values),
        worse=pairs.worse or _field(pairs.rejected, values),
    )


def _unusable(items: Sequence[Row | Rejected]) -> dict[str, int]:
    return dict(Counter(item.reason for item in items if isinstance(item, Rejected)))


def _no_usable_row(rejected: list[Rejected]) -> DataError:
    reasons = ", ".join(sorted({item.reason for item in rejected}))
    return DataError(
        f"none of the {len(rejected):,} rows can be used: {reasons}",
        where=rejected[0].where,
        cure="mend the rows, or write the file anew from where it came",
    )


def _too_few_columns(columns: tuple[str, ...], left_out: tuple[str, ...], path: Path) -> DataError:
    nested = f"; left out, since they hold objects or lists: {', '.join(left_out)}" if left_out else ""
    cure = "check the delimiter: columns are split at commas, tabs, semicolons or bars"
    return DataError(
        "a task needs one column to ask about and one to answer with; "
        f"found: {', '.join(columns) or 'none'}{nested}",
        where=str(path),
        cure="write what is inside the nested columns as columns of their own" if left_out else cure,
    )


def _is_nested(values: list[dict[str, Any]], column: str) -> bool:
    """Whether a column holds objects, lists of more than texts, or lists in some rows only."""
    held = [row[column] for row in values if row.get(column, "") != ""]
    lists = [item for item in held if isinstance(item, list)]
    inside = [part for item in lists for part in item]
    nested = any(isinstance(item, dict) for item in held) or any(isinstance(x, dict | list) for x in inside)
    return nested or (bool(lists) and len(lists) < len(held))


def _holds_lists(values: list[dict[str, Any]], column: str) -> bool:
    return any(isinstance(row.get(column), list) for row in values)


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
    if _holds_lists(values, column):
        return ()
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
    field = _field(name, values)
    if len(asks) == 1:
        return field
    if {item.lower() for item in asks} == {"instruction", "input"}:
        line = f"\n\n{field}"
    else:
        line = f"\n{name}: {field}"
    if all(_text(row, name) for row in values):
        return line
    return f"{{% if {reference(name)} %}}{line}{{% endif %}}"


def _field(name: str, values: list[dict[str, Any]]) -> str:
    joined = " | join(', ')" if _holds_lists(values, name) else ""
    return f"{{{{ {reference(name)}{joined} }}}}"


def _text(row: dict[str, Any], name: str) -> str:
    value = row.get(name, "")
    return (", ".join(map(str, value)) if isinstance(value, list) else str(value)).strip()


def _seen(content: Content, encoding: str) -> str:
    if binary := auto.binary_format(content):
        return {"xlsx": "an Excel sheet", "parquet": "a Parquet table"}[binary]
    text = content.text(encoding)
    encoding = encoding or sniff_encoding(content.read())
    kind = "JSON" if text.lstrip().startswith("[") else "JSON Lines"
    if not auto.looks_like_json(text):
        kind = f"a table, columns split at {_DELIMITERS[auto.sniff_delimiter(text)]}"
    return f"{kind}, {_ENCODINGS.get(encoding, encoding)}"
