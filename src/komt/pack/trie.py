"""The trie: token sequences that start alike, serialised depth-first with their common prefixes once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Trie:
    """A forest of token tries in depth-first order; T tokens in all.

    Attributes:
        ids: token of each node, (T,).
        positions: depth of each node on its own path, which is its position id, (T,).
        ends: where the subtree of each node ends, (T,): query q sees key k exactly when k <= q < ends[k].
        paths: for each sequence, in the order given, the nodes of its tokens.
    """

    ids: Ints
    positions: Ints
    ends: Ints
    paths: tuple[Ints, ...]

    def __len__(self) -> int:
        return len(self.ids)


def build_trie(sequences: Sequence[npt.ArrayLike], *, share: bool = True) -> Trie:
    """Merge sequences into a forest; with `share=False` each stays a root of its own (plain packing).

    Args:
        sequences: token ids, each of at least one token.
        share: whether common prefixes are merged.

    Raises:
        ValueError: a sequence is empty.
    """
    arrays = [np.asarray(sequence, dtype=np.int64) for sequence in sequences]
    if any(len(array) == 0 for array in arrays):
        raise ValueError("a token sequence is empty")
    order, shared_tokens = sorted_prefixes(arrays) if share else (range(len(arrays)), [0] * len(arrays))
    paths: list[Ints] = [np.empty(0, np.int64)] * len(arrays)
    ids, positions = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    ends = np.zeros(sum(map(len, arrays)), np.int64)
    count, last_path = 0, np.empty(0, np.int64)
    for index, shared in zip(order, shared_tokens, strict=True):
        array = arrays[index]
        ends[last_path[shared:]] = count
        new = np.arange(count, count + len(array) - shared)
        ids.append(array[shared:])
        positions.append(np.arange(shared, len(array)))
        last_path = np.concatenate([last_path[:shared], new])
        paths[index] = last_path
        count += len(new)
    ends[last_path] = count
    return Trie(np.concatenate(ids), np.concatenate(positions), ends[:count], tuple(paths))


def trie_tokens(sequences: Sequence[npt.ArrayLike]) -> int:
    """Number of nodes that `build_trie` would make, without making them."""
    arrays = [np.asarray(sequence, dtype=np.int64) for sequence in sequences]
    _, shared = sorted_prefixes(arrays)
    return sum(map(len, arrays)) - sum(shared)


def sorted_prefixes(arrays: Sequence[npt.NDArray[np.integer[Any]]]) -> tuple[list[int], list[int]]:
    """Sequences in depth-first order, by index, and how many leading tokens each shares with the one before.

    Equal sequences stay in the order given.
    """
    if not arrays:
        return [], []
    lengths = np.fromiter(map(len, arrays), np.int64, len(arrays))
    ends = np.cumsum(lengths)
    flat = np.concatenate(arrays)
    # Big-endian bytes compare as the token ids do, so sorting them puts shared prefixes side by side.
    data = flat.astype(">u4").tobytes()
    spans = [
        data[4 * (end - size) : 4 * end] for end, size in zip(ends.tolist(), lengths.tolist(), strict=True)
    ]
    order = sorted(range(len(arrays)), key=spans.__getitem__)
    starts = (ends - lengths)[order]
    common = np.minimum(lengths[order][:-1], lengths[order][1:])
    pairs = np.cumsum(common) - common
    steps = np.arange(int(common.sum())) - np.repeat(pairs, common)
    one, other = np.repeat(starts[:-1], common) + steps, np.repeat(starts[1:], common) + steps
    differs = np.append(np.flatnonzero(flat[one] != flat[other]), len(steps))
    first = differs[np.searchsorted(differs, pairs)] - pairs
    return order, [0, *np.minimum(first, common).tolist()]


def common_prefix(a: npt.NDArray[np.integer[Any]], b: npt.NDArray[np.integer[Any]]) -> int:
    """Number of leading tokens that two sequences share."""
    size = min(len(a), len(b))
    differs = np.flatnonzero(a[:size] != b[:size])
    return int(differs[0]) if len(differs) else size
