"""A judge's reply without what stands around its words: marks that are not seen, emphasis, thoughts."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from typing import Any

_WIDE = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_SPACES = dict.fromkeys(
    map(ord, "\u00a0\u1680\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"), " "
)
_BRACKETS = str.maketrans("【】〔〕〖〗「」『』〈〉《》“”‘’｀−‐‑⁄∕", '[][][]""""""""""\'\'`---//')
_THOUGHT = re.compile(r"<(think|thinking|thought|reasoning)>.*?</\1>", re.DOTALL | re.IGNORECASE)
_OPEN_THOUGHT = re.compile(r"<(think|thinking|thought|reasoning)>", re.IGNORECASE)
_CLOSED_THOUGHT = re.compile(r".*</(think|thinking|thought|reasoning)>", re.DOTALL | re.IGNORECASE)
_STRUCK = re.compile(r"~~[^~\n]+~~")
_EMPHASIS = re.compile(r"\*+|__+|`+|^[ \t]*#+[ \t]*|^[ \t]*>+[ \t]?", re.MULTILINE)
_MOST_STARS = 5
_STARS = re.compile(
    r"(?P<label>(?:점수|평점|별점|총점|score|rating)[\s:=(\[]*|^[\s(\[]*(?=[★⭐🌟]+½?[\s)\]]*$))?"
    r"(?P<full>[★⭐🌟]{0,10})(?P<half>½)?(?P<empty>[☆✩]{0,10})(?<=[★⭐🌟☆✩½])",
    re.IGNORECASE | re.MULTILINE,
)
_BOXED = re.compile(r"\$*\\boxed\{\s*(?:\\text\{)?([^{}]*)\}?\}\$*")


def clean(reply: str) -> str:
    """The words of a reply: NFC, plain digits and brackets, no emphasis, nothing struck out, no thoughts.

    Returns:
        "" also where the reply ends while the judge was still thinking.
    """
    text = unicodedata.normalize("NFC", reply).translate({**_WIDE, **_SPACES}).translate(_BRACKETS)
    text = "".join(
        letter for letter in text if unicodedata.category(letter) not in {"Cf", "Cc"} or letter in "\n\t\r"
    )
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\ufe0f", "").replace("\u20e3", "")
    text = _CLOSED_THOUGHT.sub("", _THOUGHT.sub("", text))
    if _OPEN_THOUGHT.search(text):
        return ""
    text = _BOXED.sub(r"[[\1]]", _STRUCK.sub(" ", text))
    return _EMPHASIS.sub("", text).strip()


def with_stars_counted(text: str) -> str:
    """The text with rows of stars as numbers: ★★★★☆ is 4/5; full ones alone only where a score belongs."""

    def counted(match: re.Match[str]) -> str:
        full, empty = len(match["full"]), len(match["empty"])
        if full + empty < 2:
            return match[0]
        if not empty and (full > _MOST_STARS or match["label"] is None):
            return f"{match['label'] or ''} "
        half = ".5" if match["half"] else ""
        return f"{match['label'] or ''} {full}{half}/{full + empty if empty else _MOST_STARS} "

    return _STARS.sub(counted, text)


def json_objects(text: str) -> Iterator[tuple[dict[str, Any], int, int]]:
    """Every outermost JSON object in a text, with where it begins and ends."""
    decoder, at = json.JSONDecoder(), text.find("{")
    while at >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
        except (json.JSONDecodeError, RecursionError):
            at = text.find("{", at + 1)
            continue
        if isinstance(value, dict):
            yield value, at, end
        at = text.find("{", end)


def sentences(text: str) -> list[str]:
    """Sentences and lines of a text; a decimal point ends none; of what ends them a question mark is kept."""
    parts = re.split(r"((?<!\d)[.!?。]+(?=\s|$|\")|(?<=\d)[.!?。]+(?=\s|$)|\n+)", text)
    ended = zip(parts[::2], [*parts[1::2], ""], strict=True)
    return [f"{part.strip()}{'?' if '?' in end else ''}" for part, end in ended if part.strip()]
