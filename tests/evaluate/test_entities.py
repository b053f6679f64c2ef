"""How entities are read from answers, and where they stand."""

import pytest

from komt.evaluate.entities import Entity, in_order, place, read_entities, tags

TYPES = {"PS": "사람", "LC": "장소", "DT": "날짜", "TI": "시간", "QT": "수량"}


@pytest.mark.parametrize(
    ("answer", "entities"),
    [
        ("세종: 사람\n1443년: 날짜", "세종/PS; 1443년/DT"),
        ("사람: 세종\n날짜: 1443년, 1450년", "세종/PS; 1443년/DT; 1450년/DT"),
        ("세종(사람), 1443년(날짜)", "세종/PS; 1443년/DT"),
        ("사람=세종, 날짜=1443년", "세종/PS; 1443년/DT"),
        ("세종: 사람, 1443년: 날짜", "세종/PS; 1443년/DT"),
        ('[{"종류": "사람", "값": "세종"}, {"값": "1443년", "종류": "날짜"}]', "세종/PS; 1443년/DT"),
        ('{"사람": ["세종"], "날짜": "1443년"}', "세종/PS; 1443년/DT"),
        ('```json\n{"세종": "사람"}\n```', "세종/PS"),
        ('[["세종", "사람"]]', "세종/PS"),
        # Differences of form that are passed over.
        ("- **세종** : 사람\n- 1443년 → 날짜", "세종/PS; 1443년/DT"),
        ("1. 세종 (PS)\n2. 1443년 (DT)", "세종/PS; 1443년/DT"),
        ("‘세종’: 사람", "세종/PS"),
        ("세종 - 사람", "세종/PS"),
        ("개체명은 다음과 같습니다.\n세종: 사람", "세종/PS"),
        ("오후 3:30: 시간", "오후 3:30/TI"),
        ("수량: 1,000명, 3개", "1,000명/QT; 3개/QT"),
        ("1,000명(수량), 세종(사람)", "1,000명/QT; 세종/PS"),
        ("사람: 세종\n장소: 없음", "세종/PS"),
        # No entity, said so.
        ("없음", ""),
        ("‘없음’.", ""),
        ("해당 없음", ""),
        ("개체명이 없습니다.", ""),
        ("[]", ""),
        ("사람: 없음\n장소: 없음", ""),
        # Of no form that is asked for.
        ("잘 모르겠습니다.", None),
        ("세종", None),
        ("세종: 인물", None),
        ("", None),
    ],
)
def test_entities_are_read_in_every_form_that_prompts_ask_for(answer: str, entities: str | None) -> None:
    found = read_entities(answer, TYPES)
    shown = None if found is None else "; ".join(f"{one.text}/{one.type}" for one in found)
    assert shown == entities


def test_a_known_word_may_have_a_comma_within() -> None:
    known = [Entity("3월 1일, 2일", "DT")]
    found = read_entities("날짜: 3월 1일, 2일, 4월", TYPES, known)
    assert [one.text for one in found or []] == ["3월 1일, 2일", "4월"]


SENTENCE = "서울 사람이 서울에서 서울 시장을 만났다."


def test_right_entities_stand_one_after_the_other() -> None:
    right = in_order([{"text": "서울", "type": "LC"}, {"text": "서울", "type": "LC"}], SENTENCE)
    assert [one.at for one in right] == [0, 7]


def test_a_word_that_stands_several_times_is_taken_for_the_right_one() -> None:
    right = [Entity("서울", "LC", 7)]
    assert [one.at for one in place([Entity("서울", "LC")], SENTENCE, right)] == [7]
    # Of another type it is still taken for the one that is marked.
    assert [one.at for one in place([Entity("서울", "PS")], SENTENCE, right)] == [7]
    # A second one stands elsewhere, and one that is not in the sentence nowhere.
    given = [Entity("서울", "LC"), Entity("서울", "LC"), Entity("부산", "LC")]
    assert [one.at for one in place(given, SENTENCE, right)] == [7, 0, -1]


def test_tags_are_those_of_characters_without_white_space() -> None:
    found = tags([Entity("서울 사람", "PS", 0), Entity("서울", "LC", 7)], "서울 사람이 서울에")
    assert found == ["B-PS", "I-PS", "I-PS", "I-PS", "O", "B-LC", "I-LC", "O"]
