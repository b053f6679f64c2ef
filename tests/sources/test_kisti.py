"""KISTI's sets of papers: questions, full text, and the tags of sentences, on synthetic files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from aihub_files import write_set
from aihub_texts import TEXTS

from komt.sources import Rejected, load_source, read_rows
from komt.sources.readers import READERS, Row


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KOMT_DATA", str(tmp_path))
    return tmp_path


def rows_of(data: Path, name: str) -> list[dict[str, Any]]:
    write_set(data, name)
    source = load_source(name)
    splits = ("train", "test") if source.hold_out else ("train",)
    found = [row for split in splits for row in read_rows(source, split)]
    assert not [row for row in found if isinstance(row, Rejected)]
    return [row for row in found if isinstance(row, dict)]


def read(name: str, path: Path, value: Any) -> list[Row | Rejected]:
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    reader = READERS.get(name)
    return list(reader.read(path, reader.options()))


def test_questions_are_named_by_journal_year_and_paper(data: Path) -> None:
    rows = rows_of(data, "kisti-qa")
    assert sorted(row["id"] for row in rows)[:2] == [
        "train.zip/느티골학회지/2030/paper0.json:1.1",
        "train.zip/느티골학회지/2030/paper0.json:1.2",
    ]
    assert all(row["context"][row["answer_start"] :].startswith(row["answer"]) for row in rows)
    assert {row["level"] for row in rows} == {"하", "중"}


def test_the_questions_on_one_paper_share_its_group(data: Path) -> None:
    rows = rows_of(data, "kisti-qa")
    assert len({row["group"] for row in rows}) == len(TEXTS["passages"])


def test_a_context_may_be_a_list_of_paragraphs(tmp_path: Path) -> None:
    asked = {"question": "무엇이 왔나?", "answer": {"answer_text": "비", "answer_start": 4}}
    (item,) = read(
        "kisti_qa", tmp_path / "a.json", {"context": ["날이 흐렸다.", "비가 왔다."], "qas": [asked]}
    )
    assert isinstance(item, Row)
    assert item.values["context"] == "날이 흐렸다.\n비가 왔다."
    assert item.values["answer_start"] == 8


def test_an_answer_that_the_paper_does_not_hold_is_rejected(tmp_path: Path) -> None:
    asked = {"question": "무엇이 왔나?", "answer": {"answer_text": "눈", "answer_start": 0}}
    (item,) = read("kisti_qa", tmp_path / "a.json", {"context": "비가 왔다.", "qas": [asked]})
    assert isinstance(item, Rejected)
    assert item.reason == "answer_not_in_passage"


def test_papers_are_in_both_languages_in_one_or_in_english_only(data: Path) -> None:
    both, plain, english = sorted(rows_of(data, "kisti-papers"), key=lambda row: str(row["id"]))
    assert both["keywords"] == ["마을버스", "배차 간격", "이용객 수"]
    assert both["title_en"] == "Effects of Headway on Village Bus Ridership"
    assert both["sections"] == ["서론", "방법", "결론"]
    assert both["body"].startswith("서론\n최근 마을버스 이용객이 줄고 있다.\n이 논문은")
    assert plain["keywords"] == ["두부", "간수", "단단함"]
    assert (plain["language"], plain["title_en"]) == ("ko", "")
    assert (english["language"], english["title"], english["keywords"]) == ("en", "", [])
    assert english["abstract_en"] == both["abstract_en"]


def test_a_plain_title_in_english_is_an_english_title(tmp_path: Path) -> None:
    paper = {"title": "On Tofu", "abstract": "두부를 다룬다.", "keywords": ["tofu", "brine"], "body_text": []}
    (item,) = read("kisti_papers", tmp_path / "a.json", paper)
    assert isinstance(item, Row)
    assert (item.values["title"], item.values["title_en"]) == ("", "On Tofu")
    assert item.values["keywords_en"] == ["tofu", "brine"]


def test_a_paper_without_text_is_rejected(tmp_path: Path) -> None:
    paper = {"doc_id": "1", "title": "빈 논문", "abstract": {"ko": "", "en": ""}, "body_text": []}
    (item,) = read("kisti_papers", tmp_path / "a.json", paper)
    assert isinstance(item, Rejected)
    assert item.reason == "empty_context"


def test_tags_are_spelled_one_way_and_fall_into_three_groups(data: Path) -> None:
    rows = rows_of(data, "kisti-tags")
    assert [(row["tag"], row["aim"]) for row in rows] == [
        ("문제 정의", "연구 목적"),
        ("문제 정의", "연구 목적"),
        ("가설 설정", "연구 목적"),
        ("기술 정의", "연구 목적"),
        ("제안 방법", "연구 방법"),
        ("대상 데이터", "연구 방법"),
        ("데이터처리", "연구 방법"),
        ("이론/모형", "연구 방법"),
        ("성능/효과", "연구 결과"),
        ("후속연구", "연구 결과"),
    ]
    assert [row["key_sentence"] for row in rows].count("yes") == 4


def test_an_unknown_tag_or_an_empty_sentence_is_rejected(tmp_path: Path) -> None:
    rows = [{"sentence": "비가 왔다.", "tag": "감상"}, {"sentence": " ", "tag": "제안 방법"}]
    found = read("kisti_tags", tmp_path / "a.json", rows)
    assert [item.reason for item in found if isinstance(item, Rejected)] == ["unknown_tag", "empty_sentence"]
