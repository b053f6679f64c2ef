from __future__ import annotations

import unicodedata

import pytest

from komt.errors import DataError
from komt.korean import hangul_share, josa, nfc, normalise_answer


@pytest.mark.parametrize(
    ("word", "pair", "right"),
    [
        ("사과", "을/를", "사과를"),
        ("책", "을/를", "책을"),
        ("책", "를/을", "책을"),
        ("서울", "으로/로", "서울로"),
        ("부산", "으로/로", "부산으로"),
        ("학교", "으로/로", "학교로"),
        ("‘성인봉’", "이/가", "‘성인봉’이"),
        ("《네이처》", "은/는", "《네이처》는"),
        ("2010", "이/가", "2010이"),
        ("1443년", "이/가", "1443년이"),
        ("3", "을/를", "3을"),
        ("IBM", "이/가", "IBM이"),
        ("12km", "이/가", "12km가"),
        ("30 kg", "이/가", "30 kg이"),
        ("95.4%", "이/가", "95.4%가"),
    ],
)
def test_the_particle_follows_the_sound_of_the_word(word: str, pair: str, right: str) -> None:
    assert josa(word, pair) == right


def test_a_gloss_in_round_brackets_does_not_choose_the_particle() -> None:
    assert josa("안중근(安重根)", "이/가") == "안중근(安重根)이"
    assert josa("바이칼호(Lake Baikal)", "이/가") == "바이칼호(Lake Baikal)가"
    assert josa("‘다케다 신겐(武田信玄)’", "을/를") == "‘다케다 신겐(武田信玄)’을"
    assert josa("(주)카카오", "은/는") == "(주)카카오는"


def test_a_decomposed_word_gets_the_particle_of_the_composed_one() -> None:
    assert josa(unicodedata.normalize("NFD", "책"), "을/를").endswith("을")


def test_an_unknown_pair_is_named() -> None:
    with pytest.raises(DataError, match="을/늘"):
        josa("책", "을/늘")


def test_nfc_reaches_into_lists_and_keys() -> None:
    nfd = unicodedata.normalize("NFD", "가나")
    assert nfc({nfd: [nfd, 1, {"x": nfd}]}) == {"가나": ["가나", 1, {"x": "가나"}]}


def test_hangul_share_counts_letters_only() -> None:
    assert hangul_share("가나 ab 12!") == 0.5
    assert hangul_share("123") == 1.0


def test_answers_are_normalised_as_the_official_script_does() -> None:
    assert normalise_answer("《토지》(土地), A-B!") == "토지 土地 ab"
