"""Tokens per syllable and eojeol, counted by hand on small texts."""

from komt.testing import tiny_tokenizer
from komt.train.fertility import Fertility, fertility, sample_texts


def test_tokens_are_counted_by_syllable_and_by_eojeol():
    tokenizer = tiny_tokenizer()
    found = fertility(tokenizer, ["수도 123 서울, abc", "English only"])

    def tokens(text):
        return len(tokenizer(text, add_special_tokens=False).input_ids)

    assert (found.syllables, found.eojeols) == (4, 2)
    assert found.per_syllable == tokens("수도 서울") / 4
    assert found.per_eojeol == tokens("수도 서울,") / 2


def test_text_without_hangul_has_no_fertility():
    assert fertility(tiny_tokenizer(), ["English only", ""]) is None


def test_a_tokenizer_that_never_saw_korean_takes_three_tokens_a_syllable():
    found = fertility(tiny_tokenizer(), ["뷁쉛"])
    assert found.per_syllable == 3.0
    assert "choose another base" in found.meaning


def test_the_meaning_goes_by_tokens_a_syllable():
    told = [Fertility(value, 1.0, 1, 1).meaning for value in (0.5, 1.0, 1.5, 2.5)]
    assert [text.split(":")[0] for text in told] == [
        "it knows Korean",
        "about a token a syllable",
        "many syllables fall into bytes",
        "it hardly knows Korean",
    ]


def test_the_text_that_comes_with_komt_is_whole_passages():
    texts = sample_texts()
    assert len(texts) == 60
    assert all(len(text) > 100 and "\\" not in text for text in texts)
