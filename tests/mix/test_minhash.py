from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pytest

from komt.mix.duplicates import hashes, normal_form
from komt.mix.minhash import BANDS, band_hashes, jaccard, near_duplicates, rows_per_band

# fmt: off
WORDS = (
    "오늘", "어제", "내일", "아침", "저녁", "학교", "회사", "시장", "도서관", "기차", "버스",
    "영화", "음악", "노래", "친구", "동생", "부모님", "선생님", "강아지", "고양이", "비가", "눈이",
    "바람이", "햇볕이", "맑아서", "흐려서", "추워서", "더워서", "갔다", "왔다", "보았다", "들었다", "먹었다",
    "마셨다", "걸었다", "달렸다", "조용히", "빨리", "천천히", "함께", "혼자", "다시", "아주", "조금",
    "많이", "새로운", "오래된", "커다란", "조그만", "따뜻한", "시원한",
)
# fmt: on


def corpus(seed: int, sentences: int, copies: int) -> list[str]:
    """Sentences, some with copies in which letters were changed, left out or doubled."""
    rng = random.Random(seed)
    texts = []
    for _ in range(sentences):
        text = " ".join(rng.choice(WORDS) for _ in range(rng.randint(6, 25)))
        texts.append(text)
        for _ in range(rng.randint(0, copies)):
            letters = list(text)
            for _ in range(rng.randint(1, 3)):
                place = rng.randrange(len(letters))
                letters[place] = rng.choice(["", "가", letters[place] * 2])
            texts.append("".join(letters))
    rng.shuffle(texts)
    return texts


def shingles_of(form: str, shingle: int) -> set[str]:
    """The different runs of `shingle` characters in a text."""
    return {form[at : at + shingle] for at in range(len(form) - shingle + 1)}


def alike_pairs(forms: list[str], similarity: float) -> set[tuple[int, int]]:
    sets = [shingles_of(form, 3) for form in forms]
    return {
        (one, other)
        for one, other in combinations(range(len(forms)), 2)
        if jaccard(sets[one], sets[other]) >= similarity
    }


def scopes(count: int) -> npt.NDArray[np.uint64]:
    return np.zeros(count, np.uint64)


def dropped_of(forms: list[str], similarity: float = 0.8) -> dict[int, int]:
    bands = band_hashes(forms, scopes(len(forms)), similarity=similarity)
    return near_duplicates(bands, lambda rows: [forms[row] for row in rows], similarity=similarity)


@pytest.mark.parametrize("similarity", [0.6, 0.8, 0.9])
def test_most_pairs_are_found_and_all_that_are_found_are_alike(similarity: float) -> None:
    forms = [normal_form(text) for text in corpus(3, 350, 3)]
    pairs = alike_pairs(forms, similarity)
    dropped = dropped_of(forms, similarity)
    assert len(pairs) > 100
    both_kept = sum(one not in dropped and other not in dropped for one, other in pairs)
    assert 1 - both_kept / len(pairs) >= 0.95
    for row, kept in dropped.items():
        assert kept < row
        assert kept not in dropped
        assert (kept, row) in pairs


def test_it_finds_what_datasketch_finds() -> None:
    datasketch = pytest.importorskip("datasketch")
    forms = [normal_form(text) for text in corpus(11, 250, 3)]
    index = datasketch.MinHashLSH(threshold=0.8, num_perm=128)
    found = set()
    for row, form in enumerate(forms):
        sketch = datasketch.MinHash(num_perm=128, seed=5)
        sketch.update_batch([shingle.encode() for shingle in shingles_of(form, 3)])
        found |= {(int(other), row) for other in index.query(sketch)}
        index.insert(str(row), sketch)
    alike = found & alike_pairs(forms, 0.8)
    dropped = dropped_of(forms)
    agreed = sum(one in dropped or other in dropped for one, other in alike)
    assert len(alike) > 150
    assert agreed / len(alike) >= 0.95


def test_pairs_at_the_threshold_meet_in_a_band() -> None:
    """Sets of exactly Jaccard 0.8: 97 of 100 are promised."""
    rng = random.Random(2)
    forms = []
    for _ in range(400):
        letters = rng.sample(range(0xAC00, 0xD7A0), 200)
        base = "".join(map(chr, letters[:92]))
        # 90 shingles each, 80 in common: 80 / 100.
        other = base[10:] + "".join(map(chr, letters[92:102]))
        assert jaccard(shingles_of(base, 3), shingles_of(other, 3)) == 0.8
        forms += [base, other]
    bands = band_hashes(forms, scopes(len(forms)))
    assert (bands[::2] == bands[1::2]).any(axis=1).mean() >= 0.95


def test_the_answer_does_not_depend_on_partitions_or_order() -> None:
    texts = corpus(5, 200, 3)
    forms = [normal_form(text) for text in texts]
    whole = dropped_of(forms)
    order = np.random.default_rng(1).permutation(len(forms))
    bands = np.concatenate(
        [band_hashes([forms[row] for row in part], scopes(len(part))) for part in np.array_split(order, 7)]
    )

    def fetch(rows: Sequence[int]) -> list[str]:
        return [forms[order[row]] for row in rows]

    again = near_duplicates(bands, fetch, rank=order)
    assert len(whole) > 100
    assert {int(order[row]): int(order[kept]) for row, kept in again.items()} == whole


def test_only_rows_of_one_scope_are_compared() -> None:
    forms = ["오늘은하늘이맑고바람이시원하다"] * 3
    bands = band_hashes(forms, hashes(["긍정", "부정", "긍정"]))
    assert near_duplicates(bands, lambda rows: [forms[row] for row in rows]) == {2: 0}


def test_equal_texts_of_other_scopes_stay_beside_near_ones() -> None:
    form = "오늘은하늘이맑고바람이시원해서공원까지천천히걸어갔다"
    near = form.replace("천천히", "찬찬히")
    forms = [form, near, form, near]
    bands = band_hashes(forms, hashes(["긍정", "긍정", "부정", "부정"]), similarity=0.6)
    found = near_duplicates(bands, lambda rows: [forms[row] for row in rows], similarity=0.6)
    assert found == {1: 0, 3: 2}


def test_a_chain_of_neighbours_does_not_drop_what_is_unlike_the_kept_row() -> None:
    base = "".join(map(chr, range(0xAC00, 0xAC00 + 120)))
    chain = [base[step * 8 :] + "".join(map(chr, range(0xC000, 0xC000 + step * 8))) for step in range(4)]
    sets = [shingles_of(form, 3) for form in chain]
    assert jaccard(sets[0], sets[1]) > 0.8 > jaccard(sets[0], sets[2])
    assert dropped_of(chain) == {1: 0, 3: 2}


def test_texts_too_short_for_a_shingle_have_no_bands() -> None:
    bands = band_hashes(["", "굿", "최고", "최고다"], scopes(4))
    assert not bands[:3].any()
    assert bands[3].all()
    assert bands.shape == (4, BANDS)
    assert dropped_of(["굿", "굿", "최고", "최고"]) == {}


def test_nothing_gives_nothing() -> None:
    assert band_hashes([], scopes(0)).shape == (0, BANDS)
    assert dropped_of([]) == {}
    assert dropped_of(["서로다른글입니다", "아무관계없는문장이지요"]) == {}


def test_crowds_of_equal_rows_are_one_comparison_each() -> None:
    forms = ["아주똑같은문장이여러번나온다"] * 30_000
    fetched = []

    def fetch(rows: Sequence[int]) -> list[str]:
        fetched.append(len(rows))
        return [forms[row] for row in rows]

    dropped = near_duplicates(band_hashes(forms, scopes(len(forms))), fetch)
    assert len(dropped) == 29_999
    assert set(dropped.values()) == {0}
    assert sum(fetched) == 30_000


def test_bands_are_pinned() -> None:
    """A stored build is only comparable with a new one while these hashes stay."""
    bands = band_hashes(["오늘은하늘이맑고바람이시원하다"], hashes(["긍정"]))
    assert hex(int(np.bitwise_xor.reduce(bands[0]))) == "0x372b3c1297dca6b2"


def test_rows_per_band_grow_with_the_threshold() -> None:
    assert [rows_per_band(value) for value in (0.5, 0.7, 0.8, 0.9, 1.0)] == [1, 3, 6, 13, 16]
