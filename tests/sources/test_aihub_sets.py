"""AI Hub's sets one by one: every quirk of their files."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import pytest
from aihub_files import read, rows_of, values, write_set
from aihub_talk_files import call_sentences
from aihub_texts import TEXTS

from komt.errors import DataError
from komt.sources import Rejected
from komt.sources.readers import READERS, Row


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KOMT_DATA", str(tmp_path))
    return tmp_path


# Questions on passages: 84, 89, 92, 569, 71565, 71533


def test_questions_of_the_no_answer_file_have_no_answer(data: Path) -> None:
    write_set(data, "aihub-89")
    rows = [row for row in rows_of("aihub-89") if not isinstance(row, Rejected)]
    none = {row["id"] for row in rows if row["answerable"] == "False"}
    # Those of the file, and the one question without the key `answers`.
    assert none == {f"89n-{passage}-{at}" for passage in range(3) for at in range(2)} | {"89c-0-0"}
    assert all(row["answer"] == "" and row["answer_type"] == "none" for row in rows if row["id"] in none)


def test_an_answer_is_found_nearest_to_its_start_after_normalising(tmp_path: Path) -> None:
    context = unicodedata.normalize("NFD", "물은 세 잔, 우유는 한 잔, 차는 세 잔 마셨다.")
    start = context.rindex(unicodedata.normalize("NFD", "세 잔"))
    qas = [
        {"id": "q", "question": "차는 몇 잔 마셨나?", "answers": [{"text": "세 잔", "answer_start": start}]}
    ]
    file = {"data": [{"paragraphs": [{"context": context, "qas": qas}]}]}
    row = values(read("aihub_qa", tmp_path / "a.json", file))[0]
    assert row["answer_start"] == row["context"].rindex("세 잔") == 20


def test_a_span_set_rejects_what_is_no_span(tmp_path: Path) -> None:
    def asked(question: str, answers: list[str]) -> dict[str, Any]:
        return {"id": question, "question": question, "answers": [{"text": text} for text in answers]}

    qas = [asked("누가?", ["나"]), asked("", ["비"]), asked("언제?", [" "])]
    file = {
        "data": [{"paragraphs": [{"context": "비가 왔다.", "qas": qas}, {"context": " ", "qas": qas[:1]}]}]
    }
    found = read("aihub_qa", tmp_path / "a.json", file)
    assert [item.reason for item in found if isinstance(item, Rejected)] == [
        "answer_not_in_passage",
        "empty_question",
        "empty_answer",
        "empty_context",
    ]


def test_answers_under_one_object_are_spans_choices_yes_no_free_or_none(data: Path) -> None:
    write_set(data, "aihub-569")
    rows = [row for row in rows_of("aihub-569") if not isinstance(row, Rejected)]
    kinds = [(row["answer_type"], row["answer"], row["number"]) for row in rows]
    assert kinds == [
        ("span", "매달 둘째 토요일", ""),
        ("span", "다섯 권", ""),
        ("choice", "월요일", "2"),
        ("yes_no", "아니요", ""),
        ("free", "마을에 사는 사람들", ""),
        ("none", "", ""),
    ]
    assert {row["subject"] for row in rows} == {"문화"}
    assert rows[2]["candidates"] == ["일요일", "월요일", "화요일", "토요일"]


def test_a_choice_may_be_named_by_its_number(tmp_path: Path) -> None:
    def asked(text: str) -> dict[str, Any]:
        return {
            "question_id": text,
            "question": "언제?",
            "answers": {"text": text, "options": ["봄", "가을"]},
        }

    qas = [asked("②"), asked("1번"), asked("겨울")]
    file = {"data": [{"doc_title": "철", "paragraphs": [{"context": "봄이다.", "qas": qas}]}]}
    found = read("aihub_qa", tmp_path / "a.json", file, spans_only=False)
    assert [item.values["answer"] for item in found if isinstance(item, Row)] == ["가을", "봄"]
    assert [item.reason for item in found if isinstance(item, Rejected)] == ["answer_not_a_choice"]


def test_a_table_is_written_out_and_its_answers_are_found_in_it(data: Path) -> None:
    write_set(data, "aihub-71565")
    first, second, third = (row for row in rows_of("aihub-71565") if not isinstance(row, Rejected))
    assert first["context"] == "노선 | 첫차 | 막차\n1번 | 05:40 | 22:30\n2번 | 06:10 | 22:30"
    assert first["table_title"] == "마을버스 운행 시각"
    # 22:30 stands twice: the second one is meant.
    assert second["answer_start"] == first["context"].rindex("22:30")
    assert third["answerable"] == "False"


def test_either_wording_of_a_question_makes_a_row(data: Path) -> None:
    write_set(data, "aihub-71533")
    rows = [row for row in rows_of("aihub-71533") if not isinstance(row, Rejected)]
    assert [row["id"] for row in rows] == ["S1-1", "S1-2", "S2-2", "S3-1", "S4-1", "S5-1"]
    assert "<p>" not in rows[0]["context"]
    choice = rows[4]
    assert sorted(choice["candidates"]) == sorted(["곱게 갈기", "틀에 붓기", "간수 넣기", "돌로 누르기"])
    assert choice["candidates"][int(choice["number"]) - 1] == "곱게 갈기"


def test_a_question_without_wording_is_rejected(tmp_path: Path) -> None:
    qas = [{"question_id": "q", "question-1": "", "question-2": None, "answer": "비"}]
    file = {"dataset": {"context_info": [{"context": "비가 왔다.", "qas": qas}]}}
    found = read("aihub_tech", tmp_path / "a.json", file)
    assert [item.reason for item in found if isinstance(item, Rejected)] == ["empty_question"]


# Summaries: 90, 97, 99, 93, 580


def test_papers_are_read_under_both_spellings_and_patents_without_publisher(data: Path) -> None:
    write_set(data, "aihub-90")
    rows = [row for row in rows_of("aihub-90") if not isinstance(row, Rejected)]
    found = {row["id"]: (row["part"], row["kind"], row["publisher"]) for row in rows}
    society = TEXTS["papers"][0]["publisher"]
    assert found == {
        "P0-entire-1": ("entire", "논문", society),
        "P0-section-1": ("section", "논문", society),
        "P9-section-1": ("section", "논문", ""),
        "P1-entire-1": ("entire", "특허", ""),
        "P1-section-1": ("section", "특허", ""),
    }
    assert {row["context"] for row in rows if row["kind"] == "특허"} == {
        TEXTS["papers"][1]["entire"],
        TEXTS["papers"][1]["section"],
    }


def test_documents_of_both_releases_and_both_roots_have_the_same_fields(data: Path) -> None:
    write_set(data, "aihub-97")
    rows = [row for row in rows_of("aihub-97") if not isinstance(row, Rejected)]
    assert {tuple(row) for row in rows} == {tuple(rows[0])}
    by_id = {row["id"]: row for row in rows}
    new, old = by_id["330001"], by_id["old-1"]
    assert new["marked"] == old["marked"]
    assert new["summary"] == old["summary"] == TEXTS["documents"][1]["summary"]
    assert new["context"].replace("\n", " ") == old["context"]
    assert new["context"].count("\n") == 1


def test_the_count_of_characters_is_a_number_or_a_text(tmp_path: Path) -> None:
    def document(count: Any) -> dict[str, Any]:
        return {
            "id": "1",
            "char_count": count,
            "text": [[{"index": 0, "sentence": "비가 왔다."}]],
            "abstractive": ["비"],
        }

    rows = values(
        read("aihub_documents", tmp_path / "a.json", [document("1,234"), document(99), document(None)])
    )
    assert [row["char_count"] for row in rows] == [1234, 99, 6]


def test_marked_sentences_go_by_their_index_not_their_place(tmp_path: Path) -> None:
    text = [
        [{"index": 5, "sentence": "첫째."}, {"index": 6, "sentence": " "}],
        [{"index": 7, "sentence": "셋째."}],
    ]
    rows = values(read("aihub_documents", tmp_path / "a.json", [{"text": text, "extractive": [7, None, 99]}]))
    assert rows[0]["marked"] == ["셋째."]
    assert rows[0]["sentences"] == ["첫째.", "셋째."]


def test_a_document_in_cp949_is_read(data: Path) -> None:
    write_set(data, "aihub-99")
    titles = [row["title"] for row in rows_of("aihub-99") if not isinstance(row, Rejected)]
    assert titles == ["임대차보증금반환", "손해배상(기)"]


def test_a_judgment_lacks_pieces(data: Path) -> None:
    write_set(data, "aihub-580")
    civil, criminal = (row for row in rows_of("aihub-580") if not isinstance(row, Rejected))
    assert civil["court"] == "해솔지방법원"
    assert civil["order"] == "피고는 원고에게 1,000만 원을 지급하라.\n소송비용은 피고가 부담한다."
    assert criminal["claim"] == criminal["defendant"] == ""


# Dialogues and instructions: 86, 117, 98, 71844


def test_empty_exchanges_end_a_talk(data: Path) -> None:
    write_set(data, "aihub-86")
    rows = [row for row in rows_of("aihub-86") if not isinstance(row, Rejected)]
    assert [row["turn"] for row in rows] == ["1", "2", "3", "1", "2", "1", "2"]
    assert [row["emotion"] for row in rows] == ["분노"] * 3 + ["불안"] * 2 + ["기쁨"] * 2
    assert [turn["role"] for turn in rows[1]["turns"]] == ["내담자", "상담사", "내담자"]
    assert rows[2]["said"].count("\n") == 2


@pytest.mark.parametrize(
    ("emotion", "word"),
    [({"type": "E64"}, "기쁨"), ({"emotion-id": "S06_D02_E18"}, "분노"), ({"type": "E99"}, ""), ({}, "")],
)
def test_the_emotion_is_read_from_its_code(tmp_path: Path, emotion: dict[str, str], word: str) -> None:
    talk = {"profile": {"emotion": emotion}, "talk": {"content": {"HS01": "안녕.", "SS01": "안녕하세요."}}}
    assert values(read("aihub_emotion", tmp_path / "a.json", [talk]))[0]["emotion"] == word


def test_the_body_of_the_sns_set_is_the_list_of_utterances(data: Path) -> None:
    write_set(data, "aihub-117")
    rows = {row["id"]: row for row in rows_of("aihub-117") if not isinstance(row, Rejected)}
    sns = rows["dialogue-2"]
    assert sns["summary"] == ""
    assert sns["topic"] == "일과직업"
    assert [turn["role"] for turn in sns["turns"]] == ["A", "B", "C", "B"]
    assert sns["context"].startswith("A: 오늘 회의 세 시로 미뤄졌대.\nB: ")


def test_calls_are_grouped_by_number_and_ordered_by_sentence(data: Path) -> None:
    write_set(data, "aihub-98")
    rows = {row["id"]: row for row in rows_of("aihub-98") if not isinstance(row, Rejected)}
    assert list(rows) == ["C1-1", "C1-3", "C0-1", "C0-3"]
    # Sentences that one speaker says in a row are one turn.
    assert rows["C0-3"]["utterance"] == "12번이요. 저녁 일곱 시쯤 시청 앞에서 내렸어요."
    # 8, 9, 10, 11: as texts, 10 would come first.
    assert [turn["text"][:2] for turn in rows["C1-3"]["turns"]] == ["이번", "집 ", "지금"]
    # The key ends in a space.
    assert rows["C0-1"]["entities"] == ["버스", "우산"]
    assert rows["C0-1"]["knowledge"] == ["유실물"]


def test_a_sentence_in_no_text_field_or_in_two_is_rejected_and_the_call_goes_on(tmp_path: Path) -> None:
    sentences = call_sentences()[:5]
    sentences[2]["고객답변"] = ""
    sentences[3]["상담사답변"] = "네."
    found = read("aihub_calls", tmp_path / "a.json", sentences)
    assert [item.reason for item in found if isinstance(item, Rejected)] == ["empty_turn", "several_texts"]
    kept = [item.values for item in found if isinstance(item, Row)]
    assert [row["id"] for row in kept] == ["C0-1"]
    assert kept[0]["reply"].endswith("문자로 보내 드리겠습니다.")


def test_without_input_the_instruction_is_the_question(data: Path) -> None:
    write_set(data, "aihub-71844")
    rows = [row for row in rows_of("aihub-71844") if not isinstance(row, Rejected)]
    assert [bool(row["input"]) for row in rows] == [True, False, True]
    assert rows[1]["instruction"] == "대형 폐기물은 어떻게 버리나요?"


# Translation: 126, 71782


def test_pairs_are_read_from_xlsx_and_from_csv(data: Path) -> None:
    write_set(data, "aihub-126")
    rows = [row for row in rows_of("aihub-126") if not isinstance(row, Rejected)]
    found = sorted((row["ko"], row["en"]) for row in rows)
    assert found == sorted((pair["ko"], pair["en"]) for pair in TEXTS["pairs"])


def test_a_table_without_the_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("가,나\n하나,one\n", encoding="utf-8")
    reader = READERS.get("aihub_pairs")
    with pytest.raises(DataError, match="no columns for a Korean sentence"):
        list(reader.read(path, reader.options()))


def test_the_edited_translation_is_read_never_the_machines(data: Path) -> None:
    write_set(data, "aihub-71782")
    rows = [row for row in rows_of("aihub-71782") if not isinstance(row, Rejected)]
    forward = [row for row in rows if row["source_language"] == "한국어"]
    assert [row["target"] for row in forward] == [item["mtpe"] for item in TEXTS["finance"]]
    assert all(row["ko"] == item["ko"] for row, item in zip(forward, TEXTS["finance"], strict=True))
    backward = [row for row in rows if row["source_language"] == "영어"]
    # Without a cleaned source the original serves.
    assert [row["source"] for row in backward] == [item["mtpe"] for item in TEXTS["finance"]]
    assert [row["ko"] for row in backward] == [item["ko"] for item in TEXTS["finance"]]


def test_an_unknown_language_is_rejected(tmp_path: Path) -> None:
    file = {
        "meta": {"source_language": "ko", "target_language": "tlh"},
        "sents": [{"source_cleaned": "비", "mtpe": "x"}],
    }
    found = read("aihub_finance", tmp_path / "a.json", file)
    assert [item.reason for item in found if isinstance(item, Rejected)] == ["unknown_language"]
