"""Bradley–Terry strengths: against choix, in simulations, and the matrix of wins."""

import math

import choix
import numpy as np
import pytest

from komt.judge import bradley_terry as module
from komt.judge.bradley_terry import PRIOR, bradley_terry, settle_orders, win_matrix

MODELS = ("가온", "나루", "다솜", "라온")


def simulated(random, strengths=(0.8, 0.2, -0.3, -0.7), questions=60, ties=0.1):
    """All pairs on all questions; questions lean the same way in every pair (sd 0.5)."""
    found = []
    for number in range(questions):
        at = np.array(strengths) + random.normal(0, 0.5, len(strengths))
        for one in range(len(strengths)):
            for other in range(one):
                won = "a" if random.random() < 1 / (1 + math.exp(at[other] - at[one])) else "b"
                verdict = "tie" if random.random() < ties else won
                found.append((f"q{number}", MODELS[one], MODELS[other], verdict))
    return found


def by_choix(verdicts, alpha):
    """Each verdict twice, so that a tie is a win for either; the prior then weighs twice as much too."""
    names = sorted({name for _, *pair, _ in verdicts for name in pair})
    pairs = []
    for _, model, other, verdict in verdicts:
        one, two = names.index(model), names.index(other)
        pairs += {"a": [(one, two)] * 2, "b": [(two, one)] * 2, "tie": [(one, two), (two, one)]}[verdict]
    return dict(zip(names, choix.mm_pairwise(len(names), pairs, alpha=2 * alpha), strict=True))


def test_strengths_are_those_of_choix():
    verdicts = simulated(np.random.default_rng(0))
    expected, unbounded = by_choix(verdicts, PRIOR), by_choix(verdicts, 0)
    found = bradley_terry(verdicts)
    assert [row.model for row in found.rows] == sorted(expected, key=expected.get, reverse=True)
    for row in found.rows:
        assert row.value == pytest.approx(expected[row.model], abs=1e-5)
        assert row.value == pytest.approx(unbounded[row.model], abs=0.01)
        assert row.low < row.value < row.high
        assert row.n == 3 * 60
    assert sum(row.value for row in found.rows) == pytest.approx(0, abs=1e-9)


def test_two_models_are_the_odds_of_their_wins():
    verdicts = [(f"q{n}", "a", "b", "a" if n < 30 else "tie" if n < 50 else "b") for n in range(60)]
    found = bradley_terry(verdicts)
    gap = found.rows[0].value - found.rows[1].value
    assert gap == pytest.approx(math.log(40 / 20), abs=0.01)
    assert found.rows[0].elo - found.rows[1].elo == pytest.approx(400 * math.log10(2), abs=2)


def test_naming_a_pair_the_other_way_round_changes_nothing():
    verdicts = simulated(np.random.default_rng(1), questions=15)
    turned = [(q, other, model, {"a": "b", "b": "a", "tie": "tie"}[v]) for q, model, other, v in verdicts]
    for one, other in zip(bradley_terry(verdicts).rows, bradley_terry(turned).rows, strict=True):
        assert (one.model, one.n) == (other.model, other.n)
        assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high), abs=1e-5)


def test_a_model_that_never_lost_has_a_finite_strength():
    verdicts = [(f"q{n}", "strong", "weak", "a") for n in range(20)]
    strong, weak = bradley_terry(verdicts).rows
    assert strong.model == "strong"
    assert 1 < strong.value < 5
    assert weak.value == pytest.approx(-strong.value)
    assert strong.value == pytest.approx(by_choix(verdicts, PRIOR)["strong"], abs=1e-4)


def test_intervals_of_strengths_hold_the_truth(monkeypatch):
    monkeypatch.setattr("komt.evaluate.intervals.RESAMPLES", 400)
    random = np.random.default_rng(2)
    # Questions lean, so that the truth is what the fit tends to with many of them.
    many = by_choix(simulated(random, questions=4000), 0)
    covered = [
        row.low <= many[row.model] <= row.high
        for _ in range(60)
        for row in bradley_terry(simulated(random)).rows
    ]
    assert 0.89 <= np.mean(covered) <= 0.985


def test_unread_verdicts_are_counted_and_others_refused():
    found = bradley_terry([("q", "a", "b", "a"), ("q", "a", "b", None)])
    assert (found.unscored, found.rows[0].n) == (1, 1)
    assert bradley_terry([("q", "a", "b", None)]).rows == ()
    with pytest.raises(ValueError, match="question 'q' is 'A'"):
        bradley_terry([("q", "a", "b", "A")])
    with pytest.raises(ValueError, match="compares 'a' with itself"):
        win_matrix([("q", "a", "a", "tie")])


def test_the_fit_does_not_depend_on_the_blocks(monkeypatch):
    verdicts = simulated(np.random.default_rng(3), questions=12)
    first = bradley_terry(verdicts)
    monkeypatch.setattr("komt.evaluate.intervals._BLOCK_ELEMENTS", 5000)
    again = bradley_terry(verdicts)
    assert np.allclose(first.draws, again.draws, atol=1e-6)
    assert module.PRIOR > 0


def test_the_matrix_counts_ties_half_and_both_directions():
    verdicts = [("q1", "a", "b", "a"), ("q2", "a", "b", "tie"), ("q3", "b", "a", "a"), ("q4", "a", "b", "a")]
    ab, ba = win_matrix(verdicts)
    assert (ab.model, ab.other, ab.wins, ab.ties, ab.losses, ab.n) == ("a", "b", 2, 1, 1, 4)
    assert ab.value == pytest.approx(2.5 / 4)
    assert (ba.model, ba.other, ba.wins, ba.ties, ba.losses) == ("b", "a", 1, 1, 2)
    assert (ba.value, ba.low, ba.high) == pytest.approx((1 - ab.value, 1 - ab.high, 1 - ab.low))


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        ("a", "a", "a"),
        ("b", "b", "b"),
        ("tie", "tie", "tie"),
        ("a", "b", "tie"),
        ("a", "tie", "tie"),
        ("a", None, None),
    ],
)
def test_both_orders_must_agree(first, second, verdict):
    assert settle_orders(first, second) == verdict
    assert settle_orders(second, first) == verdict
