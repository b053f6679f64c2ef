"""Text of people and models as Markdown in which HTML and pictures are shown as they were written."""

from __future__ import annotations

import re

# Takes no room and joins nothing: a `<` with it behind begins no tag, a `!` with it behind no picture.
JOINER = "\u2060"
_FENCE = re.compile(
    r"^ {0,3}(?P<mark>`{3,}|~{3,})[^\n]*\n.*?(?:^ {0,3}(?P=mark)[`~]*[ \t]*$|\Z)", re.M | re.S
)
_CODE = r"(?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`)"
# A line break in a table, and an address, are what Markdown itself writes in angle brackets.
_TAG = r"<(?=[A-Za-z/!?])(?!br\s*/?>|(?:https?|mailto):[^<>\s]+>)"
_PLACES = re.compile(rf"{_CODE}|(?P<tag>{_TAG})|(?P<picture>!(?=\[))", re.S | re.I)


def shown(text: str) -> str:
    """Markdown that looks like `text`, with tags and pictures as text; code is left alone.

    A browser would drop some tags, apply others, and ask for pictures.
    """
    parts, end = [], 0
    for fence in _FENCE.finditer(text):
        parts += [_PLACES.sub(_told, text[end : fence.start()]), fence.group()]
        end = fence.end()
    return "".join([*parts, _PLACES.sub(_told, text[end:])])


def as_written(text: str) -> str:
    """What `shown` was given."""
    return text.replace(JOINER, "")


def _told(place: re.Match[str]) -> str:
    return place.group() + (JOINER if place["tag"] or place["picture"] else "")
