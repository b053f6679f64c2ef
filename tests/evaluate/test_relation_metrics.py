"""Relations: micro F1 without the one that means none, and the area under precision and recall (KLUE RE)."""

from __future__ import annotations

import numpy as np
import pytest
from metric_examples import check_resamples, example_of, scored, value_of

from komt.errors import DataError
from komt.evaluate.metrics import METRICS, score_choice
from komt.example import Example

LABELS = ["관계 없음", "부모", "자녀", "설립자"]


def rows_of(right: list[str]) -> list[Example]:
    # Choices are shown in another order in every row.
    return [
        example_of(one, choices=LABELS[at % 4 :] + LABELS[: at % 4], gold={"none": LABELS[0]}, number=at)
        for at, one in enumerate(right)
    ]


def test_micro_f1_equals_scikit_learn_without_no_relation() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    draw = np.random.default_rng(3)
    right = [LABELS[at] for at in draw.integers(0, 4, 60)]
    answers = [one if draw.random() < 0.6 else LABELS[draw.integers(0, 4)] for one in right]
    rows = rows_of(right)
    expected = metrics.f1_score(right, answers, labels=LABELS[1:], average="micro")
    assert value_of("micro_f1", answers, rows) == pytest.approx(expected)
    check_resamples("micro_f1", scored("micro_f1", answers, rows))


def test_an_answer_that_is_no_choice_is_a_miss_and_no_relation_counts_for_nothing() -> None:
    rows = rows_of(["부모", "관계 없음", "자녀"])
    assert value_of("micro_f1", ["부모", "관계 없음", "모름"], rows) == pytest.approx(2 * 1 / (1 + 2))
    assert value_of("micro_f1", ["부모", "자녀", "자녀"], rows) == pytest.approx(2 * 2 / (3 + 2))
    assert METRICS.get("micro_f1").score("모름", rows[0]).chosen == ""
    with pytest.raises(DataError, match="means none"):
        METRICS.get("micro_f1").score("부모", example_of("부모", choices=LABELS))


def test_the_area_equals_scikit_learn_with_the_choices_probabilities() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    draw, judge = np.random.default_rng(5), METRICS.get("auprc")
    right = [*LABELS, *(LABELS[at] for at in draw.integers(0, 4, 50))]
    rows = rows_of(right)
    # Rounded, so that some probabilities are equal.
    logits = [
        np.round(draw.normal(0, 1, 4) + [one == row.references[0] for one in row.choices], 1) for row in rows
    ]
    scores = [judge.score_choices(list(map(float, one)), row) for one, row in zip(logits, rows, strict=True)]
    shares = np.zeros((len(rows), 4))
    for at, (one, row) in enumerate(zip(logits, rows, strict=True)):
        for choice, share in zip(row.choices, np.exp(one) / np.exp(one).sum(), strict=True):
            shares[at, LABELS.index(choice)] = share
    areas = []
    for at, label in enumerate(LABELS):
        precision, recall, _ = metrics.precision_recall_curve([one == label for one in right], shares[:, at])
        areas.append(metrics.auc(recall, precision))
    statistic = judge.statistic(scores)
    assert statistic(np.ones((1, len(rows))))[0] == pytest.approx(np.mean(areas), abs=1e-3)
    assert scores[0].expected == right[0]
    check_resamples("auprc", scores)


def test_a_text_tells_no_probability() -> None:
    assert METRICS.get("auprc").score("부모", rows_of(["부모"])[0]).value is None


def test_a_choice_by_likelihood_is_scored_by_what_the_metric_reads() -> None:
    row = rows_of(["부모"])[0]
    area = score_choice(METRICS.get("auprc"), "부모", [-1.0, -0.5, -2.0, -3.0], row)
    assert (area.value, area.chosen) == (
        pytest.approx(np.exp(-0.5) / sum(map(np.exp, [-1, -0.5, -2, -3]))),
        "부모",
    )
    assert score_choice(METRICS.get("accuracy"), "부모", [-1.0, -0.5, -2.0, -3.0], row).value == 1
