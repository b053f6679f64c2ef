"""F0.5 of corrections: edits between eojeols, counted as ERRANT's scorer counts them."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
from metric_examples import check_resamples, example_of, scored, value_of

from komt.errors import DataError
from komt.evaluate.correction_metrics import edits
from komt.evaluate.metrics import METRICS
from komt.example import Example


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("나는 학교에 갔다.", "나는 학교에 갔다.", []),
        ("할수있다 되요", "할 수 있다 돼요", [(0, 1, "할 수 있다"), (1, 2, "돼요")]),
        ("오늘 날씨 가 맑다", "오늘 날씨가 맑다", [(1, 3, "날씨가")]),
        ("그 일 은 안되", "그 일은 안 돼", [(1, 3, "일은"), (3, 4, "안 돼")]),
        ("나는 간다", "나는 집에 간다", [(1, 1, "집에")]),
        ("나는 나는 간다", "나는 간다", [(0, 1, "")]),
        ("왠지 몇일 동안", "왠지 며칠 동안", [(1, 2, "며칠")]),
        ("", "가", [(0, 0, "가")]),
        ("가", "", [(0, 1, "")]),
        ("", "", []),
        ("빨리  와", "빨리 와", []),
    ],
)
def test_edits_are_as_small_as_whole_eojeols_allow(source, target, expected) -> None:
    assert edits(source, target) == expected


def test_edits_turn_the_one_into_the_other() -> None:
    draw = random.Random(0)
    for _ in range(300):
        source, target = (
            " ".join("".join(draw.choices("가나다라마", k=9)).replace("마", " ").split()) for _ in "ab"
        )
        words = source.split()
        for first, last, instead in sorted(edits(source, target), reverse=True):
            words[first:last] = instead.split()
        assert " ".join(words) == target


SOURCE = "몇일 동안 할수있는 일이 없었다."
RIGHT = "며칠 동안 할 수 있는 일이 없었다."


def row_of(*references: str, source: str = SOURCE) -> Example:
    return example_of(*references, gold={"source": source})


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        (RIGHT, 1),
        (f"“{RIGHT}”", 1),
        (f"바른 문장: {RIGHT}", 1),
        ("며칠 동안 할수있는 일이 없었다.", 1.25 * 1 * 0.5 / (0.25 * 1 + 0.5)),
        ("며칠 동안 할 수 있는 일이 없엇다.", 1.25 * (2 / 3) * 1 / (0.25 * (2 / 3) + 1)),
        # Half a correction is a wrong edit and a missing one.
        ("며칠 동안 할수 있는 일이 없었다.", 0.5),
        (SOURCE, 0),
        ("", 0),
    ],
)
def test_an_answer_is_worth_its_edits(answer: str, value: float) -> None:
    assert METRICS.get("f0_5").score(answer, row_of(RIGHT)).value == pytest.approx(value)


def test_the_better_of_two_right_answers_counts_and_nothing_to_correct_is_right() -> None:
    assert (
        METRICS.get("f0_5")
        .score("며칠 동안 할 수 있는 일이 없었습니다.", row_of(RIGHT, RIGHT[:-2] + "습니다."))
        .value
        == 1
    )
    same = row_of("비가 온다.", source="비가 온다.")
    assert METRICS.get("f0_5").score("비가 온다.", same).value == 1
    assert METRICS.get("f0_5").score("비 가 온다.", same).value == 0
    with pytest.raises(DataError, match="is to be corrected"):
        METRICS.get("f0_5").score(RIGHT, example_of(RIGHT))


def test_the_counts_of_a_corpus_give_what_errant_gives() -> None:
    scorer = pytest.importorskip("errant.commands.compare_m2")
    answers = [RIGHT, "며칠 동안 할수 있는 일이 없엇다.", SOURCE, "몇일 동안 할 수 있는 일이 있었다."]
    rows = [row_of(RIGHT)] * len(answers)

    def as_m2(target: str) -> list[list[object]]:
        return [[first, last, "X", instead, 0] for first, last, instead in edits(SOURCE, target)]

    options = SimpleNamespace(
        dt=False, ds=False, cs=True, cse=False, single=False, multi=False, filt=[], beta=0.5
    )
    totals = [0, 0, 0]
    for answer in answers:
        given, right = (scorer.process_edits(as_m2(text), options)[0] for text in (answer, RIGHT))
        counts = scorer.compareEdits(given, right)[:3]
        totals = [one + more for one, more in zip(totals, counts, strict=True)]
    assert value_of("f0_5", answers, rows) == pytest.approx(scorer.computeFScore(*totals, 0.5)[2], abs=1e-4)
    check_resamples("f0_5", scored("f0_5", answers, rows))
