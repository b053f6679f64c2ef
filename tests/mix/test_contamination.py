from __future__ import annotations

import pickle
import random
from pathlib import Path

import pytest

from komt.mix.contamination import EvaluationIndex
from komt.mix.duplicates import words_of, words_of_all
from komt.sources import Rejected, load_source, read_rows

LONG = (
    "지난주 토요일에 우리 가족은 강릉에 가서 바다를 보고 시장에서 "
    "오징어순대를 먹은 다음 저녁 기차로 서울에 돌아왔습니다"
)
SHORT = "내일 아침 일곱 시에 깨워 달라고 부탁했는데 왜 안 깨웠어"
TINY = "내일 비 오나요?"


def index(*texts: str, ngram: int = 13) -> EvaluationIndex:
    return EvaluationIndex.build(((f"task{n}", str(n), text) for n, text in enumerate(texts)), ngram)


def test_equal_texts_are_found_whatever_their_length() -> None:
    found = index(LONG, SHORT, TINY)
    assert found.find("내일 비오나요") == ("task2", "2")
    assert found.find(SHORT + "?!") == ("task1", "1")
    assert found.find(LONG.upper()) == ("task0", "0")
    assert found.find("내일 눈 오나요?") is None
    assert found.find("") is None


def test_thirteen_words_in_a_row_are_found_and_twelve_are_not() -> None:
    words = LONG.split()
    assert len(words) == 16
    found = index(LONG)
    assert found.find("그래서 " + " ".join(words[2:15]) + " 하고 썼다") == ("task0", "0")
    assert found.find("그래서 " + " ".join(words[2:14]) + " 썼다") is None
    assert found.find("그래서 " + " ".join(words[::-1])) is None
    # Case and punctuation within do not hide it.
    assert found.find("「" + ", ".join(words[1:14]) + "」") == ("task0", "0")


def test_a_run_of_words_does_not_reach_into_the_next_text() -> None:
    words = LONG.split()
    halves = [" ".join(words[:8]), " ".join(words[8:])]
    assert index(LONG).find_all(halves) == {}
    assert index(*halves).find_all([words_of("앞 말 " + LONG)]) == {0: ("task0", "0")}


def test_short_texts_of_eight_words_are_found_within_longer_ones() -> None:
    found = index(SHORT, "아침 일곱 시에 꼭 깨워 주세요 네")
    assert found.find(f"어제 말했잖아. {SHORT}? 정말 너무해.") == ("task0", "0")
    assert found.find(f"어제 말했잖아. {SHORT.rsplit(' ', 1)[0]}") is None
    # Seven words are too few to stand for themselves.
    assert found.find("내일은 아침 일곱 시에 꼭 깨워 주세요 네 알겠죠") is None


def test_texts_that_open_alike_are_told_apart() -> None:
    opening = "하나 둘 셋 넷 다섯 여섯 일곱 여덟"
    found = index(f"{opening} 아홉 열", f"{opening} 구 십", opening)
    assert found.find(f"자 {opening} 구 십 끝") == ("task1", "1")
    assert found.find(f"자 {opening} 아홉 열 끝") == ("task0", "0")
    assert found.find(f"자 {opening} 끝") == ("task2", "2")


def test_of_equal_evaluation_rows_the_first_is_named() -> None:
    assert index(TINY, TINY, LONG, LONG).find_all([words_of(LONG), words_of(TINY)]) == {
        0: ("task2", "2"),
        1: ("task0", "0"),
    }


def test_fewer_words_on_request() -> None:
    words = " ".join(LONG.split()[3:9])
    assert index(LONG, ngram=6).find(f"그때 {words} 그랬다") == ("task0", "0")
    assert index(LONG, ngram=7).find(f"그때 {words} 그랬다") is None


def test_texts_without_words_are_compared_as_they_are() -> None:
    found = index("", "^^", "…")
    assert found.find("^^") == ("task1", "1")
    assert found.find("^_^") is None
    assert found.find("") is None
    assert EvaluationIndex.build([]).find_all(["", "아무 말"]) == {}


def test_a_chunk_gives_what_its_texts_give_alone() -> None:
    rng = random.Random(4)
    words = [f"낱말{n}" for n in range(30)]
    evaluation = [" ".join(rng.choices(words, k=rng.randint(1, 40))) for _ in range(300)]
    texts = [" ".join(rng.choices(words, k=rng.randint(1, 60))) for _ in range(200)]
    for _ in range(200):
        inside = rng.choice(evaluation).split()
        at = rng.randrange(len(inside))
        texts.append(" ".join([*rng.choices(words, k=3), *inside[at:], *rng.choices(words, k=3)]))
    texts += evaluation[:50]
    found = index(*evaluation)

    def held(text: str) -> bool:
        line = f" {text} "
        return any(
            text.replace(" ", "") == other.replace(" ", "")
            or (8 <= len(parts) < 13 and f" {other} " in line)
            or any(f" {' '.join(parts[at : at + 13])} " in line for at in range(len(parts) - 12))
            for other in evaluation
            for parts in [other.split()]
        )

    hits = found.find_all(words_of_all(texts))
    assert sorted(hits) == [place for place, text in enumerate(texts) if held(text)]
    assert 100 < len(hits) < 300
    assert {place: found.find(texts[place]) for place in hits} == hits
    assert pickle.loads(pickle.dumps(found)).find_all(words_of_all(texts)) == hits


def rows_of(source: str, split: str) -> list[dict[str, str]]:
    return [row for row in read_rows(load_source(source), split) if not isinstance(row, Rejected)]


def asked(row: dict[str, str], fields: tuple[str, ...]) -> str:
    return "\n".join(row[name] for name in fields)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("source", "held_out", "fields", "lines", "equal"),
    [
        # `lines`: rows of the evaluation that stand in train letter by letter, label included. `equal`: those
        # whose text does in normal form, whatever its label.
        ("3i4k", "test", ("sentence",), 589, 664),
        ("kobest-hellaswag", "dev", ("context", "ending1", "ending2", "ending3", "ending4"), 9, 9),
        ("question-pair-v2", "test", ("question1", "question2"), 2, 2),
    ],
)
def test_known_contamination_is_found(
    realdata: Path, source: str, held_out: str, fields: tuple[str, ...], lines: int, equal: int
) -> None:
    train, evaluation = rows_of(source, "train"), rows_of(source, held_out)
    found = EvaluationIndex.build((source, row["id"], asked(row, fields)) for row in evaluation)
    hits = found.find_all(words_of_all([asked(row, fields) for row in train]))

    def labelled(row: dict[str, str]) -> tuple[str, ...]:
        return (row["label"], *(row[name] for name in fields))

    def leaked(rows: list[dict[str, str]]) -> tuple[int, int]:
        lines = {labelled(row) for row in rows}
        forms = {words_of(asked(row, fields)).replace(" ", "") for row in rows}
        same = [words_of(asked(row, fields)).replace(" ", "") in forms for row in evaluation]
        return sum(labelled(row) in lines for row in evaluation), sum(same)

    assert leaked(train) == (lines, equal)
    assert leaked([row for place, row in enumerate(train) if place not in hits]) == (0, 0)


@pytest.mark.realdata
def test_the_585_lines_of_3i4k_are_found(realdata: Path) -> None:
    """Lines of the file, label and all, before white space at their ends is taken away."""
    folder = realdata / "3i4k/data/train_val_test"
    train, test = (
        [line for line in (folder / name).read_text(encoding="utf-8-sig").split("\n") if line]
        for name in ("fci_train_val.txt", "fci_test.txt")
    )
    found = EvaluationIndex.build(("3i4k", str(n), line.partition("\t")[2]) for n, line in enumerate(test))
    hits = found.find_all(words_of_all([line.partition("\t")[2] for line in train]))
    lines = set(train)
    assert sum(line in lines for line in test) == 585
    assert not set(test) & {line for place, line in enumerate(train) if place not in hits}
