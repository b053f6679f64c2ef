"""The published form: its own figures come out again."""

import pytest

from komt.judge.published_table import published_table

# Sums, averages and percentages of the published table: 37 questions, 0 to 5 points each.
PUBLISHED = {
    "gpt-3.5-turbo": (147, 3.97, 79.45),
    "naver Cue": (140, 3.78, 75.67),
    "clova X": (136, 3.67, 73.51),
    "komt-mistral-7b-v1": (131, 3.54, 70.81),
    "komt-llama2-13b-v1": (129, 3.48, 69.72),
    "komt-llama2-7b-v1": (117, 3.16, 63.24),
}


def marks(total, questions=37):
    """Whole scores, no two models' by the same questions, that add up to the sum."""
    low, extra = divmod(total, questions)
    return [(f"q{n:02}", 0, float(low + (n < extra))) for n in range(questions)]


def test_the_published_figures_come_out_again():
    rows = published_table({model: marks(total) for model, (total, _, _) in PUBLISHED.items()})
    assert [row.model for row in rows] == list(PUBLISHED)
    for row in rows:
        total, average, percentage = PUBLISHED[row.model]
        assert row.total.value == pytest.approx(total)
        assert row.average.value == pytest.approx(average, abs=0.01)
        assert row.percentage.value == pytest.approx(percentage, abs=0.01)
        assert (row.n, row.unscored, row.total.n) == (37, 0, 37)
        assert row.percentage.low == pytest.approx(row.average.low * 20)
        assert row.total.high == pytest.approx(row.average.high * 37)
        assert row.average.low < row.average.value < row.average.high


def test_unscored_replies_do_not_lower_a_model_and_are_shown():
    unread = [
        (question, turn, None if number < 7 else score)
        for number, (question, turn, score) in enumerate(marks(37 * 4))
    ]
    (row,) = published_table({"a": unread})
    assert (row.total.value, row.average.value, row.percentage.value) == pytest.approx((120, 4, 80))
    assert (row.n, row.unscored) == (30, 7)


def test_another_scale_and_a_model_without_scores():
    rows = published_table({"none": [("a", 0, None)], "some": [("a", 0, 8.0), ("b", 0, 6.0)]}, full=10)
    assert [row.model for row in rows] == ["some", "none"]
    assert rows[0].percentage.value == pytest.approx(70)
    assert (rows[1].total, rows[1].percentage, rows[1].unscored) == (None, None, 1)
