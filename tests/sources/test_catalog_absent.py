"""Entries whose files are too big to be at hand, on small files of the same shape."""

from __future__ import annotations

import json
from typing import Any

import pytest

from komt.errors import DataError
from komt.sources.read import read_rows
from komt.sources.readers import Rejected
from komt.sources.source import load_source, place


def rows(name: str, split: str, content: str | list[Any]) -> list[dict[str, Any] | Rejected]:
    """The rows of a source's split when its first file holds this."""
    source = load_source(name)
    file = next(file for file in source.files if file.split == split)
    path = place(source, file)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, indent=2)
    )
    source = source.model_copy(update={"files": (file.model_copy(update={"sha256": ""}),), "hold_out": 0.0})
    return list(read_rows(source, split))


def test_klue_mrc_rejects_questions_that_the_passage_does_not_answer() -> None:
    answered = {
        "question": "책방은 몇 시에 여나요?",
        "answers": [{"text": "열 시", "answer_start": 4}],
        "is_impossible": False,
        "question_type": 1,
        "guid": "klue-mrc-v1_train_00001",
    }
    impossible = {
        "question": "책방 주인은 누구인가요?",
        "answers": [],
        "plausible_answers": [{"text": "열 시", "answer_start": 4}],
        "is_impossible": True,
        "question_type": 3,
        "guid": "klue-mrc-v1_train_00002",
    }
    paragraph = {"context": "책방은 열 시에 문을 연다.", "qas": [answered, impossible]}
    whole = {"version": "v1.1", "data": [{"title": "동네 책방", "paragraphs": [paragraph]}]}
    row, rejected = rows("klue-mrc", "train", json.dumps(whole, ensure_ascii=False))
    assert isinstance(row, dict)
    assert (row["id"], row["answer"], row["answer_start"]) == ("klue-mrc-v1_train_00001", "열 시", 4)
    assert isinstance(rejected, Rejected)
    assert rejected.reason == "unanswerable"


def test_klue_ynat_has_a_headline_and_its_section() -> None:
    item = {
        "guid": "ynat-v1_dev_00000",
        "title": "새 위성, 첫 사진 보내와",
        "label": "IT과학",
        "url": "",
        "date": "",
    }
    assert rows("klue-ynat", "dev", [item]) == [
        {"id": "ynat-v1_dev_00000", "title": "새 위성, 첫 사진 보내와", "label": "IT과학"}
    ]


def test_klue_re_has_the_words_of_both_entities() -> None:
    item = {
        "guid": "klue-re-v1_dev_00000",
        "sentence": "한가람은 새솔출판사를 세웠다.",
        "subject_entity": {"word": "새솔출판사", "start_idx": 5, "end_idx": 9, "type": "ORG"},
        "object_entity": {"word": "한가람", "start_idx": 0, "end_idx": 2, "type": "PER"},
        "label": "org:founded_by",
        "source": "wikipedia",
    }
    assert rows("klue-re", "dev", [item]) == [
        {
            "id": "klue-re-v1_dev_00000",
            "sentence": "한가람은 새솔출판사를 세웠다.",
            "subject": "새솔출판사",
            "object": "한가람",
            "label": "org:founded_by",
        }
    ]


def test_klue_wos_has_a_row_for_each_turn_of_the_user() -> None:
    turns = [
        {
            "role": "user",
            "text": "남쪽에 있는 한식당을 찾아요.",
            "state": ["식당-종류-한식당", "식당-지역-서울 남쪽"],
        },
        {"role": "sys", "text": "몇 분이 가시나요?"},
        {"role": "user", "text": "아직 모르겠어요.", "state": ["식당-종류-한식당", "식당-지역-서울 남쪽"]},
        {"role": "sys", "text": "알겠습니다.", "state": []},
    ]
    found = rows("klue-wos", "dev", [{"guid": "wos-v1_dev_00000", "domains": ["식당"], "dialogue": turns}])
    assert [row["id"] for row in found if isinstance(row, dict)] == [
        "wos-v1_dev_00000-0",
        "wos-v1_dev_00000-2",
    ]
    last = found[-1]
    assert isinstance(last, dict)
    assert [turn["role"] for turn in last["dialogue"]] == ["user", "sys", "user"]
    assert last["dialogue"][1] == {"role": "sys", "text": "몇 분이 가시나요?"}
    assert last["state"] == ["식당-종류-한식당", "식당-지역-서울 남쪽"]
    assert (last["group"], last["domains"]) == ("wos-v1_dev_00000", ["식당"])


@pytest.mark.parametrize(
    "broken", [{"data": []}, [{"guid": "a"}], [{"guid": "a", "dialogue": [{"role": "user"}]}]]
)
def test_klue_wos_of_another_shape_is_refused(broken: Any) -> None:
    with pytest.raises(DataError, match="not a file of Wizard of Seoul"):
        rows("klue-wos", "dev", broken if isinstance(broken, list) else json.dumps(broken))


def test_nsmc_takes_quotes_for_letters_and_rejects_empty_reviews() -> None:
    table = 'id\tdocument\tlabel\n1\t"볼만했다\t1\n2\t\t0\n3\t끝까지 지루했다"\t0\n'
    first, empty, last = rows("nsmc", "train", table)
    assert first == {"id": "1", "review": '"볼만했다', "label": "1"}
    assert isinstance(empty, Rejected)
    assert empty.reason == "empty_review"
    assert last == {"id": "3", "review": '끝까지 지루했다"', "label": "0"}


def test_koalpaca_and_kullm_are_instructions_with_answers() -> None:
    line = {"instruction": "양파를 볶는 까닭은?", "output": "단맛이 나서요.", "url": "https://kin.example/1"}
    assert rows("koalpaca", "train", json.dumps(line, ensure_ascii=False) + "\n") == [
        {"instruction": "양파를 볶는 까닭은?", "output": "단맛이 나서요.", "id": "KoAlpaca_v1.1.jsonl:1"}
    ]
    item = {"id": "dolly_1", "instruction": "둘을 더하세요.", "input": "1과 2", "output": ""}
    (rejected,) = rows("kullm", "train", json.dumps(item, ensure_ascii=False) + "\n")
    assert isinstance(rejected, Rejected)
    assert rejected.reason == "empty_output"


def test_unsmile_names_each_group() -> None:
    header = "문장 여성/가족 남성 성소수자 인종/국적 연령 지역 종교 기타_혐오 악플/욕설 clean 개인지칭"
    table = (
        header.replace(" ", "\t").replace("_", " ") + "\n오늘 하늘이 맑다\t" + "\t".join("00000000010") + "\n"
    )
    (row,) = rows("unsmile", "train", table)
    assert isinstance(row, dict)
    assert (row["comment"], row["clean"], row["abuse"], row["person_meant"]) == (
        "오늘 하늘이 맑다",
        "1",
        "0",
        "0",
    )
    assert {
        "women_family",
        "men",
        "sexual_minorities",
        "race_nation",
        "age",
        "region",
        "religion",
        "other_hate",
    } <= set(row)


def test_stylekqc_has_both_styles() -> None:
    (row,) = rows("stylekqc", "test", "formal,informal,act\n내일 몇 시에 만날까요,내일 몇 시에 볼래,1\n")
    assert isinstance(row, dict)
    assert (row["formal"], row["informal"], row["act"]) == ("내일 몇 시에 만날까요", "내일 몇 시에 볼래", "1")
