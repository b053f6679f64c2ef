"""What sways a judge besides the answer: its place and its length, measured with 95 % intervals.

    position_bias([(question, verdict_in_order_ab, verdict_in_order_ba), …])
    length_bias_of_scores([(question, model, characters, score), …])
    length_bias_of_verdicts([(question, model, other, characters, other_characters, verdict), …])

Verdicts are "a" (the first-named model won), "b", "tie" or None, and always speak of the model, not of the
place that its answer was shown in. Resamples draw whole questions. All return None where there is nothing
to measure.

A slope says what goes with length, not what length causes: a longer answer may hold more. Models' own
levels are taken out, so that a strong model that writes much does not look like a bias, and so are the
questions'.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from komt.evaluate.intervals import Estimate, Floats, Statistic, bootstrap, mean_of

_WINS = {"a": 1.0, "tie": 0.5, "b": 0.0}
_SWEEPS = 200


@dataclass(frozen=True, slots=True)
class PositionBias:
    """What the order of two answers does to the verdict.

    Attributes:
        value, low, high: share of the pairs whose verdict changes with the order, 0 to 1.
        n: pairs with a readable verdict in both orders.
        reversed: share of them where the other model wins; the rest of `value` are ties in one order only.
        first: share of the verdicts for one model that went to the answer shown first; 0.5 is no bias, None
            where all verdicts are ties.
        unread: pairs without a readable verdict in one order or both.
    """

    value: float
    low: float
    high: float
    n: int
    reversed: float
    first: Estimate | None
    unread: int


@dataclass(frozen=True, slots=True)
class LengthBias:
    """What goes with an answer that is twice as long.

    Attributes:
        value, low, high: points of score, or share of wins (0.1: ten more wins in a hundred), for each
            doubling.
        n: scores or verdicts.
        longer: of the verdicts for one model the share that the longer answer won; None for scores.
    """

    value: float
    low: float
    high: float
    n: int
    longer: Estimate | None = None


def position_bias(
    pairs: Sequence[tuple[str, str | None, str | None]], *, seed: int = 0
) -> PositionBias | None:
    """Share of verdicts that change with the order; None where no pair was read in both orders.

    Args:
        pairs: question, verdict with the named model's answer first, verdict with the other's first.
        seed: of the resamples.
    """
    both = [(q, ab, ba) for q, ab, ba in pairs if ab is not None and ba is not None]
    if not both:
        return None
    changed = [float(ab != ba) for _, ab, ba in both]
    found = bootstrap(mean_of(changed), len(both), seed=seed, groups=[question for question, *_ in both])
    decided = [(q, float(ab == "a")) for q, ab, _ in both if ab != "tie"]
    decided += [(q, float(ba == "b")) for q, _, ba in both if ba != "tie"]
    opposite = sum({ab, ba} == {"a", "b"} for _, ab, ba in both) / len(both)
    unread = len(pairs) - len(both)
    return PositionBias(found.value, found.low, found.high, found.n, opposite, _share(decided, seed), unread)


def length_bias_of_scores(
    rows: Sequence[tuple[str, str, int, float | None]], *, seed: int = 0
) -> LengthBias | None:
    """Slope of the score on log2 of the length, within questions and models (two-way fixed effects).

    Args:
        rows: question (with its turn, where there are several: `math-01/2`), model, length of the answer in
            characters, score.
        seed: of the resamples.

    Returns:
        None where lengths do not vary once questions' and models' own levels are taken out: with one model
        only there is nothing to compare an answer's length with.
    """
    read = [(question, model, length, score) for question, model, length, score in rows if score is not None]
    if not read:
        return None
    questions, models = [row[0] for row in read], [row[1] for row in read]
    columns = np.array([(np.log2(1 + length), score) for *_, length, score in read])
    found = _slope(_residuals(columns, questions, models), questions, seed)
    return LengthBias(found.value, found.low, found.high, len(read)) if found else None


def length_bias_of_verdicts(
    rows: Sequence[tuple[str, str, str, int, int, str | None]], *, seed: int = 0
) -> LengthBias | None:
    """Slope of a win (1, tie 0.5, loss 0) on log2 of the ratio of lengths, within each two models.

    Args:
        rows: question, model, other, length of the model's answer in characters, of the other's, verdict.
        seed: of the resamples.

    Returns:
        None where the ratio of lengths does not vary within any two models.
    """
    read = [row for row in rows if row[5] is not None]
    if not read:
        return None
    questions = [row[0] for row in read]
    columns = np.array(
        [(np.log2((1 + long) / (1 + other)), _WINS[verdict or "tie"]) for *_, long, other, verdict in read]
    )
    # Named the other way round it is the same pair.
    turned = np.array([row[1] > row[2] for row in read])
    columns[turned] = columns[turned] * (-1, -1) + (0, 1)
    pairs = [tuple(sorted(row[1:3])) for row in read]
    found = _slope(_residuals(columns, pairs), questions, seed)
    decided = [
        (question, float((long > other) == (verdict == "a")))
        for question, _, _, long, other, verdict in read
        if long != other and verdict != "tie"
    ]
    return LengthBias(found.value, found.low, found.high, len(read), _share(decided, seed)) if found else None


def _share(values: Sequence[tuple[str, float]], seed: int) -> Estimate | None:
    if not values:
        return None
    questions = [question for question, _ in values]
    return bootstrap(mean_of([value for _, value in values]), len(values), seed=seed, groups=questions)


def _residuals(columns: Floats, *levels: Sequence[Hashable]) -> Floats:
    """Columns (n, 2) less the means of each kind of level, in turn until nothing is left to take out."""
    left = columns.astype(np.float64)
    codes = []
    for level in levels:
        numbers = {name: number for number, name in enumerate(dict.fromkeys(level))}
        codes.append(np.array([numbers[name] for name in level]))
    for _ in range(_SWEEPS):
        before = left.copy()
        for code in codes:
            counts = np.bincount(code)
            for column in range(left.shape[1]):
                left[:, column] -= (np.bincount(code, left[:, column]) / counts)[code]
        if np.allclose(before, left, rtol=0, atol=1e-10):
            break
    return left


def _slope(residuals: Floats, questions: Sequence[str], seed: int) -> Estimate | None:
    """Least squares through the origin, with its interval over resampled questions."""
    names = {name: number for number, name in enumerate(dict.fromkeys(questions))}
    code = np.array([names[name] for name in questions])
    x, y = residuals.T
    products = np.bincount(code, x * y).astype(np.float64)
    squares = np.bincount(code, x * x).astype(np.float64)
    some = squares > 1e-12
    if not some.any():
        return None
    return bootstrap(_ratio(products[some], squares[some]), int(some.sum()), seed=seed)


def _ratio(above: Floats, below: Floats) -> Statistic:
    def statistic(weights: Floats) -> Floats:
        ratios: Floats = weights @ above / (weights @ below)
        return ratios

    return statistic
