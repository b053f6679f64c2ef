"""KISTI's sets of Korean papers: questions on them, their full text, and what their sentences do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from komt.korean import hangul_share
from komt.sources.readers import (
    Content,
    Reader,
    ReaderOptions,
    Rejected,
    Row,
    clean,
    row_or_rejected,
    short_hash,
)
from komt.sources.readers.json_objects import json_objects, objects_in, part, texts
from komt.sources.readers.passages import Passage, Question, question_row

TAGS = {
    "연구 목적": ("문제 정의", "가설 설정", "기술 정의"),
    "연구 방법": ("제안 방법", "대상 데이터", "데이터처리", "이론/모형"),
    "연구 결과": ("성능/효과", "후속연구"),
}
_GROUPS = {tag: group for group, tags in TAGS.items() for tag in tags}
_SPELLED = {tag.replace(" ", ""): tag for tag in _GROUPS}


class Options(ReaderOptions):
    """The encoding, when it is not recognised."""

    encoding: str = ""


def read_questions(content: Content, options: Options) -> Iterator[Row | Rejected]:
    """One row a question on a paper, `{context, qas}`; `context` is the whole paper.

    Fields as `question_row` has them, with `level` (how hard the question is).

    Raises:
        DataError: broken JSON, or a file of another shape.
    """
    for found in json_objects(content, ("qas",), encoding=options.encoding):
        if isinstance(found, Rejected):
            yield found
            continue
        where, paper = found
        title = part(paper, "title", "ko") or paper.get("title")
        passage = Passage(
            "\n".join(texts(paper.get("context"))), {"title": clean(title) if isinstance(title, str) else ""}
        )
        for number, asked in enumerate(objects_in(paper["qas"]), start=1):
            question = Question(
                id=str(asked.get("id") or asked.get("question_id") or ""),
                text=" ".join(texts(asked.get("question"))),
                answers=[
                    (text, answer.get("answer_start"))
                    for answer in objects_in(asked.get("answer"))
                    for text in texts(answer.get("answer_text"))
                ],
                extra={"level": str(asked.get("level") or "")},
            )
            yield question_row(passage, question, f"{where}.{number}", spans_only=True)


def read_papers(content: Content, options: Options) -> Iterator[Row | Rejected]:
    """One row a paper, `{doc_id, title, keywords, abstract, body_text}`.

    Fields: `id, title, keywords` (list), `abstract` in Korean and, with `_en`, in English (some papers have
    but one of them), `language` ("ko" where there is a Korean abstract or title), `body` (a heading, then its
    text, section by section), `sections` (headings), `group`.

    Raises:
        DataError: broken JSON, or a file of another shape.
    """
    for found in json_objects(content, ("body_text", "abstract"), encoding=options.encoding):
        yield found if isinstance(found, Rejected) else _paper(*found)


def _paper(where: str, item: dict[str, Any]) -> Row | Rejected:
    sections = [
        (" ".join(texts(section.get("section"))), "\n".join(texts(section.get("text"))))
        for section in objects_in(item.get("body_text"))
    ]
    values: dict[str, Any] = {
        **{
            f"{key}{'_en' * (tongue == 'en')}": " ".join(_both(item, key)[tongue])
            for key in ("title", "abstract")
            for tongue in ("ko", "en")
        },
        "keywords": _words(_both(item, "keywords")["ko"]),
        "keywords_en": _words(_both(item, "keywords")["en"]),
        "sections": [heading for heading, _ in sections if heading],
        "body": "\n\n".join("\n".join(filter(None, section)) for section in sections),
    }
    values["language"] = "ko" if values["abstract"] or values["title"] else "en"
    values["group"] = short_hash(values["abstract"] or values["abstract_en"] or values["body"])
    if item.get("doc_id"):
        values["id"] = str(item["doc_id"])
    if not values["body"] and not values["abstract"] and not values["abstract_en"]:
        return Rejected("empty_context", where, values)
    return row_or_rejected(values, where)


def _both(item: dict[str, Any], key: str) -> dict[str, list[str]]:
    """What stands under a key in Korean and in English; a plain text is of the language it is written in."""
    value = item.get(key)
    if isinstance(value, dict):
        return {tongue: texts(value.get(tongue)) for tongue in ("ko", "en")}
    found = texts(value)
    korean = bool(found) and hangul_share(" ".join(found)) > 0
    return {"ko": found if korean else [], "en": [] if korean else found}


def _words(found: list[str]) -> list[str]:
    """Keywords: a list of them, or one text with commas or semicolons."""
    parts = (
        found if len(found) > 1 else [part for text in found for part in text.replace(";", ",").split(",")]
    )
    return list(dict.fromkeys(word for part in parts if (word := part.strip())))


def read_tags(content: Content, options: Options) -> Iterator[Row | Rejected]:
    """One row a sentence of a paper, `{doc_id, sentence, tag, keysentence}`.

    Fields: `sentence, tag` (spaced as in TAGS, however the file spaces it), `aim` (the tag's group),
    `key_sentence` ("yes", "no"), `paper`. A tag that is none of the nine is rejected as `unknown_tag`.

    Raises:
        DataError: broken JSON, or a file of another shape.
    """
    for found in json_objects(content, ("sentence",), encoding=options.encoding):
        yield found if isinstance(found, Rejected) else _tagged(*found)


def _tagged(where: str, item: dict[str, Any]) -> Row | Rejected:
    given = " ".join(texts(item.get("tag")))
    tag = _SPELLED.get("".join(given.split()), "")
    values = {
        "sentence": " ".join(texts(item.get("sentence"))),
        "tag": tag or given,
        "aim": _GROUPS.get(tag, ""),
        "key_sentence": " ".join(texts(item.get("keysentence"))).lower(),
        "paper": str(item.get("doc_id") or ""),
    }
    if not values["sentence"] or not tag:
        return Rejected("unknown_tag" if values["sentence"] else "empty_sentence", where, values)
    return row_or_rejected(values, where)


QA = Reader(Options, read_questions)
PAPERS = Reader(Options, read_papers)
SENTENCES = Reader(Options, read_tags)
