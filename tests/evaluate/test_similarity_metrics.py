"""Numbers on a scale: how they are read, Pearson's correlation and F1 at a threshold against the packages."""

import random

import pytest
from metric_examples import check_resamples, example_of, scored, value_of

from komt.evaluate.metrics import METRICS
from komt.evaluate.similarity_metrics import read_number


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        ("4.3", 4.3),
        (" 4 ", 4.0),
        ("4.3점", 4.3),
        ("**4.3점**입니다.", 4.3),
        ("점수: 4.3", 4.3),
        ("의미 유사도는 4.3입니다.", 4.3),
        ("4.3/5.0", 4.3),
        ("5점 만점에 4.3점", 4.3),
        ("0.0점부터 5.0점까지 가운데 4.3점", 4.3),
        ("유사도(0.0~5.0): 4.3", 4.3),
        ("４．３", 4.3),
        ("4.3\n\n문장 1: 사과 2개를 샀다.", 4.3),
        ("두 문장은 비슷합니다.\n4.3", 4.3),
        ("4.3점, 즉 4.3", 4.3),
        ("0", 0.0),
        ("5.0", 5.0),
        ("", None),
        ("아주 비슷합니다.", None),
        ("3점이나 4점", None),
        ("7", None),
        ("-1", None),
        ("50", None),
        ("4.3.2", None),
        ("A4", None),
    ],
)
def test_a_number_is_read_however_it_is_written_or_not_at_all(answer: str, number: float | None) -> None:
    assert read_number(answer, 0, 5) == number


def random_pairs(count: int) -> tuple[list[str], list[str]]:
    draw = random.Random(1)
    right = [f"{draw.uniform(0, 5):.1f}" for _ in range(count)]
    return [f"{min(5, max(0, float(one) + draw.gauss(0, 1))):.1f}" for one in right], right


def test_pearson_equals_scipy_and_f1_at_3_scikit_learn() -> None:
    stats, metrics = pytest.importorskip("scipy.stats"), pytest.importorskip("sklearn.metrics")
    answers, right = random_pairs(80)
    rows = [example_of(one) for one in right]
    given, gold = [float(one) for one in answers], [float(one) for one in right]
    assert value_of("pearson", answers, rows) == pytest.approx(stats.pearsonr(given, gold)[0])
    binary = metrics.f1_score([one >= 3 for one in gold], [one >= 3 for one in given])
    assert value_of("f1_at_3", answers, rows) == pytest.approx(binary)
    for metric in ("pearson", "f1_at_3"):
        check_resamples(metric, scored(metric, answers, rows))


def test_the_threshold_itself_is_similar() -> None:
    rows = [example_of("3.0"), example_of("2.9")]
    assert value_of("f1_at_3", ["3", "2.9"], rows) == 1
    assert value_of("f1_at_3", ["2.9", "3.0"], rows) == 0
    assert value_of("f1_at_3", ["1", "1"], [example_of("2"), example_of("1")]) == 1


def test_what_is_no_number_is_unscored_and_never_zero() -> None:
    pearson = METRICS.get("pearson")
    assert pearson.score("잘 모르겠습니다.", example_of("4.0")).value is None
    assert pearson.score("0.0", example_of("5.0")).value == 0
    assert pearson.score("4.0", example_of("4.5")).value == pytest.approx(0.9)


def test_a_constant_answer_correlates_with_nothing() -> None:
    rows = [example_of(one) for one in ("1.0", "3.0", "5.0")]
    assert value_of("pearson", ["2.5"] * 3, rows) == 0
    assert value_of("pearson", ["5.0", "3.0", "1.0"], rows) == pytest.approx(-1)


def test_the_unrounded_number_counts_where_the_task_keeps_it() -> None:
    rows = [example_of("4.9", gold={"real_score": 4.857142857142857}), example_of("1.0"), example_of("2.0")]
    found = scored("pearson", ["4.9", "1.0", "2.0"], rows)
    assert found[0].parts == (4.9, 4.857142857142857)
