"""Which examples each optimiser step holds, and how they fall into bins: fixed by the seed alone."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from komt.pack.bins import fill_bins
from komt.pack.encode import TokenSequence
from komt.pack.trie import trie_tokens
from komt.recipe import PackPart, TrainPart


@dataclass(frozen=True, slots=True)
class Step:
    """One optimiser step.

    Attributes:
        bins: indices of the sequences that each forward pass holds.
        weight: sum of target weights over all bins, by which the loss is divided.
        tokens: tokens of the bins as packed; flat_tokens: of the sequences one by one.
        bin_tokens: of each bin as packed, where it was counted.
    """

    bins: tuple[tuple[int, ...], ...]
    weight: float
    tokens: int
    flat_tokens: int
    bin_tokens: tuple[int, ...] = ()

    @property
    def sequences(self) -> tuple[int, ...]:
        """All indices of the step."""
        return tuple(index for members in self.bins for index in members)


def plan_steps(
    sequences: Sequence[TokenSequence], pack: PackPart, train: TrainPart, seed: int, fill: int = 0
) -> list[Step]:
    """The whole training as a list of steps.

    A step holds about `step_tokens` tokens counted unshared (or `step_examples` sequences), so that sharing,
    bin size and accumulation change nothing but speed. Each epoch is shuffled by (seed, epoch); a fraction
    of an epoch is the first part of it. Bins are filled as `fill_bins` does; an indivisible passage may
    exceed `fill`.
    """
    steps: list[Step] = []
    whole, part = int(train.epochs), train.epochs - int(train.epochs)
    sizes = np.array([1 if train.step_examples else len(sequence) for sequence in sequences])
    budget = train.step_examples or train.step_tokens
    for epoch in range(whole + (part > 0)):
        planned = _plan_epoch(sequences, sizes, budget, pack, fill, np.random.default_rng((seed, epoch)))
        steps += planned if epoch < whole else planned[: max(1, round(part * len(planned)))]
    return steps


def _plan_epoch(
    sequences: Sequence[TokenSequence],
    sizes: npt.NDArray[np.int64],
    budget: int,
    pack: PackPart,
    fill: int,
    random: np.random.Generator,
) -> list[Step]:
    chunks = _chunks(sequences, sizes, budget, pack.max_share, random)
    weights = [int(sizes[chunk].sum()) for chunk in chunks]
    count = min(max(1, round(int(sizes.sum()) / budget)), len(chunks))
    members: list[list[list[int]]] = [[] for _ in range(count)]
    filled, groups = [0] * count, [set[str]() for _ in range(count)]
    heap = [(0, step) for step in range(count)]
    for place in random.permutation(len(chunks)):
        chunk, key = chunks[place], _key(sequences[chunks[place][0]])
        step = _emptiest(heap, groups, key)
        members[step].append(chunk)
        groups[step].add(key)
        filled[step] += weights[place]
        heapq.heappush(heap, (filled[step], step))
    return [_step(sequences, [i for chunk in chunks for i in chunk], pack, fill) for chunks in members]


def _emptiest(heap: list[tuple[int, int]], groups: list[set[str]], key: str) -> int:
    """Take the emptiest step off the heap; one that already holds this passage only if all do (max_share)."""
    passed = []
    while heap and key in groups[heap[0][1]]:
        passed.append(heapq.heappop(heap))
    taken = heapq.heappop(heap) if heap else passed.pop(0)
    for entry in passed:
        heapq.heappush(heap, entry)
    return taken[1]


def _key(sequence: TokenSequence) -> str:
    """What must stay together to share: the passage, else the turns of one example."""
    return sequence.group or sequence.example


def _chunks(
    sequences: Sequence[TokenSequence],
    sizes: npt.NDArray[np.int64],
    budget: int,
    max_share: int,
    random: np.random.Generator,
) -> list[list[int]]:
    """Sequences of one passage in random order, at most `max_share` and about a step's budget together."""
    groups: dict[str, list[int]] = defaultdict(list)
    for index, sequence in enumerate(sequences):
        groups[_key(sequence)].append(index)
    chunks: list[list[int]] = []
    for group in groups.values():
        members = [group[i] for i in random.permutation(len(group))]
        most = max(1, min(max_share, budget // int(sizes[members].max())))
        # Even parts: 13 examples at most 12 are 7 + 6, not 12 + 1.
        parts = -(-len(members) // most)
        chunks += [members[i::parts] for i in range(parts)]
    return chunks


def _step(sequences: Sequence[TokenSequence], members: list[int], pack: PackPart, fill: int) -> Step:
    members = sorted(members)
    ids = [sequences[index].ids for index in members]
    bins = fill_bins(ids, pack, fill)
    held = [[ids[place] for place in places] for places in bins]
    bin_tokens = packed_tokens(held, share=pack.share)
    return Step(
        bins=tuple(tuple(members[place] for place in places) for places in bins),
        weight=float(sum(sequences[i].weights[1:].sum() for i in members)),
        tokens=sum(bin_tokens),
        flat_tokens=sum(map(len, ids)),
        bin_tokens=bin_tokens,
    )


def packed_tokens(bins: Iterable[Sequence[npt.NDArray[np.integer[Any]]]], *, share: bool) -> tuple[int, ...]:
    """Tokens of each bin as packed."""
    return tuple(trie_tokens(held) if share else sum(map(len, held)) for held in bins)
