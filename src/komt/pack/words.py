"""Words to token ids: each different word once, where no token of a tokenizer goes from one to the next."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int32]
Counts = npt.NDArray[np.int64]
# Ids of texts, in any order, and where those of each text start, and how many they are.
Encoded = tuple[Ids, Counts, Counts]
# So many words are encoded as one text.
_JOINED = 64
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


def whole(backend: Any, texts: Sequence[str]) -> list[list[int]]:
    """Ids of texts as a tokenizer of `tokenizers` gives them."""
    return [encoding.ids for encoding in backend.encode_batch_fast(list(texts), add_special_tokens=False)]


def each(backend: Any, texts: Sequence[str]) -> Encoded:
    """`whole`, in one array."""
    ids, lengths = _flat(whole(backend, texts))
    return ids, np.cumsum(lengths) - lengths, lengths


def _flat(encoded: Sequence[list[int]]) -> tuple[Ids, Counts]:
    lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
    return np.fromiter(chain.from_iterable(encoded), np.int32, int(lengths.sum())), lengths


@dataclass(frozen=True, slots=True)
class Words:
    """Where a tokenizer's tokens do not go on: before a space, but after some characters.

    Attributes:
        cut: these places.
        crossed: the characters after which a token may go on with a space.
        space: what the tokenizer writes for a space.
        sizes: bytes of the text that each token stands for, by its id, (vocabulary,).
    """

    cut: re.Pattern[str]
    crossed: frozenset[str]
    space: str
    sizes: Counts

    def encode(self, backend: Any, words: Sequence[str]) -> Encoded:
        """Ids of different words: many in one text, as a call takes as long as the encoding of ten words."""
        follows = np.array([word[:1] == " " and word[-1] not in self.crossed for word in words])
        order = np.argsort(follows, kind="stable")
        alone = len(words) - int(follows.sum())
        ordered = [words[place] for place in order.tolist()]
        starts = range(alone, len(words), _JOINED)
        joined = ["".join(ordered[start : start + _JOINED]) for start in starts]
        ids, _ = _flat(whole(backend, ordered[:alone] + joined))
        # Each word ends where as many bytes are encoded as it and those before it have.
        token_ends = np.concatenate(([0], np.cumsum(self.sizes[ids])))
        word_ends = np.cumsum([len(word.replace(self.space, " ").encode()) for word in ordered])
        ends = np.searchsorted(token_ends, word_ends, side="right") - 1
        if not np.array_equal(token_ends[ends], word_ends):
            # Some token stands for more or less than it shows, as the one for unknown characters does.
            return each(backend, words)
        lengths = np.diff(ends, prepend=0)
        begins, counts = np.empty_like(ends), np.empty_like(ends)
        begins[order], counts[order] = ends - lengths, lengths
        return ids, begins, counts


@lru_cache(maxsize=8)
def words_of(tokenizer: Any) -> Words | None:
    """Where texts can be cut into words; None for a tokenizer that does more to them than to mark spaces.

    Args:
        tokenizer: one that `segments.is_cuttable`, so that a merge crosses a place only by a token that does.
    """
    backend = tokenizer.backend_tokenizer
    state = json.loads(backend.normalizer.__getstate__()) if backend.normalizer else {}
    if state.get("type") != "Replace" or state["pattern"] != {"String": " "} or len(state["content"]) != 1:
        return None
    space = str(state["content"])
    vocabulary = {token.replace(" ", space): place for token, place in backend.get_vocab().items()}
    crossed = {space, " "}
    for token in vocabulary:
        if space in token[1:]:
            crossed |= {before for before, after in pairwise(token) if after == space}
    sizes = np.zeros(max(vocabulary.values()) + 1, np.int64)
    for token, place in vocabulary.items():
        sizes[place] = 1 if _BYTE.fullmatch(token) else len(token.replace(space, " ").encode())
    cut = re.compile(f"(?<=[^{re.escape(''.join(sorted(crossed)))}])(?= )")
    return Words(cut, frozenset(crossed), space, sizes)
