from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np
import pytest

from komt.mix.duplicates import find_conflicts, hash64, hashes, normal_form, words_of, words_of_all


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("정말, 재미있어요!!", "정말 재미있어요"),
        ("  여러  칸\n띄운\t글 ", "여러 칸 띄운 글"),
        ("'철수'라고 [불러] 주세요…", "철수라고 불러 주세요"),
        ("ＡＢＣ１２３ Café", "abc123 café"),
        ("가\u3164나", "가나"),
        ("snake_case", "snakecase"),
        ("ΟΔΟΣ ΣΑΣ", "οδοσ σασ"),
        ("", ""),
        ("   ", ""),
    ],
)
def test_words_are_folded(text: str, words: str) -> None:
    assert words_of(text) == words


def test_a_text_of_punctuation_alone_keeps_it() -> None:
    assert normal_form("^^ !") == "^^!"
    assert normal_form("^^") != normal_form("??")


def test_normal_form_looks_past_spelling_that_does_not_count() -> None:
    written = [
        "오늘 날씨가 좋네요.",
        "오늘날씨가 좋네요",
        unicodedata.normalize("NFD", "오늘 날씨가 좋네요!!"),
    ]
    assert {normal_form(text) for text in written} == {"오늘날씨가좋네요"}


def test_all_at_once_is_one_by_one() -> None:
    texts = [f"a{chr(c)}B {chr(c)} \n{chr(c)}" for c in range(0x1, 0x11000) if not 0xD800 <= c < 0xE000]
    texts += ["", "…", "줄\n바꿈", "끝 칸 ", " 앞 칸", "^^", "İstanbul"]
    assert words_of_all(texts) == [words_of(text) for text in texts]
    assert words_of_all([]) == []
    assert words_of_all([""]) == [""]


def test_hashes_are_the_same_everywhere() -> None:
    # XXH3 of the UTF-8 bytes, seed 0.
    assert hash64("") == 0x2D06800538D394C2
    assert hash64("가나다") == 0x249602AE046C034B
    assert hashes(["가나다", ""]).tolist() == [hash64("가나다"), hash64("")]


def conflicts_of(rows: Sequence[Sequence[str]]) -> tuple[int, list[int], list[int]]:
    found = find_conflicts(hashes([asked for asked, _ in rows]), hashes([label for _, label in rows]))
    return found.inputs, found.dropped("drop").tolist(), found.dropped("majority").tolist()


def test_conflicting_labels_are_left_out_or_outvoted() -> None:
    rows = [
        ("가", "1"),
        ("나", "1"),
        ("가", "2"),
        ("다", "1"),
        ("가", "1"),
        ("다", "1"),
        ("라", "1"),
        ("라", "2"),
    ]
    assert conflicts_of(rows) == (2, [0, 2, 4, 6, 7], [2, 6, 7])


def test_a_tie_at_the_top_leaves_no_winner() -> None:
    rows = ["가1", "가1", "가2", "가2", "가3"]
    assert conflicts_of(rows) == (1, [0, 1, 2, 3, 4], [0, 1, 2, 3, 4])


def test_the_order_of_rows_does_not_matter_to_conflicts() -> None:
    rng = np.random.default_rng(7)
    rows = [(f"질문{rng.integers(40)}", f"{rng.integers(3)}") for _ in range(300)]
    shuffled = rng.permutation(len(rows))
    inputs, dropped, outvoted = conflicts_of(rows)
    again = conflicts_of([rows[place] for place in shuffled])
    assert again[0] == inputs > 10
    assert sorted(shuffled[place] for place in again[1]) == dropped
    assert sorted(shuffled[place] for place in again[2]) == outvoted


def test_reported_conflicts_stay() -> None:
    asked = hashes(["가", "가"])
    assert find_conflicts(asked, hashes(["1", "2"])).dropped("report").tolist() == []
    nothing = find_conflicts(hashes([]), hashes([]))
    assert nothing.inputs == 0
    assert nothing.dropped("majority").tolist() == []
