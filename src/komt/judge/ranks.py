"""Rank groups in place of ranks: models that the questions cannot tell apart share a rank.

    rank_groups({"base": marks, "tuned": marks, …})    # from scores (marks: see komt.judge.statistics)
    rank_groups_of_pairs(bradley_terry(verdicts))      # from pairwise verdicts

All pairs are tested on the questions they share; Holm's correction keeps the chance of one wrong separation
among all pairs at `level`. A model's rank is a range: `first` is one more than the models that are
separably better, `last` leaves those behind it that are separably worse. `group` is for a table: a new
group begins with the first model that is separable from the best of the group before.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np

from komt.evaluate.intervals import Floats, bootstrap, mean_of
from komt.judge.bradley_terry import Strengths
from komt.judge.statistics import Mark, mean_score, question_differences

LEVEL = 0.05
_FEWEST_RESAMPLES = 10_000
# Resamples for each pair that is tested, so that the smallest p can pass Holm's first, strictest bound.
_RESAMPLES_A_PAIR = 100
_BLOCK = 1 << 22


@dataclass(frozen=True, slots=True)
class Ranked:
    """A model's place: its mean score or strength, the range of its rank, and its group (1 is the best)."""

    model: str
    value: float
    low: float
    high: float
    n: int
    first: int
    last: int
    group: int


@dataclass(frozen=True, slots=True)
class Compared:
    """Two models, the better first, `value` the difference with its interval (not corrected) on n questions.

    Attributes:
        p: probability of a difference as large where there is none.
        adjusted: the same after Holm's correction for all pairs.
        separable: adjusted is at most the level.
    """

    model: str
    other: str
    value: float
    low: float
    high: float
    n: int
    p: float
    adjusted: float
    separable: bool


@dataclass(frozen=True, slots=True)
class Ranking:
    """Models, the best first, and all pairs of them that share a question."""

    rows: tuple[Ranked, ...]
    pairs: tuple[Compared, ...]

    @property
    def separable_neighbours(self) -> int:
        """How many of the `len(rows) - 1` models are separable from the one right below."""
        apart = {(pair.model, pair.other) for pair in self.pairs if pair.separable}
        return sum((one.model, next_.model) in apart for one, next_ in pairwise(self.rows))


def holm(p: Sequence[float]) -> tuple[float, ...]:
    """Values of p adjusted for being several (Holm 1979), in their order."""
    order = sorted(range(len(p)), key=lambda at: p[at])
    adjusted, largest = [0.0] * len(p), 0.0
    for rank, at in enumerate(order):
        largest = max(largest, min(1.0, (len(p) - rank) * p[at]))
        adjusted[at] = largest
    return tuple(adjusted)


def bootstrap_p(differences: Floats, *, resamples: int = _FEWEST_RESAMPLES, seed: int = 0) -> Floats:
    """For each column of differences (n, k) the two-sided p of its mean being 0, as (k,).

    The studentised bootstrap under the null hypothesis (Efron and Tibshirani 1993, ch. 16): how often a
    resample's t about the mean found is as far out as the mean's own. Never less than 2^(1 − n), the p of n
    equal signs: few questions prove little, however alike they are.
    """
    n, k = differences.shape
    mean, error = differences.mean(0), _standard_error(differences.mean(0), (differences**2).mean(0), n)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.abs(mean / error)
    t[mean == 0] = 0
    random = np.random.default_rng(seed)
    beyond = np.zeros(k)
    block = max(1, _BLOCK // max(n, k))
    for start in range(0, resamples, block):
        count = min(block, resamples - start)
        weights = random.multinomial(n, np.full(n, 1 / n), count) / n
        means = weights @ differences
        errors = _standard_error(means, weights @ differences**2, n)
        with np.errstate(divide="ignore", invalid="ignore"):
            drawn = np.abs((means - mean) / errors)
        # A resample of equal differences has no error: far out, unless it lies on the mean itself.
        drawn[np.isclose(means, mean, rtol=1e-12, atol=1e-12)] = 0
        beyond += (drawn >= t).sum(0)
    p: Floats = np.maximum((1 + beyond) / (1 + resamples), 2.0 ** (1 - n))
    p[t == 0] = 1
    return p


def _standard_error(means: Floats, squares: Floats, n: int) -> Floats:
    variance: Floats = squares - means**2
    variance[variance < 1e-12 * np.maximum(squares, 1e-300)] = 0
    return np.sqrt(variance / max(n - 1, 1))


def rank_groups(models: Mapping[str, Sequence[Mark]], *, level: float = LEVEL, seed: int = 0) -> Ranking:
    """The models by mean score, with the ranges of their ranks; models without any score are left out."""
    scores = {model: mean_score(marks, seed=seed) for model, marks in models.items()}
    places = [
        (name, s.value, s.low, s.high, s.n)
        for name, s in scores.items()
        if s.value is not None and s.low is not None and s.high is not None
    ]
    places.sort(key=lambda place: -place[1])
    names = [name for name, *_ in places]
    differences = {
        pair: np.array(list(question_differences(models[pair[1]], models[pair[0]]).values()))
        for pair in combinations(names, 2)
    }
    differences = {pair: values for pair, values in differences.items() if len(values)}
    p = _p_values(differences, seed)
    intervals = [bootstrap(mean_of(values), len(values), seed=seed) for values in differences.values()]
    found = [
        (pair, (e.value, e.low, e.high, e.n), p[pair]) for pair, e in zip(differences, intervals, strict=True)
    ]
    return _ranking(places, found, level)


def _p_values(differences: Mapping[tuple[str, str], Floats], seed: int) -> dict[tuple[str, str], float]:
    """Pairs that share as many questions are resampled together."""
    by_n: defaultdict[int, list[tuple[str, str]]] = defaultdict(list)
    for pair, values in differences.items():
        by_n[len(values)].append(pair)
    resamples = max(_FEWEST_RESAMPLES, _RESAMPLES_A_PAIR * len(differences))
    found: dict[tuple[str, str], float] = {}
    for pairs in by_n.values():
        table = np.stack([differences[pair] for pair in pairs], axis=1)
        found |= zip(pairs, bootstrap_p(table, resamples=resamples, seed=seed).tolist(), strict=True)
    return found


def rank_groups_of_pairs(strengths: Strengths, *, level: float = LEVEL) -> Ranking:
    """The models by Bradley–Terry strength; p by the normal law with the resamples' standard deviation.

    As in `bootstrap_p` it is never less than 2^(1 − n), n being questions: of verdicts that are all alike the
    resamples are, too.
    """
    places = [(row.model, row.value, row.low, row.high, row.n) for row in strengths.rows]
    found = []
    for one, other in combinations(range(len(places)), 2):
        drawn = strengths.draws[:, one] - strengths.draws[:, other]
        value, error = places[one][1] - places[other][1], float(drawn.std())
        fewest = min(strengths.questions[one], strengths.questions[other])
        # The fit is exact to about 1e-7.
        p = math.erfc(value / error / math.sqrt(2)) if error > 1e-6 else float(abs(value) < 1e-6)
        p = max(p, 2.0 ** (1 - fewest))
        low, high = (float(bound) for bound in np.quantile(drawn, (0.025, 0.975)))
        pair = (places[one][0], places[other][0])
        found.append((pair, (value, low, high, min(places[one][4], places[other][4])), p))
    return _ranking(places, found, level)


def _compared(
    pair: tuple[str, str],
    figures: tuple[float, float, float, int],
    p: float,
    adjusted: float,
    separable: bool,
) -> Compared:
    """The better first: on the questions they share that may be the one of the lower mean over its own."""
    (one, other), (value, low, high, n) = pair, figures
    if value < 0:
        one, other, value, low, high = other, one, -value, -high, -low
    return Compared(one, other, value, low, high, n, p, adjusted, separable)


def _ranking(
    places: Sequence[tuple[str, float, float, float, int]],
    found: Sequence[tuple[tuple[str, str], tuple[float, float, float, int], float]],
    level: float,
) -> Ranking:
    """From models, the best first, and their compared pairs."""
    adjusted = holm([p for *_, p in found])
    pairs = [
        _compared(pair, figures, p, after, after <= level)
        for (pair, figures, p), after in zip(found, adjusted, strict=True)
    ]
    above = {(pair.model, pair.other) for pair in pairs if pair.separable}
    names = [name for name, *_ in places]
    rows: list[Ranked] = []
    group, head = 0, ""
    for place in places:
        name = place[0]
        if not rows or (head, name) in above:
            group, head = group + 1, name
        first = 1 + sum((other, name) in above for other in names)
        last = len(names) - sum((name, other) in above for other in names)
        rows.append(Ranked(*place, first, last, group))
    return Ranking(tuple(rows), tuple(pairs))
