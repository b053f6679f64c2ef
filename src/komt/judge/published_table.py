"""The published komt table: sum, average and percentage of full marks for each model, here with intervals.

    published_table({"komt-mistral-7b-v1": marks, …}, full=5)

`marks` are those of `komt.judge.statistics`; the published files have one turn a question.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from komt.judge.statistics import Mark, mean_score


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with its 95 % interval over n questions."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """A model's row.

    Attributes:
        total: sum of the scores over the questions that were scored.
        average: score a question.
        percentage: 100 × average / full marks. Equal to the published one, sum / (full × questions), where
            every question was scored; the unscored count neither for nor against the model.
        n: questions scored; unscored: replies that could not be read.
    """

    model: str
    total: Figure | None
    average: Figure | None
    percentage: Figure | None
    n: int
    unscored: int


def published_table(
    models: Mapping[str, Sequence[Mark]], *, full: float = 5.0, seed: int = 0
) -> tuple[PublishedRow, ...]:
    """The rows of all models, the best average first, those without any score last.

    Args:
        models: each model's marks.
        full: the highest score of the scale, which starts at 0.
        seed: of the resamples.
    """
    rows = [_row(model, marks, full, seed) for model, marks in models.items()]
    return tuple(
        sorted(rows, key=lambda row: (row.average is None, -row.average.value if row.average else 0))
    )


def _row(model: str, marks: Sequence[Mark], full: float, seed: int) -> PublishedRow:
    mean = mean_score(marks, seed=seed)
    if mean.value is None or mean.low is None or mean.high is None:
        return PublishedRow(model, None, None, None, 0, mean.unscored)
    value, low, high = mean.value, mean.low, mean.high

    def times(factor: float) -> Figure:
        return Figure(value * factor, low * factor, high * factor, mean.n)

    return PublishedRow(model, times(mean.n), times(1), times(100 / full), mean.n, mean.unscored)
