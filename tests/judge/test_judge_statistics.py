"""Statistics of scores: against plain arithmetic, other libraries and simulations whose truth is known."""

import numpy as np
import pytest
from scipy import stats

from komt.judge.statistics import mean_score, paired_difference, spread


def simulated(random, questions=40, turns=2, repeats=3, mean=6.0):
    """Marks whose questions differ (sd 1.5), whose turns differ (0.8) and whose repeats do (0.5)."""
    level = random.normal(mean, 1.5, questions)
    marks = []
    for number, question in enumerate(level):
        for turn in range(turns):
            true = question + random.normal(0, 0.8)
            marks += [(f"q{number}", turn, true + random.normal(0, 0.5)) for _ in range(repeats)]
    return marks


def test_every_question_counts_once_whatever_its_turns_and_repeats():
    marks = [("a", 0, 4.0), ("a", 0, 6.0), ("a", 1, 9.0), ("b", 0, 1.0), ("b", 0, None), ("c", 0, None)]
    found = mean_score(marks)
    assert found.value == pytest.approx(((5 + 9) / 2 + 1) / 2)
    assert (found.n, found.unscored) == (2, 2)
    assert found.low == pytest.approx(1)
    assert found.high == pytest.approx(7)


def test_unscored_marks_are_no_zeros_and_all_unscored_is_no_score():
    marks = [(f"q{n}", 0, 4.0) for n in range(20)]
    assert mean_score([*marks, *[(f"u{n}", 0, None) for n in range(20)]]).value == 4
    nothing = mean_score([("a", 0, None)])
    assert (nothing.value, nothing.low, nothing.high, nothing.n, nothing.unscored) == (None, None, None, 0, 1)


def test_intervals_of_the_mean_hold_the_truth_as_often_as_they_say():
    random = np.random.default_rng(1)
    found = [mean_score(simulated(random)) for _ in range(300)]
    covered = np.mean([one.low <= 6 <= one.high for one in found])
    assert 0.91 <= covered <= 0.98
    # Drawing turns and repeats one by one would promise far too much.
    widths = np.mean([one.high - one.low for one in found])
    assert widths == pytest.approx(2 * 1.96 * np.sqrt((1.5**2 + (0.8**2 + 0.5**2 / 3) / 2) / 40), rel=0.08)


def test_the_difference_is_taken_on_what_both_were_scored_on():
    first = [("a", 0, 5.0), ("a", 1, 1.0), ("b", 0, 3.0), ("only", 0, 10.0)]
    second = [("a", 0, 7.0), ("a", 1, None), ("b", 0, 4.0)]
    found = paired_difference(first, second)
    assert found.value == pytest.approx((2 + 1) / 2)
    assert (found.n, found.left_out) == (2, 2)
    nothing = paired_difference(first[:1], second[2:])
    assert (nothing.value, nothing.n, nothing.left_out, nothing.significant) == (None, 0, 2, False)


def test_intervals_of_differences_hold_the_truth_and_pairing_narrows_them():
    random = np.random.default_rng(2)
    covered, widths, alone = [], [], []
    for _ in range(300):
        first = simulated(random, repeats=1)
        second = [(q, turn, score + 0.3 + random.normal(0, 0.6)) for q, turn, score in first]
        found = paired_difference(first, second)
        covered.append(found.low <= 0.3 <= found.high)
        widths.append(found.high - found.low)
        one = mean_score(first)
        alone.append(one.high - one.low)
    assert 0.91 <= np.mean(covered) <= 0.98
    assert np.mean(widths) < 0.4 * np.mean(alone)


def test_the_paired_interval_is_close_to_that_of_the_t_test():
    random = np.random.default_rng(3)
    one, other = random.normal(5, 2, 80), random.normal(5.5, 2, 80)
    marks = [[(f"q{n}", 0, score) for n, score in enumerate(column)] for column in (one, other)]
    found = paired_difference(*marks)
    expected = stats.ttest_rel(other, one).confidence_interval()
    assert found.value == pytest.approx((other - one).mean())
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.06)
    assert found.significant == (expected.low > 0)


def test_spread_is_the_standard_deviation_of_one_judging():
    marks = [("a", 0, 3.0), ("a", 0, 5.0), ("b", 0, 4.0), ("b", 0, 4.0), ("b", 0, 4.0), ("c", 0, 9.0)]
    found = spread(marks)
    assert found.value == pytest.approx(np.sqrt(2 / 3))
    assert (found.n, found.agreeing, found.largest) == (2, 0.5, 2.0)
    assert spread([("a", 0, 3.0), ("b", 0, 4.0), ("b", 0, None)]) is None


def test_intervals_of_the_spread_hold_the_truth():
    random = np.random.default_rng(4)
    found = [spread(simulated(random)) for _ in range(200)]
    assert np.mean([one.value for one in found]) == pytest.approx(0.5, rel=0.02)
    assert 0.9 <= np.mean([one.low <= 0.5 <= one.high for one in found]) <= 0.985
