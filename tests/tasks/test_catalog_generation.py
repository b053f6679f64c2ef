"""Tasks whose answers are spans, lists or free text: on real rows of every split, and what answers must be.

`test_catalog_all.py` holds for every task; here is what each of these tasks must keep beyond that.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache, partial
from itertools import combinations, islice
from pathlib import Path
from typing import Any

import pytest

from komt.example import Example
from komt.sources import load_source, present, read_rows
from komt.tasks import TASKS, Task, choose_template, load_task, render
from komt.tasks.check import check_task
from komt.tasks.render import with_derived

SOURCES = (
    *("korquad", "klue-mrc", "klue-ner", "naver-ner", "klue-dp", "klue-wos", "chatbot-data"),
    *("koreanlm", "koalpaca", "kullm", "kommongen", "ntrex", "parallel-jhe", "parallel-news"),
    *("parallel-north", "parallel-french", "sae4k", "kochat-entity", "scinews-sum", "nsmc-synopses"),
)
NAMES = [name for name in TASKS.names() if load_task(name).source in SOURCES]
HERE = [name for name in NAMES if load_task(name).source not in {"klue-mrc", "klue-wos", "koalpaca", "kullm"}]
FIELD = re.compile(r"\{[{%].*?[}%]\}")
Row = dict[str, Any]


@lru_cache(maxsize=2)
def all_rows(name: str) -> list[list[Row]]:
    """The first rows of every split of a source that is here."""
    source = load_source(name)
    return [
        [row for row in islice(read_rows(source, split), 12_000) if isinstance(row, dict)]
        for split in source.splits
        if present(source, split)
    ]


def real_rows(task: Task, limit: int = 300) -> list[Row]:
    """Rows from all over every split that is here."""
    return [row for rows in all_rows(task.source) for row in rows[:: max(1, len(rows) // limit)]]


def rendered(name: str, limit: int = 300) -> Iterator[tuple[Row, Example]]:
    """Rows with their derived fields, in the phrasing that each of them gets."""
    task = load_task(name)
    for row in map(partial(with_derived, task), real_rows(task, limit)):
        # Sentences with no word that can be asked about fit none.
        if any(template.fits(row) for template in task.templates):
            yield row, render(task, row, 0)


def texts(example: Example) -> tuple[str, str]:
    return example.messages[0].content, example.messages[1].content


def test_there_are_tasks_over_each_source() -> None:
    assert {load_task(name).source for name in NAMES} == set(SOURCES)


@pytest.mark.realdata
@pytest.mark.parametrize("name", HERE)
def test_real_rows_of_every_split_render_in_every_phrasing(name: str, realdata: Path) -> None:
    task = load_task(name)
    rows = real_rows(task)
    assert check_task(task, rows) == []
    examples = list(rendered(name))
    assert len(examples) >= 0.85 * len(rows) > 0
    for row, example in examples:
        prompt, answer = texts(example)
        assert prompt != answer, row["id"]
        assert answer.strip(), row["id"]
        assert not re.search(r"\{[{%]|[%}]\}|\bNone\b|Undefined", FIELD.sub("", answer)) or "{" in str(row)


@pytest.mark.realdata
@pytest.mark.parametrize("name", HERE)
def test_no_phrasing_starves(name: str, realdata: Path) -> None:
    """Each is used for about its weight's share of the rows that it fits, and for some."""
    task = load_task(name)
    used: Counter[str] = Counter()
    fair: Counter[str] = Counter()
    units: dict[str, Row] = {str(row.get(task.group) or row["id"]): row for row in real_rows(task, 1500)}
    for row in units.values():
        row = with_derived(task, row)
        fitting = [template for template in task.templates if template.fits(row)]
        fair.update({item.id: item.weight / sum(each.weight for each in fitting) for item in fitting})
        if fitting:
            used[choose_template(task, row, 0).id] += 1
    for template in task.templates:
        expected = fair[template.id]
        assert expected > 3, template.id
        assert abs(used[template.id] - expected) < 0.2 * expected + 4 * expected**0.5, template.id


@pytest.mark.realdata
def test_the_sentence_around_an_answer_is_a_whole_one_of_the_passage(realdata: Path) -> None:
    whole = 0
    for row, example in rendered("korquad.sentence", 1500):
        answer = texts(example)[1]
        assert row["answer"] in answer
        assert row["context"].startswith(answer, int(row["sentence_start"]))
        assert example.evidence is not None
        assert example.messages[0].content[example.evidence.start : example.evidence.end] == answer
        before = row["context"][: int(row["sentence_start"])].rstrip()
        whole += answer.endswith("다.") and (not before or before.endswith("다."))
    assert whole > 1400


@pytest.mark.parametrize(
    ("context", "answer", "sentence"),
    [
        ("가는 나이다. 다는 라이다. 마는 바이다.", "라", "다는 라이다."),
        ("가는 나이다. 다는 라이다.", "가", "가는 나이다."),
        ("가는 나이다. 다는 라", "라", "다는 라"),
        ("제목\n다는 라이다\n마는 바이다.", "라", "다는 라이다"),
    ],
)
def test_a_sentence_ends_at_its_full_stop_or_line(context: str, answer: str, sentence: str) -> None:
    row = {"id": "1", "context": context, "answer": answer, "answer_start": context.index(answer)}
    assert with_derived(load_task("korquad.sentence"), row)["sentence"] == sentence


@pytest.mark.parametrize(
    ("title", "headword"),
    [("쇼와_천황", "쇼와 천황"), ("김영하_(소설가)", "김영하"), ("바이오__크로니클즈", "바이오: 크로니클즈")],
)
def test_a_headword_is_written_as_people_write_it(title: str, headword: str) -> None:
    row = {"id": "1", "title": title, "context": "글", "group": "g"}
    assert texts(render(load_task("korquad.title"), row, 0))[1] == headword


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["klue-ner", "naver-ner"])
def test_entities_stand_in_their_sentence_and_none_is_said_when_there_is_none(
    name: str, realdata: Path
) -> None:
    none = found = 0
    for row, example in rendered(f"{name}.entities"):
        answer = texts(example)[1]
        assert (answer == "없음") == (not row["entities"])
        assert all(entity["text"].strip(" ,") in answer for entity in row["entities"])
    for row, example in rendered(f"{name}.of_type"):
        answer = texts(example)[1]
        right = [entity["text"].strip(" ,") for entity in row["entities"] if entity["type"] == row["asked"]]
        assert answer == (", ".join(dict.fromkeys(right)) or "없음")
        none, found = none + (answer == "없음"), found + (answer != "없음")
    assert 0.05 * found < none < 0.5 * found


@pytest.mark.realdata
def test_every_type_of_entity_is_asked_for(realdata: Path) -> None:
    for name in ("klue-ner", "naver-ner"):
        asked = Counter(row["asked"] for row, _ in rendered(f"{name}.of_type", 2500))
        assert set(asked) == set(load_task(f"{name}.of_type").words)
        assert min(asked.values()) >= 5


@pytest.mark.realdata
def test_dependencies_are_asked_of_words_that_stand_once(realdata: Path) -> None:
    relations = set()
    for row, example in rendered("klue-dp.head", 1000):
        words = {word["index"]: word for word in row["words"]}
        word = words[int(row["at"])]
        assert row["sentence"].split().count(word["word"]) == 1
        assert texts(example)[1] in words[word["head"]]["word"]
        assert f"‘{word['word']}’" in texts(example)[0] or f"관형어: {word['word']}\n" in texts(example)[0]
        relations.add(word["relation"])
    assert {"NP_SBJ", "NP_OBJ", "NP_AJT", "NP_MOD", "VP_MOD", "AP", "DP"} <= relations
    for row, example in rendered("klue-dp.argument", 1000):
        head = row["words"][int(row["at"]) - 1]["head"]
        found = [
            each for each in row["words"] if each["head"] == head and each["relation"] == row["relation"]
        ]
        assert texts(example)[1] == ", ".join(each["word"].strip(".,?!") for each in found)
        assert row["role"] == {"NP_SBJ": "주어", "NP_OBJ": "목적어"}[row["relation"]]


@pytest.mark.realdata
def test_a_tree_has_a_line_for_every_word_and_one_root(realdata: Path) -> None:
    for row, example in rendered("klue-dp.tree"):
        lines = texts(example)[1].split("\n")
        assert len(lines) == len(row["words"])
        assert sum(line.endswith((" → (중심)", ": 0")) for line in lines) == 1


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "korean", "foreign"),
    [
        *((name, "ko", "en") for name in ("ntrex", "parallel-jhe", "parallel-news")),
        *(("parallel-north", "north", "en"), ("parallel-french", "ko", "fr")),
    ],
)
def test_translations_go_from_the_language_named_to_the_other(
    name: str, korean: str, foreign: str, realdata: Path
) -> None:
    hangul = re.compile("[가-힣]")
    for task, into_foreign in ((f"{name}.{korean}_{foreign}", True), (f"{name}.{foreign}_{korean}", False)):
        answers = [texts(example)[1] for _, example in rendered(task)]
        assert sum(bool(hangul.search(answer)) != into_foreign for answer in answers) > 0.98 * len(answers)


@pytest.mark.realdata
def test_no_line_of_the_play_begins_with_a_torn_speaker(realdata: Path) -> None:
    for _, example in rendered("parallel-french.ko_fr"):
        assert not re.match(r"\. –|êcheur|ieille dame|oix\.", texts(example)[1])


@pytest.mark.realdata
def test_slots_can_be_read_back_as_json(realdata: Path) -> None:
    task = load_task("kochat-entity.slots")
    template = next(item for item in task.templates if item.id == "json")
    empty = 0
    for row in real_rows(task):
        items = json.loads(texts(render(task, row, 0, template=template))[1])
        assert [item["값"] for item in items] == [entity["text"] for entity in row["entities"]]
        assert {item["종류"] for item in items} <= set(task.words.values())
        empty += not items
    assert empty


@pytest.mark.realdata
def test_numbers_and_lines_of_a_summary_are_those_of_the_marked_sentences(realdata: Path) -> None:
    for row, example in rendered("scinews-sum.sentences"):
        numbers = [int(number) for number in texts(example)[1].split(", ")]
        assert [row["sentences"][number - 1] for number in numbers] == row["summary"]
        assert numbers == sorted(numbers)
    for row, example in rendered("scinews-sum.summary"):
        lines = texts(example)[1].split("\n")
        assert len(lines) == len(row["summary"]) == int(row["count"])
        assert all(line in row["context"] for line in lines)


@pytest.mark.realdata
def test_key_phrases_have_the_form_that_is_asked_for(realdata: Path) -> None:
    endings = {"whether": ("지", "여부"), "what_not_to_do": ("기",), "to_do": ("기",)}
    for name, forms in endings.items():
        task = load_task("sae4k.phrase")
        template = next(item for item in task.templates if item.id == name)
        rows = [row for row in real_rows(task, 4000) if template.fits(row)]
        right = sum(row["phrase"].endswith(forms) for row in rows)
        assert right > 0.97 * len(rows) > 0, name


def test_the_state_of_a_dialogue_is_the_one_at_its_last_turn_shown() -> None:
    slots = ["숙소-지역-서울 중앙", "숙소-주차 가능-yes", "숙소-이름-강변-호텔", "식당-종류-dontcare"]
    turns = [
        {"role": "user", "text": "안녕하세요"},
        {"role": "sys", "text": "네"},
        {"role": "user", "text": "숙소요"},
    ]
    task = load_task("klue-wos.state")
    prompt, answer = texts(render(task, {"id": "1", "dialogue": turns, "state": slots}, 0))
    assert "손님: 안녕하세요\n안내원: 네\n손님: 숙소요" in prompt
    assert answer.split("\n") == [
        "숙소 지역: 서울 중앙",
        "숙소 주차 가능: 예",
        "숙소 이름: 강변-호텔",
        "식당 종류: 상관없음",
    ]


def test_no_two_phrasings_share_their_wording() -> None:
    """Over all tasks but those that take another's templates over."""
    own = [name for name in NAMES if not load_task(name).source.startswith(("klue-mrc", "ntrex", "kullm"))]
    wordings = {
        (name, template.id): " ".join(FIELD.sub("…", template.prompt).split())
        for name in own
        for template in load_task(name).templates
        if not FIELD.fullmatch(template.prompt) and load_task(name).family != "instruction"
    }
    for (first, one), (second, other) in combinations(wordings.items(), 2):
        assert one != other, f"{first} and {second}"
