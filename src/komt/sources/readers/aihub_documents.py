"""AIHub 97 (documents) and 99 (law): text, the sentences that sum it up, and a written summary.

A list, or one under `documents`, of `{title, text: [[{index, sentence}]], extractive: [int], abstractive:
[text]}`; the older release is JSON Lines of `{media, id, article_original: [text], abstractive, extractive}`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

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
from komt.sources.readers.json_objects import json_objects, texts
from komt.sources.readers.row import whole_number


class Options(ReaderOptions):
    """The encoding, when it is not recognised."""

    encoding: str = ""


def read(content: Content, options: Options) -> Iterator[Row | Rejected]:
    """One row a document.

    Fields: `id, title, category, media, char_count, context` (a paragraph a line), `group`, `sentences`,
    `marked` (the sentences that sum it up, in the document's order), `summary` and `summaries` (written).
    A document with neither is rejected as `empty_summary`.

    Raises:
        DataError: broken JSON, or a file of another shape.
    """
    needs = ("text", "article_original")
    for found in json_objects(content, needs, ("documents", "data"), options.encoding):
        yield found if isinstance(found, Rejected) else _document(*found)


def _document(where: str, item: dict[str, Any]) -> Row | Rejected:
    paragraphs = _paragraphs(item.get("text", item.get("article_original")))
    sentences = [sentence for paragraph in paragraphs for sentence in paragraph]
    context = "\n".join(" ".join(text for _, text in paragraph) for paragraph in paragraphs)
    marked = item.get("extractive")
    wanted = {index for index in marked if isinstance(index, int)} if isinstance(marked, list) else set()
    summaries = texts(item.get("abstractive"))
    values = {
        "id": str(item.get("id") or ""),
        "title": _text(item, "title"),
        "category": _text(item, "category"),
        "media": _text(item, "media_name") or _text(item, "media"),
        "char_count": _count(item.get("char_count"), context),
        "context": context,
        "group": short_hash(context),
        "sentences": [text for _, text in sentences],
        "marked": [text for index, text in sentences if index in wanted],
        "summary": summaries[0] if summaries else "",
        "summaries": summaries,
    }
    if not context:
        return Rejected("empty_context", where, values)
    if not values["marked"] and not summaries:
        return Rejected("empty_summary", where, values)
    return row_or_rejected(values, where)


def _paragraphs(value: Any) -> list[list[tuple[int, str]]]:
    """Paragraphs of (index, sentence); of plain sentences, or of sentences without paragraphs, one."""
    items = value if isinstance(value, list) else [value]
    if not all(isinstance(item, list) for item in items):
        items = [items]
    found: list[list[tuple[int, str]]] = []
    count = 0
    for paragraph in items:
        found.append([])
        for sentence in paragraph:
            text = clean(sentence.get("sentence") if isinstance(sentence, dict) else sentence)
            given = sentence.get("index") if isinstance(sentence, dict) else None
            index, count = (given if isinstance(given, int) else count), count + 1
            if isinstance(text, str) and text:
                found[-1].append((index, text))
    return [paragraph for paragraph in found if paragraph]


def _text(item: dict[str, Any], key: str) -> str:
    value = item.get(key)
    return str(clean(value)) if isinstance(value, str) else ""


def _count(given: Any, context: str) -> int:
    """The count of characters, which is given as a number or as a text (`1,234`)."""
    digits = str(given or "").replace(",", "").strip()
    count = whole_number(digits)
    return len(context) if count is None else count


READER = Reader(Options, read)
