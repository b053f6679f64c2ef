"""F1 of entities and of their characters, against seqeval and scikit-learn as KLUE calls them."""

from __future__ import annotations

import random

import pytest
from metric_examples import check_resamples, example_of, scored, value_of

from komt.errors import DataError
from komt.evaluate.entities import in_order, tags
from komt.evaluate.entity_metrics import list_f1
from komt.evaluate.metrics import METRICS
from komt.example import Example

TYPES = {"PS": "사람", "LC": "장소", "OG": "기관", "DT": "날짜", "TI": "시간", "QT": "수량"}
TAGS = [*(f"{mark}-{kind}" for kind in TYPES for mark in "BI"), "O"]
Spans = list[tuple[str, str]]


def row_of(sentence: str, entities: Spans, number: int = 0) -> Example:
    gold = {
        "sentence": sentence,
        "entities": [{"text": text, "type": kind} for text, kind in entities],
        "words": TYPES,
    }
    return example_of(said(entities), gold=gold, number=number)


def said(entities: Spans) -> str:
    return "\n".join(f"{text}: {TYPES[kind]}" for text, kind in entities) or "없음"


def random_rows(count: int, kinds: str = "PS LC OG DT TI QT") -> tuple[list[str], list[Example], list[Spans]]:
    """Sentences of words that all differ; answers with missed, invented, mistyped, shortened entities."""
    draw, names = random.Random(count), kinds.split()
    answers, rows, given = [], [], []
    for number in range(count):
        words = [f"{letter}{number}말" for letter in "가나다라마바사아"]
        right = [(word, draw.choice(names)) for word in words if draw.random() < 0.4]
        spoken: Spans = []
        for word in words:
            kind = dict(right).get(word)
            chance = draw.random()
            if kind and chance < 0.6:
                spoken.append((word, kind))
            elif (kind and chance < 0.75) or (not kind and chance < 0.2):
                spoken.append((word, draw.choice(names)))
            elif kind and chance < 0.85:
                spoken.append((word[:-1], kind))
        answers.append(said(spoken))
        rows.append(row_of(" ".join(words) + ".", right, number))
        given.append(spoken)
    return answers, rows, given


def tagged(row: Example, spans: Spans) -> list[str]:
    sentence = row.metadata["gold"]["sentence"]
    return tags(in_order([{"text": text, "type": kind} for text, kind in spans], sentence), sentence)


def right_of(row: Example) -> Spans:
    return [(one["text"], one["type"]) for one in row.metadata["gold"]["entities"]]


@pytest.mark.parametrize("kinds", ["PS LC OG DT TI QT", "PS QT"])
@pytest.mark.parametrize("count", [3, 40])
def test_entity_f1_equals_seqeval_and_character_f1_scikit_learn(count: int, kinds: str) -> None:
    seqeval, scheme = pytest.importorskip("seqeval.metrics"), pytest.importorskip("seqeval.scheme")
    metrics = pytest.importorskip("sklearn.metrics")
    answers, rows, given = random_rows(count, kinds)
    # One sequence with O between sentences, as the script of KLUE has it.
    right = [tag for row in rows for tag in ["O", *tagged(row, right_of(row))]]
    spoken = [tag for row, spans in zip(rows, given, strict=True) for tag in ["O", *tagged(row, spans)]]
    for metric, average in (("entity_macro_f1", "macro"), ("entity_f1", "micro")):
        expected = seqeval.f1_score([right], [spoken], average=average, mode="strict", scheme=scheme.IOB2)
        assert value_of(metric, answers, rows) == pytest.approx(expected)
    characters = [
        [tag for row, spans in zip(rows, many, strict=True) for tag in tagged(row, spans)]
        for many in ([right_of(row) for row in rows], given)
    ]
    expected = metrics.f1_score(*characters, labels=TAGS, average="macro", zero_division=1.0)
    assert value_of("char_macro_f1", answers, rows) == pytest.approx(expected)
    for metric in ("entity_macro_f1", "entity_f1", "char_macro_f1"):
        check_resamples(metric, scored(metric, answers, rows))


def test_by_hand() -> None:
    rows = [row_of("세종은 서울에서 태어났다.", [("세종", "PS"), ("서울", "LC")])]
    assert value_of("entity_f1", ["세종: 사람\n서울: 장소"], rows) == 1
    # One of two found, nothing invented: precision 1, recall 1/2.
    assert value_of("entity_f1", ["세종: 사람"], rows) == pytest.approx(2 / 3)
    assert value_of("entity_macro_f1", ["세종: 사람"], rows) == pytest.approx((1 + 0) / 2)
    # With its particle it is another word.
    assert value_of("entity_f1", ["세종은: 사람\n서울: 장소"], rows) == pytest.approx(0.5)
    # Of the wrong type it counts for neither; a third type is only ever given.
    assert value_of("entity_macro_f1", ["세종: 기관\n서울: 장소"], rows) == pytest.approx((0 + 1 + 0) / 3)
    # Named twice, though it stands once: one too many.
    assert value_of("entity_f1", ["세종: 사람\n세종: 사람\n서울: 장소"], rows) == pytest.approx(2 * 2 / 5)
    # An answer in no form names none; the score says so.
    unread = METRICS.get("entity_f1").score("모르겠습니다.", rows[0])
    assert (unread.value, unread.chosen) == (0, "")


def test_nothing_to_find_and_nothing_found_is_right() -> None:
    rows = [row_of("비가 온다.", [])]
    for metric in ("entity_f1", "entity_macro_f1", "char_macro_f1"):
        assert value_of(metric, ["없음"], rows) == 1
    assert value_of("entity_f1", ["비: 사람"], rows) == 0


def test_a_task_that_keeps_no_entities_is_told_how_to() -> None:
    with pytest.raises(DataError) as caught:
        METRICS.get("entity_f1").score("없음", example_of("없음"))
    assert "gold: [sentence, entities, words]" in caught.value.cure


@pytest.mark.parametrize(
    ("answer", "reference", "value"),
    [
        ("사과, 배", "배, 사과", 1),
        ("사과\n배", "배, 사과", 1),
        ("- 사과\n- 배", "사과, 배", 1),
        ("사과、배", "사과; 배", 1),
        ("‘사과’, ‘배’.", "사과, 배", 1),
        ("사과", "사과, 배", 2 / 3),
        ("사과, 사과", "사과", 2 / 3),
        ("사과를, 배", "사과, 배", 0.5),
        ("1,000명", "1,000명, 3개", 2 / 3),
        ("없음", "없음", 1),
        ("없습니다.", "없음", 1),
        ("사과", "없음", 0),
        ("없음", "사과", 0),
        ("", "없음", 0),
        ("", "사과", 0),
        ("1, 3", "1, 3", 1),
    ],
)
def test_a_list_is_worth_its_items(answer: str, reference: str, value: float) -> None:
    assert list_f1(answer, reference) == pytest.approx(value)
