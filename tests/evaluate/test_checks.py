"""What is told of answers without a judge."""

import unicodedata

import pytest
from metric_examples import example_of, value_of

from komt.evaluate.checks import CHECKS, balanced, check, eojeol, own_script, target_language, unrepeated
from komt.evaluate.metrics import METRICS


@pytest.mark.parametrize(
    ("answer", "share"),
    [
        ("서울은 한국의 수도입니다.", 1),
        ("Seoul is the capital of Korea.", 0),
        ("서울 ab", 0.5),
        ("안중근(安重根, An Jung-geun)은 독립운동가이다.", 1),
        ("다음 명령을 쓰세요: `pip install komt` 그리고 https://example.com/page", 1),
        ("```python\nprint(1)\n```\n출력합니다.", 1),
        ("123!", None),
        ("", None),
    ],
)
def test_the_target_language_is_the_share_of_hangul(answer: str, share: float | None) -> None:
    assert target_language(answer) == (share if share is None else pytest.approx(share))
    assert target_language(unicodedata.normalize("NFD", answer)) == target_language(answer)


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("서울은 한국의 수도입니다.", 1),
        ("AI 모델의 API", 1),
        ("안중근(安重根)은", 1),
        ("α값을 구한다.", 1),
        ("서울은 韓國의 수도", 0),
        ("오늘은 とても 덥다", 0),
        ("그는 Привет라고 했다", 0),
        ("答案은 3이다", 0),
        ("", None),
    ],
)
def test_other_scripts_are_found_and_glosses_are_no_leakage(answer: str, value: float | None) -> None:
    assert own_script(answer) == value


def test_what_is_said_again_is_counted() -> None:
    assert unrepeated("가나다라마바사아자차카타파하거너더러머버") == 1
    sentence = "오늘은 날씨가 아주 맑고 바람이 시원합니다. "
    loop = unrepeated(sentence * 5)
    length = len("".join(sentence.split()))
    windows = 5 * length - 9
    assert loop == pytest.approx(length / windows)
    assert unrepeated("ㅋ" * 60) == pytest.approx(1 / 51)
    assert unrepeated("짧은 답") is None


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("(가) [나] 《다》 “라” ‘마’", 1),
        ("(가 [나] 다)", 1),
        ("(가 [나) 다]", 0),
        ("(가", 0),
        ("가)", 1),
        ("1) 사과 2) 배", 1),
        ("사과와 배)", 0),
        ('"가" 나', 1),
        ('"가 나', 0),
        ("It’s me", 1),
        ("’가‘", 0),
        ("```c\nif (a {\n```", 1),
        ("", None),
    ],
)
def test_brackets_and_quotation_marks_are_closed(answer: str, value: float | None) -> None:
    assert balanced(answer) == value


def test_length_is_in_eojeol_and_means_are_over_what_can_be_told() -> None:
    assert eojeol("나는 학교에\n갔다.") == 3
    rows = [example_of("답")] * 3
    assert value_of("eojeol", ["가 나", "가", ""], rows) == 1
    assert value_of("target_language", ["가", "a", "1"], rows) == 0.5
    assert METRICS.get("target_language").score("1", rows[0]).value is None


def test_all_checks_of_an_answer_and_how_it_ended() -> None:
    pytest.importorskip("kiwipiepy")
    found = check("사과를 먹었다.", ended=False)
    assert (found.target_language, found.right_particles, found.eojeol, found.ended) == (1, 1, 2, False)
    assert set(CHECKS) <= set(METRICS.names())
    assert all(hasattr(found, name) for name in CHECKS)
