"""Words to token ids: each different word once, where no token of a tokenizer goes from one to the next."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Sequence
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
# Words whose ids are kept, at most: about 100 bytes each.
_REMEMBERED = 1 << 19
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


class Words:
    """Where a tokenizer's tokens do not go on within a line, and the ids of the words that lie between.

    Attributes:
        cut: before a space, but after some characters.
        crossed: these characters, after which a token may go on with a space.
    """

    def __init__(self, backend: Any, space: str, crossed: frozenset[str], sizes: Counts) -> None:
        """Args: the tokenizer, what it writes for a space, and bytes of text of each token, (vocabulary,)."""
        self.cut = re.compile(f"(?<=[^{re.escape(''.join(sorted(crossed)))}])(?= )")
        self.crossed = crossed
        self._backend, self._space, self._sizes = backend, space, sizes
        self._lock = threading.Lock()
        self._forget()

    def encode(self, words: Sequence[str]) -> Encoded:
        """Ids of different words; those that were met before are not encoded again."""
        with self._lock:
            new = [word for word in words if word not in self._known]
            if len(self._known) + len(new) > _REMEMBERED:
                self._forget()
                new = list(words)
            if new:
                self._learn(new)
            places = np.fromiter(map(self._known.__getitem__, words), np.int64, len(words))
            return self._ids, self._starts[places], self._lengths[places]

    def _forget(self) -> None:
        self._known: dict[str, int] = {}
        self._ids, self._starts, self._lengths = (
            np.empty(0, np.int32),
            np.empty(0, np.int64),
            np.empty(0, np.int64),
        )

    def _learn(self, words: list[str]) -> None:
        ids, starts, lengths = self._encode(words)
        self._known.update(zip(words, range(len(self._known), len(self._known) + len(words)), strict=True))
        self._starts = np.concatenate((self._starts, starts + len(self._ids)))
        self._lengths = np.concatenate((self._lengths, lengths))
        self._ids = np.concatenate((self._ids, ids))

    def _encode(self, words: list[str]) -> Encoded:
        """Many words in one text, as a call takes as long as the encoding of ten words does."""
        follows = np.array([word[:1] == " " and word[-1] not in self.crossed for word in words])
        order = np.argsort(follows, kind="stable")
        alone = len(words) - int(follows.sum())
        ordered = [words[place] for place in order.tolist()]
        starts = range(alone, len(words), _JOINED)
        joined = ["".join(ordered[start : start + _JOINED]) for start in starts]
        ids, _ = _flat(whole(self._backend, ordered[:alone] + joined))
        # Each word ends where as many bytes are encoded as it and those before it have.
        token_ends = np.concatenate(([0], np.cumsum(self._sizes[ids])))
        word_ends = np.cumsum([len(word.replace(self._space, " ").encode()) for word in ordered])
        ends = np.searchsorted(token_ends, word_ends, side="right") - 1
        if not np.array_equal(token_ends[ends], word_ends):
            # Some token stands for more or less than it shows, as the one for unknown characters does.
            return each(self._backend, words)
        lengths = np.diff(ends, prepend=0)
        begins, counts = np.empty_like(ends), np.empty_like(ends)
        begins[order], counts[order] = ends - lengths, lengths
        return ids, begins, counts


def steps_of(step: Any) -> list[dict[str, Any]]:
    """A normaliser or pre-tokenizer of `tokenizers` as it stands in a tokenizer.json, in single steps."""
    if step is None:
        return []
    state: dict[str, Any] = json.loads(step.__getstate__())
    return list(state.get("normalizers") or state.get("pretokenizers") or [state])


@lru_cache(maxsize=8)
def words_of(tokenizer: Any) -> Words | None:
    """Where texts can be cut into words; None for a tokenizer that does more to them than to mark spaces.

    Args:
        tokenizer: one that `segments.is_cuttable`, so that a merge crosses a place only by a token that does.
    """
    backend = tokenizer.backend_tokenizer
    steps = steps_of(backend.normalizer)
    if [step["type"] for step in steps] != ["Replace"]:
        return None
    if steps[0]["pattern"] != {"String": " "} or len(steps[0]["content"]) != 1:
        return None
    space = str(steps[0]["content"])
    vocabulary = {token.replace(" ", space): place for token, place in backend.get_vocab().items()}
    crossed = {space, " "}
    for token in vocabulary:
        if space in token[1:]:
            crossed |= {before for before, after in pairwise(token) if after == space}
    sizes = np.zeros(max(vocabulary.values()) + 1, np.int64)
    for token, place in vocabulary.items():
        sizes[place] = 1 if _BYTE.fullmatch(token) else len(token.replace(space, " ").encode())
    return Words(backend, space, frozenset(crossed), sizes)
