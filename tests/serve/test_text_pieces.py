"""Text from tokens, piece by piece."""

import pytest

from komt.serve.text_pieces import TextPieces, text_of
from komt.testing import tiny_tokenizer

TEXTS = (
    "뷁과 쀍, 훈민정음! 바다와  바람",
    "줄바꿈\n\n둘째 줄 🙂 끝",
    "plain English and 한국어 mixed 漢字",
    "가",
)


@pytest.mark.parametrize("kind", ["bytes", "metaspace"])
@pytest.mark.parametrize("text", TEXTS)
def test_pieces_hold_whole_syllables_and_add_up_to_the_text(kind, text):
    tokenizer = tiny_tokenizer(kind)
    ids = tokenizer(text, add_special_tokens=False).input_ids
    pieces = TextPieces(tokenizer)
    found = [pieces.add(token) for token in ids] + [pieces.rest()]
    assert not any("\ufffd" in piece for piece in found)
    assert "".join(found) == tokenizer.decode(ids) == text


def test_a_syllable_comes_out_with_its_last_byte():
    tokenizer = tiny_tokenizer("bytes")
    ids = tokenizer("뷁", add_special_tokens=False).input_ids
    pieces = TextPieces(tokenizer)
    assert [pieces.add(token) for token in ids] == [""] * (len(ids) - 1) + ["뷁"]
    assert len(ids) > 1


@pytest.mark.parametrize("kind", ["bytes", "metaspace"])
def test_bytes_that_never_become_a_character_are_left_out(kind):
    tokenizer = tiny_tokenizer(kind)
    split = tokenizer("뷁", add_special_tokens=False).input_ids[:-1]
    after = tokenizer("바다", add_special_tokens=False).input_ids
    pieces = TextPieces(tokenizer)
    found = [pieces.add(token) for token in [*after, *split]]
    assert "".join(found).strip() == "바다"
    assert pieces.rest() == ""
    assert text_of(tokenizer, [*after, *split]).strip() == "바다"


def test_special_tokens_are_not_part_of_the_text():
    tokenizer = tiny_tokenizer("bytes")
    ids = tokenizer("바다", add_special_tokens=False).input_ids
    assert text_of(tokenizer, [2, *ids, 1]) == "바다"
