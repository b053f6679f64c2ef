"""Rank groups: wrong separations are rare, clear ones are found, few questions prove nothing."""

import numpy as np
import pytest
from scipy import stats

from komt.judge.bradley_terry import bradley_terry
from komt.judge.ranks import bootstrap_p, holm, rank_groups, rank_groups_of_pairs


def marks(scores):
    return [(f"q{n:03}", 0, None if score is None else float(score)) for n, score in enumerate(scores)]


def test_holm_is_that_of_r():
    # p.adjust(c(0.01, 0.04, 0.03, 0.005, 0.5), "holm")
    assert holm([0.01, 0.04, 0.03, 0.005, 0.5]) == pytest.approx((0.04, 0.09, 0.09, 0.025, 0.5))
    assert holm([0.4, 0.3]) == pytest.approx((0.6, 0.6))
    assert holm([]) == ()


def test_p_is_close_to_that_of_the_t_test_for_normal_differences():
    random = np.random.default_rng(0)
    differences = random.normal((0.0, 0.15, 0.3, 0.5), 1, (80, 4))
    expected = stats.ttest_1samp(differences, 0).pvalue
    assert bootstrap_p(differences) == pytest.approx(expected, abs=0.02)


def test_p_is_below_five_percent_about_five_times_in_a_hundred_where_nothing_differs():
    random = np.random.default_rng(1)
    # Coarse scores, as judges give them, of forty questions.
    differences = np.rint(random.normal(0, 1.2, (40, 2000)))
    assert 0.035 <= np.mean(bootstrap_p(differences) < 0.05) <= 0.065


def test_few_questions_prove_little_and_equal_scores_nothing():
    assert bootstrap_p(np.ones((3, 1))) == pytest.approx([0.25])
    assert bootstrap_p(np.ones((20, 1)))[0] < 0.001
    assert bootstrap_p(np.zeros((20, 1))) == pytest.approx([1])
    assert bootstrap_p(np.array([[2.0]])) == pytest.approx([1])


def test_p_does_not_depend_on_the_blocks(monkeypatch):
    differences = np.random.default_rng(2).normal(0.2, 1, (30, 3))
    first = bootstrap_p(differences)
    monkeypatch.setattr("komt.judge.ranks._BLOCK", 999)
    assert bootstrap_p(differences) == pytest.approx(first)


def test_models_that_cannot_be_told_apart_share_their_ranks():
    random = np.random.default_rng(3)
    level = random.normal(5, 1, 80)
    found = rank_groups(
        {
            "low": marks(level - 2 + random.normal(0, 0.5, 80)),
            "high": marks(level + random.normal(0, 0.5, 80)),
            "alike": marks(level + random.normal(0, 0.5, 80)),
            "silent": marks([None] * 80),
        }
    )
    assert [row.group for row in found.rows] == [1, 1, 2]
    assert {row.model for row in found.rows[:2]} == {"high", "alike"}
    assert [(row.first, row.last) for row in found.rows] == [(1, 2), (1, 2), (3, 3)]
    assert found.separable_neighbours == 1
    assert sum(pair.separable for pair in found.pairs) == 2
    for pair in found.pairs:
        assert pair.value >= 0
        assert pair.n == 80
        assert pair.adjusted >= pair.p
        assert pair.low < pair.value < pair.high


def test_with_correction_equal_models_are_seldom_told_apart():
    random = np.random.default_rng(4)
    wrong = 0
    for _ in range(60):
        level = random.normal(5, 1, 40)
        models = {name: marks(level + random.normal(0, 1, 40)) for name in "abcdef"}
        wrong += any(pair.separable for pair in rank_groups(models).pairs)
    # One in twenty is what the level allows; without correction about every third would be wrong.
    assert wrong <= 7


def test_pairs_are_compared_on_the_questions_they_share():
    found = rank_groups(
        {"a": marks([5, 5, 5, 5] * 5), "b": marks([9, 9, None, 4] * 5), "c": [("other", 0, 7.0)]}
    )
    assert [row.model for row in found.rows] == ["b", "c", "a"]
    (pair,) = found.pairs
    assert (pair.model, pair.other, pair.n) == ("b", "a", 15)
    assert pair.value == pytest.approx((4 + 4 - 1) / 3)
    assert (found.rows[1].first, found.rows[1].last) == (1, 3)


def test_a_pair_that_turns_on_the_shared_questions_names_the_better_first():
    found = rank_groups({"a": marks([9, 5, 5, 5] * 8), "b": marks([None, 6, 6, 6] * 8)})
    assert [row.model for row in found.rows] == ["a", "b"] or found.rows[0].value == found.rows[1].value
    (pair,) = found.pairs
    assert (pair.model, pair.other) == ("b", "a")
    assert pair.value == pytest.approx(1)


def test_groups_of_pairwise_verdicts():
    random = np.random.default_rng(5)
    chance = {("x", "y"): 0.5, ("x", "z"): 0.9, ("y", "z"): 0.9}
    verdicts = [
        (f"q{n}", *pair, "a" if random.random() < win else "b")
        for n in range(80)
        for pair, win in chance.items()
    ]
    found = rank_groups_of_pairs(bradley_terry(verdicts))
    assert [row.group for row in found.rows] == [1, 1, 2]
    assert found.rows[2].model == "z"
    assert [pair.separable for pair in found.pairs] == [False, True, True]


@pytest.mark.parametrize(
    ("verdicts", "apart"), [("a", False), ("aaaaa", False), ("aaaaaa", True), ("tt", False)]
)
def test_a_few_verdicts_that_are_all_alike_tell_no_models_apart(verdicts, apart):
    words = {"a": "a", "t": "tie"}
    marks = [(f"q{n}", "x", "y", words[letter]) for n, letter in enumerate(verdicts)]
    [pair] = rank_groups_of_pairs(bradley_terry(marks)).pairs
    assert (pair.p, pair.separable) == (2.0 ** (1 - len(marks)) if "a" in verdicts else 1.0, apart)
    # Three times the same question is one question.
    [pair] = rank_groups_of_pairs(bradley_terry([("q", *mark[1:]) for mark in marks])).pairs
    assert not pair.separable
