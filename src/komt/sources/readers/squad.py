"""SQuAD v1.1 JSON, the format of KorQuAD 1.0: articles, paragraphs, questions with answer spans."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from komt.errors import DataError
from komt.korean import nfc
from komt.sources.readers import Reader, ReaderOptions, Rejected, Row, row_or_rejected, short_hash
from komt.sources.readers.content import Content
from komt.sources.readers.jsonl import load_json

Values = dict[str, Any]


class Options(ReaderOptions):
    """What one row is: a question with its passage, or a passage with the extra keys of its paragraph."""

    rows: Literal["questions", "passages"] = "questions"
    encoding: str = ""


def read(content: Content, options: Options) -> Iterator[Row | Rejected]:
    """Rows of a SQuAD file.

    Keys: `id, title, context, group`, then `question, answer, answers, answer_start`, or the extras.

    A question that its set marks `is_impossible` (KLUE MRC) is rejected as `unanswerable`. Text is NFC before
    any span is located: the answer is looked for in the normalised passage, nearest to
    where its start falls.

    Raises:
        DataError: the file is no SQuAD JSON, with the place.
    """
    whole = load_json(content, options.encoding)
    for a, article in enumerate(_items(whole, "data", str(content))):
        for p, paragraph in enumerate(_items(article, "paragraphs", f"{content}, data[{a}]")):
            where = f"{content.label}, data[{a}].paragraphs[{p}]"
            context = _text(paragraph, "context", where)
            base = {"title": nfc(str(paragraph.get("title") or article.get("title") or "")).strip()}
            base |= {"context": nfc(context).strip(), "group": short_hash(nfc(context).strip())}
            if options.rows == "questions":
                for q, question in enumerate(_items(paragraph, "qas", where)):
                    yield _question(question, context, base, f"{where}.qas[{q}]")
            else:
                yield _passage(article, paragraph, base, where)


def _question(item: Values, context: str, base: Values, where: str) -> Row | Rejected:
    found = [answer for answer in _items(item, "answers", where) if isinstance(answer.get("text"), str)]
    answers = list(dict.fromkeys(nfc(answer["text"]).strip() for answer in found))
    question = nfc(_text(item, "question", where)).strip()
    row = {
        "id": str(item.get("id") or item.get("guid") or where.rpartition(", ")[2]),
        **base,
        "question": question,
        "answers": answers,
    }
    if isinstance(checked := row_or_rejected(row, where), Rejected):
        return checked
    if item.get("is_impossible") is True:
        return Rejected("unanswerable", where, row)
    empty = [
        reason
        for reason, text in (
            ("empty_question", question),
            ("empty_context", base["context"]),
            ("empty_answer", answers[0] if answers else ""),
        )
        if not text
    ]
    if empty:
        return Rejected(empty[0], where, row)
    start = found[0].get("answer_start", 0)
    at = _relocate(context, base["context"], answers[0], start if isinstance(start, int) else 0)
    if at < 0:
        return Rejected("answer_not_in_passage", where, row)
    return Row({**row, "answer": answers[0], "answer_start": at}, where)


def _passage(article: Values, paragraph: Values, base: Values, where: str) -> Row | Rejected:
    extras = {
        key: nfc(value)
        for key, value in {**article, **paragraph}.items()
        if key not in {"paragraphs", "qas", "context", "title", "id"} and not isinstance(value, dict)
    }
    row = {"id": str(paragraph.get("id") or base["group"]), **base, **extras}
    checked = row_or_rejected(row, where)
    return (
        checked if base["context"] or isinstance(checked, Rejected) else Rejected("empty_context", where, row)
    )


def _relocate(context: str, normal: str, answer: str, start: int) -> int:
    """Where the answer stands in the normalised passage, nearest to its given start; -1 when nowhere."""
    lead = len(nfc(context)) - len(nfc(context).lstrip())
    wanted = len(nfc(context[: max(start, 0)])) - lead
    places = []
    at = normal.find(answer)
    while at >= 0:
        places.append(at)
        at = normal.find(answer, at + 1)
    return min(places, key=lambda place: (abs(place - wanted), place), default=-1)


def _items(value: Any, key: str, where: str) -> list[Values]:
    items = value.get(key) if isinstance(value, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise DataError(
            f"not SQuAD v1.1: no list of objects under '{key}'",
            where=where,
            cure="the shape is data[].paragraphs[].qas[].answers[]; check that this is the right file",
        )
    return items


def _text(value: Values, key: str, where: str) -> str:
    if not isinstance(value.get(key), str):
        raise DataError(f"not SQuAD v1.1: '{key}' is missing or no text", where=where)
    return str(value[key])


READER = Reader(Options, read)
