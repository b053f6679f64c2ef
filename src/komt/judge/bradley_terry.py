"""Strengths of models from pairwise verdicts (Bradley and Terry 1952), the matrix of wins, intervals.

A *verdict* is `(question, model, other, verdict)`: "a" where `model` won, "b" where `other` did, "tie", or
None for a reply that could not be read. Ask both orders and settle them first: `settle_orders("a", "b")` is
a tie.

    verdicts = [("math-01", "tuned", "base", "a"), ("math-02", "tuned", "base", "tie")]
    bradley_terry(verdicts)      # Strengths(rows=(Strength(model, value, low, high, n), …), unscored)
    win_matrix(verdicts)         # (WinShare(model, other, value, low, high, n, …), …), both directions

Ties are half a win for either side. Resamples draw whole questions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from komt.evaluate.intervals import Floats, resamples

Verdict = tuple[str, str, str, str | None]

# Weight of the prior Gamma(1 + PRIOR, PRIOR) on a model's strength, in wins: with none, a model that never
# lost would be infinitely strong. The same as `alpha` of choix.mm_pairwise.
PRIOR = 0.1
_WINS = {"a": 1.0, "tie": 0.5, "b": 0.0}
_ITERATIONS = 10_000


@dataclass(frozen=True, slots=True)
class Strength:
    """A model's strength in natural logarithms of odds; the mean of all models is 0.

    A model wins against another with probability 1 / (1 + exp(other − value)). n: its verdicts.
    """

    model: str
    value: float
    low: float
    high: float
    n: int

    @property
    def elo(self) -> float:
        """The same on the scale of Elo ratings: 400 points are odds of ten to one, the mean is 0."""
        return self.value * 400 / math.log(10)


@dataclass(frozen=True, slots=True)
class Strengths:
    """All models, the strongest first.

    Attributes:
        draws: resampled strengths (resamples, models), in the order of `rows`, for comparisons of models.
        unscored: verdicts that could not be read.
        questions: how many each was judged on, in the order of `rows`.
    """

    rows: tuple[Strength, ...]
    unscored: int
    draws: Floats
    questions: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class WinShare:
    """Share of the verdicts that `model` won against `other`, ties counted half; n: their verdicts."""

    model: str
    other: str
    value: float
    low: float
    high: float
    n: int
    wins: int
    ties: int
    losses: int


def settle_orders(model_first: str | None, other_first: str | None) -> str | None:
    """One verdict from those of both orders, both said of `model`: equal ones stand, others are a tie.

    With one of them unread there is None: nobody knows what the order did to the other.
    """
    if model_first is None or other_first is None:
        return None
    return model_first if model_first == other_first else "tie"


def bradley_terry(verdicts: Sequence[Verdict], *, seed: int = 0) -> Strengths:
    """The models' strengths with intervals over resampled questions.

    The fit maximises likelihood and prior by the MM iteration of Hunter (2004), as choix.mm_pairwise does.

    Raises:
        ValueError: a verdict that is none of the four, or a model against itself.
    """
    read = _read(verdicts)
    models = sorted({name for _, *pair, _ in read for name in pair})
    unscored = len(verdicts) - len(read)
    if not read:
        return Strengths((), unscored, np.zeros((0, 0)))
    place, size = {model: at for at, model in enumerate(models)}, len(models)
    won = np.zeros((len(read), size, size))
    for at, (_, model, other, share) in enumerate(read):
        won[at, place[model], place[other]] += share
        won[at, place[other], place[model]] += 1 - share
    flat = won.reshape(len(read), -1)
    value = _fit(won.sum(0)[None])[0]
    draws = np.concatenate(
        [
            _fit((weights @ flat).reshape(-1, size, size))
            for weights in resamples(len(read), seed=seed, groups=[question for question, *_ in read])
        ]
    )
    low, high = np.quantile(draws, (0.025, 0.975), axis=0)
    counts = won.sum((0, 2)) + won.sum((0, 1))
    order = sorted(range(size), key=lambda at: -value[at])
    rows = [
        Strength(models[at], float(value[at]), float(low[at]), float(high[at]), round(counts[at]))
        for at in order
    ]
    asked = [{question for question, *pair, _ in read if model in pair} for model in models]
    return Strengths(tuple(rows), unscored, draws[:, order], tuple(len(asked[at]) for at in order))


def win_matrix(verdicts: Sequence[Verdict], *, seed: int = 0) -> tuple[WinShare, ...]:
    """For each two models that met, in both directions, the share of wins.

    Raises:
        ValueError: a verdict that is none of the four, or a model against itself.
    """
    read = _read(verdicts)
    met = sorted({names for _, model, other, _ in read for names in ((model, other), (other, model))})
    return tuple(_share(read, *names, seed) for names in met)


def _share(read: Sequence[tuple[str, str, str, float]], one: str, other: str, seed: int) -> WinShare:
    shares = [(q, share) for q, a, b, share in read if (a, b) == (one, other)]
    shares += [(q, 1 - share) for q, a, b, share in read if (a, b) == (other, one)]
    values = np.array([share for _, share in shares])
    drawn = [
        weights @ values / weights.sum(1)
        for weights in resamples(len(values), seed=seed, groups=[question for question, _ in shares])
    ]
    low, high = np.quantile(np.concatenate(drawn), (0.025, 0.975))
    wins, ties = int((values == 1).sum()), int((values == 0.5).sum())
    return WinShare(
        one,
        other,
        float(values.mean()),
        float(low),
        float(high),
        len(values),
        wins,
        ties,
        len(values) - wins - ties,
    )


def _read(verdicts: Sequence[Verdict]) -> list[tuple[str, str, str, float]]:
    """The verdicts that were read, as shares of a win for `model`."""
    for question, model, other, verdict in verdicts:
        if verdict is not None and verdict not in _WINS:
            raise ValueError(f"the verdict of question '{question}' is '{verdict}', none of a, b, tie")
        if model == other:
            raise ValueError(f"question '{question}' compares '{model}' with itself")
    return [(question, a, b, _WINS[verdict]) for question, a, b, verdict in verdicts if verdict is not None]


def _fit(wins: Floats) -> Floats:
    """Strengths (R, m) from wins (R, m, m) of the row's model over the column's."""
    met, won = wins + wins.transpose(0, 2, 1), wins.sum(2)
    strength: Floats = np.zeros(won.shape)
    active = np.arange(len(wins))
    for _ in range(_ITERATIONS):
        weight = np.exp(strength[active])
        # The scale that the prior is about: a mean of 1.
        weight /= weight.mean(1, keepdims=True)
        rates = met[active] / (weight[:, :, None] + weight[:, None, :])
        new = np.log((won[active] + PRIOR) / (rates.sum(2) + PRIOR))
        new -= new.mean(1, keepdims=True)
        change = np.abs(new - strength[active]).max(1)
        strength[active] = new
        active = active[change > 1e-7]
        if not len(active):
            break
    return strength
