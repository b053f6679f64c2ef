"""Wrong particles: found where they stand, and not where a noun only ends like one."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

pytest.importorskip("kiwipiepy")
import itertools

from komt.evaluate.particles import wrong_particles
from komt.evaluate.text_metrics import kiwi
from komt.korean import PAIRS
from komt.sources import load_source, read_rows

SHORT = {form: pair for pair in ("은/는", "이/가", "을/를", "과/와", "으로/로") for form in PAIRS[pair]}


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("나는 사과을 먹었다.", "사과를"),
        ("책를 한 권 샀다.", "책을"),
        ("동생와 함께 갔다.", "동생과"),
        ("친구과 영화를 보았다.", "친구와"),
        ("비행기으로 제주도에 갔다.", "비행기로"),
        ("지하철으로 출근한다.", "지하철로"),
        ("선생님는 오늘 쉬신다.", "선생님은"),
        ("고양이은 창가에서 잔다.", "고양이는"),
        ("물가에 오리이 있다.", "오리가"),
    ],
)
def test_a_particle_that_does_not_fit_is_found(text: str, right: str) -> None:
    wrong, count = wrong_particles(text)
    assert [one.right for one in wrong] == [right]
    assert wrong_particles(text.replace(wrong[0].found, right)) == ([], count)
    assert count >= 1


@pytest.mark.parametrize(
    "text",
    [
        "마을 사람들이 가을 축제를 열었다.",
        "국가 대표와 작가가 만나 효과와 결과를 이야기했다.",
        "밥을 먹는 아이는 나이가 많은 개와 논다.",
        "새로 지은 집은 이층이고 작은 마당이 있다.",
        "서울로 가는 길은 통로가 좁다.",
        "그는 집을 지을 땅과 물을 샀다.",
        "사과는 치과에서 먹지 않는다.",
        "아이가 놀이터에서 사이좋게 논다.",
        "",
    ],
)
def test_words_that_end_like_a_wrong_particle_are_left_alone(text: str) -> None:
    assert wrong_particles(text)[0] == []


def with_a_wrong_one(sentence: str, draw: random.Random) -> str:
    """The sentence with one particle in its other form; as it is, where there is none after a noun."""
    tokens = kiwi().tokenize(sentence)
    places = [
        token
        for before, token in itertools.pairwise(tokens)
        if token.tag in {"JKS", "JKO", "JX", "JKB", "JC"}
        and token.form in SHORT
        and before.tag in {"NNG", "NNP"}
        and before.start + before.len == token.start
        and re.match(r"[가-힣]", sentence[token.start - 1])
    ]
    if not places:
        return sentence
    token = draw.choice(places)
    first, second = PAIRS[SHORT[token.form]]
    other = second if token.form == first else first
    return sentence[: token.start] + other + sentence[token.start + token.len :]


@pytest.mark.realdata
def test_on_real_sentences_hardly_any_is_wrong_and_most_changed_ones_are_found(realdata: Path) -> None:
    rows = [row for row in read_rows(load_source("klue-sts"), "dev") if isinstance(row, dict)]
    sentences = [row["sentence1"] for row in rows][:300]
    false = [sentence for sentence in sentences if wrong_particles(sentence)[0]]
    assert len(false) <= 1, false
    draw = random.Random(0)
    changed = [(one, other) for one in sentences if (other := with_a_wrong_one(one, draw)) != one]
    found = sum(bool(wrong_particles(other)[0]) for _, other in changed)
    assert len(changed) > 150
    assert found / len(changed) > 0.95
