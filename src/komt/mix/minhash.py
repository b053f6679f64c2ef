"""Near-duplicates: MinHash over character shingles, bands (LSH), every pair verified by its true similarity.

Sources: Broder 1997 (resemblance of documents); Leskovec, Rajaraman and Ullman, Mining of Massive Datasets,
chapter 3 (banding). Results depend on the rows and their ranks alone, not on how rows are divided or ordered.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from komt.mix.duplicates import Hashes, mixed

T = TypeVar("T")
Ints = npt.NDArray[np.int64]

BANDS = 12
# Share of the pairs exactly at the threshold that the bands bring together.
_RECALL = 0.97
_SEED = 0x6B6F6D74
_BLOCK_SHINGLES = 1 << 15
_BATCH_ROWS = 20_000
_MOST_SETS = 10_000
# A row is compared with this many of the rows that share most bands with it: keeps crowded bands affordable.
_MOST_COMPARED = 200


def rows_per_band(similarity: float) -> int:
    """How many minima make a band, so that of 100 pairs at the threshold 97 share at least one."""
    if similarity >= 1:
        return 16
    one_band = 1 - (1 - _RECALL) ** (1 / BANDS)
    return max(1, int(math.log(one_band) / math.log(similarity)))


def band_hashes(
    forms: Sequence[str], scopes: Hashes, *, similarity: float = 0.8, shingle: int = 3
) -> npt.NDArray[np.uint64]:
    """Hashes of the bands of each text, [texts, BANDS]; texts that share one are candidates.

    Args:
        forms: texts in normal form (`duplicates.normal_form`).
        scopes: a hash by text; only texts of one scope are ever compared.
        similarity: Jaccard similarity of the sets of shingles from which texts are alike.
        shingle: length of a shingle in characters. Texts that are shorter have no near-duplicates: zeros.
    """
    bands = np.zeros((len(forms), BANDS), np.uint64)
    lengths = np.fromiter(map(len, forms), np.int64, len(forms))
    rows = np.flatnonzero(lengths >= shingle)
    factors = _factors(BANDS * rows_per_band(similarity))
    for block in _blocks(rows, lengths):
        tokens, starts = _shingles([forms[row] for row in block], lengths[block], shingle)
        bands[block] = _bands_of(tokens, starts, scopes[block], factors)
    return bands


def near_duplicates(
    bands: npt.NDArray[np.uint64],
    fetch: Callable[[Sequence[int]], Sequence[str]],
    *,
    rank: Ints | None = None,
    similarity: float = 0.8,
    shingle: int = 3,
) -> dict[int, int]:
    """Rows that are too much like a row that is kept, with that row.

    Rows are taken by rank. A row is dropped when the Jaccard similarity with a row kept before reaches the
    threshold, so every pair in the answer is verified, and the smallest rank of any such pair is kept.

    Args:
        bands: `band_hashes` of all rows.
        fetch: gives the normal forms of some rows, in the order asked.
        rank: each row's place in the order of ids; default: its place in `bands`.
        similarity: as for `band_hashes`.
        shingle: as for `band_hashes`.
    """
    shared = _shared(bands)
    order = np.arange(len(bands)) if rank is None else rank
    component = _components(shared)
    by_rank = np.lexsort((order[shared.rows], component))
    dropped: dict[int, int] = {}
    for batch in _batches(by_rank, component):
        rows = shared.rows[batch].tolist()
        dropped |= _drop_alike(rows, shared.runs[batch].tolist(), fetch(rows), similarity, shingle)
    return dropped


def jaccard(one: set[T], other: set[T]) -> float:
    """Size of the intersection over that of the union; 0 where both are empty."""
    both = len(one & other)
    return both / (len(one) + len(other) - both) if both else 0.0


@dataclass(frozen=True)
class _Shared:
    """The rows that share a band with another: their numbers, and the run each is in, by band (-1: none)."""

    rows: Ints
    runs: npt.NDArray[np.int32]


def _shared(bands: npt.NDArray[np.uint64]) -> _Shared:
    found: list[tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]] = []
    member = np.zeros(len(bands), bool)
    count = 0
    for column in bands.T:
        order = np.argsort(column).astype(np.int32)
        ordered = column[order]
        same = (ordered[1:] == ordered[:-1]) & (ordered[1:] != 0)
        inside = np.zeros(len(order), bool)
        inside[1:] |= same
        inside[:-1] |= same
        first = inside.copy()
        first[1:] &= ~same
        runs = (np.cumsum(first) - 1)[inside] + count
        count += int(first.sum())
        found.append((order[inside], runs.astype(np.int32)))
        member[order[inside]] = True
    rows = np.flatnonzero(member)
    place = np.cumsum(member) - 1
    matrix = np.full((len(rows), bands.shape[1]), -1, np.int32)
    for band, (members, runs) in enumerate(found):
        matrix[place[members], band] = runs
    return _Shared(rows, matrix)


def _components(shared: _Shared) -> Ints:
    """A number for each set of rows that are linked by runs: no row of one can be like a row of another."""
    label = np.arange(len(shared.rows))
    least = np.empty(int(shared.runs.max(initial=-1)) + 1, np.int64)
    while True:
        before = label.copy()
        for column in shared.runs.T:
            inside = column >= 0
            least[column[inside]] = len(label)
            np.minimum.at(least, column[inside], label[inside])
            label[inside] = np.minimum(label[inside], least[column[inside]])
        label = label[label]
        if np.array_equal(label, before):
            return label


def _batches(by_rank: Ints, component: Ints) -> Iterator[Ints]:
    """Whole components, several at once, each in the order of rank."""
    ends = np.append(np.flatnonzero(np.diff(component[by_rank])) + 1, len(by_rank))
    start = 0
    for at, end in enumerate(ends.tolist()):
        if at + 1 == len(ends) or int(ends[at + 1]) - start > _BATCH_ROWS:
            if end > start:
                yield by_rank[start:end]
            start = end


def _drop_alike(
    rows: list[int], runs: list[list[int]], forms: Sequence[str], similarity: float, shingle: int
) -> dict[int, int]:
    """Rows of a batch, in the order of rank, that are like a row before them which is kept."""
    dropped: dict[int, int] = {}
    kept: dict[int, list[int]] = {}
    equal: dict[tuple[int, str], int] = {}
    lengths = np.fromiter(map(len, forms), np.int64, len(forms))
    tokens, starts = _shingles(forms, lengths, shingle)
    ends = starts + lengths - shingle + 1
    sets: dict[int, set[int]] = {}

    def alike(one: int, other: int) -> bool:
        for place in (one, other):
            if place not in sets:
                # Shingles by their 64-bit hashes: as good as the shingles, and faster to make.
                sets[place] = set(tokens[starts[place] : ends[place]].tolist())
        sizes = len(sets[one]), len(sets[other])
        return min(sizes) >= similarity * max(sizes) and jaccard(sets[one], sets[other]) >= similarity

    for place, row in enumerate(rows):
        if len(sets) > _MOST_SETS:
            sets.clear()
        own = [run for run in runs[place] if run >= 0]
        # Equal texts of a scope share every band; of other scopes none.
        same = (own[0], forms[place])
        found = equal.get(same, -1)
        if found < 0:
            found = next((other for other in _candidates(own, kept) if alike(place, other)), -1)
        if found >= 0:
            dropped[row] = rows[found]
        else:
            for run in own:
                kept.setdefault(run, []).append(place)
        equal[same] = found if found >= 0 else place
    return dropped


def _candidates(runs: list[int], kept: dict[int, list[int]]) -> list[int]:
    """Kept rows that share a run, by rank; of very many those that share most."""
    found = {place for run in runs if run in kept for place in kept[run]}
    if len(found) <= _MOST_COMPARED:
        return sorted(found)
    shares = Counter(place for run in runs for place in kept.get(run, ()))
    return sorted(sorted(shares, key=lambda place: (-shares[place], place))[:_MOST_COMPARED])


def _blocks(rows: Ints, lengths: Ints) -> Iterator[Ints]:
    """Rows in blocks whose shingles fit in a processor's cache."""
    if len(rows):
        block = np.cumsum(lengths[rows]) // _BLOCK_SHINGLES
        yield from np.split(rows, np.flatnonzero(np.diff(block)) + 1)


def _shingles(forms: Sequence[str], lengths: Ints, shingle: int) -> tuple[Hashes, Ints]:
    """Hashes of all shingles of some texts, one after another, and where each text's begin."""
    codes = np.frombuffer("".join(forms).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    width = len(codes) - shingle + 1
    tokens = codes[:width].copy()
    for step in range(1, shingle):
        tokens = tokens * np.uint64(0x100000001B3) + codes[step : step + width]
    ends = np.cumsum(lengths)
    inside = np.ones(width, bool)
    for step in range(1, shingle):
        inside[ends[:-1] - step] = False
    counts = lengths - shingle + 1
    return mixed(tokens[inside]), np.cumsum(counts) - counts


def _bands_of(tokens: Hashes, starts: Ints, scopes: Hashes, factors: Hashes) -> npt.NDArray[np.uint64]:
    """The least of the tokens under each permutation (a multiplication by an odd number), hashed by band."""
    product = np.empty_like(tokens)
    bands = np.empty((len(starts), BANDS), np.uint64)
    for band, some in enumerate(factors.reshape(BANDS, -1)):
        value = scopes
        for factor in some:
            np.multiply(tokens, factor, out=product)
            value = mixed(value ^ np.minimum.reduceat(product, starts))
        bands[:, band] = np.maximum(value, np.uint64(1))
    return bands


def _factors(count: int) -> Hashes:
    """Odd numbers for the permutations, the same for ever."""
    steps = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(_SEED)
    factors = mixed(steps)
    factors |= np.uint64(1)
    return factors
