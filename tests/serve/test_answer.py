"""Stop strings, token bytes, and syllables: nothing half, nothing lost, nothing too late."""

import itertools

import pytest

from komt.serve.answer import StopText, token_bytes
from komt.serve.engine import Piece
from komt.serve.text_pieces import TextPieces
from komt.testing import tiny_tokenizer

SYLLABLES = "".join(map(chr, range(0xAC00, 0xD7A4)))
MARKS = (
    "👍🏽 👩‍👩‍👧‍👦 🏳️‍🌈 🇰🇷 ❤️ 👨🏿‍💻 "
    "漢字大韓民國 鬱陶 國語 \U00020000\U0002a6d6 "
    "ㄱㄴㄷ ㅏㅑ ㅋㅋㅋ ㈜ ㎏ … “따옴표” é ñ ß א ع ไทย"
)


def fed(tokenizer, text: str, stop=()) -> tuple[list[str], list[int]]:
    ids = tokenizer(text, add_special_tokens=False).input_ids
    pieces, held = TextPieces(tokenizer), StopText(stop)
    found = [held.add(pieces.add(token)) for token in ids]
    found.append(held.add(pieces.rest()) + held.rest())
    return found, ids


@pytest.mark.parametrize("kind", ["bytes", "metaspace"])
def test_all_syllables_come_out_whole_and_none_is_lost(kind):
    tokenizer = tiny_tokenizer(kind)
    assert len(SYLLABLES) == 11_172
    for start in range(0, len(SYLLABLES), 399):
        text = SYLLABLES[start : start + 399]
        found, ids = fed(tokenizer, text, stop=("없는 말", text[:1] + "☃"))
        assert len(ids) > len(text)  # most are split over several tokens
        assert "".join(found) == text
        assert all(piece in text for piece in found)


@pytest.mark.parametrize("kind", ["bytes", "metaspace"])
@pytest.mark.parametrize(
    "text", [MARKS, f"가{MARKS}나", MARKS[::-1], "\u1100\u1161\u11a8 옛말 \u1112\u119e\u11ab글"]
)
def test_emoji_hanja_and_jamo_come_out_whole(kind, text):
    found, _ = fed(tiny_tokenizer(kind), text)
    assert "".join(found) == text
    assert not any("\ufffd" in piece for piece in found)


@pytest.mark.parametrize("kind", ["bytes", "metaspace"])
def test_syllables_of_single_jamo_are_not_cut_in_two(kind):
    found, _ = fed(tiny_tokenizer(kind), "\u1112\u1161\u11ab\u1100\u1173\u11af 한글")
    assert "\u1112\u1161\u11ab" in found
    for piece in found:
        assert not piece or not 0x1160 <= ord(piece[0]) <= 0x11FF


@pytest.mark.parametrize("kind", ["bytes", "metaspace"])
def test_tokens_have_the_bytes_of_their_text(kind):
    tokenizer = tiny_tokenizer(kind)
    text = "뷁과 쀍, 漢字 👍🏽 plain\n둘째 줄"
    ids = tokenizer(text, add_special_tokens=False).input_ids
    assert b"".join(token_bytes(tokenizer, token) for token in ids).decode().strip() == text
    assert token_bytes(tokenizer, 1) == b"<eos>"


TEXT = "안녕하세요. 반갑습니다!\n\n### instruction: 다음"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
@pytest.mark.parametrize(
    "stop",
    [
        ("###",),
        ("\n\n",),
        ("다.",),
        ("니다!", "세요"),
        ("음",),
        ("안녕",),
        ("!\n\n###", "\n\n### ins"),
        ("다!\n\n", "!\n"),
    ],
)
def test_text_ends_before_the_first_stop_string_however_it_is_cut(size, stop):
    parts = [TEXT[place : place + size] for place in range(0, len(TEXT), size)]
    held = StopText(stop)
    found = "".join(held.add(part) for part in parts)
    found += held.rest()
    ends = [(TEXT.find(one) + len(one), TEXT.find(one)) for one in stop if one in TEXT]
    assert found == (TEXT[: min(ends)[1]] if ends else TEXT)
    assert held.stopped == bool(ends)


def test_only_what_may_begin_a_stop_string_is_held_back():
    held = StopText(("끝이다", "이제 그만"))
    given = [held.add(letter) for letter in "끝없이 이제 끝이 아니"]
    assert "".join(given) == "끝없이 이제 끝이 아니"
    assert given[0] == ""  # may become 끝이다
    assert given[1] == "끝없"
    assert all(
        len("끝없이 이제 끝이 아니"[: place + 1]) - len("".join(given[: place + 1])) <= 4
        for place in range(len(given))
    )


def test_a_stop_string_within_the_held_text_is_found():
    held = StopText(("aab",))
    assert [held.add(letter) for letter in "aaab"] == ["", "", "a", ""]
    assert held.stopped
    assert held.add("more") == held.rest() == ""


def test_without_stop_strings_nothing_is_held_back():
    held = StopText(())
    assert list(itertools.chain(*(held.add(letter) for letter in "가나다"))) == ["가", "나", "다"]


def test_a_piece_without_finish_is_not_the_last():
    assert Piece("가").finish == ""
