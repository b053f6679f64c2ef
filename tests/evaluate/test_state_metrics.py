"""Dialogue states: how they are read, joint goal accuracy and slot F1 as KLUE WoS has them."""

import pytest
from metric_examples import example_of, value_of

from komt.evaluate.metrics import METRICS
from komt.evaluate.state_metrics import read_state

STATE = "숙소 예약 요일: 토요일\n숙소 예약 명수: 2\n숙소 주차 가능: 예"


@pytest.mark.parametrize(
    "answer",
    [
        STATE,
        "숙소 주차 가능: 네\n숙소 예약 명수 : 2\n숙소 예약 요일: 토요일.",
        "숙소-예약 요일: 토요일\n숙소-예약 명수: 2\n숙소-주차 가능: yes",
        "숙소-예약 요일-토요일\n숙소-예약 명수-2\n숙소-주차 가능-yes",
        "- 숙소 예약 요일: ‘토요일’\n- 숙소 예약 명수: 2\n- 숙소 주차 가능: 예",
        "대화 상태\n숙소 예약 요일 = 토요일\n숙소 예약 명수 = 2\n숙소 주차 가능 = 예",
    ],
)
def test_differences_of_form_are_passed_over(answer: str) -> None:
    assert read_state(answer) == read_state(STATE)


def test_a_value_may_have_a_colon_and_nothing_may_be_said() -> None:
    assert read_state("택시 출발 시간: 18:30") == {("택시 출발 시간", "18:30")}
    assert read_state("없음") == frozenset()
    assert read_state("토요일에 두 명") is None
    assert read_state("식당 지역: 상관 없음") == {("식당 지역", "상관없음")}


# F1 of a turn as the script of KLUE has it: pairs of slot and value, their order aside.
@pytest.mark.parametrize(
    ("answer", "joint", "f1"),
    [
        (STATE, 1, 1),
        ("숙소 예약 요일: 토요일\n숙소 예약 명수: 2", 0, 2 * 1 * (2 / 3) / (1 + 2 / 3)),
        ("숙소 예약 요일: 일요일\n숙소 예약 명수: 2\n숙소 주차 가능: 예", 0, 2 / 3),
        (STATE + "\n숙소 지역: 서울 북쪽", 0, 2 * 0.75 / 1.75),
        ("없음", 0, 0),
        ("토요일에 두 명이요.", 0, 0),
    ],
)
def test_a_turn_is_worth_its_slots(answer: str, joint: float, f1: float) -> None:
    row = example_of(STATE)
    assert METRICS.get("joint_accuracy").score(answer, row).value == joint
    assert METRICS.get("slot_f1").score(answer, row).value == pytest.approx(f1)


def test_turns_are_averaged_and_an_unread_answer_says_so() -> None:
    rows = [example_of(STATE), example_of("택시 도착지: 서울역")]
    assert value_of("joint_accuracy", [STATE, "택시 도착지: 용산역"], rows) == 0.5
    assert value_of("slot_f1", [STATE, "택시 도착지: 용산역"], rows) == 0.5
    assert METRICS.get("slot_f1").score("두 명", rows[0]).chosen == ""
    assert METRICS.get("slot_f1").score(STATE, rows[0]).chosen is None
