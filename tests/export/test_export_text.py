"""The Korean text of the gates."""

from __future__ import annotations

import unicodedata

import pytest

from komt.errors import ModelError
from komt.export.text import KOREAN_TEXT, POSITIONS, reference_ids
from komt.korean import hangul_share
from komt.testing import tiny_tokenizer


def test_it_is_korean_long_enough_for_tokens_of_three_characters() -> None:
    assert len(KOREAN_TEXT) > 3 * (POSITIONS + 1)
    assert hangul_share(KOREAN_TEXT) > 0.9
    assert unicodedata.is_normalized("NFC", KOREAN_TEXT)


def test_so_many_ids_that_each_position_has_a_next_one() -> None:
    tokenizer = tiny_tokenizer()
    ids = reference_ids(tokenizer)
    assert len(ids) == 513
    assert ids == tokenizer(KOREAN_TEXT)["input_ids"][:513]
    assert reference_ids(tokenizer, 9) == ids[:10]


def test_a_text_too_short_for_the_positions_is_an_error() -> None:
    with pytest.raises(ModelError, match="are needed"):
        reference_ids(tiny_tokenizer(), 1_000_000)
