"""Agreement: against krippendorff, scikit-learn and SciPy, gaps, and people's votes."""

import json
import sys

import krippendorff
import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import cohen_kappa_score

from komt.errors import MissingExtra
from komt.judge.agreement import alpha, score_agreement, verdict_agreement, verdict_of_scores, vote_agreement
from komt.web.votes import append_vote


@pytest.fixture(autouse=True)
def fewer_resamples(monkeypatch):
    monkeypatch.setattr("komt.evaluate.intervals.RESAMPLES", 300)


def two_judges(random, n=60, noise=0.8):
    true = random.normal(3, 1.3, n)
    return [np.clip(np.rint(true + random.normal(0, noise, n)), 0, 5).tolist() for _ in range(2)]


def names(n):
    return [f"q{number}" for number in range(n)]


def test_coefficients_of_scores_are_those_of_the_libraries():
    one, other = two_judges(np.random.default_rng(0))
    found = score_agreement(names(60), one, other)
    assert found.spearman.value == pytest.approx(stats.spearmanr(one, other).statistic)
    assert found.kendall.value == pytest.approx(stats.kendalltau(one, other).statistic)
    assert found.kappa.value == pytest.approx(
        cohen_kappa_score(one, other, labels=list(range(6)), weights="quadratic")
    )
    assert found.stricter.value == pytest.approx(np.mean(one) - np.mean(other))
    for part in (found.spearman, found.kendall, found.kappa, found.stricter):
        assert part.low < part.value < part.high
        assert part.n == 60


def test_the_interval_of_spearman_is_about_that_of_fishers_transformation():
    one, other = two_judges(np.random.default_rng(1), n=200)
    found = score_agreement(names(200), one, other).spearman
    z, half = np.arctanh(found.value), 1.96 * np.sqrt((1 + found.value**2 / 2) / 197)
    assert (found.low, found.high) == pytest.approx((np.tanh(z - half), np.tanh(z + half)), abs=0.04)


def test_unread_rows_are_left_out_and_counted():
    found = score_agreement(names(4), [1, None, 3, 4], [2, 2, None, 4])
    assert (found.n, found.unread, found.stricter.value) == (2, 2, -0.5)
    nothing = score_agreement(names(1), [None], [2.0])
    assert (nothing.spearman.value, nothing.n, nothing.unread) == (None, 0, 1)


def test_judges_that_never_vary_have_no_correlation():
    found = score_agreement(names(12), [5.0] * 12, [float(n % 3) for n in range(12)])
    assert (found.spearman.value, found.kendall.value) == (None, None)
    assert found.kappa.value == pytest.approx(0)
    assert score_agreement(names(12), [5.0] * 12, [5.0] * 12).kappa.value is None


def test_verdicts_agree_beyond_chance():
    random = np.random.default_rng(2)
    one = random.choice(["a", "b", "tie"], 90)
    other = [
        v if random.random() < 0.7 else w
        for v, w in zip(one, random.choice(["a", "b", "tie"], 90), strict=True)
    ]
    found = verdict_agreement(names(90), one.tolist(), other)
    assert found.equal.value == pytest.approx(np.mean(one == np.array(other)))
    assert found.kappa.value == pytest.approx(cohen_kappa_score(one, other))
    assert found.kappa.low < found.kappa.value < found.kappa.high
    same = verdict_agreement(names(12), ["a"] * 12, ["a"] * 12)
    assert (same.equal.value, same.kappa.value) == (1, None)


def test_columns_must_be_of_equal_length():
    with pytest.raises(ValueError, match="shorter"):
        verdict_agreement(names(2), ["a", "b"], ["a"])
    with pytest.raises(ValueError, match="needs 2 ratings"):
        alpha(names(2), [[1.0, 2.0], [1.0]])


def test_alpha_is_that_of_krippendorff_with_gaps_and_several_judges():
    random = np.random.default_rng(3)
    true = random.normal(3, 1.2, 40)
    table = np.rint(true + random.normal(0, 0.7, (4, 40)))
    table[random.random((4, 40)) < 0.25] = np.nan
    ratings = [[None if np.isnan(v) else float(v) for v in row] for row in table]
    found = alpha(names(40), ratings)
    assert found.value == pytest.approx(krippendorff.alpha(table, level_of_measurement="interval"))
    assert found.low < found.value < found.high
    assert found.n == ((~np.isnan(table)).sum(0) > 1).sum()


def test_alpha_says_nothing_where_nothing_was_judged_twice_or_nothing_varies():
    assert alpha(names(2), [[1.0, None], [None, 2.0]]).value is None
    assert alpha(names(12), [[3.0] * 12, [3.0] * 12]).value is None
    assert alpha(names(12), [[float(n) for n in range(12)]] * 2).value == pytest.approx(1)


def test_questions_not_answers_are_drawn():
    random = np.random.default_rng(4)
    one, other = (column * 5 for column in two_judges(random, n=40))
    alone = score_agreement([f"q{n}" for n in range(200)], one, other).spearman
    together = score_agreement([f"q{n % 40}" for n in range(200)], one, other).spearman
    assert together.value == alone.value
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


def test_votes_of_the_page_are_held_against_the_judge(tmp_path):
    path = tmp_path / "votes.jsonl"
    for number in range(30):
        append_vote(path, f"질문 {number}", (f"좋은 답 {number}", f"나쁜 답 {number}"), ("x", "y"))
    votes = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    judged = []
    for number in range(28):
        good, bad = f"좋은 답 {number}", f" 나쁜 답 {number}\n"
        # 18 times with people, of these nine named the other way round; six against; three ties; one unread.
        verdict = "a" if number < 18 else "b" if number < 24 else "tie" if number < 27 else None
        if number < 9:
            judged.append((f"질문 {number}", bad, good, "b"))
        else:
            judged.append((f"질문 {number}", good, bad, verdict))
    found = vote_agreement(votes, judged)
    assert found.value == pytest.approx((18 + 1.5) / 27)
    assert found.low < found.value < found.high
    assert (found.n, found.ties, found.missing) == (27, 3, 3)
    assert vote_agreement(votes, []).value is None


def test_the_majority_of_several_verdicts_on_a_pair_counts():
    vote = {"prompt": "질문", "chosen": "가", "rejected": "나"}
    found = vote_agreement(
        [vote], [("질문", "가", "나", "a"), ("질문", "나", "가", "b"), ("질문", "가", "나", "b")]
    )
    assert (found.value, found.n, found.ties) == (1, 1, 0)
    found = vote_agreement([vote], [("질문", "가", "나", "a"), ("질문", "가", "나", "b")])
    assert (found.value, found.ties) == (0.5, 1)


def test_two_scores_are_a_verdict():
    found = [verdict_of_scores(*pair) for pair in ((5, 3), (3, 5), (4, 4), (None, 4))]
    assert found == ["a", "b", "tie", None]


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.metrics", None)
    with pytest.raises(MissingExtra, match=r"komt\[eval\]"):
        verdict_agreement(["q"], ["a"], ["a"])
