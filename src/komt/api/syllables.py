"""Syllables written in jamo, whole in every piece of an answer that comes from another server."""

from __future__ import annotations

from dataclasses import replace

from komt.api.backend import Delta
from komt.serve.text_pieces import joins_on


class Syllables:
    """Holds a piece back that ends within a syllable written in jamo, as komt's own engine does.

    Attributes:
        ended: whether the answer's end has been told.
    """

    def __init__(self) -> None:
        self._held, self.ended = "", False

    def add(self, delta: Delta) -> Delta | None:
        """The next piece, with what was held before it; None where all of it is held."""
        self.ended = self.ended or bool(delta.finish)
        if not self._held and not joins_on(delta.text):
            return delta  # nearly all of them
        text, self._held = self._held + delta.text, ""
        if joins_on(text) and not delta.finish:
            text, self._held = "", text
        kept = replace(delta, text=text)
        return kept if kept != Delta() else None
