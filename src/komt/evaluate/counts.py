"""Counts as parts of scores, and the F scores that are made of them over any resample.

An example's counts are rows of (class, hits, given, right), flattened: how often the class stood in the
answer (given), in what is right, and in both (hits).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from komt.evaluate.intervals import Floats, Statistic
from komt.evaluate.metrics import Score

_COLUMNS = 4


def count_parts(
    given: Mapping[int, int], right: Mapping[int, int], hits: Mapping[int, int], classes: int = 0
) -> tuple[float, ...]:
    """Counts by class, whole numbers from 0, as `Score.parts`.

    Args:
        given: counts in the answer.
        right: counts in what is right.
        hits: counts in both.
        classes: so many of the first are told even if they are 0.
    """
    parts: list[float] = []
    for name in sorted({*given, *right, *range(classes)}):
        parts += [name, hits.get(name, 0), given.get(name, 0), right.get(name, 0)]
    return tuple(parts)


def match(given: Iterable[Hashable], right: Iterable[Hashable]) -> tuple[int, int, int]:
    """How many items two collections share, and how many each has; an item counts as often as it stands."""
    one, other = Counter(given), Counter(right)
    return (one & other).total(), one.total(), other.total()


def f_score(hits: float, given: float, right: float, beta: float = 1.0) -> float:
    """F-beta of counts: 1 where there was nothing to find and nothing was found, 0 where nothing is right."""
    if not given and not right:
        return 1.0
    return float((1 + beta**2) * hits / (given + beta**2 * right)) if hits else 0.0


def micro_f(scores: Sequence[Score]) -> Statistic:
    """F1 of the counts of all classes and all examples together."""
    totals = _table(scores).sum(1)

    def statistic(weights: Floats) -> Floats:
        return _f(weights @ totals, nothing=1.0)

    return statistic


def macro_f(scores: Sequence[Score], *, nothing: float | None = None) -> Statistic:
    """The mean of the classes' F1.

    Args:
        scores: with counts as parts.
        nothing: F1 of a class that a resample has neither given nor right; None: it is left out.
    """
    table = _table(scores)
    flat = table.reshape(len(table), -1)

    def statistic(weights: Floats) -> Floats:
        counts = (weights @ flat).reshape(-1, *table.shape[1:])
        occurs = counts[:, :, 1] + counts[:, :, 2] > 0
        f1s = _f(counts, nothing=nothing or 0.0)
        if nothing is not None:
            means: Floats = f1s.mean(1)
            return means
        among = occurs.sum(1)
        found: Floats = np.divide(f1s.sum(1), among, out=np.ones(len(among)), where=among > 0)
        return found

    return statistic


def _f(counts: Floats, nothing: float) -> Floats:
    """F1 of (hits, given, right) in the last axis."""
    hits, total = counts[..., 0], counts[..., 1] + counts[..., 2]
    f1s: Floats = np.divide(2 * hits, total, out=np.full(hits.shape, nothing), where=total > 0)
    return f1s


def _table(scores: Sequence[Score]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Hits, given and right of each example and class: (n, classes, 3)."""
    rows = [np.asarray(score.parts or (), np.float64).reshape(-1, _COLUMNS) for score in scores]
    most = max((int(row[:, 0].max()) + 1 for row in rows if len(row)), default=1)
    table = np.zeros((len(scores), most, 3))
    for at, row in enumerate(rows):
        table[at, row[:, 0].astype(int)] = row[:, 1:]
    return table
