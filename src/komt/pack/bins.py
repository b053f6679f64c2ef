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


def fill_bins(
    sequences: Sequence[npt.NDArray[np.integer[Any]]], pack: PackPart, fill: int = 0
) -> list[list[int]]:
    """Sequences, by index, in bins: best fit of the pieces that share a prefix, the largest first.

    Args:
        sequences: token ids.
        pack: what a bin may hold, and whether prefixes are shared. A longer sequence stands alone.
        fill: up to how many tokens pieces are put together; default: as many as a bin may hold.
    """
    fill = min(fill or pack.tokens, pack.tokens)
    bins: list[list[int]] = []
    used: list[int] = []
    # What is taken of each bin that has room left, ascending; of equal ones the first bin comes last.
    open_: list[tuple[int, int]] = []
    for tokens, piece in sorted(_pieces(sequences, pack), key=lambda piece: (-piece[0], piece[1])):
        at = bisect_right(open_, (fill - tokens, 0)) - 1
        if at >= 0:
            place = -open_.pop(at)[1]
            bins[place] += piece
            used[place] += tokens
        else:
            place = len(bins)
            bins.append(piece)
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
