"""What an answer is worth."""

import unicodedata
from dataclasses import replace

import numpy as np
import pytest

from komt.errors import DataError, UsageError
from komt.evaluate.metrics import METRICS, Score, exact_match, f1, match_choice
from komt.example import Example, Message


def example_of(references=(), choices=(), answer_index=None, number=0) -> Example:
    return Example(
        id=f"t:{number}",
        task="t",
        family="f",
        kind="plain",
        source="s",
        licence="CC0",
        origin="native",
        split="test",
        template="a",
        group="",
        messages=(
            Message("user", f"물음 {number}"),
            Message("assistant", references[0] if references else "답", True),
        ),
        references=tuple(references),
        choices=tuple(choices),
        answer_index=answer_index,
    )


# The official KorQuAD 1.0 rule, corner by corner.
@pytest.mark.parametrize(
    ("answer", "reference", "em", "char_f1"),
    [
        ("", "", 1, 0),
        ("국한", "한국", 0, 1),
        ("임 수 경", "임수경", 0, 1),
        (unicodedata.normalize("NFD", "한국"), "한국", 0, 0),
        ("《한국》", "한국", 1, 1),
        ("‘한국’", "<한국>", 1, 1),
        ("(한국) 'A'", "한국 a", 1, 1),
        ("1,000.5!", "10005", 1, 1),
        ("“한국”", "한국", 0, 2 * (2 / 4) * 1 / (2 / 4 + 1)),
        ("「한국」", "한국", 0, 2 / 3),
        ("한국·일본", "한국일본", 0, 2 * (4 / 5) * 1 / (4 / 5 + 1)),
        ("한국을", "한국", 0, 0.8),
        ("가가나", "가나나", 0, 2 / 3),
        ("서울", "부산", 0, 0),
    ],
)
def test_exact_match_and_f1_follow_the_official_korquad_rule(answer, reference, em, char_f1):
    assert exact_match(answer, reference) == em
    assert f1(answer, reference) == pytest.approx(char_f1)


def test_the_best_reference_counts():
    example = example_of(["대한민국", "한국"])
    assert METRICS.get("exact_match").score("한국", example).value == 1.0
    assert METRICS.get("f1").score("한국인", example).value == pytest.approx(0.8)
    assert METRICS.get("f1").score("한국", example_of()).value is None


def test_an_answer_names_a_choice_after_normalisation_or_none():
    assert match_choice(" 긍정. ", ["부정", "긍정"]) == "긍정"
    assert match_choice("'긍정'", ["부정", "긍정"]) == "긍정"
    assert match_choice(unicodedata.normalize("NFD", "긍정"), ["부정", "긍정"]) == "긍정"
    assert match_choice("긍정입니다", ["부정", "긍정"]) == ""
    assert match_choice("?", ["!", "?"]) == "?"
    assert match_choice("", ["!", "?"]) == ""


def value_of(metric: str, answers, golds, labels=("가", "나", "다")) -> float:
    examples = [example_of([gold], labels, labels.index(gold), i) for i, gold in enumerate(golds)]
    judge = METRICS.get(metric)
    scores = [judge.score(answer, example) for answer, example in zip(answers, examples, strict=True)]
    return float(judge.statistic(scores)(np.ones((1, len(scores))))[0])


def test_accuracy_and_macro_f1_by_hand():
    golds, answers = ["가", "가", "가", "나"], ["가", "가", "나", "모름"]
    assert value_of("accuracy", answers, golds) == 0.5
    # 가: precision 1, recall 2/3, F1 0.8; 나: precision 0, recall 0, F1 0; 다 occurs nowhere.
    assert value_of("macro_f1", answers, golds) == pytest.approx(0.4)
    assert value_of("macro_f1", ["모름"] * 4, golds) == 0.0
    assert value_of("macro_f1", golds, golds) == 1.0
    # A label that is only ever given counts with F1 0.
    assert value_of("macro_f1", ["가", "다"], ["가", "가"]) == pytest.approx((2 / 3 + 0) / 2)


def test_the_order_in_which_choices_are_shown_does_not_matter():
    judge = METRICS.get("macro_f1")
    rows = [
        example_of(["가"], ("가", "나"), 0),
        example_of(["가"], ("나", "가"), 1),
        example_of(["나"], ("나", "가"), 0),
    ]
    scores = [judge.score(answer, row) for answer, row in zip("가가나", rows, strict=True)]
    assert [score.expected for score in scores] == ["가", "가", "나"]
    assert judge.statistic(scores)(np.ones((1, 3)))[0] == 1.0


def test_resamples_weigh_examples():
    judge = METRICS.get("macro_f1")
    rows = [example_of([gold], ("가", "나"), "가나".index(gold)) for gold in "가가나나"]
    scores = [judge.score(answer, row) for answer, row in zip("가나나가", rows, strict=True)]
    weights = np.array([[2.0, 0, 2, 0], [0, 2, 0, 2], [2, 1, 1, 0]])
    repeated = [judge.statistic([scores[i] for i in (0, 0, 1, 2)])(np.ones((1, 4)))[0]]
    assert judge.statistic(scores)(weights).tolist() == pytest.approx([1.0, 0.0, *repeated])


def test_a_choice_metric_without_choices_says_what_is_missing():
    with pytest.raises(DataError, match="need choices") as caught:
        METRICS.get("accuracy").score("가", example_of(["가"]))
    assert "exact_match" in caught.value.cure


def test_an_unknown_metric_names_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'exact_match'"):
        METRICS.get("exact-match")


def test_an_answer_by_number_or_letter_is_the_choice_it_stands_for() -> None:
    example = replace(example_of(["B"], ("예", "아니요"), 1), metadata={"marks": ["A", "B"]})
    accuracy = METRICS.get("accuracy")
    assert accuracy.score("B.", example).value == 1
    wrong = accuracy.score("A", example)
    assert (wrong.value, wrong.chosen, wrong.expected) == (0, "예", "아니요")
    assert accuracy.score("아니요", example).value == 1


@pytest.mark.parametrize("labels", [("+", "-"), (">", "<"), ("A+", "A-"), ("C", "C++")])
def test_choices_that_differ_in_punctuation_alone_are_not_the_same(labels: tuple[str, str]) -> None:
    accuracy = METRICS.get("accuracy")
    for right, wrong in (labels, labels[::-1]):
        example = example_of([right], labels, labels.index(right))
        assert accuracy.score(f" {right}", example).value == 1
        assert accuracy.score(wrong, example) == Score(0.0, right, wrong)
        assert accuracy.score("", example) == Score(0.0, right, "")


def test_a_shown_number_goes_before_a_choice_that_is_the_same_number() -> None:
    example = replace(example_of(["1"], ("2", "1"), 0), metadata={"marks": ["1", "2"]})
    accuracy = METRICS.get("accuracy")
    assert accuracy.score("1", example) == Score(1.0, "2", "2")
    assert accuracy.score("2", example) == Score(0.0, "2", "1")


def test_where_each_row_has_choices_of_its_own_macro_f1_is_of_their_labels() -> None:
    """As KoBEST's COPA and HellaSwag are scored: the labels are the places of the choices in the set."""
    metrics = pytest.importorskip("sklearn.metrics")
    right, given = [0, 0, 1, 1, 1], [0, 1, 1, 0, 1]
    rows, answers = [], []
    for number, (gold, said) in enumerate(zip(right, given, strict=True)):
        choices = [f"{number}번 첫째", f"{number}번 둘째"]
        shown = choices[::-1] if number % 2 else choices
        labels = ["1", "0"] if number % 2 else ["0", "1"]
        row = example_of([choices[gold]], shown, shown.index(choices[gold]), number)
        rows.append(replace(row, metadata={"labels": labels}))
        answers.append(choices[said])
    judge = METRICS.get("macro_f1")
    scores = [judge.score(answer, row) for answer, row in zip(answers, rows, strict=True)]
    assert [score.expected for score in scores] == [str(one) for one in right]
    expected = metrics.f1_score(right, given, average="macro")
    assert judge.statistic(scores)(np.ones((1, 5)))[0] == pytest.approx(expected)
    assert judge.score("모름", rows[0]).chosen == ""
