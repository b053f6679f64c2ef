"""Tokens to text, piece by piece: a syllable split over several tokens comes out whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# Leading consonants and vowels that join with what follows them to one syllable (U+1112 U+1161 U+11AB: 한).
_JOIN_ON = frozenset(
    chr(place)
    for first, last in ((0x1100, 0x11A7), (0xA960, 0xA97C), (0xD7B0, 0xD7C6))
    for place in range(first, last + 1)
)
# What decoders put in place of bytes that are no character (yet).
_BROKEN = "\ufffd"


def joins_on(text: str) -> bool:
    """Whether a text ends within a syllable that is written in jamo."""
    return text[-1:] in _JOIN_ON


def text_of(tokenizer: Any, ids: Sequence[int]) -> str:
    """Text of an answer's tokens; special tokens and bytes that form no character are left out."""
    text = _decode(tokenizer, ids)
    if _BROKEN not in text:
        return text
    # A decoder may give up a whole run of bytes for a broken one; piece by piece its characters are kept.
    pieces = TextPieces(tokenizer)
    return "".join([*(pieces.add(token) for token in ids), pieces.rest()])


class TextPieces:
    """Turns tokens into pieces of text as they come.

    Each piece is the difference between two decodings that begin at the same earlier token, so that a space
    which a decoder strips from the front of a text (as Llama 2's does) is never lost from the middle.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        # Tokens before `_read` are given out; decodings begin at `_start`, the last piece's first token.
        self._start = self._read = 0

    def add(self, token: int) -> str:
        """Text that this token completes, or an empty string."""
        self._ids.append(token)
        before, now = self._decodings()
        if len(now) <= len(before) or now.endswith(_BROKEN) or joins_on(now):
            return ""
        self._start, self._read = self._read, len(self._ids)
        return now[len(before) :].replace(_BROKEN, "")

    def rest(self) -> str:
        """What is still held back at the end, without bytes that never became a character."""
        before, now = self._decodings()
        self._start = self._read = len(self._ids)
        return now[len(before) :].replace(_BROKEN, "")

    def _decodings(self) -> tuple[str, str]:
        before = _decode(self._tokenizer, self._ids[self._start : self._read])
        return before, _decode(self._tokenizer, self._ids[self._start :])


def _decode(tokenizer: Any, ids: Sequence[int]) -> str:
    return str(tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))
