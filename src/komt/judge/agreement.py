"""How far judges agree with each other and with people, with 95 % intervals over resampled questions.

    verdict_agreement(questions, first, second)    # share of equal verdicts, Cohen's kappa
    score_agreement(questions, first, second)      # Spearman, Kendall, weighted kappa, and who is stricter
    alpha(questions, [scores of each judge, …])    # Krippendorff's alpha of several judges, gaps allowed
    vote_agreement(votes, judged)                  # judge against the votes of the page

The first three take columns of equal length: a question's name and what each judge said of the same answer,
None where a reply could not be read; such rows are left out. Coefficients are scikit-learn's and SciPy's
(komt[eval]). A coefficient that is not defined (all say the same) has the value None.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from komt.errors import need
from komt.evaluate.intervals import Floats, resamples

Coefficient = Callable[[Floats, Floats], float]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Agreement:
    """One coefficient; value, low and high are None where it is not defined; n: rows or units."""

    value: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True, slots=True)
class VerdictAgreement:
    """Of two judges' verdicts on the same pairs: the share of equal ones, and Cohen's kappa (0 is chance)."""

    equal: Agreement
    kappa: Agreement
    n: int
    unread: int


@dataclass(frozen=True, slots=True)
class ScoreAgreement:
    """Of two judges' scores of the same answers.

    Attributes:
        spearman, kendall: rank correlations (Kendall's tau-b).
        kappa: Cohen's kappa with quadratic weights.
        stricter: mean of the first judge's scores less the second's, in points: below 0 the first is
            stricter.
    """

    spearman: Agreement
    kendall: Agreement
    kappa: Agreement
    stricter: Agreement
    n: int
    unread: int


@dataclass(frozen=True, slots=True)
class VoteAgreement:
    """Of a judge's verdicts with people's votes on the same two answers.

    Attributes:
        value, low, high: share of the votes that the judge's verdict agrees with, its ties counted half.
        n: votes with a verdict; ties: those that the judge called a tie.
        missing: votes whose answers the judge gave no readable verdict on.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    ties: int
    missing: int


def verdict_agreement(
    questions: Sequence[str], first: Sequence[str | None], second: Sequence[str | None], *, seed: int = 0
) -> VerdictAgreement:
    """Agreement of two judges' verdicts ("a", "b", "tie").

    Raises:
        MissingExtra: scikit-learn is not installed.
        ValueError: columns of different lengths.
    """
    metrics = need("sklearn.metrics", extra="eval")
    names, one, other = _both(questions, first, second)
    codes = {verdict: float(code) for code, verdict in enumerate(("a", "b", "tie"))}
    columns = np.array([codes[v] for v in one]), np.array([codes[v] for v in other])
    equal = _coefficient(names, *columns, lambda a, b: float((a == b).mean()), seed)
    kappa = _coefficient(names, *columns, _undefined_if_constant(metrics.cohen_kappa_score), seed)
    return VerdictAgreement(equal, kappa, len(names), len(questions) - len(names))


def score_agreement(
    questions: Sequence[str], first: Sequence[float | None], second: Sequence[float | None], *, seed: int = 0
) -> ScoreAgreement:
    """Agreement of two judges' scores.

    Raises:
        MissingExtra: SciPy is not installed.
        ValueError: columns of different lengths.
    """
    stats = need("scipy.stats", extra="eval")
    names, *scores = _both(questions, first, second)
    one, other = np.array(scores[0], dtype=float), np.array(scores[1], dtype=float)

    def spearman(a: Floats, b: Floats) -> float:
        return float(stats.spearmanr(a, b).statistic)

    def kendall(a: Floats, b: Floats) -> float:
        return float(stats.kendalltau(a, b).statistic)

    def kappa(a: Floats, b: Floats) -> float:
        # With squared distances Cohen's weighted kappa needs no list of labels: what is observed over what
        # two independent judges with these scores would show. It takes scores of any step.
        expected = a.var() + b.var() + (a.mean() - b.mean()) ** 2
        return float(1 - ((a - b) ** 2).mean() / expected)

    def stricter(a: Floats, b: Floats) -> float:
        return float((a - b).mean())

    def agreement(coefficient: Coefficient) -> Agreement:
        return _coefficient(names, one, other, coefficient, seed)

    return ScoreAgreement(
        agreement(_undefined_if_constant(spearman, both=False)),
        agreement(_undefined_if_constant(kendall, both=False)),
        agreement(_undefined_if_constant(kappa)),
        agreement(stricter),
        len(names),
        len(questions) - len(names),
    )


def alpha(questions: Sequence[str], ratings: Sequence[Sequence[float | None]], *, seed: int = 0) -> Agreement:
    """Krippendorff's alpha for scores (interval level): 1 is full agreement, 0 is that of chance.

    The formula is that of Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability". It is written
    out here because the package that has it is under the GPL; tests compare the two.

    Args:
        questions: the question of each answer.
        ratings: for each judge a score of each answer, or None. An answer with fewer than two scores says
            nothing.
        seed: of the resamples.

    Raises:
        ValueError: a judge with more or fewer ratings than answers.
    """
    if any(len(row) != len(questions) for row in ratings):
        raise ValueError(f"each judge needs {len(questions)} ratings, one for each answer")
    table = np.array([[np.nan if v is None else v for v in row] for row in ratings], dtype=float)
    table = table.reshape(len(ratings), len(questions))
    rated = (~np.isnan(table)).sum(0)
    kept = rated > 1
    if not kept.any():
        return Agreement(None, None, None, 0)
    m, table = rated[kept].astype(float), table[:, kept]
    sums, squares = np.nansum(table, 0), np.nansum(table**2, 0)
    within = 2 * (m * squares - sums**2) / (m - 1)

    def coefficient(weights: Floats) -> Floats:
        n = weights @ m
        expected = 2 * (n * (weights @ squares) - (weights @ sums) ** 2) / (n - 1)
        expected[expected < 1e-9] = np.nan
        values: Floats = 1 - weights @ within / expected
        return values

    names = [question for question, keep in zip(questions, kept, strict=True) if keep]
    value = float(coefficient(np.ones((1, len(names))))[0])
    drawn = np.concatenate([coefficient(w) for w in resamples(len(names), seed=seed, groups=names)])
    return _interval(value, drawn, len(names))


def vote_agreement(
    votes: Sequence[Mapping[str, Any]], judged: Sequence[tuple[str, str, str, str | None]], *, seed: int = 0
) -> VoteAgreement:
    """How often a judge agrees with people's votes from the page.

    Args:
        votes: rows with `prompt`, `chosen`, `rejected`.
        judged: prompt, answer, other answer, verdict: "a" where the first answer won. The answers may stand
            in either order, the same pair several times: its verdicts are then averaged.
        seed: of the resamples.
    """
    found: dict[tuple[str, str, str], list[float]] = {}
    for prompt, answer, other, verdict in judged:
        if verdict is not None:
            win = {"a": 1.0, "tie": 0.5, "b": 0.0}[verdict]
            found.setdefault(_key(prompt, answer, other), []).append(win)
            found.setdefault(_key(prompt, other, answer), []).append(1 - win)
    keys = [_key(str(v["prompt"]), str(v["chosen"]), str(v["rejected"])) for v in votes]
    prompts = [key[0] for key in keys if key in found]
    wins = np.array([np.mean(found[key]) for key in keys if key in found])
    if not len(wins):
        return VoteAgreement(None, None, None, 0, 0, len(keys))
    # A majority of the judge's verdicts on a pair is its verdict.
    agreed = (1 + np.sign(wins - 0.5)) / 2
    share = _coefficient(prompts, agreed, agreed, lambda a, _: float(a.mean()), seed)
    ties = int((agreed == 0.5).sum())
    return VoteAgreement(share.value, share.low, share.high, share.n, ties, len(keys) - len(wins))


def verdict_of_scores(score: float | None, other: float | None) -> str | None:
    """The verdict that two single scores amount to: the higher wins, equal ones are a tie."""
    if score is None or other is None:
        return None
    return "tie" if score == other else "a" if score > other else "b"


def _key(*texts: str) -> tuple[str, str, str]:
    prompt, answer, other = (unicodedata.normalize("NFC", text).strip() for text in texts)
    return prompt, answer, other


def _both(
    questions: Sequence[str], first: Sequence[T | None], second: Sequence[T | None]
) -> tuple[list[str], list[T], list[T]]:
    """The rows that both have."""
    kept = [
        (question, one, other)
        for question, one, other in zip(questions, first, second, strict=True)
        if one is not None and other is not None
    ]
    return [row[0] for row in kept], [row[1] for row in kept], [row[2] for row in kept]


def _undefined_if_constant(coefficient: Coefficient, both: bool = True) -> Coefficient:
    """The coefficient, or nan where the columns hold one value only: both the same one, or either of them."""

    def guarded(a: Floats, b: Floats) -> float:
        if both:
            constant = len(np.unique(np.concatenate([a, b]))) < 2
        else:
            constant = min(np.ptp(a), np.ptp(b)) == 0
        return float("nan") if constant else float(coefficient(a, b))

    return guarded


def _coefficient(
    questions: Sequence[str], one: Floats, other: Floats, coefficient: Coefficient, seed: int
) -> Agreement:
    if not questions:
        return Agreement(None, None, None, 0)
    at = np.arange(len(questions))
    drawn = [
        coefficient(one[rows], other[rows])
        for block in resamples(len(questions), seed=seed, groups=questions)
        for rows in (np.repeat(at, weights.astype(int)) for weights in block)
    ]
    return _interval(coefficient(one, other), np.array(drawn), len(questions))


def _interval(value: float, drawn: Floats, n: int) -> Agreement:
    """Resamples in which the coefficient is not defined are left out."""
    drawn = drawn[~np.isnan(drawn)]
    if np.isnan(value) or not len(drawn):
        return Agreement(None, None, None, n)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Agreement(value, float(low), float(high), n)
