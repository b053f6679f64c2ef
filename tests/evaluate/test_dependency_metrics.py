"""UAS and LAS: how trees are read, and their F1s against scikit-learn as KLUE calls it."""

from __future__ import annotations

import random
from typing import Any

import pytest
from metric_examples import check_resamples, example_of, scored, value_of

from komt.errors import DataError
from komt.evaluate.dependency_metrics import Word, read_heads
from komt.evaluate.metrics import METRICS
from komt.example import Example

WORDS = [
    Word("동생이", 4, "NP_SBJ"),
    Word("노란", 3, "VP_MOD"),
    Word("공을", 4, "NP_OBJ"),
    Word("찬다.", 0, "VP"),
]
HEADS = {1: 4, 2: 3, 3: 4, 4: 0}


@pytest.mark.parametrize(
    "answer",
    [
        "동생이 → 찬다.\n노란 → 공을\n공을 → 찬다.\n찬다. → (중심)",
        "1: 4\n2: 3\n3: 4\n4: 0",
        "1. 동생이 -> 찬다\n2. 노란 -> 공을\n3. 공을 -> 찬다\n4. 찬다 -> 없음",
        "- 동생이 → **찬다**\n- 노란 → 공을\n- 공을 → 찬다\n- 찬다 → ROOT",
        "찬다. → (중심)\n공을 → 찬다.\n동생이 → 찬다.\n노란 → 공을",
        "1 동생이: 4\n2 노란: 3\n3 공을: 4\n4 찬다.: 0",
        "의존 구조는 다음과 같습니다.\n1 → 4\n2 → 3\n3 → 4\n4 → 0",
        "1: 4 (NP_SBJ)\n2: 3 VP_MOD\n3: 4, NP_OBJ\n4: 0 / VP",
    ],
)
def test_a_tree_is_read_in_words_and_in_numbers(answer: str) -> None:
    assert {at: head for at, (head, _) in read_heads(answer, WORDS).items()} == HEADS


def test_what_names_no_word_has_no_head() -> None:
    assert read_heads("동생이 → 집\n노란 → 공을", WORDS) == {2: (3, "")}
    assert read_heads("1: 9\n2: 3\n7: 1", WORDS) == {2: (3, "")}
    assert read_heads("모르겠습니다.", WORDS) == {}
    # The first line for a word counts.
    assert read_heads("1: 3\n1: 4", WORDS) == {1: (3, "")}


def test_relations_are_read_behind_heads() -> None:
    found = read_heads("동생이 → 찬다. (NP_SBJ)\n노란 → 공을 VP_MOD\n3: 4 NP_OBJ\n찬다. → (중심) VP", WORDS)
    assert [told for _, told in found.values()] == ["NP_SBJ", "VP_MOD", "NP_OBJ", "VP"]
    latin = [Word("X", 2, "NP"), Word("왔다", 0, "VP")]
    assert read_heads("X → 왔다\n왔다 → X", latin) == {1: (2, ""), 2: (1, "")}


def test_a_head_that_stands_twice_is_taken_for_the_right_one_or_the_next() -> None:
    words = [
        Word("큰", 2, "VP_MOD"),
        Word("집", 5, "NP"),
        Word("작은", 4, "VP_MOD"),
        Word("집", 5, "NP"),
        Word("샀다", 0, "VP"),
    ]
    found = read_heads("큰 → 집\n집 → 샀다\n작은 → 집\n집 → 샀다\n샀다 → (중심)", words)
    assert {at: head for at, (head, _) in found.items()} == {1: 2, 2: 5, 3: 4, 4: 5, 5: 0}
    assert read_heads("샀다 → 집", words) == {5: (4, "")}


KINDS = ["NP", "NP_SBJ", "NP_OBJ", "VP", "VP_CMP", "X_CNJ"]


def row_of(words: list[dict[str, Any]], number: int = 0) -> Example:
    return example_of(
        said([(one["head"], one["relation"]) for one in words]), gold={"words": words}, number=number
    )


def said(pairs: list[tuple[int, str]]) -> str:
    return "\n".join(f"{at}: {head} {relation}" for at, (head, relation) in enumerate(pairs, 1))


def random_trees(count: int) -> tuple[list[str], list[Example], list[list[tuple[int, str]]]]:
    draw = random.Random(7)
    answers, rows, given = [], [], []
    for number in range(count):
        size = draw.randint(2, 9)
        words = [
            {
                "word": f"말{at}",
                "head": draw.randint(at + 1, size) if at < size else 0,
                "relation": draw.choice(KINDS),
            }
            for at in range(1, size + 1)
        ]
        pairs = [
            (
                one["head"] if draw.random() < 0.7 else draw.randint(0, size),
                one["relation"] if draw.random() < 0.8 else draw.choice(KINDS),
            )
            for one in words
        ]
        rows.append(row_of(words, number))
        answers.append(said(pairs))
        given.append(pairs)
    return answers, rows, given


def test_uas_and_las_equal_scikit_learn_as_klue_calls_it() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    answers, rows, given = random_trees(30)
    right = [(one["head"], one["relation"]) for row in rows for one in row.metadata["gold"]["words"]]
    spoken = [pair for pairs in given for pair in pairs]
    heads, other = [head for head, _ in right], [head for head, _ in spoken]
    assert value_of("uas_macro_f1", answers, rows) == pytest.approx(
        metrics.f1_score(heads, other, average="macro")
    )
    assert value_of("uas", answers, rows) == pytest.approx(metrics.accuracy_score(heads, other))

    def kind(name: str) -> str:  # the rarer relations are one class
        return name if name in {"NP", "NP_SBJ", "NP_OBJ", "VP"} else "other"

    types = [kind(name) for _, name in right]
    under = [
        kind(name) if one == two else "wrong head" for (one, name), two in zip(spoken, heads, strict=True)
    ]
    assert value_of("las_macro_f1", answers, rows) == pytest.approx(
        metrics.f1_score(types, under, average="macro")
    )
    assert value_of("las", answers, rows) == pytest.approx(
        sum(a == b for a, b in zip(right, spoken, strict=True)) / len(right)
    )
    for metric in ("uas", "las", "uas_macro_f1", "las_macro_f1"):
        check_resamples(metric, scored(metric, answers, rows))


def test_words_left_out_have_no_head_and_las_needs_relations() -> None:
    words = [{"word": one.word, "head": one.head, "relation": one.relation} for one in WORDS]
    row = row_of(words)
    assert METRICS.get("uas").score("1: 4\n2: 3", row).value == 0.5
    assert METRICS.get("las").score("1: 4 NP_SBJ\n2: 3 NP", row).value == 0.25
    unread = METRICS.get("uas").score("모르겠습니다.", row)
    assert (unread.value, unread.chosen) == (0, "")
    plain = example_of("1: 4\n2: 3\n3: 4\n4: 0", gold={"words": words})
    assert METRICS.get("las").score("1: 4", plain).value is None
    with pytest.raises(DataError, match="need the words"):
        METRICS.get("uas").score("1: 4", example_of("1: 4"))
