from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from komt.korean import COMMON_SYLLABLES
from komt.mix.clean import is_mojibake
from komt.mix.filters import Checked, check, mend, repeats_itself, source_reason
from komt.recipe import QualityPart
from komt.sources import Rejected, load_source, read_rows

ASK = "이 영화를 본 사람의 생각은 어떤가요?"


def checked(
    asked: str, answer: str = "긍정", family: str = "sentiment", *, choices: bool = True, **settings: Any
) -> Checked:
    prompt = f"{ASK}\n\n{asked}"
    return check([prompt, answer], family, "plain", choices, QualityPart(**settings), asked=asked)


def reason(asked: str, answer: str = "좋은 답입니다.", family: str = "dialogue", **settings: Any) -> str:
    return checked(asked, answer, family, choices=False, **settings).reason


def test_a_clean_row_is_given_back_as_it_is() -> None:
    prompt, answer = "오늘 날씨가 어때요? (서울, 3월) 12-25 2,000원 “맑음” ㅋㅋ♥", "맑고 따뜻해요!"
    found = check([prompt, answer], "dialogue", "plain", False, QualityPart(), places=[(0, 3), (1, 2)])
    assert found == ("", (prompt, answer), (), ((0, 3), (1, 2)), frozenset())
    assert found.texts[0] is prompt


def test_everyday_characters_need_no_mending() -> None:
    """The quick look at a text passes only what the slow one would leave alone."""
    quality = QualityPart()
    for code in [
        *range(0x20, 0x3000),
        *range(0x3000, 0x3400),
        *range(0xAC00, 0xD7A4),
        *range(0xFE00, 0x10000),
    ]:
        text = f"가{chr(code)}나 가{chr(code)}나 {chr(code)}"
        mended, done = mend(text, quality)
        found = check(["가나다", text], "dialogue", "plain", False, quality)
        assert found.texts[1] == mended
        assert found.cleanings == done
        assert (found.reason == "mojibake") == is_mojibake(text)


def test_what_can_be_mended_is_and_is_counted() -> None:
    asked = "정말<br>재밌어요\u200b &hearts; 010-2345-6789 me@mail.kr " + "\u1100\u1161"
    found = checked(asked)
    assert found.reason == ""
    assert found.texts[0] == f"{ASK}\n\n정말\n재밌어요 ♥ [전화번호] [이메일] 가"
    assert found.cleanings == {"html", "control", "nfc", "phone", "email"}


def test_places_are_found_again() -> None:
    prompt = "지문: 첫 줄<br>둘째\u200b 줄의 <b>세종</b>은 010-2345-6789 왕이다."
    at = prompt.index("세종")
    found = check(
        [prompt, "세종"],
        "extractive_qa",
        "plain",
        False,
        QualityPart(),
        others=["<b>세종</b>대왕"],
        places=[(0, at), (0, at + 2), (0, len(prompt)), (1, 0)],
    )
    text = found.texts[0]
    (_, start), (_, end), (_, last), _ = found.places
    assert text[start:end] == "세종"
    assert last == len(text)
    assert found.others == ("세종대왕",)
    # A place in the midst of what was masked is at its end at most.
    inside = prompt.index("2345")
    moved = check([prompt, "세종"], "dialogue", "plain", False, QualityPart(), places=[(0, inside)])
    assert 0 < moved.places[0][1] <= len(text)


def test_what_is_beyond_mending_is_left_out() -> None:
    assert reason("안녕하세요".encode().decode("latin-1")) == "mojibake"
    assert reason("깨\ufffd진 글") == "mojibake"
    assert reason("깨\ufffd진 글", mojibake="keep") == ""
    assert reason("<div><span style='color:red;font-size:12px'></span><br/></div><p></p>글자") == "html"
    assert reason("한 줄<br>두 줄입니다") == ""
    assert reason("한 줄<br>두 줄입니다", html="drop") == "html"
    assert checked("한 줄<br>두 줄", html="keep").texts[0].endswith("한 줄<br>두 줄")


def test_markup_that_is_asked_about_stays() -> None:
    asked = "HTML에서 <br> 태그는 무엇을 하나요?"
    found = checked(asked, "`<br>`은 줄을 바꿉니다.", "instruction", choices=False)
    assert found.reason == ""
    assert found.texts == (f"{ASK}\n\n{asked}", "`<br>`은 줄을 바꿉니다.")


def test_personal_data_is_masked_dropped_or_kept() -> None:
    asked = "문의는 010-2345-6789로 하세요"
    assert checked(asked).texts[0].endswith("문의는 [전화번호]로 하세요")
    assert reason(asked, personal="drop") == "personal_data"
    assert checked(asked, personal="keep").texts[0].endswith(asked)
    assert checked(asked, personal="keep").cleanings == frozenset()


@pytest.mark.parametrize("answer", ["", " ", "네", "?", "-----", "\u200b"])
def test_answers_that_say_nothing_are_left_out(answer: str) -> None:
    assert reason("점심은 드셨나요?", answer) == "short_answer"
    assert reason("점심은 드셨나요?", answer, short_answer="keep") in {"", "language"}


@pytest.mark.parametrize("answer", ["네.", "응응", "7", "[]", "^^;"])
def test_short_answers_that_say_something_stay(answer: str) -> None:
    assert reason("점심은 드셨나요?", answer) == ""


def test_one_letter_may_be_a_choice_or_a_span() -> None:
    assert checked("정말 재밌다", "가").reason == ""
    assert reason("조선을 다스린 사람은?", "왕", "extractive_qa") == ""
    inverted = check(["답: 왕", "왕"], "extractive_qa", "inverted", False, QualityPart())
    assert inverted.reason == "short_answer"


def test_language_is_measured_on_the_row_not_on_the_template() -> None:
    assert checked("I really loved this movie").reason == "language"
    assert checked("10/10").reason == ""
    assert checked("10/10", "A").reason == ""
    assert checked("이 movie is really good 했다").reason == ""
    assert checked("I really loved it", family="translation").reason == ""
    assert checked("I really loved this movie", min_hangul=0.0).reason == ""
    assert reason("한국어로만 물어요", "Sorry, I can answer in English only.", min_hangul=0.4) == "language"
    assert reason("한국어로만 물어요", "English words only here", max_hangul=0.2) == "language"


def test_length_has_bounds() -> None:
    assert checked("굿", min_characters=2).reason == "too_short"
    assert checked("굿이에요", min_characters=2).reason == ""
    assert reason("가나다라마바사아자차카타파하", max_characters=13) == "too_long"
    assert reason("질문입니다", "가나다라마바사아자차카타파하", max_characters=13) == "too_long"


@pytest.mark.parametrize(
    "text",
    [
        "ㅋ" * 50,
        "꿀잼" * 30,
        "재미없음 " * 15,
        "저는 오늘 학교에 가서 친구를 만났습니다. " * 8,
        "\n".join(["안녕하세요 여러분 반갑습니다", "오늘도 좋은 하루 되세요", "자 이제 시작해 볼까요"] * 4),
    ],
)
def test_repetition_is_known(text: str) -> None:
    assert repeats_itself(text)
    assert reason("계속 써 주세요", text) == "repetition"
    assert reason("계속 써 주세요", text, repetition="keep") == ""


@pytest.mark.parametrize(
    "text",
    [
        "ㅋㅋㅋㅋㅋㅋㅋ 진짜 웃기다",
        "지루해" + "." * 60,
        "1: 2\n2: 3\n3: 5\n4: 5\n5: 9\n6: 7\n7: 9\n8: 9\n9: 0\n10: 11\n11: 12\n12: 15\n13: 14\n14: 15\n15: 0",
        # Two sentences that are alike, and choices that share most of their words.
        "두 마리의 고양이, 한 마리의 갈색과 한 마리의 흰 고양이가 푸른 담요와 함께 침대 위에 누워 있습니다.\n"
        "두 마리의 고양이, 한 마리의 갈색과 한 마리의 흰 고양이가 푸른 담요와 함께 침대 위에 누워 있습니다.",
        "여자가 빨간 옷을 입은 사람을 본다.\n여자가 빨간 옷을 입은 사람을 피한다.\n"
        "여자가 빨간 옷을 입은 사람을 부른다.\n여자가 빨간 옷을 입은 사람을 따라간다.",
        "극중 → 알려졌다.\n수현은 → 알려졌다.\n과학자 → 겸\n겸 → 의사로\n의사로 → 등장해\n등장해 → 맡은\n"
        "돕는 → 역할을\n역할을 → 맡은\n맡은 → 것으로\n것으로 → 알려졌다.\n알려졌다. → (중심)",
        "Medium concentrations have been reported in the past week, low to high concentrations offshore, "
        "background to high concentrations inshore, and low to medium concentrations elsewhere.",
    ],
)
def test_lists_pairs_and_laughter_are_no_repetition(text: str) -> None:
    assert not repeats_itself(text)


def test_licences_and_origins_are_allowed_by_pattern() -> None:
    every = ("native", "translated", "generated")
    assert source_reason("CC BY-SA 4.0", "native", QualityPart(), every) == ""
    assert source_reason("CC BY-SA 4.0", "translated", QualityPart(), ("native",)) == "origin"
    allowed = QualityPart(licences=("cc*", "MIT"), not_licences=("*-NC*",))
    assert source_reason("CC BY-SA 4.0", "native", allowed, every) == ""
    assert source_reason("CC BY-NC 4.0", "native", allowed, every) == "licence"
    assert source_reason("not stated", "native", allowed, every) == "licence"


def test_everyday_syllables_are_those_of_ks_x_1001() -> None:
    assert len(COMMON_SYLLABLES) == 2350
    assert {"가", "힝", "똠", "햏"} & COMMON_SYLLABLES == {"가", "힝"}


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("source", "split", "fields", "family", "counts"),
    [
        ("korquad", "dev", ("question", "answer"), "extractive_qa", {}),
        ("klue-nli", "dev", ("premise", "hypothesis"), "inference", {}),
        ("klue-sts", "dev", ("sentence1", "sentence2"), "similarity", {}),
        ("kobest-copa", "train", ("premise", "choice1"), "cause_effect", {}),
        ("paws-ko", "dev", ("sentence1", "sentence2"), "paraphrase", {"language": 7}),
        ("chatbot-data", "train", ("question", "answer"), "dialogue", {"short_answer": 3}),
        ("ntrex", "test", ("en", "ko"), "translation", {}),
        ("koreanlm", "train", ("instruction", "output"), "instruction", {"short_answer": 5}),
    ],
)
def test_good_rows_of_real_sets_stay(
    realdata: Path, source: str, split: str, fields: tuple[str, str], family: str, counts: dict[str, int]
) -> None:
    found: dict[str, int] = {}
    for row in read_rows(load_source(source), split):
        if not isinstance(row, Rejected) and all(row[name] for name in fields):
            texts = [str(row[name]) for name in fields]
            why = check(texts, family, "plain", False, QualityPart()).reason
            found[why] = found.get(why, 0) + 1
    assert found.pop("") > 500
    assert found == counts
