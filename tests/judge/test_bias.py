"""Position and length bias: simulated judges whose bias is known."""

import numpy as np
import pytest
from scipy import stats

from komt.judge.bias import length_bias_of_scores, length_bias_of_verdicts, position_bias


def test_changed_verdicts_are_counted():
    found = position_bias(
        [
            ("q1", "a", "a"),
            ("q2", "a", "b"),
            ("q3", "b", "a"),
            ("q4", "a", "tie"),
            ("q5", "tie", "tie"),
            ("q6", None, "a"),
        ]
    )
    assert (found.value, found.reversed, found.n, found.unread) == pytest.approx((3 / 5, 2 / 5, 5, 1))
    # In the first order "a" stood first, in the second "b": q1 one of two, q2 both, q3 none, q4 its one.
    assert found.first.value == pytest.approx((1 + 2 + 0 + 1) / 7)
    assert position_bias([("q", "a", None)]) is None
    assert position_bias([("q", "tie", "tie")]).first is None


def test_a_judge_that_prefers_the_first_place_is_found_out():
    random = np.random.default_rng(0)

    def judged(bias, pairs=400):
        rows = []
        for number in range(pairs):
            better = random.choice(["a", "b"])
            ab, ba = (place if random.random() < bias else better for place in "ab")
            rows.append((f"q{number // 2}", ab, ba))
        return position_bias(rows)

    biased = judged(0.6)
    # Shown first an answer wins six times in ten, or else if it is the better one.
    assert biased.first.low <= 0.6 + 0.4 * 0.5 <= biased.first.high
    assert biased.low <= 2 * 0.6 * 0.4 * 0.5 + 0.6 * 0.6 <= biased.high
    assert biased.first.low > 0.5
    random = np.random.default_rng(1)
    fair = position_bias([(f"q{n}", v, v) for n, v in enumerate(random.choice(["a", "b"], 300))])
    assert (fair.value, fair.first.value) == (0, 0.5)


def scored(random, slope, questions=60, models=5):
    """Strong models write more; a judge gives `slope` points for each doubling besides."""
    rows = []
    for number in range(questions):
        hard, wordy = random.normal(0, 1), random.normal(0, 0.5)
        for model in range(models):
            doublings = 7 + wordy + 0.4 * model + random.normal(0, 0.6)
            length = round(2**doublings)
            score = 5 + hard + 0.5 * model + slope * np.log2(1 + length) + random.normal(0, 0.7)
            rows.append((f"q{number}", f"m{model}", length, score))
    return rows


@pytest.mark.parametrize("slope", [0.0, 0.4])
def test_the_slope_of_scores_is_found_though_strong_models_write_more(slope):
    random = np.random.default_rng(2)
    found = [length_bias_of_scores(scored(random, slope)) for _ in range(100)]
    assert np.mean([one.value for one in found]) == pytest.approx(slope, abs=0.02)
    assert 0.88 <= np.mean([one.low <= slope <= one.high for one in found]) <= 0.99


def test_the_slope_of_a_balanced_table_is_that_of_dummy_variables():
    rows = scored(np.random.default_rng(3), 0.3, questions=12, models=3)
    rows = [row for n, row in enumerate(rows) if n not in {4, 17}]
    levels = [sorted({row[at] for row in rows}) for at in (0, 1)]
    design = np.array(
        [
            [np.log2(1 + length), *(q == name for name in levels[0]), *(m == name for name in levels[1][1:])]
            for q, m, length, _ in rows
        ],
        dtype=float,
    )
    expected = np.linalg.lstsq(design, np.array([row[3] for row in rows]), rcond=None)[0][0]
    assert length_bias_of_scores(rows).value == pytest.approx(expected)
    assert length_bias_of_scores([*rows, ("q0", "m0", 10, None)]).n == len(rows)


def test_one_model_or_equal_lengths_show_nothing():
    assert length_bias_of_scores([(f"q{n}", "m", n + 1, float(n)) for n in range(20)]) is None
    assert length_bias_of_scores([(f"q{n}", m, 50, 1.0) for n in range(20) for m in "ab"]) is None
    assert length_bias_of_scores([]) is None
    assert length_bias_of_verdicts([("q", "a", "b", 50, 50, "a")] * 3) is None


def verdicts(random, slope, n=300):
    rows = []
    for number in range(n):
        one, other = (round(2 ** random.normal(7, 0.7)) for _ in range(2))
        win = 0.6 + slope * np.log2((1 + one) / (1 + other))
        rows.append((f"q{number // 2}", "x", "y", one, other, "a" if random.random() < win else "b"))
    return rows


def test_the_slope_of_verdicts_is_that_of_the_regression_and_holds_the_truth():
    random = np.random.default_rng(4)
    rows = verdicts(random, 0.1)
    ratio = [np.log2((1 + row[3]) / (1 + row[4])) for row in rows]
    found = length_bias_of_verdicts(rows)
    assert found.value == pytest.approx(stats.linregress(ratio, [float(row[5] == "a") for row in rows]).slope)
    longer = np.mean([(row[3] > row[4]) == (row[5] == "a") for row in rows if row[3] != row[4]])
    assert found.longer.value == pytest.approx(longer)
    many = [length_bias_of_verdicts(verdicts(random, 0.1)) for _ in range(100)]
    assert 0.88 <= np.mean([one.low <= 0.1 <= one.high for one in many]) <= 0.99


def test_naming_a_pair_the_other_way_round_does_not_change_the_slope():
    rows = verdicts(np.random.default_rng(5), 0.08)
    other = {"a": "b", "b": "a"}
    turned = [
        (q, b, a, two, one, other[verdict]) if n % 2 else (q, a, b, one, two, verdict)
        for n, (q, a, b, one, two, verdict) in enumerate(rows)
    ]
    first, second = length_bias_of_verdicts(rows), length_bias_of_verdicts(turned)
    assert (first.value, first.low, first.high) == pytest.approx((second.value, second.low, second.high))
    assert first.longer == second.longer
