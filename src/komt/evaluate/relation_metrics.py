"""Choices among relations: micro F1 without one label, and the area under precision and recall (KLUE RE)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from komt.errors import DataError
from komt.evaluate.counts import count_parts, micro_f
from komt.evaluate.intervals import Floats, Statistic
from komt.evaluate.metrics import ACCURACY, Score
from komt.example import Example


class MicroF1:
    """F1 of all labels together but the one that means "none of them" (관계 없음), which is right or wrong
    for free.

    That label is `none` among what the task keeps for its metrics.
    """

    def score(self, answer: str, example: Example) -> Score:
        """Whether the answer is the right choice; parts: counts without that label.

        Raises:
            DataError: the example has no choices, or the task does not say which one means none.
        """
        none = example.metadata.get("gold", {}).get("none")
        if none is None:
            raise DataError(
                "micro_f1 leaves out the choice that means none, and does not know it",
                where=f"example {example.id}",
                cure=f"let the task '{example.task}' derive `none`, its word, and say `gold: [none]`",
            )
        found = ACCURACY.score(answer, example)
        given, right = found.chosen not in ("", none), found.expected != none
        hit = given and right and bool(found.value)
        parts = count_parts({0: int(given)}, {0: int(right)}, {0: int(hit)})
        return Score(found.value, found.expected, found.chosen, parts)

    def statistic(self, scores: Sequence[Score]) -> Statistic:
        """F1 of the summed counts."""
        return micro_f(scores)


class AreaUnderPrecisionRecall:
    """The mean over labels of the area under the curve of precision over recall, from the choices'
    probabilities.

    It needs log-likelihoods of the choices (`score_choices`); an answer that is only a text is unscored.
    """

    def score(self, answer: str, example: Example) -> Score:
        """Unscored: a text tells no probabilities."""
        ACCURACY.score(answer, example)  # the same errors where there are no choices
        return Score(None)

    def score_choices(self, loglikelihoods: Sequence[float], example: Example) -> Score:
        """The right choice's probability among the choices; parts: its place, then all probabilities.

        Args:
            loglikelihoods: of the choices, in their order.
            example: whose choices, sorted, are the same in all examples of the task.
        """
        top = max(loglikelihoods)
        weights = [math.exp(one - top) for one in loglikelihoods]
        order = sorted(range(len(weights)), key=lambda at: example.choices[at])
        shares = [weights[at] / sum(weights) for at in order]
        right = order.index(example.answer_index or 0)
        chosen = example.choices[int(np.argmax(loglikelihoods))]
        expected = example.choices[example.answer_index or 0]
        return Score(shares[right], expected, chosen, (right, *shares))

    def statistic(self, scores: Sequence[Score]) -> Statistic:
        """The mean area over the labels that are right somewhere, by trapezoids as scikit-learn has it."""
        table = np.array([score.parts for score in scores], np.float64)
        right, shares = table[:, 0].astype(int), table[:, 1:]
        labels = sorted(set(right.tolist()))

        def statistic(weights: Floats) -> Floats:
            areas = np.stack([_area(weights, right == label, shares[:, label]) for label in labels], 1)
            occurs = np.stack([weights[:, right == label].sum(1) > 0 for label in labels], 1)
            means: Floats = np.where(occurs, areas, 0).sum(1) / occurs.sum(1)
            return means

        return statistic


def _area(weights: Floats, is_right: Floats, shares: Floats) -> Floats:
    """The area for one label in each resample: thresholds are the distinct probabilities, high ones first."""
    order = np.argsort(-shares, kind="stable")
    last = np.append(np.diff(shares[order]) != 0, True)
    drawn = weights[:, order]
    hits = np.cumsum(drawn * is_right[order], 1)[:, last]
    given = np.cumsum(drawn, 1)[:, last]
    total = np.maximum(hits[:, -1:], 1e-300)
    precision = np.divide(hits, given, out=np.ones_like(hits), where=given > 0)
    start = np.ones((len(weights), 1))
    precision = np.concatenate([start, precision], 1)
    recall = np.concatenate([0 * start, hits / total], 1)
    area: Floats = ((precision[:, 1:] + precision[:, :-1]) / 2 * np.diff(recall, axis=1)).sum(1)
    return area


MICRO_F1, AUPRC = MicroF1(), AreaUnderPrecisionRecall()
