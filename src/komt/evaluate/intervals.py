"""95 % intervals by the bootstrap over examples (Efron's percentile method)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
# From weights (R, n), how often each example was drawn in each resample, to the statistic of each, (R,).
Statistic = Callable[[Floats], Floats]

RESAMPLES = 2000
_FEWEST_GROUPS = 10
# That five of five lean to one side happens by chance more often than once in twenty (2 · 0.5⁵).
_FEWEST_TO_DIFFER = 6
# Weights held at a time; the result does not depend on it.
_BLOCK_ELEMENTS = 1 << 22


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95 % interval over n examples."""

    value: float
    low: float
    high: float
    n: int


def bootstrap(
    statistic: Statistic, n: int, *, seed: int = 0, groups: Sequence[str] | None = None
) -> Estimate:
    """A statistic of n examples and its interval over 2,000 seeded resamples.

    Examples of one group (questions over one passage) are drawn together: they are easy or hard together, and
    drawing them one by one would give intervals that are too narrow (cluster bootstrap). Fewer than ten
    groups say too little about how groups differ: then examples are drawn one by one.

    Equal groups and seed draw the same resamples: a statistic that subtracts two models' values on the
    same examples is the paired bootstrap.

    Raises:
        ValueError: no examples.
    """
    found = [statistic(weights) for weights in resamples(n, seed=seed, groups=groups)]
    low, high = np.quantile(np.concatenate(found), (0.025, 0.975))
    return Estimate(float(statistic(np.ones((1, n)))[0]), float(low), float(high), n)


def resamples(n: int, *, seed: int = 0, groups: Sequence[str] | None = None) -> Iterator[Floats]:
    """The 2,000 resamples of `bootstrap`, in blocks (R, n) of how often each example was drawn.

    Raises:
        ValueError: no examples.
    """
    if n < 1:
        raise ValueError("no examples to draw from")
    group = np.arange(n)
    if groups is not None and len(set(groups)) >= _FEWEST_GROUPS:
        _, group = np.unique(np.asarray(groups), return_inverse=True)
    size = int(group.max()) + 1
    random = np.random.default_rng(seed)
    block = max(1, _BLOCK_ELEMENTS // n)
    for start in range(0, RESAMPLES, block):
        count = min(block, RESAMPLES - start)
        draws = random.integers(0, size, (count, size)) + np.arange(count)[:, None] * size
        weights = np.bincount(draws.ravel(), minlength=count * size).reshape(count, size)
        yield weights[:, group].astype(np.float64)


def paired_bootstrap(
    statistic: Statistic, other: Statistic, n: int, *, seed: int = 0, groups: Sequence[str] | None = None
) -> Estimate:
    """The difference of two statistics over the same n examples, resampled together."""
    return bootstrap(lambda weights: statistic(weights) - other(weights), n, seed=seed, groups=groups)


def differs(low: float, high: float, n: int) -> bool:
    """Whether a difference of n examples shows: its interval leaves out zero, and they are enough to tell.

    Resamples of a few examples that all lean to one side lean so, too, however few they are.
    """
    return n >= _FEWEST_TO_DIFFER and not low <= 0 <= high


def mean_of(values: npt.ArrayLike) -> Statistic:
    """The mean of per-example values as a statistic."""
    column = np.asarray(values, dtype=np.float64)

    def statistic(weights: Floats) -> Floats:
        means: Floats = weights @ column / weights.sum(1)
        return means

    return statistic
