"""Metrics of a number on a scale: Pearson's correlation, and F1 of what lies above a threshold (KLUE STS)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from komt.evaluate.intervals import Floats, Statistic
from komt.evaluate.metrics import Score
from komt.example import Example

_NUMBER = r"\d+(?:\.\d+)?"
# What belongs to the scale and not to the answer: 5점 만점에, /5, (0~5), 0.0점부터 5.0점까지.
_SCALE = re.compile(
    rf"{_NUMBER}\s*점?\s*만점(?:에서|에|으로|의|기준)?|/\s*{_NUMBER}\s*점?|{_NUMBER}\s*점?\s*(?:[~∼～–]|부터|에서)\s*{_NUMBER}\s*점?(?:까지|\s*(?:사이|중))?"
)
_FOUND = re.compile(rf"(?<![\d.A-Za-z])-?{_NUMBER}(?![\d.]*\d|[A-Za-z])")


def read_number(answer: str, low: float, high: float) -> float | None:
    """The number that an answer gives, or None: no number, several, or one off the scale.

    The first line with a number counts. 4.3, 4.3점, 점수: **4.3**, 4.3/5.0, ４．３ and 5점 만점에 4.3점 are
    read alike; a line with two different numbers is not read.
    """
    for line in unicodedata.normalize("NFKC", answer).splitlines():
        found = {float(number) for number in _FOUND.findall(_SCALE.sub(" ", line))}
        if found:
            number = found.pop()
            return number if not found and low <= number <= high else None
    return None


@dataclass(frozen=True, slots=True)
class OnScale:
    """Agreement of numbers; an answer that is no number on the scale is unscored.

    The right number is `real_score` among what the task keeps for its metrics, or else the reference.

    Attributes:
        low, high: the ends of the scale.
        threshold: F1 of the numbers that are at least this; None: Pearson's correlation.
    """

    low: float = 0.0
    high: float = 5.0
    threshold: float | None = None

    def score(self, answer: str, example: Example) -> Score:
        """How near the number is, 1 for equal and 0 for the far end; parts: it and the right one."""
        given, right = read_number(answer, self.low, self.high), self._right(example)
        if given is None or right is None:
            return Score(None)
        if self.threshold is not None:
            same = (given >= self.threshold) == (right >= self.threshold)
            return Score(float(same), parts=(given, right))
        return Score(1 - abs(given - right) / (self.high - self.low), parts=(given, right))

    def _right(self, example: Example) -> float | None:
        kept = example.metadata.get("gold", {}).get("real_score")
        text = str(kept) if kept is not None else example.references[0] if example.references else ""
        return read_number(text, self.low, self.high)

    def statistic(self, scores: Sequence[Score]) -> Statistic:
        """Pearson's correlation, or F1 of the class at or above the threshold."""
        pairs = np.array([score.parts or (0.0, 0.0) for score in scores], np.float64)
        if self.threshold is None:
            return _pearson(pairs - pairs.mean(0))
        above = pairs >= self.threshold
        hits, totals = above.all(1).astype(np.float64), above.sum(1).astype(np.float64)

        def statistic(weights: Floats) -> Floats:
            total = weights @ totals
            f1s: Floats = np.divide(2 * (weights @ hits), total, out=np.ones(len(total)), where=total > 0)
            return f1s

        return statistic


def _pearson(pairs: Floats) -> Statistic:
    """Pearson's correlation of centred pairs; 0 where either is constant, of which none is defined."""
    products = np.stack([pairs[:, 0] * pairs[:, 1], pairs[:, 0] ** 2, pairs[:, 1] ** 2], 1)

    def statistic(weights: Floats) -> Floats:
        size = weights.sum(1, keepdims=True)
        means, seconds = weights @ pairs / size, weights @ products / size
        both = seconds[:, 0] - means[:, 0] * means[:, 1]
        spread = np.clip(seconds[:, 1:] - means**2, 0, None)
        scale = np.sqrt(spread.prod(1))
        defined = (spread > 1e-12).all(1)
        found: Floats = np.divide(both, scale, out=np.zeros(len(both)), where=defined)
        return np.clip(found, -1, 1)

    return statistic


PEARSON, F1_AT_3 = OnScale(), OnScale(threshold=3.0)
