"""One answer from its tokens: whole characters, stop strings, log-probabilities, and why it ended."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from torch import Tensor

from komt.serve.engine import Finish, Piece, TokenLogprob
from komt.serve.text_pieces import TextPieces

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class StopText:
    """Text up to the first stop string; only what may be the beginning of one is held back."""

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = tuple(stop)
        self._held = ""
        self.stopped = False

    def add(self, text: str) -> str:
        """What is known to be part of the answer by now."""
        if self.stopped or not self._stop:
            return "" if self.stopped else text
        held = self._held + text
        # The one that ends first, as if letters came singly, however long the pieces are.
        found = [(at + len(stop), at) for stop in self._stop if (at := held.find(stop)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return held[: min(found)[1]]
        size = max((_overlap(held, stop) for stop in self._stop), default=0)
        self._held = held[len(held) - size :]
        return held[: len(held) - size]

    def rest(self) -> str:
        """What is still held back, at the end of the answer."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of the text that a stop string begins with."""
    most = min(len(text), len(stop) - 1)
    return next((size for size in range(most, 0, -1) if text.endswith(stop[:size])), 0)


class Answer:
    """Collects a stream's tokens and gives them out as pieces.

    Attributes:
        started: whether there has been a token.
    """

    def __init__(self, tokenizer: Any, stop: Sequence[str], logprobs: int | None) -> None:
        self._tokenizer, self._logprobs = tokenizer, logprobs
        self._pieces, self._text = TextPieces(tokenizer), StopText(stop)
        self._told: list[TokenLogprob] = []
        self._tokens = 0
        self.started = False

    def add(self, token: int, logits: Tensor) -> Piece | None:
        """A drawn token; the piece that it completes, the last one if it completes a stop string.

        Args:
            token: no end token.
            logits: those it was drawn from, (vocabulary,).
        """
        self._tokens += 1
        self.started = True
        if self._logprobs is not None:
            self._told.append(token_logprob(self._tokenizer, token, logits, self._logprobs))
        text = self._text.add(self._pieces.add(token))
        if self._text.stopped:
            return self._give(text, "stop")
        return self._give(text, "") if text else None

    def end(self, finish: Finish) -> Piece:
        """The last piece, with what was held back."""
        text = self._text.add(self._pieces.rest())
        if self._text.stopped:
            return self._give(text, "stop")
        return self._give(text + self._text.rest(), finish)

    def _give(self, text: str, finish: Finish) -> Piece:
        piece = Piece(text, tuple(self._told), self._tokens, finish)
        self._told, self._tokens = [], 0
        return piece


def token_logprob(tokenizer: Any, token: int, logits: Tensor, most: int) -> TokenLogprob:
    """A token's log-probability and those of the `most` likeliest at its place."""
    logits = logits.float()
    scale = logits.logsumexp(0)
    values, tokens = (logits - scale).topk(min(most, len(logits)))
    top = [
        (*_named(tokenizer, other), value)
        for other, value in zip(tokens.tolist(), values.tolist(), strict=True)
    ]
    return TokenLogprob(*_named(tokenizer, token), float(logits[token] - scale), tuple(top))


def _named(tokenizer: Any, token: int) -> tuple[str, bytes]:
    data = token_bytes(tokenizer, token)
    try:
        return data.decode("utf-8"), data
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data), data


def token_bytes(tokenizer: Any, token: int) -> bytes:
    """The bytes that a token stands for, in byte-level and in SentencePiece-like vocabularies."""
    text = str(tokenizer.convert_ids_to_tokens(token))
    if token in _added(tokenizer):
        return text.encode("utf-8")
    if _is_byte_level(tokenizer):
        letters = _byte_letters()
        if all(letter in letters for letter in text):
            return bytes(letters[letter] for letter in text)
    if byte := _BYTE.fullmatch(text):
        return bytes([int(byte[1], 16)])
    return text.replace("▁", " ").encode("utf-8", "replace")


@lru_cache(maxsize=8)
def _added(tokenizer: Any) -> frozenset[int]:
    return frozenset(tokenizer.get_added_vocab().values())


@lru_cache(maxsize=8)
def _is_byte_level(tokenizer: Any) -> bool:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return backend is not None and "ByteLevel" in repr(backend.decoder)


@lru_cache(maxsize=1)
def _byte_letters() -> dict[str, int]:
    """Which letter stands for which byte in byte-level vocabularies: bytes that print stand for themselves.

    Source: bytes_to_unicode in https://github.com/openai/gpt-2/blob/master/src/encoder.py
    """
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(b): b for b in plain} | {chr(256 + place): byte for place, byte in enumerate(others)}
