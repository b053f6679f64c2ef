"""Sci-news-sum-kr: a news item a file, its sentences, and which of them make up the summary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from komt.errors import DataError
from komt.sources.readers import Reader, ReaderOptions, Rejected, Row, clean, short_hash
from komt.sources.readers.content import Content
from komt.sources.readers.jsonl import load_json


class Options(ReaderOptions):
    """The encoding, when it is not recognised."""

    encoding: str = ""


def read(content: Content, options: Options) -> Iterator[Row | Rejected]:
    """One row: `id, title, context, sentences, summary, group`.

    The sentences come without their full stops; the context has them.

    Raises:
        DataError: another shape, with what is missing.
    """
    item = clean(load_json(content, options.encoding))
    sentences, marked = _list(item, "sentences", str, content), _list(item, "summaries", int, content)
    context = " ".join(with_full_stop(sentence) for sentence in sentences)
    values = {
        "id": str(item.get("slug") or ""),
        "title": str(item.get("title") or ""),
        "context": context,
        "sentences": sentences,
        "group": short_hash(context),
    }
    where = f"{content.label}, item 1"
    if not marked or not all(0 <= at < len(sentences) for at in marked):
        yield Rejected("no_summary" if not marked else "summary_not_in_text", where, values)
    else:
        yield Row({**values, "summary": [sentences[at] for at in sorted(set(marked))]}, where)


def with_full_stop(sentence: str) -> str:
    """The sentence with its end: a full stop where it ends in a letter, a digit or a bracket."""
    return f"{sentence}." if sentence[-1:].isalnum() or sentence[-1:] in {")", "]", "%"} else sentence


def _list(item: Any, key: str, kind: type, content: Content) -> list[Any]:
    values = item.get(key) if isinstance(item, dict) else None
    if not isinstance(values, list) or not all(isinstance(value, kind) for value in values):
        raise DataError(f"no list under '{key}' as a news item has it", where=str(content))
    return values


READER = Reader(Options, read)
