"""Bins: which sequences go into one forward pass, so that sharers are together and few places stay empty."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

from komt.pack.trie import sorted_prefixes
from komt.recipe import PackPart

# Every prompt of a template begins with the same few tokens; a passage or an instruction is longer than that.
_WORTH_SHARING = 16
# How much more than an even share a bin may hold: the least of these that needs no further bin.
_SLACKS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.08)


def fill_bins(
    sequences: Sequence[npt.NDArray[np.integer[Any]]], pack: PackPart, fill: int = 0
) -> list[list[int]]:
    """Sequences, by index, in bins: best fit of the pieces that share a prefix, the largest first.

    Args:
        sequences: token ids.
        pack: what a bin may hold, and whether prefixes are shared. A longer sequence stands alone.
        fill: up to how many tokens pieces are put together; default: as many as a bin may hold, or fewer
            where that takes no more bins, so that all of them hold about as much.
    """
    pieces = sorted(_pieces(sequences, pack), key=lambda piece: (-piece[0], piece[1]))
    if fill:
        return _best_fit(pieces, min(fill, pack.tokens))
    return _level(pieces, pack.tokens)


def _level(pieces: list[tuple[int, list[int]]], most: int) -> list[list[int]]:
    """As few bins as best fit makes of so many tokens at most, and those as low as they can be.

    What would be the last bin's emptiness is shared by all: the largest takes less memory, and processes that
    take one each wait less for each other.
    """
    bins = _best_fit(pieces, most)
    parts = [tokens for tokens, _ in pieces if tokens <= most]
    count = len(bins) - (len(pieces) - len(parts))
    even = -(-sum(parts) // max(1, count))
    for slack in _SLACKS if count > 1 else ():
        size = int(even * (1 + slack))
        if size < most and len(lower := _best_fit(pieces, size)) <= len(bins):
            return lower
    return bins


def _best_fit(pieces: list[tuple[int, list[int]]], fill: int) -> list[list[int]]:
    """Pieces, the largest first, each in the fullest bin that has room for it."""
    bins: list[list[int]] = []
    used: list[int] = []
    # What is taken of each bin that has room left, ascending; of equal ones the first bin comes last.
    open_: list[tuple[int, int]] = []
    for tokens, piece in pieces:
        at = bisect_right(open_, (fill - tokens, 0)) - 1
        if at >= 0:
            place = -open_.pop(at)[1]
            bins[place] += piece
            used[place] += tokens
        else:
            place = len(bins)
            bins.append(list(piece))
            used.append(tokens)
        if used[place] < fill:
            insort(open_, (used[place], -place))
    return bins


def _pieces(
    sequences: Sequence[npt.NDArray[np.integer[Any]]], pack: PackPart
) -> Iterator[tuple[int, list[int]]]:
    """Runs of sequences in depth-first order that share a prefix and fit a bin, with their tokens."""
    lengths = [len(sequence) for sequence in sequences]
    if not pack.share or not lengths:
        yield from ((length, [index]) for index, length in enumerate(lengths))
        return
    order, shared = sorted_prefixes(sequences)
    new = [lengths[index] - common for index, common in zip(order, shared, strict=True)]
    before = [0, *accumulate(new)]

    def halves(start: int, end: int) -> Iterator[tuple[int, list[int]]]:
        tokens = before[end] - before[start] + shared[start]
        if tokens <= pack.tokens or end - start == 1:
            yield tokens, order[start:end]
            return
        middle = start + (end - start) // 2
        yield from halves(start, middle)
        yield from halves(middle, end)

    starts = [place for place, common in enumerate(shared) if common < _WORTH_SHARING]
    for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
        yield from halves(start, end)
