"""What judges' scores say: means, differences of two models, spread over repeated judging.

A *mark* is what a judge gave once: `(question, turn, score)`, with None for a reply that could not be read.
The same question and turn may come several times (repeated judging, several judges). A model's marks are a
sequence:

    marks = [("math-01", 0, 8.0), ("math-01", 1, 6.5), ("math-02", 0, None)]
    mean_score(marks)                   # MeanScore(value, low, high, n, unscored)
    paired_difference(marks, others)    # Difference(value, low, high, n, left_out)
    spread(marks)                       # Spread(value, low, high, n, …), or None where nothing was repeated

Intervals are 95 %. Repeats of a turn are averaged, then the turns of a question: every question counts
once. Resamples draw whole questions, since turns and repeats of one are easy or hard together. Unscored
marks are counted, never taken as 0.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from komt.evaluate.intervals import Floats, bootstrap, differs, mean_of

Mark = tuple[str, int, float | None]
Cell = tuple[str, int]


@dataclass(frozen=True, slots=True)
class MeanScore:
    """A model's mean score on the rubric's own scale.

    Attributes:
        value: mean over questions, None where nothing was scored; low, high: its 95 % interval.
        n: questions with a score.
        unscored: marks without one.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    unscored: int


@dataclass(frozen=True, slots=True)
class Difference:
    """The mean of the second model's scores less the first's, over what both were scored on.

    Attributes:
        value, low, high: None where they share nothing.
        n: questions that both have.
        left_out: turns that only one of them has a score for.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    left_out: int

    @property
    def significant(self) -> bool:
        """Whether a difference shows, see `differs`."""
        return self.low is not None and self.high is not None and differs(self.low, self.high, self.n)


@dataclass(frozen=True, slots=True)
class Spread:
    """How much the same judge's scores of the same answer vary.

    Attributes:
        value: standard deviation of one score about the mean of its repeats, in points, pooled.
        n: turns that were scored at least twice.
        agreeing: share of them whose repeats are all equal.
        largest: the largest difference between two repeats of one turn, in points.
    """

    value: float
    low: float
    high: float
    n: int
    agreeing: float
    largest: float


def cells(marks: Sequence[Mark]) -> dict[Cell, list[float]]:
    """The scores of each (question, turn), without the unscored."""
    found: defaultdict[Cell, list[float]] = defaultdict(list)
    for question, turn, score in marks:
        if score is not None:
            found[question, turn].append(score)
    return dict(found)


def question_means(values: Mapping[Cell, float]) -> dict[str, float]:
    """From a value for each (question, turn) the mean of each question, in the order of their names."""
    turns: defaultdict[str, list[float]] = defaultdict(list)
    for (question, _), value in values.items():
        turns[question].append(value)
    return {question: float(np.mean(turns[question])) for question in sorted(turns)}


def mean_score(marks: Sequence[Mark], *, seed: int = 0) -> MeanScore:
    """The mean score with its interval over resampled questions."""
    means = question_means({cell: float(np.mean(scores)) for cell, scores in cells(marks).items()})
    unscored = sum(score is None for *_, score in marks)
    if not means:
        return MeanScore(None, None, None, 0, unscored)
    found = bootstrap(mean_of(list(means.values())), len(means), seed=seed)
    return MeanScore(found.value, found.low, found.high, found.n, unscored)


def question_differences(first: Sequence[Mark], second: Sequence[Mark]) -> dict[str, float]:
    """Second less first on each question, over the turns that both were scored on."""
    one, other = cells(first), cells(second)
    shared = one.keys() & other.keys()
    return question_means({cell: float(np.mean(other[cell]) - np.mean(one[cell])) for cell in shared})


def paired_difference(first: Sequence[Mark], second: Sequence[Mark], *, seed: int = 0) -> Difference:
    """How much better the second model is than the first on the same questions (paired bootstrap)."""
    left_out = len(cells(first).keys() ^ cells(second).keys())
    differences = question_differences(first, second)
    if not differences:
        return Difference(None, None, None, 0, left_out)
    found = bootstrap(mean_of(list(differences.values())), len(differences), seed=seed)
    return Difference(found.value, found.low, found.high, found.n, left_out)


def spread(marks: Sequence[Mark], *, seed: int = 0) -> Spread | None:
    """How much repeated judging of one answer varies; None where no turn was scored twice.

    The marks are one model's by one judge. The pooled standard deviation is the root of the squared
    distances from the means of the turns over their degrees of freedom.
    """
    repeated = {cell: np.asarray(scores) for cell, scores in cells(marks).items() if len(scores) > 1}
    if not repeated:
        return None
    sums: defaultdict[str, Floats] = defaultdict(lambda: np.zeros(2))
    for (question, _), scores in repeated.items():
        sums[question] += (((scores - scores.mean()) ** 2).sum(), len(scores) - 1)
    table = np.array([sums[question] for question in sorted(sums)])

    def pooled(weights: Floats) -> Floats:
        squares, freedom = (weights @ table).T
        deviations: Floats = np.sqrt(squares / freedom)
        return deviations

    found = bootstrap(pooled, len(table), seed=seed)
    ranges = np.array([scores.max() - scores.min() for scores in repeated.values()])
    return Spread(
        found.value, found.low, found.high, len(ranges), float((ranges == 0).mean()), float(ranges.max())
    )
